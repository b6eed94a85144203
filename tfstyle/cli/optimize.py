"""`tfstyle optimize`: one photo in the style of any pictures."""

import argparse
import contextlib
import functools
import json
import os
import re
import signal
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tfstyle.cli import jobs, library, messages, notes, parsing, recipe
from tfstyle.errors import ArgumentError, TfstyleError


def add(commands: argparse._SubParsersAction) -> None:
    """Adds `tfstyle optimize` to the commands."""
    presets = recipe.presets()
    told = "\n".join(
        textwrap.fill(
            ", ".join(f"{flag} {recipe.as_given(value)}" for flag, value in preset.items()),
            width=100,
            initial_indent=f"  {name:<12}",
            subsequent_indent=" " * 14,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for name, preset in presets.items()
    )
    backbones = library.keys("features/backbones", "BACKBONES")
    fetched = ", ".join(name for name in backbones if not name.startswith("vgg16"))
    parser = commands.add_parser(
        "optimize",
        help="paint one photo in the style of any pictures, in minutes",
        usage="tfstyle optimize CONTENT ... --style S [--style S ...] -o OUT [flags]\n"
        "       tfstyle optimize --again PICTURE -o OUT [flags]",
        description="Paints a photo in the style of any pictures; needs minutes, but no model.",
        epilog=f"""\
Styles:
  --style a.jpg --style b.jpg:0.5    two of them, a twice as strong as b
  --style a.jpg:1:sky.png            where the mask sky.png is white; of any size, grey is between
  --style a.jpg::sky.png:top.png     the same, from the part of a.jpg where top.png is white

More style or more photo: --target content=0.7 or 0.3, where the content loss ends (0: the photo).
Backbones: vgg16 and, for drafts, vgg16_light (bundled); {fetched} (fetched once)
Presets (flags that are given still win):
{told}
Ctrl-C writes the picture so far (exit code 130); a second one ends at once and writes nothing.""",
    )
    # So that most flags have one line.
    parser.formatter_class = functools.partial(parser.formatter_class, max_help_position=27)
    parser.add_argument(
        "content", nargs="*", metavar="CONTENT", help="the photo; several, or folders, with -o DIR"
    )
    parser.add_argument(
        "--style",
        action="append",
        metavar="FILE[:...]",
        help="a picture whose style is wanted; several blend",
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT", required=True, help="the picture: .png, .jpg or .webp"
    )
    parser.add_argument(
        "--preset",
        metavar="NAME",
        type=parsing.word({name: name for name in presets}),
        help=", ".join(presets),
    )
    parser.add_argument(
        "--again", metavar="PICTURE", help="as this OUT was made, but for flags that are given"
    )
    groups = {}
    for title, flags in recipe.knobs().items():
        groups[title] = parser.add_argument_group(title)
        for name, (metavar, kind, text) in flags.items():
            # Without a default: what is given wins over a preset, and a preset over defaults.
            options = {"default": argparse.SUPPRESS, "help": text}
            if kind is bool:
                groups[title].add_argument(f"--{name}", action=parsing.Switch, **options)
            else:
                groups[title].add_argument(f"--{name}", metavar=metavar, type=kind, **options)
    group = groups["files"]
    group.add_argument(
        "--save_every",
        metavar="N",
        type=parsing.number(int, 1),
        help="steps; writes OUT.SCALE-STEP, as out.1-0040.png",
    )
    group.add_argument("--video", metavar="FILE", help="how it came to be: .mp4, .mkv or .webm")
    fps = library.default("video/writer.Writer.__init__", "fps")
    group.add_argument(
        "--video_fps",
        metavar="N",
        type=parsing.number(float, 0.01, 1000),
        help=f"frames a second (default {fps})",
    )
    parsing.add_metadata(group)
    parsing.add_max_pixels(group)
    notes.add_sign(group)
    group.add_argument("--json", action="store_true", help="print the final figures as JSON")
    parser.set_defaults(function=run)


def run(args: argparse.Namespace) -> int:
    """Runs `tfstyle optimize`; returns the exit code."""
    if len(args.content) > 1 or any(map(os.path.isdir, args.content)):
        return _run_several(args)
    args.content = args.content[0] if args.content else None
    return _run_one(args)


def _run_several(args: argparse.Namespace) -> int:
    """One photo after the other; what goes wrong with one does not stop the others."""
    for flag, given in (("--again", args.again), ("--video", args.video)):
        if given:
            raise ArgumentError(f"{flag} with several photos: it is of one. Give them one by one.")
    planned, errors = jobs.plan(args.content, args.output, "optimize")
    done = []
    for source, target in planned:
        if not isinstance(source, Path):
            errors.append((str(source or "-"), ArgumentError("give files and folders")))
            continue
        one = argparse.Namespace(**vars(args) | {"content": str(source), "output": str(target)})
        try:
            if code := _run_one(one):
                return code  # Ctrl-C
        except (TfstyleError, OSError, MemoryError) as error:
            errors.append((str(source), error))
            continue
        done.append({"input": str(source), "output": str(target)})
    return jobs.report(errors, done)


def _run_one(args: argparse.Namespace) -> int:
    """Paints `args.content`, a file, or what --again says."""
    # Nothing here needs TensorFlow before all that can be wrong has been looked at.
    from tfstyle import images

    content, styles, options, digests = recipe.read(args)
    output, clip = _outputs(args, options, list(digests))
    limits: dict[str, Any] = {"max_pixels": args.max_pixels}
    # A photo far larger than its picture is decoded small: 108 megapixels for 512 px.
    enough = 8 * options["size"] if options["size"] else None
    photo = jobs.read(content, **limits, max_size=enough)
    read = [
        {
            "image": jobs.read(style["path"], **limits),
            "weight": style["weight"],
            **{
                key: style[key] and images.read_mask(style[key], **limits)
                for key in ("mask", "style_mask")
            },
        }
        for style in styles
    ]
    arguments = {key: options[key] for key in options if key not in ("bits", "quality")}
    for name, reader in (("init", jobs.read), ("keep", images.read_mask)):
        if options[name] not in recipe.words(name):
            arguments[name] = reader(options[name], **limits)
    icc = images.read_icc(content)
    kept = images.photo_metadata(images.read_bytes(content), args.metadata, name=content)
    for path in (output, clip) if clip else (output,):
        jobs.make_folder_of(path)
    settings = {"content": content, "styles": styles, "options": options, "sha256": digests}
    noted = notes.noted(
        args, {"method": "optimisation of one picture", "backbone": options["backbone"]}
    )
    texts = noted.pop("text")

    def write(path: Path, image: Any, figures: dict) -> None:
        text = json.dumps(settings | {"figures": figures})
        images.write(
            path,
            image,
            quality=options["quality"],
            bits=options["bits"],
            text=texts | {recipe.SETTINGS: text},
            icc=icc,
            **kept,
            **noted,
        )

    fps = args.video_fps or library.default("video/writer.Writer.__init__", "fps")
    with contextlib.ExitStack() as stack:
        watch = _Watch()
        if args.save_every:
            watch.others.append(_snapshots(output, args.save_every, write))
        if clip:
            from tfstyle import video

            writer = stack.enter_context(video.Writer(clip, fps=fps))
            size = photo.shape[:2]
            final = images.scaled_size(size, options["size"] or max(size))
            watch.others.append(_frames(writer, fps, final))
        from tfstyle import gatys, machine

        machine.keep_freed_memory()
        try:
            with watch:
                result = gatys.optimize(
                    photo, [gatys.Style(**style) for style in read], callback=watch, **arguments
                )
        except machine.TooLargeError as error:
            raise ArgumentError(jobs.hinted(error, "--size")) from error
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
            "style_weight": result.style_weight,
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


def _outputs(
    args: argparse.Namespace, options: dict, inputs: list[str]
) -> tuple[Path, Path | None]:
    """(OUT, video or None), of which neither replaces an input."""
    from tfstyle import images

    output, clip = Path(args.output), Path(args.video) if args.video else None
    if output.suffix.lower() not in images.WRITTEN_SUFFIXES:
        raise ArgumentError(
            f"-o {output}: cannot write {output.suffix or 'a file without suffix'}. Give "
            f"{', '.join(images.WRITTEN_SUFFIXES)}."
        )
    if options["bits"] == 16 and output.suffix.lower() != ".png":
        raise ArgumentError(f"-o {output}: 16 bits go into .png only. Give that, or --bits 8.")
    if args.video_fps and not clip:
        raise ArgumentError("--video_fps: there is no video. Give --video FILE, or leave it out.")
    taken = {Path(name).resolve() for name in [*inputs, *([args.again] if args.again else [])]}
    snapshot = re.compile(rf"{re.escape(output.stem)}\.\d+-\d+{re.escape(output.suffix)}")
    for source in taken if args.save_every else ():
        if source.parent == output.parent.resolve() and snapshot.fullmatch(source.name):
            raise ArgumentError(
                f"{source}: an input, which --save_every might replace. Give another -o."
            )
    for flag, path in (("-o", output), ("--video", clip)):
        if path is None:
            continue
        if path.resolve() in taken:
            raise ArgumentError(f"{path}: an input, which is never replaced. Give another {flag}.")
        if path.is_dir():
            raise ArgumentError(f"{flag} {path}: a folder. Give a file in it.")
    return output, clip


def _snapshots(output: Path, every: int, write: Callable) -> Callable:
    """A listener of `_Watch` that writes the picture after every so many steps."""

    def listen(progress: Any) -> None:
        if progress.step % every == 0:
            name = f"{output.stem}.{progress.scale + 1}-{progress.step:04}{output.suffix}"
            figures = {"scale": progress.scale + 1, "step": progress.step}
            figures |= {"seconds": round(progress.seconds, 3), "losses": progress.losses}
            write(output.with_name(name), progress.image, figures)

    return listen


def _frames(writer: Any, fps: float, size: tuple[int, int]) -> Callable:
    """A listener of `_Watch` that films about ten seconds, at the size of the final picture."""
    from tfstyle import images

    def listen(progress: Any) -> None:
        every = max(1, round(progress.steps * progress.scales / (10 * fps)))
        if progress.step % every == 0:
            writer.add(images.resize(progress.image, size))

    return listen


class _Watch:
    """The callback of `gatys.optimize`: a bar for each scale, and what else listens.

    While it is entered, the first Ctrl-C ends the run with the picture so far, and a second one, or
    one before there is a picture, at once.
    """

    def __init__(self) -> None:
        self.others: list[Callable] = []
        self.interrupted = False
        self._last: Any = None
        self._bar: Any = None

    def __enter__(self) -> Self:
        self._previous = signal.getsignal(signal.SIGINT)
        with contextlib.suppress(ValueError):  # not in the main thread: nothing to install
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGINT, self._previous)
        self._end_scale(completed=kind is None)

    def _note(self, *_: object) -> None:
        if self.interrupted or self._last is None:
            raise KeyboardInterrupt
        self.interrupted = True
        # Not print: a signal may come while something else prints.
        with contextlib.suppress(OSError):
            os.write(2, b"\ntfstyle: writing the picture so far; Ctrl-C again writes nothing\n")

    def __call__(self, progress: Any) -> bool:
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

    def _end_scale(self, completed: bool = True) -> None:
        if self._bar is None:
            return
        last, silent = self._last, self._bar.disable
        self._bar.close()
        self._bar = None
        if silent and completed:
            told = f"{last.step} of {last.steps} steps, {last.seconds:.1f} s"
            messages.complain(f"{_scale(last)}: {told}, {_losses(last.losses)}")


def _scale(progress: Any) -> str:
    height, width = progress.size
    return f"{width}x{height} ({progress.scale + 1}/{progress.scales})"


def _losses(losses: dict[str, float]) -> str:
    return f"content {losses['content']:.4g}, style {losses['style']:.4g}"
