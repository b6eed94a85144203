"""What --style means of a model, looked up before it is loaded."""

import itertools
import os
from collections.abc import Mapping
from pathlib import Path

from tfstyle.cli import messages
from tfstyle.errors import ArgumentError, meant


def check(model: str, style: Mapping[str, float] | None, photo: str) -> None:
    """Says what to do where a --style is a picture, or one that another model has.

    Args:
        model: as --model has it.
        style: {name: weight} as --style has it.
        photo: an input, for the commands that are named.

    Raises:
        ArgumentError: for a style that the model lacks, if its card tells its styles; the message
            has the command that helps.
        ModelNotFoundError: where there is no such model.
    """
    from tfstyle import images, stylize

    if not style:
        return
    card = stylize.card(model)
    styles = [str(each) for each in card.get("styles") or ()]
    for name in style:
        if name in styles or name.isdecimal():
            continue
        if os.path.isfile(name) or Path(name).suffix.lower() in images.SUFFIXES:
            raise ArgumentError(
                f"--style {name}: a picture, and {model} paints in styles that it was trained on. "
                f"In the style of that picture: tfstyle optimize {photo} --style {name} -o OUT.png "
                f"(a minute or two for a photo), or once tfstyle learn {name} --name mine "
                "(two minutes) and then --model mine"
            )
        if not card:
            return  # nothing tells what it has: the model itself does, when it is loaded
        of_models = {each["name"]: each.get("styles") or [] for each in stylize.shipped_models()}
        if elsewhere := [other for other, theirs in of_models.items() if name in theirs]:
            raise ArgumentError(
                f"--style {name}: {model} has no such style, {' and '.join(elsewhere)} "
                f"{'has' if len(elsewhere) == 1 else 'have'}: tfstyle stylize {photo} --model "
                f"{elsewhere[0]} --style {name}"
            )
        known = sorted({*styles, *itertools.chain(*of_models.values())})
        there = "has one style alone, and takes no --style"
        if styles:
            told = ", ".join(styles)
            there = f"has no such style. Give one of {told}, or 0 to {len(styles) - 1}"
        raise ArgumentError(f"--style {name}: {meant(name, known)}{model} {there}")


def tell_first(model: str, styles: list[str]) -> None:
    """Says which of several styles is taken where none is asked for."""
    if len(styles) > 1:
        others = ", ".join(styles[1:])
        messages.complain(f"style {styles[0]}, the first of {model}; --style has others: {others}")
