"""Generators built again from what was exported, and from the checkpoints of runs."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import small_models
from tfstyle.errors import ArgumentError
from tfstyle.export import rebuild
from tfstyle.networks import clahe, description, generators

SIZE = {"width": 4, "depth": 1}
UNET = {"width": 4, "residual_blocks": 1, "dropout": 0.5, "noise_dim": 3}
OPTIONS = {"fast": SIZE, "fusion": SIZE, "gan": UNET}


def network(kind):
    build = {
        "fast": lambda: generators.fast_generator(**SIZE),
        "fusion": lambda: generators.fusion_generator(styles=2, **SIZE),
        "gan": lambda: generators.unet_generator(**UNET),
    }[kind]
    return small_models.shaken(build())


def saved(generator, folder, photo, options, **card):
    """As an export leaves it, but for its TFLite files."""
    small_models.save(generator, folder / "mine" / "1", photo, alone="float")
    card = {"name": "mine", "version": 1, "options": options | {"steps": 5}, **card}
    (folder / "mine.json").write_text(json.dumps(card))
    return folder / "mine"


def painted(generator, photo):
    second = {"noise": np.ones((1, 3)), "styles": np.array([[0.25, 0.75]])}
    kind = rebuild.kind(generator)
    given = [photo[None], second[kind].astype(np.float32)] if kind else photo[None]
    return generator(given, training=False).numpy()


@pytest.mark.parametrize("kind", ["fast", "fusion", "gan"])
def test_the_generator_of_an_export_is_the_one_that_was_exported(kind, tmp_path, photo):
    generator = network(kind)
    exported = generators.at_zero_noise(generator) if kind == "gan" else generator
    styles = {"styles": ["a", "b"]} if kind == "fusion" else {}
    model = saved(exported, tmp_path, photo, OPTIONS[kind], **styles)
    built = rebuild.of_export(model)
    assert built.kind == {"fusion": "styles", "gan": "noise"}.get(kind, "")
    np.testing.assert_array_equal(painted(built.generator, photo), painted(generator, photo))
    np.testing.assert_array_equal(painted(built.exported, photo), painted(exported, photo))
    if kind == "fusion":
        assert built.build(5).inputs[1].shape == (None, 5)


def test_what_its_card_does_not_describe_is_not_built(tmp_path, photo):
    generator = network("fast")
    with pytest.raises(rebuild.RebuildError, match="its weights are not those"):
        rebuild.of_export(saved(generator, tmp_path / "a", photo, SIZE | {"depth": 2}))
    inverse = keras.layers.Rescaling(-1.0, 1.0)(generator.output)
    model = saved(keras.Model(generator.input, inverse), tmp_path / "b", photo, SIZE)
    with pytest.raises(rebuild.RebuildError, match="other pictures"):
        rebuild.of_export(model)


def test_the_best_of_a_run_is_built_by_the_options_of_the_run(tmp_path, photo):
    generator = network("fast")
    (tmp_path / "best").mkdir()
    tf.train.Checkpoint(generator=generator).save(str(tmp_path / "best" / "checkpoint"))
    with pytest.raises(rebuild.RebuildError, match="options.json: not a run's options"):
        rebuild.of_run(tmp_path / "best")
    (tmp_path / "options.json").write_text(json.dumps(SIZE))
    built = rebuild.of_run(tmp_path / "best")
    np.testing.assert_array_equal(painted(built.generator, photo), painted(generator, photo))
    (tmp_path / "options.json").write_text(json.dumps(SIZE | {"width": 8}))
    with pytest.raises(rebuild.RebuildError, match="has other networks"):
        rebuild.of_run(tmp_path / "best")
    with pytest.raises(rebuild.RebuildError, match="no checkpoint in it"):
        rebuild.of_run(tmp_path)


def described(kind):
    build = {"clahe": lambda: clahe.curve_generator(knots=5, width=4)}.get(kind)
    return small_models.shaken(build(), 3) if build else network(kind)


def run_of(folder, generator, options, part="generator"):
    (folder / "checkpoints").mkdir(parents=True)
    checkpoint = tf.train.Checkpoint(**{part: generator})
    checkpoint.save(str(folder / "checkpoints" / "ckpt"))
    (folder / "options.json").write_text(json.dumps(options))
    return folder


# Options that a guess would take for those of another network.
MISLEADING = {"width": 8, "residual_blocks": 2, "depth": 3, "norm": "instance"}


@pytest.mark.parametrize("kind", ["fast", "fusion", "gan", "clahe"])
def test_the_network_is_what_the_card_says_whatever_the_options_are_called(kind, tmp_path, photo):
    generator = described(kind)
    exported = generators.at_zero_noise(generator) if kind == "gan" else generator
    told = {"network": description.describe(exported)}
    told |= {"styles": ["a", "b"]} if kind == "fusion" else {}
    model = saved(exported, tmp_path, photo, MISLEADING, **told)
    built = rebuild.of_export(model)
    assert description.describe(built.generator) == description.describe(generator)
    assert description.describe(built.exported) == told["network"]
    np.testing.assert_array_equal(painted(built.generator, photo), painted(generator, photo))
    np.testing.assert_array_equal(painted(built.exported, photo), painted(exported, photo))
    if kind == "fusion":
        assert built.build(5).inputs[1].shape == (None, 5)
    else:
        with pytest.raises(rebuild.RebuildError, match="has one style, not 5"):
            built.build(5)


@pytest.mark.parametrize("part", ["generator", "ema"])
@pytest.mark.parametrize("kind", ["fast", "fusion", "gan", "clahe"])
def test_the_network_of_a_run_is_what_its_options_say_of_it(kind, part, tmp_path, photo):
    generator = described(kind)
    options = MISLEADING | {"network": description.describe(generator)}
    built = rebuild.of_run(run_of(tmp_path / "run", generator, options, part))
    assert description.describe(built.generator) == options["network"]
    np.testing.assert_array_equal(painted(built.generator, photo), painted(generator, photo))


def test_the_styles_of_an_older_version_are_those_of_its_network(tmp_path, photo):
    generator = described("fusion")
    told = {"network": description.describe(generator), "version": 2, "styles": ["c"]}
    model = saved(generator, tmp_path, photo, {}, **told)
    built = rebuild.of_export(model)
    np.testing.assert_array_equal(painted(built.generator, photo), painted(generator, photo))


def test_a_run_without_a_network_in_its_options_is_guessed_as_ever(tmp_path, photo):
    generator = network("fusion")
    built = rebuild.of_run(run_of(tmp_path / "run", generator, SIZE | {"network": None}))
    np.testing.assert_array_equal(painted(built.generator, photo), painted(generator, photo))


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"builder": "new_generator", "arguments": {}}, "this tfstyle builds fast_generator"),
        ({"builder": "fast_generator", "arguments": {"depth": 2}}, "not those of the generator"),
        ({"builder": "at_zero_noise", "arguments": 3}, "not those of the generator"),
        ({"builder": "fusion_generator", "arguments": SIZE | {"styles": 2}}, "not those of the"),
        ([], "give its builder and arguments"),
    ],
)
def test_a_card_that_tells_of_another_network_is_refused(tmp_path, photo, told, message):
    model = saved(network("fast"), tmp_path, photo, SIZE, network=told)
    with pytest.raises(rebuild.RebuildError, match=message):
        rebuild.of_export(model)


def test_the_card_of_a_newer_tfstyle_is_refused(tmp_path, photo):
    model = saved(network("fast"), tmp_path, photo, SIZE, schema=99, tfstyle="9.9")
    with pytest.raises(ArgumentError, match="schema 99, .* Install tfstyle 9.9 or newer"):
        rebuild.of_export(model)


@pytest.mark.parametrize("noise", [False, True])
def test_one_style_alone_gives_the_same_pictures(noise, photo):
    several = small_models.shaken(generators.fusion_generator(styles=3, **SIZE, noise=noise))
    single = rebuild.alone(several, 1)
    expected = several([photo[None], np.eye(3, dtype="float32")[1:2]])
    np.testing.assert_allclose(single(photo[None]), expected, atol=1e-5)
    with pytest.raises(rebuild.RebuildError, match="fast_generator: not one of several styles"):
        rebuild.alone(single, 0)
