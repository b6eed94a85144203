"""Formats of image files: told by their first bytes, opened in Pillow, within limits.

What a file claims is checked before it is unpacked: pixels, texts and profiles of a few kilobytes
may be gigabytes.
"""

from __future__ import annotations

import contextlib
import io
import struct
import threading
import zlib
from collections.abc import Iterator
from typing import Any

from PIL import GifImagePlugin, Image, PngImagePlugin, UnidentifiedImageError, features

from tfstyle.errors import TfstyleError
from tfstyle.images import jpeg
from tfstyle.images.arrays import ImageError, TooManyPixelsError, scaled_size

# By which a folder's images are known without a look into them; other files are looked into.
SUFFIXES: tuple[str, ...] = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".gif"),
    *(".tif", ".tiff"),
)
# Of formats that cannot be read everywhere.
EXTRA_SUFFIXES = (".avif", ".avifs", ".heic", ".heif", ".hif")
SUFFIXES += EXTRA_SUFFIXES
# Of the beginning of a file, what `kind_of` wants to see.
HEAD = 64
# Those of several frames that are shown one after the other (pages of a TIFF are not).
ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")

_FORMATS = "JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF or HEIC"
_HEIC_EXTRA = "pip install 'tfstyle[heic]'"
_MAGIC = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"BM": "BMP",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
_FOREIGN_MAGIC = {
    b"%PDF": "PDF",
    b"PK": "ZIP",
    b"8BPS": "Photoshop",
    b"\0\0\0\x0cJXL": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cjP": "JPEG 2000",
    b"\x1f\x8b": "gzip",
    b"<": "HTML, XML or SVG",
}
# Brands of ISO/IEC 23000-22 (MIAF) and 23008-12 (HEIF). mif1 and msf1 say only that it is one of
# these two: which, say the brands that it is compatible with.
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_HEIF_BRANDS = {b"mif1", b"msf1", b"mif2", b"heif"}
# Transfer functions of ITU-T H.273 that are not near sRGB's: values of such files mean other light.
_HDR_TRANSFERS = {16: "PQ", 18: "HLG"}

# Under which `opened` adds to an image's `info` the number of the file's primaries in H.273.
PRIMARIES = "tfstyle primaries"

# Of a PNG's texts, and of its profile, as many bytes are read as they unpack to; what is beyond is
# left out. Workflows and histories of real files reach some megabytes, and Pillow stops at one.
MAX_TEXT = 16_000_000
# Where they unpack to more than this, the file was made to fill somebody's memory.
_BOMB = 256_000_000
_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")


def kind_of(data: bytes, name: str) -> str:
    """Pillow's name of the format, from the first `HEAD` bytes or more.

    Raises:
        ImageError: for what is no image, or of a format that cannot be read here.
    """
    if not data:
        raise ImageError(f"{name}: empty file (0 bytes).")
    for magic, kind in _MAGIC.items():
        if data.startswith(magic):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    guess: str | None
    if data[4:8] == b"ftyp":
        brands = _brands(data)
        if brands[0] in _AVIF_BRANDS | _HEIC_BRANDS | _HEIF_BRANDS:
            if _AVIF_BRANDS.intersection(brands):
                return "AVIF"
            return "HEIF"
        guess = "MP4 or QuickTime"
    else:
        guess = next((k for magic, k in _FOREIGN_MAGIC.items() if data.startswith(magic)), None)
    shown = data[:4].hex(" ").upper() + (f": {guess}" if guess else "")
    raise ImageError(f"{name}: not an image (first bytes {shown}). Give {_FORMATS}.")


def size_of(data: bytes) -> tuple[int, int] | None:
    """(height, width) that the head of a JPEG or PNG says; None for what is neither, or damaged."""
    if data.startswith(b"\xff\xd8\xff"):
        return jpeg.size(data)
    if data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) >= 24:
        width, height = struct.unpack_from(">II", data, 16)
        return height, width
    return None


def check_readable(kind: str, name: str) -> None:
    """Raises ImageError where what reads a format is not installed."""
    if kind == "HEIF" and not _has_heif():
        raise ImageError(f"{name}: HEIC needs pillow_heif, which is not installed: {_HEIC_EXTRA}.")
    if kind == "AVIF" and not features.check("avif"):
        raise ImageError(f"{name}: this Pillow was built without AVIF. Save it as JPEG or PNG.")


def _brands(data: bytes) -> list[bytes]:
    """The major brand of an ISO media file, and those that it is compatible with."""
    end = min(int.from_bytes(data[:4], "big"), len(data))
    return [data[8:12], *(data[i : i + 4] for i in range(16, end - 3, 4))]


def _has_heif() -> bool:
    try:
        import pillow_heif  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True


@contextlib.contextmanager
def opened(
    data: bytes,
    name: str,
    max_pixels: float,
    max_size: int | None = None,
    *,
    pixels: bool = True,
) -> Iterator[tuple[Image.Image, bytes]]:
    """The image in Pillow; whatever fails inside the block becomes an ImageError.

    Args:
        data: the bytes of a file.
        name: what error messages call it.
        max_pixels: images that are larger, as they are decoded, are refused before they are.
        max_size: a JPEG is decoded at an eighth, a quarter or half of its size where its longer
            side is then still twice as many pixels.
        pixels: False where only `info` and EXIF are asked for: then none are decoded, and the size
            of the image says nothing.

    Yields:
        (image, bytes that it is read from: `data` without what is beyond the limits).
    """
    kind = kind_of(data, name)
    check_readable(kind, name)
    if kind == "PNG":
        data = _within_limits(data, name)
    primaries, transfer = _coded_colors(data, kind)
    if transfer in _HDR_TRANSFERS:
        raise ImageError(
            f"{name}: HDR ({_HDR_TRANSFERS[transfer]}), whose values mean another brightness. "
            "Export it as a standard (SDR) picture."
        )
    if kind == "PNG" and not pixels:
        data = _without_pixels(data)
    # Pillow's parsers meet hostile data with nearly every exception there is (OSError,
    # SyntaxError, struct.error, KeyError, ...), so all of them mean: damaged.
    try:
        with _own_limits(), _open(data, kind, name, max_pixels, pixels) as image:
            if max_size and kind == "JPEG":
                height, width = scaled_size(image.size[::-1], 2 * max_size)
                image.draft(None, (width, height))
            _check_pixels(image.size, max_pixels, name)
            if not isinstance(image, Image.Image):
                image = image.to_pillow() if pixels else _with_info(image.info)
            image.info[PRIMARIES] = primaries
            yield image, data
    except (TfstyleError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name}: truncated or damaged {kind} file, or of a kind that is not known here. Fetch "
            "or export it again, with 8 bits a channel."
        ) from error
    except Exception as error:
        raise ImageError(
            f"{name}: truncated or damaged {kind} file ({error}). Fetch or export it again."
        ) from error


def _check_pixels(size: tuple[int, int], max_pixels: float, name: str) -> None:
    width, height = size
    if width * height > max_pixels:
        raise TooManyPixelsError(
            f"{name}: {width}x{height} pixels, above the limit of {max_pixels}. "
            "Make it smaller or raise the limit.",
            width * height,
        )


@contextlib.contextmanager
def _open(data: bytes, kind: str, name: str, max_pixels: float, pixels: bool) -> Iterator[Any]:
    """The image in Pillow, or HEIC's own object, which has a size and is not yet decoded."""
    if kind == "HEIF":
        import pillow_heif

        # Not its plug-in for Pillow, which would stay in the process.
        yield pillow_heif.open_heif(io.BytesIO(data))
        return
    if kind == "GIF":
        if pixels:
            with _Gif(io.BytesIO(data), name, max_pixels) as image:
                yield image
        else:
            yield Image.new("L", (1, 1))  # there is no EXIF, profile or resolution in a GIF
        return
    with Image.open(io.BytesIO(data), formats=(kind,)) as image:
        yield image


class _Gif(GifImagePlugin.GifImageFile):
    """A GIF whose size is checked whenever Pillow sets it.

    A frame may be larger than the GIF says it is. Pillow takes the larger size, and makes room for
    it when it opens the file or comes to the frame: a hundred bytes would take gigabytes.
    """

    def __init__(self, file: io.BytesIO, name: str, max_pixels: float) -> None:
        self._name, self._max_pixels = name, max_pixels
        super().__init__(file)

    @property
    def _size(self) -> tuple[int, int]:
        return self._checked_size

    @_size.setter
    def _size(self, size: tuple[int, int]) -> None:
        _check_pixels(size, self._max_pixels, self._name)
        self._checked_size = size


def _with_info(info: dict[str, Any]) -> Image.Image:
    image = Image.new("L", (1, 1))
    image.info.update(info)
    return image


def _chunks(png: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(start, end, name) of each chunk of a PNG, as far as it can be followed."""
    start = 8
    while start + 12 <= len(png):
        end = start + 12 + int.from_bytes(png[start : start + 4], "big")
        yield start, end, png[start + 4 : start + 8]
        start = end


def _without_pixels(png: bytes) -> bytes:
    """A PNG of one pixel with the texts, profile, EXIF and resolution of another.

    EXIF may stand behind the pixels, and Pillow decodes all of them to come to it. What does not
    begin as a PNG does stays as it is, for Pillow to say so.
    """
    if png[12:16] != b"IHDR":
        return png
    kept = [
        png[start:end]
        for start, end, chunk in _chunks(png)
        if chunk in (*_TEXT_CHUNKS, b"iCCP", b"eXIf", b"pHYs") and end <= len(png)
    ]
    return b"".join([_PNG_HEAD, *kept, _PNG_TAIL])


def _chunk(name: bytes, body: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + body))
    return struct.pack(">I", len(body)) + name + body + checksum


# Of a PNG of one pixel, before and behind its metadata.
_PNG_HEAD = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
_PNG_TAIL = _chunk(b"IDAT", zlib.compress(b"\0\0")) + _chunk(b"IEND", b"")


def _within_limits(png: bytes, name: str) -> bytes:
    """A PNG without the texts and the profile that are beyond `MAX_TEXT`.

    Raises:
        ImageError: where they would unpack to gigabytes.
    """
    kept, position, texts, unpacked = [], 0, 0, 0
    for start, end, chunk in _chunks(png):
        if chunk not in (*_TEXT_CHUNKS, b"iCCP"):
            continue
        size = _unpacked_size(chunk, png[start + 8 : end - 4], _BOMB - unpacked)
        unpacked += size
        if unpacked > _BOMB:
            raise ImageError(
                f"{name}: a PNG of {len(png)} bytes whose texts unpack to more than "
                f"{_BOMB // 10**6} MB: made to fill memory. Save it without metadata."
            )
        if (size if chunk == b"iCCP" else texts + size) > MAX_TEXT:
            kept.append(png[position:start])
            position = end
        elif chunk != b"iCCP":
            texts += size
    return b"".join([*kept, png[position:]]) if kept else png


def _unpacked_size(chunk: bytes, body: bytes, limit: int) -> int:
    """Bytes of a text or profile; somewhat more than `limit` where there are more than that."""
    _, _, rest = body.partition(b"\0")
    if chunk == b"tEXt" or (chunk == b"iTXt" and rest[:1] != b"\1"):
        return len(body)
    if chunk == b"iTXt":
        _, _, rest = rest[2:].partition(b"\0")  # the language
        _, _, rest = rest.partition(b"\0")  # the keyword in it
        rest = b"\0" + rest
    size, packed, unpacker = 0, rest[1:], zlib.decompressobj()
    try:
        while packed and not unpacker.eof and size <= limit:
            size += len(unpacker.decompress(packed, 2**20))
            packed = unpacker.unconsumed_tail
    except zlib.error:
        pass  # Pillow takes it for empty
    return size


def _coded_colors(data: bytes, kind: str) -> tuple[int, int]:
    """(primaries, transfer function) in the numbers of ITU-T H.273; 0 where a file has none."""
    if kind == "PNG":
        for start, _, chunk in _chunks(data):
            if chunk == b"cICP":
                return data[start + 8], data[start + 9]
    elif kind in ("AVIF", "HEIF") and (place := data.find(b"colrnclx", 0, 2**16)) >= 0:
        coded = data[place + 8 : place + 12].ljust(4, b"\0")
        return int.from_bytes(coded[:2], "big"), int.from_bytes(coded[2:], "big")
    return 0, 0


_lock = threading.Lock()
_users = 0
_of_others: tuple[int | None, int] | None = None


@contextlib.contextmanager
def _own_limits() -> Iterator[None]:
    """Lifts Pillow's process-wide limits while ours do their work, and puts them back."""
    global _users, _of_others
    with _lock:
        if not _users:
            _of_others = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK
            Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = None, MAX_TEXT
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                assert _of_others is not None
                Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = _of_others
