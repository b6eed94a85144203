"""Padding of the features' networks at the borders of an image.

The networks were trained with zeros there. A picture that is optimised through them shows it: its
border can be told from its inside, and gets marks. Mirrored features have no border.
"""

import keras

from tfstyle.errors import ArgumentError


class SymmetricPadding2D(keras.layers.ZeroPadding2D):
    """Pads by the mirror image, the border's own values first."""

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        return keras.ops.pad(inputs, ((0, 0), *self.padding, (0, 0)), mode="symmetric")


class SymmetricConv2D(keras.layers.Conv2D):
    """Its "same" padding is the mirror image, the border's own values first.

    For kernels of odd size and strides of 1, or without padding.
    """

    def convolution_op(
        self, inputs: keras.KerasTensor, kernel: keras.KerasTensor
    ) -> keras.KerasTensor:
        if self.padding == "same" and max(self.kernel_size) > 1:
            sides = [
                (rate * (size - 1) // 2,) * 2
                for size, rate in zip(self.kernel_size, self.dilation_rate, strict=True)
            ]
            inputs = keras.ops.pad(inputs, ((0, 0), *sides, (0, 0)), mode="symmetric")
        return keras.ops.conv(
            inputs,
            kernel,
            strides=list(self.strides),
            padding="valid",
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )


# {name: {layer of a network as it was trained: what takes its place}}
PADDING: dict[str, dict[type[keras.layers.Layer], type[keras.layers.Layer]]] = {
    "zero": {},
    "symmetric": {
        keras.layers.Conv2D: SymmetricConv2D,
        keras.layers.ZeroPadding2D: SymmetricPadding2D,
    },
}


def padded(kind: type[keras.layers.Layer], padding: str) -> type[keras.layers.Layer]:
    """The layer to take in place of `kind`; a ValueError for a name that `PADDING` lacks."""
    if padding not in PADDING:
        raise ArgumentError(f"padding {padding}: unknown. Choose from {', '.join(PADDING)}.")
    return PADDING[padding].get(kind, kind)
