"""The Keras generator behind an exported model, or of a run: built again and given its weights.

Cards and the options of runs say under "network" how it was built (`networks.description`). Older
ones do not: then it is guessed from the names of the options.
"""

import dataclasses
import inspect
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfstyle import stylize, training
from tfstyle.errors import TfstyleError
from tfstyle.export import convert
from tfstyle.networks import description, generators
from tfstyle.training import checkpoints

# Between pictures of the export and of what is built again, in [0, 1].
_SAME = 2 / 255


class RebuildError(TfstyleError, ValueError):
    """The generator cannot be built again; the message says why."""


@dataclasses.dataclass(frozen=True)
class Rebuilt:
    """What `of_export` and `of_run` give.

    Attributes:
        generator: images [B, H, W, 3] in [0, 1] -> the same; its second input, if any, is noise or
            the weights of styles.
        kind: of that input, see `kind`.
        options: that it was trained with.
        build: a number of styles (0 for as many as this one has) -> a generator of the same kind,
            untrained; it raises RebuildError where the kind has one style alone.
    """

    generator: keras.Model
    kind: str
    options: dict
    build: Callable[[int], keras.Model]

    @property
    def exported(self) -> keras.Model:
        """The generator as pipelines export it: with its noise held at 0."""
        return generators.at_zero_noise(self.generator) if self.kind == "noise" else self.generator


def of_export(model: str | os.PathLike) -> Rebuilt:
    """The generator of a SavedModel, as its card says.

    It counts only where it gives the very pictures of the export.

    Args:
        model: as `stylize.find_saved_model` takes it.

    Raises:
        RebuildError: where no generator that the card describes gives these pictures.
        ArgumentError: for the card of a newer tfstyle.
        ModelNotFoundError: where there is no SavedModel.
    """
    folder = stylize.find_saved_model(model)
    card = stylize.read_card(folder)
    options, styles = card.get("options") or {}, len(card.get("styles") or ())
    photo = np.random.default_rng(0).uniform(size=(48, 40, 3)).astype(np.float32)
    stored = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
    try:
        build = _builder(card.get("network"), options)
        generator = build(styles)
        for i, variable in enumerate(generator.variables):
            # As `export` keeps them: a list, in this order.
            variable.assign(stored.get_tensor(f"weights/{i}/.ATTRIBUTES/VARIABLE_VALUE"))
    except (tf.errors.NotFoundError, TypeError, ValueError) as error:
        raise RebuildError(
            f"{folder}: its weights are not those of the generator that its card describes "
            f"({str(error).splitlines()[0]})"
        ) from error
    built = Rebuilt(generator, kind(generator), options, build)
    theirs = stylize.Stylizer.load(folder)(photo)
    # As it was exported: under a mixed policy it would give other pictures. Called once, a graph
    # would not pay.
    exported = convert.in_float32(built.exported)
    first = [np.eye(1, exported.inputs[1].shape[-1])] if len(exported.inputs) > 1 else []
    given = [photo[np.newaxis], *first]
    ours = np.clip(exported(given if first else given[0], training=False)[0], 0, 1)
    if np.abs(ours - theirs).max() < _SAME:
        return built
    raise RebuildError(f"{folder}: the generator that its card describes gives other pictures")


def of_run(run: str | os.PathLike) -> Rebuilt:
    """The generator of a run, by its options and its last checkpoint.

    Args:
        run: folder of a run of the pipelines fast, fusion, style_class, gan or clahe, or its best/.

    Raises:
        RebuildError: where there is no checkpoint, or one of another network.
    """
    run = Path(run)
    checkpoint = training.latest_checkpoint(run)
    if not checkpoint:
        raise RebuildError(f"{run}: no checkpoint in it. Let the run reach its first one")
    file = options_file(run)
    try:
        options = dict(json.loads(file.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise RebuildError(f"{file}: not a run's options ({error})") from error
    shapes = checkpoints.shapes(checkpoint)
    # The average of the weights is what a pipeline exports, where it keeps one.
    part = "ema" if any(key.startswith("ema/") for key in shapes) else "generator"
    # Of several styles, a gamma is a table of them.
    tables = {
        shape[0]
        for key, shape in shapes.items()
        if key.startswith(f"{part}/") and "/gamma/" in key and len(shape) == 2
    }
    try:
        build = _builder(options.get("network"), options)
        generator = build(tables.pop() if tables else 0)
    except (ValueError, TypeError) as error:
        raise RebuildError(f"{file}: not the options of a generator ({error})") from error
    restore(checkpoint, **{part: generator})
    return Rebuilt(generator, kind(generator), options, build)


def alone(generator: keras.Model, style: int) -> keras.Model:
    """One style of a `fusion_generator` as a `fast_generator`, which gives the same pictures.

    Args:
        generator: of several styles, of a known size (`description.describe`).
        style: which, from 0.

    Raises:
        RebuildError: for another network.
    """
    told = description.describe(generator)
    if _told(told, "builder") != generators.fusion_generator.__name__:
        raise RebuildError(f"network {_told(told, 'builder')}: not one of several styles")
    arguments = {k: v for k, v in _told(told, "arguments").items() if k != "styles"}
    single = generators.fast_generator(**arguments)
    for variable, of_all in zip(single.variables, generator.variables, strict=True):
        variable.assign(of_all if of_all.shape == variable.shape else of_all[style])
    return single


def kind(generator: keras.Model) -> str:
    """What its second input is: "noise", "styles", or "" where it has none."""
    second = generator.inputs[1].name if len(generator.inputs) > 1 else ""
    return "styles" if second == "style_weights" else second


def options_file(run: Path) -> Path:
    """Where the options of a run lie, of which this is the folder, or its best/."""
    return (run.parent if run.name == "best" else run) / "options.json"


def restore(checkpoint: str, **networks: keras.Model) -> None:
    """Gives networks the weights that stand in a checkpoint under these names.

    Raises:
        RebuildError: where there are others.
    """
    try:
        status = checkpoints.restore(checkpoint, **networks)
        status.assert_existing_objects_matched().expect_partial()
    except (AssertionError, ValueError, tf.errors.OpError) as error:
        raise RebuildError(
            f"{checkpoint}: has other networks than options.json says "
            f"({str(error).splitlines()[0]}). Give the model that the run exported: "
            "saved_models/NAME"
        ) from error


def _builder(network: Mapping | None, options: Mapping) -> Callable[[int], keras.Model]:
    """What builds a generator of a number of styles; 0 for as many as it is told to have.

    Args:
        network: as `description.describe` gives it; None where nobody noted it.
        options: of the training, by which it is guessed then.
    """
    if network is None:
        return lambda styles: _guessed(options, styles)
    if _told(network, "builder") == generators.at_zero_noise.__name__:
        # What was exported; its noise is let free again.
        network = _told(_told(network, "arguments"), "generator")
    several = _told(_told(network, "arguments"), "styles") is not None

    def build(styles: int) -> keras.Model:
        if styles and not several:
            raise RebuildError(f"network {_told(network, 'builder')}: has one style, not {styles}")
        return description.build(network, **({"styles": styles} if styles else {}))

    return build


def _told(value, key: str):
    """`value[key]`, of JSON that may be anything."""
    return value.get(key) if isinstance(value, Mapping) else None


def _guessed(options: Mapping, styles: int) -> keras.Model:
    """A generator as the pipelines built it that noted no network, by names of their options."""
    build: Callable[..., keras.Model]
    extra: dict[str, Any]
    if "residual_blocks" in options:
        build, extra = generators.unet_generator, {}
    elif styles:
        build, extra = generators.fusion_generator, {"styles": styles}
    else:
        build, extra = generators.fast_generator, {}
    known = inspect.signature(build).parameters.keys() - {"name"}
    return build(**{key: options[key] for key in known & options.keys()}, **extra)
