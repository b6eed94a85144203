"""Recipes run in this process, as their users would run them, and at little cost.

A process of its own costs seconds for the import of TensorFlow alone; `tests/pipelines` starts one
where the process is what is tested.
"""

import contextlib
import dataclasses
import importlib
import io
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import small_models
from tfstyle import cli, export
from tfstyle.training import loop


@dataclasses.dataclass(frozen=True)
class Done:
    """As `subprocess.CompletedProcess` has it."""

    returncode: int
    stdout: str
    stderr: str


def run(folder: Path, name: str, *flags: str, exported: bool = True, compiled: bool = True) -> Done:
    """Runs `python -m pipelines.NAME FLAGS` in a folder.

    Its export is as `small_models.quick_exports` has it.

    Args:
        exported: whether the export is made at all; a test of the training does without.
        compiled: whether steps are, which takes longer than a few of them line by line; see the
            fixture `eager`. Those of `fast` and `clahe` are compiled, as a user's are.
    """
    train = importlib.import_module(f"pipelines.{name}").train
    out, errors = io.StringIO(), io.StringIO()
    policy = keras.config.dtype_policy()
    with pytest.MonkeyPatch.context() as patch, small_models.quick_exports():
        patch.chdir(folder)
        if not exported:
            patch.setattr(export.Release, "write", lambda *_, **__: None)
        if not compiled:
            patch.setattr(loop, "fit", line_by_line(loop.fit))
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
                with pytest.raises(SystemExit) as stop:
                    cli.run(train, flags)
        finally:
            keras.config.set_dtype_policy(policy)
    return Done(stop.value.code or 0, out.getvalue(), errors.getvalue())


def line_by_line(fit):
    """`loop.fit` whose steps are not compiled."""

    def eager(*args, **options):
        tf.config.run_functions_eagerly(True)
        try:
            with warnings.catch_warnings():
                # That datasets are graphs all the same.
                warnings.filterwarnings("ignore", "Even though the .* option is set", UserWarning)
                return fit(*args, **options)
        finally:
            tf.config.run_functions_eagerly(False)

    return eager


def cut_back(checkpoints: Path, step: int, last: int) -> None:
    """Leaves a run's checkpoints as a kill after `step` does, of those up to step `last`."""
    for number in range(step + 1, last + 1):
        for file in checkpoints.glob(f"ckpt-{number}*"):
            file.unlink()
    tf.compat.v1.train.update_checkpoint_state(str(checkpoints), str(checkpoints / f"ckpt-{step}"))


def assert_ended_alike(
    whole: Path, resumed: Path, start: int, end: int, *, least: int = 51
) -> None:
    """Two runs hold the same to the bit at step `end`, and much of it is not as at step `start`.

    Args:
        whole, resumed: their folders of checkpoints; the second has that of `start`.
        least: number of tensors that are not as they were.
    """
    one, other = (tf.train.load_checkpoint(str(each / f"ckpt-{end}")) for each in (whole, resumed))
    before = tf.train.load_checkpoint(str(resumed / f"ckpt-{start}"))
    shapes = one.get_variable_to_shape_map()
    assert shapes == other.get_variable_to_shape_map()
    changed = 0
    for name in shapes:
        if name == "_CHECKPOINTABLE_OBJECT_GRAPH" or name.startswith("save_counter"):
            continue
        expected = one.get_tensor(name)
        np.testing.assert_array_equal(other.get_tensor(name), expected, err_msg=name)
        changed += not np.array_equal(before.get_tensor(name), expected)
    assert changed >= least
