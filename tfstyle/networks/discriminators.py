"""Discriminators: image [B, H, W, 3] in [0, 1] -> scores before any sigmoid, float32."""

from collections.abc import Mapping
from typing import Any, Literal

import keras

from tfstyle.errors import ArgumentError
from tfstyle.networks import layers as own_layers

_NORMS = {
    "instance": own_layers.InstanceNorm,
    "batch": keras.layers.BatchNormalization,
    "spectral": None,
    "none": None,
}


def patch_discriminator(
    *,
    width: int = 64,
    layers: int = 3,
    norm: Literal["instance", "batch", "spectral", "none"] = "instance",
    name: str = "patch",
) -> keras.Model:
    """PatchGAN, Isola et al. 2017 (https://arxiv.org/abs/1611.07004), section 3.2.2 and 6.1.2.

    Judges patches, not images: a score sees 9 * 2^layers - 2 pixels in each direction, 70 for 3
    layers. Weights start from N(0, 0.02).

    Args:
        width: channels of the first convolution, doubled in each that follows up to 8 times.
        layers: number of convolutions with stride 2; two with stride 1 follow.
        norm: of every convolution but the first and the last; "spectral" of the kernels, in all
            convolutions (Miyato et al. 2018, https://arxiv.org/abs/1802.05957).

    Returns:
        Functional model, [B, H, W, 3] in [0, 1] -> scores [B, H / 2^layers - 2,
        W / 2^layers - 2, 1], rounded down. A side below 3 * 2^layers pixels is mirrored up to that
        length, so that any size from 1x1 gives a score.

    Raises:
        ValueError: for another `norm`, or for fewer than one layer.
    """
    if norm not in _NORMS:
        raise ArgumentError(f"patch_discriminator norm {norm!r}: give one of {list(_NORMS)}")
    if layers < 1:
        raise ArgumentError(f"patch_discriminator layers {layers}: give 1 or more")

    convolution = own_layers.SpectralConv2D if norm == "spectral" else keras.layers.Conv2D

    def conv(x: keras.KerasTensor, filters: int, strides: int, **kwargs: Any) -> keras.KerasTensor:
        # A new initializer each time: the same one would draw the same values again.
        initializer = keras.initializers.RandomNormal(stddev=0.02)
        x = keras.layers.ZeroPadding2D(1)(x)
        return convolution(filters, 4, strides, kernel_initializer=initializer, **kwargs)(x)

    images = keras.Input((None, None, 3), name="images")
    x = own_layers.PadToMultiple(1, minimum=3 * 2**layers)(images)
    x = keras.layers.Rescaling(2.0, -1.0)(x)
    for i in range(layers + 1):
        normalize = _NORMS[norm] if i else None
        x = conv(
            x,
            width * min(2**i, 8),
            2 if i < layers else 1,
            use_bias=normalize is None,
            name=f"conv{i}",
        )
        if normalize:
            x = normalize()(x)
        x = keras.layers.LeakyReLU(negative_slope=0.2)(x)
    x = conv(x, 1, 1, name="scores")
    return keras.Model(images, keras.layers.Activation("linear", dtype="float32")(x), name=name)


def class_discriminator(
    *,
    classes: int,
    width: int = 64,
    layers: int = 3,
    norm: Literal["instance", "batch", "spectral", "none"] = "instance",
    name: str = "class",
) -> keras.Model:
    """`patch_discriminator` that gives a class in place of real or not.

    Each patch gets a score for each class; an image's are the mean over its patches.

    Args:
        classes: number of classes, at least 2; of N styles and "generated" N + 1 (Odena 2016,
            https://arxiv.org/abs/1606.01583, section 2).
        width, layers, norm: see `patch_discriminator`.

    Returns:
        Functional model, [B, H, W, 3] in [0, 1] -> logits [B, classes], any size from 1x1.

    Raises:
        ValueError: as `patch_discriminator`, and for fewer than 2 classes.
    """
    if classes < 2:
        raise ArgumentError(f"class_discriminator classes {classes}: give 2 or more")
    patches = patch_discriminator(width=width, layers=layers, norm=norm)
    scores = patches.get_layer("scores")
    initializer = keras.initializers.RandomNormal(stddev=0.02)
    x = type(scores)(classes, 4, kernel_initializer=initializer, name="scores")(scores.input)
    x = keras.layers.GlobalAveragePooling2D(dtype="float32")(x)
    return keras.Model(patches.inputs[0], x, name=name)


# By how many pixels a position of a VGG layer is apart from the next.
_STRIDES = {"block1": 1, "block2": 2, "block3": 4, "block4": 8}
HEADS = "heads"


def projected_discriminator(
    extractor: keras.Model,
    scales: Mapping[str, float],
    *,
    width: int = 64,
    name: str = "projected",
) -> keras.Model:
    """Small heads on the features of a frozen network: Sauer et al. 2021, "Projected GANs Converge
    Faster" (https://arxiv.org/abs/2111.01007), section 3.

    Each layer has a head of spectral convolutions, which brings it to an eighth of the size and
    judges it there. What the frozen network knows need not be learnt, so that hundreds of pictures
    are enough. The paper's random mixing of channels and layers is left out.

    Args:
        extractor: frozen, image -> {layer: features}, such as `features.vgg16`.
        scales: {layer: typical size of its features}, of blocks 1 to 4; these layers are judged.
        width: channels of the heads.

    Returns:
        Functional model, [B, H, W, 3] in [0, 1] -> scores [B, H / 8, W / 8, layers], rounded down.
        Its layer `HEADS` gives them from {layer: features}, which need not be computed twice.

    Raises:
        ValueError: for no layers, or of others than blocks 1 to 4.
    """
    if not scales or any(layer.split("_")[0] not in _STRIDES for layer in scales):
        raise ArgumentError(
            f"projected_discriminator scales of {list(scales)}: give layers of block1 to block4"
        )
    images = keras.Input((None, None, 3), name="images")
    extracted = extractor(images)
    features = {layer: extracted[layer] for layer in scales}
    inputs = {
        layer: keras.Input(each.shape[1:], name=layer, dtype=each.dtype)
        for layer, each in features.items()
    }

    def conv(
        x: keras.KerasTensor, size: int, strides: int = 1, filters: int = width
    ) -> keras.KerasTensor:
        if size > 1:
            x = keras.layers.ZeroPadding2D(1)(x)
        return own_layers.SpectralConv2D(
            filters, size, strides, kernel_initializer=keras.initializers.Orthogonal()
        )(x)

    scores = []
    for layer, x in inputs.items():
        x = keras.layers.LeakyReLU(negative_slope=0.2)(
            conv(keras.layers.Rescaling(1 / scales[layer])(x), 1)
        )
        stride = _STRIDES[layer.split("_")[0]]
        while stride < 8:
            x = keras.layers.LeakyReLU(negative_slope=0.2)(conv(x, 4, 2))
            stride *= 2
        x = keras.layers.LeakyReLU(negative_slope=0.2)(conv(x, 3))
        scores.append(conv(x, 1, filters=1))
    joined = keras.layers.Concatenate()(scores) if len(scores) > 1 else scores[0]
    joined = keras.layers.Activation("linear", dtype="float32")(joined)
    heads = keras.Model(inputs, joined, name=HEADS)
    return keras.Model(images, heads(features), name=name)
