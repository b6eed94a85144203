"""How a network was built, kept on the network: the name of its builder and the arguments."""

import functools
import inspect
import json
from collections.abc import Callable
from typing import Any, ParamSpec

import keras
import numpy as np

P = ParamSpec("P")


class _Unknown(Exception):
    """An argument is a network of which nobody knows how it was built."""


def recorded(builder: Callable[P, keras.Model]) -> Callable[P, keras.Model]:
    """Marks a builder: what it builds can be described (`describe`), and so built again.

    Its arguments are numbers, text or networks; "name" is left out, which says nothing about the
    network.
    """
    signature = inspect.signature(builder)

    @functools.wraps(builder)
    def build(*args: P.args, **kwargs: P.kwargs) -> keras.Model:
        model = builder(*args, **kwargs)
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        arguments = {key: value for key, value in given.arguments.items() if key != "name"}
        try:
            # As text: Keras and TensorFlow track dictionaries, and would put one into checkpoints.
            model.recorded = json.dumps(
                {"builder": builder.__name__, "arguments": arguments}, default=_as_json
            )
        except _Unknown:
            pass
        return model

    return build


def _as_json(value: object) -> object:
    if isinstance(value, keras.Model):
        if told := describe(value):
            return told
        raise _Unknown
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is no argument of a builder that is recorded")


def describe(model: keras.Model) -> dict | None:
    """{"builder": name, "arguments": {...}} of a network that a builder here has built, or `clone`.

    JSON values; `description.build` builds the same from it, untrained. None for other networks,
    such as those that were read from a .keras file.
    """
    told = getattr(model, "recorded", None)
    return json.loads(told) if isinstance(told, str) else None


def clone(model: keras.Model, **options: Any) -> keras.Model:
    """`keras.models.clone_model`, and what `describe` says of a model is said of its copy too."""
    copy = keras.models.clone_model(model, **options)
    if hasattr(model, "recorded"):
        copy.recorded = model.recorded
    return copy
