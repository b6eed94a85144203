"""The page that asks a person which picture is the better one."""

import base64
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from tfstyle import images

ROOT = Path(__file__).parents[1]


def jury(folder, *arguments):
    command = [sys.executable, ROOT / "benchmarks" / "jury.py", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_pairs_are_shown_in_random_order_without_their_names(tmp_path):
    names = [f"cat_{i}" for i in range(12)]
    for shade, folder in ((0.2, "ours"), (0.8, "theirs")):
        (tmp_path / folder).mkdir()
        for name in names:
            images.write(tmp_path / folder / f"{name}.png", np.full((8, 8, 3), shade, np.float32))
    images.write(tmp_path / "ours" / "alone.png", np.zeros((8, 8, 3), np.float32))
    made = jury(tmp_path, "ours", "theirs")
    assert made.returncode == 0, made.stderr
    assert made.stdout == "jury.html: 12 pairs\n"
    page = (tmp_path / "jury.html").read_text("utf-8")
    assert "ours" not in page and "cat_" not in page
    key = json.loads(base64.b64decode(re.search(r'atob\("([^"]+)"\)', page)[1]))
    assert sorted(pair["name"] for pair in key) == sorted(names)
    assert {tuple(pair["order"]) for pair in key} == {("ours", "theirs"), ("theirs", "ours")}
    shown = re.findall(r"vote\(\d\)\"><img src=\"data:image/jpeg;base64,([^\"]+)\"", page)
    assert len(shown) == 24
    for place, (data, expected) in enumerate(
        zip(shown, [name for pair in key for name in pair["order"]], strict=True)
    ):
        picture = images.decode_bytes(base64.b64decode(data))
        assert (picture.mean() < 0.5) == (expected == "ours"), place


def test_folders_without_a_common_name_are_told(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        images.write(tmp_path / folder / f"{folder}.png", np.zeros((8, 8, 3), np.float32))
    told = jury(tmp_path, "a", "b")
    assert told.returncode == 1 and "no picture of one name in a and b" in told.stderr
    assert not (tmp_path / "jury.html").exists()
