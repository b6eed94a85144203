"""The parser, types of flags, and the flags that several commands share."""

import argparse
import contextlib
import math
import os
import re
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any, NoReturn

from absl.flags import argparse_flags

from tfstyle.cli import library, messages
from tfstyle.errors import meant

# The model of those who name none.
MODEL = "starry_night"


class Parser(argparse_flags.ArgumentParser):
    """Keeps the line breaks of its texts, knows no abbreviations, and complains in one line.

    Of absl's flags it has --verbosity alone: the others are those of whatever libraries are
    imported, and would take names away from recipes.
    """

    def __init__(self, prog: str | None = None, **options: Any) -> None:
        super().__init__(
            prog=prog,
            **options,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            # A script must not change its meaning because a later version adds a flag.
            allow_abbrev=False,
            inherited_absl_flags=None,
        )
        for action in self._actions:
            if "--helpfull" in action.option_strings:
                action.help = argparse.SUPPRESS
        self.add_argument(
            "--verbosity",
            metavar="N",
            type=number(int, -3, 1),
            action=_Verbosity,
            default=argparse.SUPPRESS,
            help="of libraries, -2 to 1 (default -1: warnings)",
        )
        self.add_argument(
            "--debug",
            action="store_true",
            default=argparse.SUPPRESS,
            help="show where an error comes from",
        )

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, but --max-size is --max_size, and what is near to a flag is told so.

        Home folders are found too, see `with_homes`.
        """
        given = [with_homes(text) for text in (sys.argv[1:] if args is None else args)]
        parsed, unknown = super().parse_known_args([*map(self._known, given)], namespace)
        for text in unknown:
            flag = text.partition("=")[0]
            if flag.startswith("-") and (near := meant(flag, self._option_string_actions)):
                self.error(f"unrecognized arguments: {text}: {near.rstrip()}")
        return parsed, unknown

    def _known(self, text: Any) -> Any:
        """--max-size=5 -> --max_size=5, where there is such a flag and not that one."""
        if not isinstance(text, str) or not text.startswith("--"):
            return text
        flag, *value = text.split("=", 1)
        other = "--" + flag[2:].replace("-", "_")
        known = self._option_string_actions
        return "=".join([other, *value]) if flag not in known and other in known else text

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            words = [str(each) for each in action.choices]
            raise argparse.ArgumentError(action, _none_of(str(value), words))

    def error(self, message: str) -> NoReturn:
        """Says in one line what is wrong with the arguments, and ends with exit code 2."""
        messages.complain(f"{message} (see {self.prog} --help)", "error: ", self.prog)
        self.exit(2)


def with_homes(argument: str) -> str:
    """An argument with the home folders that the shell leaves as they are.

    It knows ~ at the beginning of a word alone, and not in --flag=~/x, a.jpg:1:~/x or ~/x,~/y.
    """
    return re.sub(
        r"(?P<before>^--[\w-]+=|[:,])(?P<home>~[\w.-]*)(?=/|$)",
        lambda match: match["before"] + os.path.expanduser(match["home"]),
        argument,
    )


def _none_of(text: str, words: Collection[str]) -> str:
    """What is said of a word that is none of those there are."""
    return f"{text}: {meant(text, words)}give {', '.join(words)}"


class _Verbosity(argparse.Action):
    """--verbosity, which acts at once, for parsing itself may import libraries."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        messages.set_verbosity(values)


class Switch(argparse.Action):
    """--x and --nox."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__([*option_strings, f"--no{dest}"], dest, nargs=0, **options)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, option_string == f"--{self.dest}")


def number(kind: type, low: float, high: float = math.inf, *, above: bool = False) -> Callable:
    """A type for argparse: a finite number from `low`, or above it, to `high`."""

    def parse(text: str) -> Any:
        with contextlib.suppress(ValueError, OverflowError):
            value = kind(text)
            if low <= value <= high and math.isfinite(value) and not (above and value == low):
                return value
        kinds = {int: "a whole number", float: "a number"}
        least = f"above {low}" if above else f"of at least {low}"
        bounds = least if high == math.inf else f"from {low} to {high}"
        raise argparse.ArgumentTypeError(f"{text}: give {kinds[kind]} {bounds}")

    return parse


def choice(choices: Sequence[str]) -> Callable:
    """A type for argparse: one of some words."""

    def parse(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(_none_of(text, choices))
        return text

    return parse


def word(words: dict, other: Callable | None = None) -> Callable:
    """A type for argparse: one of some words, each for a value, or what another type takes."""

    def parse(text: str) -> Any:
        if text in words:
            return words[text]
        if other is None:
            raise argparse.ArgumentTypeError(_none_of(text, words))
        try:
            return other(text)
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentTypeError(f"{error}, or {', '.join(words)}") from None

    return parse


def several(kind: Callable) -> Callable:
    """A type for argparse: words of a kind, separated by commas."""
    return lambda text: [kind(part.strip()) for part in text.split(",")]


def size(text: str) -> tuple[int, int]:
    """A type for argparse: HxW -> (height, width)."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if not match or not int(match[1]) or not int(match[2]):
        raise argparse.ArgumentTypeError(f"{text}: give height and width, such as 384x512")
    return int(match[1]), int(match[2])


def blend(text: str) -> dict[str, float]:
    """A type for argparse: NAME or NAME:WEIGHT, separated by commas -> {name: weight}.

    A name may be a number.
    """
    weights = {}
    for part in text.split(","):
        name, _, weight = part.rpartition(":") if ":" in part else (part, "", "1")
        name = name.strip()
        if name in weights:
            raise argparse.ArgumentTypeError(f"{text}: {name} twice; give NAME[:WEIGHT],...")
        try:
            weights[name] = float(weight)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{part!r}: give NAME or NAME:WEIGHT, with a number as weight"
            ) from None
    return weights


def add_max_size(parser: argparse._ActionsContainer) -> None:
    """Adds --max_size."""
    parser.add_argument(
        "--max_size",
        metavar="N",
        type=number(int, 1),
        help="first shrink what has a longer side than this many pixels",
    )


def add_max_pixels(parser: argparse._ActionsContainer) -> None:
    """Adds --max_pixels."""
    limit = library.constant("images/arrays", "MAX_PIXELS")
    parser.add_argument(
        "--max_pixels",
        metavar="N",
        type=number(int, 1),
        default=limit,
        help=f"that a photo is decoded to (default {limit})",
    )


def add_metadata(parser: argparse._ActionsContainer) -> None:
    """Adds --metadata."""
    words = library.constant("images/metadata", "KEPT")
    parser.add_argument(
        "--metadata",
        metavar="WORD",
        type=choice(words),
        default="safe",
        help=f"of the photo's EXIF: {', '.join(words)} (default safe)",
    )


def add_painting(parser: argparse._ActionsContainer, *, style: str) -> None:
    """Adds --style, of which this is the help, and what else `stylize` and `client` share."""
    parser.add_argument("--style", metavar="S[:W],...", type=blend, help=style)
    add_max_size(parser)
    add_max_pixels(parser)
    add_metadata(parser)
    strength = library.default("stylize/stylizer.Stylizer.__call__", "strength")
    parser.add_argument(
        "--strength",
        metavar="X",
        type=number(float, 0, 1),
        default=strength,
        help=f"0 gives the photo, 1 the painting, between them a blend (default {strength:g})",
    )
    parser.add_argument(
        "--preserve_color", action="store_true", help="keep the colours of the photo"
    )
    quality = library.default("images/files.write", "quality")
    parser.add_argument(
        "--quality",
        metavar="N",
        type=number(int, 1, 100),
        default=quality,
        help=f"of JPEG and WebP, 1 to 100 (default {quality})",
    )
