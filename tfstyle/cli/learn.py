"""`tfstyle learn`: a model of a painting of one's own."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from tfstyle.cli import jobs, library, messages, parsing
from tfstyle.errors import ArgumentError, TfstyleError

# Of `learning.learn`: {name: (type, help)}.
_OPTIONS = {
    "count": (parsing.number(int, 1), "steps; more come nearer to the painting"),
    "style_size": (parsing.number(int, 64), "longest side of the painting; larger: larger strokes"),
    "style_weight": (parsing.number(float, 0, above=True), "more gives more of the painting"),
    "content_weight": (parsing.number(float, 0), "more keeps more of the photo"),
    "seed": (parsing.number(int, 0), "decides the crops"),
}


def add(commands: argparse._SubParsersAction) -> None:
    """Adds `tfstyle learn` to the commands."""
    model = library.default("learning.learn", "model")
    parser = commands.add_parser(
        "learn",
        help="make a model of a painting of your own, in about two minutes",
        description="Teaches a model of several styles one more: a painting of your own.",
        epilog=f"""\
Only the style's own numbers are fitted; all else is that of {model}. The new model has the new
style first and then all of the old one's, to blend with; it is stylized with, exported and served
as any other. With --alone all of the network is fitted: nearer to the painting, in the same time,
and a model of that style only.

Examples:
  tfstyle learn painting.jpg --name mine
  tfstyle stylize photo.jpg --model mine
  tfstyle stylize photo.jpg --model mine --style mine:2,great_wave:1
  tfstyle learn painting.jpg --name mine --alone
  tfstyle learn painting.jpg --name bolder --style_weight 20 --count 400 --content photos/""",
    )
    parser.add_argument("painting", metavar="PAINTING", help="the image to learn from")
    parser.add_argument(
        "--name",
        metavar="NAME",
        help="of the model and its style: letters, digits, _ and - (default: the file's, in Latin "
        "letters)",
    )
    parser.add_argument(
        "--model",
        metavar="MODEL",
        default=model,
        help=f"the model that is taught, of several styles (default {model})",
    )
    parser.add_argument(
        "--alone",
        action="store_true",
        help="fit the whole network to this painting; no other styles to blend with",
    )
    parser.add_argument(
        "--content", metavar="DIR", default="", help="photos to fit on (default: the bundled ones)"
    )
    for name, (kind, text) in _OPTIONS.items():
        default = library.default("learning.learn", name)
        parser.add_argument(
            f"--{name}", metavar="N", type=kind, default=default, help=f"{text} (default {default})"
        )
    parsing.add_max_pixels(parser)
    parser.add_argument(
        "--title", default="", help="of the painting, with its painter, for the model card"
    )
    parser.add_argument("--licence", default="", help="of the new model, for its card")
    parser.add_argument(
        "-o",
        "--output",
        "--saved_models",
        metavar="DIR",
        help="where the model is written (default: a place of yours where it is found by name from "
        "every folder; so it is in saved_models/ of the current folder)",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="a further version of a model of that name that is there already",
    )
    parser.set_defaults(function=run)


def run(args: argparse.Namespace) -> int:
    """Runs `tfstyle learn`; returns the exit code."""
    painting = jobs.read(args.painting, max_pixels=args.max_pixels, max_size=args.style_size)
    import tqdm

    from tfstyle import data, export, learning, machine, stylize
    from tfstyle.export import card as cards

    name = args.name or data.name_of(args.painting)
    if not name:
        raise ArgumentError(
            f"{args.painting}: no letter or digit to name a model by. Give --name NAME."
        )

    folder = Path(args.output) if args.output else stylize.user_folder()
    _check_name(name, folder, args)
    # All that can be known to be wrong with the export, before the training.
    export.check_destination(name, folder)
    options = {key: getattr(args, key) for key in _OPTIONS}
    # Names of files need not be text, and a card is.
    file = os.fsencode(Path(args.painting).name).decode(errors="replace")
    cards.checked({"style": args.title or name, "licence": args.licence})
    with tqdm.tqdm(total=args.count, unit="step", desc=name, disable=None) as bar:

        def progress(_: int, losses: Mapping[str, float]) -> None:
            bar.set_postfix({key: f"{losses[key]:.3g}" for key in ("content", "style")})
            bar.update()

        try:
            learned = learning.learn(
                painting,
                name,
                model=args.model,
                alone=args.alone,
                content=args.content,
                progress=progress,
                **options,
            )
        except machine.TooLargeError as error:
            raise ArgumentError(jobs.hinted(error, "--style_size")) from error
    card = {
        **learned.card,
        "style": "; ".join(filter(None, (args.title or name, learned.card.get("style")))),
        "licence": args.licence,
        "learned": {
            "painting": file,
            "from": str(args.model),
            "nearest": learned.nearest,
            "alone": args.alone,
            **options,
            "losses": learned.losses,
        },
    }
    try:
        exported = export.export(
            learned.generator, name, directory=folder, styles=learned.styles, card=card
        )
    except Exception as error:
        kept = learning.keep(learned, name, folder)
        told = f"What was learned is kept: tfstyle stylize photo.jpg --model {kept}"
        if isinstance(error, TfstyleError | OSError):
            raise learning.LearnError(f"{messages.line(error)}. {told}") from error
        messages.complain(told)  # and a fault of tfstyle shows as one
        raise
    print(f"Learned     {name}, from {learned.nearest} of {args.model}")
    for path in (exported.saved_model, *exported.tflite.values(), exported.card):
        print(f"Wrote       {path}")
    print(f"Use it      tfstyle stylize photo.jpg --model {export.called(exported)}")
    return 0


def _check_name(name: str, folder: Path, args: argparse.Namespace) -> None:
    """Refuses a name that means another model, unless that shall have a further version."""
    from tfstyle import stylize

    own = folder / f"{name}.json"
    shelved = {card["name"]: Path(card["paths"]["card"]) for card in stylize.shipped_models()}
    there = own if own.exists() else shelved.get(name)
    if not there or (args.force and there.resolve() == own.resolve()):
        return
    mend = "" if there != own else ", or --force for a further version of it"
    raise ArgumentError(f"--name {name}: there is a model called so, {there}. Give another{mend}.")
