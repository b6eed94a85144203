"""`tfstyle models`: what --model takes by name."""

import argparse
import json
from pathlib import Path

from tfstyle.cli import messages


def add(commands: argparse._SubParsersAction) -> None:
    """Adds `tfstyle models` to the commands."""
    parser = commands.add_parser(
        "models",
        help="list the models that --model takes by name",
        description="Lists the models that --model takes by name: those in saved_models/ of the "
        "current folder, of the checkout, and of the installed package.",
    )
    parser.add_argument("--json", action="store_true", help="print their cards as JSON")
    parser.set_defaults(function=run)


def run(args: argparse.Namespace) -> int:
    """Runs `tfstyle models`; returns the exit code."""
    from tfstyle import stylize

    cards = stylize.shipped_models(lambda reason: messages.complain(reason, "left out: "))
    if args.json:
        print(json.dumps(cards, indent=2))
        return 0
    rows = []
    for card in cards:
        path = Path(card["paths"].get("tflite", card["paths"]["card"]))
        size = f"{path.stat().st_size / 1e6:.2f} MB" if path.suffix == ".tflite" else "-"
        told = [str(card.get(key) or "-") for key in ("style", "licence", "version")]
        if card.get("styles"):
            told[0] = ", ".join(card["styles"])
        rows.append([card["name"], size, *told, str(path.parent)])
    messages.print_table(["name", "size", "style", "licence", "version", "where"], rows)
    return 0
