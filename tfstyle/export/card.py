"""The model card: what it is told, what it keeps of earlier versions, and what it lists."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tfstyle import stylize
from tfstyle.errors import ArgumentError
from tfstyle.export.errors import ExportError

_FILLED_IN = frozenset(
    "schema name version created tfstyle tensorflow keras network styles parameters tile_margin "
    "memory_bytes_per_pixel signatures parity files versions".split()
)
# Of a version, what the cards of later ones still tell.
_OF_A_VERSION = ("version", "created", "tfstyle", "tensorflow", "keras")


def checked(told: Mapping) -> dict:
    """A copy of what a card is told, checked before anything long is done.

    Raises:
        ArgumentError: where it claims what is filled in, or is not JSON.
    """
    taken = sorted(told.keys() & _FILLED_IN)
    if taken:
        raise ArgumentError(f"card: {', '.join(taken)} are filled in by the export; leave them out")
    try:
        json.dumps(told, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"card: not JSON ({error}); give strings, finite numbers, lists and dicts"
        ) from error
    return dict(told)


def read(path: Path) -> dict:
    """The card of an earlier export; {"versions": []} where there is none.

    Raises:
        ExportError: where it is no card.
        ArgumentError: for one of a newer tfstyle.
    """
    if not path.exists():
        return {"versions": []}
    try:
        card = dict(json.loads(path.read_text("utf-8")))
        card["versions"] = [{**each, "version": int(each["version"])} for each in card["versions"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ExportError(
            f"{path}: not a model card ({error!r}), so its history of versions cannot be kept. "
            "Mend it or move it away"
        ) from error
    stylize.check_card(card, path)
    return card


def content(
    head: Mapping, told: Mapping, measured: Mapping, *, older: Mapping, limits: Sequence[str]
) -> dict:
    """A card in its order.

    Args:
        head: what identifies the version, with all of `_OF_A_VERSION`.
        told: as `checked` gives it.
        measured: what the export found.
        older: the card before it, as `read` gives it.
        limits: of every export; those told come after them.
    """
    told = dict(told)
    earlier = [each for each in older["versions"] if each["version"] < head["version"]]
    measured = dict(measured)
    files = measured.pop("files")
    return {
        "schema": stylize.CARD_SCHEMA,
        **head,
        **{key: value for key, value in told.items() if key != "limits"},
        **measured,
        "limits": [*limits, *told.get("limits", [])],
        "files": files,
        "versions": [*earlier, {key: head[key] for key in _OF_A_VERSION}],
    }


def files(folder: Path) -> dict:
    """{path relative to `folder`: {"bytes", "sha256"}} of every file below it, sorted."""
    return {
        path.relative_to(folder).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def left_over(
    directory: Path, name: str, older: Mapping, newer: Mapping, *, known: Sequence[str]
) -> list[Path]:
    """The TFLite files beside a card that are of versions before it, and not of its own.

    Args:
        directory: of the cards.
        name: of the model.
        older: the card before it, as `read` gives it.
        newer: the card.
        known: names of all the files that an export may write; where there was a version before,
            they are its.
    """
    listed = older["files"] if isinstance(older.get("files"), Mapping) else {}
    names = {*listed, *(known if older["versions"] else ())} - newer["files"].keys()
    return [
        directory / each
        for each in sorted(names)
        # A card is a text that anyone can write: no path of its goes beyond its folder.
        if "/" not in each and each.startswith(f"{name}.") and each.endswith(".tflite")
    ]
