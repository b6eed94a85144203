"""Animations: their frames one after the other, so that a long one takes no more memory than a
short one."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image

from tfstyle.images import files, formats, memory
from tfstyle.images.arrays import MAX_PIXELS, ImageError, _checked, to_uint8

# Formats in which an animation is written, by the names of `files.WRITTEN_SUFFIXES`.
WRITTEN = ("png", "webp")
# Pillow keeps each frame of a PNG, and a copy.
_PNG_BYTES_PER_PIXEL = 8


@dataclasses.dataclass(frozen=True)
class Animation:
    """An animation that is read, or is to be written.

    Attributes:
        frames: (image, milliseconds) of each, made when it is asked for; images are float32 RGB
            [H, W, 3] in [0, 1], all of one size.
        count: how many frames there are.
        plays: how often it is shown; 0 for without end.
    """

    frames: Iterator[tuple[np.ndarray, float]]
    count: int
    plays: int


def read_animation(
    data: bytes,
    *,
    name: str = "image",
    max_pixels: int = MAX_PIXELS,
    max_size: int | None = None,
) -> Animation | None:
    """The frames of an animated GIF, WebP, PNG or AVIF; None for a file of a single image.

    Args:
        data: the bytes of a file.
        name, max_pixels, max_size: as `images.decode_bytes`, of each frame.

    Returns:
        Frames as they are shown, over white. One that cannot be decoded raises ImageError when its
        turn comes.

    Raises:
        ImageError: as `images.decode_bytes`.
    """
    if formats.kind_of(data, name) not in formats.ANIMATED:
        return None
    with formats.opened(data, name, max_pixels) as (image, _):
        # A PNG may have a picture for those who show no animations, which is no part of it.
        first = int(bool(image.info.get("default_image")))
        count = getattr(image, "n_frames", 1) - first
        if count < 2:
            return None
        plays = int(image.info.get("loop", 1 if image.format == "GIF" else 0))
        # A GIF says how often it is repeated, the others how often it is shown.
        plays += image.format == "GIF" and "loop" in image.info and plays > 0

    def frames() -> Iterator[tuple[np.ndarray, float]]:
        with formats.opened(data, name, max_pixels) as (image, _):
            for number in range(first, first + count):
                image.seek(number)
                image.load()
                yield files.frame(image, name, max_size), float(image.info.get("duration", 0))

    return Animation(frames(), count, plays)


def encode_animation(
    animation: Animation,
    format: str,
    quality: int = 95,
    *,
    text: Mapping[str, str] | None = None,
    xmp: str | None = None,
    exif: bytes | None = None,
    dpi: tuple[float, float] | None = None,
) -> bytes:
    """Encodes an animation, as sRGB.

    Args:
        animation: its frames are made one after the other. In a WebP only what is encoded stays in
            memory, in a PNG all frames with 4 bytes a pixel.
        format: "png" or "webp".
        quality, text, xmp, exif, dpi: as `images.encode`.

    Raises:
        ImageError: for another format, frames of different sizes, or as `images.encode`.
        TooLargeError: where a PNG's frames do not go into memory.
    """
    if format not in WRITTEN:
        raise ImageError(f"format {format!r} holds no animation: give {' or '.join(WRITTEN)}.")
    lengths: list[float] = []
    frames = _converted(animation.frames, lengths)
    first = next(frames)
    options: dict[str, Any] = {"save_all": True, "duration": lengths, "loop": animation.plays}
    if format == "webp":
        options |= files.save_options(format, quality, text, xmp=xmp, exif=exif, dpi=dpi)
        first = _Lazy(first, frames, animation.count)
    else:
        memory.check_memory(
            (first.height, first.width),
            animation.count * _PNG_BYTES_PER_PIXEL,
            name=f"{animation.count} frames",
            purpose="in an animated PNG",
            mend="Give .webp, or make them",
        )
        # Pillow goes through them twice.
        options["append_images"] = list(frames)
    file = io.BytesIO()
    try:
        first.save(file, format, **options)
    except (OSError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(
            f"{animation.count} frames of {first.width}x{first.height} pixels do not go into a "
            f"{format} file ({error})."
        ) from error
    data = file.getvalue()
    if format == "webp":
        return data
    return files.with_metadata(data, text, xmp=xmp, exif=exif, dpi=dpi)


def write_animation(
    path: str | os.PathLike,
    animation: Animation,
    quality: int = 95,
    *,
    finish: Callable[[bytes, str], bytes] | None = None,
    **metadata: Any,
) -> None:
    """Writes an animation whole or not at all.

    Args:
        path: .png or .webp, in a folder that exists. Replaces an earlier file.
        animation, quality: as `encode_animation`, and so are `text`, `xmp`, `exif` and `dpi`.
        finish: as of `images.write`.

    Raises:
        ImageError: as `encode_animation` and `images.write`.
    """
    files.write_encoded(
        path,
        lambda format: encode_animation(animation, format, quality, **metadata),
        finish=finish,
    )


def _converted(
    frames: Iterator[tuple[np.ndarray, float]], lengths: list[float]
) -> Iterator[Image.Image]:
    """Each frame as Pillow's, whose length is added to `lengths`."""
    size = None
    for image, length in frames:
        frame = Image.fromarray(to_uint8(_checked(image)))
        size = size or frame.size
        if frame.size != size:
            raise ImageError(f"frames of {size} and {frame.size}: give frames of one size.")
        lengths.append(length)
        yield frame


class _Lazy(Image.Image):
    """Frames that are made when Pillow's encoder comes to them, forwards only."""

    def __init__(self, first: Image.Image, others: Iterator[Image.Image], count: int) -> None:
        super().__init__()
        self.n_frames = count
        self._others = others
        self._place = 0
        self._take(first)

    def _take(self, frame: Image.Image) -> None:
        self.im = frame.im
        self._mode, self._size = frame.mode, frame.size

    def tell(self) -> int:
        return self._place

    def seek(self, frame: int) -> None:
        if frame == self._place + 1:
            self._take(next(self._others))
            self._place = frame
