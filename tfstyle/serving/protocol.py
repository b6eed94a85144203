"""What goes over the wire: the JSON of TensorFlow Serving's REST interface, and its errors.

Requests and replies as https://www.tensorflow.org/tfx/serving/api_rest describes them, and as
tensorflow_serving/util/json_tensor.cc reads and writes them. In particular, REST fills in no
defaults: a request names every input of its signature.
"""

import base64
import binascii
import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np

# Canonical code -> HTTP status, as http_server.cc of TensorFlow Serving maps them.
HTTP_STATUS = {
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}
DEFAULT_SIGNATURE = "serving_default"
_URL_SAFE = str.maketrans("-_", "+/")
# Of what a client sent, in an error message.
_SHOWN = 80


class ServingError(Exception):
    """What a client is told. `code`: a key of HTTP_STATUS, which gRPC knows by the same name."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def invalid(message: str) -> ServingError:
    """What a client is told of a request that is wrong."""
    return ServingError("INVALID_ARGUMENT", message)


@dataclasses.dataclass(frozen=True)
class Tensor:
    """An input or output of a signature.

    `tensor`: its name in the graph. `dtype`: of NumPy, object for strings. `shape`: None for a
    dimension of any size.
    """

    tensor: str
    dtype: np.dtype
    shape: tuple[int | None, ...]

    def check(self, name: str, shape: tuple[int, ...], max_pixels: int) -> None:
        """Raises ServingError for a shape that does not fit, or has more pixels than allowed."""
        fits = len(shape) == len(self.shape) and all(
            wanted in (None, given) for wanted, given in zip(self.shape, shape, strict=True)
        )
        if not fits:
            wanted = [-1 if size is None else size for size in self.shape]
            raise invalid(f"input {name}: shape {list(shape)} does not fit {wanted}")
        if len(shape) == 4:
            pixels = math.prod(shape[:3])
            if pixels > max_pixels:
                count, height, width, _ = shape
                raise invalid(
                    f"input {name}: {count} images of {width}x{height} are {pixels} pixels, above "
                    f"the limit of {max_pixels}"
                )
            if shape[0] and not pixels:
                raise invalid(f"input {name}: images without pixels, shape {list(shape)}")


@dataclasses.dataclass(frozen=True)
class Signature:
    """What a SavedModel computes under one name. `defaults`: of inputs that gRPC may leave out."""

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    defaults: Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Request:
    """A predict request as it was read; `rows`: it came in row form and is answered so."""

    signature_name: str
    inputs: dict[str, np.ndarray]
    rows: bool


def read_request(body: bytes, find: Callable[[str], Signature], *, max_pixels: int) -> Request:
    """Reads the body of a :predict request.

    Args:
        body: JSON in row form ("instances") or column form ("inputs").
        find: gives the signature of a name, or raises ServingError.
        max_pixels: of all images of one input.

    Raises:
        ServingError: for whatever does not fit the signature.
    """
    document = _document(body)
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(f"signature_name {_shown(name)}: give a string")
    name = name or DEFAULT_SIGNATURE
    signature = find(name)
    rows = "instances" in document
    if rows == ("inputs" in document):
        fault = "both 'instances' and 'inputs'" if rows else "neither 'instances' nor 'inputs'"
        raise invalid(f"the request has {fault}: give one of them")
    columns = (
        _columns_of_rows(document["instances"], signature)
        if rows
        else _columns(document["inputs"], signature)
    )
    inputs = {}
    for key, value in columns.items():
        inputs[key] = _array(key, value, signature.inputs[key])
        signature.inputs[key].check(key, inputs[key].shape, max_pixels)
    return Request(name, inputs, rows)


def write_reply(outputs: Mapping[str, np.ndarray], *, rows: bool) -> bytes:
    """The JSON of a reply; outputs whose name ends in _bytes are base64-encoded.

    Args:
        outputs: {name: array [N, ...]}.
        rows: whether the request came in row form, and is to be answered so.

    Raises:
        ServingError: in row form, for outputs of different N.
    """
    values = {name: _values(name, array) for name, array in outputs.items()}
    if not rows:
        told = values if len(values) > 1 else next(iter(values.values()))
        return to_json({"outputs": told})
    if len(values) == 1:
        return to_json({"predictions": next(iter(values.values()))})
    count = {len(value) for value in values.values()}
    if len(count) != 1:
        raise invalid("outputs of different batch sizes have no row form: ask in column form")
    lines = zip(*values.values(), strict=True)
    return to_json({"predictions": [dict(zip(values, line, strict=True)) for line in lines]})


def write_error(message: str) -> bytes:
    """{"error": message} as TensorFlow Serving writes it."""
    return to_json({"error": message})


def to_json(value: object) -> bytes:
    """The body of a reply."""
    return json.dumps(value).encode()


def _document(body: bytes) -> dict:
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        document = json.loads(body)
    except RecursionError:
        raise invalid("JSON Parse error: nested too deeply") from None
    except ValueError as error:  # wrong JSON, and bytes that are no UTF-8
        raise invalid(f"JSON Parse error: {str(error)[:_SHOWN]}") from None
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {_shown(document)} Is not object")
    return document


def _columns_of_rows(instances: object, signature: Signature) -> dict[str, list]:
    """{input: [its value of each instance]}"""
    if not isinstance(instances, list):
        raise invalid(f"'instances' {_shown(instances)}: give a list")
    if not instances:
        raise invalid("No values in 'instances' array")
    names = set(signature.inputs)
    if not _is_named(instances[0]):
        if len(names) > 1:
            raise invalid(
                f"'instances' is a plain list, but there are several inputs: give objects with the "
                f"keys {', '.join(sorted(names))}"
            )
        if any(map(_is_named, instances)):
            raise invalid("'instances' mixes objects with values: give one kind")
        return {next(iter(names)): instances}
    for number, instance in enumerate(instances):
        if not _is_named(instance) or set(instance) != names:
            keys = sorted(instance) if isinstance(instance, dict) else _shown(instance)
            raise invalid(
                f"Failed to process element: {number} of 'instances' list: {_shown(keys)}; keys "
                f"must be equal to: {','.join(sorted(names))}"
            )
    return {name: [instance[name] for instance in instances] for name in signature.inputs}


def _columns(inputs: Any, signature: Signature) -> dict:
    if not _is_named(inputs):
        if len(signature.inputs) > 1:
            raise invalid(
                "'inputs' is a plain value or list, but there are several inputs: give an object "
                f"with the keys {', '.join(sorted(signature.inputs))}"
            )
        return {next(iter(signature.inputs)): inputs}
    for name in signature.inputs:
        if name not in inputs:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    for name in inputs:
        if name not in signature.inputs:
            raise invalid(
                f"{_shown(name)}: no such input. There are: {', '.join(sorted(signature.inputs))}"
            )
    return inputs


def _is_named(value: object) -> bool:
    """Whether a value is an object of named inputs, and not base64."""
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value: object) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def _array(name: str, value: Any, spec: Tensor) -> np.ndarray:
    if spec.dtype == object:
        return _strings(name, value, len(spec.shape))
    try:
        array = np.array(value)
    except (ValueError, OverflowError):
        raise invalid(f"input {name}: lists of different lengths where a tensor is due") from None
    if not array.size:
        # An empty list has no type.
        return array.astype(spec.dtype) if array.dtype.kind == "f" else _refuse(name, value, spec)
    if array.dtype.kind not in ("iu" if spec.dtype.kind in "iu" else "iuf"):
        _refuse(name, value, spec)
    bounds = (np.iinfo if spec.dtype.kind in "iu" else np.finfo)(spec.dtype)
    finite = array[np.isfinite(array)]
    if finite.size:
        low, high = finite.min(), finite.max()
        if low < bounds.min or high > bounds.max:
            raise invalid(f"input {name}: values from {low} to {high} do not fit {spec.dtype}")
    return array.astype(spec.dtype)


def _refuse(name: str, value: object, spec: Tensor) -> NoReturn:
    raise invalid(f"JSON Value: {_shown(value)} is not of expected type: {spec.dtype} ({name})")


def _strings(name: str, value: object, rank: int) -> np.ndarray:
    if rank != 1 or not isinstance(value, list):
        raise invalid(f"input {name}: give a list of base64 objects, not {_shown(value)}")
    array = np.empty(len(value), object)
    for number, element in enumerate(value):
        if isinstance(element, str):
            array[number] = element.encode("utf-8", "surrogatepass")
        elif _is_base64(element):
            text = element["b64"]
            try:
                array[number] = _from_base64(text)
            except (binascii.Error, ValueError):
                raise invalid(f"input {name}: Unable to base64 decode {_shown(text)}") from None
        else:
            raise invalid(
                f'JSON Value: {_shown(element)} is not of expected type: string or {{"b64": ...}} '
                f"({name})"
            )
    return array


def _from_base64(text: str) -> bytes:
    """As TensorFlow Serving decodes it: white space and padding do not count.

    Besides, the URL-safe alphabet of RFC 4648, section 5, stands for the usual one.
    """
    text = "".join(text.split()).rstrip("=").translate(_URL_SAFE)
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def _values(name: str, array: np.ndarray) -> list:
    if array.dtype != object:
        return array.tolist()
    if name.endswith("_bytes"):
        return [{"b64": base64.b64encode(element).decode()} for element in array]
    return [element.decode("utf-8", "replace") for element in array]


def _shown(value: object) -> str:
    """A value for an error message, cut short without writing all of it."""
    if isinstance(value, list | tuple) and len(value) > 4:
        return f"[{_shown(value[0])}, ... {len(value)} values]"
    if isinstance(value, dict) and len(value) > 4:
        return f"{{{_shown(next(iter(value)))}: ... {len(value)} entries}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"[:_SHOWN]
    if isinstance(value, str):
        return repr(value[:_SHOWN])[:_SHOWN]
    try:
        return json.dumps(value)[:_SHOWN]
    except (ValueError, RecursionError):
        return type(value).__name__
