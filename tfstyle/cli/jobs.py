"""Photos to pictures: which file becomes which, and the work on one after the other."""

import dataclasses
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfstyle.cli import messages
from tfstyle.errors import ArgumentError

_STDIN = "standard input"


@dataclasses.dataclass(frozen=True)
class _Camera:
    """A camera among the inputs: `camera` or `camera:N`. A file of that name is ./camera."""

    index: int

    @classmethod
    def named(cls, name: str) -> "_Camera | None":
        match = re.fullmatch(r"camera(?::(\d+))?", name)
        return cls(int(match[1] or 0)) if match else None

    def __str__(self) -> str:
        return f"camera:{self.index}"

    def read(self) -> Any:
        from tfstyle.images import camera

        return camera.capture(self.index)


def label(model: str) -> str:
    """What a model adds to the names of pictures: saved_models/mine/1 and mine.tflite give mine."""
    path = Path(model).resolve()
    if path.name.isdecimal():
        path = path.parent
    return path.stem if path.suffix in (".tflite", ".keras") else path.name


def plan(inputs: list[str], output: str | None, label: str) -> tuple[list, list]:
    """Which file becomes which.

    Returns:
        Jobs: [(input, output)], None for a standard stream; and [(input, error)] for those that
        are none.

    Raises:
        ValueError: before any work is done, where outputs would be no pictures, two outputs would
            be one, or an output would replace an input.
    """
    from tfstyle import images

    folders = [name for name in inputs if name != "-" and os.path.isdir(name)]
    goal, folder = _goal(inputs, folders, output)
    jobs: list[tuple[Path | _Camera | None, Path | None]] = []
    errors: list[tuple[str, Exception]] = []
    for name in inputs:
        if name == "-":
            jobs.append((None, folder / "stdin.png" if folder else goal))
            continue
        if camera := _Camera.named(name):
            target = Path(f"camera.{label}.jpg") if output is None else goal
            jobs.append((camera, folder / "camera.jpg" if folder else target))
            continue
        try:
            files = images.list_images(name)
        except ValueError as error:
            errors.append((name, error))
            continue
        if folder and name in folders and Path(name).resolve() in folder.resolve().parents:
            # What an earlier run painted is no photo.
            files = [file for file in files if folder.resolve() not in file.resolve().parents]
        if not files:
            looked_for = ", ".join(images.SUFFIXES)
            errors.append((name, images.ImageError(f"{name}: no images in it ({looked_for}).")))
        for file in files:
            suffix = file.suffix if file.suffix.lower() in (".jpg", ".jpeg") else ".png"
            if output is None:
                target = file.with_name(f"{file.stem}.{label}{suffix}")
            elif folder:
                place = file.relative_to(name) if name in folders else Path(file.name)
                target = folder / place.with_suffix(suffix)
            else:
                target = goal
            jobs.append((file, target))
    _refuse_clashes(jobs)
    return jobs, errors


def _goal(
    inputs: list[str], folders: list[str], output: str | None
) -> tuple[Path | None, Path | None]:
    """(output where it is a file, where it is a folder); None twice for standard output or none."""
    from tfstyle import images

    several = len(inputs) > 1 or bool(folders)
    if inputs.count("-") > 1:
        raise ArgumentError("- twice: standard input holds one image. Give - once.")
    if several and output == "-":
        raise ArgumentError("-o -: standard output takes one picture. Give one file, or -o DIR.")
    if folders and output is None:
        raise ArgumentError(f"{folders[0]}: a folder. Say with -o DIR where its pictures shall go.")
    if output is None or output == "-":
        return None, None
    goal = Path(output)
    if goal.is_dir() or output.endswith("/"):
        return None, goal
    is_picture = goal.suffix.lower() in images.WRITTEN_SUFFIXES
    if several and (is_picture or goal.exists()):
        raise ArgumentError(f"-o {output}: several inputs need a folder. Give one, such as out/.")
    if not several and not is_picture:
        raise ArgumentError(
            f"-o {output}: cannot write {goal.suffix or 'a file without suffix'}. Give "
            f"{', '.join(images.WRITTEN_SUFFIXES)}, or {output}/ for a folder."
        )
    return (None, goal) if several else (goal, None)


def _refuse_clashes(jobs: list) -> None:
    sources = {source.resolve() for source, _ in jobs if isinstance(source, Path)}
    taken: dict[Path, Path | _Camera | None] = {}
    for source, target in jobs:
        if target is None:
            continue
        place = target.resolve()
        if place in sources:
            raise ArgumentError(f"{target}: an input, which is never replaced. Give another -o.")
        if place in taken:
            raise ArgumentError(
                f"{taken[place] or '-'} and {source or '-'} would both become {target}. Stylize "
                "them into folders of their own."
            )
        taken[place] = source


def make_folder_of(path: Path) -> None:
    """Makes the folder that a file is to be written into, before the work that takes long.

    Raises:
        OSError: where it cannot be made.
        ValueError: where it may not be written into.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        raise ArgumentError(f"{path}: no permission to write into {path.parent}.")


def work(jobs: list, errors: list, paint: Callable, *, max_size: int | None, tell: bool) -> list:
    """Paints one photo after the other; what goes wrong with one does not stop the others.

    Args:
        jobs, errors: of `plan`; errors of the work are added.
        paint: (photo, output) -> the picture, which it has written.
        max_size: longest side of a photo, in pixels.
        tell: a line of each picture.

    Returns:
        [{"input", "output", "width", "height", "seconds"}] of the pictures.
    """
    import tqdm

    for folder in {target.parent for _, target in jobs if target}:
        folder.mkdir(parents=True, exist_ok=True)
    done = []
    # With disable=None tqdm is silent where stderr is no terminal.
    for source, target in tqdm.tqdm(jobs, unit="image", disable=None if len(jobs) > 1 else True):
        start = time.perf_counter()
        try:
            picture = paint(_photo(source, max_size), target)
        except (ValueError, MemoryError) as error:
            errors.append((str(source or _STDIN), error))
            continue
        height, width = picture.shape[:2]
        made = {
            "input": str(source or "-"),
            "output": str(target or "-"),
            "width": width,
            "height": height,
            "seconds": round(time.perf_counter() - start, 3),
        }
        done.append(made)
        if tell:
            tqdm.tqdm.write("{input} -> {output} ({width}x{height}, {seconds} s)".format(**made))
    return done


def _photo(source: Path | _Camera | None, max_size: int | None) -> Any:
    from tfstyle import images

    if isinstance(source, _Camera):
        photo = source.read()
    elif source:
        photo = images.read(source)
    else:
        photo = images.decode_bytes(sys.stdin.buffer.read(), name=_STDIN)
    return images.fit(photo, max_size) if max_size else photo


def report(errors: list, done: list) -> int:
    """Names what could not be painted, after `work`; returns the exit code."""
    from tfstyle import machine

    for name, error in errors:
        text = messages.line(error)
        if isinstance(error, machine.TooLargeError):
            text += f" (--max_size {max(error.fits)})"
        messages.complain(text if text.startswith(name) else f"{name}: {text}", "error: ")
    total = len(errors) + len(done)
    if errors and total > 1:
        messages.complain(f"{len(errors)} of {total} could not be stylized")
    return 2 if errors else 0
