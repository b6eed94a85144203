"""How far a feature looks."""

import math
from collections.abc import Sequence

import keras

from tfstyle.errors import ArgumentError
from tfstyle.features.padding import SymmetricConv2D, SymmetricPadding2D
from tfstyle.features.weights import POOLING

# Along one axis: row i of features depends on pixels from stride * i + low to stride * i + high.
Reach = tuple[int, int, int]


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
    reach: dict[int, tuple[Reach, ...]] = {}
    # Layers come in topological order. What a layer that is called twice makes of its second input
    # is not found.
    try:
        for layer in model.layers:
            if isinstance(layer, keras.layers.InputLayer):
                reach[id(layer.output)] = ((0, 0, 1), (0, 0, 1))
                continue
            # Exactly these classes: what a subclass does is not known.
            if type(layer) not in _LOCAL:
                raise ArgumentError(
                    f"layer {layer.name}: the receptive field of {type(layer).__name__} is not "
                    "known."
                )
            inputs = [reach[id(tensor)] for tensor in keras.tree.flatten(layer.input)]
            reach[id(layer.output)] = tuple(
                _axis_reach(layer, axis, [each[axis] for each in inputs]) for axis in (0, 1)
            )
        ends = [axis for output in model.outputs for axis in reach[id(output)]]
    except KeyError:
        raise ArgumentError(
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
    *POOLING.values(),
    keras.layers.Conv2D,
    keras.layers.ZeroPadding2D,
    SymmetricConv2D,
    SymmetricPadding2D,
)


def _axis_reach(layer: keras.layers.Layer, axis: int, inputs: Sequence[Reach]) -> Reach:
    """(low, high, stride) of a layer's output along one axis, from those of its inputs."""
    low, high = min(each[0] for each in inputs), max(each[1] for each in inputs)
    stride = inputs[0][2]
    if isinstance(layer, _POINTWISE):
        return low, high, stride
    if isinstance(layer, _JOINS):
        if len({each[2] for each in inputs}) > 1 or getattr(layer, "axis", -1) not in (-1, 3):
            raise ArgumentError(f"layer {layer.name}: joins features of different places.")
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
            raise ArgumentError(
                f"layer {layer.name}: 'same' padding with stride {step} and size {size} shifts the "
                "grid with the size of the image; its features cannot be computed in tiles."
            )
    return low - before * stride, high + (size - 1 - before) * stride, stride * step
