"""A generator as TFLite files for a phone, a board or a browser, each judged before it is kept.

    DIR/NAME.tflite, NAME.float16.tflite, NAME.dynamic.tflite, NAME.int8.tflite
    DIR/NAME.384x512.tflite ...      of one size alone, which LiteRT.js and many accelerators want
    DIR/NAME.tflite.json             the report: sizes, times, parity

All take and give float32 in [0, 1], have the signature "serving_default" (images -> stylized, and
style_weights where there are several styles), consist of built-in operations, and carry a JSON text
that says what they are (`tflite.read_metadata`).
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

import tfstyle
from tfstyle import images, inference, samples, tflite

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

# What is timed, and what int8 is calibrated at, where a file takes any size: (height, width).
TIMED_SIZE = (512, 512)
CALIBRATION_SIZE = (256, 256)
# Where a file takes any size, parity is measured at these; one of them odd and not square.
PARITY_SIZES = ((256, 256), (199, 301))
MAX_CALIBRATION_PHOTOS = 100
THREADS = (1, 2)

_SMALLEST, _LARGEST = 16, 4096  # pixels a side


class DeviceError(ValueError):
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


@dataclasses.dataclass(frozen=True)
class Report:
    """What `export` did. `content` is that of the JSON file.

    Attributes:
        files: {variant: path} of those that were kept.
        refused: {variant: sentence with the figures}.
        path: of the JSON file; None where nothing was kept, so that nothing was written.
        content: {"name", "size", "machine", "variants": {variant: {"kept", "file", "bytes",
            "sha256", "operators", "milliseconds": {"1", "2"}, "parity"}}, ...}.
    """

    files: dict[str, Path]
    refused: dict[str, str]
    path: Path | None
    content: dict


def read(model: str | os.PathLike) -> Source:
    """The generator that a path or name means.

    Args:
        model: a .keras file; the folder of a run (of the pipelines fast, fusion, style_class and
            gan); the folder of a SavedModel that tfstyle exported, or of its versions, of which the
            highest is taken; or the name of an exported model.

    Raises:
        DeviceError: where it is none of these.
    """
    path = Path(model)
    if path.suffix == ".tflite":
        raise DeviceError(
            f"{path}: is a TFLite file already. Give what it was made of: a .keras file, a run's "
            "folder or a SavedModel"
        )
    try:
        import tensorflow  # noqa: F401
    except ModuleNotFoundError:
        raise DeviceError(
            f"{model}: to convert it TensorFlow is needed, which is not installed. Convert it "
            "where it is, with `tfstyle export`, and bring the .tflite files"
        ) from None
    if path.suffix == ".keras":
        if not path.is_file():
            raise DeviceError(f"{path}: no such file")
        return from_keras(inference.read_keras(path), path.stem, inference.read_card(path))
    from tfstyle import rebuild

    options_file = rebuild.options_file(path)
    if options_file.is_file():
        try:
            return _from_run(rebuild.of_run(path), options_file)
        except rebuild.RebuildError as error:
            raise DeviceError(str(error)) from error
    return _from_saved_model(inference.find_saved_model(model))


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


def _from_saved_model(folder: Path) -> Source:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))
    if "float" not in loaded.signatures:
        raise DeviceError(
            f"{folder}: no signature 'float' among {sorted(loaded.signatures)}. Give a SavedModel "
            "that tfstyle exported"
        )
    signature = loaded.signatures["float"]
    takes = signature.structured_input_signature[1]
    known = {"images", "style_weights", "strength"}
    if not {"images"} <= takes.keys() <= known:
        raise DeviceError(f"{folder}: signature 'float' takes {sorted(takes)}, not images alone")
    count = takes["style_weights"].shape[1] if "style_weights" in takes else 0

    def stylize(batch, weights=None):
        given = {"images": batch}
        if weights is not None:
            given["style_weights"] = weights
        if "strength" in takes:
            given["strength"] = tf.ones([side or 1 for side in takes["strength"].shape])
        return signature(**given)["stylized"]

    name = folder.parent.name if folder.name.isdecimal() else folder.name
    card = inference.read_card(folder)
    return Source(name, stylize, _style_names(card, count), card, loaded)


def _from_run(built, options_file: Path) -> Source:
    options = built.options
    card = {
        "style": options.get("title") or options.get("style") or "",
        "licence": options.get("licence") or "",
        "pipeline_options": str(options_file),
    }
    return from_keras(built.exported, options.get("name") or options_file.parent.name, card)


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
        content = tflite.with_exact_kernels(content, exact)
    return tflite.with_metadata(
        content, tflite.metadata(source.name, variant, source.card, source.styles, size)
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


def milliseconds(path: str | os.PathLike, threads: int, size: tuple[int, int]) -> float:
    """Time of a call, photo in and picture out: the quickest of seven, after a first one.

    Not the median: what else the machine does only ever adds to a time.
    """
    run = tflite.runner(Path(path), threads)
    photo = images.resize(samples.photo("chelsea"), size)[np.newaxis]
    given = [photo, np.eye(run.styles, dtype=np.float32)[:1]] if run.styles else [photo]
    seconds = []
    for _ in range(8):
        start = time.perf_counter()
        run(*given)
        seconds.append(time.perf_counter() - start)
    return 1e3 * min(seconds[1:])


def export(
    source: Source,
    variants: Sequence[str],
    output: str | os.PathLike,
    *,
    size: tuple[int, int] | None = None,
    calibration: Sequence[np.ndarray] = (),
    photos: Sequence[np.ndarray] | None = None,
    progress: Callable[[str], object] = lambda text: None,
) -> Report:
    """Writes the variants that keep within BOUNDS of `source`, and a report beside them.

    A variant beyond its bound is not written, and stands in the report with its figures. Where none
    is kept, nothing is written at all.

    Args:
        source: see `read`.
        variants: of VARIANTS.
        output: a folder, made where it is missing; or, of one variant, a name that ends in .tflite.
        size: (height, width) that alone the files shall take, 16 to 4096 each; any by default.
        calibration: photos for int8, float32 RGB [H, W, 3] in [0, 1]; the first
            MAX_CALIBRATION_PHOTOS are taken.
        photos: that parity is measured on; those bundled by default. They are resized.
        progress: is told what is being done.

    Raises:
        DeviceError: see `convert`; or for a bad size or output.
    """
    variants, output = list(dict.fromkeys(variants)), Path(output)
    unknown = [variant for variant in variants if variant not in VARIANTS]
    if unknown or not variants:
        raise DeviceError(f"variants {unknown or 'none'}: give some of {', '.join(VARIANTS)}")
    if size is not None and not all(_SMALLEST <= side <= _LARGEST for side in size):
        raise DeviceError(
            f"size {size[0]}x{size[1]}: give height and width from {_SMALLEST} to {_LARGEST}"
        )
    if output.suffix == ".tflite" and len(variants) > 1:
        raise DeviceError(f"{output}: one file for {len(variants)} variants. Give a folder")
    if output.suffix == ".tflite" and output.is_dir():
        raise DeviceError(f"{output}: a folder. Give a file in it")
    if output.suffix != ".tflite" and output.exists() and not output.is_dir():
        raise DeviceError(f"{output}: not a folder, nor a name that ends in .tflite")
    if photos is None:
        photos = [images.read(path) for path in samples.photo_paths()]
    sizes = [size] if size else PARITY_SIZES
    judged = [images.resize(photo, each) for photo in photos for each in sizes]

    folder, base = output, source.name
    if output.suffix == ".tflite":
        folder, base = output.parent, output.stem
    elif size:
        base += f".{size[0]}x{size[1]}"
    targets = {
        variant: output
        if output.suffix == ".tflite"
        else folder / (f"{base}.tflite" if variant == "float32" else f"{base}.{variant}.tflite")
        for variant in variants
    }
    expected = reference(source)
    found, refused, told = {}, {}, {}
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{base}-", dir=folder) as staging:
            for variant in variants:
                progress(f"{variant}: converting")
                staged = Path(staging) / targets[variant].name
                calibrating = list(calibration)[:MAX_CALIBRATION_PHOTOS]
                staged.write_bytes(convert(source, variant, size=size, calibration=calibrating))
                progress(f"{variant}: measuring")
                entry = _judged(variant, staged, source, expected, judged, size)
                told[variant] = entry | {"file": targets[variant].name}
                if entry["kept"]:
                    found[variant] = staged
                else:
                    refused[variant] = _refusal(variant, entry)
            content = {
                "name": source.name,
                "tfstyle": tfstyle.__version__,
                "litert": _litert_version(),
                "size": list(size) if size else "any",
                "timed_size": list(size or TIMED_SIZE),
                "machine": _machine(),
                "parity_sizes": [list(each) for each in sizes],
                "parity_photos": len(photos),
                "calibration_photos": min(len(calibration), MAX_CALIBRATION_PHOTOS),
                "styles": list(source.styles),
                "variants": told,
            }
            if not found:
                return Report({}, refused, None, content)
            staged_report = Path(staging) / f"{base}.tflite.json"
            staged_report.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
            # Only renames from here on.
            for variant, staged in found.items():
                staged.replace(targets[variant])
            report = staged_report.replace(folder / staged_report.name)
        return Report({variant: targets[variant] for variant in found}, refused, report, content)
    finally:
        if not found:
            for path in missing:  # innermost first
                with contextlib.suppress(OSError):
                    path.rmdir()


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


def _judged(variant: str, path: Path, source: Source, expected, photos, size) -> dict:
    measure, bound = BOUNDS[variant]
    run = tflite.runner(path, os.cpu_count())
    worst = parity(run, expected, photos, styles=len(source.styles))
    content = path.read_bytes()
    return {
        "kept": worst[measure] <= bound,  # not so for NaN
        "file": path.name,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "operators": tflite.operators(path),
        "milliseconds": {
            str(threads): round(milliseconds(path, threads, size or TIMED_SIZE), 2)
            for threads in THREADS
        },
        "parity": {"measure": measure, "bound": bound, **worst},
    }


def _refusal(variant: str, entry: dict) -> str:
    told, times = entry["parity"], entry["milliseconds"]
    measure = told["measure"]
    return (
        f"{variant} differs from Keras by {measure} {255 * told[measure]:.2f}/255 (bound "
        f"{255 * told['bound']:.2f}/255; max {255 * told['max']:.1f}/255), in "
        f"{entry['bytes'] / 1e6:.2f} MB and {times['1']:.0f} ms on 1 thread, {times['2']:.0f} ms "
        "on 2. It was not written"
    )


def _litert_version() -> str:
    import importlib.metadata

    return importlib.metadata.version("ai-edge-litert")


def _machine() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if line.startswith(("model name", "Model")):
                return f"{line.partition(':')[2].strip()}, {os.cpu_count()} cores"
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
