"""The networks behind what was exported or trained, to look into."""

import dataclasses
import json
import os
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfstyle import inference, training
from tfstyle.networks import discriminators, generators


@dataclasses.dataclass(frozen=True)
class Networks:
    """What there is to look into.

    Args:
        generator: Keras model.
        discriminator: of patches, where the run had one.
        boundary: of its scores, between real and generated.
        options: that it was trained with, as far as they are known.
        kind: of its second input: "noise", "styles", or "" where it has none.
    """

    generator: keras.Model
    discriminator: keras.Model | None = None
    boundary: float = 0.0
    options: dict = dataclasses.field(default_factory=dict)
    kind: str = ""


_BUILDERS = {"pipelines.fast": "fast_generator", "pipelines.fusion": "fusion_generator"}


def load(model: str | os.PathLike) -> Networks | None:
    """The networks of a .keras file, of an exported model, or of a run of pipelines.gan.

    An exported model is built again as its card says, and given its variables; it counts only where
    it then gives the very pictures of the export.

    Args:
        model: a .keras file, runs/NAME of pipelines.gan, or what `Stylizer.load` takes.

    Returns:
        None where nothing says how the network was built, as of a TFLite file alone.
    """
    path = Path(model)
    if path.suffix == ".keras":
        generator = inference.read_keras(path)
        kind = "" if len(generator.inputs) == 1 else generator.inputs[1].name
        return Networks(generator, kind="styles" if kind == "style_weights" else kind)
    if is_run(path):
        return _of_run(path)
    return _of_export(str(model))


def is_run(path: str | os.PathLike) -> bool:
    """Whether a folder is one of a run of pipelines.gan, with a checkpoint."""
    path = Path(path)
    file = path / "options.json"
    if not file.is_file() or not tf.train.latest_checkpoint(path / "checkpoints"):
        return False
    return "noise_dim" in json.loads(file.read_text())


def _of_run(path):
    options = json.loads((path / "options.json").read_text())
    generator = generators.unet_generator(
        **{key: options[key] for key in ("width", "residual_blocks", "norm", "noise_dim")},
        padding=options["padding"],
    )
    discriminator = discriminators.patch_discriminator(
        width=options["discriminator_width"], norm=options["discriminator_norm"]
    )
    # What was exported is the average, where there is one.
    name = "ema" if options["ema_decay"] else "generator"
    objects = {name: generator, "discriminator": discriminator}
    latest = tf.train.latest_checkpoint(path / "checkpoints")
    status = tf.train.Checkpoint(**objects).restore(latest)
    try:
        status.assert_existing_objects_matched().expect_partial()
    except AssertionError as error:
        raise training.TrainingError(
            f"{path}: its checkpoint has other networks than options.json says"
        ) from error
    return Networks(
        generator,
        discriminator,
        boundary=0.5 if options["adversarial"] == "lsgan" else 0.0,
        options=options,
        kind="noise" if options["noise_dim"] else "",
    )


def _of_export(model):
    card = inference.card(model)
    builder = _BUILDERS.get(card.get("pipeline"))
    paths = {each["name"]: each["paths"] for each in inference.shipped_models()}
    saved = paths.get(card.get("name"), {}).get("saved_model")
    if builder is None or saved is None:
        return None
    options = card.get("options", {})
    size = {key: options[key] for key in ("width", "depth") if key in options}
    styles = card.get("styles") or []
    if builder == "fusion_generator":
        size["styles"] = len(styles)
    reader = tf.train.load_checkpoint(os.path.join(saved, "variables", "variables"))
    values = [
        reader.get_tensor(key)
        for key in sorted(reader.get_variable_to_shape_map(), key=_natural)
        if key.startswith("weights/") and key.endswith("VARIABLE_VALUE")
    ]
    photo = np.random.default_rng(0).uniform(size=(48, 40, 3)).astype("float32")
    theirs = inference.Stylizer.load(saved)(photo)
    newest = getattr(generators, builder)(**size)
    for generator in (newest, _unsmoothed(newest)):
        if _given(generator, values):
            ours = inference.Stylizer.load(generator)(photo)
            if np.abs(ours - theirs).max() < 2 / 255:
                return Networks(generator, options=options, kind="styles" if styles else "")
    return None


def _unsmoothed(generator):
    """As generators were built before their up-sampling was smoothed."""

    def clone(layer):
        config = layer.get_config()
        return type(layer).from_config(config | ({"smooth": False} if "smooth" in config else {}))

    return keras.models.clone_model(generator, clone_function=clone)


def _natural(key):
    return [int(part) if part.isdecimal() else part for part in key.split("/")]


def _given(generator, values) -> bool:
    """Whether the weights were all found, in order."""
    float_weights = [w for w in generator.weights if w.dtype.startswith("float")]
    values = [v for v in values if v.dtype.kind == "f"]
    shapes = [tuple(w.shape) for w in float_weights]
    if [v.shape for v in values] != shapes:
        return False
    for weight, value in zip(float_weights, values, strict=True):
        weight.assign(value)
    return True
