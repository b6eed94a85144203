"""Decoding inside a TensorFlow graph: tf.data pipelines and SavedModels."""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable

from tfstyle.images.arrays import (
    FLIPPED_LEFT_RIGHT,
    FLIPPED_UP_DOWN,
    MAX_PIXELS,
    ORIENTATION_TAG,
    from_uint8_tensor,
)

if typing.TYPE_CHECKING:
    import tensorflow as tf


def decode(encoded: tf.Tensor, *, max_pixels: int = MAX_PIXELS) -> tf.Tensor:
    """Decodes a JPEG or PNG inside a graph; equals `decode_bytes` to 1/255.

    No Python runs inside, so it serves in tf.data, `tf.map_fn` and a SavedModel. It does not see
    ICC profiles, nor orientation elsewhere than in a JPEG's EXIF block: see `to_graph_bytes`.

    Args:
        encoded: scalar string, the bytes of a file.
        max_pixels: larger images are refused before they are decoded.

    Returns:
        float32 RGB in [0, 1], [H, W, 3].

    Raises:
        tf.errors.InvalidArgumentError: when run on a damaged, foreign or too large file.
    """
    import tensorflow as tf

    return _decode_function()(encoded, tf.constant(max_pixels, tf.int64))


@functools.cache
def _decode_function() -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    # A function of its own: traced once for all datasets and models, and quick when called eagerly.
    import tensorflow as tf

    signature = [tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.int64)]
    return tf.function(_decode, input_signature=signature, autograph=False)


def _decode(encoded: tf.Tensor, max_pixels: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    # Padded: where a string ends before its position, substr fails with a message that holds the
    # string, and one that is not UTF-8 raises UnicodeDecodeError in place of the real error.
    head = tf.strings.join([tf.strings.substr(encoded, 0, 24), b"\0" * 24])
    is_jpeg = tf.strings.substr(head, 0, 3) == b"\xff\xd8\xff"
    is_png = tf.strings.substr(head, 0, 8) == b"\x89PNG\r\n\x1a\n"
    known = tf.debugging.Assert(
        is_png | is_jpeg, ["not a JPEG or PNG file: give one of these to the in-graph decoder"]
    )

    def checked(height: tf.Tensor, width: tf.Tensor) -> tf.Operation:
        pixels = tf.cast(height, tf.int64) * tf.cast(width, tf.int64)
        message = "{}x{} pixels, above the limit of {}"
        message = tf.strings.format(message, (width, height, max_pixels))
        return tf.debugging.Assert(pixels <= max_pixels, [message])

    def png() -> tf.Tensor:
        # IHDR is the first chunk of every PNG: length, name, then width and height.
        size = tf.io.decode_raw(tf.strings.substr(head, 16, 8), tf.int32, little_endian=False)
        with tf.control_dependencies([checked(size[1], size[0])]):
            return decode_png(encoded)

    def jpeg() -> tf.Tensor:
        shape = tf.image.extract_jpeg_shape(encoded)
        with tf.control_dependencies([checked(shape[0], shape[1])]):
            # Pillow's libjpeg uses the accurate DCT too; TensorFlow's default is the fast one.
            stored = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
        return from_uint8_tensor(_turn_in_graph(stored, _exif_orientation(encoded)))

    with tf.control_dependencies([known]):
        return tf.ensure_shape(tf.cond(is_png, png, jpeg), [None, None, 3])


def decode_png(encoded: tf.Tensor, background: float = 1.0) -> tf.Tensor:
    """Decodes a PNG inside a graph, with alpha composited on grey of the value `background`.

    Args:
        encoded: scalar string, the bytes of a PNG.
        background: in [0, 1].

    Returns:
        float32 RGB in [0, 1], [H, W, 3].

    Raises:
        tf.errors.InvalidArgumentError: when run on a damaged or foreign file.
    """
    import tensorflow as tf

    # As 16 bits whatever the file holds: 8-bit values v come as 257 v, so the division is exact.
    rgba = tf.cast(tf.io.decode_png(encoded, channels=4, dtype=tf.uint16), tf.float32) / 65535.0
    rgb, alpha = rgba[..., :3], rgba[..., 3:]
    # For opaque files of depth d below 8 the op fills in 2^d - 1 of 255 where it means opaque.
    depth = tf.io.decode_raw(tf.strings.substr(encoded, 0, 25), tf.uint8)[24]
    depth = tf.cast(depth, tf.float32)
    filled = tf.reduce_all(tf.abs(alpha * 255.0 - (2.0**depth - 1.0)) < 1e-3)
    alpha = tf.where(filled, 1.0, alpha)
    return rgb * alpha + background * (1.0 - alpha)


def _exif_orientation(encoded: tf.Tensor) -> tf.Tensor:
    """Orientation 1..8 from a JPEG's EXIF block, int32; 1 where there is none or it is malformed.

    Source: EXIF 2.32, 4.5.4 (APP1) and 4.6.2 (IFD), on TIFF 6.0, section 2.
    """
    import tensorflow as tf

    data = tf.io.decode_raw(encoded, tf.uint8)
    length = tf.size(data, out_type=tf.int64)

    def number(
        position: tf.Tensor, count: int, little_endian: bool | tf.Tensor = False
    ) -> tf.Tensor:
        """`count` bytes at each position as one int64; bytes past the end are 0."""
        places = position[..., None] + tf.range(count, dtype=tf.int64)
        inside = (places >= 0) & (places < length)
        values = tf.gather(data, tf.where(inside, places, tf.constant(0, tf.int64)))
        values = tf.where(inside, tf.cast(values, tf.int64), tf.constant(0, tf.int64))
        rising = [256**i for i in range(count)]
        weights = tf.where(little_endian, tf.constant(rising, tf.int64), rising[::-1])
        return tf.reduce_sum(values * weights, axis=-1)

    def is_exif(position: tf.Tensor) -> tf.Tensor:
        marker = number(position, 2) == 0xFFE1
        return marker & (number(position + 4, 6) == int.from_bytes(b"Exif\0\0", "big"))

    def is_other_segment(position: tf.Tensor) -> tf.Tensor:
        marker = number(position, 2)
        # The compressed image begins at FFDA; what is not FFxx is no segment.
        return (marker >= 0xFFC0) & (marker != 0xFFDA) & ~is_exif(position)

    def next_segment(position: tf.Tensor) -> tuple[tf.Tensor]:
        fill_byte = number(position, 2) == 0xFFFF
        one = tf.constant(1, tf.int64)
        return (position + tf.where(fill_byte, one, 2 + number(position + 2, 2)),)

    (segment,) = tf.while_loop(
        is_other_segment, next_segment, (tf.constant(2, tf.int64),), maximum_iterations=1000
    )
    start = segment + 10
    end = tf.minimum(length, segment + 2 + number(segment + 2, 2))
    little = number(start, 2) == 0x4949
    directory = start + number(start + 4, 4, little)
    room = tf.maximum((end - directory - 2) // 12, 0)
    count = tf.minimum(number(directory, 2, little), room)
    entries = directory + 2 + 12 * tf.range(count)
    short = (number(entries, 2, little) == ORIENTATION_TAG) & (number(entries + 2, 2, little) == 3)
    values = tf.where(short, number(entries + 8, 2, little), tf.constant(0, tf.int64))
    # reduce_max of nothing is the smallest int64: outside 1..8, like every other wrong value.
    orientation = tf.reduce_max(values)
    valid = is_exif(segment) & (orientation >= 1) & (orientation <= 8)
    return tf.where(valid, tf.cast(orientation, tf.int32), 1)


def _turn_in_graph(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    def when(
        condition: tf.Tensor, turned: Callable[[tf.Tensor], tf.Tensor], image: tf.Tensor
    ) -> tf.Tensor:
        return tf.cond(condition, lambda: turned(image), lambda: image)

    image = when(orientation >= 5, lambda x: tf.transpose(x, [1, 0, 2]), image)
    flipped = tf.reduce_any(orientation == tf.constant(FLIPPED_LEFT_RIGHT))
    image = when(flipped, lambda x: tf.reverse(x, [1]), image)
    flipped = tf.reduce_any(orientation == tf.constant(FLIPPED_UP_DOWN))
    return when(flipped, lambda x: tf.reverse(x, [0]), image)
