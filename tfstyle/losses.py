"""Losses: pure, unweighted, in float32 whatever they are given. The train step applies weights.

Adversarial losses take the discriminator's outputs before any sigmoid ("logits"), of any shape.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import tensorflow as tf

# An image is known to the nearest of 256 levels. This is the variance of the rounding; without it a
# flat image would be 0 / 0, and one that is flat but for rounding anything.
ROUNDING = 1 / (12 * 255**2)

# The layers of Gatys et al., "A Neural Algorithm of Artistic Style"
# (https://arxiv.org/abs/1508.06576), by their Keras names in VGG16 and VGG19.
STYLE_LAYERS = ("block1_conv1", "block2_conv1", "block3_conv1", "block4_conv1", "block5_conv1")
CONTENT_LAYER = "block4_conv2"


@dataclasses.dataclass(frozen=True)
class Preset:
    """Weights of the losses, named as `steps.PerceptualStep` and `gatys.optimize` name them.

    Args:
        content_weight, style_weight, tv_weight: of content, Gram style and total variation.
        formula: of content and style: "relative" to the target's energy (`content_loss`,
            `style_loss`), or as published (`gatys_content_loss`, `gatys_style_loss`).
    """

    content_weight: float
    style_weight: float
    tv_weight: float
    formula: Literal["relative", "gatys"]


PRESETS = {
    # Optimisation-based transfer: 1/2 sum (F - P)^2 and the Gram distance. alpha and beta as in
    # Gatys et al. 2016, figure 4, the least of the customary betas (1e3 to 1e6).
    "gatys": Preset(1.0, 1e3, 0.0, "gatys"),
    # Mixed loss of content, style and total variation, (1, 100, 1e-6). Its source leaves the
    # losses' scale open: here the weights are those of the relative ones.
    "mixed": Preset(1.0, 100.0, 1e-6, "relative"),
}


def gram(features, *, weights=None) -> tf.Tensor:
    """Gram matrix over positions, G = F'F / (H W); Gatys et al. 2015, eq. 3, per position.

    Dividing by the number of positions makes it independent of the image's size.

    Args:
        features: [B, H, W, C], any float type.
        weights: [B, H, W], at least 0: how much each position counts, so that G is the weighted
            mean of the positions' F'F; all 0 gives G = 0. Of features and weights one may have a
            batch of 1: several regions of one image, or one region of several. It is the square of
            the guidance channel of Gatys et al. 2017 (https://arxiv.org/abs/1611.07865), section
            4.1, which multiplies the features: a soft edge of 0.5 counts half, not a quarter.

    Returns:
        [B, C, C] float32.
    """
    features = tf.cast(features, "float32")
    shape = tf.shape(features)
    flat = tf.reshape(features, (shape[0], -1, features.shape[-1] or shape[3]))
    if weights is None:
        positions = tf.cast(shape[1] * shape[2], "float32")
        return tf.matmul(flat, flat, transpose_a=True) / positions
    weights, total = _shares(weights)
    return tf.math.divide_no_nan(
        tf.matmul(flat * weights, flat, transpose_a=True), total[:, :, None]
    )


def channel_means(features, *, weights=None) -> tf.Tensor:
    """Mean over positions of each channel: [B, H, W, C] -> [B, C] float32.

    `weights` as in `gram`: [K, H, W] of one image's [1, H, W, C] give K means.
    """
    features = tf.cast(features, "float32")
    if weights is None:
        return tf.reduce_mean(features, axis=[1, 2])
    shape = tf.shape(features)
    flat = tf.reshape(features, (shape[0], -1, features.shape[-1] or shape[3]))
    weights, total = _shares(weights)
    return tf.math.divide_no_nan(tf.reduce_sum(flat * weights, axis=1), total)


def _shares(weights):
    """[B, H, W] -> [B, H W, 1] and their sums [B, 1]."""
    weights = tf.cast(weights, "float32")
    flat = tf.reshape(weights, (tf.shape(weights)[0], -1, 1))
    return flat, tf.reduce_sum(flat, axis=1)


def content_loss(*, features, target) -> tf.Tensor:
    """Feature reconstruction relative to the target's energy: ||F - T||^2 / ||T||^2.

    Gatys et al. 2015, eq. 1, divided by the target's squared norm instead of multiplied by 1/2, so
    that one weight suits every layer, size and extractor. 0 is equal; 1 is the error of all zeros.

    Args:
        features, target: [B, H, W, C]; the ratio is taken for each image.

    Returns:
        Scalar float32, the mean over images.
    """
    features, target = tf.cast(features, "float32"), tf.cast(target, "float32")
    error = tf.reduce_sum(tf.square(features - target), axis=[1, 2, 3])
    energy = tf.reduce_sum(tf.square(target), axis=[1, 2, 3])
    return tf.reduce_mean(tf.math.divide_no_nan(error, energy))


def style_loss(
    *, grams: Mapping[str, tf.Tensor], targets: Mapping[str, tf.Tensor], layer_weights=None
) -> tf.Tensor:
    """Gram style loss, sum over layers of w_l ||G_l - T_l||^2 / ||T_l||^2.

    Gatys et al. 2015, eqs. 4 and 5, each layer relative to the style's own Gram matrix in place of
    the factor 1 / (4 N^2 M^2): a layer's weight is its say, not its scale.

    Args:
        grams: {layer: [B, C, C]} of the stylized images.
        targets: {layer: [B or 1, C, C]} of the style; its layers are the ones compared.
        layer_weights: {layer: weight}; equal weights that sum to 1 where omitted.

    Returns:
        Scalar float32, the mean over images.

    Raises:
        ValueError: where the layers of `layer_weights` and `targets` differ.
    """
    total = tf.zeros([])
    for layer, weight in _layer_weights(layer_weights, targets).items():
        target = tf.cast(targets[layer], "float32")
        error = tf.reduce_sum(tf.square(tf.cast(grams[layer], "float32") - target), axis=[1, 2])
        energy = tf.reduce_sum(tf.square(target), axis=[1, 2])
        total += weight * tf.reduce_mean(tf.math.divide_no_nan(error, energy))
    return total


def wasserstein_style_loss(
    *,
    means: Mapping[str, tf.Tensor],
    grams: Mapping[str, tf.Tensor],
    target_means: Mapping[str, tf.Tensor],
    target_grams: Mapping[str, tf.Tensor],
    layer_weights=None,
) -> tf.Tensor:
    """Squared 2-Wasserstein distance of the features' Gaussians, sum over layers of w_l W_l / E_l.

    W = ||m - n||^2 + tr(C) + tr(D) - 2 tr((D^1/2 C D^1/2)^1/2) for means m, n and covariances
    C = G - m m', D of the image and the style (Dowson and Landau 1982, "The Frechet distance
    between multivariate normal distributions", eq. 4; first used for style by Vincent Herrmann,
    2017).
    E = tr(D) + ||n||^2, the mean energy of the style's features: 1 is the distance of an image
    without features, as in `style_loss`.

    Args:
        means, target_means: {layer: [B or 1, C]}, see `channel_means`.
        grams, target_grams: {layer: [B or 1, C, C]}, see `gram`.
        layer_weights: as in `style_loss`.

    Returns:
        Scalar float32, the mean over images; not below 0 but for rounding.

    Raises:
        ValueError: where the layers of `layer_weights` and the targets differ.
    """
    total = tf.zeros([])
    for layer, weight in _layer_weights(layer_weights, target_grams).items():
        mean, product, target_mean, target_product = (
            # In float32 the roots of small eigenvalues would be rounding.
            tf.cast(of[layer], "float64")
            for of in (means, grams, target_means, target_grams)
        )
        covariance, target = product - _outer(mean), target_product - _outer(target_mean)
        energy = tf.linalg.trace(target_product)
        distance = (
            tf.reduce_sum(tf.square(mean - target_mean), axis=-1)
            + tf.linalg.trace(covariance)
            + tf.linalg.trace(target)
            - 2 * _fidelity(covariance, target, energy)
        )
        relative = tf.math.divide_no_nan(distance, energy)
        total += weight * tf.cast(tf.reduce_mean(relative), "float32")
    return total


def _fidelity(covariance, target, energy):
    """tr((D^1/2 C D^1/2)^1/2), of which the derivative by C is finite everywhere."""
    root = _square_root(target)
    _, vectors = tf.linalg.eigh(tf.stop_gradient(root @ covariance @ root))
    # The eigenvalues once more, as a function of the covariance alone: their derivative is v v',
    # whereas that of eigenvectors is infinite where two eigenvalues are equal.
    turned = root @ vectors
    values = tf.maximum(tf.reduce_sum(turned * (covariance @ turned), axis=-2), 0)
    # A root has an infinite derivative at 0, and few positions make most eigenvalues 0. Below
    # `smallest`, which is above the rounding of float32 Gram matrices, it is replaced by a line
    # through 0; a constant would add up to a tenth of the energy over hundreds of eigenvalues.
    smallest = tf.where(energy > 0, 1e-11 * tf.square(energy), 1)[:, None]
    return tf.reduce_sum(values / tf.sqrt(tf.maximum(values, smallest)), axis=-1)


def _outer(mean):
    return mean[:, :, None] * mean[:, None, :]


def _square_root(matrix):
    """Symmetric root of positive semidefinite matrices [B, C, C]."""
    values, vectors = tf.linalg.eigh(matrix)
    roots = tf.sqrt(tf.maximum(values, 0.0))
    return tf.matmul(vectors * roots[:, None, :], vectors, transpose_b=True)


def _layer_weights(layer_weights, targets) -> Mapping[str, float]:
    if layer_weights is None:
        return {layer: 1 / len(targets) for layer in targets}
    if set(layer_weights) != set(targets):
        raise ValueError(
            f"layer_weights are for {sorted(layer_weights)}, the style's layers are "
            f"{sorted(targets)}: give one weight for each layer."
        )
    return layer_weights


def gatys_content_loss(*, features, target) -> tf.Tensor:
    """1/2 sum (F - P)^2 over positions and channels; Gatys et al. 2015, eq. 1, as published.

    It grows with the image and differs between layers: `content_loss` does not. `features`,
    `target`: [B, H, W, C]. Returns a scalar float32, the mean over images.
    """
    error = tf.cast(features, "float32") - tf.cast(target, "float32")
    return tf.reduce_mean(tf.reduce_sum(tf.square(error), axis=[1, 2, 3])) / 2


def gatys_style_loss(
    *, grams: Mapping[str, tf.Tensor], targets: Mapping[str, tf.Tensor], layer_weights=None
) -> tf.Tensor:
    """sum over layers of w_l / (4 N_l^2) ||G_l - A_l||^2; Gatys et al. 2015, eqs. 4 and 5.

    N is the number of channels. The published factor 1 / (4 N^2 M^2) is for sums over M
    positions; `gram` has divided by M already, each matrix by its own, so that the style may have
    another size.

    Args:
        grams, targets, layer_weights: as in `style_loss`.

    Returns:
        Scalar float32, the mean over images.

    Raises:
        ValueError: where the layers of `layer_weights` and `targets` differ.
    """
    total = tf.zeros([])
    for layer, weight in _layer_weights(layer_weights, targets).items():
        error = tf.cast(grams[layer], "float32") - tf.cast(targets[layer], "float32")
        channels = tf.cast(tf.shape(error)[-1], "float32")
        squares = tf.reduce_sum(tf.square(error), axis=[1, 2])
        total += weight * tf.reduce_mean(squares) / (4 * tf.square(channels))
    return total


def pixel_loss(*, images, target) -> tf.Tensor:
    """Mean squared difference of images, of which the PSNR is -10 log10.

    `images`, `target`: [B, H, W, C] in [0, 1]. Returns a scalar float32.
    """
    return tf.reduce_mean(tf.square(tf.cast(images, "float32") - tf.cast(target, "float32")))


def total_variation(images) -> tf.Tensor:
    """Mean squared difference of neighbouring pixels, down plus across.

    Anisotropic, after Mahendran and Vedaldi 2014 (https://arxiv.org/abs/1412.0035), beta = 2; the
    mean in place of the sum makes it independent of the image's size.

    Args:
        images: [B, H, W, C]; a side of 1 pixel contributes 0.

    Returns:
        Scalar float32.
    """
    images = tf.cast(images, "float32")

    def mean_square(difference):
        count = tf.cast(tf.size(difference), "float32")
        return tf.math.divide_no_nan(tf.reduce_sum(tf.square(difference)), count)

    down = mean_square(images[:, 1:] - images[:, :-1])
    across = mean_square(images[:, :, 1:] - images[:, :, :-1])
    return down + across


def checkerboard_ratios(images, *, strides: Sequence[int] = (2, 4, 8)) -> dict[int, tf.Tensor]:
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
        raise ValueError(f"strides {tuple(strides)}: give periods of at least 2 pixels.")
    images = tf.convert_to_tensor(images)
    dtype = tf.float64 if images.dtype == tf.float64 else tf.float32
    height, width = images.shape[1:3]
    window = 16 * math.lcm(*strides)
    if None in (height, width) or min(height, width) < window:
        raise ValueError(
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

    def ratio(u, v):
        near = [power[:, (u + i) % window, v] for i in offsets if u]
        near += [power[:, u, (v + i) % window] for i in offsets if v]
        near = tf.exp(tf.reduce_mean(tf.math.log(tf.stack(near)), axis=0))
        return power[:, u, v] / tf.stop_gradient(near)

    return {
        stride: tf.add_n([ratio(0, f), ratio(f, 0), ratio(f, f), ratio(f, window - f)]) / 4
        for stride, f in ((stride, window // stride) for stride in strides)
    }


def _starts(length, window):
    """Where windows that overlap by half begin; the last one ends with the image."""
    return sorted({*range(0, length - window + 1, window // 2), length - window})


def checkerboard_loss(*, images, strides: Sequence[int] = (2, 4, 8)) -> tf.Tensor:
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


def identity_loss(*, images, target) -> tf.Tensor:
    """|G(y) - y|: a picture in the style already is to stay; Zhu et al. 2017, section 5.2.

    https://arxiv.org/abs/1703.10593. The mean in place of the sum makes it independent of the size.

    Args:
        images: [B, H, W, C], what the generator makes of `target`.
        target: [B, H, W, C], pictures in the style.

    Returns:
        Scalar float32.
    """
    return tf.reduce_mean(tf.abs(tf.cast(images, "float32") - tf.cast(target, "float32")))


def color_loss(*, images, target, sigma: float = 3.0) -> tf.Tensor:
    """Mean squared difference of both blurred: colours where they are, no matter their texture.

    Ignatov et al. 2017 (https://arxiv.org/abs/1704.02470), eqs. 1 and 2, with the mean over pixels
    in place of the sum. At the borders the Gaussian's weights inside the image sum to 1.

    Args:
        images, target: [B, H, W, C] of one size.
        sigma: of the Gaussian, in pixels; the paper's 3 by default.

    Returns:
        Scalar float32.
    """
    # Blurring is linear: once for the difference. As matrices, it needs no padding.
    difference = tf.cast(images, "float32") - tf.cast(target, "float32")
    rows, columns = (_gaussian(tf.shape(difference)[axis], sigma) for axis in (1, 2))
    blurred = tf.einsum("ih,bhwc->biwc", rows, difference)
    blurred = tf.einsum("jw,biwc->bijc", columns, blurred)
    return tf.reduce_mean(tf.square(blurred))


def _gaussian(length, sigma):
    """[length, length]: row i blurs to position i, and sums to 1."""
    positions = tf.cast(tf.range(length), "float32")
    return tf.nn.softmax(-tf.square((positions[:, None] - positions) / sigma) / 2)


def _cross_entropy(logits, label):
    logits = tf.cast(logits, "float32")
    labels = tf.fill(tf.shape(logits), float(label))
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits))


def bce_discriminator_loss(*, real, fake, real_label: float = 1.0) -> tf.Tensor:
    """-log D(real) - log(1 - D(fake)), means over scores; Goodfellow et al. 2014, algorithm 1.

    https://arxiv.org/abs/1406.2661. `real`, `fake`: logits. `real_label`: what D(real) is to be;
    below 1 the labels are smoothed on one side (Salimans et al. 2016, section 3.4,
    https://arxiv.org/abs/1606.03498). Returns a scalar float32.
    """
    return _cross_entropy(real, real_label) + _cross_entropy(fake, 0)


def bce_generator_loss(*, fake) -> tf.Tensor:
    """-log D(fake), the non-saturating form; Goodfellow et al. 2014, section 3. Scalar float32."""
    return _cross_entropy(fake, 1)


def lsgan_discriminator_loss(*, real, fake) -> tf.Tensor:
    """((D(real) - 1)^2 + D(fake)^2) / 2; Mao et al. 2017 (https://arxiv.org/abs/1611.04076), eq. 9.

    `real`, `fake`: unbounded scores. Returns a scalar float32.
    """
    real, fake = tf.cast(real, "float32"), tf.cast(fake, "float32")
    return (tf.reduce_mean(tf.square(real - 1)) + tf.reduce_mean(tf.square(fake))) / 2


def lsgan_generator_loss(*, fake) -> tf.Tensor:
    """(D(fake) - 1)^2 / 2; Mao et al. 2017, eq. 9. Returns a scalar float32."""
    return tf.reduce_mean(tf.square(tf.cast(fake, "float32") - 1)) / 2


def hinge_discriminator_loss(*, real, fake) -> tf.Tensor:
    """max(0, 1 - D(real)) + max(0, 1 + D(fake)); Lim and Ye 2017 (https://arxiv.org/abs/1705.02894).

    `real`, `fake`: unbounded scores. Returns a scalar float32.
    """
    real, fake = tf.cast(real, "float32"), tf.cast(fake, "float32")
    return tf.reduce_mean(tf.nn.relu(1 - real)) + tf.reduce_mean(tf.nn.relu(1 + fake))


def hinge_generator_loss(*, fake) -> tf.Tensor:
    """-D(fake); Lim and Ye 2017. Returns a scalar float32."""
    return -tf.reduce_mean(tf.cast(fake, "float32"))


ADVERSARIAL = {
    "bce": (bce_discriminator_loss, bce_generator_loss),
    "lsgan": (lsgan_discriminator_loss, lsgan_generator_loss),
    "hinge": (hinge_discriminator_loss, hinge_generator_loss),
}
