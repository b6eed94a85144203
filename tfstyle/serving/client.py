"""A client of TensorFlow Serving and of the development server, over REST or gRPC.

    client = Client("http://localhost:8501", "starry_night")
    images.write("out.png", client(images.read("photo.jpg"), strength=0.8))

REST needs no TensorFlow. gRPC imports it, for the definitions of its messages.
"""

import base64
import ipaddress
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self
from urllib.parse import quote, urlsplit

import numpy as np
import requests

from tfstyle import images, machine, stylize
from tfstyle.errors import ArgumentError, TfstyleError
from tfstyle.serving import config

# Where a URL names none: TensorFlow Serving's own, and of https that of a proxy before it.
PORTS = {"http": config.PORTS["rest"], "https": 443, "grpc": config.PORTS["grpc"]}
TIMEOUT = 60.0
# Codes after which the same request may well be answered.
_BUSY = {429, 503}
_TOO_MANY_BYTES = 413


class ClientError(TfstyleError, ValueError):
    """A request that was not answered with a picture; the message names server and reason.

    Attributes:
        code: HTTP status, or the number of gRPC's status; None where no server answered.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class Client:
    """Stylizes images on a server.

    Use one client in one thread at a time.

    Attributes:
        style_count: how many styles the model blends; 0 for a model of one style.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        *,
        version: int | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        """
        Args:
            url: http://HOST:PORT or https://HOST:PORT for REST, grpc://HOST:PORT for gRPC. Without
                a port those of `PORTS`. REST may lie under a path, as behind a proxy
                (https://HOST/PATH). An IPv6 address stands in brackets.
            model: its name on the server.
            version: of the model; the newest by default.
            timeout: of a request, in seconds.

        Raises:
            ClientError: where the server does not answer, or has no such model.
            ValueError: for a URL or a name that cannot be used.
        """
        scheme, place, path = _parts(url)
        if not model:
            raise ArgumentError(f"{url}: name the model that the server shall use")
        self._where = f"{url}, model {model}"
        self._transport: _Rest | _Grpc
        if scheme == "grpc":
            self._transport = _Grpc(place, model, version, timeout)
        else:
            self._transport = _Rest(f"{scheme}://{place}{path}", model, version, timeout)
        self.style_count = self._transport.style_count()
        self._styles = tuple(map(str, range(self.style_count)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def name_styles(self, names: Sequence[str]) -> None:
        """Names the styles of the model, in order, for `style`: a server knows only their number.

        Names that are not as many as the styles are those of another version, and not used.
        """
        if names and len(names) == self.style_count:
            self._styles = tuple(names)

    def close(self) -> None:
        """Ends the connection."""
        self._transport.close()

    def __call__(
        self,
        image: np.ndarray,
        *,
        strength: float = 1.0,
        preserve_color: bool = False,
        style: str | int | Mapping[str | int, float] | None = None,
    ) -> np.ndarray:
        """The stylized image, as `stylize.Stylizer` gives it.

        Args:
            image: float32 RGB [H, W, 3] in [0, 1]; it is sent with 8 bits a channel.
            strength: 0 gives the image itself, 1 the stylized one, between them a linear blend,
                which is made here.
            preserve_color: keeps the chroma of the image.
            style: of a model with several: a name or an index from 0, or {name or index: weight}.

        Returns:
            float32 RGB [H, W, 3] in [0, 1].

        Raises:
            ClientError: where the server refuses, or gives no picture of that size.
            TooLargeError: where the server refuses it for its size.
            ValueError: for a strength or style that cannot be.
        """
        stylize.check_strength(strength)
        try:
            reply = self.stylize_bytes(images.encode(image), style=style)
        except ClientError as error:
            raise _too_large(error, image.shape[:2]) or error from None
        try:
            stylized = images.decode_bytes(reply, name=f"{self._where}: the reply")
        except images.ImageError as error:
            raise ClientError(str(error)) from error
        if stylized.shape != image.shape:
            raise ClientError(
                f"{self._where}: replied with a picture of {stylized.shape[1]}x"
                f"{stylized.shape[0]} pixels to one of {image.shape[1]}x{image.shape[0]}"
            )
        return stylize.finished(stylized, image, strength=strength, preserve_color=preserve_color)

    def stylize_bytes(
        self, encoded: bytes, *, style: str | int | Mapping[str | int, float] | None = None
    ) -> bytes:
        """A PNG of the stylized image.

        Args:
            encoded: the bytes of a file in any format that `images.read` takes. A JPEG or PNG in
                sRGB is sent as it is, others as a PNG: a server decodes these two, and sees no
                colour profile.
            style: as above.

        Raises:
            ClientError: where the server refuses.
            ImageError: as `images.read`, for what is not sent as it is.
        """
        encoded = images.to_srgb_bytes(encoded)
        return self._transport.predict(encoded, self.style_weights(style))

    def style_weights(
        self, style: str | int | Mapping[str | int, float] | None = None
    ) -> list[float] | None:
        """What a style stands for: a weight for each, with sum 1; None for a model of one style.

        Raises:
            ValueError: for a style that the model does not have.
        """
        return stylize.style_weights(style, self._styles)


def _too_large(error: ClientError, size: tuple[int, int]) -> machine.TooLargeError | None:
    """What a server's refusal of an image for its pixels or bytes says; None for another one."""
    height, width = size
    if told := re.search(r"Make the image at most (\d+)x(\d+)", str(error)):
        return machine.TooLargeError(str(error), (int(told[2]), int(told[1])))
    limit = re.search(r"pixels, above the limit of (\d+)", str(error))
    if limit:
        scale = math.sqrt(int(limit[1]) / (height * width))
    elif error.code == _TOO_MANY_BYTES or "larger than max" in str(error):
        scale = 0.7  # half as many
    else:
        return None
    fits = max(1, int(height * scale)), max(1, int(width * scale))
    text = f"{str(error).rstrip('.')}. Make the image at most {fits[1]}x{fits[0]}"
    return machine.TooLargeError(text, fits)


def _parts(url: str) -> tuple[str, str, str]:
    """(scheme, HOST:PORT, path) of a server's URL; without a scheme it is http."""
    wrong = ArgumentError(
        f"{url}: give http://HOST:PORT (REST), https://HOST:PORT or grpc://HOST:PORT, an IPv6 "
        "address in brackets"
    )
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError:  # a bracket that does not close, a port that is no number
        raise wrong from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise wrong
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return parts.scheme, f"{host}:{port or PORTS[parts.scheme]}", parts.path.rstrip("/")


def _host(place: str) -> str:
    """Of HOST:PORT, without the brackets of an IPv6 address."""
    return place.rpartition(":")[0].strip("[]")


def _is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False


class _Rest:
    def __init__(self, base: str, model: str, version: int | None, timeout: float) -> None:
        self._model = f"{base}/v1/models/{quote(model, safe='')}"
        if version is not None:
            self._model += f"/versions/{version}"
        self._timeout = timeout
        self._session = requests.Session()
        # A proxy cannot reach this machine's own server, whatever HTTP_PROXY says.
        self._session.trust_env = not _is_loopback(urlsplit(base).hostname or "")

    def style_count(self) -> int:
        told = self._ask("GET", f"{self._model}/metadata")
        try:
            inputs = told["metadata"]["signature_def"]["signature_def"]["encoded"]["inputs"]
            weights = inputs.get("style_weights")
            return int(weights["tensor_shape"]["dim"][1]["size"]) if weights else 0
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            raise ClientError(
                f"{self._model}: no signature 'encoded'; is it a model that tfstyle exported?"
            ) from None

    def predict(self, encoded: bytes, weights: list[float] | None) -> bytes:
        inputs: dict[str, list] = {"image_bytes": [{"b64": base64.b64encode(encoded).decode()}]}
        if weights is not None:
            inputs["style_weights"] = [weights]
        body = json.dumps({"signature_name": "encoded", "inputs": inputs})
        told = self._ask("POST", f"{self._model}:predict", body)
        try:
            return base64.b64decode(told["outputs"][0]["b64"], validate=True)
        except (KeyError, TypeError, ValueError, IndexError):
            raise ClientError(f"{self._model}: the reply holds no picture") from None

    def close(self) -> None:
        self._session.close()

    def _ask(self, method: str, url: str, body: str | None = None) -> dict:
        try:
            answer = self._session.request(method, url, data=body, timeout=self._timeout)
        except requests.Timeout as error:
            raise ClientError(f"{url}: no answer within {self._timeout:g} s") from error
        except (requests.RequestException, UnicodeError) as error:
            raise ClientError(f"{url}: no server answers there ({_reason(error)})") from error
        try:
            told = answer.json()
        except ValueError:
            told = None
        if answer.status_code != 200 or not isinstance(told, dict):
            why = told.get("error") if isinstance(told, dict) else None
            busy = "; it is busy, try again later" if answer.status_code in _BUSY else ""
            why = why or answer.reason or "no JSON in the reply"
            raise ClientError(f"{url}: {why} ({answer.status_code}{busy})", answer.status_code)
        return told


def _reason(error: BaseException) -> str:
    """The innermost reason that requests wraps."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return getattr(error, "strerror", None) or type(error).__name__


class _Grpc:
    def __init__(self, place: str, model: str, version: int | None, timeout: float) -> None:
        import grpc
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        self._where = f"grpc://{place}, model {model}"
        self._timeout = timeout
        self._spec: dict[str, Any] = {"name": model}
        if version is not None:
            self._spec["version"] = {"value": version}
        self._channel = grpc.insecure_channel(
            place,
            options=[
                ("grpc.max_send_message_length", -1),
                ("grpc.max_receive_message_length", -1),
                ("grpc.enable_http_proxy", int(not _is_loopback(_host(place)))),
            ],
        )
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def style_count(self) -> int:
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=self._spec, metadata_field=["signature_def"]
        )
        response = self._call(self._stub.GetModelMetadata, request)
        definitions = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(definitions)
        if "encoded" not in definitions.signature_def:
            raise ClientError(
                f"{self._where}: no signature 'encoded'; is it a model that tfstyle exported?"
            )
        inputs = definitions.signature_def["encoded"].inputs
        if "style_weights" not in inputs:
            return 0
        return inputs["style_weights"].tensor_shape.dim[1].size

    def predict(self, encoded: bytes, weights: list[float] | None) -> bytes:
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest(model_spec={**self._spec, "signature_name": "encoded"})
        request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([encoded]))
        if weights is not None:
            proto = tf.make_tensor_proto(np.array([weights], np.float32))
            request.inputs["style_weights"].CopyFrom(proto)
        response = self._call(self._stub.Predict, request)
        pictures = response.outputs["stylized_bytes"].string_val
        if len(pictures) != 1:
            raise ClientError(f"{self._where}: the reply holds no picture")
        return pictures[0]

    def close(self) -> None:
        self._channel.close()

    def _call(self, method: Callable, request: Any) -> Any:
        import grpc

        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            code = error.code()
            if code == grpc.StatusCode.UNAVAILABLE:
                raise ClientError(f"{self._where}: no server answers there") from error
            if code == grpc.StatusCode.DEADLINE_EXCEEDED:
                text = f"no answer within {self._timeout:g} s"
                raise ClientError(f"{self._where}: {text}") from error
            busy = "; it is busy, try again later" if code.name == "RESOURCE_EXHAUSTED" else ""
            raise ClientError(
                f"{self._where}: {error.details()} ({code.name}{busy})", code.value[0]
            ) from error
