"""`run`, which makes a program of a recipe's function."""

import argparse
import dataclasses
import inspect
import json
import sys
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import app

from tfstyle import machine
from tfstyle.cli import messages, parsing


def run(
    function: Callable, arguments: Sequence[str] | None = None, *, prog: str | None = None
) -> typing.NoReturn:
    """Makes a program of a recipe's function: `if __name__ == "__main__": cli.run(train)`.

    Every keyword-only parameter becomes a flag: --steps=5 or --steps 5, --x and --nox for a bool.
    Type (str, int, float, bool, Literal, or one of these `| None`: then "none" is None) and default
    come from the signature, help from the "Args:" section of the docstring, and the description
    from the module's. A parameter that is a dataclass becomes a flag for each of its fields, with
    help from the dataclass's docstring and defaults from the parameter's; a field whose metadata
    say {"flag": False} stays as the parameter's default has it.

    With a flag --dry_run, the resolved options are printed as JSON and nothing is run. Ends the
    process: 0, 2 for what the user can mend, or the exit code of `training.Interrupted`.

    Args:
        function: its return value is ignored.
        arguments: those of the process by default.
        prog: how the program is called, for its help; "python -m MODULE" by default.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    machine.keep_to_cores()
    messages.set_verbosity(messages.WARNINGS)
    parser, values_of = _parser(function, prog)

    def parse(argv: list[str]) -> argparse.Namespace:
        return parser.parse_args(argv[1:])

    def main(options: argparse.Namespace) -> int:
        return _call(function, parser.prog, vars(options), values_of)

    app.run(main, argv=[parser.prog, *arguments], flags_parser=parse)
    raise AssertionError("app.run ends the process")


def _call(function: Callable, prog: str, options: dict, values_of: Callable[[dict], dict]) -> int:
    from tfstyle import training

    debug = options.pop("debug", False)

    def call() -> int:
        values = values_of(options)
        if options.get("dry_run"):
            print(json.dumps(options, indent=2))
            return 0
        try:
            function(**values)
        except training.Interrupted as stop:
            messages.complain(str(stop), prog=prog)
            return stop.exit_code
        return 0

    return messages.exit_code(prog, call, debug=debug)


def _parser(function: Callable, prog: str | None) -> tuple[parsing.Parser, Callable[[dict], dict]]:
    """(parser, what makes the function's arguments of what it has parsed)."""
    # Here, for it takes TensorFlow, which a recipe has imported and `tfstyle --help` has not.
    from tfstyle.training import folders

    module = sys.modules[function.__module__]
    if prog is None and module.__spec__:
        prog = f"python -m {module.__spec__.name}"
    parser = parsing.Parser(prog or Path(sys.argv[0]).name, description=module.__doc__)
    texts, hints = documented(function), typing.get_type_hints(function)
    # {parameter: (its default, names of its fields)}
    grouped: dict[str, tuple] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind != parameter.KEYWORD_ONLY:
            continue
        kind = hints[name]
        if not dataclasses.is_dataclass(kind):
            _add_flag(parser, name, kind, parameter.default, texts)
            continue
        title = (inspect.getdoc(kind) or name).partition("\n")[0]
        group = parser.add_argument_group(f"{name}: {title[:1].lower()}{title[1:].rstrip('.')}")
        field_texts, field_hints = documented(kind), typing.get_type_hints(kind)
        fields = [each.name for each in dataclasses.fields(kind) if folders.is_flag(each)]
        for field in fields:
            default = getattr(parameter.default, field)
            _add_flag(group, field, field_hints[field], default, field_texts)
        grouped[name] = parameter.default, fields

    def values_of(options: dict) -> dict:
        taken = {field for _, fields in grouped.values() for field in fields}
        values = {name: value for name, value in options.items() if name not in taken}
        for name, (default, fields) in grouped.items():
            given = {field: options[field] for field in fields}
            values[name] = dataclasses.replace(default, **given)
        return values

    return parser, values_of


def _add_flag(
    parser: argparse._ActionsContainer,
    name: str,
    kind: typing.Any,
    default: typing.Any,
    texts: dict[str, str],
) -> None:
    """Adds --NAME of a type that `run` takes."""
    text = texts.get(name, "").replace("%", "%%")
    extra = {"dest": name, "required": default is inspect.Parameter.empty, "default": default}
    if kind is bool:
        text += f" (default {'on' if default else 'off'})"
        parser.add_argument(f"--{name}", action=parsing.Switch, help=text, **extra)
        return
    if default not in (inspect.Parameter.empty, None, ""):
        text += f" (default {default})"
    nullable = False
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(kind) if member is not types.NoneType]
        nullable = len(members) == 1 < len(typing.get_args(kind))
        kind = members[0] if nullable else kind
    if typing.get_origin(kind) is typing.Literal:
        choices = typing.get_args(kind)
        kind = type(choices[0])
        extra["choices"] = [*choices, None] if nullable else choices
        extra["metavar"] = "|".join([*map(str, choices), *["none"] * nullable])
    elif kind in (str, int, float):
        extra["metavar"] = {str: "TEXT", int: "N", float: "X"}[kind]
    else:
        raise TypeError(
            f"{name}: {kind} cannot become a flag. Use str, int, float, bool, Literal, one of "
            "these | None, or a dataclass of such fields."
        )

    def parse(value: str) -> typing.Any:
        return None if nullable and value == "none" else kind(value)

    parse.__name__ = kind.__name__  # argparse says "invalid int value"
    parser.add_argument(f"--{name}", type=parse, help=text, **extra)


def documented(subject: typing.Any) -> dict[str, str]:
    """{name: text} of the "Args:" section of a Google-style docstring."""
    from docstring_parser import google

    # That section alone: whatever stands in the others, there is help.
    section = google.Section("Args", "param", google.SectionType.MULTIPLE)
    return {
        name: " ".join((entry.description or "").split())
        for entry in google.GoogleParser([section]).parse(subject.__doc__).params
        for name in entry.arg_name.replace(" ", "").split(",")
    }
