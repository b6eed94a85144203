"""`tfstyle models`: what --model takes by name."""

import argparse
import json
import textwrap
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
    parser.add_argument(
        "--json", action="store_true", help="print their cards as JSON, with the paths of files"
    )
    parser.set_defaults(function=run)


def run(args: argparse.Namespace) -> int:
    """Runs `tfstyle models`; returns the exit code."""
    from tfstyle import stylize

    cards = stylize.shipped_models(lambda reason: messages.complain(reason, "left out: "))
    if args.json:
        print(json.dumps(cards, indent=2))
        return 0
    for number, card in enumerate(cards):
        print("\n" * bool(number) + "\n".join(_told(card)))
    return 0


def _told(card: dict) -> list[str]:
    """What an artist needs of a model, in lines of 80 columns: what it is and how to call it."""
    name, styles = card["name"], card.get("styles") or []
    path = Path(card["paths"].get("tflite", card["paths"]["card"]))
    size = f"{path.stat().st_size / 1e6:.2f} MB, " if path.suffix == ".tflite" else ""
    licence = card.get("licence") or "no licence given"
    lines = [f"{name} ({size}version {card.get('version') or '-'}, {licence})"]
    command = f"tfstyle stylize photo.jpg --model {name}"
    told = {"what": card.get("description"), "style": card.get("style")}
    if styles:
        told["style"] = ", ".join(styles)
        command += f" --style {min(styles, key=len)}"
    for key, text in told.items():
        if text:
            lines += textwrap.wrap(
                text,
                width=80,
                initial_indent=f"  {key:<6}",
                subsequent_indent=" " * 8,
                break_long_words=False,
                break_on_hyphens=False,
            )
    return [*lines, f"  use   {command}"]
