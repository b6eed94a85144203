"""The library leaves the process as it found it: what holds for all of it is set by commands."""

import ast
import json
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests import small_models
from tfstyle import features, gatys, learning, machine
from tfstyle.data import drawn
from tfstyle.explain import models
from tfstyle.export import export
from tfstyle.metrics import judges
from tfstyle.networks import description

ROOT = Path(__file__).parent.parent


def process_state() -> dict:
    """What a call may change for the rest of the process."""
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    return {
        "dtype policy": keras.config.dtype_policy().name,
        "interactive": keras.config.is_interactive_logging_enabled(),
        "precision": (keras.config.floatx(), keras.config.epsilon()),
        "image data format": keras.config.image_data_format(),
        "seed of TensorFlow": tf.compat.v1.random.get_seed(0),
        "random numbers of Python": random.getstate(),
        "random numbers of NumPy": repr(np.random.get_state(legacy=False)),
        "error handling of NumPy": np.geterr(),
        "socket timeout": socket.getdefaulttimeout(),
        "signal handlers": {number: signal.getsignal(number) for number in signal.Signals},
        "logging": {
            logger.name: (logger.level, list(logger.handlers))
            for logger in loggers
            if isinstance(logger, logging.Logger) and (logger.level or logger.handlers)
        },
        "warnings": list(warnings.filters),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "standard streams": [(os.fstat(fd).st_dev, os.fstat(fd).st_ino) for fd in range(3)],
        "limit of Pillow": Image.MAX_IMAGE_PIXELS,
    }


@pytest.fixture(scope="module")
def generator():
    return small_models.fast()


@pytest.fixture(scope="module")
def of_styles(photo, tmp_path_factory):
    """Folder of an exported model of three styles."""
    network = small_models.fusion()
    folder = tmp_path_factory.mktemp("models") / "three"
    small_models.save(network, folder / "1", photo, alone="float")
    card = {"name": "three", "version": 1, "styles": ["a", "b", "c"]}
    card["network"] = description.describe(network)
    folder.with_suffix(".json").write_text(json.dumps(card))
    return folder


@pytest.fixture
def unusual_state(monkeypatch):
    """A process with settings of its own."""
    timeout, handler = socket.getdefaulttimeout(), signal.getsignal(signal.SIGTERM)
    socket.setdefaulttimeout(123.0)
    signal.signal(signal.SIGTERM, lambda *_: None)
    random.seed(5)
    np.random.seed(6)
    tf.random.set_seed(7)
    yield
    socket.setdefaulttimeout(timeout)
    signal.signal(signal.SIGTERM, handler)


def optimize(generator, model, folder):
    style = gatys.Style(drawn.style("swirls", 32))
    gatys.optimize(
        drawn.style("mosaic", 48), [style], backbone="vgg16_light", size=32, min_size=32, steps=2
    )


def learn(generator, model, folder):
    sizes = {"count": 1, "batch_size": 1, "crop_size": 32, "style_size": 32}
    learning.learn(drawn.style("mosaic", 32), "new", model=model, **sizes)


def export_one(generator, model, folder):
    export(generator, "tiny", directory=folder)


def extract(generator, model, folder):
    features.vgg16(["block1_conv1"])
    features.vgg16_light(["block1_conv1"])
    features.alexnet()
    features.layer_names.__wrapped__("densenet121")


def look_into(generator, model, folder):
    assert models.load(model)


def train_judge(generator, model, folder):
    judges.train_judge(np.zeros((20, 28, 28, 1), "float32"), np.arange(20) % 10, epochs=1, width=4)


CALLS = [optimize, learn, export_one, extract, look_into, train_judge]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_a_call_of_the_library_leaves_the_process_as_it_was(
    call, generator, of_styles, unusual_state, tmp_path, monkeypatch
):
    # It has no way back.
    monkeypatch.setattr(machine, "keep_freed_memory", None)
    before = process_state()
    call(generator, of_styles, tmp_path)
    after = process_state()
    assert [name for name in before if before[name] != after[name]] == []


# Run in a process of its own: {third-party modules} are imported first, for they change much.
IMPORT_ALL = """
import contextlib, importlib, json, sys
from tests.test_side_effects import process_state

others, own = json.loads(sys.argv[1])
for name in others:
    with contextlib.suppress(ModuleNotFoundError):  # where it is a function and no module
        importlib.import_module(name)
from tfstyle import machine

machine.keep_freed_memory = None
before = process_state()
for name in own:
    importlib.import_module(name)
after = process_state()
changed = [name for name in before if before[name] != after[name]]
assert not changed, {name: (before[name], after[name]) for name in changed}
"""


def imported_at_the_top(path: Path) -> set[str]:
    """Other projects' modules."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.partition(".")[0] != "tfstyle"}


def test_an_import_of_any_module_leaves_the_process_as_it_was():
    files = sorted((ROOT / "tfstyle").rglob("*.py"))
    others = set().union(*map(imported_at_the_top, files)) - {"__future__"}
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files]
    own = [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", IMPORT_ALL, json.dumps([sorted(others), own])]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-3000:]
