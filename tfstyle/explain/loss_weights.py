"""E3, what the weights of the losses do: who is heard, who pulls against whom, and by how much.

One step of gradient descent on loss k alone, weighted lambda_k, changes loss j to first order by
-eta lambda_k M_jk, with the interactions M_jk = <grad L_j, grad L_k>: negative ones are conflicts.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf
from scipy import stats

from tfstyle.errors import ArgumentError
from tfstyle.explain.health import gradients_of
from tfstyle.explain.results import Check, Explanation

_SIGNS, _R = 0.9, 0.9
# The part of loss k that a step on it is to take off: small enough for a first order.
_STEP = 1e-3


def explain(
    terms: Callable[..., Mapping[str, tf.Tensor]],
    model: keras.Model,
    *,
    weights: Mapping[str, float],
    batches: Sequence[tuple],
    held_out: Sequence[tuple],
    step: float = _STEP,
) -> Explanation:
    """How the weighted losses share and dispute the training of a model.

    Args:
        terms: elements of a batch -> {name: unweighted loss}, as `terms` of a step.
        model: whose trainable weights the losses move. They are moved for the test, and put back.
        weights: {name: its weight}; losses of weight 0 are left out.
        batches: by which gradients are taken, and averaged.
        held_out: others, on which the predictions are tested.
        step: part of loss k that a test step on loss k is to take off, to first order.

    Returns:
        Figures "value/NAME" and "gradient/NAME", its share of the weighted total and of the norms
        of the weighted gradients; "conflict/NAME,NAME" for each pair whose gradients have a
        negative cosine. Arrays "interactions" [K, K], cosines between gradients; "predicted" and
        "measured" [K, K], the change of loss j (row), as part of it, by a step on loss k.

    Raises:
        ValueError: for fewer than two losses, or no batches.
    """
    names = [name for name, weight in weights.items() if weight]
    if len(names) < 2 or not batches or not held_out:
        raise ArgumentError(
            f"losses {names}, {len(batches)} batches, {len(held_out)} held out: give at least two "
            "losses with a weight, and a batch of each"
        )
    values, gradients = _average(terms, model, names, batches)
    before, elsewhere = _average(terms, model, names, held_out)
    scale = np.array([weights[name] for name in names])
    parts = np.abs(scale * values)
    norms = np.linalg.norm(gradients, axis=1)
    pulls = scale * norms
    cosines = gradients @ gradients.T / np.maximum(np.outer(norms, norms), 1e-30)
    # eta lambda_k, so that loss k itself falls by the part `step`.
    lengths = step * np.abs(values) / np.maximum(norms**2, 1e-30)
    interactions = gradients @ gradients.T
    sizes = np.maximum(np.abs(before), 1e-30)
    predicted = -interactions * lengths / sizes[:, None]
    measured = np.zeros_like(predicted)
    kept = model.get_weights()
    try:
        for k in range(len(names)):
            _move(model, -lengths[k] * gradients[k])
            after = np.mean([_values(terms, names, batch) for batch in held_out], axis=0)
            measured[:, k] = (after - before) / sizes
            model.set_weights(kept)
    finally:
        model.set_weights(kept)
    # Less than this is rounding of float32 sums and has no sign to be right about.
    told = np.abs(measured) > 1e-6
    agree = float(np.mean(np.sign(predicted[told]) == np.sign(measured[told]))) if told.any() else 0
    varied = np.ptp(predicted) > 0 and np.ptp(measured) > 0
    r = float(stats.pearsonr(predicted.ravel(), measured.ravel()).statistic) if varied else math.nan
    conflicts = {
        f"conflict/{names[j]},{names[k]}": float(cosines[j, k])
        for j in range(len(names))
        for k in range(j)
        if cosines[j, k] < 0
    }
    loudest, heard = int(np.argmax(pulls)), pulls / max(pulls.sum(), 1e-30)
    summary = (
        f"{names[loudest]} has {heard[loudest]:.0%} of the pull on the weights and "
        f"{parts[loudest] / parts.sum():.0%} of the value of the loss."
    )
    if conflicts:
        worst = min(conflicts, key=lambda name: conflicts[name])
        summary += (
            f" {worst.partition('/')[2].replace(',', ' and ')} pull against each other most (cosine"
            f" {conflicts[worst]:.2f})."
        )
    return Explanation(
        name="loss_weights",
        question="What do the weights of the losses do?",
        summary=summary,
        figures={
            **{f"value/{n}": float(v) for n, v in zip(names, parts / parts.sum(), strict=True)},
            **{f"gradient/{n}": float(v) for n, v in zip(names, heard, strict=True)},
            **conflicts,
        },
        arrays={
            "interactions": cosines,
            "gradient_shares": heard,
            "test/predicted": predicted,
            "test/measured": measured,
            "test/elsewhere": elsewhere @ gradients.T,
        },
        units={
            "interactions": f"cosines between gradients; in order {', '.join(names)}",
            "gradient_shares": "of the norms of the weighted gradients",
        },
        labels={"gradient_shares": names, "interactions": names},
        checks=[
            Check(
                "one step on each loss moves the others, on batches kept out, as foretold: signs",
                agree,
                _SIGNS,
                "above",
                null=0.5,
                n=int(told.sum()),
            ),
            Check(
                "and sizes (correlation)",
                r,
                _R,
                "above",
                null=0.0,
                n=predicted.size,
                why="" if varied else "nothing changed",
            ),
        ],
        limits="Of one step of plain gradient descent here and now: Adam rescales each weight, and "
        "the picture changes with the training.",
    )


def _average(
    terms: Callable[..., Mapping[str, tf.Tensor]],
    model: keras.Model,
    names: Sequence[str],
    batches: Sequence[tuple],
) -> tuple[np.ndarray, np.ndarray]:
    values, gradients = [], []
    for batch in batches:
        value, gradient = gradients_of(functools.partial(_only, terms, names, batch), model)
        values.append([value[name] for name in names])
        gradients.append([gradient[name] for name in names])
    return np.mean(values, axis=0), np.mean(gradients, axis=0)


def _only(
    terms: Callable[..., Mapping[str, tf.Tensor]], names: Sequence[str], batch: tuple
) -> dict[str, tf.Tensor]:
    values = terms(*batch)
    return {name: values[name] for name in names}


def _values(
    terms: Callable[..., Mapping[str, tf.Tensor]], names: Sequence[str], batch: tuple
) -> list[float]:
    values = terms(*batch)
    return [float(values[name]) for name in names]


def _move(model: keras.Model, change: np.ndarray) -> None:
    start = 0
    for variable in model.trainable_variables:
        size = int(np.prod(variable.shape))
        part = change[start : start + size].reshape(variable.shape)
        variable.assign_add(part.astype("float32"))
        start += size
