"""A TFDS dataset out of two domains of images that do not pair up: content and style.

Once prepared it is data like any other of TFDS: `tfds.load("NAME", split="content")` reads it with
nothing of this package, and so does every pipeline as `tfds:NAME:content`.
"""

import contextlib
import io
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import tensorflow_datasets as tfds

from tfstyle.data.sources import DataError, ReadReport, checked_images


class UnpairedImages(  # type: ignore[call-arg]  # the base, which takes it, has no types
    tfds.core.GeneratorBasedBuilder, skip_registration=True
):
    """Splits of images, each {"image": uint8 [H, W, 3], "name": text}, stored as they are encoded.

    It has the name and the version of the dataset that it prepares, and not those of a class: TFDS
    then finds what is prepared by its name, without this code.
    """

    VERSION: tfds.core.Version = tfds.core.Version("1.0.0")

    def __init__(
        self,
        *,
        name: str,
        version: str,
        sources: Mapping[str, str],
        max_size: int | None = None,
        data_dir: str | os.PathLike | None = None,
    ) -> None:
        """
        Args:
            name: of the dataset.
            version: of it, as 1.0.0.
            sources: {split: images, as `data.image_batches` takes them}.
            max_size: see `data.checked_images`.
            data_dir: where TFDS keeps its datasets.
        """
        self.name = name
        self.VERSION = tfds.core.Version(version)
        self.images, self.reports = {}, {}
        for split, source in sources.items():
            self.images[split], self.reports[split] = checked_images(source, max_size=max_size)
        super().__init__(data_dir=data_dir)

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text()
        features = {"image": tfds.features.Image(), "name": text, "source_sha256": text}
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"Images that do not pair up: {', '.join(self.images)}.",
            features=tfds.features.FeaturesDict(features),
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict]]]:
        del dl_manager  # nothing to download
        return {split: self._generate_examples(split) for split in self.images}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        for number, (name, encoded, source) in enumerate(self.images[split]):
            # Names are file names, which need not be text.
            text = name.encode("utf-8", "replace").decode()
            image = io.BytesIO(encoded)
            yield number, {"image": image, "name": text, "source_sha256": source}


def prepare(
    name: str,
    *,
    content: str,
    style: str,
    version: str = "1.0.0",
    max_size: int | None = None,
    data_dir: str | os.PathLike | None = None,
) -> tuple[Path, dict[str, ReadReport]]:
    """Prepares a TFDS dataset with the splits "content" and "style", whole or not at all.

    Args:
        name: of the dataset: small letters, digits and _.
        content, style: images, as `data.image_batches` takes them.
        version: MAJOR.MINOR.PATCH. Readers take the highest one there is.
        max_size: larger images are shrunk, see `data.checked_images`.
        data_dir: where TFDS keeps its datasets; by default $TFDS_DATA_DIR, else
            ~/tensorflow_datasets, which is where `tfds:NAME` looks.

    Returns:
        (folder of this version, {split: what could be read}).

    Raises:
        DataError: where this version is there already, TFDS has a dataset of that name, name or
            version are malformed, or images are missing or too many unreadable.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise DataError(f"name {name!r}: give small letters, digits and _, a letter first.")
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise DataError(f"version {version!r}: give MAJOR.MINOR.PATCH, such as 1.0.0.")
    try:
        tfds.builder_cls(name)
    except tfds.core.DatasetNotFoundError:
        pass
    else:
        raise DataError(f"name {name!r}: TFDS has a dataset of that name. Give another.")
    builder = UnpairedImages(
        name=name,
        version=version,
        sources={"content": content, "style": style},
        max_size=max_size,
        data_dir=data_dir,
    )
    folder = Path(builder.data_path)
    if folder.exists():
        raise DataError(f"{folder}: exists. Give a higher version, or remove it.")
    # Without a network it would wait for one to ask whether the dataset is in Google's bucket.
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    made = [each for each in folder.parents if not each.exists()]
    try:
        builder.download_and_prepare(download_config=config)
    except BaseException:
        # TFDS takes away the version it was writing, and leaves empty folders.
        downloads = folder.parent.parent / "downloads"
        for each in (downloads / "extracted", downloads, *made):
            with contextlib.suppress(OSError):
                each.rmdir()
        raise
    return folder, builder.reports
