"""Where images come from: folders, TFDS datasets, records; which of them can be read."""

import functools
import hashlib
import os
import re
import typing
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from pathlib import Path

import anyascii
import numpy as np
from absl import logging

from tfstyle import images, machine
from tfstyle.data import records
from tfstyle.errors import TfstyleError

if typing.TYPE_CHECKING:
    import tensorflow_datasets as tfds

# Of all images, as many may be unreadable; more says that something is wrong with the folder.
SKIP_LIMIT = 0.1
# The feature by which a TFDS dataset tells the digest of the file an image was made from.
_SOURCE = "source_sha256"
JPEG = b"\xff\xd8\xff"


class DataError(TfstyleError, ValueError):
    """Training images that cannot be found or read; the message names them and the mend."""


class ReadReport:
    """How reading a source goes. The training loop calls `check` after each batch.

    Attributes:
        total: images found.
        seen: images read or tried so far, each counted once.
        excluded: of these, left out because they were to be.
        skipped: (name, reason) of those that could not be read.
    """

    def __init__(self, total: int, *, strict: bool = False) -> None:
        self.total = total
        self.seen = 0
        self.excluded = 0
        self.skipped: list[tuple[str, str]] = []
        self._strict = strict

    def check(self) -> None:
        """Raises DataError when more than 10 % of all images (strict: any) are unreadable.

        Or where all were to be left out.
        """
        if self.excluded == self.total:
            raise DataError(f"all {self.total} images are excluded: there are none to read.")
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


def list_files(source: str | os.PathLike | Sequence[str | os.PathLike]) -> list[Path]:
    """Image files of a source of `image_batches` that is no TFDS dataset, in its order.

    Empty for an empty `source`.

    Raises:
        DataError: for a file or folder that is not there, or a source without images.
    """
    parts = _parts(source)
    files = [path for part in parts for path in _files(part, tell=True)]
    if parts and not files:
        raise DataError(_nothing_in(parts))
    return files


def checked_images(
    source: str | os.PathLike | Sequence[str | os.PathLike],
    *,
    max_size: int | None = None,
    strict: bool = False,
) -> tuple[Iterator[tuple[str, bytes, str]], ReadReport]:
    """Each image of a source once, in its order, brought to what `images.decode` takes.

    Args:
        source: as `image_batches`.
        max_size: images whose longer side is more than this many pixels are made as small, and
            stored as JPEG of quality 95 if they came as JPEG, else as PNG.
        strict: whether none may be unreadable.

    Returns:
        (iterator, report): (name, bytes, SHA-256 of what it was made from) of each image, named by
        its path below the folder given; and which could not be read. The iterator raises DataError
        where these become too many.

    Raises:
        DataError: when there are no images.
    """
    items = find_items(source)
    report = ReadReport(len(items), strict=strict)

    def prepared(item: Item) -> tuple[bytes, str, str | None]:
        try:
            stored = item.load()
            source = item.source() if item.source else ""
            source = source or hashlib.sha256(stored).hexdigest()
            if max_size is None:
                if item.checked:
                    return stored, source, None
                return images.to_graph_bytes(stored, name=item.name), source, None
            kind = "jpeg" if stored.startswith(JPEG) else "png"
            if max(images.size_of(stored) or (0,)) > max_size:  # decoded small, if it is large
                image = images.decode_bytes(stored, name=item.name, max_size=max_size)
                return images.encode(image, kind), source, None
            image = images.decode_bytes(stored, name=item.name)
            if max(image.shape[:2]) > max_size:
                return images.encode(images.fit(image, max_size), kind), source, None
            return images.to_graph_bytes(stored, name=item.name), source, None
        except (images.ImageError, records.RecordsError) as error:
            return b"", "", str(error).removeprefix(f"{item.name}: ")

    def iterate() -> Iterator[tuple[str, bytes, str]]:
        at_once = 2 * machine.cores()
        with futures.ThreadPoolExecutor() as pool:
            for start in range(0, len(items), at_once):
                some = items[start : start + at_once]
                done = pool.map(prepared, some)
                for item, (data, source, reason) in zip(some, done, strict=True):
                    report.seen += 1
                    if reason is None:
                        yield item.label, data, source
                    else:
                        report.skipped.append((item.name, reason))
                        report.check()

    return iterate(), report


class Item(typing.NamedTuple):
    """An image of a source: its name in messages and in records, and what gives its bytes."""

    name: str
    label: str
    load: Callable[[], bytes]
    checked: bool = False  # known to be what `images.decode` takes
    source: Callable[[], str] | None = None  # SHA-256 of the file it was made from, "" if unknown


def _parts(source: str | os.PathLike | Sequence[str | os.PathLike]) -> list[str | os.PathLike]:
    """A source's folders, files and TFDS names."""
    if isinstance(source, str) and not os.path.exists(source):
        return [part.strip() for part in source.split(",") if part.strip()]
    return [source] if isinstance(source, str | os.PathLike) else list(source)


def _files(path: str | os.PathLike, *, tell: bool = False) -> list[Path]:
    """The images of a folder; what else is in it is told in a line, once, where that is asked."""
    try:
        found = images.find_images(path)
    except images.ImageError as error:
        raise DataError(str(error)) from error
    if tell and (told := found.told()):
        _tell_once(f"{path}: {told}")
    return found.images


@functools.lru_cache(maxsize=1000)
def _tell_once(text: str) -> None:
    logging.warning(text)


def _nothing_in(parts: Sequence[str | os.PathLike], excluded: int = 0) -> str:
    looked_in = ", ".join(map(str, parts)) or "no source"
    return (
        f"{looked_in}: no images. Looked for {', '.join(images.SUFFIXES)} in all folders below"
        + (f"; {excluded} found and excluded." if excluded else ".")
    )


def find_items(
    source: str | os.PathLike | Sequence[str | os.PathLike],
    exclude: Sequence[str | os.PathLike] = (),
) -> list[Item]:
    """All images of a source, but for the files to exclude and what lies in folders of them."""
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
        for path in _files(part, tell=True):
            resolved = path.resolve()
            if left_out.isdisjoint((resolved, *resolved.parents)):
                label = path.name if path == Path(part) else str(path.relative_to(part))
                load = functools.partial(images.read_bytes, path)
                items.append(Item(str(path), label, load))
            else:
                excluded += 1
    if not items:
        raise DataError(_nothing_in(_parts(source), excluded))
    return items


def digests(exclude: Sequence[str | os.PathLike]) -> frozenset[str]:
    """SHA-256 by which images to exclude are known in datasets and records, and copies in folders.

    Of each file, and of what `images.to_graph_bytes` makes of it, which is what records hold.

    Args:
        exclude: image files, or folders of such.
    """
    found: set[str] = set()
    for path in (file for part in exclude for file in _files(part)):
        try:
            stat = path.stat()
            found.update(_digests_of(path, stat.st_size, stat.st_mtime_ns))
        except (OSError, images.ImageError):
            pass  # what cannot be read is not trained on
    return frozenset(found)


@functools.lru_cache(maxsize=10_000)
def _digests_of(path: Path, _size: int, _modified: int) -> tuple[str, str]:
    """Those of one file; anew where it is another by its size or its time."""
    stored = images.read_bytes(path)
    shrunk = images.to_graph_bytes(stored, name=str(path))
    return hashlib.sha256(stored).hexdigest(), hashlib.sha256(shrunk).hexdigest()


# Of a source with fewer bytes all are read for its fingerprint.
_READ_WHOLE = 64e6


def fingerprints(source: str, exclude: Sequence[str | os.PathLike] = ()) -> dict[str, str]:
    """By what a source's files and folders are known again: {part of it: hex digest}.

    A file, and a folder of up to 64 MB, by all that is in it. A larger one by the names and sizes
    of its files: to read them would take minutes, and by the time of a file everything would seem
    to be other in a copy. What a photo is replaced by has hardly ever as many bytes.

    Args:
        source: as `image_batches` takes it; parts that do not lie on the disk have none.
        exclude: folders that are left out, such as those that are written meanwhile.
    """
    found = {}
    left_out = {Path(path).resolve() for path in exclude}
    for part in _parts(source):
        path = Path(str(part).removeprefix("records:"))
        if os.path.isfile(path):
            paths = [path]
        elif os.path.isdir(path):  # digits, records, images
            paths = sorted(path.glob("*.gz")) or sorted(path.glob("*.tfrecord")) or _files(path)
            if left_out:
                paths = [each for each in paths if left_out.isdisjoint(each.resolve().parents)]
        else:
            continue
        sizes = [each.stat().st_size for each in paths]
        digest = hashlib.sha256()
        for each, size in zip(paths, sizes, strict=True):
            digest.update(f"{each.relative_to(path).as_posix()}\0{size}\0".encode())
            if sum(sizes) <= _READ_WHOLE or paths == [path]:
                digest.update(hashlib.sha256(each.read_bytes()).digest())
        found[str(part)] = digest.hexdigest()
    return found


def is_one_of(item: Item, stored: bytes, known: frozenset[str]) -> bool:
    """Whether an image, of which this is what is stored, has one of the digests of `digests`."""
    if not known:
        return False
    if hashlib.sha256(stored).hexdigest() in known:
        return True
    return item.source is not None and item.source() in known


def name_of(source: str) -> str:
    """A name for what is made from a source: letters, digits, "_" and "-".

    "The Starry Night (1889).jpg" -> "The_Starry_Night_1889", "tfds:monet:style" -> "monet_style",
    "records:photos.records" -> "photos", "a/,b/" -> "a_b", and other scripts in Latin letters. ""
    where nothing is left.
    """
    words = []
    for part in [source] if os.path.exists(source) else source.split(","):
        kind, _, rest = part.strip().partition(":")
        if kind == "tfds":
            words += re.sub(r"\[.*?\]", "", rest).split(":")
        else:
            words.append(Path(rest if kind == "records" else part.strip()).stem)
    latin = anyascii.anyascii("_".join(words))
    return re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9-]+", "_", latin)).strip("_-")


def gallery(
    source: str | os.PathLike | Sequence[str | os.PathLike],
    *,
    size: int,
    count: int = 200,
    seed: int = 0,
    exclude: Sequence[str | os.PathLike] = (),
) -> list[np.ndarray]:
    """Whole pictures of a source, to judge by: float32 RGB [H, W, 3] in [0, 1].

    Args:
        source, exclude: as of `image_batches`.
        size: longest side in pixels, at most.
        count: at most; of more, some are drawn.
        seed: by which they are drawn.

    Raises:
        DataError: where there is none that can be read.
    """
    items, known = find_items(source, exclude), digests(exclude)
    found: list[tuple[int, np.ndarray]] = []
    reason = ""
    for index in np.random.default_rng(seed).permutation(len(items)):
        if len(found) == count:
            break
        item = items[index]
        try:
            stored = item.load()
            if not is_one_of(item, stored, known):
                picture = images.decode_bytes(stored, name=item.name)
                found.append((index, images.fit(picture, size)))
        except (images.ImageError, records.RecordsError) as error:
            reason = str(error)
    if not found:
        raise DataError(f"{source}: no image in it that can be shown. {reason}".rstrip())
    return [picture for _, picture in sorted(found, key=lambda pair: pair[0])]


def _find_in_records(source: str) -> list[Item]:
    try:
        found = records.Records(source.removeprefix("records:"))
    except records.RecordsError as error:
        raise DataError(str(error)) from error
    return [
        Item(
            f"{source}#{i}",
            f"{i}",
            functools.partial(_image_in, found, i),
            checked=True,
            source=functools.partial(found.source, i),
        )
        for i in range(len(found))
    ]


def _image_in(found: records.Records, number: int) -> bytes:
    return found.read(number)[1]


def installed_builder(source: str, name: str) -> "tfds.core.DatasetBuilder":
    """TFDS's builder of a dataset by its name; `source` is what messages call it.

    Raises:
        DataError: where TFDS knows of none.
    """
    # Imported here: it takes a moment, and few need it.
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(name)
    except tfds.core.DatasetNotFoundError:
        raise DataError(f"{source}: TFDS has no dataset {name!r}.") from None


def not_prepared(source: str, builder: "tfds.core.DatasetBuilder") -> DataError:
    """The error of a dataset that TFDS knows and has not prepared here."""
    # tfds.load would go and fetch it, which without a network never ends.
    name = source.removeprefix("tfds:").partition(":")[0]
    return DataError(
        f"{source}: not prepared in {builder.data_path}. Prepare it once: tfds build {name}"
    )


def _find_in_tfds(source: str) -> list[Item]:
    import tensorflow_datasets as tfds

    name, _, split = source.removeprefix("tfds:").partition(":")
    split = split or "train"
    builder = installed_builder(source, name)
    features = builder.info.features
    keys = sorted(k for k, feature in features.items() if isinstance(feature, tfds.features.Image))
    if not keys:
        raise DataError(f"{source}: no image among its features {', '.join(sorted(features))}.")
    key = "image" if "image" in keys else keys[0]
    specs = {key: True} | ({_SOURCE: True} if _SOURCE in features else {})
    wanted = tfds.decode.PartialDecoding(specs, decoders={key: tfds.decode.SkipDecoding()})
    try:
        examples = builder.as_dataset(
            split=split, decoders=wanted, read_config=tfds.ReadConfig(try_autocache=False)
        )
    except AssertionError:
        raise not_prepared(source, builder) from None
    except ValueError as error:
        raise DataError(
            f"{source}: no split {split!r}. There are {', '.join(builder.info.splits)}."
        ) from error
    return [
        Item(
            f"{source}#{number}",
            f"{number}",
            functools.partial(bytes, example[key]),
            source=functools.partial(bytes.decode, example.get(_SOURCE, b"")),
        )
        for number, example in enumerate(examples.as_numpy_iterator())
    ]
