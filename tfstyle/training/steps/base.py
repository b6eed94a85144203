"""What the train steps share."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfstyle import losses


def apply(
    optimizer: keras.optimizers.Optimizer,
    tape: tf.GradientTape,
    scaled_loss: tf.Tensor,
    variables: Sequence[Any],
) -> None:
    """One update of `variables` by the gradient of the loss, averaged over replicas.

    `scaled_loss` has been through `optimizer.scale_loss`: float16's loss scaling, else as it was.

    The optimizer clips before it adds up the replicas' gradients. So that what is clipped is the
    average, as on one device, it is given the average here, divided by the number of replicas; its
    `global_clipnorm` must be divided likewise (`training.adam` does).
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    values = [variable.value for variable in variables]
    gradients = tape.gradient(scaled_loss, values)
    if replicas > 1:
        context = tf.distribute.get_replica_context()
        gradients = context.all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
        gradients = [gradient / replicas for gradient in gradients]
    optimizer.apply(gradients, variables)


def apply_both(
    step: Any,
    generator_tape: tf.GradientTape,
    generator_scaled: tf.Tensor,
    discriminator_tape: tf.GradientTape,
    discriminator_scaled: tf.Tensor,
) -> None:
    """`apply` to both networks of a step, whose losses were taken before either moved."""
    for network, optimizer, tape, scaled in (
        (step.generator, step.generator_optimizer, generator_tape, generator_scaled),
        (
            step.discriminator,
            step.discriminator_optimizer,
            discriminator_tape,
            discriminator_scaled,
        ),
    ):
        apply(optimizer, tape, scaled, network.trainable_variables)


def hold_back(optimizer: keras.optimizers.Optimizer, active: tf.Tensor) -> None:
    """Where `active` is 0, `optimizer` has taken no step: the next is its first.

    For an optimizer that was applied to gradients of zero, since a condition cannot hold the
    exchange among replicas: Adam's moments are as at first, but by the number of its steps it would
    take its next one, its first, for a late one, and not correct the moments' bias (Kingma and Ba
    2015, https://arxiv.org/abs/1412.6980, section 3): an update 3 to 11 times too large.
    """
    iterations = getattr(optimizer, "inner_optimizer", optimizer).iterations
    iterations.assign(iterations * tf.cast(active, iterations.dtype))


def networks_of(step: Any) -> dict:
    """The state of a step of two networks: what a checkpoint holds."""
    names = ("generator", "discriminator", "generator_optimizer", "discriminator_optimizer")
    return {name: getattr(step, name) for name in names}


def mean_of_all(values: tf.Tensor) -> tf.Tensor:
    """[B, ...] of this replica -> mean over the whole batch, [1, ...]."""
    mean = tf.reduce_mean(values, axis=0, keepdims=True)
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        context = tf.distribute.get_replica_context()
        mean = context.all_reduce(tf.distribute.ReduceOp.MEAN, mean)
    return mean


def content_of(
    features: Mapping[str, tf.Tensor],
    target: Mapping[str, tf.Tensor],
    layers: Sequence[str],
    loss: Callable[..., tf.Tensor] = losses.content_loss,
    saliency: float = 0.0,
) -> tf.Tensor:
    """Mean content loss of the layers, positions weighted by `saliency` times theirs."""

    def of(layer: str) -> tf.Tensor:
        given = {"features": features[layer], "target": target[layer]}
        if saliency:
            given["weights"] = 1 + saliency * (losses.saliency(target[layer]) - 1)
        return loss(**given)

    return tf.add_n([of(layer) for layer in layers]) / len(layers)


def weights_of(step: Any, names: Sequence[str], optional: Sequence[str]) -> dict[str, Any]:
    """{name: its weight}, a variable where a `training.Balance` moves it.

    Of the `optional` losses only those that have one are computed.
    """
    names = (*names, *(name for name in optional if getattr(step, f"{name}_weight")))
    return {name: getattr(step, f"{name}_weight") for name in names} | _moved(step)


def _moved(step: Any) -> dict[str, tf.Variable]:
    return dict(step.balance.weights) if step.balance else {}


def tape_of(step: Any) -> tf.GradientTape:
    """One for the generator's losses, which is asked once more where the balance wants it."""
    return tf.GradientTape(persistent=bool(step.balance and step.balance.by_gradients))


def follow(
    step: Any,
    values: Mapping[str, tf.Tensor],
    *,
    tape: tf.GradientTape,
    stylized: tf.Tensor,
    active: tf.Tensor | float = 1.0,
) -> dict[str, tf.Tensor]:
    """Moves the weights of a step that has a `training.Balance`; {"NAME_weight": it, before that}.

    `tape`, of `tape_of`, has recorded how `values` came of `stylized`.
    """
    if not step.balance:
        return {}
    used = {f"{name}_weight": tf.identity(weight) for name, weight in _moved(step).items()}
    gradients = None
    if step.balance.by_gradients:
        gradients = {name: tf.norm(tape.gradient(values[name], stylized)) for name in _moved(step)}
    step.balance.update(values, active=active, gradients=gradients)
    return used


def balance_of(step: Any) -> dict[str, Any]:
    """What a checkpoint holds of a step's `training.Balance`."""
    return {"balance": step.balance} if step.balance else {}


def weighted_total(values: Mapping[str, tf.Tensor], weights: Mapping[str, Any]) -> tf.Tensor:
    return tf.add_n([weights[name] * value for name, value in values.items()])


def accuracies(real: tf.Tensor, fake: tf.Tensor, boundary: float = 0.0) -> dict[str, tf.Tensor]:
    """Shares of the scores that are on the right side of the boundary."""
    return {
        "real_accuracy": tf.reduce_mean(tf.cast(real > boundary, "float32")),
        "fake_accuracy": tf.reduce_mean(tf.cast(fake <= boundary, "float32")),
    }
