"""E5, which units of a generator paint what: a unit is taken out, and the picture measured.

A unit is a channel of one of the generator's activations. Ablated, it gives its mean over photos
and positions everywhere (Bau et al. 2019, https://arxiv.org/abs/1811.10597, section 3.2, with the
mean in place of zero, which a network has never seen). All units are screened at once by a first
order estimate, gradient times (activation less mean), and those with most of it are ablated.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from scipy import stats

from tfstyle import losses
from tfstyle.errors import ArgumentError
from tfstyle.explain import edits
from tfstyle.explain.results import Check, Explanation
from tfstyle.images.color import lab

_RHO, _ALONE = 0.5, 0.5
# A change of the mean colour that is just seen, in Lab.
_SEEN = 2.3
_SETS, _BOOTSTRAPS = 20, 2000
_TOWARDS = {
    "lightness": ("light", "dark"),
    "red-green": ("red", "green"),
    "yellow-blue": ("yellow", "blue"),
}


def gabor_bank(
    wavelengths: Sequence[int] = (4, 8), orientations: int = 4
) -> tuple[list[str], list[np.ndarray]]:
    """Names and kernels [K, K, 1, 2] (even, odd) of Gabor filters without mean.

    Args:
        wavelengths: in pixels; the envelope's deviation is half of one.
        orientations: of stripes, evenly over half a turn.
    """
    names, kernels = [], []
    for wavelength in wavelengths:
        reach = int(1.5 * wavelength)
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        envelope = np.exp(-(x**2 + y**2) / (2 * (wavelength / 2) ** 2))
        for turn in range(orientations):
            angle = math.pi * turn / orientations
            phase = 2 * math.pi / wavelength * (x * math.cos(angle) + y * math.sin(angle))
            pair = [envelope * wave(phase) for wave in (np.cos, np.sin)]
            pair = [p - envelope * p.sum() / envelope.sum() for p in pair]
            kernels.append(np.stack([p / np.abs(p).sum() for p in pair], axis=-1)[:, :, None])
            names.append(f"stripes/{wavelength}px/{180 * turn // orientations}")
    return names, kernels


def measures(
    images: tf.Tensor,
    *,
    extractor: keras.Model | None = None,
    grams: Mapping[str, tf.Tensor] | None = None,
) -> dict:
    """What a picture is like, in numbers with gradients.

    Args:
        images: [B, H, W, 3] in [0, 1].
        extractor, grams: {layer: [1, C, C]} of a style, for "style/LAYER".

    Returns:
        {name: [B]}: "lightness", "red-green", "yellow-blue" (mean L*, a*, b*), "stripes/WAVELENGTH/
        ANGLE" (root mean square of a Gabor filter's answer, in lightness), "fine detail" (of what
        differs from the mean of the neighbours), and "style/LAYER" (relative Gram loss).
    """
    colours = lab(images)
    names = ("lightness", "red-green", "yellow-blue")
    found = dict(zip(names, tf.unstack(tf.reduce_mean(colours, axis=[1, 2]), axis=-1), strict=True))
    light = colours[..., :1]
    light -= tf.reduce_mean(light, axis=[1, 2], keepdims=True)
    for name, kernel in zip(*gabor_bank(), strict=True):
        answer = tf.nn.conv2d(light, tf.constant(kernel, light.dtype), 1, "SAME")
        found[name] = tf.sqrt(tf.reduce_mean(answer**2, axis=[1, 2, 3]) + 1e-8)
    detail = light - tf.nn.avg_pool2d(light, 3, 1, "SAME")
    found["fine detail"] = tf.sqrt(tf.reduce_mean(detail**2, axis=[1, 2, 3]) + 1e-8)
    if grams:
        assert extractor is not None  # whose grams they are
        features = extractor(images)
        for layer, target in grams.items():
            gap = losses.gram(features[layer]) - target
            energy = tf.reduce_sum(target**2)
            found[f"style/{layer}"] = tf.reduce_sum(gap**2, axis=[1, 2]) / energy
    return found


class _Gated:
    """A generator with a gate behind each of its activations, and what there is to measure."""

    def __init__(
        self,
        generator: keras.Model,
        inputs: Sequence[np.ndarray],
        extractor: keras.Model | None,
        grams: Mapping[str, tf.Tensor] | None,
    ) -> None:
        self.generator = generator
        layers = [x for x in generator.layers if isinstance(x, keras.layers.ReLU)]
        # One after another: a gate's shape is its layer's channels.
        self.names = [layer.name for layer in layers]
        self.gates = {name: edits.Gate() for name in self.names}
        self.model = edits.edited(generator, self.gates)
        self.reads = keras.Model(
            generator.input, [generator.outputs[0], *(layer.output for layer in layers)]
        )
        self.units = [(i, c) for i, x in enumerate(layers) for c in range(x.output.shape[-1])]
        self._inputs = inputs
        self._extractor, self._grams = extractor, grams
        self._call = tf.function(self._measure, autograph=False, reduce_retracing=True)

    def of(self, photo: np.ndarray) -> Any:
        return [photo[None], *self._inputs] if self._inputs else photo[None]

    def _measure(self, inputs: Any) -> tf.Tensor:
        output = tf.cast(self.model(inputs, training=False), "float32")
        found = measures(output, extractor=self._extractor, grams=self._grams)
        return tf.concat(list(found.values()), axis=0)

    def measured(self, photo: np.ndarray, ablated: Sequence[tuple[int, int]] = ()) -> np.ndarray:
        """[measures] of a photo's picture without the units `ablated`."""
        for i, name in enumerate(self.names):
            open_ = np.ones(self.gates[name].gate.shape, "float32")
            open_[[c for layer, c in ablated if layer == i]] = 0
            self.gates[name].gate.assign(open_)
        return self._call(self.of(photo)).numpy()

    def screened(self, photo: np.ndarray, means: Sequence[np.ndarray]) -> np.ndarray:
        """[units, measures]: first order estimate of what an ablation takes away."""
        inputs = keras.tree.map_structure(tf.constant, self.of(photo))
        with tf.GradientTape(persistent=True) as tape:
            # So that all that follows is recorded, and can be asked for its gradient.
            tape.watch(inputs)
            output, *watched = self.reads(inputs, training=False)
            found = measures(
                tf.cast(output, "float32"), extractor=self._extractor, grams=self._grams
            )
            scalars = [value[0] for value in found.values()]
        rows = []
        for scalar in scalars:
            gradients = tape.gradient(scalar, watched, unconnected_gradients="zero")
            rows.append(
                np.concatenate(
                    [
                        np.einsum(
                            "hwc,hwc->c",
                            np.asarray(g[0], "float64"),
                            np.asarray(r[0], "float64") - mean,
                        )
                        for g, r, mean in zip(gradients, watched, means, strict=True)
                    ]
                )
            )
        return np.stack(rows, axis=-1)


def explain(
    generator: keras.Model,
    photos: Sequence[np.ndarray],
    held_out: Sequence[np.ndarray],
    *,
    inputs: Sequence[np.ndarray] = (),
    extractor: keras.Model | None = None,
    style: np.ndarray | None = None,
    layers: Sequence[str] = losses.STYLE_LAYERS,
    ablate: int = 64,
    together: int = 4,
    seed: int = 0,
    tell: Callable[[], object] = lambda: None,
) -> Explanation:
    """Which units paint what.

    Args:
        generator: [1, H, W, 3] in [0, 1] -> same, of ReLU activations; or of several inputs.
        photos: [H, W, 3] in [0, 1], by which units are chosen.
        held_out: others, of one size, on which they are tested.
        inputs: what the generator takes beside the photo, each [1, ...].
        extractor, style, layers: for the effect on the style loss of each layer; left out where
            `style` is None.
        ablate: units that are ablated: three in four those that the screening puts first, and the
            rest drawn from all others, so that the screening can be held to what it left out.
        together: of the first units, ablated at once for the test on `held_out`.
        seed: of all draws.
        tell: called after each ablation of all photos.

    Returns:
        Figures "effect/LAYER:UNIT" of the ten with most effect (in deviations of each measure over
        photos and units, summed in squares), "alone" (part of the effect on the mean a* and b* that
        the first unit has, of all units ablated), "alone/colour" (how much it changes them). Arrays
        "effects" [units, measures] of the first and, of all photos and units ablated,
        "all/effects" and "all/screened" [photos, units, measures].

    Raises:
        ValueError: for a generator without ReLU layers, or no photos.
    """
    grams = None
    if style is not None:
        assert extractor is not None  # the two come together
        of_style = extractor(style[None])
        grams = {layer: losses.gram(of_style[layer]) for layer in layers}
    if not photos or not held_out:
        raise ArgumentError("no photos: give at least one to choose by and one to test on")
    if not any(isinstance(layer, keras.layers.ReLU) for layer in generator.layers):
        raise ArgumentError(f"{generator.name}: no ReLU layers, whose channels would be its units.")
    gated = _Gated(generator, list(inputs), extractor, grams)
    means, sizes = _means(gated, photos)
    for name, mean in zip(gated.names, means, strict=True):
        gated.gates[name].replacement.assign(mean)
    found = measures(
        tf.cast(generator(gated.of(photos[0]), training=False), "float32"),
        extractor=extractor,
        grams=grams,
    )
    names = list(found)
    # [photos, units, measures]: a unit may do one thing to one photo and the reverse to another.
    screened = np.stack([gated.screened(photo, means) for photo in photos])
    scale = np.maximum(np.sqrt((screened**2).mean(axis=(0, 1))), 1e-9)
    rng = np.random.default_rng(seed)
    order = np.argsort(-((screened / scale) ** 2).sum(axis=(0, 2)), kind="stable")
    first = min(len(order), max(1, ablate * 3 // 4))
    rest = rng.permutation(order[first:])[: ablate - first]
    chosen = np.concatenate([order[:first], rest]).astype(int)
    whole = [gated.measured(photo) for photo in photos]
    effects = np.zeros((len(photos), len(chosen), len(names)))
    for i, unit in enumerate(chosen):
        for j, photo in enumerate(photos):
            effects[j, i] = whole[j] - gated.measured(photo, [gated.units[unit]])
        tell()
    screened = screened[:, chosen]
    deviation = np.maximum(np.sqrt((effects**2).mean(axis=(0, 1))), 1e-9)
    size = np.sqrt(((effects / deviation) ** 2).mean(axis=0).sum(axis=1))
    ranked = np.argsort(-size, kind="stable")
    labels = [f"{gated.names[i]}:{c}" for i, c in (gated.units[unit] for unit in chosen)]
    rho = np.array(
        [
            stats.spearmanr(screened[..., m].ravel(), effects[..., m].ravel()).statistic
            if np.ptp(screened[..., m]) and np.ptp(effects[..., m])
            else math.nan
            for m in range(len(names))
        ]
    )
    best = [gated.units[chosen[i]] for i in ranked[:together]]
    gain = _against_random(gated, held_out, best, sizes, deviation, rng)
    colours = np.sqrt((effects[..., 1:3] ** 2).sum(axis=-1).mean(axis=0))
    reddest = int(np.argmax(colours))
    alone = float(colours[reddest] / max(colours.sum(), 1e-9))
    # Of several photos, the one that it does most to.
    at = np.argmax(((effects / deviation) ** 2).sum(axis=-1), axis=0)
    most = effects[at, np.arange(len(chosen))]
    paints = _paints(most[ranked[0]] / deviation, names)
    is_alone = alone > _ALONE and colours[reddest] > _SEEN
    summary = (
        f"Of the network's {len(gated.units)} units (channels) {len(chosen)} were taken out one at "
        f"a time. {labels[ranked[0]]} does most, it brings {paints}."
    )
    if is_alone:
        summary += (
            f" {labels[reddest]} alone has {alone:.0%} of the effect on the hues of the picture,"
            f" {colours[reddest]:.1f} of a* and b* (it brings {_hue(most[reddest])}): they depend "
            "on one unit."
        )
    return Explanation(
        name="units",
        question="Which units paint what?",
        summary=summary,
        figures={
            "alone": alone,
            "alone/colour": float(colours[reddest]),
            **{f"effect/{labels[i]}": float(size[i]) for i in ranked[:10]},
        },
        arrays={
            "effects": (most / deviation)[ranked[:24]],
            "size": size[ranked[:24]],
            "all/effects": effects,
            "all/screened": screened,
            "all/units": np.array(labels),
            "all/means": np.array([means[i][c] for i, c in (gated.units[u] for u in chosen)]),
            "all/first": np.array(reddest),
            "all/measures": np.array(names),
        },
        units={
            "effects": "with the unit less without it, in deviations; rows units, columns measures",
            "size": "of all effects together, in deviations",
            "alone": "part of all effects on the mean a* and b*",
            "alone/colour": "change of the mean a* and b*",
        },
        labels={
            "size": [labels[i] for i in ranked[:24]],
            "effects": [labels[i] for i in ranked[:24]],
            "effects/columns": names,
        },
        checks=[
            Check(
                "the units found change photos kept out more than random ones as active do",
                gain,
                0.0,
                "above",
                null=0.0,
                n=len(held_out) * _SETS,
                seed=seed,
            ),
            Check(
                "the screening agrees with what ablations do (rank correlation, median of "
                "measures)",
                float(np.nanmedian(rho)) if np.isfinite(rho).any() else math.nan,
                _RHO,
                "above",
                null=0.0,
                n=len(chosen),
                seed=seed,
                why="" if np.isfinite(rho).any() else "no ablation changed anything",
            ),
        ],
        limits="Units act together: what one does depends on those that are left.",
    )


def _means(
    gated: _Gated, photos: Sequence[np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """([C] of each layer: mean activation, [C]: deviation) over photos and positions."""
    total: list[np.ndarray] = []
    square: list[np.ndarray] = []
    for photo in photos:
        _, *read = gated.reads(gated.of(photo), training=False)
        some = [np.asarray(x, "float64").mean(axis=(0, 1, 2)) for x in read]
        squares = [(np.asarray(x, "float64") ** 2).mean(axis=(0, 1, 2)) for x in read]
        total = some if not total else [a + b for a, b in zip(total, some, strict=True)]
        square = squares if not square else [a + b for a, b in zip(square, squares, strict=True)]
    means = [x / len(photos) for x in total]
    spreads = [
        np.sqrt(np.maximum(s / len(photos) - m**2, 0)) for s, m in zip(square, means, strict=True)
    ]
    return means, spreads


def _against_random(
    gated: _Gated,
    held_out: Sequence[np.ndarray],
    best: Sequence[tuple[int, int]],
    spreads: Sequence[np.ndarray],
    deviation: np.ndarray,
    rng: np.random.Generator,
) -> float:
    """Lower end of the paired 95 % interval of the effect of `best` less that of random sets.

    Sets are matched: in place of each unit one of the ten of its layer (itself left out) whose
    activations deviate most nearly as much.
    """

    def effect(photo: np.ndarray, full: np.ndarray, units: Sequence[tuple[int, int]]) -> float:
        change = (full - gated.measured(photo, units)) / deviation
        return float(np.sqrt((change**2).sum()))

    def like(unit: tuple[int, int]) -> tuple[int, int] | None:
        layer, channel = unit
        distance = np.abs(spreads[layer] - spreads[layer][channel])
        taken = {c for i, c in best if i == layer}
        others = [c for c in np.argsort(distance, kind="stable") if c not in taken][:10]
        return (layer, int(rng.choice(others))) if others else None

    differences = np.zeros((len(held_out), _SETS))
    for i, photo in enumerate(held_out):
        full = gated.measured(photo)
        own = effect(photo, full, best)
        for j in range(_SETS):
            matched = [unit for unit in map(like, best) if unit]
            differences[i, j] = own - effect(photo, full, matched)
    draws = [
        differences[rng.integers(len(held_out), size=len(held_out))][
            :, rng.integers(_SETS, size=_SETS)
        ].mean()
        for _ in range(_BOOTSTRAPS)
    ]
    return float(np.quantile(draws, 0.025))


def in_words(name: str, change: float) -> str:
    """What a change of one of `measures` is: "more red", "weaker stripes of 8px at 45 degrees"."""
    kind, *of = name.split("/")
    if kind in _TOWARDS:
        return f"more {_TOWARDS[kind][int(change < 0)]}"
    if kind == "stripes":
        width, angle = of
        return f"{'weaker' if change < 0 else 'stronger'} stripes of {width} at {angle} degrees"
    less = "less" if change < 0 else "more"
    return f"{less} {kind}" if not of else f"{less} distance to the style in {of[0]}"


def _paints(relative: np.ndarray, names: Sequence[str]) -> str:
    """The two measures that a unit changes most, in words."""
    most = np.argsort(-np.abs(relative))[:2]
    return " and ".join(
        f"{in_words(names[i], relative[i])} ({abs(relative[i]):.1f} times what units do on average)"
        for i in most
    )


def _hue(change: np.ndarray) -> str:
    _, red, yellow = change[:3]
    return in_words(*(("red-green", red) if abs(red) > abs(yellow) else ("yellow-blue", yellow)))
