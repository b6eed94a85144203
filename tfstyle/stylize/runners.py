"""What runs a model: TFLite file, SavedModel, Keras."""

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path

from tfstyle.errors import ArgumentError

# Of a file's metadata entries, the one that is written here.
ENTRY = "tfstyle"


def runner(path: Path, threads: int) -> Callable:
    """What runs a TFLite file: `runner(path, 2)(images)`, or `(images, style_weights)`.

    It takes float32 [1, H, W, 3] and gives the same; its attribute `styles` is the number of
    styles, 0 for one alone without weights, and `size` the (height, width) that alone it takes,
    None for any. Where the file was made for parts of an image too, `take` gives the statistics of
    windows, and `give` is the runner with these as its last argument; see `networks.statistics`.

    Raises:
        ValueError: where the file is no TFLite model.
    """
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_path=str(path), num_threads=threads)
    except ValueError as error:
        raise ArgumentError(f"{path}: not a TFLite model ({error})") from error
    # The image has four dimensions and comes first, style weights have two.
    inputs = sorted(interpreter.get_input_details(), key=lambda details: -len(details["shape"]))
    (result,) = interpreter.get_output_details()
    shape = None
    size = inputs[0]["shape_signature"][1:3]

    def run(batch, *weights):
        nonlocal shape
        if batch.shape != shape:
            interpreter.resize_tensor_input(inputs[0]["index"], batch.shape)
            interpreter.allocate_tensors()
            shape = batch.shape
        for details, value in zip(inputs, (batch, *weights), strict=True):
            interpreter.set_tensor(details["index"], value)
        interpreter.invoke()
        return interpreter.get_tensor(result["index"])

    run.size = tuple(map(int, size)) if min(size) > 0 else None
    run.styles = int(inputs[1]["shape"][1]) if len(inputs) > 1 else 0
    if {"statistics", "tiles"} <= interpreter.get_signature_list().keys():
        run.take = functools.partial(_call, interpreter, "statistics", "statistics")
        run.give = functools.partial(_call, interpreter, "tiles", "stylized")
    return run


def _call(interpreter, signature, output, batch, *more):
    """One call of a signature for parts of an image; `more`: weights of styles, statistics."""
    named = {"images": batch}
    for value in more:
        named["statistics" if value.shape[0] == 2 else "style_weights"] = value
    return interpreter.get_signature_runner(signature)(**named)[output]


def read_metadata(path: str | os.PathLike) -> dict:
    """What `with_metadata` put into a file; empty for a file without it.

    Raises:
        ValueError: where the file is no TFLite model.
    """
    schema, _ = load_schema()
    content = Path(path).read_bytes()
    if content[4:8] != b"TFL3":
        raise ArgumentError(f"{path}: not a TFLite model")
    model = schema.Model.GetRootAs(content, 0)
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        if entry.Name() == ENTRY.encode():
            return json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
    return {}


def load_schema():
    """(the schema's classes, what packs them): slow to import, and seldom needed."""
    from ai_edge_litert import schema_py_generated
    from ai_edge_litert.tools import flatbuffer_utils

    return schema_py_generated, flatbuffer_utils


def saved_model_run(path: Path):
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:  # IndexError, of torn weights; there is no one class here either.
        raise ArgumentError(f"{path}: not a SavedModel that can be loaded ({error})") from error
    if "float" not in loaded.signatures:
        raise ArgumentError(
            f"{path}: no signature 'float' among {sorted(loaded.signatures)}. Give a SavedModel "
            "that tfstyle exported"
        )
    stylize = loaded.signatures["float"]
    takes = stylize.structured_input_signature[1]

    # The signature alone does not keep the variables alive.
    def run(batch, *weights, _loaded=loaded):
        named = {"images": tf.constant(batch)}
        if weights:
            named["style_weights"] = tf.constant(weights[0])
        return stylize(**named)["stylized"].numpy()

    run.styles = takes["style_weights"].shape[1] if "style_weights" in takes else 0
    return run


def keras_run(model):
    import tensorflow as tf

    from tfstyle.networks import layers, statistics

    inputs = getattr(model, "inputs", None) or ()
    styles = inputs[1].shape[-1] if len(inputs) > 1 else 0
    specs = [tf.TensorSpec([1, None, None, 3], tf.float32)]
    if styles:
        specs.append(tf.TensorSpec([1, styles], tf.float32))

    # One trace for all sizes; eager calls of Keras are slower and take more memory.
    @tf.function(input_signature=specs)
    def stylize(*given):
        return tf.cast(model(list(given) if styles else given[0], training=False), tf.float32)

    def run(*given):
        return stylize(*map(tf.constant, given)).numpy()

    run.styles = styles
    if channels := layers.normalised_channels(model):
        many = [tf.TensorSpec([None, None, None, 3], tf.float32), *specs[1:]]
        given = [*specs, tf.TensorSpec([2, channels], tf.float32)]

        @tf.function(input_signature=many)
        def take(*inputs):
            return statistics.taken(model, inputs)

        @tf.function(input_signature=given)
        def give(*inputs):
            return tf.cast(statistics.with_given(model, inputs[:-1], inputs[-1]), tf.float32)

        run.take = lambda *inputs: take(*map(tf.constant, inputs)).numpy()
        run.give = lambda *inputs: give(*map(tf.constant, inputs)).numpy()
    return run


def read_keras(path: Path):
    """The Keras model of a .keras file, with tfstyle's layers; ValueError where it is none."""
    import keras

    from tfstyle.networks import layers  # noqa: F401  registers them with Keras

    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras has no one class for what can be wrong with a file.
        raise ArgumentError(f"{path}: not a Keras model that tfstyle can load ({error})") from error
