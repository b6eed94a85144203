"""`tfstyle evaluate`: how much style pictures took on, and how much content they kept."""

import argparse
import dataclasses
import json
import os
from pathlib import Path

from tfstyle.cli import library, messages, parsing
from tfstyle.errors import ArgumentError


def add(commands: argparse._SubParsersAction) -> None:
    """Adds `tfstyle evaluate` to the commands."""
    parser = commands.add_parser(
        "evaluate",
        help="measure how much style pictures took on and how much content they kept",
        description="Measures how much style pictures took on, how much content they kept, and how "
        "like the painter's their hand is.",
        epilog="""\
style distance     between the Gram matrices of picture and style: 0 is the style itself
relative to photo  the same, as a share of the photo's own: 1 where nothing was stylized
content distance   between the features of picture and photo: 0 is the photo itself
subject            the same of what stands out in the photo, by things: near 1 where it is lost
sliced Wasserstein between the distributions of features of picture and style, as a share of the
                   photo's: sees what Gram matrices do not
precision, recall  how far the picture's strokes are from the painting's nearest, and the other way
                   round, over those of one half of the painting from the other: 1 is its own hand
colour noise       energy of fine colour over the painting's: confetti makes it large
palette            between the colours of picture and painting, in units of CIE L*a*b*
repetition         wallpaper where the photo is calm: 1 is a pattern repeated exactly, paintings 0.3

Examples:
  tfstyle evaluate painted.jpg --content photo.jpg --style painting.jpg
  tfstyle evaluate painted/ --content photos/ --style painting.jpg --json

Photos in a folder are matched to the pictures by name: photo.jpg to photo.png, photo.NAME.jpg.""",
    )
    parser.add_argument(
        "outputs", nargs="+", metavar="OUTPUT", help="stylized images, or folders of such"
    )
    parser.add_argument(
        "--content",
        nargs="+",
        required=True,
        metavar="C",
        help="the photo; or one for each picture, in the same order; or a folder of them",
    )
    parser.add_argument("--style", required=True, metavar="S", help="the style image")
    size = library.default("metrics/distances.evaluate", "size")
    parser.add_argument(
        "--size",
        metavar="N",
        type=parsing.number(int, 16),
        default=size,
        help=f"longest side at which images are compared, in pixels (default {size}); only "
        "distances at one size can be compared",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(function=run)


def run(args: argparse.Namespace) -> int:
    """Runs `tfstyle evaluate`; returns the exit code."""
    import tqdm

    from tfstyle import features, images, metrics

    outputs = [file for name in args.outputs for file in images.list_images(name)]
    if not outputs:
        raise ArgumentError(f"{', '.join(args.outputs)}: no images to evaluate.")
    contents = _contents(outputs, args.content)
    style = images.read(args.style)
    extractor = features.vgg16(metrics.LAYERS)
    hand = metrics.BrushworkJudge(style, extractor=extractor, size=args.size)
    scores = []
    for output, content in tqdm.tqdm(
        list(zip(outputs, contents, strict=True)),
        unit="image",
        disable=None if len(outputs) > 1 else True,
    ):
        picture, photo = images.read(output), images.read(content)
        found = metrics.evaluate(picture, photo, style, extractor=extractor, size=args.size)
        scores.append(dataclasses.asdict(found) | dataclasses.asdict(hand(picture, photo)))
    mean = {key: _mean([score[key] for score in scores]) for key in scores[0]}
    if args.json:
        judged = [
            {"output": str(output), "content": str(content), **score}
            for output, content, score in zip(outputs, contents, scores, strict=True)
        ]
        told = {"style": args.style, "size": args.size, "images": judged, "mean": mean}
        print(json.dumps(told, indent=2))
        return 0
    columns = {
        "style distance": "style_distance",
        "relative to photo": "relative_style_distance",
        "content distance": "content_distance",
        "subject": "subject_distance",
        "sliced Wasserstein": "sliced_wasserstein",
        "precision": "relative_patch_precision",
        "recall": "relative_patch_recall",
        "colour noise": "chroma_noise",
        "palette": "palette_distance",
        "repetition": "repetition",
    }
    named = list(zip(map(str, outputs), scores, strict=True))
    if len(named) > 1:
        named.append(("mean", mean))
    messages.print_table(
        ["output", *columns],
        [[name, *(_told(score[key]) for key in columns.values())] for name, score in named],
    )
    return 0


def _mean(values: list[float | None]) -> float | None:
    """Of those that there are."""
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None


def _told(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _contents(outputs: list[Path], contents: list[str]) -> list[Path]:
    """The photo of each output: one for all, one for each, or from a folder by name."""
    from tfstyle import images

    if len(contents) == 1 and os.path.isdir(contents[0]):
        photos = images.list_images(contents[0])
        return [_photo_of(output, photos, contents[0]) for output in outputs]
    if len(contents) not in (1, len(outputs)):
        raise ArgumentError(
            f"--content: {len(contents)} photos for {len(outputs)} pictures. Give one for all, one "
            "for each in the same order, or a folder with photos of the same names."
        )
    return [Path(content) for content in contents] * (len(outputs) // len(contents))


def _photo_of(output: Path, photos: list[Path], folder: str) -> Path:
    # `tfstyle stylize` makes photo.MODEL.jpg of photo.jpg.
    fitting = [photo for photo in photos if f"{output.stem}.".startswith(f"{photo.stem}.")]
    longest = max((len(photo.stem) for photo in fitting), default=0)
    best = [photo for photo in fitting if len(photo.stem) == longest]
    if len(best) != 1:
        found = " and ".join(map(str, best)) or "none"
        raise ArgumentError(
            f"{output}: which photo in {folder} is it of? Found {found}. Name the photos in the "
            "order of the pictures: --content C1 C2 ..."
        )
    return best[0]
