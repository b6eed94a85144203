import ctypes
import os
import platform
import subprocess
import sys
import types

import psutil
import pytest

from tfstyle import machine


def test_usable_memory_is_some_of_what_there_is():
    usable = machine.usable_memory()
    assert isinstance(usable, int)
    assert 0 < usable < psutil.virtual_memory().total


def test_usable_memory_leaves_a_tenth_of_what_is_free_to_others(monkeypatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: types.SimpleNamespace(available=12345))
    assert machine.usable_memory() == 11110


def test_keep_freed_memory_may_be_called_again():
    assert machine.keep_freed_memory() is machine.keep_freed_memory() is None


@pytest.mark.parametrize("error", [OSError, TypeError])
def test_without_a_c_library_to_ask_nothing_happens(monkeypatch, error):
    def missing(name):
        raise error("no such library")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    machine.keep_freed_memory()


def test_with_a_c_library_that_has_no_mallopt_nothing_happens(monkeypatch):
    asked = []
    monkeypatch.setattr(ctypes, "CDLL", lambda name: asked.append(name) or object())
    machine.keep_freed_memory()
    assert asked == [None]


WORKER = """
import ctypes, resource
from tfstyle import machine

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def faults():
    '''Pages that the system had to give for one block of 64 MB.'''
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(1 << 26)
    ctypes.memset(block, 1, 1 << 26)
    libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

plain = min(faults() for _ in range(3))
machine.keep_freed_memory()
print(plain, min(faults() for _ in range(3)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_a_large_block_is_not_mapped_anew_after_it_was_freed():
    command = [sys.executable, "-c", WORKER]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    plain, kept = map(int, answer.split())
    assert kept < plain / 4


AMD = """processor\t: 0
vendor_id\t: AuthenticAMD
model name\t: AMD EPYC 9B14
flags\t\t: fpu vme sse4_2 avx512f avx512vl avx512_bf16 clzero
"""


@pytest.mark.parametrize(
    ("text", "fast"),
    [
        (AMD, True),
        (AMD.replace("avx512_bf16", "amx_tile amx_bf16 amx_int8"), True),
        (AMD.replace("avx512_bf16", "avx512_fp16"), False),
        (AMD.replace("avx512_bf16", "avx512_bf16_other xavx512_bf16"), False),
        ("Features\t: fp asimd evtstrm aes", False),
        ("", False),
    ],
    ids=["AVX-512 BF16", "AMX", "AVX-512 without", "names that contain it", "ARM", "nothing"],
)
def test_fast_bfloat16_is_read_from_the_processors_flags(tmp_path, monkeypatch, text, fast):
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    monkeypatch.setattr(machine, "_CPUINFO", path)
    assert machine.has_fast_bfloat16() is fast


def test_where_processors_are_not_listed_bfloat16_is_taken_for_slow(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "missing")
    assert machine.has_fast_bfloat16() is False


def test_bytes_that_are_no_text_do_not_matter(tmp_path, monkeypatch):
    path = tmp_path / "cpuinfo"
    path.write_bytes(b"model name : \xff\xfe\nflags : amx_bf16\n")
    monkeypatch.setattr(machine, "_CPUINFO", path)
    assert machine.has_fast_bfloat16() is True


# What a container may have. A tree of files stands for /proc/self and /sys/fs/cgroup.


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Writes such files: {path: text}; 10 GB are free on the machine, and it has 16 processors."""

    def write(tree):
        for name, text in tree.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("/sys/fs/cgroup", str(tmp_path / "groups")))

    monkeypatch.setattr(machine, "_PROCESS", tmp_path / "self")
    monkeypatch.setattr(machine, "_CONTROL_GROUPS", tmp_path / "groups")
    monkeypatch.setattr("psutil.virtual_memory", lambda: types.SimpleNamespace(available=10 * GB))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    return write


GB = 10**9
V2 = "31 23 0:28 {root} /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup rw\n"
V1 = "32 31 0:29 {root} /sys/fs/cgroup/{name} rw,relatime - cgroup cgroup rw,{name}\n"


def limit(folder, memory, used=0, cache=0):
    return {
        f"groups/{folder}/memory.max": f"{memory}\n",
        f"groups/{folder}/memory.current": f"{used}\n",
        f"groups/{folder}/memory.stat": f"anon 7\ninactive_file {cache}\nactive_file 9\n",
    }


def limit_1(folder, memory, used=0, cache=0):
    return {
        f"groups/memory/{folder}/memory.limit_in_bytes": f"{memory}\n",
        f"groups/memory/{folder}/memory.usage_in_bytes": f"{used}\n",
        f"groups/memory/{folder}/memory.stat": f"inactive_file 1\ntotal_inactive_file {cache}\n",
    }


def mounted(own, *mounts):
    return {
        "self/cgroup": own,
        "self/mountinfo": "garbage of old - tmpfs tmpfs rw\n" + "".join(mounts),
    }


CASES = {
    "none": ({}, 10_000),
    "of version 2, mounted at the container": (
        mounted("0::/\n", V2.format(root="/")) | limit(".", 2 * GB, GB // 2, GB // 10),
        1600,
    ),
    "without a limit": (mounted("0::/\n", V2.format(root="/")) | limit(".", "max", 5), 10_000),
    "its own is less than that around it": (
        mounted("0::/a/b\n", V2.format(root="/")) | limit("a", 9 * GB) | limit("a/b", 3 * GB),
        3000,
    ),
    "that around it is less than its own": (
        mounted("0::/a/b\n", V2.format(root="/")) | limit("a", 3 * GB) | limit("a/b", "max"),
        3000,
    ),
    "mounted from its own on, with the path of outside": (
        mounted("0::/docker/abc/in\n", V2.format(root="/docker/abc"))
        | limit(".", 5 * GB)
        | limit("in", 4 * GB),
        4000,
    ),
    "mounted from another on": (
        mounted("0::/../other\n", V2.format(root="/docker/abc")) | limit(".", 5 * GB),
        5000,
    ),
    "more is used than it may": (
        mounted("0::/\n", V2.format(root="/")) | limit(".", 2 * GB, 3 * GB),
        0,
    ),
    "a soft one": (
        mounted("0::/\n", V2.format(root="/"))
        | limit(".", "max", 1 * GB)
        | {"groups/memory.high": "3000000000\n"},
        2000,
    ),
    "of version 1": (
        mounted("4:memory:/a/b\n1:cpu:/\n0::/\n", V1.format(root="/", name="memory"))
        | limit_1("a", 2 * GB, GB // 2, GB // 10)
        | limit_1("a/b", 9223372036854771712),
        1600,
    ),
    "of version 1, mounted from its own on": (
        mounted("4:hugetlb,memory:/docker/abc\n", V1.format(root="/docker/abc", name="memory"))
        | limit_1(".", 3 * GB),
        3000,
    ),
    "of no mount that is told": (limit(".", 3 * GB), 3000),
}


@pytest.mark.parametrize(("tree", "megabytes"), CASES.values(), ids=CASES)
def test_usable_memory_is_within_the_limits_of_all_control_groups(system, tree, megabytes):
    system(tree)
    assert machine.usable_memory() == int(megabytes * 1e6 * 0.9)


OF_V2 = mounted("0::/a/b\n", V2.format(root="/"))
OF_V1 = mounted("3:cpu,cpuacct:/a\n", V1.format(root="/", name="cpu"))


@pytest.mark.parametrize(
    ("tree", "cores"),
    [
        ({}, 16),
        (OF_V2 | {"groups/a/b/cpu.max": "max 100000\n"}, 16),
        (OF_V2 | {"groups/a/b/cpu.max": "200000 100000\n"}, 2),
        (OF_V2 | {"groups/a/b/cpu.max": "150000 100000\n"}, 2),
        (OF_V2 | {"groups/a/b/cpu.max": "1000 100000\n"}, 1),
        (OF_V2 | {"groups/a/cpu.max": "300000 100000\n", "groups/a/b/cpu.max": "max 100000\n"}, 3),
        (OF_V2 | {"groups/a/b/cpu.max": "6400000 100000\n"}, 16),
        (OF_V2 | {"groups/a/b/cpu.max": "half a dozen\n"}, 16),
        (
            OF_V1
            | {
                "groups/cpu/a/cpu.cfs_quota_us": "400000\n",
                "groups/cpu/a/cpu.cfs_period_us": "100000\n",
            },
            4,
        ),
        (
            OF_V1
            | {
                "groups/cpu/a/cpu.cfs_quota_us": "-1\n",
                "groups/cpu/a/cpu.cfs_period_us": "100000\n",
            },
            16,
        ),
    ],
)
def test_cores_are_those_of_the_share_of_time(system, tree, cores):
    system(tree)
    assert machine.cores() == cores


def test_cores_are_those_that_the_process_is_bound_to(system, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7})
    assert machine.cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.cores() == 1


def test_tensorflow_starts_no_more_threads_than_there_are_cores_for(system, monkeypatch):
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    for name in names:
        monkeypatch.setenv(name, "7")  # so that it is put back
        monkeypatch.delenv(name)
    machine.keep_to_cores()
    assert not os.environ.keys() & names
    system(OF_V2 | {"groups/a/b/cpu.max": "200000 100000\n"})
    monkeypatch.setenv(names[0], "1")
    machine.keep_to_cores()
    assert [os.environ[name] for name in names] == ["1", "2"]
