"""`tfstyle dataset`: a TFDS dataset of content and style images."""

import argparse
import contextlib
import sys

from tfstyle.cli import library, parsing, records


def add(commands: argparse._SubParsersAction) -> None:
    """Adds `tfstyle dataset` to the commands."""
    version = library.default("data/tfds_builder.prepare", "version")
    parser = commands.add_parser(
        "dataset",
        help="make a TFDS dataset of content and style images",
        description="Makes a TensorFlow Datasets dataset of two folders of images, with the splits "
        "content and style.",
        epilog=f"""\
{records.SOURCE}

Example:
  tfstyle dataset --content photos/ --style paintings/ --name monet
  make train PIPELINE=gan CONTENT=tfds:monet:content STYLE=tfds:monet:style""",
    )
    for name in ("content", "style"):
        parser.add_argument(f"--{name}", metavar="SOURCE", required=True, help="images, see below")
    parser.add_argument("--name", metavar="NAME", required=True, help="of the dataset")
    parser.add_argument(
        "--version", metavar="X.Y.Z", default=version, help=f"of the dataset (default {version})"
    )
    parser.add_argument(
        "--data_dir",
        metavar="FOLDER",
        help="of TFDS (default $TFDS_DATA_DIR, else ~/tensorflow_datasets)",
    )
    parsing.add_max_size(parser)
    parser.set_defaults(function=run)


def run(args: argparse.Namespace) -> int:
    """Runs `tfstyle dataset`; returns the exit code."""
    import tensorflow_datasets as tfds

    from tfstyle.data import tfds_builder

    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    with contextlib.redirect_stdout(sys.stderr):  # TFDS prints what it does
        folder, reports = tfds_builder.prepare(
            args.name,
            content=args.content,
            style=args.style,
            version=args.version,
            max_size=args.max_size,
            data_dir=args.data_dir,
        )
    for report in reports.values():
        records.name_skipped(report)
    told = [f"{r.seen - len(r.skipped)} {split}" for split, r in reports.items()]
    print(f"{folder}: {', '.join(told)}")
    where = f" (with TFDS_DATA_DIR={args.data_dir})" if args.data_dir else ""
    print(f"Train on it as tfds:{args.name}:content and tfds:{args.name}:style{where}")
    return 0
