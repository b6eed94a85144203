"""CLAHE: the target, the network that learns it, its train step and pipeline."""

import dataclasses
import inspect
import json
import sys
import typing
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from pipelines import clahe as pipeline
from tests import recipes
from tfstyle import data, export, images, losses, training
from tfstyle.data import drawn, samples
from tfstyle.images import contrast
from tfstyle.networks import clahe
from tfstyle.training import loop, steps

ROOT = Path(__file__).parents[2]


def lab(image):
    return cv2.cvtColor(image, cv2.COLOR_RGB2Lab)


def equalized_by_definition(levels, *, clip_limit=2.0, tiles=8):
    """CLAHE of uint8 [H, W], sides multiples of `tiles`, pixel by pixel as Zuiderveld has it."""
    height, width = levels.shape[0] // tiles, levels.shape[1] // tiles
    limit = max(int(clip_limit * height * width / 256), 1)
    curves = np.zeros((tiles, tiles, 256))
    for i in range(tiles):
        for j in range(tiles):
            tile = levels[i * height :, j * width :][:height, :width]
            counts = np.bincount(tile.ravel(), minlength=256)
            excess = np.maximum(counts - limit, 0).sum()
            counts = np.minimum(counts, limit) + excess // 256
            rest = excess % 256
            if rest:
                counts[:: max(256 // rest, 1)][:rest] += 1
            curves[i, j] = np.rint(counts.cumsum() * 255 / (height * width))
    result = np.zeros(levels.shape)
    for y in range(levels.shape[0]):
        for x in range(levels.shape[1]):
            v, u = (y / height - 0.5), (x / width - 0.5)
            i, j = int(np.floor(v)), int(np.floor(u))
            a, b = v - i, u - j
            (top, below), (left, right) = (np.clip([k, k + 1], 0, tiles - 1) for k in (i, j))
            of = curves[..., levels[y, x]]
            result[y, x] = (1 - a) * ((1 - b) * of[top, left] + b * of[top, right])
            result[y, x] += a * ((1 - b) * of[below, left] + b * of[below, right])
    return np.rint(result)


# The target


def test_the_target_is_clahe_by_its_definition():
    photo = images.resize(samples.photo("chelsea"), (96, 128))
    levels = np.rint(lab(photo)[..., 0] * 2.55).astype("uint8")
    expected = equalized_by_definition(levels)
    equalized = contrast.equalize(photo)
    found = lab(equalized)[..., 0] * 2.55
    # Colours outside of sRGB are clipped, which changes lightness.
    inside = ((equalized > 0) & (equalized < 1)).all(axis=-1)
    assert inside.mean() > 0.9
    # Halves may be rounded up or down.
    assert np.abs(found - expected)[inside].max() < 1.5
    assert (np.abs(found - expected)[inside] < 0.6).mean() > 0.99
    assert np.abs(levels - expected).mean() > 10


def test_the_target_keeps_a_and_b_where_nothing_is_clipped(photo):
    equalized = contrast.equalize(photo)
    inside = ((equalized > 0.001) & (equalized < 0.999)).all(axis=-1)
    assert inside.mean() > 0.9
    np.testing.assert_allclose(lab(equalized)[inside][:, 1:], lab(photo)[inside][:, 1:], atol=0.5)
    assert (equalized.dtype, equalized.shape) == (np.float32, photo.shape)
    assert 0 <= equalized.min() and equalized.max() <= 1


def test_a_higher_limit_gives_more_contrast(photo):
    spread = [lab(contrast.equalize(photo, clip_limit=limit))[..., 0].std() for limit in (1, 2, 8)]
    assert spread == sorted(spread) and spread[2] > 1.2 * spread[0]


def test_without_opencv_an_error_names_the_extra(photo, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ValueError, match=r"not installed: pip install 'tfstyle\[clahe\]'"):
        contrast.equalize(photo)


def test_batches_carry_the_target_of_each_crop_and_are_the_same_again():
    def batches(skip):
        dataset, _ = data.image_batches(
            samples.photo_paths(), batch_size=2, crop_size=48, seed=3, skip=skip
        )
        return dataset.map(contrast.with_target, num_parallel_calls=2, deterministic=True)

    whole = list(batches(0).take(4).as_numpy_iterator())
    for photos, targets in whole:
        assert targets.shape == photos.shape == (2, 48, 48, 3)
        for photo, target in zip(photos, targets, strict=True):
            np.testing.assert_array_equal(target, contrast.equalize(photo))
    for again, once in zip(batches(2).take(2).as_numpy_iterator(), whole[2:], strict=True):
        np.testing.assert_array_equal(again, once)


# The network


def test_cube_roots_are_those_of_lab_and_lead_back(rng):
    colours = rng.uniform(size=(1, 40, 50, 3)).astype("float32")
    colours[0, 0, :2] = [[0, 0, 0], [1, 1, 1]]
    roots = clahe.CubeRoots()(colours)
    x, y, z = np.moveaxis(np.asarray(roots[0]), -1, 0)
    found = np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
    # OpenCV interpolates in a table.
    np.testing.assert_allclose(found, lab(colours[0]), atol=0.6)
    back = clahe.Relight()([roots, np.zeros((1, 40, 50, 1), "float32")])
    np.testing.assert_allclose(back, colours, atol=1e-5)


def test_relight_changes_lightness_alone():
    grey = np.full((1, 4, 5, 3), 0.3, "float32") + np.array([0, 0.05, 0.1], "float32")
    change = np.full((1, 4, 5, 1), 0.1, "float32")
    lit = clahe.Relight()([clahe.CubeRoots()(grey), change]).numpy()
    difference = lab(lit[0]) - lab(grey[0])
    np.testing.assert_allclose(difference, np.broadcast_to([10, 0, 0], (4, 5, 3)), atol=0.5)


def test_levels_are_shares_that_sum_to_1():
    lightness = np.array([0, 0.1, 0.25, 0.5, 1, 1.2], "float32")
    roots = np.zeros((1, 1, 6, 3), "float32")
    roots[0, 0, :, 1] = (lightness + 0.16) / 1.16
    expected = [[1, 0, 0], [0.8, 0.2, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]]
    np.testing.assert_allclose(clahe.Levels(3)(roots)[0, 0], expected, atol=1e-6)
    with pytest.raises(ValueError, match="levels 1: give 2 or more"):
        clahe.Levels(1)


def test_tile_means_are_means_of_tiles(rng):
    x = rng.normal(size=(2, 12, 20, 3)).astype("float32")
    expected = x.reshape(2, 4, 3, 4, 5, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(clahe.TileMeans(4)(x), expected, atol=1e-6)


def test_a_slice_is_the_curve_at_the_lightness_blended_between_tiles():
    # Two knots, and curves that differ from tile to tile at the second alone.
    levels = np.zeros((1, 4, 8, 2), "float32")
    levels[..., 0], levels[..., 1] = 0.25, 0.75
    curves = np.zeros((1, 1, 2, 2), "float32")
    curves[0, 0, 1, 1] = 1
    expected = 0.75 * np.clip((np.arange(8) + 0.5) / 4 - 0.5, 0, 1)
    found = clahe.Slice()([levels, curves])[0, ..., 0]
    np.testing.assert_allclose(found, np.tile(expected, (4, 1)), atol=1e-6)


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(1)
    model = clahe.curve_generator()
    # As wide as trained ones, so that the output is not the photo.
    model.get_layer("head").kernel.assign(
        0.1 * np.random.default_rng(0).normal(size=(1, 1, 64, 16))
    )
    return model


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 3), (16, 16), (17, 33), (64, 40)])
def test_the_network_keeps_any_size_and_stays_in_range(network, size, rng):
    output = network(rng.uniform(size=(2, *size, 3)).astype("float32")).numpy()
    assert output.shape == (2, *size, 3) and output.dtype == np.float32
    assert np.isfinite(output).all() and 0 <= output.min() and output.max() <= 1


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_gradients_are_finite_and_reach_every_variable(network, value, photo):
    batch = np.stack([photo[:64, :64], np.full((64, 64, 3), value, "float32")])
    variables = [variable.value for variable in network.trainable_variables]
    with tf.GradientTape() as tape:
        loss = losses.pixel_loss(images=network(batch), target=np.full_like(batch, 0.5))
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0, variable.name


def test_under_mixed_float16_the_output_is_float32_and_close(network, photo, mixed_float16):
    half = clahe.curve_generator()
    half.set_weights(network.get_weights())
    assert half.get_layer("conv1").compute_dtype == "float16"
    output = half(photo[None])
    assert output.dtype == "float32"
    np.testing.assert_allclose(output, network(photo[None]), atol=0.02)


def test_a_saved_network_is_loaded_without_further_ado(network, photo, tmp_path):
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(loaded(photo[None]), network(photo[None]))


def test_the_network_is_exported(network, photo, tmp_path):
    exported = export.export(network, "clahe", directory=tmp_path, photo=photo)
    interpreter = Interpreter(str(exported.tflite["float32"]))
    (source,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    for size in ((1, 1), (50, 31)):
        image = images.resize(photo, size)[None]
        interpreter.resize_tensor_input(source["index"], image.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(source["index"], image)
        interpreter.invoke()
        np.testing.assert_allclose(
            interpreter.get_tensor(result["index"]), network(image), atol=1e-3
        )


# Training


def test_the_step_learns_clahe_of_a_photo():
    photos = samples.crops(64)[:3]
    targets = np.stack([contrast.equalize(photo) for photo in photos])
    generator = clahe.curve_generator()
    step = steps.TargetStep(
        generator=generator, optimizer=training.adam(5e-3, generator.trainable_variables)
    )
    first = float(step(photos, targets)["pixels"])
    np.testing.assert_allclose(first, np.mean((photos - targets) ** 2), rtol=0.2)
    for _ in range(150):
        last = float(step(photos, targets)["pixels"])
    # 6 dB are a factor of 4.
    assert last < first / 10


@pytest.mark.parametrize("name", losses.PRESETS)
def test_the_perceptual_step_follows_a_preset(name, photo, tiny_extractor):
    preset = losses.PRESETS[name]
    layer = losses.CONTENT_LAYER
    image = keras.Input((None, None, 3))
    generator = keras.Model(image, keras.layers.Conv2D(3, 3, padding="same")(image))
    of_style = tiny_extractor(drawn.style("swirls", 64)[None])
    grams = {key: losses.gram(of_style[key]) for key in losses.STYLE_LAYERS}
    photos = photo[None, :64, :64]
    before, target = tiny_extractor(generator(photos)), tiny_extractor(photos)
    values = steps.PerceptualStep(
        generator=generator,
        extractor=tiny_extractor,
        content_extractor=tiny_extractor,
        style_grams=grams,
        optimizer=training.adam(1e-3, generator.trainable_variables),
        content_layers=[layer],
        **dataclasses.asdict(preset),
    )(photos)
    error = np.square(before[layer] - target[layer]).sum()
    content = error / 2 if name == "gatys" else error / np.square(target[layer]).sum()
    style = 0
    for key, wanted in grams.items():
        energy = 4 * wanted.shape[-1] ** 2 if name == "gatys" else np.square(wanted).sum()
        style += np.square(losses.gram(before[key]) - wanted).sum() / energy / len(grams)
    np.testing.assert_allclose(values["content"], content, rtol=1e-4)
    np.testing.assert_allclose(values["style"], style, rtol=1e-4)
    total = content + preset.style_weight * style + preset.tv_weight * values["tv"]
    np.testing.assert_allclose(values["total"], total, rtol=1e-4)


def test_the_pipeline_offers_every_preset():
    words = typing.get_args(inspect.signature(pipeline.train).parameters["losses"].annotation)
    assert set(words) == {"pixels", *losses.PRESETS}


def train(folder, **options):
    """Runs the pipeline here, small; returns the weights of its last checkpoint."""
    pipeline.train(
        photos=data.Photos(
            content=str(folder / "photos"),
            crop_size=32,
            batch_size=2,
            evaluate_on=str(folder / "photos/coffee.jpg"),
        ),
        release=export.Release(name="tiny", saved_models=str(folder / "models")),
        options=training.Options(
            **{"steps": 4, "checkpoint_every": 2, "validate_every": 0, "runs": str(folder / "runs")}
            | options
        ),
    )
    reader = tf.train.load_checkpoint(folder / "runs/tiny/checkpoints")
    keys = [key for key in reader.get_variable_to_shape_map() if "CHECKPOINTABLE" not in key]
    return {key: reader.get_tensor(key) for key in keys if not key.startswith("save_counter")}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("chelsea", "coffee", "rocket"):
        images.write(tmp_path / f"photos/{name}.jpg", images.fit(samples.photo(name), 96))
    return tmp_path


def test_a_resumed_run_ends_as_one_that_was_not_stopped(folder, monkeypatch):
    monkeypatch.setattr(export.Release, "write", lambda *args, **kwargs: None)
    whole = train(folder, runs=str(folder / "runs"))
    (folder / "runs").rename(folder / "whole")

    class Stop(Exception):
        pass

    fit = training.fit

    def stopped(*args, **kwargs):
        def callback(progress):
            if progress.step == 3:
                raise Stop

        return fit(*args, **kwargs | {"callback": callback})

    monkeypatch.setattr(loop, "fit", stopped)
    with pytest.raises(Stop):
        train(folder)
    assert (folder / "runs/tiny/checkpoints/ckpt-2.index").exists()
    monkeypatch.setattr(loop, "fit", fit)
    resumed = train(folder)
    assert whole.keys() == resumed.keys() and any("ema" in key for key in whole)
    for key, value in whole.items():
        np.testing.assert_array_equal(value, resumed[key], err_msg=key)


def test_a_style_that_would_not_be_learnt_is_refused():
    with pytest.raises(ValueError, match="style painting.jpg: CLAHE has none"):
        pipeline.train(style="painting.jpg")


@pytest.mark.parametrize("loss", ["pixels", pytest.param("mixed", marks=pytest.mark.slow)])
def test_the_pipeline_trains_exports_and_shows(folder, loss):
    flags = ["--steps=2", "--crop_size=32", "--name=tiny", "--content=photos"]
    flags += ["--evaluate_on=photos/coffee.jpg", f"--losses={loss}", "--batch_size=1"]
    flags += ["--validate_every=2", "--style_size=64", "--saved_models=models", "--explain"]
    result = recipes.run(folder, "clahe", *flags)
    assert result.returncode == 0, result.stderr
    card = json.loads((folder / "models/tiny.json").read_text())
    figures = json.loads((folder / "runs/tiny/figures.json").read_text())
    assert card["figures"] == {"photos": "kept out of training", **figures}
    assert figures["count"] == 1
    shares = figures["local_contrast_histogram"]
    for key in ("photo", "output", "target"):
        np.testing.assert_allclose(sum(shares[key]), 1)
        assert 0 < figures["local_contrast"][key] < 0.5
    assert figures["local_contrast"]["target"] > figures["local_contrast"]["photo"]
    assert ("relative_style_distance" in figures) == (loss == "mixed")
    assert set(card["losses"]) == (
        {"pixels"} if loss == "pixels" else {"total", "content", "style", "tv"}
    )
    shown = "psnr_gain" if loss == "pixels" else "relative_style_distance"
    assert f"{shown:<25}{figures[shown]:.3f}" in result.stdout
    made = ("models/tiny/1", "models/tiny.tflite", "runs/tiny/result.jpg", "runs/tiny/health.html")
    for path in made:
        assert (folder / path).exists() and path in result.stdout
