"""What a command says: errors in one line, exit codes, tables."""

import contextlib
import errno
import logging as standard
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator

from absl import flags, logging

from tfstyle import files
from tfstyle.errors import TfstyleError

# Of absl's levels.
WARNINGS = -1
# Numbers of the system for a full disk and a full quota, and what helps.
_FULL = (errno.ENOSPC, errno.EDQUOT)
_ROOM = "Make room there, or write elsewhere"
# Where a fault of tfstyle is to be told.
REPORT = "https://github.com/tfstyle/tfstyle/issues"


def set_verbosity(level: int) -> None:
    """What libraries may say through Python's logging: absl's levels, -1 for warnings."""
    logging.use_absl_handler()
    logging.get_absl_handler().setFormatter(standard.Formatter("tfstyle: %(message)s"))
    # absl.app takes a verbosity that nobody gave for an invitation to log what it does.
    flags.FLAGS["verbosity"].using_default_value = False
    flags.FLAGS.mark_as_parsed()
    logging.set_verbosity(level)


def tell_progress() -> None:
    """tfstyle itself says what it does, as a server has to; other libraries as --verbosity says."""
    level = standard.DEBUG if logging.get_verbosity() > logging.INFO else standard.INFO
    logging.get_absl_logger().setLevel(level)
    standard.getLogger("tensorflow").setLevel(standard.ERROR)


def exit_code(prog: str, function: Callable[[], int], *, debug: bool = False) -> int:
    """What `function` returns, or what comes of an error.

    2 and one line on stderr for what the user can mend (`TfstyleError`, and what the system
    refuses); 1 and a line that says so for a fault of tfstyle; 130 after Ctrl-C; 141 where nobody
    reads the output any more. SIGTERM and SIGHUP end it by SystemExit, 143 and 129, so that what is
    half-written goes.

    Args:
        debug: whether errors are shown with where they come from.
    """
    try:
        with _ended_in_order():
            code = function()
        sys.stdout.flush()  # so that a closed pipe shows here
        return code
    except KeyboardInterrupt:
        complain("interrupted", prog=prog)
        return 130
    except BrokenPipeError:
        # Python flushes once more when it ends: into nothing, so that it stays silent.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (TfstyleError, OSError, MemoryError) as error:
        if debug or sys.flags.dev_mode:
            raise
        complain(line(error), "error: ", prog)
        return 2
    except Exception as error:
        if debug or sys.flags.dev_mode:
            raise
        if refused := files.refusal(error):
            complain(line(refused), "error: ", prog)
            return 2
        if isinstance(error, ModuleNotFoundError) and error.name and not _is_own(error.name):
            complain(
                f"this needs {error.name}, which is not installed here: pip install tfstyle (what "
                "runs without TensorFlow: stylize --runtime tflite, client over http, models, web)",
                "error: ",
                prog,
            )
            return 2
        complain(
            f"{type(error).__name__}: {line(error) or 'without a word'} (a fault of tfstyle, not "
            f"yours: please tell it at {REPORT}; --debug shows where it comes from)",
            "error: ",
            prog,
        )
        return 1


def _is_own(module: str) -> bool:
    """Whether a module that is missing is one of tfstyle, which then is at fault."""
    return module.partition(".")[0] in ("tfstyle", "pipelines")


@contextlib.contextmanager
def _ended_in_order() -> Iterator[None]:
    """Signals that would end the process at once raise SystemExit, as Ctrl-C raises its own."""

    def stop(signum: int, _: object) -> None:
        raise SystemExit(128 + signum)

    before = {}
    # No SIGHUP in Windows; ValueError: not in the main thread.
    for signum in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        with contextlib.suppress(ValueError):
            if signal.getsignal(signum) == signal.SIG_DFL:
                before[signum] = signal.signal(signum, stop)
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def line(error: BaseException) -> str:
    """What an error says, in one line; of a full disk also what helps, whatever came of it."""
    if isinstance(error, MemoryError):
        return "not enough memory"
    if isinstance(error, OSError) and error.strerror:
        told = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    else:
        told = " ".join(str(error).split())
    refused = files.refusal(error)
    if refused and refused.errno in _FULL and "Make room" not in told:
        told = f"{told.rstrip('.')}. {_ROOM}"
    return told


def complain(text: str, kind: str = "", prog: str = "tfstyle") -> None:
    """Says a line on stderr."""
    print(f"{prog}: {kind}{text}", file=sys.stderr)


def print_table(header: list[str], rows: list[list[str]]) -> None:
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
