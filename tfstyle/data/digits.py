"""MNIST's digits, and pictures that are none."""

import dataclasses
import functools
import gzip
import itertools
import math
import os
import zlib
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfstyle import images
from tfstyle.data.batches import order, part_of
from tfstyle.data.sources import DataError, installed_builder, not_prepared
from tfstyle.networks.digits import SIZE


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
    train, train_labels, test, test_labels = arrays
    for part, pictures, labels in (("train", train, train_labels), ("test", test, test_labels)):
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
    return Digits(train, train_labels, test, test_labels)


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

    builder = installed_builder(source, source.removeprefix("tfds:"))
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
            f"{not_prepared(source, builder)}; or, without a network, give a folder with "
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
    start, part = part_of(batch_size, shard)
    epoch_order = functools.lru_cache(maxsize=2)(lambda epoch: order(len(digits), seed, epoch))

    def chosen(batch: np.ndarray) -> np.ndarray:
        places = int(batch) * batch_size + start + np.arange(part)
        return digits[[epoch_order(int(n // len(digits)))[n % len(digits)] for n in places]]

    def read(batch: tf.Tensor) -> tf.Tensor:
        pictures = tf.numpy_function(chosen, [batch], tf.uint8, stateful=False)
        pictures = tf.ensure_shape(pictures, [part, *digits.shape[1:]])
        return images.from_uint8_tensor(pictures)

    return tf.data.Dataset.counter(skip).map(read).prefetch(tf.data.AUTOTUNE)


def scrambled(digits: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Pictures of as much ink as digits that show none: pixels, or quarters, in another order.

    Args:
        digits: [B, 28, 28, 1]; of the even ones the pixels are shuffled, of the odd ones the
            quarters, none of which stays where it was.
    """
    rng = np.random.default_rng(seed)
    result = np.array(digits)
    pixels = rng.permuted(result[::2].reshape(-1, SIZE * SIZE), axis=1)
    result[::2] = pixels.reshape(-1, SIZE, SIZE, 1)
    half = SIZE // 2
    quarters = result[1::2].reshape(-1, 2, half, 2, half).transpose(0, 1, 3, 2, 4)
    quarters = quarters.reshape(-1, 4, half, half)
    others = np.array([o for o in itertools.permutations(range(4)) if (np.arange(4) != o).all()])
    chosen = others[rng.integers(len(others), size=len(quarters))]
    quarters = np.take_along_axis(quarters, chosen[..., None, None], axis=1)
    quarters = quarters.reshape(-1, 2, 2, half, half).transpose(0, 1, 3, 2, 4)
    result[1::2] = quarters.reshape(-1, SIZE, SIZE, 1)
    return result


def blobs(count: int, *, seed: int = 0) -> np.ndarray:
    """White shapes on black that nobody wrote, to try a judge that was never shown any.

    Returns:
        float32 [count, 28, 28, 1], 0 or 1: where noise of 7x7, enlarged, exceeds half a deviation.
    """
    noise = np.random.default_rng(seed).normal(size=(count, SIZE // 4, SIZE // 4, 1))
    noise = keras.ops.image.resize(noise.astype("float32"), (SIZE, SIZE), "bicubic")
    return (keras.ops.convert_to_numpy(noise) > 0.5).astype("float32")
