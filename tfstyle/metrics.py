"""Judging a result: pure functions of images, in the units that the project reports.

Images are float32 RGB in [0, 1], [H, W, 3] or [1, H, W, 3], at least 16 pixels a side (ValueError
below that). Distances need an extractor that gives `LAYERS`, such as `features.vgg16(LAYERS)`.
"""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from tfstyle import images, losses

LAYERS = (*losses.STYLE_LAYERS, losses.CONTENT_LAYER)
# Below it the deepest layer has no positions, and its Gram matrix is 0 / 0.
_MIN_SIDE = 16


@dataclasses.dataclass(frozen=True)
class Scores:
    """How much style an output took on and how much content it kept; see `evaluate`."""

    style_distance: float
    relative_style_distance: float
    content_distance: float


def _batch(image):
    image = tf.convert_to_tensor(image, "float32")
    image = image[None] if image.shape.rank == 3 else image
    height, width = image.shape[1:3]
    if min(height, width) < _MIN_SIDE:
        raise ValueError(
            f"image of {height}x{width} pixels: distances need {_MIN_SIDE} on each side, since the "
            "extractor's last layer is at a sixteenth. Give a larger image or a larger size."
        )
    return image


def _style_distance(output_features, style_features):
    layers = losses.STYLE_LAYERS
    return float(
        losses.style_loss(
            grams={layer: losses.gram(output_features[layer]) for layer in layers},
            targets={layer: losses.gram(style_features[layer]) for layer in layers},
        )
    )


def _content_distance(output_features, content_features):
    layer = losses.CONTENT_LAYER
    return float(
        losses.content_loss(features=output_features[layer], target=content_features[layer])
    )


def style_distance(output, style, *, extractor) -> float:
    """Mean over block1..5_conv1 of ||G(o) - G(s)||^2 / ||G(s)||^2, G = F'F / (H W).

    Sizes may differ. 0 is the style's own statistics; 1 is that of an image without features.
    """
    return _style_distance(extractor(_batch(output)), extractor(_batch(style)))


def content_distance(output, content, *, extractor) -> float:
    """||F(o) - F(c)||^2 / ||F(c)||^2 at block4_conv2; images of one size.

    0 is the content itself; around 2 nothing of it is left but chance agreement.

    Raises:
        ValueError: where the sizes differ.
    """
    output, content = _batch(output), _batch(content)
    if output.shape != content.shape:
        raise ValueError(
            f"content distance of {output.shape[1]}x{output.shape[2]} (output) and "
            f"{content.shape[1]}x{content.shape[2]} (content): resize one to the other first."
        )
    return _content_distance(extractor(output), extractor(content))


def evaluate(output, content, style, *, extractor, size: int = 512) -> Scores:
    """Scores of one stylized image.

    Args:
        output, content, style: [H, W, 3] in [0, 1]; `output` is brought to the content's size.
        extractor: gives `LAYERS`.
        size: content and style are scaled down to this longest side first, in pixels. Distances
            depend on it, so compare only those of one size.

    Returns:
        Scores; `relative_style_distance` is the output's style distance over that of the content
        photo itself: 1 where nothing was stylized, 0 at the style's own statistics.
    """
    content, style = images.fit(content, size), images.fit(style, size)
    if output.shape != content.shape:
        output = images.resize(output, content.shape[:2])
    of_output, of_content, of_style = (
        extractor(_batch(np.asarray(image, "float32"))) for image in (output, content, style)
    )
    distance = _style_distance(of_output, of_style)
    return Scores(
        style_distance=distance,
        relative_style_distance=distance / max(_style_distance(of_content, of_style), 1e-12),
        content_distance=_content_distance(of_output, of_content),
    )


def evaluate_all(
    stylize: Callable, photos: Iterable, style, *, extractor, size: int = 512
) -> dict[str, float]:
    """Mean scores of a stylizer over several photos, as `evaluate` gives them.

    Args:
        stylize: photo [H, W, 3] in [0, 1] -> stylized photo of the same size.
        photos: paths; each is scaled down to `size` before it is stylized.
        style, extractor, size: see `evaluate`.

    Returns:
        {name of a score: mean over photos} with "count", the number of photos, and "size".
    """
    scores = []
    for path in photos:
        photo = images.fit(images.read(path), size)
        # Through uint8, as a file would be: what is judged is what a user gets.
        output = images.from_uint8(images.to_uint8(stylize(photo)))
        scores.append(evaluate(output, photo, style, extractor=extractor, size=size))
    means = {
        field.name: float(np.mean([getattr(score, field.name) for score in scores]))
        for field in dataclasses.fields(Scores)
    }
    return {"count": len(scores), "size": size, **means}
