"""Pictures one after another, as a video file.

Needs PyAV, which the extra `video` installs.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np

from tfstyle import files, images
from tfstyle.errors import ArgumentError

# Container, encoder and its options, in FFmpeg's words. crf is the quality, on each encoder's own
# scale; with cpu-used VP9 is as quick as H.264.
# Without mbtree=0 the same frames give other bytes each time: x264's AVX-512 code for it reads what
# was never written (seen in PyAV 18.1; asm=avx2 mends it too, but is no word on other processors).
_X264 = ("libx264", {"crf": "18", "x264-params": "mbtree=0"})
_FORMATS = {
    ".mp4": ("mp4", *_X264),
    ".mkv": ("matroska", *_X264),
    ".webm": ("webm", "libvpx-vp9", {"crf": "24", "cpu-used": "4", "row-mt": "1"}),
}
# Code points of ITU-T H.273. Players guess by size where a file does not say, and guess wrong.
_BT709, _SRGB_TRANSFER, _LIMITED_RANGE = 1, 13, 1


class Writer:
    """Writes a video, whole or not at all: `with Writer("out.mp4") as video: video.add(image)`.

    H.264 in .mp4 and .mkv, VP9 in .webm; both YUV 4:2:0 of 8 bits, BT.709. The same frames give the
    same bytes on the same machine. The file has its name only when the block has ended well; after
    an exception there is none, and an earlier file of that name is still there.
    """

    def __init__(self, path: str | os.PathLike, *, fps: float = 24) -> None:
        """Nothing is written before the first frame.

        Args:
            path: .mp4, .mkv or .webm, in a folder that exists. Replaces an earlier file.
            fps: frames in a second, 0.01 to 1000.

        Raises:
            ValueError: for another suffix, folder or rate, or where PyAV is not installed.
        """
        self._path = Path(path)
        if self._path.suffix.lower() not in _FORMATS:
            raise ArgumentError(
                f"{path}: cannot write {self._path.suffix or 'a file without suffix'}. "
                f"Give {', '.join(_FORMATS)}."
            )
        if not self._path.parent.is_dir():
            raise ArgumentError(f"{path}: no folder {self._path.parent}. Make it first.")
        if not 0.01 <= fps <= 1000:
            raise ArgumentError(f"fps {fps}: give 0.01 to 1000.")
        _av()
        # 1001 because television has rates such as 24000/1001.
        self._rate = Fraction(fps).limit_denominator(1001)
        self._whole = files.whole(self._path)
        self._temporary = self._whole.__enter__()
        # PyAV's, from the first frame on, which sets the size too.
        self._container: Any = None
        self._stream: Any = None
        self._size = (0, 0)
        self._count = 0

    def __enter__(self) -> Writer:
        return self

    def add(self, image: np.ndarray, *, seconds: float | None = None) -> None:
        """Adds a picture.

        Args:
            image: float [H, W, 3] in [0, 1]; values outside are clipped. The first one sets the
                size of the video, where an odd side is one pixel longer (its last row or column
                again): 4:2:0 has even sides. Later ones of another size are resized to it.
            seconds: how long it stands, rounded to frames, at least one. One frame by default.

        Raises:
            ValueError: for another shape or type, negative seconds, or when the file cannot be
                written.
        """
        image = np.asarray(image)
        if image.ndim != 3 or image.shape[2] != 3 or not image.size or image.dtype.kind != "f":
            raise ArgumentError(
                f"frame of shape {image.shape} and type {image.dtype}: "
                "give floats in [0, 1] of shape [H, W, 3]."
            )
        if seconds is not None and not 0 <= seconds < math.inf:
            raise ArgumentError(f"seconds {seconds}: give 0 or more.")
        with self._named_errors():
            if self._container is None:
                self._open(image.shape[:2])
            if image.shape[:2] != self._size:
                image = images.resize(image, self._size)
            frame = self._frame(images.to_uint8(image))
            for _ in range(1 if seconds is None else max(1, round(seconds * self._rate))):
                frame.pts, frame.time_base = self._count, 1 / self._rate
                self._container.mux(self._stream.encode(frame))
                self._count += 1

    def _open(self, size: tuple[int, int]) -> None:
        av = _av()
        kind, encoder, options = _FORMATS[self._path.suffix.lower()]
        # With the index in front, a browser plays an .mp4 before all of it has come.
        front = {"movflags": "+faststart"} if kind == "mp4" else {}
        self._container = av.open(str(self._temporary), "w", format=kind, options=front)
        # Else Matroska gets random identifiers.
        self._container.flags |= av.container.Flags.bitexact.value
        self._stream = self._container.add_stream(encoder, rate=self._rate, options=options)
        self._stream.height, self._stream.width = (side + side % 2 for side in size)
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.thread_type = "FRAME"  # slices, the default, cost quality
        context.colorspace = context.color_primaries = _BT709
        context.color_trc, context.color_range = _SRGB_TRANSFER, _LIMITED_RANGE
        self._size = size

    def _frame(self, image: np.ndarray) -> Any:
        height, width, _ = image.shape
        even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        return (
            _av()
            .VideoFrame.from_ndarray(even, "rgb24")
            .reformat(format="yuv420p", dst_colorspace=_BT709, dst_color_range=_LIMITED_RANGE)
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        before = kind, error, traceback

        def end(*here: Any) -> None:
            """Moves the file where nothing went wrong, before or here; takes it away else."""
            with contextlib.suppress(Exception):  # a broken file that goes away now
                if self._container is not None:
                    self._container.close()
            with self._named_errors():
                self._whole.__exit__(*(here if here[0] else before))

        with contextlib.ExitStack() as stack:
            stack.push(end)
            if kind is not None:
                return
            if not self._count:
                raise ArgumentError(f"{self._path}: a video without frames. Add one.")
            with self._named_errors():
                self._container.mux(self._stream.encode(None))
                self._container.close()

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except (_av().FFmpegError, OSError) as error:
            raise ArgumentError(f"{self._path}: cannot be written ({error.strerror}).") from error


def _av() -> ModuleType:
    try:
        import av
    except ImportError:
        raise ArgumentError(
            "a video needs PyAV, which is not installed: pip install 'tfstyle[video]'"
        ) from None
    return av
