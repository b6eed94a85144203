"""One training at a time in a folder."""

import contextlib
import os
import pathlib
from collections.abc import Iterator

from tfstyle.training.strategy import TrainingError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_FILE = ".lock"


@contextlib.contextmanager
def only_one(folder: pathlib.Path) -> Iterator[None]:
    """Holds a folder, which is made where it is not there, against every other process.

    The system holds the lock, on the file .lock in it, and gives it back however the process ends.
    Where the file system knows no locks there is none. A folder that was made here, and in which
    nothing was written, goes again.

    Raises:
        TrainingError: where another process holds it.
    """
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / _FILE, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            if fcntl:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode(errors="replace").strip()
            raise TrainingError(
                f"{folder}: another training runs in it (process {holder or 'unknown'}). Wait for "
                "its end, stop it, or use another --name."
            ) from None
        except OSError:  # no locks here
            pass
        with contextlib.suppress(OSError):  # a full disk keeps nobody from training
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        # Only where it was made here: else another may have the file open, to lock it.
        if made and os.listdir(folder) == [_FILE]:
            (folder / _FILE).unlink()
            with contextlib.suppress(OSError):
                for each in made:  # innermost first
                    each.rmdir()
        os.close(descriptor)
