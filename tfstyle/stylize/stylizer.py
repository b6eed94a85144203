"""One callable over every artifact: Keras model, SavedModel, TFLite.

TensorFlow is imported only for the artifacts that need it: a TFLite model starts in a fraction of a
second and runs where TensorFlow is not installed.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from tfstyle import images, machine
from tfstyle.errors import ArgumentError
from tfstyle.images import color, tiles
from tfstyle.machine import TooLargeError
from tfstyle.stylize import runners
from tfstyle.stylize.shelf import find, find_tflite, own_card, read_card

# Peak memory of a call in bytes per pixel of the image, where no card tells: what the largest
# generator here, networks.unet_generator(), takes in TensorFlow. Seen as the growth of the peak
# resident size of a fresh process at 512 and 1024 px, in TFLite and in TensorFlow:
# fast_generator() 237 and 119, unet_generator() 1929 and 784. TensorFlow takes less in all cases,
# so a card's figure, which is of TFLite, is safe for both.
#   python -c "import resource, sys; import numpy as np; from tfstyle.stylize import Stylizer
#   peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
#   run, n = Stylizer.load(sys.argv[1]), int(sys.argv[2]); run(np.ones((64, 64, 3), 'f'))
#   image = np.ones((n, n, 3), 'f'); before = peak(); run(image, strength=0.5, preserve_color=True)
#   print((peak() - before) * 1024 / n**2)" MODEL SIZE
BYTES_PER_PIXEL = 800
# What the Stylizer itself adds: four float32 RGB images.
_OWN_BYTES_PER_PIXEL = 48

# Larger images are worked on in tiles, where the model can: 8 megapixels at once take 2.1 GB in
# ten_styles, and would take 14 in a U-Net of width 24. Numbers and not what memory there is, so
# that a picture comes out the same on every machine that can make it whole.
WHOLE_PIXELS = 8_000_000
WHOLE_BYTES = 5_000_000_000
# Side of a tile and of the windows whose statistics stand for the whole image, in pixels. Of more
# and smaller windows the statistics come closer to those of the whole: at 4000x3000, three photos
# upscaled, two styles, 8 megapixels of windows of 512, 768 and 1536 pixels left mean differences
# of 1.3 to 3.0, 2.3 to 7.5 and 2.3 to 5.7 levels of 255.
_TILE = 1024
_WINDOW = 512
# Pixels around a tile, where no card tells how far the model looks.
_TILE_MARGIN = 192


class Stylizer:
    """Applies a model to images: `stylizer(image)`.

    Use one Stylizer in one thread at a time: a TFLite interpreter has one set of buffers.

    Attributes:
        styles: names of the styles that the model has, in order, as its card says; "0", "1", ...
            where neither card nor file does; () for a model of a single style.
        size: (height, width) that alone the model takes; None for any. Other images are shrunk or
            enlarged until they fit into it, mirrored at their right and lower edge where they do
            not fill it, and the result is brought back to their size.
    """

    def __init__(
        self,
        run: runners.Runner | Callable[..., np.ndarray],
        bytes_per_pixel: int = BYTES_PER_PIXEL,
        keeps_memory: bool = False,
        styles: Sequence[str] = (),
        size: tuple[int, int] | None = None,
        tile_margin: int = _TILE_MARGIN,
    ) -> None:
        """Most callers want `Stylizer.load`.

        Args:
            run: what runs the model; a plain function of batch and, where there are `styles`,
                weights will do, see `runners.FunctionRunner`.
            bytes_per_pixel: memory that `run` takes.
            keeps_memory, size: of a plain function, see `runners.Runner`.
            styles: names, in order; where there are none, "0", "1", ... for those that `run` has.
            tile_margin: how far around a tile the model looks, in pixels.
        """
        if not isinstance(run, runners.Runner):
            run = runners.FunctionRunner(
                run, styles=len(styles), size=size, keeps_memory=keeps_memory
            )
        self._tile_margin = tile_margin
        self.styles = tuple(styles) or tuple(map(str, range(run.styles)))
        self.size = run.size
        self._run = run
        self._bytes_per_pixel = bytes_per_pixel
        self._kept = 0

    @classmethod
    def load(
        cls,
        model: Any,
        *,
        threads: int | None = None,
        runtime: Literal["auto", "tflite"] = "auto",
    ) -> "Stylizer":
        """Loads a model.

        Args:
            model: a name among `shipped_models` or of another model in the same places (its float32
                TFLite file is taken where there is one, for the quickest start; NAME.dynamic and
                NAME.float16 are names too); a .tflite file; a .keras file; the folder of a
                SavedModel, or of its versions, of which the highest is taken; a keras.Model.
            threads: of a TFLite model; all cores by default. TensorFlow has its own settings for
                this (tf.config.threading).
            runtime: "tflite" takes TFLite files alone, which need no TensorFlow; of a SavedModel's
                folder the float32 TFLite file beside it. "auto" takes what there is.

        Raises:
            ModelNotFoundError: no such name or file.
            ValueError: a file that is no model, `threads` or `runtime` "tflite" for a model that is
                not TFLite, or a model that needs TensorFlow where it is not installed.
        """
        if runtime == "tflite":
            model = find_tflite(model)
        elif not isinstance(model, (str, os.PathLike)):
            return cls(runners.KerasRunner(model))
        path = find(model)
        if path.suffix == ".tflite":
            run: runners.Runner = runners.TFLiteRunner(path, threads or machine.cores())
        elif threads:
            raise ArgumentError(f"threads {threads}: only for TFLite models, and {path} is none")
        else:
            try:
                if path.suffix == ".keras":
                    run = runners.KerasRunner(runners.read_keras(path))
                else:
                    run = runners.SavedModelRunner(path)
            except ModuleNotFoundError as error:
                if error.name not in ("tensorflow", "keras"):
                    raise
                raise ArgumentError(
                    f"{path}: needs {error.name}, which is not installed. Give a .tflite file "
                    "(`tfstyle export` makes one), or pip install tfstyle with what it needs"
                ) from None
        card = read_card(path)
        return cls(
            run,
            _whole_number(card, "memory_bytes_per_pixel", BYTES_PER_PIXEL),
            styles=_style_names(card or own_card(path), run.styles),
            tile_margin=_whole_number(card, "tile_margin", _TILE_MARGIN),
        )

    def __call__(
        self,
        image: np.ndarray,
        *,
        strength: float = 1.0,
        preserve_color: bool = False,
        style: str | int | Mapping[str | int, float] | None = None,
        tiled: bool | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> np.ndarray:
        """The stylized image, of the same size.

        In tiles it is normalised by the statistics of the whole image, where those fit into the
        same limits, or of windows that are spread over it: there are no seams, and a larger image
        comes out as it would whole but for small differences of tone (see `_WINDOW`).

        Args:
            image: float32 RGB [H, W, 3] in [0, 1].
            strength: 0 gives the image itself, 1 the stylized one, between them a linear blend.
            preserve_color: keeps the chroma of the image (YCbCr, Rec. 601) and takes only the luma
                of the stylized one.
            style: of a model with several: a name among `styles` or its index from 0 (a number, or
                its digits); or {name or index: weight} for a blend, of which only the proportions
                count. The first by default.
            tiled: whether to work in tiles. By default, where the model can and the image has more
                than WHOLE_PIXELS, would need more than WHOLE_BYTES, or does not fit into memory.
            progress: called with (tiles done, tiles) after each.

        Returns:
            float32 RGB [H, W, 3] in [0, 1].

        Raises:
            ValueError: for another shape, type or range, a strength outside [0, 1], a style that
                the model does not have, or tiles of a model that was not made for them.
            TooLargeError: when the memory that is free is not enough.
        """
        image = _checked(image)
        check_strength(strength)
        weights = self.style_weights(style)
        if strength == 0:
            return image.copy()
        if tiled is None:
            tiled = self._run.can_tile and not self._fits_whole(*image.shape[:2])
        if tiled:
            stylized = self._in_tiles(image, weights, progress)
        else:
            self._check_memory(image.shape[0], image.shape[1], self._bytes_per_pixel)
            given = _fitted(image, self.size) if self.size else image
            stylized = np.clip(self._run(given[np.newaxis], weights)[0], 0, 1)
            if self.size:
                height, width = _fitting(image.shape[:2], self.size)
                stylized = images.resize(stylized[:height, :width], image.shape[:2])
            if self._run.keeps_memory:
                self._kept = image.shape[0] * image.shape[1] * self._bytes_per_pixel
        return finished(stylized, image, strength=strength, preserve_color=preserve_color)

    def style_weights(
        self, style: str | int | Mapping[str | int, float] | None = None
    ) -> np.ndarray | None:
        """What a `style` of a call stands for: float32 [1, styles] with sum 1; None for one style.

        Raises:
            ValueError: for a style that the model does not have.
        """
        weights = style_weights(style, self.styles)
        return None if weights is None else np.array([weights], np.float32)

    @property
    def _whole_pixels(self) -> int:
        return min(WHOLE_PIXELS, WHOLE_BYTES // (self._bytes_per_pixel + _OWN_BYTES_PER_PIXEL))

    def _fits_whole(self, height: int, width: int) -> bool:
        pixels = height * width
        needed = pixels * (self._bytes_per_pixel + _OWN_BYTES_PER_PIXEL)
        return pixels <= self._whole_pixels and needed <= machine.usable_memory() + self._kept

    def _in_tiles(self, image, weights, progress):
        self._run.check_tiles()
        height, width = image.shape[:2]
        # A tile with its surroundings, and then windows as far as memory reaches.
        least = min(_TILE + 2 * self._tile_margin, max(height, width)) ** 2
        self._check_memory(height, width, 0, least * self._bytes_per_pixel)
        room = machine.usable_memory() + self._kept - height * width * _OWN_BYTES_PER_PIXEL
        pixels = min(self._whole_pixels, max(least, room // self._bytes_per_pixel))
        if height * width <= pixels:
            windows = image[np.newaxis]
        else:
            side = min(_WINDOW, height, width)
            windows = tiles.windows(image, side=side, pixels=pixels)
        statistics = self._run.statistics(windows, weights)
        total, done = tiles.count((height, width), _TILE), 0

        def stylize(part, origin):
            nonlocal done
            stylized = self._run.stylize_part(part[np.newaxis], statistics, weights, origin)[0]
            stylized = np.clip(stylized, 0, 1)
            done += 1
            if progress:
                progress(done, total)
            return stylized

        return tiles.apply(image, stylize, side=_TILE, margin=self._tile_margin)

    def _check_memory(self, height: int, width: int, bytes_per_pixel: int, at_once: int = 0):
        """`at_once` bytes are needed whatever the size, and those of each pixel."""
        needed = height * width * (bytes_per_pixel + _OWN_BYTES_PER_PIXEL) + at_once
        free = machine.usable_memory() + self._kept
        if needed <= free:
            return
        scale = math.sqrt(free / needed)
        fits = max(1, int(height * scale)), max(1, int(width * scale))
        raise TooLargeError(
            f"{width}x{height} pixels need about {needed / 1e9:.1f} GB of memory and "
            f"{free / 1e9:.1f} GB are free. Make the image at most {fits[1]}x{fits[0]}",
            fits,
        )


# What `tfstyle.load` is: the same, without the class's name.
load = Stylizer.load


def style_weights(
    style: str | int | Mapping[str | int, float] | None, names: Sequence[str]
) -> list[float] | None:
    """What the `style` of a call stands for: a weight for each name, with sum 1.

    Args:
        style: see `Stylizer.__call__`.
        names: of the model's styles, in order; none for a model of one style.

    Returns:
        None for a model of one style.

    Raises:
        ValueError: for a style that the model does not have.
    """
    if not names:
        if style is not None:
            raise ArgumentError(f"style {style!r}: the model has one style alone; give none")
        return None
    chosen = style if isinstance(style, Mapping) else {0 if style is None else style: 1.0}
    weights = [0.0] * len(names)
    for key, weight in chosen.items():
        index = names.index(key) if key in names else key
        if isinstance(index, str) and index.isdecimal():
            index = int(index)
        if not isinstance(index, int | np.integer) or not 0 <= index < len(names):
            raise ArgumentError(
                f"style {key!r}: the model has no such style. Give one of {', '.join(names)}, or "
                f"0 to {len(names) - 1}"
            )
        if not 0 <= weight < math.inf:
            raise ArgumentError(f"style {key!r} with weight {weight}: give a number from 0")
        weights[index] += weight
    if not any(weights):
        raise ArgumentError(f"styles {dict(chosen)}: give at least one of them a weight above 0")
    largest = max(weights)  # the sum of what is given may overflow
    weights = [weight / largest for weight in weights]
    return [weight / sum(weights) for weight in weights]


def check_strength(strength: float) -> None:
    """Raises ValueError for a strength outside [0, 1]."""
    if not 0 <= strength <= 1:
        raise ArgumentError(f"strength {strength}: give 0 (the photo) to 1 (fully stylized)")


def finished(
    stylized: np.ndarray, image: np.ndarray, *, strength: float, preserve_color: bool
) -> np.ndarray:
    """What is handed out, of what a network made of an image.

    Args:
        stylized, image: float32 RGB [H, W, 3] in [0, 1].
        strength, preserve_color: see `Stylizer.__call__`.

    Returns:
        float32 RGB [H, W, 3] in [0, 1].
    """
    if preserve_color:
        stylized = color.keep_color(stylized, image)
    if strength < 1:
        blend = image * np.float32(1 - strength) + stylized * np.float32(strength)
        stylized = np.clip(blend, 0, 1)  # of rounding
    return stylized


def _checked(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or not image.size or image.dtype.kind != "f":
        raise ArgumentError(
            f"image of shape {image.shape} and type {image.dtype}: give float32 [H, W, 3] in "
            "[0, 1] (images.from_uint8 converts)"
        )
    if not (image.min() >= 0 and image.max() <= 1):  # so that NaN fails too
        raise ArgumentError(
            f"image with values from {image.min():g} to {image.max():g}: give [0, 1] "
            "(images.from_uint8 converts)"
        )
    return np.ascontiguousarray(image, np.float32)


def _fitting(sides: tuple[int, int], into: tuple[int, int]) -> tuple[int, int]:
    """The largest (height, width) of the aspect of `sides` in `into`."""
    scale = min(into[0] / sides[0], into[1] / sides[1])
    return max(1, round(sides[0] * scale)), max(1, round(sides[1] * scale))


def _fitted(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`image` as large as fits into `size`, mirrored where it does not fill it."""
    height, width = _fitting(image.shape[:2], size)
    image = images.resize(image, (height, width))
    return np.pad(image, ((0, size[0] - height), (0, size[1] - width), (0, 0)), mode="reflect")


def _whole_number(card: dict, key: str, default: int) -> int:
    try:
        return int(card[key])
    except (ValueError, KeyError, TypeError):
        return default


def _style_names(card: dict, count: int) -> list[str]:
    """Those that a card gives to as many styles; none where it speaks of others."""
    names = card.get("styles")
    return list(map(str, names)) if isinstance(names, list) and len(names) == count else []
