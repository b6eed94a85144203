"""Perceptual features: an ImageNet network cut at the layers asked for.

An extractor is a frozen Keras model: image [B, H, W, 3], float32 RGB in [0, 1] -> {layer: features
[B, h, w, C], float32}. What a network wants as input (channel order, means, scales) is known here
and nowhere else. Another backbone is one more function that returns such a model, and its line in
`BACKBONES`. The weights of VGG16 are bundled, whole and light; those of the others are fetched
once, or given. AlexNet stands apart: it is bundled for `metrics.lpips`, not as a backbone to take
styles from.
"""

import dataclasses
import difflib
import functools
import hashlib
import math
import os
import socket
import tempfile
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

import keras
import numpy as np

from tfstyle import losses

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

_BGR_MEANS = (103.939, 116.779, 123.68)
# LPIPS has torchvision's means and deviations in its own units, of values in [-1, 1], and rounded.
_LPIPS_MEANS, _LPIPS_DEVIATIONS = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_RGB_MEANS, _RGB_DEVIATIONS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# Gatys, Ecker and Bethge 2015, "A Neural Algorithm of Artistic Style"
# (https://arxiv.org/abs/1508.06576), methods: with average pooling the gradient flows better and
# the pictures are slightly more appealing. The weights stay as they are, here and there.
_POOLING = {"max": keras.layers.MaxPooling2D, "average": keras.layers.AveragePooling2D}

_SERVER = "https://storage.googleapis.com/tensorflow/keras-applications"
# A server that does not answer within this is taken to be out of reach; one that falls silent for
# as long in the middle of a file is given up.
_PROBE_SECONDS, _STALL_SECONDS = 3.0, 30.0

# Up to so many names, an error lists them all.
_LISTED = 40


class WeightsError(ValueError):
    """Weights that cannot be fetched or read; the message names them and the mend."""


def vgg16(
    layers: Sequence[str],
    *,
    dtype="float32",
    pooling: str = "max",
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
        weights: None for the bundled ones, or a file as Keras writes it (.weights.h5, .h5, .keras)
            of `keras.applications.VGG16`, with or without its top.

    Returns:
        Frozen model, image [B, H, W, 3] in [0, 1] -> {layer: features after ReLU, float32
        [B, H / 2^(block - 1), W / 2^(block - 1), C]}. H and W must be at least 2^(block - 1).

    Raises:
        ValueError: for a layer that the network lacks, naming those it has; for another pooling.
        WeightsError: for a file that cannot be read or holds another network.
    """
    pool = _pooling_layer(pooling)
    _check_layers("vgg16", layers, VGG16_LAYERS)
    deepest = max(VGG16_LAYERS.index(layer) for layer in layers)
    used = VGG16_LAYERS[: deepest + 1]
    if weights is None:
        parameters = _bundled("vgg16_imagenet.npz", used)
    else:
        loaded = _load(keras.applications.VGG16, _headless(keras.applications.VGG16), weights)
        parameters = {layer: loaded.get_layer(layer).get_weights() for layer in used}

    return _vgg16("vgg16", parameters, layers, pool, dtype)


def vgg16_light(
    layers: Sequence[str],
    *,
    dtype="float32",
    pooling: str = "max",
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
        weights: None; there are no others than those bundled.

    Returns:
        Frozen model, as `vgg16`.

    Raises:
        ValueError: for a layer that the network lacks, another pooling, or a file of weights.
    """
    pool = _pooling_layer(pooling)
    _check_layers("vgg16_light", layers, VGG16_LAYERS)
    if weights is not None:
        raise ValueError(f"backbone vgg16_light, weights {weights}: it has its own alone")
    deepest = max(VGG16_LAYERS.index(layer) for layer in layers)
    parameters = _bundled("vgg16_light.npz", VGG16_LAYERS[: deepest + 1])
    return _vgg16("vgg16_light", parameters, layers, pool, dtype)


def _vgg16(name, parameters, layers, pool, dtype) -> keras.Model:
    """Of {layer: [kernel, bias]}, or [1x1 kernel, kernel, 1x1 kernel, bias] in place of a kernel.

    Kernels are [h, w, C, filters]; that of the first layer takes BGR.
    """
    images = keras.Input((None, None, 3), name="images")
    # Zero padding must stand for the mean colour, so the means are taken off before the first
    # convolution and cannot be folded into its bias.
    x = keras.layers.Rescaling(255.0, [-mean for mean in reversed(_BGR_MEANS)], dtype="float32")(
        images
    )
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
            x = _conv(x, kernel, use_bias=False, name=f"{layer}_{step}", dtype=dtype)
            kept.append((f"{layer}_{step}", [kernel]))
        x = _conv(x, kernels[-1], activation="relu", name=layer, dtype=dtype)
        kept.append((layer, [kernels[-1], bias]))
        if layer in layers:
            features[layer] = _as_float32(layer, x)
    model = keras.Model(images, features, name=name)
    for layer, weights in kept:
        model.get_layer(layer).set_weights(weights)
    model.trainable = False
    return model


def _conv(x, kernel, **options):
    return keras.layers.Conv2D(kernel.shape[-1], kernel.shape[0], padding="same", **options)(x)


def vgg19(
    layers: Sequence[str],
    *,
    dtype="float32",
    pooling: str = "max",
    weights: str | os.PathLike | None = None,
) -> keras.Model:
    """VGG19, the network of Gatys et al. (https://arxiv.org/abs/1409.1556, table 1 column E).

    Args:
        layers: Keras names, out of `layer_names("vgg19")`. Nothing past the deepest is computed.
        dtype: dtype policy of the network, such as "float32" or "mixed_bfloat16"; the features come
            out in float32 in any case.
        pooling: "max", as the network was trained, or "average", which Gatys et al. preferred.
        weights: None for those of ImageNet, which Keras fetches once (80 MB) and keeps in
            ~/.keras/models, or a file as Keras writes it (.weights.h5, .h5, .keras) of the
            `keras.applications` model of this name, with or without its top.

    Returns:
        Frozen model, image [B, H, W, 3] in [0, 1] -> {layer: float32 [B, h, w, C]}.

    Raises:
        ValueError: for a layer that the network lacks, or another pooling.
        WeightsError: when the weights cannot be fetched or read; names the ways to do without.
    """
    return _extractor(_VGG19, layers, dtype=dtype, pooling=pooling, weights=weights)


def resnet50(
    layers: Sequence[str],
    *,
    dtype="float32",
    pooling: str = "max",
    weights: str | os.PathLike | None = None,
) -> keras.Model:
    """ResNet50 (He et al. 2015, https://arxiv.org/abs/1512.03385); fetches 95 MB.

    Arguments, result and errors are those of `vgg19`. `pooling` concerns its one max pooling, after
    the first convolution; later blocks stride in convolutions.
    """
    return _extractor(_RESNET50, layers, dtype=dtype, pooling=pooling, weights=weights)


def densenet121(
    layers: Sequence[str],
    *,
    dtype="float32",
    pooling: str = "max",
    weights: str | os.PathLike | None = None,
) -> keras.Model:
    """DenseNet121 (Huang et al. 2016, https://arxiv.org/abs/1608.06993); fetches 29 MB.

    Arguments, result and errors are those of `vgg19`. `pooling` concerns its one max pooling, after
    the first convolution; the later ones take averages in any case.
    """
    return _extractor(_DENSENET121, layers, dtype=dtype, pooling=pooling, weights=weights)


def alexnet(layers: Sequence[str] = ALEXNET_LAYERS, *, dtype="float32") -> keras.Model:
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
    _check_layers("alexnet", layers, ALEXNET_LAYERS)
    used = ALEXNET_LAYERS[: max(map(ALEXNET_LAYERS.index, layers)) + 1]
    parameters = _bundled("alexnet_lpips.npz", used)
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
            features[layer] = _as_float32(layer, x)
    model = keras.Model(images, features, name="alexnet")
    for layer, (kernel, bias) in parameters.items():
        model.get_layer(layer).set_weights([kernel, bias])
    model.trainable = False
    return model


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A network to take features from.

    Attributes:
        build: `vgg16` or another function of the same signature.
        style_layers: whose Gram matrices stand for style, from fine to coarse.
        content_layers: whose features stand for content.
        bfloat16_holds: whether a Gatys picture made through these layers in bfloat16 is known to be
            as good as one in float32. Where it is not, `gatys.optimize` tries it first.
    """

    build: Callable[..., keras.Model]
    style_layers: tuple[str, ...]
    content_layers: tuple[str, ...]
    bfloat16_holds: bool = False


# VGG: Gatys, Ecker and Bethge 2016, "Image Style Transfer Using Convolutional Neural Networks",
# section 3. No paper settles the layers of the others. Theirs are the nearest relatives: after a
# ReLU, one a stride, the first block of each (of DenseNet, what the next block makes of its
# output), and for content the second block at VGG's stride of 8. In pixels, the receptive fields:
# VGG 3, 10, 24, 60, 132 and content 76; ResNet50 7, 19, 51, 131 and 67; DenseNet121 7, 19, 79, 295
# and 95. The last block of each would see 291 pixels in ResNet50 and 1031 in DenseNet121.
# Gram matrices of residual networks are known to be the weaker styles: identity shortcuts leave a
# few peaks of activation that outweigh all else (Wang, Li and Vasconcelos 2021, "Rethinking and
# Improving the Robustness of Image Style Transfer", https://arxiv.org/abs/2104.05623, who smooth
# them by a softmax; not done here). That speaks for first blocks too: their shortcuts are
# convolutions.
BACKBONES = {
    "vgg16": Backbone(
        build=vgg16,
        style_layers=losses.STYLE_LAYERS,
        content_layers=(losses.CONTENT_LAYER,),
        # 40 photos with 23 styles, from the photo and from noise: cosine of the two gradients 0.967
        # to 1, median 0.997; where it was lowest the picture's loss differed by less than 1 %.
        bfloat16_holds=True,
    ),
    "vgg16_light": Backbone(
        build=vgg16_light,
        style_layers=losses.STYLE_LAYERS,
        content_layers=(losses.CONTENT_LAYER,),
    ),
    "vgg19": Backbone(
        build=vgg19,
        style_layers=losses.STYLE_LAYERS,
        content_layers=(losses.CONTENT_LAYER,),
    ),
    "resnet50": Backbone(
        build=resnet50,
        style_layers=("conv1_relu", "conv2_block1_out", "conv3_block1_out", "conv4_block1_out"),
        content_layers=("conv3_block2_out",),
    ),
    "densenet121": Backbone(
        build=densenet121,
        style_layers=(
            "conv1_relu",
            "conv2_block2_0_relu",
            "conv3_block2_0_relu",
            "conv4_block2_0_relu",
        ),
        content_layers=("conv3_block3_0_relu",),
    ),
}


@functools.cache
def layer_names(name: str) -> tuple[str, ...]:
    """The layers that a backbone of `BACKBONES` may be asked for, from the image on.

    Raises:
        ValueError: for a name that `BACKBONES` lacks.
    """
    if name not in BACKBONES:
        raise ValueError(f"backbone {name}: unknown. Choose from {', '.join(BACKBONES)}.")
    if name in ("vgg16", "vgg16_light"):
        return VGG16_LAYERS
    applications = {each.name: each for each in (_VGG19, _RESNET50, _DENSENET121)}
    return _names(_headless(applications[name].build))


def receptive_field(model: keras.Model) -> tuple[int, int]:
    """How far features look beyond their own place: what computing them in tiles must know.

    Take a tile of the image that starts at multiples of `stride` and ends at such or at the image's
    border, and crop the image to it with a margin of `halo`, rounded up to a multiple of `stride`
    and cut at the image's borders. In the crop's features, those at the tile's place (row i of a
    layer of stride s lies at pixel i * s) equal those of the whole image.

    Args:
        model: functional, of one image [B, H, W, C]; convolutions, poolings and paddings with what
            works on each position alone: `vgg16` and the others of this module.

    Returns:
        (halo, stride) in pixels, the largest over both axes and all outputs; stride is a multiple
        of every output's own.

    Raises:
        ValueError: for a layer that is not known to be local, or whose grid depends on the size of
            the image ("same" padding with a stride that divides some sizes only).
    """
    reach = {}
    # Layers come in topological order. What a layer that is called twice makes of its second input
    # is not found.
    try:
        for layer in model.layers:
            if isinstance(layer, keras.layers.InputLayer):
                reach[id(layer.output)] = ((0, 0, 1), (0, 0, 1))
                continue
            # Exactly these classes: what a subclass does is not known.
            if type(layer) not in _LOCAL:
                raise ValueError(
                    f"layer {layer.name}: the receptive field of {type(layer).__name__} is not "
                    "known."
                )
            inputs = [reach[id(tensor)] for tensor in keras.tree.flatten(layer.input)]
            reach[id(layer.output)] = tuple(
                _axis_reach(layer, axis, [each[axis] for each in inputs]) for axis in (0, 1)
            )
        ends = [axis for output in model.outputs for axis in reach[id(output)]]
    except KeyError:
        raise ValueError(
            f"model {model.name}: a layer is called more than once; what its features depend on is "
            "not known."
        ) from None
    # Row i depends on pixels from stride * i + low to stride * i + high.
    halo = max(max(-low, high - stride + 1) for low, high, stride in ends)
    return halo, math.lcm(*(stride for _, _, stride in ends))


_POINTWISE = (
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.BatchNormalization,
    keras.layers.Rescaling,
)
_JOINS = (keras.layers.Add, keras.layers.Concatenate)
_LOCAL = (
    *_POINTWISE,
    *_JOINS,
    *_POOLING.values(),
    keras.layers.Conv2D,
    keras.layers.ZeroPadding2D,
)


def _axis_reach(layer, axis, inputs):
    """(low, high, stride) of a layer's output along one axis, from those of its inputs."""
    low, high = min(each[0] for each in inputs), max(each[1] for each in inputs)
    stride = inputs[0][2]
    if isinstance(layer, _POINTWISE):
        return low, high, stride
    if isinstance(layer, _JOINS):
        if len({each[2] for each in inputs}) > 1 or getattr(layer, "axis", -1) not in (-1, 3):
            raise ValueError(f"layer {layer.name}: joins features of different places.")
        return low, high, stride
    if isinstance(layer, keras.layers.ZeroPadding2D):
        before = layer.padding[axis][0] * stride
        return low - before, high - before, stride
    if isinstance(layer, keras.layers.Conv2D):
        size = (layer.kernel_size[axis] - 1) * layer.dilation_rate[axis] + 1
    else:
        size = layer.pool_size[axis]
    step = layer.strides[axis]
    before = 0
    if layer.padding == "same":
        # TensorFlow pads by size - step where the step divides the size of its input, and by up to
        # size - 1 where it does not, the smaller half before.
        before, most = max(size - step, 0) // 2, (size - 1) // 2
        if before != most:
            raise ValueError(
                f"layer {layer.name}: 'same' padding with stride {step} and size {size} shifts the "
                "grid with the size of the image; its features cannot be computed in tiles."
            )
    return low - before * stride, high + (size - 1 - before) * stride, stride * step


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
        return f"{_SERVER}/{self.folder}/{self.file}"


_CAFFE = {"scale": 255.0, "offset": tuple(-mean for mean in reversed(_BGR_MEANS)), "bgr": True}
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
    scale=tuple(1 / deviation for deviation in _RGB_DEVIATIONS),
    offset=tuple(
        -mean / deviation for mean, deviation in zip(_RGB_MEANS, _RGB_DEVIATIONS, strict=True)
    ),
    bgr=False,
)


def _extractor(application, layers, *, dtype, pooling, weights):
    pool = _pooling_layer(pooling)
    whole = _headless(application.build)
    _check_layers(application.name, layers, _names(whole))
    whole = _load(application.build, whole, _fetched(application) if weights is None else weights)
    cut = keras.Model(whole.input, {layer: whole.get_layer(layer).output for layer in layers})
    images = keras.Input((None, None, 3), name="images")
    preprocess = keras.layers.Rescaling(application.scale, application.offset, dtype="float32")
    first = cut.layers[1].name

    def clone(layer):
        config = {**layer.get_config(), "dtype": dtype}
        kind = pool if isinstance(layer, keras.layers.MaxPooling2D) else type(layer)
        return kind.from_config(config)

    def call(layer, x, **kwargs):
        return layer(preprocess(x) if layer.name == first else x, **kwargs)

    copy = keras.models.clone_model(
        cut, input_tensors=images, clone_function=clone, call_function=call
    )
    model = keras.Model(
        images,
        {layer: _as_float32(layer, features) for layer, features in copy.output.items()},
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


def _bundled(name, layers):
    """{layer: [kernel, bias]} of a file of the package; see `_vgg16` for a light one's."""
    with resources.files("tfstyle").joinpath("assets", name).open("rb") as file:
        stored = np.load(file)
        return {
            layer: [
                stored[f"{layer}/{part}"].astype("float32")
                for part in ("reduce", "kernel", "expand", "bias")
                if f"{layer}/{part}" in stored
            ]
            for layer in layers
        }


def _headless(build):
    """The network without its classifier, random weights, float32 whatever the global policy is."""
    return _in_float32(lambda: build(include_top=False, weights=None, input_shape=(None, None, 3)))


def _in_float32(build):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        return build()
    finally:
        keras.config.set_dtype_policy(policy)


def _names(model):
    # Paddings are no features, and DenseNet's have names that change from one build to the next.
    others = (keras.layers.InputLayer, keras.layers.ZeroPadding2D)
    return tuple(layer.name for layer in model.layers if not isinstance(layer, others))


def _as_float32(layer, features):
    return keras.layers.Activation("linear", dtype="float32", name=f"{layer}_features")(features)


def _pooling_layer(pooling):
    if pooling not in _POOLING:
        raise ValueError(f"pooling {pooling}: unknown. Choose from {', '.join(_POOLING)}.")
    return _POOLING[pooling]


def _check_layers(name, layers, known):
    unknown = [layer for layer in layers if layer not in known]
    if layers and not unknown:
        return
    if len(known) <= _LISTED:
        choice = f"Choose from {', '.join(known)}."
    else:
        near = dict.fromkeys(
            match for layer in unknown for match in difflib.get_close_matches(layer, known, n=4)
        )
        near = near or (*BACKBONES[name].style_layers, *BACKBONES[name].content_layers)
        choice = (
            f'Near to that: {", ".join(near)}. All {len(known)}: python -c "from tfstyle import '
            f"features; print(*features.layer_names('{name}'))\""
        )
    raise ValueError(
        f"{name} layers {list(layers)}: "
        + (f"{', '.join(unknown)} unknown. " if unknown else "at least one is needed. ")
        + choice
    )


def _load(build, model, path):
    """`model` with the weights of a file, or where those have a top, its like with one."""
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"weights {path}: no such file.")
    # Anything may come from a file that is not what its name says: h5py, zipfile and Keras each
    # have errors of their own.
    try:
        model.load_weights(path)
        return model
    except Exception as error:
        reason = error
    # Keras reads the top's absence from .weights.h5 and .keras alike, but not from older .h5.
    if path.suffix == ".h5" and not path.name.endswith(".weights.h5"):
        try:
            model = _in_float32(lambda: build(weights=None))
            model.load_weights(path)
            return model
        except Exception:
            pass
    raise WeightsError(
        f"weights {path}: not those of keras.applications.{build.__name__} "
        f"({str(reason).splitlines()[0].rstrip('.')}). Give a .weights.h5, .h5 or .keras file that "
        "holds them."
    ) from reason


def _fetched(application):
    """The file with a network's ImageNet weights: from Keras' cache, or fetched into it."""
    # Keras' own rule, which it does not publish.
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    target = home / "models" / application.file
    try:
        damaged = target.is_file()
        if damaged:
            with target.open("rb") as file:
                damaged = hashlib.file_digest(file, "md5").hexdigest() != application.md5
            if not damaged:
                return target
        _probe(application.url)
        target.parent.mkdir(parents=True, exist_ok=True)
        # Keras writes in place and leaves what is incomplete when it is killed.
        with tempfile.TemporaryDirectory(
            prefix=f"{application.name}-", dir=target.parent
        ) as folder:
            os.replace(_download(application, folder), target)
        return target
    # Keras raises plain Exception where a server refuses.
    except Exception as error:
        raise WeightsError(
            f"{application.name}: {target} is {'damaged' if damaged else 'missing'} and "
            f"{application.url} cannot be fetched ({error}). Take vgg16, which is bundled; or "
            "bring the file there another way, or name it by --weights PATH."
        ) from error


def _download(application, folder):
    timeout = socket.getdefaulttimeout()
    # Keras passes no time limit on, and by default there is none.
    socket.setdefaulttimeout(_STALL_SECONDS)
    try:
        return keras.utils.get_file(
            application.file,
            application.url,
            cache_dir=folder,
            cache_subdir="",
            file_hash=application.md5,
        )
    finally:
        socket.setdefaulttimeout(timeout)


def _probe(url):
    """Raises OSError unless the server, or the proxy set for it, takes a connection soon."""
    parts = urllib.parse.urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname):
        parts = urllib.parse.urlsplit(proxy if "://" in proxy else f"//{proxy}")
    address = parts.hostname, parts.port or 443
    place = ":".join(map(str, address))
    failures = []

    def connect():
        try:
            socket.create_connection(address, timeout=_PROBE_SECONDS).close()
        except (OSError, ValueError) as error:
            failures.append(error)

    # A thread, for neither looking up a name nor trying its addresses one by one heeds the limit.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_PROBE_SECONDS)
    if thread.is_alive():
        raise TimeoutError(f"{place} did not answer within {_PROBE_SECONDS:g} s")
    if failures:
        raise OSError(f"{place}: {failures[0]}") from failures[0]
