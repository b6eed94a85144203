"""Files written whole or not at all."""

import json
import os
import pathlib
import shutil
from collections.abc import Callable, Sequence


def write_whole(path: pathlib.Path, write: Callable[[pathlib.Path], object]) -> pathlib.Path:
    """Lets `write` write a file whole or not at all; makes its folder and returns `path`.

    Args:
        path: of the file; an earlier one is replaced.
        write: is given a temporary path beside it, of the same suffix.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def write_json(path: pathlib.Path, value) -> pathlib.Path:
    """Writes JSON, whole or not at all; returns `path`."""
    return write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path: pathlib.Path, text: str) -> pathlib.Path:
    return write_whole(path, lambda temporary: temporary.write_text(text))


def move_all(moves: Sequence[tuple[pathlib.Path, pathlib.Path]]) -> None:
    """Moves files and folders to their places: all of them or, where one cannot be moved, none.

    Whoever looks while it works finds each place with what was in it before or what is in it after.

    Args:
        moves: (from, to), on one file system, in the order in which they are moved. An earlier file
            is replaced; where a folder goes there must be none.
    """
    begun = []
    try:
        for source, target in moves:
            older = None
            if target.is_file():
                older = source.with_name(f".older-{source.name}")
                _link(target, older)
            begun.append((source, target, older))
            os.replace(source, target)
    except BaseException:
        for source, target, older in reversed(begun):
            if source.exists():
                continue
            if older:
                _link(target, source)
                os.replace(older, target)
            else:
                os.replace(target, source)
        raise
    for _, _, older in begun:
        if older:
            older.unlink()


def _link(path: pathlib.Path, other: pathlib.Path):
    """A second name for a file; a copy where the file system has no such."""
    try:
        os.link(path, other)
    except OSError:
        shutil.copy2(path, other)
