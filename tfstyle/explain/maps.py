"""Maps over a picture: features' positions as pixels, blurring, the parts with most."""

import numpy as np
from scipy import ndimage


def spread(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[h, w] of a layer's positions -> [H, W] of pixels with the same sum.

    Each position stands for its share of the picture, and what it has is spread evenly over that.
    """
    values = np.asarray(values, "float64")
    down, across = (_shares(n, m) for n, m in zip(size, values.shape, strict=True))
    return down @ values @ across.T


def _shares(pixels: int, positions: int) -> np.ndarray:
    """[pixels, positions]: the part of each position that a pixel takes; columns sum to 1."""
    edges = np.arange(positions + 1) * pixels / positions
    lows = np.maximum(np.arange(pixels)[:, None], edges[:-1])
    highs = np.minimum(np.arange(pixels)[:, None] + 1, edges[1:])
    return np.maximum(highs - lows, 0) * positions / pixels


def cells(shape: tuple[int, int], most: int = 16) -> np.ndarray:
    """[h, w] of cell numbers: a grid of at most `most` x `most` cells of about equal area."""
    rows, columns = (np.arange(n) * min(n, most) // n for n in shape)
    return rows[:, None] * (columns[-1] + 1) + columns


def blurred(image: np.ndarray, where: np.ndarray, sigma: float) -> np.ndarray:
    """Image [H, W, 3] with the pixels of `where` [H, W] in [0, 1] taken from its Gaussian blur."""
    soft = np.stack([ndimage.gaussian_filter(c, sigma) for c in np.moveaxis(image, -1, 0)], -1)
    where = np.asarray(where, image.dtype)[..., None]
    return image * (1 - where) + soft * where
