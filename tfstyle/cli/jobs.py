"""Photos to pictures: which file becomes which, and the work on one after the other."""

import argparse
import dataclasses
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tfstyle.cli import messages
from tfstyle.errors import ArgumentError

STDIN = "standard input"


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
    path = Path(model)
    if path.name in ("", ".."):  # . and .. are called as their folders are
        path = path.resolve()
    if path.name.isdecimal():
        path = path.parent
    return path.stem if path.suffix in (".tflite", ".keras") else path.name


def plan(inputs: list[str], output: str | None, label: str) -> tuple[list, list]:
    """Which file becomes which; says what is left out: no images, and what was painted before.

    Returns:
        Jobs: [(input, output)], None for a standard stream; and [(input, error)] for those that
        are none, where an output would replace an input or another output among them.

    Raises:
        ValueError: before any work is done, where outputs would be no pictures.
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
            found = images.find_images(name)
        except ValueError as error:
            errors.append((name, error))
            continue
        if folder and name in folders and Path(name).resolve() in folder.resolve().parents:
            # What an earlier run painted is no photo.
            found = found.outside(folder)
        if told := found.told():
            messages.complain(f"{name}: {told}")
        if not found.images:
            looked_for = ", ".join(images.SUFFIXES)
            errors.append((name, images.ImageError(f"{name}: no images in it ({looked_for}).")))
        for file in found.images:
            target = goal
            if output is None:
                target = file.with_name(f"{file.stem}.{label}{_suffix(file)}")
            elif folder:
                place = file.relative_to(name) if name in folders else Path(file.name)
                target = folder / place.with_suffix(_suffix(file))
            jobs.append((file, target))
    return _apart(_not_painted(jobs), errors), errors


def _suffix(file: Path) -> str:
    """Of the picture of a photo."""
    return file.suffix if file.suffix.lower() in (".jpg", ".jpeg") else ".png"


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


def _not_painted(jobs: list) -> list:
    """The jobs without those whose photo is a picture that an earlier run made of another photo.

    `*.jpg` takes photo.NAME.jpg in a second run. A picture that is given alone is meant.
    """
    from tfstyle.images import provenance

    sources = {source for source, _ in jobs if isinstance(source, Path)}
    stems = {(source.parent, source.stem) for source in sources}

    def is_painted(source: Path | _Camera | None) -> bool:
        if not isinstance(source, Path):
            return False
        begins = source.name.split(".")[:-2]
        stem = [".".join(begins[:count]) for count in range(1, len(begins) + 1)]
        if not any((source.parent, each) in stems for each in stem):
            return False
        try:
            return provenance.found(source)["made"] is not None
        except ValueError:  # which is told when it is read
            return False

    painted = [str(source) for source, _ in jobs if is_painted(source)]
    if painted:
        more = f" and {len(painted) - 3} more" if len(painted) > 3 else ""
        messages.complain(
            f"{len(painted)} left out: {', '.join(painted[:3])}{more} (painted before, of photos "
            "that are given too)"
        )
    return [(source, target) for source, target in jobs if str(source) not in painted]


def _apart(jobs: list, errors: list) -> list:
    """The jobs with an output for each; to `errors` those whose output is another one's file."""
    sources = {source.resolve() for source, _ in jobs if isinstance(source, Path)}
    # Who has the suffix of the output already keeps the name; of logo.png and logo.webp the second
    # becomes logo.webp.png.
    taken: dict[Path, Path | _Camera | None] = {}
    for source, target in jobs:
        if target and isinstance(source, Path) and source.suffix == target.suffix:
            taken.setdefault(target.resolve(), source)
    apart: list = []
    done: set[Path] = set()
    for source, target in jobs:
        if target is None:
            apart.append((source, target))
            continue
        owner = taken.setdefault(target.resolve(), source)
        if isinstance(source, Path) and owner != source and source.suffix != target.suffix:
            rest = target.name.removeprefix(source.stem)
            target = target.with_name(f"{source.name}{rest}")
            owner = taken.setdefault(target.resolve(), source)
        place = target.resolve()
        if place in sources:
            text = f"{target}: an input, which is never replaced. Give another -o."
            errors.append((str(source or STDIN), ArgumentError(text)))
        elif owner != source or place in done:
            text = (
                f"{owner or '-'} and {source or '-'} would both become {target}. Stylize them into "
                "folders of their own."
            )
            errors.append((str(source or STDIN), ArgumentError(text)))
        else:
            done.add(place)
            apart.append((source, target))
    return apart


def make_folder_of(path: Path) -> None:
    """Makes the folder that a file is to be written into, before the work that takes long.

    Raises:
        OSError: where it cannot be made.
        ValueError: where it may not be written into.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        raise ArgumentError(f"{path}: no permission to write into {path.parent}.")


@dataclasses.dataclass(frozen=True)
class Reading:
    """How photos are read.

    Attributes:
        max_size: longest side that they are shrunk to, in pixels.
        max_pixels: that are decoded.
        metadata: what pictures keep of a photo's, as of `images.photo_metadata`.
    """

    max_size: int | None
    max_pixels: int
    metadata: str

    @classmethod
    def of(cls, args: argparse.Namespace) -> "Reading":
        return cls(args.max_size, args.max_pixels, args.metadata)


def work(
    jobs: list,
    errors: list,
    paint: Callable,
    *,
    reading: Reading,
    writing: dict,
    tell: bool,
) -> list:
    """Paints one photo after the other; what goes wrong with one does not stop the others.

    Args:
        jobs, errors: of `plan`; errors of the work are added.
        paint: photo -> picture.
        reading: of the photos.
        writing: arguments of `images.write`.
        tell: a line of each picture.

    Returns:
        [{"input", "output", "width", "height", "seconds"}] of the pictures, and "frames" of
        animations.
    """
    import tqdm

    for folder in {target.parent for _, target in jobs if target}:
        folder.mkdir(parents=True, exist_ok=True)
    done = []
    # With disable=None tqdm is silent where stderr is no terminal.
    for source, target in tqdm.tqdm(jobs, unit="image", disable=None if len(jobs) > 1 else True):
        start = time.perf_counter()
        try:
            shape = _paint_one(source, target, paint, reading, writing)
        except (ValueError, MemoryError) as error:
            errors.append((str(source or STDIN), error))
            continue
        made = {
            "input": str(source or "-"),
            "output": str(target or "-"),
            **shape,
            "seconds": round(time.perf_counter() - start, 3),
        }
        done.append(made)
        if tell:
            frames = f", {made['frames']} frames" if "frames" in made else ""
            text = "{input} -> {output} ({width}x{height}{frames}, {seconds} s)"
            tqdm.tqdm.write(text.format(**made | {"frames": frames}))
    return done


def _paint_one(
    source: Path | _Camera | None,
    target: Path | None,
    paint: Callable,
    reading: Reading,
    writing: dict,
) -> dict[str, int]:
    """Paints a photo, or each frame of an animation; returns width and height, and "frames"."""
    from tfstyle import images

    if isinstance(source, _Camera):
        photo = source.read()
        photo = images.fit(photo, reading.max_size) if reading.max_size else photo
        return _write(target, paint(photo), writing)
    name = str(source or STDIN)
    data = images.read_bytes(source) if source else sys.stdin.buffer.read()
    limits: dict = {"max_pixels": reading.max_pixels, "max_size": reading.max_size}
    animation = images.read_animation(data, name=name, **limits)
    writing = writing | images.photo_metadata(data, reading.metadata, name=name)
    if animation and target and target.suffix.lower() not in (".png", ".webp"):
        messages.complain(
            f"{name}: the first of {animation.count} frames; {target.suffix} holds no animation, "
            ".webp and .png do"
        )
        animation = None
    if not animation:
        return _write(target, paint(images.decode_bytes(data, name=name, **limits)), writing)
    shape: dict[str, int] = {}

    def frames() -> Iterator[tuple[Any, float]]:
        import tqdm

        bar = tqdm.tqdm(animation.frames, total=animation.count, unit="frame", disable=None)
        for image, milliseconds in bar:
            picture = paint(image)
            shape.update(width=picture.shape[1], height=picture.shape[0])
            yield picture, milliseconds

    painted = dataclasses.replace(animation, frames=frames())
    if target:
        images.write_animation(target, painted, **writing)
    else:
        options = {key: writing[key] for key in writing if key != "finish"}
        _to_stdout(images.encode_animation(painted, "png", **options), writing)
    return shape | {"frames": animation.count}


def _write(target: Path | None, picture: Any, writing: dict) -> dict[str, int]:
    from tfstyle import images

    if target:
        images.write(target, picture, **writing)
    else:
        options = {key: writing[key] for key in writing if key != "finish"}
        _to_stdout(images.encode(picture, **options), writing)
    return {"width": picture.shape[1], "height": picture.shape[0]}


def _to_stdout(data: bytes, writing: dict) -> None:
    """Writes a PNG."""
    if "finish" in writing:
        data = writing["finish"](data, "png")
    while data:  # under PYTHONUNBUFFERED a write may stop half way
        data = data[sys.stdout.buffer.write(data) :]
    sys.stdout.buffer.flush()


def read(path: str | os.PathLike, **options: Any) -> Any:
    """As `images.read`; limits are told with the flag that helps, but of memory none does."""
    from tfstyle import images

    try:
        return images.read(path, **options)
    except images.TooManyPixelsError as error:
        raise ArgumentError(hinted(error)) from error


def hinted(error: BaseException, size_flag: str = "--max_size") -> str:
    """What an error of a photo says, in one line, with the flag that helps."""
    from tfstyle import images, machine

    text = messages.line(error)
    if isinstance(error, machine.TooLargeError):
        return f"{text} ({size_flag} {max(error.fits)})"
    if isinstance(error, images.TooManyPixelsError):
        return f"{text} (--max_pixels {error.pixels})"
    return text


def report(
    errors: list, done: list, *, verb: str = "stylized", size_flag: str = "--max_size"
) -> int:
    """Names what could not be done, after `work`; returns the exit code."""
    for name, error in errors:
        text = hinted(error, size_flag)
        messages.complain(text if text.startswith(name) else f"{name}: {text}", "error: ")
    total = len(errors) + len(done)
    if errors and total > 1:
        messages.complain(f"{len(errors)} of {total} could not be {verb}")
    return 2 if errors else 0
