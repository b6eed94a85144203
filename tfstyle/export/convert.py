"""The one TFLite converter: any generator, any variant, judged beside its source."""

import contextlib
import dataclasses
import hashlib
import os
import sys
import warnings
from collections.abc import Callable, Sequence

import numpy as np

from tfstyle import images
from tfstyle.errors import TfstyleError
from tfstyle.export import flatbuffer

# float32 as trained; float16 half the size; dynamic: int8 weights, activations quantised as they
# come; int8: both, with ranges seen on calibration photos.
VARIANTS = ("float32", "float16", "dynamic", "int8")

# (measure, largest difference from Keras allowed), outputs in [0, 1], as in `export.BOUNDS`.
BOUNDS = {
    "float32": ("max", 1e-3),
    "float16": ("max", 2 / 255),
    "dynamic": ("mean", 6 / 255),
    "int8": ("mean", 6 / 255),
}
CALIBRATION_SIZE = (256, 256)
# Where a file takes any size, parity is measured at these; one of them odd and not square.
PARITY_SIZES = ((256, 256), (199, 301))


class DeviceError(TfstyleError, ValueError):
    """The model cannot become what was asked for; the message says why."""


@dataclasses.dataclass(frozen=True)
class Source:
    """A generator to convert.

    Attributes:
        name: what its files are called after.
        stylize: images [1, H, W, 3] in [0, 1] and, where there are `styles`, weights [1, styles],
            to images; to be traced.
        styles: names, in order; () for one style alone.
        card: what is told about it, as in a model card; may be empty.
        alive: what holds the variables.
    """

    name: str
    stylize: Callable
    styles: tuple[str, ...]
    card: dict
    alive: object


def from_keras(generator, name: str, card: dict | None = None) -> Source:
    """A `Source` of a Keras generator.

    Args:
        generator: keras.Model, [B, H, W, 3] in [0, 1] -> the same, or with style weights [B,
            styles] as a second input; under any dtype policy.
        name: of its files.
        card: as `Source.card`; its "styles" are the names of the styles.
    """
    import tensorflow as tf

    from tfstyle.export import in_float32

    generator = in_float32(generator)
    count = generator.inputs[1].shape[-1] if len(generator.inputs) > 1 else 0
    # The variables, not the model: see `export`.
    alive = tf.Module()
    alive.weights = [variable.value for variable in generator.variables]

    def stylize(batch, weights=None):
        return generator(batch if weights is None else [batch, weights], training=False)

    return Source(name, stylize, _style_names(card or {}, count), card or {}, alive)


def _style_names(card: dict, count: int) -> tuple[str, ...]:
    names = card.get("styles")
    if isinstance(names, list) and len(names) == count:
        return tuple(map(str, names))
    return tuple(map(str, range(count)))


def convert(
    source: Source,
    variant: str,
    *,
    size: tuple[int, int] | None = None,
    calibration: Sequence[np.ndarray] = (),
) -> bytes:
    """One TFLite file, with its metadata; not yet compared with anything.

    Args:
        variant: one of VARIANTS.
        size: (height, width) that alone it shall take; any by default.
        calibration: photos for int8, float32 RGB [H, W, 3] in [0, 1].

    Raises:
        DeviceError: for another variant, int8 without photos, float16 of several styles and any
            size, or operations that TFLite lacks.
    """
    import tensorflow as tf

    if variant not in VARIANTS:
        raise DeviceError(f"variant {variant!r}: give {', '.join(VARIANTS)}")
    if variant == "int8" and not calibration:
        raise DeviceError("int8 needs photos to see its ranges on: give calibration photos")
    if variant == "float16" and source.styles and size is None:
        # See `export`: LiteRT 2.x then gives wrong pictures now and then, after a resize.
        raise DeviceError(
            "float16 of several styles cannot be trusted at any size (a fault of LiteRT 2): give "
            "one --size, or dynamic"
        )
    specs = [tf.TensorSpec([1, *(size or (None, None)), 3], tf.float32, name="images")]
    if source.styles:
        specs.append(tf.TensorSpec([1, len(source.styles)], tf.float32, name="style_weights"))

    @tf.function(input_signature=specs)
    def stylize(batch, weights=None):
        stylized = source.stylize(batch) if weights is None else source.stylize(batch, weights)
        return {"stylized": tf.cast(stylized, tf.float32)}

    def converted(variant):
        # A converter of functions converts once.
        converter = tf.lite.TFLiteConverter.from_concrete_functions(
            [stylize.get_concrete_function()], source.alive
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if variant != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if variant == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if variant == "int8":
            examples = _examples(source, calibration, size or CALIBRATION_SIZE)
            converter.representative_dataset = lambda: iter(examples)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        with _silent(), warnings.catch_warnings():
            # The converter itself uses what it warns of, to calibrate by names.
            warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter is deprecated")
            return converter.convert()

    try:
        content = converted(variant)
        exact = converted("float32") if variant == "dynamic" else None
    except Exception as error:  # The converter's own class is not public.
        raise DeviceError(
            f"{source.name}: no {variant} TFLite model with built-in operations alone: {error}"
        ) from error
    if exact:
        content = flatbuffer.with_exact_kernels(content, exact)
    return flatbuffer.with_metadata(
        content, flatbuffer.metadata(source.name, variant, source.card, source.styles, size)
    )


def _examples(source: Source, photos, size) -> list[dict[str, np.ndarray]]:
    """Inputs for calibration, by name: each photo, the styles taken in turns."""
    examples = []
    for index, photo in enumerate(photos):
        example = {"images": images.resize(photo, size)[np.newaxis].astype(np.float32)}
        if source.styles:
            count = len(source.styles)
            example["style_weights"] = np.eye(count, dtype=np.float32)[[index % count]]
        examples.append(example)
    return examples


@contextlib.contextmanager
def _silent():
    """Drops what the converter's C++ writes to standard error: its errors come as exceptions."""
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except OSError:  # no standard error at all
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def to_try(styles: int) -> list[np.ndarray | None]:
    """Weights that parity is measured with: each style alone and all evenly; None for one style."""
    if not styles:
        return [None]
    return [np.array([row], np.float32) for row in [*np.eye(styles), np.full(styles, 1 / styles)]]


def parity(
    run: Callable, reference: Callable, photos: Sequence[np.ndarray], *, styles: int = 0
) -> dict[str, float]:
    """How far one is from the other: {"max", "mean"}, the worst of all photos and weights.

    Args:
        run, reference: float32 [1, H, W, 3] in [0, 1], and [1, styles] where there are any, to
            float32 [1, H, W, 3].
        photos: float32 RGB [H, W, 3] in [0, 1].
        styles: each is tried, and an even blend of all.
    """
    worst = {"max": [], "mean": []}
    for photo in photos:
        # Through uint8, as a photo comes.
        image = images.from_uint8(images.to_uint8(photo))[np.newaxis]
        for weights in to_try(styles):
            given = [image] if weights is None else [image, weights]
            expected = np.asarray(reference(*given))
            # Twice: a fault of LiteRT shows from the second call on.
            for _ in range(2):
                difference = np.abs(np.asarray(run(*given)) - expected)
                worst["max"].append(difference.max())
                worst["mean"].append(difference.mean())
    return {key: float(np.max(values)) for key, values in worst.items()}  # max lets NaN through


def reference(source: Source) -> Callable:
    """What `parity` compares with: `source.stylize` of arrays, on the CPU, where TFLite runs too.

    It keeps its answers: each variant asks the same.
    """
    import tensorflow as tf

    specs = [tf.TensorSpec([1, None, None, 3], tf.float32)]
    if source.styles:
        specs.append(tf.TensorSpec([1, len(source.styles)], tf.float32))
    traced = tf.function(source.stylize, input_signature=specs)
    known = {}

    def run(*given):
        key = tuple(hashlib.sha256(np.ascontiguousarray(each)).digest() for each in given)
        if key not in known:
            with tf.device("CPU"):
                known[key] = traced(*map(tf.constant, given)).numpy()
        return known[key]

    return run
