"""Generators: image [B, H, W, 3] in [0, 1] -> image of the same size in [0, 1], float32."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import keras

from tfstyle.errors import ArgumentError
from tfstyle.networks import layers
from tfstyle.networks.recorded import recorded


def _padded_conv(
    x: keras.KerasTensor, filters: int, kernel_size: int, strides: int = 1, **kwargs: Any
) -> keras.KerasTensor:
    x = layers.ReflectPad(kernel_size // 2)(x)
    return keras.layers.Conv2D(filters, kernel_size, strides, use_bias=False, **kwargs)(x)


@recorded
def fast_generator(
    *, width: int = 16, depth: int = 4, noise: bool = False, name: str = "fast"
) -> keras.Model:
    """Feed-forward style network, after Johnson et al. 2016 (https://arxiv.org/abs/1603.08155).

    Departs from the paper where that is faster or better at the same cost: the stem already halves
    the image, so that nothing runs at full size; the residual blocks are at an eighth of the size,
    where they see farther (large strokes) for less; what was seen at a quarter and at half size is
    added back on the way up, which keeps the photo's edges; upsampling is by `ResizeConv`,
    normalisation by instance.

    Args:
        width: channels at half size; twice as many at a quarter, four times at an eighth.
        depth: number of residual blocks.
        noise: whether `layers.Noise` is added at an eighth and at a quarter of the size, so that
            calm areas need not repeat themselves.

    Returns:
        Functional model, [B, H, W, 3] in [0, 1] -> [B, H, W, 3] in [0, 1], any size from 1x1.
    """
    images = keras.Input((None, None, 3), name="images")
    stylized = _fast(
        images,
        width,
        depth,
        lambda x: layers.InstanceNorm()(x),
        lambda x, stride: layers.Noise(stride)(x) if noise else x,
    )
    return keras.Model(images, stylized, name=name)


@recorded
def fusion_generator(
    *, styles: int, width: int = 16, depth: int = 4, noise: bool = False, name: str = "fusion"
) -> keras.Model:
    """`fast_generator` for several styles and all blends of them.

    After Dumoulin et al. 2017 (https://arxiv.org/abs/1610.07629): all styles share the convolutions
    and differ in the gamma and beta of each normalisation, 2 C numbers a style for C channels. Its
    second input says how much of each style; the parameters are blended, not the pictures.

    Args:
        styles: number of styles, at least 1.
        width, depth, noise: see `fast_generator`; each style has strengths of noise of its own.

    Returns:
        Functional model, [images, style_weights] -> [B, H, W, 3] in [0, 1]: images [B, H, W, 3] in
        [0, 1], any size from 1x1; style_weights [B or 1, styles], each image's sum to 1.

    Raises:
        ValueError: for fewer than one style.
    """
    if styles < 1:
        raise ArgumentError(f"fusion_generator styles {styles}: give 1 or more")
    images = keras.Input((None, None, 3), name="images")
    weights = keras.Input((styles,), name="style_weights")
    stylized = _fast(
        images,
        width,
        depth,
        lambda x: layers.ConditionalInstanceNorm()([x, weights]),
        lambda x, stride: layers.Noise(stride)([x, weights]) if noise else x,
    )
    return keras.Model([images, weights], stylized, name=name)


def _fast(
    images: keras.KerasTensor,
    width: int,
    depth: int,
    normed: Callable[[keras.KerasTensor], keras.KerasTensor],
    noised: Callable[[keras.KerasTensor, int], keras.KerasTensor],
) -> keras.KerasTensor:
    """What `fast_generator` and `fusion_generator` have in common.

    Args:
        normed: normalises features.
        noised: adds noise to features of so many pixels to a position.
    """
    x = layers.PadToMultiple(8, minimum=16)(images)
    half = keras.layers.ReLU()(normed(_padded_conv(x, width, 5, 2, name="stem")))
    quarter = _padded_conv(half, 2 * width, 3, 2, name="down1")
    quarter = keras.layers.ReLU()(normed(quarter))
    x = _padded_conv(quarter, 4 * width, 3, 2, name="down2")
    x = keras.layers.ReLU()(noised(normed(x), 8))
    for i in range(depth):
        y = _padded_conv(x, 4 * width, 3, name=f"block{i}_conv1")
        y = keras.layers.ReLU()(noised(normed(y), 8))
        y = _padded_conv(y, 4 * width, 3, name=f"block{i}_conv2")
        x = keras.layers.Add()([x, normed(y)])
    x = layers.ResizeConv(2 * width, 3, use_bias=False, smooth=True, name="up1")(x)
    x = noised(normed(x), 4)
    x = keras.layers.ReLU()(keras.layers.Add()([x, quarter]))
    x = normed(layers.ResizeConv(width, 3, use_bias=False, smooth=True, name="up2")(x))
    x = keras.layers.ReLU()(keras.layers.Add()([x, half]))
    x = layers.ResizeConv(3, 5, smooth=True, name="head")(x)
    x = keras.layers.Activation("sigmoid", dtype="float32")(x)
    return layers.CropLike(dtype="float32")([x, images])


_NORMS = {"instance": layers.InstanceNorm, "batch": keras.layers.BatchNormalization}
_PADS = {"reflect": layers.ReflectPad, "zero": keras.layers.ZeroPadding2D}


@recorded
def unet_generator(
    *,
    width: int = 32,
    residual_blocks: int = 6,
    norm: Literal["instance", "batch"] = "instance",
    dropout: float = 0.0,
    padding: Literal["reflect", "zero"] = "reflect",
    noise_dim: int = 0,
    name: str = "unet",
) -> keras.Model:
    """U-Net with residual blocks in its bottleneck.

    Skip connections after Isola et al. 2017 (https://arxiv.org/abs/1611.07004), stem, residual
    blocks and dropout inside them after Zhu et al. 2017 (https://arxiv.org/abs/1703.10593): a 7x7
    convolution at full size, three halvings to an eighth, and back up, where the encoder's output
    of each size is concatenated. Upsampling is by `ResizeConv` in place of transposed convolution.
    The last convolution sees the photo too: instance norm takes its colours and contrast off all
    features, and a generator that is to keep them plants one dark spot in the picture to carry
    them past it (Karras et al. 2020, https://arxiv.org/abs/1912.04958, section 3.1).

    Args:
        width: channels at full size; twice, four and eight times as many at a half, a quarter and
            an eighth.
        residual_blocks: in the bottleneck, at an eighth.
        norm: of every convolution but the last, by "instance" or by "batch".
        dropout: share of activations set to 0 in training, within residual blocks and in the
            decoder below full size. Its seed is drawn as those of the initial weights are.
        padding: of convolutions; "zero" stands for mid-grey at the input. Upsampling repeats the
            border in both cases.
        noise_dim: numbers of noise an image; projected to a 4x4 map of 2 * width channels, which is
            joined to the bottleneck, stretched to its size. 0 for none.

    Returns:
        Functional model, [B, H, W, 3] in [0, 1] -> [B, H, W, 3] in [0, 1], any size from 1x1. With
        noise its inputs are [images, noise [B, noise_dim], of N(0, 1)]; see `at_zero_noise`.

    Raises:
        ValueError: for another `norm` or `padding`, naming those there are, or a negative
            `noise_dim`.
    """
    if noise_dim < 0:
        raise ArgumentError(f"unet_generator noise_dim {noise_dim}: give 0 or more")
    for key, value, known in (("norm", norm, _NORMS), ("padding", padding, _PADS)):
        if value not in known:
            raise ArgumentError(f"unet_generator {key} {value!r}: give one of {list(known)}")

    def normed(x: keras.KerasTensor) -> keras.KerasTensor:
        return _NORMS[norm]()(x)

    def dropped(x: keras.KerasTensor) -> keras.KerasTensor:
        return layers.Dropout(dropout)(x) if dropout else x

    def conv(
        x: keras.KerasTensor, filters: int, kernel_size: int, strides: int = 1, **kwargs: Any
    ) -> keras.KerasTensor:
        x = _PADS[padding](kernel_size // 2)(x)
        return keras.layers.Conv2D(filters, kernel_size, strides, **kwargs)(x)

    images = keras.Input((None, None, 3), name="images")
    noise = keras.Input((noise_dim,), name="noise") if noise_dim else None
    x = layers.PadToMultiple(8, minimum=16)(images)
    photo = keras.layers.Rescaling(2.0, -1.0)(x)
    x = keras.layers.ReLU()(normed(conv(photo, width, 7, use_bias=False, name="stem")))
    skips = []
    for factor in (2, 4, 8):
        skips.append(x)
        x = conv(x, factor * width, 3, 2, use_bias=False, name=f"down{factor}")
        x = keras.layers.ReLU()(normed(x))
    if noise_dim:
        # A coarse map and not one vector for all positions: that is what instance norm takes off.
        projection = keras.layers.Dense(
            4 * 4 * 2 * width,
            use_bias=False,
            kernel_initializer=keras.initializers.RandomNormal(stddev=noise_dim**-0.5),
            name="projection",
        )
        z = keras.layers.Reshape((4, 4, 2 * width))(projection(noise))
        x = keras.layers.Concatenate()([x, layers.ResizeLike()([z, x])])
        x = keras.layers.ReLU()(normed(conv(x, 8 * width, 3, use_bias=False, name="join")))
    for i in range(residual_blocks):
        y = conv(x, 8 * width, 3, use_bias=False, name=f"block{i}_conv1")
        y = dropped(keras.layers.ReLU()(normed(y)))
        y = conv(y, 8 * width, 3, use_bias=False, name=f"block{i}_conv2")
        x = keras.layers.Add()([x, normed(y)])
    for factor in (4, 2, 1):
        x = layers.ResizeConv(factor * width, 3, use_bias=False, smooth=True, name=f"up{factor}")(x)
        x = keras.layers.ReLU()(normed(x))
        if factor > 1:
            x = dropped(x)
        x = keras.layers.Concatenate()([x, skips.pop()])
    x = conv(keras.layers.Concatenate()([x, photo]), 3, 7, name="head")
    x = keras.layers.Activation("tanh", dtype="float32")(x)
    x = keras.layers.Rescaling(0.5, 0.5, dtype="float32")(x)
    x = layers.CropLike(dtype="float32")([x, images])
    return keras.Model([images, noise] if noise_dim else images, x, name=name)


@dataclasses.dataclass(frozen=True)
class GanGenerator:
    """The generator; see `unet_generator` and `fast_generator`.

    Args:
        generator: "unet", or "fast" for `fast_generator` with noise at every place: a tenth of the
            work. It takes width and residual_blocks alone.
        width: channels of the generator at full size.
        residual_blocks: of the generator, at an eighth of the size.
        norm: normalisation in the generator.
        dropout: share of values dropped in the generator's bottleneck and decoder.
        padding: of the generator's convolutions.
        noise_dim: numbers of noise that the generator takes beside the photo; 0 for none. The
            exported model has them at 0.
    """

    generator: Literal["unet", "fast"] = "unet"
    width: int = 24
    residual_blocks: int = 6
    norm: Literal["instance", "batch"] = "instance"
    dropout: float = 0.0
    padding: Literal["reflect", "zero"] = "reflect"
    noise_dim: int = 8

    @property
    def takes_noise(self) -> bool:
        """Whether the network has a second input."""
        return self.generator == "unet" and self.noise_dim > 0

    def build(self) -> keras.Model:
        """A new network."""
        if self.generator == "fast":
            return fast_generator(width=self.width, depth=self.residual_blocks, noise=True)
        settings = dataclasses.asdict(self)
        del settings["generator"]
        return unet_generator(**settings)


@recorded
def at_zero_noise(generator: keras.Model) -> keras.Model:
    """`generator` as a function of the image alone, its noise held at 0, its likeliest value.

    Args:
        generator: [images, noise [B, N]] -> [B, H, W, 3], as of `unet_generator`.

    Returns:
        Functional model, [B, H, W, 3] -> [B, H, W, 3], with the very weights of `generator`.
    """
    images = keras.Input((None, None, 3), name="images")
    zeros = layers.Zeros(generator.inputs[1].shape[-1])(images)
    return keras.Model(images, generator([images, zeros]), name=generator.name)
