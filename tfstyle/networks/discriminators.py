"""Discriminators: image [B, H, W, 3] in [0, 1] -> scores before any sigmoid, float32."""

from typing import Literal

import keras

from tfstyle.networks import layers as own_layers

_NORMS = {
    "instance": own_layers.InstanceNorm,
    "batch": keras.layers.BatchNormalization,
    "none": None,
}


def patch_discriminator(
    *,
    width: int = 64,
    layers: int = 3,
    norm: Literal["instance", "batch", "none"] = "instance",
    name: str = "patch",
) -> keras.Model:
    """PatchGAN, Isola et al. 2017 (https://arxiv.org/abs/1611.07004), section 3.2.2 and 6.1.2.

    Judges patches, not images: a score sees 9 * 2^layers - 2 pixels in each direction, 70 for 3
    layers. Weights start from N(0, 0.02).

    Args:
        width: channels of the first convolution, doubled in each that follows up to 8 times.
        layers: number of convolutions with stride 2; two with stride 1 follow.
        norm: of every convolution but the first and the last.

    Returns:
        Functional model, [B, H, W, 3] in [0, 1] -> scores [B, H / 2^layers - 2,
        W / 2^layers - 2, 1], rounded down. A side below 3 * 2^layers pixels is mirrored up to that
        length, so that any size from 1x1 gives a score.

    Raises:
        ValueError: for another `norm`, or for fewer than one layer.
    """
    if norm not in _NORMS:
        raise ValueError(f"patch_discriminator norm {norm!r}: give one of {list(_NORMS)}")
    if layers < 1:
        raise ValueError(f"patch_discriminator layers {layers}: give 1 or more")

    def conv(x, filters, strides, **kwargs):
        # A new initializer each time: the same one would draw the same values again.
        initializer = keras.initializers.RandomNormal(stddev=0.02)
        x = keras.layers.ZeroPadding2D(1)(x)
        return keras.layers.Conv2D(filters, 4, strides, kernel_initializer=initializer, **kwargs)(x)

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
