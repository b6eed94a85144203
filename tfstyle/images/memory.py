"""Whether something of an image's size goes into memory, asked before it is made."""

from __future__ import annotations

import math

from tfstyle import machine

# Bytes for whose sake nobody looks how many are free.
SMALL = 2**28


def check_memory(
    size: tuple[int, int],
    bytes_per_pixel: float,
    *,
    name: str = "",
    purpose: str = "",
    mend: str = "Make the image",
    at_once: float = 0,
) -> None:
    """Raises TooLargeError where an image needs more memory than is free.

    Args:
        size: (height, width) in pixels.
        bytes_per_pixel: that the work takes at its peak.
        name: of the image, for the message.
        purpose: what for, such as "to be read".
        mend: how the sentence begins that ends in "at most WIDTHxHEIGHT".
        at_once: further bytes, whatever the size.
    """
    height, width = size
    needed = height * width * bytes_per_pixel + at_once
    if needed < SMALL:
        return
    free = machine.usable_memory()
    if needed <= free:
        return
    scale = math.sqrt(max(free - at_once, 0) / (height * width * bytes_per_pixel))
    fits = max(1, int(height * scale)), max(1, int(width * scale))
    raise machine.TooLargeError(
        f"{f'{name}: ' if name else ''}{width}x{height} pixels need about {needed / 1e9:.1f} GB of "
        f"memory{f' {purpose}' if purpose else ''} and {free / 1e9:.1f} GB are free. {mend} at "
        f"most {fits[1]}x{fits[0]}",
        fits,
    )
