"""The measures of a network in training, on photos kept out."""

import functools
import os
import statistics
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfstyle import features, images, losses
from tfstyle.errors import ArgumentError
from tfstyle.metrics.artefacts import border_marks, checkerboard
from tfstyle.metrics.brushwork import (
    WINDOW,
    chroma_noise,
    palette_distance,
    relative_wasserstein,
    repetition,
    sliced_wasserstein_of,
)
from tfstyle.metrics.distances import (
    LAYERS,
    LPIPS_MIN_SIDE,
    as_batch,
    content_distance_of,
    grams_of,
    lpips,
    style_distance_of,
    subject_distance_of,
)
from tfstyle.metrics.sets import KID_SIZE, kid, pooled_features


def over_styles(
    judges: Sequence[Callable], stylizer: Callable, weights: losses.Weights
) -> dict[str, float]:
    """Means over the styles of a stylizer of several, after their weighted sum.

    Args:
        judges: of each style, in order; a `Validator` of its paintings.
        stylizer: (photo, style=index) -> stylized photo.
        weights: of content and style in the total.
    """
    figures = [
        judge(lambda photo, index=index: stylizer(photo, style=index))
        for index, judge in enumerate(judges)
    ]
    mean = {key: statistics.mean(of_one[key] for of_one in figures) for key in figures[0]}
    return with_total(mean, weights)


def with_total(figures: dict[str, float], weights: losses.Weights) -> dict[str, float]:
    """Figures of a `Validator`, first of all what a training lets fall.

    That is the weighted sum of content and style distance. With a target for one of them it is the
    other, times 1 + (how far the one is off / 10 %)^2: the weight of the style has no say then.
    """
    if weights.aim:
        name, value = weights.aim
        off = figures[f"{name}_distance"] / value - 1
        other = figures["style_distance" if name == "content" else "content_distance"]
        return {"total": other * (1 + (off / 0.1) ** 2), **figures}
    total = weights.content_weight * figures["content_distance"]
    total += weights.style_weight * figures["style_distance"]
    return {"total": total, **figures}


class Validator:
    """Judges a stylizer on photos kept out of training, the same way each time it is called.

        validator = metrics.Validator(photos=held_out, paintings=[style])
        figures = validator(stylize)
        untouched = validator(lambda photo: photo)

    No random state is touched, so that a training that is judged goes on as one that is not.
    """

    def __init__(
        self,
        *,
        photos: Sequence[str | os.PathLike | np.ndarray],
        paintings: Sequence[str | os.PathLike | np.ndarray] | None = None,
        size: int = 256,
    ) -> None:
        """
        Args:
            photos: files, or images [H, W, 3] in [0, 1]; scaled down to `size`.
            paintings: likewise; the style is the mean of their Gram matrices. None where there is
                no style to compare with.
            size: longest side in pixels. Figures depend on it, so compare only those of one size.
        """
        if not len(photos):
            raise ArgumentError("no photos to validate on: give at least one.")
        self._photos = list(photos)
        self._paintings = list(paintings or ())
        self._size = size
        # Now and not when first asked: building them draws random initial weights.
        self._vgg16, self._alexnet = _networks()

    def __call__(self, stylize: Callable) -> dict[str, float]:
        """Means over the photos, the figure that should fall first.

        Args:
            stylize: photo [H, W, 3] in [0, 1] -> stylized photo.

        Returns:
            {name: figure}; a figure that the images do not allow is left out.

            - vgg16_kid: of stylized photos and paintings, ten of each at least; see `vgg16_kid`.
            - relative_style_distance, style_distance: see `evaluate`.
            - content_distance, subject_distance: see there.
            - sliced_wasserstein (over the photo's), palette_distance, chroma_noise: see there; of a
              single painting, since the mean of several has no hand.
            - repetition: where the photo is calm; of images of 96 pixels a side.
            - lpips: from the photo to the stylized one; see `lpips`.
            - checkerboard: the largest of the strides; of images of 128 pixels a side.
            - border_marks: of images of 48 pixels a side.
        """
        figures: dict[str, list[float]] = {}
        outputs: list[np.ndarray] = []
        for photo in map(self._read, self._photos):
            output = images.from_uint8(images.to_uint8(stylize(photo)))
            if output.shape != photo.shape:
                output = images.resize(output, photo.shape[:2])
            outputs.append(output)
            of_output, of_photo = (self._vgg16(as_batch(image)) for image in (output, photo))
            found: dict[str, float] = {}
            if self._paintings:
                distance = style_distance_of(of_output, self._style)
                base = max(style_distance_of(of_photo, self._style), 1e-12)
                found |= {
                    "relative_style_distance": distance / base,
                    "style_distance": distance,
                }
            found["content_distance"] = content_distance_of(of_output, of_photo)
            found["subject_distance"] = subject_distance_of(of_output, of_photo)
            if len(self._paintings) == 1:
                found |= self._hand(output, of_output, of_photo)
            if min(photo.shape[:2]) >= WINDOW:
                found["repetition"] = repetition(output, photo)
            if min(photo.shape[:2]) >= LPIPS_MIN_SIDE:
                found["lpips"] = lpips(output, photo, extractor=self._alexnet)
            if min(photo.shape[:2]) >= 128:
                found["checkerboard"] = max(checkerboard(output).values())
            if min(photo.shape[:2]) >= 48:
                found["border_marks"] = border_marks(output)
            for name, value in found.items():
                figures.setdefault(name, []).append(value)
        means = {name: float(np.mean(values)) for name, values in figures.items()}
        if min(len(outputs), len(self._paintings)) < 10:
            return means
        pooled = pooled_features(outputs, self._vgg16, KID_SIZE, 8)
        subset_size = min(len(pooled), len(self._pooled))
        return {"vgg16_kid": kid(pooled, self._pooled, subset_size=subset_size)[0], **means}

    def _hand(
        self,
        output: np.ndarray,
        of_output: Mapping[str, tf.Tensor],
        of_photo: Mapping[str, tf.Tensor],
    ) -> dict[str, float]:
        """How like the painter's hand an output is, by the measures that are quick."""
        painting, of_painting = self._painting
        wasserstein = (sliced_wasserstein_of(of, of_painting) for of in (of_output, of_photo))
        return {
            "sliced_wasserstein": relative_wasserstein(*wasserstein),
            "palette_distance": palette_distance(output, painting),
            "chroma_noise": chroma_noise(output, painting),
        }

    def _read(self, image: str | os.PathLike | np.ndarray) -> np.ndarray:
        image = np.asarray(image) if isinstance(image, np.ndarray) else images.read(image)
        return images.fit(image, self._size)

    @functools.cached_property
    def _painting(self) -> tuple[np.ndarray, Mapping[str, tf.Tensor]]:
        """The only painting, and its features."""
        painting = self._read(self._paintings[0])
        return painting, self._vgg16(as_batch(painting))

    @functools.cached_property
    def _style(self) -> dict[str, tf.Tensor]:
        """{layer: mean Gram matrix of the paintings, [1, C, C]}"""
        sums: dict[str, tf.Tensor] = {}
        for painting in map(self._read, self._paintings):
            for layer, gram in grams_of(self._vgg16(as_batch(painting))).items():
                sums[layer] = sums.get(layer, 0) + gram
        return {layer: total / len(self._paintings) for layer, total in sums.items()}

    @functools.cached_property
    def _pooled(self) -> np.ndarray:
        return pooled_features(map(self._read, self._paintings), self._vgg16, KID_SIZE, 8)


@functools.cache
def _networks() -> tuple[keras.Model, keras.Model]:
    """VGG16 and AlexNet for all validators of the process."""
    return features.vgg16(LAYERS), features.alexnet()
