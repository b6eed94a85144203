"""Images as arrays and tensors: value ranges, sizes, limits."""

from __future__ import annotations

import typing

import numpy as np
from PIL import Image

from tfstyle.errors import TfstyleError

if typing.TYPE_CHECKING:
    import tensorflow as tf

MAX_PIXELS = 100_000_000
# A served model shares its machine with other requests, so less.
MAX_SERVED_PIXELS = 16_000_000
# EXIF orientation: the stored image is transposed from 5 on, then flipped.
FLIPPED_LEFT_RIGHT = (2, 3, 6, 7)
FLIPPED_UP_DOWN = (3, 4, 7, 8)
ORIENTATION_TAG = 0x0112


class ImageError(TfstyleError, ValueError):
    """An image that cannot be read or written; the message names the file and the mend."""


class TooManyPixelsError(ImageError):
    """An image with more pixels than `max_pixels`. `pixels`: how many it has."""

    def __init__(self, message: str, pixels: int) -> None:
        super().__init__(message)
        self.pixels = pixels


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes by Lanczos, antialiased where it shrinks.

    Args:
        image: float [H, W, 3] in [0, 1].
        size: (height, width) in pixels, each at least 1.

    Returns:
        float32 [height, width, 3], clipped to [0, 1] (Lanczos overshoots at edges).
    """
    height, width = size
    image = _checked(image)
    channels = [
        np.asarray(Image.fromarray(c).resize((width, height), Image.Resampling.LANCZOS))
        for c in np.moveaxis(image, -1, 0).astype(np.float32)
    ]
    return np.clip(np.stack(channels, axis=-1), 0.0, 1.0)


def fit(image: np.ndarray, max_size: int) -> np.ndarray:
    """Shrinks so that the longer side is at most `max_size` pixels; never enlarges.

    Args:
        image: float [H, W, 3] in [0, 1].
        max_size: pixels, at least 1.

    Returns:
        `image` itself where it fits; else float32 of the same aspect, no side below 1 pixel.
    """
    if max_size < 1:
        raise ImageError(f"max_size {max_size}: give at least 1 pixel.")
    if max(image.shape[:2]) <= max_size:
        return image
    return resize(image, scaled_size(image.shape[:2], max_size))


def scaled_size(size: tuple[int, int], longest: float) -> tuple[int, int]:
    """The size of the same aspect whose longer side is `longest` pixels, no side below 1."""
    scale = longest / max(size)
    height, width = (max(1, round(side * scale)) for side in size)
    return height, width


def to_uint8(image: np.ndarray) -> np.ndarray:
    """[0, 1] floats of any shape -> uint8, rounded and clipped."""
    return np.clip(np.rint(image * np.float32(255)), 0, 255).astype(np.uint8)


def from_uint8(array: np.ndarray) -> np.ndarray:
    """uint8 of any shape -> float32 in [0, 1]."""
    return array.astype(np.float32) / np.float32(255)


def to_uint8_tensor(image: tf.Tensor) -> tf.Tensor:
    """As `to_uint8`, for tensors. TFLite converts these ops; `tf.saturate_cast` it does not."""
    import tensorflow as tf

    return tf.cast(tf.clip_by_value(tf.round(image * 255.0), 0.0, 255.0), tf.uint8)


def from_uint8_tensor(image: tf.Tensor) -> tf.Tensor:
    """As `from_uint8`, for tensors."""
    import tensorflow as tf

    return tf.cast(image, tf.float32) / 255.0


def _checked(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[-1] != 3 or not image.size or image.dtype.kind != "f":
        raise ImageError(
            f"array of shape {image.shape} and type {image.dtype}: "
            "give floats in [0, 1] of shape [H, W, 3] (from_uint8 converts)."
        )
    return image
