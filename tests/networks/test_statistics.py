"""Statistics of instance norm: those of the whole make of a part what the whole has there."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.small_models import shaken
from tfstyle.networks import generators, layers, statistics


@pytest.fixture(params=["fast", "fusion", "noise", "unet"])
def generator(request):
    build = {
        "fast": lambda: generators.fast_generator(width=4, depth=1),
        "fusion": lambda: generators.fusion_generator(styles=2, width=4, depth=1),
        "noise": lambda: generators.fusion_generator(styles=2, width=4, depth=1, noise=True),
        "unet": lambda: generators.unet_generator(width=4, residual_blocks=1),
    }[request.param]
    return shaken(build())


def inputs(model, images):
    more = [tf.constant([[0.3, 0.7]])] if len(model.inputs) > 1 else []
    return [tf.constant(images), *more]


def call(model, images):
    given = inputs(model, images)
    return model(given if len(given) > 1 else given[0]).numpy()


def test_an_image_with_its_own_statistics_is_as_without(generator, rng):
    image = rng.random((1, 40, 56, 3), np.float32)
    values = statistics.taken(generator, inputs(generator, image))
    assert values.shape == (2, layers.normalised_channels(generator))
    np.testing.assert_allclose(
        statistics.with_given(generator, inputs(generator, image), values),
        call(generator, image),
        atol=1e-5,
    )


def test_a_part_with_the_statistics_of_the_whole_is_as_in_the_whole(generator, rng):
    image = rng.random((1, 256, 256, 3), np.float32)
    image[:, 128:] *= 0.2  # so that the parts' own statistics are others
    reach = statistics.reach(generator, side=256)
    start = -(-reach // 8) * 8
    assert 0 < start <= 64
    values = statistics.taken(generator, inputs(generator, image))
    part = image[:, 64:]
    whole = call(generator, image)[:, 64 + start :]
    np.testing.assert_allclose(
        statistics.with_given(generator, inputs(generator, part), values, (64, 0))[:, start:],
        whole,
        atol=1e-5,
    )
    assert np.abs(call(generator, part)[:, start:] - whole).max() > 0.01


def test_statistics_are_those_of_all_windows_together(rng):
    x = keras.Input((None, None, 3))
    model = keras.Model(x, layers.InstanceNorm()(x))
    images = rng.random((3, 5, 4, 3), np.float32)
    np.testing.assert_allclose(
        statistics.taken(model, [images]),
        [images.mean(axis=(0, 1, 2)), images.var(axis=(0, 1, 2))],
        atol=1e-6,
    )


def test_statistics_of_another_network_are_refused(rng):
    x = keras.Input((None, None, 3))
    model = keras.Model(x, layers.InstanceNorm()(x))
    images = rng.random((2, 5, 4, 3), np.float32)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        statistics.with_given(model, [images], tf.zeros((2, 1)))  # one channel of three
    # And nothing of it stays behind: each image is normalised by itself again.
    np.testing.assert_allclose(model(images).numpy().mean(axis=(1, 2)), 0, atol=1e-5)


def test_reach_is_the_half_of_a_convolution():
    x = keras.Input((None, None, 3))
    model = keras.Model(x, keras.layers.Conv2D(3, 7, padding="same")(layers.InstanceNorm()(x)))
    assert statistics.reach(model, side=64) == 3
    assert layers.normalised_channels(model) == 3
