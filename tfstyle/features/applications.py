"""Backbones of keras.applications: VGG19, ResNet50, DenseNet121."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any

import keras

from tfstyle import machine
from tfstyle.features.padding import padded
from tfstyle.features.weights import (
    BGR_MEANS,
    RGB_DEVIATIONS,
    RGB_MEANS,
    SERVER,
    as_float32,
    check_layers,
    fetched,
    headless,
    load_weights,
    names_of,
    pooling_layer,
)


@machine.own_random_state()
def vgg19(
    layers: Sequence[str],
    *,
    dtype: str = "float32",
    pooling: str = "max",
    padding: str = "zero",
    weights: str | os.PathLike | None = None,
) -> keras.Model:
    """VGG19, the network of Gatys et al. (https://arxiv.org/abs/1409.1556, table 1 column E).

    Args:
        layers: Keras names, out of `layer_names("vgg19")`. Nothing past the deepest is computed.
        dtype: dtype policy of the network, such as "float32" or "mixed_bfloat16"; the features come
            out in float32 in any case.
        pooling: "max", as the network was trained, or "average", which Gatys et al. preferred.
        padding: "zero", as the network was trained, or "symmetric", as of `vgg16`.
        weights: None for those of ImageNet, fetched once (80 MB) and kept where Keras keeps them,
            ~/.keras/models, or a file as Keras writes it (.weights.h5, .h5, .keras) of the
            `keras.applications` model of this name, with or without its top.

    Returns:
        Frozen model, image [B, H, W, 3] in [0, 1] -> {layer: float32 [B, h, w, C]}.

    Raises:
        ValueError: for a layer that the network lacks, or another pooling or padding.
        WeightsError: when the weights cannot be fetched or read; names the ways to do without.
    """
    return _extractor(
        _VGG19, layers, dtype=dtype, pooling=pooling, padding=padding, weights=weights
    )


@machine.own_random_state()
def resnet50(
    layers: Sequence[str],
    *,
    dtype: str = "float32",
    pooling: str = "max",
    padding: str = "zero",
    weights: str | os.PathLike | None = None,
) -> keras.Model:
    """ResNet50 (He et al. 2015, https://arxiv.org/abs/1512.03385); fetches 95 MB.

    Arguments, result and errors are those of `vgg19`. `pooling` concerns its one max pooling, after
    the first convolution; later blocks stride in convolutions.
    """
    return _extractor(
        _RESNET50, layers, dtype=dtype, pooling=pooling, padding=padding, weights=weights
    )


@machine.own_random_state()
def densenet121(
    layers: Sequence[str],
    *,
    dtype: str = "float32",
    pooling: str = "max",
    padding: str = "zero",
    weights: str | os.PathLike | None = None,
) -> keras.Model:
    """DenseNet121 (Huang et al. 2016, https://arxiv.org/abs/1608.06993); fetches 29 MB.

    Arguments, result and errors are those of `vgg19`. `pooling` concerns its one max pooling, after
    the first convolution; the later ones take averages in any case.
    """
    return _extractor(
        _DENSENET121, layers, dtype=dtype, pooling=pooling, padding=padding, weights=weights
    )


@dataclasses.dataclass(frozen=True)
class _Application:
    """A network of keras.applications; the weights' place and MD5 are those that Keras knows."""

    name: str
    build: Callable[..., keras.Model]
    folder: str
    md5: str
    # Preprocessing is pixel * scale + offset in RGB; then the channels turn into BGR, if at all.
    scale: float | tuple[float, ...]
    offset: tuple[float, ...]
    bgr: bool

    @property
    def file(self) -> str:
        return f"{self.name}_weights_tf_dim_ordering_tf_kernels_notop.h5"

    @property
    def url(self) -> str:
        return f"{SERVER}/{self.folder}/{self.file}"


_CAFFE: dict[str, Any] = {
    "scale": 255.0,
    "offset": tuple(-mean for mean in reversed(BGR_MEANS)),
    "bgr": True,
}
_VGG19 = _Application(
    "vgg19",
    keras.applications.VGG19,
    "vgg19",
    "253f8cb515780f3b799900260a226db6",
    **_CAFFE,
)
_RESNET50 = _Application(
    "resnet50",
    keras.applications.ResNet50,
    "resnet",
    "4d473c1dd8becc155b73f8504c6f6626",
    **_CAFFE,
)
_DENSENET121 = _Application(
    "densenet121",
    keras.applications.DenseNet121,
    "densenet",
    "30ee3e1110167f948a6b9946edeeb738",
    scale=tuple(1 / deviation for deviation in RGB_DEVIATIONS),
    offset=tuple(
        -mean / deviation for mean, deviation in zip(RGB_MEANS, RGB_DEVIATIONS, strict=True)
    ),
    bgr=False,
)


def _extractor(
    application: _Application,
    layers: Sequence[str],
    *,
    dtype: str,
    pooling: str,
    padding: str,
    weights: str | os.PathLike | None,
) -> keras.Model:
    pool = pooling_layer(pooling)
    whole = headless(application.build)
    check_layers(application.name, layers, names_of(whole))
    if weights is None:
        weights = fetched(
            application.name, file=application.file, url=application.url, md5=application.md5
        )
    whole = load_weights(application.build, whole, weights)
    cut = keras.Model(whole.input, {layer: whole.get_layer(layer).output for layer in layers})
    images = keras.Input((None, None, 3), name="images")
    preprocess = keras.layers.Rescaling(application.scale, application.offset, dtype="float32")
    first = cut.layers[1].name

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = {**layer.get_config(), "dtype": dtype}
        kind = pool if isinstance(layer, keras.layers.MaxPooling2D) else type(layer)
        kind = padded(kind, padding)
        return kind.from_config(config)

    def call(layer: keras.layers.Layer, x: keras.KerasTensor, **kwargs: Any) -> keras.KerasTensor:
        return layer(preprocess(x) if layer.name == first else x, **kwargs)

    copy = keras.models.clone_model(
        cut, input_tensors=images, clone_function=clone, call_function=call
    )
    model = keras.Model(
        images,
        {layer: as_float32(layer, features) for layer, features in copy.output.items()},
        name=application.name,
    )
    for layer in cut.layers:
        if layer.weights:
            model.get_layer(layer.name).set_weights(layer.get_weights())
    if application.bgr:
        stem = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
        kernel, *bias = stem.get_weights()
        stem.set_weights([kernel[:, :, ::-1], *bias])
    model.trainable = False
    return model
