"""The photos of a training, and those kept out of it: the flags that recipes share."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfstyle import images
from tfstyle.data import batches, samples, sources


@dataclasses.dataclass(frozen=True)
class Photos:
    """What a network is trained on, and what it is judged by.

    Args:
        content: folder of photos (several: separate by commas), tfds:NAME:SPLIT, or records:FOLDER;
            the bundled photos where empty.
        evaluate_on: photos (files or folders, separated by commas) that are kept out of training
            for validation and the figures on the model card; the bundled photos where empty.
        crop_size: side of the training crops, in pixels.
        batch_size: crops in a step, over all devices.
        strict_data: stop at the first unreadable image.
        spared: bundled photos, of the last, that are kept out where there is no evaluate_on; no
            flag.
    """

    content: str = ""
    evaluate_on: str = ""
    crop_size: int = 160
    batch_size: int = 1
    strict_data: bool = False
    spared: int = dataclasses.field(default=0, metadata={"flag": False})

    @property
    def source(self) -> str | list[Path]:
        """What `image_batches` takes."""
        return self.content or samples.photo_paths()

    @property
    def held_out(self) -> list[Path]:
        """The files that are kept out of training; may be none."""
        if self.evaluate_on or not self.spared:
            return sources.list_files(self.evaluate_on)
        return samples.photo_paths()[-self.spared :]

    @property
    def judged(self) -> list[Path]:
        """The files to judge by: those kept out, else the bundled ones."""
        return self.held_out or samples.photo_paths()

    @property
    def told(self) -> str:
        """What a card says of the photos judged by."""
        return "kept out of training" if self.held_out else "bundled"

    def batches(
        self,
        *,
        skip: int = 0,
        seed: int = 0,
        shard: tuple[int, int] = (0, 1),
        times: int = 1,
        scale: tuple[float, float] = (1.0, 1.6),
    ) -> tuple[tf.data.Dataset, list[sources.ReadReport]]:
        """Endless batches of crops; see `image_batches`, which has the arguments but for one.

        Args:
            times: batches in one.

        Returns:
            (dataset of float32 [times * batch_size, crop_size, crop_size, 3] in [0, 1], [report]).
        """
        dataset, report = batches.image_batches(
            self.source,
            batch_size=times * self.batch_size,
            crop_size=self.crop_size,
            seed=seed,
            skip=skip,
            shard=shard,
            scale=scale,
            strict=self.strict_data,
            exclude=self.held_out,
        )
        return dataset, [report]

    def crops(
        self, count: int, *, seed: int = 0, scale: tuple[float, float] = (1.0, 1.6)
    ) -> np.ndarray:
        """The first `count` training crops: float32 [count, crop_size, crop_size, 3] in [0, 1]."""
        return batches.crops(
            self.source,
            count,
            crop_size=self.crop_size,
            seed=seed,
            scale=scale,
            exclude=self.held_out,
        )

    def crops_kept_out(self, count: int, *, seed: int = 0) -> np.ndarray:
        """As `crops`, of the photos that are kept out."""
        return batches.crops(self.held_out, count, crop_size=self.crop_size, seed=seed)


def pictures_of(
    source: str | Sequence[str | Path], *, size: int, exclude: Sequence[Path] = ()
) -> list[Path] | list[np.ndarray]:
    """The pictures to judge by: all files of folders, or some of a dataset, shrunk to `size`."""
    if any(part.strip().startswith(("tfds:", "records:")) for part in str(source).split(",")):
        return sources.gallery(source, size=size, exclude=exclude)
    left_out = {path.resolve() for path in exclude}
    return [path for path in sources.list_files(source) if path.resolve() not in left_out]


def scaled_pictures(
    source: str | Sequence[str | Path], *, size: int, exclude: Sequence[Path] = ()
) -> Iterator[np.ndarray]:
    """The pictures of `pictures_of`, read one by one and their longer side made `size`."""
    for found in pictures_of(source, size=size, exclude=exclude):
        picture = images.read(found) if isinstance(found, Path) else found
        yield images.resize(picture, images.scaled_size(picture.shape[:2], size))
