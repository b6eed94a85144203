"""E2, which strokes and channels carry the style gap: the style loss as a sum over positions.

The Gram loss of a layer is a squared maximum mean discrepancy with the kernel (x'y)^2 (Li et al.
2017, https://arxiv.org/abs/1701.01036, section 3.1). With D = G - A, the difference of the Gram
matrices of picture and style, its witness is w(f) = f'Df: high where the picture has what the style
has not, low (in the style) where the style has what the picture lacks.

The Wasserstein loss is the cost of moving the picture's features, as a Gaussian of mean m and
covariance C, to the style's, of n and D, by x -> n + A (x - m). In place of the witness stand the
potentials of its dual (Kantorovich), p(x) = (x - m)'(I - A)(x - m) + 2 (x - m)'(m - n) over the
picture and q(y) = (y - n)'(I - B)(y - n) + ||m - n||^2 over the style, B the way back: the mean of
p and the mean of q sum to the loss, and p is what a little more of x would add to it.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from tfstyle import losses
from tfstyle.explain import maps
from tfstyle.explain.results import Check, Explanation

_ORDERS = 200
# Parts of the picture that are removed, or blurred, for a test; and how many of these parts.
_GRID, _TENTH = 8, 0.1


StyleLoss = Literal["gram", "wasserstein"]


@dataclasses.dataclass(frozen=True)
class LayerGap:
    """The style loss of one layer, taken apart.

    Args:
        loss: of the layer, as `losses.style_loss` or `losses.wasserstein_style_loss` has it.
        positions: [h, w], each position's share of the loss; they sum to it. Negative where a
            position brings the picture nearer to the style.
        channels: [C], likewise, each channel's.
        missing: [h', w'] over the style image, relative to the style's energy; high where it has
            what the picture lacks.
    """

    loss: float
    positions: np.ndarray
    channels: np.ndarray
    missing: np.ndarray


def layer_gap(
    features: tf.Tensor, style_features: tf.Tensor, *, style_loss: StyleLoss = "gram"
) -> LayerGap:
    """Takes the style loss of a layer apart.

    Args:
        features, style_features: [1, h, w, C] and [1, h', w', C] of picture and style image.
        style_loss: which.
    """
    own, other = (np.asarray(f, "float64")[0] for f in (features, style_features))
    return {"gram": _gram_gap, "wasserstein": _wasserstein_gap}[style_loss](own, other)


def _gram_gap(own: np.ndarray, other: np.ndarray) -> LayerGap:
    gram, target = (_gram(f.reshape(-1, f.shape[-1])) for f in (own, other))
    difference, energy = gram - target, max(float((target**2).sum()), 1e-30)
    witness = _quadratic(own, difference)
    return LayerGap(
        loss=float((difference**2).sum() / energy),
        positions=(witness - (difference * target).sum()) / witness.size / energy,
        channels=(difference**2).sum(axis=1) / energy,
        missing=-_quadratic(other, difference) / energy,
    )


def _wasserstein_gap(own: np.ndarray, other: np.ndarray) -> LayerGap:
    (mean, gram), (target_mean, target_gram) = _moments(own), _moments(other)
    covariance = gram - np.outer(mean, mean)
    target = target_gram - np.outer(target_mean, target_mean)
    energy = max(float(np.trace(target_gram)), 1e-30)
    there, back = _transport(covariance, target, energy), _transport(target, covariance, energy)
    off = mean - target_mean
    one = np.eye(len(mean))
    potential = _quadratic(own - mean, one - there) + 2 * (own - mean) @ off
    dual = _quadratic(other - target_mean, one - back) + off @ off
    # Channel by channel of ||m - n||^2 + tr(C) + tr(D) - 2 tr(AC).
    channels = off**2 + np.diag(covariance) + np.diag(target) - 2 * np.diag(there @ covariance)
    return LayerGap(
        loss=float(channels.sum() / energy),
        positions=(potential + dual.mean()) / potential.size / energy,
        channels=channels / energy,
        missing=dual / energy,
    )


def _transport(covariance: np.ndarray, target: np.ndarray, energy: float) -> np.ndarray:
    """A = R (R C R)^-1/2 R with R = D^1/2, which takes features of covariance C to those of D."""
    values, vectors = np.linalg.eigh(target)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    values, vectors = np.linalg.eigh(root @ covariance @ root)
    turned = root @ vectors
    # Of directions that the picture does not have, as `losses.wasserstein_style_loss` does.
    return (turned / np.sqrt(np.maximum(values, 1e-11 * energy**2))) @ turned.T


def _gram(flat: np.ndarray) -> np.ndarray:
    return flat.T @ flat / len(flat)


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    flat = features.reshape(-1, features.shape[-1])
    return flat.mean(axis=0), _gram(flat)


def _quadratic(features: np.ndarray, form: np.ndarray) -> np.ndarray:
    return np.einsum("hwc,hwc->hw", features @ form, features)


def explain(
    picture: np.ndarray,
    style: np.ndarray,
    *,
    extractor: keras.Model,
    layers: Mapping[str, float] | Sequence[str] = losses.STYLE_LAYERS,
    style_loss: StyleLoss = "gram",
    seed: int = 0,
) -> Explanation:
    """Where in a picture its distance to a style arises, and in which layers.

    Args:
        picture, style: [H, W, 3] in [0, 1].
        extractor: gives `layers`, such as `features.vgg16(losses.STYLE_LAYERS)`.
        layers: {layer: weight} of the loss, or layers that weigh alike; the weights are made to sum
            to 1.
        style_loss: the loss that the picture was made with.
        seed: of the random orders that the ranking is compared with.

    Returns:
        Figures "loss" and "loss/LAYER" (relative, `losses.style_loss` or
        `losses.wasserstein_style_loss`), "part/LAYER" (of the weighted sum over layers) and
        "top_tenth" (part of the gap that lies in the tenth of the pixels with most). Arrays
        "positions" [H, W] (they sum to the loss), "missing" [H', W'] of the style image, and of
        each layer "positions/LAYER", "channels/LAYER".
    """
    weights = layer_weights(layers)
    of_picture, of_style = (extractor(x[None]) for x in (picture, style))
    gaps = {
        layer: layer_gap(of_picture[layer], of_style[layer], style_loss=style_loss)
        for layer in weights
    }
    size, style_size = picture.shape[:2], style.shape[:2]
    positions = np.sum(
        [w * maps.spread(gaps[layer].positions, size) for layer, w in weights.items()], axis=0
    )
    missing = np.sum(
        [w * maps.spread(gaps[layer].missing, style_size) for layer, w in weights.items()], axis=0
    )
    loss = float(sum(weight * gaps[layer].loss for layer, weight in weights.items()))
    judge = judge_of(of_style, weights, style_loss)
    logged = judge(of_picture)
    rng = np.random.default_rng(seed)
    numbers = maps.cells(size, _GRID)
    checks = [
        Check(
            "the positions' shares sum to the loss",
            abs(positions.sum() - logged) / max(logged, 1e-12),
            1e-4,
            "below",
            null=1.0,
            n=positions.size,
        ),
        *(
            _removal(layer, gaps[layer], of_picture[layer], of_style[layer], style_loss, rng, seed)
            for layer in weights
        ),
        _blurring(picture, positions, numbers, lambda image: judge(extractor(image)), rng, seed),
    ]
    ranked = np.sort(np.maximum(positions, 0).ravel())[::-1]
    figures = {
        "loss": loss,
        "top_tenth": float(ranked[: max(1, len(ranked) // 10)].sum() / max(ranked.sum(), 1e-30)),
    }
    parts = {layer: weights[layer] * gap.loss for layer, gap in gaps.items()}
    for layer, gap in gaps.items():
        figures |= {
            f"loss/{layer}": gap.loss,
            f"part/{layer}": parts[layer] / max(loss, 1e-30),
        }
    largest = max(parts, key=lambda layer: parts[layer])
    arrays = {"positions": positions, "missing": missing}
    for layer, gap in gaps.items():
        arrays |= {f"positions/{layer}": gap.positions, f"channels/{layer}": gap.channels}
    return Explanation(
        name="style_gap",
        question="Which strokes still differ from the style, and where are they?",
        summary=(
            f"The picture's style is {loss:.3f} away from the style image's (0: the same; 1: as "
            f"far as a blank picture's). {figures[f'part/{largest}']:.0%} of this gap is in "
            f"{_described(largest)} (layer {largest}). Where the picture has too much of "
            f"something, {figures['top_tenth']:.0%} of that lies in a tenth of it, "
            f"{_place(positions)}."
        ),
        figures=figures,
        arrays=arrays,
        units={
            "loss": _UNITS[style_loss],
            "positions": "share of the gap, by pixel: red adds to it, blue takes from it",
            "missing": "what the picture lacks, on the style image, by pixel",
        },
        checks=checks,
        limits="A position's share says how it pulls the statistics of the features, not how a "
        "viewer sees it.",
    )


_UNITS = {
    "gram": "||G - A||^2 / ||A||^2, mean over layers",
    "wasserstein": "squared Wasserstein distance / mean energy of the style, mean over layers",
}


def layer_weights(layers: Mapping[str, float] | Sequence[str]) -> dict[str, float]:
    """{layer: weight} of sum 1; alike for layers without weights."""
    weights = dict(layers) if isinstance(layers, Mapping) else dict.fromkeys(layers, 1.0)
    total = sum(weights.values())
    return {layer: weight / total for layer, weight in weights.items()}


def judge_of(
    of_style: Mapping[str, tf.Tensor], weights: Mapping[str, float], style_loss: StyleLoss
) -> Callable[[Mapping[str, tf.Tensor]], float]:
    """The loss of a picture's features to the style's, as trainings and `optimize` compute it.

    Args:
        of_style: {layer: [1, h, w, C]} of the style image.
        weights: {layer: weight}.
        style_loss: which.
    """
    grams = {layer: losses.gram(of_style[layer]) for layer in weights}
    if style_loss == "gram":
        return lambda of: float(
            losses.style_loss(
                grams={layer: losses.gram(of[layer]) for layer in weights},
                targets=grams,
                layer_weights=weights,
            )
        )
    means = {layer: losses.channel_means(of_style[layer]) for layer in weights}
    roots = {layer: losses.covariance_root(means[layer], grams[layer]) for layer in weights}
    return lambda of: float(
        losses.wasserstein_style_loss(
            means={layer: losses.channel_means(of[layer]) for layer in weights},
            grams={layer: losses.gram(of[layer]) for layer in weights},
            target_means=means,
            target_grams=grams,
            target_roots=roots,
            layer_weights=weights,
        )
    )


def _removal(
    layer: str,
    gap: LayerGap,
    features: tf.Tensor,
    style_features: tf.Tensor,
    style_loss: StyleLoss,
    rng: np.random.Generator,
    seed: int,
) -> Check:
    """Whether the loss falls more when parts are removed by their shares than at random."""
    own, other = (np.asarray(f, "float64")[0] for f in (features, style_features))
    numbers = maps.cells(own.shape[:2], _GRID).ravel()
    flat, count = own.reshape(-1, own.shape[-1]), numbers.max() + 1
    sizes = np.bincount(numbers)
    shares = np.bincount(numbers, gap.positions.ravel())
    tenth = max(1, round(_TENTH * count))
    products = np.stack([flat[numbers == cell].T @ flat[numbers == cell] for cell in range(count)])
    if style_loss == "gram":
        of_kept = _gram_of_kept(products, sizes, _moments(other)[1])
        marks = range(tenth + 1)
    else:
        sums = np.stack([flat[numbers == cell].sum(axis=0) for cell in range(count)])
        of_kept = _wasserstein_of_kept(sums, products, sizes, *_moments(other))
        # Once an order: each takes the eigenvalues of a matrix.
        marks = range(tenth, tenth + 1)

    def height(order: np.ndarray) -> float:
        """The loss, mean over the parts removed so far."""
        values = []
        for removed in marks:
            kept = np.zeros(count)
            kept[order[removed:]] = 1
            values.append(of_kept(kept))
        return float(np.mean(values))

    by_share = height(np.argsort(-shares / sizes))
    random = [height(rng.permutation(count)) for _ in range(_ORDERS)]
    return Check(
        f"{layer}: removing the tenth with most share lowers the loss more than others do",
        float(np.mean([value <= by_share for value in random])) if count > 3 else float("nan"),
        0.05,
        "below",
        null=0.5,
        n=_ORDERS,
        seed=seed,
        why="" if count > 3 else "fewer than four positions",
    )


def _gram_of_kept(
    products: np.ndarray, sizes: np.ndarray, target: np.ndarray
) -> Callable[[np.ndarray], float]:
    """[parts] of 1 and 0 -> ||G - A||^2 less ||A||^2 of the parts that are kept.

    From the products of the parts' sums: no matrix is formed again for each of the orders.
    """
    rows = products.reshape(len(products), -1)
    among, with_target = rows @ rows.T, rows @ target.ravel()

    def of(kept: np.ndarray) -> float:
        total = kept @ sizes
        return kept @ among @ kept / total**2 - 2 * kept @ with_target / total

    return of


def _wasserstein_of_kept(
    sums: np.ndarray,
    products: np.ndarray,
    sizes: np.ndarray,
    target_mean: np.ndarray,
    target_gram: np.ndarray,
) -> Callable[[np.ndarray], float]:
    """[parts] of 1 and 0 -> the Wasserstein distance of the parts that are kept, less tr(D)."""
    values, vectors = np.linalg.eigh(target_gram - np.outer(target_mean, target_mean))
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T

    def of(kept: np.ndarray) -> float:
        total = kept @ sizes
        mean = kept @ sums / total
        covariance = np.tensordot(kept, products, 1) / total - np.outer(mean, mean)
        values = np.linalg.eigvalsh(root @ covariance @ root)
        fidelity = np.sqrt(np.maximum(values, 0)).sum()
        return ((mean - target_mean) ** 2).sum() + np.trace(covariance) - 2 * fidelity

    return of


def _blurring(
    picture: np.ndarray,
    positions: np.ndarray,
    numbers: np.ndarray,
    loss: Callable[[np.ndarray], float],
    rng: np.random.Generator,
    seed: int,
    trials: int = 60,
) -> Check:
    """Whether the pixels with most matter more to the loss than others: blurred, they change it.

    Args:
        loss: of images [1, H, W, 3].
    """
    count = numbers.max() + 1
    tenth = max(1, round(_TENTH * count))
    sigma = max(picture.shape[:2]) / 64
    shares = np.bincount(numbers.ravel(), positions.ravel())
    whole = loss(picture[None].astype("float32"))

    def change(chosen: np.ndarray) -> float:
        blurred = maps.blurred(picture, np.isin(numbers, chosen), sigma)
        return loss(blurred[None].astype("float32")) - whole

    top = change(np.argsort(-shares)[:tenth])
    random = [change(rng.choice(count, tenth, replace=False)) for _ in range(trials)]
    return Check(
        "blurring the tenth of the picture with most share lowers the loss more than blurring "
        "other tenths",
        float(np.mean([value <= top for value in random])),
        0.05,
        "below",
        null=0.5,
        n=trials,
        seed=seed,
    )


def _described(layer: str) -> str:
    """What a VGG layer of that depth sees."""
    words = ("colours and edges", "fine texture", "strokes", "coarse strokes", "large shapes")
    depth = next((int(c) for c in layer if c.isdigit()), 0)
    return words[depth - 1] if layer.startswith("block") and 1 <= depth <= 5 else "its features"


def _place(positions: np.ndarray) -> str:
    """Where the most is, in words: "above all in the upper left"."""
    height, width = positions.shape
    parts = {}
    for row, down in enumerate(("upper", "middle", "lower")):
        for column, across in enumerate(("left", "centre", "right")):
            part = positions[
                row * height // 3 : (row + 1) * height // 3 or None,
                column * width // 3 : (column + 1) * width // 3 or None,
            ]
            parts[f"{down} {across}"] = float(np.maximum(part, 0).sum())
    return f"above all in the {max(parts, key=lambda name: parts[name])}"
