"""How far an artifact is from the Keras model that it was made of, and how far it may be."""

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tfstyle import images

# (measure, largest difference from Keras allowed), outputs in [0, 1]. uint8 may be off by its
# rounding on top of what float may be off.
BOUNDS = {
    "saved_model_float": ("max", 1e-3),
    "saved_model_uint8": ("max", 1e-3 + 0.5 / 255),
    "tflite_float32": ("max", 1e-3),
    "tflite_float16": ("max", 2 / 255),
    "tflite_dynamic": ("mean", 6 / 255),
    "tflite_int8": ("mean", 6 / 255),
}
# Where an artifact takes any size, parity is measured at these (height, width); one of them odd and
# not square.
PARITY_SIZES = ((256, 256), (199, 301))


def weights_to_try(styles: int) -> list[list[float]]:
    """Weights of styles that parity is measured with: each style alone, and an even blend of all.

    None at all where there are no styles.
    """
    return [*np.eye(styles).tolist(), [1 / styles] * styles] if styles else []


def measure(
    run: Callable, reference: Callable, photos: Sequence[np.ndarray], *, styles: int = 0
) -> dict[str, float]:
    """How far one is from the other: {"max", "mean"}, the worst of all photos and weights.

    Args:
        run, reference: float32 [1, H, W, 3] in [0, 1], and [1, styles] where there are any, to
            float32 [1, H, W, 3].
        photos: float32 RGB [H, W, 3] in [0, 1].
        styles: how many; see `weights_to_try`.
    """
    tried = [[np.array([weights], np.float32)] for weights in weights_to_try(styles)] or [[]]
    worst: dict[str, list[float]] = {"max": [], "mean": []}
    for photo in photos:
        # Through uint8, so that every artifact gets the same values, as a photo comes.
        image = images.from_uint8(images.to_uint8(photo))[np.newaxis]
        for weights in tried:
            expected = np.asarray(reference(image, *weights))
            # Twice: a fault of LiteRT shows from the second call on.
            for _ in range(2):
                difference = np.abs(np.asarray(run(image, *weights)) - expected)
                worst["max"].append(difference.max())
                worst["mean"].append(difference.mean())
    # Not Python's max, which can pass over NaN.
    return {key: float(np.max(values)) for key, values in worst.items()}


def reference(stylize: Callable, styles: int = 0) -> Callable:
    """What `measure` compares with: `stylize` of arrays, on the CPU, where TFLite runs too.

    A GPU rounds convolutions to TensorFloat-32. It keeps its answers: each variant asks the same.

    Args:
        stylize: see `convert.Source.stylize`.
        styles: how many it takes the weights of.
    """
    import tensorflow as tf

    specs = [tf.TensorSpec([1, None, None, 3], tf.float32)]
    if styles:
        specs.append(tf.TensorSpec([1, styles], tf.float32))
    traced = tf.function(stylize, input_signature=specs, autograph=False)
    known = {}

    def run(*given):
        key = tuple(hashlib.sha256(np.ascontiguousarray(each).tobytes()).digest() for each in given)
        if key not in known:
            with tf.device("CPU"):
                known[key] = traced(*map(tf.constant, given)).numpy()
        return known[key]

    return run


def verdict(artifact: str, worst: Mapping[str, float]) -> dict:
    """What cards and reports say of a measurement: {"measure", "bound", "max", "mean"}.

    Args:
        artifact: of BOUNDS.
        worst: as `measure` gives it.
    """
    kind, bound = BOUNDS[artifact]
    return {"measure": kind, "bound": bound, **worst}


def within(verdict: Mapping) -> bool:
    """Whether an artifact keeps within its bound; not so for NaN."""
    return verdict[verdict["measure"]] <= verdict["bound"]
