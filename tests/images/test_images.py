"""images: every format and mode against closed forms, and the graph decoder against the reader."""

import functools
import io
import os
import stat
import struct
import warnings
import zlib

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from tests.pictures import chunk, encoded, picture
from tests.profiles import (
    ADOBE_PROFILE,
    ADOBE_RGB,
    GAMMA,
    SRGB,
    WHITE_D50,
    curve_tag,
    icc_profile,
    rgb_profile,
    xyz_tag,
)
from tfstyle import images

HALF, ONE = 0.5 / 255 + 1e-6, 1 / 255 + 1e-6
# Modes that Pillow writes.
MODES = {
    "JPEG": ("RGB", "L", "1", "CMYK", "YCbCr"),
    "PNG": ("RGB", "L", "1", "P", "RGBA", "LA", "I;16"),
    "WEBP": ("RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "YCbCr"),
    "BMP": ("RGB", "L", "1", "P", "RGBA"),
    "GIF": ("RGB", "L", "1", "P", "RGBA", "LA"),
    "TIFF": ("RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "YCbCr", "I;16"),
}
FILE_FORMATS = tuple(MODES)


@functools.cache
def fed_dataset():
    """One Dataset.map for all tests, since each new one costs a trace; and what it decodes next."""
    feed = []
    dataset = tf.data.Dataset.counter().map(
        lambda _: tf.ensure_shape(tf.numpy_function(feed.pop, [], tf.string), [])
    )
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False  # one push, one pop
    return feed, iter(dataset.map(images.decode).with_options(options))


def in_dataset(data):
    feed, decoded = fed_dataset()
    feed.append(data)
    return next(decoded).numpy()


def assert_read(data, expected, atol):
    image = images.decode_bytes(data)
    assert image.dtype == np.float32 and image.shape == expected.shape
    assert image.flags.c_contiguous and image.flags.writeable
    assert 0 <= image.min() and image.max() <= 1
    np.testing.assert_allclose(image, expected, atol=atol)
    ready = images.to_graph_bytes(data)
    for decoded in (images.decode(tf.constant(ready)).numpy(), in_dataset(ready)):
        assert decoded.dtype == np.float32
        np.testing.assert_allclose(decoded, image, atol=ONE)
    return ready


# --- PNG by hand: every colour type and depth that the format has, which no encoder here writes


def rows(samples, depth):
    """Filter byte 0 and packed samples of each row. samples: [H, W, C] ints."""
    if not samples.size:
        return b""
    packed = b""
    for row in samples.reshape(len(samples), -1):
        if depth == 16:
            packed += b"\0" + row.astype(">u2").tobytes()
        else:
            bits = (row[:, None] >> np.arange(depth - 1, -1, -1)) & 1
            packed += b"\0" + np.packbits(bits.astype(np.uint8)).tobytes()
    return packed


def png(samples, colour, depth, *, palette=None, transparency=None, interlaced=False):
    height, width, _ = samples.shape
    if interlaced:  # Adam7: PNG specification, 8.2
        starts_and_steps = [
            (0, 8, 0, 8),
            (0, 8, 4, 8),
            (4, 8, 0, 4),
            (0, 4, 2, 4),
            (2, 4, 0, 2),
            (0, 2, 1, 2),
            (1, 2, 0, 1),
        ]
        body = b"".join(rows(samples[a::b, c::d], depth) for a, b, c, d in starts_and_steps)
    else:
        body = rows(samples, depth)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + (chunk(b"PLTE", np.uint8(palette).tobytes()) if palette is not None else b"")
        + (chunk(b"tRNS", transparency) if transparency is not None else b"")
        + chunk(b"IDAT", zlib.compress(body))
        + chunk(b"IEND", b"")
    )


GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
PNG_TYPES = [(GREY, d) for d in (1, 2, 4, 8, 16)] + [
    (colour, depth) for colour in (RGB, GREY_ALPHA, RGBA) for depth in (8, 16)
]


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour", "depth"), PNG_TYPES)
def test_png_of_every_type_gives_its_samples_over_their_maximum(colour, depth, interlaced):
    channels = {GREY: 1, RGB: 3, GREY_ALPHA: 2, RGBA: 4}[colour]
    samples = np.random.default_rng(depth).integers(0, 2**depth, (9, 13, channels))
    values = samples / (2**depth - 1)
    colours, alpha = (values, 1) if channels in (1, 3) else (values[..., :-1], values[..., -1:])
    expected = np.broadcast_to(colours * alpha + 1 - alpha, (9, 13, 3))
    data = png(samples, colour, depth, interlaced=interlaced)
    assert assert_read(data, expected, atol=1e-6) == data


@pytest.mark.parametrize(("colour", "depth"), [t for t in PNG_TYPES if t[0] in (GREY, RGB)])
def test_png_colour_key_becomes_white(colour, depth):
    channels = 1 if colour == GREY else 3
    samples = np.random.default_rng(0).integers(0, 2**depth, (9, 13, channels))
    key = samples[4, 5]
    expected = samples / (2**depth - 1)
    expected = np.broadcast_to(
        np.where((samples == key).all(-1)[..., None], 1, expected), (9, 13, 3)
    )
    data = png(samples, colour, depth, transparency=key.astype(">u2").tobytes())
    assert_read(data, expected, atol=1e-6)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_png_palette_gives_its_colours_over_white(depth, transparent, interlaced):
    rng = np.random.default_rng(depth)
    indices = rng.integers(0, 2**depth, (9, 13, 1))
    palette = rng.integers(0, 256, (2**depth, 3))
    alpha = rng.integers(0, 256, 2**depth)
    data = png(
        indices,
        PALETTE,
        depth,
        palette=palette,
        transparency=np.uint8(alpha).tobytes() if transparent else None,
        interlaced=interlaced,
    )
    a = (alpha if transparent else np.full(2**depth, 255))[indices] / 255
    expected = palette[indices[..., 0]] / 255 * a + 1 - a
    assert assert_read(data, expected, atol=1e-6) == data


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_png_keeps_more_than_256_levels(channels):
    samples = np.linspace(0, 65535, 60 * 60 * channels).astype(int).reshape(60, 60, channels)
    data = png(samples, GREY if channels == 1 else RGB, 16)
    image = images.decode_bytes(data)
    np.testing.assert_allclose(image[..., :channels], samples / 65535, atol=1e-6)
    assert len(np.unique(image)) == len(np.unique(samples)) > 3000
    np.testing.assert_array_equal(in_dataset(data), image)


# --- other formats, through Pillow's encoders


@pytest.mark.parametrize(("format", "mode"), [(f, mode) for f in MODES for mode in MODES[f]])
def test_every_mode_of_every_format_is_read_and_made_ready_for_the_graph(format, mode):
    array = picture()
    grey = array.mean(-1).astype(np.uint8)
    source = {
        "I;16": lambda: Image.fromarray(grey.astype(np.uint16) * 257),
        "RGBA": lambda: Image.fromarray(np.dstack([array, 255 - grey])),
        "LA": lambda: Image.merge("LA", [Image.fromarray(grey), Image.fromarray(255 - grey)]),
        "L": lambda: Image.fromarray(grey),
        "P": lambda: Image.fromarray(array).quantize(64),
    }.get(mode, lambda: Image.fromarray(array).convert(mode))()
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
    file = io.BytesIO()
    source.save(file, format, **options.get(format, {}))
    a = ((255 - grey) / 255.0)[..., None]
    expected = {
        "RGBA": array / 255 * a + 1 - a,
        "LA": (1 - a) * a + 1 - a + np.zeros(3),
        "L": 1 - a + np.zeros(3),
        "I;16": 1 - a + np.zeros(3),
        "P": np.asarray(source.convert("RGB")) / 255,
        "1": np.asarray(source.convert("RGB")) / 255,
    }.get(mode, array / 255)
    # Pillow's BMP reader knows no alpha, and a GIF's colours are quantised when they are written.
    if (format, mode) in {("BMP", "RGBA"), ("GIF", "RGBA"), ("GIF", "LA"), ("GIF", "RGB")}:
        expected = images.decode_bytes(file.getvalue())
    assert_read(
        file.getvalue(), expected, atol=0.1 if format == "JPEG" or mode == "YCbCr" else HALF
    )


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("quality", [30, 75, 100])
def test_jpeg_decoders_agree(subsampling, progressive, quality):
    data = encoded(
        picture(37, 51), "JPEG", quality=quality, subsampling=subsampling, progressive=progressive
    )
    assert assert_read(data, images.decode_bytes(data), atol=0) == data


def cmyk(ink, format, **options):
    """A file of inks, uint8 [H, W, 4] with 255 for full ink."""
    file = io.BytesIO()
    Image.frombytes("CMYK", ink.shape[1::-1], ink.tobytes()).save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_is_not_inverted(format):
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[:8, :, 0] = 255  # cyan above, nothing (white) below
    expected = np.ones((16, 16, 3))
    expected[:8, :, 0] = 0
    data = cmyk(ink, format, quality=100)
    assert_read(data, expected, atol=0.02)
    if format == "JPEG":  # Pillow writes as Adobe does: inverted, and an APP14 segment that says so
        assert b"Adobe" in data
        unmarked = data.replace(b"\xff\xee\x00\x0eAdobe", b"\xff\xee\x00\x0eOther")
        assert_read(unmarked, images.decode_bytes(unmarked), atol=0)


def test_animations_give_their_first_frame():
    frames = [Image.fromarray(picture(seed=s)).quantize(100) for s in (0, 1, 2)]
    for format in ("GIF", "WEBP", "PNG", "TIFF"):
        file = io.BytesIO()
        options = {"lossless": True} if format == "WEBP" else {}
        stored = [f if format == "GIF" else f.convert("RGB") for f in frames]
        stored[0].save(file, format, save_all=True, append_images=stored[1:], **options)
        expected = np.asarray(frames[0].convert("RGB")) / 255
        assert_read(file.getvalue(), expected, atol=HALF)


def test_transparent_gif_is_white_where_nothing_is():
    image = Image.fromarray(picture()).quantize(30)
    clear = np.asarray(image) == 7
    assert clear.any()
    file = io.BytesIO()
    image.save(file, "GIF", transparency=7)
    expected = np.where(clear[..., None], 1, np.asarray(image.convert("RGB")) / 255)
    assert_read(file.getvalue(), expected, atol=HALF)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bit_samples_are_refused_with_the_mend(mode):
    data = encoded(np.ones((4, 4), np.int32), "TIFF", mode=mode)
    with pytest.raises(images.ImageError, match="deep.tif: (32-bit|signed) samples.*8 or 16 bits"):
        images.decode_bytes(data, name="deep.tif")


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "jpeg", "tiff_adobe_deflate"])
def test_tiff_compressions(compression):
    data = encoded(picture(), "TIFF", compression=compression)
    atol = 0.2 if compression == "jpeg" else HALF
    ready = assert_read(data, picture() / 255, atol)
    assert ready.startswith(b"\x89PNG")


# --- EXIF orientation


def turned(array, orientation):
    """EXIF 2.32, 4.6.4: which side of the scene the stored row 0 and column 0 are."""
    return {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
        8: np.rot90,
    }[orientation](array)


def exif_block(orientation, order="<", entries_before=3, tag=0x0112, type=3):
    """An EXIF block by hand: byte order, then one IFD whose last entry is the orientation."""
    mark = b"II" if order == "<" else b"MM"
    before = b"".join(
        struct.pack(order + "HHII", 0x0100 + i, 4, 1, 99) for i in range(entries_before)
    )
    wanted = struct.pack(order + "HHIHH", tag, type, 1, orientation, 0)
    ifd = struct.pack(order + "H", entries_before + 1) + before + wanted + b"\0\0\0\0"
    return b"Exif\0\0" + mark + struct.pack(order + "HI", 42, 8) + ifd


def with_segments(jpeg, *segments):
    """The JPEG with (marker, body) segments put right after its first two bytes."""
    extra = b"".join(
        bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body for marker, body in segments
    )
    return jpeg[:2] + extra + jpeg[2:]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_exif_orientations_in_both_byte_orders(orientation, order):
    plain = encoded(picture(), "JPEG")
    expected = turned(images.decode_bytes(plain), orientation)
    data = with_segments(plain, (0xE1, exif_block(orientation, order)))
    assert assert_read(data, expected, atol=1e-6) == data


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_orientation_of_other_formats(format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(picture(), format, exif=exif, **options)
    assert_read(data, turned(picture() / 255, orientation), atol=HALF)


def test_exif_is_found_behind_other_segments_and_fill_bytes():
    plain = encoded(picture(), "JPEG")
    data = with_segments(
        plain,
        (0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>"),
        (0xED, bytes(60000)),
        (0xE1, exif_block(6)),
    )
    data = data.replace(b"\xff\xed", b"\xff\xff\xff\xed", 1)
    assert_read(data, turned(images.decode_bytes(plain), 6), atol=1e-6)
    np.testing.assert_array_equal(in_dataset(data), turned(images.decode_bytes(plain), 6))


MALFORMED_EXIF = {
    "no directory": b"Exif\0\0II*\0\x08\0\0\0",
    "directory far away": b"Exif\0\0II*\0\xff\xff\xff\xff" + exif_block(6)[14:],
    "too many entries": exif_block(6)[:14] + b"\xff\xff" + exif_block(6)[16:],
    "no bytes": b"Exif\0\0",
    "orientation 0": exif_block(0),
    "orientation 9": exif_block(9),
    "orientation as text": exif_block(6, type=2),
    "other tag": exif_block(6, tag=0x0113),
}


@pytest.mark.parametrize("case", MALFORMED_EXIF)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF:UserWarning")
def test_malformed_exif_harms_neither_decoder(case):
    plain = encoded(picture(), "JPEG")
    data = with_segments(plain, (0xE1, MALFORMED_EXIF[case]))
    image = in_dataset(data)
    assert sorted(image.shape) == [3, 23, 31]
    np.testing.assert_allclose(
        in_dataset(images.to_graph_bytes(data)), images.decode_bytes(data), atol=ONE
    )


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60))
def test_any_exif_block_at_all_decodes(block):
    data = with_segments(encoded(picture(8, 9), "JPEG"), (0xE1, b"Exif\0\0" + block))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert images.decode(data).shape[-1] == 3
        images.to_graph_bytes(data)


# --- ICC profiles, by hand: Pillow makes only sRGB, LAB and XYZ ones


def srgb_linear(v):
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def srgb_encoded(v):
    v = np.clip(v, 0, 1)
    return np.where(v <= 0.0031308, v * 12.92, 1.055 * v ** (1 / 2.4) - 0.055)


def adobe_to_srgb(array):
    xyz = (array / 255) ** GAMMA @ ADOBE_RGB.T
    return srgb_encoded(xyz @ np.linalg.inv(SRGB).T)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "JPEG", "WEBP"])
def test_wide_gamut_profile_is_converted_to_srgb(format):
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
    data = encoded(picture(), format, icc_profile=ADOBE_PROFILE, **options.get(format, {}))
    stored = images.decode_bytes(encoded(picture(), format, **options.get(format, {}))) * 255
    expected = adobe_to_srgb(stored)
    assert np.abs(expected - stored / 255).max() > 20 / 255
    ready = assert_read(data, expected, atol=3 / 255)
    assert ready != data and ready.startswith(b"\x89PNG")


def test_alpha_and_palette_are_kept_through_a_profile():
    array = picture()
    alpha = np.full((*array.shape[:2], 1), 51, np.uint8)
    data = encoded(np.dstack([array, alpha]), "PNG", icc_profile=ADOBE_PROFILE)
    assert_read(data, adobe_to_srgb(array) * 0.2 + 0.8, atol=2 / 255)
    palette = Image.fromarray(array).quantize(50)
    data = encoded(np.asarray(palette.convert("RGB")), "PNG", mode="P", icc_profile=ADOBE_PROFILE)
    shown = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert_read(data, adobe_to_srgb(shown), atol=2 / 255)


def test_16_bit_with_a_profile_is_converted_at_8_bits():
    grey = np.arange(60, dtype=np.uint16).reshape(6, 10) * 1000
    profile = icc_profile(b"GRAY", {b"wtpt": xyz_tag(WHITE_D50), b"kTRC": curve_tag([461])})
    for format in ("PNG", "TIFF"):
        data = encoded(grey, format, icc_profile=profile)
        expected = srgb_encoded((grey / 65535) ** (461 / 256))[..., None] + np.zeros(3)
        assert_read(data, expected, atol=3 / 255)


def test_profiles_that_say_srgb_leave_the_file_as_it_is():
    sampled = np.round(srgb_linear(np.linspace(0, 1, 1024)) * 65535)  # as HP's has it
    made_by_pillow = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (rgb_profile(SRGB, sampled), made_by_pillow):
        data = encoded(picture(), "JPEG", icc_profile=profile)
        expected = images.decode_bytes(encoded(picture(), "JPEG"))
        assert assert_read(data, expected, atol=0) == data
        deep = encoded(np.arange(60, dtype=np.uint16).reshape(6, 10), "PNG", icc_profile=profile)
        assert len(np.unique(images.decode_bytes(deep))) == 60


def cmyk_profile():
    """Ink to Lab through a 2x2x2x2 table: each ink takes L* away, black most; no colour at all."""
    corners = [(c, m, y, k) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    lightness = [max(0.0, 1 - 0.25 * (c + m + y) - k) for c, m, y, k in corners]
    ramp = bytes(range(256))
    table = b"".join(bytes([round(255 * v), 128, 128]) for v in lightness)
    identity = struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + ramp * 4 + table + ramp * 3
    return icc_profile(b"CMYK", {b"wtpt": xyz_tag(WHITE_D50), b"A2B0": lut}, pcs=b"Lab ")


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_goes_through_its_profile(format):
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[:8, :8, 0] = 255
    ink[8:, 8:, 3] = 255
    data = cmyk(ink, format, icc_profile=cmyk_profile(), quality=100)
    # L* 75 is luminance 0.4828 (CIE 1976), which is 0.726 in sRGB.
    expected = np.ones((16, 16, 3))
    expected[:8, :8] = srgb_encoded(((75 + 16) / 116) ** 3)
    expected[8:, 8:] = 0
    assert_read(data, expected, atol=0.03)


@pytest.mark.parametrize("profile", [b"junk", ADOBE_PROFILE[:200], cmyk_profile(), b"\0" * 500])
def test_broken_or_unfitting_profiles_count_as_srgb(profile):
    data = encoded(picture(), "PNG", icc_profile=profile)
    assert assert_read(data, picture() / 255, atol=1e-6) == data


# --- what is refused


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"", r"style\.jpg: empty file \(0 bytes\)\."),
        (b"%PDF-1.7 ...", r"style\.jpg: not an image \(first bytes 25 50 44 46: PDF\)\. Give JPEG"),
        (b"\0\0\0\x18ftypheic", r"style\.jpg: truncated or damaged HEIF file"),
        (b"\0\0\0\x18ftypavif", r"style\.jpg: truncated or damaged AVIF file"),
        (b"\0\0\0\x18ftypisom", r"MP4"),
        (b"<!DOCTYPE html>", r"HTML"),
        (
            b"hello",
            r"first bytes 68 65 6C 6C\)\. Give JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF or HEIC\.$",
        ),
        (b"x", r"first bytes 78\)"),
    ],
)
def test_foreign_files_are_named(tmp_path, head, message):
    path = tmp_path / "style.jpg"
    path.write_bytes(head)
    with pytest.raises(images.ImageError, match=message) as caught:
        images.read(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(images.ImageError, match="nowhere.png: no such file"):
        images.read(tmp_path / "nowhere.png")
    with pytest.raises(images.ImageError, match="a folder, not an image"):
        images.read(tmp_path)


def test_unreadable_file_is_named(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)  # root may read everything
    with pytest.raises(images.ImageError, match="x.png: no permission"):
        images.read(tmp_path / "x.png")


@pytest.mark.parametrize("format", FILE_FORMATS)
def test_truncated_files_are_refused(format):
    data = encoded(picture(64, 64), format)
    for length in (20, 40, len(data) // 2, len(data) * 9 // 10):
        with pytest.raises(images.ImageError, match=f"x: truncated or damaged {format} file") as e:
            images.decode_bytes(data[:length], name="x")
        assert "\n" not in str(e.value)
        with pytest.raises(images.ImageError):
            images.to_graph_bytes(data[:length])


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FILE_FORMATS), st.integers(4, 10_000), st.binary(min_size=1, max_size=8))
def test_damaged_files_give_an_image_or_an_image_error(format, position, noise):
    data = encoded(picture(16, 16), format)
    position %= len(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        damaged = data[:position] + noise + data[position + len(noise) :]
        try:
            ready = images.to_graph_bytes(damaged, max_pixels=10_000)
        except images.ImageError:
            return
        expected = images.decode_bytes(damaged)
        np.testing.assert_allclose(images.decode(ready), expected, atol=ONE)


def test_pixel_limit_is_checked_on_the_header_alone():
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with pytest.raises(
        images.ImageError, match="b.png: 60000x60000 pixels, above the limit of 1000"
    ):
        images.decode_bytes(bomb, name="b.png")
    for decoder in (lambda: images.decode(tf.constant(bomb)), lambda: in_dataset(bomb)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="60000x60000.*limit of 100000000"):
            decoder()


@pytest.mark.parametrize("format", FILE_FORMATS)
def test_pixel_limit_is_inclusive(format):
    data = encoded(picture(20, 30), format)
    assert images.decode_bytes(data, max_pixels=600).shape == (20, 30, 3)
    with pytest.raises(images.ImageError, match="30x20 pixels, above the limit of 599"):
        images.decode_bytes(data, max_pixels=599)
    if format in ("JPEG", "PNG"):
        assert images.decode(tf.constant(data), max_pixels=600).shape == (20, 30, 3)
        with pytest.raises(tf.errors.InvalidArgumentError, match="30x20 pixels.*limit of 599"):
            images.decode(tf.constant(data), max_pixels=599)


def test_limit_of_pillow_neither_interferes_nor_is_lost(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for format in FILE_FORMATS:
        assert images.decode_bytes(encoded(picture(), format)).shape == (23, 31, 3)
        with pytest.raises(images.ImageError):
            images.decode_bytes(encoded(picture(), format)[:40])
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize("data", [b"", b"x", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a" * 9])
def test_graph_decoder_refuses_what_is_not_jpeg_or_png(data):
    with pytest.raises(tf.errors.InvalidArgumentError):
        in_dataset(data)


def test_graph_decoder_serves_in_a_saved_model(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    batch = [encoded(picture(), "JPEG", exif=exif), encoded(turned(picture(), 6), "PNG")]
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def serve(encoded):
        spec = tf.TensorSpec([None, None, 3], tf.float32)
        return tf.map_fn(images.decode, encoded, fn_output_signature=spec)

    module.serve = serve
    tf.saved_model.save(module, tmp_path / "1")
    served = tf.saved_model.load(tmp_path / "1").serve(tf.constant(batch)).numpy()
    for image, data in zip(served, batch, strict=True):
        np.testing.assert_allclose(image, images.decode_bytes(data), atol=ONE)


# --- arrays


def test_uint8_goes_to_floats_and_back_unchanged_in_arrays_and_tensors():
    every = np.arange(256, dtype=np.uint8)
    floats = images.from_uint8(every)
    assert floats.dtype == np.float32 and floats[0] == 0 and floats[255] == 1
    np.testing.assert_array_equal(images.to_uint8(floats), every)
    np.testing.assert_array_equal(images.from_uint8_tensor(tf.constant(every)), floats)
    np.testing.assert_array_equal(images.to_uint8_tensor(tf.constant(floats)), every)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-2, 3, width=32), min_size=1, max_size=20))
def test_to_uint8_rounds_and_clips_alike_in_arrays_and_tensors(values):
    values = np.array(values, np.float32)
    result = images.to_uint8(values)
    assert result.dtype == np.uint8
    assert np.abs(result - np.clip(values, 0, 1) * 255).max() <= 0.5 + 1e-4
    np.testing.assert_array_equal(images.to_uint8_tensor(tf.constant(values)), result)


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.integers(1, 40)] * 4), st.floats(0, 1, width=32))
def test_resize_gives_the_size_and_keeps_a_flat_colour(sizes, value):
    height, width, new_height, new_width = sizes
    image = np.full((height, width, 3), value, np.float32)
    resized = images.resize(image, (new_height, new_width))
    assert resized.shape == (new_height, new_width, 3) and resized.dtype == np.float32
    np.testing.assert_allclose(resized, value, atol=1e-5)


def test_resize_averages_what_is_too_fine_and_stays_in_range():
    checkers = np.indices((64, 64)).sum(0)[..., None] % 2 * np.ones(3, np.float32)
    np.testing.assert_allclose(images.resize(checkers, (8, 8))[2:-2, 2:-2], 0.5, atol=0.01)
    enlarged = images.resize(images.from_uint8(picture()), (90, 100))
    assert 0 <= enlarged.min() and enlarged.max() <= 1


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 80))
def test_fit_never_enlarges_and_never_loses_a_side(height, width, max_size):
    image = np.zeros((height, width, 3), np.float32)
    fitted = images.fit(image, max_size)
    if max(height, width) <= max_size:
        assert fitted is image
    else:
        assert max(fitted.shape[:2]) == max_size and min(fitted.shape[:2]) >= 1


def test_fit_refuses_a_size_below_one_pixel():
    with pytest.raises(images.ImageError, match="max_size 0"):
        images.fit(np.zeros((4, 4, 3), np.float32), 0)


# --- writing


@settings(max_examples=25, deadline=None)
@given(st.tuples(st.integers(1, 30), st.integers(1, 30)), st.integers(0, 2**32 - 1))
def test_png_keeps_every_value(size, seed):
    array = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    data = images.encode(images.from_uint8(array))
    np.testing.assert_array_equal(images.to_uint8(images.decode_bytes(data)), array)


@pytest.mark.parametrize("format", ["jpeg", "webp"])
def test_quality_sets_size_and_error(format):
    image = images.from_uint8(picture(64, 64))
    good, poor = (images.encode(image, format, quality) for quality in (100, 5))
    assert len(poor) < len(good)
    errors = [np.abs(images.decode_bytes(d) - image).mean() for d in (good, poor)]
    assert errors[0] < 0.02 < errors[1]


def test_encode_refuses_what_it_cannot_write():
    image = np.zeros((4, 4, 3), np.float32)
    for quality in (0, 101):
        with pytest.raises(images.ImageError, match=f"quality {quality}: give 1 to 100"):
            images.encode(image, "jpeg", quality)
    with pytest.raises(images.ImageError, match="'gif': give png, jpeg or webp"):
        images.encode(image, "gif")
    with pytest.raises(images.ImageError, match="20000x1 pixels do not go into a webp"):
        images.encode(np.zeros((1, 20000, 3), np.float32), "webp")
    for wrong in (image[0], image[..., :1], image[:0], images.to_uint8(image)):
        with pytest.raises(images.ImageError, match=r"\[H, W, 3\]"):
            images.encode(wrong)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".JPG", ".webp"])
def test_write_takes_the_format_from_the_suffix_and_leaves_one_file(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    path.write_bytes(b"older")
    images.write(path, images.from_uint8(picture()))
    assert os.listdir(tmp_path) == [path.name]
    with Image.open(path) as image:
        assert image.format.lower() in (suffix[1:].lower(), "jpeg")
        assert not image.getexif()
    assert images.read(path).shape == (23, 31, 3)


def test_written_files_have_the_permissions_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        images.write(tmp_path / "a.png", images.from_uint8(picture()))
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(tmp_path / "a.png").st_mode) == 0o640


@pytest.mark.parametrize("failing", ["os.replace", "builtins.open"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, failing, error):
    path = tmp_path / "a.png"
    path.write_bytes(b"older")
    image = images.from_uint8(picture())
    real_open = open

    def fail(name, *arguments):
        if failing == "builtins.open":  # the disk fills up in the middle of the file
            file = real_open(name, *arguments)
            file.write(b"half")
            file.close()
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(failing, fail)
        expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else images.ImageError
        with pytest.raises(expected) as caught:
            images.write(path, image)
    if expected is images.ImageError:
        assert str(caught.value) == f"{path}: cannot be written (No space left on device)."
    assert os.listdir(tmp_path) == ["a.png"] and path.read_bytes() == b"older"


def test_write_names_bad_suffixes_and_folders(tmp_path):
    image = images.from_uint8(picture())
    with pytest.raises(images.ImageError, match=r"cannot write \.tiff\. Give \.png, \.jpg"):
        images.write(tmp_path / "a.tiff", image)
    with pytest.raises(images.ImageError, match="a file without suffix"):
        images.write(tmp_path / "a", image)
    with pytest.raises(images.ImageError, match="no folder .*missing. Make it first"):
        images.write(tmp_path / "missing" / "a.png", image)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(images.ImageError, match="cannot be written"):
        images.write(tmp_path / "folder.png", image)
    assert os.listdir(tmp_path) == ["folder.png"]


# --- 16 bits


@given(st.tuples(st.integers(1, 20), st.integers(1, 20)), st.integers(0, 2**32 - 1))
def test_16_bit_png_keeps_every_value(size, seed):
    samples = np.random.default_rng(seed).integers(0, 65536, (*size, 3))
    data = images.encode((samples / 65535).astype(np.float32), bits=16)
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == size[::-1]
    assert data[24:26] == bytes([16, RGB])
    image = images.decode_bytes(data)
    np.testing.assert_array_equal(np.rint(image * 65535), samples)
    np.testing.assert_array_equal(in_dataset(data), image)


def test_16_bit_values_are_rounded_and_clipped():
    image = np.array([[[-1, 2, 0.4 / 65535], [0.6 / 65535, 1 - 0.4 / 65535, 0.5]]])
    read = images.decode_bytes(images.encode(image, bits=16))
    np.testing.assert_array_equal(np.rint(read * 65535), [[[0, 65535, 0], [1, 65535, 32768]]])


@pytest.mark.parametrize("format", ["jpeg", "webp"])
def test_16_bits_go_into_a_png_only(tmp_path, format):
    image = images.from_uint8(picture())
    with pytest.raises(images.ImageError, match=f"16 bits do not go into a {format} file"):
        images.write(tmp_path / f"a.{format}", image, bits=16)
    with pytest.raises(images.ImageError, match="12 bits: give 8 or 16"):
        images.encode(image, bits=12)
    assert not os.listdir(tmp_path)


# --- texts

TEXTS = {
    "Title": "Sternennacht über Köln",
    "Software": "tfstyle",
    "Größe ~ x": '日本\n\u200d🖼 \t"quoted" {} <x/>',
    "empty": "",
}
WRITABLE = [(".png", 8), (".png", 16), (".jpg", 8), (".webp", 8)]


@pytest.mark.parametrize(("suffix", "bits"), WRITABLE)
def test_texts_come_back_in_order_and_leave_the_picture_alone(tmp_path, suffix, bits):
    image = images.from_uint8(picture())
    images.write(tmp_path / f"plain{suffix}", image, bits=bits)
    images.write(tmp_path / f"a{suffix}", image, bits=bits, text=TEXTS)
    assert list(images.read_text(tmp_path / f"a{suffix}").items()) == list(TEXTS.items())
    np.testing.assert_array_equal(
        images.read(tmp_path / f"a{suffix}"), images.read(tmp_path / f"plain{suffix}")
    )
    data = (tmp_path / f"a{suffix}").read_bytes()
    assert images.to_graph_bytes(data) == data or suffix == ".webp"


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_no_text_is_no_metadata(format):
    image = images.from_uint8(picture())
    assert images.encode(image, format, text={}) == images.encode(image, format)


printable = st.characters(codec="latin-1", exclude_categories=("Cc", "Zs", "Cf"))
keywords = st.text(printable, min_size=1, max_size=79)
valid_texts = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))


@pytest.mark.parametrize(("suffix", "bits"), WRITABLE)
@settings(max_examples=25)
@given(text=st.dictionaries(keywords, valid_texts, max_size=4))
def test_any_text_comes_back(tmp_path_factory, suffix, bits, text):
    path = tmp_path_factory.getbasetemp() / f"text{suffix}"
    images.write(path, images.from_uint8(picture(4, 5)), bits=bits, text=text)
    assert images.read_text(path) == text
    assert images.read(path).shape == (4, 5, 3)


def png_chunks(data):
    """(name, body) of each, with the checksums tested."""
    position, found = 8, []
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        name, body = data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        assert data[position : position + 12 + length] == chunk(name, body)
        found.append((name, body))
        position += 12 + length
    return found


@pytest.mark.parametrize("bits", [8, 16])
def test_chunks_of_a_png_stand_where_the_specification_wants_them(bits):
    data = images.encode(
        images.from_uint8(picture()), bits=bits, text={"a é": "ü"}, icc=ADOBE_PROFILE
    )
    names = [name for name, _ in png_chunks(data)]
    assert names[:3] == [b"IHDR", b"iCCP", b"iTXt"]
    assert names[3] == b"IDAT" and names[-1] == b"IEND"
    assert dict(png_chunks(data))[b"iTXt"] == b"a \xe9\0\0\0\0\0\xc3\xbc"


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_texts_that_no_file_can_hold_are_named(format):
    image = images.from_uint8(picture())
    for keyword in ("", "x" * 80, " a", "a ", "a  b", "a\nb", "a\0", "日本", "a\xa0b"):
        with pytest.raises(images.ImageError, match="text keyword .*: give 1 to 79") as caught:
            images.encode(image, format, text={keyword: "x"})
        assert "\n" not in str(caught.value)
    with pytest.raises(images.ImageError, match="text 'k' holds a zero character"):
        images.encode(image, format, text={"k": "a\0b"})
    with pytest.raises(images.ImageError, match="text 'k' is no valid Unicode"):
        images.encode(image, format, text={"k": "\ud800"})


def test_a_text_too_long_for_a_jpeg_is_named():
    image = images.from_uint8(picture())
    longest = 65533 - len('{"k": ""}')
    with Image.open(io.BytesIO(images.encode(image, "jpeg", text={"k": "x" * longest}))) as file:
        assert len(file.info["comment"]) == 65533
    with pytest.raises(images.ImageError, match="65534 bytes: a JPEG comment holds 65533"):
        images.encode(image, "jpeg", text={"k": "x" * (longest + 1)})


def test_texts_of_other_programs_are_read(tmp_path):
    def read_text(data):
        (tmp_path / "a").write_bytes(data)
        return images.read_text(tmp_path / "a")

    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "ä")
    info.add_text("Long", "long" * 99, zip=True)
    info.add_itxt("Other", "日本", "ja", "別", zip=True)
    assert read_text(encoded(picture(), "PNG", pnginfo=info)) == {
        "Title": "ä",
        "Long": "long" * 99,
        "Other": "日本",
    }
    late = encoded(picture(), "PNG")
    late = late[:-12] + chunk(b"tEXt", b"date\0now") + late[-12:]
    assert read_text(late) == {"date": "now"}
    for comment in (b"made by hand", b"[1]", b'{"a": 1}', b"[" * 9000, b"1" * 5000):
        assert read_text(encoded(picture(), "JPEG", comment=comment)) == {
            "Comment": comment.decode()
        }
    assert read_text(encoded(picture(), "JPEG", comment=b"caf\xe9")) == {"Comment": "caf\ufffd"}
    assert read_text(encoded(picture(), "GIF", comment=b"hello")) == {"Comment": "hello"}
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0hello\0"
    assert read_text(encoded(picture(), "WEBP", exif=exif)) == {"Comment": "hello"}
    exif.get_ifd(0x8769)[0x9286] = b"JIS\0\0\0\0\0hello"
    assert read_text(encoded(picture(), "WEBP", exif=exif)) == {}


@pytest.mark.parametrize("format", FILE_FORMATS)
def test_a_file_without_text_or_profile_has_none(tmp_path, format):
    (tmp_path / "a").write_bytes(encoded(picture(), format))
    assert images.read_text(tmp_path / "a") == {}
    assert images.read_icc(tmp_path / "a") is None


@pytest.mark.parametrize("reader", [images.read_text, images.read_icc, images.read_mask])
def test_every_reader_refuses_what_is_no_image(tmp_path, reader):
    path = tmp_path / "a.png"
    with pytest.raises(images.ImageError, match="a.png: no such file"):
        reader(path)
    path.write_bytes(b"%PDF-1.7")
    with pytest.raises(images.ImageError, match="a.png: not an image"):
        reader(path)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 40)
    with pytest.raises(images.ImageError, match="a.png: truncated or damaged PNG file"):
        reader(path)


@pytest.mark.parametrize("reader", [images.read_text, images.read_mask])
def test_what_decodes_has_the_pixel_limit(tmp_path, reader):
    path = tmp_path / "a.png"
    images.write(path, images.from_uint8(picture(20, 30)))
    reader(path, max_pixels=600)
    with pytest.raises(images.ImageError, match="30x20 pixels, above the limit of 599"):
        reader(path, max_pixels=599)


@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
@pytest.mark.parametrize("keyword", ["transparency", "icc_profile", "exif", "gamma", "dpi"])
def test_keywords_that_pillow_uses_itself_harm_nothing(tmp_path, keyword, mode):
    path = tmp_path / "a.png"
    expected = images.decode_bytes(encoded(picture(), "PNG", mode))
    info = PngImagePlugin.PngInfo()
    info.add_text(keyword, "x")
    path.write_bytes(encoded(picture(), "PNG", mode, pnginfo=info))
    np.testing.assert_array_equal(images.read(path), expected)
    assert images.read_text(path) == {keyword: "x"}
    assert images.read_icc(path) is None


# --- writing with a photo's profile


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_picture_in_the_profile_of_its_photo_looks_the_same(tmp_path, suffix):
    photo = tmp_path / "photo.png"
    photo.write_bytes(encoded(picture() // 2 + 64, "PNG", icc_profile=ADOBE_PROFILE))
    image = images.read(photo)
    icc = images.read_icc(photo)
    assert icc == ADOBE_PROFILE
    path = tmp_path / f"painted{suffix}"
    images.write(path, image, 100, icc=icc)
    assert images.read_icc(path) == ADOBE_PROFILE
    if suffix == ".png":
        np.testing.assert_allclose(images.read(path), image, atol=2 / 255)
    else:
        images.write(tmp_path / f"plain{suffix}", image, 100)
        lossy = np.abs(images.read(tmp_path / f"plain{suffix}") - image).mean()
        assert np.abs(images.read(path) - image).mean() < 1.5 * lossy + 1 / 255


def test_saturated_colours_come_back_from_a_profile_as_near_as_8_bits_there_allow():
    # Where red is nearly 0 in sRGB, one step of the wider profile is several in sRGB's values; so
    # the comparison is in linear light.
    image = images.from_uint8(picture())
    read = images.decode_bytes(images.encode(image, icc=ADOBE_PROFILE))
    error = np.abs(srgb_linear(read) - srgb_linear(image))
    # Half a step of each curve at its steepest; the first goes through the matrix.
    row = np.abs(np.linalg.inv(SRGB) @ ADOBE_RGB).sum(1).max()
    assert error.max() < 0.5 / 255 * (GAMMA * row + 2.4 / 1.055)


def test_the_stored_values_are_those_of_the_profile():
    data = images.encode(images.from_uint8(picture()), icc=ADOBE_PROFILE)
    with Image.open(io.BytesIO(data)) as file:
        assert file.info["icc_profile"] == ADOBE_PROFILE
        stored = np.asarray(file)
    xyz = srgb_linear(picture() / 255) @ SRGB.T
    expected = np.clip(xyz @ np.linalg.inv(ADOBE_RGB).T, 0, 1) ** (1 / GAMMA)
    assert np.abs(expected - picture() / 255).max() > 20 / 255
    np.testing.assert_allclose(stored / 255, expected, atol=2 / 255)


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_an_srgb_profile_is_carried_and_changes_no_value(format):
    image = images.from_uint8(picture())
    made_by_pillow = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    sampled = np.round(srgb_linear(np.linspace(0, 1, 1024)) * 65535)
    # So near that `read` takes it for sRGB, though it would change some values by one.
    nearly = rgb_profile(SRGB, np.round(srgb_linear(np.linspace(0, 1, 1024)) ** 1.015 * 65535))
    for profile in (made_by_pillow, rgb_profile(SRGB, sampled), nearly):
        data = images.encode(image, format, icc=profile)
        with Image.open(io.BytesIO(data)) as file:
            assert file.info["icc_profile"] == profile
        plain = images.encode(image, format)
        np.testing.assert_array_equal(images.decode_bytes(data), images.decode_bytes(plain))


GREY_PROFILE = icc_profile(b"GRAY", {b"wtpt": xyz_tag(WHITE_D50), b"kTRC": curve_tag([461])})
FLAT_PROFILE = rgb_profile(np.full((3, 3), 0.3), [563])  # no way back


@pytest.mark.parametrize(
    "profile",
    [b"", b"junk", ADOBE_PROFILE[:200], bytes(500), GREY_PROFILE, cmyk_profile(), FLAT_PROFILE],
)
@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_profiles_that_do_not_fit_are_left_out_and_the_picture_stays_srgb(format, profile):
    image = images.from_uint8(picture())
    assert images.encode(image, format, icc=profile) == images.encode(image, format)


def test_16_bits_stay_srgb_and_say_so(tmp_path):
    image = np.random.default_rng(0).random((9, 7, 3), np.float32)
    path = tmp_path / "a.png"
    images.write(path, image, bits=16, icc=ADOBE_PROFILE)
    np.testing.assert_allclose(images.read(path), image, atol=0.51 / 65535)
    profile = ImageCms.ImageCmsProfile(io.BytesIO(images.read_icc(path)))
    assert "sRGB" in ImageCms.getProfileDescription(profile)


def test_the_same_image_gives_the_same_bytes_at_any_time(monkeypatch):
    image = images.from_uint8(picture())
    first = images.encode(image, bits=16, icc=ADOBE_PROFILE, text=TEXTS)
    real = ImageCms.ImageCmsProfile.tobytes

    def a_year_later(profile):  # byte 24: the year
        data = real(profile)
        return data[:24] + struct.pack(">H", 1 + int.from_bytes(data[24:26], "big")) + data[26:]

    monkeypatch.setattr(ImageCms.ImageCmsProfile, "tobytes", a_year_later)
    assert images.encode(image, bits=16, icc=ADOBE_PROFILE, text=TEXTS) == first


# --- masks


def test_a_mask_is_the_luma_of_the_image(tmp_path):
    colors = [(255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255), (90, 90, 90)]
    (tmp_path / "a").write_bytes(encoded(np.uint8([colors]), "PNG"))
    mask = images.read_mask(tmp_path / "a")
    assert mask.dtype == np.float32 and mask.shape == (1, 6)
    assert mask[0, 0] == 1 and mask[0, 1] == 0
    np.testing.assert_allclose(mask, [[1, 0, 0.299, 0.587, 0.114, 90 / 255]], atol=HALF)


@pytest.mark.parametrize("format", FILE_FORMATS)
def test_a_black_and_white_mask_keeps_its_size_and_sides_in_every_format(tmp_path, format):
    array = np.zeros((16, 24), np.uint8)
    array[:, 8:] = 255
    (tmp_path / "a").write_bytes(encoded(array, format))
    np.testing.assert_allclose(images.read_mask(tmp_path / "a"), array / 255, atol=0.02)


@pytest.mark.parametrize("depth", [8, 16])
def test_what_is_transparent_is_outside_the_mask(tmp_path, depth):
    most = 2**depth - 1
    samples = np.random.default_rng(0).integers(0, most + 1, (9, 13, 2))
    (tmp_path / "a").write_bytes(png(samples, GREY_ALPHA, depth))
    expected = (samples / most).prod(-1)
    np.testing.assert_allclose(images.read_mask(tmp_path / "a"), expected, atol=HALF)


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "GIF"])
def test_a_white_shape_on_nothing_is_a_mask(tmp_path, format):
    inside = np.zeros((16, 24), bool)
    inside[4:12, 5:20] = True
    array = np.full((16, 24, 4), 255, np.uint8) * inside[..., None]
    options = {"lossless": True} if format == "WEBP" else {}
    (tmp_path / "a").write_bytes(encoded(np.uint8(array), format, **options))
    np.testing.assert_array_equal(images.read_mask(tmp_path / "a"), inside)
    assert images.read(tmp_path / "a").min() == 1  # white on white


def test_a_mask_is_turned_as_its_photo_is(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    array = np.zeros((8, 12), np.uint8)
    array[:, :4] = 255
    (tmp_path / "a").write_bytes(encoded(array, "PNG", exif=exif))
    np.testing.assert_array_equal(images.read_mask(tmp_path / "a"), turned(array, 6) / 255)


# --- for the graph


def test_to_graph_bytes_shrinks_what_is_far_larger_than_needed():
    data = encoded(picture(100, 150), "JPEG")
    assert images.to_graph_bytes(data, shrink_to=50) == data
    assert in_dataset(images.to_graph_bytes(data, shrink_to=40)).shape == (40, 60, 3)
