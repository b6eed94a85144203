"""Losses of a generator and its discriminator, in pairs."""

import tensorflow as tf


def _cross_entropy(logits: tf.Tensor, label: float) -> tf.Tensor:
    logits = tf.cast(logits, "float32")
    labels = tf.fill(tf.shape(logits), float(label))
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits))


def bce_discriminator_loss(
    *, real: tf.Tensor, fake: tf.Tensor, real_label: float = 1.0
) -> tf.Tensor:
    """-log D(real) - log(1 - D(fake)), means over scores; Goodfellow et al. 2014, algorithm 1.

    https://arxiv.org/abs/1406.2661. `real`, `fake`: logits. `real_label`: what D(real) is to be;
    below 1 the labels are smoothed on one side (Salimans et al. 2016, section 3.4,
    https://arxiv.org/abs/1606.03498). Returns a scalar float32.
    """
    return _cross_entropy(real, real_label) + _cross_entropy(fake, 0)


def bce_generator_loss(*, fake: tf.Tensor) -> tf.Tensor:
    """-log D(fake), the non-saturating form; Goodfellow et al. 2014, section 3. Scalar float32."""
    return _cross_entropy(fake, 1)


def lsgan_discriminator_loss(*, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """((D(real) - 1)^2 + D(fake)^2) / 2; Mao et al. 2017 (https://arxiv.org/abs/1611.04076), eq. 9.

    `real`, `fake`: unbounded scores. Returns a scalar float32.
    """
    real, fake = tf.cast(real, "float32"), tf.cast(fake, "float32")
    return (tf.reduce_mean(tf.square(real - 1)) + tf.reduce_mean(tf.square(fake))) / 2


def lsgan_generator_loss(*, fake: tf.Tensor) -> tf.Tensor:
    """(D(fake) - 1)^2 / 2; Mao et al. 2017, eq. 9. Returns a scalar float32."""
    return tf.reduce_mean(tf.square(tf.cast(fake, "float32") - 1)) / 2


def hinge_discriminator_loss(*, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """max(0, 1 - D(real)) + max(0, 1 + D(fake)); Lim and Ye 2017 (https://arxiv.org/abs/1705.02894).

    `real`, `fake`: unbounded scores. Returns a scalar float32.
    """
    real, fake = tf.cast(real, "float32"), tf.cast(fake, "float32")
    return tf.reduce_mean(tf.nn.relu(1 - real)) + tf.reduce_mean(tf.nn.relu(1 + fake))


def hinge_generator_loss(*, fake: tf.Tensor) -> tf.Tensor:
    """-D(fake); Lim and Ye 2017. Returns a scalar float32."""
    return -tf.reduce_mean(tf.cast(fake, "float32"))


ADVERSARIAL = {
    "bce": (bce_discriminator_loss, bce_generator_loss),
    "lsgan": (lsgan_discriminator_loss, lsgan_generator_loss),
    "hinge": (hinge_discriminator_loss, hinge_generator_loss),
}
