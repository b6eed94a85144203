"""Learning rates, Adam, and the moving average of weights."""

import dataclasses
from collections.abc import Sequence

import keras
import tensorflow as tf

from tfstyle.errors import ArgumentError
from tfstyle.networks import recorded


def cosine_schedule(
    learning_rate: float, steps: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Linear warm-up over a twentieth of the steps (100 at most), then a cosine to a twentieth."""
    warmup = min(100, steps // 20)
    return keras.optimizers.schedules.CosineDecay(
        learning_rate / 20, steps - warmup, 0.05, warmup_target=learning_rate, warmup_steps=warmup
    )


def halving_schedule(
    learning_rate: float, every: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Half the rate after each `every` steps."""
    return keras.optimizers.schedules.ExponentialDecay(learning_rate, every, 0.5, staircase=True)


def adam(
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
    variables: Sequence[keras.Variable],
    *,
    clip_norm: float | None = None,
    beta_1: float = 0.9,
) -> keras.optimizers.Optimizer:
    """Adam built on `variables`, with loss scaling where the dtype policy is mixed_float16.

    Args:
        learning_rate: number or schedule.
        clip_norm: bound on the global norm of the gradient averaged over replicas; None for none.
        beta_1: decay of the first moment.
    """
    if clip_norm is not None:
        # The optimizer clips each replica's share before it adds them up: see `steps.base.apply`.
        clip_norm /= tf.distribute.get_strategy().num_replicas_in_sync
    optimizer = keras.optimizers.Adam(learning_rate, beta_1=beta_1, global_clipnorm=clip_norm)
    if keras.config.dtype_policy().name == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    # An unbuilt optimizer is not in the checkpoint, so a resumed run would start it from zero.
    optimizer.build(variables)
    return optimizer


class Ema:
    """Exponential moving average of a model's weights, kept in a model of the same shape.

    w_ema <- d w_ema + (1 - d) w with d = min(decay, (1 + t) / (10 + t)) after t updates, so that
    early weights are forgotten soon. Yazici et al. 2018 (https://arxiv.org/abs/1806.04498).
    """

    def __init__(self, model: keras.Model, decay: float) -> None:
        """
        Args:
            model: whose weights are averaged.
            decay: d above, from 0 to below 1; 0 for no average: `model` is then the model itself.

        Raises:
            ArgumentError: for another decay.
        """
        if not 0 <= decay < 1:
            raise ArgumentError(f"EMA decay {decay}: must be from 0 to below 1, such as 0.999")
        self.source = model
        self.decay = decay
        self.model = model
        if decay:
            self.model = recorded.clone(model)
            self.model.set_weights(model.get_weights())

    def update(self, step: int | tf.Tensor) -> None:
        """Takes in the source's weights as they are after update number `step`."""
        if not self.decay:
            return
        step = tf.cast(step, "float32")
        decay = tf.minimum(self.decay, (1 + step) / (10 + step))
        for average, weight in zip(self.model.weights, self.source.weights, strict=True):
            if weight.dtype.startswith("float"):
                average.assign(decay * average + (1 - decay) * weight)
            else:  # the state of a random generator is no quantity to average
                average.assign(weight)


@dataclasses.dataclass(frozen=True)
class Optim:
    """How weights are moved, and which are kept.

    Args:
        learning_rate: of Adam at its highest; a cosine leads down from there.
        clip_norm: bound on the norm of the gradient.
        ema_decay: of the average of the weights that is exported; 0 for the last weights.
    """

    learning_rate: float = 3e-3
    clip_norm: float = 5.0
    ema_decay: float = 0.995

    def adam(
        self,
        network: keras.Model,
        steps: int,
        *,
        learning_rate: float | None = None,
        beta_1: float = 0.9,
    ) -> keras.optimizers.Optimizer:
        """Adam for a network, built on its variables; call it in the scope of the strategy.

        Args:
            network: what is trained.
            steps: of the whole training, which the cosine is stretched over.
            learning_rate: another than that of the options, as a discriminator has.
            beta_1: decay of the first moment.
        """
        rate = self.learning_rate if learning_rate is None else learning_rate
        return adam(
            cosine_schedule(rate, steps),
            network.trainable_variables,
            clip_norm=self.clip_norm,
            beta_1=beta_1,
        )

    def adams(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        steps: int,
        *,
        discriminator_rate: float,
        beta_1: float,
        waits: int = 0,
        d_steps: int = 1,
    ) -> dict[str, keras.optimizers.Optimizer]:
        """Adams for two networks that face each other, by the names that train steps give them.

        Args:
            generator, discriminator, steps: see `adam`.
            discriminator_rate: its learning rate at its highest.
            beta_1: of the generator's; the discriminator's is 0.5 (Radford et al. 2015, section 3,
                https://arxiv.org/abs/1511.06434).
            waits: steps at the beginning in which the discriminator takes none.
            d_steps: updates of the discriminator in each of the others.
        """
        of_discriminator = self.adam(
            discriminator,
            d_steps * max(1, steps - waits),
            learning_rate=discriminator_rate,
            beta_1=0.5,
        )
        return {
            "generator_optimizer": self.adam(generator, steps, beta_1=beta_1),
            "discriminator_optimizer": of_discriminator,
        }

    def average(self, network: keras.Model) -> Ema:
        """The average of a network's weights, whose `model` is what is judged and exported."""
        return Ema(network, self.ema_decay)
