"""Losses: pure, unweighted, in float32 whatever they are given. The train step applies weights.

Adversarial losses take the discriminator's outputs before any sigmoid ("logits"), of any shape.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import tensorflow as tf

from tfstyle.errors import ArgumentError

# The layers of Gatys et al., "A Neural Algorithm of Artistic Style"
# (https://arxiv.org/abs/1508.06576), by their Keras names in VGG16 and VGG19.
STYLE_LAYERS = ("block1_conv1", "block2_conv1", "block3_conv1", "block4_conv1", "block5_conv1")
CONTENT_LAYER = "block4_conv2"


def falling(layers: Sequence[str], depth: int, falloff: float) -> dict[str, float]:
    """{layer: weight} of the first `depth` layers, each `falloff` times that of the one before."""
    return {layer: falloff**place for place, layer in enumerate(layers[:depth])}


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


def gram(features: tf.Tensor, *, weights: tf.Tensor | None = None) -> tf.Tensor:
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


def channel_means(features: tf.Tensor, *, weights: tf.Tensor | None = None) -> tf.Tensor:
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


def _shares(weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """[B, H, W] -> [B, H W, 1] and their sums [B, 1]."""
    weights = tf.cast(weights, "float32")
    flat = tf.reshape(weights, (tf.shape(weights)[0], -1, 1))
    return flat, tf.reduce_sum(flat, axis=1)


def content_loss(
    *, features: tf.Tensor, target: tf.Tensor, weights: tf.Tensor | None = None
) -> tf.Tensor:
    """Feature reconstruction relative to the target's energy: ||F - T||^2 / ||T||^2.

    Gatys et al. 2015, eq. 1, divided by the target's squared norm instead of multiplied by 1/2, so
    that one weight suits every layer, size and extractor. 0 is equal; 1 is the error of all zeros.

    Args:
        features, target: [B, H, W, C]; the ratio is taken for each image.
        weights: [B or 1, H, W, 1] of the positions in both sums, such as `saliency`; all alike
            where None.

    Returns:
        Scalar float32, the mean over images.
    """
    features, target = tf.cast(features, "float32"), tf.cast(target, "float32")
    weights = tf.ones([]) if weights is None else weights
    error = tf.reduce_sum(weights * tf.square(features - target), axis=[1, 2, 3])
    energy = tf.reduce_sum(weights * tf.square(target), axis=[1, 2, 3])
    return tf.reduce_mean(tf.math.divide_no_nan(error, energy))


def saliency(features: tf.Tensor) -> tf.Tensor:
    """How much each position stands out: the squared distance of its features to their mean.

    As Achanta et al. 2009, "Frequency-tuned Salient Region Detection", eq. 1, of features in place
    of colours. What most of an image is, a sky or a wall, weighs little; a bird in it much.

    Args:
        features: [B, H, W, C] of the photos.

    Returns:
        [B, H, W, 1] float32, clipped at a quarter and at four times its mean, and then of mean 1;
        1 everywhere where all positions are equal.
    """
    features = tf.cast(features, "float32")
    off = features - tf.reduce_mean(features, axis=[1, 2], keepdims=True)
    distance = tf.reduce_sum(tf.square(off), axis=-1, keepdims=True)
    mean = tf.reduce_mean(distance, axis=[1, 2], keepdims=True)
    clipped = tf.clip_by_value(tf.math.divide_no_nan(distance, mean), 0.25, 4.0)
    return clipped / tf.reduce_mean(clipped, axis=[1, 2], keepdims=True)


def style_loss(
    *,
    grams: Mapping[str, tf.Tensor],
    targets: Mapping[str, tf.Tensor],
    layer_weights: Mapping[str, float] | None = None,
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
    target_roots: Mapping[str, tf.Tensor] | None = None,
    layer_weights: Mapping[str, float] | None = None,
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
        target_roots: {layer: D^1/2 [B or 1, C, C]} of `covariance_root`, where it is known already:
            half of the work.
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
        root = _square_root(target) if target_roots is None else target_roots[layer]
        distance = (
            tf.reduce_sum(tf.square(mean - target_mean), axis=-1)
            + tf.linalg.trace(covariance)
            + tf.linalg.trace(target)
            - 2 * _fidelity(covariance, root, energy)
        )
        relative = tf.math.divide_no_nan(distance, energy)
        total += weight * tf.cast(tf.reduce_mean(relative), "float32")
    return total


def covariance_root(mean: tf.Tensor, gram: tf.Tensor) -> tf.Tensor:
    """Symmetric root of a covariance, for `wasserstein_style_loss`: float64 [B, C, C].

    Args:
        mean: [B, C], see `channel_means`.
        gram: [B, C, C], see `gram`.
    """
    return _square_root(tf.cast(gram, "float64") - _outer(tf.cast(mean, "float64")))


def _fidelity(covariance: tf.Tensor, root: tf.Tensor, energy: tf.Tensor) -> tf.Tensor:
    """tr((R C R)^1/2) for the root R = D^1/2, of which the derivative by C is finite everywhere."""
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


def _outer(mean: tf.Tensor) -> tf.Tensor:
    return mean[:, :, None] * mean[:, None, :]


def _square_root(matrix: tf.Tensor) -> tf.Tensor:
    """Symmetric root of positive semidefinite matrices [B, C, C]."""
    values, vectors = tf.linalg.eigh(matrix)
    roots = tf.sqrt(tf.maximum(values, 0.0))
    return tf.matmul(vectors * roots[:, None, :], vectors, transpose_b=True)


def _layer_weights(
    layer_weights: Mapping[str, float] | None, targets: Mapping[str, tf.Tensor]
) -> Mapping[str, float]:
    if layer_weights is None:
        return {layer: 1 / len(targets) for layer in targets}
    if set(layer_weights) != set(targets):
        raise ArgumentError(
            f"layer_weights are for {sorted(layer_weights)}, the style's layers are "
            f"{sorted(targets)}: give one weight for each layer."
        )
    return layer_weights


def gatys_content_loss(
    *, features: tf.Tensor, target: tf.Tensor, weights: tf.Tensor | None = None
) -> tf.Tensor:
    """1/2 sum (F - P)^2 over positions and channels; Gatys et al. 2015, eq. 1, as published.

    It grows with the image and differs between layers: `content_loss` does not. `features`,
    `target`: [B, H, W, C]; `weights`: as there, none as published. Returns a scalar float32, the
    mean over images.
    """
    error = tf.square(tf.cast(features, "float32") - tf.cast(target, "float32"))
    error = error if weights is None else weights * error
    return tf.reduce_mean(tf.reduce_sum(error, axis=[1, 2, 3])) / 2


def gatys_style_loss(
    *,
    grams: Mapping[str, tf.Tensor],
    targets: Mapping[str, tf.Tensor],
    layer_weights: Mapping[str, float] | None = None,
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
