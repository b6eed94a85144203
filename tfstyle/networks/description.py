"""A network told in JSON, to be built again: on model cards and in the options of runs."""

import inspect
from collections.abc import Mapping
from typing import Any

import keras

from tfstyle.errors import ArgumentError
from tfstyle.networks import clahe, generators
from tfstyle.networks.recorded import clone, describe

__all__ = ["BUILDERS", "build", "clone", "describe"]

# By these names cards and runs speak of them: a builder that gets another name keeps its old one
# here, and one whose arguments change takes the old ones still.
BUILDERS = {
    builder.__name__: builder
    for builder in (
        generators.fast_generator,
        generators.fusion_generator,
        generators.unet_generator,
        generators.at_zero_noise,
        clahe.curve_generator,
    )
}


def build(description: Mapping, **changes: Any) -> keras.Model:
    """The network that `describe` has described, untrained, under the dtype policy of now.

    Args:
        description: {"builder": one of BUILDERS, "arguments": {...}}.
        changes: arguments in place of those of the description.

    Raises:
        ArgumentError: for anything else.
    """
    if not isinstance(description, Mapping) or description.keys() != {"builder", "arguments"}:
        raise ArgumentError(f"network {description!r}: give its builder and arguments")
    name, arguments = description["builder"], description["arguments"]
    builder = BUILDERS.get(name) if isinstance(name, str) else None
    if builder is None:
        raise ArgumentError(
            f"network {name!r}: this tfstyle builds {', '.join(BUILDERS)} alone. A newer one may "
            "know it"
        )
    if not isinstance(arguments, Mapping):
        raise ArgumentError(f"network {name}: arguments {arguments!r} are no object")
    arguments = {**arguments, **changes}
    known = inspect.signature(builder).parameters
    unknown = sorted(arguments.keys() - known.keys())
    missing = [
        key
        for key, parameter in known.items()
        if parameter.default is parameter.empty and key not in arguments
    ]
    if unknown or missing:
        raise ArgumentError(
            f"network {name}: takes {', '.join(known)}; not known {unknown}, missing {missing}"
        )
    arguments = {
        key: build(value) if isinstance(value, Mapping) else value
        for key, value in arguments.items()
    }
    try:
        return builder(**arguments)
    except Exception as error:  # the arguments may be any JSON, and Keras may say no to them anyhow
        raise ArgumentError(f"network {name} of {arguments}: {error}") from error
