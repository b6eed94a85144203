"""Images to try things on: bundled photos and style images drawn by code.

The photos lie in the package (NOTICE has their licences). The styles are drawn from a seed in
coordinates relative to the image, so that a style looks the same at every size.
"""

from pathlib import Path

import numpy as np

from tfstyle import images
from tfstyle.errors import ArgumentError

_PHOTOS = Path(__file__).parent.parent / "assets" / "photos"


def photo_paths() -> list[Path]:
    """Paths of the bundled photos (JPEG, longest side at most 768 px), sorted by name."""
    return sorted(_PHOTOS.glob("*.jpg"))


def photo(name: str) -> np.ndarray:
    """A bundled photo: float32 RGB [H, W, 3] in [0, 1].

    `name` is the file's name without suffix. Raises ValueError for a name that is not there.
    """
    paths = {path.stem: path for path in photo_paths()}
    if name not in paths:
        raise ArgumentError(
            f"photo {name!r}: not among the bundled ones. Give one of {sorted(paths)}"
        )
    return images.read(paths[name])


def crops(size: int) -> np.ndarray:
    """The middle of every bundled photo: float32 RGB [N, size, size, 3] in [0, 1]."""
    squares = []
    for path in photo_paths():
        image = images.read(path)
        side = min(image.shape[:2])
        top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
        square = image[top : top + side, left : left + side]
        squares.append(images.resize(square, (size, size)))
    return np.stack(squares)
