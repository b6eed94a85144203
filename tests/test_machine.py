import ctypes
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
