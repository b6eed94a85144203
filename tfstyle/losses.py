"""Losses: pure, unweighted, in float32 whatever they are given. The train step applies weights.

Adversarial losses take the discriminator's outputs before any sigmoid ("logits"), of any shape.
"""

from collections.abc import Mapping

import tensorflow as tf

# The layers of Gatys et al., "A Neural Algorithm of Artistic Style"
# (https://arxiv.org/abs/1508.06576), by their Keras names in VGG16 and VGG19.
STYLE_LAYERS = ("block1_conv1", "block2_conv1", "block3_conv1", "block4_conv1", "block5_conv1")
CONTENT_LAYER = "block4_conv2"


def gram(features) -> tf.Tensor:
    """Gram matrix over positions, G = F'F / (H W); Gatys et al. 2015, eq. 3, per position.

    Dividing by the number of positions makes it independent of the image's size.

    Args:
        features: [B, H, W, C], any float type.

    Returns:
        [B, C, C] float32.
    """
    features = tf.cast(features, "float32")
    shape = tf.shape(features)
    flat = tf.reshape(features, (shape[0], -1, features.shape[-1] or shape[3]))
    positions = tf.cast(shape[1] * shape[2], "float32")
    return tf.matmul(flat, flat, transpose_a=True) / positions


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
    if layer_weights is None:
        layer_weights = {layer: 1 / len(targets) for layer in targets}
    if set(layer_weights) != set(targets):
        raise ValueError(
            f"layer_weights are for {sorted(layer_weights)}, the style's layers are "
            f"{sorted(targets)}: give one weight for each layer."
        )
    total = tf.zeros([])
    for layer, weight in layer_weights.items():
        target = tf.cast(targets[layer], "float32")
        error = tf.reduce_sum(tf.square(tf.cast(grams[layer], "float32") - target), axis=[1, 2])
        energy = tf.reduce_sum(tf.square(target), axis=[1, 2])
        total += weight * tf.reduce_mean(tf.math.divide_no_nan(error, energy))
    return total


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


def _cross_entropy(logits, label):
    logits = tf.cast(logits, "float32")
    labels = tf.fill(tf.shape(logits), float(label))
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits))


def bce_discriminator_loss(*, real, fake) -> tf.Tensor:
    """-log D(real) - log(1 - D(fake)), means over scores; Goodfellow et al. 2014, algorithm 1.

    https://arxiv.org/abs/1406.2661. `real`, `fake`: logits. Returns a scalar float32.
    """
    return _cross_entropy(real, 1) + _cross_entropy(fake, 0)


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
