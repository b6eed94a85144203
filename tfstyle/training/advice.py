"""What looks wrong in a training, told from its losses.

Each function takes the losses of consecutive steps, {name: value} a step as a step of
`training.steps` return them, and gives {topic: a sentence with the number}; nothing where nothing
is wrong. The topic stays the same while the number changes.
"""

import math
import statistics
from collections.abc import Mapping, Sequence

Losses = Sequence[Mapping[str, float]]


def of(
    recent: Losses, *, weights: Mapping[str, float] | None = None, first: Losses = ()
) -> dict[str, str]:
    """All advice on the `recent` steps; see the functions below."""
    return {
        **on_discriminator(recent),
        **on_balance(recent, weights or {}),
        **on_trend(recent, first),
    }


def on_discriminator(recent: Losses) -> dict[str, str]:
    """Whether the discriminator is too strong or too weak to teach the generator anything.

    Too strong: right on over 95 % of the real and of the generated patches, as "real_accuracy" and
    "fake_accuracy" have it. Too weak: on less than 55 % of all; half is chance.
    """
    if not recent or not {"real_accuracy", "fake_accuracy"} <= recent[-1].keys():
        return {}
    real, fake = (_mean(recent, name) for name in ("real_accuracy", "fake_accuracy"))
    found = (
        f"the discriminator was right on {real:.1%} of the real and {fake:.1%} of the generated in "
        f"the last {len(recent)} steps"
    )
    if min(real, fake) > 0.95:
        return {
            "strong discriminator": f"{found}: too strong, its gradient teaches the generator "
            "little. Lower its learning rate, or make it narrower."
        }
    if (real + fake) / 2 < 0.55:
        return {
            "weak discriminator": f"{found}: too weak, about chance. Raise its learning rate, or "
            "give it more steps or width."
        }
    return {}


def on_balance(recent: Losses, weights: Mapping[str, float]) -> dict[str, str]:
    """Losses that are under 1 % or over 99 % of the total.

    A loss's part is its weight times the mean of its size, over the sum of these of all losses. A
    weight of 0 was meant so, and one loss alone has nothing to be balanced with.

    Args:
        weights: {name of a loss: its weight in the total}; one that a step tells with its losses,
            as "style_weight", has changed since.
    """
    weights = {
        name: recent[-1].get(f"{name}_weight", weight) if recent else weight
        for name, weight in weights.items()
    }
    sizes = {
        name: abs(weight) * statistics.fmean(abs(values[name]) for values in recent)
        for name, weight in weights.items()
        if weight and recent and name in recent[-1]
    }
    total = sum(sizes.values())
    if len(sizes) < 2 or not total:
        return {}
    found = {}
    for name, size in sizes.items():
        part = size / total
        if part < 0.01:
            mend = "it hardly counts. Raise its weight, or set it to 0 and save the time."
        elif part > 0.99:
            mend = "the others hardly count. Lower its weight."
        else:
            continue
        found[f"part of {name}"] = (
            f"{name} at weight {weights[name]:g} was {part:.2%} of the total in the last "
            f"{len(recent)} steps: {mend}"
        )
    return found


def on_trend(recent: Losses, first: Losses) -> dict[str, str]:
    """Whether the total has risen since the `first` steps: by half, and by far more than chance.

    Chance is five standard errors of the two means. That a total does not fall says nothing, as it
    is what every training ends with; nor does that of a generator whose discriminator learns too.
    """
    if min(len(first), len(recent)) < 2 or not {"total"} <= first[0].keys() & recent[-1].keys():
        return {}
    if "discriminator" in recent[-1]:
        return {}
    before, now = _mean(first, "total"), _mean(recent, "total")
    error = math.sqrt(
        sum(statistics.variance(v["total"] for v in some) / len(some) for some in (first, recent))
    )
    if before <= 0 or now < 1.5 * before or now - before < 5 * error:
        return {}
    return {
        "rising total": f"the total rose from {before:.3g} (mean of the first {len(first)} steps) "
        f"to {now:.3g} (of the last {len(recent)}): the learning rate is too high. Lower it."
    }


def _mean(steps, name):
    return statistics.fmean(values[name] for values in steps)
