"""video: written files are decoded again, and their planes compared with the formula of BT.709."""

import os
import resource
import sys
from fractions import Fraction

import av
import numpy as np
import pytest

from tfstyle import images, video

SUFFIXES = (".mp4", ".mkv", ".webm")


def decoded(path):
    """Frames as RGB in [0, 1], and the stream's rate."""
    with av.open(str(path)) as file:
        (stream,) = file.streams
        frames = [f.to_ndarray(format="rgb24") for f in file.decode(stream)]
        return np.stack(frames) / 255, stream.average_rate


def flat(color, height=48, width=64):
    return np.full((height, width, 3), color, np.float32)


def written(path, frames, **options):
    with video.Writer(path, **options) as writer:
        for frame in frames:
            writer.add(frame)
    return decoded(path)


@pytest.mark.parametrize("fps", [24, 12.5, 30000 / 1001])
@pytest.mark.parametrize("suffix", [*SUFFIXES, ".MP4"])
def test_all_frames_come_back_in_order_at_their_rate(tmp_path, suffix, fps):
    levels = np.linspace(0.1, 0.9, 7)
    path = tmp_path / f"a{suffix}"
    frames, rate = written(path, [flat(level) for level in levels], fps=fps)
    assert frames.shape == (7, 48, 64, 3)
    assert rate == Fraction(fps).limit_denominator(1001)
    np.testing.assert_allclose(frames.mean((1, 2, 3)), levels, atol=2 / 255)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_colours_are_those_of_bt_709_and_say_so(tmp_path, suffix):
    colors = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1), (0, 0, 0), (0.2, 0.5, 0.9)]
    path = tmp_path / f"a{suffix}"
    frames, _ = written(path, [flat(color) for color in colors])
    with av.open(str(path)) as file:
        planes = [f.to_ndarray() for f in file.decode(video=0)]
        context = file.streams.video[0].codec_context
        tags = context.colorspace, context.color_primaries, context.color_trc, context.color_range
    # ITU-T H.273: matrix and primaries 1 are BT.709, transfer 13 is sRGB, range 1 is 16 to 235.
    assert tags == (1, 1, 13, 1)
    for (r, g, b), plane, frame in zip(colors, planes, frames, strict=True):
        luma = 0.2126 * r + 0.7152 * g + 0.0722 * b  # BT.709-6, 3.2 to 3.5
        assert plane[:48].mean() == pytest.approx(16 + 219 * luma, abs=1.5)
        blue, red = plane[48:60].mean(), plane[60:].mean()
        assert blue == pytest.approx(128 + 224 * (b - luma) / 1.8556, abs=1.5)
        assert red == pytest.approx(128 + 224 * (r - luma) / 1.5748, abs=1.5)
        np.testing.assert_allclose(frame.mean((0, 1)), (r, g, b), atol=4 / 255)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_photo_is_still_itself(tmp_path, photo, suffix):
    frames, _ = written(tmp_path / f"a{suffix}", [photo] * 3)
    for frame in frames:
        assert np.abs(frame - photo).mean() < 3 / 255


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("size", [(33, 47), (1, 1), (2, 63)])
def test_odd_sides_grow_by_one_pixel_and_nothing_is_cut(tmp_path, suffix, size):
    height, width = size
    image = np.linspace(0.2, 0.8, width, dtype=np.float32)[None, :, None] * np.ones((height, 1, 3))
    frames, _ = written(tmp_path / f"a{suffix}", [image] * 2)
    assert frames.shape[1:3] == (height + height % 2, width + width % 2)
    np.testing.assert_allclose(frames[0][:height, :width], image, atol=6 / 255)
    np.testing.assert_allclose(frames[0][:, -1], 0.2 if width == 1 else 0.8, atol=6 / 255)


def test_later_frames_of_another_size_are_resized_to_the_first(tmp_path, photo):
    frames, _ = written(tmp_path / "a.mp4", [photo, photo[:33, :51], images.resize(photo, (9, 9))])
    assert frames.shape == (3, *photo.shape)
    expected = images.resize(photo[:33, :51], photo.shape[:2])
    assert np.abs(frames[1] - expected).mean() < 3 / 255


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_frame_stands_for_as_long_as_it_is_told(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    with video.Writer(path, fps=10) as writer:
        writer.add(flat(0.2), seconds=0.5)
        writer.add(flat(0.5), seconds=0)
        writer.add(flat(0.8), seconds=1.26)
    frames, _ = decoded(path)
    expected = [0.2] * 5 + [0.5] + [0.8] * 13
    np.testing.assert_allclose(frames.mean((1, 2, 3)), expected, atol=2 / 255)
    with av.open(str(path)) as file:
        assert file.duration == pytest.approx(1.9e6, abs=2000)


def test_values_outside_are_clipped(tmp_path):
    frames, _ = written(tmp_path / "a.mp4", [flat(1.7), flat(-0.4)])
    np.testing.assert_allclose(frames.mean((1, 2, 3)), [1, 0], atol=2 / 255)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_frames_give_the_same_bytes(tmp_path, photo, suffix):
    files = set()
    for i in range(4):
        path = tmp_path / f"{i}{suffix}"
        # Motion and noise: what is still hides what an encoder reads beside the picture.
        noise = np.random.default_rng(0)
        moving = [np.roll(photo, 3 * k, 1) * noise.uniform(0.5, 1) for k in range(30)]
        written(path, moving)
        files.add(path.read_bytes())
    assert len(files) == 1


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("error", [RuntimeError("the net failed"), KeyboardInterrupt()])
@pytest.mark.parametrize("frames", [0, 3])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path, suffix, error, frames):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"older")
    with pytest.raises(type(error)), video.Writer(path) as writer:
        for _ in range(frames):
            writer.add(flat(0.5))
        raise error
    assert os.listdir(tmp_path) == [path.name] and path.read_bytes() == b"older"


@pytest.mark.parametrize("missing", [1, 30, 1000, None])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_is_named_and_leaves_nothing(tmp_path, suffix, missing):
    path = tmp_path / f"a{suffix}"
    frames = np.random.default_rng(0).random((5, 48, 64, 3))
    written(path, frames)
    room = path.stat().st_size - missing if missing else 0
    path.unlink()
    # A limit on the size of files, since a test can fill no disk.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.raises(ValueError, match=f"a{suffix}: cannot be written .File too large"):
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
            with video.Writer(path) as writer:
                for frame in frames:
                    writer.add(frame)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == []


def test_a_file_that_cannot_get_its_name_is_named_and_leaves_nothing(tmp_path):
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(ValueError, match=r"a\.mp4: cannot be written \(Is a directory"):
        with video.Writer(tmp_path / "a.mp4") as writer:
            writer.add(flat(0.5))
    assert os.listdir(tmp_path) == ["a.mp4"]


def test_a_size_that_the_encoder_refuses_is_named_and_leaves_nothing(tmp_path):
    with (
        pytest.raises(ValueError, match=r"a\.mp4: cannot be written \(.*\)\."),
        video.Writer(tmp_path / "a.mp4") as writer,
    ):
        writer.add(flat(0.5, 2, 30000))
    assert os.listdir(tmp_path) == []


def test_a_video_without_frames_is_refused(tmp_path):
    with pytest.raises(ValueError, match="a.mp4: a video without frames"):
        with video.Writer(tmp_path / "a.mp4"):
            pass
    assert os.listdir(tmp_path) == []


def test_a_writer_that_got_no_frame_has_written_nothing(tmp_path):
    video.Writer(tmp_path / "a.mp4")
    assert os.listdir(tmp_path) == []


def test_bad_suffixes_folders_and_rates_are_named_at_once(tmp_path):
    with pytest.raises(ValueError, match=r"a\.avi: cannot write \.avi\. Give \.mp4, \.mkv, \.webm"):
        video.Writer(tmp_path / "a.avi")
    with pytest.raises(ValueError, match="a file without suffix"):
        video.Writer(tmp_path / "a")
    with pytest.raises(ValueError, match="no folder .*missing. Make it first"):
        video.Writer(tmp_path / "missing" / "a.mp4")
    for fps in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"fps {fps}: give 0.01 to 1000"):
            video.Writer(tmp_path / "a.mp4", fps=fps)


def test_bad_frames_are_named(tmp_path):
    writer = video.Writer(tmp_path / "a.mp4")
    for wrong in (flat(0)[0], flat(0)[..., :1], flat(0)[:0], np.uint8(flat(0))):
        with pytest.raises(ValueError, match=r"frame of shape .* \[H, W, 3\]"):
            writer.add(wrong)
    for seconds in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"seconds {seconds}: give 0 or more"):
            writer.add(flat(0), seconds=seconds)
    assert os.listdir(tmp_path) == []


def test_without_pyav_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ValueError, match=r"PyAV.*pip install 'tfstyle\[video\]'"):
        video.Writer(tmp_path / "a.mp4")
