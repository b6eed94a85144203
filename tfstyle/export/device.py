"""A generator as TFLite files for a phone, a board or a browser, each judged before it is kept.

    DIR/NAME.tflite, NAME.float16.tflite, NAME.dynamic.tflite, NAME.int8.tflite
    DIR/NAME.384x512.tflite ...      of one size alone, which LiteRT.js and many accelerators want
    DIR/NAME.tflite.json             the report: sizes, times, parity

All take and give float32 in [0, 1], have the signature "serving_default" (images -> stylized, and
style_weights where there are several styles), consist of built-in operations, and carry a JSON text
that says what they are (`runners.read_metadata`).
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

import tfstyle
from tfstyle import files, images, machine, stylize
from tfstyle.data import samples
from tfstyle.export import flatbuffer, parity
from tfstyle.export.convert import VARIANTS, Conversion, Source, from_keras, style_names
from tfstyle.export.errors import DeviceError
from tfstyle.stylize import runners

# What is timed, and what int8 is calibrated at, where a file takes any size: (height, width).
TIMED_SIZE = (512, 512)
MAX_CALIBRATION_PHOTOS = 100
THREADS = (1, 2)

_SMALLEST, _LARGEST = 16, 4096  # pixels a side


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
        return from_keras(runners.read_keras(path), path.stem, stylize.read_card(path))
    from tfstyle.export import rebuild

    options_file = rebuild.options_file(path)
    if os.path.isfile(options_file):
        try:
            return _from_run(rebuild.of_run(path), options_file)
        except rebuild.RebuildError as error:
            raise DeviceError(str(error)) from error
    return _from_saved_model(stylize.find_saved_model(model))


def _from_saved_model(folder: Path) -> Source:
    import tensorflow as tf

    with files.plain(folder) as plain:
        loaded = tf.saved_model.load(str(plain))
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

    def stylized(batch: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        given = {"images": batch}
        if weights is not None:
            given["style_weights"] = weights
        if "strength" in takes:
            given["strength"] = tf.ones([side or 1 for side in takes["strength"].shape])
        return signature(**given)["stylized"]

    name = folder.parent.name if folder.name.isdecimal() else folder.name
    card = stylize.read_card(folder)
    return Source(name, stylized, style_names(card, count), card, loaded)


def _from_run(built, options_file: Path) -> Source:
    options = built.options
    card = {
        "style": options.get("title") or options.get("style") or "",
        "licence": options.get("licence") or "",
        "pipeline_options": str(options_file),
    }
    return from_keras(built.exported, options.get("name") or options_file.parent.name, card)


def milliseconds(path: str | os.PathLike, threads: int, size: tuple[int, int]) -> float:
    """Time of a call, photo in and picture out: the quickest of seven, after a first one.

    Not the median: what else the machine does only ever adds to a time.
    """
    run = runners.TFLiteRunner(path, threads)
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
    """Writes the variants that keep within `parity.BOUNDS` of `source`, and a report beside them.

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
        DeviceError: see `convert.Conversion`; or for a bad size or output.
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
    sizes = [size] if size else parity.PARITY_SIZES
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
    expected = parity.reference(source.stylize, len(source.styles))
    found, refused, told = {}, {}, {}
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with (
            files.staging(folder) as staging,
            Conversion(source, size=size) as conversion,
        ):
            for variant in variants:
                progress(f"{variant}: converting")
                staged = staging / targets[variant].name
                calibrating = list(calibration)[:MAX_CALIBRATION_PHOTOS]
                staged.write_bytes(conversion.to(variant, calibration=calibrating))
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
            staged_report = staging / f"{base}.tflite.json"
            staged_report.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
            report = folder / staged_report.name
            moves = [(staged, targets[variant]) for variant, staged in found.items()]
            files.move_all([*moves, (staged_report, report)])
        return Report({variant: targets[variant] for variant in found}, refused, report, content)
    finally:
        if not found:
            for path in missing:  # innermost first
                with contextlib.suppress(OSError):
                    path.rmdir()


def _judged(variant: str, path: Path, source: Source, expected, photos, size) -> dict:
    run = runners.TFLiteRunner(path, machine.cores())
    worst = parity.measure(run, expected, photos, styles=len(source.styles))
    verdict = parity.verdict(f"tflite_{variant}", worst)
    content = path.read_bytes()
    return {
        "kept": parity.within(verdict),
        "file": path.name,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "operators": flatbuffer.operators(path),
        "milliseconds": {
            str(threads): round(milliseconds(path, threads, size or TIMED_SIZE), 2)
            for threads in THREADS
        },
        "parity": verdict,
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
                return f"{line.partition(':')[2].strip()}, {machine.cores()} cores"
    return f"{platform.processor() or platform.machine()}, {machine.cores()} cores"
