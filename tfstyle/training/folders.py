"""A run's folder: options, checkpoints, validations, and what its card says."""

import dataclasses
import itertools
import json
import math
import os
import pathlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from tfstyle import data, files
from tfstyle.files import write_json, write_text
from tfstyle.training import checkpoints
from tfstyle.training.strategy import Options, TrainingError, Workers, first_line

# The layout of options.json, which also holds "pipeline" and "network": see `training.Run`.
SCHEMA = 1
# Options that may differ between a run and its continuation. Other steps stretch the schedule.
_MAY_CHANGE = frozenset(
    (
        "steps",
        "resume",
        "checkpoint_every",
        "keep",
        "log_every",
        "sample_every",
        "validate_every",
        "runs",
        "dry_run",
        "explain",
        # Of its folder, and of what is exported in the end.
        "name",
        "title",
        "licence",
        "photos",
        "saved_models",
    )
)


# Settings that are pictures, and where options.json keeps by what they are known again.
_PICTURES = ("style", "style_held_out", "content", "evaluate_on", "data")
INPUTS = "inputs"


def latest_checkpoint(run: str | os.PathLike) -> str | None:
    """The last whole checkpoint in the folder of a run, or in its best/; None where there is none.

    Raises:
        TrainingError: where there are some, and none is whole.
    """
    folders = (pathlib.Path(run) / "checkpoints", pathlib.Path(run))
    return next(filter(None, map(checkpoints.newest, folders)), None)


def start_from(generator: keras.Model, run: str | os.PathLike) -> None:
    """Gives `generator` the weights that the last checkpoint of another run has for its generator.

    Args:
        generator: of the same shape as the other run's.
        run: folder of the other run; runs/NAME/best for its best validation instead of its end.

    Raises:
        TrainingError: where the folder has no checkpoint, or one of another shape.
    """
    path = latest_checkpoint(run)
    if not path:
        raise TrainingError(
            f"{run}: no checkpoint in it. Give the folder of a run, as runs/NAME or runs/NAME/best."
        )
    try:
        status = checkpoints.restore(path, generator=generator)
        status.assert_existing_objects_matched().expect_partial()
    except (AssertionError, ValueError, tf.errors.OpError) as error:
        raise TrainingError(
            f"{path}: its generator has another shape ({first_line(error)}). Give the "
            "same --width and --depth as that run's options.json."
        ) from error


def resolved_options(settings: Mapping[str, Any], options: Options) -> dict[str, Any]:
    """A pipeline's own settings and `options` in one flat dictionary of JSON values."""
    return json.loads(json.dumps({**settings, **dataclasses.asdict(options)}))


# Options that are words for a card, and no paths.
_SAID = ("title", "licence", "photos")


def card(
    pipeline: str, settings: Mapping[str, Any], options: Options, losses: Mapping[str, float]
) -> dict[str, Any]:
    """What the model cards of all pipelines say alike.

    Args:
        pipeline: its name, such as "pipelines.fast".
        settings: of the pipeline, among them "licence", "photos" and "content".
        options: of the training.
        losses: of its end.

    Returns:
        {"licence", "data", "pipeline", "options", "losses"}. Files and folders are named, but not
        where they lie: cards travel, and say what a model was trained on, not on whose disk.
    """

    def named(part):
        # A dataset's name may have a slash, and lies nowhere.
        return part if part.startswith("tfds:") else pathlib.Path(part).name

    told = resolved_options(settings, options)
    for key, value in told.items():
        if isinstance(value, str) and os.sep in value and key not in _SAID:
            told[key] = ",".join(map(named, value.split(",")))
    return {
        "licence": settings["licence"],
        "data": settings["photos"] or told["content"] or "the photos bundled with tfstyle",
        "pipeline": pipeline,
        "options": told,
        "losses": losses,
    }


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """A run's folder and its options, resolved. `fit` makes the folder once all else is ready."""

    folder: pathlib.Path
    options: Mapping[str, Any]


def open_folder(
    name: str,
    options: Options,
    settings: Mapping[str, Any],
    defaults: Mapping[str, Any] | None = None,
    inputs: Mapping[str, Mapping[str, str]] | None = None,
) -> RunFolder:
    """The run to start or to resume; writes nothing yet.

    Args:
        name: of the run, a folder under `options.runs`.
        settings: every option of the pipeline, its `options` left out; JSON values.
        defaults: of these, for a run of an earlier release, which did not know some of them: it
            was trained as the default is now.
        inputs: {setting: {path: digest of what lies there}}, see `inputs_of`.

    Raises:
        TrainingError: where the folder holds a run with other settings, or of other pictures.
    """
    folder = pathlib.Path(options.runs) / name
    resolved = resolved_options(settings, options) | ({INPUTS: inputs} if inputs else {})
    if options.resume and checkpoints.found(folder / "checkpoints") and not _saved_options(folder):
        print(
            f"{folder / 'options.json'}: gone or torn; the run goes on with the options given now, "
            "which cannot be compared.",
            file=sys.stderr,
        )
    if options.resume and (differing := differences(folder, resolved, defaults or {})):
        raise TrainingError(
            f"{folder} holds a run with other options ({'; '.join(differing)}). Use another "
            "--name, the same options, or --noresume to throw that run away."
        )
    return RunFolder(folder, resolved)


def inputs_of(settings: Mapping[str, Any], options: Options) -> dict[str, dict[str, str]]:
    """By what the pictures of a recipe are known again: {setting: {path: digest}}.

    Else a run would go on with others that came under the same name. What the run itself writes
    is none of them, wherever that lies.
    """
    written = [options.runs, settings.get("saved_models", options.runs)]
    found = {
        key: data.fingerprints(settings[key], written) for key in _PICTURES if settings.get(key)
    }
    return {key: digests for key, digests in found.items() if digests}


def free_name(
    name: str,
    options: Options,
    settings: Mapping[str, Any],
    defaults: Mapping[str, Any],
    inputs: Mapping[str, Mapping[str, str]],
) -> str:
    """`name`, or the first of name_2, name_3, ... that no run with other options has.

    So that commands given without a name do not stand in each other's way, and each goes on with
    its own run when it is given again. The arguments are those of `open_folder`.
    """
    resolved = resolved_options(settings, options) | {INPUTS: inputs}
    names = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
    runs = pathlib.Path(options.runs)
    return next(each for each in names if not differences(runs / each, resolved, defaults))


def differences(
    folder: pathlib.Path, resolved: Mapping[str, Any], defaults: Mapping[str, Any]
) -> list[str]:
    """What keeps a run from going on with these options: "width: 8, now 16", ...

    Empty where there is no run yet; the arguments are those of `open_folder`.

    Raises:
        TrainingError: where a newer release has made the run.
    """
    file = folder / "options.json"
    saved = _saved_options(folder)
    if not saved:
        return []
    if saved.get("schema", 0) > SCHEMA:
        raise TrainingError(
            f"{file}: of schema {saved['schema']}, and this release knows {SCHEMA}. Go on with the "
            "newer release of tfstyle that made this run, or use another --name."
        )
    before = {**defaults, **saved}
    known = before.get(INPUTS, {})
    return [
        f"{key}: {before.get(key)!r}, now {value!r}"
        for key, value in resolved.items()
        if key not in _MAY_CHANGE and key != INPUTS and value != before.get(key)
    ] + [
        f"{key}: {path} is not what it was"
        for key, digests in resolved.get(INPUTS, {}).items()
        for path, digest in digests.items()
        if known.get(key, {}).get(path, digest) != digest
    ]


def flattened(values: Mapping[str, Any]) -> dict[str, Any]:
    """Options by the names of their flags: fields in place of the dataclasses that hold them."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(value):
            fields = (field.name for field in dataclasses.fields(value) if is_flag(field))
            flat |= {field: getattr(value, field) for field in fields}
        else:
            flat[name] = value
    return flat


def is_flag(field: dataclasses.Field) -> bool:
    """Whether a field of a dataclass of options is a flag; the others a recipe alone decides."""
    return field.metadata.get("flag", True)


def remove_run(folder: pathlib.Path) -> None:
    """Removes what a run has left, all of its checkpoints at once; its samples and logs too."""
    for name in ("checkpoints", "best", "logs", "samples"):
        if (folder / name).is_dir():
            with files.staging(folder) as aside:
                os.replace(folder / name, aside / name)
    for name in ("validation.jsonl", "losses.json", "health.jsonl"):
        (folder / name).unlink(missing_ok=True)


class Validation:
    """The validations of a run, a line each in validation.jsonl, and the checkpoint of the best.

    What it needs to know after a resume it reads from its files.
    """

    def __init__(self, folder: pathlib.Path, step: int, parts: Mapping[str, Any]) -> None:
        """
        Args:
            folder: of the run.
            step: that it goes on from; it takes later ones again.
            parts: what a checkpoint holds, by name.
        """
        self._file = folder / "validation.jsonl"
        self._figures = folder / "best" / "figures.json"
        self._best = checkpoints.Checkpoints(folder / "best", 1, parts)
        self._lines = [line for line in _lines_of(self._file) if line["step"] <= step]

    def has(self, step: int) -> bool:
        return any(line["step"] == step for line in self._lines)

    def add(self, step: int, validate: Callable, workers: Workers) -> dict[str, float]:
        """The figures, noted; where the first is the lowest so far, the checkpoint is kept."""
        figures, better = {}, False
        if workers.chief:
            figures = {name: float(value) for name, value in validate().items()}
            name, value = next(iter(figures.items()))
            known = [*self._lines, _json_object(self._figures)]
            lowest = min((each[name] for each in known if name in each), default=math.inf)
            better = math.isfinite(value) and value < lowest
        if workers.each(better)[0]:
            self._best.save(step, workers)
            if workers.chief:
                write_json(self._figures, {"step": step, **figures})
        if workers.chief:
            # At last: where it is cut off before, the same is found and done once more.
            self._lines.append({"step": step, **figures})
            write_text(self._file, "".join(json.dumps(line) + "\n" for line in self._lines))
        return figures


def _lines_of(file: pathlib.Path) -> list[dict[str, Any]]:
    """The lines of validation.jsonl that can be read; says of others that they are left out."""
    lines, torn = [], 0
    text = file.read_text("utf-8", errors="replace") if file.exists() else ""
    for line in text.splitlines():
        try:
            lines.append({"step": int((found := json.loads(line))["step"]), **found})
        except (ValueError, TypeError, KeyError):
            torn += 1
    if torn:
        print(f"{file}: left out {torn} of its lines, which are torn.", file=sys.stderr)
    return lines


def _json_object(file: pathlib.Path) -> dict[str, Any]:
    """What a JSON file holds; empty where it is not there, or torn."""
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def losses_of(folder: pathlib.Path) -> dict[str, float]:
    """Those that a run ended with; empty where that is not known."""
    return _json_object(folder / "losses.json")


def _saved_options(folder: pathlib.Path) -> dict[str, Any]:
    """The options of a run that has a checkpoint; empty where there is none, or they are lost."""
    return (
        _json_object(folder / "options.json") if checkpoints.found(folder / "checkpoints") else {}
    )
