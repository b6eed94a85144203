"""An image too large for one call of a network, in parts."""

import math
from collections.abc import Callable, Iterator

import numpy as np

# Where a tile begins is a multiple of it, so that what the network halves falls as in the whole.
STEP = 64


def windows(image: np.ndarray, *, side: int, pixels: int) -> np.ndarray:
    """Parts that stand for the whole image, evenly over it.

    Args:
        image: [H, W, 3], of at least `side` pixels each way.
        side: of a window, in pixels.
        pixels: of all windows together, at most (but for one of them).

    Returns:
        [N, side, side, 3]; they overlap where there is no room beside each other.
    """
    height, width = image.shape[:2]
    count = max(1, pixels // side**2)
    rows = min(max(1, round(math.sqrt(count * height / width))), count)
    columns = count // rows
    return np.stack(
        [
            image[top : top + side, left : left + side]
            for top in np.linspace(0, height - side, rows).round().astype(int)
            for left in np.linspace(0, width - side, columns).round().astype(int)
        ]
    )


def apply(
    image: np.ndarray,
    stylize: Callable[[np.ndarray, tuple[int, int]], np.ndarray],
    *,
    side: int,
    margin: int,
) -> np.ndarray:
    """What `stylize` makes of each tile, put together.

    Args:
        image: [H, W, 3].
        stylize: ([h, w, 3], (row, column)) -> [h, w, 3]; called with each tile and its
            surroundings, and where they begin.
        side: of a tile, in pixels; rounded up to a multiple of STEP.
        margin: pixels around a tile that are given with it, where the image has them; likewise.
    """
    height, width = image.shape[:2]
    result = np.empty_like(image)
    for top, bottom, outer_top, outer_bottom in _cuts(height, side, margin):
        for left, right, outer_left, outer_right in _cuts(width, side, margin):
            origin = outer_top, outer_left
            part = stylize(image[outer_top:outer_bottom, outer_left:outer_right], origin)
            result[top:bottom, left:right] = part[
                top - outer_top : bottom - outer_top, left - outer_left : right - outer_left
            ]
    return result


def count(size: tuple[int, int], side: int) -> int:
    """How many tiles `apply` makes of an image of this (height, width)."""
    return math.prod(len(list(_cuts(length, side, 0))) for length in size)


def _cuts(length: int, side: int, margin: int) -> Iterator[tuple[int, int, int, int]]:
    """(start, end, start and end with margin) of tiles along one axis."""
    side, margin = (-(-pixels // STEP) * STEP for pixels in (side, margin))
    for start in range(0, length, side):
        end = min(start + side, length)
        yield start, end, max(0, start - margin), min(length, end + margin)
