"""What the development server serves: versions of SavedModels, swapped while requests run.

A model is a folder of numbered versions, as TensorFlow Serving wants it. The highest is served.
When a higher one appears, it is loaded and warmed up beside the old one, then takes over; the old
one ends when its last request has been answered.
"""

import contextlib
import dataclasses
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from absl import logging
from tensorflow_serving.apis import prediction_log_pb2

from tfstyle import images, machine, stylize
from tfstyle.errors import ArgumentError
from tfstyle.serving import protocol
from tfstyle.serving.protocol import ServingError

# TensorFlow numbers what went wrong as gRPC does: {number: name}.
_CODES = {status.value[0]: status.name for status in grpc.StatusCode if status.value[0]}
WARM_UP = "assets.extra/tf_serving_warmup_requests"


class Version:
    """A loaded SavedModel, in a graph session as TensorFlow Serving runs it.

    Attributes:
        number: of the version.
        definitions: {name: SignatureDef} as the SavedModel has them.
        signatures: {name: protocol.Signature} of those that can be called.
    """

    def __init__(self, folder: Path, *, threads: int = 0) -> None:
        """
        Args:
            folder: of the version; its name is the number.
            threads: of an operation; all cores by default.

        Raises:
            Exception: TensorFlow's, of many classes, where it cannot be loaded or warmed up.
        """
        self.number = int(folder.name)
        self._bytes_per_pixel = _bytes_per_pixel(folder)
        self._graph = tf.Graph()
        config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=threads)
        self._session = tf.compat.v1.Session(graph=self._graph, config=config)
        try:
            with self._graph.as_default():
                loaded = tf.compat.v1.saved_model.loader.load(self._session, ["serve"], str(folder))
            self.definitions = dict(loaded.signature_def)
            self.signatures = {
                name: _signature(definition)
                for name, definition in self.definitions.items()
                if definition.inputs and definition.outputs
            }
            self._callables: dict[tuple, Callable] = {}
            self._lock = threading.Condition()
            self._users = 0
            self._warm_up(folder / WARM_UP)
        except BaseException:
            self._session.close()
            raise

    def run(
        self, signature: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]
    ) -> list[np.ndarray]:
        """The outputs named; may run in several threads at once.

        Raises:
            ServingError: what the model says to these inputs, or that they do not go into memory.
        """
        if self._bytes_per_pixel:
            size = max(map(_size, inputs.values()), key=math.prod, default=(0, 0))
            try:
                images.check_memory(size, self._bytes_per_pixel)
            except machine.TooLargeError as error:
                raise ServingError("RESOURCE_EXHAUSTED", str(error)) from error
        try:
            return self._callable(signature, tuple(inputs), tuple(outputs))(*inputs.values())
        except tf.errors.OpError as error:
            raise ServingError(_code_name(error), _first_words(error.message)) from error

    def acquire(self) -> None:
        """Until it is released as often, `end` waits."""
        with self._lock:
            self._users += 1

    def release(self) -> None:
        """Ends one use that `acquire` began."""
        with self._lock:
            self._users -= 1
            self._lock.notify_all()

    def end(self) -> None:
        """Waits for those that use it, and frees its memory."""
        with self._lock:
            self._lock.wait_for(lambda: not self._users)
        self._session.close()

    def _callable(self, signature: str, inputs: tuple, outputs: tuple) -> Callable:
        key = signature, inputs, outputs
        found = self._callables.get(key)
        if found is None:
            known = self.signatures[signature]
            with self._graph.as_default():
                found = self._session.make_callable(
                    [known.outputs[name].tensor for name in outputs],
                    [known.inputs[name].tensor for name in inputs],
                )
            self._callables[key] = found
        return found

    def _warm_up(self, path: Path) -> None:
        if not path.is_file():
            return
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
            name = request.model_spec.signature_name or protocol.DEFAULT_SIGNATURE
            inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
            signature = self.signatures[name]
            self.run(name, {**signature.defaults, **inputs}, tuple(signature.outputs))


def _bytes_per_pixel(folder: Path) -> int:
    """Memory that a model takes, as its card says; 0 where none does."""
    with contextlib.suppress(ArgumentError):
        told = stylize.read_card(folder).get("memory_bytes_per_pixel", 0)
        return told if isinstance(told, int) else 0
    return 0


def _size(array: np.ndarray) -> tuple[int, int]:
    """(height, width) of what is computed at once: all images of a tensor, or the largest file."""
    if array.ndim == 4:
        return array.shape[0] * array.shape[1], array.shape[2]
    if array.dtype != object or array.ndim != 1:
        return 0, 0
    sizes = [images.size_of(data) for data in array if isinstance(data, bytes)]
    return max(filter(None, sizes), key=math.prod, default=(0, 0))


def _signature(definition: Any) -> protocol.Signature:
    def tensors(infos: Mapping[str, Any]) -> dict[str, protocol.Tensor]:
        return {
            name: protocol.Tensor(
                info.name,
                np.dtype(tf.dtypes.as_dtype(info.dtype).as_numpy_dtype),
                tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim),
            )
            for name, info in sorted(infos.items())
        }

    defaults = {name: tf.make_ndarray(value) for name, value in definition.defaults.items()}
    return protocol.Signature(tensors(definition.inputs), tensors(definition.outputs), defaults)


def _code_name(error: tf.errors.OpError) -> str:
    return _CODES.get(error.error_code, "UNKNOWN")


def _first_words(message: str) -> str:
    """What is wrong, of an error of the graph: without nodes, and without any stack trace."""
    text = message.removeprefix("Graph execution error:").strip()
    return text.split("\n")[0].split(" [[{{node")[0].strip()


@dataclasses.dataclass
class State:
    """Of a version, as GetModelStatus tells it: START, LOADING, AVAILABLE, UNLOADING or END."""

    state: str
    error_code: str = "OK"
    error_message: str = ""


class Model:
    """The newest version that loads from a folder.

    Attributes:
        name: under which it is asked for.
        folder: of its versions.
    """

    def __init__(self, name: str, folder: Path, *, threads: int = 0) -> None:
        self.name = name
        self.folder = Path(folder)
        self._threads = threads
        self._current: Version | None = None
        self._states: dict[int, State] = {}
        self._failed: dict[int, object] = {}
        self._lock = threading.Lock()

    def look(self) -> bool:
        """Loads a version that is new and higher; returns whether one took over.

        One that fails is told in the log and in its state, and tried again when its files change:
        they may have been on their way.
        """
        newest = self._newest()
        current = self._current
        if newest is None or (current and newest <= current.number):
            return False
        folder = self.folder / str(newest)
        fingerprint = _fingerprint(folder)
        if self._failed.get(newest) == fingerprint:
            return False
        self._states[newest] = State("LOADING")
        try:
            version = Version(folder, threads=self._threads)
        except Exception as error:  # TensorFlow has no one class for what can be wrong.
            self._failed[newest] = fingerprint
            message = _first_words(str(error)) or type(error).__name__
            self._states[newest] = State("END", "UNKNOWN", message)
            logging.warning("%s version %d cannot be loaded: %s", self.name, newest, message)
            return False
        with self._lock:
            self._current = version
        self._states[newest] = State("AVAILABLE")
        logging.info("%s version %d is served", self.name, newest)
        if current:
            self._states[current.number] = State("UNLOADING")
            threading.Thread(target=self._unload, args=[current], daemon=True).start()
        return True

    def acquire(self, number: int | None = None) -> Version:
        """The version that is served, to be released after use.

        Raises:
            ServingError: NOT_FOUND where none is, or not that one.
        """
        with self._lock:
            current = self._current
            if current is None or number not in (None, current.number):
                wanted = self.name if number is None else f"{self.name}, {number}"
                kind = "Latest" if number is None else "Specific"
                wanted = f"{kind}({wanted})"
                raise ServingError("NOT_FOUND", f"Servable not found for request: {wanted}")
            current.acquire()
            return current

    def states(self, number: int | None = None) -> dict[int, State]:
        """{number: state} of all versions that were ever looked at, highest first.

        Raises:
            ServingError: NOT_FOUND where there is none, or not that one.
        """
        states = dict(sorted(self._states.items(), reverse=True))
        if number is not None:
            states = {key: state for key, state in states.items() if key == number}
        if not states:
            version = "any versions" if number is None else f"version {number}"
            raise ServingError("NOT_FOUND", f"Could not find {version} of model {self.name}")
        return states

    @property
    def available(self) -> bool:
        """Whether a version is served."""
        return self._current is not None

    def close(self) -> None:
        """Frees the version that is served, after its last request."""
        with self._lock:
            current, self._current = self._current, None
        if current:
            self._states[current.number] = State("UNLOADING")
            self._unload(current)

    def _unload(self, version: Version) -> None:
        version.end()
        self._states[version.number] = State("END")
        logging.info("%s version %d has ended", self.name, version.number)

    def _newest(self) -> int | None:
        try:
            names = [path.name for path in self.folder.iterdir()]
        except OSError as error:
            logging.warning("%s: %s", self.folder, error.strerror)
            return None
        numbers = [int(name) for name in names if name.isascii() and name.isdecimal()]
        there = [n for n in numbers if (self.folder / str(n) / "saved_model.pb").is_file()]
        return max(there, default=None)


def _fingerprint(folder: Path) -> object:
    """Changes whenever files of a version do."""
    found = []
    for path in sorted(folder.rglob("*")):
        with contextlib.suppress(OSError):
            stat = path.stat()
            found.append((str(path), stat.st_size, stat.st_mtime_ns))
    return found
