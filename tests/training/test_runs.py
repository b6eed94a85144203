"""A recipe's run: its name, its options, what lies in its folder, and a fit through it."""

import dataclasses
import json
import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfstyle import data, export, images, losses, training
from tfstyle.errors import ArgumentError
from tfstyle.networks import generators
from tfstyle.training import steps


def recipe(
    *,
    width: int = 4,
    photos: data.Photos = data.Photos(crop_size=32),  # noqa: B008
    release: export.Release = export.Release(),  # noqa: B008
    options: training.Options = training.Options(steps=2, validate_every=0),  # noqa: B008
):
    return training.open_run(recipe, locals(), name="tiny")


def options(tmp_path, **others):
    return training.Options(steps=2, validate_every=0, runs=str(tmp_path / "runs"), **others)


def fit(run, photos=None, **more):
    photos = photos or data.Photos(crop_size=32)
    optim = training.Optim(clip_norm=1.0)
    with run.scope():
        generator = generators.fast_generator(width=run.settings["width"], depth=1)
        optimizer, ema = optim.adam(generator, run.options.steps), optim.average(generator)
    step = steps.TargetStep(generator=generator, optimizer=optimizer)

    def batches(**place):
        crops, reports = photos.batches(**place)
        return tf.data.Dataset.zip(crops, crops), reports

    run.fit(step, batches, ema=ema, validate=lambda: {"error": 1.0}, **more)
    return ema.model


def test_a_run_holds_its_options_flat_and_names_its_recipe(tmp_path):
    run = recipe(width=6, options=options(tmp_path), photos=data.Photos(crop_size=48))
    assert (run.name, run.folder) == ("tiny", tmp_path / "runs" / "tiny")
    assert run.pipeline == "pipelines.test_runs"
    assert run.settings["width"] == 6 and run.settings["crop_size"] == 48
    assert {"title", "licence", "photos", "saved_models"} <= run.settings.keys()
    assert "spared" not in run.settings and not run.folder.exists()
    assert run.chief and run.shard == (0, 1) and not run.resumes


def test_fit_keeps_options_with_their_schema_and_pipeline_and_calls_back(tmp_path):
    run = recipe(options=options(tmp_path))
    seen = []

    class Watch:
        def __call__(self, progress):
            seen.append(progress.step)

        def finish(self):
            seen.append("finished")

    fit(run, callbacks=[None, Watch()])
    told = json.loads((run.folder / "options.json").read_text())
    assert told["schema"] == 1 and told["pipeline"] == "pipelines.test_runs"
    assert told["width"] == 4 and told["steps"] == 2
    assert seen == [1, 2, "finished"]
    assert run.losses.keys() == {"pixels"} and run.resumes
    assert run.card()["losses"] == run.losses


def test_a_command_without_a_name_goes_on_with_its_own_run_beside_others(tmp_path, capsys):
    fit(recipe(options=options(tmp_path)))
    other = recipe(width=6, options=options(tmp_path))
    assert other.name == "tiny_2"
    assert "tiny: holds a run with other options; this one is tiny_2" in capsys.readouterr().err
    fit(other)
    assert recipe(width=6, options=options(tmp_path)).name == "tiny_2"
    assert recipe(width=8, options=options(tmp_path)).name == "tiny_3"
    assert recipe(options=options(tmp_path)).name == "tiny"


def test_a_name_that_is_given_is_kept_and_other_options_are_refused(tmp_path):
    release = export.Release(name="mine")
    fit(recipe(release=release, options=options(tmp_path)))
    with pytest.raises(training.TrainingError, match="mine holds a run .*width: 4, now 6"):
        recipe(width=6, release=release, options=options(tmp_path))
    # Of the export, and of the folder.
    titled = dataclasses.replace(release, title="A", licence="B")
    assert recipe(release=titled, options=options(tmp_path)).resumes


@pytest.fixture
def photos(tmp_path):
    """A folder of two photos, one in a folder of its own; the run's folders lie in it too."""
    for number, name in enumerate(("a.png", "below/b.png")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        images.write(path, np.full((40, 40, 3), number / 2, "float32"))
    return data.Photos(content=str(tmp_path), crop_size=32)


def test_photos_that_are_other_than_they_were_are_not_gone_on_with(tmp_path, photos, capsys):
    named = {"photos": photos, "release": export.Release(name="mine")}
    fit(recipe(options=options(tmp_path), **named), photos)
    # What the run writes is none of them, and times do not count.
    images.write(tmp_path / "runs/mine/sample.png", np.zeros((40, 40, 3), "float32"))
    os.utime(tmp_path / "a.png", (1, 1))
    assert recipe(options=options(tmp_path), **named).resumes
    images.write(tmp_path / "below/b.png", np.ones((40, 40, 3), "float32"))
    with pytest.raises(training.TrainingError) as caught:
        recipe(options=options(tmp_path), **named)
    told = f"other options (content: {tmp_path} is not what it was). Use another --name"
    assert told in str(caught.value)
    # Of no name, it is another run, and it is said.
    (tmp_path / "runs/mine").rename(tmp_path / "runs/tiny")
    assert recipe(options=options(tmp_path), photos=photos).name == "tiny_2"
    assert recipe(options=options(tmp_path, resume=False), **named).name == "mine"


def test_a_run_of_an_earlier_release_has_the_default_of_an_option_it_did_not_know(tmp_path):
    run = recipe(options=options(tmp_path))
    fit(run)
    file = run.folder / "options.json"
    told = json.loads(file.read_text())
    for key in ("schema", "pipeline", "network", "strict_data", "explain"):
        told.pop(key, None)
    file.write_text(json.dumps(told))
    assert recipe(options=options(tmp_path)).name == "tiny"
    strict = data.Photos(crop_size=32, strict_data=True)
    with pytest.raises(training.TrainingError, match="strict_data: False, now True"):
        recipe(photos=strict, release=export.Release(name="tiny"), options=options(tmp_path))


def test_a_run_of_a_newer_release_is_refused(tmp_path):
    run = recipe(options=options(tmp_path))
    fit(run)
    file = run.folder / "options.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema": 99}))
    with pytest.raises(training.TrainingError, match="schema 99.*newer release"):
        recipe(release=export.Release(name="tiny"), options=options(tmp_path))


def test_without_an_average_the_network_itself_is_kept():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    ema = training.Optim(ema_decay=0).average(model)
    assert ema.model is model
    before = [np.array(weight) for weight in model.get_weights()]
    ema.update(3)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_both_adams_are_built_with_their_rates_and_the_one_that_waits_has_a_shorter_schedule():
    networks = [keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]) for _ in range(2)]
    optim = training.Optim(learning_rate=0.1, clip_norm=2.0)
    found = optim.adams(*networks, 100, discriminator_rate=0.2, beta_1=0.9, waits=40)
    generator, discriminator = found["generator_optimizer"], found["discriminator_optimizer"]
    assert generator.built and discriminator.built
    assert (generator.beta_1, discriminator.beta_1) == (0.9, 0.5)
    assert generator.global_clipnorm == discriminator.global_clipnorm == 2.0
    rates = [float(each._learning_rate(step)) for each in found.values() for step in (5, 60, 100)]
    np.testing.assert_allclose(rates[0], 0.1)
    np.testing.assert_allclose([rates[2], rates[4]], [0.005, 0.01], rtol=1e-5)
    of_three = optim.adams(*networks, 100, discriminator_rate=0.2, beta_1=0.9, waits=40, d_steps=3)[
        "discriminator_optimizer"
    ]
    after = [float(of_three._learning_rate(3 * step)) for step in (5, 30, 60)]
    one = [float(found["discriminator_optimizer"]._learning_rate(step)) for step in (5, 30, 60)]
    np.testing.assert_allclose(after, one, rtol=1e-4)


def test_the_weights_of_losses_are_named_as_steps_name_them():
    assert losses.Weights(style_weight=3.0).numbers == {
        "content_weight": 1.0,
        "style_weight": 3.0,
        "tv_weight": 0.0,
        "checkerboard_weight": 0.0,
    }
    assert losses.GanWeights().numbers.keys() > losses.Weights().numbers.keys()


def test_the_weights_of_styles_tell_layers_and_refuse_what_is_no_loss():
    assert losses.StyleWeights().style_layers == dict.fromkeys(losses.STYLE_LAYERS, 0.2)
    few = losses.StyleWeights(style_depth=2, style_falloff=0.5).style_layers
    assert few == {"block1_conv1": pytest.approx(2 / 3), "block2_conv1": pytest.approx(1 / 3)}
    for wrong, told in (
        ({"style_loss": "mean"}, "style_loss mean: give gram or wasserstein"),
        ({"style_depth": 6}, "style_depth 6: give 1 to 5"),
        ({"style_falloff": 0.0}, "style_falloff 0.0: give more than 0"),
        ({"saliency": 1.5}, "saliency 1.5: give 0 to 1"),
    ):
        with pytest.raises(ArgumentError, match=told):
            losses.StyleWeights(**wrong)
