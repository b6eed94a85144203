"""Commands whose current folder is gone or another user's: with absolute paths all of them work."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tfstyle import cli, data, images, stylize
from tfstyle.data import paintings
from tfstyle.serving import config
from tfstyle.stylize import shelf


@pytest.fixture(params=["gone", "of another user"])
def nowhere(request, tmp_path, monkeypatch):
    """Such a folder is the current one."""
    folder = tmp_path / "current"
    (folder / "saved_models").mkdir(parents=True)
    monkeypatch.chdir(folder)
    if request.param == "gone":
        (folder / "saved_models").rmdir()
        folder.rmdir()
        return
    stat = os.stat

    def refuse(path, *args, **options):
        if not isinstance(path, int) and not os.path.isabs(path):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, *args, **options)

    monkeypatch.setattr(os, "stat", refuse)


@pytest.fixture
def photo(tmp_path):
    images.write(tmp_path / "photo.png", np.full((48, 64, 3), 0.5, "float32"))
    return tmp_path / "photo.png"


def test_a_photo_is_stylized(nowhere, photo, tmp_path):
    assert cli.main(["stylize", str(photo), "-o", str(tmp_path / "out.png")]) == 0
    assert images.read(tmp_path / "out.png").shape == (48, 64, 3)


def test_models_are_listed_and_those_that_are_not_there_told(nowhere, photo, capsys):
    assert cli.main(["models"]) == 0
    assert "ten_styles" in capsys.readouterr().out
    assert cli.main(["stylize", str(photo), "-o", "/out.png", "--model", "nope"]) == 2
    assert "no file and no model of that name" in capsys.readouterr().err


def test_names_of_models_and_styles_are_found(nowhere):
    assert stylize.find_saved_model("ten_styles").name.isdecimal()
    assert shelf.find_tflite("starry_night").name == "starry_night.tflite"
    assert stylize.card("ten_styles")["name"] == "ten_styles"
    found = config.find_models(["ten_styles"], stylize.model_folders())
    assert list(found) == ["ten_styles"] and found["ten_styles"].is_absolute()
    assert list(paintings.read_all("swirls,mosaic", 32)) == ["swirls", "mosaic"]
    assert data.fingerprints("swirls,mosaic") == {}


@pytest.mark.parametrize("folder", ["gone", "of another user", "with a library of that name"])
def test_signatures_are_looked_for_with_the_library_of_the_package_alone(photo, tmp_path, folder):
    pytest.importorskip("c2pa")
    current = tmp_path / "current"
    current.mkdir()
    # In a process of its own: the library is loaded once.
    program = "import os, sys; from tfstyle import cli; {}; sys.exit(cli.main(sys.argv[1:]))"
    command = [sys.executable, "-c", program.format("pass"), "verify", str(photo)]
    if folder == "gone":
        command[2] = program.format("os.rmdir(os.getcwd())")
    elif folder == "of another user":
        if os.geteuid() or not shutil.which("setpriv"):
            pytest.skip("to be another user, root and setpriv are needed")
        os.chown(current, 65534, 65534)
        current.chmod(0o700)
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    else:
        (current / "libc2pa_c.so").write_bytes(b"downloaded with the picture")
    run = subprocess.run(command, cwd=current, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (1, "")
    assert "Signature   none" in run.stdout
