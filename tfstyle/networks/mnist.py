"""Networks for pictures of 28x28 digits: noise -> digit, digit -> score, digit -> class.

A digit is [28, 28, 1], ink 1 on ground 0, as MNIST has it (http://yann.lecun.com/exdb/mnist/).
"""

from typing import NamedTuple

import keras
import numpy as np

SIZE = 28
NOISE_SIZE = 100


def _normal():
    # A new initializer each time: the same one would draw the same values again.
    return keras.initializers.RandomNormal(stddev=0.02)


def digit_generator(
    *, width: int = 16, noise_size: int = NOISE_SIZE, name: str = "digit_generator"
) -> keras.Model:
    """Noise -> digits: the blocks of VGG16 in reverse, after DCGAN.

    Simonyan and Zisserman 2014 (https://arxiv.org/abs/1409.1556): blocks of 3x3 convolutions, each
    at one size, channels halved where the size doubles. Radford et al. 2015
    (https://arxiv.org/abs/1511.06434): transposed convolutions between the blocks, batch
    normalisation and ReLU after each, weights from N(0, 0.02). The transposed kernels are 4x4,
    which their stride divides: 3x3 would give every other pixel more taps than its neighbours.

    Args:
        width: channels at 28x28; twice as many at 14x14, four times at 7x7.
        noise_size: length of a noise vector.

    Returns:
        Functional model, N(0, 1) noise [B, noise_size] -> [B, 28, 28, 1] in [0, 1], float32.
    """

    def active(x):
        # The averages follow the last 10 to 20 steps: the weights change too fast for Keras' 0.99.
        return keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))

    def conv(x, filters, name):
        return keras.layers.Conv2D(
            filters, 3, padding="same", use_bias=False, kernel_initializer=_normal(), name=name
        )(x)

    noise = keras.Input((noise_size,), name="noise")
    x = keras.layers.Dense(
        7 * 7 * 4 * width, use_bias=False, kernel_initializer=_normal(), name="stem"
    )(noise)
    x = active(keras.layers.Reshape((7, 7, 4 * width))(x))
    x = active(conv(x, 4 * width, "block7_conv1"))
    for size, factor in ((14, 2), (28, 1)):
        x = keras.layers.Conv2DTranspose(
            factor * width,
            4,
            2,
            padding="same",
            use_bias=False,
            kernel_initializer=_normal(),
            name=f"up{size}",
        )(x)
        x = active(conv(active(x), factor * width, f"block{size}_conv1"))
    x = keras.layers.Conv2D(1, 3, padding="same", kernel_initializer=_normal(), name="head")(x)
    return keras.Model(noise, keras.layers.Activation("sigmoid", dtype="float32")(x), name=name)


def digit_discriminator(*, width: int = 16, name: str = "digit_discriminator") -> keras.Model:
    """Digits -> scores: three VGG blocks of two 3x3 convolutions and a pooling each.

    Departs from VGG16 where a generator learns from it: it pools by average, because the maximum
    hands the gradient to one pixel in four, and is leaky instead of ReLU; both as in DCGAN, whose
    batch normalisation (of every convolution but the first) and N(0, 0.02) it also has.

    Args:
        width: channels at 28x28; twice as many at 14x14, four times at 7x7.

    Returns:
        Functional model, [B, 28, 28, 1] in [0, 1] -> scores [B, 1], float32; the sigmoid of a score
        is the probability that the digit is real.
    """
    digits = keras.Input((SIZE, SIZE, 1), name="digits")
    x = keras.layers.Rescaling(2.0, -1.0)(digits)
    for size, factor in ((28, 1), (14, 2), (7, 4)):
        for i in (1, 2):
            first = size == 28 and i == 1
            x = keras.layers.Conv2D(
                factor * width,
                3,
                padding="same",
                use_bias=first,
                kernel_initializer=_normal(),
                name=f"block{size}_conv{i}",
            )(x)
            if not first:
                x = keras.layers.BatchNormalization(momentum=0.9)(x)
            x = keras.layers.LeakyReLU(negative_slope=0.2)(x)
        x = keras.layers.AveragePooling2D(2)(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(1, kernel_initializer=_normal(), name="score")(x)
    return keras.Model(digits, keras.layers.Activation("linear", dtype="float32")(x), name=name)


def digit_classifier(*, width: int = 16, name: str = "digit_classifier") -> keras.Model:
    """Digits -> probabilities of the ten classes, to judge generated digits by.

    An epoch of MNIST took it to 97.8 % of the test digits, and to be sure of 93 % of them.

    Args:
        width: channels at 28x28; twice as many at 14x14.

    Returns:
        Functional model, [B, 28, 28, 1] in [0, 1] -> [B, 10], float32 under every dtype policy.
    """
    kwargs = {"activation": "relu", "dtype": "float32"}
    digits = keras.Input((SIZE, SIZE, 1), name="digits")
    x = keras.layers.Conv2D(width, 3, padding="same", name="conv1", **kwargs)(digits)
    x = keras.layers.MaxPooling2D(2, dtype="float32")(x)
    x = keras.layers.Conv2D(2 * width, 3, padding="same", name="conv2", **kwargs)(x)
    x = keras.layers.MaxPooling2D(2, dtype="float32")(x)
    x = keras.layers.Flatten(dtype="float32")(x)
    x = keras.layers.Dense(4 * width, name="dense", **kwargs)(x)
    x = keras.layers.Dense(10, activation="softmax", dtype="float32", name="classes")(x)
    return keras.Model(digits, x, name=name)


class Recognised(NamedTuple):
    """How many digits a classifier is sure of: `recognised`."""

    share: float  # of all digits, in [0, 1]
    of_class: list[float]  # the same for each class; their sum is `share`
    classes: int  # those that make up at least `least` of all digits


def recognised(probabilities, *, confidence: float = 0.9, least: float = 0.01) -> Recognised:
    """What share of digits is surely one of the classes, and how many classes occur.

    Args:
        probabilities: [N, K], N at least 1, from a classifier; rows sum to 1.
        confidence: a digit counts where its largest probability is at least this.
        least: a class occurs where at least this share of the N digits is surely of it.
    """
    probabilities = np.asarray(probabilities)
    sure = probabilities.max(axis=1) >= confidence
    found = np.bincount(probabilities.argmax(axis=1)[sure], minlength=probabilities.shape[1])
    # Counts, not shares: 10 of 1000 must not fall short of 0.01 by a rounding.
    classes = int((found >= round(least * len(probabilities), 6)).sum())
    return Recognised(
        float(sure.mean()), [float(count / len(probabilities)) for count in found], classes
    )


def tiled(digits, columns: int = 10) -> np.ndarray:
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
