"""What a command says: errors in one line, exit codes, tables."""

import os
import re
import sys
from collections.abc import Callable


def exit_code(prog: str, function: Callable[[], int], errors: tuple = ()) -> int:
    """What `function` returns; 2 and one line on stderr for `errors` and others of the user."""
    try:
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
    except (ValueError, OSError, MemoryError, *errors) as error:
        if sys.flags.dev_mode:
            raise
        complain(line(error), "error: ", prog)
        return 2


def line(error: BaseException) -> str:
    """What an error says, in one line."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, MemoryError):
        return "not enough memory"
    return " ".join(str(error).split())


def complain(text: str, kind: str = "", prog: str = "tfstyle"):
    """Says a line on stderr."""
    print(f"{prog}: {kind}{text}", file=sys.stderr)


def print_table(header: list[str], rows: list[list[str]]):
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
