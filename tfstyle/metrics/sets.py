"""Distances between sets of images: kernel distance (KID)."""

import itertools
from collections.abc import Iterable

import numpy as np

from tfstyle import images
from tfstyle.errors import ArgumentError
from tfstyle.metrics.distances import Extractor, as_batch

# The deepest layer that is bundled, as the kernel inception distance takes Inception's deepest.
KID_LAYER = "block5_conv1"
# Height and width to which `vgg16_kid` brings every image.
KID_SIZE = 256


def kid(
    features_x: np.ndarray,
    features_y: np.ndarray,
    *,
    subset_size: int,
    subsets: int = 100,
    seed: int = 0,
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
        raise ArgumentError(
            f"features of shapes {x.shape} and {y.shape}: give [N, d] and [M, d] with one d."
        )
    most = min(len(x), len(y))
    if not 2 <= subset_size <= most:
        raise ArgumentError(
            f"subset_size {subset_size} of sets of {len(x)} and {len(y)}: "
            + (f"give 2 to {most}." if most >= 2 else "give sets of at least 2 images.")
        )
    if subsets < 1:
        raise ArgumentError(f"subsets {subsets}: give at least 1.")
    rng = np.random.default_rng(seed)
    estimates = [
        _squared_mmd(*(z[rng.choice(len(z), subset_size, replace=False)] for z in (x, y)))
        for _ in range(subsets)
    ]
    return float(np.mean(estimates)), float(np.std(estimates))


def _squared_mmd(x: np.ndarray, y: np.ndarray) -> float:
    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def among(a: np.ndarray) -> float:
        k = kernel(a, a)
        return (k.sum() - np.trace(k)) / (len(a) * (len(a) - 1))

    return among(x) + among(y) - 2 * kernel(x, y).mean()


def vgg16_kid(
    images_x: Iterable,
    images_y: Iterable,
    *,
    extractor: Extractor,
    subset_size: int,
    subsets: int = 100,
    seed: int = 0,
    size: int = KID_SIZE,
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
        raise ArgumentError(f"batch_size {batch_size}: give at least 1.")
    pooled = [pooled_features(each, extractor, size, batch_size) for each in (images_x, images_y)]
    return kid(*pooled, subset_size=subset_size, subsets=subsets, seed=seed)


def pooled_features(
    pictures: Iterable, extractor: Extractor, size: int, batch_size: int
) -> np.ndarray:
    """What `vgg16_kid` compares: a row of 512 numbers for each picture, [N, 512] float64.

    Args:
        pictures, extractor, size, batch_size: as there.

    Raises:
        ValueError: for no pictures.
    """
    pictures = iter(pictures)
    rows = []
    while some := list(itertools.islice(pictures, batch_size)):
        batch = np.stack([images.resize(picture, (size, size)) for picture in some])
        pooled = np.mean(extractor(as_batch(batch))[KID_LAYER], axis=(1, 2), dtype="float64")
        # An image without features stays at 0.
        scale = np.sqrt((pooled**2).mean(axis=-1, keepdims=True))
        rows.extend(pooled / np.maximum(scale, 1e-12))
    if not rows:
        raise ArgumentError("a set of no images: give at least 2.")
    return np.stack(rows)
