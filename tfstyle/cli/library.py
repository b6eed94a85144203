"""Names, defaults and words that the library defines, read from its source.

So that they stand in one place, and --help need not wait for TensorFlow.
"""

import ast
import functools
import importlib.util


@functools.cache
def _source(module: str) -> ast.Module:
    """Of a module in a package, as "serving/server"."""
    name = f"tfstyle.{module.replace('/', '.')}"
    return ast.parse(importlib.util.find_spec(name).loader.get_source(name))


def _assigned(module: str, name: str) -> ast.expr:
    for node in _source(module).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if name in [getattr(target, "id", None) for target in targets]:
                return node.value
    raise KeyError(f"{module}.{name}")


def constant(module: str, name: str):
    """The literal that a module of the library assigns to a name."""
    return ast.literal_eval(_assigned(module, name))


def keys(module: str, name: str) -> list[str]:
    """The keys of the dict that a module of the library assigns to a name."""
    return [key.value for key in _assigned(module, name).keys]


def parameters(path: str) -> dict[str, tuple[ast.arg, ast.expr]]:
    """{name: (parameter, default)} of a library function's parameters that have one."""
    module, *names = path.split(".")
    node = _source(module)
    for name in names:
        node = next(child for child in node.body if getattr(child, "name", None) == name)
    positional = node.args.posonlyargs + node.args.args
    positional = positional[len(positional) - len(node.args.defaults) :]
    parameters = [*positional, *node.args.kwonlyargs]
    defaults = [*node.args.defaults, *node.args.kw_defaults]
    return {p.arg: (p, value) for p, value in zip(parameters, defaults, strict=True) if value}


def default(path: str, parameter: str):
    """The default of a library function's parameter."""
    return ast.literal_eval(parameters(path)[parameter][1])


def words(path: str, parameter: str) -> list[str]:
    """The words that a library function's parameter takes, out of its annotation's Literal."""
    for node in ast.walk(parameters(path)[parameter][0].annotation):
        if isinstance(node, ast.Subscript) and getattr(node.value, "id", None) == "Literal":
            words = ast.literal_eval(node.slice)
            return list(words) if isinstance(words, tuple) else [words]
    raise KeyError(f"{path}: {parameter}")
