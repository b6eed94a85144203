"""The one TFLite converter: any generator, any variant, any size or one alone."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfstyle import files, images, quiet
from tfstyle.export import flatbuffer
from tfstyle.export.errors import DeviceError

if TYPE_CHECKING:
    import keras

# float32 as trained; float16 half the size; dynamic: int8 weights, activations quantised as they
# come; int8: both, with ranges seen on calibration photos.
VARIANTS = ("float32", "float16", "dynamic", "int8")

CALIBRATION_SIZE = (256, 256)


@dataclasses.dataclass(frozen=True)
class Source:
    """A generator to convert.

    Attributes:
        name: what its files are called after.
        stylize: images [1, H, W, 3] in [0, 1] and, where there are `styles`, weights [1, styles],
            to images; to be traced.
        styles: names, in order; () for one style alone.
        card: what is told about it, as in a model card; may be empty.
        alive: what holds the variables.
        parts: {name: tf.function} of signatures for parts of an image; where there are none, empty.
    """

    name: str
    stylize: Callable
    styles: tuple[str, ...]
    card: Mapping
    alive: object
    parts: Mapping[str, Callable] = dataclasses.field(default_factory=dict)


def in_float32(generator: keras.Model) -> keras.Model:
    """A copy that computes in float32, its variables on one device and without an optimizer.

    Under mixed_float16 the converter fails; a copy is also free of the distribution strategy that
    the generator was trained in.
    """
    from tfstyle.networks import recorded

    def rebuild(layer):
        return layer.__class__.from_config({**layer.get_config(), "dtype": "float32"})

    copy = recorded.clone(generator, clone_function=rebuild, recursive=True)
    copy.set_weights(generator.get_weights())
    return copy


def from_keras(generator: keras.Model, name: str, card: Mapping | None = None) -> Source:
    """A `Source` of a Keras generator.

    For images that do not fit into memory, one with instance norm has signatures for `parts`:
    `statistics` gives those of windows of an image, `tiles` stylizes a part of it with them; see
    `networks.statistics`.

    Args:
        generator: keras.Model, [B, H, W, 3] in [0, 1] -> the same, or with style weights [B,
            styles] as a second input; under any dtype policy.
        name: of its files.
        card: as `Source.card`; its "styles" are the names of the styles.
    """
    import tensorflow as tf

    from tfstyle.networks import layers, statistics

    card = card or {}
    generator = in_float32(generator)
    count = style_count(generator)
    alive = tf.Module()
    # The variables, not the model: a Keras model that is tracked here keeps the TFLite converter
    # from freezing the weights into the graph; it says nothing, and the outputs are NaN.
    alive.weights = [variable.value for variable in generator.variables]

    def stylize(batch, weights=None):
        return generator(batch if weights is None else [batch, weights], training=False)

    parts = {}
    if channels := layers.normalised_channels(generator):

        @tf.function(input_signature=_specs(count, batch=None), autograph=False)
        def take(*inputs):
            return {"statistics": statistics.taken(generator, inputs)}

        specs = _specs(count, batch=1)
        given = [tf.TensorSpec([2, channels], tf.float32, name="statistics")]
        if layers.has_noise(generator):
            given.append(tf.TensorSpec([2], tf.int32, name="origin"))

        @tf.function(input_signature=[*specs, *given], autograph=False)
        def give(*inputs):
            inputs, given = inputs[: len(specs)], inputs[len(specs) :]
            return {"stylized": statistics.with_given(generator, inputs, *given)}

        parts = {"statistics": take, "tiles": give}
    return Source(name, stylize, style_names(card, count), card, alive, parts)


def style_count(generator: keras.Model) -> int:
    """How many styles a generator blends; 0 where it has one alone and takes no weights."""
    return generator.inputs[1].shape[-1] if len(generator.inputs) > 1 else 0


def style_names(card: Mapping, count: int) -> tuple[str, ...]:
    """Those that a card gives to as many styles; "0", "1", ... where it speaks of others."""
    names = card.get("styles")
    if isinstance(names, list | tuple) and len(names) == count:
        return tuple(map(str, names))
    return tuple(map(str, range(count)))


def _specs(styles: int, *, batch: int | None, size: tuple[int, int] | None = None) -> list:
    """Of the inputs of a signature."""
    import tensorflow as tf

    specs = [tf.TensorSpec([batch, *(size or (None, None)), 3], tf.float32, name="images")]
    if styles:
        specs.append(tf.TensorSpec([1, styles], tf.float32, name="style_weights"))
    return specs


def convert(
    source: Source,
    variant: str,
    *,
    size: tuple[int, int] | None = None,
    calibration: Sequence[np.ndarray] = (),
    parts: bool = False,
) -> bytes:
    """One TFLite file; see `Conversion`, which makes several of one generator in less time."""
    with Conversion(source, size=size, parts=parts) as conversion:
        return conversion.to(variant, calibration=calibration)


class Conversion:
    """A generator on its way to TFLite files, traced and saved once for all of them.

        with Conversion(source) as conversion:
            content = conversion.to("dynamic")

    Args:
        size: (height, width) that alone the files shall take; any by default.
        parts: whether they shall have the signatures for parts of an image too, on one set of
            weights; in float32 and dynamic alone, and for any size.
    """

    def __init__(
        self, source: Source, *, size: tuple[int, int] | None = None, parts: bool = False
    ) -> None:
        self._source, self._size = source, size
        self._parts = source.parts if parts and size is None else {}
        self._folder: tempfile.TemporaryDirectory | None = None
        self._exact: bytes | None = None

    def __enter__(self) -> Conversion:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder:
            self._folder.cleanup()

    def to(self, variant: str, *, calibration: Sequence[np.ndarray] = ()) -> bytes:
        """One TFLite file, with its metadata; not yet compared with anything.

        Args:
            variant: one of VARIANTS.
            calibration: photos for int8, float32 RGB [H, W, 3] in [0, 1].

        Raises:
            DeviceError: for another variant, int8 without photos, float16 of several styles and any
                size, or operations that TFLite lacks.
        """
        source = self._source
        if variant not in VARIANTS:
            raise DeviceError(f"variant {variant!r}: give {', '.join(VARIANTS)}")
        if variant == "int8" and not calibration:
            raise DeviceError("int8 needs photos to see its ranges on: give calibration photos")
        if variant == "float16" and source.styles and self._size is None:
            # LiteRT 2.x then gives wrong pictures now and then, from the second call after a resize
            # on, as it does wherever there are two inputs in float16.
            raise DeviceError(
                "float16 of several styles cannot be trusted at any size (a fault of LiteRT 2): "
                "give one --size, or dynamic"
            )
        try:
            with _silent(), warnings.catch_warnings():
                # The converter itself uses what it warns of, to calibrate by names.
                warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter is deprecated")
                exact = self._float32() if variant in ("float32", "dynamic") else b""
                smaller = variant != "float32"
                content = self._smaller(variant, calibration).convert() if smaller else exact
        except Exception as error:  # The converter's own class is not public.
            if refused := files.refusal(error):
                raise refused from error
            raise DeviceError(
                f"{source.name}: no {variant} TFLite model with built-in operations alone: {error}"
            ) from error
        if variant == "dynamic":
            try:
                content = flatbuffer.with_exact_kernels(content, exact)
            except DeviceError as error:
                raise DeviceError(f"{source.name}: no {variant} TFLite model: {error}") from error
        return flatbuffer.with_metadata(
            content,
            flatbuffer.metadata(source.name, variant, source.card, source.styles, self._size),
        )

    def _float32(self) -> bytes:
        """The file in float32, which that in dynamic takes its exact kernels from."""
        if self._exact is None:
            self._exact = self._converter(parts=True).convert()
        return self._exact

    def _smaller(self, variant: str, calibration: Sequence[np.ndarray]):
        """The converter of a variant whose weights are not in float32."""
        import tensorflow as tf

        converter = self._converter(parts=variant == "dynamic")
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if variant == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if variant == "int8":
            examples = _examples(self._source, calibration, self._size or CALIBRATION_SIZE)
            converter.representative_dataset = lambda: iter(examples)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        return converter

    def _converter(self, *, parts: bool):
        """One of what was saved: of the whole image's signature and, if wanted, of its parts'."""
        import tensorflow as tf

        names = ["serving_default", *(self._parts if parts else ())]
        converter = tf.lite.TFLiteConverter.from_saved_model(self._saved(), signature_keys=names)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        return converter

    def _saved(self) -> str:
        """The folder of a SavedModel with all signatures; written the first time."""
        import tensorflow as tf

        if self._folder is None:
            source = self._source

            specs = _specs(len(source.styles), batch=1, size=self._size)

            @tf.function(input_signature=specs, autograph=False)
            def stylize(batch, weights=None):
                stylized = (
                    source.stylize(batch) if weights is None else source.stylize(batch, weights)
                )
                return {"stylized": tf.cast(stylized, tf.float32)}

            folder = tempfile.TemporaryDirectory()
            functions = {"serving_default": stylize, **self._parts}
            tf.saved_model.save(source.alive, folder.name, signatures=functions)
            self._folder = folder
        return self._folder.name


def _examples(source: Source, photos, size) -> list[dict[str, np.ndarray]]:
    """Inputs for calibration, by name: each photo, the styles taken in turns."""
    examples = []
    for index, photo in enumerate(photos):
        example = {"images": images.resize(photo, size)[np.newaxis].astype(np.float32)}
        if source.styles:
            count = len(source.styles)
            example["style_weights"] = np.eye(count, dtype=np.float32)[[index % count]]
        examples.append(example)
    return examples


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Drops what the converter's C++ writes to standard error: its errors come as exceptions."""
    with open(os.devnull, "wb") as nowhere, quiet.into(nowhere):
        yield
