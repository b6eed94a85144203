"""images.jpeg: what ends too early, and large photos decoded small."""

import logging

import numpy as np
import pytest
from PIL import Image

from tests.pictures import encoded, picture
from tfstyle import images, machine
from tfstyle.images import jpeg, memory

KINDS = [
    {},
    {"progressive": True},
    {"subsampling": 0},
    {"restart_marker_blocks": 4},
    {"optimize": True, "quality": 30},
]


def noisy(height=160, width=200):
    """A picture whose every block needs bytes."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("tail", [b"", b"\xff", bytes(5000)])
@pytest.mark.parametrize("options", KINDS, ids=str)
def test_without_an_end_marker_the_whole_picture_is_read_with_a_warning(options, tail, caplog):
    data = encoded(noisy(), "JPEG", **options)
    assert data.endswith(b"\xff\xd9")
    name = f"{options}{len(tail)}{tail[:1]}.jpg"
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            image = images.decode_bytes(data[:-2] + tail, name=name)
    np.testing.assert_array_equal(image, images.decode_bytes(data))
    told = [record.getMessage() for record in caplog.records]
    assert told == [f"{name}: a JPEG without an end marker; the picture itself is whole."]
    ready = images.to_graph_bytes(data[:-2] + tail)
    np.testing.assert_allclose(images.decode_bytes(ready), image, atol=1 / 255 + 1e-6)


@pytest.mark.parametrize("tail", [b"", bytes(5000)])
@pytest.mark.parametrize("part", [0.4, 0.75, 0.95])
@pytest.mark.parametrize("options", KINDS, ids=str)
def test_what_is_cut_is_refused_with_how_much_of_it_is_there(options, part, tail):
    data = encoded(noisy(), "JPEG", **options)
    with pytest.raises(images.ImageError, match="x: truncated or damaged JPEG file") as caught:
        images.decode_bytes(data[: int(len(data) * part)] + tail, name="x")
    share = int(str(caught.value).split("(")[1].split("%")[0]) / 100
    assert "of its rows are there" in str(caught.value)
    if options.get("progressive"):
        assert share < 1
    else:
        assert abs(share - part) < 0.11  # there are ten rows of blocks


def test_a_progressive_picture_without_its_last_scans_is_not_whole():
    data = encoded(noisy(), "JPEG", progressive=True)
    scans = [i for i in range(len(data) - 1) if data[i : i + 2] == b"\xff\xda"]
    tables = data.rfind(b"\xff\xc4", 0, scans[-1])  # the last scan begins with its own table
    _, share = jpeg.mended(data[:tables])
    assert share == 0
    assert jpeg.mended(data[:-2])[1] == 1


def test_the_size_stands_in_the_frame():
    assert jpeg.size(encoded(picture(), "JPEG")) == (23, 31)
    assert jpeg.size(b"\xff\xd8\xff\xd9") is None


# --- large photos


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_read_small_is_nearly_what_is_read_whole_and_shrunk(format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif} if orientation != 1 else {}
    options |= {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(format, {})
    smooth = Image.fromarray(picture(60, 90)).resize((900, 600), Image.Resampling.BICUBIC)
    data = encoded(np.asarray(smooth), format, **options)
    small = images.decode_bytes(data, max_size=90)
    whole = images.fit(images.decode_bytes(data), 90)
    assert small.shape == whole.shape == ((60, 90, 3) if orientation == 1 else (90, 60, 3))
    assert np.abs(small - whole).mean() < 0.004


def test_read_small_never_enlarges_and_leaves_alone_what_fits():
    data = encoded(picture(40, 60), "JPEG")
    np.testing.assert_array_equal(images.decode_bytes(data, max_size=60), images.decode_bytes(data))


def test_the_limit_of_a_jpeg_is_that_of_what_is_decoded():
    data = encoded(picture(400, 800), "JPEG")
    with pytest.raises(images.TooManyPixelsError, match="800x400 pixels, above") as caught:
        images.decode_bytes(data, max_pixels=100_000)
    assert caught.value.pixels == 320_000
    assert images.decode_bytes(data, max_pixels=100_000, max_size=200).shape == (100, 200, 3)
    with pytest.raises(images.TooManyPixelsError, match="400x200 pixels, above the limit of 79999"):
        images.decode_bytes(data, max_pixels=79_999, max_size=200)


def test_memory_is_looked_at_before_anything_is_decoded(monkeypatch):
    monkeypatch.setattr(memory, "SMALL", 0)
    monkeypatch.setattr(machine, "usable_memory", lambda: 1_000_000)
    data = encoded(picture(200, 400), "PNG")
    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "load", None)
        with pytest.raises(machine.TooLargeError, match="x.png: 400x200 pixels need about") as e:
            images.decode_bytes(data, name="x.png")
    assert e.value.fits == (111, 223)
    assert images.decode_bytes(data, max_size=100).shape == (50, 100, 3)
    for mode in ("RGBA", "LA"):
        with pytest.raises(machine.TooLargeError):
            images.decode_bytes(encoded(picture(100, 120), "PNG", mode))


def test_a_progressive_jpeg_needs_all_of_its_coefficients(monkeypatch):
    monkeypatch.setattr(memory, "SMALL", 0)
    monkeypatch.setattr(machine, "usable_memory", lambda: 1_000_000)
    data = encoded(picture(400, 600), "JPEG", progressive=True)
    with pytest.raises(machine.TooLargeError):
        images.decode_bytes(data, max_size=30)
    assert images.decode_bytes(encoded(picture(400, 600), "JPEG"), max_size=30).shape[1] == 30
