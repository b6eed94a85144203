"""Paintings by style: read, found in folders, split into those to train on and those kept out."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfstyle import images
from tfstyle.data import batches, drawn, sources
from tfstyle.errors import ArgumentError

# Share of a style's paintings, or of the longer side of each where there are fewer than _FEW.
_KEPT_OUT, _FEW = 0.3, 4


class Split(NamedTuple):
    """A style's paintings, those to train on apart from those kept out: `keep_out`."""

    training: list[Path]
    kept_out: list[Path]
    scale: tuple[float, float]  # of training crops, so that both show strokes of one size
    told: str  # what was kept out


def read(style: str, size: int) -> np.ndarray:
    """The picture of a style: float32 RGB [H, W, 3] in [0, 1].

    Args:
        style: an image file, or the name of a style that tfstyle draws (`drawn.STYLES`).
        size: longest side in pixels, at most; drawn styles are drawn at it.

    Raises:
        ImageError: for a file that cannot be read.
    """
    if style in drawn.STYLES:
        return drawn.style(style, size)
    return images.fit(images.read(style), size)


def find(style: str, folder: Path) -> dict[str, list[Path]]:
    """{name of a style: its paintings}; those that tfstyle draws are written below `folder`."""
    whole = Path(style)
    if whole.is_dir():
        folders = sorted(path for path in whole.glob("[!.]*") if path.is_dir())
        parts = folders or sources.list_files(whole)
    else:
        parts = [Path(part.strip()) for part in style.split(",") if part.strip()]
    names = [part.stem for part in parts]
    if len(parts) < 2:
        raise ArgumentError(
            f"style {style!r}: {len(parts)} of them; give at least two to tell apart"
        )
    for part in parts:
        if names.count(part.stem) > 1:
            raise ArgumentError(f"style {part}: another is called {part.stem} too; rename one")
    found = {part.stem: sources.list_files(part) for part in parts if str(part) not in drawn.STYLES}
    for works in found.values():
        for path in works if len(works) < _FEW else ():
            images.read(path)  # to know of a broken one before anything is written
    for part in parts:
        if str(part) in drawn.STYLES:
            found[part.stem] = sources.list_files(
                drawn.write_styles(folder / str(part), str(part), size=256)
            )
    return {key: found[key] for key in names}


def keep_out(works: Sequence[Path], folder: Path, *, seed: int) -> Split:
    """Keeps out a share of the paintings; of fewer than _FEW, the end of the longer side of each.

    Args:
        works: image files.
        folder: to write cut pictures to.
        seed: decides which paintings.
    """
    if len(works) >= _FEW:
        order = [works[i] for i in batches.order(len(works), seed, 0)]
        count = round(_KEPT_OUT * len(works))
        told = f"{count} of {len(works)} paintings"
        return Split(sorted(order[count:]), sorted(order[:count]), (1.0, 1.6), told)
    trained, kept_out, ratios = [], [], []
    for i, path in enumerate(works):
        picture = images.read(path)
        axis = int(picture.shape[1] > picture.shape[0])
        cut = round((1 - _KEPT_OUT) * picture.shape[axis])
        parts = np.split(picture, [cut], axis=axis)
        for paths, part, where in zip((trained, kept_out), parts, ("train", "kept"), strict=True):
            paths.append(folder / where / f"{i}_{path.stem}.png")
            paths[-1].parent.mkdir(parents=True, exist_ok=True)
            images.write(paths[-1], part)
        ratios.append(min(parts[0].shape[:2]) / min(parts[1].shape[:2]))
    ratio = max(1.0, float(np.mean(ratios)))
    told = f"{_KEPT_OUT:.0%} of the longer side of each of {len(works)}"
    return Split(trained, kept_out, (ratio, 1.6 * ratio), told)
