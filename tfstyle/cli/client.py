"""`tfstyle client`: photos in the style of a model on a server."""

import argparse
from typing import Any

from tfstyle.cli import jobs, library, notes, parsing
from tfstyle.errors import ArgumentError


def add(commands: argparse._SubParsersAction) -> None:
    """Adds `tfstyle client` to the commands."""
    timeout = library.constant("serving/client", "TIMEOUT")
    parser = commands.add_parser(
        "client",
        help="stylize photos on a server",
        description="Stylizes photos on a server: TensorFlow Serving, or `tfstyle serve --dev`.",
        epilog=f"""\
URL: http://HOST:PORT or https://HOST:PORT (REST), grpc://HOST:PORT (gRPC). Without a port it is
8501 for http, 443 for https and 8500 for grpc. Behind a proxy https://HOST/PATH; an IPv6 address
stands in brackets, http://[::1]:8501.
IN and OUT as of `tfstyle stylize`. Photos are sent with 8 bits a channel; strength, colours and
the final format are worked out here.

Examples:
  tfstyle client http://localhost:8501 photo.jpg -o out.png
  tfstyle client grpc://localhost:8500 photos/ -o painted/ --model {parsing.MODEL} --max_size 1024
  tfstyle client http://localhost:8501 photo.jpg -o out.jpg --model ten_styles --style 0:2,3:1""",
    )
    parser.add_argument("url", metavar="URL", help="of the server, see below")
    parser.add_argument(
        "inputs", nargs="+", metavar="IN", help="image files, folders, - for stdin, or camera"
    )
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="file or folder")
    parser.add_argument(
        "--model",
        metavar="NAME",
        default=parsing.MODEL,
        help=f"on the server (default {parsing.MODEL})",
    )
    parser.add_argument(
        "--model_version",
        metavar="N",
        type=parsing.number(int, 0),
        help="of it (default: the newest)",
    )
    parsing.add_painting(
        parser,
        style="of a model with several styles: its number from 0, or its name where `tfstyle "
        "models` lists the model here too; or several with their weights (default 0)",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=parsing.number(float, 0, above=True),
        default=timeout,
        help=f"of one request (default {timeout:g})",
    )
    notes.add_sign(parser)
    parser.set_defaults(function=run)


def run(args: argparse.Namespace) -> int:
    """Runs `tfstyle client`; returns the exit code."""
    planned, errors = jobs.plan(args.inputs, args.output, jobs.label(args.model))
    if any(target is None for _, target in planned):
        raise ArgumentError("-o -: give a file or a folder")
    from tfstyle import stylize
    from tfstyle.serving import client

    made = notes.of_model(args, {"name": args.model, "version": args.model_version})
    noted = notes.noted(args, made)
    names = {card["name"]: card.get("styles", ()) for card in stylize.shipped_models()}
    with client.Client(
        args.url, args.model, version=args.model_version, timeout=args.timeout
    ) as server:
        server.name_styles(names.get(args.model, ()))
        server.style_weights(args.style)  # a wrong one is told once, not of every image

        def paint(photo: Any) -> Any:
            return server(
                photo,
                strength=args.strength,
                preserve_color=args.preserve_color,
                style=args.style,
            )

        reading = jobs.Reading.of(args)
        writing = {"quality": args.quality, **noted}
        done = jobs.work(planned, errors, paint, reading=reading, writing=writing, tell=True)
    return jobs.report(errors, done)
