"""The pipelines as their user calls them, small: everything from photos to exported files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import recipes
from tfstyle import images, stylize
from tfstyle.data import drawn, samples

ROOT = Path(__file__).parents[2]
TINY = ["--steps=2", "--width=4", "--crop_size=32", "--checkpoint_every=1", "--name=tiny"]


def run(tmp_path, module, *flags):
    command = [sys.executable, "-m", module, *flags, "--saved_models=models", "--runs=runs"]
    return subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two small photos, one of them to be kept out, a file that is no image, and two paintings."""
    folder = tmp_path_factory.mktemp("pipelines")
    for name in ("photos", "paintings"):
        (folder / name).mkdir()
    for i, name in enumerate(("chelsea", "coffee")):
        images.write(folder / f"photos/{name}.jpg", images.fit(samples.photo(name), 80))
        images.write(folder / f"paintings/{i}.png", drawn.style("mosaic", 64, seed=i))
    return folder


@pytest.mark.parametrize(
    ("module", "flags", "losses"),
    [
        (
            "pipelines.fast",
            ["--depth=1", "--style=paintings/0.png", "--target=content=0.8", "--validate_every=2"],
            {"style", "style_weight"},
        ),
        # On photos kept out; on the bundled ones test_gan runs it.
        pytest.param(
            "pipelines.gan",
            ["--residual_blocks=1", "--discriminator_width=4", "--style=paintings"],
            {"style", "adversarial", "discriminator"},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_pipeline_trains_exports_and_shows(folders, module, flags, losses):
    flags = [*TINY, *flags, "--content=photos", "--evaluate_on=photos/coffee.jpg", "--explain"]
    name = f"--name={module[-4:].strip('.')}"
    result = recipes.run(folders, module[10:], *flags, name, "--saved_models=models")
    assert result.returncode == 0, result.stderr
    name = name.removeprefix("--name=")
    models, run_folder = folders / "models", folders / "runs" / name
    exported = [models / name / "1", models / f"{name}.tflite"]
    for path in (*exported, run_folder / "result.jpg", run_folder / "health.html"):
        assert path.exists()
        assert str(path.relative_to(folders)) in result.stdout
    card = json.loads((models / f"{name}.json").read_text())
    assert card["pipeline"] == module
    assert card["options"]["crop_size"] == 32
    assert card["figures"]["count"] == 1
    assert np.isfinite(card["figures"]["relative_style_distance"])
    assert losses <= card["losses"].keys()
    told = "target content=0.8: the photos it is judged by end at "
    assert (told in result.stderr) == ("style_weight" in losses)
    assert images.read(run_folder / "result.jpg").shape[0] > 1
    out = stylize.Stylizer.load(models / f"{name}.tflite")(samples.photo("chelsea"))
    assert out.shape == samples.photo("chelsea").shape


@pytest.mark.slow
@pytest.mark.parametrize(
    "flag",
    ["--precision=mixed_float16", "--precision=mixed_bfloat16", "--jit", "--strategy=mirrored"],
)
def test_pipeline_runs_in_every_way_to_train(folders, flag):
    name = flag.strip("-").replace("=", "_")
    common = ["--depth=1", "--style=paintings/0.png", "--content=photos", f"--name={name}"]
    result = run(folders, "pipelines.fast", *TINY, *common, flag)
    assert result.returncode == 0, result.stderr
    losses = json.loads((folders / f"models/{name}.json").read_text())["losses"]
    assert np.isfinite(list(losses.values())).all()


def test_dry_run_prints_the_options_and_does_nothing(tmp_path):
    """In a process of its own, as make starts it; those above and below do without."""
    result = run(tmp_path, "pipelines.fast", "--dry_run", "--steps=7")
    assert result.returncode == 0, result.stderr
    options = json.loads(result.stdout)
    assert (options["steps"], options["style"]) == (7, "swirls")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--style=missing.jpg"], "missing.jpg"),
        (["--content=nowhere"], "nowhere"),
        (["--style=paper.jpg"], "paper.jpg"),
        (["--steps=0"], "steps 0"),
        (["--target=tv=1"], "target tv=1: give content=X or style=X"),
        (["--target=style=1", "--style_weight=0"], "give one above 0 to begin with"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_leaves_nothing(tmp_path, flags, message):
    (tmp_path / "paper.jpg").write_bytes(b"%PDF-1.4 not a photo")
    result = recipes.run(tmp_path, "fast", *TINY, *flags)
    assert result.returncode == 2
    (line,) = [line for line in result.stderr.splitlines() if "error:" in line]
    assert message in line
    assert "Traceback" not in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["paper.jpg"]
