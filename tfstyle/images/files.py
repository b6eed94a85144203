"""Image files, arrays and tensors: the one owner of value ranges, colour spaces and input limits.

An image is float32 RGB in [0, 1], [H, W, 3]; on disk and on the wire it is uint8 (uint16 in a deep
PNG). Values are sRGB as stored (not linear light). Transparency is composited on white in these
values, as browsers do.

`read` and `decode_bytes` take every format through Pillow. `decode` is their twin in a TensorFlow
graph, for tf.data and for serving; it takes JPEG and PNG only. TensorFlow has further decoders, but
none fit for files of unknown origin: its WebP op writes past its buffer on animations without alpha
(seen in 2.21), its GIF op decodes every frame before any size can be checked, and its BMP op takes
palette indices for grey. `to_graph_bytes` turns what `decode` lacks into PNG.

Functions that need TensorFlow import it: it takes seconds, and files can be read and written
without it.
"""

from __future__ import annotations

import functools
import io
import json
import math
import os
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin

from tfstyle import files
from tfstyle.images import formats, jpeg, memory, metadata
from tfstyle.images.arrays import (
    FLIPPED_LEFT_RIGHT,
    FLIPPED_UP_DOWN,
    MAX_PIXELS,
    ORIENTATION_TAG,
    ImageError,
    _checked,
    fit,
    from_uint8,
    resize,
    to_uint8,
)
from tfstyle.images.formats import opened
from tfstyle.images.graph import decode, decode_png

WRITTEN_SUFFIXES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
# Of TIFF 6.0: section 8, and 19 of the last.
_BITS_TAG, _PHOTOMETRIC_TAG, _SAMPLE_FORMAT_TAG = 258, 262, 339
# Pillow's modes that become RGB as they are.
_MODES = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}
_MODES |= {"I;16", "I;16B", "I;16L", "I;16N"}
_EXIF_IFD_TAG, _USER_COMMENT_TAG = 0x8769, 0x9286
# Of the texts, those that EXIF has a field for.
_EXIF_TEXTS = {"Software": 0x0131, "Description": 0x010E}
_XMP_KEYWORD = "XML:com.adobe.xmp"
# EXIF 2.32, 4.6.5: a user comment begins with its character code.
_ASCII_CODE = b"ASCII\0\0\0"
# {primaries in ITU-T H.273: XYZ of red, green and blue, adapted to D50 by Bradford's matrix, as a
# profile holds them}: of BT.2020 and Display P3.
_D50_COLORANTS = {
    9: ((0.67348, 0.27904, -0.00193), (0.16567, 0.67534, 0.02998), (0.12505, 0.04561, 0.79685)),
    12: ((0.51512, 0.24119, -0.00105), (0.29198, 0.69224, 0.04188), (0.1571, 0.06657, 0.78407)),
}
_PROFILE_ERRORS = (ImageCms.PyCMSError, OSError, KeyError, TypeError, ValueError)
# Peak memory of decoding one pixel: Pillow's 4 bytes, those of an array, and two float32 images;
# with alpha, 16 bits or a profile more of them; and where it is shrunk before it becomes floats.
_BYTES_PER_PIXEL, _BYTES_PER_DEEP_PIXEL, _BYTES_PER_SHRUNK_PIXEL = 40, 100, 10
_MAX_JPEG_COMMENT = 65533  # bytes; a segment's length is 16 bits and counts itself


def read(
    path: str | os.PathLike, *, max_pixels: int = MAX_PIXELS, max_size: int | None = None
) -> np.ndarray:
    """Reads an image file.

    Args:
        path: JPEG, PNG, WebP, BMP, GIF (first frame), TIFF (first page), AVIF or, with the extra
            [heic], HEIC; the content decides, not the suffix.
        max_pixels: images that are larger, as they are decoded, are refused before they are.
        max_size: as `fit` shrinks to, in pixels. A JPEG of four times that is decoded at half its
            size or less, down to an eighth; of others large parts are averaged before they become
            floats: memory stays low, and the limit of a JPEG is that of what is decoded.

    Returns:
        float32 RGB in [0, 1], [H, W, 3], turned as EXIF says, converted from the embedded ICC
        profile to sRGB (a broken profile counts as sRGB), alpha composited on white.

    Raises:
        ImageError: for a missing, unreadable, empty, truncated, foreign or too large file, or one
            whose samples are no brightness (HDR, floats, signed). A JPEG that lacks nothing but the
            marker at its end is read, with a warning.
        TooLargeError: where less memory is free than it takes to decode it.
    """
    return decode_bytes(read_bytes(path), name=str(path), max_pixels=max_pixels, max_size=max_size)


def read_mask(path: str | os.PathLike, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Reads an image file as a mask: white is inside, black and transparent are outside.

    Args:
        path: as `read`.
        max_pixels: larger images are refused before they are decoded.

    Returns:
        float32 [H, W] in [0, 1], in steps of 1/255: the luma (Rec. 601) of the image as `read`
        turns and converts it, but with alpha composited on black.

    Raises:
        ImageError: as `read`.
    """
    image = _decode_on(0.0, read_bytes(path), name=str(path), max_pixels=max_pixels)
    return from_uint8(np.asarray(Image.fromarray(to_uint8(image)).convert("L")))


def read_text(path: str | os.PathLike, *, max_pixels: int = MAX_PIXELS) -> dict[str, str]:
    """The texts that `write` put into a file, and those that other programs left.

    Args:
        path: as `read`.
        max_pixels: larger images are refused: the texts of a PNG may stand behind the pixels.

    Returns:
        {keyword: text}. Of a PNG, all its text chunks but XMP. Of a JPEG or GIF the comment, of a
        WebP the EXIF user comment: the entries of the JSON object that it is, else {"Comment": all
        of it}.
        Empty where there is none.

    Raises:
        ImageError: as `read`.
    """
    with opened(read_bytes(path), str(path), max_pixels) as (image, _):
        if isinstance(image, PngImagePlugin.PngImageFile):
            texts = {str(keyword): str(text) for keyword, text in image.text.items()}
            texts.pop(_XMP_KEYWORD, None)
            return texts
        comment = image.info.get("comment", b"")
        if image.format == "WEBP":
            comment = image.getexif().get_ifd(_EXIF_IFD_TAG).get(_USER_COMMENT_TAG, b"")
            comment = comment[len(_ASCII_CODE) :] if comment.startswith(_ASCII_CODE) else b""
        return _entries(comment.decode("utf-8", "replace").strip(" \0"))


def _entries(comment: str) -> dict[str, str]:
    if not comment:
        return {}
    try:
        entries = json.loads(comment)
    except (ValueError, RecursionError):
        entries = None
    if isinstance(entries, dict) and all(isinstance(text, str) for text in entries.values()):
        return entries
    return {"Comment": comment}


def read_xmp(path: str | os.PathLike, *, max_pixels: int = MAX_PIXELS) -> str | None:
    """The XMP packet that a file carries, as it is; None where it has none.

    Raises:
        ImageError: as `read`.
    """
    with opened(read_bytes(path), str(path), max_pixels) as (image, _):
        packet = image.info.get("xmp")
        if isinstance(image, PngImagePlugin.PngImageFile):
            packet = image.text.get(_XMP_KEYWORD)
    if isinstance(packet, bytes):
        packet = packet.decode("utf-8", "replace")
    return str(packet) if packet else None


def read_icc(path: str | os.PathLike) -> bytes | None:
    """The ICC profile that a file carries, as it is (it may be broken); None where it has none.

    Raises:
        ImageError: as `read`.
    """
    with opened(read_bytes(path), str(path), max_pixels=math.inf, pixels=False) as (image, _):
        profile = image.info.get("icc_profile")
    # A PNG's text of that keyword lands there too.
    return profile if profile and isinstance(profile, bytes) else None


def read_bytes(path: str | os.PathLike) -> bytes:
    """The bytes of an image file; a foreign file is refused after its first bytes.

    Raises:
        ImageError: for a file that is missing, unreadable, empty or no image.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(formats.HEAD)
            formats.kind_of(head, str(path))
            return head + file.read()
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file.") from None
    except IsADirectoryError:
        raise ImageError(f"{path}: a folder, not an image file.") from None
    except PermissionError:
        raise ImageError(f"{path}: no permission to read this file.") from None
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror}).") from error


def decode_bytes(
    data: bytes,
    *,
    name: str = "image",
    max_pixels: int = MAX_PIXELS,
    max_size: int | None = None,
) -> np.ndarray:
    """As `read`, from the bytes of a file. `name` is what error messages call it."""
    return _decode_on(1.0, data, name=name, max_pixels=max_pixels, max_size=max_size)


def _decode_on(
    background: float, data: bytes, *, name: str, max_pixels: int, max_size: int | None = None
) -> np.ndarray:
    """As `decode_bytes`, with alpha composited on grey of this value."""
    with opened(data, name, max_pixels, max_size) as (image, data):
        _check_memory(image, data, name, max_size)
        if data.startswith(b"\xff\xd8\xff") and not jpeg.has_end(data):
            return _without_end(background, data, name, max_pixels, max_size)
        image.load()
        orientation = _orientation(image)
        if max_size and (factor := max(image.size) // (2 * max_size)) > 1:
            # Before it becomes floats, of three times the size; not what Pillow has no 8 bits of.
            if image.mode in ("L", "RGB", "RGBA", "CMYK") and not _needs_graph(image, data):
                image, data = image.reduce(factor), b""
        array = _turn(_to_srgb(image, data, name, background), orientation)
    return fit(array, max_size) if max_size else array


def frame(image: Image.Image, name: str, max_size: int | None = None) -> np.ndarray:
    """The frame of an animation that Pillow has loaded; see `decode_bytes`. 8 bits a channel."""
    array = _turn(_to_srgb(image, b"", name, 1.0), _orientation(image))
    return fit(array, max_size) if max_size else array


def _check_memory(image: Image.Image, data: bytes, name: str, max_size: int | None) -> None:
    """Raises TooLargeError where an image would not go into memory, before it is decoded."""
    plain = image.mode in ("L", "RGB", "P", "1", "CMYK", "YCbCr") and not _needs_graph(image, data)
    each = _BYTES_PER_PIXEL if plain else _BYTES_PER_DEEP_PIXEL
    if max_size and plain and max(image.size) >= 4 * max_size:
        each = _BYTES_PER_SHRUNK_PIXEL
    coefficients = 0
    if "progressive" in image.info and (stored := jpeg.size(data)):
        coefficients = 6 * stored[0] * stored[1]  # of three components, at 2 bytes
    size = image.height, image.width
    memory.check_memory(size, each, name=name, purpose="to be read", at_once=coefficients)


def _without_end(
    background: float, data: bytes, name: str, max_pixels: int, max_size: int | None
) -> np.ndarray:
    """A JPEG that ends too early; an ImageError where it is not whole."""
    whole, share = jpeg.mended(data)
    if share < 1:
        raise ImageError(
            f"{name}: truncated or damaged JPEG file ({share:.0%} of its rows are there). Fetch or "
            "export it again."
        )
    image = _decode_on(background, whole, name=name, max_pixels=max_pixels, max_size=max_size)
    _tell_once(f"{name}: a JPEG without an end marker; the picture itself is whole.")
    return image


@functools.lru_cache(maxsize=1000)
def _tell_once(text: str) -> None:
    """Training reads the same files over and over."""
    logging.warning(text)


def _to_srgb(image: Image.Image, data: bytes, name: str, background: float) -> np.ndarray:
    _check_samples(image, name)
    # Pillow files a PNG's texts among what it knows of the image, under their own keywords.
    if isinstance(image.info.get("transparency"), str):
        del image.info["transparency"]
    transform = _srgb_transform(image)
    deep = image.mode.startswith("I;16")
    if transform is None:
        if _needs_graph(image, data):
            try:
                import tensorflow as tf
            except ModuleNotFoundError:
                # On a device 8 bits do; what Pillow gets wrong is refused.
                if data[24] != 16 and data[25] == 0 and "transparency" in image.info:
                    raise ImageError(
                        f"{name}: grey of {data[24]} bits with a transparent colour needs "
                        "TensorFlow, which is not installed. Save it with 8 bits."
                    ) from None
            else:
                return decode_png(tf.constant(data), background).numpy()
        if deep:
            return np.repeat(_deep_grey(image)[..., None], 3, axis=-1)
    elif deep:
        image = Image.fromarray(to_uint8(_deep_grey(image)))
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = from_uint8(np.asarray(image.getchannel("A")))[..., None]
    if transform is not None:
        image = _transformed(image.convert(transform.input_mode), transform)
    rgb = from_uint8(np.asarray(image.convert("RGB")))
    return rgb if alpha is None else rgb * alpha + np.float32(background) * (1 - alpha)


def _needs_graph(image: Image.Image, data: bytes) -> bool:
    """Whether it is a PNG that Pillow does not do justice.

    It cuts 16-bit colour to 8 bits, and misses the transparent colour of 2- and 4-bit grey.
    """
    return image.format == "PNG" and data[24:25] in (b"\x02", b"\x04", b"\x10")  # the bit depth


def _check_samples(image: Image.Image, name: str) -> None:
    """Raises ImageError for samples that do not go from black to white, or not in known steps."""
    mend = "Export it with 8 or 16 bits a channel, without sign."
    sample_format = 1
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        sample_format = max(image.tag_v2.get(_SAMPLE_FORMAT_TAG, (1,)))
    if sample_format == 2:
        raise ImageError(f"{name}: signed samples, of which no value is black. {mend}")
    if image.mode in ("I", "F"):
        kind = "floats" if image.mode == "F" else "whole numbers"
        raise ImageError(f"{name}: 32-bit samples ({kind}), of which no value is white. {mend}")
    if image.mode not in _MODES:
        raise ImageError(f"{name}: colours of kind {image.mode}. Export it as RGB.")


def _deep_grey(image: Image.Image) -> np.ndarray:
    """Grey of more than 8 bits: float32 [H, W] in [0, 1], black 0."""
    values = np.asarray(image).astype(np.float32)
    bits, white_is_zero = 16, False
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        # Pillow says neither of the two by its mode.
        bits = image.tag_v2.get(_BITS_TAG, (16,))[0]
        white_is_zero = image.tag_v2.get(_PHOTOMETRIC_TAG) == 0
    values /= np.float32(2**bits - 1)
    return 1 - values if white_is_zero else values


def _srgb_transform(image: Image.Image) -> ImageCms.ImageCmsTransform | None:
    """From the embedded profile to sRGB; None where there is nothing (or nothing sane) to do.

    Without a profile, from the primaries that the file's coding tells, if they are of a wide gamut.
    """
    icc = image.info.get("icc_profile") or _profile_of(image.info.get(formats.PRIMARIES, 0))
    if not icc:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        space = profile.profile.xcolor_space.strip()
        grey = image.mode in ("1", "L", "LA") or image.mode.startswith("I;16")
        if (space == "CMYK") != (image.mode == "CMYK") or (space == "GRAY" and not grey):
            return None
        mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}[space]
        transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")
        return transform if mode == "CMYK" or _changes_colors(transform) else None
    except _PROFILE_ERRORS:
        return None


def _profile_of(primaries: int) -> bytes | None:
    """The sRGB profile with primaries of ITU-T H.273 in place of its own; None for others.

    Its curve is kept for all: of the transfer functions that are let through those of video differ
    a little from it, and programs show them as sRGB.
    """
    if primaries not in _D50_COLORANTS:
        return None
    profile = bytearray(_srgb_profile())
    for number in range(struct.unpack_from(">I", profile, 128)[0]):
        tag, place = struct.unpack_from(">4sI", profile, 132 + 12 * number)
        if tag in (b"rXYZ", b"gXYZ", b"bXYZ"):
            values = _D50_COLORANTS[primaries][b"rgb".index(tag[:1])]
            struct.pack_into(">3i", profile, place + 8, *(round(v * 2**16) for v in values))
    return bytes(profile)


def _transformed(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    result = ImageCms.applyTransform(image, transform)
    assert result is not None  # as it is only where the image itself is to change
    return result


def _changes_colors(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether a transform from RGB or grey to sRGB does more than to round.

    Most profiles out there are sRGB itself under one of many names. Leaving those alone saves time,
    keeps 16 bits, and lets `decode` take the file as it is.
    """
    probe = {
        "RGB": np.mgrid[0:256:17, 0:256:17, 0:256:17].reshape(3, 16, 256).T,
        "L": np.arange(256).reshape(16, 16),
    }[transform.input_mode]
    before = Image.fromarray(np.ascontiguousarray(probe, dtype=np.uint8))
    after = np.asarray(_transformed(before, transform), dtype=int)
    return np.abs(after - np.asarray(before.convert("RGB"), dtype=int)).max() > 2


def _from_srgb(image: Image.Image, icc: bytes) -> tuple[Image.Image, bytes | None]:
    """The image in the colours of a profile, with it; as it is, with None, where that cannot be."""
    try:
        profile, srgb = ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB")
        # These fail for profiles that are not RGB.
        back = ImageCms.buildTransform(profile, srgb, "RGB", "RGB")
        # What `read` takes as it is must be written as it is.
        if _changes_colors(back):
            # The same intent as when it was read, perceptual, so that the two cancel.
            forth = ImageCms.buildTransform(srgb, profile, "RGB", "RGB")
            image = _transformed(image, forth)
            # Pillow leaves LittleCMS's rewriting of the profile there, and writes it into PNGs.
            del image.info["icc_profile"]
        return image, icc
    except _PROFILE_ERRORS:
        return image, None


def _srgb_profile() -> bytes:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # Bytes 24 to 35 of the header are the time it was made: the same image shall give the same
    # bytes.
    return profile[:24] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + profile[36:]


def _orientation(image: Image.Image) -> int:
    # A photo with a broken EXIF block is still a photo: it stays as stored.
    try:
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:
        return 1
    return orientation if orientation in range(1, 9) else 1


def _turn(image: np.ndarray, orientation: int) -> np.ndarray:
    if orientation >= 5:
        image = image.swapaxes(0, 1)
    if orientation in FLIPPED_LEFT_RIGHT:
        image = image[:, ::-1]
    if orientation in FLIPPED_UP_DOWN:
        image = image[::-1]
    return np.ascontiguousarray(image)


def to_graph_bytes(
    data: bytes,
    *,
    name: str = "image",
    max_pixels: int = MAX_PIXELS,
    shrink_to: int | None = None,
) -> bytes:
    """Bytes that `decode` takes, and decodes to what `decode_bytes` gives, to 1/255.

    The file is decoded by both in full, so what passes here raises no error in a graph later.

    Args:
        data: the bytes of a file in any format that `read` takes.
        name: what error messages call it.
        max_pixels: larger images are refused before they are decoded.
        shrink_to: where the shorter side is more than twice this many pixels, the result is the
            image resized to it. Saves decoding a camera's 12 megapixels over and over for a crop.

    Returns:
        `data` itself where `decode` does it justice; else a PNG with 8 bits a channel (other
        formats, ICC profiles other than sRGB, orientation outside EXIF, odd but readable JPEGs).

    Raises:
        ImageError: as `read`.
    """
    image = decode_bytes(data, name=name, max_pixels=max_pixels)
    shorter = min(image.shape[:2])
    if shrink_to is not None and shorter > 2 * shrink_to:
        height, width = (round(side * shrink_to / shorter) for side in image.shape[:2])
        return encode(resize(image, (height, width)))
    return data if _decode_agrees(data, image) else encode(image)


def to_srgb_bytes(data: bytes, *, name: str = "image", max_pixels: int = MAX_PIXELS) -> bytes:
    """The bytes of a JPEG or PNG that looks alike to those who see no colour profile.

    Without TensorFlow, and so not as sure as `to_graph_bytes`.

    Args:
        data: the bytes of a file in any format that `read` takes.
        name: what error messages call it.
        max_pixels: larger images are refused, where they are decoded.

    Returns:
        `data` itself where it is a JPEG or PNG in sRGB; else a PNG with 8 bits a channel.

    Raises:
        ImageError: as `read`, for what is decoded.
    """
    if formats.kind_of(data, name) in ("JPEG", "PNG"):
        with opened(data, name, math.inf) as (image, _):
            if image.mode != "CMYK" and _srgb_transform(image) is None:
                return data
    return encode(decode_bytes(data, name=name, max_pixels=max_pixels))


def _decode_agrees(data: bytes, image: np.ndarray) -> bool:
    import tensorflow as tf

    # Tried, not deduced: the two rest on different libraries, and a file that only one of them
    # refuses would end a training hours later.
    if not data.startswith((b"\xff\xd8\xff", b"\x89PNG")):
        return False
    try:
        with tf.device("CPU"):
            twin = decode(tf.constant(data), max_pixels=image.size).numpy()
    except tf.errors.OpError:
        return False
    # Row by row: temporaries the size of the image cost more than the comparison.
    return twin.shape == image.shape and all(
        np.abs(a - b).max() <= 1.001 / 255 for a, b in zip(twin, image, strict=True)
    )


def encode(
    image: np.ndarray,
    format: str = "png",
    quality: int = 95,
    *,
    bits: int = 8,
    text: Mapping[str, str] | None = None,
    icc: bytes | None = None,
    xmp: str | None = None,
    exif: bytes | None = None,
    dpi: tuple[float, float] | None = None,
) -> bytes:
    """Encodes an image; with no more metadata than is given: untagged files are sRGB.

    Args:
        image: float [H, W, 3] in [0, 1]; values outside are clipped.
        format: "png", "jpeg" or "webp".
        quality: 1..100, for JPEG (without chroma subsampling) and WebP.
        bits: of a channel; 16 for PNG only.
        text: keywords (1 to 79 Latin-1 characters) and texts, which `read_text` gives back: iTXt
            chunks of a PNG, the comment of a JPEG as a JSON object in UTF-8, the EXIF user comment
            of a WebP as a JSON object in ASCII. "Software" and "Description" stand in the EXIF
            fields of JPEG and WebP too.
        icc: a photo's profile (`read_icc`). The file carries it, and holds the picture in its
            colours: what lies outside its gamut is lost, and 8 bits of a wide one are coarse for
            dark and saturated colours. Profiles that are not RGB, or broken, or good for reading
            only, are left out and the picture stays sRGB. With 16 bits it stays sRGB too, and
            carries an sRGB profile: LittleCMS has 8 bits in Pillow.
        xmp: an XMP packet, which `read_xmp` gives back.
        exif: an EXIF block, such as `photo_metadata` gives; the fields of `text` are added to it in
            JPEG and WebP.
        dpi: dots per inch, horizontally and vertically. A WebP has them in its EXIF block alone.

    Raises:
        ImageError: for another format, quality, number of bits or shape, for a keyword or text that
            cannot be stored, or a size that the format cannot hold.
    """
    if format not in WRITTEN_SUFFIXES.values():
        raise ImageError(f"format {format!r}: give png, jpeg or webp.")
    if not 1 <= quality <= 100:
        raise ImageError(f"quality {quality}: give 1 to 100.")
    if bits not in (8, 16):
        raise ImageError(f"{bits} bits: give 8 or 16.")
    if bits == 16 and format != "png":
        raise ImageError(f"16 bits do not go into a {format} file. Give png, or 8 bits.")
    image, text = _checked(image), _checked_text(text or {})
    if bits == 16:
        profile = _srgb_profile() if icc else None
        return with_metadata(
            _encode_16_bits(image), text, profile=profile, xmp=xmp, exif=exif, dpi=dpi
        )
    stored, profile = Image.fromarray(to_uint8(image)), None
    if icc:
        stored, profile = _from_srgb(stored, icc)
    options = {}
    if format != "png":
        options = save_options(format, quality, text, profile=profile, xmp=xmp, exif=exif, dpi=dpi)
    file = io.BytesIO()
    try:
        stored.save(file, format, **options)
    except (OSError, ValueError) as error:
        height, width, _ = image.shape
        raise ImageError(
            f"{width}x{height} pixels do not go into a {format} file ({error}). Give png."
        ) from error
    data = file.getvalue()
    if format != "png":
        return data
    return with_metadata(data, text, profile=profile, xmp=xmp, exif=exif, dpi=dpi)


def save_options(
    format: str,
    quality: int,
    text: Mapping[str, str] | None,
    *,
    profile: bytes | None = None,
    xmp: str | None = None,
    exif: bytes | None = None,
    dpi: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """Pillow's options of a JPEG or WebP; arguments and errors as of `encode`."""
    text = _checked_text(text or {})
    # Brush strokes are colour edges, which chroma subsampling would smear.
    options: dict[str, Any] = {"quality": quality}
    fields = {tag: text[keyword] for keyword, tag in _EXIF_TEXTS.items() if keyword in text}
    block = metadata.block(exif, fields, dpi)
    if format == "jpeg":
        options["subsampling"] = 0
        if text:
            options["comment"] = _comment(text)
        if dpi:
            options["dpi"] = dpi
    elif text:
        comment = _ASCII_CODE + json.dumps(text).encode()
        block.get_ifd(_EXIF_IFD_TAG)[_USER_COMMENT_TAG] = comment
    if len(block) or (text and format == "webp"):
        options["exif"] = block
    if profile:
        options["icc_profile"] = profile
    if xmp:
        options["xmp"] = xmp.encode()
    return options


def _checked_text(text: Mapping[str, str]) -> dict[str, str]:
    for keyword, value in text.items():
        # The rule of PNG, for all formats: what goes into one goes into the others.
        latin = all(" " <= c <= "~" or "\xa1" <= c <= "\xff" for c in keyword)
        if not latin or not 1 <= len(keyword) <= 79 or " ".join(keyword.split()) != keyword:
            raise ImageError(
                f"text keyword {keyword!r}: give 1 to 79 printable Latin-1 characters, without "
                "spaces at the ends or one after another."
            )
        try:
            if b"\0" in value.encode():
                raise ImageError(f"text {keyword!r} holds a zero character. Leave it out.")
        except UnicodeEncodeError as error:
            raise ImageError(f"text {keyword!r} is no valid Unicode ({error}).") from error
    return dict(text)


def _comment(text: dict[str, str]) -> bytes:
    """The comment of a JPEG that holds the texts."""
    comment = json.dumps(text, ensure_ascii=False).encode()
    if len(comment) > _MAX_JPEG_COMMENT:
        raise ImageError(
            f"text of {len(comment)} bytes: a JPEG comment holds {_MAX_JPEG_COMMENT}. Give png."
        )
    return comment


def _encode_16_bits(image: np.ndarray) -> bytes:
    # Pillow has no 16-bit colour.
    import tensorflow as tf

    stored = np.clip(np.rint(image * np.float32(65535)), 0, 65535).astype(np.uint16)
    with tf.device("CPU"):
        return tf.io.encode_png(stored).numpy()


def with_metadata(
    png: bytes,
    text: Mapping[str, str] | None,
    *,
    profile: bytes | None = None,
    xmp: str | None = None,
    exif: bytes | None = None,
    dpi: tuple[float, float] | None = None,
) -> bytes:
    """A PNG with the chunks that hold metadata; arguments and errors as of `encode`.

    As the PNG specification has them: iCCP is name, method 0, compressed profile; pHYs is pixels a
    metre in both directions, unit 1; eXIf is the block without its mark; iTXt is keyword,
    compression 0 and method 0, no language, no translated keyword, text.
    """
    text = _checked_text(text or {})
    if xmp:
        text[_XMP_KEYWORD] = xmp
    chunks = [(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile))] if profile else []
    if dpi:
        chunks.append((b"pHYs", struct.pack(">IIB", *(round(d / 0.0254) for d in dpi), 1)))
    if exif:
        chunks.append((b"eXIf", exif.removeprefix(b"Exif\0\0")))
    for keyword, value in text.items():
        chunks.append((b"iTXt", keyword.encode("latin-1") + b"\0\0\0\0\0" + value.encode()))
    return _with_chunks(png, chunks)


def _with_chunks(png: bytes, chunks: list[tuple[bytes, bytes]]) -> bytes:
    """The PNG with (name, body) chunks put behind its header chunk, before palette and pixels."""
    parts = [png[:33]]  # signature 8, IHDR 4 + 4 + 13 + 4
    for name, body in chunks:
        checksum = struct.pack(">I", zlib.crc32(name + body))
        parts += [struct.pack(">I", len(body)), name, body, checksum]
    return b"".join([*parts, png[33:]])


def write(
    path: str | os.PathLike,
    image: np.ndarray,
    quality: int = 95,
    *,
    bits: int = 8,
    text: Mapping[str, str] | None = None,
    icc: bytes | None = None,
    xmp: str | None = None,
    exif: bytes | None = None,
    dpi: tuple[float, float] | None = None,
    finish: Callable[[bytes, str], bytes] | None = None,
) -> None:
    """Writes an image file whole or not at all.

    Args:
        path: .png, .jpg, .jpeg or .webp, in a folder that exists. Replaces an earlier file.
        image: float [H, W, 3] in [0, 1].
        quality, bits, text, icc, xmp, exif, dpi: as `encode`.
        finish: is given the encoded file and its format, and gives what is written, such as the
            file signed.

    Raises:
        ImageError: for another suffix, as `encode`, or when the file cannot be written; nothing is
            left behind.
    """
    write_encoded(
        path,
        lambda format: encode(
            image, format, quality, bits=bits, text=text, icc=icc, xmp=xmp, exif=exif, dpi=dpi
        ),
        finish=finish,
    )


def write_encoded(
    path: str | os.PathLike,
    encoded: Callable[[str], bytes],
    *,
    finish: Callable[[bytes, str], bytes] | None = None,
) -> None:
    """Writes what `encoded` gives for the format of the path's suffix; see `write`."""
    path = Path(path)
    format = WRITTEN_SUFFIXES.get(path.suffix.lower())
    if format is None:
        raise ImageError(
            f"{path}: cannot write {path.suffix or 'a file without suffix'}. "
            f"Give {', '.join(WRITTEN_SUFFIXES)}."
        )
    if not path.parent.is_dir():
        raise ImageError(f"{path}: no folder {path.parent}. Make it first.")
    data = encoded(format)
    if finish:
        data = finish(data, format)
    # A plain open instead of tempfile's: it gives the file the permissions of the user's umask.
    try:
        with files.whole(path) as temporary, open(temporary, "xb") as file:
            file.write(data)
    except OSError as error:
        raise ImageError(f"{path}: cannot be written ({error.strerror}).") from error
