"""Recipes run in this process, as their users would run them, and at little cost.

A process of its own costs seconds for the import of TensorFlow alone; `tests/pipelines` starts one
where the process is what is tested.
"""

import contextlib
import dataclasses
import importlib
import io
from pathlib import Path

import keras
import pytest

from tfstyle import cli, export
from tfstyle.export import saved_model


@dataclasses.dataclass(frozen=True)
class Done:
    """As `subprocess.CompletedProcess` has it."""

    returncode: int
    stdout: str
    stderr: str


def run(folder: Path, name: str, *flags: str, exported: bool = True) -> Done:
    """Runs `python -m pipelines.NAME FLAGS` in a folder.

    Of the TFLite files only the one in float32 is made: conversions cost more than all the rest,
    and the tests of the export make all of them.

    Args:
        exported: whether the export is made at all; a test of the training does without.
    """
    train = importlib.import_module(f"pipelines.{name}").train
    out, errors = io.StringIO(), io.StringIO()
    policy = keras.config.dtype_policy()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(saved_model, "TFLITE_VARIANTS", ("float32",))
        if not exported:
            patch.setattr(export.Release, "write", lambda *_, **__: None)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
                with pytest.raises(SystemExit) as stop:
                    cli.run(train, flags)
        finally:
            keras.config.set_dtype_policy(policy)
    return Done(stop.value.code or 0, out.getvalue(), errors.getvalue())
