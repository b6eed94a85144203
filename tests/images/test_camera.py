"""A picture of a camera, which a fake of OpenCV's VideoCapture (conftest.py) gives."""

import builtins
import json

import numpy as np
import pytest

from tfstyle import cli, images
from tfstyle.images import camera
from tfstyle.images.camera import CameraError


def test_a_picture_is_rgb_in_0_to_1_and_taken_when_the_exposure_is_found(fake_camera):
    picture = camera.capture(2)
    assert picture.dtype == np.float32 and picture.shape == (6, 8, 3)
    np.testing.assert_array_equal(images.to_uint8(picture)[0, 0], [200, 20, 10])
    assert (fake_camera.index, fake_camera.released) == (2, 1)


def test_a_camera_that_cannot_be_opened_is_named_and_let_go(fake_camera):
    fake_camera.opened = False
    with pytest.raises(CameraError, match="camera 3: cannot be opened.*/dev/video3"):
        camera.capture(3)
    assert fake_camera.released == 1


def test_a_camera_without_a_picture_is_named_and_let_go(fake_camera):
    fake_camera.frame = None
    with pytest.raises(CameraError, match="camera 0: gave no picture"):
        camera.capture()
    assert fake_camera.released == 1


def test_a_number_that_no_camera_has_is_told():
    pytest.importorskip("cv2")
    with pytest.raises(CameraError, match="camera 99999999999: no such number"):
        camera.capture(99999999999)


def test_without_opencv_it_says_how_to_get_it(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "cv2":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(CameraError, match="pip install opencv-python-headless"):
        camera.capture()


@pytest.mark.parametrize(
    ("given", "output", "target"),
    [
        ("camera", None, "camera.starry_night.jpg"),
        ("camera:1", "door.png", "door.png"),
        ("camera", "shots/", "shots/camera.jpg"),
    ],
)
def test_the_command_stylizes_what_the_camera_sees(
    fake_camera, tmp_path, monkeypatch, capsys, given, output, target
):
    monkeypatch.chdir(tmp_path)
    fake_camera.frame = np.full((32, 48, 3), 90, np.uint8)
    fake_camera.frame[8:20, 10:30] = (10, 200, 60)
    command = ["stylize", given, "--runtime", "tflite", "--json"]
    assert cli.main([*command, *(["-o", output] if output else [])]) == 0
    (done,) = json.loads(capsys.readouterr().out)["images"]
    assert (done["output"], done["input"]) == (target, f"camera:{int(given[7:] or 0)}")
    assert images.read(target).shape == (32, 48, 3)


def test_a_camera_that_fails_is_told_in_one_line(fake_camera, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fake_camera.opened = False
    assert cli.main(["stylize", "camera:7", "-o", "x.png"]) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.startswith("tfstyle: error: camera:7: camera 7: cannot be")
    assert not list(tmp_path.iterdir())


def test_a_file_called_camera_is_given_by_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images.write("camera.png", np.full((20, 20, 3), 0.5, np.float32))
    (tmp_path / "camera.png").rename("camera")
    assert cli.main(["stylize", "./camera", "-o", "x.png"]) == 0
    assert images.read("x.png").shape == (20, 20, 3)
