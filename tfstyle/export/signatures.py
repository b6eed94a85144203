"""The signatures of a SavedModel as TensorFlow Serving takes them, and the requests for warm-up."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from tfstyle import images
from tfstyle.export.convert import style_count

MAX_SERVED_PIXELS: int = images.MAX_SERVED_PIXELS


def servable(generator: keras.Model) -> tuple[tf.Module, dict]:
    """What `export.export` hands to tf.saved_model.save; it describes the signatures.

    Args:
        generator: in float32; [B, H, W, 3] in [0, 1] -> the same, or with style weights too.

    Returns:
        (module, {name: tf.function}): the module keeps the weights alive.
    """
    module = tf.Module()
    # The variables, not the model: a Keras model that is tracked here keeps the TFLite converter
    # from freezing the weights into the graph; it says nothing, and the outputs are NaN.
    module.weights = [variable.value for variable in generator.variables]

    styles = style_count(generator)
    # A default that is a tensor becomes that of the signature.
    first = tf.one_hot([0], styles) if styles else None
    weights_spec = [tf.TensorSpec([None, styles], tf.float32, "style_weights")] if styles else []

    def traced(function, *spec):
        signature = [tf.TensorSpec(*spec), *weights_spec]
        return tf.function(function, input_signature=signature, autograph=False)

    def stylize_uint8(batch, style_weights=first):
        batch, style_weights = _checked_tensors(batch, style_weights)
        stylized = _stylized(generator, images.from_uint8_tensor(batch), style_weights)
        return {"stylized": images.to_uint8_tensor(stylized)}

    def stylize_float(batch, style_weights=first):
        batch, style_weights = _checked_tensors(batch, style_weights)
        return {"stylized": _stylized(generator, batch, style_weights)}

    def stylize_one(encoded, weights=None):
        image = images.decode(encoded, max_pixels=MAX_SERVED_PIXELS)[tf.newaxis]
        weights = None if weights is None else weights[tf.newaxis]
        stylized = _stylized(generator, image, weights)[0]
        return tf.io.encode_png(images.to_uint8_tensor(stylized))

    def stylize_encoded(image_bytes, style_weights=first):
        # One image at a time: each already keeps all cores busy, and memory is that of one.
        one_by_one = {"parallel_iterations": 1, "fn_output_signature": tf.string}
        if styles:
            style_weights = _checked_weights(style_weights)
            for_each = tf.broadcast_to(style_weights, [tf.size(image_bytes), styles])
            stylized = tf.map_fn(
                lambda pair: stylize_one(*pair), (image_bytes, for_each), **one_by_one
            )
        else:
            stylized = tf.map_fn(stylize_one, image_bytes, **one_by_one)
        return {"stylized_bytes": stylized}

    # Names that end in _bytes travel as base64 in the REST interface of TensorFlow Serving.
    shape = [None, None, None, 3]
    return module, {
        "serving_default": traced(stylize_uint8, shape, tf.uint8, "images"),
        "float": traced(stylize_float, shape, tf.float32, "images"),
        "encoded": traced(stylize_encoded, [None], tf.string, "image_bytes"),
    }


def write_warm_up(saved_model: Path, name: str, photo: np.ndarray, styles: int) -> None:
    """Writes requests that TensorFlow Serving runs when it loads the model: the first are slow.

    https://www.tensorflow.org/tfx/serving/saved_model_warmup

    Args:
        saved_model: folder of a SavedModel with the signatures of `servable`.
        name: of the model.
        photo: float32 RGB [H, W, 3] in [0, 1], for the requests; it is made small.
        styles: how many the model has; 0 for one that takes no weights.
    """
    small = images.resize(photo, (64, 64))
    inputs: list[tuple[str, str, Any]] = [
        ("serving_default", "images", images.to_uint8(small)[np.newaxis]),
        ("float", "images", small[np.newaxis]),
        ("encoded", "image_bytes", [images.encode(small, "jpeg"), images.encode(small, "png")]),
    ]
    path = saved_model / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, key, value in inputs:
            log = prediction_log_pb2.PredictionLog()
            request = log.predict_log.request
            request.model_spec.name, request.model_spec.signature_name = name, signature
            request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
            if styles:
                even = np.full((len(value), styles), 1 / styles, np.float32)
                request.inputs["style_weights"].CopyFrom(tf.make_tensor_proto(even))
            writer.write(log.SerializeToString())


def describe(signature: Any) -> dict:
    """{"inputs": {"images": "uint8 [None, None, None, 3]"}, "outputs": {...}} of a signature.

    Args:
        signature: as it is loaded from a SavedModel.
    """

    def text(spec):
        return f"{spec.dtype.name} {spec.shape.as_list()}"

    _, inputs = signature.structured_input_signature
    return {
        "inputs": {key: text(inputs[key]) for key in sorted(inputs)},
        "outputs": {key: text(spec) for key, spec in signature.structured_outputs.items()},
    }


def _checked_tensors(batch, weights):
    """The inputs of a signature of tensors, which raise InvalidArgument when run on wrong ones.

    Without, a request could ask for more memory than there is, which ends the server.
    """
    count, height, width, _ = tf.unstack(tf.shape(batch, tf.int64))
    pixels = count * height * width
    sizes = (count, width, height, pixels, MAX_SERVED_PIXELS)
    message = "{} images of {}x{} are {} pixels: give from 1 to the limit of {}"
    message = tf.strings.format(message, sizes)
    checks = [tf.debugging.Assert((pixels > 0) & (pixels <= MAX_SERVED_PIXELS), [message])]
    with tf.control_dependencies(checks):
        batch = tf.identity(batch)
    return batch, weights if weights is None else _checked_weights(weights)


def _checked_weights(weights):
    # Written so that NaN fails too.
    fine = tf.reduce_all(weights >= 0) & tf.reduce_all(
        tf.abs(tf.reduce_sum(weights, axis=-1) - 1) < 1e-3
    )
    message = "style_weights: give weights from 0 that sum to 1 for each image"
    with tf.control_dependencies([tf.debugging.Assert(fine, [message])]):
        return tf.identity(weights)


def _stylized(generator, batch, weights=None):
    return generator(batch if weights is None else [batch, weights], training=False)
