"""Perceptual features: an ImageNet network cut at the layers asked for.

An extractor is a frozen Keras model: image [B, H, W, 3], float32 RGB in [0, 1] -> {layer: features
[B, h, w, C], float32}. What a network wants as input (channel order, means, scales) is known here
and nowhere else. Another backbone is one more function that returns such a model.
"""

from collections.abc import Sequence
from importlib import resources

import keras
import numpy as np

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

_BGR_MEANS = (103.939, 116.779, 123.68)


def vgg16(layers: Sequence[str], *, dtype="float32") -> keras.Model:
    """The bundled ImageNet VGG16 as a feature extractor; needs no network.

    The first convolution carries the preprocessing: it takes RGB in [0, 1] and yields what VGG16
    yields for BGR in 0..255 less the ImageNet means.

    Args:
        layers: Keras names, out of `VGG16_LAYERS`. Nothing past the deepest one is computed.
        dtype: dtype policy of the convolutions, such as "float32" or "mixed_bfloat16"; the features
            come out in float32 in any case.

    Returns:
        Frozen model, image [B, H, W, 3] in [0, 1] -> {layer: features after ReLU, float32
        [B, H / 2^(block - 1), W / 2^(block - 1), C]}. H and W must be at least 2^(block - 1).

    Raises:
        ValueError: for a layer that the bundled network lacks, naming those it has.
    """
    unknown = [layer for layer in layers if layer not in VGG16_LAYERS]
    if unknown or not layers:
        raise ValueError(
            f"VGG16 layers {list(layers)}: "
            + (f"{', '.join(unknown)} unknown. " if unknown else "at least one is needed. ")
            + f"Choose from {', '.join(VGG16_LAYERS)}."
        )
    with resources.files("tfstyle").joinpath("assets/vgg16_imagenet.npz").open("rb") as file:
        stored = np.load(file)
        deepest = max(VGG16_LAYERS.index(layer) for layer in layers)
        weights = {
            layer: (stored[f"{layer}/kernel"].astype("float32"), stored[f"{layer}/bias"])
            for layer in VGG16_LAYERS[: deepest + 1]
        }

    images = keras.Input((None, None, 3), name="images")
    # Zero padding must stand for the mean colour, so the means are taken off before the first
    # convolution and cannot be folded into its bias.
    x = keras.layers.Rescaling(255.0, [-mean for mean in reversed(_BGR_MEANS)], dtype="float32")(
        images
    )
    features = {}
    block = "block1"
    for layer, (kernel, _) in weights.items():
        if not layer.startswith(block):
            block = layer.split("_")[0]
            x = keras.layers.MaxPooling2D(name=f"{block}_pool", dtype=dtype)(x)
        x = keras.layers.Conv2D(
            kernel.shape[-1], 3, padding="same", activation="relu", name=layer, dtype=dtype
        )(x)
        if layer in layers:
            features[layer] = keras.layers.Activation(
                "linear", dtype="float32", name=f"{layer}_features"
            )(x)
    model = keras.Model(images, features, name="vgg16")
    for layer, (kernel, bias) in weights.items():
        if layer == VGG16_LAYERS[0]:
            kernel = kernel[:, :, ::-1]
        model.get_layer(layer).set_weights([kernel, bias])
    model.trainable = False
    return model
