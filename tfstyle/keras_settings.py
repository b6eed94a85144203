"""Keras as every network here is built: by TensorFlow, channels last, in float32.

Its settings are one for the whole process. They come from KERAS_BACKEND and ~/.keras/keras.json,
which others may have written for other programs.
"""

import os
import sys
import warnings
from types import ModuleType

import wrapt


def settle_at_import() -> None:
    """Settles Keras when it is imported, by whom it may be; at once where it is there already.

    Raises:
        ImportError: where it is there, and runs on something else than TensorFlow.
    """
    if "keras" in sys.modules:
        for told in settle(sys.modules["keras"]):
            warnings.warn(told, stacklevel=3)
        return
    os.environ["KERAS_BACKEND"] = "tensorflow"
    wrapt.register_post_import_hook(settle, "keras")


def settle(keras: ModuleType) -> list[str]:
    """Has Keras work as it has to; returns what was changed, in words.

    Raises:
        ImportError: where it runs on something else than TensorFlow.
    """
    backend = keras.config.backend()
    if backend != "tensorflow":
        raise ImportError(
            f"Keras runs on {backend} in this process, and tfstyle needs TensorFlow. Import "
            "tfstyle before keras, or set KERAS_BACKEND=tensorflow."
        )
    told = []
    for name, wanted in (("image_data_format", "channels_last"), ("floatx", "float32")):
        found = getattr(keras.config, name)()
        if found != wanted:
            getattr(keras.config, f"set_{name}")(wanted)
            told.append(f"keras.config.{name}() is now {wanted}, not {found}: tfstyle needs that")
    return told
