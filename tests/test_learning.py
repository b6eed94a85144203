"""A style of one's own: only its numbers are fitted, and the others stay what they were."""

import functools
import json
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.small_models import exported, quick_exports, save, shaken
from tfstyle import cli, images, learning, losses, machine, stylize
from tfstyle.data import drawn, paintings, samples
from tfstyle.errors import ArgumentError
from tfstyle.export import ExportError, rebuild
from tfstyle.networks import description, generators
from tfstyle.training import steps


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An exported network of two styles, untrained but with styles that differ."""
    generator = shaken(generators.fusion_generator(styles=2, width=4, depth=1))
    folder = tmp_path_factory.mktemp("models")
    card = {"options": {"width": 4, "depth": 1}, "pipeline": "pipelines.fusion", "style": "a; b"}
    exported(generator, "pair", directory=folder, styles=["a", "b"], card=card)
    return folder / "pair"


def saved(generator, name, folder, photo, **card):
    """An export whole but for TFLite files, with this in its card."""
    save(generator, folder / name / "1", photo, alone="float")
    (folder / f"{name}.json").write_text(json.dumps({"name": name, "version": 1, **card}))


# Models of one name are the same ones here.
rebuilt = functools.cache(rebuild.of_export)


@pytest.fixture
def uncompiled(monkeypatch):
    """For runs of a few steps, which take less than compiling one; their crops are small."""
    monkeypatch.setattr(rebuild, "of_export", rebuilt)
    monkeypatch.setattr(steps.PerceptualStep, "__call__", steps.PerceptualStep.update)
    small = functools.partial(learning.learn, batch_size=1, crop_size=48)
    monkeypatch.setattr(learning, "learn", small)


@pytest.fixture(autouse=True)
def own_models(tmp_path, monkeypatch):
    """What is learnt lies in a folder of each test."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))


def learn(model, **options):
    options = {"count": 12, "batch_size": 1, "crop_size": 48, "style_size": 64} | options
    return learning.learn(drawn.style("mosaic", 96), "mine", model=model, **options)


ENOUGH = {"count": 40, "learning_rate": 0.1}


@pytest.fixture(scope="module")
def learned(model):
    """A style that was learned, and what was told after each step."""
    told = []
    return learn(model, **ENOUGH, progress=lambda *step: told.append(step)), told


def test_a_style_is_learned_and_the_others_stay(learned, model, photo):
    found, told = learned
    assert found.styles == ("mine", "a", "b") and found.nearest in ("a", "b")
    assert [number for number, _ in told] == list(range(1, 41))
    assert told[-1][1]["style"] < 0.9 * told[0][1]["style"]
    new, old = stylize.Stylizer.load(found.generator), stylize.Stylizer.load(model)
    for index, name in enumerate("ab"):
        np.testing.assert_allclose(new(photo, style=index + 1), old(photo, style=name), atol=1e-3)
    assert np.abs(new(photo, style=0) - old(photo, style=found.nearest)).mean() > 0.01


def test_alone_the_whole_network_is_fitted_to_one_style(model, photo, uncompiled):
    found = learn(model, count=10, alone=True)
    assert found.styles == ("mine",) and "description" not in found.card
    new, old = stylize.Stylizer.load(found.generator), stylize.Stylizer.load(model)
    assert new.style_weights(None).shape == (1, 1)
    assert np.abs(new(photo) - old(photo, style=found.nearest)).mean() > 0.01
    kernels = [
        [v.numpy() for v in one.variables if v.name == "kernel"]
        for one in (found.generator, rebuild.of_export(model).generator)
    ]
    assert all(np.abs(new - old).max() > 1e-4 for new, old in zip(*kernels, strict=True))


def test_the_same_seed_gives_the_same_style(model, uncompiled):
    one, same, other = (learn(model, count=2, seed=seed) for seed in (1, 1, 2))
    assert one.losses == same.losses != other.losses


def test_the_convolutions_are_not_touched(learned, model):
    before = {v.path: v.numpy() for v in rebuild.of_export(model).generator.variables}
    found, _ = learned
    kernels = [v for v in found.generator.variables if v.name == "kernel"]
    assert kernels
    for kernel, old in zip(
        kernels, [v for p, v in before.items() if p.endswith("kernel")], strict=True
    ):
        np.testing.assert_array_equal(kernel.numpy(), old)


def test_the_nearest_style_is_that_of_the_least_loss(model, tiny_extractor):
    base = rebuild.of_export(model).generator
    picture = tf.constant(images.fit(samples.photo("coffee"), 192)[None])
    weights = tf.constant([[0.0, 1.0]])
    target = tiny_extractor(base([picture, weights]))
    grams = {layer: losses.gram(target[layer]) for layer in losses.STYLE_LAYERS}
    assert learning._nearest(base, 2, tiny_extractor, grams) == 1


def test_what_cannot_be_taught_is_refused(model, tmp_path, photo):
    with pytest.raises(learning.LearnError, match="has a style called so"):
        learning.learn(drawn.style("mosaic", 64), "a", model=model)
    one = generators.fast_generator(width=4, depth=1)
    saved(one, "single", tmp_path, photo, options={"width": 4, "depth": 1})
    with pytest.raises(learning.LearnError, match="not one of several styles"):
        learn(tmp_path / "single")
    with pytest.raises(stylize.ModelNotFoundError):
        learn(tmp_path / "nothing")


def test_command_makes_a_model_like_the_others(model, tmp_path, monkeypatch, capsys, uncompiled):
    monkeypatch.chdir(tmp_path)
    images.write("my painting.png", drawn.style("mosaic", 96))
    images.write("photo.png", samples.photo("chelsea")[:64, :64])
    arguments = ["learn", "my painting.png", "--model", str(model), "--count", "2"]
    with quick_exports():
        assert cli.main([*arguments, "--style_size", "64"]) == 0
    assert "Learned     my_painting" in capsys.readouterr().out
    # Found by its name from every folder.
    own = stylize.user_folder()
    assert not (tmp_path / "saved_models").exists()
    card = json.loads((own / "my_painting.json").read_text())
    assert card["styles"] == ["my_painting", "a", "b"]
    assert card["learned"]["painting"] == "my painting.png"
    style = "my_painting:1,b:1"
    given = ["stylize", "photo.png", "--model", "my_painting", "--style", style, "-o", "out.png"]
    assert cli.main(given) == 0
    assert images.read("out.png").shape == (64, 64, 3)
    # Alone it has the new style only.
    with quick_exports():
        assert cli.main([*arguments, "--alone", "--name", "one", "--style_size", "64"]) == 0
    assert json.loads((own / "one.json").read_text())["styles"] == ["one"]
    assert cli.main(["stylize", "photo.png", "--model", "one", "-o", "one.png"]) == 0
    # And it can be taught another.
    found = learning.learn(
        drawn.style("mosaic", 64), "next", model="my_painting", count=1, crop_size=48
    )
    assert found.styles == ("next", "my_painting", "a", "b")


def test_a_name_in_use_is_refused_but_for_a_further_version_of_ones_own(
    painted, monkeypatch, capsys
):
    def refuse(*_, **__):
        raise learning.LearnError("enough")

    monkeypatch.setattr(learning, "learn", refuse)
    for name in ("taken", "other"):
        card = {"schema": 1, "name": name, "version": 1, "versions": []}
        folder = Path("saved_models" if name == "taken" else "elsewhere")
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(card))
    for given, told in (
        (
            ["--name=starry_night"],
            "there is a model called so, .*starry_night.json. Give another.$",
        ),
        (["--name=starry_night", "--force"], "Give another.$"),
        (["--name=taken"], "Give another.$"),
        (["--name=taken", "-o", "saved_models"], "Give another, or --force for a further version"),
        (["--name=taken", "--saved_models=saved_models", "--force"], "enough"),
        (["--name=other", "-o", "elsewhere"], "Give another, or --force"),
        (["--name=other"], "enough"),
    ):
        assert cli.main(["learn", "mine.png", *given]) == 2
        assert re.search(told, capsys.readouterr().err.strip()), given


def test_a_painting_of_any_script_names_its_model(tmp_path, monkeypatch, capsys):
    given = []

    def refuse(painting, name, **_):
        given.append(name)
        raise learning.LearnError("enough")

    monkeypatch.setattr(learning, "learn", refuse)
    monkeypatch.chdir(tmp_path)
    for name in ("星月夜", "睡蓮", "Ночь, звёздная", "The Scream (1893)", "_ _"):
        images.write(f"{name}.png", np.zeros((16, 16, 3), np.float32))
        assert cli.main(["learn", f"{name}.png", "-o", "out"]) == 2
    assert given == ["XingYueYe", "ShuiLian", "Noch_zvezdnaya", "The_Scream_1893"]
    told = capsys.readouterr().err
    assert "_ _.png: no letter or digit to name a model by. Give --name NAME." in told


def test_a_painting_too_large_for_memory_is_refused_before_the_network_sees_it(
    model, monkeypatch, photo
):
    painting = images.resize(photo, (500, 700))
    monkeypatch.setattr(machine, "usable_memory", lambda: 100_000_000)
    with pytest.raises(machine.TooLargeError, match="painting: 700x500 pixels .*a style_size of"):
        learning.learn(painting, "new", model=model, style_size=100_000)


def test_command_names_what_is_wrong(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.jpg").touch()
    for given, message in (
        (["empty.jpg"], "empty.jpg"),
        (["missing.jpg"], "missing.jpg"),
        (["empty.jpg", "--count", "0"], "--count"),
    ):
        try:
            code = cli.main(["learn", "--model", str(model), "-o", "out", *given])
        except SystemExit as stop:
            code = stop.code
        told = capsys.readouterr().err
        assert code == 2 and message in told and "Traceback" not in told
    assert not (tmp_path / "out").exists()


@pytest.fixture
def painted(tmp_path, monkeypatch, uncompiled):
    """The current folder, with a painting in it."""
    monkeypatch.chdir(tmp_path)
    images.write("mine.png", drawn.style("mosaic", 64))
    return tmp_path


def command(model, *more):
    given = ["learn", "mine.png", "--model", str(model), "--count", "1", "--style_size", "64"]
    return cli.main([*given, "-o", "saved_models", "--force", *more])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--name", "a b"], "name 'a b': give one of letters"),
        (["--name", "broken"], "broken.json: not a model card"),
        (["--name", "newer"], "newer.json: a model card of schema 99"),
        (["--name", "mine", "-o", "file"], "file: a file, and file is to be a folder"),
        (["--name", "a"], "has a style called so"),
        (["--name", "mine", "--title", "a\udcff"], "card: not JSON"),
        (["--name", "mine", "--licence", "\udcff"], "card: not JSON"),
    ],
)
def test_what_cannot_be_exported_is_told_before_the_training(
    model, painted, monkeypatch, capsys, more, message
):
    (painted / "file").write_text("mine")
    (painted / "saved_models").mkdir()
    (painted / "saved_models" / "broken.json").write_text("{")
    newer = {"name": "newer", "schema": 99, "tfstyle": "9.9", "versions": []}
    (painted / "saved_models" / "newer.json").write_text(json.dumps(newer))
    monkeypatch.setattr(learning.rebuild, "of_export", lambda _: pytest.fail("it trained"))
    assert command(model, *more) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and message in said[0]


@pytest.mark.parametrize(
    ("size", "told"),
    [
        ((40, 2000), "of 2000x40 pixels, 64x1 at a style_size of 64, and its short side must have"),
        ((3, 3), "3x3 at a style_size of 64, and its short side must have 16. Give a larger pict"),
        ((2000, 15), "Give a larger picture"),
    ],
)
def test_a_painting_of_which_nothing_would_be_left_is_refused_before_the_training(
    model, monkeypatch, size, told
):
    monkeypatch.setattr(learning.rebuild, "of_export", lambda _: pytest.fail("it trained"))
    painting = np.full((*size, 3), 0.5, "float32")
    with pytest.raises(ArgumentError, match="painting scroll: ") as caught:
        learning.learn(painting, "scroll", model=model, style_size=64)
    assert told in str(caught.value)


def test_the_style_size_that_is_proposed_will_do():
    scroll = np.full((40, 2000, 3), 0.5, "float32")
    with pytest.raises(ArgumentError) as caught:
        paintings.fit(scroll, 512, "scroll")
    proposed = int(str(caught.value).rpartition(" ")[2])
    assert min(paintings.fit(scroll, proposed, "scroll").shape[:2]) == paintings.MIN_SIDE
    assert paintings.fit(scroll[:, :40], 16, "square").shape == (16, 16, 3)


def test_a_picture_of_one_colour_gives_finite_losses_and_a_finite_style(model, photo, uncompiled):
    told = []
    flat = np.full((32, 48, 3), 0.3, "float32")
    done = learning.learn(
        flat, "flat", model=model, count=2, progress=lambda _, losses: told.append(losses)
    )
    assert np.isfinite([*told[-1].values()]).all()
    styles = np.eye(1, len(done.styles), dtype="float32")
    assert np.isfinite(done.generator([photo[None], styles])).all()


def test_a_loss_that_is_not_finite_ends_the_training(model, monkeypatch, uncompiled):
    monkeypatch.setattr(steps.PerceptualStep, "__call__", lambda *_: {"total": tf.constant(np.nan)})
    with pytest.raises(learning.LearnError, match="step 1: loss total is nan"):
        learning.learn(drawn.style("mosaic", 64), "mine", model=model, count=2)


@pytest.mark.parametrize("writable", [True, False])
def test_what_was_learned_outlives_an_export_that_fails(
    model, painted, photo, monkeypatch, capsys, writable
):
    def fail(*_, **__):
        if not writable:  # any more
            (painted / "models").write_text("not a folder")
        raise ExportError("mine: differs from Keras on a photo: tflite_dynamic by mean 0.5")

    monkeypatch.setattr("tfstyle.export.export", fail)
    assert command(model, "-o", "models") == 2
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tfstyle:")]
    folder = "models/" if writable else ""
    kept = f"{folder}mine.learned.keras"
    assert "differs from Keras" in said and said.endswith(f"--model {kept}")
    stylizer = stylize.Stylizer.load(kept)
    assert len(stylizer.styles) == 3 and stylizer(photo).shape == photo.shape


def test_a_fault_in_the_export_shows_as_one_and_nothing_is_lost(
    model, painted, monkeypatch, capsys
):
    def fail(*_, **__):
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr("tfstyle.export.export", fail)
    try:
        assert command(model) not in (0, 2)
    except ZeroDivisionError:
        pass
    assert "saved_models/mine.learned.keras" in capsys.readouterr().err
    assert (painted / "saved_models" / "mine.learned.keras").is_file()


def test_a_model_of_a_network_that_its_card_tells_is_taught(tmp_path, photo, uncompiled):
    generator = shaken(generators.fusion_generator(styles=2, width=4, depth=1))
    network = description.describe(generator)
    saved(generator, "told", tmp_path, photo, styles=["a", "b"], network=network)  # no options
    found = learn(tmp_path / "told", count=1)
    assert found.generator.inputs[1].shape == (None, 3)
    card = json.loads((tmp_path / "told.json").read_text())
    (tmp_path / "told.json").write_text(json.dumps(card | {"schema": 99}))
    with pytest.raises(ArgumentError, match="schema 99"):
        learn(tmp_path / "told", count=1)
