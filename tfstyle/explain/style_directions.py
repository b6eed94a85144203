"""E7, which style directions can be steered: principal ones of a model's style parameters.

A model of several styles has for each a vector of all scales and offsets of its conditional
normalisations (Dumoulin et al. 2017, https://arxiv.org/abs/1610.07629). The principal components of
these vectors are directions in which its styles differ; along them it is steered here.
"""

import math
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tfstyle.errors import ArgumentError
from tfstyle.explain import units
from tfstyle.explain.results import Check, Explanation
from tfstyle.networks import layers as own_layers

_R2, _RANDOM = 0.8, 20


def parameters(generator: keras.Model) -> np.ndarray:
    """[styles, P]: scales and offsets of all conditional normalisations, one after another."""
    return np.concatenate([np.asarray(v.value, "float64") for v in _variables(generator)], axis=1)


def _variables(generator: keras.Model) -> list[keras.Variable]:
    found = [
        layer for layer in generator.layers if isinstance(layer, own_layers.ConditionalInstanceNorm)
    ]
    if not found:
        raise ArgumentError(
            f"{generator.name}: no conditional normalisation, so no style directions. Give a model "
            "of several styles, as pipelines.fusion trains."
        )
    return [variable for layer in found for variable in layer.trainable_variables]


def explain(
    generator: keras.Model,
    photos: Sequence[np.ndarray],
    *,
    extent: float = 0.5,
    points: int = 5,
    seed: int = 0,
) -> Explanation:
    """What the principal style directions do to pictures, and in what range they do it evenly.

    Args:
        generator: [images [1, H, W, 3], style_weights [1, S]] -> [1, H, W, 3], S at least 2.
        photos: [H, W, 3] in [0, 1].
        extent: of the range, about the mean of the styles, in deviations along each direction.
        points: at which the linear prediction is tested, over the range; the slope is measured at
            a tenth of it.
        seed: of the random directions.

    Returns:
        Figures "share/I" (of the variance among styles), "sensitivity/I" (root mean square change
        of a pixel for one deviation), "r2/I". Arrays "steps/I" [MEASURES], the change of each
        measure (`units.measures`) for one deviation; "strip/I" [H, 5 W, 3].

    Raises:
        ValueError: for a generator without conditional normalisation, or of one style.
    """
    variables = _variables(generator)
    vectors = parameters(generator)
    if len(vectors) < 2:
        raise ArgumentError(f"{generator.name}: one style, so no direction. Give two or more.")
    kept = [np.asarray(v.value) for v in variables]
    centre = vectors.mean(axis=0)
    _, values, rows = np.linalg.svd(vectors - centre, full_matrices=False)
    count = min(3, len(vectors) - 1)
    deviations = values[:count] / math.sqrt(len(vectors) - 1)
    weights = np.zeros((1, len(vectors)), "float32")
    weights[0, 0] = 1

    def picture(at: np.ndarray, photo: np.ndarray) -> np.ndarray:
        start = 0
        for variable, old in zip(variables, kept, strict=True):
            size = old.shape[1]
            variable.assign(np.broadcast_to(at[start : start + size], old.shape).astype("float32"))
            start += size
        return np.asarray(generator([photo[None], weights], training=False), "float32")

    def measured(at: np.ndarray) -> np.ndarray:
        found = [units.measures(tf.constant(picture(at, photo))) for photo in photos]
        return np.array([[float(v[0]) for v in each.values()] for each in found])

    rng = np.random.default_rng(seed)
    figures: dict[str, float] = {}
    arrays, checks, told = {}, [], []
    try:
        middle, plain = measured(centre), [picture(centre, photo) for photo in photos]
        scale = np.maximum(np.abs(middle).mean(axis=0), 1e-6)
        names = list(units.measures(tf.constant(plain[0])))

        def change(direction: np.ndarray) -> float:
            pairs = zip(photos, plain, strict=True)
            return float(
                np.sqrt(np.mean([(picture(centre + direction, p) - q) ** 2 for p, q in pairs]))
            )

        for i in range(count):
            direction = deviations[i] * rows[i]
            little = 0.1 * extent
            ends = measured(centre + little * direction), measured(centre - little * direction)
            slope = (ends[0] - ends[1]) / (2 * little)
            ts = np.linspace(-extent, extent, points)
            real = np.stack([measured(centre + t * direction) - middle for t in ts]) / scale
            said = ts[:, None, None] * slope[None] / scale
            r2 = 1 - ((real - said) ** 2).sum() / max((real**2).sum(), 1e-30)
            own = change(extent * direction)
            others = []
            for _ in range(_RANDOM):
                random = rng.normal(size=centre.shape)
                random *= extent * deviations[i] / np.linalg.norm(random)
                others.append(change(random))
            share = values[i] ** 2 / max((values**2).sum(), 1e-30)
            figures |= {
                f"share/{i}": float(share),
                f"sensitivity/{i}": own / extent,
                f"r2/{i}": float(r2),
            }
            mean_slope = slope.mean(axis=0)
            most = int(np.argmax(np.abs(mean_slope) / scale))
            told.append(
                f"direction {i}, {share:.0%} of what sets the styles apart, brings above all "
                f"{units.in_words(names[most], mean_slope[most])}"
            )
            arrays[f"step_{i}"] = mean_slope / scale
            arrays[f"strip_{i}"] = np.concatenate(
                [picture(centre + t * direction, photos[0])[0] for t in (-1, -0.5, 0, 0.5, 1)],
                axis=1,
            )
            checks += [
                Check(
                    f"direction {i}: a straight line foretells its effect within {extent:g} "
                    "deviations (R2)",
                    float(r2),
                    _R2,
                    "above",
                    null=0.0,
                    n=points * len(photos),
                ),
                Check(
                    f"direction {i} changes the picture more than random ones as long (part that "
                    "change it as much)",
                    float(np.mean([other >= own for other in others])),
                    0.05,
                    "below",
                    null=0.5,
                    n=_RANDOM,
                    seed=seed,
                ),
            ]
    finally:
        for variable, old in zip(variables, kept, strict=True):
            variable.assign(old)
    steps_ = [name for name in arrays if name.startswith("step_")]
    return Explanation(
        name="style_directions",
        question="Which style directions can be steered?",
        summary=f"The {len(vectors)} styles can be mixed along directions of their own: "
        f"{'; '.join(told)}.",
        figures=figures,
        arrays=arrays,
        units={
            **dict.fromkeys(steps_, "change for a deviation, of each measure's size"),
            **{
                name: "from -1 to +1 deviations about the mean of the styles"
                for name in arrays
                if name.startswith("strip_")
            },
        },
        labels=dict.fromkeys(steps_, names),
        checks=checks,
        limits="Between and around the styles it has; far from them a model was taught nothing.",
    )
