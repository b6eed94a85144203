"""A GAN that trains in seconds, whole or with a fault, for the tests of what finds faults."""

import keras
import numpy as np
import tensorflow as tf

from tfstyle import training
from tfstyle.explain import health
from tfstyle.training import steps

SIDE, NOISE, BATCH = 16, 8, 16
STEPS, EVERY = 160, 8
FAULTS = ("fast discriminator", "constant output", "frozen generator", "memorising discriminator")


def pictures(count: int, seed: int) -> np.ndarray:
    """A disc of some colour somewhere on a ground of some colour, [count, 16, 16, 3] in [0, 1]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    centre = rng.uniform(4, SIDE - 4, size=(2, count, 1, 1))
    radius = rng.uniform(2, 5, size=(count, 1, 1))
    inside = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2
    inks = rng.uniform(size=(2, count, 1, 1, 3))
    return np.where(inside[..., None], inks[0], inks[1]).astype("float32")


def networks(*, wide: bool = False, constant: bool = False):
    noise = keras.Input((NOISE,))
    z = keras.layers.Rescaling(0.0)(noise) if constant else noise
    x = keras.layers.Reshape((4, 4, 16))(keras.layers.Dense(4 * 4 * 16, activation="relu")(z))
    for width in (16, 8):
        x = keras.layers.UpSampling2D()(x)
        x = keras.layers.Conv2D(width, 3, padding="same", activation="relu")(x)
    x = keras.layers.Conv2D(3, 3, padding="same", activation="sigmoid")(x)
    generator = keras.Model(noise, x, name="generator")
    images = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Rescaling(2.0, -1.0)(images)
    for width in (64, 128) if wide else (8, 16):
        x = keras.layers.Conv2D(width, 4, 2, padding="same")(x)
        x = keras.layers.LeakyReLU(negative_slope=0.2)(x)
    scores = keras.layers.Dense(1)(keras.layers.Flatten()(x))
    return generator, keras.Model(images, scores, name="discriminator")


def train(folder, *, fault: str | None = None, seed: int = 0, count: int = STEPS) -> list[dict]:
    """Trains in `folder` with one of FAULTS or none; returns the timeline of its health."""
    keras.utils.set_random_seed(seed)
    memorising = fault == FAULTS[3]
    generator, discriminator = networks(wide=memorising, constant=fault == FAULTS[1])
    # Of few pictures the discriminator can learn each.
    real = pictures(8 if memorising else 2000, 2 * seed)
    count *= 2 if memorising else 1
    rates = [0.0 if fault == FAULTS[2] else 1e-3, 2e-2 if fault == FAULTS[0] else 1e-3]
    optimizers = [
        training.adam(rate, network.trainable_variables, beta_1=0.5)
        for rate, network in zip(rates, (generator, discriminator), strict=True)
    ]
    step = steps.NoiseGanStep(
        generator=generator,
        discriminator=discriminator,
        generator_optimizer=optimizers[0],
        discriminator_optimizer=optimizers[1],
    )
    rng = np.random.default_rng(seed)
    probe = tf.constant(rng.normal(size=(64, NOISE)), tf.float32)
    monitor = health.Monitor(
        folder=folder,
        every=EVERY,
        generator=generator,
        inputs=probe,
        real=real[:256],
        terms=lambda: step.terms(None, probe),
        weights=step.weights,
        discriminator=discriminator,
        held_out=pictures(256, 2 * seed + 1),
    )
    for number in range(1, count + 1):
        batch = real[rng.integers(len(real), size=BATCH)]
        step(tf.constant(batch), tf.constant(rng.normal(size=(BATCH, NOISE)), tf.float32))
        monitor(training.Progress(number, {}))
    return health.read(monitor.file)
