"""benchmarks/quality.py as its user calls it, small, with drawn styles and without the peer."""

import json
from pathlib import Path

import pytest

from tfstyle import features, images, metrics
from tfstyle.data import drawn, samples

ROOT = Path(__file__).parent.parent


@pytest.fixture
def folder(tmp_path):
    """Two photos, and a style image that is called as the model's style."""
    (tmp_path / "photos").mkdir()
    for name in ("coffee", "rocket"):
        images.write(tmp_path / "photos" / f"{name}.png", images.fit(samples.photo(name), 64))
    images.write(tmp_path / "starry_night.png", drawn.style("swirls", 64))
    return tmp_path


@pytest.fixture
def quality(folder, monkeypatch):
    """Calls the script, and gives what it left in results.json."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import quality

    def run(*flags, style=f"--style={folder}/starry_night.png"):
        common = [f"--content={folder}/photos", style, "--size=64", "--rounds=1"]
        monkeypatch.setattr("sys.argv", ["quality.py", *common, f"--out={folder}/out", *flags])
        quality.main()
        return json.loads((folder / "out" / "results.json").read_text())

    return run


def test_figures_are_those_of_the_pictures_that_it_leaves(quality, folder):
    results = quality("--methods=starry_night,optimize", "--limit=1", "--gatys_steps=5")
    found = results["pairs"]["coffee in starry_night"]
    assert found.keys() == {"photo", "starry_night", "optimize"}
    assert found["photo"]["relative_style_distance"] == pytest.approx(1)
    photo = images.read(folder / "photos" / "coffee.png")
    style = images.read(folder / "starry_night.png")
    for method in ("starry_night", "optimize"):
        picture = images.read(folder / "out" / f"coffee_starry_night_{method}.png")
        scores = metrics.evaluate(picture, photo, style, extractor=features.vgg16(metrics.LAYERS))
        assert scores.relative_style_distance < 0.9
        for key in ("relative_style_distance", "content_distance"):
            assert found[method][key] == pytest.approx(getattr(scores, key), rel=1e-4)
        assert found[method]["seconds"] > 0
        cells = f"{scores.relative_style_distance:.3f} / {scores.content_distance:.2f}"
        assert cells in (folder / "out" / "table.md").read_text()
    # Columns of a photo, a style and two methods, under their titles.
    assert images.read(folder / "out" / "sheet.jpg").shape[1] > 4 * 256


def test_the_same_command_goes_on_and_another_is_refused(quality, capsys):
    before = quality("--methods=starry_night", "--limit=1")
    assert before["pairs"].keys() == {"coffee in starry_night"}
    after = quality("--methods=starry_night")
    assert after["pairs"].keys() == {"coffee in starry_night", "rocket in starry_night"}
    assert after["pairs"]["coffee in starry_night"] == before["pairs"]["coffee in starry_night"]
    with pytest.raises(SystemExit, match="2"):
        quality("--methods=starry_night", "--size=32")
    assert "Give another --out" in capsys.readouterr().err


def test_a_trained_model_without_its_painting_is_refused(quality, capsys):
    with pytest.raises(SystemExit, match="2"):
        quality("--methods=starry_night,optimize", style="--style=")
    told = capsys.readouterr().err
    assert "none of the styles (starry_night) among mosaic, swirls" in told
    assert "--style=FOLDER" in told


def test_a_peer_that_is_not_there_is_left_out(quality, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("speed.PEER_VENV", tmp_path / ".venv-peer")
    results = quality("--methods=starry_night,peer", "--limit=1")
    assert results["methods"].keys() == {"starry_night"}
    assert "`make bench BENCH=speed` installs it" in capsys.readouterr().err
