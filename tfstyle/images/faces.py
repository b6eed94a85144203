"""Where a photo shows faces."""

import functools
from typing import Any

import numpy as np

from tfstyle.images import arrays

# Of the copy that is looked through, and of the smallest face in it, in pixels.
_LOOKED_THROUGH, _SMALLEST = 384, 22
# A found square ends at chin and brows; with hair and ears a head is so much larger.
_HEAD = 1.5


def find_faces(image: np.ndarray) -> list[tuple[float, float, float]]:
    """Faces seen from the front: (row and column of the middle, side), in pixels, largest first.

    By a cascade of local binary patterns (Liao et al. 2007, "Learning Multi-scale Block Local
    Binary Patterns for Face Recognition"), as scikit-image has it: a second for a photo, faces of a
    seventeenth of the photo's longer side or more. It takes a badge or a patterned wall for a face
    now and then, and misses heads that are turned away or bowed.

    Args:
        image: float RGB [H, W, 3] in [0, 1].
    """
    small = arrays.fit(image, _LOOKED_THROUGH)
    if min(small.shape[:2]) < 2 * _SMALLEST:
        return []
    found = _detector().detect_multi_scale(
        img=arrays.to_uint8(small),
        scale_factor=1.2,
        step_ratio=1,
        min_size=(_SMALLEST, _SMALLEST),
        max_size=small.shape[:2],
    )
    scale = max(image.shape[:2]) / max(small.shape[:2])
    boxes = sorted(
        (
            (
                (box["r"] + box["height"] / 2) * scale,
                (box["c"] + box["width"] / 2) * scale,
                float(box["width"]) * scale,
            )
            for box in found
        ),
        key=lambda box: -box[2],
    )
    apart: list[tuple[float, float, float]] = []
    for row, column, side in boxes:
        if all(np.hypot(row - r, column - c) > s / 2 for r, c, s in apart):
            apart.append((row, column, side))
    return apart


def face_mask(image: np.ndarray) -> np.ndarray | None:
    """Heads of the faces in a photo: float32 [H, W] in [0, 1] with soft edges; None without any."""
    faces = find_faces(image)
    if not faces:
        return None
    height, width = image.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    mask = np.zeros((height, width), np.float32)
    for row, column, side in faces:
        # An upright ellipse of a head: 1 within, 0 from a quarter further out.
        radius = _HEAD * side / 2
        away = np.hypot((rows - row) / (1.15 * radius), (columns - column) / radius)
        mask = np.maximum(mask, np.clip((1.25 - away) / 0.25, 0, 1))
    return mask


@functools.cache
def _detector() -> Any:
    from skimage import data, feature

    return feature.Cascade(data.lbp_frontal_face_cascade_filename())
