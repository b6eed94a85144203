"""`tfstyle evaluate`: how much style pictures took on, and how much content they kept."""

import argparse
import csv
import dataclasses
import io
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfstyle import files
from tfstyle.cli import jobs, library, messages, parsing
from tfstyle.errors import ArgumentError

# Pictures, and paintings, from which on a kernel distance says something.
_LEAST_OF_A_SET = 10


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
LPIPS              how unlike picture and photo look to people: 0 is the photo itself
checkerboard       patterns of the periods of up-sampling: photos have 0.3 to 2.5
kernel distance    with --paintings: of all pictures to a painter's works, as sets; 0 is alike

Examples:
  tfstyle evaluate painted.jpg --content photo.jpg --style painting.jpg
  tfstyle evaluate painted/ --content photos/ --style painting.jpg --csv figures.csv
  tfstyle evaluate painted/ --content photos/ --style painting.jpg --paintings works/ --json

Photos in a folder are matched to the pictures by name, photo.jpg to photo.png, photo.NAME.jpg, and
where several have it by the folders above: 2023/1.jpg to 2023/1.png. A picture without a photo, or
that cannot be read, does not stop the others: it is named, and the exit code is 2.""",
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
    parser.add_argument(
        "--paintings",
        metavar="DIR",
        help="works of the painter, ten or more, for the kernel distance of ten or more pictures",
    )
    parsing.add_max_pixels(parser)
    parser.add_argument("--csv", metavar="FILE", help="write the figures as a table with commas")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(function=run)


def run(args: argparse.Namespace) -> int:
    """Runs `tfstyle evaluate`; returns the exit code."""
    import tqdm

    from tfstyle import features, metrics

    works = _works(args)
    found = _listed(args.outputs)
    if not found:
        raise ArgumentError(f"{', '.join(args.outputs)}: no images to evaluate.")
    errors: list[tuple[str, Exception]] = []
    pairs = _pairs(found, args.content, errors)
    limit = {"max_pixels": args.max_pixels}
    style = jobs.read(args.style, **limit)
    extractor, alexnet = features.vgg16(metrics.LAYERS), features.alexnet()
    hand: metrics.BrushworkJudge | None = None
    scores, outputs, contents = [], [], []
    for output, content in tqdm.tqdm(pairs, unit="image", disable=None if len(pairs) > 1 else True):
        try:
            picture, photo = jobs.read(output, **limit), jobs.read(content, **limit)
            told = metrics.evaluate(picture, photo, style, extractor=extractor, size=args.size)
            hand = hand or metrics.BrushworkJudge(style, extractor=extractor, size=args.size)
            marks = metrics.marks(picture, photo, alexnet=alexnet, size=args.size)
            hand_of = dataclasses.asdict(hand(picture, photo))
            scores.append(dataclasses.asdict(told) | hand_of | marks)
        except ValueError as error:
            errors.append((str(output), error))
            continue
        outputs.append(output)
        contents.append(content)
    kernel = _kernel_distance(outputs, works, args, extractor)
    if args.csv and scores:
        _write_csv(Path(args.csv), outputs, contents, scores)
    _print(args, outputs, contents, scores, kernel)
    return jobs.report(errors, outputs, verb="evaluated", size_flag="--size")


def _works(args: argparse.Namespace) -> list[Path]:
    """The files of --paintings."""
    if not args.paintings:
        return []
    works = [file for file, _ in _listed([args.paintings])]
    if len(works) < _LEAST_OF_A_SET:
        raise ArgumentError(
            f"--paintings {args.paintings}: {len(works)} images. Give {_LEAST_OF_A_SET} or more"
        )
    return works


def _kernel_distance(
    outputs: list[Path], works: list[Path], args: argparse.Namespace, extractor: Any
) -> float | None:
    """Of the pictures, as a set, to the paintings; None where either are too few."""
    from tfstyle import metrics

    if min(len(outputs), len(works)) < _LEAST_OF_A_SET:
        return None

    def read(files: list[Path]) -> Iterator:
        return (jobs.read(file, max_pixels=args.max_pixels, max_size=args.size) for file in files)

    size = min(len(outputs), len(works))
    return metrics.vgg16_kid(read(outputs), read(works), extractor=extractor, subset_size=size)[0]


def _write_csv(file: Path, outputs: list[Path], contents: list[Path], scores: list[dict]) -> None:
    """A row for each picture, with all figures under the names of --json."""
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(["output", "content", *scores[0]])
    for output, content, score in zip(outputs, contents, scores, strict=True):
        table.writerow([output, content, *("" if v is None else v for v in score.values())])
    files.write_text(file, stream.getvalue())


def _print(
    args: argparse.Namespace,
    outputs: list[Path],
    contents: list[Path],
    scores: list[dict],
    kernel: float | None,
) -> None:
    """A table, or JSON; nothing where there is nothing to tell."""
    if not scores:
        return
    mean = {key: _mean([score[key] for score in scores]) for key in scores[0]}
    if args.json:
        judged = [
            {"output": str(output), "content": str(content), **score}
            for output, content, score in zip(outputs, contents, scores, strict=True)
        ]
        told = {"style": args.style, "size": args.size, "images": judged, "mean": mean}
        told |= {"vgg16_kid": kernel} if kernel is not None else {}
        print(json.dumps(told, indent=2))
        return
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
        "LPIPS": "lpips",
        "checkerboard": "checkerboard",
    }
    named = list(zip(map(str, outputs), scores, strict=True))
    if len(named) > 1:
        named.append(("mean", mean))
    messages.print_table(
        ["output", *columns],
        [[name, *(_told(score[key]) for key in columns.values())] for name, score in named],
    )
    if kernel is not None:
        print(f"kernel distance to {args.paintings}: {kernel:.4f}")


def _mean(values: list[float | None]) -> float | None:
    """Of those that there are."""
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None


def _told(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _listed(names: list[str]) -> list[tuple[Path, Path]]:
    """(file, its place below the folder that was given) of each image."""
    from tfstyle import images

    listed = []
    for name in names:
        found = images.find_images(name)
        if told := found.told():
            messages.complain(f"{name}: {told}")
        is_folder = os.path.isdir(name)
        listed += [
            (file, file.relative_to(name) if is_folder else Path(file.name))
            for file in found.images
        ]
    return listed


def _pairs(
    outputs: list[tuple[Path, Path]], contents: list[str], errors: list[tuple[str, Exception]]
) -> list[tuple[Path, Path]]:
    """(output, its photo): one for all, one for each, or from a folder by name.

    What has none is added to the errors.
    """
    if len(contents) == 1 and os.path.isdir(contents[0]):
        photos = _listed(contents)
        pairs = []
        for output, place in outputs:
            try:
                pairs.append((output, _photo_of(output, place, photos, contents[0])))
            except ArgumentError as error:
                errors.append((str(output), error))
        return pairs
    if len(contents) not in (1, len(outputs)):
        raise ArgumentError(
            f"--content: {len(contents)} photos for {len(outputs)} pictures. Give one for all, one "
            "for each in the same order, or a folder with photos of the same names."
        )
    for content in contents:
        if not os.path.exists(content):
            raise ArgumentError(f"{content}: no such file.")
    given = [Path(content) for content in contents] * (len(outputs) // len(contents))
    return list(zip([output for output, _ in outputs], given, strict=True))


def _photo_of(output: Path, place: Path, photos: list[tuple[Path, Path]], folder: str) -> Path:
    """The photo of a picture: by its name, and then by the folders above.

    `tfstyle stylize` makes photo.MODEL.jpg of photo.jpg, and photo.webp.png of photo.webp where
    there is a photo.png too.
    """

    def fit(photo: Path) -> tuple[int, int, int] | None:
        if f"{output.name}.".startswith(f"{photo.name}."):
            name = 1
        elif f"{output.stem}.".startswith(f"{photo.stem}."):
            name = 0
        else:
            return None
        # Of the folders above, from the last on, as many are the same.
        above = zip(reversed(photo.parts[:-1]), reversed(place.parts[:-1]), strict=False)
        same = list(itertools.takewhile(lambda pair: pair[0] == pair[1], above))
        return len(same), len(photo.stem), name

    fits = {file: found for file, at in photos if (found := fit(at)) is not None}
    best = [file for file in fits if fits[file] == max(fits.values())]
    if len(best) != 1:
        told = " and ".join(map(str, best)) or "none"
        raise ArgumentError(
            f"{output}: which photo in {folder} is it of? Found {told}. Name the photos in the "
            "order of the pictures: --content C1 C2 ..."
        )
    return best[0]
