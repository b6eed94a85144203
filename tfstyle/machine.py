"""What this machine has: memory that is free, memory that stays allocated, fast bfloat16."""

import contextlib
import ctypes
from pathlib import Path

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
    at 256 px). It holds for the whole process. Nothing happens where the C library has no mallopt.
    """
    # TypeError: Windows has no handle of the process itself.
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, 2**28)


def has_fast_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 in hardware: AVX-512 BF16 or AMX, read on Linux.

    False where that cannot be read.
    """
    try:
        flags = _CPUINFO.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags)
