"""Shared by all tests: a quiet TensorFlow, fixed seeds, a small photo, an extractor that needs no
weights; and how many processes run them, in which order.

TensorFlow is imported where it is used: the process that only hands out tests does without.
"""

import functools
import gc
import os
import signal
import tempfile
from pathlib import Path

import hypothesis
import numpy as np
import psutil
import pytest

from tfstyle import machine

# Of each process that runs tests, so that all of them together keep all cores busy and no more.
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
# What a process comes to hold, in bytes: TensorFlow, and what was traced.
MEMORY = 3e9


# Before the first import of TensorFlow and Keras, which read them once.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
if WORKERS > 1:
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(max(1, machine.cores() // WORKERS)))
# Not what lies in the home folder: settings of Keras, weights that were fetched, datasets.
if "PYTEST_XDIST_WORKER" not in os.environ:  # those have it of the process that started them
    _home = tempfile.TemporaryDirectory(prefix="tfstyle-tests-")
    os.environ["KERAS_HOME"] = str(Path(_home.name) / "keras")
    os.environ["XDG_DATA_HOME"] = str(Path(_home.name) / "share")  # models that were learnt
    os.environ["TFDS_DATA_DIR"] = str(Path(_home.name) / "tensorflow_datasets")

# A shell that runs tests in the background starts them with SIGINT ignored; those that interrupt
# themselves, and the processes that they start, want it as a terminal gives it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples on every machine, and as long as each takes: the first call traces a graph.
hypothesis.settings.register_profile("tfstyle", derandomize=True, deadline=None)
hypothesis.settings.load_profile("tfstyle")

# Files whose tests take long, the longest first. Processes take whole files, and one that began
# last with the longest would leave the others idle.
LONG = """
data steps explain_command learning training images fusion serving cli_optimize gatys export
style_class gan device features metrics networks dcgan_mnist side_effects runners objective stylizer
clahe web rebuild explain_health pipelines quality runs explain_training explain tflite
""".split()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config) -> int:
    """For `-n auto` and `-n logical`, which else count the cores of the whole machine."""
    return max(1, min(machine.cores(), int(psutil.virtual_memory().available // MEMORY)))


def pytest_collection_modifyitems(items):
    place = {f"test_{name}": number for number, name in enumerate(LONG)}
    if WORKERS > 1:
        items.sort(key=lambda item: place.get(item.path.stem, len(place)))


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef, request):
    """What several tests share has the same random weights whichever of them comes first."""
    if fixturedef.scope != "function":
        import keras

        keras.utils.set_random_seed(0)
    return (yield)


@pytest.fixture(autouse=True)
def _same_seeds_for_every_test():
    import keras
    import tensorflow as tf
    from tensorflow.python.framework import config as tf_config

    tf.get_logger().setLevel("ERROR")
    keras.utils.set_random_seed(0)
    yield
    # `training.prepare` turns it on for the whole process, and TensorFlow shows no way back; XLA
    # has no deterministic gradient of max-pooling.
    tf_config.disable_op_determinism()


@pytest.fixture(scope="session", autouse=True)
def _what_was_imported_is_not_looked_through_again():
    """Python looks for garbage among all objects, and TensorFlow makes and imports very many.

    The converter to TFLite has it look after each file; without this, that takes a tenth of the
    time of all tests.
    """
    import keras  # noqa: F401
    import tensorflow  # noqa: F401

    gc.collect()
    gc.freeze()
    usual = gc.get_threshold()
    gc.set_threshold(20_000, 10, 10)
    yield
    gc.set_threshold(*usual)
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_drawn_twice():
    """A picture drawn by code takes half a second and is the same each time."""
    from tfstyle.data import drawn

    own = drawn.style
    once = functools.cache(own)

    @functools.wraps(own)
    def style(*args, **options):
        return once(*args, **options).copy()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawn, "style", style)
        yield


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_unpacked_twice():
    """The weights that come with the package take a fifth of a second for each network."""
    from tfstyle.features import bundled

    own = bundled.read_bundled
    once = functools.cache(own)

    @functools.wraps(own)
    def read_bundled(name, layers):
        return once(name, tuple(layers))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundled, "read_bundled", read_bundled)
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def mixed_float16():
    import keras

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(policy)


@pytest.fixture
def eager():
    """Steps run line by line: for a few of them that takes less than to trace and compile one.

    That they compile, and give the same, is shown where they are run often.
    """
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A piece of a bundled photo: float32 [96, 128, 3] in [0, 1]."""
    from tfstyle import images
    from tfstyle.data import samples

    return images.resize(samples.photo("chelsea"), (96, 128))


@pytest.fixture(scope="session")
def tiny_extractor():
    """Stands in for VGG16: the same layer names and strides, few channels, seeded random weights.

    [B, H, W, 3] in [0, 1] -> {layer: features [B, h, w, C]}; frozen. A keras.Model.
    """
    import keras

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
