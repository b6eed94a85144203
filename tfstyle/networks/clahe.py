"""Contrast-limited adaptive histogram equalisation (CLAHE), and a network that learns it.

CLAHE gives each tile of an image a curve that makes its histogram flatter, up to a limit on how
steep the curve may be, and blends the curves of neighbouring tiles: Pizer et al. 1987, "Adaptive
Histogram Equalization and Its Variations" (Computer Vision, Graphics, and Image Processing 39, pp.
355-368); Zuiderveld 1994, "Contrast Limited Adaptive Histogram Equalization" (Graphics Gems IV, pp.
474-485).
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfstyle.errors import ArgumentError
from tfstyle.images.contrast import TILES
from tfstyle.networks import layers
from tfstyle.networks.layers import Shape
from tfstyle.networks.recorded import recorded

# Linear sRGB -> CIE XYZ over that of its white, D65; ITU-R BT.709 primaries, as OpenCV has them.
_TO_XYZ = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
) / np.array([[0.950456], [1.0], [1.088754]])
_KNEE = 6 / 29  # of the cube root of CIE Lab (CIE 15:2004, 8.2.1.1)


@recorded
def curve_generator(
    *, knots: int = 16, width: int = 64, tiles: int = TILES, name: str = "clahe"
) -> keras.Model:
    """A curve of lightness for each tile, out of the tile's histogram; blended between tiles.

    After Gharbi et al. 2017, "Deep Bilateral Learning for Real-Time Image Enhancement"
    (https://arxiv.org/abs/1707.02880): a small network predicts a coarse grid, which is sliced by
    position and lightness at full size. Here it sees the tiles' histograms alone and predicts by
    how much lightness changes at each knot; a and b of CIE Lab stay. How a histogram becomes a
    curve, the limit included, is learned.

    Args:
        knots: of a curve, evenly over lightness, linear between them; as many bins of a histogram,
            which are triangles as wide as two knots.
        width: channels of the two layers between histogram and curve.
        tiles: rows and columns of tiles.

    Returns:
        Functional model, [B, H, W, 3] in [0, 1] -> [B, H, W, 3] in [0, 1], any size from 1x1.
        Colours are float32 under every dtype policy.
    """
    full: dict[str, Any] = {"dtype": "float32"}
    images = keras.Input((None, None, 3), name="images")
    roots = CubeRoots(**full)(layers.PadToMultiple(tiles, **full)(images))
    levels = Levels(knots, **full)(roots)
    # Times the bins: the mean of all is 1.
    x = keras.layers.Rescaling(knots, **full)(TileMeans(tiles, **full)(levels))
    for i in (1, 2):
        x = keras.layers.Conv2D(width, 1, activation="relu", name=f"conv{i}")(x)
    # Small, so that the first pictures are near the photos.
    small = keras.initializers.RandomNormal(stddev=0.001)
    x = keras.layers.Conv2D(knots, 1, kernel_initializer=small, name="head")(x)
    change = Slice(**full)([levels, x])
    x = Relight(**full)([roots, change])
    return keras.Model(images, layers.CropLike(**full)([x, images]), name=name)


def _mixed(x: tf.Tensor, matrix: np.ndarray) -> tf.Tensor:
    """[B, H, W, 3] times a constant 3x3 matrix, on each pixel."""
    kernel = np.transpose(matrix)[np.newaxis, np.newaxis]
    return tf.nn.conv2d(x, tf.constant(kernel, x.dtype), 1, "VALID")


@keras.saving.register_keras_serializable(package="tfstyle")
class CubeRoots(keras.layers.Layer):
    """sRGB in [0, 1] -> f(X/Xn), f(Y/Yn), f(Z/Zn) of CIE Lab, [B, H, W, 3] -> same.

    L = 116 f(Y/Yn) - 16; adding a number to all three changes L and leaves a and b.
    """

    def call(self, x: tf.Tensor) -> tf.Tensor:
        # Powers of what is no less than the knee: their derivative is infinite at 0.
        bent = tf.pow((tf.maximum(x, 0.04045) + 0.055) / 1.055, 2.4)
        xyz = _mixed(tf.where(x > 0.04045, bent, x / 12.92), _TO_XYZ)
        root = tf.pow(tf.maximum(xyz, _KNEE**3), 1 / 3)
        return tf.where(xyz > _KNEE**3, root, xyz / (3 * _KNEE**2) + 4 / 29)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


@keras.saving.register_keras_serializable(package="tfstyle")
class Relight(keras.layers.Layer):
    """Adds a change of lightness and goes back from `CubeRoots` to sRGB, clipped to [0, 1].

    ([B, H, W, 3], change of L / 100 [B, H, W, 1]) -> [B, H, W, 3].
    """

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        roots, change = inputs
        roots += change * (100 / 116)
        xyz = tf.where(roots > _KNEE, roots * roots * roots, 3 * _KNEE**2 * (roots - 4 / 29))
        linear = _mixed(xyz, np.linalg.inv(_TO_XYZ))
        bent = 1.055 * tf.pow(tf.maximum(linear, 0.0031308), 1 / 2.4) - 0.055
        return tf.clip_by_value(tf.where(linear > 0.0031308, bent, 12.92 * linear), 0.0, 1.0)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        return input_shape[0]


@keras.saving.register_keras_serializable(package="tfstyle")
class Levels(keras.layers.Layer):
    """How near a pixel's lightness is to each of some levels from 0 to 100.

    1 at a level, 0 at its neighbours, linear between; the sum over levels is 1. `CubeRoots`
    [B, H, W, 3] -> [B, H, W, levels].
    """

    def __init__(self, levels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if levels < 2:
            raise ArgumentError(f"Levels levels {levels}: give 2 or more")
        self.levels = levels

    def call(self, roots: tf.Tensor) -> tf.Tensor:
        lightness = tf.clip_by_value(1.16 * roots[..., 1:2] - 0.16, 0.0, 1.0)
        place = tf.range(self.levels, dtype=roots.dtype)
        return tf.nn.relu(1 - tf.abs(lightness * (self.levels - 1) - place))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.levels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "levels": self.levels}


@keras.saving.register_keras_serializable(package="tfstyle")
class TileMeans(keras.layers.Layer):
    """Mean over each of `tiles` x `tiles` tiles: [B, H, W, C] -> [B, tiles, tiles, C].

    H and W must be multiples of `tiles`.
    """

    def __init__(self, tiles: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tiles = tiles

    def call(self, x: tf.Tensor) -> tf.Tensor:
        # One axis after the other: TFLite's means are for few dimensions.
        n, channels, shape = self.tiles, x.shape[-1], tf.shape(x)
        x = tf.reshape(x, [shape[0] * n, shape[1] // n, shape[2] * channels])
        x = tf.reduce_mean(x, axis=1)
        x = tf.reshape(x, [shape[0] * n * n, shape[2] // n, channels])
        return tf.reshape(tf.reduce_mean(x, axis=1), [shape[0], n, n, channels])

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], self.tiles, self.tiles, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "tiles": self.tiles}


@keras.saving.register_keras_serializable(package="tfstyle")
class Slice(keras.layers.Layer):
    """The value of each pixel's curve at its lightness.

    The curves of the four nearest tiles' centres are blended bilinearly, as CLAHE does; beyond the
    outermost centres the last curve holds. (`Levels` [B, H, W, C], curves [B, h, w, C]) ->
    [B, H, W, 1].
    """

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        levels, curves = inputs
        curves = tf.image.resize(curves, tf.shape(levels)[1:3], "bilinear")
        return tf.reduce_sum(levels * curves, axis=-1, keepdims=True)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        return (*input_shape[0][:-1], 1)
