"""`tfstyle stylize`: photos in the style of a model."""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

from tfstyle.cli import jobs, library, notes, parsing, styles
from tfstyle.errors import ArgumentError


def add(commands: argparse._SubParsersAction) -> None:
    """Adds `tfstyle stylize` to the commands."""
    parser = commands.add_parser(
        "stylize",
        help="paint photos in a style",
        description="Paints photos in the style of a model.",
        epilog=f"""\
IN and OUT:
  photo.jpg             becomes photo.{parsing.MODEL}.jpg beside it; what is no JPEG becomes a PNG
  photo.jpg -o x.webp   the suffix chooses the format: .png, .jpg, .jpeg or .webp
  a.jpg b.png -o DIR/   become DIR/a.jpg and DIR/b.png
  photos/ -o DIR/       all images in photos/ to the bottom, in the same sub-folders of DIR
  -                     standard input; -o - is standard output (PNG)
  camera                a picture of the first camera, or of camera:1, ... (needs OpenCV)
Folders are made where they are missing. An earlier output is replaced, an input never, and no
output another: of logo.png and logo.webp in photos/ the second becomes DIR/logo.webp.png. What is
in a folder and is no image, and paintings of earlier runs beside their photos, are left out and
named. An animated GIF, WebP, PNG or AVIF becomes an animation in .png and .webp, frame by frame,
and its first frame in .jpg.
--metadata safe keeps date, camera, exposure, copyright and resolution of a photo, all keeps the
place and the rest of its EXIF too, none nothing. The picture is upright in any case.

Examples:
  tfstyle stylize photo.jpg
  tfstyle stylize photos/ -o painted/ --max_size 1024
  tfstyle stylize photo.jpg -o soft.jpg --strength 0.5 --preserve_color
  tfstyle stylize photo.jpg --model saved_models/mine.dynamic.tflite --compare
  tfstyle stylize photo.jpg --model ten_styles --style scream:2,udnie:1
  curl -s https://example.org/photo.jpg | tfstyle stylize - | display
  tfstyle stylize camera -o door.jpg --runtime tflite

A file that cannot be stylized does not stop the others: all such files are named at the end, and
the exit code is 2.""",
    )
    parser.add_argument(
        "inputs", nargs="+", metavar="IN", help="image files, folders, - for stdin, or camera"
    )
    parser.add_argument("-o", "--output", metavar="OUT", help="file, folder, or - for stdout")
    parser.add_argument(
        "--model",
        metavar="NAME|PATH",
        default=parsing.MODEL,
        help=f"a name that `tfstyle models` lists, a .tflite or .keras file, or the folder of a "
        f"SavedModel (default {parsing.MODEL})",
    )
    parsing.add_painting(
        parser,
        style="of a model with several styles: a name that `tfstyle models` lists, or its number "
        "from 0; or several with their weights, for a blend (default 0)",
    )
    parser.add_argument(
        "--compare", action="store_true", help="write photo and painting side by side"
    )
    parser.add_argument(
        "--threads",
        metavar="N",
        type=parsing.number(int, 1),
        help="threads of a TFLite model (default: one for each core)",
    )
    parser.add_argument(
        "--runtime",
        metavar="NAME",
        type=parsing.choice(library.words("stylize/stylizer.Stylizer.load", "runtime")),
        default=library.default("stylize/stylizer.Stylizer.load", "runtime"),
        help="tflite takes TFLite files alone, which need no TensorFlow; auto (the default) takes "
        "what --model means",
    )
    notes.add_sign(parser)
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")
    parser.set_defaults(function=run)


def run(args: argparse.Namespace) -> int:
    """Runs `tfstyle stylize`; returns the exit code."""
    label = jobs.label(args.model)
    if args.style:
        label += "_" + "+".join(args.style)
    styles.check(args.model, args.style, args.inputs[0])
    planned, errors = jobs.plan(args.inputs, args.output, label)
    to_stdout = any(target is None for _, target in planned)
    if to_stdout:
        if args.json:
            raise ArgumentError("--json and the picture both want standard output: give -o FILE")
        if sys.stdout.isatty():
            raise ArgumentError("standard output is a terminal: give -o FILE, or redirect it")
    from tfstyle import stylize
    from tfstyle.images import sheets

    writing: dict[str, Any] = {"quality": args.quality}
    if planned:
        stylizer = stylize.Stylizer.load(args.model, threads=args.threads, runtime=args.runtime)
        stylizer.style_weights(args.style)  # a wrong one is told once, not of every image
        if not args.style:
            styles.tell_first(args.model, list(stylizer.styles))
        writing |= notes.noted(args, notes.of_model(args, stylize.card(args.model)))

    def paint(photo: Any) -> Any:
        with _tiles() as progress:
            picture = stylizer(
                photo,
                strength=args.strength,
                preserve_color=args.preserve_color,
                style=args.style,
                progress=progress,
            )
        return sheets.compare(photo, None, picture) if args.compare else picture

    tell = not (to_stdout or args.json)
    reading = jobs.Reading.of(args)
    done = jobs.work(planned, errors, paint, reading=reading, writing=writing, tell=tell)
    if args.json:
        images_done = [made | {"model": args.model} for made in done]
        failed = [{"input": name, "error": jobs.hinted(error)} for name, error in errors]
        print(json.dumps({"images": images_done, "errors": failed}, indent=2))
    return jobs.report(errors, done)


@contextlib.contextmanager
def _tiles() -> Iterator[Callable[[int, int], None]]:
    """A bar of an image so large that it is worked on in parts, as the `progress` of a Stylizer."""
    import tqdm

    with tqdm.tqdm(unit="tile", leave=False, disable=None, delay=1) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show
