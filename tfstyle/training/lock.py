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


@contextlib.contextmanager
def only_one(folder: pathlib.Path) -> Iterator[None]:
    """Holds a folder, which is made where it is not there, against every other process.

    The system holds the lock, on the file .lock in it, and gives it back however the process ends.
    Where the file system knows no locks there is none.

    Raises:
        TrainingError: where another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
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
        os.close(descriptor)
