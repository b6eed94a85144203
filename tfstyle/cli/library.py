"""Names, defaults and words that the library defines, read from its source.

So that they stand in one place, and --help need not wait for TensorFlow.
"""

import ast
import functools
import importlib.util
from typing import Any


@functools.cache
def _source(module: str) -> ast.Module:
    """Of a module in a package, as "serving/server"."""
    name = f"tfstyle.{module.replace('/', '.')}"
    spec: Any = importlib.util.find_spec(name)
    return ast.parse(spec.loader.get_source(name))


def _assigned(module: str, name: str) -> ast.expr:
    for node in _source(module).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if node.value and name in [getattr(target, "id", None) for target in targets]:
                return node.value
    raise KeyError(f"{module}.{name}")


def constant(module: str, name: str) -> Any:
    """The literal that a module of the library assigns to a name."""
    return ast.literal_eval(_assigned(module, name))


def keys(module: str, name: str) -> list[str]:
    """The keys of the dict that a module of the library assigns to a name."""
    found = _assigned(module, name)
    assert isinstance(found, ast.Dict)
    return [ast.literal_eval(key) for key in found.keys if key]


def parameters(path: str) -> dict[str, tuple[ast.arg, ast.expr]]:
    """{name: (parameter, default)} of a library function's parameters that have one."""
    module, *names = path.split(".")
    node: Any = _source(module)
    for name in names:
        node = next(child for child in node.body if getattr(child, "name", None) == name)
    positional = node.args.posonlyargs + node.args.args
    positional = positional[len(positional) - len(node.args.defaults) :]
    parameters = [*positional, *node.args.kwonlyargs]
    defaults = [*node.args.defaults, *node.args.kw_defaults]
    return {p.arg: (p, value) for p, value in zip(parameters, defaults, strict=True) if value}


def default(path: str, parameter: str) -> Any:
    """The default of a library function's parameter."""
    return ast.literal_eval(parameters(path)[parameter][1])


def words(path: str, parameter: str) -> list[str]:
    """The words that a library function's parameter takes, out of its annotation's Literal."""
    annotation = parameters(path)[parameter][0].annotation
    assert annotation is not None  # all that is public has one
    for node in ast.walk(annotation):
        if isinstance(node, ast.Subscript) and getattr(node.value, "id", None) == "Literal":
            words = ast.literal_eval(node.slice)
            return list(words) if isinstance(words, tuple) else [words]
    raise KeyError(f"{path}: {parameter}")
