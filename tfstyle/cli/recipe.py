"""What `tfstyle optimize` is asked for: flags, a preset, what an earlier picture notes."""

import argparse
import hashlib
import json
import os
from collections.abc import Callable
from typing import Any

from tfstyle.cli import library, parsing
from tfstyle.errors import ArgumentError

# The function whose parameters become flags.
_OPTIMIZE = "gatys/optimization.optimize"
# Where a picture's metadata hold how `optimize` made it.
SETTINGS = "tfstyle:settings"
# The flags that take a word or a file, and where those words stand.
WORD_OR_FILE = {"init": "INITS", "keep": "KEEPS"}
# alpha and beta of Gatys et al. 2016, figure 4: beta is 1000 times alpha there.
_PAPER_WEIGHTS = {"content_weight": 1.0, "style_weight": 1000.0}
# And the losses that those weigh.
_PAPER_LOSSES = {
    "style_loss": "gram",
    "tv_weight": 0.0,
    "style_depth": 5,
    "style_falloff": 1.0,
    "saliency": 0.0,
    "keep": "off",
}
_REPLACE = "Give CONTENT, --style, --init, --keep or --weights to use another file."


def read(args: argparse.Namespace) -> tuple[str, list[dict], dict, dict[str, str]]:
    """(content, styles, options of `_defaults`, {path of an input: its SHA-256}) out of the flags.

    Raises:
        ValueError: where something is missing, or an input of --again is not what it was.
    """
    names = {name for flags in knobs().values() for name in flags}
    given = {name: value for name, value in vars(args).items() if name in names}
    old: dict[str, Any] = {"content": None, "styles": [], "options": {}, "sha256": {}}
    if args.again:
        old = _remembered(args.again)
    options = _defaults()
    for layer in (old["options"], presets().get(args.preset, {}), given):
        options = _overlaid(options, layer)
    if "learning_rate" in given and options["optimizer"] == "lbfgs":
        raise ArgumentError("--learning_rate: lbfgs has none. Give --optimizer adam or adagrad.")
    content = args.content or old["content"]
    styles = [parse_style(text) for text in args.style or ()] or old["styles"]
    if not content or not styles:
        lacking = "--style" if content else "CONTENT"
        raise ArgumentError(
            f"{lacking} is missing: give it, or --again PICTURE to take an earlier one."
        )
    kept = _inputs(
        None if args.content else old["content"],
        [] if args.style else old["styles"],
        {name: value for name, value in old["options"].items() if name not in given},
    )
    digests = {}
    for path in _inputs(content, styles, options):
        if path in kept and not os.path.isfile(path):
            raise ArgumentError(f"{path}: no such file; {args.again} was made from it. {_REPLACE}")
        with open(path, "rb") as file:
            digests[path] = hashlib.file_digest(file, "sha256").hexdigest()
        if path in kept and digests[path] != old["sha256"][path]:
            raise ArgumentError(f"{path}: changed since {args.again} was made from it. {_REPLACE}")
    return content, styles, options, digests


def parse_style(text: str) -> dict:
    """FILE[:WEIGHT[:MASK[:STYLE_MASK]]], where files may have colons in their names."""
    path, rest = _leading_file(text)
    if path is None:
        raise ArgumentError(
            f"--style {text}: no such file. Give FILE[:WEIGHT[:MASK[:STYLE_MASK]]]."
        )
    weight, _, rest = rest.partition(":")
    try:
        weight = parsing.number(float, 0, above=True)(weight or "1")
    except argparse.ArgumentTypeError as error:
        raise ArgumentError(f"--style {text}: weight {error}.") from None
    mask, style_mask = _leading_file(rest)
    if mask is None and rest.startswith(":"):
        style_mask = rest[1:]
    elif mask is None and rest:
        raise ArgumentError(f"--style {text}: mask {rest}: no such file.")
    if style_mask and not os.path.isfile(style_mask):
        raise ArgumentError(f"--style {text}: style mask {style_mask}: no such file.")
    return {"path": path, "weight": weight, "mask": mask, "style_mask": style_mask or None}


def _leading_file(text: str) -> tuple[str | None, str]:
    """(the longest file's name that a text begins with, what stands behind the colon after it)."""
    for end in [len(text), *(i for i in reversed(range(len(text))) if text[i] == ":")]:
        if os.path.isfile(text[:end]):
            return text[:end], text[end + 1 :]
    return None, text


def style_loss_of(picture: str) -> dict[str, Any]:
    """The style loss that `optimize` made a picture with, as `survey.of` takes it.

    Returns:
        "style_loss" and "style_layers"; {} for a picture that does not say, made by others or by a
        network.
    """
    from tfstyle import losses

    try:
        options = _remembered(picture)["options"]
    except ArgumentError:
        return {}
    depth, falloff = options["style_depth"], options["style_falloff"]
    weights = losses.falling(losses.STYLE_LAYERS, depth, falloff)
    return {"style_loss": options["style_loss"], "style_layers": weights}


def _inputs(content: str | None, styles: list[dict], options: dict) -> list[str]:
    """The files that a picture is made from."""
    paths = [content]
    for style in styles:
        paths += [style["path"], style["mask"], style["style_mask"]]
    paths += [options.get("weights")]
    paths += [options.get(name) for name in WORD_OR_FILE if options.get(name) not in words(name)]
    return [path for path in paths if path is not None]


def _overlaid(options: dict, layer: dict) -> dict:
    """Options with others on top, among which alpha and beta may stand for weights."""
    paper = layer.keys() & {"alpha", "beta"}
    ours = layer.keys() & _PAPER_WEIGHTS.keys()
    if paper and ours:
        raise ArgumentError(
            f"--{min(paper)} and --{min(ours)}: alpha and beta take the place of content_weight "
            "and style_weight. Give weights of one kind."
        )
    kind = "gatys" if paper else "relative" if ours else options["formula"]
    kind = layer.get("formula", kind)
    if kind != options["formula"]:
        # A weight of the other formula means nothing in this one.
        defaults = _defaults()
        papers = _PAPER_WEIGHTS | _PAPER_LOSSES
        theirs = papers if kind == "gatys" else {name: defaults[name] for name in papers}
        options = options | {"formula": kind} | theirs
    names = {"alpha": "content_weight", "beta": "style_weight"}
    if layer.keys() & {"style_weight", *paper} and "target" not in layer:
        # A weight that is given stays, whatever a preset or another picture was led to.
        options = options | {"target": "auto"}
    return options | {names.get(name, name): value for name, value in layer.items()}


def _remembered(picture: str) -> dict:
    """What `optimize` noted in a picture. Anyone may have made it: all is checked as flags are."""
    from tfstyle import images

    text = images.read_text(picture).get(SETTINGS)
    if text is None:
        raise ArgumentError(
            f"--again {picture}: no settings in it. Give a picture as tfstyle optimize wrote it; "
            "most programs that edit or send pictures drop them."
        )
    kinds = {name: kind for flags in knobs().values() for name, (_, kind, _) in flags.items()}
    kinds["formula"] = parsing.word({word: word for word in library.words(_OPTIMIZE, "formula")})
    defaults = _defaults()

    def option(name: str, value: Any) -> Any:
        if value is None and (defaults[name] is None or name == "size"):
            return None
        if kinds[name] is bool and isinstance(value, bool):
            return value
        return kinds[name](as_given(value))

    def path(value: Any, *others: object) -> Any:
        if value not in others and not isinstance(value, str):
            raise TypeError(f"{value} is no path")
        return value

    try:
        told = json.loads(text)
        # A picture of before these were had none of them.
        of_before = {"target": "off", "padding": "zero"} | {
            name: _PAPER_LOSSES[name]
            for name in ("style_depth", "style_falloff", "saliency", "keep")
        }
        found = {
            "content": path(told["content"]),
            "styles": [
                {
                    "path": path(style["path"]),
                    "weight": parsing.number(float, 0, above=True)(style["weight"]),
                    "mask": path(style["mask"], None),
                    "style_mask": path(style["style_mask"], None),
                }
                for style in told["styles"]
            ],
            "options": of_before
            | {name: option(name, value) for name, value in told["options"].items()},
        }
        found["sha256"] = {name: path(told["sha256"][name]) for name in _inputs(**found)}
        return found
    except (
        argparse.ArgumentTypeError,
        AttributeError,
        KeyError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise ArgumentError(
            f"--again {picture}: its settings are damaged, or of another version of tfstyle "
            f"({type(error).__name__}: {error})."
        ) from error


def knobs() -> dict[str, dict[str, tuple]]:
    """{title: {flag: (metavar, type, help)}} of the flags that --again repeats."""
    whole = parsing.number(int, 1)
    positive, least_0 = parsing.number(float, 0, above=True), parsing.number(float, 0)

    def word(name: str, text: str = "") -> tuple[str, Callable, str]:
        words = library.words(_OPTIMIZE, name)
        return "WORD", parsing.word({word: word for word in words}), ", ".join(words) + text

    tiles = {word: word for word in library.words(_OPTIMIZE, "tile")}
    backbones = {name: name for name in library.keys("features/backbones", "BACKBONES")}
    groups: dict[str, dict[str, tuple]] = {
        "size and time": {
            "size": (
                "N|own",
                parsing.word({"own": None}, whole),
                "longest side; own is the photo's",
            ),
            "min_size": ("N", whole, "longest side of the coarsest scale"),
            "scale_factor": (
                "X",
                parsing.number(float, 1, above=True),
                "from one scale to the next",
            ),
            "steps": ("N", whole, "of the last scale; others get fewer"),
            "patience": ("N", whole, "stop when N steps bring nothing more"),
            "content_threshold": ("X", least_0, "stop when the content loss falls to X"),
            "time_budget": ("SECONDS", positive, "stop in time"),
        },
        "what to aim for": {
            "content_weight": ("X", least_0, "keep the photo"),
            "style_weight": ("X", least_0, "take the styles on"),
            "tv_weight": ("X", least_0, "be smooth (total variation)"),
            "target": ("LOSS", _target, "content=X, style=X, auto, off"),
            "alpha": ("X", least_0, "content weight of the papers (1 beside --beta)"),
            "beta": ("X", least_0, "style weight of the papers (1000 beside --alpha)"),
            "style_loss": word("style_loss"),
            "style_depth": ("N", whole, "so many layers, from the first"),
            "style_falloff": ("X", positive, "of their weights, from layer to layer"),
            "saliency": ("X", parsing.number(float, 0, 1), "keep what stands out; 0 all alike"),
            "keep": ("WORD|FILE", str, f"{', '.join(words('keep'))}, or a mask"),
            "style_scale": ("X", positive, "above 1 for coarser strokes"),
            "content_layers": ("NAMES", _layers, "of the backbone: a,b or a:1,b:0.5"),
            "style_layers": ("NAMES", _layers, "the same; early ones hold fine strokes"),
            "color": word("color", ": whose"),
            "init": ("WORD|FILE", str, ", ".join(words("init"))),
        },
        "how": {
            "optimizer": word("optimizer"),
            "learning_rate": ("X", positive, "of adam and adagrad"),
            "averaging": ("X", parsing.number(float, 0, 1), "of late steps; 0.9 calms adam"),
            "backbone": ("NAME", parsing.word(backbones), "see below"),
            "weights": ("FILE", str, "of the backbone, as Keras writes them"),
            "pooling": word("pooling", " (is smoother)"),
            "padding": word("padding", " (marks edges)"),
            "precision": word("precision"),
            "tile": ("N|WORD", parsing.word(tiles, whole), f"side in pixels, {', '.join(tiles)}"),
            "jit": (None, bool, "compile with XLA"),
            "seed": ("N", parsing.number(int, 0), "of noise"),
        },
        "files": {
            "bits": ("8|16", parsing.word({"8": 8, "16": 16}), "of a channel; 16 in .png only"),
            "quality": ("N", parsing.number(int, 1, 100), "of JPEG and WebP, 1 to 100"),
        },
    }
    defaults = _defaults()
    for flags in groups.values():
        for name, (metavar, kind, text) in flags.items():
            if kind is not bool and defaults.get(name) is not None:
                flags[name] = metavar, kind, f"{text} (default {as_given(defaults[name])})"
    return groups


def _layers(text: str) -> dict[str, float]:
    """A type for argparse: a,b or a:1,b:0.5 as {name: weight}."""
    layers = {}
    for part in text.split(","):
        name, colon, weight = part.partition(":")
        if not name or name in layers:
            fault = f"{name} twice" if name else "a name is empty"
            raise argparse.ArgumentTypeError(f"{text}: {fault}; give NAME[:WEIGHT],...")
        layers[name] = parsing.number(float, 0)(weight) if colon else 1.0
    return layers


def _target(text: str) -> str | dict[str, float]:
    """A type for argparse: auto, off, content=X or style=X (or with a colon, as it is noted)."""
    if text in library.words(_OPTIMIZE, "target"):
        return text
    name, _, value = text.replace(":", "=").partition("=")
    if name not in ("content", "style"):
        raise argparse.ArgumentTypeError(f"{text}: give auto, off, content=X or style=X")
    return {name: parsing.number(float, 0, above=True)(value)}


def presets() -> dict[str, dict]:
    """{name: options}: what `gatys.optimize` takes in place of its defaults."""
    return library.constant("gatys/optimization", "PRESETS")


def words(name: str) -> tuple[str, ...]:
    """The words that a flag of `WORD_OR_FILE` takes; anything else is a file."""
    return library.constant("gatys/optimization", WORD_OR_FILE[name])


def _defaults() -> dict:
    """{name: default} of what `knobs` names, and of `formula`, which --alpha and --beta set."""
    names = [name for name in library.parameters(_OPTIMIZE) if name != "callback"]
    found = {name: library.default(_OPTIMIZE, name) for name in names}
    return found | {
        name: library.default("images/files.write", name) for name in ("bits", "quality")
    }


def as_given(value: object) -> str:
    """A value as its flag is given."""
    if isinstance(value, dict):
        return ",".join(f"{name}:{weight!r}" for name, weight in value.items())
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
