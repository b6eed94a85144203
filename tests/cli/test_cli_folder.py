"""Commands whose current folder is gone or another user's: with absolute paths all of them work."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tfstyle import cli, data, images, stylize
from tfstyle.data import paintings
from tfstyle.explain import models
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


def without_privileges(arguments, cwd, first="pass"):
    """What (exit code, stdout, stderr) a command ends with that root does not run.

    Args:
        first: a statement that is run in its folder before.
    """
    program = f"import os, sys; from tfstyle import cli; {first}; sys.exit(cli.main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("root is let into every folder, and here is no setpriv")
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    run = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    return run.returncode, run.stdout, run.stderr


@pytest.mark.parametrize(
    ("first", "library"),
    [("os.rmdir('.')", None), ("os.chmod('.', 0)", None), ("pass", "libc2pa_c.so")],
    ids=["gone", "closed", "with a library of that name"],
)
def test_signatures_are_looked_for_with_the_library_of_the_package_alone(
    photo, tmp_path, first, library
):
    pytest.importorskip("c2pa")
    current = tmp_path / "current"
    current.mkdir()
    if library:
        (current / library).write_bytes(b"downloaded with the picture")
    first = first.replace("'.'", repr(str(current)))
    code, out, error = without_privileges(["verify", photo], current, first)
    assert (code, error) == (1, "") and "Signature   none" in out


@pytest.mark.parametrize("inner", ["", "van_gogh", "van_gogh/best"])
def test_a_model_in_a_folder_that_may_not_be_looked_into_is_told_in_a_line(tmp_path, photo, inner):
    (tmp_path / "runs" / inner).mkdir(parents=True)
    model = tmp_path / "runs" / inner
    pictures = ["--content", photo, "--style", photo, "-o", tmp_path / "a.html"]
    for command in (["explain", model, *pictures], ["stylize", photo, "--model", model]):
        told = without_privileges(command, tmp_path, "os.chmod('runs', 0)")
        assert told[:2] == (2, "")
        line = f"{model}: there is no permission to look into {tmp_path / 'runs'}. Ask its owner"
        assert line in told[2] and told[2].count("\n") == 1


def test_a_name_of_a_model_is_one_in_a_folder_that_may_not_be_looked_into(tmp_path, photo):
    current = tmp_path / "current"
    current.mkdir()
    # Stopped by the last thing that is looked at before TensorFlow is loaded.
    command = ["explain", "ten_styles", "--content", photo, "--style", tmp_path / "none.png"]
    told = without_privileges([*command, "-o", tmp_path / "a.html"], current, "os.chmod('.', 0)")
    assert told[0] == 2 and "none.png: no such file" in told[2]


def test_a_folder_that_may_not_be_looked_into_is_no_run(tmp_path, monkeypatch):
    def refuse(path, *args, **options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "stat", refuse)
    assert models.is_run(tmp_path) is False
