"""Image folders, TFDS datasets and records -> batches of random crops; MNIST's digits and noise.

Element i of a dataset is a pure function of (source, seed, i): `order` says which image it is, and
its crop and flip are drawn from (seed, i). A resumed run passes the number of batches it has
used as `skip` and gets bit for bit what it would have got. That is why iterators are not
checkpointed: a tf.data iterator saves its shuffle buffer, which here would put the encoded
photos into every checkpoint, and tf.data's own shuffle would have to read the whole folder before
the first batch, and again through all past epochs after a resume.
"""

import dataclasses
import functools
import gzip
import io
import itertools
import math
import os
import threading
import typing
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import ExifTags, Image

from tfstyle import images, records

# Of all images, as many may be unreadable; more says that something is wrong with the folder.
SKIP_LIMIT = 0.1
# Encoded images kept in memory; the rest is read from disk each time.
CACHE_BYTES = 2 * 1024**3
# A call into Python takes about as long as handing over ten images.
_READ_AT_ONCE = 16
_JPEG = b"\xff\xd8\xff"


class DataError(ValueError):
    """Training images that cannot be found or read; the message names them and the mend."""


class ReadReport:
    """How reading a source goes. The training loop calls `check` after each batch.

    Attributes:
        total: images found.
        seen: images read or tried so far, each counted once.
        skipped: (name, reason) of those that could not be read.
    """

    def __init__(self, total: int, *, strict: bool = False):
        self.total = total
        self.seen = 0
        self.skipped: list[tuple[str, str]] = []
        self._strict = strict

    def check(self) -> None:
        """Raises DataError when more than 10 % of all images (strict: any) are unreadable."""
        skipped = list(self.skipped)
        if len(skipped) <= (0 if self._strict else SKIP_LIMIT * self.total):
            return
        shown = "; ".join(f"{name}: {reason.rstrip('.')}" for name, reason in skipped[:3])
        more = f"; and {len(skipped) - 3} more" if len(skipped) > 3 else ""
        limit = "none may be (strict)" if self._strict else f"the limit is {SKIP_LIMIT:.0%}"
        raise DataError(
            f"{len(skipped)} of {self.total} images cannot be read, {limit}: {shown}{more}. "
            "Mend, remove or exclude them."
        )


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
    items = _find(source, exclude)
    report = ReadReport(len(items), strict=strict)
    to_graph_bytes = functools.partial(
        images.to_graph_bytes,
        max_pixels=max_pixels,
        shrink_to=math.ceil(crop_size * scale[1]),
    )
    reader = _Reader(items, report, seed, to_graph_bytes)

    def read(indices):
        # Stateless, so that op determinism does not put the whole pipeline on one core.
        encoded, upright = tf.numpy_function(
            reader.read, [indices], (tf.string, tf.bool), stateful=False
        )
        return indices, tf.ensure_shape(encoded, [None]), tf.ensure_shape(upright, [None])

    def crop(index, encoded, upright):
        return _random_crop(
            encoded, upright, crop_size, scale, flip, seed=(seed, index), max_pixels=max_pixels
        )

    parallel = {"num_parallel_calls": tf.data.AUTOTUNE, "deterministic": True}
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
    source,
    count: int,
    *,
    crop_size: int,
    seed: int = 0,
    scale: tuple[float, float] = (1.0, 1.6),
    exclude=(),
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
    return batch.numpy()


def _part(batch_size: int, shard: tuple[int, int]) -> tuple[int, int]:
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
    start, size = _part(batch_size, shard)
    numbers = tf.data.Dataset.counter(skip * size).map(
        lambda n: n // size * batch_size + start + n % size
    )
    return numbers, size


def list_files(source: str | os.PathLike | Sequence[str | os.PathLike]) -> list[Path]:
    """Image files of a source of `image_batches` that is no TFDS dataset, in its order.

    Empty for an empty `source`.

    Raises:
        DataError: for a file or folder that is not there, or a source without images.
    """
    parts = _parts(source)
    files = [path for part in parts for path in _files(part)]
    if parts and not files:
        raise DataError(_nothing_in(parts))
    return files


def order(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of `count` images in an epoch: a permutation, int64 [count]."""
    return np.random.default_rng((seed, epoch)).permutation(count)


def checked_images(
    source: str | os.PathLike | Sequence[str | os.PathLike],
    *,
    max_size: int | None = None,
    strict: bool = False,
) -> tuple[Iterator[tuple[str, bytes]], ReadReport]:
    """Each image of a source once, in its order, brought to what `images.decode` takes.

    Args:
        source: as `image_batches`.
        max_size: images whose longer side is more than this many pixels are made as small, and
            stored as JPEG of quality 95 if they came as JPEG, else as PNG.
        strict: whether none may be unreadable.

    Returns:
        (iterator, report): (name, bytes) of each image, named by its path below the folder given;
        and which could not be read. The iterator raises DataError where these become too many.

    Raises:
        DataError: when there are no images.
    """
    items = _find(source)
    report = ReadReport(len(items), strict=strict)

    def prepared(item):
        try:
            stored = item.load()
            if max_size is None:
                if item.checked:
                    return stored, None
                return images.to_graph_bytes(stored, name=item.name), None
            image = images.decode_bytes(stored, name=item.name)
            if max(image.shape[:2]) > max_size:
                kind = "jpeg" if stored.startswith(_JPEG) else "png"
                return images.encode(images.fit(image, max_size), kind), None
            return images.to_graph_bytes(stored, name=item.name), None
        except (images.ImageError, records.RecordsError) as error:
            return None, str(error).removeprefix(f"{item.name}: ")

    def iterate():
        at_once = 2 * (os.cpu_count() or 1)
        with futures.ThreadPoolExecutor() as pool:
            for start in range(0, len(items), at_once):
                some = items[start : start + at_once]
                for item, (data, reason) in zip(some, pool.map(prepared, some), strict=True):
                    report.seen += 1
                    if reason is None:
                        yield item.label, data
                    else:
                        report.skipped.append((item.name, reason))
                        report.check()

    return iterate(), report


class _Item(typing.NamedTuple):
    """An image of a source: its name in messages and in records, and what gives its bytes."""

    name: str
    label: str
    load: Callable[[], bytes]
    checked: bool = False  # known to be what `images.decode` takes


class _Reader:
    """Indices -> bytes for `images.decode`. Called from several threads; what it gives depends on
    the index alone."""

    def __init__(
        self,
        items: Sequence[_Item],
        report: ReadReport,
        seed: int,
        to_graph_bytes: Callable[..., bytes],
    ):
        self._items = items
        self._report = report
        self._to_graph_bytes = to_graph_bytes
        self._order = functools.lru_cache(maxsize=4)(lambda epoch: order(len(items), seed, epoch))
        self._lock = threading.Lock()
        self._seen = np.zeros(len(items), bool)
        # Fit for `images.decode` as they are; and, of those seen, upright JPEGs.
        self._plain = np.array([item.checked for item in items])
        self._upright = np.zeros(len(items), bool)
        self._cache = {}
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
        name, _, load, _ = self._items[item]
        reason = None
        try:
            stored = load()
            data = stored if self._plain[item] else self._to_graph_bytes(stored, name=name)
        except (images.ImageError, records.RecordsError) as error:
            stored, data, reason = None, b"", str(error).removeprefix(f"{name}: ")
        if not self._seen[item]:
            upright = _is_upright_jpeg(data)
        with self._lock:
            if not self._seen[item]:
                self._upright[item] = upright
                self._seen[item] = True
                self._report.seen += 1
                if reason is not None:
                    self._report.skipped.append((name, reason))
            if data is stored:
                self._plain[item] = True
            if len(data) <= self._room and item not in self._cache:
                self._cache[item] = data
                self._room -= len(data)
        return data


def _is_upright_jpeg(data: bytes) -> bool:
    if not data.startswith(_JPEG):
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

    def window(size):
        # The part that becomes the crop is cut out first: resizing the rest would be for nothing.
        shorter = tf.cast(tf.reduce_min(size), tf.float32)
        factor = scale[0] + draws[0] * (scale[1] - scale[0])
        side = tf.maximum(tf.cast(tf.round(shorter / factor), tf.int32), 1)
        room = tf.cast(size - side, tf.float32)
        return tf.cast(tf.round(draws[1:3] * room), tf.int32), side

    def of_upright_jpeg():
        # As `images.decode`, but for this part only; its values become [0, 1] once it is small.
        top_left, side = window(tf.image.extract_jpeg_shape(encoded)[:2])
        part = tf.image.decode_and_crop_jpeg(
            encoded,
            tf.concat([top_left, [side, side]], 0),
            channels=3,
            dct_method="INTEGER_ACCURATE",
        )
        return images.from_uint8_tensor(_resized(part, crop_size, highest=255.0))

    def of_any():
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

    def shrunk():
        return tf.image.resize(square, [size, size], "area")

    def enlarged():
        resized = tf.image.resize(square, [size, size], "bicubic")
        return tf.clip_by_value(resized, 0.0, highest)  # it overshoots at edges

    return tf.cond(tf.shape(square)[0] > size, shrunk, enlarged)


def _parts(source) -> list[str | os.PathLike]:
    """A source's folders, files and TFDS names."""
    if isinstance(source, str) and not os.path.exists(source):
        return [part.strip() for part in source.split(",") if part.strip()]
    return [source] if isinstance(source, str | os.PathLike) else list(source)


def _files(path) -> list[Path]:
    try:
        return images.list_images(path)
    except images.ImageError as error:
        raise DataError(str(error)) from error


def _nothing_in(parts, excluded: int = 0) -> str:
    looked_in = ", ".join(map(str, parts)) or "no source"
    return (
        f"{looked_in}: no images. Looked for {', '.join(images.SUFFIXES)} in all folders below"
        + (f"; {excluded} found and excluded." if excluded else ".")
    )


def _find(source, exclude=()) -> list[_Item]:
    """All images of a source."""
    left_out = set()
    for path in exclude:
        if not Path(path).exists():
            raise DataError(f"exclude {path}: no such file or folder.")
        left_out.add(Path(path).resolve())
    items = []
    excluded = 0
    for part in _parts(source):
        if str(part).startswith("tfds:"):
            items += _find_in_tfds(str(part))
            continue
        if str(part).startswith("records:"):
            items += _find_in_records(str(part))
            continue
        for path in _files(part):
            resolved = path.resolve()
            if left_out.isdisjoint((resolved, *resolved.parents)):
                label = path.name if path == Path(part) else str(path.relative_to(part))
                load = functools.partial(images.read_bytes, path)
                items.append(_Item(str(path), label, load))
            else:
                excluded += 1
    if not items:
        raise DataError(_nothing_in(_parts(source), excluded))
    return items


def _find_in_records(source: str) -> list[_Item]:
    try:
        found = records.Records(source.removeprefix("records:"))
    except records.RecordsError as error:
        raise DataError(str(error)) from error
    return [
        _Item(f"{source}#{i}", f"{i}", functools.partial(_image_in, found, i), checked=True)
        for i in range(len(found))
    ]


def _image_in(found: records.Records, number: int) -> bytes:
    return found.read(number)[1]


def _tfds_builder(source: str, name: str):
    # Imported here: it takes a moment, and few need it.
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(name)
    except tfds.core.DatasetNotFoundError:
        raise DataError(f"{source}: TFDS has no dataset {name!r}.") from None


def _not_prepared(source: str, builder) -> DataError:
    # tfds.load would go and fetch it, which without a network never ends.
    name = source.removeprefix("tfds:").partition(":")[0]
    return DataError(
        f"{source}: not prepared in {builder.data_path}. Prepare it once: tfds build {name}"
    )


def _find_in_tfds(source: str) -> list[_Item]:
    import tensorflow_datasets as tfds

    name, _, split = source.removeprefix("tfds:").partition(":")
    split = split or "train"
    builder = _tfds_builder(source, name)
    features = builder.info.features
    keys = sorted(k for k, feature in features.items() if isinstance(feature, tfds.features.Image))
    if not keys:
        raise DataError(f"{source}: no image among its features {', '.join(sorted(features))}.")
    key = "image" if "image" in keys else keys[0]
    wanted = tfds.decode.PartialDecoding({key: True}, decoders={key: tfds.decode.SkipDecoding()})
    try:
        examples = builder.as_dataset(
            split=split, decoders=wanted, read_config=tfds.ReadConfig(try_autocache=False)
        )
    except AssertionError:
        raise _not_prepared(source, builder) from None
    except ValueError as error:
        raise DataError(
            f"{source}: no split {split!r}. There are {', '.join(builder.info.splits)}."
        ) from error
    return [
        _Item(f"{source}#{number}", f"{number}", functools.partial(bytes, example[key]))
        for number, example in enumerate(examples.as_numpy_iterator())
    ]


@dataclasses.dataclass(frozen=True)
class Digits:
    """Pictures of digits and what they show.

    Args:
        train, test: uint8 [N, 28, 28, 1], ink 255 on ground 0.
        train_labels, test_labels: uint8 [N], 0 to 9.
    """

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


_MNIST_FILES = tuple(
    f"{part}-{kind}-ubyte.gz"
    for part in ("train", "t10k")
    for kind in ("images-idx3", "labels-idx1")
)


def read_digits(source: str | os.PathLike) -> Digits:
    """MNIST, or a dataset of its form, such as Fashion-MNIST.

    Args:
        source: folder with train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz and the same of
            t10k, or "tfds:NAME", such as "tfds:mnist", prepared before. Nothing is downloaded.

    Raises:
        DataError: where they are missing, damaged or of another form.
    """
    if str(source).startswith("tfds:"):
        arrays = _digits_in_tfds(str(source))
    else:
        folder = Path(source)
        if not folder.is_dir():
            raise DataError(f"{source}: no such folder. Give one with {', '.join(_MNIST_FILES)}.")
        if missing := [name for name in _MNIST_FILES if not (folder / name).is_file()]:
            raise DataError(f"{source}: lacks {', '.join(missing)}.")
        arrays = [read_idx(folder / name) for name in _MNIST_FILES]
        arrays[0::2] = [pictures[..., None] for pictures in arrays[0::2]]
    for part, pictures, labels in (("train", *arrays[:2]), ("test", *arrays[2:])):
        if pictures.shape[1:] != (28, 28, 1) or not len(pictures):
            raise DataError(
                f"{source}: {part} pictures of shape {pictures.shape}; give [N, 28, 28, 1], N > 0."
            )
        highest = labels.max(initial=0)
        if labels.shape != pictures.shape[:1] or highest > 9:
            raise DataError(
                f"{source}: {part} labels of shape {labels.shape} up to {highest} for "
                f"{len(pictures)} pictures; give one from 0 to 9 for each."
            )
    return Digits(*arrays)


def read_idx(path: str | os.PathLike) -> np.ndarray:
    """An array of bytes in the idx format of MNIST, gzip around it.

    The format (http://yann.lecun.com/exdb/mnist/): two zero bytes, a type (8: unsigned byte), the
    number n of dimensions, n sizes as big-endian 32-bit integers, the values.

    Returns:
        uint8 of the shape that the file says, at most 2^30 values.

    Raises:
        DataError: where the file is missing, no gzip, damaged, no idx of bytes, or not as long as
            it says.
    """
    try:
        with gzip.open(path) as file:
            head = file.read(4)
            if len(head) < 4 or head[:3] != b"\0\0\x08" or not head[3]:
                raise DataError(
                    f"{path}: not an idx file of bytes (begins with {head.hex(' ') or 'nothing'}, "
                    "not 00 00 08 and the number of dimensions). Fetch it again."
                )
            sizes = file.read(4 * head[3])
            shape = np.frombuffer(sizes[: len(sizes) // 4 * 4], ">u4").tolist()
            count = math.prod(shape)
            # One more than there should be: it also makes gzip compare its checksum. The bound is
            # for broken sizes: Python makes room for as much as it is asked to read.
            values = file.read(min(count, 2**30) + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: damaged gzip ({error}). Fetch it again.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    if len(shape) < head[3] or len(values) != count:
        found = f"{len(values)}" if len(values) <= count else "more"
        raise DataError(
            f"{path}: says {head[3]} sizes, {shape}, and holds {found} values after them, not "
            f"{count}. Fetch it again."
        )
    return np.frombuffer(values, np.uint8).reshape(shape)


def _digits_in_tfds(source: str) -> list[np.ndarray]:
    """Train pictures and labels, test pictures and labels of a TFDS dataset."""
    import tensorflow_datasets as tfds

    builder = _tfds_builder(source, source.removeprefix("tfds:"))
    keys = builder.info.supervised_keys
    shape = builder.info.features[keys[0]].shape if keys else None
    if shape != (28, 28, 1):
        raise DataError(
            f"{source}: no pictures [28, 28, 1] with labels. Give one such as tfds:mnist."
        )
    arrays = []
    try:
        for split in builder.as_dataset(
            split=["train", "test"],
            as_supervised=True,
            read_config=tfds.ReadConfig(try_autocache=False),
        ):
            parts = zip(*split.batch(1000).as_numpy_iterator(), strict=True)
            arrays += [np.concatenate(part) for part in parts]
    except AssertionError:
        raise DataError(
            f"{_not_prepared(source, builder)}; or, without a network, give a folder with "
            f"{', '.join(_MNIST_FILES)} instead."
        ) from None
    except ValueError as error:
        raise DataError(f"{source}: no splits train and test ({error}).") from error
    return arrays


def digit_batches(
    digits: np.ndarray,
    *,
    batch_size: int,
    seed: int = 0,
    skip: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Endless batches of pictures in memory, each epoch in another order.

    Args:
        digits: uint8 [N, H, W, C], N at least 1.
        batch_size, seed, skip, shard: as `image_batches`.

    Returns:
        Dataset of float32 [batch_size / count, H, W, C] in [0, 1].
    """
    start, part = _part(batch_size, shard)
    epoch_order = functools.lru_cache(maxsize=2)(lambda epoch: order(len(digits), seed, epoch))

    def chosen(batch):
        places = int(batch) * batch_size + start + np.arange(part)
        return digits[[epoch_order(int(n // len(digits)))[n % len(digits)] for n in places]]

    def read(batch):
        pictures = tf.numpy_function(chosen, [batch], tf.uint8, stateful=False)
        pictures = tf.ensure_shape(pictures, [part, *digits.shape[1:]])
        return images.from_uint8_tensor(pictures)

    return tf.data.Dataset.counter(skip).map(read).prefetch(tf.data.AUTOTUNE)


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
    start, part = _part(batch_size, shard)
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

    def draw(i):
        shuffled = tf.random.experimental.stateless_shuffle(
            tf.range(styles), seed=tf.stack([tf.cast(seed, "int64"), i // styles])
        )
        return tf.one_hot(shuffled[i % styles], styles)

    return numbers.map(draw).batch(part)
