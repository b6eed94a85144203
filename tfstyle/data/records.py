"""TFRecord shards of encoded images, with an index by which any of them is read at random.

A folder holds images-00000-of-00004.tfrecord and so on, which every TFRecord reader takes, and
index.json. A record is a tf.train.Example with the features "image" (bytes of a file), "name" and,
where it is known, "source_sha256" (hex digest of the file that the image was made from).
Image i is record i // shards of shard i % shards, so that all shards are alike and of one size.

A record is its length (uint64, little-endian), the checksum of that, the data, and the checksum of
the data (https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details).
TensorFlow reads such files from the front only, so that reading at an offset is done here.
"""

import hashlib
import json
import os
import struct
from collections.abc import Iterable
from pathlib import Path

import google_crc32c
import numpy as np
import tensorflow as tf

from tfstyle import files
from tfstyle.errors import ArgumentError, TfstyleError

INDEX = "index.json"
_VERSION = 1
_HEAD = struct.Struct("<QI")
_FOOT = struct.Struct("<I")


class RecordsError(TfstyleError, ValueError):
    """Records that cannot be written or read; the message names them and the mend."""


def write(folder: str | os.PathLike, encoded: Iterable[tuple], *, shards: int) -> list[Path]:
    """Writes a folder of records whole or not at all.

    Args:
        folder: to make; it may exist, if it is empty.
        encoded: (name, bytes of an image file) of each image, and after them, where it is known,
            the SHA-256 of the file that it was made from, in hex.
        shards: files, at least 1.

    Returns:
        The shards.

    Raises:
        RecordsError: where the folder has something in it, there are fewer images than shards, or
            a file cannot be written. Nothing is left behind.
    """
    folder = Path(folder)
    if shards < 1:
        raise RecordsError(f"shards {shards}: give at least 1.")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise RecordsError(f"{folder}: exists. Remove it, or give another folder.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with files.whole(folder) as temporary:
            temporary.mkdir()
            paths = [temporary / f"images-{i:05}-of-{shards:05}.tfrecord" for i in range(shards)]
            index = {"version": _VERSION, "tensorflow": tf.__version__}
            index |= _write_shards(paths, encoded)
            if index["count"] < shards:
                raise RecordsError(
                    f"{index['count']} images for {shards} shards: give at most as many shards."
                )
            (temporary / INDEX).write_text(json.dumps(index) + "\n")
    except OSError as error:
        raise RecordsError(f"{folder}: cannot be written ({error.strerror or error}).") from error
    except tf.errors.OpError as error:
        raise RecordsError(f"{folder}: cannot be written ({error.message}).") from error
    return [folder / path.name for path in paths]


def _write_shards(paths: list[Path], encoded: Iterable[tuple]) -> dict:
    """Entries of the index."""
    offsets: list[list[int]] = [[] for _ in paths]
    ends = [0 for _ in paths]
    writers = []
    count = 0
    try:
        writers += [tf.io.TFRecordWriter(os.fspath(path)) for path in paths]
        for name, image, *source in encoded:
            record = _example(name, image, *source)
            shard = count % len(paths)
            writers[shard].write(record)
            offsets[shard].append(ends[shard])
            ends[shard] += _HEAD.size + len(record) + _FOOT.size
            count += 1
    finally:
        for writer in writers:
            writer.close()
    told = []
    for path, starts in zip(paths, offsets, strict=True):
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = path.stat().st_size
        told.append({"file": path.name, "bytes": size, "sha256": digest, "offsets": starts})
    return {"count": count, "shards": told}


def _example(name: str, image: bytes, source: str = "") -> bytes:
    def feature(value: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    features = {"image": feature(image), "name": feature(os.fsencode(name))}
    if source:
        features["source_sha256"] = feature(source.encode())
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


class Records:
    """The images of a folder as `write` made it: `records.read(i)`, from any thread.

    Attributes:
        folder: where they are.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        """
        Raises:
            RecordsError: where the index or a shard is missing or torn.
        """
        self.folder = Path(folder)
        try:
            index = json.loads((self.folder / INDEX).read_text())
            if index["version"] != _VERSION:
                raise RecordsError(
                    f"{self.folder}: records of version {index['version']}, not {_VERSION}. "
                    "Write them again: tfstyle records"
                )
            self._count = int(index["count"])
            shards = [
                (self.folder / shard["file"], int(shard["bytes"]), np.array(shard["offsets"], int))
                for shard in index["shards"]
            ]
            lengths = [len(offsets) for _, _, offsets in shards]
            if lengths != [len(range(i, self._count, len(shards))) for i in range(len(shards))]:
                raise ArgumentError(f"{lengths} offsets for {self._count} images")
        except OSError as error:
            raise RecordsError(
                f"{self.folder}: no records in it ({INDEX}: {error.strerror}). Give a folder that "
                "tfstyle records wrote."
            ) from error
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, RecordsError):
                raise
            raise RecordsError(
                f"{self.folder / INDEX}: damaged ({type(error).__name__}: {error}). Write the "
                "records again: tfstyle records"
            ) from error
        for path, size, _ in shards:
            found = path.stat().st_size if path.is_file() else None
            if found != size:
                fault = "missing" if found is None else f"torn: {found} bytes, not {size}"
                raise RecordsError(f"{path}: {fault}. Copy it again, or write the records again.")
        self._paths = [path for path, _, _ in shards]
        self._starts = [offsets for _, _, offsets in shards]
        self._ends = [np.append(offsets[1:], size) for _, size, offsets in shards]

    def __len__(self) -> int:
        return self._count

    def read(self, number: int) -> tuple[str, bytes]:
        """(name, bytes of an image file) of an image.

        Raises:
            RecordsError: where its record is damaged.
        """
        name, image, _ = self._record(number)
        return name, image

    def source(self, number: int) -> str:
        """SHA-256 of the file that an image was made from; "" where the record does not tell."""
        return self._record(number)[2]

    def _record(self, number: int) -> tuple[str, bytes, str]:
        place, shard = divmod(number, len(self._paths))
        path, start = self._paths[shard], int(self._starts[shard][place])
        try:
            with open(path, "rb", buffering=0) as file:
                stored = os.pread(file.fileno(), int(self._ends[shard][place]) - start, start)
        except OSError as error:
            raise RecordsError(f"{path}: cannot be read ({error.strerror}).") from error
        body = memoryview(stored)[_HEAD.size : -_FOOT.size]
        whole = (
            len(stored) > _HEAD.size + _FOOT.size
            and _HEAD.unpack_from(stored) == (len(body), _masked_crc(stored[:8]))
            and _FOOT.unpack_from(stored, len(stored) - _FOOT.size)[0] == _masked_crc(bytes(body))
        )
        if not whole:
            raise RecordsError(
                f"{path}: damaged at byte {start} (checksum). Copy it again, or write the "
                "records again."
            )
        features = tf.train.Example.FromString(bytes(body)).features.feature
        name, image = (features[key].bytes_list.value for key in ("name", "image"))
        if len(name) != 1 or len(image) != 1:
            raise RecordsError(f"{path}: no name and image at byte {start}.")
        source = (
            features["source_sha256"].bytes_list.value if "source_sha256" in features else [b""]
        )
        return os.fsdecode(name[0]), image[0], source[0].decode()


def _masked_crc(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
