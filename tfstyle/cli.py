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
import importlib.util
import inspect
import json
import math
import os
import re
import sys
import time
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path

import tfstyle

_MODEL = "starry_night"
_STDIN = "standard input"


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
    _add_evaluate(commands)
    _add_models(commands)
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
Folders are made where they are missing. An earlier output is replaced, an input never.

Examples:
  tfstyle stylize photo.jpg
  tfstyle stylize photos/ -o painted/ --max_size 1024
  tfstyle stylize photo.jpg -o soft.jpg --strength 0.5 --preserve_color
  tfstyle stylize photo.jpg --model saved_models/mine.int8.tflite --compare
  curl -s https://example.org/photo.jpg | tfstyle stylize - | display

A file that cannot be stylized does not stop the others: all such files are named at the end, and
the exit code is 2.""",
    )
    parser.add_argument(
        "inputs", nargs="+", metavar="IN", help="image files, folders of images, or - for stdin"
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
        "--max_size",
        metavar="N",
        type=_number(int, 1),
        help="first shrink what has a longer side than this many pixels",
    )
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
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")
    parser.set_defaults(function=_stylize)


def _stylize(args) -> int:
    jobs, errors = _jobs(args.inputs, args.output, _label(args.model))
    if any(target is None for _, target in jobs):
        if args.json:
            raise ValueError("--json and the picture both want standard output: give -o FILE")
        if sys.stdout.isatty():
            raise ValueError("standard output is a terminal: give -o FILE, or redirect it")
    import tqdm

    from tfstyle import images, inference

    if jobs:
        stylizer = inference.Stylizer.load(args.model, threads=args.threads)
    for folder in {target.parent for _, target in jobs if target}:
        folder.mkdir(parents=True, exist_ok=True)
    done = []
    # With disable=None tqdm is silent where stderr is no terminal.
    for source, target in tqdm.tqdm(jobs, unit="image", disable=None if len(jobs) > 1 else True):
        start = time.perf_counter()
        try:
            if source:
                photo = images.read(source)
            else:
                photo = images.decode_bytes(sys.stdin.buffer.read(), name=_STDIN)
            if args.max_size:
                photo = images.fit(photo, args.max_size)
            picture = stylizer(photo, strength=args.strength, preserve_color=args.preserve_color)
            if args.compare:
                picture = inference.compare(photo, None, picture)
            if target:
                images.write(target, picture, quality=args.quality)
            else:
                rest = images.encode(picture)
                while rest:  # under PYTHONUNBUFFERED a write may stop half way
                    rest = rest[sys.stdout.buffer.write(rest) :]
                sys.stdout.buffer.flush()
        except (ValueError, MemoryError) as error:
            errors.append((str(source or _STDIN), error))
            continue
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
    sources = {source.resolve() for source, _ in jobs if source}
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
        rows.append([card["name"], size, *told, str(path.parent)])
    _print_table(["name", "size", "style", "licence", "version", "where"], rows)
    return 0


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


def _number(kind: type, low: float, high: float = math.inf) -> Callable:
    """A type for argparse: a number from `low` to `high`."""

    def parse(text):
        with contextlib.suppress(ValueError):
            if low <= (value := kind(text)) <= high:
                return value
        kinds = {int: "a whole number", float: "a number"}
        bounds = f"of at least {low}" if high == math.inf else f"from {low} to {high}"
        raise argparse.ArgumentTypeError(f"{text}: give {kinds[kind]} {bounds}")

    return parse


def _default(path: str, parameter: str):
    """The default of a library function's parameter, read from its source.

    So that it stands in one place, and --help need not wait for TensorFlow.
    """
    module, *names = path.split(".")
    loader = importlib.util.find_spec(f"tfstyle.{module}").loader
    node = ast.parse(loader.get_source(f"tfstyle.{module}"))
    for name in names:
        node = next(child for child in node.body if getattr(child, "name", None) == name)
    positional = node.args.posonlyargs + node.args.args
    positional = positional[len(positional) - len(node.args.defaults) :]
    parameters = [*positional, *node.args.kwonlyargs]
    defaults = [*node.args.defaults, *node.args.kw_defaults]
    found = {p.arg: value for p, value in zip(parameters, defaults, strict=True)}
    return ast.literal_eval(found[parameter])


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
