"""Every recipe, killed at many moments, ends with the weights of one that never was. Also run as a
program, which trains in forks of itself: the import of TensorFlow takes seconds, and is done once.
"""

import importlib
import json
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
KILLS, STEPS = 20, 100
COMMON = [f"--steps={STEPS}", "--checkpoint_every=1", "--log_every=1", "--keep=2"]
QUIET = ["--validate_every=0", "--sample_every=1000", "--batch_size=2"]
SMALL = [*QUIET, "--crop_size=32", "--width=4"]
RECIPES = {
    "fast": [*SMALL, "--depth=1", "--style_size=64"],
    "fusion": [*SMALL, "--depth=1", "--style_size=64"],
    "gan": [
        *SMALL, "--residual_blocks=1", "--noise_dim=3", "--discriminator_width=4", "--pool_size=4",
        "--warmup_steps=1", "--d_steps=2",
    ],
    "style_class": [*SMALL, "--residual_blocks=1", "--discriminator_width=4"],
    "clahe": [*QUIET, "--crop_size=32"],
    "dcgan_mnist": [*QUIET, "--data=.", "--width=2", "--discriminator_width=2"],
}  # fmt: skip


# An attempt takes seconds: three minutes for a recipe, or so.
@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_killed_at_random_moments_it_ends_with_the_same_weights(tmp_path, name):
    command = [sys.executable, __file__, name, str(tmp_path)]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["kills"] == KILLS and len(set(told["found"])) > 10, told
    folders = [tmp_path / f"runs/{run}/checkpoints" for run in ("whole", "killed")]
    start = STEPS - 1
    recipes.assert_ended_alike(*folders, start, STEPS, least=1)
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
        cli.run(recipe.train, [*COMMON, *RECIPES[name], f"--name={run}"])
    except SystemExit as end:
        os._exit(end.code or 0)
    except BaseException as error:
        print(repr(error), flush=True)
        os._exit(1)


def _newest(run: str) -> int:
    found = Path(f"runs/{run}/checkpoints").glob("ckpt-*.index")
    return max((int(path.stem.partition("-")[2]) for path in found), default=0)


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
    a_step = (time.monotonic() - began - first) / STEPS
    rng = np.random.default_rng(0)
    found, kills = [], 0
    while kills < KILLS:
        # They die while they build, read, take their first steps and write.
        child = _train(name, "killed")
        if kills % 4 == 0:
            time.sleep(rng.uniform(0, first))
        else:
            wanted = _newest("killed") + rng.integers(1, 5)
            while _newest("killed") < wanted and os.waitpid(child, os.WNOHANG) == (0, 0):
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 2 * a_step))
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status), Path("killed.log").read_text()
        kills += 1
        found.append(_newest("killed"))
    assert max(found) < STEPS - 1, found
    child = _train(name, "killed")
    assert os.waitpid(child, 0)[1] == 0, Path("killed.log").read_text()
    print(json.dumps({"kills": kills, "found": found, "first": first, "step": a_step}))


if __name__ == "__main__":
    main(*sys.argv[1:])
