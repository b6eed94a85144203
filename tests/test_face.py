"""`import tfstyle`: a few names, each of a room, and nothing that takes time to import."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tfstyle
from tfstyle import export, gatys, images, learning, stylize

ROOT = Path(__file__).parent.parent


def test_the_face_hands_out_what_the_rooms_define():
    assert tfstyle.load("starry_night").styles == ()
    assert tfstyle.load == stylize.load == stylize.Stylizer.load
    assert tfstyle.optimize is gatys.optimize
    assert tfstyle.learn is learning.learn
    assert tfstyle.images is images
    assert tfstyle.export is export
    assert dir(tfstyle) == ["export", "images", "learn", "load", "optimize"]


def test_a_name_that_the_face_lacks_is_an_attribute_error():
    with pytest.raises(AttributeError, match="inference"):
        tfstyle.inference  # noqa: B018


def _imported(code: str) -> set[str]:
    """The names of all modules that a fresh process has imported after `code`."""
    program = f"{code}; import sys; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_package_alone_imports_neither_tensorflow_nor_numpy():
    found = _imported("import tfstyle; dir(tfstyle); tfstyle.__version__")
    assert not {"tensorflow", "keras", "numpy", "PIL", "tfstyle.images"} & found


def test_loading_a_tflite_model_takes_no_tensorflow():
    found = _imported("import tfstyle; tfstyle.load('starry_night'); tfstyle.export")
    assert not {"tensorflow", "keras"} & found


def test_what_readme_shows_of_python_runs(tmp_path, monkeypatch, photo):
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    (block,) = [block for block in blocks if "import tfstyle\n" in block]
    monkeypatch.chdir(tmp_path)
    images.write("photo.jpg", photo)
    exec(compile(block, "README.md", "exec"), {})
    out = images.read("out.png")
    assert out.shape == photo.shape
    assert np.abs(out - images.read("photo.jpg")).mean() > 0.02
