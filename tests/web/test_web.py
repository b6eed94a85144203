"""The page: what `build` writes, what the server answers, and, in a browser, what it paints."""

import base64
import contextlib
import hashlib
import http.client
import json
import os
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import tfstyle
from tests.small_models import shaken
from tfstyle import cli, files, images, web
from tfstyle.data import samples
from tfstyle.export import BOUNDS, convert
from tfstyle.images import provenance
from tfstyle.networks import generators
from tfstyle.stylize import runners
from tfstyle.web import HEADERS, Server, WebError, build

STYLES = ["swirls", "mosaic", "woodcut"]
SIZES = ((48, 64), (64, 48))


@pytest.fixture(scope="module")
def fusion():
    return shaken(generators.fusion_generator(styles=3, width=4, depth=1, noise=True))


@pytest.fixture(scope="module")
def shelf(fusion, tmp_path_factory):
    """A folder with TFLite files of fixed sizes: two of `blend`, one of `plain`."""
    folder = tmp_path_factory.mktemp("shelf")
    card = {"styles": STYLES, "licence": "CC0-1.0"}
    sources = [convert.from_keras(fusion, "blend", card)]
    plain = shaken(generators.fast_generator(width=4, depth=1))
    sources.append(convert.from_keras(plain, "plain", {"style": "Scribble"}))
    for source, sizes in zip(sources, (SIZES, SIZES[:1]), strict=True):
        for height, width in sizes:
            path = folder / f"{source.name}.{height}x{width}.tflite"
            path.write_bytes(convert.convert(source, "float32", size=(height, width)))
    return folder


@pytest.fixture(scope="module")
def page(shelf, tmp_path_factory):
    names = ("blend.48x64", "blend.64x48", "plain.48x64")
    models = [shelf / f"{name}.tflite" for name in names]
    return build(tmp_path_factory.mktemp("page") / "site", models)


@contextlib.contextmanager
def serving(page, without=()):
    with Server(page) as server:
        for name in without:
            del server.files[f"/{name}"]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def server(page):
    with serving(page) as server:
        yield server


def get(server, path, method="GET", **headers):
    connection = http.client.HTTPConnection(*server.server_address, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


# -- build ------------------------------------------------------------------------------------


def test_files_of_fixed_sizes_are_taken_as_they_are(page, shelf):
    told = json.loads((page / "models.json").read_text("utf-8"))
    blend, plain = told["models"]
    assert (blend["name"], blend["styles"], blend["licence"]) == ("blend", STYLES, "CC0-1.0")
    assert [(each["height"], each["width"]) for each in blend["files"]] == list(SIZES)
    assert (plain["name"], plain["styles"], plain["style"]) == ("plain", [], "Scribble")
    for model in told["models"]:
        for each in model["files"]:
            original = shelf / Path(each["file"]).name
            assert (page / each["file"]).read_bytes() == original.read_bytes()


def test_other_models_are_converted_to_every_size(fusion, tmp_path):
    fusion.save(tmp_path / "mine.keras")
    built = build(tmp_path / "site", [tmp_path / "mine.keras"], sizes=[(48, 64)], variant="dynamic")
    (model,) = json.loads((built / "models.json").read_text("utf-8"))["models"]
    assert model["name"] == "mine" and model["styles"] == ["0", "1", "2"]
    (each,) = model["files"]
    assert runners.TFLiteRunner(built / each["file"], 1).size == (48, 64)
    assert runners.read_metadata(built / each["file"])["variant"] == "dynamic"
    assert sorted(path.name for path in (built / "models").iterdir()) == [Path(each["file"]).name]


def test_an_earlier_page_is_replaced_and_other_folders_are_not(shelf, tmp_path, monkeypatch):
    models = [shelf / "plain.48x64.tflite"]
    built = build(tmp_path / "site", models)
    build(built, [shelf / "blend.48x64.tflite"])

    def full(_):
        raise OSError(28, "full")

    assert [path.name for path in (built / "models").iterdir()] == ["blend.48x64.tflite"]
    with monkeypatch.context() as patch:
        patch.setattr(files, "sync", full)
        with pytest.raises(OSError, match="full"):
            build(built, models)
    assert [path.name for path in (built / "models").iterdir()] == ["blend.48x64.tflite"]
    (built / "diary.txt").write_text("dear")
    with pytest.raises(WebError, match="holds other things"):
        build(built, models)
    assert (built / "diary.txt").read_text() == "dear"
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


@pytest.mark.parametrize(
    ("models", "options", "told"),
    [
        ([], {}, "no model"),
        (["plain.48x64.tflite"], {"variant": "int8"}, "give float32, float16 or dynamic"),
        (["any.tflite"], {}, "takes any size.*--size 384x512"),
        (["nothing.tflite"], {}, "no such file"),
        (["plain.48x64.tflite", "plain.48x64.tflite"], {}, "a second file of 48x64"),
        (["notes.tflite"], {}, "not a TFLite model"),
        (["nowhere"], {}, "no SavedModel"),
    ],
)
def test_what_cannot_become_a_page_leaves_nothing(shelf, tmp_path, models, options, told):
    plain = shaken(generators.fast_generator(width=4, depth=1))
    if models == ["any.tflite"]:
        content = convert.convert(convert.from_keras(plain, "any"), "float32")
        (tmp_path / "any.tflite").write_bytes(content)
    (tmp_path / "notes.tflite").write_text("hello, this is no model at all")
    paths = [shelf / name if (shelf / name).exists() else tmp_path / name for name in models]
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match=told):
        build(tmp_path / "site", paths, **options)
    assert sorted(tmp_path.iterdir()) == before


def test_a_model_beyond_its_bound_makes_no_page(fusion, tmp_path, monkeypatch):
    fusion.save(tmp_path / "mine.keras")
    monkeypatch.setitem(BOUNDS, "tflite_dynamic", ("mean", 1e-9))
    with pytest.raises(WebError, match="mine: dynamic differs from Keras"):
        build(tmp_path / "site", [tmp_path / "mine.keras"], sizes=SIZES[:1], variant="dynamic")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.keras"]


# -- static files -----------------------------------------------------------------------------


def test_the_page_itself_carries_the_policy_that_the_server_sends():
    text = (web.STATIC / "index.html").read_text("utf-8")
    inside = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)[1]
    assert HEADERS["Content-Security-Policy"] == f"{inside}; frame-ancestors 'none'"
    assert re.findall(r"'[\w-]*unsafe[\w-]*'", inside) == ["'wasm-unsafe-eval'"]


@pytest.mark.parametrize(
    "name", ["index.html", "app.js", "notes.js", "worker.js", "style.css", "icon.svg"]
)
def test_nothing_refers_to_another_host_and_nothing_is_inline(name):
    text = (web.STATIC / name).read_text("utf-8")
    found = re.findall(r"https?://[^\s\"'`)]+", text)
    assert set(found) <= {"http://www.w3.org/2000/svg", "http://localhost"}
    if name == "index.html":
        assert not re.findall(r"<script>|<style|\son\w+=|\sstyle=", text)


MADE = {"model": "blend <&>", "version": 3, "style": "swirls=0.25,é=0.75", "strength": 0.4}


def test_the_page_notes_in_a_picture_what_the_commands_note(page, tmp_path):
    node = shutil.which("node")
    if not node:
        pytest.skip("no Node.js")
    image = images.from_uint8(np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3))
    images.write(tmp_path / "plain.png", image)
    # As a script of the page, and not as a module.
    script = """
const fs = require("fs"), [code, models, png, out, made] = process.argv.slice(1);
require("vm").runInThisContext(fs.readFileSync(code, "utf-8"));
const about = JSON.parse(fs.readFileSync(models, "utf-8"));
fs.writeFileSync(out, withTexts(fs.readFileSync(png), notes(about, JSON.parse(made))));
"""
    files = [page / "notes.js", page / "models.json", tmp_path / "plain.png", tmp_path / "out.png"]
    subprocess.run([node, "-e", script, *files, json.dumps(MADE)], check=True, timeout=60)
    expected = provenance.notes(MADE)
    texts = images.read_text(tmp_path / "out.png")
    assert json.loads(texts.pop("tfstyle:made")) == json.loads(expected["text"].pop("tfstyle:made"))
    assert texts == expected["text"]
    assert images.read_xmp(tmp_path / "out.png") == expected["xmp"]
    found = provenance.found(tmp_path / "out.png")
    assert found["made"].items() >= MADE.items() and found["made"]["ai_generated"]
    assert found["source_type"] == provenance.SOURCE_TYPE
    np.testing.assert_array_equal(images.read(tmp_path / "out.png"), image)


def test_every_control_has_a_name():
    text = (web.STATIC / "index.html").read_text("utf-8")
    labelled = re.sub(r"<label.*?</label>", "", text, flags=re.DOTALL)
    # What is left outside of labels: the hidden file chooser, which a button opens.
    assert re.findall(r'<(?:input|select)\b[^>]*id="(\w+)"', labelled) == ["file"]
    for button in re.findall(r"<button[^>]*>(.*?)</button>", text):
        assert button.strip()


# Of npm's @litertjs/core 2.5.3 and @litertjs/wasm-utils 2.5.3: `npm pack`, then the files below
# package/wasm and package/dist.
LITERT = {
    "litert_wasm_compat_internal.js": "4d8f894b7883654fd6e8439730aa41e7",
    "litert_wasm_compat_internal.wasm": "5255c8ad06eabdbd2522cdebf6b22fc1",
    "litert_wasm_threaded_internal.js": "92fe7a720c6deedaa1194c011c79a005",
    "litert_wasm_threaded_internal.wasm": "b5e54eca10f043497edf9a0218633270",
}


@pytest.mark.parametrize("name", LITERT)
def test_the_runtime_is_as_its_makers_published_it(name):
    content = (web.STATIC / "litert" / name).read_bytes()
    assert hashlib.sha256(content).hexdigest()[:32] == LITERT[name]


# -- server -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/index.html?x=1", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
        ("/models.json", "application/json"),
        ("/models/plain.48x64.tflite", "application/octet-stream"),
        ("/litert/litert_wasm_compat_internal.wasm", "application/wasm"),
    ],
)
def test_files_come_with_their_type_and_an_isolating_policy(server, page, path, kind):
    status, headers, body = get(server, path)
    assert status == 200 and headers["Content-Type"] == kind
    name = path.partition("?")[0].lstrip("/") or "index.html"
    assert body == (page / name).read_bytes()
    assert HEADERS.items() <= headers.items()
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/../setup.py", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/models/", "/a\\b"],
)
def test_nothing_else_can_be_asked_for(server, path):
    status, headers, body = get(server, path)
    assert status == 404 and b"root:" not in body
    assert headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]


def test_head_has_no_body_and_an_unchanged_file_does_not_come_again(server):
    status, headers, body = get(server, "/app.js", "HEAD")
    assert (status, body) == (200, b"") and int(headers["Content-Length"]) > 1000
    status, _, body = get(server, "/app.js", **{"If-None-Match": headers["ETag"]})
    assert (status, body) == (304, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_sent_to_it(server, method):
    assert get(server, "/", method)[0] == 501


def test_a_taken_port_and_an_empty_folder_are_told(page, tmp_path, server):
    with pytest.raises(WebError, match="Give another --host or --port"):
        Server(page, port=server.server_address[1])
    with pytest.raises(WebError, match="no page in it"):
        Server(tmp_path)


def test_the_command_writes_a_page(shelf, tmp_path, capsys):
    command = ["web", "--model", str(shelf / "plain.48x64.tflite"), "-o", str(tmp_path / "site")]
    assert cli.main(command) == 0
    assert capsys.readouterr().out == f"Page {tmp_path / 'site'}\n"
    assert (tmp_path / "site" / "models" / "plain.48x64.tflite").is_file()


@pytest.mark.parametrize(
    "command", [["web", "--port", "0", "--model"], ["serve", "--web", "--rest_port", "0"]]
)
def test_the_command_serves_until_it_is_interrupted(shelf, capsys, monkeypatch, command):
    def serve(self):
        assert get_url(self.url)[0] == 200
        raise KeyboardInterrupt

    def get_url(url):
        thread = threading.Thread(target=server_of[0].handle_request)
        thread.start()
        try:
            return get(server_of[0], "/")
        finally:
            thread.join()

    server_of = []
    real = Server.__init__

    def noted(self, *args, **options):
        real(self, *args, **options)
        server_of.append(self)

    monkeypatch.setattr(Server, "__init__", noted)
    monkeypatch.setattr(Server, "serve_forever", serve)
    model = str(shelf / "plain.48x64.tflite")
    assert cli.main([*command, model]) == 0
    assert re.match(r"Open http://127\.0\.0\.1:\d+/ ", capsys.readouterr().out)


# -- in a browser -----------------------------------------------------------------------------

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


def chromium():
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = [os.environ.get("CHROMIUM"), *map(shutil.which, names)]
    return next(filter(None, found), None)


@pytest.fixture(scope="module")
def browser():
    if not chromium():
        pytest.skip("no Chromium: install one, or name it in CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield browser
        browser.close()


class Tab:
    """A tab with the page, and all that it asked for."""

    def __init__(self, browser, url, **options):
        self.page = browser.new_page(**options)
        self.requests, self.errors = [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(url)

    # Playwright's own waiting evaluates text in the page, which the policy forbids.
    def wait(self, script, seconds=60):
        end = time.monotonic() + seconds
        while not self.page.evaluate(script):
            assert time.monotonic() < end, (self.status(), self.error(), self.errors)
            time.sleep(0.05)

    def status(self):
        return self.page.evaluate("document.getElementById('status').textContent")

    def error(self):
        return self.page.evaluate("document.getElementById('error').textContent")

    def ready(self):
        self.wait("document.getElementById('status').textContent === 'Ready.'")
        return self

    def paint(self, path):
        # So that the end of this painting is not taken for the end of the last.
        self.page.evaluate("document.getElementById('status').textContent = ''")
        self.page.set_input_files("#file", path)
        self.painted()

    def painted(self):
        self.wait("document.getElementById('status').textContent.startsWith('Painted')")

    def slide(self, selector, value):
        """A selector may end in @N: the Nth of those that it finds."""
        self.page.evaluate(
            "([selector, value]) => { const [css, n] = selector.split('@');"
            "const input = document.querySelectorAll(css)[n || 0];"
            "input.value = value; input.dispatchEvent(new Event('input')); }",
            [selector, value],
        )

    def canvas(self, name="result"):
        """uint8 [H, W, 3]."""
        height, width, data = self.page.evaluate(
            "name => { const c = document.getElementById(name);"
            "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
            "let text = ''; for (const value of d) text += String.fromCharCode(value);"
            "return [c.height, c.width, btoa(text)]; }",
            name,
        )
        pixels = np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)
        assert (pixels[..., 3] == 255).all()
        return pixels[..., :3]


def of_keras(generator, path, weights):
    photo = images.read(path)[np.newaxis]
    stylized = generator([photo, np.array([weights], np.float32)], training=False)
    return images.to_uint8(stylized[0].numpy()).astype(int)


@pytest.fixture(scope="module")
def cat(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos") / "cat.png"
    images.write(path, images.resize(samples.photo("chelsea"), (48, 64)))
    return path


@pytest.fixture
def tab(browser, server):
    tab = Tab(browser, server.url, viewport={"width": 1200, "height": 800}).ready()
    yield tab
    assert tab.errors == []
    tab.page.close()


@pytest.mark.slow
def test_the_browser_paints_what_keras_paints_and_asks_for_nothing_more(tab, cat, fusion, server):
    assert tab.page.evaluate("self.crossOriginIsolated")
    assert tab.page.evaluate("document.documentElement.dataset.threads") == "true"
    loaded = len(tab.requests)
    tab.paint(cat)
    expected = of_keras(fusion, cat, [1, 0, 0])
    assert np.abs(tab.canvas() - expected).max() <= 2
    np.testing.assert_array_equal(tab.canvas("photo"), images.to_uint8(images.read(cat)))

    tab.slide("#sliders input@0", 25)
    tab.slide("#sliders input@2", 75)
    blend = of_keras(fusion, cat, [0.25, 0, 0.75])
    assert np.abs(blend - expected).max() > 10
    tab.wait("document.getElementById('result').ariaLabel.includes('woodcut 75 %')")
    assert np.abs(tab.canvas() - blend).max() <= 2

    tab.slide("#strength", 40)
    photo = images.to_uint8(images.read(cat)).astype(int)
    assert np.abs(tab.canvas() - (0.6 * photo + 0.4 * blend)).max() <= 2
    tab.slide("#strength", 0)
    np.testing.assert_array_equal(tab.canvas(), photo)
    assert tab.requests[loaded:] == []
    assert all(url.startswith((server.url, "blob:")) for url in tab.requests)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attempt", "directive"),
    [
        ("fetch('https://example.org/').catch(() => 0)", "connect-src"),
        ("new Image().src = 'https://example.org/x.png'", "img-src"),
        ("navigator.sendBeacon('https://example.org/', 'photo')", "connect-src"),
        ("document.body.append(Object.assign(document.createElement('script'),"
         "{textContent: 'window.bad = 1'}))", "script-src-elem"),
    ],
)  # fmt: skip
def test_the_policy_stops_whatever_would_leave_the_page(tab, attempt, directive):
    stopped = tab.page.evaluate(
        "Promise.race([new Promise(done => document.addEventListener("
        "'securitypolicyviolation', event => done(event.effectiveDirective))),"
        "new Promise(done => { ATTEMPT; setTimeout(done, 5000, 'nothing'); })])".replace(
            "ATTEMPT", attempt
        )
    )
    assert stopped == directive


@pytest.mark.slow
def test_another_shape_is_padded_and_cut_again(tab, tmp_path, fusion):
    wide = images.resize(samples.photo("coffee"), (24, 64))
    images.write(tmp_path / "wide.png", wide)
    tab.paint(tmp_path / "wide.png")
    padded = np.pad(wide, ((0, 24), (0, 0), (0, 0)), mode="reflect")
    images.write(tmp_path / "padded.png", padded)
    expected = of_keras(fusion, tmp_path / "padded.png", [1, 0, 0])[:24]
    assert tab.canvas().shape == (24, 64, 3)
    assert np.abs(tab.canvas() - expected).max() <= 2
    # Upright ones go through the upright file.
    upright = images.resize(samples.photo("coffee"), (64, 48))
    images.write(tmp_path / "upright.png", upright)
    tab.paint(tmp_path / "upright.png")
    expected = of_keras(fusion, tmp_path / "upright.png", [1, 0, 0])
    assert np.abs(tab.canvas() - expected).max() <= 2


@pytest.mark.slow
def test_real_errors_are_shown_and_the_page_goes_on(tab, cat, tmp_path):
    (tmp_path / "notes.jpg").write_text("no picture")
    tab.page.set_input_files("#file", tmp_path / "notes.jpg")
    tab.wait("!document.getElementById('error').hidden")
    assert "notes.jpg: not a picture that this browser can read" in tab.error()
    (tmp_path / "huge.bin").touch()
    os.truncate(tmp_path / "huge.bin", 100_000_001)
    tab.page.set_input_files("#file", tmp_path / "huge.bin")
    tab.wait("document.getElementById('error').textContent.includes('too large')")
    tab.paint(cat)
    assert tab.error() == ""
    tab.slide("#sliders input@0", 0)
    tab.wait("document.getElementById('error').textContent.includes('All styles are at 0')")


@pytest.mark.slow
def test_everything_can_be_done_by_keyboard(tab, cat, tmp_path):
    tab.paint(cat)
    keyboard = tab.page.keyboard
    reached = {}
    for _ in range(14):
        keyboard.press("Tab")
        told = tab.page.evaluate(
            "(it => [it.id || it.closest('label')?.innerText || '',"
            " getComputedStyle(it).outlineStyle])(document.activeElement)"
        )
        reached[told[0].split("\n")[0]] = told[1]
    wanted = {"split", "choose", "camera", "download", "model", "strength", *STYLES}
    assert wanted <= reached.keys()
    assert all(reached[name] != "none" for name in wanted)  # what has the focus is seen
    tab.page.focus("#split")
    for _ in range(30):
        keyboard.press("ArrowRight")
    assert tab.page.evaluate("document.documentElement.style.getPropertyValue('--split')") == "30%"
    tab.page.focus("#download")
    with tab.page.expect_download() as download:
        keyboard.press("Enter")
    assert download.value.suggested_filename == "cat.blend.png"
    download.value.save_as(tmp_path / "saved.png")
    np.testing.assert_array_equal(
        images.to_uint8(images.read(tmp_path / "saved.png")), tab.canvas()
    )
    found = provenance.found(tmp_path / "saved.png")
    made = {"model": "blend", "licence": "CC0-1.0", "style": "swirls"}
    about = {"tfstyle": tfstyle.__version__, "ai_generated": True}
    assert found == {"made": about | made, "source_type": provenance.SOURCE_TYPE}
    tab.page.select_option("#model", "plain")
    tab.wait("document.getElementById('styles').hidden")
    tab.painted()


@pytest.mark.slow
def test_the_camera_gives_a_photo(tab):
    tab.page.focus("#camera")
    tab.page.keyboard.press("Enter")
    tab.wait("document.activeElement.id === 'shoot' && document.getElementById('video').videoWidth")
    tab.page.keyboard.press("Enter")
    tab.painted()
    assert tab.canvas().shape[1] == 64
    assert tab.page.evaluate("document.getElementById('video').srcObject === null")


@pytest.mark.slow
@pytest.mark.parametrize("width", [320, 1200])
def test_it_fits_the_screen(browser, server, cat, width):
    tab = Tab(browser, server.url, viewport={"width": width, "height": 700}).ready()
    tab.paint(cat)
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
    for name in ("result", "split", "choose", "strength", "status"):
        box = tab.page.locator(f"#{name}").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width and box["width"] > 40
    tab.page.close()


@pytest.mark.slow
def test_without_isolating_headers_it_paints_on_one_thread(browser, page, cat, fusion, monkeypatch):
    for name in [name for name in HEADERS if name.startswith("Cross-Origin")]:
        monkeypatch.delitem(HEADERS, name)
    with serving(page) as server:
        tab = Tab(browser, server.url).ready()
        tab.paint(cat)
        assert tab.page.evaluate("document.documentElement.dataset.threads") == "false"
        assert np.abs(tab.canvas() - of_keras(fusion, cat, [1, 0, 0])).max() <= 2
        tab.page.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("models.json", "models.json: the server answers 404"),
        ("models/blend.64x48.tflite", "models/blend.64x48.tflite: the server answers 404"),
    ],
)
def test_what_is_missing_on_the_server_is_named(browser, page, missing, told):
    with serving(page, without=[missing]) as server:
        tab = Tab(browser, server.url)
        tab.wait("!document.getElementById('error').hidden")
        assert told in tab.error()
        tab.page.close()


@pytest.mark.slow
def test_a_browser_without_webassembly_is_told(browser, server):
    context = browser.new_context()
    context.route(
        "**/worker.js",
        lambda route: route.fulfill(
            body="delete self.WebAssembly;\n" + (web.STATIC / "worker.js").read_text("utf-8"),
            content_type="text/javascript",
            headers=HEADERS,
        ),
    )
    tab = Tab(context, server.url)
    tab.wait("!document.getElementById('error').hidden")
    assert "no WebAssembly" in tab.error()
    context.close()
