"""Photos in a current folder, and what the command line makes of them there."""

from pathlib import Path

import numpy as np

from tfstyle import cli, images


def picture(path, height=24, width=40, value=0.25) -> Path:
    """Writes an even image, in folders that are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    images.write(path, np.full((height, width, 3), value, np.float32))
    return path


def is_negative(path, value=0.25) -> bool:
    # JPEG and WebP may be off by one step.
    return np.abs(images.read(path) - (1 - images.from_uint8(images.to_uint8(value)))).max() < 0.01


def stylized(*arguments) -> int:
    return cli.main(["stylize", "--model=negative", *map(str, arguments)])


def complaint(capsys) -> str:
    """What was said on stderr, which is the one line that is left to say."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("tfstyle")
    return captured.err
