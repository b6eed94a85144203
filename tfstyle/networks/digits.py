"""Networks for pictures of 28x28 digits: noise -> digit, digit -> score, digit -> class.

A digit is [28, 28, 1], ink 1 on ground 0, as MNIST has it (http://yann.lecun.com/exdb/mnist/).
"""

import keras

SIZE = 28
NOISE_SIZE = 100


def _normal() -> keras.initializers.Initializer:
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

    def active(x: keras.KerasTensor) -> keras.KerasTensor:
        # The averages follow the last 10 to 20 steps: the weights change too fast for Keras' 0.99.
        return keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))

    def conv(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
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


def digit_classifier(*, width: int = 32, name: str = "digit_classifier") -> keras.Model:
    """Digits -> probabilities of the ten classes.

    Args:
        width: channels at 28x28; twice as many at 14x14, four times at 7x7.

    Returns:
        Functional model, [B, 28, 28, 1] in [0, 1] -> [B, 10], float32 under every dtype policy.
    """
    kwargs = {"activation": "relu", "dtype": "float32"}
    x = digits = keras.Input((SIZE, SIZE, 1), name="digits")
    for size, factor in ((28, 1), (14, 2), (7, 4)):
        x = keras.layers.Conv2D(
            factor * width, 3, padding="same", name=f"block{size}_conv", **kwargs
        )(x)
        if size > 7:
            x = keras.layers.MaxPooling2D(2, dtype="float32")(x)
    x = keras.layers.Flatten(dtype="float32")(x)
    x = keras.layers.Dropout(0.5, dtype="float32")(x)
    x = keras.layers.Dense(4 * width, name="dense", **kwargs)(x)
    x = keras.layers.Dropout(0.5, dtype="float32")(x)
    x = keras.layers.Dense(10, activation="softmax", dtype="float32", name="classes")(x)
    return keras.Model(digits, x, name=name)
