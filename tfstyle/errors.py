"""The one base of all errors that a user can mend, and what their messages have in common."""

import difflib
from collections.abc import Iterable


class TfstyleError(Exception):
    """Something that the user can mend; the message names the thing, the value seen and the mend.

    The commands print it in one line and end with exit code 2. Whatever else comes out of the
    library is a fault of tfstyle and shows as one.
    """

    # By this AutoGraph sees that it may raise one of this type again, with where in the graph it
    # was: of others it makes a StagingError.
    __init__ = Exception.__init__


class ArgumentError(TfstyleError, ValueError):
    """An argument that cannot be taken, or a file whose content is not what it has to be."""


def meant(word: str, words: Iterable[str]) -> str:
    """The question "did you mean WORD? ", of the nearest of `words`; "" where none is near."""
    folded = {each.lower().replace("-", "_"): each for each in words}
    near = difflib.get_close_matches(word.lower().replace("-", "_"), folded, n=1, cutoff=0.8)
    return f"did you mean {folded[near[0]]}? " if near else ""
