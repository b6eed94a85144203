"""The development server and its client, asked as clients of TensorFlow Serving ask."""

import base64
import contextlib
import gzip
import io
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import hypothesis
import keras
import numpy as np
import pytest
import requests
import tensorflow as tf
import yaml
from google.protobuf import text_format
from hypothesis import strategies as st
from PIL import Image
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config import model_server_config_pb2

from tests import small_models
from tests.profiles import ADOBE_PROFILE
from tfstyle import cli, images, machine, stylize
from tfstyle.errors import ArgumentError
from tfstyle.images import provenance
from tfstyle.serving import client, config, models, protocol, scheduling
from tfstyle.serving.client import Client, ClientError
from tfstyle.serving.server import DevServer

ROOT = Path(__file__).parents[2]
SMALL = 2**20


def png_that_claims(width, height):
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + crc


@pytest.fixture(scope="module")
def generators():
    keras.utils.set_random_seed(1)
    return {"tiny": small_models.fast(), "several": small_models.fusion()}


@pytest.fixture(scope="module")
def folders(generators, photo, tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    for name, generator in generators.items():
        (root / name).mkdir()
        small_models.save(generator, root / name / "1", photo)
    return {name: root / name for name in generators}


@pytest.fixture(scope="module")
def server(folders):
    development = DevServer(folders, max_request_bytes=SMALL, poll_seconds=0.1)
    with development.in_thread():
        yield development


@pytest.fixture(scope="module")
def url(server):
    return f"http://127.0.0.1:{server.rest_port}"


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def b64(data):
    return {"b64": base64.b64encode(data).decode()}


def predict(url, body, name="tiny"):
    # Not json=, which takes no NaN.
    return requests.post(f"{url}/v1/models/{name}:predict", json.dumps(body), timeout=60)


def request_of(name="tiny", signature="", **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = name, signature
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return request


@contextlib.contextmanager
def refused(code, match):
    with pytest.raises(grpc.RpcError) as error:
        yield
    assert error.value.code() == getattr(grpc.StatusCode, code)
    assert match in error.value.details()
    assert "Traceback" not in error.value.details() and "node" not in error.value.details()


@pytest.fixture(scope="module")
def batch(photo):
    return images.to_uint8(np.stack([photo[:33, :17], photo[:33, 40:57]]))


@pytest.fixture(scope="module")
def stylized(generators, batch):
    return generators["tiny"](images.from_uint8(batch), training=False).numpy()


# REST


@pytest.mark.parametrize("form", ["instances", "inputs"])
@pytest.mark.parametrize("named", [False, True])
def test_rest_takes_rows_and_columns(url, batch, stylized, form, named):
    value = batch.tolist()
    if named and form == "instances":
        value = [{"images": image} for image in value]
    elif named:
        value = {"images": value}
    reply = predict(url, {form: value})
    assert reply.status_code == 200 and reply.headers["Content-Type"] == "application/json"
    (key,) = reply.json()
    assert key == {"instances": "predictions", "inputs": "outputs"}[form]
    np.testing.assert_allclose(np.array(reply.json()[key]) / 255, stylized, atol=0.51 / 255)


def test_rest_finds_signatures_and_writes_floats(url, batch, stylized):
    body = {"signature_name": "float", "instances": images.from_uint8(batch).tolist()}
    np.testing.assert_allclose(predict(url, body).json()["predictions"], stylized, atol=1e-5)


def test_rest_carries_files_as_base64(url, generators, photo):
    files = [images.encode(photo[:20, :31]), images.encode(photo[:48, :17], "jpeg")]
    rows = [{"image_bytes": b64(file)} for file in files]
    for body in (
        {"instances": rows},
        {"instances": [b64(file) for file in files]},
        {"inputs": {"image_bytes": [b64(file) for file in files]}},
        {"inputs": [b64(file) for file in files]},
    ):
        reply = predict(url, {"signature_name": "encoded", **body}).json()
        for file, told in zip(files, next(iter(reply.values())), strict=True):
            picture = images.decode_bytes(base64.b64decode(told["b64"]))
            expected = generators["tiny"](images.decode_bytes(file)[np.newaxis], training=False)[0]
            assert np.abs(picture - expected).mean() < 2 / 255


def test_rest_wants_every_input_named_as_tensorflow_serving_does(url, generators, batch):
    weights = np.array([[0, 1, 0], [0.2, 0.5, 0.3]], np.float32)
    expected = generators["several"]([images.from_uint8(batch), weights], training=False).numpy()
    rows = [
        {"images": image.tolist(), "style_weights": each.tolist()}
        for image, each in zip(batch, weights, strict=True)
    ]
    told = predict(url, {"instances": rows}, "several").json()["predictions"]
    np.testing.assert_allclose(np.array(told) / 255, expected, atol=0.51 / 255)
    columns = {"images": batch.tolist(), "style_weights": weights.tolist()}
    told = predict(url, {"inputs": columns}, "several").json()["outputs"]
    np.testing.assert_allclose(np.array(told) / 255, expected, atol=0.51 / 255)

    del columns["style_weights"], rows[0]["style_weights"]
    for body in ({"inputs": columns}, {"instances": rows}, {"instances": batch.tolist()}):
        reply = predict(url, body, "several")
        assert reply.status_code == 400 and "style_weights" in reply.json()["error"]


@pytest.mark.parametrize("weights", [[[2, 0, 0]], [[-1, 1, 1]], [[float("nan"), 0, 1]]])
def test_style_weights_that_are_no_blend_are_refused(url, batch, weights):
    body = {"inputs": {"images": batch[:1].tolist(), "style_weights": weights}}
    reply = predict(url, body, "several")
    assert reply.status_code == 400
    assert "weights from 0 that sum to 1" in reply.json()["error"]


def test_rest_tells_status_and_metadata(url):
    status = requests.get(f"{url}/v1/models/tiny").json()
    ok = {"error_code": "OK", "error_message": ""}
    entry = {"version": "1", "state": "AVAILABLE", "status": ok}
    assert status == {"model_version_status": [entry]}
    assert requests.get(f"{url}/v1/models/tiny/versions/1").json() == status

    told = requests.get(f"{url}/v1/models/several/metadata").json()
    assert told["model_spec"] == {"name": "several", "signature_name": "", "version": "1"}
    signatures = told["metadata"]["signature_def"]["signature_def"]
    image = signatures["serving_default"]["inputs"]["images"]
    assert image["dtype"] == "DT_UINT8"
    sizes = [dim["size"] for dim in image["tensor_shape"]["dim"]]
    assert sizes == ["-1", "-1", "-1", "3"]
    assert {"encoded", "float", "serving_default"} <= signatures.keys()


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/v1/models/none", 404),
        ("GET", "/v1/models/none/metadata", 404),
        ("GET", "/v1/models/tiny/versions/7", 404),
        ("GET", f"/v1/models/tiny/versions/{'9' * 5000}", 400),
        ("GET", "/v1/models", 400),
        ("GET", "/v1/models/tiny:predict", 400),
        ("DELETE", "/v1/models/tiny", 400),
        ("POST", "/v1/models/none:predict", 404),
        ("POST", "/v1/models/tiny/versions/7:predict", 404),
        ("POST", "/v1/models/tiny:classify", 400),
        ("POST", "/v1/models/tiny:explode", 400),
        ("GET", "/", 404),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/v1/models/%2e%2e%2f%2e%2e%2fetc%2fpasswd", 400),
        ("GET", "/v1/models/..%00", 404),
    ],
)
def test_rest_errors_have_the_form_of_tensorflow_serving(url, method, path, status):
    # Not requests, which would tidy the path.
    host, port = urllib.parse.urlsplit(url).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        body = b'{"instances": [1]}' if method == "POST" else b""
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        reply = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, told = reply.partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status
    assert list(json.loads(told)) == ["error"]


@pytest.mark.parametrize(
    "body, match",
    [
        (b"", "empty"),
        (b"{", "JSON Parse error"),
        (b"\xff\xfe", "JSON Parse error"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[1]", "Is not object"),
        (b"{}", "neither"),
        (b'{"instances": [[1]], "inputs": [[1]]}', "both"),
        (b'{"instances": []}', "No values"),
        (b'{"instances": {}}', "give a list"),
        (b'{"instances": [[[[1, 2, 3]]]], "signature_name": 3}', "give a string"),
        (b'{"instances": [[[[1, 2, 3]]]], "signature_name": "x"}', "not found"),
        (b'{"instances": [[[[1, 2, 3]]], [[[1, 2, 3]], [[1, 2, 3]]]]}', "different lengths"),
        (b'{"instances": [[[[1, 2]]]]}', "does not fit"),
        (b'{"instances": [[[[1, 2, 256]]]]}', "do not fit uint8"),
        (b'{"instances": [[[[1, 2, -1]]]]}', "do not fit uint8"),
        (b'{"instances": [[[[1, 2, 0.5]]]]}', "not of expected type"),
        (b'{"instances": [[[[1, 2, NaN]]]]}', "not of expected type"),
        (b'{"instances": [[[[1, 2, "3"]]]]}', "not of expected type"),
        (b'{"instances": [[[[1, 2, null]]]]}', "not of expected type"),
        (b'{"instances": [[[[1, 2, {}]]]]}', "not of expected type"),
        (b'{"instances": [[[[true, true, true]]]]}', "not of expected type"),
        (b'{"instances": [[[[1, 2, 1' + b"0" * 400 + b"]]]]}", "not of expected type"),
        (b'{"instances": [[[]]]}', "does not fit"),
        (b'{"instances": [{"b64": "AAAA"}]}', "not of expected type"),
        (b'{"instances": [{"image": 1}]}', "keys must be equal to: images"),
        (b'{"inputs": {"images": [[[[1, 2, 3]]]], "x": 1}}', "no such input"),
        (b'{"inputs": {"x": 1}}', "Missing named input: images"),
        (b'{"signature_name": "float", "inputs": [[[[1, 2, 1e39]]]]}', "do not fit float32"),
        (b'{"signature_name": "encoded", "inputs": [3]}', "not of expected type"),
        (b'{"signature_name": "encoded", "inputs": [{"b64": "?"}]}', "base64 decode"),
        (b'{"signature_name": "encoded", "inputs": {"b64": "AAAA"}}', "give a list"),
    ],
)
def test_rest_says_what_is_wrong_with_a_request(url, body, match):
    reply = requests.post(f"{url}/v1/models/tiny:predict", data=body, timeout=60)
    assert reply.status_code == 400
    assert match in reply.json()["error"]
    assert len(reply.json()["error"]) < 500


def test_nan_is_a_number_to_the_float_signature(url):
    body = '{"signature_name": "float", "inputs": [[[[NaN, 0, Infinity]]]]}'
    reply = requests.post(f"{url}/v1/models/tiny:predict", data=body, timeout=60)
    assert reply.status_code == 200


def test_files_that_cannot_be_are_refused_with_the_limit(url, stub, photo):
    good = images.encode(photo, "jpeg")
    limit = f"4001x4000 pixels, above the limit of {images.MAX_SERVED_PIXELS}"
    for bad, match in [
        (good[: len(good) // 2], "JPEG"),
        (b"%PDF-1.7", "not a JPEG or PNG file"),
        (b"", "not a JPEG or PNG file"),
        (png_that_claims(4001, 4000), limit),
        (png_that_claims(2**31 - 1, 2**31 - 1), "above the limit"),
    ]:
        reply = predict(url, {"signature_name": "encoded", "instances": [b64(good), b64(bad)]})
        assert reply.status_code == 400 and match in reply.json()["error"]
        assert "node" not in reply.json()["error"]
        with refused("INVALID_ARGUMENT", match):
            stub.Predict(request_of(signature="encoded", image_bytes=[bad]))


def test_what_is_above_the_request_limit_is_refused(url, stub):
    reply = predict(url, {"instances": "x" * SMALL})
    assert reply.status_code == 413 and str(SMALL) in reply.json()["error"]

    def chunks():
        for _ in range(40):
            yield b" " * (SMALL // 16)

    reply = requests.post(f"{url}/v1/models/tiny:predict", data=chunks(), timeout=60)
    assert reply.status_code == 413
    bomb = gzip.compress(b" " * 50 * SMALL)
    headers = {"Content-Encoding": "gzip"}
    reply = requests.post(f"{url}/v1/models/tiny:predict", data=bomb, headers=headers, timeout=60)
    assert reply.status_code in (400, 413)
    with refused("RESOURCE_EXHAUSTED", "larger than max"):
        stub.Predict(request_of(images=np.zeros((1, 600, 600, 3), np.uint8)))


def test_probes_and_metrics(url, stub, batch):
    assert requests.get(f"{url}/healthz").status_code == 200
    assert requests.get(f"{url}/readyz").status_code == 200
    predict(url, {"instances": batch.tolist()})
    predict(url, {"instances": []})
    stub.Predict(request_of(images=batch))
    page = requests.get(f"{url}/monitoring/prometheus/metrics")
    assert page.headers["Content-Type"].startswith("text/plain")
    counted = {
        line.rpartition(" ")[0]
        for line in page.text.splitlines()
        if line.startswith("tfstyle_serving_requests_total")
    }
    for entrypoint, status in [("REST", 200), ("REST", 400), ("gRPC", 200)]:
        labels = f'entrypoint="{entrypoint}",model="tiny",status="{status}"'
        assert f"tfstyle_serving_requests_total{{{labels}}}" in counted


# gRPC


def test_grpc_predicts(stub, batch, stylized):
    response = stub.Predict(request_of(images=batch))
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("tiny", 1, "serving_default")
    told = tf.make_ndarray(response.outputs["stylized"])
    assert told.dtype == np.uint8
    np.testing.assert_allclose(told / 255, stylized, atol=0.51 / 255)


def test_grpc_fills_in_the_first_style(stub, generators, batch):
    first = np.array([[1, 0, 0]], np.float32)
    expected = generators["several"]([images.from_uint8(batch), first], training=False).numpy()
    response = stub.Predict(request_of("several", images=batch))
    told = tf.make_ndarray(response.outputs["stylized"])
    np.testing.assert_allclose(told / 255, expected, atol=0.51 / 255)


def test_grpc_carries_values_one_by_one_too(stub, batch, stylized):
    request = request_of()
    proto = request.inputs["images"]
    proto.dtype = tf.uint8.as_datatype_enum
    for size in batch.shape:
        proto.tensor_shape.dim.add().size = size
    proto.int_val.extend(batch.ravel().tolist())
    told = tf.make_ndarray(stub.Predict(request).outputs["stylized"])
    np.testing.assert_allclose(told / 255, stylized, atol=0.51 / 255)


def test_grpc_tells_metadata_and_status(stub, channel):
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec={"name": "tiny"}, metadata_field=["signature_def"]
    )
    response = stub.GetModelMetadata(request)
    found = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(found)
    assert response.model_spec.version.value == 1
    assert found.signature_def["encoded"].inputs["image_bytes"].dtype == tf.string
    service = model_service_pb2_grpc.ModelServiceStub(channel)
    request = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "tiny"})
    (status,) = service.GetModelStatus(request).model_version_status
    assert (status.version, status.state) == (1, status.AVAILABLE)
    request.model_spec.name = "none"
    with refused("NOT_FOUND", "none"):
        service.GetModelStatus(request)
    with refused("INVALID_ARGUMENT", "metadata_field"):
        stub.GetModelMetadata(
            get_model_metadata_pb2.GetModelMetadataRequest(model_spec={"name": "tiny"})
        )


def test_grpc_says_what_is_wrong_with_a_request(stub, batch):
    with refused("NOT_FOUND", "Latest(none)"):
        stub.Predict(request_of("none", images=batch))
    with refused("NOT_FOUND", ""):
        stub.Predict(predict_pb2.PredictRequest())
    with refused("INVALID_ARGUMENT", "not found in signature def"):
        stub.Predict(request_of(signature="none", images=batch))
    with refused("INVALID_ARGUMENT", "Missing but required: {images}"):
        stub.Predict(request_of(wrong=batch))
    with refused("INVALID_ARGUMENT", "where uint8 is due"):
        stub.Predict(request_of(images=batch.astype(np.float32)))
    with refused("INVALID_ARGUMENT", "does not fit"):
        stub.Predict(request_of(images=batch[0]))
    with refused("INVALID_ARGUMENT", "from 1 to the limit"):
        stub.Predict(request_of(images=batch[:0]))
    with refused("INVALID_ARGUMENT", "without pixels"):
        stub.Predict(request_of(images=batch[:, :0]))
    request = request_of(images=batch)
    request.model_spec.version.value = 9
    with refused("NOT_FOUND", "Specific(tiny, 9)"):
        stub.Predict(request)
    request.model_spec.version_label = "stable"
    with refused("INVALID_ARGUMENT", "label"):
        stub.Predict(request)
    request = request_of(images=batch)
    request.output_filter.append("none")
    with refused("INVALID_ARGUMENT", "none"):
        stub.Predict(request)


@pytest.mark.parametrize(
    "kind, told",
    [(21, "variant"), (20, "resource"), (104, "uint8_ref"), (0, "0"), (99, "99")],
)
def test_types_that_numpy_does_not_know_are_refused_by_their_names(stub, batch, kind, told):
    request = request_of(images=batch)
    request.inputs["images"].dtype = kind
    with refused("INVALID_ARGUMENT", f"input images: type {told}, where uint8 is due"):
        stub.Predict(request)


def test_a_tensor_that_claims_to_be_huge_is_refused_before_it_is_made(stub):
    request = request_of(images=np.zeros((1, 1, 1, 3), np.uint8))
    for sizes, match in [
        ((1, 10**5, 10**5, 3), str(images.MAX_SERVED_PIXELS)),
        ((2**62, 2**62, 2**62, 3), str(images.MAX_SERVED_PIXELS)),
        ((1, 2, 2, 3), "do not fill"),
        ((-1, 1, 1, 3), "negative"),
    ]:
        for dim, size in zip(request.inputs["images"].tensor_shape.dim, sizes, strict=True):
            dim.size = size
        with refused("INVALID_ARGUMENT", match):
            stub.Predict(request)
    request.inputs["images"].tensor_shape.unknown_rank = True
    with refused("INVALID_ARGUMENT", "rank"):
        stub.Predict(request)


# Whatever comes

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.just(b64(b"\xff\xd8\xff\xe0"))
    | st.just({"b64": "!"}),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["images", "image_bytes", "b64", ""]), inner, max_size=2)
    ),
    max_leaves=20,
)


@hypothesis.settings(max_examples=150)
@hypothesis.given(
    form=st.sampled_from(["instances", "inputs"]),
    value=JSON,
    signature=st.sampled_from(["serving_default", "float", "encoded", "none"]) | JSON,
    name=st.sampled_from(["tiny", "several"]),
)
def test_no_json_makes_the_server_fail(url, form, value, signature, name):
    reply = predict(url, {"signature_name": signature, form: value}, name)
    assert reply.status_code in (200, 400)
    if reply.status_code == 400:
        assert list(reply.json()) == ["error"] and "Traceback" not in reply.text


@hypothesis.settings(max_examples=60)
@hypothesis.given(body=st.binary(max_size=200))
def test_no_bytes_make_rest_fail(url, body):
    reply = requests.post(f"{url}/v1/models/tiny:predict", data=body, timeout=60)
    assert reply.status_code == 400 and list(reply.json()) == ["error"]


@hypothesis.settings(max_examples=60)
@hypothesis.given(
    name=st.text(st.sampled_from("./\\%:~\0\n aé�") | st.characters(codec="utf-8"), max_size=12)
)
def test_no_name_makes_the_server_fail_or_leave_its_models(url, name):
    path = urllib.parse.quote(name, safe="./")
    for tail in ("", "/metadata", "/versions/1"):
        reply = requests.get(f"{url}/v1/models/{path}{tail}", timeout=60)
        assert reply.status_code in (400, 404) and list(reply.json()) == ["error"]
    reply = requests.post(f"{url}/v1/models/{path}:predict", json={"inputs": 1}, timeout=60)
    assert reply.status_code in (400, 404)


@hypothesis.settings(max_examples=60)
@hypothesis.given(data=st.data())
def test_no_message_makes_grpc_fail(channel, batch, data):
    message = bytearray(request_of(images=batch[:1, :4, :4]).SerializeToString())
    for _ in range(data.draw(st.integers(0, 6))):
        place = data.draw(st.integers(0, len(message) - 1))
        message[place] = data.draw(st.integers(0, 255))
    message = bytes(message[: data.draw(st.integers(0, len(message)))])
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    try:
        call(message, timeout=60)
    except grpc.RpcError as error:
        assert error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
        assert "Traceback" not in error.details()


@hypothesis.settings(max_examples=60)
@hypothesis.given(data=st.data())
def test_no_damaged_file_makes_the_server_fail(url, photo, data):
    file = bytearray(images.encode(photo[:24, :24], data.draw(st.sampled_from(["png", "jpeg"]))))
    for _ in range(data.draw(st.integers(1, 8))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    file = bytes(file[: data.draw(st.integers(0, len(file)))])
    reply = predict(url, {"signature_name": "encoded", "inputs": [b64(file)]})
    assert reply.status_code in (200, 400)


# The queue, the batches, the end


class Held:
    """A Version whose `run` waits until it is let go, and notes what it was given."""

    def __init__(self, monkeypatch):
        self.go, self.entered, self.sizes = threading.Event(), threading.Event(), []
        run = models.Version.run

        def held(version, signature, inputs, outputs):
            self.sizes.append(len(next(iter(inputs.values()))))
            self.entered.set()
            assert self.go.wait(60)
            return run(version, signature, inputs, outputs)

        monkeypatch.setattr(models.Version, "run", held)


def wait_until(true, seconds=30):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_full_queue_answers_at_once_that_it_is_full(folders, batch, monkeypatch):
    development = DevServer({"tiny": folders["tiny"]}, workers=1, queue=1, batch_pixels=0)
    with development.in_thread(), ThreadPoolExecutor(2) as clients:
        held = Held(monkeypatch)
        url = f"http://127.0.0.1:{development.rest_port}"
        body = {"instances": batch.tolist()}
        taken = [clients.submit(predict, url, body)]
        assert held.entered.wait(30)
        taken.append(clients.submit(predict, url, body))
        wait_until(lambda: development._scheduler.waiting == 1)
        reply = predict(url, body)
        assert reply.status_code == 429 and "limit" in reply.json()["error"]
        with grpc.insecure_channel(f"127.0.0.1:{development.port}") as channel:
            full = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            with refused("RESOURCE_EXHAUSTED", "limit"):
                full.Predict(request_of(images=batch))
        held.go.set()
        assert [future.result().status_code for future in taken] == [200, 200]
        assert predict(url, body).status_code == 200


def test_clients_that_went_away_make_room(folders, batch, monkeypatch):
    development = DevServer({"tiny": folders["tiny"]}, workers=1, queue=2, batch_pixels=0)
    with development.in_thread():
        held = Held(monkeypatch)
        url = f"http://127.0.0.1:{development.rest_port}"
        body = {"instances": batch.tolist()}
        for _ in range(6):
            with pytest.raises(requests.Timeout):
                requests.post(f"{url}/v1/models/tiny:predict", json=body, timeout=0.2)
            wait_until(lambda: not development._in_flight)
        held.go.set()
        assert predict(url, body).status_code == 200
        # The first was being computed, the others were not any more when their turn came.
        assert len(held.sizes) == 2


def test_what_waits_in_one_shape_is_computed_together(folders, batch, stylized, monkeypatch):
    development = DevServer(
        {"tiny": folders["tiny"]}, workers=1, batch_pixels=4 * batch[0, ..., 0].size
    )
    with development.in_thread(), ThreadPoolExecutor(8) as clients:
        held = Held(monkeypatch)
        url = f"http://127.0.0.1:{development.rest_port}"
        first = clients.submit(predict, url, {"instances": batch[:1].tolist()})
        assert held.entered.wait(30)
        wanted = [i % 2 for i in range(6)]
        others = [
            clients.submit(predict, url, {"instances": batch[i : i + 1].tolist()}) for i in wanted
        ]
        other_shape = clients.submit(predict, url, {"instances": batch[:1, :8].tolist()})
        wait_until(lambda: development._scheduler.waiting == 7)
        held.go.set()
        for i, future in zip([0, *wanted], [first, *others], strict=True):
            told = np.array(future.result().json()["predictions"])
            np.testing.assert_allclose(told / 255, stylized[i : i + 1], atol=0.51 / 255)
        assert other_shape.result().status_code == 200
        # 6 of one shape, at most 4 at once.
        assert held.sizes[0] == 1 and sorted(held.sizes[1:]) == [1, 2, 4]


def test_one_bad_request_does_not_fail_its_batch(folders, batch, monkeypatch):
    development = DevServer({"several": folders["several"]}, workers=1)
    with development.in_thread(), ThreadPoolExecutor(8) as clients:
        held = Held(monkeypatch)
        url = f"http://127.0.0.1:{development.rest_port}"

        def ask(weights):
            inputs = {"images": batch[:1].tolist(), "style_weights": [weights]}
            return clients.submit(predict, url, {"inputs": inputs}, "several")

        first = ask([1, 0, 0])
        assert held.entered.wait(30)
        others = [ask(weights) for weights in ([0, 1, 0], [9, 9, 9], [0, 0, 1])]
        wait_until(lambda: development._scheduler.waiting == 3)
        held.go.set()
        assert [future.result().status_code for future in (first, *others)] == [200, 200, 400, 200]


def test_a_stop_answers_what_was_taken_in(folders, batch, monkeypatch):
    development = DevServer({"tiny": folders["tiny"]}, workers=1)
    with ThreadPoolExecutor(1) as clients, contextlib.ExitStack() as stack:
        with development.in_thread():
            held = Held(monkeypatch)
            url = f"http://127.0.0.1:{development.rest_port}"
            over_rest = clients.submit(predict, url, {"instances": batch.tolist()})
            assert held.entered.wait(30)
            channel = grpc.insecure_channel(f"127.0.0.1:{development.port}")
            stub = prediction_service_pb2_grpc.PredictionServiceStub(stack.enter_context(channel))
            over_grpc = stub.Predict.future(request_of(images=batch), timeout=60)
            wait_until(lambda: development._in_flight == 2)
            threading.Timer(0.3, held.go.set).start()
        assert over_rest.result().status_code == 200
        assert over_grpc.result().outputs
        with pytest.raises(requests.ConnectionError):
            requests.get(url)


# Versions


def test_a_new_version_takes_over_without_a_dropped_request(
    folders, generators, batch, photo, tmp_path
):
    folder = shutil.copytree(folders["tiny"], tmp_path / "tiny")
    second = small_models.fast(seed=7)
    made = small_models.save(second, tmp_path / "elsewhere" / "2", photo)
    answers = [
        model(images.from_uint8(batch), training=False).numpy()
        for model in (generators["tiny"], second)
    ]
    development = DevServer({"tiny": folder}, poll_seconds=0.05)
    stop, seen = threading.Event(), []

    def keep_asking():
        while not stop.is_set():
            reply = predict(url, {"instances": batch.tolist()})
            assert reply.status_code == 200
            told = np.array(reply.json()["predictions"]) / 255
            fits = [np.abs(told - answer).max() < 0.51 / 255 for answer in answers]
            assert sum(fits) == 1
            seen.append(fits.index(True) + 1)

    with development.in_thread(), ThreadPoolExecutor(2) as clients:
        url = f"http://127.0.0.1:{development.rest_port}"
        asking = [clients.submit(keep_asking) for _ in range(2)]
        wait_until(lambda: 1 in seen)
        made.rename(folder / "2")
        wait_until(lambda: seen[-2:] == [2, 2])
        stop.set()
        for future in asking:
            future.result()
        states = requests.get(f"{url}/v1/models/tiny").json()["model_version_status"]
        assert [entry["version"] for entry in states] == ["2", "1"]
        wait_until(lambda: development._models["tiny"].states(1)[1].state == "END")
        assert requests.get(f"{url}/v1/models/tiny/versions/1/metadata").status_code == 404
    assert set(seen) == {1, 2}


def test_a_version_that_cannot_be_loaded_leaves_the_old_one_until_it_is_whole(
    folders, batch, photo, tmp_path
):
    folder = shutil.copytree(folders["tiny"], tmp_path / "tiny")
    model = models.Model("tiny", folder)
    assert model.look()
    whole = small_models.save(small_models.fast(seed=7), tmp_path / "elsewhere" / "2", photo)
    (folder / "2").mkdir()
    shutil.copy(whole / "saved_model.pb", folder / "2")
    assert not model.look() and not model.look()
    states = model.states()
    assert states[2].state == "END" and states[2].error_message
    assert states[1].state == "AVAILABLE"
    shutil.copytree(whole, folder / "2", dirs_exist_ok=True)
    assert model.look()
    assert model.states()[2].state == "AVAILABLE"
    shutil.rmtree(folder)
    assert not model.look() and model.available
    model.close()


def test_warm_up_is_replayed_and_must_succeed(folders, tmp_path, monkeypatch):
    asked = []
    run = models.Version.run

    def noted(version, signature, inputs, outputs):
        asked.append((signature, sorted(inputs)))
        return run(version, signature, inputs, outputs)

    monkeypatch.setattr(models.Version, "run", noted)
    models.Version(folders["several"] / "1").end()
    assert asked == [
        ("serving_default", ["images", "style_weights"]),
        ("float", ["images", "style_weights"]),
        ("encoded", ["image_bytes", "style_weights"]),
    ]
    folder = shutil.copytree(folders["tiny"], tmp_path / "tiny")
    request = request_of(images=np.zeros((1, 0, 0, 3), np.uint8))
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog(predict_log={"request": request})
    with tf.io.TFRecordWriter(str(folder / "1" / models.WARM_UP)) as writer:
        writer.write(log.SerializeToString())
    with pytest.raises(protocol.ServingError, match="from 1 to the limit"):
        models.Version(folder / "1")


def test_a_server_without_a_model_does_not_start(tmp_path, folders):
    with pytest.raises(ValueError, match="no version in it"):
        with DevServer({"none": tmp_path}).in_thread():
            pass
    broken = shutil.copytree(folders["tiny"], tmp_path / "broken")
    (broken / "1" / "saved_model.pb").write_bytes(b"x")
    with pytest.raises(ValueError, match="version 1: "):
        with DevServer({"broken": broken}).in_thread():
            pass


def test_a_taken_port_is_told(server, folders):
    for ports in ({"port": server.port}, {"rest_port": server.rest_port}):
        with pytest.raises(OSError, match="port|address"):
            with DevServer({"tiny": folders["tiny"]}, **ports).in_thread():
                pass


def test_jobs_of_other_shapes_are_not_computed_together():
    def job(**inputs):
        return scheduling.Job(None, "s", inputs, ("x",))

    image = np.zeros((2, 4, 4, 3), np.uint8)
    assert job(a=image).key == job(a=image + 1).key
    assert job(a=image).key != job(a=image[:, :3]).key
    assert job(a=image).key != job(a=image.astype(np.float32)).key
    assert not job(a=np.array([b"x"], object)).key
    # One row of weights for two images.
    assert not job(a=image, style_weights=np.zeros((1, 3), np.float32)).key


# The client, against this server and against the real one


@pytest.fixture(scope="module")
def tensorflow_serving(folders, tmp_path_factory):
    """((host, REST port, gRPC port), model) of a real server; tiny where it is started here.

    TFS_ADDR=HOST:REST_PORT:GRPC_PORT names one that serves saved_models/starry_night.
    """
    if address := os.environ.get("TFS_ADDR"):
        yield address.split(":"), None
        return
    kind = config.find_server()
    if kind is None:
        pytest.skip(
            f"no TensorFlow Serving: TFS_ADDR is not set, {config.BINARY} is not on PATH, and no "
            "container engine answers"
        )
    places = {name: folder.resolve() for name, folder in folders.items()}
    inside = places if kind == config.BINARY else config.container_paths(places)
    files = config.write(tmp_path_factory.mktemp("config"), inside)
    ports = {"port": free_port(), "rest_port": free_port()}
    if kind == config.BINARY:
        command = config.server_command(files, **ports)
    else:
        command = config.container_command(kind, files, places, **ports)
    log = files.models.with_name("log")
    with open(log, "w") as output:
        running = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        url = f"http://127.0.0.1:{ports['rest_port']}/v1/models/tiny"
        end = time.monotonic() + 120
        while not answers(url):
            if running.poll() is not None or time.monotonic() > end:
                pytest.skip(f"{kind} does not serve: {log.read_text()[-300:]}")
            time.sleep(0.2)
        yield ("127.0.0.1", ports["rest_port"], ports["port"]), "tiny"
    finally:
        running.terminate()
        running.wait(60)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def answers(url):
    with contextlib.suppress(requests.ConnectionError):
        return requests.get(url, timeout=10).status_code == 200


@pytest.fixture(params=["development", "tensorflow_serving"], scope="module")
def endpoint(request, generators):
    """A function: scheme, name of a model -> (its client, a Stylizer that does the same)."""
    own = request.param == "development"
    if own:
        server = request.getfixturevalue("server")
        (host, rest_port, port), served = ("127.0.0.1", server.rest_port, server.port), "tiny"
    else:
        (host, rest_port, port), served = request.getfixturevalue("tensorflow_serving")

    def connected(scheme, name):
        if served is None and name != "tiny":
            pytest.skip("TFS_ADDR serves a model of one style")
        model = name if served else "starry_night"
        made = generators[name] if served else ROOT / "saved_models" / "starry_night"
        client = Client(f"{scheme}://{host}:{rest_port if scheme == 'http' else port}", model)
        return client, stylize.Stylizer.load(made)

    return connected


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_the_client_gives_what_the_stylizer_gives(endpoint, photo, scheme):
    client, stylize = endpoint(scheme, "tiny")
    photo = images.from_uint8(images.to_uint8(photo[:40, :56]))
    with client:
        assert client.style_count == 0
        for options in ({}, {"strength": 0.3}, {"preserve_color": True, "strength": 0.6}):
            expected = stylize(photo, **options)
            np.testing.assert_allclose(client(photo, **options), expected, atol=1.2 / 255)
        np.testing.assert_array_equal(client(photo, strength=0), photo)
        with pytest.raises(ValueError, match="one style alone"):
            client(photo, style=1)
        with pytest.raises(ValueError, match="strength 2"):
            client(photo, strength=2)


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_the_client_blends_styles(endpoint, photo, scheme):
    client, stylize = endpoint(scheme, "several")
    photo = images.from_uint8(images.to_uint8(photo[:40, :56]))
    with client:
        assert client.style_count == small_models.STYLES
        for style in (None, 1, "2", {0: 1, 2: 3}, {"1": 1e308, "2": 1e308}):
            expected = stylize(photo, style=style)
            np.testing.assert_allclose(client(photo, style=style), expected, atol=1.2 / 255)
        client.name_styles(["dots", "waves", "1"])
        np.testing.assert_allclose(
            client(photo, style={"waves": 1, "1": 1}),
            stylize(photo, style={1: 1, 2: 1}),
            atol=1.2 / 255,
        )
        with pytest.raises(ValueError, match="give one of dots, waves, 1, or 0 to 2".capitalize()):
            client(photo, style="lines")
        with pytest.raises(ValueError, match="above 0"):
            client(photo, style={0: 0})


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_the_client_says_what_the_server_refuses(endpoint, scheme):
    client, _ = endpoint(scheme, "tiny")
    with client:
        with pytest.raises(images.ImageError, match="JPEG"):  # which it sees itself
            client.stylize_bytes(b"\xff\xd8\xff\xe0")
        file = io.BytesIO()
        Image.new("1", (4001, 4000)).save(file, "PNG")
        with pytest.raises(ClientError, match=f"limit of {images.MAX_SERVED_PIXELS}"):
            client.stylize_bytes(file.getvalue())


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_photo_with_a_profile_looks_the_same_on_a_server(endpoint, photo, scheme, tmp_path):
    client, stylize = endpoint(scheme, "tiny")
    stored = Image.fromarray(images.to_uint8(photo))
    stored.save(tmp_path / "wide.jpg", quality=95, icc_profile=ADOBE_PROFILE)
    stored.save(tmp_path / "plain.webp", lossless=True)
    wide = images.read(tmp_path / "wide.jpg")
    assert np.abs(wide - photo).max() > 0.05  # the colours that its numbers mean
    with client:
        np.testing.assert_allclose(client(wide), stylize(wide), atol=1.2 / 255)
        for name in ("wide.jpg", "plain.webp"):
            reply = client.stylize_bytes((tmp_path / name).read_bytes())
            expected = stylize(images.read(tmp_path / name))
            # 8 bits on the way there and back.
            assert np.abs(images.decode_bytes(reply) - expected).mean() < 0.01


def test_what_a_server_finds_too_large_is_told_with_the_flag_that_helps(
    url, tmp_path, capsys, monkeypatch
):
    def refuse(self, encoded, weights):
        raise ClientError("http://x: 120x90 pixels, above the limit of 2700 (400)", 400)

    monkeypatch.setattr(client._Rest, "predict", refuse)
    images.write(tmp_path / "a.png", np.zeros((90, 120, 3), np.float32))
    asked = ["client", url, str(tmp_path / "a.png"), "-o", str(tmp_path / "b.png")]
    assert cli.main([*asked, "--model", "tiny"]) == 2
    told = capsys.readouterr().err
    assert told.endswith("Make the image at most 60x45 (--max_size 60)\n")
    monkeypatch.undo()
    assert cli.main([*asked, "--model", "tiny", "--max_size", "60"]) == 0


@pytest.mark.parametrize("signature", ["encoded", "serving_default"])
def test_a_request_that_does_not_go_into_memory_is_refused_before(
    folders, tmp_path, monkeypatch, signature
):
    shutil.copytree(folders["tiny"], tmp_path / "tiny")
    (tmp_path / "tiny.json").write_text(json.dumps({"memory_bytes_per_pixel": 100_000}))
    version = models.Version(tmp_path / "tiny" / "1")
    small = np.zeros((1, 40, 60, 3), np.uint8)
    large = np.zeros((2, 100, 200, 3), np.uint8)
    if signature == "encoded":
        small, large = (
            np.array([images.encode(images.from_uint8(one), kind) for one in batch], object)
            for batch, kind in ((small, "png"), (large.reshape(1, 200, 200, 3), "jpeg"))
        )
    key = "image_bytes" if signature == "encoded" else "images"
    monkeypatch.setattr(machine, "usable_memory", lambda: 1_000_000_000)
    outputs = tuple(version.signatures[signature].outputs)
    with pytest.raises(protocol.ServingError, match="200x200 pixels need about 4.0 GB") as caught:
        version.run(signature, {key: large}, outputs)
    assert caught.value.code == "RESOURCE_EXHAUSTED"
    assert version.run(signature, {key: small}, outputs)
    version.end()
    told = ClientError("http://x: ... free. Make the image at most 90x45 (429; it is busy)", 429)
    assert client._too_large(told, (100, 200)).fits == (45, 90)


def test_a_request_of_too_many_bytes_is_told_with_the_flag_too():
    too_many = ClientError("http://x: the request is above the limit of 9 bytes (413)", 413)
    assert client._too_large(too_many, (100, 200)).fits == (70, 140)
    assert client._too_large(ClientError("http://x: no such model (404)", 404), (9, 9)) is None


def test_the_client_says_that_a_model_or_a_server_is_missing(server, url):
    port = free_port()
    for scheme in ("http", "grpc"):
        with pytest.raises(ClientError, match="no server answers"):
            Client(f"{scheme}://127.0.0.1:{port}", "tiny", timeout=10)
    with pytest.raises(ClientError, match="none") as error:
        Client(url, "none")
    assert error.value.code == 404
    with pytest.raises(ClientError, match="none"):
        Client(f"grpc://127.0.0.1:{server.port}", "none")
    with pytest.raises(ClientError, match="Specific"):
        Client(url, "tiny", version=3)
    for wrong in ("ftp://x", "http://", "http://x:port", "http://[::1", "http://::1"):
        with pytest.raises(ValueError, match="give http"):
            Client(wrong, "tiny")
    with pytest.raises(ValueError, match="name the model"):
        Client(url)


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("https://painter.example", "https://painter.example:443"),
        ("https://painter.example:8501/", "https://painter.example:8501"),
        ("https://painter.example/models/", "https://painter.example:443/models"),
        ("http://painter.example", "http://painter.example:8501"),
        ("painter.example:80", "http://painter.example:80"),
        ("http://[::1]", "http://[::1]:8501"),
        ("[::1]:9000", "http://[::1]:9000"),
    ],
)
def test_the_rest_client_asks_at_the_port_of_its_scheme(url, asked, monkeypatch):
    def nobody(session, method, url, **options):
        raise requests.ConnectionError

    monkeypatch.setattr(requests.Session, "request", nobody)
    with pytest.raises(ClientError) as error:
        Client(url, "tiny")
    assert str(error.value).startswith(f"{asked}/v1/models/tiny/metadata: no server answers")


@pytest.mark.parametrize(
    ("url", "asked"),
    [("grpc://painter.example", "painter.example:8500"), ("grpc://[::1]:9000", "[::1]:9000")],
)
def test_the_grpc_client_asks_at_the_port_of_its_scheme(url, asked, monkeypatch):
    def channel(target, options):
        raise ConnectionError(target)

    monkeypatch.setattr(grpc, "insecure_channel", channel)
    with pytest.raises(ConnectionError) as error:
        Client(url, "tiny")
    assert str(error.value) == asked


def test_the_help_of_the_client_names_the_ports(capsys):
    with pytest.raises(SystemExit):
        cli.main(["client", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "8501 for http, 443 for https and 8500 for grpc" in told
    assert client.PORTS == {"http": 8501, "https": 443, "grpc": 8500}


def test_the_rest_client_needs_no_tensorflow(url, tmp_path, photo):
    images.write(tmp_path / "in.png", photo)
    code = (
        "import sys; sys.modules['tensorflow'] = None; from tfstyle import cli; "
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    command = ["client", url, str(tmp_path / "in.png"), "-o", str(tmp_path / "out.png")]
    subprocess.run([sys.executable, "-c", code, *command, "--model", "tiny"], check=True, cwd=ROOT)
    assert images.read(tmp_path / "out.png").shape == photo.shape


def test_a_client_that_nobody_here_wrote(server, batch, stylized, tmp_path):
    """ovmsclient, in a process of its own: its messages have the names of TensorFlow's."""
    np.save(tmp_path / "in.npy", batch)
    command = [
        sys.executable,
        str(ROOT / "tests" / "serving" / "ask_with_ovmsclient.py"),
        f"127.0.0.1:{server.port}",
        f"127.0.0.1:{server.rest_port}",
        str(tmp_path),
    ]
    subprocess.run(command, check=True, timeout=120)
    for interface in ("grpc", "http"):
        told = np.load(tmp_path / f"{interface}.npy")
        np.testing.assert_allclose(told / 255, stylized, atol=0.51 / 255)
    asked = json.loads((tmp_path / "told.json").read_text())
    for interface in ("grpc", "http"):
        status = {"state": "AVAILABLE", "error_code": 0, "error_message": ""}
        assert asked[interface]["status"] == {"1": status}
        assert "not found" in asked[interface]["error"].lower()
    metadata = asked["grpc"]["metadata"]
    assert metadata["model_version"] == 1
    assert metadata["inputs"] == {"images": {"shape": [-1, -1, -1, 3], "dtype": "DT_UINT8"}}
    assert asked["http"]["metadata"]["model_spec"]["version"] == "1"


@pytest.mark.slow
def test_another_engine_gives_the_same_pictures(folders, generators, photo, tmp_path):
    """OpenVINO, in an environment of its own: from the network, 70 MB."""
    environment = tmp_path / "venv"
    python = environment / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    subprocess.run([str(python), "-m", "pip", "install", "-q", "openvino==2026.*"], check=True)
    batch = images.to_uint8(photo[np.newaxis, :48, :56])
    np.save(tmp_path / "in.npy", batch)
    code = """
import sys
import numpy as np
import openvino

model = openvino.Core().read_model(sys.argv[1])
# Its default is bfloat16 where the processor has it.
compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
np.save(sys.argv[3], compiled([np.load(sys.argv[2])])[0])
"""
    # OpenVINO takes an input that has a default for that constant: the first style alone.
    first = np.array([[1, 0, 0]], np.float32)
    for name, generator in generators.items():
        arguments = [str(folders[name] / "1"), str(tmp_path / "in.npy"), str(tmp_path / "out.npy")]
        subprocess.run([str(python), "-c", code, *arguments], check=True)
        image = images.from_uint8(batch)
        inputs = [image, first] if name == "several" else image
        expected = generator(inputs, training=False).numpy()
        told = np.load(tmp_path / "out.npy")
        np.testing.assert_allclose(told / 255, expected, atol=1.5 / 255)


# Files and commands


def message_of(text):
    """What models.config says."""
    return text_format.Parse(text, model_server_config_pb2.ModelServerConfig())


def test_files_are_what_tensorflow_serving_reads(folders, tmp_path):
    odd = {"tiny": folders["tiny"], "odd": 'a "quoted" \\ folder é'}
    files = config.write(tmp_path / "made", odd, batching=config.batching_config())
    assert files.models.read_text().isascii()
    read = message_of(files.models.read_text()).model_config_list.config
    assert [(entry.name, entry.base_path) for entry in read] == [
        (name, str(folder)) for name, folder in odd.items()
    ]
    assert {entry.model_platform for entry in read} == {"tensorflow"}
    # The Python package has no messages for the other two: their fields, one a line.
    told = files.monitoring.read_text()
    assert "prometheus_config {" in told and f'path: "{config.METRICS_PATH}"' in told
    fields = dict(line.split(" ", 1) for line in files.batching.read_text().splitlines())
    assert fields["max_batch_size"] == "{ value: 8 }"
    assert fields["batch_timeout_micros"] == "{ value: 2000 }"
    again = config.write(tmp_path / "made", odd)
    assert again.batching is None and not files.batching.exists()
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == [
        "models.config",
        "monitoring.config",
    ]


def test_a_folder_that_tensorflow_serving_cannot_read_the_name_of_is_told(tmp_path):
    with pytest.raises(ArgumentError, match=r"models/\\udcff': .* UTF-8 alone\. Rename"):
        config.write(tmp_path, {"odd": "/models/\udcff"})
    assert not list(tmp_path.iterdir())


def test_writing_the_files_needs_no_tensorflow(tmp_path):
    code = """
import sys
from tfstyle import cli

assert cli.main(["serve", "starry_night", "--dir", sys.argv[1], "--write_only"]) == 0
heavy = {"tensorflow", "keras"} & {name.split(".")[0] for name in sys.modules}
assert not heavy, heavy
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, str(tmp_path / "made")]
    subprocess.run(command, check=True, env=environment, cwd=tmp_path, timeout=60)
    assert message_of((tmp_path / "made" / "models.config").read_text()).model_config_list


def test_models_are_found_by_name_folder_or_version(folders, tmp_path, monkeypatch):
    shelf = folders["tiny"].parent
    monkeypatch.chdir(tmp_path)
    wanted = {"tiny": folders["tiny"].resolve()}
    for given in ("tiny", str(folders["tiny"]), str(folders["tiny"] / "1")):
        assert config.find_models([given], [shelf]) == wanted
    assert list(config.find_models(["tiny", "several"], [shelf])) == ["tiny", "several"]
    with pytest.raises(ValueError, match="none: no SavedModel to serve"):
        config.find_models(["none"], [shelf])
    shutil.copytree(folders["tiny"], tmp_path / "b" / "tiny")
    with pytest.raises(ValueError, match="has the name tiny too"):
        config.find_models(["tiny", "b/tiny"], [shelf])
    shutil.copytree(folders["tiny"], tmp_path / "a b")
    with pytest.raises(ValueError, match="cannot stand in a URL"):
        config.find_models(["a b"])


def test_serve_writes_files_and_the_command_of_a_container(folders, tmp_path, capsys):
    arguments = ["serve", str(folders["tiny"]), "--dir", str(tmp_path / "made"), "--write_only"]
    assert cli.main([*arguments, "--with", "podman", "--rest_port", "9000", "--batching"]) == 0
    told = capsys.readouterr().out
    command = told.splitlines()[-1].removeprefix("Command ").split()
    assert command[:2] == ["podman", "run"]
    assert "127.0.0.1:9000:8501" in command and "127.0.0.1:8500:8500" in command
    assert f"type=bind,source={folders['tiny']},target=/models/tiny,readonly" in command
    assert f"type=bind,source={tmp_path / 'made'},target=/config,readonly" in command
    assert command[command.index(config.IMAGE) + 1 :] == [
        "--model_config_file=/config/models.config",
        "--monitoring_config_file=/config/monitoring.config",
        "--enable_batching=true",
        "--batching_parameters_file=/config/batching.config",
    ]
    assert 'base_path: "/models/tiny"' in (tmp_path / "made" / "models.config").read_text()


def test_serve_starts_the_server_on_the_path(folders, tmp_path, monkeypatch, capsys):
    binary = tmp_path / "bin" / config.BINARY
    binary.parent.mkdir()
    binary.write_text('#!/bin/sh\necho "$@"\n')
    binary.chmod(0o755)
    code = "import sys; from tfstyle import cli; sys.exit(cli.main(sys.argv[1:]))"
    made = tmp_path / "made"
    command = [sys.executable, "-c", code, "serve", str(folders["tiny"]), "--dir", str(made)]
    environment = os.environ | {"PATH": f"{binary.parent}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1].split() == [
        "--port=8500",
        "--rest_api_port=8501",
        f"--model_config_file={made}/models.config",
        f"--monitoring_config_file={made}/monitoring.config",
    ]
    assert f'base_path: "{folders["tiny"]}"' in (made / "models.config").read_text()


def test_serve_says_what_is_missing(folders, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["serve", str(folders["tiny"])]) == 2
    assert "--dev" in capsys.readouterr().err
    assert cli.main(["serve", str(folders["tiny"]), "--with", "docker"]) == 2
    assert "docker: not on PATH" in capsys.readouterr().err
    for flags in (["--web", "--dev"], ["--dev", "--write_only"], ["--dev", "--with", "docker"]):
        assert cli.main(["serve", str(folders["tiny"]), *flags]) == 2
        assert "each starts another server" in capsys.readouterr().err
    assert cli.main(["serve", "none"]) == 2
    assert "none: no SavedModel" in capsys.readouterr().err
    assert cli.main(["serve", str(folders["tiny"]), "--rest_port", "0"]) == 2
    assert "only --dev" in capsys.readouterr().err
    assert cli.main(["serve", str(folders["tiny"]), "--rest_port", "8500"]) == 2
    assert "give two" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_development_server_is_a_command_that_ends_well(folders, tmp_path, photo):
    code = "import sys; from tfstyle import cli; sys.exit(cli.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "serve", "--dev", "--port", "0", "--rest_port", "0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [*command, str(folders["tiny"])], env=environment, stdout=subprocess.PIPE, text=True
    ) as running:
        lines = [running.stdout.readline() for _ in range(3)]
        rest, rpc = (line.split()[1] for line in lines[1:])
        assert requests.get(rest).json()["model_version_status"][0]["state"] == "AVAILABLE"
        images.write(tmp_path / "in.png", photo)
        for url in (rest.partition("/v1")[0], rpc):
            asked = ["client", url, str(tmp_path / "in.png"), "-o", str(tmp_path / "out.webp")]
            assert cli.main([*asked, "--model", "tiny", "--max_size", "50"]) == 0
            assert max(images.read(tmp_path / "out.webp").shape) == 50
        running.terminate()
        assert running.wait(60) == 0


def test_the_client_command_names_what_failed(url, tmp_path, photo, capsys):
    (tmp_path / "photos").mkdir()
    images.write(tmp_path / "photos" / "good.png", photo[:20, :20])
    (tmp_path / "photos" / "bad.png").write_bytes(b"x")
    asked = ["client", url, str(tmp_path / "photos"), "-o", str(tmp_path / "out"), "--model"]
    assert cli.main([*asked, "tiny"]) == 2
    assert "bad.png: not an image" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.png"]
    assert cli.main([*asked, "tiny", "--style", "1"]) == 2
    assert "one style alone" in capsys.readouterr().err
    assert cli.main([*asked, "none"]) == 2
    assert "none" in capsys.readouterr().err


def test_the_client_command_stylizes_what_the_camera_sees(url, photo, fake_camera, tmp_path):
    fake_camera.frame = images.to_uint8(photo)[..., ::-1]
    seen = tmp_path / "seen.png"
    assert cli.main(["client", url, "camera:1", "-o", str(seen), "--model", "tiny"]) == 0
    assert provenance.found(seen)["made"]["model"] == "tiny"
    assert (fake_camera.index, fake_camera.released) == (1, 1)
    with Client(url, "tiny") as client:
        expected = client(images.from_uint8(images.to_uint8(photo)))
    np.testing.assert_array_equal(images.read(seen), images.from_uint8(images.to_uint8(expected)))


def test_signals_are_handled_as_before_once_the_server_has_ended(folders):
    def mine(*_):
        raise AssertionError("the server ends")

    before = signal.signal(signal.SIGTERM, mine)
    try:
        development = DevServer({"tiny": folders["tiny"]})
        development.run(lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)


# What is deployed


@pytest.mark.parametrize("path", sorted((ROOT / "deploy").glob("*.yaml")), ids=lambda p: p.name)
def test_manifests_are_yaml_that_names_the_same_things(path):
    documents = list(yaml.safe_load_all(path.read_text()))
    text = path.read_text()
    assert documents and all(documents)
    assert config.METRICS_PATH in text
    for port in config.PORTS.values():
        assert str(port) in text


def test_compose_serves_the_shipped_model():
    (document,) = yaml.safe_load_all((ROOT / "deploy" / "compose.yaml").read_text())
    service = document["services"]["serving"]
    assert "/v1/models/starry_night" in " ".join(service["healthcheck"]["test"])
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}
    sources = [ROOT / "deploy" / volume["source"] for volume in service["volumes"]]
    assert config.has_versions(sources[0])
    folders = config.container_paths({"starry_night": sources[0]})
    written = message_of((sources[1] / "models.config").read_text())
    assert written == message_of(config.models_config(folders))
    assert (sources[1] / "monitoring.config").read_text() == config.monitoring_config()


def test_the_health_check_of_compose_tells_a_served_model(url):
    (document,) = yaml.safe_load_all((ROOT / "deploy" / "compose.yaml").read_text())
    _, shell, flag, code = document["services"]["serving"]["healthcheck"]["test"]
    port = url.rpartition(":")[2]
    for name, healthy in (("tiny", True), ("none", False)):
        here = code.replace("8501", port).replace("starry_night", name)
        assert (subprocess.run([shell, flag, here], timeout=30).returncode == 0) == healthy


def test_kubernetes_probes_and_limits_are_there():
    documents = yaml.safe_load_all((ROOT / "deploy" / "kubernetes.yaml").read_text())
    by_kind = {document["kind"]: document for document in documents}
    assert by_kind.keys() == {"ConfigMap", "PersistentVolumeClaim", "Deployment", "Service"}
    template = by_kind["Deployment"]["spec"]["template"]
    (container,) = template["spec"]["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]
    assert {"requests", "limits"} == container["resources"].keys()
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}
    labels = template["metadata"]["labels"]
    assert by_kind["Service"]["spec"]["selector"].items() <= labels.items()
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == config.PORTS
    names = {entry["targetPort"] for entry in by_kind["Service"]["spec"]["ports"]}
    assert names == set(ports)
    written = by_kind["ConfigMap"]["data"]
    assert written["monitoring.config"] == config.monitoring_config()
    assert message_of(written["models.config"]) == message_of(
        config.models_config({"starry_night": "/models/starry_night"})
    )
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in template["spec"]["volumes"]}
