"""Which models there are, where they lie, and what their cards say."""

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import platformdirs

import tfstyle
from tfstyle.errors import ArgumentError, TfstyleError, meant
from tfstyle.stylize import runners

# Version of the layout of model cards, which `export.export` describes. It is raised where a reader
# of the one before would misunderstand a card.
CARD_SCHEMA = 1


class ModelNotFoundError(TfstyleError, ValueError):
    """There is no such model; the message lists the names there are and where they were sought."""


def shipped_models(refused: Callable[[str], object] = lambda reason: None) -> list[dict]:
    """The cards of the models that can be loaded by name, sorted by name.

    Sought in the `model_folders`; of two with one name, the first. To each card is added "paths",
    of what there is, as strings: {"card", "tflite", "tflite_float16", "tflite_dynamic",
    "saved_model" (its newest version)}.

    Args:
        refused: is told of each card that is left out because it is of a newer tfstyle.
    """
    cards: dict[str, dict] = {}
    for shelf in model_folders():
        for path in sorted(shelf.glob("*.json")):
            try:
                card = json.loads(path.read_text("utf-8"))
            except (OSError, ValueError):
                continue
            # saved_models/ of the current folder may hold any JSON.
            if not isinstance(card, dict) or card.get("name") != path.stem:
                continue
            try:
                check_card(card, path)
            except ArgumentError as error:
                refused(str(error))
                continue
            cards.setdefault(path.stem, card | {"paths": _paths(shelf, path.stem)})
    return [cards[name] for name in sorted(cards)]


def card(model: str | os.PathLike) -> dict:
    """The card beside a model that `Stylizer.load` finds by this name; empty where it has none.

    Raises:
        ArgumentError: for the card of a newer tfstyle.
        ModelNotFoundError: as `Stylizer.load`.
    """
    return read_card(find(model))


def check_card(card: Mapping, path: str | os.PathLike) -> None:
    """Raises ArgumentError for a card whose layout this tfstyle does not know yet.

    Args:
        card: of any age; without "schema" it is of 0.
        path: of its file, for the message.
    """
    schema = card.get("schema", 0)
    if type(schema) is int and 0 <= schema <= CARD_SCHEMA:
        return
    raise ArgumentError(
        f"{path}: a model card of schema {schema!r}, and tfstyle {tfstyle.__version__} reads up to "
        f"{CARD_SCHEMA}. Install tfstyle {card.get('tfstyle', 'of a newer version')} or newer, "
        "which wrote it"
    )


def user_folder() -> Path:
    """Where what a user taught lies, whatever the current folder; it may not be there yet.

    On Linux ~/.local/share/tfstyle/models, or below XDG_DATA_HOME; see platformdirs.
    """
    return platformdirs.user_data_path("tfstyle", appauthor=False) / "models"


def model_folders() -> list[Path]:
    """The folders where a model is found by its name, those that there are, in order.

    saved_models/ of the current folder, the `user_folder`, and saved_models/ of the checkout and of
    the installed package.
    """
    package = Path(__file__).resolve().parent.parent
    shelves = [Path("saved_models"), user_folder()]
    shelves += [package.parent / "saved_models", package / "saved_models"]
    found = []
    for shelf in shelves:
        # The current folder may be gone, or another user's: then it has no models.
        with contextlib.suppress(OSError):
            if shelf.is_dir() and os.access(shelf, os.R_OK | os.X_OK):
                found.append(shelf.resolve())
    return list(dict.fromkeys(found))


def _paths(shelf: Path, name: str) -> dict[str, str]:
    paths = {
        "card": shelf / f"{name}.json",
        "tflite": shelf / f"{name}.tflite",
        "tflite_float16": shelf / f"{name}.float16.tflite",
        "tflite_dynamic": shelf / f"{name}.dynamic.tflite",
        "saved_model": _newest(shelf / name),
    }
    return {key: str(path) for key, path in paths.items() if path and path.exists()}


def _newest(folder: Path) -> Path | None:
    """The SavedModel that `folder` is, or its highest version."""
    if not os.path.isdir(folder):  # or it may not be looked at
        return None
    versions = sorted(
        (path for path in folder.glob("*") if path.name.isdecimal()),
        key=lambda path: int(path.name),
        reverse=True,
    )
    for path in (folder, *versions):
        if os.path.isfile(path / "saved_model.pb"):
            return path
    return None


def find(model: str | os.PathLike) -> Path:
    """The .tflite or .keras file or the SavedModel folder that a path or name means.

    Raises:
        ModelNotFoundError: where there is none.
        ValueError: for a file that is no model, and a folder that may not be looked into.
    """
    path = Path(model)
    shelves = model_folders()
    if path.name == str(model):  # a bare name
        for shelf in shelves:
            tflite = shelf / f"{model}.tflite"
            found = tflite if tflite.is_file() else _newest(shelf / model)
            if found:
                return found
    _check_open(path)
    if os.path.isdir(path):
        found = _newest(path)
        if found:
            return found
        raise ModelNotFoundError(
            f"{path}: a folder without saved_model.pb, in it or in a numbered version. Give the "
            "folder of a SavedModel, a .tflite or .keras file, or a name"
        )
    if os.path.isfile(path):
        if path.suffix in (".tflite", ".keras"):
            return path
        raise ArgumentError(f"{path}: not a model. Give a .tflite or .keras file or a SavedModel")
    names = {file.name.split(".")[0] for shelf in shelves for file in shelf.glob("*.tflite")}
    names |= {sub.name for shelf in shelves for sub in shelf.glob("*") if _newest(sub)}
    raise ModelNotFoundError(
        f"model {str(model)!r}: no file and no model of that name; {meant(str(model), names)}there "
        f"are: {', '.join(sorted(names)) or 'none'}. Looked in: "
        f"{', '.join(map(str, shelves)) or 'saved_models/ of the current folder'}"
    )


def _check_open(path: Path) -> None:
    """Raises ArgumentError where a path is, or lies in, a folder that may not be looked into."""
    bare = len(path.parts) == 1  # which is a name, wherever one is
    for place in reversed((path,) if bare else (path, *path.parents)):
        wanted = os.R_OK | os.X_OK if place == path else os.X_OK
        if os.path.isdir(place) and not os.access(place, wanted):
            raise ArgumentError(
                f"{path}: there is no permission to look into {place}. Ask its owner, or copy it"
            )


def find_saved_model(model: str | os.PathLike) -> Path:
    """The SavedModel folder that a path or a name means, of several versions the highest.

    Raises:
        ModelNotFoundError: where there is none.
        ArgumentError: for a folder that may not be looked into.
    """
    shelves = [shelf / model for shelf in model_folders()] if Path(model).name == str(model) else []
    for folder in (*shelves, Path(model)):
        found = _newest(folder)
        if found:
            return found
    _check_open(Path(model))
    raise ModelNotFoundError(
        f"model {str(model)!r}: no SavedModel of that name, and no folder with one. `tfstyle "
        "models` lists names"
    )


def find_tflite(model: str | os.PathLike) -> Path:
    """The TFLite file that a path or a name means, or that lies beside the SavedModel it means."""
    if not isinstance(model, (str, os.PathLike)):
        raise ArgumentError("runtime 'tflite': a Keras model in memory needs TensorFlow. Export it")
    path = find(model)
    if path.suffix != ".tflite" and os.path.isdir(path):
        named = path.parent if path.name.isdecimal() else path
        path = named.with_name(f"{named.name}.tflite")
    if path.suffix != ".tflite" or not os.path.isfile(path):
        raise ArgumentError(
            f"{model}: no TFLite file. Make one where TensorFlow is installed: tfstyle export "
            f"{model} --tflite float32 -o ."
        )
    return path


def read_card(path: Path) -> dict:
    """The card beside a model file or SavedModel folder; empty where there is none.

    Raises:
        ArgumentError: for one of a newer tfstyle, see `check_card`.
    """
    version = None
    if os.path.isdir(path):  # DIR/NAME/VERSION
        version, path = path.name, path.parent
    file = path.parent / f"{path.name.split('.')[0]}.json"
    try:
        card = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(card, dict):
        return {}
    check_card(card, file)
    if version not in (None, str(card.get("version"))):
        card.pop("styles", None)  # an older version may have had others
    return card


def own_card(path: Path) -> dict:
    """What a TFLite file without a card says of itself."""
    return runners.read_metadata(path) if path.suffix == ".tflite" else {}
