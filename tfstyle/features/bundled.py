"""Perceptual features: an ImageNet network cut at the layers asked for.

An extractor is a frozen Keras model: image [B, H, W, 3], float32 RGB in [0, 1] -> {layer: features
[B, h, w, C], float32}. What a network wants as input (channel order, means, scales) is known here
and nowhere else. Another backbone is one more function that returns such a model, and its line in
`BACKBONES`. The weights of VGG16 are bundled, whole and light; those of the others are fetched
once, or given. AlexNet stands apart: it is bundled for `metrics.lpips`, not as a backbone to take
styles from.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfstyle import machine
from tfstyle.errors import ArgumentError
from tfstyle.features.padding import padded
from tfstyle.features.weights import (
    BGR_MEANS,
    as_float32,
    check_layers,
    headless,
    load_weights,
    pooling_layer,
    read_bundled,
)

# Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition"
# (https://arxiv.org/abs/1409.1556), table 1 column D, to the last layer the project needs.
VGG16_LAYERS = (
    "block1_conv1",
    "block1_conv2",
    "block2_conv1",
    "block2_conv2",
    "block3_conv1",
    "block3_conv2",
    "block3_conv3",
    "block4_conv1",
    "block4_conv2",
    "block4_conv3",
    "block5_conv1",
)

# Krizhevsky, "One weird trick for parallelizing convolutional neural networks"
# (https://arxiv.org/abs/1404.5997), as torchvision has it: kernel, stride, padding, pooled before.
_ALEXNET = {
    "conv1": (11, 4, 2, False),
    "conv2": (5, 1, 2, True),
    "conv3": (3, 1, 1, True),
    "conv4": (3, 1, 1, False),
    "conv5": (3, 1, 1, False),
}
ALEXNET_LAYERS = tuple(_ALEXNET)
# LPIPS has torchvision's means and deviations in its own units, of values in [-1, 1], and rounded.
_LPIPS_MEANS, _LPIPS_DEVIATIONS = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


@machine.own_random_state()
def vgg16(
    layers: Sequence[str],
    *,
    dtype: str = "float32",
    pooling: str = "max",
    padding: str = "zero",
    weights: str | os.PathLike | None = None,
) -> keras.Model:
    """VGG16 as a feature extractor; its ImageNet weights are bundled, so it needs no network.

    The first convolution carries the preprocessing: it takes RGB in [0, 1] and yields what VGG16
    yields for BGR in 0..255 less the ImageNet means.

    Args:
        layers: Keras names, out of `VGG16_LAYERS`. Nothing past the deepest one is computed.
        dtype: dtype policy of the convolutions, such as "float32" or "mixed_bfloat16"; the features
            come out in float32 in any case.
        pooling: "max", as the network was trained, or "average", which Gatys et al. preferred.
        padding: "zero", as the network was trained, or "symmetric", the mirror image: an image that
            is optimised gets no marks along its border.
        weights: None for the bundled ones, or a file as Keras writes it (.weights.h5, .h5, .keras)
            of `keras.applications.VGG16`, with or without its top.

    Returns:
        Frozen model, image [B, H, W, 3] in [0, 1] -> {layer: features after ReLU, float32
        [B, H / 2^(block - 1), W / 2^(block - 1), C]}. H and W must be at least 2^(block - 1).

    Raises:
        ValueError: for a layer that the network lacks, naming those it has; for another pooling or
            padding.
        WeightsError: for a file that cannot be read or holds another network.
    """
    pool = pooling_layer(pooling)
    check_layers("vgg16", layers, VGG16_LAYERS)
    deepest = max(VGG16_LAYERS.index(layer) for layer in layers)
    used = VGG16_LAYERS[: deepest + 1]
    if weights is None:
        parameters = read_bundled("vgg16_imagenet.npz", used)
    else:
        loaded = load_weights(keras.applications.VGG16, headless(keras.applications.VGG16), weights)
        parameters = {layer: loaded.get_layer(layer).get_weights() for layer in used}

    return _vgg16("vgg16", parameters, layers, pool=pool, padding=padding, dtype=dtype)


@machine.own_random_state()
def vgg16_light(
    layers: Sequence[str],
    *,
    dtype: str = "float32",
    pooling: str = "max",
    padding: str = "zero",
    weights: str | os.PathLike | None = None,
) -> keras.Model:
    """VGG16 in a fifth of its products: nearly its features, for drafts and for `learn`.

    Every convolution but the first is one of few channels between two of 1x1: its input is brought
    to its principal components, its responses to those of the true network by reduced rank
    regression, layer after layer, so that each mends what those before it lost (after Zhang et al.
    2015, https://arxiv.org/abs/1505.06798, sections 3.2 and 3.4; nothing is trained). How far the
    features are from VGG16's, and what that is worth, docs/gatys.md says;
    benchmarks/light_features.py makes the weights.

    Args:
        layers: as of `vgg16`, to which the features answer by name, size and meaning.
        dtype: as of `vgg16`.
        pooling: "max", with which it was fitted, or "average".
        padding: as of `vgg16`.
        weights: None; there are no others than those bundled.

    Returns:
        Frozen model, as `vgg16`.

    Raises:
        ValueError: for a layer that the network lacks, another pooling or padding, or a file of
            weights.
    """
    pool = pooling_layer(pooling)
    check_layers("vgg16_light", layers, VGG16_LAYERS)
    if weights is not None:
        raise ArgumentError(f"backbone vgg16_light, weights {weights}: it has its own alone")
    deepest = max(VGG16_LAYERS.index(layer) for layer in layers)
    parameters = read_bundled("vgg16_light.npz", VGG16_LAYERS[: deepest + 1])
    return _vgg16("vgg16_light", parameters, layers, pool=pool, padding=padding, dtype=dtype)


def _vgg16(
    name: str,
    parameters: Mapping[str, Sequence[np.ndarray]],
    layers: Sequence[str],
    *,
    pool: type[keras.layers.Layer],
    padding: str,
    dtype: str,
) -> keras.Model:
    """Of {layer: [kernel, bias]}, or [1x1 kernel, kernel, 1x1 kernel, bias] in place of a kernel.

    Kernels are [h, w, C, filters]; that of the first layer takes BGR.
    """
    images = keras.Input((None, None, 3), name="images")
    # Zero padding must stand for the mean colour, so the means are taken off before the first
    # convolution and cannot be folded into its bias.
    x = keras.layers.Rescaling(255.0, [-mean for mean in reversed(BGR_MEANS)], dtype="float32")(
        images
    )
    conv = padded(keras.layers.Conv2D, padding)

    def convolved(x: keras.KerasTensor, kernel: np.ndarray, **options: Any) -> keras.KerasTensor:
        return conv(kernel.shape[-1], kernel.shape[0], padding="same", **options)(x)

    features = {}
    kept = []
    block = "block1"
    for layer, (*kernels, bias) in parameters.items():
        if not layer.startswith(block):
            block = layer.split("_")[0]
            x = pool(2, name=f"{block}_pool", dtype=dtype)(x)
        if layer == VGG16_LAYERS[0]:
            kernels = [kernels[0][:, :, ::-1]]
        for step, kernel in enumerate(kernels[:-1]):
            x = convolved(x, kernel, use_bias=False, name=f"{layer}_{step}", dtype=dtype)
            kept.append((f"{layer}_{step}", [kernel]))
        x = convolved(x, kernels[-1], activation="relu", name=layer, dtype=dtype)
        kept.append((layer, [kernels[-1], bias]))
        if layer in layers:
            features[layer] = as_float32(layer, x)
    model = keras.Model(images, features, name=name)
    for layer, weights in kept:
        model.get_layer(layer).set_weights(weights)
    model.trainable = False
    return model


@machine.own_random_state()
def alexnet(layers: Sequence[str] = ALEXNET_LAYERS, *, dtype: str = "float32") -> keras.Model:
    """AlexNet as LPIPS sees it (Zhang et al. 2018, https://arxiv.org/abs/1801.03924); bundled.

    Args:
        layers: out of `ALEXNET_LAYERS`. Nothing past the deepest one is computed.
        dtype: dtype policy of the network, such as "float32" or "mixed_bfloat16"; the features come
            out in float32 in any case.

    Returns:
        Frozen model, image [B, H, W, 3] in [0, 1] -> {layer: features after ReLU, float32
        [B, h, w, C]}, C = 64, 192, 384, 256, 256. The first layer is at a fourth of the image's
        size, the second at an eighth, the others at a sixteenth. H and W must be at least 31.

    Raises:
        ValueError: for a layer that the network lacks, naming those it has.
    """
    check_layers("alexnet", layers, ALEXNET_LAYERS)
    used = ALEXNET_LAYERS[: max(map(ALEXNET_LAYERS.index, layers)) + 1]
    parameters = read_bundled("alexnet_lpips.npz", used)
    images = keras.Input((None, None, 3), name="images")
    # Zero padding must stand for the mean colour, as in `vgg16`.
    x = keras.layers.Rescaling(
        [2 / deviation for deviation in _LPIPS_DEVIATIONS],
        [
            (-1 - mean) / deviation
            for mean, deviation in zip(_LPIPS_MEANS, _LPIPS_DEVIATIONS, strict=True)
        ],
        dtype="float32",
    )(images)
    features = {}
    for layer in used:
        size, stride, padding, pooled = _ALEXNET[layer]
        if pooled:
            x = keras.layers.MaxPooling2D(3, 2, name=f"{layer}_pool", dtype=dtype)(x)
        # "same" would pad a strided convolution by what the image's size leaves over.
        x = keras.layers.ZeroPadding2D(padding, name=f"{layer}_pad", dtype=dtype)(x)
        x = keras.layers.Conv2D(
            parameters[layer][0].shape[-1], size, stride, activation="relu", name=layer, dtype=dtype
        )(x)
        if layer in layers:
            features[layer] = as_float32(layer, x)
    model = keras.Model(images, features, name="alexnet")
    for layer, (kernel, bias) in parameters.items():
        model.get_layer(layer).set_weights([kernel, bias])
    model.trainable = False
    return model
