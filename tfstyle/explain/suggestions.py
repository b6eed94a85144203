"""What helps: changes that follow from the largest findings, made and measured, not guessed.

Each is a change of the picture or of the model as it is here: a loss or a layer weighed more for a
short optimisation of the picture, beside the same optimisation without it; a unit or a skip left
out. What comes of it stands there whether it helped or not. A change helps only where it does more
than chance: what is not changed is run twice, from starts that differ by less than 1/255.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfstyle import losses
from tfstyle.explain.results import Check, Explanation


@dataclasses.dataclass(frozen=True)
class Trial:
    """A finding and the change that it asks for.

    Args:
        finding: in words, with its number.
        change: in words, as an advice.
        size: of the finding, 0 to 1: what part of the whole it is.
        metric: of the picture, in words; lower is better.
        measure: picture -> metric.
        control: seed of the start -> picture [H, W, 3] without the change.
        changed: likewise, with it.
    """

    finding: str
    change: str
    size: float
    metric: str
    measure: Callable[[np.ndarray], float]
    control: Callable[[int], np.ndarray]
    changed: Callable[[int], np.ndarray]


def explain(
    trials: Sequence[Trial],
    *,
    most: int = 2,
    seed: int = 0,
    tell: Callable[[], object] = lambda: None,
) -> Explanation:
    """Tries the changes that the largest findings ask for.

    Args:
        trials: all there are.
        most: how many are tried, those of the largest findings.
        seed: of the first start; the second run without the change has the next.
        tell: called after each.

    Returns:
        Figures "before/I" (without the change), "after/I" and "noise/I" (how far two runs without
        it are apart), arrays "before_I" and "after_I"; a check for each that it helped: that it is
        lower than both runs without it, by more than these are apart.
    """
    tried = sorted(trials, key=lambda trial: -trial.size)[:most]
    told, checks = [], []
    figures: dict[str, float] = {}
    arrays: dict[str, np.ndarray] = {}
    units: dict[str, str] = {}
    for i, trial in enumerate(tried):
        before, after = trial.control(seed), trial.changed(seed)
        values = [float(trial.measure(picture)) for picture in (before, after)]
        again = float(trial.measure(trial.control(seed + 1)))
        noise = abs(again - values[0])
        gain = values[1] - min(values[0], again)
        helped = gain < -noise
        told.append(
            f"{trial.finding} Tried: {trial.change}. {trial.metric.capitalize()} "
            f"went from {values[0]:.4g} to {values[1]:.4g}, where two runs without it differ by "
            f"{noise:.2g}: " + ("it helps." if helped else "leave it.")
        )
        figures |= {f"before/{i}": values[0], f"after/{i}": values[1], f"noise/{i}": noise}
        arrays |= {f"before_{i}": before, f"after_{i}": after}
        units |= {f"{name}/{i}": trial.metric for name in ("before", "after")}
        units |= {f"noise/{i}": f"{trial.metric}, between two runs without the change"}
        units |= {f"before_{i}": f"without: {trial.metric} {values[0]:.4g}"}
        units |= {f"after_{i}": f"with {trial.change}: {trial.metric} {values[1]:.4g}"}
        checks.append(
            Check(
                f"{trial.change} lowers {trial.metric} by more than chance does",
                gain,
                -noise,
                "below",
                null=0.0,
                n=2,
                seed=seed,
            )
        )
        tell()
    return Explanation(
        name="suggestions",
        question="What helps?",
        summary=" ".join(told) or "Nothing was found that a change could be tried for.",
        figures=figures,
        arrays=arrays,
        units=units,
        checks=checks,
        limits="Tried on this picture, in a short run: a training may answer otherwise.",
    )


def refined(
    picture: np.ndarray,
    *,
    content: np.ndarray,
    style: np.ndarray,
    extractor: keras.Model,
    content_weight: float,
    style_weight: float,
    layer_weights: Mapping[str, float] | None = None,
    style_layers: Sequence[str] = losses.STYLE_LAYERS,
    steps: int = 20,
) -> np.ndarray:
    """`picture` after a short optimisation of its pixels for weighted losses.

    Args:
        picture, content: [H, W, 3] in [0, 1].
        style: [H', W', 3].
        extractor: gives `style_layers` and `losses.CONTENT_LAYER`.
        content_weight, style_weight, layer_weights: as `losses` has them.
        steps: of Adam.
    """
    of_style, of_content = extractor(style[None]), extractor(content[None])
    targets = {layer: losses.gram(of_style[layer]) for layer in style_layers}
    pixels = tf.Variable(picture[None], dtype="float32")
    optimizer = keras.optimizers.Adam(0.01)
    optimizer.build([pixels])

    @tf.function(autograph=False)
    def step() -> None:
        with tf.GradientTape() as tape:
            features = extractor(pixels)
            total = style_weight * losses.style_loss(
                grams={layer: losses.gram(features[layer]) for layer in targets},
                targets=targets,
                layer_weights=layer_weights,
            )
            total += content_weight * losses.content_loss(
                features=features[losses.CONTENT_LAYER], target=of_content[losses.CONTENT_LAYER]
            )
        optimizer.apply([tape.gradient(total, pixels)], [pixels])
        pixels.assign(tf.clip_by_value(pixels, 0.0, 1.0))

    for _ in range(steps):
        step()
    return pixels.numpy()[0]


def _jittered(image: np.ndarray, seed: int) -> np.ndarray:
    """The image with noise of less than half a step of 8 bits: it is stored as the same."""
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, image.shape) / 255
    return np.clip(image + noise, 0, 1).astype("float32")


def of_findings(
    picture: np.ndarray,
    *,
    content: np.ndarray,
    style: np.ndarray,
    extractor: keras.Model,
    loss_maps: Explanation,
    style_gap: Explanation,
    units: Explanation | None = None,
    skips: Explanation | None = None,
    generator: keras.Model | None = None,
    inputs: Sequence[np.ndarray] = (),
    weights: Mapping[str, float],
    steps: int = 20,
) -> list[Trial]:
    """The trials that a picture's explanations ask for.

    Args:
        picture, content, style, extractor, steps: as of `refined`.
        loss_maps, style_gap, units, skips: what was found of it; `units` and `skips` of
            `generator`, which takes `inputs` beside the photo.
        weights: {"content", "style": weight} of the losses.
    """
    from tfstyle.explain import edits

    of_style, of_content = extractor(style[None]), extractor(content[None])

    def style_distance(image: np.ndarray, layer: str | None = None) -> float:
        features = extractor(image[None].astype("float32"))
        chosen = losses.STYLE_LAYERS if layer is None else (layer,)
        return float(
            losses.style_loss(
                grams={each: losses.gram(features[each]) for each in chosen},
                targets={each: losses.gram(of_style[each]) for each in chosen},
            )
        )

    def content_distance(image: np.ndarray) -> float:
        layer = losses.CONTENT_LAYER
        return float(
            losses.content_loss(
                features=extractor(image[None].astype("float32"))[layer], target=of_content[layer]
            )
        )

    options = {
        "content": content,
        "style": style,
        "extractor": extractor,
        "content_weight": weights["content"],
        "style_weight": weights["style"],
        "steps": steps,
    }

    @functools.cache  # of all trials that change the optimisation
    def control(seed: int) -> np.ndarray:
        return refined(_jittered(picture, seed), **options)

    trials = []
    parts = {name: loss_maps.figures.get(f"part/{name}", 0.0) for name in ("content", "style")}
    largest = max(parts, key=lambda name: parts[name])
    key = f"{largest}_weight"
    trials.append(
        Trial(
            finding=f"{parts[largest]:.0%} of what could still be better is {largest}.",
            change=f"twice the {largest} weight",
            size=parts[largest],
            metric=f"{largest} distance",
            measure=style_distance if largest == "style" else content_distance,
            control=control,
            changed=lambda seed: refined(
                _jittered(picture, seed), **options | {key: 2 * options[key]}
            ),
        )
    )
    shares = {layer: style_gap.figures.get(f"part/{layer}", 0.0) for layer in losses.STYLE_LAYERS}
    layer = max(shares, key=lambda name: shares[name])
    layer_weights = {each: 1.0 + 2.0 * (each == layer) for each in losses.STYLE_LAYERS}
    trials.append(
        Trial(
            finding=f"{shares[layer]:.0%} of the style gap is in {layer}.",
            change=f"three times the weight of {layer}",
            size=shares[layer],
            metric=f"style distance in {layer}",
            measure=lambda image: style_distance(image, layer),
            control=control,
            changed=lambda seed: refined(
                _jittered(picture, seed), layer_weights=layer_weights, **options
            ),
        )
    )

    def without(names: Mapping[str, Any], seed: int) -> np.ndarray:
        """The generator's picture with edits."""
        model = edits.edited(generator, **names)
        photo = _jittered(content, seed)[None]
        given = [photo, *inputs] if inputs else photo
        return np.clip(np.asarray(model(given, training=False), "float32")[0], 0, 1)

    if units is not None and generator is not None:
        name, _, channel = str(units.arrays["all/units"][units.arrays["all/first"]]).rpartition(":")
        mean = float(units.arrays["all/means"][units.arrays["all/first"]])

        def gate(
            x: keras.KerasTensor, channel: int = int(channel), mean: float = mean
        ) -> keras.KerasTensor:
            here = keras.ops.one_hot(channel, x.shape[-1], dtype=x.dtype)
            return x * (1 - here) + mean * here

        trials.append(
            Trial(
                finding=f"One unit, {name}:{channel}, has {units.figures['alone']:.0%} of the "
                "effect of all on the hues.",
                change=f"the unit {name}:{channel} left out",
                size=units.figures["alone"],
                metric="style distance",
                measure=style_distance,
                control=lambda seed: without({}, seed),
                changed=lambda seed: without({"outputs": {name: gate}}, seed),
            )
        )
    if skips is not None and generator is not None:
        found = {k.partition("/")[2]: v for k, v in skips.figures.items() if k.startswith("share/")}
        total = sum(abs(v) for v in found.values()) or 1.0
        place = max(found, key=lambda k: abs(found[k]))
        name, _, which = place.rstrip("]").partition("[")
        trials.append(
            Trial(
                finding=f"The skip into {name} has {abs(found[place]) / total:.0%} of what skips "
                "do for the content.",
                change=f"the skip into {name} at half its strength",
                size=abs(found[place]) / total / 2,
                metric="style distance",
                measure=style_distance,
                control=lambda seed: without({}, seed),
                changed=lambda seed: without(
                    {"inputs": {(name, int(which)): lambda x: 0.5 * x}}, seed
                ),
            )
        )
    return trials
