"""What the room raises."""

from tfstyle.errors import TfstyleError


class ExportError(TfstyleError, RuntimeError):
    """The generator cannot be exported, or its export differs too much from Keras."""


class DeviceError(ExportError, ValueError):
    """The model cannot become what was asked for; the message says why."""
