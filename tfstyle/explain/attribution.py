"""E4, why real or fake, why this style class: integrated gradients of what a network says."""

import math
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf
from scipy import ndimage, stats

from tfstyle.explain import maps
from tfstyle.explain.results import Check, Explanation

_STEPS = (32, 64, 128, 256, 512)
_COMPLETE, _BATCH, _GRID, _ORDERS = 0.01, 8, 8, 100
# A change of the score that is less than this says nothing that could be shared out.
_LEAST = 1e-3
_UNLIKE = 0.3
# Less of a picture may be its border, which some networks see little of.
_BLIND = 0.1


def integrated_gradients(
    score: Callable, image: np.ndarray, baseline: np.ndarray, *, steps: int
) -> np.ndarray:
    """(x - b) times the mean gradient on the way from b to x; their sum is score(x) - score(b).

    Sundararajan et al. 2017 (https://arxiv.org/abs/1703.01365), eq. 1, by the trapezoidal rule.

    Args:
        score: [B, H, W, 3] -> [B].
        image, baseline: x and b, [H, W, 3] in [0, 1].
        steps: intervals.

    Returns:
        [H, W, 3] float64.
    """
    shares = np.linspace(0, 1, steps + 1)
    ends = np.where((shares == 0) | (shares == 1), 0.5, 1.0) / steps
    total = np.zeros(image.shape)
    for start in range(0, len(shares), _BATCH):
        some = shares[start : start + _BATCH, None, None, None]
        batch = tf.constant(baseline + some * (image - baseline), tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(batch)
            value = tf.reduce_sum(score(batch))
        gradient = np.asarray(tape.gradient(value, batch), "float64")
        total += np.tensordot(ends[start : start + _BATCH], gradient, 1)
    return (image.astype("float64") - baseline) * total


def explain(
    score: Callable,
    image: np.ndarray,
    baseline: np.ndarray,
    *,
    says: str,
    against: str,
    model: keras.Model | None = None,
    seed: int = 0,
) -> Explanation:
    """Which pixels made a network score an image as it does, compared with a baseline.

    Args:
        score: [B, H, W, 3] in [0, 1] -> [B]: the mean of a discriminator's patches, one patch, the
            logit of a class.
        image: [H, W, 3].
        baseline: likewise. The photo, for what made its painting more of a painting; the image
            blurred, for what its detail does.
        says, against: score and baseline in words ("a painting", "the photo").
        model: what `score` asks; its weights are drawn anew for a test and put back.
        seed: of random orders and weights.

    Returns:
        Figures "image" and "baseline" (scores), "steps" (intervals that were needed) and "blind"
        (part of the picture that differs from the baseline and has no share). Array "pixels"
        [H, W]: shares of image - baseline.
    """
    before, after = (float(score(tf.constant(x[None], tf.float32))[0]) for x in (baseline, image))
    change, error = after - before, math.nan
    for steps in _STEPS:
        pixels = integrated_gradients(score, image, baseline, steps=steps).sum(axis=-1)
        if abs(change) >= _LEAST:
            error = abs(pixels.sum() - change) / abs(change)
        if not error > _COMPLETE:
            break
    unclear = "" if abs(change) >= _LEAST else f"the score changes by {change:.1g} only"
    rng = np.random.default_rng(seed)
    checks = [
        Check(
            "the shares sum to the change of the score",
            error,
            _COMPLETE,
            "below",
            null=1.0,
            n=steps,
            why=unclear,
        ),
        *_deletion(score, image, baseline, pixels, change, rng, seed, unclear),
    ]
    if model is not None:
        checks.append(_randomised(score, image, baseline, pixels, model, seed))
    cells = maps.cells(pixels.shape, 3)
    parts = np.bincount(cells.ravel(), pixels.ravel()) * math.copysign(1, change)
    most = parts.max() / max(np.abs(parts).sum(), 1e-30)
    blind = _blind(pixels, image - baseline)
    unseen = f" It does not look at {blind:.0%} of the picture." if blind > _BLIND else ""
    return Explanation(
        name="attribution",
        question=f"Why does the network take it for {says}?",
        summary=(
            f"The network gives the picture {after:+.2f} and {against} {before:+.2f}: the more, "
            f"the more like {says}. One ninth of the picture has {most:.0%} of the reasons.{unseen}"
        ),
        figures={"image": after, "baseline": before, "steps": float(steps), "blind": blind},
        arrays={"pixels": pixels},
        units={"pixels": "share of the change of the score, by pixel"},
        checks=checks,
        limits="It depends on the baseline: it explains the difference from that, and no more.",
    )


def _blind(pixels: np.ndarray, change: np.ndarray) -> float:
    """Part of the picture's cells that changed and have under a thousandth of the usual share."""
    cells = maps.cells(pixels.shape).ravel()
    moved = np.bincount(cells, np.abs(change).sum(axis=-1).ravel())
    shares = np.bincount(cells, np.abs(pixels).ravel())
    if not shares.any():
        return 0.0
    unseen = shares * moved.sum() < 1e-3 * shares.sum() * moved
    return float(unseen.sum() / (moved > 0).sum())


def _deletion(
    score: Callable,
    image: np.ndarray,
    baseline: np.ndarray,
    pixels: np.ndarray,
    change: float,
    rng: np.random.Generator,
    seed: int,
    unclear: str,
) -> Iterator[Check]:
    """Whether putting the baseline where the shares are highest undoes the score soonest."""
    cells = maps.cells(pixels.shape, _GRID)
    count = cells.max() + 1
    steps = np.unique(np.linspace(0, count, 9).astype(int))[1:-1]

    def area(order: np.ndarray) -> float:
        rank = np.argsort(order)[cells]
        gone = (rank < steps[:, None, None])[..., None]
        scores = score(tf.constant(np.where(gone, baseline, image), tf.float32))
        return float(np.mean(scores)) * math.copysign(1, change)

    def by(values: np.ndarray) -> np.ndarray:
        return np.argsort(-np.bincount(cells.ravel(), values.ravel()), kind="stable")

    edges = ndimage.gaussian_gradient_magnitude(image.mean(axis=-1), 1)
    own = area(by(pixels * math.copysign(1, change)))
    random = [area(rng.permutation(count)) for _ in range(_ORDERS)]
    yield Check(
        "deleting by the shares undoes the score sooner than random orders do",
        math.nan if unclear else float(np.mean([value <= own for value in random])),
        0.05,
        "below",
        null=0.5,
        n=_ORDERS,
        seed=seed,
        why=unclear,
    )
    yield Check(
        "deleting by the shares undoes the score sooner than deleting edges does",
        math.nan if unclear else own - area(by(edges)),
        0.0,
        "below",
        null=0.0,
        why=unclear,
    )


def _randomised(
    score: Callable,
    image: np.ndarray,
    baseline: np.ndarray,
    pixels: np.ndarray,
    model: keras.Model,
    seed: int,
) -> Check:
    """Whether the map depends on what was learned: Adebayo et al. 2018.

    https://arxiv.org/abs/1810.03292, section 3.1: from the output on, weights are drawn anew.
    """
    kept = model.get_weights()
    rng = np.random.default_rng(seed)
    try:
        for weight in reversed(model.trainable_weights):
            value = weight.numpy()
            weight.assign(rng.normal(value.mean(), value.std() or 0.02, value.shape))
        other = integrated_gradients(score, image, baseline, steps=_STEPS[0]).sum(axis=-1)
    finally:
        model.set_weights(kept)
    cells = maps.cells(pixels.shape, 16).ravel()
    found = [np.bincount(cells, np.abs(each).ravel()) for each in (pixels, other)]
    return Check(
        "with weights drawn anew the map is another",
        float(stats.spearmanr(*found).statistic),
        _UNLIKE,
        "below",
        null=1.0,
        n=len(found[0]),
        seed=seed,
    )
