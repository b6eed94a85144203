"""One picture of a camera. Needs OpenCV, which the extra `camera` installs."""

import numpy as np

from tfstyle.errors import TfstyleError
from tfstyle.images import arrays

# The first frames of a camera are dark or green: it is still finding its exposure.
_SKIPPED_FRAMES = 10


class CameraError(TfstyleError, ValueError):
    """There is no picture to be had from the camera; the message says why."""


def capture(index: int = 0) -> np.ndarray:
    """Takes a picture: float32 RGB [H, W, 3] in [0, 1], of the size that the camera gives.

    Args:
        index: of the camera, from 0, as the system counts them (/dev/video0).

    Raises:
        CameraError: where OpenCV is not installed, the camera cannot be opened, or it gives no
            picture.
    """
    try:
        import cv2
    except ImportError:
        raise CameraError(
            "a camera needs OpenCV, which is not installed: pip install opencv-python-headless"
        ) from None
    try:
        camera = cv2.VideoCapture(index)
    except cv2.error:  # of a number that is no 32-bit integer
        raise CameraError(f"camera {index}: no such number. Give 0 for the first") from None
    try:
        if not camera.isOpened():
            raise CameraError(
                f"camera {index}: cannot be opened. Is it plugged in, and free, and may this user "
                f"read /dev/video{index}?"
            )
        for _ in range(_SKIPPED_FRAMES):
            camera.grab()
        good, frame = camera.read()
    finally:
        camera.release()
    if not good or frame is None or frame.ndim != 3:
        raise CameraError(f"camera {index}: gave no picture. Try again, or another camera:N")
    return arrays.from_uint8(np.ascontiguousarray(frame[..., ::-1]))  # OpenCV has BGR
