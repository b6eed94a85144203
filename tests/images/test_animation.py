"""images.animation: frames, their lengths and how often they are shown, in and out."""

import io
import weakref

import numpy as np
import pytest
from PIL import Image, features

from tests.pictures import encoded, picture
from tfstyle import images, machine
from tfstyle.images import memory

LENGTHS = [80, 40, 200, 120]


def frames(count=4):
    """Flat pictures of different greys, uint8."""
    return [np.full((20, 30, 3), 40 + 50 * i, np.uint8) for i in range(count)]


def animated(format, arrays=None, **options):
    first, *others = (Image.fromarray(array) for array in arrays or frames())
    file = io.BytesIO()
    options = {"duration": LENGTHS, "loop": 0} | options
    first.save(file, format, save_all=True, append_images=others, **options)
    return file.getvalue()


def shown(data):
    """(greys, lengths, plays) of an animation."""
    found = images.read_animation(data)
    pairs = list(found.frames)
    assert len(pairs) == found.count
    greys = [int(images.to_uint8(image)[0, 0, 0]) for image, _ in pairs]
    return greys, [length for _, length in pairs], found.plays


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "AVIF"])
def test_all_frames_are_read_with_their_lengths(format):
    if format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    options = {} if format == "GIF" else {"quality": 100}
    greys, lengths, plays = shown(animated(format, **options))
    assert greys == pytest.approx([40, 90, 140, 190], abs=3)
    assert (lengths, plays) == (LENGTHS, 0)


@pytest.mark.parametrize("format", ["png", "webp"])
@pytest.mark.parametrize("source", ["GIF", "WEBP", "PNG"])
def test_what_is_written_is_shown_as_what_was_read(source, format, tmp_path):
    data = animated(source, loop=3)
    read = images.read_animation(data)
    assert read.plays == (4 if source == "GIF" else 3)  # a GIF is shown and then repeated
    path = tmp_path / f"a.{format}"
    images.write_animation(path, read, 100, text={"Software": "tfstyle"}, xmp="<x/>")
    greys, lengths, plays = shown(path.read_bytes())
    assert greys == pytest.approx([40, 90, 140, 190], abs=3)
    assert (lengths, plays) == (LENGTHS, read.plays)
    assert images.read_text(path) == {"Software": "tfstyle"}
    assert images.read_xmp(path) == "<x/>"


def test_a_gif_that_does_not_repeat_is_shown_once():
    first, *others = (Image.fromarray(array) for array in frames())
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=others, duration=50)
    assert images.read_animation(file.getvalue()).plays == 1


def test_frames_that_change_only_in_part_are_read_whole():
    arrays = [np.zeros((20, 30, 3), np.uint8) for _ in range(3)]
    for i, array in enumerate(arrays):
        array[: 5 * (i + 1)] = 200
    for format in ("GIF", "WEBP", "PNG"):
        options = {"lossless": True} if format == "WEBP" else {}
        read = images.read_animation(animated(format, arrays, duration=50, **options))
        for (image, _), array in zip(read.frames, arrays, strict=True):
            np.testing.assert_allclose(image, array / 255, atol=1 / 255)


def test_transparent_frames_are_over_white():
    arrays = [np.zeros((8, 8, 4), np.uint8) for _ in range(2)]
    arrays[0][:4] = (255, 0, 0, 255)
    arrays[1][4:] = (0, 0, 255, 255)
    read = images.read_animation(animated("PNG", arrays, duration=50))
    (first, _), (second, _) = read.frames
    np.testing.assert_allclose(first[0, 0], [1, 0, 0])
    np.testing.assert_allclose(first[7, 0], [1, 1, 1])
    np.testing.assert_allclose(second[7, 0], [0, 0, 1])


def test_a_picture_for_those_who_show_no_animation_is_no_frame():
    greys, lengths, _ = shown(animated("PNG", duration=[40, 200, 120], default_image=True))
    assert greys == [90, 140, 190] and lengths == [40, 200, 120]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
def test_a_single_picture_is_no_animation(format):
    assert images.read_animation(encoded(picture(), format)) is None


def test_pages_of_a_tiff_are_no_frames():
    assert images.read_animation(animated("TIFF", duration=None, loop=None)) is None


def test_frames_are_made_one_after_the_other_and_not_kept():
    alive, most, made = [], 0, 0

    class Frame(np.ndarray):
        """An array that can be watched."""

    def source():
        nonlocal most, made
        for _ in range(30):
            frame = np.full((8, 8, 3), made / 30, np.float32).view(Frame)
            alive.append(weakref.ref(frame))
            most, made = max(most, sum(each() is not None for each in alive)), made + 1
            yield frame, 10.0
            del frame

    data = images.encode_animation(images.Animation(source(), 30, 0), "webp")
    assert images.read_animation(data).count == 30
    assert made == 30 and most <= 3


def test_a_png_that_does_not_fit_into_memory_is_refused_before(monkeypatch):
    monkeypatch.setattr(memory, "SMALL", 0)
    monkeypatch.setattr(machine, "usable_memory", lambda: 10_000)
    read = images.read_animation(animated("GIF"))
    with pytest.raises(machine.TooLargeError, match="4 frames: 30x20 pixels .*Give .webp, or"):
        images.encode_animation(read, "png")


def test_wrong_formats_and_sizes_are_named(tmp_path):
    read = images.read_animation(animated("GIF"))
    with pytest.raises(images.ImageError, match="'jpeg' holds no animation: give png or webp"):
        images.write_animation(tmp_path / "a.jpg", read)
    uneven = [(np.zeros((4, 4 + i, 3), np.float32), 50.0) for i in range(2)]
    for format in ("png", "webp"):
        with pytest.raises(images.ImageError, match="frames of one size"):
            images.encode_animation(images.Animation(iter(uneven), 2, 0), format)
    with pytest.raises(images.ImageError, match="30x20 pixels, above the limit of 599"):
        images.read_animation(animated("GIF"), max_pixels=599)
    assert not list(tmp_path.iterdir())
