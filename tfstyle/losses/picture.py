"""Losses of pictures alone: pixels, total variation, checkerboards, colour."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfstyle.errors import ArgumentError

# An image is known to the nearest of 256 levels. This is the variance of the rounding; without it a
# flat image would be 0 / 0, and one that is flat but for rounding anything.
ROUNDING = 1 / (12 * 255**2)


def pixel_loss(*, images: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Mean squared difference of images, of which the PSNR is -10 log10.

    `images`, `target`: [B, H, W, C] in [0, 1]. Returns a scalar float32.
    """
    return tf.reduce_mean(tf.square(tf.cast(images, "float32") - tf.cast(target, "float32")))


def total_variation(images: tf.Tensor) -> tf.Tensor:
    """Mean squared difference of neighbouring pixels, down plus across.

    Anisotropic, after Mahendran and Vedaldi 2014 (https://arxiv.org/abs/1412.0035), beta = 2; the
    mean in place of the sum makes it independent of the image's size.

    Args:
        images: [B, H, W, C]; a side of 1 pixel contributes 0.

    Returns:
        Scalar float32.
    """
    images = tf.cast(images, "float32")

    def mean_square(difference: tf.Tensor) -> tf.Tensor:
        count = tf.cast(tf.size(difference), "float32")
        return tf.math.divide_no_nan(tf.reduce_sum(tf.square(difference)), count)

    down = mean_square(images[:, 1:] - images[:, :-1])
    across = mean_square(images[:, :, 1:] - images[:, :, :-1])
    return down + across


def checkerboard_ratios(
    images: tf.Tensor, *, strides: Sequence[int] = (2, 4, 8)
) -> dict[int, tf.Tensor]:
    """How strongly patterns of the periods that up-sampling leaves stand out of the spectrum.

    A network that up-samples by s, at once or in steps, may leave a pattern that repeats every s
    pixels (Odena, Dumoulin and Olah 2016, "Deconvolution and Checkerboard Artifacts",
    https://distill.pub/2016/deconv-checkerboard/). In the spectrum that is energy at the Nyquist
    frequency of the grid that came out of the up-sampling, 1/s cycles a pixel of the result.

    The spectrum is the mean power |DFT|^2 of the channels over windows of P = 16 lcm(strides)
    pixels that overlap by half, each tapered by a Hann window (Welch's method), and the power of
    rounding to 8 bits. For each s there are four frequencies: (0, 1/s), (1/s, 0), (1/s, 1/s) and
    (1/s, -1/s). The ratio of each is its power over the geometric mean of those 3 to 6 bins away,
    along the axes on which it is not 0: a photo's spectrum falls off as a power of the frequency
    and stands out along its axes, and both cancel. The result is the mean of the four ratios.

    Args:
        images: [B, H, W, C] in [0, 1], of known size, at least P pixels a side: 128 for the
            default.
        strides: periods in pixels, each at least 2.

    Returns:
        {stride: ratios [B]}, float64 of float64 images, else float32. Their gradient is that of the
        four powers alone, as though those beside them stood still.

    Raises:
        ValueError: for smaller images, unknown sizes and strides below 2.
    """
    if not strides or min(strides) < 2:
        raise ArgumentError(f"strides {tuple(strides)}: give periods of at least 2 pixels.")
    images = tf.convert_to_tensor(images)
    dtype = tf.float64 if images.dtype == tf.float64 else tf.float32
    height, width = images.shape[1:3]
    window = 16 * math.lcm(*strides)
    if None in (height, width) or min(height, width) < window:
        raise ArgumentError(
            f"image of {height}x{width} pixels: strides {tuple(strides)} need {window} on each "
            "side. Give a larger image or smaller strides."
        )
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    taper = np.outer(taper, taper)
    corners = list(itertools.product(_starts(height, window), _starts(width, window)))
    power = ROUNDING * (taper**2).sum()
    for y, x in corners:
        part = tf.cast(images[:, y : y + window, x : x + window], dtype) * taper[..., None]
        part = tf.transpose(part, (0, 3, 1, 2))
        spectrum = tf.signal.fft2d(tf.complex(part, tf.zeros_like(part)))
        energy = tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))
        power += tf.reduce_mean(energy, axis=1) / len(corners)
    offsets = [sign * i for i in range(3, 7) for sign in (-1, 1)]

    def ratio(u: int, v: int) -> tf.Tensor:
        near = [power[:, (u + i) % window, v] for i in offsets if u]
        near += [power[:, u, (v + i) % window] for i in offsets if v]
        near = tf.exp(tf.reduce_mean(tf.math.log(tf.stack(near)), axis=0))
        return power[:, u, v] / tf.stop_gradient(near)

    return {
        stride: tf.add_n([ratio(0, f), ratio(f, 0), ratio(f, f), ratio(f, window - f)]) / 4
        for stride, f in ((stride, window // stride) for stride in strides)
    }


def _starts(length: int, window: int) -> list[int]:
    """Where windows that overlap by half begin; the last one ends with the image."""
    return sorted({*range(0, length - window + 1, window // 2), length - window})


def checkerboard_loss(*, images: tf.Tensor, strides: Sequence[int] = (2, 4, 8)) -> tf.Tensor:
    """By how much the `checkerboard_ratios` are above 1, what photos have, in powers of e.

    Args:
        images, strides: see `checkerboard_ratios`.

    Returns:
        Scalar float32: the mean of max(0, log ratio) over images and strides.

    Raises:
        ValueError: as `checkerboard_ratios`.
    """
    ratios = tf.stack(list(checkerboard_ratios(images, strides=strides).values()))
    return tf.reduce_mean(tf.nn.relu(tf.math.log(tf.cast(ratios, "float32"))))


def identity_loss(*, images: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """|G(y) - y|: a picture in the style already is to stay; Zhu et al. 2017, section 5.2.

    https://arxiv.org/abs/1703.10593. The mean in place of the sum makes it independent of the size.

    Args:
        images: [B, H, W, C], what the generator makes of `target`.
        target: [B, H, W, C], pictures in the style.

    Returns:
        Scalar float32.
    """
    return tf.reduce_mean(tf.abs(tf.cast(images, "float32") - tf.cast(target, "float32")))


def color_loss(*, images: tf.Tensor, target: tf.Tensor, sigma: float = 3.0) -> tf.Tensor:
    """Mean squared difference of both blurred: colours where they are, no matter their texture.

    Ignatov et al. 2017 (https://arxiv.org/abs/1704.02470), eqs. 1 and 2, with the mean over pixels
    in place of the sum. At the borders the Gaussian's weights inside the image sum to 1.

    Args:
        images, target: [B, H, W, C] of one size.
        sigma: of the Gaussian, in pixels; the paper's 3 by default.

    Returns:
        Scalar float32.
    """
    # Blurring is linear: once for the difference.
    difference = tf.cast(images, "float32") - tf.cast(target, "float32")
    return tf.reduce_mean(tf.square(blurred(difference, sigma)))


def blurred(images: tf.Tensor, sigma: float) -> tf.Tensor:
    """Images [B, H, W, C] blurred by a Gaussian of `sigma` pixels; float32.

    At the borders the Gaussian's weights inside the image sum to 1.
    """
    images = tf.cast(images, "float32")
    # As matrices, it needs no padding.
    rows, columns = (_gaussian(tf.shape(images)[axis], sigma) for axis in (1, 2))
    return tf.einsum("jw,biwc->bijc", columns, tf.einsum("ih,bhwc->biwc", rows, images))


def _gaussian(length: tf.Tensor, sigma: float) -> tf.Tensor:
    """[length, length]: row i blurs to position i, and sums to 1."""
    positions = tf.cast(tf.range(length), "float32")
    return tf.nn.softmax(-tf.square((positions[:, None] - positions) / sigma) / 2)
