"""`tfstyle export`: TFLite files of a model, each measured."""

import argparse
import json

from tfstyle.cli import library, messages, parsing
from tfstyle.errors import ArgumentError


def add(commands: argparse._SubParsersAction) -> None:
    """Adds `tfstyle export` to the commands."""
    variants = library.constant("export/convert", "VARIANTS")
    parser = commands.add_parser(
        "export",
        help="make TFLite files for phones, boards and browsers",
        usage="tfstyle export MODEL --tflite VARIANT[,...] -o OUT [flags]",
        description="Makes TFLite files of a model, measures each, and keeps those that agree with "
        "it.",
        epilog="""\
Variants:
  float32   as trained
  float16   half the size, as accurate
  dynamic   a quarter of the size and quicker: int8 weights, activations quantised as they come
  int8      both in int8, with ranges seen on --calibration photos

All take and give float32 in [0, 1], have the signature serving_default (images, and style_weights
where there are several styles, to stylized), use built-in operations alone, and say inside what
they are. Beside them lies NAME.tflite.json: sizes, time at 1 and 2 threads, difference from the
model. A variant that differs too much is not written, and the exit code is 1.

Examples:
  tfstyle export starry_night --tflite float32,dynamic -o device/
  tfstyle export starry_night --tflite float32 --size 384x512 -o device/
  tfstyle export model.keras --tflite int8 --calibration photos/ -o model.int8.tflite""",
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a .keras file, a run's folder (runs/NAME or runs/NAME/best), the folder of a "
        "SavedModel, or a name that `tfstyle models` lists",
    )
    parser.add_argument(
        "--tflite",
        metavar="VARIANT,...",
        required=True,
        type=parsing.several(parsing.choice(variants)),
        help=", ".join(variants),
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT", required=True, help="a folder, or one .tflite file"
    )
    parser.add_argument(
        "--size",
        metavar="HxW|any",
        type=lambda text: None if text == "any" else parsing.size(text),
        help="height and width in pixels that alone the files take, as LiteRT.js wants it "
        "(default any)",
    )
    parser.add_argument(
        "--calibration", metavar="DIR", help="photos (folder or file) that int8 sees its ranges on"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(function=run)


def run(args: argparse.Namespace) -> int:
    """Runs `tfstyle export`; returns the exit code."""
    from tfstyle import images
    from tfstyle.export import device

    if ("int8" in args.tflite) != bool(args.calibration):
        raise ArgumentError(
            "int8 needs --calibration, a folder of photos to see its ranges on"
            if "int8" in args.tflite
            else "--calibration is for int8 alone: leave it out, or add int8 to --tflite"
        )
    photos = []
    if args.calibration:
        listed = images.find_images(args.calibration)
        if told := listed.told():
            messages.complain(f"{args.calibration}: {told}")
        found = listed.images[: device.MAX_CALIBRATION_PHOTOS]
        photos = [images.fit(images.read(path), 512) for path in found]
        if not photos:
            raise ArgumentError(f"--calibration {args.calibration}: no images in it")
    report = device.export(
        device.read(args.model),
        args.tflite,
        args.output,
        size=args.size,
        calibration=photos,
        progress=messages.complain,
    )
    if args.json:
        print(json.dumps(report.content, indent=2))
    else:
        messages.print_table(
            ["variant", "size", "1 thread", "2 threads", "max/255", "mean/255", "bound", "file"],
            [_export_row(*item) for item in report.content["variants"].items()],
        )
        height, width = report.content["timed_size"]
        print(f"Times at {height}x{width} on {report.content['machine']}")
        if report.path:
            print(f"Report {report.path}")
    for sentence in report.refused.values():
        messages.complain(sentence, "refused: ")
    return 1 if report.refused else 0


def _export_row(variant: str, entry: dict) -> list[str]:
    parity = entry["parity"]
    return [
        variant,
        f"{entry['bytes'] / 1e6:.2f} MB",
        *(f"{entry['milliseconds'][threads]:.1f} ms" for threads in ("1", "2")),
        *(f"{255 * parity[measure]:.3f}" for measure in ("max", "mean")),
        f"{parity['measure']} {255 * parity['bound']:.2f}",
        entry["file"] if entry["kept"] else "refused",
    ]
