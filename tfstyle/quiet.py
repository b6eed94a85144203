"""Keeps what native libraries tell of themselves off standard error; what they warn of stays.

TensorFlow and LiteRT write to the file descriptor, past Python's logging, at their import and at
the first call: which instructions they use, that there is no GPU. --verbosity does not reach them.
"""

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import re
import sys
import tempfile
import types
from collections.abc import Iterator, Sequence
from typing import IO

# Lines that say nothing that a user could or should mend.
_CHATTER = re.compile(
    rb"All log messages before absl::InitializeLog"
    rb"|oneDNN custom operations are on"
    rb"|Could not find cuda drivers"
    rb"|Could not find TensorRT"
    rb"|Unable to register cu(DNN|FFT|BLAS) factory"
    rb"|This TensorFlow binary is optimized to use available CPU instructions"
    rb"|^To enable the following instructions: "
    rb"|Created TensorFlow Lite XNNPACK delegate"
    rb"|Created device /job:"
    rb"|disabling MLIR crash reproducer"
    rb"|XLA service 0x[0-9a-f]+ initialized"
    rb"|StreamExecutor device "
    rb"|Loaded cuDNN version"
)


@contextlib.contextmanager
def into(file: IO[bytes]) -> Iterator[bool]:
    """What is written to standard error meanwhile, by native code too, goes into an open file.

    Yields:
        Whether there is a standard error at all.
    """
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (AttributeError, OSError, ValueError):
        yield False
        return
    try:
        os.dup2(file.fileno(), 2)
        yield True
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)


@contextlib.contextmanager
def native() -> Iterator[None]:
    """What is written to standard error meanwhile comes out at the end, without the chatter."""
    with tempfile.TemporaryFile() as said:
        there = False
        try:
            with into(said) as there:
                yield
        finally:
            said.seek(0)
            for line in said if there else ():
                if not _CHATTER.search(line):
                    os.write(2, line)


class _Quietly(importlib.abc.MetaPathFinder):
    """Finds a module that is imported within `native`, the first time."""

    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec and spec.loader:
            run = spec.loader.exec_module

            def quietly(module: types.ModuleType) -> None:
                with native():
                    run(module)

            spec.loader.exec_module = quietly  # type: ignore[method-assign]
        return spec


def on_import(name: str) -> None:
    """A module shall be imported without its chatter, whoever imports it.

    Not where the environment asks for more: TF_CPP_MIN_LOG_LEVEL=0.
    """
    if name not in sys.modules and os.environ.get("TF_CPP_MIN_LOG_LEVEL") != "0":
        sys.meta_path.insert(0, _Quietly(name))
