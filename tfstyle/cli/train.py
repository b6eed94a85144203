"""`tfstyle train`: a network trained by a recipe."""

import argparse

from tfstyle.cli import pipelines, program


def add(commands: argparse._SubParsersAction) -> None:
    """Adds `tfstyle train` to the commands."""
    names = pipelines.names()
    width = max(map(len, names))
    recipes = "\n".join(f"  {name:<{width}}  {pipelines.summary(name)}" for name in names)
    parser = commands.add_parser(
        "train",
        help="train a network by one of the recipes",
        description="Trains a network by a recipe, and exports it.",
        epilog=f"""\
Recipes:
{recipes}

`tfstyle train RECIPE --help` has the options of each, what it costs and what to expect. Given
again after Ctrl-C or a crash, a command goes on from the last checkpoint.

Examples:
  tfstyle train fast
  tfstyle train fast --style=painting.jpg --content=photos/ --steps=3000 --name=mine
  tfstyle train gan --style=paintings/ --content=photos/""",
    )
    parser.add_argument("recipe", metavar="RECIPE", choices=names, help="one of those below")
    parser.add_argument(
        "options", metavar="...", nargs=argparse.REMAINDER, help="options of the recipe"
    )
    parser.set_defaults(function=run)


def run(args: argparse.Namespace) -> int:
    """Runs `tfstyle train`; returns the exit code."""
    module = pipelines.module(args.recipe)
    program.run(module.train, args.options, prog=f"tfstyle train {args.recipe}")
