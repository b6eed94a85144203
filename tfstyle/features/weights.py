"""Weights of backbones: bundled, downloaded, or from a file."""

import difflib
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from importlib import resources
from pathlib import Path

import keras
import numpy as np
import requests
import tqdm

from tfstyle import files
from tfstyle.errors import ArgumentError, TfstyleError

BGR_MEANS = (103.939, 116.779, 123.68)
RGB_MEANS, RGB_DEVIATIONS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# Gatys, Ecker and Bethge 2015, "A Neural Algorithm of Artistic Style"
# (https://arxiv.org/abs/1508.06576), methods: with average pooling the gradient flows better and
# the pictures are slightly more appealing. The weights stay as they are, here and there.
POOLING = {"max": keras.layers.MaxPooling2D, "average": keras.layers.AveragePooling2D}

SERVER = "https://storage.googleapis.com/tensorflow/keras-applications"
# A server that takes no connection within this is taken to be out of reach; one that falls silent
# for as long in the middle of a file is given up.
_CONNECT_SECONDS, _STALL_SECONDS = 5.0, 30.0
_CHUNK = 2**18  # bytes

# Up to so many names, an error lists them all.
_LISTED = 40


class WeightsError(TfstyleError, ValueError):
    """Weights that cannot be fetched or read; the message names them and the mend."""


def read_bundled(name: str, layers: Iterable[str]) -> dict[str, list[np.ndarray]]:
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


def headless(build: Callable[..., keras.Model]) -> keras.Model:
    """The network without its classifier, random weights, float32 whatever the global policy is."""
    return in_float32(lambda: build(include_top=False, weights=None, input_shape=(None, None, 3)))


def in_float32(build: Callable[[], keras.Model]) -> keras.Model:
    """What `build` makes, in float32 whatever the global dtype policy is."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        return build()
    finally:
        keras.config.set_dtype_policy(policy)


def names_of(model: keras.Model) -> tuple[str, ...]:
    """The layers of a model that features can be taken of, from the image on."""
    # Paddings are no features, and DenseNet's have names that change from one build to the next.
    others = (keras.layers.InputLayer, keras.layers.ZeroPadding2D)
    return tuple(layer.name for layer in model.layers if not isinstance(layer, others))


def as_float32(layer: str, features: keras.KerasTensor) -> keras.KerasTensor:
    """The output [B, h, w, C] of a layer, in float32 under every dtype policy."""
    return keras.layers.Activation("linear", dtype="float32", name=f"{layer}_features")(features)


def pooling_layer(pooling: str) -> type[keras.layers.Layer]:
    """The layer of a pooling by its name in `POOLING`; a ValueError for another name."""
    if pooling not in POOLING:
        raise ArgumentError(f"pooling {pooling}: unknown. Choose from {', '.join(POOLING)}.")
    return POOLING[pooling]


def check_layers(name: str, layers: Sequence[str], known: Sequence[str]) -> None:
    """Raises a ValueError unless a network has the layers asked for, and one at least is asked for.

    Args:
        name: of the network in `BACKBONES`.
        layers: asked for.
        known: those the network has.
    """
    unknown = [layer for layer in layers if layer not in known]
    if layers and not unknown:
        return
    if len(known) <= _LISTED:
        choice = f"Choose from {', '.join(known)}."
    else:
        near = dict.fromkeys(
            match for layer in unknown for match in difflib.get_close_matches(layer, known, n=4)
        )
        if near:
            choice = f"Near to that: {', '.join(near)}. "
        else:
            choice = f"Some of them: {', '.join(known[:: len(known) // _LISTED])}. "
        choice += (
            f'All {len(known)}: python -c "from tfstyle import '
            f"features; print(*features.layer_names('{name}'))\""
        )
    raise ArgumentError(
        f"{name} layers {list(layers)}: "
        + (f"{', '.join(unknown)} unknown. " if unknown else "at least one is needed. ")
        + choice
    )


def load_weights(
    build: Callable[..., keras.Model], model: keras.Model, path: str | os.PathLike
) -> keras.Model:
    """`model` with the weights of a file, or where those have a top, its like with one.

    Raises:
        WeightsError: for a file that cannot be read or holds another network.
    """
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
            model = in_float32(lambda: build(weights=None))
            model.load_weights(path)
            return model
        except Exception:
            pass
    raise WeightsError(
        f"weights {path}: not those of keras.applications.{build.__name__} "
        f"({str(reason).splitlines()[0].rstrip('.')}). Give a .weights.h5, .h5 or .keras file that "
        "holds them."
    ) from reason


def fetched(name: str, *, file: str, url: str, md5: str) -> Path:
    """The file with a network's ImageNet weights: from Keras' cache, or fetched into it.

    Args:
        name: of the network.
        file: its name in the cache.
        url: where it is fetched from.
        md5: of its content, in hexadecimal.

    Raises:
        WeightsError: when it is not there and cannot be fetched; names the ways to do without.
    """
    # Keras' own rule, which it does not publish.
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    target = home / "models" / file
    damaged = False
    try:
        if target.is_file():
            with target.open("rb") as stored:
                damaged = hashlib.file_digest(stored, "md5").hexdigest() != md5
            if not damaged:
                return target
        # Keras would write in place, leave what is incomplete when it is killed, and wait for ever.
        return files.write_whole(target, lambda temporary: _download(name, url, md5, temporary))
    # Whatever requests raises is an OSError; a proxy that is no address may be a ValueError.
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{name}: {target} is {'damaged' if damaged else 'missing'} and "
            f"{url} cannot be fetched ({_reason(error)}). Take vgg16, which is "
            "bundled; or bring the file there another way, or name it by --weights PATH."
        ) from error


def _download(name: str, url: str, md5: str, path: Path) -> None:
    """Streams a network's weights into a file, through the proxy that the environment names.

    Raises:
        OSError: where the server does not answer, refuses, falls silent or stops too early, or the
            file is not the one with that checksum.
    """
    digest = hashlib.md5(usedforsecurity=False)
    timeouts = (_CONNECT_SECONDS, _STALL_SECONDS)
    with (
        requests.get(url, stream=True, timeout=timeouts) as reply,
        path.open("wb") as file,
    ):
        reply.raise_for_status()
        # None: a bar where somebody sees it, on a terminal.
        with tqdm.tqdm(
            desc=name,
            total=int(reply.headers.get("Content-Length", 0)) or None,
            unit="B",
            unit_scale=True,
            disable=None,
        ) as bar:
            for chunk in reply.iter_content(_CHUNK):
                digest.update(chunk)
                bar.update(file.write(chunk))
    if digest.hexdigest() != md5:
        raise OSError(f"what came has the MD5 {digest.hexdigest()}, not {md5}")


def _reason(error: BaseException) -> str:
    """What happened, in few words: requests wraps it in several lines of its own words."""
    if isinstance(error, requests.HTTPError):
        return f"{error.response.status_code} {error.response.reason}"
    place = "the proxy that is set: " if isinstance(error, requests.exceptions.ProxyError) else ""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return place + (str(error) or type(error).__name__)
