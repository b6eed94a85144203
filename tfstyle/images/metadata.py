"""What a photo's file says of it besides its pixels: when it was taken, by what, and where.

A painting of it can keep that, so that galleries sort it by the photo's date. Where it was taken,
and what tells one camera or person from another, is kept only where that is asked for.
"""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping

from PIL import Image

from tfstyle.images.formats import opened

# What `photo_metadata` keeps.
KEPT = ("none", "safe", "all")

_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
# EXIF 2.32. Make, Model, DateTime, Artist, Copyright.
_SAFE = {0x010F, 0x0110, 0x0132, 0x013B, 0x8298}
# Exposure, aperture, sensitivity, dates with their zones and fractions, light and lens; without the
# maker's own notes, comments, and the numbers and owners of camera and lens.
_SAFE_EXIF = {
    *(0x829A, 0x829D, 0x8822, 0x8827, 0x8830, 0x8831, 0x8832, 0x9003, 0x9004),
    *(0x9010, 0x9011, 0x9012, 0x9201, 0x9202, 0x9203, 0x9204, 0x9205, 0x9206, 0x9207),
    *(0x9208, 0x9209, 0x920A, 0x9290, 0x9291, 0x9292, 0xA402, 0xA403, 0xA404, 0xA405),
    *(0xA406, 0xA432, 0xA433, 0xA434),
}
# Never: of the picture as it was stored (sizes, strips, orientation, which has been applied,
# resolution, which `dpi` gives, thumbnail), other blocks (XMP, IPTC, ICC, ...), pointers.
_STORED = {
    *range(0x00FE, 0x0108),
    *(0x010A, 0x0111, 0x0112, 0x0115, 0x0116, 0x0117, 0x0118, 0x0119, 0x011A, 0x011B, 0x011C),
    *(0x0120, 0x0121, 0x0122, 0x0123, 0x0124, 0x0125, 0x0128, 0x0129),
    *range(0x013D, 0x0157),
    *(0x015B, 0x0200, 0x0201, 0x0202, 0x0203, 0x0205, 0x0206, 0x0207, 0x0208, 0x0209),
    *(0x0211, 0x0212, 0x0213, 0x0214, 0x02BC, 0x83BB, 0x8649, 0x8773, 0x935C),
    *(_EXIF_IFD, _GPS_IFD),
}
# Sizes, the user comment, in which texts stand, and a pointer.
_STORED_EXIF = {0xA002, 0xA003, 0x9286, 0xA005}
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _INCH = 0x011A, 0x011B, 0x0128, 2


def photo_metadata(
    data: bytes, keep: str = "safe", *, name: str = "image"
) -> dict[str, typing.Any]:
    """What `images.write` takes to keep what a photo's file says of it.

    Args:
        data: the bytes of the file.
        keep: "none"; "safe" for date, camera, exposure, artist and copyright; "all" for all of its
            EXIF, the place among it. A turned photo is upright in a painting, and so the
            orientation is in none; the thumbnail, which shows the photo, is in none either.
        name: what error messages call it.

    Returns:
        {"exif": EXIF block, "dpi": (horizontal, vertical)}, without what the file does not have. A
        broken block counts as none.

    Raises:
        ImageError: as `images.read`.
    """
    if keep not in KEPT:
        raise ValueError(f"keep {keep!r}: give {', '.join(KEPT)}")
    if keep == "none":
        return {}
    with opened(data, name, math.inf, pixels=False) as (image, _):
        kept: dict[str, typing.Any] = {}
        if dpi := _dpi(image.info.get("dpi")):
            kept["dpi"] = dpi
        try:
            exif = _filtered(image.getexif(), keep)
        except Exception:  # whatever a parser of hostile data raises
            return kept
    return kept | ({"exif": exif} if exif else {})


def block(
    exif: bytes | None, fields: Mapping[int, str], dpi: tuple[float, float] | None
) -> Image.Exif:
    """An EXIF block with further fields of its first directory."""
    result = Image.Exif()
    if exif:
        result.load(exif)
        # What `load` read lazily is lost when the block is written.
        for directory in (_EXIF_IFD, _GPS_IFD):
            result.get_ifd(directory)
    for tag, value in fields.items():
        result[tag] = value
    if dpi and len(result):
        result[_X_RESOLUTION], result[_Y_RESOLUTION] = dpi
        result[_RESOLUTION_UNIT] = _INCH
    return result


def _filtered(exif: Image.Exif, keep: str) -> bytes:
    """The block of the fields that are kept; b"" where there is none."""
    kept, some = Image.Exif(), False
    for directory, safe, stored in (
        (None, _SAFE, _STORED),
        (_EXIF_IFD, _SAFE_EXIF, _STORED_EXIF),
        (_GPS_IFD, set(), set()),
    ):
        fields = dict(exif) if directory is None else exif.get_ifd(directory)
        for tag, value in fields.items():
            wanted = tag not in stored if keep == "all" else tag in safe
            if wanted and _can_be_written(directory, tag, value):
                some = True
                if directory is None:
                    kept[tag] = value
                else:
                    kept.get_ifd(directory)[tag] = value
    return kept.tobytes() if some else b""


def _can_be_written(directory: int | None, tag: int, value: object) -> bool:
    one = Image.Exif()
    try:
        if directory is None:
            one[tag] = value
        else:
            one.get_ifd(directory)[tag] = value
        return bool(one.tobytes())
    except Exception:  # a value that is not of its tag's type
        return False


def _dpi(dpi: object) -> tuple[float, float] | None:
    try:
        horizontal, vertical = (float(each) for each in dpi)  # type: ignore[attr-defined]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    plausible = all(1 <= each <= 65535 for each in (horizontal, vertical))
    return (horizontal, vertical) if plausible else None
