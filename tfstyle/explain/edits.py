"""Copies of a network with edits between its layers: they share its weights and leave it be."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from tfstyle.errors import ArgumentError


@keras.saving.register_keras_serializable(package="tfstyle")
class Gate(keras.layers.Layer):
    """x -> gate x + (1 - gate) replacement for each channel, [..., C].

    `gate` [C] of ones and `replacement` [C] of zeros at first, which changes nothing. Both are
    variables: a compiled network takes other values without another trace.
    """

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Adds the variables; `shape` is that of x."""
        kwargs = {"shape": (shape[-1],), "trainable": False, "dtype": "float32"}
        self.gate = self.add_weight(name="gate", initializer="ones", **kwargs)
        self.replacement = self.add_weight(name="replacement", initializer="zeros", **kwargs)

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """x -> what the class says."""
        gate, replacement = (keras.ops.cast(v, x.dtype) for v in (self.gate, self.replacement))
        return gate * x + (1 - gate) * replacement


def edited(
    model: keras.Model,
    outputs: Mapping[str, Callable] | None = None,
    inputs: Mapping[tuple[str, int], Callable] | None = None,
) -> keras.Model:
    """`model` with edits of what layers give, or of what they are given.

    Args:
        model: Functional; Functional models within it are searched too.
        outputs: {name of a layer: layer or function of one tensor}, applied to all that follows.
        inputs: {(name of a layer with several inputs, which): layer or function}, applied on the
            way into this layer only, such as a skip's into a concatenation.

    Returns:
        A model of the same weights: training one trains the other.

    Raises:
        ValueError: for a name that no layer has, with those there are.
    """
    outputs, inputs = dict(outputs or {}), dict(inputs or {})
    left = {*outputs, *inputs}

    def call(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        for key in [key for key in inputs if key[0] == layer.name]:
            tensors = list(args[0])
            tensors[key[1]] = inputs[key](tensors[key[1]])
            args = (tensors, *args[1:])
            left.discard(key)
        output = layer(*args, **kwargs)
        if layer.name in outputs:
            left.discard(layer.name)
            output = outputs[layer.name](output)
        return output

    copy = keras.models.clone_model(
        model, clone_function=lambda layer: layer, call_function=call, recursive=True
    )
    if left:
        names = ", ".join(layer.name for layer in model.layers)
        missing = ", ".join(map(str, left))
        raise ArgumentError(f"no layer {missing} in {model.name}: give one of {names}")
    return copy
