"""The checkpoints of a run: each written whole, and one that is not whole is passed over."""

import functools
import os
import pathlib
import re
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tfstyle import files
from tfstyle.training.strategy import TrainingError, Workers, first_line

# What TensorFlow's reader raises for a file that is torn. It tells what lacks by IndexError.
_TORN = (tf.errors.OpError, OSError, RuntimeError, ValueError, IndexError)


def found(folder: str | os.PathLike) -> list[str]:
    """The checkpoints in a folder, the newest first, whole or not.

    By their files: the small file `checkpoint`, by which TensorFlow finds the newest, may be torn
    or lost, or name what was lost.

    Returns:
        Paths as TensorFlow takes them, without the suffix of a file; such as ckpt-200.
    """
    numbered = []
    for index in pathlib.Path(folder).glob("*.index"):
        match = re.fullmatch(r"[^.].*-(\d+)", index.stem)
        if match:
            numbered.append((int(match[1]), str(index.with_suffix(""))))
    return [path for _, path in sorted(numbered, reverse=True)]


def newest(folder: str | os.PathLike) -> str | None:
    """The newest whole checkpoint in a folder; None where there is none. Says what is passed over.

    Raises:
        TrainingError: where there are checkpoints, and none is whole.
    """
    torn = []
    for path in found(folder):
        if fault := _fault(path):
            torn.append((path, fault))
            continue
        if torn:
            names = ", ".join(pathlib.Path(each).name for each, _ in torn)
            _say(
                f"{torn[0][0]}: not whole ({torn[0][1]}); passed over {names}, and taken "
                f"{pathlib.Path(path).name}, the newest that is whole."
            )
        return path
    if torn:
        raise TrainingError(
            f"{torn[0][0]}: not whole ({torn[0][1]}), and no other checkpoint is. Put a copy of "
            "one there, or use --noresume to start again."
        )
    return None


@functools.cache
def _say(text: str) -> None:
    """Once, however often a checkpoint is asked for."""
    print(text, file=sys.stderr)


def _fault(path: str) -> str | None:
    """Why a checkpoint is not whole; None where it is.

    Every tensor is read: TensorFlow compares each with the checksum that was written with it.
    """
    where = pathlib.Path(path)
    try:
        with files.plain(where.parent) as folder:
            reader = tf.train.load_checkpoint(str(folder / where.name))
            for name in reader.get_variable_to_shape_map():
                reader.get_tensor(name)
    except _TORN as error:
        return first_line(error)
    return None


def restore(path: str, **parts: Any) -> Any:
    """Gives `parts` what a checkpoint holds under their names.

    Returns:
        What `tf.train.Checkpoint.read` returns: it can be asked whether all fitted.

    Raises:
        ValueError, tf.errors.OpError: where it cannot be read, or a shape is another.
    """
    where = pathlib.Path(path)
    with files.plain(where.parent) as folder:
        return tf.train.Checkpoint(**parts).read(str(folder / where.name))


def shapes(path: str) -> dict[str, list[int]]:
    """{name of a tensor in a checkpoint: its shape}."""
    where = pathlib.Path(path)
    with files.plain(where.parent) as folder:
        return tf.train.load_checkpoint(str(folder / where.name)).get_variable_to_shape_map()


class Checkpoints:
    """Those of one folder: what is written there, and how many are kept."""

    def __init__(self, folder: pathlib.Path, keep: int, parts: Mapping[str, Any]) -> None:
        """
        Args:
            folder: made with the first checkpoint.
            keep: so many of the last.
            parts: what a checkpoint holds, by name.
        """
        self._folder = folder
        self._keep = keep
        self._checkpoint = tf.train.Checkpoint(**parts)
        self._torn: list[str] = []

    @property
    def latest(self) -> str | None:
        """The last one, whole or not."""
        return next(iter(found(self._folder)), None)

    def resume(self) -> str | None:
        """Gives its parts what the newest whole checkpoint holds.

        Returns:
            Its path; None where there is none.

        Raises:
            TrainingError: where it does not fit, or there are some and none is whole.
        """
        path = newest(self._folder)
        if path is None:
            return None
        where = pathlib.Path(path)
        try:
            with files.plain(where.parent) as folder:
                self._checkpoint.restore(str(folder / where.name)).assert_consumed()
        except (AssertionError, ValueError, tf.errors.OpError) as error:
            raise TrainingError(
                f"{path}: does not fit this model ({first_line(error)}). Use another --name, "
                "or --noresume to start again."
            ) from error
        in_order = found(self._folder)
        self._torn = in_order[: in_order.index(path)]
        return path

    def save(self, number: int, workers: Workers) -> str:
        """The chief writes the checkpoint of a step, whole or not at all, and removes old ones.

        All workers save, since reading a variable may take all of them.

        Returns:
            Its path; of a worker that is not the chief, its name.

        Raises:
            TrainingError: where it cannot be written.
        """
        path = None
        self._checkpoint.save_counter.assign_add(1)  # as TensorFlow's own manager does
        try:
            if workers.chief:
                path = self._write(number)
            else:
                with tempfile.TemporaryDirectory() as scratch:
                    self._checkpoint.write(os.path.join(scratch, "ckpt"))
        except (OSError, tf.errors.OpError) as error:
            reason = error.strerror if isinstance(error, OSError) else first_line(error)
            kept = f"The last good one is {self.latest}. " if self.latest else ""
            raise TrainingError(
                f"{self._folder}: checkpoint of step {number} could not be written ({reason}). "
                f"{kept}Make room and give the same command again."
            ) from error
        workers.each(number)  # nobody goes on, or ends, before it is there
        return path or f"ckpt-{number}"

    def _write(self, number: int) -> str:
        self._folder.mkdir(parents=True, exist_ok=True)
        files.remove_left(self._folder)
        name = f"ckpt-{number}"
        with files.staging(self._folder) as staging:
            self._checkpoint.write(str(staging / name))
            # By its index it is found: that comes last.
            parts = sorted(staging.iterdir())
            files.move_all([(part, self._folder / part.name) for part in parts])
        path = str(self._folder / name)
        self._torn = [each for each in self._torn if each != path]
        whole = [each for each in found(self._folder) if each not in self._torn]
        kept = [pathlib.Path(each).name for each in whole[: self._keep]]
        # For TensorFlow's own tools.
        told = [f'model_checkpoint_path: "{kept[0]}"']
        told += [f'all_model_checkpoint_paths: "{each}"' for each in reversed(kept)]
        files.write_text(self._folder / "checkpoint", "\n".join(told) + "\n")
        for file in self._folder.glob("*-*.*"):
            if file.stem not in kept:
                file.unlink()
        return path
