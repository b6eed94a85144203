"""`tfstyle explain`: why a picture looks as it does."""

import argparse
import os
from pathlib import Path

from tfstyle.cli import jobs, parsing, recipe
from tfstyle.errors import ArgumentError


def add(commands: argparse._SubParsersAction) -> None:
    """Adds `tfstyle explain` to the commands."""
    parser = commands.add_parser(
        "explain",
        help="say why a picture looks as it does, and test what is said",
        description="Says why a stylized picture looks as it does, and tests what it says.",
        epilog="""\
The page says in sentences and maps where the losses come from, which strokes still differ from the
style, and what each layer sees of it. Of a model whose network is known (one that `tfstyle models`
lists, a .keras file, or a folder runs/NAME) also what its skip connections do, which units paint
what, what the weights of the losses do, whether noise is heeded, in which directions styles can be
steered, and why the discriminator takes a picture for real. At the end stand two changes that
follow from the largest findings, tried, with their figures. Every explanation stands beside tests
that it could have failed, with their verdict. Beside report.html lie report.json (all numbers) and
.npz files (the maps).

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
        help="a model, as `tfstyle stylize --model` takes it, a folder runs/NAME, "
        "or a stylized picture, such as one that `tfstyle optimize` made",
    )
    parser.add_argument("--content", required=True, metavar="C", help="the photo")
    parser.add_argument("--style", required=True, metavar="S", help="the style image")
    parser.add_argument(
        "--model_style",
        metavar="NAME",
        help="which of a model's several styles to look into (default: the one whose picture comes "
        "nearest to the style image)",
    )
    parser.add_argument(
        "-o", "--output", "--out", required=True, metavar="HTML", help="the page to write"
    )
    parser.add_argument(
        "--budget",
        metavar="NAME",
        type=parsing.choice(("quick", "full")),
        default="quick",
        help="quick or full: how long it may take (default quick)",
    )
    parser.add_argument(
        "--size",
        metavar="N",
        type=parsing.number(int, 64),
        default=256,
        help="longest side at which all is compared, in pixels (default 256)",
    )
    parser.add_argument(
        "--seed",
        metavar="N",
        type=parsing.number(int, 0),
        default=0,
        help="of the tests' random draws",
    )
    parser.add_argument("--strict", action="store_true", help="exit code 1 where a verdict is FAIL")
    parser.set_defaults(function=run)


def run(args: argparse.Namespace) -> int:
    """Runs `tfstyle explain`; returns the exit code."""
    import tqdm

    from tfstyle import images, machine, stylize

    # What is wrong at once is told before TensorFlow is loaded.
    if Path(args.output).suffix != ".html":
        raise ArgumentError(f"-o {args.output}: give a name that ends in .html")
    is_picture = Path(args.model).suffix.lower() in images.SUFFIXES
    if is_picture and not Path(args.model).is_file():
        raise ArgumentError(f"{args.model}: no such picture.")
    # A folder may be one of a run, where it can be looked into. Names need not be of this folder.
    may_be_run = os.path.isdir(args.model) and os.access(args.model, os.R_OK | os.X_OK)
    if not is_picture and not may_be_run:
        stylize.find(args.model)
    content, style = (images.fit(images.read(p), args.size) for p in (args.content, args.style))
    for name, image in ((args.content, content), (args.style, style)):
        if min(image.shape[:2]) < 32:
            raise ArgumentError(
                f"{name}: {image.shape[1]}x{image.shape[0]} pixels at --size {args.size}: 32 a "
                "side are needed"
            )
    try:
        from tfstyle.explain import report, results, survey
    except ModuleNotFoundError as error:
        raise ArgumentError(
            f"explanations need {error.name}: pip install 'tfstyle[explain]'"
        ) from error

    try:
        work = survey.of(
            args.model,
            content=content,
            style=style,
            model_style=args.model_style,
            **(recipe.style_loss_of(args.model) if is_picture else {}),
            budget=args.budget,
            seed=args.seed,
        )
    except machine.TooLargeError as error:
        raise ArgumentError(jobs.hinted(error, "--size")) from error
    jobs.make_folder_of(Path(args.output))
    found: list[results.Explanation] = []
    # Costs are seconds on two cores, so that the time left is about right from the start.
    with tqdm.tqdm(
        total=sum(job.cost for job in work.jobs),
        disable=None,
        bar_format="{l_bar}{bar}| {elapsed} gone, {remaining} left{postfix}",
    ) as bar:
        for job in work.jobs:
            bar.set_postfix_str(job.name)
            done = 0.0

            def tell(job: survey.Job = job) -> None:
                nonlocal done
                part = min(job.cost / max(job.parts, 1), job.cost - done)
                done += part
                bar.update(part)

            result = job.run({each.name: each for each in found}, tell)
            bar.update(job.cost - done)
            if result is not None:
                found.append(result)
    files = report.write(
        args.output,
        found,
        title=f"Why {' '.join([Path(args.model).name, work.style]).strip()} looks like that",
        pictures={"photo": content, "style": style, "picture": work.picture},
        ground="picture",
        warning=work.warning,
    )
    if work.warning:
        print(f"Warning     {work.warning}")
    for each in found:
        print(f"{each.verdict:<11} {each.question} {each.summary}")
    print(f"Report      {files[0]}")
    return 1 if args.strict and any(each.verdict == "FAIL" for each in found) else 0
