"""The command line: the `tfstyle` command, and `run`, which makes a pipeline's function a program.

A subcommand is two functions: one adds its parser to those of `main`, one runs it and returns the
exit code. TensorFlow takes seconds to import, so only what runs imports it: help comes at once.

Exit codes: 0, 2 for what the user can mend (one line on stderr says how), 130 after Ctrl-C, 141
when nobody reads the output any more. `python -X dev` shows where such an error comes from.

argparse and not absl: absl would add --helpfull, which shows the flags of every imported library,
those flags would take names away from pipelines, and absl.app makes all libraries log at INFO.
"""

import argparse
import ast
import contextlib
import dataclasses
import functools
import hashlib
import importlib.util
import inspect
import json
import math
import os
import re
import shlex
import shutil
import signal
import sys
import textwrap
import time
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path

import tfstyle

_MODEL = "starry_night"
_STDIN = "standard input"
# Where a picture's metadata hold how `optimize` made it.
_SETTINGS = "tfstyle:settings"
# alpha and beta of Gatys et al. 2016, figure 4: beta is 1000 times alpha there.
_PAPER_WEIGHTS = {"content_weight": 1.0, "style_weight": 1000.0}
_REPLACE = "Give CONTENT, --style, --init or --weights to use another file."


def main(arguments: Sequence[str] | None = None) -> int:
    """The `tfstyle` command; returns its exit code (help and wrong flags raise SystemExit).

    Args:
        arguments: those of the process by default.
    """
    # Before the first import of TensorFlow: what it tells about the machine is not for users.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    parser = _Parser("tfstyle", description=tfstyle.__doc__)
    parser.add_argument("--version", action="version", version=f"tfstyle {tfstyle.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_stylize(commands)
    _add_optimize(commands)
    _add_learn(commands)
    _add_evaluate(commands)
    _add_explain(commands)
    _add_verify(commands)
    _add_models(commands)
    _add_records(commands)
    _add_dataset(commands)
    _add_export(commands)
    _add_web(commands)
    _add_serve(commands)
    _add_client(commands)
    args = parser.parse_args(arguments)
    # Names of files need not be text, and must not end a run when they are printed.
    sys.stdout.reconfigure(errors="backslashreplace")
    return _exit_code("tfstyle", lambda: args.function(args))


def _add_stylize(commands):
    parser = commands.add_parser(
        "stylize",
        help="paint photos in a style",
        description="Paints photos in the style of a model.",
        epilog=f"""\
IN and OUT:
  photo.jpg             becomes photo.{_MODEL}.jpg beside it; what is no JPEG becomes a PNG
  photo.jpg -o x.webp   the suffix chooses the format: .png, .jpg, .jpeg or .webp
  a.jpg b.png -o DIR/   become DIR/a.jpg and DIR/b.png
  photos/ -o DIR/       all images in photos/ to the bottom, in the same sub-folders of DIR
  -                     standard input; -o - is standard output (PNG)
  camera                a picture of the first camera, or of camera:1, ... (needs OpenCV)
Folders are made where they are missing. An earlier output is replaced, an input never.

Examples:
  tfstyle stylize photo.jpg
  tfstyle stylize photos/ -o painted/ --max_size 1024
  tfstyle stylize photo.jpg -o soft.jpg --strength 0.5 --preserve_color
  tfstyle stylize photo.jpg --model saved_models/mine.dynamic.tflite --compare
  tfstyle stylize photo.jpg --model fusion --style swirls:2,mosaic:1
  curl -s https://example.org/photo.jpg | tfstyle stylize - | display
  tfstyle stylize camera -o door.jpg --runtime tflite

A file that cannot be stylized does not stop the others: all such files are named at the end, and
the exit code is 2.""",
    )
    parser.add_argument(
        "inputs", nargs="+", metavar="IN", help="image files, folders, - for stdin, or camera"
    )
    parser.add_argument("-o", "--output", metavar="OUT", help="file, folder, or - for stdout")
    parser.add_argument(
        "--model",
        metavar="NAME|PATH",
        default=_MODEL,
        help=f"a name that `tfstyle models` lists, a .tflite or .keras file, or the folder of a "
        f"SavedModel (default {_MODEL})",
    )
    parser.add_argument(
        "--style",
        metavar="S[:W],...",
        type=_blend,
        help="of a model with several styles: a name that `tfstyle models` lists, or its number "
        "from 0; or several with their weights, for a blend (default 0)",
    )
    _add_max_size(parser)
    strength = _default("inference.Stylizer.__call__", "strength")
    parser.add_argument(
        "--strength",
        metavar="X",
        type=_number(float, 0, 1),
        default=strength,
        help=f"0 gives the photo, 1 the painting, between them a blend (default {strength:g})",
    )
    parser.add_argument(
        "--preserve_color", action="store_true", help="keep the colours of the photo"
    )
    parser.add_argument(
        "--compare", action="store_true", help="write photo and painting side by side"
    )
    quality = _default("images.write", "quality")
    parser.add_argument(
        "--quality",
        metavar="N",
        type=_number(int, 1, 100),
        default=quality,
        help=f"of JPEG and WebP, 1 to 100 (default {quality})",
    )
    parser.add_argument(
        "--threads",
        metavar="N",
        type=_number(int, 1),
        help="threads of a TFLite model (default: one for each core)",
    )
    parser.add_argument(
        "--runtime",
        metavar="NAME",
        type=_choice(_words("inference.Stylizer.load", "runtime")),
        default=_default("inference.Stylizer.load", "runtime"),
        help="tflite takes TFLite files alone, which need no TensorFlow; auto (the default) takes "
        "what --model means",
    )
    _add_sign(parser)
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")
    parser.set_defaults(function=_stylize)


def _add_sign(parser):
    parser.add_argument(
        "--sign",
        nargs=2,
        metavar=("CERT", "KEY"),
        help="PEM files; see `tfstyle verify --help`",
    )


def _noted(args, made: dict) -> dict:
    """Arguments of `images.write` that note in a picture what made it, and sign it if asked to."""
    from tfstyle import provenance

    options = provenance.notes(made)
    if args.sign:
        sign = provenance.signer(*args.sign)
        options["finish"] = lambda data, format: sign(data, format, made)
    return options


def _blend(text: str) -> dict[str, float]:
    """NAME or NAME:WEIGHT, separated by commas -> {name: weight}; a name may be a number."""
    blend = {}
    for part in text.split(","):
        name, _, weight = part.rpartition(":") if ":" in part else (part, "", "1")
        name = name.strip()
        try:
            blend[name] = float(weight)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{part!r}: give NAME or NAME:WEIGHT, with a number as weight"
            ) from None
    return blend


def _stylize(args) -> int:
    label = _label(args.model)
    if args.style:
        label += "_" + "+".join(args.style)
    jobs, errors = _jobs(args.inputs, args.output, label)
    if any(target is None for _, target in jobs):
        if args.json:
            raise ValueError("--json and the picture both want standard output: give -o FILE")
        if sys.stdout.isatty():
            raise ValueError("standard output is a terminal: give -o FILE, or redirect it")
    import tqdm

    from tfstyle import images, inference

    if jobs:
        stylizer = inference.Stylizer.load(args.model, threads=args.threads, runtime=args.runtime)
        stylizer.style_weights(args.style)  # a wrong one is told once, not of every image
        noted = _noted(args, _made(args, inference.card(args.model)))
    for folder in {target.parent for _, target in jobs if target}:
        folder.mkdir(parents=True, exist_ok=True)
    done = []
    # With disable=None tqdm is silent where stderr is no terminal.
    bar = tqdm.tqdm(jobs, unit="image", disable=None if len(jobs) > 1 else True)
    for source, target in bar:
        start = time.perf_counter()
        # Of an image so large that it is worked on in parts.
        parts = tqdm.tqdm(unit="tile", leave=False, disable=None, delay=1)
        try:
            photo = _photo(source, args.max_size)
            picture = stylizer(
                photo,
                strength=args.strength,
                preserve_color=args.preserve_color,
                style=args.style,
                progress=lambda done, total, parts=parts: _show(parts, done, total),
            )
            if args.compare:
                picture = inference.compare(photo, None, picture)
            if target:
                images.write(target, picture, quality=args.quality, **noted)
            else:
                rest = images.encode(picture, text=noted["text"], xmp=noted["xmp"])
                rest = noted["finish"](rest, "png") if args.sign else rest
                while rest:  # under PYTHONUNBUFFERED a write may stop half way
                    rest = rest[sys.stdout.buffer.write(rest) :]
                sys.stdout.buffer.flush()
        except (ValueError, MemoryError) as error:
            errors.append((str(source or _STDIN), error))
            continue
        finally:
            parts.close()
        height, width = picture.shape[:2]
        seconds = round(time.perf_counter() - start, 3)
        done.append(
            {
                "input": str(source or "-"),
                "output": str(target or "-"),
                "width": width,
                "height": height,
                "seconds": seconds,
                "model": args.model,
            }
        )
        if target and not args.json:
            tqdm.tqdm.write(f"{source or '-'} -> {target} ({width}x{height}, {seconds} s)")
    if args.json:
        failed = [{"input": name, "error": _line(error)} for name, error in errors]
        print(json.dumps({"images": done, "errors": failed}, indent=2))
    for name, error in errors:
        text = _line(error)
        if isinstance(error, inference.TooLargeError):
            text += f" (--max_size {max(error.fits)})"
        _complain("tfstyle", text if text.startswith(name) else f"{name}: {text}", "error: ")
    if errors and len(errors) + len(done) > 1:
        _complain("tfstyle", f"{len(errors)} of {len(errors) + len(done)} could not be stylized")
    return 2 if errors else 0


def _made(args, card: dict) -> dict:
    """What `stylize` notes in a picture: the model and what was asked of it."""
    made = {"model": card.get("name") or _label(args.model)}
    made |= {key: card[key] for key in ("version", "licence") if card.get(key)}
    if args.style:
        made["style"] = args.style
    if args.strength != 1:
        made["strength"] = args.strength
    return made


def _photo(source, max_size: int | None):
    """The photo of a job of `_jobs`: of a camera, a file, or standard input."""
    from tfstyle import images

    if isinstance(source, _Camera):
        photo = source.read()
    elif source:
        photo = images.read(source)
    else:
        photo = images.decode_bytes(sys.stdin.buffer.read(), name=_STDIN)
    return images.fit(photo, max_size) if max_size else photo


def _show(bar, done: int, total: int):
    bar.total = total
    bar.update(done - bar.n)


@dataclasses.dataclass(frozen=True)
class _Camera:
    """A camera among the inputs: `camera` or `camera:N`. A file of that name is ./camera."""

    index: int

    @classmethod
    def named(cls, name: str) -> "_Camera | None":
        match = re.fullmatch(r"camera(?::(\d+))?", name)
        return cls(int(match[1] or 0)) if match else None

    def __str__(self) -> str:
        return f"camera:{self.index}"

    def read(self):
        from tfstyle import camera

        return camera.capture(self.index)


def _label(model: str) -> str:
    """What a model adds to the names of pictures: saved_models/mine/1 and mine.tflite give mine."""
    path = Path(model).resolve()
    if path.name.isdecimal():
        path = path.parent
    return path.stem if path.suffix in (".tflite", ".keras") else path.name


def _jobs(inputs: list[str], output: str | None, label: str) -> tuple[list, list]:
    """Which file becomes which.

    Returns:
        [(input, output)], None for a standard stream, and [(input, error)] for those that are none.

    Raises:
        ValueError: before any work is done, where outputs would be no pictures, two outputs would
            be one, or an output would replace an input.
    """
    from tfstyle import images

    folders = [name for name in inputs if name != "-" and os.path.isdir(name)]
    goal, into_folder = _goal(inputs, folders, output)
    jobs, errors = [], []
    for name in inputs:
        if name == "-":
            jobs.append((None, goal / "stdin.png" if into_folder else goal))
            continue
        if camera := _Camera.named(name):
            target = Path(f"camera.{label}.jpg") if output is None else goal
            jobs.append((camera, goal / "camera.jpg" if into_folder else target))
            continue
        try:
            files = images.list_images(name)
        except ValueError as error:
            errors.append((name, error))
            continue
        if name in folders and Path(name).resolve() in goal.resolve().parents:
            # What an earlier run painted is no photo.
            files = [file for file in files if goal.resolve() not in file.resolve().parents]
        if not files:
            looked_for = ", ".join(images.SUFFIXES)
            errors.append((name, images.ImageError(f"{name}: no images in it ({looked_for}).")))
        for file in files:
            suffix = file.suffix if file.suffix.lower() in (".jpg", ".jpeg") else ".png"
            if output is None:
                target = file.with_name(f"{file.stem}.{label}{suffix}")
            elif into_folder:
                place = file.relative_to(name) if name in folders else Path(file.name)
                target = goal / place.with_suffix(suffix)
            else:
                target = goal
            jobs.append((file, target))
    _refuse_clashes(jobs)
    return jobs, errors


def _goal(inputs, folders, output: str | None) -> tuple[Path | None, bool]:
    """(output as a path, None for standard output or none given; whether it is a folder)."""
    from tfstyle import images

    several = len(inputs) > 1 or bool(folders)
    if inputs.count("-") > 1:
        raise ValueError("- twice: standard input holds one image. Give - once.")
    if several and output == "-":
        raise ValueError("-o -: standard output takes one picture. Give one file, or -o DIR.")
    if folders and output is None:
        raise ValueError(f"{folders[0]}: a folder. Say with -o DIR where its pictures shall go.")
    if output in (None, "-"):
        return None, False
    goal = Path(output)
    if goal.is_dir() or output.endswith("/"):
        return goal, True
    is_picture = goal.suffix.lower() in images.WRITTEN_SUFFIXES
    if several and (is_picture or goal.exists()):
        raise ValueError(f"-o {output}: several inputs need a folder. Give one, such as out/.")
    if not several and not is_picture:
        raise ValueError(
            f"-o {output}: cannot write {goal.suffix or 'a file without suffix'}. Give "
            f"{', '.join(images.WRITTEN_SUFFIXES)}, or {output}/ for a folder."
        )
    return goal, several


def _refuse_clashes(jobs):
    sources = {source.resolve() for source, _ in jobs if isinstance(source, Path)}
    taken = {}
    for source, target in jobs:
        if target is None:
            continue
        place = target.resolve()
        if place in sources:
            raise ValueError(f"{target}: an input, which is never replaced. Give another -o.")
        if place in taken:
            raise ValueError(
                f"{taken[place] or '-'} and {source or '-'} would both become {target}. Stylize "
                "them into folders of their own."
            )
        taken[place] = source


def _add_optimize(commands):
    presets = _presets()
    told = "\n".join(
        textwrap.fill(
            ", ".join(f"{key} {_text(value)}" for key, value in preset.items()),
            width=80,
            initial_indent=f"  {name:<12}",
            subsequent_indent=" " * 14,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for name, preset in presets.items()
    )
    backbones = ", ".join(key.value for key in _constant("features", "BACKBONES").keys)
    parser = commands.add_parser(
        "optimize",
        help="paint one photo in the style of any pictures, in minutes",
        usage="tfstyle optimize CONTENT --style S [--style S ...] -o OUT [flags]\n"
        "       tfstyle optimize --again PICTURE -o OUT [flags]",
        description="Paints a photo in the style of any pictures; needs minutes, but no model.",
        epilog=f"""\
Styles:
  --style a.jpg --style b.jpg:0.5    two of them, a twice as strong as b
  --style a.jpg:1:sky.png            where the mask sky.png is white; of any size, grey is between
  --style a.jpg::sky.png:top.png     the same, from the part of a.jpg where top.png is white

More style or more photo: --style_weight 30 or 3. These losses are relative: a weight means the
same at every size. --alpha and --beta weigh the papers' own losses, which grow with the size.

Backbones: {backbones}; vgg16 is bundled, others fetched once.
Presets (flags that are given still win):
{told}

Examples:
  tfstyle optimize photo.jpg --style painting.jpg -o out.png
  tfstyle optimize photo.jpg --style painting.jpg -o out.png --preset preview
  tfstyle optimize --again out.png -o large.png --size 1024

Ctrl-C writes the picture so far (exit code 130); a second one ends at once and writes nothing.""",
    )
    # So that most flags have one line.
    parser.formatter_class = functools.partial(parser.formatter_class, max_help_position=27)
    parser.add_argument("content", nargs="?", metavar="CONTENT", help="the photo")
    parser.add_argument(
        "--style",
        action="append",
        metavar="FILE[:WEIGHT[:MASK[:STYLE_MASK]]]",
        help="a picture whose style is wanted; several blend",
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT", required=True, help="the picture: .png, .jpg or .webp"
    )
    parser.add_argument(
        "--preset",
        metavar="NAME",
        type=_word({name: name for name in presets}),
        help=", ".join(presets),
    )
    parser.add_argument(
        "--again", metavar="PICTURE", help="as this OUT was made, but for flags that are given"
    )
    groups = {}
    for title, flags in _knobs().items():
        groups[title] = parser.add_argument_group(title)
        for name, (metavar, kind, text) in flags.items():
            # Without a default: what is given wins over a preset, and a preset over defaults.
            options = {"default": argparse.SUPPRESS, "help": text}
            if kind is bool:
                groups[title].add_argument(f"--{name}", action=_Switch, **options)
            else:
                groups[title].add_argument(f"--{name}", metavar=metavar, type=kind, **options)
    group = groups["files"]
    group.add_argument(
        "--save_every",
        metavar="N",
        type=_number(int, 1),
        help="steps; writes OUT.SCALE-STEP, as out.1-0040.png",
    )
    group.add_argument("--video", metavar="FILE", help="how it came to be: .mp4, .mkv or .webm")
    fps = _default("video.Writer.__init__", "fps")
    group.add_argument(
        "--video_fps",
        metavar="N",
        type=_number(float, 0.01, 1000),
        default=fps,
        help=f"frames a second (default {fps})",
    )
    _add_sign(group)
    group.add_argument("--json", action="store_true", help="print the final figures as JSON")
    parser.set_defaults(function=_optimize)


def _knobs() -> dict[str, dict[str, tuple]]:
    """{title: {flag: (metavar, type, help)}} of the flags that --again repeats."""
    whole, positive, least_0 = _number(int, 1), _number(float, 0, above=True), _number(float, 0)

    def word(name, text=""):
        words = _words("gatys.optimize", name)
        return "WORD", _word({word: word for word in words}), ", ".join(words) + text

    tiles = {word: word for word in _words("gatys.optimize", "tile")}
    backbones = {key.value: key.value for key in _constant("features", "BACKBONES").keys}
    groups = {
        "size and time": {
            "size": ("N|own", _word({"own": None}, whole), "longest side; own is the photo's"),
            "min_size": ("N", whole, "longest side of the coarsest scale"),
            "scale_factor": ("X", _number(float, 1, above=True), "from one scale to the next"),
            "steps": ("N", whole, "of the last scale; others get fewer"),
            "patience": ("N", whole, "stop when N steps bring nothing more"),
            "content_threshold": ("X", least_0, "stop when the content loss falls to X"),
            "time_budget": ("SECONDS", positive, "stop in time"),
        },
        "what to aim for": {
            "content_weight": ("X", least_0, "keep the photo"),
            "style_weight": ("X", least_0, "take the styles on"),
            "tv_weight": ("X", least_0, "be smooth (total variation)"),
            "alpha": ("X", least_0, "content weight of the papers (1 beside --beta)"),
            "beta": ("X", least_0, "style weight of the papers (1000 beside --alpha)"),
            "style_loss": word("style_loss"),
            "style_scale": ("X", positive, "above 1 for coarser strokes"),
            "content_layers": ("NAMES", _layers, "of the backbone: a,b or a:1,b:0.5"),
            "style_layers": ("NAMES", _layers, "the same; early ones hold fine strokes"),
            "color": word("color", ": whose"),
            "init": ("WORD|FILE", str, ", ".join(_inits())),
        },
        "how": {
            "optimizer": word("optimizer"),
            "learning_rate": ("X", positive, "of adam and adagrad"),
            "averaging": ("X", _number(float, 0, 1), "of late steps; 0.9 calms adam"),
            "backbone": ("NAME", _word(backbones), "see below"),
            "weights": ("FILE", str, "of the backbone, as Keras writes them"),
            "pooling": word("pooling", " (is smoother)"),
            "precision": word("precision"),
            "tile": ("N|WORD", _word(tiles, whole), f"side in pixels, {', '.join(tiles)}"),
            "jit": (None, bool, "compile with XLA"),
            "seed": ("N", _number(int, 0), "of noise"),
        },
        "files": {
            "bits": ("8|16", _word({"8": 8, "16": 16}), "of a channel; 16 in .png only"),
            "quality": ("N", _number(int, 1, 100), "of JPEG and WebP, 1 to 100"),
        },
    }
    defaults = _defaults()
    for flags in groups.values():
        for name, (metavar, kind, text) in flags.items():
            if kind is not bool and defaults.get(name) is not None:
                flags[name] = metavar, kind, f"{text} (default {_text(defaults[name])})"
    return groups


def _presets() -> dict[str, dict]:
    return ast.literal_eval(_constant("gatys", "PRESETS"))


def _inits() -> tuple[str, ...]:
    return ast.literal_eval(_constant("gatys", "INITS"))


def _defaults() -> dict:
    """{name: default} of what `_knobs` names, and of `formula`, which --alpha and --beta set."""
    names = [name for name in _parameters("gatys.optimize") if name != "callback"]
    found = {name: _default("gatys.optimize", name) for name in names}
    return found | {name: _default("images.write", name) for name in ("bits", "quality")}


def _text(value) -> str:
    """A value as its flag is given."""
    if isinstance(value, dict):
        return ",".join(f"{name}:{weight!r}" for name, weight in value.items())
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def _word(words: dict, other: Callable | None = None) -> Callable:
    """A type for argparse: one of some words, each for a value, or what another type takes."""

    def parse(text):
        if text in words:
            return words[text]
        if other is None:
            raise argparse.ArgumentTypeError(f"{text}: give {', '.join(words)}")
        try:
            return other(text)
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentTypeError(f"{error}, or {', '.join(words)}") from None

    return parse


def _layers(text: str) -> dict[str, float]:
    """A type for argparse: a,b or a:1,b:0.5 as {name: weight}."""
    layers = {}
    for part in text.split(","):
        name, colon, weight = part.partition(":")
        if not name or name in layers:
            fault = f"{name} twice" if name else "a name is empty"
            raise argparse.ArgumentTypeError(f"{text}: {fault}; give NAME[:WEIGHT],...")
        layers[name] = _number(float, 0)(weight) if colon else 1.0
    return layers


def _optimize(args) -> int:
    # Nothing here needs TensorFlow before all that can be wrong has been looked at.
    from tfstyle import images

    content, styles, options, digests = _recipe(args)
    output, clip = _outputs(args, options, list(digests))
    photo = images.read(content)
    read = [
        {
            "image": images.read(style["path"]),
            "weight": style["weight"],
            **{key: style[key] and images.read_mask(style[key]) for key in ("mask", "style_mask")},
        }
        for style in styles
    ]
    arguments = {key: options[key] for key in options if key not in ("bits", "quality")}
    if options["init"] not in _inits():
        arguments["init"] = images.read(options["init"])
    icc = images.read_icc(content)
    for path in (output, clip) if clip else (output,):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK):
            raise ValueError(f"{path}: no permission to write into {path.parent}.")
    settings = {"content": content, "styles": styles, "options": options, "sha256": digests}
    noted = _noted(args, {"method": "optimisation of one picture", "backbone": options["backbone"]})
    texts = noted.pop("text")

    def write(path, image, figures):
        text = json.dumps(settings | {"figures": figures})
        images.write(
            path,
            image,
            quality=options["quality"],
            bits=options["bits"],
            text=texts | {_SETTINGS: text},
            icc=icc,
            **noted,
        )

    with contextlib.ExitStack() as stack:
        watch = _Watch()
        if args.save_every:
            watch.others.append(_snapshots(output, args.save_every, write))
        if clip:
            from tfstyle import video

            writer = stack.enter_context(video.Writer(clip, fps=args.video_fps))
            size = photo.shape[:2]
            final = images.scaled_size(size, options["size"] or max(size))
            watch.others.append(_frames(writer, args.video_fps, final))
        from tfstyle import gatys

        try:
            with watch:
                result = gatys.optimize(
                    photo, [gatys.Style(**style) for style in read], callback=watch, **arguments
                )
        except gatys.TooLargeError as error:
            raise ValueError(f"{_line(error)} (--size {max(error.fits)})") from error
        # "auto" may be another precision on another machine, and so another picture.
        options["precision"] = result.precision
        height, width = result.image.shape[:2]
        figures = {
            "width": width,
            "height": height,
            "seconds": round(result.seconds, 3),
            "steps": result.steps,
            "stopped": result.stopped,
            "precision": result.precision,
            "losses": result.losses,
        }
        write(output, result.image, figures)
        if clip:
            writer.add(result.image, seconds=1)
    if args.json:
        print(json.dumps({"output": str(output), **figures}, indent=2))
    else:
        why = {"steps": "all steps done", "callback": "stopped by Ctrl-C"}
        print(
            f"{output} ({width}x{height}, {result.seconds:.1f} s, {result.steps} steps, "
            f"{why.get(result.stopped, f'stopped by {result.stopped}')}, {_losses(result.losses)})"
        )
    return 130 if watch.interrupted else 0


def _recipe(args) -> tuple[str, list[dict], dict, dict[str, str]]:
    """(content, styles, options of `_defaults`, {path of an input: its SHA-256}) out of the flags.

    Raises:
        ValueError: where something is missing, or an input of --again is not what it was.
    """
    names = {name for flags in _knobs().values() for name in flags}
    given = {name: value for name, value in vars(args).items() if name in names}
    old = {"content": None, "styles": [], "options": {}, "sha256": {}}
    if args.again:
        old = _remembered(args.again)
    options = _defaults()
    for layer in (old["options"], _presets().get(args.preset, {}), given):
        options = _overlaid(options, layer)
    content = args.content or old["content"]
    styles = [_style(text) for text in args.style or ()] or old["styles"]
    if not content or not styles:
        lacking = "--style" if content else "CONTENT"
        raise ValueError(
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
            raise ValueError(f"{path}: no such file; {args.again} was made from it. {_REPLACE}")
        with open(path, "rb") as file:
            digests[path] = hashlib.file_digest(file, "sha256").hexdigest()
        if path in kept and digests[path] != old["sha256"][path]:
            raise ValueError(f"{path}: changed since {args.again} was made from it. {_REPLACE}")
    return content, styles, options, digests


def _inputs(content: str | None, styles: list[dict], options: dict) -> list[str]:
    """The files that a picture is made from."""
    paths = [content]
    for style in styles:
        paths += [style["path"], style["mask"], style["style_mask"]]
    paths += [options.get("weights"), options.get("init")]
    return [path for path in paths if path is not None and path not in _inits()]


def _overlaid(options: dict, layer: dict) -> dict:
    """Options with others on top, among which alpha and beta may stand for weights."""
    paper = layer.keys() & {"alpha", "beta"}
    ours = layer.keys() & _PAPER_WEIGHTS.keys()
    if paper and ours:
        raise ValueError(
            f"--{min(paper)} and --{min(ours)}: alpha and beta take the place of content_weight "
            "and style_weight. Give weights of one kind."
        )
    kind = "gatys" if paper else "relative" if ours else options["formula"]
    kind = layer.get("formula", kind)
    if kind != options["formula"]:
        # A weight of the other formula means nothing in this one.
        defaults = _defaults()
        weights = (
            _PAPER_WEIGHTS if kind == "gatys" else {name: defaults[name] for name in _PAPER_WEIGHTS}
        )
        options = options | {"formula": kind} | weights
    names = {"alpha": "content_weight", "beta": "style_weight"}
    return options | {names.get(name, name): value for name, value in layer.items()}


def _remembered(picture: str) -> dict:
    """What `_optimize` noted in a picture. Anyone may have made it: all is checked as flags are."""
    from tfstyle import images

    text = images.read_text(picture).get(_SETTINGS)
    if text is None:
        raise ValueError(
            f"--again {picture}: no settings in it. Give a picture as tfstyle optimize wrote it; "
            "most programs that edit or send pictures drop them."
        )
    kinds = {name: kind for flags in _knobs().values() for name, (_, kind, _) in flags.items()}
    kinds["formula"] = _word({word: word for word in _words("gatys.optimize", "formula")})
    defaults = _defaults()

    def option(name, value):
        if value is None and (defaults[name] is None or name == "size"):
            return None
        if kinds[name] is bool and isinstance(value, bool):
            return value
        return kinds[name](_text(value))

    def path(value, *others):
        if value not in others and not isinstance(value, str):
            raise TypeError(f"{value} is no path")
        return value

    try:
        told = json.loads(text)
        found = {
            "content": path(told["content"]),
            "styles": [
                {
                    "path": path(style["path"]),
                    "weight": _number(float, 0, above=True)(style["weight"]),
                    "mask": path(style["mask"], None),
                    "style_mask": path(style["style_mask"], None),
                }
                for style in told["styles"]
            ],
            "options": {name: option(name, value) for name, value in told["options"].items()},
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
        raise ValueError(
            f"--again {picture}: its settings are damaged, or of another version of tfstyle "
            f"({type(error).__name__}: {error})."
        ) from error


def _style(text: str) -> dict:
    """FILE[:WEIGHT[:MASK[:STYLE_MASK]]], where files may have colons in their names."""
    path, rest = _leading_file(text)
    if path is None:
        raise ValueError(f"--style {text}: no such file. Give FILE[:WEIGHT[:MASK[:STYLE_MASK]]].")
    weight, _, rest = rest.partition(":")
    try:
        weight = _number(float, 0, above=True)(weight or "1")
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"--style {text}: weight {error}.") from None
    mask, style_mask = _leading_file(rest)
    if mask is None and rest.startswith(":"):
        style_mask = rest[1:]
    elif mask is None and rest:
        raise ValueError(f"--style {text}: mask {rest}: no such file.")
    if style_mask and not os.path.isfile(style_mask):
        raise ValueError(f"--style {text}: style mask {style_mask}: no such file.")
    return {"path": path, "weight": weight, "mask": mask, "style_mask": style_mask or None}


def _leading_file(text: str) -> tuple[str | None, str]:
    """(the longest file's name that a text begins with, what stands behind the colon after it)."""
    for end in [len(text), *(i for i in reversed(range(len(text))) if text[i] == ":")]:
        if os.path.isfile(text[:end]):
            return text[:end], text[end + 1 :]
    return None, text


def _outputs(args, options: dict, inputs: list[str]) -> tuple[Path, Path | None]:
    """(OUT, video or None), of which neither replaces an input."""
    from tfstyle import images

    output, clip = Path(args.output), Path(args.video) if args.video else None
    if output.suffix.lower() not in images.WRITTEN_SUFFIXES:
        raise ValueError(
            f"-o {output}: cannot write {output.suffix or 'a file without suffix'}. Give "
            f"{', '.join(images.WRITTEN_SUFFIXES)}."
        )
    if options["bits"] == 16 and output.suffix.lower() != ".png":
        raise ValueError(f"-o {output}: 16 bits go into .png only. Give that, or --bits 8.")
    taken = {Path(name).resolve() for name in [*inputs, *([args.again] if args.again else [])]}
    snapshot = re.compile(rf"{re.escape(output.stem)}\.\d+-\d+{re.escape(output.suffix)}")
    for path in taken if args.save_every else ():
        if path.parent == output.parent.resolve() and snapshot.fullmatch(path.name):
            raise ValueError(
                f"{path}: an input, which --save_every might replace. Give another -o."
            )
    for flag, path in (("-o", output), ("--video", clip)):
        if path is None:
            continue
        if path.resolve() in taken:
            raise ValueError(f"{path}: an input, which is never replaced. Give another {flag}.")
        if path.is_dir():
            raise ValueError(f"{flag} {path}: a folder. Give a file in it.")
    return output, clip


def _snapshots(output: Path, every: int, write: Callable) -> Callable:
    """A listener of `_Watch` that writes the picture after every so many steps."""

    def listen(progress):
        if progress.step % every == 0:
            name = f"{output.stem}.{progress.scale + 1}-{progress.step:04}{output.suffix}"
            figures = {"scale": progress.scale + 1, "step": progress.step}
            figures |= {"seconds": round(progress.seconds, 3), "losses": progress.losses}
            write(output.with_name(name), progress.image, figures)

    return listen


def _frames(writer, fps: float, size: tuple[int, int]) -> Callable:
    """A listener of `_Watch` that films about ten seconds, at the size of the final picture."""
    from tfstyle import images

    def listen(progress):
        every = max(1, round(progress.steps * progress.scales / (10 * fps)))
        if progress.step % every == 0:
            writer.add(images.resize(progress.image, size))

    return listen


class _Watch:
    """The callback of `gatys.optimize`: a bar for each scale, and what else listens.

    While it is entered, the first Ctrl-C ends the run with the picture so far, and a second one, or
    one before there is a picture, at once.
    """

    def __init__(self):
        self.others: list[Callable] = []
        self.interrupted = False
        self._last = self._bar = None

    def __enter__(self):
        self._previous = signal.getsignal(signal.SIGINT)
        with contextlib.suppress(ValueError):  # not in the main thread: nothing to install
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, kind, *_):
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGINT, self._previous)
        self._end_scale(completed=kind is None)

    def _note(self, *_):
        if self.interrupted or self._last is None:
            raise KeyboardInterrupt
        self.interrupted = True
        # Not print: a signal may come while something else prints.
        with contextlib.suppress(OSError):
            os.write(2, b"\ntfstyle: writing the picture so far; Ctrl-C again writes nothing\n")

    def __call__(self, progress) -> bool:
        import tqdm

        if self._last is None or progress.scale != self._last.scale:
            self._end_scale()
            self._bar = tqdm.tqdm(
                desc=_scale(progress), total=progress.steps, unit="step", disable=None
            )
        self._bar.set_postfix_str(_losses(progress.losses), refresh=False)
        self._bar.update(progress.step - self._bar.n)
        self._last = progress
        for listen in self.others:
            listen(progress)
        return self.interrupted

    def _end_scale(self, completed: bool = True):
        if self._bar is None:
            return
        last, silent = self._last, self._bar.disable
        self._bar.close()
        self._bar = None
        if silent and completed:
            told = f"{last.step} of {last.steps} steps, {last.seconds:.1f} s"
            _complain("tfstyle", f"{_scale(last)}: {told}, {_losses(last.losses)}")


def _scale(progress) -> str:
    height, width = progress.size
    return f"{width}x{height} ({progress.scale + 1}/{progress.scales})"


def _losses(losses: dict[str, float]) -> str:
    return f"content {losses['content']:.4g}, style {losses['style']:.4g}"


def _add_learn(commands):
    model = _default("learning.learn", "model")
    parser = commands.add_parser(
        "learn",
        help="make a model of a painting of your own, in about a minute",
        description="Teaches a model of several styles one more: a painting of your own.",
        epilog=f"""\
Only the style's own numbers are fitted; all else is that of {model}. The new model has the new
style first and then all of the old one's, to blend with; it is stylized with, exported and served
as any other.

Examples:
  tfstyle learn painting.jpg --name mine
  tfstyle stylize photo.jpg --model mine
  tfstyle stylize photo.jpg --model mine --style mine:2,great_wave:1
  tfstyle learn painting.jpg --name bolder --style_weight 20 --count 400 --content photos/""",
    )
    parser.add_argument("painting", metavar="PAINTING", help="the image to learn from")
    parser.add_argument(
        "--name",
        metavar="NAME",
        help="of the model and its style: letters, digits, _ and - (default: the file's)",
    )
    parser.add_argument(
        "--model",
        metavar="MODEL",
        default=model,
        help=f"the model that is taught, of several styles (default {model})",
    )
    parser.add_argument(
        "--content", metavar="DIR", default="", help="photos to fit on (default: the bundled ones)"
    )
    options = {
        "count": (_number(int, 1), "steps; more come nearer to the painting"),
        "style_size": (_number(int, 64), "longest side of the painting; larger: larger strokes"),
        "style_weight": (_number(float, 0, above=True), "more gives more of the painting"),
        "content_weight": (_number(float, 0), "more keeps more of the photo"),
        "seed": (_number(int, 0), "decides the crops"),
    }
    for name, (kind, text) in options.items():
        default = _default("learning.learn", name)
        parser.add_argument(
            f"--{name}", metavar="N", type=kind, default=default, help=f"{text} (default {default})"
        )
    parser.add_argument(
        "--title", default="", help="of the painting, with its painter, for the model card"
    )
    parser.add_argument("--licence", default="", help="of the new model, for its card")
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        default="saved_models",
        help="where the model is written; it is found by name in saved_models (default)",
    )
    parser.set_defaults(function=_learn)


def _learn(args) -> int:
    from tfstyle import images

    painting = images.read(args.painting)
    name = args.name or re.sub(r"[^A-Za-z0-9_-]+", "_", Path(args.painting).stem)
    import tqdm

    from tfstyle import export, learning

    export.check_name(name)
    options = {
        key: getattr(args, key)
        for key in ("count", "style_size", "style_weight", "content_weight", "seed")
    }
    with tqdm.tqdm(total=args.count, unit="step", desc=name, disable=None) as bar:

        def progress(_, losses):
            bar.set_postfix({key: f"{losses[key]:.3g}" for key in ("content", "style")})
            bar.update()

        learned = learning.learn(
            painting, name, model=args.model, content=args.content, progress=progress, **options
        )
    exported = export.export(
        learned.generator,
        name,
        directory=args.output,
        styles=learned.styles,
        card={
            **learned.card,
            "style": "; ".join(filter(None, (args.title or name, learned.card.get("style")))),
            "licence": args.licence,
            "learned": {
                "painting": Path(args.painting).name,
                "from": str(args.model),
                "nearest": learned.nearest,
                **options,
                "losses": learned.losses,
            },
        },
    )
    print(f"Learned     {name}, from {learned.nearest} of {args.model}")
    for path in (exported.saved_model, *exported.tflite.values(), exported.card):
        print(f"Wrote       {path}")
    print(f"Use it      tfstyle stylize photo.jpg --model {exported.tflite['float32']}")
    return 0


def _add_evaluate(commands):
    parser = commands.add_parser(
        "evaluate",
        help="measure how much style pictures took on and how much content they kept",
        description="Measures how much style pictures took on and how much content they kept.",
        epilog="""\
style distance     between the Gram matrices of picture and style: 0 is the style itself
relative to photo  the same, as a share of the photo's own: 1 where nothing was stylized
content distance   between the features of picture and photo: 0 is the photo itself

Examples:
  tfstyle evaluate painted.jpg --content photo.jpg --style painting.jpg
  tfstyle evaluate painted/ --content photos/ --style painting.jpg --json

Photos in a folder are matched to the pictures by name: photo.jpg to photo.png, photo.NAME.jpg.""",
    )
    parser.add_argument(
        "outputs", nargs="+", metavar="OUTPUT", help="stylized images, or folders of such"
    )
    parser.add_argument(
        "--content",
        nargs="+",
        required=True,
        metavar="C",
        help="the photo; or one for each picture, in the same order; or a folder of them",
    )
    parser.add_argument("--style", required=True, metavar="S", help="the style image")
    size = _default("metrics.evaluate", "size")
    parser.add_argument(
        "--size",
        metavar="N",
        type=_number(int, 16),
        default=size,
        help=f"longest side at which images are compared, in pixels (default {size}); only "
        "distances at one size can be compared",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(function=_evaluate)


def _evaluate(args) -> int:
    import tqdm

    from tfstyle import features, images, metrics

    outputs = [file for name in args.outputs for file in images.list_images(name)]
    if not outputs:
        raise ValueError(f"{', '.join(args.outputs)}: no images to evaluate.")
    contents = _contents(outputs, args.content)
    style = images.read(args.style)
    extractor = features.vgg16(metrics.LAYERS)
    scores = [
        dataclasses.asdict(
            metrics.evaluate(
                images.read(output),
                images.read(content),
                style,
                extractor=extractor,
                size=args.size,
            )
        )
        for output, content in tqdm.tqdm(
            list(zip(outputs, contents, strict=True)),
            unit="image",
            disable=None if len(outputs) > 1 else True,
        )
    ]
    mean = {key: sum(score[key] for score in scores) / len(scores) for key in scores[0]}
    if args.json:
        judged = [
            {"output": str(output), "content": str(content), **score}
            for output, content, score in zip(outputs, contents, scores, strict=True)
        ]
        told = {"style": args.style, "size": args.size, "images": judged, "mean": mean}
        print(json.dumps(told, indent=2))
        return 0
    columns = {
        "style distance": "style_distance",
        "relative to photo": "relative_style_distance",
        "content distance": "content_distance",
    }
    named = list(zip(map(str, outputs), scores, strict=True))
    if len(named) > 1:
        named.append(("mean", mean))
    _print_table(
        ["output", *columns],
        [[name, *(f"{score[key]:.4f}" for key in columns.values())] for name, score in named],
    )
    return 0


def _contents(outputs: list[Path], contents: list[str]) -> list[Path]:
    """The photo of each output: one for all, one for each, or from a folder by name."""
    from tfstyle import images

    if len(contents) == 1 and os.path.isdir(contents[0]):
        photos = images.list_images(contents[0])
        return [_photo_of(output, photos, contents[0]) for output in outputs]
    if len(contents) not in (1, len(outputs)):
        raise ValueError(
            f"--content: {len(contents)} photos for {len(outputs)} pictures. Give one for all, one "
            "for each in the same order, or a folder with photos of the same names."
        )
    return [Path(content) for content in contents] * (len(outputs) // len(contents))


def _photo_of(output: Path, photos: list[Path], folder: str) -> Path:
    # `tfstyle stylize` makes photo.MODEL.jpg of photo.jpg.
    fitting = [photo for photo in photos if f"{output.stem}.".startswith(f"{photo.stem}.")]
    longest = max((len(photo.stem) for photo in fitting), default=0)
    best = [photo for photo in fitting if len(photo.stem) == longest]
    if len(best) != 1:
        found = " and ".join(map(str, best)) or "none"
        raise ValueError(
            f"{output}: which photo in {folder} is it of? Found {found}. Name the photos in the "
            "order of the pictures: --content C1 C2 ..."
        )
    return best[0]


def _add_explain(commands):
    parser = commands.add_parser(
        "explain",
        help="say why a picture looks as it does, and test what is said",
        description="Says why a stylized picture looks as it does, and tests what it says.",
        epilog="""\
The page says in sentences and maps where the losses come from, which strokes still differ from the
style, and what each layer sees of it. Of a model whose network is known (one that `tfstyle models`
lists, a .keras file, or a folder runs/NAME of pipelines.gan) also what its skip connections do,
which units paint what, what the weights of the losses do, whether noise is heeded, in which
directions styles can be steered, and why the discriminator takes a picture for real. At the end
stand two changes that follow from the largest findings, tried, with their figures. Every
explanation stands beside tests that it could have failed, with their verdict. Beside report.html
lie report.json (all numbers) and .npz files (the maps).

Budgets, at 256 pixels on two cores: quick, under 2 minutes; full, under 20, with more layers,
styles and units.

Examples:
  tfstyle explain starry_night --content photo.jpg --style painting.jpg -o report.html
  tfstyle explain painted.png --content photo.jpg --style painting.jpg -o report.html --strict
  tfstyle explain runs/van_gogh --content photo.jpg --style painting.jpg -o report.html \\
      --budget full""",
    )
    parser.add_argument(
        "model",
        metavar="MODEL|RUN|PICTURE",
        help="a model, as `tfstyle stylize --model` takes it, a folder runs/NAME of pipelines.gan, "
        "or a stylized picture, such as one that `tfstyle optimize` made",
    )
    parser.add_argument("--content", required=True, metavar="C", help="the photo")
    parser.add_argument("--style", required=True, metavar="S", help="the style image")
    parser.add_argument(
        "-o", "--output", "--out", required=True, metavar="HTML", help="the page to write"
    )
    parser.add_argument(
        "--budget",
        metavar="NAME",
        type=_choice(("quick", "full")),
        default="quick",
        help="quick or full: how long it may take (default quick)",
    )
    parser.add_argument(
        "--size",
        metavar="N",
        type=_number(int, 64),
        default=256,
        help="longest side at which all is compared, in pixels (default 256)",
    )
    parser.add_argument(
        "--seed", metavar="N", type=_number(int, 0), default=0, help="of the tests' random draws"
    )
    parser.add_argument("--strict", action="store_true", help="exit code 1 where a verdict is FAIL")
    parser.set_defaults(function=_explain)


def _explain(args) -> int:
    import tqdm

    from tfstyle import images

    if Path(args.output).suffix != ".html":
        raise ValueError(f"-o {args.output}: give a name that ends in .html")
    content, style = (images.fit(images.read(p), args.size) for p in (args.content, args.style))
    for name, image in ((args.content, content), (args.style, style)):
        if min(image.shape[:2]) < 32:
            raise ValueError(
                f"{name}: {image.shape[1]}x{image.shape[0]} pixels at --size {args.size}: 32 a "
                "side are needed"
            )
    try:
        from tfstyle.explain import report, survey
    except ModuleNotFoundError as error:
        raise ValueError(
            f"explanations need {error.name}: pip install 'tfstyle[explain]'"
        ) from error

    work = survey.of(args.model, content=content, style=style, budget=args.budget, seed=args.seed)
    found = []
    # Costs are seconds on two cores, so that the time left is about right from the start.
    with tqdm.tqdm(
        total=sum(job.cost for job in work.jobs),
        disable=None,
        bar_format="{l_bar}{bar}| {elapsed} gone, {remaining} left{postfix}",
    ) as bar:
        for job in work.jobs:
            bar.set_postfix_str(job.name)
            done = 0.0

            def tell(job=job):
                nonlocal done
                part = min(job.cost / max(job.parts, 1), job.cost - done)
                done += part
                bar.update(part)

            result = job.run({each.name: each for each in found}, tell)
            bar.update(job.cost - done)
            if result is not None:
                found.append(result)
    Path(args.output).parent.mkdir(parents=True, exist_ok=True)
    files = report.write(
        args.output,
        found,
        title=f"Why {Path(args.model).name} looks like that",
        pictures={"photo": content, "style": style, "picture": work.picture},
        ground="picture",
    )
    for each in found:
        print(f"{each.verdict:<11} {each.question} {each.summary}")
    print(f"Report      {files[0]}")
    return 1 if args.strict and any(each.verdict == "FAIL" for each in found) else 0


def _add_verify(commands):
    parser = commands.add_parser(
        "verify",
        help="say what made a picture, from its metadata and signature",
        description="Says what made a picture, as its metadata and its signature tell.",
        epilog="""\
Every picture of `stylize` and `optimize` says in its metadata that it is AI-generated, by which
model and version. Most programs that edit or send pictures drop that, and anyone can change it. A
picture made with --sign CERT KEY carries a signed manifest besides (Content Credentials, C2PA),
which shows any change since. It needs: pip install 'tfstyle[c2pa]'

States: Valid (unchanged since it was signed), Trusted (and the signer is on a list of trust),
Invalid (changed, or the signature is broken).

Exit code: 0 where what made the picture is told and no signature is broken, 1 where not.

Examples:
  tfstyle verify painted.jpg
  tfstyle stylize photo.jpg -o painted.jpg --sign chain.pem key.pem""",
    )
    parser.add_argument("picture", metavar="PICTURE", help="an image file")
    parser.add_argument("--json", action="store_true", help="print all of it as JSON")
    parser.set_defaults(function=_verify)


def _verify(args) -> int:
    from tfstyle import provenance

    plain = provenance.found(args.picture)
    signed = provenance.verified(args.picture) if provenance.can_verify() else None
    made = plain["made"] or (signed or {}).get("made")
    source = plain["source_type"] or (signed or {}).get("source_type")
    if args.json:
        print(json.dumps({"file": args.picture, "metadata": plain, "signed": signed}, indent=2))
    else:
        told = ", ".join(f"{key} {value}" for key, value in (plain["made"] or {}).items())
        print(f"Made by     {told or 'nothing in its metadata'}")
        print(f"Source      {source.rpartition('/')[2] if source else 'not told'}")
        if signed:
            by = signed["signer"] or "unknown"
            why = f" ({', '.join(signed['problems'])})" if signed["problems"] else ""
            print(f"Signature   {signed['state']}, by {by}{why}")
            told = ", ".join(f"{key} {value}" for key, value in (signed["made"] or {}).items())
            print(f"Signed      {told or 'nothing about what made it'}")
        elif not provenance.can_verify():
            print("Signature   not looked for: pip install 'tfstyle[c2pa]'")
        else:
            print("Signature   none")
    return 1 if not made or (signed and signed["state"] == "Invalid") else 0


def _add_models(commands):
    parser = commands.add_parser(
        "models",
        help="list the models that --model takes by name",
        description="Lists the models that --model takes by name: those in saved_models/ of the "
        "current folder, of the checkout, and of the installed package.",
    )
    parser.add_argument("--json", action="store_true", help="print their cards as JSON")
    parser.set_defaults(function=_models)


def _models(args) -> int:
    from tfstyle import inference

    cards = inference.shipped_models()
    if args.json:
        print(json.dumps(cards, indent=2))
        return 0
    rows = []
    for card in cards:
        path = Path(card["paths"].get("tflite", card["paths"]["card"]))
        size = f"{path.stat().st_size / 1e6:.2f} MB" if path.suffix == ".tflite" else "-"
        told = [str(card.get(key) or "-") for key in ("style", "licence", "version")]
        if card.get("styles"):
            told[0] = ", ".join(card["styles"])
        rows.append([card["name"], size, *told, str(path.parent)])
    _print_table(["name", "size", "style", "licence", "version", "where"], rows)
    return 0


_SOURCE = """\
SOURCE: a folder (searched to the bottom), files, tfds:NAME:SPLIT or records:FOLDER; several are
separated by commas. Images that cannot be read are left out and named; if these are more than a
tenth, nothing is written."""


def _add_records(commands):
    parser = commands.add_parser(
        "records",
        help="write training images into TFRecord shards",
        description="Writes training images into TFRecord shards, which pipelines read as "
        "records:FOLDER.",
        epilog=f"""\
{_SOURCE}

Each image is checked once, here; a training on records does not check it again, and reads few
large files instead of many small ones. Any TFRecord reader takes the shards: tf.train.Example with
"image" (bytes of a JPEG or PNG) and "name".

Examples:
  tfstyle records photos/ -o photos.records --shards 16 --max_size 768
  make train CONTENT=records:photos.records""",
    )
    parser.add_argument("source", metavar="SOURCE", help="images, see below")
    parser.add_argument("-o", "--output", metavar="FOLDER", required=True, help="to make")
    parser.add_argument(
        "--shards", metavar="N", type=_number(int, 1), default=1, help="files (default 1)"
    )
    _add_max_size(parser)
    parser.set_defaults(function=_records)


def _add_max_size(parser):
    parser.add_argument(
        "--max_size",
        metavar="N",
        type=_number(int, 1),
        help="first shrink what has a longer side than this many pixels",
    )


def _records(args) -> int:
    import tqdm

    from tfstyle import data, records

    encoded, report = data.checked_images(args.source, max_size=args.max_size)
    # With disable=None tqdm is silent where stderr is no terminal.
    progress = tqdm.tqdm(encoded, total=report.total, unit="image", disable=None)
    shards = records.write(args.output, progress, shards=args.shards)
    _name_skipped(report)
    size = sum(path.stat().st_size for path in shards) / 1e6
    count = report.seen - len(report.skipped)
    print(f"{args.output}: {count} images, {len(shards)} shards, {size:.1f} MB")
    print(f"Train on it as records:{args.output}")
    return 0


def _name_skipped(report):
    for name, reason in report.skipped:
        _complain("tfstyle", f"{name}: {reason}", "left out: ")


def _add_dataset(commands):
    version = _default("datasets.prepare", "version")
    parser = commands.add_parser(
        "dataset",
        help="make a TFDS dataset of content and style images",
        description="Makes a TensorFlow Datasets dataset of two folders of images, with the splits "
        "content and style.",
        epilog=f"""\
{_SOURCE}

Example:
  tfstyle dataset --content photos/ --style paintings/ --name monet
  make train PIPELINE=gan CONTENT=tfds:monet:content STYLE=tfds:monet:style""",
    )
    for name in ("content", "style"):
        parser.add_argument(f"--{name}", metavar="SOURCE", required=True, help="images, see below")
    parser.add_argument("--name", metavar="NAME", required=True, help="of the dataset")
    parser.add_argument(
        "--version", metavar="X.Y.Z", default=version, help=f"of the dataset (default {version})"
    )
    parser.add_argument(
        "--data_dir",
        metavar="FOLDER",
        help="of TFDS (default $TFDS_DATA_DIR, else ~/tensorflow_datasets)",
    )
    _add_max_size(parser)
    parser.set_defaults(function=_dataset)


def _dataset(args) -> int:
    import tensorflow_datasets as tfds

    from tfstyle import datasets

    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    with contextlib.redirect_stdout(sys.stderr):  # TFDS prints what it does
        folder, reports = datasets.prepare(
            args.name,
            content=args.content,
            style=args.style,
            version=args.version,
            max_size=args.max_size,
            data_dir=args.data_dir,
        )
    for report in reports.values():
        _name_skipped(report)
    told = [f"{r.seen - len(r.skipped)} {split}" for split, r in reports.items()]
    print(f"{folder}: {', '.join(told)}")
    where = f" (with TFDS_DATA_DIR={args.data_dir})" if args.data_dir else ""
    print(f"Train on it as tfds:{args.name}:content and tfds:{args.name}:style{where}")
    return 0


def _add_export(commands):
    variants = ast.literal_eval(_constant("device", "VARIANTS"))
    parser = commands.add_parser(
        "export",
        help="make TFLite files for phones, boards and browsers",
        usage="tfstyle export MODEL --tflite VARIANT[,...] -o OUT [flags]",
        description="Makes TFLite files of a model, measures each, and keeps those that agree with "
        "it.",
        epilog="""\
Variants:
  float32   as trained
  float16   half the size, as accurate
  dynamic   a quarter of the size and quicker: int8 weights, activations quantised as they come
  int8      both in int8, with ranges seen on --calibration photos

All take and give float32 in [0, 1], have the signature serving_default (images, and style_weights
where there are several styles, to stylized), use built-in operations alone, and say inside what
they are. Beside them lies NAME.tflite.json: sizes, time at 1 and 2 threads, difference from the
model. A variant that differs too much is not written, and the exit code is 1.

Examples:
  tfstyle export starry_night --tflite float32,dynamic -o device/
  tfstyle export starry_night --tflite float32 --size 384x512 -o device/
  tfstyle export model.keras --tflite int8 --calibration photos/ -o model.int8.tflite""",
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a .keras file, a run's folder (runs/NAME or runs/NAME/best), the folder of a "
        "SavedModel, or a name that `tfstyle models` lists",
    )
    parser.add_argument(
        "--tflite",
        metavar="VARIANT,...",
        required=True,
        type=_several(_choice(variants)),
        help=", ".join(variants),
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT", required=True, help="a folder, or one .tflite file"
    )
    parser.add_argument(
        "--size",
        metavar="HxW|any",
        type=lambda text: None if text == "any" else _size(text),
        help="height and width in pixels that alone the files take, as LiteRT.js wants it "
        "(default any)",
    )
    parser.add_argument(
        "--calibration", metavar="DIR", help="photos (folder or file) that int8 sees its ranges on"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(function=_export)


def _several(kind: Callable) -> Callable:
    """A type for argparse: words of a kind, separated by commas."""
    return lambda text: [kind(part.strip()) for part in text.split(",")]


def _size(text: str) -> tuple[int, int]:
    """A type for argparse: HxW -> (height, width)."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if not match or not int(match[1]) or not int(match[2]):
        raise argparse.ArgumentTypeError(f"{text}: give height and width, such as 384x512")
    return int(match[1]), int(match[2])


def _export(args) -> int:
    from tfstyle import device, images

    if ("int8" in args.tflite) != bool(args.calibration):
        raise ValueError(
            "int8 needs --calibration, a folder of photos to see its ranges on"
            if "int8" in args.tflite
            else "--calibration is for int8 alone: leave it out, or add int8 to --tflite"
        )
    photos = []
    if args.calibration:
        found = images.list_images(args.calibration)[: device.MAX_CALIBRATION_PHOTOS]
        photos = [images.fit(images.read(path), 512) for path in found]
        if not photos:
            raise ValueError(f"--calibration {args.calibration}: no images in it")
    report = device.export(
        device.read(args.model),
        args.tflite,
        args.output,
        size=args.size,
        calibration=photos,
        progress=lambda text: _complain("tfstyle", text),
    )
    if args.json:
        print(json.dumps(report.content, indent=2))
    else:
        _print_table(
            ["variant", "size", "1 thread", "2 threads", "max/255", "mean/255", "bound", "file"],
            [_export_row(*item) for item in report.content["variants"].items()],
        )
        height, width = report.content["timed_size"]
        print(f"Times at {height}x{width} on {report.content['machine']}")
        if report.path:
            print(f"Report {report.path}")
    for sentence in report.refused.values():
        _complain("tfstyle", sentence, "refused: ")
    return 1 if report.refused else 0


def _export_row(variant: str, entry: dict) -> list[str]:
    parity = entry["parity"]
    return [
        variant,
        f"{entry['bytes'] / 1e6:.2f} MB",
        *(f"{entry['milliseconds'][threads]:.1f} ms" for threads in ("1", "2")),
        *(f"{255 * parity[measure]:.3f}" for measure in ("max", "mean")),
        f"{parity['measure']} {255 * parity['bound']:.2f}",
        entry["file"] if entry["kept"] else "refused",
    ]


def _add_web(commands):
    parser = commands.add_parser(
        "web",
        help="serve a page that paints photos in the browser",
        description="Serves a page in which the browser itself paints photos: they never leave it.",
        epilog="""\
With -o the page is written into a folder and not served: any web server can serve it. Threads,
which make it about twice as fast, need two headers from it (docs/device.md), the camera https://.

A MODEL is converted to fixed sizes first, which needs TensorFlow; .tflite files of fixed sizes,
which `tfstyle export --size` makes, are taken as they are.

Examples:
  tfstyle web
  tfstyle web --model starry_night --sizes 768x1024,1024x768 --port 8080
  tfstyle web --model mine.384x512.tflite --model mine.512x384.tflite
  tfstyle web -o site/""",
    )
    parser.add_argument(
        "--model",
        metavar="MODEL",
        action="append",
        help=f"as `tfstyle export` takes it, or a .tflite file of a fixed size; several may be "
        f"given (default {_MODEL})",
    )
    sizes = ast.literal_eval(_constant("web", "SIZES"))
    parser.add_argument(
        "--sizes",
        metavar="HxW,...",
        type=_several(_size),
        default=list(sizes),
        help="heights and widths that are painted; the page takes the one nearest to the photo's "
        f"shape (default {','.join(f'{height}x{width}' for height, width in sizes)})",
    )
    variant = _default("web.build", "variant")
    parser.add_argument(
        "--variant",
        metavar="VARIANT",
        type=_choice(["float32", "float16", "dynamic"]),
        default=variant,
        help=f"float32, float16 or dynamic, of what is converted (default {variant})",
    )
    host, port = _default("web.serve", "host"), _default("web.serve", "port")
    parser.add_argument(
        "--host",
        metavar="ADDRESS",
        default=host,
        help=f"to listen on; 0.0.0.0 lets other machines in (default {host})",
    )
    parser.add_argument(
        "--port",
        metavar="N",
        type=_number(int, 0, 65535),
        default=port,
        help=f"0 for any that is free (default {port})",
    )
    parser.add_argument("-o", "--output", metavar="DIR", help="write the page here, and stop")
    parser.set_defaults(function=_web)


def _web(args) -> int:
    from tfstyle import web

    options = {
        "sizes": args.sizes,
        "variant": args.variant,
        "progress": lambda text: _complain("tfstyle", text),
    }
    models = args.model or [_MODEL]
    if args.output:
        print(f"Page {web.build(args.output, models, **options)}")
        return 0
    _serve_page(models, args.host, args.port, **options)
    return 0


def _serve_page(models, host: str, port: int, **options):
    from tfstyle import web

    # SIGTERM ends it as Ctrl-C does, so that the temporary folder goes.
    with contextlib.suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    web.serve(
        models,
        host=host,
        port=port,
        announce=lambda url: print(f"Open {url} (Ctrl-C ends)", flush=True),
        **options,
    )


def _add_serve(commands):
    port, rest_port = (
        ast.literal_eval(_constant("serving/config", "PORTS"))[kind] for kind in ("grpc", "rest")
    )
    image = ast.literal_eval(_constant("serving/config", "IMAGE"))
    parser = commands.add_parser(
        "serve",
        help="serve models over REST and gRPC",
        description="Serves models with TensorFlow Serving: writes its files, and starts it where "
        "it is.",
        epilog=f"""\
MODEL: a name that `tfstyle models` lists, or a folder of numbered versions (NAME/1/saved_model.pb).
A new version that appears in the folder is served from then on.

Started is the first that is there: tensorflow_model_server on PATH, {image} in
docker, the same in podman. Where there is none, --dev runs a small server that keeps the same
contract; it is for trying out and for tests, not for the open network.

Examples:
  tfstyle serve starry_night
  tfstyle serve mine fusion --dir serving/ --write_only
  tfstyle serve starry_night --dev
  curl localhost:{rest_port}/v1/models/starry_night
  tfstyle client http://localhost:{rest_port} photo.jpg -o out.png""",
    )
    parser.add_argument(
        "models",
        nargs="*",
        default=[_MODEL],
        metavar="MODEL",
        help=f"what to serve (default {_MODEL})",
    )
    parser.add_argument(
        "--host",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="to listen on: 0.0.0.0 is all of this machine's (default 127.0.0.1, which nobody else "
        "reaches); tensorflow_model_server on PATH always listens on all",
    )
    for name, number, text in (("port", port, "gRPC"), ("rest_port", rest_port, "REST")):
        parser.add_argument(
            f"--{name}",
            metavar="N",
            type=_number(int, 0, 65535),
            default=number,
            help=f"of {text} (default {number})",
        )
    parser.add_argument(
        "--web",
        action="store_true",
        help="serve the page that paints in the browser itself, at --rest_port; `tfstyle web` has "
        "more flags for it",
    )
    group = parser.add_argument_group("TensorFlow Serving")
    group.add_argument(
        "--dir",
        metavar="DIR",
        default="serving",
        help="where models.config, monitoring.config and batching.config are written (default "
        "serving)",
    )
    group.add_argument(
        "--write_only", action="store_true", help="write them, print the command, start nothing"
    )
    group.add_argument(
        "--with",
        dest="server",
        metavar="WORD",
        type=_choice(ast.literal_eval(_constant("serving/config", "SERVERS"))),
        help="tensorflow_model_server, docker or podman (default: the first that is there)",
    )
    group.add_argument("--image", default=image, help=f"of the container (default {image})")
    group.add_argument(
        "--batching",
        action="store_true",
        help="compute requests together; only for clients that all send one size of image, or "
        "files",
    )
    group = parser.add_argument_group("development server")
    group.add_argument("--dev", action="store_true", help="run it")
    options = {
        "workers": (_number(int, 1), "batches computed at the same time"),
        "queue": (_number(int, 1), "requests that may wait; more are refused (429)"),
        "poll_seconds": (_number(float, 0, above=True), "between two looks for new versions"),
        "grace_seconds": (_number(float, 0), "that a stop waits for requests taken in"),
    }
    for name, (kind, text) in options.items():
        default = _default("serving/server.DevServer.__init__", name)
        group.add_argument(
            f"--{name}",
            metavar="N",
            type=kind,
            default=default,
            help=f"{text} (default {default:g})",
        )
    group.add_argument(
        "--max_request_mb",
        metavar="N",
        type=_number(int, 1, 2000),
        default=64,
        help="of a request (default 64)",
    )
    parser.set_defaults(function=_serve)


def _serve(args) -> int:
    from tfstyle import inference
    from tfstyle.serving import config

    if args.web:
        _serve_page(
            args.models,
            args.host,
            args.rest_port,
            progress=lambda text: _complain("tfstyle", text),
        )
        return 0
    if args.port == args.rest_port != 0:
        raise ValueError(f"--port and --rest_port {args.port}: give two")
    if not args.dev and 0 in (args.port, args.rest_port):
        raise ValueError("port 0: only --dev and --web take any that is free. Give a number")
    models = config.find_models(args.models, inference.model_folders())
    if args.dev:
        return _serve_dev(args, models)
    server = args.server or config.find_server()
    if server is None and not args.write_only:
        raise ValueError(
            f"no TensorFlow Serving here: neither {config.BINARY} on PATH, nor docker or podman "
            "that answers. Install one of them; or add --write_only to write its files for another "
            "machine, or --dev for the development server"
        )
    server = server or config.ENGINES[0]
    if not args.write_only and not shutil.which(server):
        raise ValueError(f"{server}: not on PATH. Install it, or leave out --with")
    inside = models if server == config.BINARY else config.container_paths(models)
    batching = config.batching_config() if args.batching else None
    files = config.write(args.dir, inside, batching=batching)
    ports = {"port": args.port, "rest_port": args.rest_port}
    if server == config.BINARY:
        command = config.server_command(files, **ports)
    else:
        command = config.container_command(
            server, files, models, host=args.host, image=args.image, **ports
        )
    for path in (files.models, files.monitoring, files.batching):
        if path:
            print(f"Wrote   {path}")
    print(f"{'Command' if args.write_only else 'Runs   '} {shlex.join(command)}", flush=True)
    if args.write_only:
        return 0
    os.execvp(command[0], command)


def _serve_dev(args, models: dict[str, Path]) -> int:
    try:
        from tfstyle.serving import server
    except ModuleNotFoundError as error:
        raise ValueError(
            f"the development server needs {error.name}: pip install 'tfstyle[serving]'"
        ) from error
    import logging

    logging.basicConfig(format="tfstyle: %(message)s", level=logging.WARNING)
    logging.getLogger("tfstyle").setLevel(logging.INFO)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    development = server.DevServer(
        models,
        host=args.host,
        port=args.port,
        rest_port=args.rest_port,
        workers=args.workers,
        queue=args.queue,
        max_request_bytes=args.max_request_mb * 2**20,
        poll_seconds=args.poll_seconds,
        grace_seconds=args.grace_seconds,
    )

    def announce():
        print(f"Development server of {', '.join(models)}; Ctrl-C ends it")
        print(f"REST    http://{args.host}:{development.rest_port}/v1/models/{next(iter(models))}")
        print(f"gRPC    grpc://{args.host}:{development.port}", flush=True)

    development.run(announce)
    return 0


def _add_client(commands):
    timeout = ast.literal_eval(_constant("serving/client", "TIMEOUT"))
    parser = commands.add_parser(
        "client",
        help="stylize photos on a server",
        description="Stylizes photos on a server: TensorFlow Serving, or `tfstyle serve --dev`.",
        epilog=f"""\
URL: http://HOST:8501 or https://HOST (REST), grpc://HOST:8500 (gRPC).
IN and OUT as of `tfstyle stylize`. Photos are sent with 8 bits a channel; strength, colours and
the final format are worked out here.

Examples:
  tfstyle client http://localhost:8501 photo.jpg -o out.png
  tfstyle client grpc://localhost:8500 photos/ -o painted/ --model {_MODEL} --max_size 1024
  tfstyle client http://localhost:8501 photo.jpg -o out.jpg --model fusion --style 0:2,3:1""",
    )
    parser.add_argument("url", metavar="URL", help="of the server, see below")
    parser.add_argument(
        "inputs", nargs="+", metavar="IN", help="image files, folders of images, or - for stdin"
    )
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="file or folder")
    parser.add_argument(
        "--model", metavar="NAME", default=_MODEL, help=f"on the server (default {_MODEL})"
    )
    parser.add_argument(
        "--model_version", metavar="N", type=_number(int, 0), help="of it (default: the newest)"
    )
    parser.add_argument(
        "--style",
        metavar="S[:W],...",
        type=_blend,
        help="of a model with several styles: its number from 0, or its name where `tfstyle "
        "models` lists the model here too; or several with their weights (default 0)",
    )
    _add_max_size(parser)
    parser.add_argument(
        "--strength",
        metavar="X",
        type=_number(float, 0, 1),
        default=1.0,
        help="0 gives the photo, 1 the painting, between them a blend (default 1)",
    )
    parser.add_argument(
        "--preserve_color", action="store_true", help="keep the colours of the photo"
    )
    quality = _default("images.write", "quality")
    parser.add_argument(
        "--quality",
        metavar="N",
        type=_number(int, 1, 100),
        default=quality,
        help=f"of JPEG and WebP, 1 to 100 (default {quality})",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_number(float, 0, above=True),
        default=timeout,
        help=f"of one request (default {timeout:g})",
    )
    parser.set_defaults(function=_client)


def _client(args) -> int:
    jobs, errors = _jobs(args.inputs, args.output, _label(args.model))
    if any(target is None for _, target in jobs):
        raise ValueError("-o -: give a file or a folder")
    import tqdm

    from tfstyle import images, inference
    from tfstyle.serving import client

    names = {card["name"]: card.get("styles", ()) for card in inference.shipped_models()}
    with client.Client(
        args.url, args.model, version=args.model_version, timeout=args.timeout
    ) as server:
        server.name_styles(names.get(args.model, ()))
        server.style_weights(args.style)  # a wrong one is told once, not of every image
        for source, target in tqdm.tqdm(
            jobs, unit="image", disable=None if len(jobs) > 1 else True
        ):
            start = time.perf_counter()
            try:
                photo = _photo(source, args.max_size)
                picture = server(
                    photo,
                    strength=args.strength,
                    preserve_color=args.preserve_color,
                    style=args.style,
                )
                target.parent.mkdir(parents=True, exist_ok=True)
                images.write(target, picture, quality=args.quality)
            except ValueError as error:
                errors.append((str(source or _STDIN), error))
                continue
            height, width = picture.shape[:2]
            seconds = round(time.perf_counter() - start, 3)
            tqdm.tqdm.write(f"{source or '-'} -> {target} ({width}x{height}, {seconds} s)")
    for name, error in errors:
        text = _line(error)
        _complain("tfstyle", text if text.startswith(name) else f"{name}: {text}", "error: ")
    return 2 if errors else 0


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
    parser = _Parser(prog, description=module.__doc__)
    texts = _documented(function)
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
            _add_flag(group, field.name, field_hints[field.name], given, _documented(kind))
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
            _complain(parser.prog, str(stop))
            return stop.exit_code
        return 0

    sys.exit(_exit_code(parser.prog, call, (training.TrainingError, export.ExportError)))


def _add_flag(parser, name: str, kind, default, texts: dict[str, str]):
    """Adds --NAME of a type that `run` takes."""
    text = texts.get(name, "").replace("%", "%%")
    extra = {"dest": name, "required": default is inspect.Parameter.empty, "default": default}
    if kind is bool:
        text += f" (default {'on' if default else 'off'})"
        parser.add_argument(f"--{name}", action=_Switch, help=text, **extra)
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


class _Switch(argparse.Action):
    """--x and --nox."""

    def __init__(self, option_strings, dest, **options):
        super().__init__([*option_strings, f"--no{dest}"], dest, nargs=0, **options)

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, option_string == f"--{self.dest}")


class _Parser(argparse.ArgumentParser):
    """Keeps the line breaks of its texts, knows no abbreviations, and complains in one line."""

    def __init__(self, prog=None, **options):
        super().__init__(
            prog,
            **options,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            # A script must not change its meaning because a later version adds a flag.
            allow_abbrev=False,
        )

    def error(self, message):
        _complain(self.prog, f"{message} (see {self.prog} --help)", "error: ")
        self.exit(2)


def _number(kind: type, low: float, high: float = math.inf, *, above: bool = False) -> Callable:
    """A type for argparse: a finite number from `low`, or above it, to `high`."""

    def parse(text):
        with contextlib.suppress(ValueError, OverflowError):
            value = kind(text)
            if low <= value <= high and math.isfinite(value) and not (above and value == low):
                return value
        kinds = {int: "a whole number", float: "a number"}
        least = f"above {low}" if above else f"of at least {low}"
        bounds = least if high == math.inf else f"from {low} to {high}"
        raise argparse.ArgumentTypeError(f"{text}: give {kinds[kind]} {bounds}")

    return parse


def _choice(choices: Sequence[str]) -> Callable:
    """A type for argparse: one of some words."""

    def parse(text):
        if text not in choices:
            raise argparse.ArgumentTypeError(f"{text}: give {', '.join(choices)}")
        return text

    return parse


# Names, defaults and words that the library defines are read from its source: so that they stand in
# one place, and --help need not wait for TensorFlow.


@functools.cache
def _source(module: str) -> ast.Module:
    """Of a module in a package, as "serving/server"."""
    name = f"tfstyle.{module.replace('/', '.')}"
    return ast.parse(importlib.util.find_spec(name).loader.get_source(name))


def _constant(module: str, name: str) -> ast.expr:
    """What a module of the library assigns to a name."""
    for node in _source(module).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if name in [getattr(target, "id", None) for target in targets]:
                return node.value
    raise KeyError(f"{module}.{name}")


def _parameters(path: str) -> dict[str, tuple[ast.arg, ast.expr]]:
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


def _default(path: str, parameter: str):
    """The default of a library function's parameter."""
    return ast.literal_eval(_parameters(path)[parameter][1])


def _words(path: str, parameter: str) -> list[str]:
    """The words that a library function's parameter takes, out of its annotation's Literal."""
    for node in ast.walk(_parameters(path)[parameter][0].annotation):
        if isinstance(node, ast.Subscript) and getattr(node.value, "id", None) == "Literal":
            words = ast.literal_eval(node.slice)
            return list(words) if isinstance(words, tuple) else [words]
    raise KeyError(f"{path}: {parameter}")


def _documented(subject) -> dict[str, str]:
    """{name: text} of the "Args:" section of a Google-style docstring."""
    section = (inspect.getdoc(subject) or "").partition("Args:\n")[2]
    section = re.split(r"^\S", section, flags=re.MULTILINE)[0]
    _, *parts = re.split(r"^    (\w+(?:, \w+)*):", section, flags=re.MULTILINE)
    return {
        name: " ".join(text.split())
        for names, text in zip(parts[::2], parts[1::2], strict=True)
        for name in names.split(", ")
    }


def _exit_code(prog: str, function: Callable[[], int], errors: tuple = ()) -> int:
    """What `function` returns; 2 and one line on stderr for `errors` and others of the user."""
    try:
        code = function()
        sys.stdout.flush()  # so that a closed pipe shows here
        return code
    except KeyboardInterrupt:
        _complain(prog, "interrupted")
        return 130
    except BrokenPipeError:
        # Python flushes once more when it ends: into nothing, so that it stays silent.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, OSError, MemoryError, *errors) as error:
        if sys.flags.dev_mode:
            raise
        _complain(prog, _line(error), "error: ")
        return 2


def _line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, MemoryError):
        return "not enough memory"
    return " ".join(str(error).split())


def _complain(prog: str, text: str, kind: str = ""):
    print(f"{prog}: {kind}{text}", file=sys.stderr)


def _print_table(header: list[str], rows: list[list[str]]):
    """Text to the left, numbers to the right."""
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [all(re.match(r"[\d.-]+( MB)?$", cell) for cell in column[1:]) for column in columns]
    for row in (header, *rows):
        cells = [
            cell.rjust(width) if numbers else cell.ljust(width)
            for cell, width, numbers in zip(row, widths, right, strict=True)
        ]
        print("  ".join(cells).rstrip())


if __name__ == "__main__":
    sys.exit(main())
