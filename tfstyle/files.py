"""Files and folders written whole or not at all.

All is written under another name beside its destination, and renamed when it is complete and on
the disk: whoever reads meanwhile finds what was there before, and what is cut off, by a full disk,
a signal or a loss of power, leaves it as it was.
"""

import contextlib
import errno
import json
import os
import pathlib
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

# What the names of temporary files and folders begin with.
_HIDDEN = ".tfstyle-"
# What TensorFlow reads as a pattern in a path.
_PATTERN = frozenset("*?[]" if os.sep == "\\" else "*?[]\\")


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
        OSError: where it cannot be written, as on a full disk, or not be moved, such as a folder in
            the place of one that is not empty; it names `path`.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f"{_HIDDEN}{secrets.token_hex(8)}{path.suffix}")
    try:
        with _named(path, temporary):
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
            _sync_one(path.parent)
    finally:
        with contextlib.suppress(OSError):
            if temporary.is_dir():
                shutil.rmtree(temporary)
            else:
                temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _named(path: pathlib.Path, temporary: pathlib.Path) -> Iterator[None]:
    """Errors of the temporary name, and those without one, get the name that the user knows."""
    try:
        yield
    except OSError as error:
        named = error.filename is not None
        if named and not str(error.filename).startswith(str(temporary)) or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def remove_left(folder: pathlib.Path) -> None:
    """Removes what a process that was killed has left half-written; nobody may write there now."""
    for path in folder.glob(f"{_HIDDEN}*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def sync(path: pathlib.Path) -> None:
    """Waits until a file, or a folder with all in it, is on the disk.

    Raises:
        OSError: where it does not get there: some file systems tell only now that they are full.
    """
    for inner in sorted(path.iterdir()) if path.is_dir() and not path.is_symlink() else ():
        sync(inner)
    _sync_one(path)


def _sync_one(path: pathlib.Path) -> None:
    folder = path.is_dir()
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        if folder:  # Windows opens none, nor may everyone read one that he may write into
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Of what cannot be synced at all: a folder on some file systems.
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.EACCES):
            raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def plain(folder: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A name of a folder that TensorFlow can read from, whatever the folder is called.

    Its readers of checkpoints and SavedModels take *, ?, [ and ] in a path for a pattern, and find
    no such file.

    Yields:
        The folder itself, or a link to it where its path holds one of these.
    """
    folder = pathlib.Path(folder)
    if _PATTERN.isdisjoint(str(folder)):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="tfstyle-") as place:
        link = pathlib.Path(place) / "folder"
        link.symlink_to(folder.absolute(), target_is_directory=True)
        yield link


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
    for source, _ in moves:
        sync(source)
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
    for folder in {target.parent for _, target in moves}:
        _sync_one(folder)
    for _, _, older in begun:
        if older:
            older.unlink()


def _link(path: pathlib.Path, other: pathlib.Path) -> None:
    """A second name for a file; a copy where the file system has no such."""
    try:
        os.link(path, other)
    except OSError:
        shutil.copy2(path, other)
