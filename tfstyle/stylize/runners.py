"""What runs a model: one contract, and TFLite files, SavedModels and Keras models that keep it."""

from __future__ import annotations

import abc
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfstyle import files, quiet
from tfstyle.errors import ArgumentError

if TYPE_CHECKING:
    import keras

# Of a file's metadata entries, the one that is written here.
ENTRY = "tfstyle"


class Runner(abc.ABC):
    """Runs a model: photo in, picture out.

    All that goes in and out are NumPy arrays, float32; images are NHWC, RGB in [0, 1]. What comes
    out may lie beyond [0, 1] by as much as a variant of 8 bits is inexact: clip it. The weights of
    a model of several styles are float32 [1, styles], from 0 and with sum 1, and are always given;
    a model of one style takes none.

    One thread at a time: a TFLite interpreter has one set of buffers. No array that was given is
    changed, and no array that is given back changes later.

    Attributes:
        styles: how many styles the model blends; 0 for one that takes no weights.
        size: (height, width) in pixels that alone it takes; None for any.
        can_tile: whether it can work on parts of an image: `statistics` and `stylize_part`.
        keeps_memory: whether what a call took is kept until the next one, and used again then.
    """

    styles: int = 0
    size: tuple[int, int] | None = None
    can_tile: bool = False
    keeps_memory: bool = False

    def __call__(self, batch: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """The picture of one image: [1, H, W, 3] -> the same, of any size or of `size` alone.

        Raises:
            ArgumentError: for another shape or type, or weights that the model does not take, or
                lacks.
        """
        self._check(batch, weights, count=1)
        if self.size and batch.shape[1:3] != self.size:
            raise ArgumentError(
                f"image of {batch.shape[1]}x{batch.shape[2]}: the model takes "
                f"{self.size[0]}x{self.size[1]} alone (height x width)"
            )
        return self._run(batch, weights)

    def statistics(self, windows: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Means and variances of all normalised channels, over all windows of an image together.

        Args:
            windows: [N, h, w, 3].
            weights: of the styles.

        Returns:
            [2, C]; see `networks.statistics`.

        Raises:
            ArgumentError: as `__call__`; or where the model cannot (`can_tile`).
        """
        self.check_tiles()
        self._check(windows, weights)
        return self._take(windows, weights)

    def stylize_part(
        self,
        batch: np.ndarray,
        statistics: np.ndarray,
        weights: np.ndarray | None = None,
        origin: tuple[int, int] = (0, 0),
    ) -> np.ndarray:
        """The picture of a part of an image, normalised as the whole of it.

        Args:
            batch: the part, [1, h, w, 3]; what is nearer to its edges than the network looks comes
                out unlike in the whole.
            statistics: [2, C] of the image, as `statistics` gives them.
            weights: of the styles.
            origin: row and column of the part in the image, multiples of 8; a model that paints
                from noise takes it from there.

        Returns:
            [1, h, w, 3].

        Raises:
            ArgumentError: as `statistics`.
        """
        self.check_tiles()
        self._check(batch, weights, count=1)
        if statistics.ndim != 2 or len(statistics) != 2 or statistics.dtype != np.float32:
            raise ArgumentError(
                f"statistics of shape {statistics.shape} and type {statistics.dtype}: give float32 "
                "[2, C], as `statistics` gives them"
            )
        return self._give(batch, statistics, weights, np.array(origin, np.int32))

    @abc.abstractmethod
    def _run(self, batch, weights) -> np.ndarray:
        """`__call__`, of what was checked."""

    def _take(self, windows, weights) -> np.ndarray:
        """`statistics`, of what was checked, where the model can."""
        raise NotImplementedError

    def _give(self, batch, statistics, weights, origin) -> np.ndarray:
        """`stylize_part`, of what was checked, where the model can."""
        raise NotImplementedError

    def check_tiles(self) -> None:
        """Raises ArgumentError where the model cannot work on parts of an image."""
        if not self.can_tile:
            raise ArgumentError(
                "tiled: this model has no signatures for parts of an image. Export it again, or "
                "take its float32 TFLite file"
            )

    def _check(self, batch, weights, count=None):
        fine = batch.ndim == 4 and batch.shape[3] == 3 and batch.size and batch.dtype == np.float32
        if not fine or count not in (None, len(batch)):
            raise ArgumentError(
                f"images of shape {batch.shape} and type {batch.dtype}: give float32 "
                f"[{count or 'N'}, H, W, 3]"
            )
        if weights is None:
            if self.styles:
                raise ArgumentError(f"no weights: give float32 [1, {self.styles}], of each style")
        elif not self.styles:
            raise ArgumentError("weights: the model has one style alone; give none")
        elif weights.shape != (1, self.styles) or weights.dtype != np.float32:
            raise ArgumentError(
                f"weights of shape {weights.shape} and type {weights.dtype}: give float32 "
                f"[1, {self.styles}]"
            )


class FunctionRunner(Runner):
    """A plain function as a `Runner`: what it takes and gives is its own affair.

    Args:
        function: batch -> picture, or (batch, weights) -> picture where there are `styles`.
    """

    def __init__(
        self,
        function: Callable[..., np.ndarray],
        *,
        styles: int = 0,
        size: tuple[int, int] | None = None,
        keeps_memory: bool = False,
    ) -> None:
        self.styles = styles
        self.size = size
        self.keeps_memory = keeps_memory
        self._function = function

    def _run(self, batch, weights):
        return self._function(batch) if weights is None else self._function(batch, weights)


class TFLiteRunner(Runner):
    """Runs a TFLite file. Of all runners the quickest to start; it needs no TensorFlow."""

    keeps_memory: bool = True

    def __init__(self, path: str | os.PathLike, threads: int) -> None:
        """
        Args:
            path: of the file.
            threads: that a call may use.

        Raises:
            ArgumentError: where the file is no TFLite model.
        """
        from ai_edge_litert.interpreter import Interpreter

        try:
            with quiet.native():
                self._interpreter = Interpreter(model_path=str(path), num_threads=threads)
        except ValueError as error:
            raise ArgumentError(f"{path}: not a TFLite model ({error})") from error
        # The image has four dimensions and comes first, style weights have two.
        inputs = self._interpreter.get_input_details()
        self._inputs = sorted(inputs, key=lambda details: -len(details["shape"]))
        (self._result,) = self._interpreter.get_output_details()
        self._shape = None
        size = self._inputs[0]["shape_signature"][1:3]
        self.size = (int(size[0]), int(size[1])) if min(size) > 0 else None
        self.styles = int(self._inputs[1]["shape"][1]) if len(self._inputs) > 1 else 0
        signatures = self._interpreter.get_signature_list().keys()
        self.can_tile = {"statistics", "tiles"} <= signatures

    def _run(self, batch, weights):
        if batch.shape != self._shape:
            self._interpreter.resize_tensor_input(self._inputs[0]["index"], batch.shape)
            with quiet.native():
                self._interpreter.allocate_tensors()
            self._shape = batch.shape
        for details, value in zip(self._inputs, (batch, weights), strict=False):
            self._interpreter.set_tensor(details["index"], value)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._result["index"])

    def _take(self, windows, weights):
        return self._call("statistics", images=windows, style_weights=weights)["statistics"]

    def _give(self, batch, statistics, weights, origin):
        given = {"images": batch, "statistics": statistics, "style_weights": weights}
        return self._call("tiles", **given, origin=origin)["stylized"]

    def _call(self, signature, **given):
        # A delegate is made at the first call.
        with quiet.native():
            runner = self._interpreter.get_signature_runner(signature)
            return runner(**{key: given[key] for key in runner.get_input_details()})


class SavedModelRunner(Runner):
    """Runs the signature "float" of a SavedModel that tfstyle exported, in TensorFlow."""

    def __init__(self, path: str | os.PathLike) -> None:
        """
        Args:
            path: of the folder with saved_model.pb.

        Raises:
            ArgumentError: where it cannot be loaded, or has no such signature.
        """
        import tensorflow as tf

        try:
            # It keeps the variables alive, which the signature alone does not.
            with files.plain(path) as plain:
                self._loaded = tf.saved_model.load(str(plain))
        except Exception as error:  # IndexError, of torn weights: there is no one class
            raise ArgumentError(f"{path}: not a SavedModel that can be loaded ({error})") from error
        if "float" not in self._loaded.signatures:
            raise ArgumentError(
                f"{path}: no signature 'float' among {sorted(self._loaded.signatures)}. Give a "
                "SavedModel that tfstyle exported"
            )
        self._stylize = self._loaded.signatures["float"]
        takes = self._stylize.structured_input_signature[1]
        self.styles = takes["style_weights"].shape[1] if "style_weights" in takes else 0
        self._constant = tf.constant

    def _run(self, batch, weights):
        given = {"images": self._constant(batch)}
        if weights is not None:
            given["style_weights"] = self._constant(weights)
        return self._stylize(**given)["stylized"].numpy()


class KerasRunner(Runner):
    """Runs a Keras model as it is at the time of each call, in TensorFlow."""

    def __init__(self, model: keras.Model) -> None:
        """
        Args:
            model: keras.Model, [B, H, W, 3] in [0, 1] -> the same, or with a second input [B, N]
                for the weights of N styles; under any dtype policy.
        """
        import tensorflow as tf

        from tfstyle.networks import layers, statistics

        inputs: Any = getattr(model, "inputs", None) or ()
        self.styles = inputs[1].shape[-1] if len(inputs) > 1 else 0
        image = tf.TensorSpec([1, None, None, 3], tf.float32)
        images = tf.TensorSpec([None, None, None, 3], tf.float32)
        weights = [tf.TensorSpec([1, self.styles], tf.float32)] if self.styles else []

        # One trace for all sizes; eager calls of Keras are slower and take more memory.
        @tf.function(input_signature=[image, *weights], autograph=False)
        def stylize(*given: Any) -> tf.Tensor:
            stylized = model(list(given) if weights else given[0], training=False)
            return tf.cast(stylized, tf.float32)

        channels = layers.normalised_channels(model)
        self.can_tile = bool(channels)

        @tf.function(input_signature=[images, *weights], autograph=False)
        def take(*given):
            return statistics.taken(model, given)

        place = [tf.TensorSpec([2, channels], tf.float32), tf.TensorSpec([2], tf.int32)]

        @tf.function(input_signature=[image, *weights, *place], autograph=False)
        def give(*given):
            return tf.cast(statistics.with_given(model, given[:-2], *given[-2:]), tf.float32)

        def of_arrays(function):
            return lambda *given: function(
                *(tf.constant(each) for each in given if each is not None)
            ).numpy()

        self._stylize, self._take_all, self._give_all = map(of_arrays, (stylize, take, give))

    def _run(self, batch, weights):
        return self._stylize(batch, weights)

    def _take(self, windows, weights):
        return self._take_all(windows, weights)

    def _give(self, batch, statistics, weights, origin):
        return self._give_all(batch, weights, statistics, origin)


def read_metadata(path: str | os.PathLike) -> dict:
    """What `with_metadata` put into a file; empty for a file without it.

    Raises:
        ValueError: where the file is no TFLite model.
    """
    schema, _ = load_schema()
    content = Path(path).read_bytes()
    if content[4:8] != b"TFL3":
        raise ArgumentError(f"{path}: not a TFLite model")
    model = schema.Model.GetRootAs(content, 0)
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        if entry.Name() == ENTRY.encode():
            return json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
    return {}


def load_schema() -> tuple[Any, Any]:
    """(the schema's classes, what packs them): slow to import, and seldom needed."""
    from ai_edge_litert import schema_py_generated
    from ai_edge_litert.tools import flatbuffer_utils

    return schema_py_generated, flatbuffer_utils


def read_keras(path: Path) -> keras.Model:
    """The Keras model of a .keras file, with tfstyle's layers; ValueError where it is none."""
    import keras

    from tfstyle.networks import layers  # noqa: F401  registers them with Keras

    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras has no one class for what can be wrong with a file.
        raise ArgumentError(f"{path}: not a Keras model that tfstyle can load ({error})") from error
