"""A current folder with a model in it, for tests of the command line."""

import json
import shutil
from pathlib import Path

import pytest
import tensorflow as tf


@pytest.fixture(scope="session")
def negative(tmp_path_factory) -> Path:
    """A model as small as can be, whose answer is known: 1 - image."""

    @tf.function(input_signature=[tf.TensorSpec([1, None, None, 3], tf.float32)])
    def invert(image):
        return 1.0 - image

    module = tf.Module()
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [invert.get_concrete_function()], module
    )
    path = tmp_path_factory.mktemp("models") / "negative.tflite"
    path.write_bytes(converter.convert())
    return path


@pytest.fixture
def desk(tmp_path, monkeypatch, negative) -> Path:
    """An empty current folder in which the model `negative` is found by its name."""
    shelf = tmp_path / "saved_models"
    shelf.mkdir()
    shutil.copy(negative, shelf)
    card = {"name": "negative", "version": 3, "style": "Film", "licence": "CC0-1.0"}
    (shelf / "negative.json").write_text(json.dumps(card))
    monkeypatch.chdir(tmp_path)
    return tmp_path
