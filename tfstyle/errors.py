"""The one base of all errors that a user can mend."""


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
