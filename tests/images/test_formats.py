"""images.formats: which file is of which format, and what is refused before it is unpacked."""

import io
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin, features

from tests.pictures import chunk, encoded, picture
from tfstyle import images
from tfstyle.images import formats

HALF = 0.5 / 255 + 1e-6


def heic(array, **options):
    """The bytes of a HEIC file."""
    pillow_heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(array)).save(file, quality=95, **options)
    return file.getvalue()


def avif(array, **options):
    if not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    return encoded(array, "AVIF", quality=95, **options)


def box(name, *bodies):
    body = b"".join(bodies)
    return struct.pack(">I", 8 + len(body)) + name + body


# --- AVIF and HEIC


@pytest.mark.parametrize("encode", [avif, heic])
def test_avif_and_heic_are_read_whatever_their_suffix(encode, tmp_path):
    path = tmp_path / "cdn.jpg"
    path.write_bytes(encode(picture(64, 96)))
    image = images.read(path)
    assert np.abs(image - picture(64, 96) / 255).mean() < 0.02
    np.testing.assert_allclose(
        images.decode_bytes(images.to_graph_bytes(path.read_bytes())), image, atol=HALF
    )


@pytest.mark.parametrize("encode", [avif, heic])
def test_avif_and_heic_are_turned_as_they_say(encode):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = images.decode_bytes(encode(picture(64, 96), exif=exif.tobytes()))
    assert np.abs(image - np.rot90(picture(64, 96), -1) / 255).mean() < 0.02


@pytest.mark.parametrize("encode", [avif, heic])
def test_avif_and_heic_have_the_pixel_limit_and_can_be_damaged(encode):
    data = encode(picture(64, 96))
    with pytest.raises(images.TooManyPixelsError, match="96x64 pixels, above the limit of 6143"):
        images.decode_bytes(data, max_pixels=6143)
    for length in (40, len(data) // 2):
        with pytest.raises(images.ImageError, match="x: truncated or damaged"):
            images.decode_bytes(data[:length], name="x")


@pytest.mark.parametrize(
    ("major", "compatible", "kind"),
    [
        (b"avif", [b"mif1", b"avif"], "AVIF"),
        (b"avis", [b"avis", b"msf1"], "AVIF"),
        (b"mif1", [b"mif1", b"miaf", b"avif"], "AVIF"),
        (b"mif1", [b"mif1", b"heic"], "HEIF"),
        (b"heic", [b"mif1", b"heic"], "HEIF"),
        (b"hevc", [b"msf1"], "HEIF"),
        (b"mif1", [], "HEIF"),
    ],
)
def test_the_brands_say_which_of_the_two_it_is(major, compatible, kind):
    assert formats.kind_of(box(b"ftyp", major, bytes(4), *compatible), "x") == kind


@pytest.mark.parametrize("major", [b"isom", b"mp42", b"qt  ", b"crx "])
def test_films_are_no_pictures(major):
    with pytest.raises(images.ImageError, match="x: not an image .*MP4 or QuickTime"):
        formats.kind_of(box(b"ftyp", major, bytes(4), b"mif1"), "x")


def test_without_what_reads_heic_the_mend_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    data = box(b"ftyp", b"heic", bytes(4), b"mif1")
    with pytest.raises(images.ImageError, match=r"x: HEIC needs .*pip install 'tfstyle\[heic\]'"):
        images.decode_bytes(data, name="x")


def test_heic_keeps_its_date_without_being_decoded(monkeypatch):
    exif = Image.Exif()
    exif[0x0132] = "2019:07:04 10:11:12"
    data = heic(picture(64, 96), exif=exif.tobytes())
    pillow_heif = pytest.importorskip("pillow_heif")
    monkeypatch.setattr(pillow_heif.HeifFile, "to_pillow", None)
    kept = images.photo_metadata(data)
    with Image.open(io.BytesIO(images.encode(np.zeros((4, 4, 3), np.float32), **kept))) as image:
        assert image.getexif()[0x0132] == "2019:07:04 10:11:12"


def test_heic_leaves_pillow_as_it_was():
    data = heic(picture(64, 96))
    before = set(Image.OPEN)
    images.decode_bytes(data)
    assert set(Image.OPEN) == before


# --- HDR


@pytest.mark.parametrize(("transfer", "told"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused_and_not_shown_too_dark(transfer, told):
    png = encoded(picture(), "PNG")
    hdr = png[:33] + chunk(b"cICP", bytes([9, transfer, 0, 1])) + png[33:]
    coded = struct.pack(">HHH", 9, transfer, 9) + b"\x80"
    meta = box(b"meta", bytes(4), box(b"colr", b"nclx", coded))
    for data in (hdr, box(b"ftyp", b"avif", bytes(4), b"mif1") + meta):
        with pytest.raises(images.ImageError, match=rf"x: HDR \({told}\)"):
            images.decode_bytes(data, name="x")
    plain = png[:33] + chunk(b"cICP", bytes([1, 13, 0, 1])) + png[33:]
    np.testing.assert_allclose(images.decode_bytes(plain), picture() / 255, atol=HALF)


# --- Colours told without a profile


def of_wide_gamut(kind, array, primaries):
    """A file whose coding tells these primaries of ITU-T H.273, with sRGB's transfer function."""
    if kind == "PNG":
        png = encoded(array, "PNG")
        return png[:33] + chunk(b"cICP", bytes([primaries, 13, 0, 1])) + png[33:]
    if kind == "HEIC":
        nclx = {"color_primaries": primaries, "transfer_characteristics": 13}
        return heic(array, chroma=444, save_nclx_profile=True, **nclx)
    data = avif(array, subsampling="4:4:4")  # which tells those of sRGB
    place = data.index(b"colrnclx") + 8
    return data[:place] + struct.pack(">HH", primaries, 13) + data[place + 4 :]


# Chromaticities of red, green and blue in ITU-T H.273, table 2; all have the white point D65.
CHROMATICITIES = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}


def to_xyz(primaries):
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in CHROMATICITIES[primaries]]).T
    return columns * np.linalg.solve(columns, (0.3127 / 0.3290, 1, 0.3583 / 0.3290))


@pytest.mark.parametrize("kind", ["PNG", "AVIF", "HEIC"])
@pytest.mark.parametrize("primaries", [9, 12])
def test_colours_of_a_wide_gamut_are_converted_as_with_a_profile(kind, primaries):
    stored = np.random.default_rng(0).integers(100, 170, (4, 4, 3)).astype(np.uint8)
    stored = stored.repeat(16, 0).repeat(16, 1)
    # The same values under sRGB's primaries: with what the codec loses.
    values = images.decode_bytes(of_wide_gamut(kind, stored, 1)).astype("float64")
    np.testing.assert_allclose(values, stored / 255, atol=9 / 255)
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ (np.linalg.inv(to_xyz(1)) @ to_xyz(primaries)).T, 0, 1)
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(expected - values).max() > 9 / 255
    data = of_wide_gamut(kind, stored, primaries)
    image = images.decode_bytes(data)
    np.testing.assert_allclose(image, expected, atol=2 / 255)
    np.testing.assert_allclose(images.decode_bytes(images.to_srgb_bytes(data)), image, atol=HALF)


# --- texts and profiles of a PNG


def with_text(kind, text):
    info = PngImagePlugin.PngInfo()
    if kind == "xmp":
        info.add_itxt("XML:com.adobe.xmp", text, zip=True)
    else:
        info.add_text("workflow", text, zip=kind == "packed")
    return encoded(picture(), "PNG", pnginfo=info)


@pytest.mark.parametrize("kind", ["packed", "plain", "xmp"])
def test_long_texts_are_read(kind, tmp_path):
    text = "{nodes: [1, 2, 3]} " * 200_000
    path = tmp_path / "a.png"
    path.write_bytes(with_text(kind, text))
    np.testing.assert_allclose(images.read(path), picture() / 255, atol=HALF)
    if kind == "xmp":
        assert images.read_xmp(path) == text
    else:
        assert images.read_text(path) == {"workflow": text}


def test_a_profile_of_more_than_a_megabyte_is_read(tmp_path):
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile += bytes(1_300_000)
    profile[:4] = struct.pack(">I", len(profile))
    path = tmp_path / "a.png"
    path.write_bytes(encoded(picture(), "PNG", icc_profile=bytes(profile)))
    np.testing.assert_allclose(images.read(path), picture() / 255, atol=HALF)
    assert images.read_icc(path) == bytes(profile)


@pytest.mark.parametrize("kind", ["packed", "plain", "xmp"])
def test_what_is_too_long_is_left_out_and_the_rest_is_read(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "MAX_TEXT", 1000)
    path = tmp_path / "a.png"
    long = with_text(kind, "x" * 1001)
    short = chunk(b"tEXt", b"date\0now")
    path.write_bytes(long[:33] + short + long[33:-12] + chunk(b"tEXt", b"a\0b") + long[-12:])
    np.testing.assert_allclose(images.read(path), picture() / 255, atol=HALF)
    assert images.read_text(path) == {"date": "now", "a": "b"}
    assert images.read_xmp(path) is None


def test_many_texts_have_the_limit_together(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "MAX_TEXT", 1000)
    png = encoded(picture(), "PNG")
    texts = [chunk(b"tEXt", b"%d\0" % i + b"x" * 400) for i in range(5)]
    (tmp_path / "a.png").write_bytes(png[:33] + b"".join(texts) + png[33:])
    assert list(images.read_text(tmp_path / "a.png")) == ["0", "1"]


@pytest.mark.parametrize("name", [b"zTXt", b"iTXt", b"iCCP"])
def test_texts_that_unpack_to_gigabytes_are_refused(name, monkeypatch):
    monkeypatch.setattr(formats, "_BOMB", 4_000_000)
    packed = zlib.compress(bytes(4_100_000))
    head = b"k\0\1\0\0\0" if name == b"iTXt" else b"k\0\0"
    png = encoded(picture(), "PNG")
    bomb = png[:33] + chunk(name, head + packed) + png[33:]
    for reader in (images.decode_bytes, images.to_graph_bytes):
        with pytest.raises(images.ImageError, match="b.png: a PNG of .* made to fill memory"):
            reader(bomb, name="b.png")
    halves = chunk(name, head + zlib.compress(bytes(2_050_000)))
    with pytest.raises(images.ImageError, match="made to fill memory"):
        images.decode_bytes(png[:33] + halves + halves + png[33:])


def test_unpacking_a_bomb_stops_at_the_limit():
    packed = zlib.compress(bytes(50_000_000))
    assert 1_000_000 < formats._unpacked_size(b"zTXt", b"k\0\0" + packed, 1_000_000) < 3_000_000


def test_limits_of_pillow_neither_interfere_nor_are_lost(monkeypatch):
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_CHUNK", 100)
    np.testing.assert_allclose(
        images.decode_bytes(with_text("packed", "x" * 5000)), picture() / 255, atol=HALF
    )
    assert PngImagePlugin.MAX_TEXT_CHUNK == 100


def test_16_bits_with_long_texts_are_read():
    array = np.random.default_rng(0).random((9, 7, 3), np.float32)
    data = images.encode(array, bits=16)
    packed = zlib.compress(b"x" * 12_000_000)
    data = data[:33] + chunk(b"zTXt", b"k\0\0" + packed) + data[33:]
    np.testing.assert_allclose(images.decode_bytes(data), array, atol=0.51 / 65535)


# --- depths and senses of TIFF


def tiff(samples, bits, sample_format, photometric, order):
    """An uncompressed TIFF of one strip. samples: [H, W, C] of the values as they are stored."""
    height, width, channels = samples.shape
    if bits >= 8 and bits != 12:
        kind = {1: "u", 2: "i", 3: "f"}[sample_format]
        body = samples.astype(f"{order}{kind}{bits // 8}").tobytes()
    else:
        body = b""
        for row in samples.reshape(height, -1).astype(np.uint64):
            packed = (row[:, None] >> np.arange(bits - 1, -1, -1, dtype=np.uint64)) & np.uint64(1)
            body += np.packbits(packed.astype(np.uint8)).tobytes()
    entries = {
        256: (3, [width]),
        257: (3, [height]),
        258: (3, [bits] * channels),
        259: (3, [1]),
        262: (3, [photometric]),
        273: (4, [0]),
        277: (3, [channels]),
        278: (3, [height]),
        279: (4, [len(body)]),
        339: (3, [sample_format] * channels),
    }
    start = 8 + 2 + 12 * len(entries) + 4
    extra, directory = b"", b""
    for tag, (kind, values) in entries.items():
        packed = struct.pack(order + {3: "H", 4: "I"}[kind] * len(values), *values)
        if len(packed) > 4:
            offset, extra = start + len(extra), extra + packed
            packed = struct.pack(order + "I", offset)
        directory += struct.pack(order + "HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    place = struct.pack(order + "I", start + len(extra))
    strip = struct.pack(order + "HHI", 273, 4, 1)
    directory = directory.replace(strip + bytes(4), strip + place)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    head = mark + struct.pack(order + "IH", 8, len(entries))
    return head + directory + bytes(4) + extra + body


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("photometric", [0, 1, 2])
@pytest.mark.parametrize(
    ("bits", "sample_format"),
    [(bits, kind) for bits in (1, 2, 4, 8, 12, 16, 32) for kind in (1, 2)] + [(16, 3), (32, 3)],
)
def test_a_tiff_has_the_right_brightness_or_is_refused(bits, sample_format, photometric, order):
    channels = 3 if photometric == 2 else 1
    values = np.random.default_rng(0).random((6, 16, channels))
    values[0, :2] = [[0], [1]]
    stored = np.rint(values * (2**bits - 1))
    expected = stored / (2**bits - 1)
    if sample_format == 2:
        stored -= 2 ** (bits - 1)
    elif sample_format == 3:
        stored = values
    expected = 1 - expected if photometric == 0 else expected
    try:
        image = images.decode_bytes(tiff(stored, bits, sample_format, photometric, order))
    except images.ImageError as error:
        assert "with 8" in str(error) and "\n" not in str(error)
        assert (bits, sample_format) != (8, 1)
        assert photometric == 2 or (bits, sample_format) != (1, 1)
        assert sample_format != 1 or bits != 16 or (photometric, order) == (0, ">")
        return
    assert sample_format == 1
    np.testing.assert_allclose(image, np.broadcast_to(expected, image.shape), atol=0.004)


def test_colours_that_are_no_rgb_are_named():
    data = encoded(picture(), "TIFF", compression=None)
    lab = ImageCms.createProfile("LAB")
    transform = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), lab, "RGB", "LAB")
    file = io.BytesIO()
    ImageCms.applyTransform(Image.open(io.BytesIO(data)), transform).save(file, "TIFF")
    with pytest.raises(images.ImageError, match="x.tif: colours of kind LAB"):
        images.decode_bytes(file.getvalue(), name="x.tif")


# --- Size


def gif_with_a_frame_of(width, height, place=0):
    """Three frames of 30x20 pixels, of which one says that it is larger."""
    data = bytearray(encoded(picture(20, 30), "GIF", **several(20, 30)))
    frame = -1
    for _ in range(place + 1):
        frame = data.index(b",\0\0\0\0\x1e\0\x14\0", frame + 1)
    data[frame + 5 : frame + 9] = struct.pack("<HH", width, height)
    return bytes(data)


def several(height, width):
    others = [Image.fromarray(picture(height, width, seed)) for seed in (1, 2)]
    return {"save_all": True, "append_images": others, "duration": 40, "disposal": 2}


@pytest.mark.parametrize("place", [0, 1])
def test_a_gif_makes_no_room_for_a_frame_beyond_the_limit(place, monkeypatch):
    def filled(mode, size, *rest):
        assert size[0] * size[1] <= 10**6, "room for it"
        return own(mode, size, *rest)

    own = Image.core.fill
    monkeypatch.setattr(Image.core, "fill", filled)
    data = gif_with_a_frame_of(50_000, 40_000, place)
    with pytest.raises(images.ImageError, match="50000x40000 pixels, above the limit of 1000000"):
        list(images.read_animation(data, max_pixels=10**6).frames)
    assert images.photo_metadata(data) == {}
    small = data[:6] + struct.pack("<HH", 10, 10) + gif_with_a_frame_of(30, 20)[10:]
    assert [image.shape for image, _ in images.read_animation(small).frames] == [(20, 30, 3)] * 3


def test_metadata_of_a_png_come_without_its_pixels(monkeypatch, tmp_path):
    exif = Image.Exif()
    exif[0x0132] = "2019:07:04 10:11:12"
    size = struct.pack(">IIBBBBB", 40_000, 50_000, 8, 2, 0, 0, 0)
    head = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", size)
        + chunk(b"pHYs", struct.pack(">IIB", 2835, 2835, 1))
    )
    behind = chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    data = head + chunk(b"IDAT", zlib.compress(b"\0")) + behind + chunk(b"IEND", b"")
    kept = images.photo_metadata(data)
    assert kept["dpi"] == pytest.approx((72, 72), abs=0.1)
    found = Image.Exif()
    found.load(kept["exif"])
    assert found[0x0132] == "2019:07:04 10:11:12"
    assert images.photo_metadata(head + chunk(b"IDAT", b"cut")[:-6]).keys() == {"dpi"}
