"""`tfstyle serve`: models over REST and gRPC."""

import argparse
import os
import shlex
import shutil
from pathlib import Path

from tfstyle.cli import library, messages, parsing, web
from tfstyle.errors import ArgumentError


def add(commands: argparse._SubParsersAction) -> None:
    """Adds `tfstyle serve` to the commands."""
    port, rest_port = (
        library.constant("serving/config", "PORTS")[kind] for kind in ("grpc", "rest")
    )
    image = library.constant("serving/config", "IMAGE")
    parser = commands.add_parser(
        "serve",
        help="serve models over REST and gRPC",
        description="Serves models with TensorFlow Serving: writes its files, and starts it where "
        "it is.",
        epilog=f"""\
MODEL: a name that `tfstyle models` lists, or a folder of numbered versions (NAME/1/saved_model.pb).
A new version that appears in the folder is served from then on.

Started is the first that is there: tensorflow_model_server on PATH, {image} in
docker, the same in podman. Where there is none, --dev runs a small server that keeps the same
contract; it is for trying out and for tests, not for the open network.

Examples:
  tfstyle serve starry_night
  tfstyle serve starry_night ten_styles --dir serving/ --write_only
  tfstyle serve starry_night --dev
  curl localhost:{rest_port}/v1/models/starry_night
  tfstyle client http://localhost:{rest_port} photo.jpg -o out.png""",
    )
    parser.add_argument(
        "models",
        nargs="*",
        default=[parsing.MODEL],
        metavar="MODEL",
        help=f"what to serve (default {parsing.MODEL})",
    )
    parser.add_argument(
        "--host",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="to listen on: 0.0.0.0 is all of this machine's (default 127.0.0.1, which nobody else "
        "reaches); tensorflow_model_server on PATH always listens on all",
    )
    for name, number, text in (("port", port, "gRPC"), ("rest_port", rest_port, "REST")):
        parser.add_argument(
            f"--{name}",
            metavar="N",
            type=parsing.number(int, 0, 65535),
            default=number,
            help=f"of {text} (default {number})",
        )
    parser.add_argument(
        "--web",
        action="store_true",
        help="serve the page that paints in the browser itself, at --rest_port; `tfstyle web` has "
        "more flags for it",
    )
    group = parser.add_argument_group("TensorFlow Serving")
    group.add_argument(
        "--dir",
        metavar="DIR",
        default="serving",
        help="where models.config, monitoring.config and batching.config are written (default "
        "serving)",
    )
    group.add_argument(
        "--write_only", action="store_true", help="write them, print the command, start nothing"
    )
    group.add_argument(
        "--with",
        dest="server",
        metavar="WORD",
        type=parsing.choice(library.constant("serving/config", "SERVERS")),
        help="tensorflow_model_server, docker or podman (default: the first that is there)",
    )
    group.add_argument("--image", default=image, help=f"of the container (default {image})")
    group.add_argument(
        "--batching",
        action="store_true",
        help="compute requests together; only for clients that all send one size of image, or "
        "files",
    )
    group = parser.add_argument_group("development server")
    group.add_argument("--dev", action="store_true", help="run it")
    options = {
        "workers": (parsing.number(int, 1), "batches computed at the same time"),
        "queue": (parsing.number(int, 1), "requests that may wait; more are refused (429)"),
        "poll_seconds": (
            parsing.number(float, 0, above=True),
            "between two looks for new versions",
        ),
        "grace_seconds": (parsing.number(float, 0), "that a stop waits for requests taken in"),
    }
    for name, (kind, text) in options.items():
        default = library.default("serving/server.DevServer.__init__", name)
        group.add_argument(
            f"--{name}",
            metavar="N",
            type=kind,
            default=default,
            help=f"{text} (default {default:g})",
        )
    group.add_argument(
        "--cors",
        metavar="ORIGIN",
        action="append",
        default=[],
        help="a page elsewhere that may ask over REST, such as http://localhost:3000; several with "
        "a flag for each, * for all",
    )
    group.add_argument(
        "--max_request_mb",
        metavar="N",
        type=parsing.number(int, 1, 2000),
        default=64,
        help="of a request (default 64)",
    )
    parser.set_defaults(function=run)


def run(args: argparse.Namespace) -> int:
    """Runs `tfstyle serve`; returns the exit code."""
    from tfstyle import stylize
    from tfstyle.serving import config

    _refuse_what_would_be_ignored(args)
    if args.web:
        web.serve_page(args.models, args.host, args.rest_port, progress=messages.complain)
        return 0
    if args.port == args.rest_port != 0:
        raise ArgumentError(f"--port and --rest_port {args.port}: give two")
    if not args.dev and 0 in (args.port, args.rest_port):
        raise ArgumentError("port 0: only --dev and --web take any that is free. Give a number")
    models = config.find_models(args.models, stylize.model_folders())
    if args.dev:
        return _serve_dev(args, models)
    server = args.server or config.find_server()
    if server is None and not args.write_only:
        raise ArgumentError(
            f"no TensorFlow Serving here: neither {config.BINARY} on PATH, nor docker or podman "
            "that answers. Install one of them; or add --write_only to write its files for another "
            "machine, or --dev for the development server"
        )
    server = server or config.ENGINES[0]
    if not args.write_only and not shutil.which(server):
        raise ArgumentError(f"{server}: not on PATH. Install it, or leave out --with")
    inside = models if server == config.BINARY else config.container_paths(models)
    batching = config.batching_config() if args.batching else None
    files = config.write(args.dir, inside, batching=batching)
    ports = {"port": args.port, "rest_port": args.rest_port}
    if server == config.BINARY:
        command = config.server_command(files, **ports)
    else:
        command = config.container_command(
            server, files, models, host=args.host, image=args.image, **ports
        )
    for path in (files.models, files.monitoring, files.batching):
        if path:
            print(f"Wrote   {path}")
    print(f"{'Command' if args.write_only else 'Runs   '} {shlex.join(command)}", flush=True)
    if args.write_only:
        return 0
    os.execvp(command[0], command)


def _refuse_what_would_be_ignored(args: argparse.Namespace) -> None:
    own = "--web" if args.web else "--dev"
    others = {"--dev": args.web and args.dev, "--with": args.server}
    others |= {"--write_only": args.write_only, "--batching": args.batching}
    for flag, given in others.items():
        if given and (args.web or args.dev):
            raise ArgumentError(
                f"{own} and {flag}: each starts another server. Leave one of them out"
            )


def _serve_dev(args: argparse.Namespace, models: dict[str, Path]) -> int:
    try:
        from tfstyle.serving import server
    except ModuleNotFoundError as error:
        raise ArgumentError(
            f"the development server needs {error.name}: pip install 'tfstyle[serving]'"
        ) from error
    messages.tell_progress()
    development = server.DevServer(
        models,
        host=args.host,
        port=args.port,
        rest_port=args.rest_port,
        workers=args.workers,
        queue=args.queue,
        max_request_bytes=args.max_request_mb * 2**20,
        poll_seconds=args.poll_seconds,
        grace_seconds=args.grace_seconds,
        cors=args.cors,
    )
    host = f"[{args.host}]" if ":" in args.host else args.host

    def announce() -> None:
        print(f"Development server of {', '.join(models)}; Ctrl-C ends it")
        print(f"REST    http://{host}:{development.rest_port}/v1/models/{next(iter(models))}")
        print(f"gRPC    grpc://{host}:{development.port}", flush=True)

    development.run(announce)
    return 0
