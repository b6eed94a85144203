"""`tfstyle explain` whole: what is explained of which model, in which budget; changes tried."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfstyle import cli, features, images, losses, machine, stylize
from tfstyle.explain import loss_maps, models, style_gap, suggestions, survey
from tfstyle.explain.results import Explanation
from tfstyle.networks import discriminators, generators


@pytest.fixture
def desk(tmp_path, monkeypatch, photo, tiny_extractor):
    monkeypatch.chdir(tmp_path)
    shallow = keras.Model(
        tiny_extractor.input,
        {name: tiny_extractor.get_layer(name).output for name in ("block1_conv1", "block2_conv1")},
    )
    monkeypatch.setattr(features, "vgg16", lambda layers, **options: tiny_extractor)
    monkeypatch.setattr(features, "alexnet", lambda **options: shallow)
    noise = np.random.default_rng(0).normal(0, 0.1, (64, 64, 3))
    painted = np.clip(photo[:64, :64] + noise, 0, 1).astype("float32")
    pictures = {"photo": photo[:64, :64], "painting": photo[::-1][:64, :48], "painted": painted}
    for name, image in pictures.items():
        images.write(f"{name}.png", image)
    return tmp_path


def gan_run(folder, *, noise_dim=3, adversarial="lsgan"):
    """A folder as pipelines.gan leaves it, untrained."""
    options = {
        "width": 4,
        "residual_blocks": 1,
        "norm": "instance",
        "padding": "reflect",
        "noise_dim": noise_dim,
        "discriminator_width": 4,
        "discriminator_norm": "instance",
        "ema_decay": 0.9,
        "adversarial": adversarial,
        "adversarial_weight": 2.0,
    }
    generator = generators.unet_generator(width=4, residual_blocks=1, noise_dim=noise_dim)
    discriminator = discriminators.patch_discriminator(width=4)
    folder.mkdir(parents=True)
    (folder / "options.json").write_text(json.dumps(options))
    checkpoint = tf.train.Checkpoint(ema=generator, discriminator=discriminator)
    tf.train.CheckpointManager(checkpoint, folder / "checkpoints", 1).save()
    return generator, discriminator


def class_run(folder):
    """A folder as pipelines.style_class leaves it, untrained."""
    options = {
        "width": 4,
        "depth": 1,
        "discriminator_width": 4,
        "discriminator_norm": "spectral",
        "class_weight": 3.0,
    }
    generator = generators.fusion_generator(styles=2, width=4, depth=1)
    discriminator = discriminators.class_discriminator(classes=3, width=4, norm="spectral")
    folder.mkdir(parents=True)
    (folder / "options.json").write_text(json.dumps(options))
    checkpoint = tf.train.Checkpoint(ema=generator, discriminator=discriminator)
    tf.train.CheckpointManager(checkpoint, folder / "checkpoints", 1).save()
    return discriminator


# What is known of a model


def test_the_networks_of_a_run_are_those_that_were_saved(tmp_path, photo):
    generator, discriminator = gan_run(tmp_path / "run")
    assert models.is_run(tmp_path / "run") and not models.is_run(tmp_path)
    found = models.load(tmp_path / "run")
    assert (found.kind, found.classes) == ("noise", 0)
    given = [photo[None], np.ones((1, 3), "float32")]
    np.testing.assert_array_equal(found.generator(given), generator(given))
    np.testing.assert_array_equal(found.discriminator(photo[None]), discriminator(photo[None]))


def test_the_shipped_model_is_built_again_from_its_card(photo):
    found = models.load("starry_night")
    assert found is not None and found.kind == "" and found.discriminator is None
    assert found.options["style_weight"] > 0


# Changes that were tried


def trial(size, before, after, noise=0.0):
    picture = np.zeros((4, 4, 3), "float32")
    return suggestions.Trial(
        finding=f"It is {size}.",
        change=f"change {size}",
        size=size,
        metric="badness",
        measure=lambda image: float(image[0, 0, 0]),
        control=lambda seed: picture + np.float32(before + seed * noise),
        changed=lambda seed: picture + np.float32(after + seed * noise),
    )


def test_the_largest_findings_are_tried_and_the_answer_stands_as_it_is():
    found = suggestions.explain([trial(0.1, 1, 0), trial(0.9, 0.5, 0.25), trial(0.4, 0.5, 0.75)])
    assert [check.verdict for check in found.checks] == ["PASS", "FAIL"]
    values = {"before/0": 0.5, "after/0": 0.25, "before/1": 0.5, "after/1": 0.75}
    assert found.figures == values | {"noise/0": 0, "noise/1": 0}
    assert "change 0.9" in found.summary and "change 0.1" not in found.summary
    assert "it helps" in found.summary and "leave it" in found.summary


@pytest.mark.parametrize(
    "before, after, noise, verdict",
    [
        (0.5, 0.4, 0.05, "PASS"),
        (0.5, 0.4, 0.2, "FAIL"),  # lower, and no more than a second run without the change
        (0.5, 0.4, -0.06, "FAIL"),  # lower than both, by less than they are apart
        (0.5, 0.3, -0.06, "PASS"),
    ],
)
def test_a_change_helps_only_beyond_the_noise_of_two_runs(before, after, noise, verdict):
    found = suggestions.explain([trial(1.0, before, after, noise)])
    assert found.checks[0].verdict == verdict
    assert ("it helps" in found.summary) == (verdict == "PASS")
    assert found.figures["noise/0"] == pytest.approx(abs(noise), abs=1e-6)


def test_more_weight_on_a_layer_lowers_its_loss_beyond_the_same_run_without(tiny_extractor, photo):
    content, style = photo[:48, :48], photo[::-1][:48, :48, ::-1].copy()
    gap = style_gap.explain(content, style, extractor=tiny_extractor)
    maps = Explanation("loss_maps", "", "", {"part/content": 0.1, "part/style": 0.2}, {}, {}, [])
    trials = suggestions.of_findings(
        content,
        content=content,
        style=style,
        extractor=tiny_extractor,
        loss_maps=maps,
        style_gap=gap,
        weights={"content": 1.0, "style": 10.0},
        steps=15,
    )
    found = suggestions.explain(trials)
    assert found.figures["after/0"] < found.figures["before/0"]
    whole = dataclasses.replace(trials[1]).measure(content)
    assert found.figures["before/0"] < whole or found.figures["before/1"] < whole


@pytest.mark.parametrize(
    "of_photo, of_picture, warns",
    [
        (1.0, 0.2, False),
        (1.0, 0.39, False),
        (1.0, 0.41, True),  # hardly nearer than the photo
        (1.0, 1.2, True),
        (3.5, 1.2, True),  # nearer, and far
        (0.0, 0.0, False),
    ],
)
def test_a_painting_that_the_picture_is_far_from_is_told(
    monkeypatch, photo, of_photo, of_picture, warns
):
    def distance(image, style, *, extractor):
        return of_photo if image is photo else of_picture

    monkeypatch.setattr(survey.metrics, "style_distance", distance)
    told = survey._of_another_style(photo.copy(), photo, photo, None, "The Scream")
    assert bool(told) == warns
    assert not warns or (f"{of_picture:.2f} away" in told and "its style is The Scream" in told)


# The command


def explain(*arguments, output="why.html"):
    flags = ["--content", "photo.png", "--style", "painting.png", "--size", "64", "-o", output]
    return cli.main(["explain", *arguments, *flags])


def questions(desk):
    saved = json.loads((desk / "why.json").read_text())
    return {each["name"]: each for each in saved["explanations"]}


@pytest.fixture
def shortened(monkeypatch):
    """Few units, steps and small textures, in place of those that a real picture deserves."""
    own_trials = survey.suggestions.of_findings
    own_units, own_layers = survey.units.explain, survey.layer_meaning.explain

    def few(*args, **options):
        return own_units(*args, **options | {"ablate": 8, "together": 2})

    def small(styles, **options):
        return own_layers(styles, **options | {"size": 32, "steps": 2})

    def short(*args, **options):
        return own_trials(*args, **options | {"steps": 3})

    monkeypatch.setattr(survey.suggestions, "of_findings", short)
    monkeypatch.setattr(survey.units, "explain", few)
    monkeypatch.setattr(survey.layer_meaning, "explain", small)
    monkeypatch.setattr(survey.units, "_SETS", 3)
    monkeypatch.setattr(survey.attribution, "_STEPS", (8,))
    monkeypatch.setattr(survey.attribution, "_ORDERS", 20)


def test_a_run_of_a_gan_is_explained_with_its_discriminator_noise_skips_and_units(
    desk, shortened, capsys
):
    gan_run(desk / "runs/tiny")
    assert explain("runs/tiny") == 0
    found = questions(desk)
    expected = {"loss_maps", "style_gap", "skips", "noise", "units", "attribution", "layers"}
    assert found.keys() == expected | {"suggestions"}
    assert "part/adversarial" in found["loss_maps"]["figures"]
    assert "What helps?" in capsys.readouterr().out
    assert not any("error" in each["summary"] for each in found.values())


def test_a_run_of_classes_is_explained_by_the_class_of_its_style(desk, shortened, photo):
    discriminator = class_run(desk / "runs/classes")
    assert explain("runs/classes", "--model_style", "1") == 0
    found = questions(desk)
    assert {"loss_maps", "style_gap", "units", "style_directions", "attribution"} <= found.keys()
    assert "part/adversarial" not in found["loss_maps"]["figures"]
    assert "style 1" in found["attribution"]["summary"]
    networks = models.load("runs/classes")
    assert networks.classes == 3
    np.testing.assert_allclose(networks.discriminator(photo[None]), discriminator(photo[None]))


def run_of_one_style(folder):
    generator = generators.fast_generator(width=4, depth=1)
    folder.mkdir(parents=True)
    (folder / "options.json").write_text(json.dumps({"width": 4, "depth": 1}))
    checkpoint = tf.train.Checkpoint(generator=generator)
    tf.train.CheckpointManager(checkpoint, folder / "checkpoints", 1).save()


def jobs(model):
    content, painting = images.read("photo.png"), images.read("painting.png")
    return {job.name for job in survey.of(model, content=content, style=painting).jobs}


def test_what_is_explained_of_a_run_of_one_style_and_of_a_model_of_several(desk):
    """The explanations themselves are made of other runs above, and of these below."""
    of_all = {"losses", "style gap", "skip connections", "units", "what layers see", "what helps"}
    run_of_one_style(desk / "runs/fast")
    assert jobs("runs/fast") == of_all
    generators.fusion_generator(styles=3, width=4, depth=1).save("mine.keras")
    assert jobs("mine.keras") == of_all | {"style directions"}


@pytest.mark.slow
def test_a_run_of_one_style_is_explained_as_its_export_is(desk, shortened):
    run_of_one_style(desk / "runs/fast")
    assert explain("runs/fast") == 0
    assert {"loss_maps", "style_gap", "skips", "units"} <= questions(desk).keys()


@pytest.mark.slow
def test_a_model_of_several_styles_has_directions(desk, shortened):
    generators.fusion_generator(styles=3, width=4, depth=1).save("mine.keras")
    assert explain("mine.keras") == 0
    assert {"style_directions", "units"} <= questions(desk).keys()


def test_the_style_nearest_to_the_painting_is_looked_into_or_the_one_given(desk, monkeypatch):
    generators.fusion_generator(styles=3, width=4, depth=1).save("mine.keras")
    content, painting = images.read("photo.png"), images.read("painting.png")
    own = stylize.Stylizer.__call__

    def painted(stylizer, photo, *, style):
        return images.resize(painting, photo.shape[:2]) if style == "1" else photo

    monkeypatch.setattr(stylize.Stylizer, "__call__", painted)
    assert survey.of("mine.keras", content=content, style=painting).style == "1"
    monkeypatch.setattr(stylize.Stylizer, "__call__", own)
    given = survey.of("mine.keras", content=content, style=painting, model_style="2")
    expected = own(stylize.Stylizer.load("mine.keras"), content, style="2")
    assert given.style == "2"
    np.testing.assert_array_equal(given.picture, expected)


@pytest.mark.slow
def test_a_full_budget_looks_at_more(desk):
    content = style = images.read("photo.png")
    generators.fast_generator(width=4, depth=1).save("mine.keras")
    of = {
        budget: survey.of("mine.keras", content=content, style=style, budget=budget)
        for budget in ("quick", "full")
    }
    cost = {budget: sum(job.cost for job in found.jobs) for budget, found in of.items()}
    assert cost["quick"] < cost["full"]
    names = {budget: {job.name for job in found.jobs} for budget, found in of.items()}
    assert names["full"] - names["quick"] == {"weights of the losses"}


def test_costs_keep_to_the_budgets_at_256_pixels(desk, photo):
    big = images.resize(photo, (256, 256))
    generators.fast_generator(width=16, depth=4).save("mine.keras")
    for budget, most in (("quick", 120), ("full", 1200)):
        found = survey.of("mine.keras", content=big, style=big, budget=budget)
        assert sum(job.cost for job in found.jobs) < most


def test_the_losses_of_a_trained_generator_are_weighed(desk):
    generators.fast_generator(width=4, depth=1).save("mine.keras")
    networks = models.load("mine.keras")
    found = survey._loss_weights(networks, [], images.read("painting.png"))
    assert {f"gradient/{name}" for name in ("content", "style", "tv")} <= found.figures.keys()
    assert len(found.checks) == 2 and losses.CONTENT_LAYER


@pytest.mark.slow
def test_a_picture_is_explained_the_same_again(desk, shortened, capsys):
    assert explain("painted.png", output="new/why.html") == 0
    told = capsys.readouterr().out
    assert "PASS        Where does each loss come from?" in told and "new/why.html" in told
    assert {path.suffix for path in (desk / "new").iterdir()} == {".html", ".json", ".npz"}
    page = (desk / "new/why.html").read_text("utf-8")
    assert len(page) < 15_000_000 and 'src="http' not in page and "href" not in page
    first = (desk / "new/why.json").read_bytes()
    names = {each["name"] for each in json.loads(first)["explanations"]}
    assert names == {"loss_maps", "style_gap", "layers", "suggestions"}
    assert explain("painted.png", output="new/why.html") == 0
    assert (desk / "new/why.json").read_bytes() == first


def test_a_page_that_cannot_be_written_is_told_before_the_work(desk, monkeypatch, capsys):
    (desk / "taken").write_text("")
    monkeypatch.setattr(loss_maps, "explain", lambda *_, **__: pytest.fail("the work was begun"))
    flags = ["--content", "photo.png", "--style", "painting.png", "--size", "64"]
    assert cli.main(["explain", "painted.png", *flags, "-o", "taken/why.html"]) == 2
    assert "taken: File exists" in capsys.readouterr().err


def test_strict_fails_where_a_verdict_does(desk, shortened, monkeypatch):
    own = loss_maps.content_map
    monkeypatch.setattr(loss_maps, "content_map", lambda *of: 1.01 * own(*of))
    assert explain("painted.png", "--strict") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["painted.png", "-o", "why.pdf"], "why.pdf: give a name that ends in .html"),
        (["nothing.png", "-o", "why.html"], "nothing.png"),
        (["nothing", "-o", "why.html"], "nothing"),
        (["painted.png", "-o", "why.html", "--model_style", "a"], "style 'a': painted.png has one"),
        (["ten_styles", "-o", "why.html", "--model_style", "a"], "style 'a': the model has no"),
        (["painted.png", "-o", "why.html", "--style", "photo.png/"], "photo.png/"),
    ],
)
def test_what_cannot_be_explained_is_told_in_one_line(desk, capsys, arguments, told):
    flags = ["--content", "photo.png", "--size", "64"]
    if "--style" not in arguments:
        flags += ["--style", "painting.png"]
    assert cli.main(["explain", *arguments, *flags]) == 2
    error = capsys.readouterr().err
    assert told in error and "Traceback" not in error
    assert not (desk / "why.html").exists()


@pytest.mark.parametrize("large", ["photo", "painting"])
def test_a_size_beyond_the_memory_is_refused_before_anything_is_made(
    desk, capsys, monkeypatch, large
):
    images.write(f"{large}.png", np.full((300, 400, 3), 0.5, "float32"))
    monkeypatch.setattr(machine, "usable_memory", lambda: 240_000_000)
    monkeypatch.setattr(features, "vgg16", None)
    flags = ["--content", "photo.png", "--style", "painting.png", "--size", "20000"]
    assert cli.main(["explain", "painted.png", *flags, "-o", "why.html"]) == 2
    error = capsys.readouterr().err
    name = "the photo" if large == "photo" else "the style image"
    assert f"{name}: 400x300 pixels need about 1.0 GB of memory to be explained" in error
    assert error.endswith("Look at it at a size of at most 200x150 (--size 200)\n")
    assert not (desk / "why.html").exists()
