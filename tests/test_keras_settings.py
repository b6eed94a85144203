"""Keras works as it has to, whatever the settings of the user's other programs."""

import json
import os
import subprocess
import sys
import types
from pathlib import Path

import keras
import pytest

from tfstyle import keras_settings

ROOT = Path(__file__).parent.parent
# As Keras reads its settings, in a moment.
KERAS = """
import json, os, pathlib, types
_told = json.loads(pathlib.Path(os.environ["KERAS_HOME"], "keras.json").read_text())
_told["backend"] = os.environ.get("KERAS_BACKEND") or _told["backend"]
config = types.SimpleNamespace(
    **{name: lambda name=name: _told[name] for name in _told},
    **{f"set_{name}": lambda value, name=name: _told.update({name: value}) for name in _told},
)
"""
ASK = "print(keras.config.backend(), keras.config.image_data_format(), keras.config.floatx())"


def ask(folder, program, **environment):
    (folder / "keras.py").write_text(KERAS)
    settings = {"image_data_format": "channels_first", "floatx": "float16", "backend": "jax"}
    (folder / "keras.json").write_text(json.dumps(settings))
    command = [sys.executable, "-W", "error", "-c", f"{program}; {ASK}"]
    path = os.pathsep.join([str(folder), str(ROOT)])
    clean = {key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"}
    environment = clean | {"KERAS_HOME": str(folder), "PYTHONPATH": path} | environment
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("backend", ["torch", "", None])
def test_settings_of_other_programs_do_not_matter(tmp_path, backend):
    environment = {} if backend is None else {"KERAS_BACKEND": backend}
    done = ask(tmp_path, "import tfstyle, keras", **environment)
    assert (done.stdout, done.stderr) == ("tensorflow channels_last float32\n", "")


def test_where_keras_runs_on_something_else_already_it_is_told(tmp_path):
    done = ask(tmp_path, "import keras, tfstyle")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: Keras runs on jax in this process, and tfstyle needs")
    assert "Import tfstyle before keras, or set KERAS_BACKEND=tensorflow." in last


def test_what_changes_for_a_program_that_has_keras_already_is_told(tmp_path):
    done = ask(
        tmp_path,
        "import warnings; warnings.simplefilter('always'); import keras, tfstyle",
        KERAS_BACKEND="tensorflow",
    )
    assert done.stdout == "tensorflow channels_last float32\n"
    assert "image_data_format() is now channels_last, not channels_first" in done.stderr
    assert "floatx() is now float32, not float16" in done.stderr


def test_keras_itself_is_settled():
    assert keras_settings.settle(keras) == []
    keras.config.set_image_data_format("channels_first")
    keras.config.set_floatx("float64")
    try:
        assert len(keras_settings.settle(keras)) == 2
        assert keras.config.image_data_format() == "channels_last"
        assert keras.config.floatx() == "float32"
    finally:
        keras.config.set_image_data_format("channels_last")
        keras.config.set_floatx("float32")
    other = types.SimpleNamespace(config=types.SimpleNamespace(backend=lambda: "torch"))
    with pytest.raises(ImportError, match="Keras runs on torch"):
        keras_settings.settle(other)
