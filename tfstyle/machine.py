"""What this process may have (memory, cores, fast bfloat16), and what holds for all of it."""

import contextlib
import ctypes
import math
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import psutil

from tfstyle.errors import TfstyleError

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
# Where Linux lists what its processors can do.
_CPUINFO = Path("/proc/cpuinfo")
# Where it tells a process of itself, and where its control groups are mounted by custom.
_PROCESS, _CONTROL_GROUPS = Path("/proc/self"), Path("/sys/fs/cgroup")
# Of the memory that is free, this much is used: other processes breathe.
_USABLE = 0.9


class TooLargeError(TfstyleError, ValueError):
    """More memory is needed than is free. `fits`: (height, width) of its aspect that would fit."""

    def __init__(self, message: str, fits: tuple[int, int]) -> None:
        super().__init__(message)
        self.fits = fits


def usable_memory() -> int:
    """Bytes of memory that may be taken: nine tenths of what is free.

    Of the machine, or of the control group that the process is in, as that of a container, and of
    those around it: who takes more than its limit is killed.
    """
    free = [psutil.virtual_memory().available]
    for group in _control_groups("memory"):
        statistics = dict(re.findall(r"^(\w+) (\d+)$", _text(group / "memory.stat"), re.MULTILINE))
        for limit, used, cache in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.high", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            limit, used = (_text(group / name).strip() for name in (limit, used))
            if limit.isdecimal() and used.isdecimal():  # else there is none
                # The system gives up its copies of files before it kills.
                taken = max(0, int(used) - int(statistics.get(cache, 0)))
                free.append(max(0, int(limit) - taken))
    return int(min(free) * _USABLE)


def cores() -> int:
    """Processors that this process may keep busy, at least 1.

    Those that it is bound to, as by taskset, and no more than the share of time that its control
    group has, as by `docker --cpus`; a part of one counts as one.
    """
    allowed = [_bound_to()]
    for group in _control_groups("cpu"):
        of_version_1 = (_text(group / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        for share in (_text(group / "cpu.max"), " ".join(of_version_1)):
            # "max" or -1 where there is no limit.
            if found := re.fullmatch(r"(\d+)\s+([1-9]\d*)\s*", share):
                allowed.append(math.ceil(int(found[1]) / int(found[2])))
    return max(1, min(allowed))


def _bound_to() -> int:
    if hasattr(os, "sched_getaffinity"):  # of Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _control_groups(controller: str) -> list[Path]:
    """Folders of the control groups of Linux that this process is in, of versions 1 and 2.

    From its own to the outermost that can be seen; a limit of any holds. Within a container they
    may be mounted from its own on, whose path of outside is then told all the same.
    """
    own: dict[str, str] = {}
    for line in _text(_PROCESS / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        own |= dict.fromkeys(controllers.split(","), path)  # "" in version 2
    mounts = [("", "/", str(_CONTROL_GROUPS)), (controller, "/", f"{_CONTROL_GROUPS}/{controller}")]
    for line in _text(_PROCESS / "mountinfo").splitlines():
        fields = re.fullmatch(r"\S+ \S+ \S+ (\S+) (\S+) .* - (\S+) \S+ (\S+)", line)
        if not fields:
            continue
        root, point, kind, options = (field.replace("\\040", " ") for field in fields.groups())
        if kind == "cgroup2":
            mounts.append(("", root, point))
        elif kind == "cgroup" and controller in options.split(","):
            mounts.append((controller, root, point))
    found: list[Path] = []
    for name, root, point in mounts:
        inner = PurePosixPath(own.get(name, "/"))
        below = inner.relative_to(root) if inner.is_relative_to(root) else PurePosixPath()
        folders = [Path(point) / below, *(Path(point) / below).parents]
        found += folders[: len(below.parts) + 1]
    return list(dict.fromkeys(found))


def _text(path: Path) -> str:
    """What a small file of the system says; nothing where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def keep_to_cores() -> None:
    """Has TensorFlow start no more threads than `cores`, unless the environment says how many.

    By itself it knows what the process is bound to, but not the share of time of a container, and
    threads that wait for their share hold up all others. To be called before TensorFlow does
    anything; it holds for the whole process and those that it starts: commands call it, the library
    never does.
    """
    if cores() == _bound_to():
        return
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, str(cores()))


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
    import numpy as np  # here, for the help of commands comes without

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
    flags = _text(_CPUINFO).split()
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags)
