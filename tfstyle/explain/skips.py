"""E6, what skip connections do, and whether noise is ignored."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from tfstyle.errors import ArgumentError
from tfstyle.explain import edits
from tfstyle.explain.results import Check, Explanation

_EXACT = 1e-5


def connections(generator: keras.Model) -> list[tuple[str, int]]:
    """(merging layer, which input) of the skips that bring early features to a decoder, in order.

    A merge of two tensors (Add or Concatenate) counts where one of them has come through at least
    eight layers more than the other; the sums within residual blocks differ by less.
    """
    # {id of a layer's output: how many layers it has come through}
    passed, found = {}, []
    for layer in generator.layers:
        if isinstance(layer, keras.layers.InputLayer):
            passed[id(layer.output)] = 0
            continue
        made = [passed[id(tensor)] for tensor in keras.tree.flatten(layer.input)]
        for tensor in keras.tree.flatten(layer.output):
            passed[id(tensor)] = 1 + max(made)
        is_merge = isinstance(layer, keras.layers.Add | keras.layers.Concatenate)
        if is_merge and len(made) == 2 and max(made) - min(made) >= 8:
            found.append((layer.name, made.index(min(made))))
    return found


def shapley(value: Callable[[tuple[bool, ...]], float], count: int) -> np.ndarray:
    """Exact Shapley values of `count` players, [count]; Shapley 1953, "A value for n-person games".

    Args:
        value: which of them take part -> what they reach; asked once for each of 2^count.
    """
    reached = {key: value(key) for key in itertools.product((False, True), repeat=count)}
    values = np.zeros(count)
    for player in range(count):
        for key in reached:
            if key[player]:
                continue
            others = sum(key)
            weight = math.factorial(others) * math.factorial(count - 1 - others)
            joined = (*key[:player], True, *key[player + 1 :])
            values[player] += weight / math.factorial(count) * (reached[joined] - reached[key])
    return values


def explain(
    generator: keras.Model,
    photos: Sequence[np.ndarray],
    *,
    score: Callable[[np.ndarray, np.ndarray], float],
    held_out: Sequence[np.ndarray] = (),
    what: str = "content distance",
    inputs: Sequence[np.ndarray] = (),
) -> Explanation:
    """How much each skip does for a score of the output.

    A skip that takes no part is replaced by its mean, of each channel over positions and `photos`.

    Args:
        generator: [1, H, W, 3] in [0, 1] -> same.
        photos: [H, W, 3] in [0, 1].
        score: (output, photo) -> number.
        held_out: other photos, on which removing one skip at a time must follow the order found.
        what: the score in words.
        inputs: what the generator takes beside the photo, each [1, ...].

    Returns:
        Figures "full" and "empty", the mean score with all skips and with none, and "share/NAME" of
        each skip: how much it adds to the score; shares sum to full - empty.

    Raises:
        ValueError: for a generator without skips.
    """
    places = connections(generator)
    if not places:
        raise ArgumentError(f"{generator.name}: no skip connections to explain.")
    gates = [edits.Gate() for _ in places]
    gated = edits.edited(generator, inputs=dict(zip(places, gates, strict=True)))
    sources = keras.Model(
        generator.input,
        [generator.get_layer(name).input[which] for name, which in places],
    )

    def of(photo: np.ndarray) -> Any:
        return [photo[None], *inputs] if inputs else photo[None]

    means = [np.zeros(gate.gate.shape[0]) for gate in gates]
    for photo in photos:
        found = _list(sources(of(photo)))
        for mean, features in zip(means, found, strict=True):
            mean += np.mean(features, axis=(0, 1, 2), dtype="float64") / len(photos)
    factors = [round(photos[-1].shape[0] / features.shape[1]) for features in found]
    for gate, mean in zip(gates, means, strict=True):
        gate.replacement.assign(mean)

    def mean_score(taking_part: Sequence[bool], some: Sequence[np.ndarray]) -> float:
        for gate, part in zip(gates, taking_part, strict=True):
            gate.gate.assign(np.full(gate.gate.shape, float(part)))
        outputs = ((np.asarray(gated(of(photo)))[0], photo) for photo in some)
        return float(np.mean([score(output, photo) for output, photo in outputs]))

    count = len(places)
    shares = shapley(lambda key: mean_score(key, photos), count)
    full, empty = (mean_score((part,) * count, photos) for part in (True, False))
    removed = [
        mean_score(tuple(i != j for j in range(count)), held_out) if held_out else math.nan
        for i in range(count)
    ]
    all_held_out = mean_score((True,) * count, held_out) if held_out else math.nan
    lost = np.array([all_held_out - value for value in removed])
    names = [f"{name}[{which}]" for name, which in places]
    most = int(np.argmax(np.abs(shares)))
    size = "full size" if factors[most] == 1 else f"1/{factors[most]} of the size"
    return Explanation(
        name="skips",
        question="What do the skip connections do?",
        summary=(
            f"The network has {count} skip connections, which hand early detail on to late "
            f"layers. With them {what} is {full:.3f}, without them {empty:.3f}; the one at {size} "
            f"({names[most]}) does most: {shares[most]:+.3f}."
        ),
        figures={"full": full, "empty": empty}
        | {f"share/{name}": float(share) for name, share in zip(names, shares, strict=True)},
        arrays={"shares": shares, "lost_on_held_out": lost},
        labels={"shares": names, "lost_on_held_out": names},
        units={
            "full": what,
            "empty": what,
            "shares": f"part of full - empty, in {what}",
            "lost_on_held_out": f"{what} with all less without this one, on photos kept out",
        },
        checks=[
            Check(
                "the shares sum to full minus empty",
                abs(shares.sum() - (full - empty)) / max(abs(full - empty), 1e-12),
                _EXACT,
                "below",
                null=1.0,
                n=2**count,
            ),
            Check(
                "removing the skip with most share changes most on photos kept out",
                float(np.argmax(np.abs(lost)) == most) if held_out else math.nan,
                0.5,
                "above",
                null=1 / count,
                n=len(held_out),
                why="" if held_out else "no photos were kept out",
            ),
        ],
        limits="A removed skip is replaced by its mean, which the decoder was not trained for.",
    )


def explain_noise(
    generator: keras.Model, photos: Sequence[np.ndarray], *, draws: int = 8, seed: int = 0
) -> Explanation:
    """Whether the noise that goes into a generator changes what comes out.

    Args:
        generator: [images [1, H, W, 3], noise [1, N]] -> [1, H, W, 3].
        photos: [H, W, 3] in [0, 1].
        draws: standard normal draws for each photo.

    Returns:
        Figures "share", the variance over draws in that over draws, photos and positions, and
        "deviation", the root mean square change of a pixel over draws.
    """
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(draws, generator.inputs[1].shape[-1])).astype("float32")

    def outputs(some: np.ndarray) -> np.ndarray:
        return np.stack(
            [[np.asarray(generator([photo[None], z[None]]))[0] for z in some] for photo in photos]
        ).astype("float64")

    drawn, frozen = outputs(noise), outputs(noise[[0, 0]])
    within = drawn.var(axis=1).mean()
    share = within / max(drawn.var(), 1e-30)
    return Explanation(
        name="noise",
        question="Is the noise ignored?",
        summary=(
            f"Another draw of the noise changes a pixel by {255 * within**0.5:.2f} of 255 on "
            f"average, {share:.2%} of all there is to see: the noise is "
            + ("ignored." if share < 1e-4 else "used.")
        ),
        figures={"share": float(share), "deviation": float(within**0.5)},
        arrays={"deviation_map": drawn[0].var(axis=0).mean(axis=-1) ** 0.5},
        units={"share": "of the output's variance", "deviation": "of [0, 1]"},
        checks=[
            Check(
                "frozen noise changes nothing",
                float(np.abs(frozen[:, 0] - frozen[:, 1]).max()),
                1e-12,
                "below",
                null=float(within**0.5),
                n=len(photos),
                seed=seed,
            ),
            Check(
                "the noise changes the output",
                float(share),
                1e-4,
                "above",
                null=0.0,
                n=draws * len(photos),
                seed=seed,
            ),
        ],
        limits="Of the noise as it was drawn in training, standard normal.",
    )


def _list(value: Any) -> Sequence:
    return value if isinstance(value, list | tuple) else [value]
