"""Layers that Keras lacks or that export badly, as serialisable Keras layers.

They are written in the operations that the TFLite converter maps to fast built-in kernels for
unknown heights and widths: slices and concatenation in place of MIRROR_PAD (which XNNPACK does not
take), moments in place of GroupNormalization, a folded convolution in place of UpSampling2D.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfstyle.errors import ArgumentError
from tfstyle.networks import statistics

# Of noise at first, where features are of deviation 1: enough for the strengths to have a gradient
# that tells what they do.
_STRENGTH = 0.1
# Of a tensor, as Keras hands it to layers; None where it is not known.
Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable(package="tfstyle")
class ReflectPad(keras.layers.Layer):
    """Mirrors `amount` pixels at every border, without repeating the border itself.

    [B, H, W, C] -> [B, H + 2 amount, W + 2 amount, C]; H and W must exceed `amount`.
    """

    def __init__(self, amount: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.amount = amount

    def call(self, x: tf.Tensor) -> tf.Tensor:
        n = self.amount
        rows = [x[:, i : i + 1] for i in range(n, 0, -1)]
        rows += [x] + [x[:, -i - 1 : -i] for i in range(1, n + 1)]
        x = tf.concat(rows, axis=1)
        columns = [x[:, :, i : i + 1] for i in range(n, 0, -1)]
        columns += [x] + [x[:, :, -i - 1 : -i] for i in range(1, n + 1)]
        return tf.concat(columns, axis=2)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, height, width, channels = input_shape
        n = 2 * self.amount
        return (batch, height and height + n, width and width + n, channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "amount": self.amount}


@keras.saving.register_keras_serializable(package="tfstyle")
class InstanceNorm(keras.layers.Layer):
    """Instance normalisation, Ulyanov et al. 2016 (https://arxiv.org/abs/1607.08022).

    y = gamma (x - mean) / sqrt(variance + epsilon) + beta, mean and variance over the positions of
    one channel of one image, in float32 under every dtype policy. [B, H, W, C] -> same.
    """

    def __init__(self, epsilon: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape: Shape) -> None:
        channels = input_shape[-1]
        self.gamma = self.add_weight(shape=(channels,), initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=(channels,), initializer="zeros", name="beta")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        x = _instance_norm(x, self.gamma, self.beta, self.epsilon)
        return tf.cast(x, self.compute_dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon}


@keras.saving.register_keras_serializable(package="tfstyle")
class ConditionalInstanceNorm(keras.layers.Layer):
    """Instance normalisation with a gamma and a beta for each style, blended by weights.

    Dumoulin et al. 2017 (https://arxiv.org/abs/1610.07629), eq. 5, and section 3.4 for the blend:
    as `InstanceNorm`, where gamma and beta of an image are the sums over styles s of
    w_s gamma_s and w_s beta_s. All of it is in float32 under every dtype policy.

    ([B, H, W, C], w [B or 1, styles]) -> [B, H, W, C].
    """

    def __init__(self, epsilon: float = 1e-5, **kwargs: Any) -> None:
        # Half precision would round the weights, so that they no longer sum to 1.
        super().__init__(autocast=False, **kwargs)
        self.epsilon = epsilon

    def build(self, input_shape: Sequence[Shape]) -> None:
        features, weights = input_shape
        shape = (weights[-1], features[-1])
        self.gamma = self.add_weight(shape=shape, initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=shape, initializer="zeros", name="beta")

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        x, weights = inputs
        # [B, styles, 1, 1, 1]. Not a matrix product: TFLite's int8 would round the tables, and a
        # GPU's TensorFloat-32 the weights.
        weights = tf.cast(weights, "float32")[:, :, tf.newaxis, tf.newaxis, tf.newaxis]
        gamma, beta = (
            tf.reduce_sum(weights * tf.cast(table, "float32")[:, tf.newaxis, tf.newaxis], axis=1)
            for table in (self.gamma, self.beta)
        )
        return tf.cast(_instance_norm(x, gamma, beta, self.epsilon), self.compute_dtype)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon}


def normalised_channels(model: keras.Model) -> int:
    """Channels that instance norm normalises in a model and in those nested in it, in all."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            total += normalised_channels(layer)
        elif isinstance(layer, InstanceNorm | ConditionalInstanceNorm):
            total += layer.gamma.shape[-1]
    return total


def _instance_norm(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float) -> tf.Tensor:
    """[B, H, W, C] -> same, float32; gamma and beta [C] or [B or 1, 1, 1, C]."""
    x = tf.cast(x, "float32")
    mean, variance = statistics.of(x)
    scale = tf.cast(gamma, "float32") * tf.math.rsqrt(variance + epsilon)
    # In this order, x is gone through twice after the mean, once here and once for the variance.
    return x * scale + (tf.cast(beta, "float32") - mean * scale)


@keras.saving.register_keras_serializable(package="tfstyle")
class PadToMultiple(keras.layers.Layer):
    """Mirrors the lower and right border until height and width are multiples of `multiple`.

    Never smaller than `minimum`, so that the mirrored borders further in have enough pixels. An
    image too small to mirror repeats its border. [B, H, W, C] -> [B, H', W', C].
    """

    def __init__(self, multiple: int, minimum: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.multiple = multiple
        self.minimum = minimum

    def _extended(self, x: tf.Tensor, axis: int) -> tf.Tensor:
        length = tf.shape(x)[axis]
        padded = tf.maximum(-(-length // self.multiple) * self.multiple, self.minimum)
        added = tf.range(length, padded)
        mirrored = tf.maximum(tf.minimum(added, 2 * (length - 1) - added), 0)
        # Only what is added is gathered: TFLite's GATHER of the whole image took a fifth of the
        # time of the fast generator.
        return tf.concat([x, tf.gather(x, mirrored, axis=axis)], axis=axis)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self._extended(self._extended(x, 1), 2)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        def padded(length: int | None) -> int | None:
            return length and max(-(-length // self.multiple) * self.multiple, self.minimum)

        batch, height, width, channels = input_shape
        return (batch, padded(height), padded(width), channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "multiple": self.multiple, "minimum": self.minimum}


@keras.saving.register_keras_serializable(package="tfstyle")
class CropLike(keras.layers.Layer):
    """Cuts the first input to the height and width of the second, from the upper left corner.

    ([B, H, W, C], [B, h, w, D]) -> [B, h, w, C].
    """

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        x, like = inputs
        channels = x.shape[-1]
        size, target = tf.shape(x), tf.shape(like)
        # TFLite copies slices in runs of the last axis, so rows are cut as rows: where 3 channels
        # are the last axis, the cut alone took a seventh of the fast generator's time.
        rows = tf.reshape(x, [size[0], size[1], size[2] * channels])
        rows = tf.slice(rows, [0, 0, 0], tf.stack([size[0], target[1], target[2] * channels]))
        return tf.reshape(rows, [size[0], target[1], target[2], channels])

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        x, like = input_shape
        return (x[0], like[1], like[2], x[3])


@keras.saving.register_keras_serializable(package="tfstyle")
class ResizeLike(keras.layers.Layer):
    """Brings the first input to the height and width of the second, bilinearly.

    ([B, H, W, C], [B, h, w, D]) -> [B, h, w, C].
    """

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        x, like = inputs
        return tf.cast(tf.image.resize(x, tf.shape(like)[1:3]), self.compute_dtype)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        x, like = input_shape
        return (x[0], *like[1:3], x[3])


@keras.saving.register_keras_serializable(package="tfstyle")
class Zeros(keras.layers.Layer):
    """A vector of zeros for each image: [B, H, W, C] -> [B, size]."""

    def __init__(self, size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.zeros([tf.shape(x)[0], self.size], self.compute_dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], self.size)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}


@keras.saving.register_keras_serializable(package="tfstyle")
class SpectralConv2D(keras.layers.Layer):
    """Convolution whose kernel, as a matrix [h w C, filters], is divided by its largest singular
    value: Miyato et al. 2018 (https://arxiv.org/abs/1802.05957), eq. 8 and algorithm 1.

    The singular vector is followed by one power iteration in each call in training, in float32
    under every dtype policy, and is one of the layer's weights.

    keras.layers.SpectralNormalization overwrites the kernel itself, so that the gradient does not
    see the division (eq. 12), and does so in half precision under a mixed policy.

    [B, H, W, C] -> [B, (H - kernel_size) // strides + 1, the same of W, filters], without padding.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        strides: int = 1,
        use_bias: bool = True,
        kernel_initializer: str | keras.initializers.Initializer = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: Shape) -> None:
        n = self.kernel_size
        self.kernel = self.add_weight(
            shape=(n, n, input_shape[-1], self.filters),
            initializer=self.kernel_initializer,
            autocast=False,
            name="kernel",
        )
        if self.use_bias:
            self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")
        self.singular_vector = self.add_weight(
            shape=(self.filters, 1),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
            trainable=False,
            autocast=False,
            name="singular_vector",
        )

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        kernel = tf.convert_to_tensor(self.kernel)
        matrix = tf.reshape(kernel, (-1, self.filters))
        # Eq. 12 differentiates by the kernel alone.
        constant = tf.stop_gradient(matrix)
        right = tf.math.l2_normalize(tf.convert_to_tensor(self.singular_vector))
        left = tf.math.l2_normalize(constant @ right, epsilon=1e-24)
        if training:
            right = tf.matmul(constant, left, transpose_a=True)
            right = tf.math.l2_normalize(right, epsilon=1e-24)
            self.singular_vector.assign(right)
        largest = tf.matmul(left, matrix @ right, transpose_a=True)[0, 0]
        kernel = tf.cast(tf.math.divide_no_nan(kernel, largest), self.compute_dtype)
        x = tf.nn.conv2d(x, kernel, self.strides, "VALID")
        return x + tf.cast(self.bias, self.compute_dtype) if self.use_bias else x

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, *sides, _ = input_shape
        height, width = (side and (side - self.kernel_size) // self.strides + 1 for side in sides)
        return (batch, height, width, self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


def has_noise(model: keras.Model) -> bool:
    """Whether there is a `Noise` in a model, so that a part of a picture depends on its place."""
    return any(isinstance(layer, Noise) for layer in model.layers)


def _shapes(input_shape: Any) -> list[Shape]:
    """Of each input, of a layer that takes one tensor or several."""
    several = isinstance(input_shape[0], list | tuple)
    return list(input_shape) if several else [input_shape]


@keras.saving.register_keras_serializable(package="tfstyle")
class Noise(keras.layers.Layer):
    """Adds noise, as much to each channel as was learnt: y = x + strength n.

    n is one map for all channels, of N(0, 1) at each position, after Karras et al. 2019
    (https://arxiv.org/abs/1812.04948), section 3.2. A network that is the same everywhere can only
    repeat itself on a flat sky; from noise it can paint. In training the noise is drawn anew for
    each image, from a state that is one of the layer's weights; else it is a fixed pattern that
    lies at the image's upper left corner and repeats every `period` positions, so that the same
    photo gives the same picture. Of part of an image it is the pattern's part: see
    `statistics.origin`.

    [B, H, W, C] -> same; with ([B, H, W, C], w [B or 1, styles]) the strength of an image is the
    sum over styles s of w_s strength_s.
    """

    def __init__(self, stride: int, period: int = 64, **kwargs: Any) -> None:
        """
        Args:
            stride: pixels of the image to a position.
            period: side of the pattern, in positions.
        """
        # Half precision would round the weights of the styles.
        super().__init__(autocast=False, **kwargs)
        self.stride = stride
        self.period = period
        self.generator = keras.random.SeedGenerator()
        self.state = self.generator.state

    def build(self, input_shape: Any) -> None:
        features, *weights = _shapes(input_shape)
        shape = (*(each[-1] for each in weights), features[-1])
        self.strength = self.add_weight(
            shape=shape, initializer=keras.initializers.Constant(_STRENGTH), name="strength"
        )
        # By the stride, so that no two sizes have the same pattern.
        pattern = np.random.default_rng(self.stride).normal(size=(self.period, self.period))
        self.pattern = ((pattern - pattern.mean()) / pattern.std()).astype("float32")

    def call(self, inputs: tf.Tensor | Sequence[tf.Tensor], training: bool = False) -> tf.Tensor:
        x, weights = inputs if isinstance(inputs, list | tuple) else (inputs, None)
        strength = tf.convert_to_tensor(self.strength)[None]
        if weights is not None:
            strength = tf.reduce_sum(weights[:, :, None] * strength, axis=1)
        shape = tf.shape(x)
        if training:
            noise = keras.random.normal(
                (shape[0], shape[1], shape[2], 1), dtype="float32", seed=self.generator
            )
        else:
            noise = self._patterned(shape[1], shape[2])
        added = noise * strength[:, None, None, :]
        return x + tf.cast(added, x.dtype)

    def _patterned(self, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        """[1, height, width, 1] of the pattern, from where `statistics.origin` says."""
        pattern = tf.constant(self.pattern[None, :, :, None])
        origin = statistics.origin()
        # Of pixels, to the place in the pattern.
        start = [0, 0] if origin is None else origin // self.stride % self.period
        top, left = tf.unstack(tf.convert_to_tensor(start))
        over = 1 if origin is None else 2
        repeats = [1, height // self.period + over, width // self.period + over, 1]
        return tf.tile(pattern, repeats)[:, top : top + height, left : left + width]

    def compute_output_shape(self, input_shape: Any) -> Shape:
        return _shapes(input_shape)[0]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "stride": self.stride, "period": self.period}


@keras.saving.register_keras_serializable(package="tfstyle")
class ResizeConv(keras.layers.Layer):
    """Doubling followed by a convolution, computed without the doubled image.

    The doubling is by nearest neighbour and free of the checkerboard of transposed convolution
    (https://distill.pub/2016/deconv-checkerboard/). What it leaves of the small grid is fainter
    where `smooth`: the kernel is then a 2x2 mean followed by a learned kernel one smaller, which
    makes of the doubling one by linear interpolation, at the same cost.

    Every output pixel sees few pixels of the small image, so the kernel is folded into four, one
    for each of the 2x2 output pixels, of 2x2 (for 3x3) or 3x3 (for 5x5), and their outputs are
    interleaved (depth to space): 4/9 and 9/25 of the products, without the memory traffic of the
    doubled image. The small image's border is repeated, which for 3x3 is the same as mirroring the
    doubled image.

    [B, H, W, C] -> [B, 2 H, 2 W, filters].
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        use_bias: bool = True,
        smooth: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if kernel_size not in (3, 5):
            raise ArgumentError(f"ResizeConv kernel_size {kernel_size}: must be 3 or 5")
        self.filters = filters
        self.kernel_size = kernel_size
        self.use_bias = use_bias
        self.smooth = smooth

    def build(self, input_shape: Shape) -> None:
        n = self.kernel_size
        learned = n - 1 if self.smooth else n
        self.kernel = self.add_weight(
            shape=(learned, learned, input_shape[-1], self.filters), name="kernel"
        )
        if self.use_bias:
            self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")
        # fold[position, low tap, tap]: which pixel of the small image a tap of the kernel falls on,
        # for the two output pixels that a position of the folded convolution gives: those of the
        # same small pixel (5x5), or the odd one of it and the even one of the next (3x3, which so
        # needs two taps).
        shift = 1 if n == 3 else 0
        low_taps = (n + 1) // 2
        fold = np.zeros((2, low_taps, n), "float32")
        for position in range(2):
            for tap in range(n):
                fold[position, (position + shift + tap - n // 2) // 2 + 1 - shift, tap] = 1
        if self.smooth:
            # mean[tap, learned tap]: the 2x2 mean before the learned kernel, along one axis.
            mean = (np.eye(n, n - 1) + np.eye(n, n - 1, -1)) / 2
            fold = fold @ mean.astype("float32")
        self.fold = fold
        self.shift = shift

    def call(self, x: tf.Tensor) -> tf.Tensor:
        kernel = tf.cast(self.kernel, self.compute_dtype)
        fold = tf.cast(self.fold, self.compute_dtype)
        # [taps, taps, C, 2, 2, filters]: the order that depth_to_space expects of the channels.
        kernel = tf.einsum("pij,qkl,jlcf->ikcpqf", fold, fold, kernel)
        low_taps = fold.shape[1]
        kernel = tf.reshape(kernel, (low_taps, low_taps, self.kernel.shape[2], 4 * self.filters))
        x = tf.concat([x[:, :1], x, x[:, -1:]], axis=1)
        x = tf.concat([x[:, :, :1], x, x[:, :, -1:]], axis=2)
        x = tf.nn.depth_to_space(tf.nn.conv2d(x, kernel, 1, "VALID"), 2)
        if self.shift:
            x = x[:, 1:-1, 1:-1]
        return x + tf.cast(self.bias, self.compute_dtype) if self.use_bias else x

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, height, width, _ = input_shape
        return (batch, height and 2 * height, width and 2 * width, self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "use_bias": self.use_bias,
            "smooth": self.smooth,
        }


@keras.saving.register_keras_serializable(package="tfstyle")
class Dropout(keras.layers.Layer):
    """Dropout whose random state is one of the layer's weights.

    `tf.train.Checkpoint` passes over the state that Keras' own layer holds, and a resumed run would
    drop other activations than one that was never stopped.
    """

    def __init__(self, rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ArgumentError(f"Dropout rate {rate}: must be at least 0 and below 1")
        self.rate = rate
        self.generator = keras.random.SeedGenerator()
        self.state = self.generator.state

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        return keras.random.dropout(x, self.rate, seed=self.generator) if training else x

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate}
