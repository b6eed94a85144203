"""`tfstyle web`: a page that paints in the browser."""

import argparse
import contextlib
import signal
from collections.abc import Sequence
from typing import Any

from tfstyle.cli import library, messages, parsing


def add(commands: argparse._SubParsersAction) -> None:
    """Adds `tfstyle web` to the commands."""
    parser = commands.add_parser(
        "web",
        help="serve a page that paints photos in the browser",
        description="Serves a page in which the browser itself paints photos: they never leave it.",
        epilog="""\
With -o the page is written into a folder and not served: any web server can serve it. Threads,
which make it about twice as fast, need two headers from it (docs/device.md), the camera https://.

A MODEL is converted to fixed sizes first, which needs TensorFlow; .tflite files of fixed sizes,
which `tfstyle export --size` makes, are taken as they are.

Examples:
  tfstyle web
  tfstyle web --model starry_night --sizes 768x1024,1024x768 --port 8080
  tfstyle web --model mine.384x512.tflite --model mine.512x384.tflite
  tfstyle web -o site/""",
    )
    parser.add_argument(
        "--model",
        metavar="MODEL",
        action="append",
        help=f"as `tfstyle export` takes it, or a .tflite file of a fixed size; several may be "
        f"given (default {parsing.MODEL})",
    )
    sizes = library.constant("web", "SIZES")
    parser.add_argument(
        "--sizes",
        metavar="HxW,...",
        type=parsing.several(parsing.size),
        default=list(sizes),
        help="heights and widths that are painted; the page takes the one nearest to the photo's "
        f"shape (default {','.join(f'{height}x{width}' for height, width in sizes)})",
    )
    variant = library.default("web.build", "variant")
    parser.add_argument(
        "--variant",
        metavar="VARIANT",
        type=parsing.choice(["float32", "float16", "dynamic"]),
        default=variant,
        help=f"float32, float16 or dynamic, of what is converted (default {variant})",
    )
    host, port = library.default("web.serve", "host"), library.default("web.serve", "port")
    parser.add_argument(
        "--host",
        metavar="ADDRESS",
        default=host,
        help=f"to listen on; 0.0.0.0 lets other machines in (default {host})",
    )
    parser.add_argument(
        "--port",
        metavar="N",
        type=parsing.number(int, 0, 65535),
        default=port,
        help=f"0 for any that is free (default {port})",
    )
    parser.add_argument("-o", "--output", metavar="DIR", help="write the page here, and stop")
    parser.set_defaults(function=run)


def run(args: argparse.Namespace) -> int:
    """Runs `tfstyle web`; returns the exit code."""
    from tfstyle import web

    options = {
        "sizes": args.sizes,
        "variant": args.variant,
        "progress": messages.complain,
    }
    models = args.model or [parsing.MODEL]
    if args.output:
        print(f"Page {web.build(args.output, models, **options)}")
        return 0
    serve_page(models, args.host, args.port, **options)
    return 0


def serve_page(models: Sequence[str], host: str, port: int, **options: Any) -> None:
    """Serves the page until Ctrl-C or SIGTERM; options of `web.serve`."""
    from tfstyle import web

    # SIGTERM ends it as Ctrl-C does, so that the temporary folder goes.
    with contextlib.suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    web.serve(
        models,
        host=host,
        port=port,
        announce=lambda url: print(f"Open {url} (Ctrl-C ends)", flush=True),
        **options,
    )
