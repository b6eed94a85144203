"""The images of a folder, and what else is in it."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from tfstyle.images import formats
from tfstyle.images.arrays import ImageError

# Of what is left out for one reason, so many are named.
_NAMED = 3


@dataclasses.dataclass(frozen=True)
class Found:
    """What is in a folder.

    Attributes:
        images: the image files, sorted.
        left_out: (path, reason) of all other files, and of links that are not followed, sorted.
    """

    images: list[Path]
    left_out: list[tuple[Path, str]]

    def outside(self, folder: Path) -> Found:
        """The same without what lies in a folder."""
        place = folder.resolve()
        return Found(
            [path for path in self.images if place not in path.resolve().parents],
            [each for each in self.left_out if place not in each[0].resolve().parents],
        )

    def told(self) -> str:
        """What is left out, in a line: how many, and the first of each reason; "" for nothing."""
        reasons: dict[str, list[Path]] = {}
        for path, reason in self.left_out:
            reasons.setdefault(reason, []).append(path)
        parts = []
        for reason, paths in reasons.items():
            named = ", ".join(map(str, paths[:_NAMED]))
            more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
            parts.append(f"{named}{more} ({reason})")
        return f"{len(self.left_out)} left out: {'; '.join(parts)}" if parts else ""


def list_images(path: str | os.PathLike) -> list[Path]:
    """The image files of a folder, sorted; a file is itself, whatever it is. See `find_images`.

    Raises:
        ImageError: when there is no such file or folder, or a folder may not be read.
    """
    return find_images(path).images


def find_images(path: str | os.PathLike) -> Found:
    """The image files of a folder, and what is left out of it.

    A file is an image by its suffix, or else by its first bytes. Folders are searched to the
    bottom, and links to folders are followed where these have not been searched and do not hold
    the folder itself. Hidden files and folders are passed over (such as the ._NAME.jpg that macOS
    leaves on other disks).

    Args:
        path: of the folder; of a file, that file is the only image, whatever it is.

    Raises:
        ImageError: when there is no such file or folder, or a folder may not be read.
    """
    path = Path(path)
    if path.is_file():
        return Found([path], [])
    if not path.is_dir():
        raise ImageError(f"{path}: no such file or folder.")
    found: list[Path] = []
    left_out: list[tuple[Path, str]] = []
    root = path.resolve()
    above = {root, *root.parents}
    searched: set[Path] = set()
    # Links wait until all that lies in the folder itself is known.
    folders: list[Path] = [path]
    links: list[Path] = []
    while folders or links:
        if folders:
            folder = folders.pop()
        else:
            folder = links.pop(0)
            if folder.resolve() in above | searched:
                left_out.append((folder, "links to folders that are searched anyway or lie above"))
                continue
        searched.add(folder.resolve())
        for entry in _entries(folder):
            place = folder / entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                (links if entry.is_symlink() else folders).append(place)
            elif reason := _reason(place, entry.is_file()):
                left_out.append((place, reason))
            else:
                found.append(place)
    return Found(sorted(found), sorted(left_out))


def _entries(folder: Path) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise ImageError(f"{folder}: folder cannot be read ({error.strerror}).") from None


def _reason(path: Path, is_file: bool) -> str:
    """Why a file is no image that can be read here; "" where it is one, or may be.

    What has the suffix of an image and is none is not passed over: it is tried, and named then.
    """
    suffix = path.suffix.lower()
    by_suffix = suffix in formats.SUFFIXES
    if not is_file and not path.is_symlink():
        return "no file"  # opening a pipe would wait for what comes out of it
    # Folders may hold very many images, and be far away: only in doubt are they looked into.
    if by_suffix and suffix not in formats.EXTRA_SUFFIXES:
        return ""
    try:
        with open(path, "rb") as file:
            kind = formats.kind_of(file.read(formats.HEAD), "")
    except OSError as error:
        return "" if by_suffix else str(error.strerror)
    except ImageError:
        return "" if by_suffix else "no image"
    try:
        formats.check_readable(kind, "")
    except ImageError as error:
        return str(error).removeprefix(": ").rstrip(".")
    return ""
