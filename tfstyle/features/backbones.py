"""The backbones by name."""

import dataclasses
import functools
from collections.abc import Callable

import keras

from tfstyle import losses, machine
from tfstyle.errors import ArgumentError
from tfstyle.features.applications import (
    _DENSENET121,
    _RESNET50,
    _VGG19,
    densenet121,
    resnet50,
    vgg19,
)
from tfstyle.features.bundled import VGG16_LAYERS, vgg16, vgg16_light
from tfstyle.features.weights import headless, names_of


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A network to take features from.

    Attributes:
        build: `vgg16` or another function of the same signature.
        style_layers: whose Gram matrices stand for style, from fine to coarse.
        content_layers: whose features stand for content.
        kept_layers: finer ones, for content that must stay recognisable.
        bfloat16_holds: whether a Gatys picture made through these layers in bfloat16 is known to be
            as good as one in float32. Where it is not, `gatys.optimize` tries it first.
    """

    build: Callable[..., keras.Model]
    style_layers: tuple[str, ...]
    content_layers: tuple[str, ...]
    kept_layers: tuple[str, ...] = ()
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
        kept_layers=("block1_conv2", "block2_conv2"),
        # 40 photos with 23 styles, from the photo and from noise: cosine of the two gradients 0.967
        # to 1, median 0.997; where it was lowest the picture's loss differed by less than 1 %.
        bfloat16_holds=True,
    ),
    "vgg16_light": Backbone(
        build=vgg16_light,
        style_layers=losses.STYLE_LAYERS,
        content_layers=(losses.CONTENT_LAYER,),
        kept_layers=("block1_conv2", "block2_conv2"),
    ),
    "vgg19": Backbone(
        build=vgg19,
        style_layers=losses.STYLE_LAYERS,
        content_layers=(losses.CONTENT_LAYER,),
        kept_layers=("block1_conv2", "block2_conv2"),
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
@machine.own_random_state()
def layer_names(name: str) -> tuple[str, ...]:
    """The layers that a backbone of `BACKBONES` may be asked for, from the image on.

    Raises:
        ValueError: for a name that `BACKBONES` lacks.
    """
    if name not in BACKBONES:
        raise ArgumentError(f"backbone {name}: unknown. Choose from {', '.join(BACKBONES)}.")
    if name in ("vgg16", "vgg16_light"):
        return VGG16_LAYERS
    applications = {each.name: each for each in (_VGG19, _RESNET50, _DENSENET121)}
    return names_of(headless(applications[name].build))
