"""What pictures note of how they were made, and its signature."""

import argparse

from tfstyle.cli import jobs


def add_sign(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--sign",
        nargs=2,
        metavar=("CERT", "KEY"),
        help="PEM files; see `tfstyle verify --help`",
    )


def noted(args: argparse.Namespace, made: dict) -> dict:
    """Arguments of `images.write` that note in a picture what made it, and sign it if asked to."""
    from tfstyle.images import provenance

    options = provenance.notes(made)
    if args.sign:
        sign = provenance.signer(*args.sign)
        options["finish"] = lambda data, format: sign(data, format, made)
    return options


def of_model(args: argparse.Namespace, card: dict) -> dict:
    """What is noted of a picture that a model painted: the model and what was asked of it."""
    made = {"model": card.get("name") or jobs.label(args.model)}
    made |= {key: card[key] for key in ("version", "licence") if card.get(key)}
    if args.style:
        made["style"] = args.style
    if args.strength != 1:
        made["strength"] = args.strength
    return made
