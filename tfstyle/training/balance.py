"""The weight of the style at which a training ends where it was asked to."""

import math
from collections.abc import Mapping

import tensorflow as tf

# In a whole training, a loss that is off by a factor of e moves the weight by e to the power of the
# first, if it stays so, and by e to the power of the second at once. A content loss answers by
# about the root of the change, and late: in trainings of 300 to 4000 steps with answers after 30
# and 60, of a noise of 20 %, these end within 5 % of the target; 15 and 0 within 17 %.
_INTEGRAL, _PROPORTIONAL = 20.0, 1.0
# The running mean is over a twentieth of the training, and a step changes the weight by 5 % at
# most: a single batch says little.
_WINDOW, _MOST = 0.05, 0.05
# How far from its first value the weight may go.
_RANGE = 1e3


class Balance(tf.Module):
    """Moves the weight of the style, step by step, until a loss is at its target.

    A PI controller: after each step the logarithm of the weight changes in proportion to that of
    target / running mean of the loss, and to the change of that. It works in the graph and its
    state is a checkpoint's as that of an optimizer, so a run that is killed and resumed ends as one
    that was not.
    """

    def __init__(self, aim: tuple[str, float], *, weight: float, steps: int) -> None:
        """To be built in the strategy's scope.

        Args:
            aim: ("content" or "style", the loss it shall end at).
            weight: of the style, to begin with; above 0.
            steps: of the whole training.
        """
        super().__init__(name="balance")
        self.aim = aim
        self._steps, self._first = steps, weight

        def variable(value: float, name: str) -> tf.Variable:
            return tf.Variable(
                value,
                trainable=False,
                dtype=tf.float32,
                name=name,
                aggregation=tf.VariableAggregation.MEAN,
            )

        self.style_weight = variable(weight, "style_weight")
        self._mean = variable(0.0, "mean")

    def update(self, values: Mapping[str, tf.Tensor], active: tf.Tensor | float = 1.0) -> None:
        """Takes the losses of a step, and moves the weight for the next.

        Args:
            values: {name of a loss: its value, of this replica}.
            active: 0 where the step does not count, such as one of a warm-up.
        """
        name, target = self.aim
        loss = tf.stop_gradient(values[name])
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            context = tf.distribute.get_replica_context()
            loss = context.all_reduce(tf.distribute.ReduceOp.MEAN, loss)
        keep = 1 - 1 / max(1.0, _WINDOW * self._steps)
        mean = tf.where(self._mean > 0, keep * self._mean + (1 - keep) * loss, loss)
        before = tf.where(self._mean > 0, self._mean, loss)
        off, off_before = (tf.math.log(target / tf.maximum(x, 1e-9)) for x in (mean, before))
        change = _INTEGRAL / self._steps * off + _PROPORTIONAL * (off - off_before)
        sign = 1.0 if name == "content" else -1.0
        change = tf.clip_by_value(sign * change, -_MOST, _MOST)
        weight = self.style_weight * tf.exp(active * change)
        self._mean.assign(mean)
        self.style_weight.assign(
            tf.clip_by_value(weight, self._first / _RANGE, self._first * _RANGE)
        )

    def told(self, figures: Mapping[str, float]) -> str:
        """How near the photos kept out came, in a line; figures as `metrics.Validator` gives them.

        Nothing where they lack the loss.
        """
        name, target = self.aim
        found = figures.get(f"{name}_distance", math.nan)
        if not math.isfinite(found):
            return ""
        return (
            f"target {name}={target:g}: the photos kept out end at {found:.3g}, "
            f"{abs(found / target - 1):.0%} off, with style_weight {float(self.style_weight):.3g}."
        )
