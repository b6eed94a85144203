"""JPEG files that end too early: which of them hold the whole picture, and how much the others do.

Cameras and downloads leave out the marker at the end, and every viewer opens such files. Decoders
open what is cut in the middle too, and make up the rest in grey; so it is tried what they make up.
"""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Iterator

import numpy as np
from PIL import Image

# Markers of frame headers: SOF0 to SOF15, without DHT, JPG and DAC.
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_SCAN = 0xDA
_END = b"\xff\xd9"
# Stands where the missing rows would: no marker, and unlike what a decoder makes up.
_NOISE = bytes(random.Random(0).choices(range(1, 255), k=4096))


def has_end(data: bytes) -> bool:
    """Whether a JPEG's picture has a marker at its end; what follows it does not matter."""
    if data.endswith(_END):
        return True
    for marker, _, end in _segments(data):
        if marker == _SCAN:
            return data.find(_END, end) >= 0  # not that of a thumbnail in the head
    return False


def mended(data: bytes) -> tuple[bytes, float]:
    """A JPEG that ends too early, with an end.

    Returns:
        (bytes that decoders take for whole, share of the rows that were there: 1 where the picture
        lacks nothing but the marker). A progressive JPEG with fewer scans than it announces by its
        frame has 0, though a coarse picture may be there.

    Raises:
        Exception: as Pillow does, for what it cannot read even so.
    """
    body = data.rstrip(b"\0")  # a download that had reserved its place
    body = data if len(data) - len(body) < 16 else body
    body = body[:-1] if body.endswith(b"\xff") else body
    ended, other = (_decoded(body + tail + _END) for tail in (b"", _NOISE))
    same = (ended == other).all(axis=(1, 2))
    share = 1.0 if same.all() else float(same.argmin()) / len(same)
    if share == 1 and not _has_all_scans(body):
        share = 0.0
    return body + _END, share


def _decoded(data: bytes) -> np.ndarray:
    """[H, W, C], at an eighth of the size: each row of blocks is one of these.

    Of a progressive one at its own, for later scans do not show in a small one.
    """
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        if "progressive" not in image.info:
            image.draft(None, (1, 1))
        array = np.asarray(image)
    return array.reshape(*array.shape[:2], -1)


def size(data: bytes) -> tuple[int, int] | None:
    """(height, width) as the frame header of a JPEG says; None where it has none."""
    for marker, body, _ in _segments(data):
        if marker in _FRAMES and len(body) >= 5:
            height, width = struct.unpack_from(">HH", body, 1)
            return height, width
    return None


def _has_all_scans(data: bytes) -> bool:
    """Whether each coefficient of each component is given to its last bit.

    Source: ITU-T T.81, B.2.2 (frame header) and B.2.3 (scan header).
    """
    missing: dict[int, set[int]] = {}
    for marker, body, _ in _segments(data):
        if marker in _FRAMES:
            missing = {component: set(range(64)) for component in body[6::3]}
        elif marker == _SCAN and body:
            first, last, approximation = body[-3:]
            for component in body[1 : 1 + 2 * body[0] : 2]:
                if not approximation & 0x0F and component in missing:
                    missing[component] -= set(range(first, last + 1))
    return not any(missing.values())


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """(marker, body, where it ends) of each segment of a JPEG; what stands in scans has none."""
    position = 2
    while (position := data.find(b"\xff", position)) >= 0 and position + 4 <= len(data):
        marker, length = struct.unpack_from(">xBH", data, position)
        if marker in (0x00, 0xFF) or 0xD0 <= marker <= 0xD9:  # within a scan, or without body
            position += 1 if marker == 0xFF else 2
            continue
        end = position + 2 + length
        yield marker, data[position + 4 : end], end
        position = end
