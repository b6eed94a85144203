"""E1, where each loss comes from: maps over the picture that sum to the losses."""

from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfstyle import losses
from tfstyle.explain import maps, style_gap
from tfstyle.explain.results import Check, Explanation

_EXACT = 1e-4


def content_map(features: tf.Tensor, target: tf.Tensor) -> np.ndarray:
    """[1, h, w, C] of picture and photo -> [h, w]; sums to `losses.content_loss`."""
    own, other = (np.asarray(f, "float64")[0] for f in (features, target))
    return ((own - other) ** 2).sum(axis=-1) / max(float((other**2).sum()), 1e-30)


def total_variation_map(picture: np.ndarray) -> np.ndarray:
    """[H, W, C] -> [H, W]; sums to `losses.total_variation`. A difference is half each pixel's."""
    picture = np.asarray(picture, "float64")
    total = np.zeros(picture.shape[:2])
    for axis in (0, 1):
        if picture.shape[axis] < 2:
            continue
        squares = np.diff(picture, axis=axis) ** 2
        half = squares.sum(axis=-1) / squares.size / 2
        ends = np.zeros((2, 2), int)
        ends[axis] = (0, 1)
        total += np.pad(half, ends) + np.pad(half, ends[:, ::-1])
    return total


def adversarial_map(scores: tf.Tensor, loss: Callable[..., tf.Tensor]) -> np.ndarray:
    """Patch scores [1, h, w, 1] -> [h, w], each patch's part of the generator's `loss`.

    Args:
        loss: one of `losses.ADVERSARIAL`'s generator losses, a mean over patches.
    """
    scores = np.asarray(scores, "float32")[0, ..., 0]
    each = [float(loss(fake=score[None])) for score in scores.ravel()]
    return np.reshape(each, scores.shape) / scores.size


def explain(
    picture: np.ndarray,
    *,
    content: np.ndarray,
    style: np.ndarray,
    extractor: keras.Model,
    weights: Mapping[str, float],
    content_layers: Sequence[str] = (losses.CONTENT_LAYER,),
    style_layers: Mapping[str, float] | Sequence[str] = losses.STYLE_LAYERS,
    style_loss: style_gap.StyleLoss = "gram",
    discriminator: keras.Model | None = None,
    adversarial: str = "bce",
    logged: Mapping[str, float] | None = None,
) -> Explanation:
    """Maps of all losses of a picture.

    Args:
        picture, content: [H, W, 3] in [0, 1], of one size.
        style: [H', W', 3] in [0, 1].
        extractor: gives `content_layers` and `style_layers`.
        style_layers, style_loss: `layers` and `style_loss` of `style_gap.explain`.
        weights: {"content", "style", "tv", "adversarial": weight}; those of 0 are left out.
        discriminator: gives patch scores; needed for the adversarial loss.
        adversarial: a key of `losses.ADVERSARIAL`.
        logged: {name: unweighted loss} as the training or the optimiser had it, for the check;
            computed by `tfstyle.losses` where None.

    Returns:
        Figures "NAME", the unweighted losses, and "part/NAME" of the weighted total; arrays of the
        same names [H, W], unweighted, each summing to its loss.
    """
    of = {name: extractor(x[None]) for name, x in (("picture", picture), ("content", content))}
    of["style"] = extractor(style[None])
    size = picture.shape[:2]
    wanted = {name: weight for name, weight in weights.items() if weight}
    pixel_maps: dict[str, np.ndarray] = {}
    computed = {}
    if "content" in wanted:
        pixel_maps["content"] = np.mean(
            [
                maps.spread(content_map(of["picture"][layer], of["content"][layer]), size)
                for layer in content_layers
            ],
            axis=0,
        )
        computed["content"] = np.mean(
            [
                losses.content_loss(features=of["picture"][layer], target=of["content"][layer])
                for layer in content_layers
            ]
        )
    if "style" in wanted:
        shares = style_gap.layer_weights(style_layers)
        gaps = {
            layer: style_gap.layer_gap(
                of["picture"][layer], of["style"][layer], style_loss=style_loss
            )
            for layer in shares
        }
        pixel_maps["style"] = np.sum(
            [share * maps.spread(gaps[layer].positions, size) for layer, share in shares.items()],
            axis=0,
        )
        computed["style"] = style_gap.judge_of(of["style"], shares, style_loss)(of["picture"])
    if "tv" in wanted:
        pixel_maps["tv"] = total_variation_map(picture)
        computed["tv"] = losses.total_variation(picture[None])
    if "adversarial" in wanted:
        _, loss = losses.ADVERSARIAL[adversarial]
        assert discriminator is not None  # whose loss it is
        scores = discriminator(picture[None])
        pixel_maps["adversarial"] = maps.spread(adversarial_map(scores, loss), size)
        computed["adversarial"] = loss(fake=scores)
    found = {name: float(values.sum()) for name, values in pixel_maps.items()}
    expected = {name: float(value) for name, value in (logged or computed).items()}
    total = sum(wanted[name] * value for name, value in found.items())
    parts = {name: wanted[name] * value / total for name, value in found.items()}
    return Explanation(
        name="loss_maps",
        question="Where does each loss come from?",
        summary="Of what could still be better, "
        + ", ".join(
            f"{part:.0%} is {_WORDS[name]}"
            for name, part in sorted(parts.items(), key=lambda item: -item[1])
            if part >= 0.005
        )
        + ".",
        figures=found | {f"part/{name}": part for name, part in parts.items()},
        arrays=pixel_maps,
        units=dict.fromkeys(pixel_maps, "part of the unweighted loss, by pixel"),
        checks=[
            Check(
                f"the map of {name} sums to the loss",
                abs(found[name] - expected[name]) / max(abs(expected[name]), 1e-12),
                _EXACT,
                "below",
                null=1.0,
                n=pixel_maps[name].size,
            )
            for name in found
        ],
        limits="A map says where a loss is counted; deep layers count a change some way from it.",
    )


_WORDS = {
    "content": "content (what the photo shows and the picture does not)",
    "style": "style (too little of it, or too much)",
    "tv": "unevenness between pixels",
    "adversarial": "what the discriminator still tells from a painting",
}
