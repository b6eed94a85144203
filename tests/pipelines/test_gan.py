"""The GAN pipeline whole: a run that was killed goes on as one that was not; its options and its
pictures."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipelines import gan
from tests import recipes
from tfstyle import data, images, losses, stylize, training
from tfstyle.data import drawn, samples
from tfstyle.networks import discriminators, generators
from tfstyle.training import image_pool, steps

OPTIONS = training.Options(steps=5, checkpoint_every=2, log_every=5, sample_every=5)


class Killed(Exception):
    pass


def run(runs, extractor, *, kill_after=None, **options):
    """Everything that a GAN's training keeps; returns all of it at the end."""
    options = dataclasses.replace(OPTIONS, runs=str(runs), **options)
    training.prepare(options)
    generator = generators.unet_generator(width=4, residual_blocks=1, dropout=0.2, noise_dim=3)
    discriminator = discriminators.patch_discriminator(width=4, layers=1, norm="spectral")
    pool = image_pool.ImagePool(2, (32, 32), seed=options.seed)
    ema = training.Ema(generator, 0.9)
    networks = {
        "generator": generator,
        "discriminator": discriminator,
        "generator_optimizer": training.adam(1e-3, generator.trainable_variables, clip_norm=1.0),
        "discriminator_optimizer": training.adam(1e-3, discriminator.trainable_variables),
    }
    step = steps.GanStep(
        **networks,
        extractor=extractor,
        content_extractor=extractor,
        adversarial="hinge",
        content_layers=[losses.CONTENT_LAYER],
        layer_weights=dict.fromkeys(losses.STYLE_LAYERS, 0.2),
        content_weight=1.0,
        style_weight=1.0,
        tv_weight=0.1,
        adversarial_weight=0.1,
        identity_weight=0.5,
        color_weight=1.0,
        d_steps=2,
        warmup_steps=1,
        pool=pool,
    )

    def batches(skip):
        def of(seed):
            return data.image_batches(
                samples.photo_paths()[:3], batch_size=2, crop_size=32, seed=seed, skip=skip
            )

        (photos, report), (paintings, other) = of(0), of(1)
        noise = data.noise_batches(3, batch_size=2, skip=skip)
        return tf.data.Dataset.zip(photos, paintings, noise), [report, other]

    def kill(progress):
        if progress.step == kill_after:
            raise Killed

    training.fit(
        step.update,
        batches=batches,
        state={**networks, "pool": pool},
        run=training.open_folder("gan", options, {}),
        options=options,
        ema=ema,
        callback=kill,
    )
    values = [weight for model in (generator, discriminator, ema.model) for weight in model.weights]
    for name in ("generator_optimizer", "discriminator_optimizer"):
        values += networks[name].variables
    return [np.asarray(value) for value in (*values, pool.images, pool.count)]


@pytest.fixture
def policy():
    before = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(before)


# The other recipes are resumed too, compiled, and test_training kills a process.
@pytest.mark.parametrize(
    ("precision", "compiled"),
    [
        ("float32", False),
        pytest.param("float32", True, marks=pytest.mark.slow),
        pytest.param("mixed_float16", True, marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_ends_with_pool_average_noise_and_scale_of_one_that_was_not(
    policy, tiny_extractor, tmp_path, monkeypatch, precision, compiled
):
    if not compiled:
        monkeypatch.setattr(training, "fit", recipes.line_by_line(training.fit))
    options = {"precision": precision}
    steps, killed = 5, 3
    if not compiled:  # nor as long
        steps, killed = 3, 2
        options |= {"steps": steps, "checkpoint_every": 1}
    whole = run(tmp_path / "whole", tiny_extractor, **options)
    with pytest.raises(Killed):
        run(tmp_path / "killed", tiny_extractor, kill_after=killed, **options)
    resumed = run(tmp_path / "killed", tiny_extractor, **options)
    assert len(whole) == len(resumed)
    for one, other in zip(whole, resumed, strict=True):
        np.testing.assert_array_equal(one, other)
    *_, pooled, count = whole
    assert count == 2 * steps and pooled.std() > 0


TINY = [
    "--steps=2", "--checkpoint_every=1", "--validate_every=0", "--width=4", "--residual_blocks=1",
    "--noise_dim=3", "--discriminator_width=4", "--discriminator_norm=spectral", "--d_steps=2",
    "--pool_size=4", "--warmup_steps=1", "--crop_size=32", "--batch_size=2", "--style_weight=20",
    "--color_weight=1", "--style=paintings", "--name=tiny", "--saved_models=models",
]  # fmt: skip


@pytest.fixture(scope="module")
def run_of_two_steps(tmp_path_factory):
    """The folder in which the pipeline was run on drawn paintings, and what it told."""
    folder = tmp_path_factory.mktemp("gan")
    drawn.write_styles(folder / "paintings", "mosaic", count=2, size=64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gan, "JUDGED_SIZE", 128)
        result = recipes.run(folder, "gan", *TINY, "--explain", compiled=False)
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


@pytest.fixture(scope="module")
def trained(run_of_two_steps):
    return run_of_two_steps[0]


def test_pipeline_trains_exports_and_shows(run_of_two_steps):
    folder, told = run_of_two_steps
    made = ("models/tiny/1", "models/tiny.tflite", "runs/tiny/result.jpg", "runs/tiny/health.html")
    for path in made:
        assert (folder / path).exists()
        assert path in told
    card = json.loads((folder / "models/tiny.json").read_text("utf-8"))
    assert card["pipeline"] == "pipelines.gan"
    assert card["options"]["crop_size"] == 32
    assert np.isfinite(card["figures"]["relative_style_distance"])
    assert {"style", "adversarial", "discriminator"} <= card["losses"].keys()


def test_the_exported_model_takes_the_photo_alone_and_its_card_says_so(trained):
    card = json.loads((trained / "models/tiny.json").read_text("utf-8"))
    assert card["signatures"]["float"]["inputs"] == {"images": "float32 [None, None, None, 3]"}
    assert any("noise" in limit for limit in card["limits"])
    stylizer = stylize.Stylizer.load(trained / "models/tiny.tflite")
    photo = samples.photo("chelsea")[:40, :60]
    assert stylizer.styles == () and stylizer(photo).shape == photo.shape


def test_its_card_gives_the_figures_of_the_untouched_photos_too(trained):
    figures = json.loads((trained / "models/tiny.json").read_text("utf-8"))["figures"]
    untouched = figures["untouched"]
    assert figures["count"] == len(samples.photo_paths())
    assert figures["photos"] == "bundled"
    assert untouched.keys() <= figures.keys()
    # Not quite 0 and 1: it goes through 8 bits, as a file would.
    assert untouched["content_distance"] < 1e-3 < figures["content_distance"]
    assert untouched["relative_style_distance"] == pytest.approx(1, abs=1e-2)


def test_it_shows_each_photo_without_and_with_noise(trained):
    shown = images.read(trained / "runs/tiny/result.jpg")
    # Photo, result and two with noise, 256 pixels and 5 between them.
    assert shown.shape[1] == 4 * 256 + 3 * 5


def test_all_losses_with_a_weight_are_reported(trained):
    reported = json.loads((trained / "runs/tiny/losses.json").read_text())
    assert {"content", "style", "adversarial", "identity", "color", "discriminator"} <= (
        reported.keys()
    )
    assert np.isfinite(list(reported.values())).all()


def test_a_fast_generator_learns_from_the_nearest_paintings_and_a_projected_judge(tmp_path):
    drawn.write_styles(tmp_path / "paintings", "mosaic", count=3, size=64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gan, "JUDGED_SIZE", 64)
        result = recipes.run(
            tmp_path, "gan", "--steps=1", "--validate_every=0", "--generator=fast", "--width=4",
            "--residual_blocks=1", "--match=nearest", "--style_loss=wasserstein", "--style_depth=2",
            "--style_size=64", "--discriminator=projected", "--discriminator_width=4",
            "--pool_size=0", "--crop_size=32", "--batch_size=2", "--style=paintings",
            "--name=tiny", "--saved_models=models", exported=False, compiled=False,
        )  # fmt: skip
    assert result.returncode == 0, result.stderr
    reported = json.loads((tmp_path / "runs/tiny/losses.json").read_text())
    assert np.isfinite(list(reported.values())).all() and reported["style"] > 0


def test_a_match_that_does_not_go_with_the_style_loss_is_refused(tmp_path):
    result = recipes.run(tmp_path, "gan", "--match=nearest", "--name=tiny")
    assert result.returncode == 2
    assert "match nearest and style_loss gram: give nearest with wasserstein" in result.stderr
    assert not list(tmp_path.iterdir())
