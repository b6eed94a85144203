"""E10, whether a cycle model hides its input in its output.

A pair of generators that must bring a photo back from its painting can write the photo into the
painting, too faint to be seen (Chu et al. 2017, "CycleGAN, a Master of Steganography",
https://arxiv.org/abs/1712.02950). What is faint is lost by a little noise, a JPEG or a blur, and
with it the way back.
"""

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from scipy import ndimage

from tfstyle import images
from tfstyle.explain.results import Check, Explanation

_GAIN = 3.0
_AMPLITUDES = tuple(n / 255 for n in (0.5, 1, 2, 4, 8))


def explain(
    forward: Callable[[np.ndarray], np.ndarray],
    back: Callable[[np.ndarray], np.ndarray],
    photos: Sequence[np.ndarray],
    *,
    seed: int = 0,
) -> Explanation:
    """Whether the way back hangs on what nobody sees.

    Args:
        forward, back: [B, H, W, 3] in [0, 1] -> same: a photo's painting, and the photo again. For
            an identity path, the same generator twice.
        photos: [H, W, 3] in [0, 1].
        seed: of the noise.

    Returns:
        Figures "error" (root mean square, of the way there and back), "gain" (change of what comes
        back, over that of the painting, for noise of 2/255), "gain/jpeg" and "gain/blur" likewise.
        Arrays "errors" over "noise": the error after noise of that deviation.
    """
    rng = np.random.default_rng(seed)
    paintings = [np.asarray(forward(photo[None]), "float32")[0] for photo in photos]
    again = [np.asarray(back(painting[None]), "float32")[0] for painting in paintings]

    def rms(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
        return math.sqrt(np.mean([np.mean((a.astype("float64") - b) ** 2) for a, b in pairs]))

    def disturbed(change: Callable[[np.ndarray], np.ndarray]) -> tuple[float, float]:
        """(error of the way back, change of what comes back over that of the painting)."""
        other = [np.clip(change(painting), 0, 1).astype("float32") for painting in paintings]
        back_again = [np.asarray(back(each[None]), "float32")[0] for each in other]
        moved = rms(zip(other, paintings, strict=True))
        gain = rms(zip(back_again, again, strict=True)) / moved if moved > 1e-9 else math.nan
        return rms(zip(back_again, photos, strict=True)), gain

    errors, gains = [rms(zip(again, photos, strict=True))], [math.nan]
    for amplitude in _AMPLITUDES:

        def noisy(painting: np.ndarray, amplitude: float = amplitude) -> np.ndarray:
            return painting + rng.normal(0, amplitude, painting.shape)

        error, gain = disturbed(noisy)
        errors.append(error)
        gains.append(gain)
    jpeg_error, jpeg = disturbed(
        lambda painting: images.decode_bytes(images.encode(painting, "jpeg", 90))
    )
    blur_error, blur = disturbed(lambda painting: ndimage.gaussian_filter(painting, (0.7, 0.7, 0)))
    gain = gains[1 + _AMPLITUDES.index(2 / 255)]
    hides = gain >= _GAIN
    return Explanation(
        name="hidden_payload",
        question="Does it hide its input in its output?",
        summary=(
            f"There and back it errs by {255 * errors[0]:.1f} of 255. Noise of 2 of 255 on the "
            f"painting, too faint to see, comes back {gain:.1f} times as large: "
            + ("it hides its input there." if hides else "nothing is hidden.")
        ),
        figures={
            "error": errors[0],
            "gain": gain,
            "gain/jpeg": jpeg,
            "gain/blur": blur,
            "error/jpeg": jpeg_error,
            "error/blur": blur_error,
        },
        arrays={"errors": np.array(errors), "noise": np.array([0.0, *_AMPLITUDES])},
        along={"errors": "noise"},
        units={"errors": "root mean square of there and back", "gain": "change out over change in"},
        checks=[
            Check(
                "faint noise on the painting comes back no larger than a network without a secret "
                "makes it",
                gain,
                _GAIN,
                "below",
                null=1.0,
                n=len(photos),
                seed=seed,
            )
        ],
        limits="A network that only sharpens strongly is flagged too; then look at the curve.",
    )
