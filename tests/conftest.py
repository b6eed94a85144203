"""Shared by all tests: a quiet TensorFlow, fixed seeds, a small photo, an extractor that needs no
weights."""

import os
import signal

# Before the first import of TensorFlow, which reads them once.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

import hypothesis
import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import config as tf_config

tf.get_logger().setLevel("ERROR")

# A shell that runs tests in the background starts them with SIGINT ignored; those that interrupt
# themselves, and the processes that they start, want it as a terminal gives it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples on every machine, and as long as each takes: the first call traces a graph.
hypothesis.settings.register_profile("tfstyle", derandomize=True, deadline=None)
hypothesis.settings.load_profile("tfstyle")


@pytest.fixture(autouse=True)
def _same_seeds_for_every_test():
    keras.utils.set_random_seed(0)
    yield
    # `training.prepare` turns it on for the whole process, and TensorFlow shows no way back; XLA
    # has no deterministic gradient of max-pooling.
    tf_config.disable_op_determinism()


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef, request):
    """What several tests share has the same random weights whichever of them comes first."""
    if fixturedef.scope != "function":
        keras.utils.set_random_seed(0)
    return (yield)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def mixed_float16():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(policy)


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A piece of a bundled photo: float32 [96, 128, 3] in [0, 1]."""
    from tfstyle import images
    from tfstyle.data import samples

    return images.resize(samples.photo("chelsea"), (96, 128))


@pytest.fixture(scope="session")
def tiny_extractor() -> keras.Model:
    """Stands in for VGG16: the same layer names and strides, few channels, seeded random weights.

    [B, H, W, 3] in [0, 1] -> {layer: features [B, h, w, C]}; frozen.
    """
    layers = {}
    image = keras.Input((None, None, 3))
    x = image
    for block, (channels, convolutions) in enumerate([(4, 1), (6, 1), (8, 1), (8, 2), (8, 1)], 1):
        if block > 1:
            x = keras.layers.MaxPooling2D(2)(x)
        for i in range(1, convolutions + 1):
            name = f"block{block}_conv{i}"
            x = layers[name] = keras.layers.Conv2D(
                channels,
                3,
                padding="same",
                activation="relu",
                kernel_initializer=keras.initializers.GlorotUniform(seed=10 * block + i),
                name=name,
            )(x)
    model = keras.Model(image, layers, name="tiny_extractor")
    model.trainable = False
    return model


@pytest.fixture
def fake_camera(monkeypatch):
    """The class that stands in for OpenCV's VideoCapture; its frame is a red wall.

    It gives black frames and then `frame`, as a camera that finds its exposure; counts releases.
    """
    import cv2

    class Capture:
        frame = np.full((6, 8, 3), (10, 20, 200), np.uint8)  # BGR
        opened = True
        dark = 3
        released = 0
        index = None

        def __init__(self, index):
            type(self).index = index
            self.grabbed = 0

        def isOpened(self):  # noqa: N802
            return self.opened

        def grab(self):
            self.grabbed += 1
            return True

        def read(self):
            if self.frame is None:
                return False, None
            return True, self.frame if self.grabbed >= self.dark else np.zeros_like(self.frame)

        def release(self):
            type(self).released += 1

    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    return Capture
