"""Every recipe, killed at many moments, ends with the weights of one that never was. Also run as a
program, which trains in forks of itself: the import of TensorFlow takes seconds, and is done once.
"""

import importlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests import mnist, recipes

ROOT = Path(__file__).parents[2]
COMMON = ["--checkpoint_every=1", "--log_every=1", "--keep=2"]
QUIET = ["--validate_every=0", "--sample_every=1000", "--batch_size=2"]
SMALL = [*QUIET, "--crop_size=32", "--width=4"]
RECIPES = {
    "fast": [*SMALL, "--depth=1", "--style_size=64"],
    "fusion": [*SMALL, "--depth=1", "--style_size=64"],
    "gan": [
        *SMALL, "--residual_blocks=1", "--noise_dim=3", "--discriminator_width=4", "--pool_size=4",
        "--warmup_steps=1", "--d_steps=2",
    ],
    "style_class": [*SMALL, "--depth=1", "--discriminator_width=4"],
    "clahe": [*QUIET, "--crop_size=32"],
    "dcgan_mnist": [*QUIET, "--data=.", "--width=2", "--discriminator_width=2"],
}  # fmt: skip
# How often each is killed. An attempt takes a few seconds, of those that are compiled longest ten:
# three minutes for a recipe, or so.
KILLS = dict.fromkeys(RECIPES, 20) | {"fusion": 8, "gan": 8, "style_class": 6}
STEPS = {name: 5 * kills for name, kills in KILLS.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_killed_at_random_moments_it_ends_with_the_same_weights(tmp_path, name):
    command = [sys.executable, __file__, name, str(tmp_path)]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["kills"] == KILLS[name] and len(set(told["found"])) > KILLS[name] / 2, told
    folders = [tmp_path / f"runs/{run}/checkpoints" for run in ("whole", "killed")]
    end = STEPS[name]
    recipes.assert_ended_alike(*folders, end - 1, end, least=1)
    left = [path for path in (tmp_path / "runs").rglob("*") if path.name.startswith(".tfstyle-")]
    assert not left


def _train(name: str, run: str) -> int:
    """Process id of a fork that trains."""
    child = os.fork()
    if child:
        return child
    from tfstyle import cli, export

    export.Release.write = lambda *_, **__: None
    with open(f"{run}.log", "a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    try:
        recipe = importlib.import_module(f"pipelines.{name}")
        flags = [*COMMON, *RECIPES[name], f"--steps={STEPS[name]}", f"--name={run}"]
        cli.run(recipe.train, flags)
    except SystemExit as end:
        os._exit(end.code or 0)
    except BaseException as error:
        print(repr(error), flush=True)
        os._exit(1)


def _newest(run: str) -> int:
    found = Path(f"runs/{run}/checkpoints").glob("ckpt-*.index")
    return max((int(path.stem.partition("-")[2]) for path in found), default=0)


def _wait(child: int, seconds: float, step: int) -> None:
    """Until so much time is gone or the checkpoint of that step is there, and the child trains."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and _newest("killed") < step:
        assert os.waitpid(child, os.WNOHANG) == (0, 0), Path("killed.log").read_text()
        time.sleep(0.001)


def main(name: str, folder: str) -> None:
    importlib.import_module(f"pipelines.{name}")
    os.chdir(folder)
    mnist.write_idx(Path())
    began = time.monotonic()
    child = _train(name, "whole")
    while not _newest("whole"):
        assert os.waitpid(child, os.WNOHANG) == (0, 0), Path("whole.log").read_text()
        time.sleep(0.01)
    first = time.monotonic() - began
    assert os.waitpid(child, 0)[1] == 0, Path("whole.log").read_text()
    a_step = (time.monotonic() - began - first) / STEPS[name]
    rng = np.random.default_rng(0)
    found, kills = [], 0
    while kills < KILLS[name]:
        # They die while they build, read, take their first steps and write.
        begins = _newest("killed")
        child = _train(name, "killed")
        if kills % 4 == 0:
            _wait(child, rng.uniform(0, first), begins + 4)
        else:
            wanted = begins + rng.integers(1, 5)
            _wait(child, math.inf, wanted)
            _wait(child, rng.uniform(0, 2 * a_step), wanted + 1)
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status), Path("killed.log").read_text()
        kills += 1
        found.append(_newest("killed"))
    assert max(found) < STEPS[name] - 1, found
    child = _train(name, "killed")
    assert os.waitpid(child, 0)[1] == 0, Path("killed.log").read_text()
    print(json.dumps({"kills": kills, "found": found, "first": first, "step": a_step}))


if __name__ == "__main__":
    main(*sys.argv[1:])
