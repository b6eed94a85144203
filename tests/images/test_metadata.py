"""images.metadata: what of a photo's own metadata a painting of it keeps."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.pictures import encoded, picture
from tfstyle import images

EXIF, GPS = 0x8769, 0x8825
SAFE = {0x010F: "Phone", 0x0110: "Five", 0x0132: "2019:07:04 10:11:12", 0x8298: "of a painter"}
SAFE_EXIF = {0x9003: "2019:07:04 10:11:12", 0x829A: 0.01, 0x8827: 200, 0xA434: "35 mm"}
PRIVATE_EXIF = {0xA430: "Jane Doe", 0xA431: "serial 123", 0x927C: b"maker's", 0xA420: "unique"}


def exif(orientation=1):
    block = Image.Exif()
    block.update(SAFE | {0x0112: orientation, 0x013C: "host of Jane"})
    block.get_ifd(EXIF).update(SAFE_EXIF | PRIVATE_EXIF | {0xA002: 999, 0x9286: b"ASCII\0\0\0hi"})
    block.get_ifd(GPS).update({1: "N", 2: (47.0, 22.0, 30.0)})
    return block


def kept_in(path):
    with Image.open(path) as image:
        block = image.getexif()
        return dict(block), block.get_ifd(EXIF), block.get_ifd(GPS), image.info.get("dpi")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_date_and_camera_are_kept_and_neither_place_nor_serial_number(source, suffix, tmp_path):
    data = encoded(picture(), source, exif=exif().tobytes(), dpi=(300, 300))
    kept = images.photo_metadata(data)
    path = tmp_path / f"a{suffix}"
    images.write(path, images.from_uint8(picture()), text={"Software": "tfstyle"}, **kept)
    first, second, place, dpi = kept_in(path)
    assert {tag: first[tag] for tag in SAFE} == SAFE
    assert {tag: second[tag] for tag in SAFE_EXIF} == pytest.approx(SAFE_EXIF)
    assert not set(second) & set(PRIVATE_EXIF) and not place
    assert not {0x0112, 0x013C, 0xA002} & {*first, *second}
    assert images.read_text(path) == {"Software": "tfstyle"}
    assert b"Jane" not in path.read_bytes() and b"serial" not in path.read_bytes()
    if source != "WEBP":
        dpi = dpi or tuple(first[tag] for tag in (0x011A, 0x011B))
        assert dpi == pytest.approx((300, 300), abs=0.1)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_all_keeps_the_place_too_and_none_keeps_nothing(suffix, tmp_path):
    data = encoded(picture(), "JPEG", exif=exif(6), dpi=(72, 72))
    path = tmp_path / f"a{suffix}"
    images.write(path, images.from_uint8(picture()), **images.photo_metadata(data, "all"))
    first, second, place, _ = kept_in(path)
    assert place == {1: "N", 2: (47.0, 22.0, 30.0)}
    assert second[0xA430] == "Jane Doe" and first[0x013C] == "host of Jane"
    assert not {0x0112, 0xA002} & {*first, *second}
    assert images.photo_metadata(data, "none") == {}


def test_a_turned_photo_is_upright_and_says_so_once(tmp_path):
    data = encoded(picture(), "JPEG", exif=exif(6))
    image = images.decode_bytes(data)
    assert image.shape == (31, 23, 3)
    for suffix in (".jpg", ".png", ".webp"):
        path = tmp_path / f"a{suffix}"
        images.write(path, image, **images.photo_metadata(data, "all"))
        assert images.read(path).shape == (31, 23, 3)


def test_a_date_alone_is_kept():
    block = Image.Exif()
    block.get_ifd(EXIF)[0x9003] = "2019:07:04 10:11:12"
    kept = images.photo_metadata(encoded(picture(), "PNG", exif=block.tobytes()))
    file = io.BytesIO(images.encode(images.from_uint8(picture()), "webp", **kept))
    with Image.open(file) as image:
        assert image.getexif().get_ifd(EXIF) == {0x9003: "2019:07:04 10:11:12"}


def test_what_is_not_there_is_not_made_up():
    assert images.photo_metadata(encoded(picture(), "PNG")) == {}
    assert images.photo_metadata(encoded(picture(), "GIF")) == {}
    with pytest.raises(ValueError, match="keep 'some': give none, safe, all"):
        images.photo_metadata(encoded(picture(), "PNG"), "some")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    "block", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\0\x09junk"]
)
def test_a_broken_block_counts_as_none(block):
    image = encoded(picture(), "JPEG", exif=block)
    kept = images.photo_metadata(image, "all")
    images.encode(images.from_uint8(picture()), "jpeg", **kept)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_a_value_of_another_type_than_its_tag_harms_no_other():
    block = exif()
    data = block.tobytes()
    # The date becomes a number of 4 bytes.
    place = data.index(b"\x01\x32" if b"MM" in data[:8] else b"\x32\x01")
    wrong = data[: place + 2] + (b"\0\x04" if b"MM" in data[:8] else b"\x04\0") + data[place + 4 :]
    kept = images.photo_metadata(encoded(picture(), "JPEG", exif=wrong))
    file = io.BytesIO(images.encode(images.from_uint8(picture()), "jpeg", **kept))
    with Image.open(file) as image:
        assert image.getexif()[0x010F] == "Phone"


def test_pixels_are_the_same_with_and_without(tmp_path):
    image = images.from_uint8(picture())
    kept = images.photo_metadata(encoded(picture(), "JPEG", exif=exif(), dpi=(300, 300)), "all")
    for format in ("png", "jpeg", "webp"):
        with_it = images.decode_bytes(images.encode(image, format, **kept))
        np.testing.assert_array_equal(with_it, images.decode_bytes(images.encode(image, format)))
    deep = images.encode(image, bits=16, **kept)
    np.testing.assert_allclose(images.decode_bytes(deep), image, atol=1e-4)
