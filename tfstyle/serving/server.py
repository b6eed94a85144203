"""The development server: the contract of TensorFlow Serving, for a machine that has none.

It is for trying out and for tests: one process, no TLS, no access control. REST as `protocol` says;
gRPC: PredictionService with Predict and GetModelMetadata, ModelService with GetModelStatus. Over
REST there are besides

    GET /healthz                            200 while the process answers
    GET /readyz                             200 while every model is served, otherwise 503
    GET /monitoring/prometheus/metrics      at the path of TensorFlow Serving, names of its own
"""

import asyncio
import concurrent.futures
import contextlib
import functools
import math
import re
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import grpc
import numpy as np
import prometheus_client
import tensorflow as tf
from absl import logging
from aiohttp import web
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
)

from tfstyle import images
from tfstyle.errors import ArgumentError
from tfstyle.serving import protocol
from tfstyle.serving.config import METRICS_PATH
from tfstyle.serving.models import Model, State, Version
from tfstyle.serving.protocol import ServingError, Signature, invalid
from tfstyle.serving.scheduling import Job, Scheduler

_PREDICT = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?:(classify|regress|predict)", re.I)
_LOOK = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?(/metadata)?", re.I)
# Seconds within which the body of a request must have come.
_BODY_SECONDS = 60
# Signals that end the server.
_STOPPING = (signal.SIGINT, signal.SIGTERM)
_LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class DevServer:
    """Serves models over REST and gRPC.

        server = DevServer({"starry_night": "saved_models/starry_night"})
        with server.in_thread():
            requests.get(f"http://127.0.0.1:{server.rest_port}/v1/models/starry_night")

    Attributes:
        port, rest_port: of gRPC and REST; the real ones once it has started.
    """

    def __init__(
        self,
        models: Mapping[str, str | Path],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        rest_port: int = 0,
        workers: int = 2,
        threads: int = 0,
        queue: int = 64,
        max_request_bytes: int = 64 * 2**20,
        max_pixels: int = images.MAX_SERVED_PIXELS,
        batch_pixels: int = 256 * 256,
        poll_seconds: float = 1.0,
        grace_seconds: float = 30.0,
        cors: Sequence[str] = (),
    ) -> None:
        """
        Args:
            models: {name: folder of its numbered versions}.
            host: address to listen on; 0.0.0.0 is all of this machine's.
            port: of gRPC; 0 takes one that is free.
            rest_port: of REST; likewise.
            workers: batches computed at the same time; each takes the memory of its images.
            threads: of one operation of the graph; 0 is one for each core.
            queue: requests that may wait; more are answered RESOURCE_EXHAUSTED (429).
            max_request_bytes: of a request's body or message.
            max_pixels: of all images of a request that come as tensors.
            batch_pixels: up to which images of one shape are computed together; 0 for never.
            poll_seconds: between two looks for new versions.
            grace_seconds: that a stop waits for requests which were taken in.
            cors: origins whose pages may ask over REST, such as http://localhost:3000; "*" is all.
        """
        self.port = port
        self.rest_port = rest_port
        self._host = host
        self._models = {
            name: Model(name, Path(folder), threads=threads) for name, folder in models.items()
        }
        self._workers = workers
        self._queue = queue
        self._max_request_bytes = max_request_bytes
        self._max_pixels = max_pixels
        self._batch_pixels = batch_pixels
        self._poll_seconds = poll_seconds
        self._grace_seconds = grace_seconds
        self._cors = frozenset(cors)
        self._metrics = _Metrics()
        self._in_flight = 0
        self._stopping = False
        self._undo = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Loads the models and listens.

        Raises:
            ValueError: where a model has no version that can be loaded.
            OSError: where a port is taken.
        """
        try:
            await self._start()
        except BaseException:
            await self._undo.aclose()
            raise

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()
        # Of its own, so that loading a version and computing never wait for each other.
        loader = concurrent.futures.ThreadPoolExecutor(1, "load")
        self._undo.callback(loader.shutdown, wait=False)
        for model in self._models.values():
            await loop.run_in_executor(loader, model.look)
            self._undo.callback(model.close)
            if not model.available:
                states: dict[int, State] = {}
                with contextlib.suppress(ServingError):
                    states = model.states()
                why = "; ".join(f"version {n}: {s.error_message}" for n, s in states.items())
                raise ArgumentError(
                    f"{model.folder}: {why or 'no version in it'}. Give the folder of numbered "
                    "versions of a SavedModel, as the export writes it: NAME/1/saved_model.pb"
                )
        # Reading and writing JSON and tensors, beside the loop that talks to clients.
        self._pool = concurrent.futures.ThreadPoolExecutor(self._workers + 2, "encode")
        self._undo.callback(self._pool.shutdown, wait=False)
        self._scheduler = Scheduler(
            workers=self._workers,
            queue=self._queue,
            batch_pixels=self._batch_pixels,
            on_batch=self._metrics.batch_size.observe,
        )
        self._undo.push_async_callback(loop.run_in_executor, None, self._scheduler.close)
        self._metrics.waiting.set_function(lambda: self._scheduler.waiting)

        runner = web.AppRunner(
            self._application(), access_log=None, handler_cancellation=True, shutdown_timeout=1
        )
        await runner.setup()
        self._undo.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, self._host, self.rest_port)
        await site.start()
        self.rest_port = runner.addresses[0][1]

        rpc = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", self._max_request_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),  # otherwise a second server would take half of them
            ],
            # Whole messages are in memory before any handler is asked.
            maximum_concurrent_rpcs=2 * (self._queue + self._workers) + 8,
        )
        rpc.add_generic_rpc_handlers(self._rpc_handlers())
        try:
            host = f"[{self._host}]" if ":" in self._host else self._host
            self.port = rpc.add_insecure_port(f"{host}:{self.port}")
        except RuntimeError as error:
            raise OSError(f"port {self.port} of {self._host} cannot be had for gRPC") from error
        await rpc.start()
        self._undo.push_async_callback(rpc.stop, self._grace_seconds)

        watch = asyncio.create_task(self._watch(loader))
        self._undo.callback(watch.cancel)
        self._undo.push_async_callback(self._finish, site)

    async def stop(self) -> None:
        """Takes nothing more in, answers what was taken in, and ends."""
        await self._undo.aclose()

    async def _finish(self, site: web.BaseSite) -> None:
        self._stopping = True
        await site.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._grace_seconds):
                while self._in_flight:
                    await asyncio.sleep(0.01)

    @contextlib.contextmanager
    def in_thread(self) -> Iterator[Self]:
        """Runs the server in a thread of its own while the block is entered."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="server", daemon=True)
        thread.start()

        def call(coroutine: Coroutine) -> Any:
            return asyncio.run_coroutine_threadsafe(coroutine, loop).result()

        try:
            call(self.start())
            try:
                yield self
            finally:
                call(self.stop())
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def run(self, announce: Callable[[], None] = lambda: None) -> None:
        """Serves until SIGINT or SIGTERM; a second one ends at once.

        Args:
            announce: called when all models are served.

        Raises:
            As `start`.
        """
        before = {number: signal.getsignal(number) for number in _STOPPING}
        try:
            asyncio.run(self._run(announce))
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def _run(self, announce: Callable[[], None]) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in _STOPPING:
            loop.add_signal_handler(number, stop.set)
        await self.start()
        announce()
        await stop.wait()
        for number in _STOPPING:
            loop.remove_signal_handler(number)
        logging.info("stopping; %d requests are being answered", self._in_flight)
        await self.stop()

    async def _watch(self, loader: concurrent.futures.Executor) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._poll_seconds)
            for model in self._models.values():
                try:
                    await loop.run_in_executor(loader, model.look)
                except Exception:
                    logging.exception("%s: looking for new versions", model.name)

    # What both interfaces do.

    def _model(self, name: str) -> Model:
        try:
            return self._models[name]
        except KeyError:
            raise ServingError(
                "NOT_FOUND", f"Servable not found for request: Latest({name[:100]})"
            ) from None

    @contextlib.contextmanager
    def _taken_in(self) -> Iterator[None]:
        """Counts a request in, unless there are too many."""
        if self._stopping:
            raise ServingError("UNAVAILABLE", "the server is stopping")
        if self._in_flight >= self._queue + self._workers:
            raise ServingError(
                "RESOURCE_EXHAUSTED",
                f"{self._in_flight} requests are being worked on or waiting, which is the limit: "
                "try again later",
            )
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1

    async def _predict(
        self, model: Model, number: int | None, read: Callable, write: Callable
    ) -> bytes:
        """The reply to a request.

        Args:
            model: to be asked.
            number: of a version; the newest by default.
            read: version -> (signature, inputs, names of outputs, more for `write`).
            write: (version, outputs, more) -> the reply.
        """
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            version = model.acquire(number)
            stack.callback(version.release)
            signature, inputs, outputs, more = await loop.run_in_executor(self._pool, read, version)
            job = Job(version, signature, inputs, outputs)
            future = self._scheduler.submit(job)
            stack.pop_all()  # the scheduler releases it
            answer = await asyncio.wrap_future(future)
        return await loop.run_in_executor(self._pool, write, version, answer, more)

    # REST.

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=self._max_request_bytes)
        application.router.add_route("*", r"/{path:[\s\S]*}", self._answer)
        return application

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        start = time.perf_counter()
        try:
            body, kind = await self._route(request)
            status = 200
        except ServingError as error:
            status, kind = protocol.HTTP_STATUS[error.code], "application/json"
            body = protocol.write_error(str(error))
        except web.HTTPRequestEntityTooLarge:
            status, kind = 413, "application/json"
            body = protocol.write_error(
                f"the request is above the limit of {self._max_request_bytes} bytes"
            )
        except web.HTTPException as error:
            status, kind = error.status, "application/json"
            body = protocol.write_error(error.reason)
        except Exception:
            logging.exception("REST %s", request.path)
            status, kind = 500, "application/json"
            body = protocol.write_error("internal error")
        asked = _PREDICT.fullmatch(request.path)
        # Only of models that there are: a label for each name that comes would fill the memory.
        if asked and asked[1] in self._models:
            self._metrics.answered(asked[1], "REST", status, time.perf_counter() - start)
        headers = {"Content-Type": kind, **self._cors_headers(request)}
        response = web.Response(body=body, status=status, headers=headers)
        if self._stopping:
            response.force_close()
        return response

    def _cors_headers(self, request: web.Request) -> dict[str, str]:
        """By which a browser lets a page of another origin have the reply (Fetch, CORS protocol).

        https://fetch.spec.whatwg.org/#http-cors-protocol
        """
        origin = request.headers.get("Origin")
        if not origin or not self._cors & {origin, "*"}:
            return {}
        asked = request.headers.get("Access-Control-Request-Headers")
        return {
            "Access-Control-Allow-Origin": origin,
            "Vary": "Origin",
            "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
            **({"Access-Control-Allow-Headers": asked} if asked else {}),
        }

    async def _route(self, request: web.Request) -> tuple[bytes, str]:
        """(body, content type)"""
        path, json = request.path, "application/json"
        if request.method == "OPTIONS" and self._cors_headers(request):
            return b"", json  # a preflight, which the headers answer
        if found := _PREDICT.fullmatch(path):
            if request.method != "POST":
                raise invalid(f"Malformed request: {request.method} {path[:200]}")
            name, number, method = found.groups()
            return await self._rest_predict(request, name, number, method.lower()), json
        if request.method == "GET":
            if found := _LOOK.fullmatch(path):
                name, number, metadata = found.groups()
                look = self._rest_metadata if metadata else self._rest_status
                return look(self._model(name), _version_number(number)), json
            if path == "/healthz":
                return b'{"status": "ok"}', json
            if path == "/readyz":
                if self._stopping or not all(m.available for m in self._models.values()):
                    raise ServingError("UNAVAILABLE", "not ready")
                return b'{"status": "ready"}', json
            if path == METRICS_PATH:
                kind = prometheus_client.CONTENT_TYPE_LATEST
                return prometheus_client.generate_latest(self._metrics.registry), kind
        if path.lower().startswith("/v1/"):
            raise invalid(f"Malformed request: {request.method} {path[:200]}")
        raise ServingError("NOT_FOUND", "Not found")

    async def _rest_predict(
        self, request: web.Request, name: str, number: str | None, method: str
    ) -> bytes:
        model = self._model(name)
        asked_version = _version_number(number)
        if method != "predict":
            raise invalid(f"{method}: the signatures of {name} are all for predict")
        with self._taken_in():
            length = request.content_length or 0
            if length > self._max_request_bytes:
                raise web.HTTPRequestEntityTooLarge(self._max_request_bytes, length)
            try:
                async with asyncio.timeout(_BODY_SECONDS):
                    body = await request.read()
            except TimeoutError:
                raise web.HTTPRequestTimeout() from None

            def read(version: Version) -> tuple[str, dict[str, np.ndarray], tuple[str, ...], bool]:
                asked = protocol.read_request(
                    body, functools.partial(_find, version), max_pixels=self._max_pixels
                )
                outputs = tuple(version.signatures[asked.signature_name].outputs)
                return asked.signature_name, asked.inputs, outputs, asked.rows

            def write(version: Version, answer: dict[str, np.ndarray], rows: bool) -> bytes:
                return protocol.write_reply(answer, rows=rows)

            return await self._predict(model, asked_version, read, write)

    def _rest_status(self, model: Model, number: int | None) -> bytes:
        return _told(_status(model, number))

    def _rest_metadata(self, model: Model, number: int | None) -> bytes:
        version = model.acquire(number)
        try:
            spec = {"name": model.name, "signature_name": "", "version": str(version.number)}
            definitions = json_format.MessageToDict(
                _signature_map(version),
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
            )
            return protocol.to_json(
                {"model_spec": spec, "metadata": {"signature_def": definitions}}
            )
        finally:
            version.release()

    # gRPC.

    def _rpc_handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        services = {
            "tensorflow.serving.PredictionService": {
                "Predict": (predict_pb2.PredictRequest, self._rpc_predict),
                "GetModelMetadata": (
                    get_model_metadata_pb2.GetModelMetadataRequest,
                    self._rpc_metadata,
                ),
            },
            "tensorflow.serving.ModelService": {
                "GetModelStatus": (get_model_status_pb2.GetModelStatusRequest, self._rpc_status)
            },
        }
        return tuple(
            grpc.method_handlers_generic_handler(
                service,
                {
                    # Bytes in and out: gRPC would answer INTERNAL to what cannot be parsed.
                    method: grpc.unary_unary_rpc_method_handler(self._guarded(*handler))
                    for method, handler in methods.items()
                },
            )
            for service, methods in services.items()
        )

    def _guarded(self, kind: type[Message], handle: Callable[..., Awaitable[bytes]]) -> Callable:
        """A handler of gRPC that turns every error into a status."""

        async def answer(message: bytes, context: grpc.aio.ServicerContext) -> bytes:
            start = time.perf_counter()
            model, code, text, reply = "", "OK", "", b""
            try:
                request: Any = kind.FromString(message)
                asked = request.model_spec.name
                model = asked if asked in self._models else ""
                reply = await handle(request)
            except DecodeError:
                code, text = "INVALID_ARGUMENT", f"the message is no {kind.__name__}"
            except ServingError as error:
                code, text = error.code, str(error)
            except Exception:
                logging.exception("gRPC %s", kind.__name__)
                code, text = "INTERNAL", "internal error"
            if model and kind is predict_pb2.PredictRequest:
                status = protocol.HTTP_STATUS.get(code, 200)
                self._metrics.answered(model, "gRPC", status, time.perf_counter() - start)
            if code != "OK":
                await context.abort(grpc.StatusCode[code], text)
            return reply

        return answer

    async def _rpc_predict(self, request: predict_pb2.PredictRequest) -> bytes:
        model = self._model(request.model_spec.name)
        with self._taken_in():

            def read(
                version: Version,
            ) -> tuple[str, dict[str, np.ndarray], tuple[str, ...], tuple[str, str]]:
                name = request.model_spec.signature_name or protocol.DEFAULT_SIGNATURE
                signature = _find(version, name)
                outputs = tuple(request.output_filter) or tuple(signature.outputs)
                _check_outputs(outputs, signature)
                inputs = self._arrays(request.inputs, signature)
                return name, inputs, outputs, (model.name, name)

            return await self._predict(model, _asked_version(request), read, _predict_response)

    def _arrays(self, protos: Mapping[str, Any], signature: Signature) -> dict[str, np.ndarray]:
        extra = sorted(set(protos) - set(signature.inputs))
        missing = sorted(set(signature.inputs) - set(protos) - set(signature.defaults))
        if extra or missing:
            raise invalid(
                f"input size does not match signature. Sent extra: {{{','.join(extra)[:200]}}}. "
                f"Missing but required: {{{','.join(missing)}}}."
            )
        arrays = dict(signature.defaults)
        for name, proto in protos.items():
            arrays[name] = _array(name, proto, signature.inputs[name], self._max_pixels)
        return arrays

    async def _rpc_metadata(self, request: get_model_metadata_pb2.GetModelMetadataRequest) -> bytes:
        fields = list(request.metadata_field)
        if not fields:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in fields:
            if field != "signature_def":
                raise invalid(f"Metadata field {field[:100]} is not supported")
        version = self._model(request.model_spec.name).acquire(_asked_version(request))
        try:
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            response.model_spec.name = request.model_spec.name
            response.model_spec.version.value = version.number
            response.metadata["signature_def"].Pack(_signature_map(version))
            return response.SerializeToString()
        finally:
            version.release()

    async def _rpc_status(self, request: get_model_status_pb2.GetModelStatusRequest) -> bytes:
        model = self._model(request.model_spec.name)
        return _status(model, _asked_version(request)).SerializeToString()


class _Metrics:
    """Of one server, so that several can run in one process."""

    def __init__(self) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        labels = ["model", "entrypoint"]
        self._requests = prometheus_client.Counter(
            "tfstyle_serving_requests",
            "Predict requests answered, by HTTP status (of gRPC, the one it stands for)",
            [*labels, "status"],
            registry=self.registry,
        )
        self._latency = prometheus_client.Histogram(
            "tfstyle_serving_request_seconds",
            "From a predict request's header to its reply",
            labels,
            buckets=_LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.batch_size = prometheus_client.Histogram(
            "tfstyle_serving_batch_requests",
            "Requests computed together",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )
        self.waiting = prometheus_client.Gauge(
            "tfstyle_serving_waiting_requests", "Requests in the queue", registry=self.registry
        )
        prometheus_client.ProcessCollector(registry=self.registry)

    def answered(self, model: str, entrypoint: str, status: int, seconds: float) -> None:
        self._requests.labels(model, entrypoint, str(status)).inc()
        self._latency.labels(model, entrypoint).observe(seconds)


def _find(version: Version, name: str) -> Signature:
    try:
        return version.signatures[name]
    except KeyError:
        raise invalid(
            f'Serving signature name: "{name[:100]}" not found in signature def. There are: '
            f"{', '.join(sorted(version.signatures))}"
        ) from None


def _check_outputs(names: tuple[str, ...], signature: Signature) -> None:
    for name in names:
        if name not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {name[:100]} Outputs expected to be "
                f"in the set {{{','.join(signature.outputs)}}}."
            )
    if len(set(names)) < len(names):
        raise invalid("duplicate output tensor alias")


def _version_number(text: str | None) -> int | None:
    if text is None:
        return None
    if len(text) > 18:
        raise invalid(f"Failed to convert version: {text[:40]} to numeric.")
    return int(text)


def _asked_version(request: Any) -> int | None:
    spec = request.model_spec
    if spec.WhichOneof("version_choice") == "version_label":
        raise invalid(f"Unrecognized servable version label: {spec.version_label[:100]}")
    return spec.version.value if spec.HasField("version") else None


def _array(name: str, proto: Any, spec: protocol.Tensor, max_pixels: int) -> np.ndarray:
    """A TensorProto as array, looked at before anything as large as it claims to be is made."""
    # By their numbers: some of TensorFlow's types have none of NumPy's.
    if proto.dtype != tf.dtypes.as_dtype(spec.dtype).as_datatype_enum:
        try:
            given = tf.dtypes.as_dtype(proto.dtype).name
        except TypeError:
            given = str(proto.dtype)
        raise invalid(f"input {name}: type {given}, where {spec.dtype} is due")
    if proto.tensor_shape.unknown_rank:
        raise invalid(f"input {name}: a tensor of unknown rank")
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if any(size < 0 for size in shape):
        raise invalid(f"input {name}: shape {list(shape)} has a negative size")
    spec.check(name, shape, max_pixels)
    count = math.prod(shape)
    if spec.dtype == object:
        if len(proto.string_val) != count:
            raise invalid(f"input {name}: {len(proto.string_val)} strings for shape {list(shape)}")
        array = np.empty(count, object)
        array[:] = list(proto.string_val)
        return array.reshape(shape)
    if count > 4 * max_pixels:
        raise invalid(f"input {name}: {count} values are above the limit of {4 * max_pixels}")
    try:
        return tf.make_ndarray(proto)
    except (ValueError, TypeError, OverflowError):
        raise invalid(f"input {name}: its values do not fill shape {list(shape)}") from None


def _predict_response(
    version: Version, answer: dict[str, np.ndarray], names: tuple[str, str]
) -> bytes:
    response = predict_pb2.PredictResponse()
    response.model_spec.name, response.model_spec.signature_name = names
    response.model_spec.version.value = version.number
    for name, array in answer.items():
        proto = response.outputs[name]
        proto.dtype = tf.dtypes.as_dtype(array.dtype).as_datatype_enum
        for size in array.shape:
            proto.tensor_shape.dim.add().size = size
        if array.dtype == object:
            proto.dtype = tf.string.as_datatype_enum
            proto.string_val.extend(array.ravel().tolist())
        else:
            proto.tensor_content = array.tobytes()
    return response.SerializeToString()


def _signature_map(version: Version) -> get_model_metadata_pb2.SignatureDefMap:
    found = get_model_metadata_pb2.SignatureDefMap()
    for name, definition in version.definitions.items():
        found.signature_def[name].CopyFrom(definition)
    return found


def _status(model: Model, number: int | None) -> get_model_status_pb2.GetModelStatusResponse:
    response = get_model_status_pb2.GetModelStatusResponse()
    kinds = get_model_status_pb2.ModelVersionStatus.State
    for version, state in model.states(number).items():
        entry = response.model_version_status.add()
        entry.version = version
        entry.state = kinds.Value(state.state)
        entry.status.error_code = state.error_code
        entry.status.error_message = state.error_message
    return response


def _told(message: Message) -> bytes:
    return json_format.MessageToJson(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    ).encode()
