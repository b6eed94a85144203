"""Image folders, TFDS datasets and records -> batches of random crops; MNIST's digits and noise.

Element i of a dataset is a pure function of (source, seed, i): `order` says which image it is, and
its crop and flip are drawn from (seed, i). A resumed run passes the number of batches it has
used as `skip` and gets bit for bit what it would have got. That is why iterators are not
checkpointed: a tf.data iterator saves its shuffle buffer, which here would put the encoded
photos into every checkpoint, and tf.data's own shuffle would have to read the whole folder before
the first batch, and again through all past epochs after a resume.
"""

import functools
import io
import itertools
import math
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import ExifTags, Image

from tfstyle import images
from tfstyle.data import records
from tfstyle.data.sources import (
    JPEG,
    DataError,
    Item,
    ReadReport,
    digests,
    find_items,
    is_one_of,
)

# Encoded images kept in memory; the rest is read from disk each time.
CACHE_BYTES = 2 * 1024**3
# A call into Python takes about as long as handing over ten images.
_READ_AT_ONCE = 16


def image_batches(
    source: str | os.PathLike | Sequence[str | os.PathLike],
    *,
    batch_size: int,
    crop_size: int,
    seed: int = 0,
    skip: int = 0,
    shard: tuple[int, int] = (0, 1),
    scale: tuple[float, float] = (1.0, 1.6),
    flip: bool = True,
    strict: bool = False,
    exclude: Sequence[str | os.PathLike] = (),
    max_pixels: int = images.MAX_PIXELS,
) -> tuple[tf.data.Dataset, ReadReport]:
    """Endless batches of random square crops.

    Each epoch takes all images in another order. An image that cannot be read is noted in the
    report and the next readable one takes its place; if there is none, the dataset ends.

    Args:
        source: folders (searched to the bottom) or files, as one path, several separated by commas,
            or a sequence; or "tfds:NAME" or "tfds:NAME:SPLIT" in TFDS's split syntax, such as
            "tfds:coco/2014:train[:10%]" (split "train" by default), whose images are held in
            memory; or "records:FOLDER", as `tfstyle records` wrote it.
        batch_size: images a batch, over all processes that share it.
        crop_size: side of a crop in pixels.
        seed: at least 0; decides order, crops and flips.
        skip: batches already consumed.
        shard: (index, count): this process's part of each batch, which `count` processes share: the
            images from index * batch_size / count on. Together the parts are the whole batch.
        scale: the image is scaled so that its shorter side is crop_size times a number from this
            range, at least 1; then the crop is taken. Small images are enlarged.
        flip: whether half of the crops are mirrored left to right.
        strict: whether `ReadReport.check` fails on the first unreadable image.
        exclude: files, or folders with all in them, to leave out, such as photos kept for judging.
        max_pixels: larger images count as unreadable. Those in records were judged by
            images.MAX_PIXELS when they were written.

    Returns:
        (dataset, report): float32 RGB [batch_size / count, crop_size, crop_size, 3] in [0, 1], and
        what is known about the source, which grows while the dataset is read.

    Raises:
        DataError: when there are no images, or an argument is out of range.
    """
    for name, value, least in (
        ("batch_size", batch_size, 1),
        ("crop_size", crop_size, 1),
        ("seed", seed, 0),
        ("skip", skip, 0),
    ):
        if value < least:
            raise DataError(f"{name} {value}: give at least {least}.")
    if not 1 <= scale[0] <= scale[1]:
        raise DataError(f"scale {scale}: give (low, high) with 1 <= low <= high.")
    numbers, part = _numbers(batch_size, skip, shard)
    items = find_items(source, exclude)
    report = ReadReport(len(items), strict=strict)
    to_graph_bytes = functools.partial(
        images.to_graph_bytes,
        max_pixels=max_pixels,
        shrink_to=math.ceil(crop_size * scale[1]),
    )
    reader = _Reader(items, report, seed, to_graph_bytes, digests(exclude))

    def read(indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        # Stateless, so that op determinism does not put the whole pipeline on one core.
        encoded, upright = tf.numpy_function(
            reader.read, [indices], (tf.string, tf.bool), stateful=False
        )
        return indices, tf.ensure_shape(encoded, [None]), tf.ensure_shape(upright, [None])

    def crop(index: tf.Tensor, encoded: tf.Tensor, upright: tf.Tensor) -> tf.Tensor:
        return _random_crop(
            encoded, upright, crop_size, scale, flip, seed=(seed, index), max_pixels=max_pixels
        )

    parallel: dict[str, Any] = {"num_parallel_calls": tf.data.AUTOTUNE, "deterministic": True}
    dataset = (
        numbers.batch(_READ_AT_ONCE)
        .map(read, **parallel)
        .unbatch()
        .take_while(lambda index, encoded, upright: encoded != b"")
        .map(crop, **parallel)
        .batch(part, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )
    return dataset, report


def crops(
    source: str | os.PathLike | Sequence[str | os.PathLike],
    count: int,
    *,
    crop_size: int,
    seed: int = 0,
    scale: tuple[float, float] = (1.0, 1.6),
    exclude: Sequence[str | os.PathLike] = (),
) -> np.ndarray:
    """The first `count` crops that `image_batches` gives, [count, crop_size, crop_size, 3].

    Raises:
        DataError: as `image_batches` does, and where too many images are unreadable.
    """
    dataset, report = image_batches(
        source, batch_size=count, crop_size=crop_size, seed=seed, scale=scale, exclude=exclude
    )
    batch = next(iter(dataset), None)
    report.check()
    if batch is None:
        raise DataError(f"{source}: none of its images is left that can be read.")
    return batch.numpy()


def part_of(batch_size: int, shard: tuple[int, int]) -> tuple[int, int]:
    """(start, size) of a process's part of each batch."""
    index, count = shard
    if not 0 <= index < count:
        raise DataError(f"shard {shard}: give (index, count) with 0 <= index < count.")
    if batch_size % count:
        raise DataError(f"batch_size {batch_size}: {count} processes share it; give a multiple.")
    size = batch_size // count
    return index * size, size


def _numbers(batch_size: int, skip: int, shard: tuple[int, int]) -> tuple[tf.data.Dataset, int]:
    """(endless int64 numbers of a process's images, how many of them are its part of a batch)."""
    start, size = part_of(batch_size, shard)
    numbers = tf.data.Dataset.counter(skip * size).map(
        lambda n: n // size * batch_size + start + n % size
    )
    return numbers, size


def order(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of `count` images in an epoch: a permutation, int64 [count]."""
    return np.random.default_rng((seed, epoch)).permutation(count)


class _Reader:
    """Indices -> bytes for `images.decode`. Called from several threads; what it gives depends on
    the index alone."""

    def __init__(
        self,
        items: Sequence[Item],
        report: ReadReport,
        seed: int,
        to_graph_bytes: Callable[..., bytes],
        excluded: frozenset[str],
    ) -> None:
        self._items = items
        self._report = report
        self._to_graph_bytes = to_graph_bytes
        self._excluded = excluded
        self._order = functools.lru_cache(maxsize=4)(lambda epoch: order(len(items), seed, epoch))
        self._lock = threading.Lock()
        self._seen = np.zeros(len(items), bool)
        # Fit for `images.decode` as they are; and, of those seen, upright JPEGs.
        self._plain = np.array([item.checked for item in items])
        self._upright = np.zeros(len(items), bool)
        self._cache: dict[int, bytes] = {}
        self._room = CACHE_BYTES

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(bytes of each, whether they are a JPEG that EXIF leaves as it is stored).

        No bytes when no image at all is readable.
        """
        encoded, upright = zip(*map(self._read, indices), strict=True)
        return np.array(encoded, object), np.array(upright)

    def _read(self, index: np.int64) -> tuple[bytes, np.bool_]:
        epoch, position = divmod(int(index), len(self._items))
        epoch_order = self._order(epoch)
        for item in itertools.chain(epoch_order[position:], epoch_order[:position]):
            data = self._load(int(item))
            if data:
                return data, self._upright[item]
        return b"", np.False_

    def _load(self, item: int) -> bytes:
        if item in self._cache:
            return self._cache[item]
        name, load = self._items[item].name, self._items[item].load
        reason, excluded = None, False
        try:
            stored = load()
            excluded = is_one_of(self._items[item], stored, self._excluded)
            if excluded:
                stored = b""
            plain = excluded or self._plain[item]
            data = stored if plain else self._to_graph_bytes(stored, name=name)
        except (images.ImageError, records.RecordsError) as error:
            stored, data, reason = None, b"", str(error).removeprefix(f"{name}: ")
        if not self._seen[item]:
            upright = _is_upright_jpeg(data)
        with self._lock:
            if not self._seen[item]:
                self._upright[item] = upright
                self._seen[item] = True
                self._report.seen += 1
                self._report.excluded += excluded
                if reason is not None:
                    self._report.skipped.append((name, reason))
            if data is stored:
                self._plain[item] = True
            if len(data) <= self._room and item not in self._cache:
                self._cache[item] = data
                self._room -= len(data)
        return data


def _is_upright_jpeg(data: bytes) -> bool:
    if not data.startswith(JPEG):
        return False
    if b"Exif\0\0" not in data:
        return True
    # Whatever may be wrong with the block: `images.decode` knows what to make of it.
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            return image.getexif().get(ExifTags.Base.Orientation, 1) == 1
    except Exception:
        return False


def _random_crop(
    encoded: tf.Tensor,
    upright: tf.Tensor,
    crop_size: int,
    scale: tuple[float, float],
    flip: bool,
    *,
    seed: tuple[int, tf.Tensor],
    max_pixels: int,
) -> tf.Tensor:
    """Square crop [crop_size, crop_size, 3] of an encoded image; a function of the seed alone."""
    draws = tf.random.stateless_uniform([4], tf.cast(tf.stack(seed), tf.int64))

    def window(size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # The part that becomes the crop is cut out first: resizing the rest would be for nothing.
        shorter = tf.cast(tf.reduce_min(size), tf.float32)
        factor = scale[0] + draws[0] * (scale[1] - scale[0])
        side = tf.maximum(tf.cast(tf.round(shorter / factor), tf.int32), 1)
        room = tf.cast(size - side, tf.float32)
        return tf.cast(tf.round(draws[1:3] * room), tf.int32), side

    def of_upright_jpeg() -> tf.Tensor:
        # As `images.decode`, but for this part only; its values become [0, 1] once it is small.
        top_left, side = window(tf.image.extract_jpeg_shape(encoded)[:2])
        part = tf.image.decode_and_crop_jpeg(
            encoded,
            tf.concat([top_left, [side, side]], 0),
            channels=3,
            dct_method="INTEGER_ACCURATE",
        )
        return images.from_uint8_tensor(_resized(part, crop_size, highest=255.0))

    def of_any() -> tf.Tensor:
        image = images.decode(encoded, max_pixels=max_pixels)
        top_left, side = window(tf.shape(image)[:2])
        part = tf.slice(image, tf.concat([top_left, [0]], 0), [side, side, 3])
        return _resized(part, crop_size, highest=1.0)

    crop = tf.cond(upright, of_upright_jpeg, of_any)
    if flip:
        crop = tf.cond(draws[3] < 0.5, lambda: tf.reverse(crop, [1]), lambda: crop)
    return tf.ensure_shape(crop, [crop_size, crop_size, 3])


def _resized(square: tf.Tensor, size: int, *, highest: float) -> tf.Tensor:
    """[S, S, 3] of any type -> float32 [size, size, 3]: box filter to shrink, bicubic to enlarge.

    On a CPU, Lanczos takes longer for a crop of 256 pixels than decoding the photo.
    """

    def shrunk() -> tf.Tensor:
        return tf.image.resize(square, [size, size], "area")

    def enlarged() -> tf.Tensor:
        return tf.image.resize(square, [size, size], "bicubic")

    resized = tf.cond(tf.shape(square)[0] > size, shrunk, enlarged)
    # Bicubic overshoots at edges, and the mean of many ones may be rounded to more than one.
    return tf.clip_by_value(resized, 0.0, highest)


def noise_batches(
    size: int,
    *,
    batch_size: int,
    seed: int = 0,
    skip: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Endless batches of N(0, 1) noise, float32 [batch_size / count, size].

    Arguments as `image_batches`. Batch i is a function of (seed, i): a resumed run gets the noise
    that it would have got.
    """
    start, part = part_of(batch_size, shard)
    return tf.data.Dataset.counter(skip).map(
        lambda batch: tf.random.stateless_normal([batch_size, size], [seed, batch])[
            start : start + part
        ]
    )


def style_draws(
    styles: int,
    *,
    batch_size: int,
    seed: int = 0,
    skip: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Endless batches of one style an image, to be zipped with those of `image_batches`.

    The style of image i is a function of (seed, i). Each `styles` images in a row get all styles,
    in another order each time: drawn one by one, some styles would lag behind in a short training.

    Args:
        styles: how many there are.
        batch_size, seed, skip, shard: as `image_batches`.

    Returns:
        Dataset of style weights, float32 [batch_size / count, styles]: a single 1 in each row.
    """
    numbers, part = _numbers(batch_size, skip, shard)

    def draw(i: tf.Tensor) -> tf.Tensor:
        shuffled = tf.random.experimental.stateless_shuffle(
            tf.range(styles), seed=tf.stack([tf.cast(seed, "int64"), i // styles])
        )
        return tf.one_hot(shuffled[i % styles], styles)

    return numbers.map(draw).batch(part)
