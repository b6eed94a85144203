"""E2, which strokes and channels carry the style gap: the Gram loss as a sum over positions.

The Gram loss of a layer is a squared maximum mean discrepancy with the kernel (x'y)^2 (Li et al.
2017, https://arxiv.org/abs/1701.01036, section 3.1). With D = G - A, the difference of the Gram
matrices of picture and style, its witness is w(f) = f'Df: high where the picture has what the style
has not, low (in the style) where the style has what the picture lacks.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfstyle import losses
from tfstyle.explain import maps
from tfstyle.explain.results import Check, Explanation

_ORDERS = 200
# Parts of the picture that are removed, or blurred, for a test; and how many of these parts.
_GRID, _TENTH = 8, 0.1


@dataclasses.dataclass(frozen=True)
class LayerGap:
    """The style loss of one layer, taken apart.

    Args:
        loss: ||G - A||^2 / ||A||^2, as `losses.style_loss` has it.
        positions: [h, w], each position's share of the loss; they sum to it. Negative where a
            position brings the Gram matrix nearer to the style's.
        channels: [C], likewise, each channel's.
        missing: [h', w'] over the style image: -w(f), relative to ||A||^2; high where it has what
            the picture lacks.
    """

    loss: float
    positions: np.ndarray
    channels: np.ndarray
    missing: np.ndarray


def layer_gap(features: tf.Tensor, style_features: tf.Tensor) -> LayerGap:
    """Takes the style loss of a layer apart.

    Args:
        features, style_features: [1, h, w, C] and [1, h', w', C] of picture and style image.
    """
    own, other = (np.asarray(f, "float64")[0] for f in (features, style_features))
    gram, target = (_gram(f.reshape(-1, f.shape[-1])) for f in (own, other))
    difference, energy = gram - target, max(float((target**2).sum()), 1e-30)
    witness = _witness(own, difference)
    return LayerGap(
        loss=float((difference**2).sum() / energy),
        positions=(witness - (difference * target).sum()) / witness.size / energy,
        channels=(difference**2).sum(axis=1) / energy,
        missing=-_witness(other, difference) / energy,
    )


def _gram(flat: np.ndarray) -> np.ndarray:
    return flat.T @ flat / len(flat)


def _witness(features: np.ndarray, difference: np.ndarray) -> np.ndarray:
    return np.einsum("hwc,hwc->hw", features @ difference, features)


def explain(
    picture: np.ndarray,
    style: np.ndarray,
    *,
    extractor: keras.Model,
    layers: Sequence[str] = losses.STYLE_LAYERS,
    seed: int = 0,
) -> Explanation:
    """Where in a picture its distance to a style arises, and in which layers.

    Args:
        picture, style: [H, W, 3] in [0, 1].
        extractor: gives `layers`, such as `features.vgg16(losses.STYLE_LAYERS)`.
        layers: whose losses are averaged.
        seed: of the random orders that the ranking is compared with.

    Returns:
        Figures "loss" and "loss/LAYER" (relative Gram loss, `losses.style_loss`), "part/LAYER" (of
        the sum over layers) and "top_tenth" (part of the gap that lies in the tenth of the pixels
        with most). Arrays "positions" [H, W] (they sum to the loss), "missing" [H', W'] of the
        style image, and of each layer "positions/LAYER", "channels/LAYER".
    """
    of_picture, of_style = (extractor(x[None]) for x in (picture, style))
    gaps = {layer: layer_gap(of_picture[layer], of_style[layer]) for layer in layers}
    size, style_size = picture.shape[:2], style.shape[:2]
    positions = np.mean([maps.spread(gap.positions, size) for gap in gaps.values()], axis=0)
    missing = np.mean([maps.spread(gap.missing, style_size) for gap in gaps.values()], axis=0)
    loss = float(np.mean([gap.loss for gap in gaps.values()]))
    logged = float(
        losses.style_loss(
            grams={layer: losses.gram(of_picture[layer]) for layer in layers},
            targets={layer: losses.gram(of_style[layer]) for layer in layers},
        )
    )
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
            _removal(layer, gaps[layer], of_picture[layer], of_style[layer], rng, seed)
            for layer in layers
        ),
        _blurring(picture, of_style, positions, numbers, extractor, layers, rng, seed),
    ]
    ranked = np.sort(np.maximum(positions, 0).ravel())[::-1]
    figures = {
        "loss": loss,
        "top_tenth": float(ranked[: max(1, len(ranked) // 10)].sum() / max(ranked.sum(), 1e-30)),
    }
    for layer, gap in gaps.items():
        figures |= {
            f"loss/{layer}": gap.loss,
            f"part/{layer}": gap.loss / max(loss, 1e-30) / len(gaps),
        }
    largest = max(gaps, key=lambda layer: gaps[layer].loss)
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
            "loss": "||G - A||^2 / ||A||^2, mean over layers",
            "positions": "share of the gap, by pixel: red adds to it, blue takes from it",
            "missing": "what the picture lacks, on the style image (witness, by pixel)",
        },
        checks=checks,
        limits="A position's share says how it pulls the Gram matrix, not how a viewer sees it.",
    )


def _removal(
    layer: str,
    gap: LayerGap,
    features: tf.Tensor,
    style_features: tf.Tensor,
    rng: np.random.Generator,
    seed: int,
) -> Check:
    """Whether the loss falls sooner when parts are removed by their shares than at random."""
    own = np.asarray(features, "float64")[0]
    target = np.asarray(style_features, "float64")[0]
    target = _gram(target.reshape(-1, target.shape[-1]))
    numbers = maps.cells(own.shape[:2], _GRID).ravel()
    flat, count = own.reshape(-1, own.shape[-1]), numbers.max() + 1
    sums = np.stack([flat[numbers == cell].T @ flat[numbers == cell] for cell in range(count)])
    sizes = np.bincount(numbers)
    shares = np.bincount(numbers, gap.positions.ravel())
    tenth = max(1, round(_TENTH * count))
    # <G - A, G - A> of any set of parts from the products of the parts' sums: no matrix is formed
    # again for each of the orders.
    rows = sums.reshape(count, -1)
    among, with_target = rows @ rows.T, rows @ target.ravel()

    def area(order: np.ndarray) -> float:
        values = []
        for removed in range(tenth + 1):
            kept = np.zeros(count)
            kept[order[removed:]] = 1
            total = kept @ sizes
            values.append(kept @ among @ kept / total**2 - 2 * kept @ with_target / total)
        return np.mean(values)

    by_share = area(np.argsort(-shares / sizes))
    random = [area(rng.permutation(count)) for _ in range(_ORDERS)]
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


def _blurring(
    picture: np.ndarray,
    of_style: Mapping[str, tf.Tensor],
    positions: np.ndarray,
    numbers: np.ndarray,
    extractor: keras.Model,
    layers: Sequence[str],
    rng: np.random.Generator,
    seed: int,
    trials: int = 60,
) -> Check:
    """Whether the pixels with most matter more to the loss than others: blurred, they change it."""
    targets = {layer: losses.gram(of_style[layer]) for layer in layers}

    def loss(image: np.ndarray) -> float:
        of = extractor(image[None].astype("float32"))
        grams = {layer: losses.gram(of[layer]) for layer in layers}
        return float(losses.style_loss(grams=grams, targets=targets))

    count = numbers.max() + 1
    tenth = max(1, round(_TENTH * count))
    sigma = max(picture.shape[:2]) / 64
    shares = np.bincount(numbers.ravel(), positions.ravel())
    whole = loss(picture)

    def change(chosen: np.ndarray) -> float:
        return loss(maps.blurred(picture, np.isin(numbers, chosen), sigma)) - whole

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
