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
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tfstyle
from tfstyle import files, images, machine, stylize
from tfstyle.data import samples
from tfstyle.errors import ArgumentError
from tfstyle.export import card as cards, convert, parity, signatures
from tfstyle.export.errors import ExportError
from tfstyle.networks import description, statistics
from tfstyle.stylize import runners

MAX_SERVED_PIXELS: int = signatures.MAX_SERVED_PIXELS

# [0, 1] float32 -> [0, 1] float32 in all three; by the suffix that their files bear before .tflite.
TFLITE_VARIANTS = ("float32", "float16", "dynamic")


@dataclasses.dataclass(frozen=True)
class Exported:
    """What `export` wrote; `parity` is that of the card."""

    saved_model: Path
    tflite: dict[str, Path]
    card: Path
    version: int
    parity: dict


@machine.own_random_state()
def export(
    generator: keras.Model,
    name: str,
    *,
    directory: str | os.PathLike = "saved_models",
    card: Mapping | None = None,
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
    compared with Keras. The card says what was measured; its keys are schema (the version of this
    layout, `stylize.CARD_SCHEMA`; a card without it is of 0, which had no network either), name,
    version, created (UTC), tfstyle, tensorflow, keras, those of `card` (description, style, data,
    options, losses, licence, figures, ...; a list "limits" is added to), network (how it was built,
    where a builder of `networks` did, for `rebuild`: see `networks.description`), styles (their
    names in order, where there are several), parameters, tile_margin (how far the generator looks,
    in pixels), memory_bytes_per_pixel (of an image in TFLite float32), signatures, parity, limits,
    files (bytes, sha256) and versions (the history).

    For images that do not fit into memory, the TFLite files of a generator with instance norm have
    two more signatures, on one set of weights (float16 lacks them): `statistics` gives those of
    windows of an image, `tiles` stylizes a part of it with them; see `networks.statistics`.

    Everything is staged beside its destination and moved when all is well: a failure leaves nothing
    and the older version as it was. Folders of older versions are never touched; TFLite files of
    the version before that this one has not are removed in the end, for no card speaks of them.

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
        ArgumentError: a bad name or folder, a card that cannot be written as JSON or claims
            measured keys, `styles` that are not one name for each style, or an older card of a
            newer tfstyle.
        ExportError: an older card is unreadable, the conversion failed, or parity is beyond BOUNDS.
    """
    directory = Path(directory)
    check_destination(name, directory)
    told = cards.checked(card or {})
    styles = _checked_styles(generator, styles)
    older = cards.read(directory / f"{name}.json")
    version = max(_versions(directory / name), default=0) + 1
    if photo is None:
        photo = images.read(samples.photo_paths()[0])

    generator = convert.in_float32(generator)
    source = convert.from_keras(generator, name, {**told, "version": version, "styles": styles})
    module, served = signatures.servable(generator)
    directory.mkdir(parents=True, exist_ok=True)
    # The staging folder is no version to TensorFlow Serving: it watches DIR/NAME for integers.
    with files.staging(directory) as staged:
        saved_model = staged / name / str(version)
        tf.saved_model.save(module, str(saved_model), signatures=served)
        signatures.write_warm_up(saved_model, name, photo, len(styles))
        # Of several styles, float16 cannot be trusted (see `convert`): better no such file.
        variants = [kind for kind in TFLITE_VARIANTS if not (styles and kind == "float16")]
        tflite = {variant: staged / _tflite_name(name, variant) for variant in variants}
        with convert.Conversion(source, parts=True) as conversion:
            for variant, path in tflite.items():
                path.write_bytes(conversion.to(variant))
        with files.plain(saved_model) as plain:
            loaded = tf.saved_model.load(str(plain))
        measured = _parity(source, photo, loaded.signatures, tflite)
        described = {key: signatures.describe(each) for key, each in loaded.signatures.items()}
        network = description.describe(generator)
        content = cards.content(
            {
                "name": name,
                "version": version,
                "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                "tfstyle": tfstyle.__version__,
                "tensorflow": tf.__version__,
                "keras": keras.__version__,
            },
            told,
            {
                **({"network": network} if network else {}),
                **({"styles": styles} if styles else {}),
                "parameters": generator.count_params(),
                "tile_margin": statistics.reach(generator),
                "memory_bytes_per_pixel": _memory(tflite["float32"]),
                "signatures": described,
                "parity": measured,
                "files": cards.files(staged),
            },
            older=older,
            limits=(
                f"encoded: at most {MAX_SERVED_PIXELS} pixels an image",
                f"serving_default, float: at most {MAX_SERVED_PIXELS} pixels a call",
                "TFLite: one image a call",
            ),
        )
        staged_card = staged / f"{name}.json"
        staged_card.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")

        # Only renames from here on; the card comes last because it speaks of all the others.
        new = saved_model if (directory / name).exists() else saved_model.parent
        moved = [new, *tflite.values(), staged_card]
        files.move_all([(path, directory / path.relative_to(staged)) for path in moved])
    known = [_tflite_name(name, variant) for variant in TFLITE_VARIANTS]
    for path in cards.left_over(directory, name, older, content, known=known):
        path.unlink(missing_ok=True)
    return Exported(
        directory / name / str(version),
        {variant: directory / path.name for variant, path in tflite.items()},
        directory / staged_card.name,
        version,
        measured,
    )


def check_name(name: str) -> None:
    """Raises ArgumentError where `export` would: to be asked before the training, not after it."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ArgumentError(f"name {name!r}: give one of letters, digits, '_' and '-'")


def check_destination(name: str, directory: str | os.PathLike = "saved_models") -> None:
    """Raises what `export` would for a name and a folder, to be asked before a training.

    It writes nothing that stays.

    Raises:
        ArgumentError: for a bad name, a folder that cannot be written, or the card of a newer
            tfstyle.
        ExportError: for an older card that is unreadable.
    """
    check_name(name)
    directory = Path(directory)
    cards.read(directory / f"{name}.json")
    for folder in (directory, directory / name):
        there = next(path for path in (folder, *folder.parents) if path.exists())
        if not there.is_dir():
            raise ArgumentError(f"{there}: a file, and {folder} is to be a folder. Give another")
        try:
            with tempfile.TemporaryFile(dir=there):
                pass
        except OSError as error:
            raise ArgumentError(
                f"{folder}: cannot be written ({error.strerror}). Give another folder"
            ) from error


def announce(exported: Exported, picture: str | os.PathLike) -> None:
    """Prints where the artifacts and a picture made with them lie."""
    print(f"SavedModel  {exported.saved_model}")
    for variant, path in exported.tflite.items():
        print(f"TFLite      {path}  ({variant}, {path.stat().st_size / 1e6:.2f} MB)")
    print(f"Card        {exported.card}")
    print(f"Picture     {picture}")
    if exported.tflite:
        print(f"Use it      tfstyle stylize photo.jpg --model {called(exported)}")


def called(exported: Exported) -> str:
    """What --model takes for it: its name where that is found, else its path."""
    name, path = exported.card.stem, next(iter(exported.tflite.values()))
    try:
        return name if stylize.find(name).resolve() == path.resolve() else str(path)
    except stylize.ModelNotFoundError:
        return str(path)


def _versions(folder: Path) -> list[int]:
    return [int(path.name) for path in folder.glob("*") if path.name.isdecimal()]


def _tflite_name(name: str, variant: str) -> str:
    return f"{name}.tflite" if variant == "float32" else f"{name}.{variant}.tflite"


def _checked_styles(generator, styles: Sequence[str]) -> list[str]:
    count = convert.style_count(generator)
    if len(styles) != count:
        raise ArgumentError(
            f"styles {list(styles)}: the generator has {count or 'no choice of'} styles; give the "
            "name of each, in order"
        )
    if len(set(styles)) != len(styles):
        raise ArgumentError(f"styles {list(styles)}: give each style a name of its own")
    return list(styles)


def _parity(source: convert.Source, photo, served: Mapping, tflite: dict[str, Path]) -> dict:
    """{"sizes", artifact: verdict}: how far each is from Keras, the worst of all runs.

    `served` are the signatures of the SavedModel, loaded. Raises ExportError that names every
    artifact beyond its bound.
    """
    styles = len(source.styles)
    expected = parity.reference(source.stylize, styles)

    def call(signature, image, weights):
        inputs = {"images": tf.constant(image)}
        if weights is not None:
            inputs["style_weights"] = tf.constant(weights)
        return served[signature](**inputs)["stylized"].numpy()

    def run_float(image, weights=None):
        return call("float", image, weights)

    def run_uint8(image, weights=None):
        return images.from_uint8(call("serving_default", images.to_uint8(image), weights))

    runs = {"saved_model_float": run_float, "saved_model_uint8": run_uint8}
    for variant, path in tflite.items():
        runs[f"tflite_{variant}"] = runners.TFLiteRunner(path, machine.cores())
    judged = [images.resize(photo, size) for size in parity.PARITY_SIZES]
    found, failures = {}, []
    for artifact, run in runs.items():
        # All on the CPU, where TFLite runs too: a GPU rounds convolutions to TensorFloat-32.
        with tf.device("CPU"):
            worst = parity.measure(run, expected, judged, styles=styles)
        found[artifact] = one = parity.verdict(artifact, worst)
        if not parity.within(one):
            failures.append(
                f"{artifact} by {one['measure']} {one[one['measure']]:.6f} "
                f"(bound {one['bound']:.6f})"
            )
    if failures:
        raise ExportError(
            f"{source.name}: differs from Keras on a photo: {'; '.join(failures)}. Nothing was "
            "written. Look for an operation that the converter approximates, or train further: "
            "weights of an unfinished training can be too wide for int8"
        )
    told: dict[str, Any] = {"sizes": [list(size) for size in parity.PARITY_SIZES]}
    if styles:
        told["style_weights"] = parity.weights_to_try(styles)
    return told | found


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
