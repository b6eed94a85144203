"""The statistics of instance normalisation, taken from an image and used for a part of it.

A part of an image that a network is called with alone is normalised by its own means and variances
and comes out unlike the same part of the whole. With the statistics of the whole it comes out the
same, but for what lies farther from its edges than the network reaches: so an image too large for
memory is worked on in tiles.
"""

import threading
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

# From x [B, H, W, C] to the means and variances that an instance normalisation uses.
Statistics = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


class _Around(threading.local):
    statistics: Statistics | None = None
    origin: tf.Tensor | None = None


_around = _Around()


def of(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """(means, variances) that an instance normalisation of x [B, H, W, C] is to use.

    Those of each image, [B, 1, 1, C]; within `taken` those of all images together, and within
    `with_given` the given ones, [1, 1, 1, C].
    """
    return _around.statistics(x) if _around.statistics else _moments(x, [1, 2])


def origin() -> tf.Tensor | None:
    """[2]: row and column in the whole of the part that a call is for; None for the whole."""
    return _around.origin


def taken(model: keras.Model, inputs: Sequence) -> tf.Tensor:
    """Statistics of a call of `model`, over all images of the batch together.

    Args:
        model: Functional; its normalisations are tfstyle's.
        inputs: of the model; images [B, H, W, 3] first.

    Returns:
        float32 [2, C]: means and variances, C the sum of all normalised channels, in the order in
        which the model calls its normalisations. [2, 0] where it has none.
    """
    found = []

    def take(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        found.append(_moments(x, [0, 1, 2]))
        return found[-1]

    _call(model, inputs, take)
    if not found:
        return tf.zeros((2, 0))
    return tf.reshape(tf.concat([tf.stack(one) for one in found], axis=-1), (2, -1))


def with_given(
    model: keras.Model,
    inputs: Sequence,
    statistics: tf.Tensor,
    origin: tf.Tensor | Sequence[int] | None = None,
) -> tf.Tensor:
    """`model` called with the statistics [2, C] of another call, as `taken` gives them.

    Each position of the result depends on what is near it alone; see `reach`.

    Args:
        model, inputs: as for `taken`.
        statistics: float32 [2, C].
        origin: int32 [2], row and column where the images lie in the whole, in pixels: multiples of
            8. Only `layers.Noise` asks for it.
    """
    position = 0

    def give(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        nonlocal position
        start, position = position, position + x.shape[-1]
        mean, variance = tf.unstack(
            tf.ensure_shape(statistics[:, start:position], (2, x.shape[-1]))
        )
        return tf.reshape(mean, (1, 1, 1, -1)), tf.reshape(variance, (1, 1, 1, -1))

    outer, _around.origin = _around.origin, None if origin is None else tf.convert_to_tensor(origin)
    try:
        return _call(model, inputs, give)
    finally:
        _around.origin = outer


def reach(model: keras.Model, *, side: int = 768) -> int:
    """How far from a position, in pixels, the image has a say in it, with given statistics.

    Measured: the middle of noise is changed, in one pixel at each of 8x8 phases, and how far away
    the result changes is looked at, in the first style where there are several.

    Args:
        side: of the noise, in pixels, for a reach of less than half of it.
    """
    images = np.random.default_rng(0).random((1, side, side, 3), np.float32)
    more = [tf.one_hot([0], model.inputs[1].shape[-1])] if len(model.inputs) > 1 else []
    values = taken(model, [images, *more])
    before = with_given(model, [images, *more], values)
    middle = side // 2
    block = slice(middle, middle + 8)
    images[:, block, block] = 1 - images[:, block, block]
    changed = np.abs(with_given(model, [images, *more], values) - before).max(axis=(0, 3)) > 0
    places = np.argwhere(changed)
    if not len(places):
        return 0
    return int(max(middle - places.min(), places.max() - (middle + 7)))


def _call(model: keras.Model, inputs: Sequence, statistics: Statistics) -> tf.Tensor:
    inputs = [tf.convert_to_tensor(one) for one in inputs]
    outer, _around.statistics = _around.statistics, statistics
    try:
        return model(inputs if len(inputs) > 1 else inputs[0], training=False)
    finally:
        _around.statistics = outer


def _moments(x: tf.Tensor, axes: Sequence[int]) -> tuple[tf.Tensor, tf.Tensor]:
    mean = tf.reduce_mean(x, axis=axes, keepdims=True)
    return mean, tf.reduce_mean(tf.math.squared_difference(x, mean), axis=axes, keepdims=True)
