"""The networks behind what was exported or trained, to look into."""

import dataclasses
import os
from pathlib import Path

import keras

from tfstyle import machine, stylize, training
from tfstyle.export import rebuild
from tfstyle.networks import discriminators
from tfstyle.stylize import runners


@dataclasses.dataclass(frozen=True)
class Networks:
    """What there is to look into.

    Args:
        generator: Keras model.
        discriminator: of patches, or of classes, where the run had one.
        classes: of the discriminator: the generator's styles and "generated"; 0 for one of patches.
        options: that it was trained with, as far as they are known.
        kind: of its second input, see `rebuild.kind`.
    """

    generator: keras.Model
    discriminator: keras.Model | None = None
    classes: int = 0
    options: dict = dataclasses.field(default_factory=dict)
    kind: str = ""


@machine.own_random_state()
def load(model: str | os.PathLike) -> Networks | None:
    """The networks of a .keras file, of an exported model, or of a run.

    Args:
        model: a .keras file, runs/NAME of a pipeline that paints photos, or what `Stylizer.load`
            takes.

    Returns:
        None where nothing says how the network was built, as of a TFLite file alone.

    Raises:
        RebuildError: for a run of another kind.
    """
    path = Path(model)
    if path.suffix == ".keras":
        generator = runners.read_keras(path)
        return Networks(generator, kind=rebuild.kind(generator))
    if is_run(path):
        return _of_run(path)
    found = stylize.find(model)
    if found.suffix == ".tflite":  # what it was made from lies beside it
        found = found.with_name(found.name.split(".")[0])
    try:
        built = rebuild.of_export(found)
    except (rebuild.RebuildError, stylize.ModelNotFoundError):
        return None
    if built.kind == "noise":  # of which the export takes none
        return None
    return Networks(built.generator, options=built.options, kind=built.kind)


def is_run(path: str | os.PathLike) -> bool:
    """Whether a folder is one of a run, with a checkpoint."""
    # Of os: Path's own raises where the folder may not be looked into.
    file = rebuild.options_file(Path(path))
    return os.path.isfile(file) and bool(training.latest_checkpoint(path))


def _of_run(path: Path) -> Networks:
    built = rebuild.of_run(path)
    options, classes, discriminator = built.options, 0, None
    if "discriminator_width" in options:
        kind = {"width": options["discriminator_width"], "norm": options["discriminator_norm"]}
        if "class_weight" in options:
            classes = built.generator.inputs[1].shape[-1] + 1
            discriminator = discriminators.class_discriminator(classes=classes, **kind)
        else:
            discriminator = discriminators.patch_discriminator(**kind)
        checkpoint = training.latest_checkpoint(path)
        assert checkpoint  # see is_run
        rebuild.restore(checkpoint, discriminator=discriminator)
    return Networks(built.generator, discriminator, classes, options, built.kind)
