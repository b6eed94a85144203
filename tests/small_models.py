"""Small untrained models, and how to write them quickly as TensorFlow Serving wants them."""

import contextlib
import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfstyle import export
from tfstyle.export import convert, parity, saved_model, signatures
from tfstyle.networks import generators

STYLES = 3


def shaken(model, seed=0):
    """The model with weights far enough from their start that every one of them matters."""
    rng = np.random.default_rng(seed)
    model.set_weights([w + rng.normal(0, 0.1, w.shape) for w in model.get_weights()])
    return model


def fast(seed=0):
    return shaken(generators.fast_generator(width=4, depth=1), seed)


def fusion(seed=0, **options):
    return shaken(generators.fusion_generator(styles=STYLES, width=4, depth=1, **options), seed)


@contextlib.contextmanager
def quick_exports():
    """Exports make of TFLite files that in float32 alone, and that for whole images alone.

    The others take most of an export's time. The SavedModel has no signature for encoded images,
    parity is measured on small ones, and what an image takes is not measured at all. For tests of
    what is made of a model; those of exports themselves make and measure everything.
    """
    own, of_tensors = convert.from_keras, signatures.servable

    def without_parts(*args, **options):
        return dataclasses.replace(own(*args, **options), parts={})

    def without_encoded(generator):
        module, served = of_tensors(generator)
        return module, {key: each for key, each in served.items() if key != "encoded"}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved_model, "TFLITE_VARIANTS", ("float32",))
        patch.setattr(saved_model, "_memory", lambda _: 100)
        patch.setattr(saved_model.statistics, "reach", lambda _: 40)
        patch.setattr(convert, "from_keras", without_parts)
        patch.setattr(signatures, "servable", without_encoded)
        patch.setattr(parity, "PARITY_SIZES", ((48, 48), (39, 57)))
        yield


def exported(generator, name, **options):
    """An export as `quick_exports` has it."""
    with quick_exports():
        return export.export(generator, name, **options)


def save(generator, folder, photo, *, alone=None):
    """Writes the SavedModel of an export into a folder of versions, whole or not at all.

    Without TFLite files and card.

    Args:
        alone: the one signature that it is to have; by default it has all.
    """
    module, served = signatures.servable(generator)
    if alone:
        served = {alone: served[alone]}
    staged = folder.parent / f".{folder.parent.name}-{folder.name}"
    tf.saved_model.save(module, str(staged), signatures=served)
    styles = generator.inputs[1].shape[-1] if len(generator.inputs) > 1 else 0
    signatures.write_warm_up(staged, folder.parent.name, photo, styles)
    folder.parent.mkdir(exist_ok=True)
    return staged.rename(folder)
