"""The recipes: which there are, and their modules, from a checkout or a wheel."""

import ast
import importlib
import pkgutil
import sys
from pathlib import Path
from types import ModuleType

_TFSTYLE = Path(__file__).resolve().parent.parent
# In a wheel they lie in the package, in a checkout beside it.
_PLACES = {"tfstyle.pipelines": _TFSTYLE / "pipelines", "pipelines": _TFSTYLE.parent / "pipelines"}


def _place() -> tuple[str, Path]:
    return next((name, path) for name, path in _PLACES.items() if path.is_dir())


def names() -> list[str]:
    """The recipes, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules([str(_place()[1])]))


def summary(name: str) -> str:
    """The first line of a recipe's docstring, read without importing it."""
    source = (_place()[1] / f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def module(name: str) -> ModuleType:
    """A recipe's module, whose `train` it is."""
    package, path = _place()
    if package == "pipelines" and str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    return importlib.import_module(f"{package}.{name}")
