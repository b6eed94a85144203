"""Several pictures in one: comparisons, grids, samples of a training."""

from collections.abc import Callable, Sequence

import numpy as np

from tfstyle.images import arrays


def sample_grid(
    model: Callable, photos: np.ndarray, style_weights: np.ndarray | None = None
) -> np.ndarray:
    """Photos above their stylized versions.

    Args:
        model: generator, [B, H, W, 3] in [0, 1] -> the same.
        photos: [B, H, W, 3] in [0, 1].
        style_weights: of each photo, [B or more, styles], where the model has several styles.

    Returns:
        [2 H, B W, 3] in [0, 1].
    """
    inputs = photos if style_weights is None else [photos, style_weights[: len(photos)]]
    stylized = arrays.from_uint8(arrays.to_uint8(np.asarray(model(inputs))))
    return np.concatenate([np.concatenate(list(row), axis=1) for row in (photos, stylized)])


def tiled(digits: np.ndarray, columns: int = 10) -> np.ndarray:
    """Digits as one picture, row by row, black where the last row is not full.

    Args:
        digits: [B, H, W, 1] in [0, 1], B at least 1.
        columns: digits in a row.

    Returns:
        float32 [R H, columns W, 3] in [0, 1], R = B / columns rounded up.
    """
    digits = np.asarray(digits, "float32")
    count, height, width, _ = digits.shape
    rows = -(-count // columns)
    cells = np.zeros((rows * columns, height, width, 1), "float32")
    cells[:count] = digits
    cells = cells.reshape(rows, columns, height, width).transpose(0, 2, 1, 3)
    return np.repeat(cells.reshape(rows * height, columns * width, 1), 3, axis=2)


def compare(content: np.ndarray, style: np.ndarray | None, result: np.ndarray) -> np.ndarray:
    """content | style | result side by side, at the height of the result, white between them.

    All are float32 RGB [H, W, 3] in [0, 1], of any sizes; a `style` of None is left out.
    """
    height = result.shape[0]
    gutter = np.ones((height, max(2, height // 100), 3), np.float32)
    row = []
    for picture in (content, style, result):
        if picture is not None:
            width = max(1, round(picture.shape[1] * height / picture.shape[0]))
            same = picture.shape[0] == height
            row += [gutter, picture if same else arrays.resize(picture, (height, width))]
    return np.concatenate(row[1:], axis=1)


def grid(rows: Sequence[Sequence[np.ndarray | None]], size: int = 256) -> np.ndarray:
    """Pictures in rows and columns on white, None for an empty place.

    Args:
        rows: float32 RGB [H, W, 3] in [0, 1], of any sizes; as many in each row.
        size: longest side of each in the grid, in pixels; a row is as high as its highest.

    Returns:
        float32 RGB [H, W, 3] in [0, 1].
    """
    gutter = max(2, size // 50)
    bands = []
    for row in rows:
        cells = {}
        for column, picture in enumerate(row):
            if picture is not None:
                sides = arrays.scaled_size(picture.shape[:2], size)
                cells[column] = arrays.resize(picture, sides)
        tallest = max((cell.shape[0] for cell in cells.values()), default=0)
        band = np.ones((tallest, len(row) * (size + gutter) - gutter, 3), np.float32)
        for column, cell in cells.items():
            height, width = cell.shape[:2]
            top = (tallest - height) // 2
            left = column * (size + gutter) + (size - width) // 2
            band[top : top + height, left : left + width] = cell
        bands += [np.ones((gutter, band.shape[1], 3), np.float32), band]
    return np.concatenate(bands[1:])


def blends(stylizer: Callable, photo: np.ndarray, styles: int) -> np.ndarray:
    """A photo from each of the first styles to the next, in four steps; a row a pair.

    Args:
        stylizer: (photo, style={index: weight}) -> stylized photo.
        photo: [H, W, 3] in [0, 1].
        styles: how many there are, at least 2.
    """
    return grid(
        [
            [stylizer(photo, style={one: 4 - i, one + 1: i}) for i in range(5)]
            for one in range(min(4, styles - 1))
        ]
    )
