"""Judging a result: pure functions of images, in the units that the project reports.

Images are float32 RGB in [0, 1], [H, W, 3] or [1, H, W, 3], at least as large as the function says
(ValueError below that). What compares images by features is given its extractor: style and content
distance one of `LAYERS`, such as `features.vgg16(LAYERS)`, and at least 16 pixels a side. Artefact
measures need none: they look at one image, and about 1 is what photos have.
"""

import dataclasses
import functools
import itertools
import math
import os
import statistics
from collections.abc import Callable, Iterable, Sequence
from importlib import resources

import numpy as np
import tensorflow as tf

from tfstyle import color, features, images, losses

LAYERS = (*losses.STYLE_LAYERS, losses.CONTENT_LAYER)
# Below it the deepest layer has no positions, and its Gram matrix is 0 / 0.
_MIN_SIDE = 16

# The deepest layer that is bundled, as the kernel inception distance takes Inception's deepest.
KID_LAYER = "block5_conv1"
# Height and width to which `vgg16_kid` brings every image.
_KID_SIZE = 256

# Below it AlexNet's deeper layers have no positions.
_LPIPS_MIN_SIDE = 31


@dataclasses.dataclass(frozen=True)
class Scores:
    """How much style an output took on and how much content it kept; see `evaluate`."""

    style_distance: float
    relative_style_distance: float
    content_distance: float


def _batch(image, least=_MIN_SIDE):
    image = tf.convert_to_tensor(image, "float32")
    image = image[None] if image.shape.rank == 3 else image
    height, width = image.shape[1:3]
    if min(height, width) < least:
        raise ValueError(
            f"image of {height}x{width} pixels: distances need {least} on each side, since the "
            "extractor's last layer is at a sixteenth. Give a larger image or a larger size."
        )
    return image


def _style_grams(of_image):
    return {layer: losses.gram(of_image[layer]) for layer in losses.STYLE_LAYERS}


def _style_distance(output_features, style_grams):
    return float(losses.style_loss(grams=_style_grams(output_features), targets=style_grams))


def _content_distance(output_features, content_features):
    layer = losses.CONTENT_LAYER
    return float(
        losses.content_loss(features=output_features[layer], target=content_features[layer])
    )


def style_distance(output, style, *, extractor) -> float:
    """Mean over block1..5_conv1 of ||G(o) - G(s)||^2 / ||G(s)||^2, G = F'F / (H W).

    0 is the style's own statistics; 1 is that of an image without features.

    Args:
        output, style: [H, W, 3] in [0, 1], at least 16 pixels a side; their sizes may differ.
        extractor: gives `LAYERS`.

    Raises:
        ValueError: for smaller images.
    """
    return _style_distance(extractor(_batch(output)), _style_grams(extractor(_batch(style))))


def content_distance(output, content, *, extractor) -> float:
    """||F(o) - F(c)||^2 / ||F(c)||^2 at block4_conv2.

    0 is the content itself; around 2 nothing of it is left but chance agreement.

    Args:
        output, content: [H, W, 3] in [0, 1], of one size, at least 16 pixels a side.
        extractor: gives `LAYERS`.

    Raises:
        ValueError: where the sizes differ or are smaller.
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
    style_grams = _style_grams(of_style)
    distance = _style_distance(of_output, style_grams)
    return Scores(
        style_distance=distance,
        relative_style_distance=distance / max(_style_distance(of_content, style_grams), 1e-12),
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


def over_styles(
    judges: Sequence[Callable], stylizer: Callable, *, content_weight: float, style_weight: float
) -> dict[str, float]:
    """Means over the styles of a stylizer of several, after their weighted sum.

    Args:
        judges: of each style, in order; a `Validator` of its paintings.
        stylizer: (photo, style=index) -> stylized photo.
        content_weight, style_weight: of the total.
    """
    figures = [
        judge(lambda photo, index=index: stylizer(photo, style=index))
        for index, judge in enumerate(judges)
    ]
    mean = {key: statistics.mean(of_one[key] for of_one in figures) for key in figures[0]}
    return with_total(mean, content_weight=content_weight, style_weight=style_weight)


def with_total(
    figures: dict[str, float], *, content_weight: float, style_weight: float
) -> dict[str, float]:
    """Figures of a `Validator`, first of all the weighted sum that a training lets fall."""
    total = content_weight * figures["content_distance"]
    total += style_weight * figures["style_distance"]
    return {"total": total, **figures}


def psnr(image, reference) -> float:
    """Peak signal-to-noise ratio of images of one size: -10 log10 of the mean squared difference.

    In dB, of values in [0, 1]; infinite for equal images. The difference is of all three channels.

    Raises:
        ValueError: where the sizes differ.
    """
    image, reference = _picture(image), _picture(reference)
    if image.shape != reference.shape:
        raise ValueError(
            f"PSNR of images of shapes {image.shape} and {reference.shape}: resize one to the "
            "other first."
        )
    error = ((image - reference) ** 2).mean()
    return float(-10 * np.log10(error)) if error else math.inf


def local_contrast(image, *, window: int = 16) -> np.ndarray:
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
    luma = _picture(image) @ color.LUMA.astype("float64")
    if window < 2 or min(luma.shape) < window:
        raise ValueError(
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
    contrasts = {"photo": [], "output": [], "target": []}
    for path in photos:
        photo = images.fit(images.read(path), size)
        # Through uint8, as files would be.
        output, wanted = (
            images.from_uint8(images.to_uint8(each(photo))) for each in (stylize, target)
        )
        errors.append(np.sqrt(((output - wanted) ** 2).mean()))
        decibels.append([min(psnr(each, wanted), 100.0) for each in (output, photo)])
        for key, image in (("photo", photo), ("output", output), ("target", wanted)):
            contrasts[key].append(local_contrast(image, window=window).ravel())
    contrasts = {key: np.concatenate(values) for key, values in contrasts.items()}
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
    ):
        """
        Args:
            photos: files, or images [H, W, 3] in [0, 1]; scaled down to `size`.
            paintings: likewise; the style is the mean of their Gram matrices. None where there is
                no style to compare with.
            size: longest side in pixels. Figures depend on it, so compare only those of one size.
        """
        if not len(photos):
            raise ValueError("no photos to validate on: give at least one.")
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
            - content_distance: see `content_distance`.
            - lpips: from the photo to the stylized one; see `lpips`.
            - checkerboard: the largest of the strides; of images of 128 pixels a side.
            - border_marks: of images of 48 pixels a side.
        """
        figures: dict[str, list[float]] = {}
        outputs = []
        for photo in map(self._read, self._photos):
            output = images.from_uint8(images.to_uint8(stylize(photo)))
            if output.shape != photo.shape:
                output = images.resize(output, photo.shape[:2])
            outputs.append(output)
            of_output, of_photo = (self._vgg16(_batch(image)) for image in (output, photo))
            found = {}
            if self._paintings:
                distance = _style_distance(of_output, self._style)
                base = max(_style_distance(of_photo, self._style), 1e-12)
                found |= {
                    "relative_style_distance": distance / base,
                    "style_distance": distance,
                }
            found["content_distance"] = _content_distance(of_output, of_photo)
            if min(photo.shape[:2]) >= _LPIPS_MIN_SIDE:
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
        pooled = _pooled_features(outputs, self._vgg16, _KID_SIZE, 8)
        subset_size = min(len(pooled), len(self._pooled))
        return {"vgg16_kid": kid(pooled, self._pooled, subset_size=subset_size)[0], **means}

    def _read(self, image):
        image = np.asarray(image) if isinstance(image, np.ndarray) else images.read(image)
        return images.fit(image, self._size)

    @functools.cached_property
    def _style(self):
        """{layer: mean Gram matrix of the paintings, [1, C, C]}"""
        sums = {}
        for painting in map(self._read, self._paintings):
            for layer, gram in _style_grams(self._vgg16(_batch(painting))).items():
                sums[layer] = sums.get(layer, 0) + gram
        return {layer: total / len(self._paintings) for layer, total in sums.items()}

    @functools.cached_property
    def _pooled(self):
        return _pooled_features(map(self._read, self._paintings), self._vgg16, _KID_SIZE, 8)


@functools.cache
def _networks():
    """VGG16 and AlexNet for all validators of the process."""
    return features.vgg16(LAYERS), features.alexnet()


def kid(
    features_x, features_y, *, subset_size: int, subsets: int = 100, seed: int = 0
) -> tuple[float, float]:
    """Kernel inception distance of two sets of features: how far apart their distributions are.

    Binkowski et al. 2018, "Demystifying MMD GANs" (https://arxiv.org/abs/1801.01401), section 4 and
    appendix: the unbiased estimate of the squared maximum mean discrepancy

        mean over i != j of k(x_i, x_j) + the same of y - 2 mean over i, j of k(x_i, y_j)

    under the polynomial kernel k(x, y) = (x.y / d + 1)^3, over random subsets of both sets.

    Args:
        features_x, features_y: [N, d] and [M, d], one row an image.
        subset_size: rows of each set in a subset, drawn without replacement; at least 2.
        subsets: how many subsets are drawn.
        seed: of the drawing.

    Returns:
        (mean, standard deviation) over the subsets. The mean does not depend on the sizes but for
        chance: it is about 0, and may be below, where both sets come from one distribution. The
        deviation is that of one subset, and says how much chance there is in the mean only where
        the sets are some times as large; it is 0 where a subset is the whole set.

    Raises:
        ValueError: for features of unlike lengths, and for subsets that the sets cannot give.
    """
    x, y = np.asarray(features_x, "float64"), np.asarray(features_y, "float64")
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(
            f"features of shapes {x.shape} and {y.shape}: give [N, d] and [M, d] with one d."
        )
    most = min(len(x), len(y))
    if not 2 <= subset_size <= most:
        raise ValueError(
            f"subset_size {subset_size} of sets of {len(x)} and {len(y)}: "
            + (f"give 2 to {most}." if most >= 2 else "give sets of at least 2 images.")
        )
    if subsets < 1:
        raise ValueError(f"subsets {subsets}: give at least 1.")
    rng = np.random.default_rng(seed)
    estimates = [
        _squared_mmd(*(z[rng.choice(len(z), subset_size, replace=False)] for z in (x, y)))
        for _ in range(subsets)
    ]
    return float(np.mean(estimates)), float(np.std(estimates))


def _squared_mmd(x, y):
    def kernel(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3

    def among(a):
        k = kernel(a, a)
        return (k.sum() - np.trace(k)) / (len(a) * (len(a) - 1))

    return among(x) + among(y) - 2 * kernel(x, y).mean()


def vgg16_kid(
    images_x: Iterable,
    images_y: Iterable,
    *,
    extractor,
    subset_size: int,
    subsets: int = 100,
    seed: int = 0,
    size: int = _KID_SIZE,
    batch_size: int = 8,
) -> tuple[float, float]:
    """Kernel distance of two sets of images by VGG16: how unlike they look, taken as sets.

    Not the published KID, let alone FID, which see by InceptionV3: compare it only with itself, at
    one `size`. An image's features are the means over positions of `KID_LAYER` after ReLU, 512
    numbers (as Inception's pool3 are means over positions of its deepest layer), divided by their
    root mean square. The kernel adds 1 to x.y / d, which this keeps in [0, 1]: as it comes, VGG16
    gives numbers around 25 that grow with contrast, and the cube would see little but that.

    Args:
        images_x, images_y: iterables of [H, W, 3] in [0, 1], of any sizes; read once, a batch at a
            time, so `map(images.read, paths)` will do for sets that do not fit in memory.
        extractor: gives `KID_LAYER`, such as `features.vgg16([KID_LAYER])`.
        subset_size, subsets, seed: see `kid`.
        size: every image is resized to this height and width in pixels, at least 16; its aspect is
            not kept, so that nothing of it is cut off.
        batch_size: images that the extractor sees at once; the result does not depend on it.

    Returns:
        (mean, standard deviation) over the subsets; see `kid`.

    Raises:
        ValueError: as `kid` does, and for a set of no images or a size or batch_size too small.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size {batch_size}: give at least 1.")
    pooled = [_pooled_features(each, extractor, size, batch_size) for each in (images_x, images_y)]
    return kid(*pooled, subset_size=subset_size, subsets=subsets, seed=seed)


def _pooled_features(pictures, extractor, size, batch_size):
    pictures = iter(pictures)
    rows = []
    while some := list(itertools.islice(pictures, batch_size)):
        batch = np.stack([images.resize(picture, (size, size)) for picture in some])
        pooled = np.mean(extractor(_batch(batch))[KID_LAYER], axis=(1, 2), dtype="float64")
        # An image without features stays at 0.
        scale = np.sqrt((pooled**2).mean(axis=-1, keepdims=True))
        rows.extend(pooled / np.maximum(scale, 1e-12))
    if not rows:
        raise ValueError("a set of no images: give at least 2.")
    return np.stack(rows)


def lpips(image_a, image_b, *, extractor) -> float:
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
    image_a, image_b = _batch(image_a, _LPIPS_MIN_SIDE), _batch(image_b, _LPIPS_MIN_SIDE)
    if image_a.shape != image_b.shape:
        raise ValueError(
            f"LPIPS of {image_a.shape[1]}x{image_a.shape[2]} and {image_b.shape[1]}x"
            f"{image_b.shape[2]} pixels: resize one to the other first."
        )
    of_a, of_b = extractor(image_a), extractor(image_b)
    heads = _lpips_heads()
    found = {layer: values.shape[-1] for layer, values in of_a.items()}
    if found != {layer: len(head) for layer, head in heads.items()}:
        raise ValueError(
            f"LPIPS on layers {', '.join(found)}: its weights belong to {', '.join(heads)} of "
            "features.alexnet(). Give that as the extractor."
        )
    return sum(
        float(tf.reduce_mean((_unit(of_a[layer]) - _unit(of_b[layer])) ** 2 @ head[:, None]))
        for layer, head in heads.items()
    )


@functools.cache
def _lpips_heads():
    with resources.files("tfstyle").joinpath("assets/alexnet_lpips.npz").open("rb") as file:
        stored = np.load(file)
        return {f"conv{i + 1}": stored[f"lpips_lin{i}"] for i in range(5)}


def _unit(features):
    # The small number is that of the reference implementation.
    return features / (tf.norm(features, axis=-1, keepdims=True) + 1e-10)


def checkerboard(image, *, strides: Sequence[int] = (2, 4, 8)) -> dict[int, float]:
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
    ratios = losses.checkerboard_ratios(_picture(image)[None], strides=strides)
    return {stride: float(ratio[0]) for stride, ratio in ratios.items()}


def border_marks(image, *, width: int = 8) -> float:
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
    image = _picture(image)
    if width < 1 or min(image.shape[:2]) < 6 * width:
        raise ValueError(
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


def _picture(image):
    image = np.asarray(image, "float64")
    return image[0] if image.ndim == 4 else image
