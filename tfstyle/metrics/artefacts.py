"""Measures of faults that networks leave: checkerboards, marks at borders."""

from collections.abc import Sequence

import numpy as np

from tfstyle import losses
from tfstyle.errors import ArgumentError
from tfstyle.images import color


def checkerboard(image: np.ndarray, *, strides: Sequence[int] = (2, 4, 8)) -> dict[int, float]:
    """How strongly patterns of the periods that up-sampling leaves stand out of the spectrum.

    `losses.checkerboard_ratios` of one image, and what it says there. A pattern has overtones: one
    of period 4 with sharp edges counts at 2 as well. So do blocks of 8 x 8 pixels that strong JPEG
    compression leaves, at all three.

    Args:
        image: [H, W, 3] in [0, 1], at least 16 lcm(strides) pixels a side: 128 for the default.
        strides: periods in pixels, each at least 2.

    Returns:
        {stride: ratio}: about 1 for a photo (0.3 to 2.5 were seen, and at 2 up to 5 where the file
        stored colour at half the size), exactly 1 for a flat image. A pattern that nobody sees may
        give hundreds: a cos(pi x) cos(pi y) on a flat image gives 1 + (2/9) P^2 a^2 * 12 * 255^2
        at 2, where P is the least side.

    Raises:
        ValueError: for a smaller image and for strides below 2.
    """
    ratios = losses.checkerboard_ratios(as_picture(image)[None], strides=strides)
    return {stride: float(ratio[0]) for stride, ratio in ratios.items()}


def border_marks(image: np.ndarray, *, width: int = 8) -> float:
    """How much more changes from line to line near the image's border than just inside of it.

    Padding makes a network treat the border as it treats nothing else: it may leave a frame some
    pixels wide that is lighter, darker, smoother or rougher. For each of the four sides, take the
    lines of pixels parallel to it, and of each line and channel the mean and the roughness (root
    mean square difference of neighbours over sqrt(2): the deviation, where it is white noise). A
    step from one line to the next is

        d^2 = mean over channels of (difference of means)^2 + (difference of roughnesses)^2,

    and the result is the geometric mean over the sides of

        sqrt((mean of the first `width` d^2 + r) / (mean of the `width` d^2 that follow + r)),

    with r the variance of rounding to 8 bits. So what the picture itself changes by, beside the
    border, is the measure; lines end `width` pixels before the corners.

    Args:
        image: [H, W, 3] in [0, 1], at least 6 * width pixels a side.
        width: steps from the border in, in pixels: about how far the network's padding reaches.

    Returns:
        About 1 for a photo (0.6 to 1.6 were seen, more where a scan has a frame), exactly 1 for a
        flat image; sqrt(1 + c^2 / (width * r)) for one that is flat but for a frame of 1 to `width`
        pixels that is c lighter or darker.

    Raises:
        ValueError: for a smaller image or a width below 1.
    """
    image = as_picture(image)
    if width < 1 or min(image.shape[:2]) < 6 * width:
        raise ArgumentError(
            f"width {width} of an image of {image.shape[0]}x{image.shape[1]} pixels: give at least "
            "1 and at most a sixth of the shorter side."
        )
    logs = []
    for turned in (image, image[::-1], image.swapaxes(0, 1), image[:, ::-1].swapaxes(0, 1)):
        lines = turned[: 2 * width + 1, width:-width]
        roughness = np.sqrt((np.diff(lines, axis=1) ** 2).mean(axis=1) / 2)
        profile = np.stack([lines.mean(axis=1), roughness])
        steps = (np.diff(profile, axis=1) ** 2).sum(axis=0).mean(axis=-1)
        near, beside = (
            steps[:width].mean() + losses.ROUNDING,
            steps[width:].mean() + losses.ROUNDING,
        )
        logs.append(np.log(near / beside) / 2)
    return float(np.exp(np.mean(logs)))


def as_picture(image: np.ndarray) -> np.ndarray:
    """[H, W, 3] or [1, H, W, 3] -> [H, W, 3], float64."""
    image = np.asarray(image, "float64")
    return image[0] if image.ndim == 4 else image


def luma_of(image: np.ndarray) -> np.ndarray:
    """[H, W, 3] or [1, H, W, 3] -> its luma (Rec. 601) [H, W], float64."""
    return as_picture(image) @ color.LUMA.astype("float64")
