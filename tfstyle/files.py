"""Files and folders written whole or not at all.

All is written under another name beside its destination, and renamed when it is complete: whoever
reads meanwhile finds what was there before, and what is cut off leaves it as it was.
"""

import contextlib
import json
import os
import pathlib
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any


@contextlib.contextmanager
def whole(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A name to write a file or a folder under, which is `path` in the end.

        with files.whole("photo.png") as temporary:
            temporary.write_bytes(data)

    Where the block ends in an error nothing is left, and what was there stays. A folder only takes
    the place of an empty one.

    Args:
        path: in a folder that exists.

    Yields:
        A hidden path beside it, of the same suffix, that nobody else writes to.

    Raises:
        OSError: where it cannot be moved, such as a folder in the place of one that is not empty.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".tfstyle-{secrets.token_hex(8)}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            if temporary.is_dir():
                shutil.rmtree(temporary)
            else:
                temporary.unlink(missing_ok=True)


def write_whole(path: pathlib.Path, write: Callable[[pathlib.Path], object]) -> pathlib.Path:
    """Lets `write` write a file whole or not at all; makes its folder and returns `path`.

    Args:
        path: of the file; an earlier one is replaced.
        write: is given a temporary path beside it, of the same suffix.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as temporary:
        write(temporary)
    return path


def write_json(path: pathlib.Path, value: Any) -> pathlib.Path:
    """Writes JSON, whole or not at all; returns `path`."""
    return write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path: pathlib.Path, text: str) -> pathlib.Path:
    """Writes text as UTF-8, whole or not at all; returns `path`."""
    return write_whole(path, lambda temporary: temporary.write_text(text, "utf-8"))


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


def _link(path: pathlib.Path, other: pathlib.Path) -> None:
    """A second name for a file; a copy where the file system has no such."""
    try:
        os.link(path, other)
    except OSError:
        shutil.copy2(path, other)
