"""Paintings by style: read, found in folders, split into those to train on and those kept out."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfstyle import images
from tfstyle.data import batches, drawn, sources
from tfstyle.errors import ArgumentError

# Share of a style's paintings, or of the longer side of each where there are fewer than _FEW.
_KEPT_OUT, _FEW = 0.3, 4
# Pixels that a side must have for VGG16's block5_conv1, behind four halvings.
MIN_SIDE = 16


class Split(NamedTuple):
    """A style's paintings, those to train on apart from those kept out: `keep_out`."""

    training: list[Path]
    kept_out: list[Path]
    scale: tuple[float, float]  # of training crops, so that both show strokes of one size
    told: str  # what was kept out


def read(style: str, size: int) -> np.ndarray:
    """The picture of a style: float32 RGB [H, W, 3] in [0, 1].

    Args:
        style: an image file, or the name of a style that tfstyle draws (`drawn.STYLES`).
        size: longest side in pixels, at most; drawn styles are drawn at it.

    Raises:
        ArgumentError: for one that is too small, see `fit`.
        ImageError: for a file that cannot be read.
    """
    if style in drawn.STYLES:
        return drawn.style(style, size)
    return fit(images.read(style), size, style)


def fit(painting: np.ndarray, size: int, name: str) -> np.ndarray:
    """A painting made as small as it is learned from: [H, W, 3] in [0, 1], as it comes.

    Args:
        painting: float32 RGB in [0, 1].
        size: longest side in pixels, at most.
        name: what messages call it.

    Raises:
        ArgumentError: where its short side is less than the 16 pixels that VGG16 needs: of its
            deepest layer of styles nothing would be left.
    """
    found = images.fit(painting, size)
    (height, width), (whole_height, whole_width) = found.shape[:2], painting.shape[:2]
    if min(height, width) >= MIN_SIDE:
        return found
    shrunk = (height, width) != (whole_height, whole_width)
    if max(height, width) < size or shrunk and min(whole_height, whole_width) < MIN_SIDE:
        mend = "Give a larger picture"
    else:
        wanted = math.ceil(size * MIN_SIDE / min(height, width))
        mend = f"Give a part of it, or a style_size of {wanted}"
    raise ArgumentError(
        f"painting {name}: of {whole_width}x{whole_height} pixels, {width}x{height} at a "
        f"style_size of {size}, and its short side must have {MIN_SIDE}. {mend}"
    )


def read_all(style: str, size: int) -> dict[str, np.ndarray]:
    """Several styles, each of one picture: {name: as `read` gives it}, in order.

    Args:
        style: image files, folders of them, or names of styles that tfstyle draws, separated by
            commas. A style is called as its file is.
        size: see `read`.

    Raises:
        ArgumentError: where two have one name.
        DataError, ImageError: for what is not there or cannot be read.
    """
    found: dict[str, np.ndarray] = {}
    for part in [style] if os.path.exists(style) else style.split(","):
        is_drawn = part.strip() in drawn.STYLES
        for path in [Path(part.strip())] if is_drawn else sources.list_files(part):
            if path.stem in found:
                raise ArgumentError(f"style {path}: another is called {path.stem} too; rename one")
            found[path.stem] = read(str(path), size)
    return found


def find(style: str, folder: Path) -> dict[str, list[Path]]:
    """{name of a style: its paintings}; those that tfstyle draws are written below `folder`."""
    whole = Path(style)
    if os.path.isdir(whole):
        folders = sorted(path for path in whole.glob("[!.]*") if path.is_dir())
        parts = folders or sources.list_files(whole)
    else:
        parts = [Path(part.strip()) for part in style.split(",") if part.strip()]
    names = [part.stem for part in parts]
    if len(parts) < 2:
        raise ArgumentError(
            f"style {style!r}: {len(parts)} of them; give at least two to tell apart"
        )
    for part in parts:
        if names.count(part.stem) > 1:
            raise ArgumentError(f"style {part}: another is called {part.stem} too; rename one")
    found = {part.stem: sources.list_files(part) for part in parts if str(part) not in drawn.STYLES}
    for works in found.values():
        for path in works if len(works) < _FEW else ():
            images.read(path)  # to know of a broken one before anything is written
    for part in parts:
        if str(part) in drawn.STYLES:
            found[part.stem] = sources.list_files(
                drawn.write_styles(folder / str(part), str(part), size=256)
            )
    return {key: found[key] for key in names}


def keep_out(works: Sequence[Path], folder: Path, *, seed: int) -> Split:
    """Keeps out a share of the paintings; of fewer than _FEW, the end of the longer side of each.

    Args:
        works: image files.
        folder: to write cut pictures to.
        seed: decides which paintings.
    """
    if len(works) >= _FEW:
        order = [works[i] for i in batches.order(len(works), seed, 0)]
        count = round(_KEPT_OUT * len(works))
        told = f"{count} of {len(works)} paintings"
        return Split(sorted(order[count:]), sorted(order[:count]), (1.0, 1.6), told)
    trained: list[Path] = []
    kept_out: list[Path] = []
    ratios = []
    for i, path in enumerate(works):
        picture = images.read(path)
        axis = int(picture.shape[1] > picture.shape[0])
        cut = round((1 - _KEPT_OUT) * picture.shape[axis])
        parts = np.split(picture, [cut], axis=axis)
        for paths, part, where in zip((trained, kept_out), parts, ("train", "kept"), strict=True):
            paths.append(folder / where / f"{i}_{path.stem}.png")
            paths[-1].parent.mkdir(parents=True, exist_ok=True)
            images.write(paths[-1], part)
        ratios.append(min(parts[0].shape[:2]) / min(parts[1].shape[:2]))
    ratio = max(1.0, float(np.mean(ratios)))
    told = f"{_KEPT_OUT:.0%} of the longer side of each of {len(works)}"
    return Split(trained, kept_out, (ratio, 1.6 * ratio), told)


def split(style: str, folder: Path, *, seed: int) -> dict[str, Split]:
    """{name of a style: its paintings, some kept out}, of several styles.

    Args:
        style: see `find`.
        folder: to write drawn and cut pictures below.
        seed: decides which paintings.
    """
    found = find(style, folder)
    return {name: keep_out(works, folder / name, seed=seed) for name, works in found.items()}


def in_turn(
    splits: Mapping[str, Split],
    *,
    batch_size: int,
    crop_size: int,
    seed: int = 0,
    skip: int = 0,
    shard: tuple[int, int] = (0, 1),
    strict: bool = False,
) -> tuple[tf.data.Dataset, list[sources.ReadReport]]:
    """Endless batches of crops of the training paintings: painting i is of style i modulo N.

    Args:
        splits: of N styles.
        batch_size, crop_size, seed, skip, shard, strict: see `data.image_batches`.

    Returns:
        (dataset, reports of its sources): (float32 crops [B, crop_size, crop_size, 3] in [0, 1],
        the style of each [B, N], one 1 a row), B the share of batch_size that `shard` says.
    """
    count, start = len(splits), skip * batch_size
    of_styles = [
        batches.image_batches(
            each.training,
            batch_size=1,
            crop_size=crop_size,
            seed=seed + 1 + i,
            skip=-((i - start) // count),
            scale=each.scale,
            strict=strict,
        )
        for i, each in enumerate(splits.values())
    ]
    turns = tf.data.Dataset.counter(start).map(lambda i: i % count)
    pictures = tf.data.Dataset.choose_from_datasets([of_one for of_one, _ in of_styles], turns)
    styles = turns.map(lambda turn: tf.one_hot(turn, count))
    shown = tf.data.Dataset.zip(pictures.unbatch(), styles).batch(batch_size, drop_remainder=True)
    first, size = batches.part_of(batch_size, shard)
    part = slice(first, first + size)
    shown = shown.map(lambda pictures, styles: (pictures[part], styles[part]))
    return shown, [report for _, report in of_styles]
