"""The development server and its client, between pages, proxies and addresses of all kinds."""

import base64
import socket

import numpy as np
import pytest
import requests

from tests import small_models
from tfstyle import images, stylize
from tfstyle.serving import protocol
from tfstyle.serving.client import Client, _is_loopback
from tfstyle.serving.server import DevServer

PAGE = "http://localhost:3000"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    (root / "tiny").mkdir()
    photo = images.read(small_photo(root))
    small_models.save(small_models.fast(), root / "tiny" / "1", photo)
    return root / "tiny"


def small_photo(root):
    from tfstyle.data import samples

    path = root / "photo.png"
    images.write(path, samples.photo("chelsea")[:40, :56])
    return path


@pytest.fixture(scope="module")
def server(folder):
    with DevServer({"tiny": folder}, cors=[PAGE]).in_thread() as development:
        yield development


@pytest.fixture(scope="module")
def url(server):
    return f"http://127.0.0.1:{server.rest_port}"


# Base64


def decoded(text):
    spec = protocol.Tensor("x", np.dtype(object), (None,))
    return protocol._array("image_bytes", [{"b64": text}], spec)[0]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 57, 58, 1000])
def test_base64_may_be_in_lines_unpadded_and_url_safe(rng, count):
    data = b"\xfb\xff\xfe"[:count] + rng.bytes(max(0, count - 3))
    for text in (
        base64.b64encode(data).decode(),
        base64.encodebytes(data).decode(),
        base64.b64encode(data).decode().rstrip("="),
        base64.urlsafe_b64encode(data).decode(),
        " " + base64.urlsafe_b64encode(data).decode().rstrip("=") + "\r\n\t",
    ):
        assert decoded(text) == data


@pytest.mark.parametrize("text", ["!", "A", "AAAA=A", "AAA\u00e9", "A=AA"])
def test_what_is_no_base64_is_refused(text):
    with pytest.raises(protocol.ServingError, match="Unable to base64 decode"):
        decoded(text)


# Pages of another origin


def preflight(url, origin):
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    return requests.options(f"{url}/v1/models/tiny:predict", headers=headers, timeout=60)


def test_a_page_that_was_named_may_ask(url):
    answer = preflight(url, PAGE)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Access-Control-Allow-Headers"] == "content-type"
    # And has the answer to its request, an error too.
    for path, status in (("/v1/models/tiny", 200), ("/v1/models/none", 404)):
        answer = requests.get(url + path, headers={"Origin": PAGE}, timeout=60)
        assert answer.status_code == status
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        assert answer.headers["Vary"] == "Origin"


def test_other_pages_may_not_and_whoever_is_no_page_sees_nothing_of_it(url):
    answer = preflight(url, "http://elsewhere.example")
    assert answer.status_code == 400 and "Access-Control-Allow-Origin" not in answer.headers
    answer = requests.get(f"{url}/v1/models/tiny", timeout=60)
    assert answer.status_code == 200 and "Vary" not in answer.headers


def test_all_pages_may_where_it_says_so(folder):
    with DevServer({"tiny": folder}, cors=["*"]).in_thread() as server:
        answer = preflight(f"http://127.0.0.1:{server.rest_port}", "https://anywhere.example")
        assert answer.headers["Access-Control-Allow-Origin"] == "https://anywhere.example"


# Proxies and addresses


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_proxy_is_not_asked_for_a_server_of_this_machine(server, monkeypatch, scheme):
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nobody is
    port = {"http": server.rest_port, "grpc": server.port}[scheme]
    with Client(f"{scheme}://127.0.0.1:{port}", "tiny", timeout=20) as client:
        assert client.style_count == 0


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("me.localhost", True),
        ("10.0.0.1", False),
        ("painter.example", False),
        ("::2", False),
    ],
)
def test_which_hosts_are_this_machine(host, here):
    assert _is_loopback(host) is here


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 loopback here")
@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_an_ipv6_host_serves_both(folder, scheme):
    photo = images.read(folder.parent / "photo.png")
    with DevServer({"tiny": folder}, host="::1").in_thread() as server:
        port = {"http": server.rest_port, "grpc": server.port}[scheme]
        with Client(f"{scheme}://[::1]:{port}", "tiny") as client:
            found = client(photo)
    expected = stylize.Stylizer.load(folder)(photo)
    assert abs(found - expected).max() <= 2 / 255
