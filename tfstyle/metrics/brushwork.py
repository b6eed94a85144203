"""What eyes see of a painter's hand: strokes, palette, coloured noise, repetition.

Gram matrices see neither confetti nor wallpaper: a picture may have the style's statistics and none
of its strokes. Images are float32 RGB in [0, 1], [H, W, 3]; figures depend on the size, so compare
only those of one.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from tfstyle import images, losses
from tfstyle.errors import ArgumentError
from tfstyle.images import color
from tfstyle.metrics.artefacts import as_picture, luma_of
from tfstyle.metrics.distances import Extractor, as_batch

# What `sliced_wasserstein` and the patches look at.
WASSERSTEIN_LAYERS = losses.STYLE_LAYERS[:4]
PATCH_LAYERS = losses.STYLE_LAYERS[1:3]

_PATCHES, _KEYS, _QUANTILES, _DIRECTIONS = 1024, 16384, 8192, 64

# A window of a photo is calm where the standard deviation of its luma is below this.
CALM = 0.05
WINDOW = 96


@dataclasses.dataclass(frozen=True)
class Brushwork:
    """What `BrushworkJudge` says of a picture.

    Attributes:
        sliced_wasserstein: relative to the photo's, see `relative_wasserstein`.
        patch_precision, patch_recall: `patch_distance` to the painting, and of the painting to the
            picture.
        relative_patch_precision, relative_patch_recall: the same over the painting's own, see
            `own_patch_distance`: 1 is the painter's hand. None for paintings below 32 pixels.
        chroma_noise, palette_distance: see there.
        repetition: see there; None for pictures that are too small for it.
    """

    sliced_wasserstein: float
    patch_precision: float
    patch_recall: float
    relative_patch_precision: float | None
    relative_patch_recall: float | None
    chroma_noise: float
    palette_distance: float
    repetition: float | None


class BrushworkJudge:
    """Judges pictures by the hand of one painting, all at one size.

        judge = metrics.BrushworkJudge(painting, extractor=features.vgg16(metrics.LAYERS))
        judge(picture, photo).patch_precision

    What is of the painting alone is found once.
    """

    def __init__(self, style: np.ndarray, *, extractor: Extractor, size: int = 512) -> None:
        """
        Args:
            style: the painting, [H, W, 3] in [0, 1].
            extractor: gives `WASSERSTEIN_LAYERS`, among which are `PATCH_LAYERS`.
            size: everything is scaled down to this longest side, in pixels.
        """
        self._style, self._extractor, self._size = images.fit(style, size), extractor, size
        self._of_style = self._features(self._style)
        self._own: float | None = None
        if max(self._style.shape[:2]) >= 32:
            self._own = max(own_patch_distance(self._style, extractor=extractor), 1e-6)

    def __call__(self, output: np.ndarray, content: np.ndarray) -> Brushwork:
        """The figures of a picture, which is brought to the size of its photo first."""
        content = images.fit(content, self._size)
        if output.shape != content.shape:
            output = images.resize(output, content.shape[:2])
        of_output = self._features(output)
        wasserstein, of_photo = (
            sliced_wasserstein_of(each, self._of_style)
            for each in (of_output, self._features(content))
        )
        precision = _patch_distance_of(of_output, self._of_style, PATCH_LAYERS)
        recall = _patch_distance_of(self._of_style, of_output, PATCH_LAYERS)
        own = self._own
        return Brushwork(
            sliced_wasserstein=relative_wasserstein(wasserstein, of_photo),
            patch_precision=precision,
            patch_recall=recall,
            relative_patch_precision=precision / own if own else None,
            relative_patch_recall=recall / own if own else None,
            chroma_noise=chroma_noise(output, self._style),
            palette_distance=palette_distance(output, self._style),
            repetition=repetition(output, content) if min(output.shape[:2]) >= WINDOW else None,
        )

    def _features(self, image: np.ndarray) -> dict[str, tf.Tensor]:
        return _features(self._extractor, image, WASSERSTEIN_LAYERS)


def patch_distance(
    output: np.ndarray,
    style: np.ndarray,
    *,
    extractor: Extractor,
    layers: Sequence[str] = PATCH_LAYERS,
    seed: int = 0,
) -> float:
    """How far each patch of a picture's features is from the nearest of another's.

    The mean over layers and patches of 1 - cos(patch, nearest), patches of 3x3 positions. It is
    precision where the picture is compared with the painting (is every stroke one of the
    painter's?) and recall the other way round (is every stroke of the painter's there?), as
    Kynkaanniemi et al. 2019 (https://arxiv.org/abs/1904.06991) say it of sets; the nearest patch by
    its angle is that of Li and Wand 2016 (https://arxiv.org/abs/1601.04589), equation 3.

    Args:
        output: whose patches are asked for, 1024 of them at random.
        style: whose patches answer, at most 16384 of them.
        extractor: gives `layers`.
        layers: of the extractor.
        seed: of the choice of patches.

    Returns:
        0 where every patch is found again, 1 where none has anything in common with any.
    """
    of_output, of_style = (_features(extractor, image, layers) for image in (output, style))
    return _patch_distance_of(of_output, of_style, layers, seed)


def _patch_distance_of(
    of_output: Mapping[str, tf.Tensor],
    of_style: Mapping[str, tf.Tensor],
    layers: Sequence[str],
    seed: int = 0,
) -> float:
    """`patch_distance` of features."""
    rng = np.random.default_rng(seed)
    distances = []
    for layer in layers:
        asked = _unit(_patches(of_output[layer], _PATCHES, rng))
        known = _unit(_patches(of_style[layer], _KEYS, rng))
        # Some at a time, so that products with all that are known fit into memory.
        nearest = [
            tf.reduce_max(tf.matmul(asked[i : i + 512], known, transpose_b=True), axis=1)
            for i in range(0, len(asked), 512)
        ]
        distances.append(1 - float(tf.reduce_mean(tf.concat(nearest, axis=0))))
    return float(np.mean(distances))


def own_patch_distance(style: np.ndarray, *, extractor: Extractor, seed: int = 0) -> float:
    """`patch_distance` of the one half of a painting to the other, the mean of both ways.

    Precision and recall divided by it are 1 for the painter's own hand.
    """
    long = 0 if style.shape[0] >= style.shape[1] else 1
    half = style.shape[long] // 2
    one, other = np.split(style, [half], axis=long)
    ways = ((one, other), (other, one))
    return float(np.mean([patch_distance(*way, extractor=extractor, seed=seed) for way in ways]))


def sliced_wasserstein(
    output: np.ndarray,
    style: np.ndarray,
    *,
    extractor: Extractor,
    layers: Sequence[str] = WASSERSTEIN_LAYERS,
    seed: int = 0,
) -> dict[str, float]:
    """Squared sliced 2-Wasserstein distance of the distributions of two pictures' features.

    Bonneel et al. 2015, "Sliced and Radon Wasserstein Barycenters of Measures", definition 3; for
    style Heitz et al. 2021 (https://arxiv.org/abs/2006.07229). Unlike Gram matrices it sees all of
    a distribution, in 64 random directions of each layer, by at most 8192 quantiles.

    Args:
        output, style: their sizes may differ.
        extractor: gives `layers`.
        layers: of the extractor.
        seed: of the directions.

    Returns:
        {layer: mean over directions}; 0 for equal distributions.
    """
    of_output, of_style = (_features(extractor, image, layers) for image in (output, style))
    return sliced_wasserstein_of(of_output, of_style, layers, seed)


def sliced_wasserstein_of(
    of_output: Mapping[str, tf.Tensor],
    of_style: Mapping[str, tf.Tensor],
    layers: Sequence[str] = WASSERSTEIN_LAYERS,
    seed: int = 0,
) -> dict[str, float]:
    """`sliced_wasserstein` of features."""
    rng = np.random.default_rng(seed)
    return {
        layer: _sliced(_samples(of_output[layer]), _samples(of_style[layer]), rng)
        for layer in layers
    }


def relative_wasserstein(of_output: Mapping[str, float], of_photo: Mapping[str, float]) -> float:
    """Mean over layers of `sliced_wasserstein` as a share of the photo's own.

    1 where nothing was stylized, 0 where the distributions are the style's.
    """
    return float(np.mean([of_output[layer] / max(of_photo[layer], 1e-12) for layer in of_output]))


def palette_distance(output: np.ndarray, style: np.ndarray, *, seed: int = 0) -> float:
    """Sliced 2-Wasserstein distance of two pictures' colours in CIE L*a*b* (its units, delta E).

    The root of the mean over 64 directions; 0 for the same colours in the same shares, wherever
    they are. Two flat pictures are apart by their colours' difference over the root of 3.
    """
    one, other = (_samples(_lab(image)) for image in (output, style))
    return float(np.sqrt(_sliced(one, other, np.random.default_rng(seed))))


def chroma_noise(output: np.ndarray, style: np.ndarray, *, sigma: float = 2.0) -> float:
    """Energy of fine colour (a* and b* less their blur of `sigma` pixels) over the painting's.

    Confetti, dots of colour too small to be strokes, makes it large: 1 is the painting's own.
    """
    energies = []
    for image in (output, style):
        chroma = _lab(image)[..., 1:]
        fine = chroma - losses.blurred(chroma, sigma)
        energies.append(float(tf.reduce_mean(tf.square(fine))))
    return energies[0] / max(energies[1], 1e-6)


def repetition(
    output: np.ndarray,
    content: np.ndarray | None = None,
    *,
    window: int = WINDOW,
    lags: tuple[int, int] = (7, 40),
) -> float:
    """How strongly a picture repeats itself where the photo is calm: wallpaper in skies.

    In each window, the normalised autocorrelation of luma less its Gaussian of 10 pixels, under a
    Hann window whose own autocorrelation is divided out; of it, the highest local maximum at a
    distance of `lags` pixels. The median over the windows that are calm in the photo: whose luma
    deviates by less than `CALM`, or where there are fewer than four of those, the calmest four.

    Args:
        output: [H, W, 3] in [0, 1], at least `window` pixels a side.
        content: the photo, of the same size; None for a picture that is no photo's, all windows of
            which count.
        window: side in pixels; windows overlap by half.
        lags: least and largest distance in pixels.

    Returns:
        1 for a pattern that is repeated exactly, about 0.25 for paintings, 0 where nothing repeats.

    Raises:
        ValueError: for a smaller image, or a photo of another size.
    """
    luma = luma_of(output)
    if min(luma.shape) < window:
        raise ArgumentError(
            f"repetition of an image of {luma.shape[0]}x{luma.shape[1]} pixels: give at least "
            f"{window} on each side."
        )
    coarse = losses.blurred(tf.constant(luma[None, ..., None]), 10.0)
    fine = luma - np.asarray(coarse, "float64")[0, ..., 0]
    corners = [
        (top, left)
        for top in range(0, luma.shape[0] - window + 1, window // 2)
        for left in range(0, luma.shape[1] - window + 1, window // 2)
    ]
    if content is not None:
        photo = luma_of(content)
        if photo.shape != luma.shape:
            raise ArgumentError(
                f"repetition in a picture of {luma.shape[0]}x{luma.shape[1]} pixels of a photo of "
                f"{photo.shape[0]}x{photo.shape[1]}: resize one to the other first."
            )
        contrast = {
            (top, left): photo[top : top + window, left : left + window].std()
            for top, left in corners
        }
        calm = [corner for corner in corners if contrast[corner] < CALM]
        corners = calm if len(calm) >= 4 else sorted(corners, key=contrast.__getitem__)[:4]
    peaks = [
        _side_peak(fine[top : top + window, left : left + window], lags) for top, left in corners
    ]
    return float(np.median(peaks))


def _side_peak(values: np.ndarray, lags: tuple[int, int]) -> float:
    side = len(values)
    taper = np.outer(np.hanning(side + 2)[1:-1], np.hanning(side + 2)[1:-1])
    centred = values - np.average(values, weights=taper)

    reach = lags[1] + 1

    def autocorrelation(signal: np.ndarray) -> np.ndarray:
        spectrum = np.fft.rfft2(signal, (2 * side, 2 * side))
        whole = np.fft.fftshift(np.fft.irfft2(np.abs(spectrum) ** 2))
        return whole[side - reach : side + reach + 1, side - reach : side + reach + 1]

    # Of a pattern that is repeated exactly, the taper's own fall with the lag is all there is.
    found = autocorrelation(centred * taper) / autocorrelation(taper)
    energy = found[reach, reach]
    # Rounding to 8 bits is no pattern.
    if energy < losses.ROUNDING:
        return 0.0
    found = found / energy
    inner = found[1:-1, 1:-1]
    neighbours = [
        found[1 + down : found.shape[0] - 1 + down, 1 + across : found.shape[1] - 1 + across]
        for down in (-1, 0, 1)
        for across in (-1, 0, 1)
        if (down, across) != (0, 0)
    ]
    rows, columns = np.indices(inner.shape) - lags[1]
    distance = np.hypot(rows, columns)
    peaks = inner[
        (inner > np.max(neighbours, axis=0)) & (distance >= lags[0]) & (distance <= lags[1])
    ]
    return float(max(peaks.max(), 0)) if peaks.size else 0.0


def _features(
    extractor: Extractor, image: np.ndarray, layers: Sequence[str]
) -> dict[str, tf.Tensor]:
    found = extractor(as_batch(np.asarray(image, "float32")))
    return {layer: tf.cast(found[layer], "float32") for layer in layers}


def _patches(of_image: tf.Tensor, most: int, rng: np.random.Generator) -> tf.Tensor:
    """[1, h, w, C] -> [N, 9 C]: at most so many of the patches, chosen at random."""
    _, height, width, channels = of_image.shape
    rows, columns = max(height - 2, 1), max(width - 2, 1)
    padded = tf.pad(of_image[0], [[0, max(3 - height, 0)], [0, max(3 - width, 0)], [0, 0]])
    chosen = rng.choice(rows * columns, min(most, rows * columns), replace=False)
    at = np.stack([chosen // columns, chosen % columns], axis=-1)
    around = np.stack(np.meshgrid(range(3), range(3), indexing="ij"), axis=-1).reshape(-1, 2)
    return tf.reshape(tf.gather_nd(padded, at[:, None] + around), (len(at), 9 * channels))


def _unit(patches: tf.Tensor) -> tf.Tensor:
    return patches / tf.maximum(tf.norm(patches, axis=1, keepdims=True), 1e-6)


def _sliced(one: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> float:
    """Squared sliced Wasserstein distance of samples [N, d] and [M, d]."""
    directions = rng.normal(size=(one.shape[1], _DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    count = min(_QUANTILES, len(one), len(other))
    of_one, of_other = (_quantiles(values @ directions, count) for values in (one, other))
    return float(np.mean((of_one - of_other) ** 2))


def _quantiles(values: np.ndarray, count: int) -> np.ndarray:
    """[N, d] -> [count, d], evenly through each column: nothing of it is left to chance.

    What `np.quantile` gives with method "hazen", which selects where sorting is far quicker.
    """
    values = np.sort(values, axis=0)
    at = (np.arange(count) + 0.5) / count * len(values) - 0.5
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, len(values) - 1)
    share = (at - low)[:, None]
    return (1 - share) * values[low] + share * values[high]


def _samples(values: tf.Tensor) -> np.ndarray:
    """[..., d] -> [N, d], float64."""
    return values.numpy().reshape(-1, values.shape[-1]).astype("float64")


def _lab(image: np.ndarray) -> tf.Tensor:
    """[H, W, 3] in [0, 1] -> CIE L*a*b* [1, H, W, 3], float32."""
    return color.lab(tf.constant(as_picture(image)[None], tf.float32))
