"""What this machine has (free memory, fast bfloat16), and what holds for the whole process."""

import contextlib
import ctypes
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil

from tfstyle.errors import TfstyleError

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
# Where Linux lists what its processors can do.
_CPUINFO = Path("/proc/cpuinfo")
# Of the memory that is free, this much is used: other processes breathe.
_USABLE = 0.9


class TooLargeError(TfstyleError, ValueError):
    """More memory is needed than is free. `fits`: (height, width) of its aspect that would fit."""

    def __init__(self, message: str, fits: tuple[int, int]) -> None:
        super().__init__(message)
        self.fits = fits


def usable_memory() -> int:
    """Bytes of memory that may be taken: nine tenths of what is free."""
    return int(psutil.virtual_memory().available * _USABLE)


def keep_freed_memory() -> None:
    """Tells glibc to keep large freed blocks instead of giving them back to the system.

    A step on the CPU allocates and frees hundreds of large tensors; mapping them anew each time
    took a third of the step's processor time (system time 9.6 s against 1.8 s in 25 training steps
    at 256 px). It holds for the whole process and has no way back: commands call it, the library
    never does. Nothing happens where the C library has no mallopt.
    """
    # TypeError: Windows has no handle of the process itself.
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, 2**28)


@contextlib.contextmanager
def own_random_state(seed: int | None = None) -> Iterator[None]:
    """Puts Python's and NumPy's global random numbers back where they were; a decorator too.

    Keras draws from Python's for the initial weights of every network that it builds, even where
    they are replaced at once: a caller's numbers would depend on which extractor is read.

    Args:
        seed: of both within; they go on from where they are if None.
    """
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        if seed is not None:
            random.seed(seed)
            np.random.seed(seed)
        yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)


def has_fast_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 in hardware: AVX-512 BF16 or AMX, read on Linux.

    False where that cannot be read.
    """
    try:
        flags = _CPUINFO.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags)
