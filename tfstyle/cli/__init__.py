"""The command line: the `tfstyle` command, and `run`, which makes a pipeline's function a program.

A subcommand is a module with two functions: `add` adds its parser to those of `main`, `run` runs it
and returns the exit code. TensorFlow takes seconds to import, so only what runs imports it: help
comes at once.

Exit codes: 0, 2 for what the user can mend (one line on stderr says how), 1 for a fault of tfstyle,
130 after Ctrl-C, 141 when nobody reads the output any more. --debug shows where an error comes
from. Libraries log through absl.logging (--verbosity); progress and results do not.
"""

import io
import os
import sys
from collections.abc import Sequence
from types import ModuleType

import tfstyle
from tfstyle import machine
from tfstyle.cli import (
    client,
    dataset,
    evaluate,
    explain,
    export,
    learn,
    messages,
    models,
    optimize,
    parsing,
    records,
    serve,
    stylize,
    train,
    verify,
    web,
)
from tfstyle.cli.program import run

__all__ = ["main", "run"]

# In the order in which --help lists them.
_COMMANDS: tuple[ModuleType, ...] = (
    stylize,
    optimize,
    learn,
    train,
    evaluate,
    explain,
    verify,
    models,
    records,
)
_COMMANDS += (dataset, export, web, serve, client)


def main(arguments: Sequence[str] | None = None) -> int:
    """The `tfstyle` command; returns its exit code (help and wrong flags raise SystemExit).

    Args:
        arguments: those of the process by default.
    """
    # Before the first import of TensorFlow: what it tells about the machine is not for users.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    machine.keep_to_cores()
    messages.set_verbosity(messages.WARNINGS)
    parser = parsing.Parser("tfstyle", description=tfstyle.__doc__)
    parser.add_argument("--version", action="version", version=f"tfstyle {tfstyle.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add(commands)
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments:
        parser.print_help()
        return 0
    args = parser.parse_args(arguments)
    # Names of files need not be text, and must not end a run when they are printed.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    debug = getattr(args, "debug", False)
    return messages.exit_code("tfstyle", lambda: args.function(args), debug=debug)
