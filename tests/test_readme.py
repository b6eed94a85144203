"""README's commands, run as they are written, one after the other, in one checkout."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import shipped
from tfstyle import images, stylize
from tfstyle.data import drawn, samples

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
# What another test runs, or nothing here can: servers and what asks them, a camera, MNIST from the
# network, several machines, installing, the tests themselves.
ELSEWHERE = re.compile(
    r"^(make test|make bench|pip |tfds |echo |python |hosts|export TF_)"
    r"|^tfstyle (serve|web|client)\b|camera|dcgan_mnist|multiworker"
)


def commands() -> list[str]:
    """The lines of README's code blocks, and the commands in its table, without their comments."""
    # Between fences: every other piece is a block, which begins with its language or a new line.
    blocks = [block for block in README.split("```")[1::2] if block.startswith("\n")]
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    lines += re.findall(r"\| `((?:make|tfstyle) [^`]*)`", README)
    # A command alone in a table is but named there.
    named = {"tfstyle evaluate", "tfstyle stylize", "tfstyle learn"}
    return [line for line in lines if re.match(r"(make|tfstyle) \S", line) and line not in named]


def short(command: str) -> list[str]:
    """A command with few steps and small pictures."""
    arguments = shlex.split(command)
    if arguments[0] == "make":
        # -o: the environment is there, whatever its stamp says.
        given = [each for each in arguments[1:] if not each.startswith("STEPS=")]
        flags = next((each[5:] for each in given if each.startswith("ARGS=")), "")
        given = [each for each in given if not each.startswith("ARGS=")]
        flags += " --crop_size=48 --validate_every=0"
        return ["make", "-o", ".venv/.installed", *given, "STEPS=2", f"ARGS={flags.strip()}"]
    if arguments[1:2] == ["train"] and "--help" not in arguments:
        return [*arguments, "--steps=2", "--crop_size=48"]
    if arguments[1:2] == ["optimize"]:
        size = [] if "--size" in arguments else ["--size", "64"]
        arguments = ["96" if each == "1024" else each for each in arguments]
        return [*arguments, "--steps", "2", "--min_size", "32", *size]
    if arguments[1:2] == ["learn"]:
        return [*arguments, "--count", "2", "--style_size", "64"]
    if "--shards" in arguments:  # there are few photos
        arguments[arguments.index("--shards") + 1] = "2"
    return arguments


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout with the files that README's commands name."""
    place = tmp_path_factory.mktemp("checkout")
    for name in ("Makefile", "setup.py", "pyproject.toml", "README.md", "tfstyle", "pipelines"):
        (place / name).symlink_to(ROOT / name)
    (place / ".venv").symlink_to(sys.prefix)
    (place / "saved_models").mkdir()
    for path in shipped.paths():
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, place / "saved_models" / path.name)
    photo = images.fit(samples.photo("chelsea"), 96)
    for name in (
        "photo.jpg",
        "face.jpg",
        "painted.jpg",
        "photos/a.jpg",
        "photos/b/c.jpg",
        "others/d.jpg",
    ):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        images.write(place / name, photo)
    for i, name in enumerate(("photos/e.jpg", "photos/f.jpg")):
        images.write(place / name, images.fit(samples.photo("coffee"), 90 + i))
    styles = ["painting.jpg", "a.jpg", "b.jpg", *(f"paintings/{i}.jpg" for i in range(4))]
    styles += [f"painters/{painter}/{i}.jpg" for painter in "xy" for i in range(4)]
    for seed, name in enumerate(styles):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        images.write(place / name, drawn.style("mosaic", 96, seed=seed))
    white = images.from_uint8(255 * (photo > 2).astype("uint8"))
    for name, part in (("sky.png", slice(0, 40)), ("land.png", slice(40, None))):
        mask = white.copy()
        mask[part] = 1
        images.write(place / name, mask)
    return place


def run(place, command):
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TFDS_DATA_DIR": str(place / "tfds"),
        "HOME": str(place),
    }
    return subprocess.run(
        short(command), cwd=place, env=environment, capture_output=True, text=True, timeout=900
    )


def test_all_commands_are_known_and_most_are_run_here():
    found = commands()
    here = [command for command in found if not ELSEWHERE.search(command)]
    assert len(found) > 30 and len(here) > 24
    assert {"make", "tfstyle"} == {command.split()[0] for command in here}


def test_the_program_without_tfstyle_paints_what_the_command_does(tmp_path):
    (program,) = (each for each in README.split("```python\n")[1:] if "ai_edge_litert" in each)
    (model,) = (path for path in shipped.paths() if path.name == "starry_night.tflite")
    (tmp_path / "device").mkdir()
    shutil.copy(model, tmp_path / "device")
    images.write(tmp_path / "photo.jpg", images.fit(samples.photo("chelsea"), 96))
    program = program.partition("```")[0]
    command = [sys.executable, "-W", "error", "-c", program]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    painted = images.read(tmp_path / "painted.png")
    expected = stylize.Stylizer.load(model)(images.read(tmp_path / "photo.jpg"))
    np.testing.assert_allclose(painted, expected, atol=1.1 / 255)


@pytest.mark.slow
def test_readmes_commands_work_one_after_the_other_and_the_trainings_backwards_too(checkout):
    here = [command for command in commands() if not ELSEWHERE.search(command)]
    trainings = [command for command in here if re.match(r"make train|tfstyle train", command)]
    failed = []
    for command in [*here, *reversed(trainings)]:
        result = run(checkout, command)
        if result.returncode:
            failed.append(f"{command}\n{result.stdout[-500:]}\n{result.stderr[-800:]}")
    assert not failed, "\n\n".join(failed)
