"""Judging a result: pure functions of images, in the units that the project reports.

Images are float32 RGB in [0, 1], [H, W, 3] or [1, H, W, 3], at least as large as the function says
(ValueError below that). What compares images by features is given its extractor: style and content
distance one of `LAYERS`, such as `features.vgg16(LAYERS)`, and at least 16 pixels a side. Artefact
measures need none: they look at one image, and about 1 is what photos have.
"""

import dataclasses
import functools
import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from importlib import resources

import numpy as np
import tensorflow as tf

from tfstyle import images, losses
from tfstyle.errors import ArgumentError
from tfstyle.metrics.artefacts import as_picture, checkerboard, luma_of

LAYERS = (*losses.STYLE_LAYERS, losses.CONTENT_LAYER)
# It sees things rather than their parts, and the most salient of its positions are the subject.
SUBJECT_LAYER, SUBJECT_SHARE = losses.STYLE_LAYERS[4], 0.2
# Peak memory of judging an image by VGG16, `BrushworkJudge` too: 4700 at 768 px.
_BYTES_PER_PIXEL = 5000
# Below it the deepest layer has no positions, and its Gram matrix is 0 / 0.
_MIN_SIDE = 16

# Below it AlexNet's deeper layers have no positions.
LPIPS_MIN_SIDE = 31
# And below this a period of 8 has too few repeats to be found; see `checkerboard`.
_GRID_MIN_SIDE = 128

# Images [B, H, W, 3] in [0, 1] -> {layer: features [B, h, w, C]}, such as `features.vgg16`'s model.
Extractor = Callable[[tf.Tensor], Mapping[str, tf.Tensor]]


@dataclasses.dataclass(frozen=True)
class Scores:
    """How much style an output took on and how much content it kept; see `evaluate`."""

    style_distance: float
    relative_style_distance: float
    content_distance: float
    subject_distance: float


def as_batch(image: np.ndarray, least: int = _MIN_SIDE) -> tf.Tensor:
    """[H, W, 3] or [B, H, W, 3] -> [B, H, W, 3], float32.

    Raises:
        ValueError: where a side is below `least` pixels.
    """
    batch = tf.convert_to_tensor(image, "float32")
    batch = batch[None] if batch.shape.rank == 3 else batch
    height, width = batch.shape[1:3]
    if min(height, width) < least:
        raise ArgumentError(
            f"image of {height}x{width} pixels: distances need {least} on each side, since the "
            "extractor's last layer is at a sixteenth. Give a larger image or a larger size."
        )
    return batch


def _of_one_size(name: str, output: np.ndarray, content: np.ndarray) -> tuple[tf.Tensor, tf.Tensor]:
    """Both as batches."""
    of_output, of_content = as_batch(output), as_batch(content)
    if of_output.shape != of_content.shape:
        raise ArgumentError(
            f"{name} distance of {of_output.shape[1]}x{of_output.shape[2]} (output) and "
            f"{of_content.shape[1]}x{of_content.shape[2]} (content): resize one to the other first."
        )
    return of_output, of_content


def grams_of(of_image: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """{layer: Gram matrix [B, C, C]} of an image's features, of the layers that stand for style."""
    return {layer: losses.gram(of_image[layer]) for layer in losses.STYLE_LAYERS}


def style_distance_of(
    output_features: Mapping[str, tf.Tensor], style_grams: Mapping[str, tf.Tensor]
) -> float:
    """`style_distance` of features, and the Gram matrices of the style (`grams_of`)."""
    return float(losses.style_loss(grams=grams_of(output_features), targets=style_grams))


def content_distance_of(
    output_features: Mapping[str, tf.Tensor], content_features: Mapping[str, tf.Tensor]
) -> float:
    """`content_distance` of features."""
    layer = losses.CONTENT_LAYER
    return float(
        losses.content_loss(features=output_features[layer], target=content_features[layer])
    )


def subject_distance_of(
    output_features: Mapping[str, tf.Tensor], content_features: Mapping[str, tf.Tensor]
) -> float:
    """`subject_distance` of features."""
    output, content = (
        np.asarray(of[SUBJECT_LAYER], "float64") for of in (output_features, content_features)
    )
    # What all positions share, whatever is there, is of the palette and the light.
    output, content = (of - of.mean(axis=(1, 2), keepdims=True) for of in (output, content))
    saliency = np.sum(content**2, axis=-1)
    lengths = np.sqrt(np.sum(output**2, axis=-1) * saliency)
    alike = np.sum(output * content, axis=-1) / np.maximum(lengths, 1e-12)
    # A plain photo has no subject to lose.
    alike = np.where(saliency > 1e-9, alike, 1)
    weights = np.where(saliency >= np.quantile(saliency, 1 - SUBJECT_SHARE), saliency + 1e-12, 0)
    return float(1 - np.average(alike, weights=weights))


def style_distance(output: np.ndarray, style: np.ndarray, *, extractor: Extractor) -> float:
    """Mean over block1..5_conv1 of ||G(o) - G(s)||^2 / ||G(s)||^2, G = F'F / (H W).

    0 is the style's own statistics; 1 is that of an image without features.

    Args:
        output, style: [H, W, 3] in [0, 1], at least 16 pixels a side; their sizes may differ.
        extractor: gives `LAYERS`.

    Raises:
        ValueError: for smaller images.
    """
    return style_distance_of(extractor(as_batch(output)), grams_of(extractor(as_batch(style))))


def content_distance(output: np.ndarray, content: np.ndarray, *, extractor: Extractor) -> float:
    """||F(o) - F(c)||^2 / ||F(c)||^2 at block4_conv2.

    0 is the content itself; around 2 nothing of it is left but chance agreement.

    Args:
        output, content: [H, W, 3] in [0, 1], of one size, at least 16 pixels a side.
        extractor: gives `LAYERS`.

    Raises:
        ValueError: where the sizes differ or are smaller.
    """
    output, content = _of_one_size("content", output, content)
    return content_distance_of(extractor(output), extractor(content))


def subject_distance(output: np.ndarray, content: np.ndarray, *, extractor: Extractor) -> float:
    """Whether what the photo is of is still there: 1 - local correlation where it stands out.

    The cosine of both images' features at block5_conv1, less their means over the image, averaged
    over the fifth of the positions that is furthest from the photo's mean (as in
    `losses.saliency`), weighted by that distance. `content_distance` may stay small where a small
    thing is lost before a large ground, and be large where only a sky was painted over.

    Args:
        output, content: [H, W, 3] in [0, 1], of one size, at least 16 pixels a side.
        extractor: gives `LAYERS`.

    Returns:
        0 for the photo itself, around 1 where nothing of it is left.

    Raises:
        ValueError: where the sizes differ or are smaller.
    """
    output, content = _of_one_size("subject", output, content)
    return subject_distance_of(extractor(output), extractor(content))


def evaluate(
    output: np.ndarray,
    content: np.ndarray,
    style: np.ndarray,
    *,
    extractor: Extractor,
    size: int = 512,
) -> Scores:
    """Scores of one stylized image.

    Args:
        output, content, style: [H, W, 3] in [0, 1]; `output` is brought to the content's size.
        extractor: gives `LAYERS`.
        size: content and style are scaled down to this longest side first, in pixels. Distances
            depend on it, so compare only those of one size.

    Returns:
        Scores; `relative_style_distance` is the output's style distance over that of the content
        photo itself: 1 where nothing was stylized, 0 at the style's own statistics.

    Raises:
        TooLargeError: where the memory does not suffice for images of this size.
    """
    content, style = images.fit(content, size), images.fit(style, size)
    for image in (content, style):
        images.check_memory(
            image.shape[-3:-1], _BYTES_PER_PIXEL, purpose="to be judged", mend="Give a size of"
        )
    if output.shape != content.shape:
        output = images.resize(output, content.shape[:2])
    of_output, of_content, of_style = (
        extractor(as_batch(np.asarray(image, "float32"))) for image in (output, content, style)
    )
    style_grams = grams_of(of_style)
    distance = style_distance_of(of_output, style_grams)
    return Scores(
        style_distance=distance,
        relative_style_distance=distance / max(style_distance_of(of_content, style_grams), 1e-12),
        content_distance=content_distance_of(of_output, of_content),
        subject_distance=subject_distance_of(of_output, of_content),
    )


def evaluate_all(
    stylize: Callable, photos: Iterable, style: np.ndarray, *, extractor: Extractor, size: int = 512
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


def evaluate_styles(
    stylize: Callable, photos: Iterable, styles: Mapping, *, extractor: Extractor, size: int = 512
) -> dict:
    """`evaluate_all` for each style of a stylizer of several.

    Args:
        stylize: (photo, style=index) -> stylized photo.
        styles: {name: style image [H, W, 3] in [0, 1]}, in the order of their indices.
        photos, extractor, size: see `evaluate_all`.

    Returns:
        The means over the styles, and "by_style": {name: figures}.
    """
    photos = list(photos)
    by_style = {
        name: evaluate_all(
            functools.partial(stylize, style=index), photos, style, extractor=extractor, size=size
        )
        for index, (name, style) in enumerate(styles.items())
    }
    names = next(iter(by_style.values()))
    mean = {key: statistics.mean(of_one[key] for of_one in by_style.values()) for key in names}
    return {**mean, "by_style": by_style}


def psnr(image: np.ndarray, reference: np.ndarray) -> float:
    """Peak signal-to-noise ratio of images of one size: -10 log10 of the mean squared difference.

    In dB, of values in [0, 1]; infinite for equal images. The difference is of all three channels.

    Raises:
        ValueError: where the sizes differ.
    """
    image, reference = as_picture(image), as_picture(reference)
    if image.shape != reference.shape:
        raise ArgumentError(
            f"PSNR of images of shapes {image.shape} and {reference.shape}: resize one to the "
            "other first."
        )
    error = ((image - reference) ** 2).mean()
    return float(-10 * np.log10(error)) if error else math.inf


def local_contrast(image: np.ndarray, *, window: int = 16) -> np.ndarray:
    """RMS contrast of each window: the standard deviation of luma (Rec. 601) over its pixels.

    Peli 1990, "Contrast in complex images" (Journal of the Optical Society of America A 7, pp.
    2032-2040). Windows do not overlap; what does not fill one, at the right and below, is left out.

    Args:
        image: [H, W, 3] in [0, 1], at least one window high and wide.
        window: side in pixels, at least 2.

    Returns:
        float64 [H // window, W // window] in [0, 0.5]: 0 where flat, 0.5 where half is black and
        half white.

    Raises:
        ValueError: for a smaller image or window.
    """
    luma = luma_of(image)
    if window < 2 or min(luma.shape) < window:
        raise ArgumentError(
            f"window {window} of an image of {luma.shape[0]}x{luma.shape[1]} pixels: give at least "
            "2 and at most the shorter side."
        )
    rows, columns = luma.shape[0] // window, luma.shape[1] // window
    cut = luma[: rows * window, : columns * window]
    return cut.reshape(rows, window, columns, window).std(axis=(1, 3))


def evaluate_target(
    stylize: Callable, photos: Iterable, target: Callable, *, size: int = 512, window: int = 16
) -> dict:
    """How near a stylizer comes to what photos are to become, and what both do to local contrast.

    Args:
        stylize, target: photo [H, W, 3] in [0, 1] -> picture of the same size.
        photos: paths, at least one; each is scaled down to `size` first.
        size: longest side in pixels.
        window: see `local_contrast`.

    Returns:
        "count" and "size"; "error", root mean square, and "psnr" of the pictures to the target,
        "psnr_untouched" of the photos to it and "psnr_gain", the difference in dB, all means over
        photos (100 dB at most for one, so that equal images count); "least_psnr_gain" of a photo;
        "local_contrast", the mean over all windows of all photos, and "local_contrast_histogram",
        the share of windows between neighbouring "edges", each of "photo", "output" and "target".
    """
    decibels, errors = [], []
    found: dict[str, list[np.ndarray]] = {"photo": [], "output": [], "target": []}
    for path in photos:
        photo = images.fit(images.read(path), size)
        # Through uint8, as files would be.
        output, wanted = (
            images.from_uint8(images.to_uint8(each(photo))) for each in (stylize, target)
        )
        errors.append(np.sqrt(((output - wanted) ** 2).mean()))
        decibels.append([min(psnr(each, wanted), 100.0) for each in (output, photo)])
        for key, image in (("photo", photo), ("output", output), ("target", wanted)):
            found[key].append(local_contrast(image, window=window).ravel())
    contrasts = {key: np.concatenate(values) for key, values in found.items()}
    edges = np.linspace(0, 0.5, 11)
    after, before = np.transpose(decibels)
    return {
        "count": len(decibels),
        "size": size,
        "error": float(np.mean(errors)),
        "psnr": float(after.mean()),
        "psnr_untouched": float(before.mean()),
        "psnr_gain": float((after - before).mean()),
        "least_psnr_gain": float((after - before).min()),
        "local_contrast": {key: float(values.mean()) for key, values in contrasts.items()},
        "local_contrast_histogram": {
            "edges": edges.round(6).tolist(),
            **{
                key: (np.histogram(values, edges)[0] / len(values)).tolist()
                for key, values in contrasts.items()
            },
        },
    }


def contrast_table(figures: Mapping) -> str:
    """The local contrast in the figures of `evaluate_target`, as lines of a table."""
    local, histogram = figures["local_contrast"], figures["local_contrast_histogram"]
    lines = ["Local contrast           " + "".join(f"{key:<8}" for key in local)]
    lines.append("mean                     " + "".join(f"{mean:<8.4f}" for mean in local.values()))
    edges, shares = histogram["edges"], zip(*(histogram[key] for key in local), strict=True)
    for low, high, row in zip(edges, edges[1:], shares, strict=False):
        label = f"{low:.2f} to {high:.2f}"
        lines.append(f"{label:<25}" + "".join(f"{share:<8.1%}" for share in row))
    return "\n".join(lines)


def lpips(image_a: np.ndarray, image_b: np.ndarray, *, extractor: Extractor) -> float:
    """Learned perceptual distance of two images of one size (LPIPS 0.1, AlexNet, linear heads).

    Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric"
    (https://arxiv.org/abs/1801.03924), equation 1: the sum over five layers of the mean over
    positions of w . (a / |a| - b / |b|)^2, with weights w (the paper's squared) that were fitted to
    what people said.

    Args:
        image_a, image_b: [H, W, 3] in [0, 1], at least 31 pixels a side.
        extractor: `features.alexnet()`; the weights belong to no other network.

    Returns:
        0 for equal images; unlike ones reach 0.7 and more. It depends on the size. Symmetric.

    Raises:
        ValueError: for images of unlike or too small sizes; for an extractor that is not AlexNet.
    """
    image_a, image_b = as_batch(image_a, LPIPS_MIN_SIDE), as_batch(image_b, LPIPS_MIN_SIDE)
    if image_a.shape != image_b.shape:
        raise ArgumentError(
            f"LPIPS of {image_a.shape[1]}x{image_a.shape[2]} and {image_b.shape[1]}x"
            f"{image_b.shape[2]} pixels: resize one to the other first."
        )
    of_a, of_b = extractor(image_a), extractor(image_b)
    heads = _lpips_heads()
    found = {layer: values.shape[-1] for layer, values in of_a.items()}
    if found != {layer: len(head) for layer, head in heads.items()}:
        raise ArgumentError(
            f"LPIPS on layers {', '.join(found)}: its weights belong to {', '.join(heads)} of "
            "features.alexnet(). Give that as the extractor."
        )
    return sum(
        float(tf.reduce_mean((_unit(of_a[layer]) - _unit(of_b[layer])) ** 2 @ head[:, None]))
        for layer, head in heads.items()
    )


def marks(
    output: np.ndarray, content: np.ndarray, *, alexnet: Extractor, size: int = 512
) -> dict[str, float | None]:
    """How unlike its photo a picture looks to people, and the grid that up-sampling leaves.

    Args:
        output, content: [H, W, 3] in [0, 1] of one shape, but for a few pixels; brought to `size`.
        alexnet: `features.alexnet()`.
        size: longest side in pixels at which they are compared.

    Returns:
        {"lpips", "checkerboard" (the largest of the strides)}; None for one that the size does not
        allow: 31 and 128 pixels a side are needed.
    """
    photo = images.fit(content, size)
    picture = images.resize(output, photo.shape[:2])
    least = min(photo.shape[:2])
    return {
        "lpips": lpips(picture, photo, extractor=alexnet) if least >= LPIPS_MIN_SIDE else None,
        "checkerboard": max(checkerboard(picture).values()) if least >= _GRID_MIN_SIDE else None,
    }


@functools.cache
def _lpips_heads() -> dict[str, np.ndarray]:
    with resources.files("tfstyle").joinpath("assets/alexnet_lpips.npz").open("rb") as file:
        stored = np.load(file)
        return {f"conv{i + 1}": stored[f"lpips_lin{i}"] for i in range(5)}


def _unit(features: tf.Tensor) -> tf.Tensor:
    # The small number is that of the reference implementation.
    return features / (tf.norm(features, axis=-1, keepdims=True) + 1e-10)
