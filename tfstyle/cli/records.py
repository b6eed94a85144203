"""`tfstyle records`: training images in TFRecord shards."""

import argparse
from typing import TYPE_CHECKING

from tfstyle.cli import messages, parsing

if TYPE_CHECKING:
    from tfstyle.data import ReadReport

SOURCE = """\
SOURCE: a folder (searched to the bottom), files, tfds:NAME:SPLIT or records:FOLDER; several are
separated by commas. Images that cannot be read are left out and named; if these are more than a
tenth, nothing is written."""


def add(commands: argparse._SubParsersAction) -> None:
    """Adds `tfstyle records` to the commands."""
    parser = commands.add_parser(
        "records",
        help="write training images into TFRecord shards",
        description="Writes training images into TFRecord shards, which pipelines read as "
        "records:FOLDER.",
        epilog=f"""\
{SOURCE}

Each image is checked once, here; a training on records does not check it again, and reads few
large files instead of many small ones. Any TFRecord reader takes the shards: tf.train.Example with
"image" (bytes of a JPEG or PNG) and "name".

Examples:
  tfstyle records photos/ -o photos.records --shards 16 --max_size 768
  make train CONTENT=records:photos.records""",
    )
    parser.add_argument("source", metavar="SOURCE", help="images, see below")
    parser.add_argument("-o", "--output", metavar="FOLDER", required=True, help="to make")
    parser.add_argument(
        "--shards", metavar="N", type=parsing.number(int, 1), default=1, help="files (default 1)"
    )
    parsing.add_max_size(parser)
    parser.set_defaults(function=run)


def run(args: argparse.Namespace) -> int:
    """Runs `tfstyle records`; returns the exit code."""
    import tqdm

    from tfstyle import data
    from tfstyle.data import records

    encoded, report = data.checked_images(args.source, max_size=args.max_size)
    # With disable=None tqdm is silent where stderr is no terminal.
    progress = tqdm.tqdm(encoded, total=report.total, unit="image", disable=None)
    shards = records.write(args.output, progress, shards=args.shards)
    name_skipped(report)
    size = sum(path.stat().st_size for path in shards) / 1e6
    count = report.seen - len(report.skipped)
    print(f"{args.output}: {count} images, {len(shards)} shards, {size:.1f} MB")
    print(f"Train on it as records:{args.output}")
    return 0


def name_skipped(report: "ReadReport") -> None:
    """Names the images that reading left out."""
    for name, reason in report.skipped:
        messages.complain(f"{name}: {reason}", "left out: ")
