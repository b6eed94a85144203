"""Colours: of one image given to another (NumPy alone), and CIE Lab (in a graph).

Values are RGB as stored (sRGB, not linear light), float in [0, 1], [H, W, 3].
"""

from __future__ import annotations

import typing

import numpy as np

if typing.TYPE_CHECKING:
    import tensorflow as tf


# Luma of Rec. 601 (ITU-R BT.601-7, 2.5.1), the one of JPEG.
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
LUMA.flags.writeable = False

# A direction of colour whose standard deviation is below one step of 8 bits is noise: stretched to
# the width of another image it would be nothing but coloured grain.
_FLAT = (1 / 255) ** 2


def keep_color(stylized: np.ndarray, content: np.ndarray) -> np.ndarray:
    """The luma of `stylized` with the chroma of `content` (YCbCr, Rec. 601).

    Source: Gatys et al. 2016, "Preserving Color in Neural Artistic Style Transfer",
    arXiv:1606.05897, luminance-only transfer; they take YIQ, whose luma is the same.

    Args:
        stylized: float [H, W, 3] in [0, 1].
        content: of the same shape.

    Returns:
        float [H, W, 3], clipped to [0, 1]: where it clips, luma and chroma are only near.
    """
    # Moving all three channels by the same amount changes luma and leaves Cb and Cr.
    return np.clip(content + ((stylized - content) @ LUMA)[..., np.newaxis], 0, 1)


def match_color(style: np.ndarray, content: np.ndarray) -> np.ndarray:
    """The style recoloured so that mean and covariance of its RGB equal those of the content.

        x -> S_c^(1/2) S_s^(-1/2) (x - m_s) + m_c

    with the symmetric roots of the covariances S, the "image analogies" form. Where the style has
    no variation in some direction of colour (a grey or flat image) none can be made up: the result
    then has the mean of the content, and of its covariance what a style of fewer dimensions can.

    Source: Gatys et al. 2016, "Preserving Color in Neural Artistic Style Transfer",
    arXiv:1606.05897, colour histogram matching.

    Args:
        style: float [H, W, 3] in [0, 1].
        content: float [h, w, 3] in [0, 1], of any size.

    Returns:
        float32 [H, W, 3], clipped to [0, 1]; where it clips, mean and covariance are only near.
    """
    style = np.asarray(style, np.float32)
    style_mean, style_covariance = _moments(style)
    content_mean, content_covariance = _moments(content)
    values, vectors = np.linalg.eigh(style_covariance)
    inverse = np.where(values > _FLAT, 1 / np.sqrt(np.maximum(values, _FLAT)), 0)
    whiten = (vectors * inverse) @ vectors.T
    values, vectors = np.linalg.eigh(content_covariance)
    paint = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T  # rounding gives -1e-18
    matrix = (paint @ whiten).T.astype(np.float32)
    recolored = (style - style_mean.astype(np.float32)) @ matrix + content_mean.astype(np.float32)
    return np.clip(recolored, 0, 1)


def _moments(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [3] and covariance [3, 3] over the pixels, float64."""
    pixels = np.asarray(image).reshape(-1, 3)
    mean = pixels.mean(0, dtype=np.float64)
    centered = pixels - mean.astype(pixels.dtype)
    # einsum sums in float64 without a float64 copy of the image.
    return mean, np.einsum("ni,nj->ij", centered, centered, dtype=np.float64) / len(pixels)


def lab(images: tf.Tensor) -> tf.Tensor:
    """sRGB [B, H, W, 3] in [0, 1] -> CIE L*a*b* of the white point D65 (IEC 61966-2-1, CIE 15)."""
    import tensorflow as tf

    linear = tf.where(
        images <= 0.04045, images / 12.92, ((tf.maximum(images, 0.04045) + 0.055) / 1.055) ** 2.4
    )
    matrix = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750]]
    matrix += [[0.0193339, 0.1191920, 0.9503041]]
    xyz = tf.einsum("bhwc,dc->bhwd", linear, tf.constant(matrix, images.dtype))
    xyz /= tf.constant([0.95047, 1.0, 1.08883], images.dtype)
    low = (6 / 29) ** 3
    f = tf.where(xyz > low, tf.maximum(xyz, low) ** (1 / 3), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = tf.unstack(f, axis=-1)
    return tf.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
