"""The networks behind what was exported or trained, to look into."""

import dataclasses
import json
import os
from pathlib import Path

import keras

from tfstyle import inference, rebuild, training
from tfstyle.networks import discriminators


@dataclasses.dataclass(frozen=True)
class Networks:
    """What there is to look into.

    Args:
        generator: Keras model.
        discriminator: of patches, where the run had one.
        boundary: of its scores, between real and generated.
        options: that it was trained with, as far as they are known.
        kind: of its second input, see `rebuild.kind`.
    """

    generator: keras.Model
    discriminator: keras.Model | None = None
    boundary: float = 0.0
    options: dict = dataclasses.field(default_factory=dict)
    kind: str = ""


def load(model: str | os.PathLike) -> Networks | None:
    """The networks of a .keras file, of an exported model, or of a run of pipelines.gan.

    Args:
        model: a .keras file, runs/NAME of pipelines.gan, or what `Stylizer.load` takes.

    Returns:
        None where nothing says how the network was built, as of a TFLite file alone.
    """
    path = Path(model)
    if path.suffix == ".keras":
        generator = inference.read_keras(path)
        return Networks(generator, kind=rebuild.kind(generator))
    if is_run(path):
        return _of_run(path)
    found = inference.find(model)
    if found.suffix == ".tflite":  # what it was made from lies beside it
        found = found.with_name(found.name.split(".")[0])
    try:
        built = rebuild.of_export(found)
    except (rebuild.RebuildError, inference.ModelNotFoundError):
        return None
    if built.kind == "noise":  # of which the export takes none
        return None
    return Networks(built.generator, options=built.options, kind=built.kind)


def is_run(path: str | os.PathLike) -> bool:
    """Whether a folder is one of a run of pipelines.gan, with a checkpoint."""
    file = rebuild.options_file(Path(path))
    if not file.is_file() or not training.latest_checkpoint(path):
        return False
    return "noise_dim" in json.loads(file.read_text("utf-8"))


def _of_run(path):
    built = rebuild.of_run(path)
    options = built.options
    discriminator = discriminators.patch_discriminator(
        width=options["discriminator_width"], norm=options["discriminator_norm"]
    )
    rebuild.restore(training.latest_checkpoint(path), discriminator=discriminator)
    return Networks(
        built.generator,
        discriminator,
        boundary=0.5 if options["adversarial"] == "lsgan" else 0.0,
        options=options,
        kind=built.kind,
    )
