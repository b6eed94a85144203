"""A page that paints photos in the browser: `build` writes it, `Server` serves it.

    DIR/index.html, app.js, notes.js, worker.js, style.css, icon.svg
    DIR/litert/         LiteRT.js, which runs the networks (see NOTICE)
    DIR/models.json     which networks there are
    DIR/models/         one TFLite file a size: LiteRT.js takes files of a fixed size alone

Any web server can serve the folder. For threads, which make it about twice as fast, it must send
the headers COOP and COEP of `HEADERS`; for the camera it must be https://, or of this machine.
"""

import contextlib
import http.server
import json
import os
import shutil
import tempfile
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import tfstyle
from tfstyle import files, stylize
from tfstyle.errors import TfstyleError
from tfstyle.export import convert, device
from tfstyle.images import provenance
from tfstyle.stylize import runners

STATIC = Path(__file__).parent / "static"

# (height, width) of what is painted; the page takes the one nearest to the photo's shape.
SIZES = ((384, 512), (512, 384), (512, 512))

_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
    "connect-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'"
)
HEADERS = {
    # The page can reach nothing but its own server, whatever a script in it might want.
    "Content-Security-Policy": f"{_POLICY}; frame-ancestors 'none'",
    # Together they isolate the page, which SharedArrayBuffer, and so threads, need.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
# The system's table of types may lack some, or have others.
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".tflite": "application/octet-stream",
    ".wasm": "application/wasm",
}


class WebError(TfstyleError, ValueError):
    """The page cannot be made or served as asked for; the message says why."""


def build(
    directory: str | os.PathLike,
    models: Sequence[str | os.PathLike],
    *,
    sizes: Sequence[tuple[int, int]] = SIZES,
    variant: str = "float32",
    progress: Callable[[str], object] = lambda text: None,
) -> Path:
    """Writes the page and its networks into a folder, whole or not at all.

    A model that is a TFLite file of a fixed size is taken as it is, which needs no TensorFlow;
    others are converted (`device.read` says what they may be) and kept only where they agree with
    what they were made of.

    Args:
        directory: to make; one that is empty, or that an earlier call made, is replaced.
        models: names, paths of models, or TFLite files of a fixed size. Files of one name, such as
            NAME.384x512.tflite and NAME.512x384.tflite, are sizes of one model. The first is shown
            first.
        sizes: (height, width) that models are converted to.
        variant: of device.VARIANTS, of what is converted; not int8.
        progress: is told what is being done.

    Returns:
        `directory`, as a path.

    Raises:
        WebError: for a folder with other things in it, no model, a TFLite file of any size, or a
            model that is beyond its bound as `variant`.
        ValueError: for a model that cannot be read or converted.
    """
    directory = Path(directory)
    if not models:
        raise WebError("no model: give one or more")
    if variant not in convert.VARIANTS or variant == "int8":
        raise WebError(f"variant {variant!r}: give float32, float16 or dynamic")
    if directory.exists() and not directory.is_dir():
        raise WebError(f"{directory}: a file. Give a folder")
    if directory.is_dir() and any(directory.iterdir()) and not _is_page(directory):
        raise WebError(f"{directory}: holds other things. Give a folder that is new or empty")
    directory.parent.mkdir(parents=True, exist_ok=True)
    with files.staging(directory.parent) as staging:
        staged = staging / "site"
        shutil.copytree(STATIC, staged)
        shelf = staged / "models"
        shelf.mkdir()
        entries: dict[str, dict[str, Any]] = {}
        for model in models:
            for path in _files(model, shelf, sizes, variant, progress):
                _add(entries, path)
        told = {
            "tfstyle": tfstyle.__version__,
            "xmp": provenance.packet("{told}"),  # the page puts in what made a picture
            "models": list(entries.values()),
        }
        (staged / "models.json").write_text(json.dumps(told, indent=2) + "\n", "utf-8")
        files.move_all([(staged, directory)])
    return directory


def _is_page(folder: Path) -> bool:
    """Whether `folder` holds what `build` writes and nothing else: it may be replaced."""
    known = {path.name for path in STATIC.iterdir()} | {"models", "models.json"}
    found = {path.name for path in folder.iterdir()}
    return {"index.html", "models.json"} <= found <= known


def _files(
    model: str | os.PathLike,
    shelf: Path,
    sizes: Sequence[tuple[int, int]],
    variant: str,
    progress: Callable[[str], object],
) -> list[Path]:
    """The TFLite files of a model, in `shelf`."""
    path = Path(model)
    if path.suffix == ".tflite":
        if not path.is_file():
            raise WebError(f"{path}: no such file")
        run = runners.TFLiteRunner(path, 1)
        if run.size is None:
            raise WebError(
                f"{path}: takes any size, and LiteRT.js takes fixed ones alone. Give what it was "
                "made of, or make one: tfstyle export MODEL --tflite float32 --size 384x512"
            )
        return [Path(shutil.copy(path, shelf))]
    source = device.read(model)
    found: list[Path] = []
    for size in sizes:

        def tell(text: str, size: tuple[int, int] = size) -> None:
            progress(f"{source.name} {size[0]}x{size[1]}, {text}")

        report = device.export(source, [variant], shelf, size=size, progress=tell)
        if report.refused:
            raise WebError(f"{source.name}: {'; '.join(report.refused.values())}")
        assert report.path is not None  # what is not refused is kept
        report.path.unlink()
        found += report.files.values()
    return found


def _add(entries: dict, path: Path) -> None:
    """Notes a TFLite file of a fixed size in what models.json is to say."""
    run = runners.TFLiteRunner(path, 1)
    told = runners.read_metadata(path) or stylize.read_card(path)
    name = str(told.get("name") or path.name.split(".")[0])
    styles = told.get("styles") or []
    if len(styles) != run.styles:
        styles = [str(index) for index in range(run.styles)]
    about = {
        "name": name,
        "style": str(told.get("style") or ""),
        "licence": str(told.get("licence") or ""),
        "version": told.get("version"),
        "styles": styles,
        "files": [],
    }
    entry = entries.setdefault(name, about)
    if entry["styles"] != styles:
        raise WebError(f"{path}: other styles than another file of the model {name}")
    if run.size is None:
        raise WebError(f"{path}: takes any size, and LiteRT.js takes fixed ones alone")
    height, width = run.size
    if any((each["height"], each["width"]) == run.size for each in entry["files"]):
        raise WebError(f"{path}: a second file of {height}x{width} of the model {name}")
    entry["files"].append({"file": f"models/{path.name}", "height": height, "width": width})


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder that `build` wrote; the address is `url`. GET and HEAD alone."""

    daemon_threads: bool = True

    def __init__(
        self, directory: str | os.PathLike, *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        """Listens at once; `serve_forever` answers.

        Args:
            directory: with the page; what is in it now is what is served.
            host: address to listen on; 0.0.0.0 for all of this machine.
            port: 0 for one that is free.

        Raises:
            WebError: where the folder has no page in it, or the port cannot be had.
        """
        root = Path(directory)
        # Only these: no path that is asked for is ever joined to the folder.
        self.files = {
            f"/{path.relative_to(root).as_posix()}": path
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }
        if "/index.html" not in self.files or "/models.json" not in self.files:
            raise WebError(f"{root}: no page in it. Make one: tfstyle web -o {root}")
        self.files["/"] = self.files["/index.html"]
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            told = getattr(error, "strerror", None) or error
            raise WebError(f"{host}:{port}: {told}. Give another --host or --port") from None

    @property
    def url(self) -> str:
        """http://HOST:PORT/, as this machine can open it."""
        host, port = map(str, self.server_address[:2])
        return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that closes its connection early is no error."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version = f"tfstyle/{tfstyle.__version__}"
    sys_version = ""
    timeout = 60

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, body: bool) -> None:
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        file = self.server.files.get(path)
        if file is None:
            self.send_error(404, "no such page")
            return
        try:
            stream = file.open("rb")
        except OSError:
            self.send_error(404, "no such page")
            return
        with stream:
            stat = os.fstat(stream.fileno())
            tag = f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'
            if self.headers.get("If-None-Match") == tag:
                self.send_response(304)
                self.send_header("ETag", tag)
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Type", _TYPES.get(file.suffix, "application/octet-stream"))
            self.send_header("Content-Length", str(stat.st_size))
            self.send_header("ETag", tag)
            self.end_headers()
            if body:
                shutil.copyfileobj(stream, self.wfile)

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """What is asked for is nobody's business."""


@contextlib.contextmanager
def site(models: Sequence[str | os.PathLike], **options: Any) -> Iterator[Path]:
    """A temporary folder with the page; `options` are those of `build`."""
    with tempfile.TemporaryDirectory(prefix="tfstyle-web-") as folder:
        yield build(Path(folder) / "site", models, **options)


def serve(
    models: Sequence[str | os.PathLike],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    announce: Callable[[str], object] = print,
    **options: Any,
) -> None:
    """Builds the page in a temporary folder and serves it until KeyboardInterrupt.

    Args:
        models: see `build`.
        host, port: see `Server`.
        announce: is given the address when the page can be opened.
        options: of `build`.

    Raises:
        WebError: see `build` and `Server`.
    """
    with site(models, **options) as folder, Server(folder, host=host, port=port) as server:
        announce(server.url)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
