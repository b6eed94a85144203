"""`run`, which makes a program of a pipeline's function."""

import dataclasses
import inspect
import json
import sys
import types
import typing
from collections.abc import Callable, Sequence

from tfstyle.cli import messages, parsing


def run(function: Callable, arguments: Sequence[str] | None = None) -> typing.NoReturn:
    """Makes a program of a pipeline's function: `if __name__ == "__main__": cli.run(train)`.

    Every keyword-only parameter becomes a flag: --steps=5 or --steps 5, --x and --nox for a bool.
    Type (str, int, float, bool, Literal, or one of these `| None`: then "none" is None) and default
    come from the signature, help from the "Args:" section of the docstring, and the description
    from the module's. A parameter that is a dataclass becomes a flag for each of its fields, with
    help from the dataclass's docstring.

    With a flag --dry_run, the resolved options are printed as JSON and nothing is run. Ends the
    process: 0, 2 for what the user can mend, or the exit code of `training.Interrupted`.

    Args:
        function: its return value is ignored.
        arguments: those of the process by default.
    """
    from tfstyle import export, training

    module = sys.modules[function.__module__]
    prog = f"python -m {module.__spec__.name}" if module.__spec__ else None
    parser = parsing.Parser(prog, description=module.__doc__)
    texts = documented(function)
    hints = typing.get_type_hints(function)
    # {parameter: (dataclass, names of its fields)}
    flattened = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind != parameter.KEYWORD_ONLY:
            continue
        kind = hints[name]
        if not dataclasses.is_dataclass(kind):
            _add_flag(parser, name, kind, parameter.default, texts)
            continue
        group = parser.add_argument_group(f"{kind.__module__.split('.')[-1]} {name}")
        field_hints = typing.get_type_hints(kind)
        fields = inspect.signature(kind).parameters
        for field in fields.values():
            given = getattr(parameter.default, field.name, field.default)
            _add_flag(group, field.name, field_hints[field.name], given, documented(kind))
        flattened[name] = kind, list(fields)
    options = vars(parser.parse_args(arguments))

    def call():
        values = dict(options)
        for name, (kind, fields) in flattened.items():
            values[name] = kind(**{field: values.pop(field) for field in fields})
        if options.get("dry_run"):
            print(json.dumps(options, indent=2))
            return 0
        try:
            function(**values)
        except training.Interrupted as stop:
            messages.complain(str(stop), prog=parser.prog)
            return stop.exit_code
        return 0

    sys.exit(messages.exit_code(parser.prog, call, (training.TrainingError, export.ExportError)))


def _add_flag(parser, name: str, kind, default, texts: dict[str, str]):
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

    def parse(value):
        return None if nullable and value == "none" else kind(value)

    parse.__name__ = kind.__name__  # argparse says "invalid int value"
    parser.add_argument(f"--{name}", type=parse, help=text, **extra)


def documented(subject) -> dict[str, str]:
    """{name: text} of the "Args:" section of a Google-style docstring."""
    from docstring_parser import google

    # That section alone: whatever stands in the others, there is help.
    section = google.Section("Args", "param", google.SectionType.MULTIPLE)
    return {
        name: " ".join((entry.description or "").split())
        for entry in google.GoogleParser([section]).parse(subject.__doc__).params
        for name in entry.arg_name.replace(" ", "").split(",")
    }
