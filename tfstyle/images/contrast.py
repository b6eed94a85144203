"""Contrast-limited adaptive histogram equalisation (CLAHE) of a photo, by OpenCV."""

import numpy as np
import tensorflow as tf

from tfstyle.errors import ArgumentError

TILES = 8
CLIP_LIMIT = 2.0


def equalize(
    image: np.ndarray, *, clip_limit: float = CLIP_LIMIT, tiles: int = TILES
) -> np.ndarray:
    """CLAHE of the lightness of an image, by OpenCV; a and b of CIE Lab stay as they are.

    Lightness is rounded to 256 levels, as many as the histograms have.

    Args:
        image: float RGB [H, W, 3] in [0, 1].
        clip_limit: no level may have more than this times its share of a flat histogram, so that
            no curve is steeper; what is cut off is spread over all levels.
        tiles: rows and columns of tiles.

    Returns:
        float32 [H, W, 3], clipped to [0, 1].

    Raises:
        ValueError: where OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise ArgumentError(
            "CLAHE needs OpenCV, which is not installed: pip install 'tfstyle[clahe]'"
        ) from error
    lab = cv2.cvtColor(np.ascontiguousarray(image, "float32"), cv2.COLOR_RGB2Lab)
    lightness = np.rint(np.clip(lab[..., 0], 0, 100) * 2.55).astype("uint8")
    lab[..., 0] = cv2.createCLAHE(clip_limit, (tiles, tiles)).apply(lightness) / 2.55
    return np.clip(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB), 0, 1)


def with_target(photos: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """For `Dataset.map`: photos [B, H, W, 3] -> (photos, `equalize` of each as it is given)."""

    def equalized(batch: np.ndarray) -> np.ndarray:
        return np.stack([equalize(photo) for photo in batch])

    targets = tf.numpy_function(equalized, [photos], tf.float32, stateful=False)
    return photos, tf.ensure_shape(targets, photos.shape)
