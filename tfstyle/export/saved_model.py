"""A trained generator as SavedModel and TFLite, let out only where it agrees with Keras.

    DIR/NAME/1/                 SavedModel in the layout of TensorFlow Serving; then 2/, 3/, ...
    DIR/NAME/1/assets.extra/    requests with which TensorFlow Serving warms each signature up
    DIR/NAME.tflite             float32
    DIR/NAME.float16.tflite     half the size, float32 in and out
    DIR/NAME.dynamic.tflite     dynamic-range int8: a quarter of the size, float32 in and out
    DIR/NAME.json               the model card

The TFLite files hold the newest version. The layout of cards is described at `export`.
"""

import dataclasses
import datetime
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from tensorflow_serving.apis import prediction_log_pb2

import tfstyle
from tfstyle import images
from tfstyle.data import samples
from tfstyle.errors import ArgumentError, TfstyleError
from tfstyle.export.flatbuffer import metadata, with_exact_kernels, with_metadata
from tfstyle.networks import layers, statistics

MAX_SERVED_PIXELS = images.MAX_SERVED_PIXELS

# [0, 1] float32 -> [0, 1] float32 in all three; by the suffix that their files bear before .tflite.
TFLITE_VARIANTS = ("float32", "float16", "dynamic")

# (measure, largest difference from Keras allowed), outputs in [0, 1]. uint8 may be off by its
# rounding on top of what float may be off.
BOUNDS = {
    "saved_model_float": ("max", 1e-3),
    "saved_model_uint8": ("max", 1e-3 + 0.5 / 255),
    "tflite_float32": ("max", 1e-3),
    "tflite_float16": ("max", 2 / 255),
    "tflite_dynamic": ("mean", 6 / 255),
}
# (height, width); one of them odd and not square.
PARITY_SIZES = ((256, 256), (199, 301))

_FILLED_IN = frozenset(
    "name version created tfstyle tensorflow keras styles parameters tile_margin "
    "memory_bytes_per_pixel signatures parity files versions".split()
)


class ExportError(TfstyleError, RuntimeError):
    """The generator cannot be exported, or its export differs too much from Keras."""


@dataclasses.dataclass(frozen=True)
class Exported:
    """What `export` wrote; `parity` is that of the card."""

    saved_model: Path
    tflite: dict[str, Path]
    card: Path
    version: int
    parity: dict


def export(
    generator: keras.Model,
    name: str,
    *,
    directory: str | os.PathLike = "saved_models",
    card: dict | None = None,
    photo: np.ndarray | None = None,
    styles: Sequence[str] = (),
) -> Exported:
    """Writes `generator` as the next version of the model `name`: SavedModel, TFLite and card.

    Signatures of the SavedModel: `serving_default` ("images" uint8 [N, H, W, 3] -> "stylized" the
    same), `float` (the same in float32, [0, 1]) and `encoded` ("image_bytes" string [N], JPEG or
    PNG of any mix of sizes -> "stylized_bytes" string [N], PNG). InvalidArgument, with a message
    that names the limit, answers a file that cannot be decoded, one of more than MAX_SERVED_PIXELS,
    a tensor with more than that in all its images, and one without any.

    A generator of several styles has a second input "style_weights", float32 [N or 1, styles], each
    image's from 0 and with sum 1 (else InvalidArgument); its TFLite files likewise, [1, styles],
    without a float16 one. It may be left out over gRPC and in other sessions, which gives the first
    style; the REST interface of TensorFlow Serving and signatures loaded in Python always want it.

    There is no input for a strength: who has both pictures blends them, as `serving.client` does,
    and REST, which knows no defaults, would want it named in every request.

    Every artifact is run on `photo` at PARITY_SIZES, in each style and in an even blend of all, and
    compared with Keras. The card says what was measured; its keys are name, version, created (UTC),
    tfstyle, tensorflow, keras, those of `card` (description, style, data, options, losses, licence,
    figures, ...; a list "limits" is added to), styles (their names in order, where there are
    several), parameters, tile_margin (how far the generator looks, in pixels),
    memory_bytes_per_pixel (of an image in TFLite float32), signatures, parity, limits, files
    (bytes, sha256) and versions (the history).

    For images that do not fit into memory, the TFLite files of a generator with instance norm have
    two more signatures, on one set of weights (float16 lacks them): `statistics` gives those of
    windows of an image, `tiles` stylizes a part of it with them; see `networks.statistics`.

    Everything is staged beside its destination and moved when all is well: a failure leaves nothing
    and older versions are never touched.

    Args:
        generator: Functional model, [B, H, W, 3] in [0, 1] -> the same, or of several styles as
            `networks.generators.fusion_generator`; under any dtype policy. It is exported in
            float32.
        name: letters, digits, "_" and "-".
        directory: made where it is missing.
        card: what the card shall say beyond what is measured here; JSON values.
        photo: float32 RGB [H, W, 3] in [0, 1]; a bundled photo by default.
        styles: names of a generator's several styles, in the order of their weights.

    Raises:
        ValueError: a bad name, a card that cannot be written as JSON or claims measured keys, or
            `styles` that are not one name for each style.
        ExportError: an older card is unreadable, the conversion failed, or parity is beyond BOUNDS.
    """
    check_name(name)
    directory = Path(directory)
    version = max(_versions(directory / name), default=0) + 1
    told = _told(card or {})
    styles = _checked_styles(generator, styles)
    history = [e for e in _history(directory / f"{name}.json") if e["version"] < version]
    if photo is None:
        photo = images.read(samples.photo_paths()[0])

    generator = in_float32(generator)
    module, signatures = _servable(generator)
    directory.mkdir(parents=True, exist_ok=True)
    # The staging folder is no version to TensorFlow Serving: it watches DIR/NAME for integers.
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=directory) as staging:
        staged = Path(staging)
        saved_model = staged / name / str(version)
        tf.saved_model.save(module, str(saved_model), signatures=signatures)
        _write_warm_up(saved_model, name, photo, len(styles))
        # With several styles LiteRT 2.x gives wrong pictures in float16, now and then, from the
        # second call after a resize on: better no such file than one that cannot be trusted.
        variants = [kind for kind in TFLITE_VARIANTS if not (styles and kind == "float16")]
        tflite = {variant: staged / _tflite_name(name, variant) for variant in variants}
        whole, parts = {"serving_default": _one_image(generator)}, _of_parts(generator)
        for variant, path in tflite.items():
            # In float16, LiteRT goes wrong where there are two inputs; see above.
            functions = whole if variant == "float16" else whole | parts
            content = _tflite(name, module, functions, variant)
            say = metadata(name, variant, {**told, "version": version}, styles)
            path.write_bytes(with_metadata(content, say))
        parity = _parity(name, generator, photo, saved_model, tflite)
        head = {
            "name": name,
            "version": version,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "tfstyle": tfstyle.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        }
        limits = [
            f"encoded: at most {MAX_SERVED_PIXELS} pixels an image",
            f"serving_default, float: at most {MAX_SERVED_PIXELS} pixels a call",
            "TFLite: one image a call",
            *told.pop("limits", []),
        ]
        content = {
            **head,
            **told,
            **({"styles": styles} if styles else {}),
            "parameters": generator.count_params(),
            "tile_margin": statistics.reach(generator),
            "memory_bytes_per_pixel": _memory(tflite["float32"]),
            "signatures": {
                key: _describe(function.get_concrete_function())
                for key, function in signatures.items()
            },
            "parity": parity,
            "limits": limits,
            "files": _files(staged),
            "versions": [*history, {key: head[key] for key in list(head)[1:]}],
        }
        staged_card = staged / f"{name}.json"
        staged_card.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")

        # Only renames from here on; the card comes last because it speaks of all the others.
        (directory / name).mkdir(exist_ok=True)
        saved_model = saved_model.rename(directory / name / str(version))
        tflite = {v: path.replace(directory / path.name) for v, path in tflite.items()}
        card_path = staged_card.replace(directory / staged_card.name)
    return Exported(saved_model, tflite, card_path, version, parity)


def check_name(name: str) -> None:
    """Raises ValueError where `export` would: to be asked before the training, not after it."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ArgumentError(f"name {name!r}: give one of letters, digits, '_' and '-'")


def announce(exported: Exported, picture: str | os.PathLike) -> None:
    """Prints where the artifacts and a picture made with them lie."""
    print(f"SavedModel  {exported.saved_model}")
    for variant, path in exported.tflite.items():
        print(f"TFLite      {path}  ({variant}, {path.stat().st_size / 1e6:.2f} MB)")
    print(f"Card        {exported.card}")
    print(f"Picture     {picture}")


def _versions(folder: Path) -> list[int]:
    return [int(path.name) for path in folder.glob("*") if path.name.isdecimal()]


def _tflite_name(name: str, variant: str) -> str:
    return f"{name}.tflite" if variant == "float32" else f"{name}.{variant}.tflite"


def _told(card: dict) -> dict:
    """A copy of `card`, checked before anything long is done."""
    taken = sorted(card.keys() & _FILLED_IN)
    if taken:
        raise ArgumentError(f"card: {', '.join(taken)} are filled in by the export; leave them out")
    try:
        json.dumps(card, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"card: not JSON ({error}); give strings, finite numbers, lists and dicts"
        ) from error
    return dict(card)


def _style_count(generator: keras.Model) -> int:
    """How many styles a generator blends; 0 where it has one alone and takes no weights."""
    return generator.inputs[1].shape[-1] if len(generator.inputs) > 1 else 0


def _checked_styles(generator, styles: Sequence[str]) -> list[str]:
    count = _style_count(generator)
    if len(styles) != count:
        raise ArgumentError(
            f"styles {list(styles)}: the generator has {count or 'no choice of'} styles; give the "
            "name of each, in order"
        )
    if len(set(styles)) != len(styles):
        raise ArgumentError(f"styles {list(styles)}: give each style a name of its own")
    return list(styles)


def _history(path: Path) -> list[dict]:
    """The versions that the older card tells of."""
    if not path.exists():
        return []
    try:
        return [
            {**entry, "version": int(entry["version"])}
            for entry in json.loads(path.read_text("utf-8"))["versions"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ExportError(
            f"{path}: not a model card ({error!r}), so its history of versions cannot be kept. "
            "Mend it or move it away"
        ) from error


def in_float32(generator: keras.Model) -> keras.Model:
    """A copy that computes in float32, its variables on one device and without an optimizer.

    Under mixed_float16 the converter fails; a copy is also free of the distribution strategy that
    the generator was trained in.
    """

    def rebuild(layer):
        return layer.__class__.from_config({**layer.get_config(), "dtype": "float32"})

    copy = keras.models.clone_model(generator, clone_function=rebuild, recursive=True)
    copy.set_weights(generator.get_weights())
    return copy


def _servable(generator: keras.Model) -> tuple[tf.Module, dict]:
    """(module, {name: tf.function}) for tf.saved_model.save; the module keeps the weights alive."""
    module = tf.Module()
    # The variables, not the model: a Keras model that is tracked here keeps the TFLite converter
    # from freezing the weights into the graph; it says nothing, and the outputs are NaN.
    module.weights = [variable.value for variable in generator.variables]

    styles = _style_count(generator)
    # A default that is a tensor becomes that of the signature.
    first = tf.one_hot([0], styles) if styles else None
    weights_spec = [tf.TensorSpec([None, styles], tf.float32, "style_weights")] if styles else []

    def traced(function, *spec):
        return tf.function(function, input_signature=[tf.TensorSpec(*spec), *weights_spec])

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


def _write_warm_up(saved_model: Path, name: str, photo: np.ndarray, styles: int):
    """Requests that TensorFlow Serving runs when it loads the model: the first are slow.

    https://www.tensorflow.org/tfx/serving/saved_model_warmup
    """
    small = images.resize(photo, (64, 64))
    inputs = [
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


def _stylized(generator, batch, weights=None):
    return generator(batch if weights is None else [batch, weights], training=False)


def _describe(signature) -> dict:
    """{"inputs": {"images": "uint8 [None, None, None, 3]"}, "outputs": {...}} of a signature."""

    def text(spec):
        return f"{spec.dtype.name} {spec.shape.as_list()}"

    inputs = tf.nest.flatten(signature.structured_input_signature)
    return {
        # The default of an input that there is not, style_weights, stands among them too.
        "inputs": {spec.name: text(spec) for spec in inputs if isinstance(spec, tf.TensorSpec)},
        "outputs": {key: text(spec) for key, spec in signature.structured_outputs.items()},
    }


def _one_image(generator: keras.Model):
    """The generator as TFLite shall compute it: float32 [1, H, W, 3] -> the same.

    Of several styles, it takes their weights [1, styles] too.
    """

    @tf.function(input_signature=_tflite_specs(generator, batch=1))
    def stylize(batch, weights=None):
        return {"stylized": _stylized(generator, batch, weights)}

    return stylize


def _of_parts(generator: keras.Model) -> dict:
    """{name: tf.function} of the signatures for parts of an image."""
    channels = layers.normalised_channels(generator)
    if not channels:
        return {}

    @tf.function(input_signature=_tflite_specs(generator, batch=None))
    def take(*inputs):
        return {"statistics": statistics.taken(generator, inputs)}

    spec = tf.TensorSpec([2, channels], tf.float32, name="statistics")

    @tf.function(input_signature=[*_tflite_specs(generator, batch=1), spec])
    def stylize(*inputs):
        return {"stylized": statistics.with_given(generator, inputs[:-1], inputs[-1])}

    return {"statistics": take, "tiles": stylize}


def _tflite_specs(generator, batch):
    specs = [tf.TensorSpec([batch, None, None, 3], tf.float32, name="images")]
    if styles := _style_count(generator):
        specs.append(tf.TensorSpec([1, styles], tf.float32, name="style_weights"))
    return specs


def _tflite(name: str, module: tf.Module, functions: dict, variant: str) -> bytes:
    """A TFLite model of any height and width, in built-in operations only.

    `functions`: {name: tf.function} of its signatures, of which the first is the main one.
    """
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=functions)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(functions))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        try:
            exact = converter.convert() if variant == "dynamic" else None
            if variant != "float32":
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
            if variant == "float16":
                converter.target_spec.supported_types = [tf.float16]
            content = converter.convert()
        except Exception as error:  # The converter's own class is not public.
            raise ExportError(
                f"{name}: no {variant} TFLite model with built-in operations alone: {error}"
            ) from error
    return with_exact_kernels(content, exact) if exact else content


def _parity(name, generator, photo, saved_model: Path, tflite: dict[str, Path]) -> dict:
    """{artifact: {"measure", "bound", "max", "mean"}}: differences from Keras, worst of all runs.

    Raises ExportError that names every artifact beyond its bound.
    """
    # All on the CPU, where TFLite runs too: a GPU rounds convolutions to TensorFloat-32.
    with tf.device("CPU"):
        served = tf.saved_model.load(str(saved_model)).signatures

        def call(signature, image, weights):
            inputs = {"images": tf.constant(image)}
            if weights is not None:
                inputs["style_weights"] = tf.constant(weights)
            return served[signature](**inputs)["stylized"].numpy()

        def run_float(image, weights):
            return call("float", image, weights)

        def run_uint8(image, weights):
            return images.from_uint8(call("serving_default", images.to_uint8(image), weights))

        runs = {"saved_model_float": run_float, "saved_model_uint8": run_uint8}
        for variant, path in tflite.items():
            runs[f"tflite_{variant}"] = _tflite_run(path)

        differences = {artifact: [] for artifact in runs}
        styles = _style_count(generator)
        tried = _weights_to_try(styles) if styles else []
        for size in PARITY_SIZES:
            # Through uint8, so that every artifact gets the same values.
            image = images.from_uint8(images.to_uint8(images.resize(photo, size)))[np.newaxis]
            for weights in [np.array([w], np.float32) for w in tried] or [None]:
                expected = _stylized(generator, image, weights).numpy()
                for artifact, run in runs.items():
                    differences[artifact].append(np.abs(run(image, weights) - expected))

    parity, failures = {}, []
    for artifact in differences:
        measure, bound = BOUNDS[artifact]
        worst = {
            # Not Python's max, which can pass over NaN.
            "max": float(np.max([difference.max() for difference in differences[artifact]])),
            "mean": float(np.max([difference.mean() for difference in differences[artifact]])),
        }
        parity[artifact] = {"measure": measure, "bound": bound, **worst}
        if not worst[measure] <= bound:  # so that NaN fails too
            failures.append(f"{artifact} by {measure} {worst[measure]:.6f} (bound {bound:.6f})")
    if failures:
        raise ExportError(
            f"{name}: differs from Keras on a photo: {'; '.join(failures)}. Nothing was written. "
            "Look for an operation that the converter approximates, or train further: weights of "
            "an unfinished training can be too wide for int8"
        )
    told = {"sizes": [list(size) for size in PARITY_SIZES]}
    if tried:
        told["style_weights"] = tried
    return told | parity


def _weights_to_try(styles: int) -> list[list[float]]:
    """Each style alone, and an even blend of all."""
    return [*np.eye(styles).tolist(), [1 / styles] * styles]


def _tflite_run(path: Path):
    interpreter = Interpreter(model_path=str(path), num_threads=os.cpu_count())
    # The image has four dimensions and comes first, the style weights have two.
    inputs = sorted(interpreter.get_input_details(), key=lambda details: -len(details["shape"]))
    (result,) = interpreter.get_output_details()

    def run(image, weights):
        interpreter.resize_tensor_input(inputs[0]["index"], image.shape)
        interpreter.allocate_tensors()
        for details, value in zip(inputs, (image, weights), strict=False):
            interpreter.set_tensor(details["index"], value)
        interpreter.invoke()
        return interpreter.get_tensor(result["index"])

    return run


# TFLite holds its buffers after a call, so that the resident size then is that of the peak.
_MEASURE_MEMORY = """
import sys
import psutil
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter(model_path=sys.argv[1])
source = max(interpreter.get_input_details(), key=lambda details: len(details["shape"]))

def resident(side):
    interpreter.resize_tensor_input(source["index"], (1, side, side, 3))
    interpreter.allocate_tensors()
    interpreter.invoke()
    return psutil.Process().memory_info().rss

small = resident(64)
print((resident(512) - small) // (512**2 - 64**2))
"""


def _memory(path: Path) -> int:
    """Bytes that a TFLite model needs for a pixel of its image, all its buffers counted."""
    # In a process of its own: here, what was freed before would be used again and not be seen.
    command = [sys.executable, "-c", _MEASURE_MEMORY, str(path)]
    return int(subprocess.run(command, capture_output=True, check=True).stdout)


def _files(folder: Path) -> dict:
    """{path relative to `folder`: {"bytes", "sha256"}} of every file below it, sorted."""
    return {
        path.relative_to(folder).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
