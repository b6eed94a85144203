"""Weights of content and style that a training finds by itself."""

import math
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tfstyle import losses

# In a whole training, a loss that is off by a factor of e moves the weight by e to the power of the
# first, if it stays so, and by e to the power of the second at once. A content loss answers by
# about the root of the change, and late: in trainings of 300 to 4000 steps with answers after 30
# and 60, of a noise of 20 %, these end within 5 % of the target; 15 and 0 within 17 %.
_INTEGRAL, _PROPORTIONAL = 20.0, 1.0
# The running mean is over a twentieth of the training, and a step changes a weight by 5 % at most:
# a single batch says little.
_WINDOW, _MOST = 0.05, 0.05
# How far from its first value a weight may go.
_RANGE = 1e3


class Balance(tf.Module):
    """Moves weights of losses in a training's graph, after each step.

    Its state is a checkpoint's as that of an optimizer, so a run that is killed and resumed ends as
    one that was not. On several devices it goes by the mean of their losses.

    Attributes:
        weights: {name of a loss: its weight now}, of the losses that are balanced.
        by_gradients: whether `update` wants gradients.
    """

    by_gradients: bool = False

    def __init__(self, weights: Mapping[str, float], steps: int) -> None:
        """To be built in the strategy's scope.

        Args:
            weights: {name of a loss: its weight to begin with, above 0}.
            steps: of the whole training.
        """
        super().__init__(name="balance")
        self._first, self._steps = dict(weights), steps
        self.weights = {name: _variable(value, name) for name, value in weights.items()}

    def update(
        self,
        values: Mapping[str, tf.Tensor],
        *,
        active: tf.Tensor | float = 1.0,
        gradients: Mapping[str, tf.Tensor] | None = None,
    ) -> None:
        """Takes the losses of a step, and moves the weights for the next.

        Args:
            values: {name of a loss: its value, of this replica}.
            active: 0 where the step does not count, such as one of a warm-up.
            gradients: where it goes by them: {name of a loss: the norm of its gradient, without its
                weight, in the stylized images}.
        """
        raise NotImplementedError

    def told(self, figures: Mapping[str, float]) -> str:
        """What came of it, in a line; figures as `metrics.Validator` gives them."""
        del figures
        ended = ", ".join(f"{name} {float(value):.3g}" for name, value in self.weights.items())
        return f"weights at the end: {ended}."

    def _move(self, name: str, change: Any, active: tf.Tensor | float) -> None:
        """Adds to the logarithm of a weight."""
        change = active * tf.clip_by_value(change, -_MOST, _MOST)
        weight = self.weights[name] * tf.exp(change)
        least, most = self._first[name] / _RANGE, self._first[name] * _RANGE
        self.weights[name].assign(tf.clip_by_value(weight, least, most))


class TargetBalance(Balance):
    """Moves the weight of the style until a loss is at its target.

    A PI controller: after each step the logarithm of the weight changes in proportion to that of
    target / running mean of the loss, and to the change of that.
    """

    def __init__(self, aim: tuple[str, float], *, weight: float, steps: int) -> None:
        """To be built in the strategy's scope.

        Args:
            aim: ("content" or "style", the loss it shall end at).
            weight: of the style, to begin with; above 0.
            steps: of the whole training.
        """
        super().__init__({"style": weight}, steps)
        self.aim = aim
        self._mean = _variable(0.0, "mean")

    def update(
        self,
        values: Mapping[str, tf.Tensor],
        *,
        active: tf.Tensor | float = 1.0,
        gradients: Mapping[str, tf.Tensor] | None = None,
    ) -> None:
        """See `Balance.update`."""
        name, target = self.aim
        loss = _of_all(values[name])
        keep = 1 - 1 / max(1.0, _WINDOW * self._steps)
        mean = tf.where(self._mean > 0, keep * self._mean + (1 - keep) * loss, loss)
        before = tf.where(self._mean > 0, self._mean, loss)
        off, off_before = (tf.math.log(target / tf.maximum(x, 1e-9)) for x in (mean, before))
        change = _INTEGRAL / self._steps * off + _PROPORTIONAL * (off - off_before)
        self._mean.assign(mean)
        self._move("style", change if name == "content" else -change, active)

    def told(self, figures: Mapping[str, float]) -> str:
        """How near the photos it is judged by came; nothing where the figures lack the loss."""
        name, target = self.aim
        found = figures.get(f"{name}_distance", math.nan)
        if not math.isfinite(found):
            return ""
        return (
            f"target {name}={target:g}: the photos it is judged by end at {found:.3g}, "
            f"{abs(found / target - 1):.0%} off, with style_weight "
            f"{float(self.weights['style']):.3g}."
        )


class UncertaintyBalance(Balance):
    """Kendall, Gal and Cipolla 2018 (https://arxiv.org/abs/1705.07115), eq. 7: homoscedastic noise.

    The total is the sum of exp(-s) L + s over the losses L, and each s is learnt with the network,
    by gradient descent: d/ds = 1 - exp(-s) L. So a weight exp(-s) goes after 1 / L, and the loss
    that falls most easily gets the most.
    """

    def update(
        self,
        values: Mapping[str, tf.Tensor],
        *,
        active: tf.Tensor | float = 1.0,
        gradients: Mapping[str, tf.Tensor] | None = None,
    ) -> None:
        """See `Balance.update`."""
        for name, weight in self.weights.items():
            slope = 1 - weight * _of_all(values[name])
            self._move(name, _INTEGRAL / self._steps * slope, active)


class GradNormBalance(Balance):
    """Chen et al. 2018, "GradNorm" (https://arxiv.org/abs/1711.02257), section 3, alpha = 1.

    Each weight w of a loss L goes where the norm of w L's gradient is the mean of all such norms
    times the loss's rate of training, L / L of the first step over the mean of these; then all are
    scaled so that their sum stays. The gradient is taken in the stylized images, through which
    alone the losses see the network, in place of its last layer.
    """

    by_gradients: bool = True

    def __init__(self, weights: Mapping[str, float], steps: int) -> None:
        """See `Balance`."""
        super().__init__(weights, steps)
        self._begun = {name: _variable(0.0, f"first_{name}") for name in weights}

    def update(
        self,
        values: Mapping[str, tf.Tensor],
        *,
        active: tf.Tensor | float = 1.0,
        gradients: Mapping[str, tf.Tensor] | None = None,
    ) -> None:
        """See `Balance.update`."""
        assert gradients is not None
        norms, rates = {}, {}
        for name, weight in self.weights.items():
            loss, begun = _of_all(values[name]), self._begun[name]
            begun.assign(tf.where(begun > 0, begun, loss))
            norms[name] = weight * _of_all(gradients[name])
            rates[name] = loss / tf.maximum(begun, 1e-9)
        mean_norm, mean_rate = (tf.add_n([*of.values()]) / len(of) for of in (norms, rates))
        for name in self.weights:
            # The published gradient of |norm - target| in w is its sign times the norm over w.
            target = mean_norm * rates[name] / tf.maximum(mean_rate, 1e-9)
            slope = tf.sign(norms[name] - target) * norms[name] / tf.maximum(mean_norm, 1e-12)
            self._move(name, -_INTEGRAL / self._steps * slope, active)
        now = {name: tf.identity(weight) for name, weight in self.weights.items()}
        scale = sum(self._first.values()) / tf.add_n([*now.values()])
        for name, weight in now.items():
            self.weights[name].assign(weight * scale)


def of(weights: losses.Weights, steps: int) -> Balance | None:
    """What `weights` ask for by `target` or `balance`; None where they are to stay.

    To be called in the strategy's scope.

    Args:
        weights: of the losses.
        steps: of the whole training.
    """
    if weights.aim:
        return TargetBalance(weights.aim, weight=weights.style_weight, steps=steps)
    if weights.balance == "fixed":
        return None
    first = {"content": weights.content_weight, "style": weights.style_weight}
    kinds = {"uncertainty": UncertaintyBalance, "gradnorm": GradNormBalance}
    return kinds[weights.balance](first, steps)


def _variable(value: float, name: str) -> tf.Variable:
    return tf.Variable(
        value,
        trainable=False,
        dtype=tf.float32,
        name=name,
        aggregation=tf.VariableAggregation.MEAN,
    )


def _of_all(value: tf.Tensor) -> tf.Tensor:
    """The mean over replicas, and nothing that gradients go through."""
    value = tf.stop_gradient(tf.cast(value, "float32"))
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        context = tf.distribute.get_replica_context()
        value = context.all_reduce(tf.distribute.ReduceOp.MEAN, value)
    return value
