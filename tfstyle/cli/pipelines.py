"""The recipes that train: their names, what each does, and the modules themselves.

They stand above the command line, which must not know them; so they are found when they are asked
for, in `tfstyle.pipelines`, wherever that lies (pipelines/ of the checkout, or the wheel).
"""

import ast
import importlib
import importlib.util
import pkgutil
import types
from typing import Any

from tfstyle.errors import ArgumentError

_PACKAGE = "tfstyle.pipelines"


def names() -> list[str]:
    """Of all recipes, sorted; none of them is imported."""
    folders = importlib.import_module(_PACKAGE).__path__
    return sorted(module.name for module in pkgutil.iter_modules(folders))


def module(name: str) -> types.ModuleType:
    """A recipe's module, imported; that takes TensorFlow, and seconds.

    Raises:
        ArgumentError: there is none of that name.
    """
    return importlib.import_module(_dotted(name))


def summary(name: str) -> str:
    """The first line of a recipe's docstring, read without importing it.

    Raises:
        ArgumentError: there is none of that name.
    """
    spec: Any = importlib.util.find_spec(_dotted(name))
    source = spec.loader.get_source(_dotted(name))
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def _dotted(name: str) -> str:
    if name not in names():
        raise ArgumentError(f"pipeline {name!r}: there is none of that name. Give {_either()}")
    return f"{_PACKAGE}.{name}"


def _either() -> str:
    *others, last = names()
    return f"{', '.join(others)} or {last}" if others else last
