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
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

# What the names of temporary files and folders begin with.
_HIDDEN = ".tfstyle-"
# What TensorFlow reads as a pattern in a path.
_PATTERN = frozenset("*?[]" if os.sep == "\\" else "*?[]\\")
# {what the system says where it does not let a file be written or read: its number}.
_REFUSALS = {
    os.strerror(number): number
    for number in (
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM),
        *(errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENAMETOOLONG),
    )
}


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
def staging(folder: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A hidden folder in another, to write in what `move_all` then moves to its places.

    Args:
        folder: that exists.

    Yields:
        Its path. In the end it is removed with all that is still in it.

    Raises:
        OSError: where it cannot be written, as on a full disk; it names `folder`.
    """
    folder = pathlib.Path(folder)
    temporary = folder / f"{_HIDDEN}{secrets.token_hex(8)}"
    with _named(folder, temporary):
        temporary.mkdir()
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _named(path: pathlib.Path, temporary: pathlib.Path) -> Iterator[None]:
    """Errors of the temporary name, and those without one, get the name that the user knows."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            ours = error.errno in _REFUSALS.values()
        else:
            ours = str(error.filename).startswith(str(temporary))
        if not ours:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    except Exception as error:
        refused = refusal(error)
        if refused is None or not str(refused.filename).startswith(str(temporary)):
            raise
        raise OSError(refused.errno, refused.strerror, str(path)) from error


def refusal(error: BaseException) -> OSError | None:
    """What the system refused where TensorFlow says so in words of its own; None for other errors.

    It says "PATH; No space left on device", with more before and after it.
    """
    if not type(error).__module__.startswith("tensorflow."):
        return None
    text = re.sub(r"\{\{[^}]*\}\} *", "", str(error))
    found = re.search(rf"([^\n;]+); ({'|'.join(map(re.escape, _REFUSALS))})", text)
    return OSError(_REFUSALS[found[2]], found[2], found[1]) if found else None


def remove_left(folder: pathlib.Path) -> None:
    """Removes what a killed process has left half-written; nobody may be writing there."""
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
            or folder is replaced; for a moment there is none where a folder is.
    """
    begun = []
    for source, _ in moves:
        sync(source)
    try:
        for source, target in moves:
            older = None
            if target.exists():
                older = source.with_name(f".older-{source.name}")
            begun.append((source, target, older))
            if older and target.is_dir():
                os.replace(target, older)
            elif older:
                _link(target, older)
            os.replace(source, target)
    except BaseException:
        for source, target, older in reversed(begun):
            moved = not source.exists()
            if moved and older and older.is_file():
                _link(target, source)
            elif moved:
                os.replace(target, source)
            if older and older.exists():
                if moved or older.is_dir():
                    os.replace(older, target)
                else:  # a second name of the target
                    older.unlink()
        raise
    for folder in {target.parent for _, target in moves}:
        _sync_one(folder)
    for _, _, older in begun:
        if older and older.is_dir():
            shutil.rmtree(older)
        elif older:
            older.unlink()


def _link(path: pathlib.Path, other: pathlib.Path) -> None:
    """A second name for a file; a copy where the file system has no such."""
    try:
        os.link(path, other)
    except OSError:
        shutil.copy2(path, other)
