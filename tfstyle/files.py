"""Files and folders written whole or not at all.

All is written under another name beside its destination, and renamed when it is complete and on
the disk: whoever reads meanwhile finds what was there before, and what is cut off, by a full disk,
a signal or a loss of power, leaves it as it was.
"""

import contextlib
import errno
import functools
import hashlib
import json
import os
import pathlib
import platform
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psutil

# What the names of temporary files and folders begin with; the machine and the process follow.
_HIDDEN = ".tfstyle-"
_OWNER = re.compile(rf"{re.escape(_HIDDEN)}([0-9a-f]{{8}})-(\d+)-")
# Where Linux tells boots, and what numbers processes, from each other.
_BOOT, _NUMBERING = pathlib.Path("/proc/sys/kernel/random/boot_id"), "/proc/self/ns/pid"
# Seconds in which nothing changed after which no other machine is taken to write any more.
_OLD = 24 * 3600.0
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

    Where the block ends in an error nothing is left, and what was there stays. What a process that
    was killed has left in that folder goes. A folder only takes the place of an empty one.

    Args:
        path: in a folder that exists.

    Yields:
        A hidden path beside it, of the same suffix, that nobody else writes to.

    Raises:
        OSError: where it cannot be written, as on a full disk, or not be moved, such as a folder in
            the place of one that is not empty; it names `path`.
    """
    path = pathlib.Path(path)
    temporary = _temporary(path.parent, path.suffix)
    try:
        with _named(path, temporary):
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
            _sync_one(path.parent)
    finally:
        with contextlib.suppress(OSError):
            _remove(temporary)


@contextlib.contextmanager
def staging(folder: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A hidden folder in another, to write in what `move_all` then moves to its places.

    Args:
        folder: that exists.

    Yields:
        Its path. In the end it is removed with all that is still in it, as is beforehand what a
        process that was killed has left.

    Raises:
        OSError: where it cannot be written, as on a full disk; it names `folder`.
    """
    folder = pathlib.Path(folder)
    temporary = _temporary(folder)
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
        number, told = error.errno, error.strerror
        names: tuple[Any, ...] = (error.filename, error.filename2)
        if isinstance(error, shutil.Error) and error.args and error.args[0]:
            # A copied folder's: a list of (from, to, the words of an error).
            _, other, words = error.args[0][0]
            found = re.match(r"\[Errno (\d+)\] ([^:]*)", str(words))
            number, told, names = (int(found[1]), found[2], (other,)) if found else (None, "", ())
        if any(name is not None for name in names):
            ours = any(str(name).startswith(str(temporary)) for name in names)
        else:
            ours = number in _REFUSALS.values()
        if not ours:
            raise
        raise OSError(number, told, str(path)) from error
    except Exception as error:
        refused = refusal(error)
        if refused is None or not str(refused.filename).startswith(str(temporary)):
            raise
        raise OSError(refused.errno, refused.strerror, str(path)) from error


def refusal(error: BaseException) -> OSError | None:
    """What the system refused where a library says so in words of its own; None for other errors.

    TensorFlow says "PATH; No space left on device", with more before and after it; others raise an
    error of theirs from that, or from the system's.
    """
    if isinstance(error, OSError) and error.errno in _REFUSALS.values():
        return error
    if not type(error).__module__.startswith("tensorflow."):
        return refusal(error.__cause__) if error.__cause__ else None
    text = re.sub(r"\{\{[^}]*\}\} *", "", str(error))
    found = re.search(rf"([^\n;]+); ({'|'.join(map(re.escape, _REFUSALS))})", text)
    return OSError(_REFUSALS[found[2]], found[2], found[1]) if found else None


def _temporary(folder: pathlib.Path, suffix: str = "") -> pathlib.Path:
    """A name in a folder that nobody else has; on the way, those of the dead are removed there."""
    with contextlib.suppress(OSError):  # as where the working folder is gone
        _remove_abandoned(folder.absolute())
    name = f"{_HIDDEN}{_machine()}-{os.getpid()}-{secrets.token_hex(8)}{suffix}"
    return folder / name


@functools.lru_cache(maxsize=256)  # once a process: a folder may hold many thousand pictures
def _remove_abandoned(folder: pathlib.Path) -> None:
    # OSError: who may write into a folder need not be allowed to list it.
    for path in [each for each in folder.iterdir() if each.name.startswith(_HIDDEN)]:
        with contextlib.suppress(OSError):
            if _abandoned(path):
                _remove(path)


def _abandoned(path: pathlib.Path) -> bool:
    """Whether the process that wrote it is gone.

    Of other machines, of containers and of releases before this one that cannot be asked: theirs is
    where nothing in it has changed for a day.
    """
    owner = _OWNER.match(path.name)
    if owner and owner[1] == _machine():
        try:
            return psutil.Process(int(owner[2])).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False
    inner = path.rglob("*") if path.is_dir() and not path.is_symlink() else ()
    newest = max(each.lstat().st_mtime for each in (path, *inner))
    return newest < time.time() - _OLD


@functools.cache
def _machine() -> str:
    """Eight letters for all whose processes are numbered as those here, until the next boot."""
    told = [platform.node()]
    with contextlib.suppress(OSError):  # Linux alone has them
        told += [_BOOT.read_text(), os.readlink(_NUMBERING)]
    return hashlib.sha256("".join(told).encode()).hexdigest()[:8]


def _remove(path: pathlib.Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_left(folder: pathlib.Path) -> None:
    """Removes what a killed process has left half-written; nobody may be writing there."""
    for path in folder.glob(f"{_HIDDEN}*"):
        _remove(path)


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
