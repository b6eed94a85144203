"""Several styles in one network: layer, generator, step, export, stylizer, and the pipeline."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from tests import recipes
from tests.small_models import shaken
from tfstyle import cli, data, images, losses, training
from tfstyle.data import drawn, samples
from tfstyle.export import BOUNDS, export
from tfstyle.images import sheets
from tfstyle.networks import generators, layers
from tfstyle.stylize import Stylizer
from tfstyle.training import steps

ROOT = Path(__file__).parents[2]
NAMES = ["waves", "1889", "café au lait"]
EYE = np.eye(3, dtype=np.float32)
BLENDS = np.array([[1, 0, 0], [0, 0, 1], [0.2, 0.5, 0.3]], np.float32)


def pictures(rng, height, width, batch=1):
    return rng.uniform(size=(batch, height, width, 3)).astype("float32")


@pytest.fixture(scope="module")
def generator():
    keras.utils.set_random_seed(1)
    return shaken(generators.fusion_generator(styles=3, width=4, depth=1))


def alone(generator, style):
    """A `fast_generator` with the convolutions of `generator` and the norms of one style."""
    single = generators.fast_generator(width=4, depth=1)
    single.set_weights(
        [
            weight[style] if variable.name in ("gamma", "beta") else weight
            for variable, weight in zip(generator.weights, generator.get_weights(), strict=True)
        ]
    )
    return single


# The layer


@pytest.fixture
def layer(rng):
    layer = layers.ConditionalInstanceNorm()
    layer.build([(None, None, None, 5), (None, 3)])
    layer.set_weights([rng.normal(1, 1, (3, 5)), rng.normal(0, 1, (3, 5))])
    return layer


@pytest.mark.parametrize("size", [(1, 1), (7, 4)])
def test_one_style_is_instance_norm_with_its_row_of_the_tables(layer, rng, size):
    x = rng.normal(3, 2, (3, *size, 5)).astype("float32")
    output = layer([x, EYE])
    gamma, beta = layer.get_weights()
    for style in range(3):
        single = layers.InstanceNorm()
        single.build(x.shape)
        single.set_weights([gamma[style], beta[style]])
        np.testing.assert_allclose(output[style], single(x)[style], atol=1e-5)


def test_a_blend_is_the_weighted_sum_of_the_tables(layer, rng):
    x = rng.normal(3, 2, (3, 6, 4, 5)).astype("float32")
    gamma, beta = layer.get_weights()
    mean, variance = (f(x.astype("float64"), axis=(1, 2), keepdims=True) for f in (np.mean, np.var))
    expected = (x - mean) / np.sqrt(variance + 1e-5) * (BLENDS @ gamma)[:, None, None]
    np.testing.assert_allclose(
        layer([x, BLENDS]), expected + (BLENDS @ beta)[:, None, None], atol=1e-5
    )


def test_its_output_is_linear_in_the_weights(layer, rng):
    x = tf.constant(rng.normal(size=(1, 6, 4, 5)).astype("float32"))
    by_style = tf.stack([layer([x, row[None]]) for row in EYE])
    blended = layer([x, BLENDS[2:]])
    np.testing.assert_allclose(blended, tf.tensordot(BLENDS[2], by_style, 1), atol=1e-5)


def test_one_row_of_weights_is_for_all_images(layer, rng):
    x = rng.normal(size=(2, 6, 4, 5)).astype("float32")
    np.testing.assert_allclose(layer([x, BLENDS[2:]]), layer([x, BLENDS[[2, 2]]]), atol=1e-6)


def test_under_mixed_float16_weights_tables_and_statistics_stay_float32(layer, rng):
    half = layers.ConditionalInstanceNorm(dtype="mixed_float16")
    half.build([(None, None, None, 5), (None, 3)])
    # Rounded to half precision, the weights would be seen: what remains of 2000 - 2000 is 0.
    weights = np.array([[1 / 3, 2 / 3, 0]], np.float32)
    tables = np.array([[2000.0], [-1000.0], [0.0]]) + np.zeros((3, 5))
    half.set_weights([np.ones((3, 5)), tables])
    x = rng.uniform(-5000, 5000, (1, 8, 8, 5)).astype("float16")  # whose squares overflow
    output = half([x, weights])
    assert output.dtype == "float16"
    full = layers.ConditionalInstanceNorm()
    full.build([(None, None, None, 5), (None, 3)])
    full.set_weights(half.get_weights())
    np.testing.assert_array_equal(output, tf.cast(full([x.astype("float32"), weights]), "float16"))
    np.testing.assert_allclose(np.mean(output.numpy().astype("float32")), 0, atol=1e-2)


def test_the_layer_knows_its_output_shape_and_its_configuration(layer, rng):
    shapes = [(None, None, None, 5), (None, 3)]
    assert layer.compute_output_shape(shapes) == shapes[0]
    again = layers.ConditionalInstanceNorm.from_config(layer.get_config())
    again.build(shapes)
    again.set_weights(layer.get_weights())
    x = rng.normal(size=(3, 2, 4, 5)).astype("float32")
    np.testing.assert_array_equal(again([x, BLENDS]), layer([x, BLENDS]))


# The generator


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 3), (16, 16), (17, 33), (64, 40)])
def test_any_size_is_kept_and_stays_in_range(generator, rng, size):
    output = generator([pictures(rng, *size, batch=3), BLENDS]).numpy()
    assert output.shape == (3, *size, 3)
    assert output.dtype == np.float32
    assert np.isfinite(output).all()
    assert 0 <= output.min() and output.max() <= 1
    assert output.std() > 0


@pytest.mark.parametrize("style", range(3))
def test_one_style_of_it_is_a_fast_generator(generator, rng, style):
    photos = pictures(rng, 17, 33)
    expected = alone(generator, style)(photos)
    np.testing.assert_allclose(generator([photos, EYE[style : style + 1]]), expected, atol=1e-5)


def test_it_is_as_large_as_the_fast_generator_and_1344_numbers_a_style():
    single = generators.fast_generator().count_params()
    for styles in (1, 4):
        network = generators.fusion_generator(styles=styles)
        assert network.count_params() == single + (styles - 1) * 1344
    with pytest.raises(ValueError, match="styles 0: give 1 or more"):
        generators.fusion_generator(styles=0)


def test_every_variable_gets_a_gradient_and_a_style_only_from_its_own_images(generator, rng):
    variables = generator.trainable_variables
    photos, target = (pictures(rng, 40, 33) for _ in range(2))
    for style in range(3):
        with tf.GradientTape() as tape:
            output = generator([photos, EYE[style : style + 1]])
            loss = tf.reduce_mean(tf.square(output - target))
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        without = []
        for variable, gradient in zip(variables, gradients, strict=True):
            gradient = gradient.numpy()
            assert np.isfinite(gradient).all(), variable.path
            if variable.name in ("gamma", "beta"):
                assert not np.delete(gradient, style, axis=0).any(), variable.path
            if np.abs(gradient).max() < 1e-9:
                without.append(variable.path)
        # As in the fast generator: the norm that ends the residual block adds a constant, which
        # those after it take off again.
        assert len(without) <= 1 and all(path.endswith("/beta") for path in without), without


def test_a_saved_generator_is_loaded_without_further_ado(generator, rng, tmp_path):
    generator.save(tmp_path / "fusion.keras")
    loaded = keras.saving.load_model(tmp_path / "fusion.keras")
    given = [pictures(rng, 20, 31, batch=3), BLENDS]
    np.testing.assert_array_equal(loaded(given), generator(given))


def test_under_mixed_float16_its_output_is_float32_and_close(generator, rng, mixed_float16):
    half = generators.fusion_generator(styles=3, width=4, depth=1)
    assert half.get_layer("head").compute_dtype == "float16"
    half.set_weights(generator.get_weights())
    given = [pictures(rng, 24, 33, batch=3), BLENDS]
    output = half(given)
    assert output.dtype == "float32"
    np.testing.assert_allclose(output, generator(given), atol=0.02)


# The step


def sequence(styles, batches, **options):
    dataset = data.style_draws(styles, **options)
    return [batch.numpy() for batch in dataset.take(batches)]


def test_each_image_draws_one_style_and_all_styles_are_drawn_as_often():
    draws = np.concatenate(sequence(3, 30, batch_size=2, seed=5))
    assert draws.shape == (60, 3) and draws.dtype == np.float32
    assert set(draws.ravel()) == {0, 1} and (draws.sum(axis=1) == 1).all()
    rounds = draws.argmax(axis=1).reshape(20, 3)
    assert all(sorted(order) == [0, 1, 2] for order in rounds)
    assert len({tuple(order) for order in rounds}) == 6


def test_the_styles_drawn_are_a_function_of_seed_and_place():
    whole = sequence(5, 8, batch_size=3, seed=1)
    np.testing.assert_array_equal(sequence(5, 5, batch_size=3, seed=1, skip=3), whole[3:])
    np.testing.assert_array_equal(
        sequence(5, 3, batch_size=8, seed=1), np.reshape(whole, (3, 8, 5))
    )
    assert not np.array_equal(sequence(5, 8, batch_size=3, seed=2), whole)


WEIGHTS = {"content_weight": 1.0, "style_weight": 0.5, "tv_weight": 2.0}


@pytest.fixture(scope="module")
def style_grams(tiny_extractor):
    """{layer: [3, C, C]} of three drawn styles."""
    features = [tiny_extractor(drawn.style(name, 64)[None]) for name in drawn.STYLES]
    return {
        layer: tf.concat([losses.gram(of_one[layer]) for of_one in features], axis=0)
        for layer in losses.STYLE_LAYERS
    }


def step_of(generator, tiny_extractor, style_grams):
    return steps.PerceptualStep(
        generator=generator,
        extractor=tiny_extractor,
        content_extractor=tiny_extractor,
        style_grams=style_grams,
        optimizer=training.adam(0.01, generator.trainable_variables),
        content_layers=[losses.CONTENT_LAYER],
        **WEIGHTS,
    )


def crops(photo, batch=2):
    return np.stack([photo[8 * i :][:32, 20 * i :][:, :32] for i in range(batch)])


@pytest.mark.usefixtures("eager")
def test_each_image_is_judged_by_its_own_style(generator, photo, tiny_extractor, style_grams):
    photos = crops(photo)
    chosen = [2, 0]
    copy = keras.models.clone_model(generator)
    copy.set_weights(generator.get_weights())
    values = step_of(copy, tiny_extractor, style_grams)(photos, EYE[chosen])
    singly = []
    for i, style in enumerate(chosen):
        grams = {layer: gram[style : style + 1] for layer, gram in style_grams.items()}
        single = step_of(alone(generator, style), tiny_extractor, grams)
        singly.append(single(photos[i : i + 1]))
    for name in ("content", "style", "tv", "total"):
        expected = np.mean([float(of_one[name]) for of_one in singly])
        np.testing.assert_allclose(values[name], expected, rtol=1e-4, err_msg=name)


@pytest.mark.usefixtures("eager")
def test_a_style_that_was_not_drawn_keeps_its_tables(generator, photo, tiny_extractor, style_grams):
    copy = keras.models.clone_model(generator)
    copy.set_weights(generator.get_weights())
    step_of(copy, tiny_extractor, style_grams)(crops(photo), EYE[[1, 1]])
    moved = 0
    for variable, before in zip(copy.weights, generator.get_weights(), strict=True):
        after = variable.numpy()
        if variable.name in ("gamma", "beta"):
            np.testing.assert_array_equal(after[[0, 2]], before[[0, 2]])
        moved += not np.array_equal(after, before)
    assert moved >= len(copy.weights) - 1


@pytest.mark.usefixtures("eager")
def test_a_blend_is_judged_by_the_blended_gram_matrices(photo, tiny_extractor, style_grams):
    keras.utils.set_random_seed(2)
    network = shaken(generators.fusion_generator(styles=3, width=4, depth=1))
    photos = crops(photo)
    of_stylized = tiny_extractor(network([photos, BLENDS[[2, 2]]]))
    expected = losses.style_loss(
        grams={layer: losses.gram(of_stylized[layer]) for layer in style_grams},
        targets={
            layer: np.einsum("s,scd->cd", BLENDS[2], gram)[None]
            for layer, gram in style_grams.items()
        },
    )
    values = step_of(network, tiny_extractor, style_grams)(photos, BLENDS[[2, 2]])
    np.testing.assert_allclose(values["style"], expected, rtol=1e-4)


def test_it_learns_all_styles_at_once(photo, tiny_extractor, style_grams):
    network = generators.fusion_generator(styles=3, width=4, depth=1)
    step = step_of(network, tiny_extractor, style_grams)
    totals = [
        float(step(crops(photo, 3), weights)["total"])
        for weights in sequence(3, 30, batch_size=3, seed=0)
    ]
    assert totals[-1] < 0.7 * totals[0]


# The export


@pytest.fixture(scope="module")
def exported(generator, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return export(generator, "fusion", directory=folder, styles=NAMES, card={"style": "three"})


@pytest.fixture(scope="module")
def served(exported):
    return tf.saved_model.load(str(exported.saved_model))


SIZES = [(17, 33), (64, 48)]


@pytest.mark.parametrize("size", SIZES)
def test_signatures_give_what_keras_gives(served, generator, rng, size):
    batch = rng.integers(0, 256, (3, *size, 3), np.uint8)
    expected = generator([images.from_uint8(batch), BLENDS], training=False).numpy()
    weights = tf.constant(BLENDS)
    stylized = served.signatures["float"](
        images=tf.constant(images.from_uint8(batch)), style_weights=weights
    )["stylized"]
    np.testing.assert_allclose(stylized, expected, atol=1e-5)
    stylized = served.signatures["serving_default"](
        images=tf.constant(batch), style_weights=weights
    )["stylized"]
    assert stylized.dtype == tf.uint8
    assert np.abs(stylized.numpy() - 255 * expected).max() <= 0.51
    files = tf.constant([images.encode(images.from_uint8(picture)) for picture in batch])
    answer = served.signatures["encoded"](image_bytes=files, style_weights=weights)
    for file, of_keras in zip(answer["stylized_bytes"].numpy(), expected, strict=True):
        np.testing.assert_allclose(images.decode_bytes(file), of_keras, atol=0.51 / 255)


def test_one_row_of_weights_is_for_all_images_of_a_signature(served, rng):
    files = tf.constant([images.encode(pictures(rng, 9, 12)[0]) for _ in range(2)])
    row = tf.constant(BLENDS[2:])
    both = tf.constant(BLENDS[[2, 2]])
    answers = [
        served.signatures["encoded"](image_bytes=files, style_weights=weights)["stylized_bytes"]
        for weights in (row, both)
    ]
    np.testing.assert_array_equal(*answers)


def test_a_session_that_says_no_style_gets_the_first(exported, generator, photo):
    """As TensorFlow Serving runs it."""
    batch = images.to_uint8(np.stack([photo[:33, :17], photo[:33, 40:57]]))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        model = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(exported.saved_model))

        def run(key, output, **inputs):
            signature = model.signature_def[key]
            feed = {signature.inputs[name].name: value for name, value in inputs.items()}
            return session.run(signature.outputs[output].name, feed)

        first = run("serving_default", "stylized", images=batch)
        third = run("serving_default", "stylized", images=batch, style_weights=EYE[2:])
        files = [images.encode(images.from_uint8(picture)) for picture in batch]
        encoded = run("encoded", "stylized_bytes", image_bytes=files)
        assert list(model.signature_def["float"].defaults) == ["style_weights"]
    for stylized, weights in ((first, EYE[:1]), (third, EYE[2:])):
        expected = generator([images.from_uint8(batch), weights]).numpy()
        np.testing.assert_allclose(images.from_uint8(stylized), expected, atol=1 / 255)
    decoded = [images.to_uint8(images.decode_bytes(file)) for file in encoded]
    assert np.abs(np.stack(decoded).astype(int) - first).max() <= 1


@pytest.mark.parametrize("variant", ["float32", "dynamic"])
def test_tflite_takes_weights_at_any_size_in_built_in_operations(exported, generator, rng, variant):
    interpreter = Interpreter(model_path=str(exported.tflite[variant]))
    both = ["images", "style_weights"]
    assert interpreter.get_signature_list() == {
        "serving_default": {"inputs": both, "outputs": ["stylized"]},
        "statistics": {"inputs": both, "outputs": ["statistics"]},
        "tiles": {"inputs": ["images", "statistics", "style_weights"], "outputs": ["stylized"]},
    }
    operations = {details["op_name"] for details in interpreter._get_ops_details()}
    assert not [o for o in operations if o.startswith("Flex") or o in ("CUSTOM", "READ_VARIABLE")]
    run = interpreter.get_signature_runner("serving_default")
    tolerance = {"float32": 1e-4, "dynamic": 0.1}[variant]
    for size in [*SIZES, SIZES[0]]:
        for weights in BLENDS[:, None]:
            batch = pictures(rng, *size)
            stylized = run(images=batch, style_weights=weights)["stylized"]
            np.testing.assert_allclose(stylized, generator([batch, weights]), atol=tolerance)


def test_the_card_names_the_styles_and_says_in_which_blends_parity_was_measured(exported):
    card = json.loads(exported.card.read_text("utf-8"))
    assert (card["styles"], card["style"]) == (NAMES, "three")
    assert card["signatures"]["float"]["inputs"]["style_weights"] == "float32 [None, 3]"
    assert card["parity"]["style_weights"] == [*EYE.tolist(), [1 / 3] * 3]
    assert "tflite_float16" not in card["parity"] and "float16" not in exported.tflite
    for artifact in BOUNDS.keys() - {"tflite_float16", "tflite_int8"}:
        measure, bound = BOUNDS[artifact]
        assert 0 <= card["parity"][artifact][measure] <= bound
    assert 24 < card["memory_bytes_per_pixel"] < 500


@pytest.mark.parametrize(
    ("styles", "message"),
    [
        ((), r"styles \[\]: the generator has 3 styles"),
        (("a", "b"), "has 3 styles; give the name of each"),
        (("a", "b", "a"), "a name of its own"),
    ],
)
def test_an_export_wants_a_name_for_each_style(generator, tmp_path, styles, message):
    with pytest.raises(ValueError, match=message):
        export(generator, "x", directory=tmp_path, styles=styles)
    assert not list(tmp_path.iterdir())


def test_an_export_of_one_style_wants_no_names(tmp_path):
    single = generators.fast_generator(width=4, depth=1)
    with pytest.raises(ValueError, match="has no choice of styles"):
        export(single, "x", directory=tmp_path, styles=["a"])


# The stylizer


@pytest.fixture(scope="module")
def stylizer(exported):
    return Stylizer.load(exported.tflite["float32"])


@pytest.mark.parametrize("kind", ["model", "keras", "saved_model", "tflite"])
def test_all_runtimes_blend_as_keras_does(kind, exported, generator, photo, tmp_path):
    source = {
        "model": generator,
        "keras": tmp_path / "fusion.keras",
        "saved_model": exported.saved_model,
        "tflite": exported.tflite["float32"],
    }[kind]
    if kind == "keras":
        generator.save(source)
    stylizer = Stylizer.load(source)
    assert stylizer.styles == (("0", "1", "2") if kind in ("model", "keras") else tuple(NAMES))
    for image in (photo, photo[:17, :33]):
        for style, weights in [
            (None, EYE[0]),
            (2, EYE[2]),
            (np.int64(1), EYE[1]),
            (stylizer.styles[2], EYE[2]),
            ({0: 1, stylizer.styles[2]: 3}, [0.25, 0, 0.75]),
        ]:
            stylized = stylizer(image, style=style)
            expected = generator([image[None], np.array([weights], np.float32)])[0]
            np.testing.assert_allclose(stylized, expected, atol=1e-3)


def test_only_the_proportions_of_a_blend_count(stylizer, photo):
    expected = stylizer(photo, style={"waves": 0.25, "1889": 0.75})
    for scale in (4, 1e-30, 1e308):
        blend = {"waves": 0.25 * scale, "1889": 0.75 * scale}
        np.testing.assert_allclose(stylizer(photo, style=blend), expected, atol=1e-5)


def test_a_blend_lies_between_its_styles(stylizer, photo):
    one, other = (stylizer(photo, style=name) for name in NAMES[:2])
    distances = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        blend = stylizer(photo, style={NAMES[0]: 1 - share, NAMES[1]: share})
        distances.append((np.abs(blend - one).mean(), np.abs(blend - other).mean()))
    from_one, from_other = zip(*distances, strict=True)
    assert list(from_one) == sorted(from_one) and list(from_other) == sorted(from_other)[::-1]
    assert from_one[0] == from_other[-1] == 0 < from_one[1]


@pytest.mark.parametrize(
    ("style", "message"),
    [
        ("starry", "'starry': the model has no such style. Give one of waves, 1889, café au lait"),
        (3, "3: the model has no such style.*or 0 to 2"),
        (-1, "-1: the model has no such style"),
        (1.0, "1.0: the model has no such style"),
        ({"waves": 1, "x": 0}, "'x': the model has no such style"),
        ({"waves": -1}, "'waves' with weight -1"),
        ({"waves": float("nan")}, "'waves' with weight nan"),
        ({"waves": float("inf")}, "'waves' with weight inf"),
        ({"waves": 0, 1: 0}, "at least one of them a weight above 0"),
        ({}, "at least one of them a weight above 0"),
    ],
)
def test_a_style_that_the_model_has_not_is_refused(stylizer, photo, style, message):
    with pytest.raises(ValueError, match=message):
        stylizer(photo, style=style)
    with pytest.raises(ValueError, match=message):
        stylizer(photo, style=style, strength=0)


@pytest.mark.parametrize(
    ("flag", "style", "label"),
    [
        ([], 0, "fusion"),
        (["--style", "1889"], "1889", "fusion_1889"),
        (["--style", "2"], 2, "fusion_2"),
        (["--style", "waves:1, 2:3"], {"waves": 1, 2: 3}, "fusion_waves+2"),
    ],
)
def test_the_command_takes_styles_and_blends(
    stylizer, exported, photo, tmp_path, flag, style, label
):
    images.write(tmp_path / "photo.png", photo)
    model = str(exported.tflite["float32"])
    assert cli.main(["stylize", str(tmp_path / "photo.png"), "--model", model, *flag]) == 0
    expected = stylizer(images.from_uint8(images.to_uint8(photo)), style=style)
    found = images.read(tmp_path / f"photo.{label}.png")
    np.testing.assert_allclose(found, expected, atol=1 / 255)


@pytest.mark.parametrize(
    ("style", "told"),
    [("starry", "Give one of waves, 1889"), ("waves:much", "'waves:much': give NAME or NAME:W")],
)
def test_the_command_refuses_a_wrong_style_once(exported, photo, tmp_path, capsys, style, told):
    for name in ("a.png", "b.png"):
        images.write(tmp_path / name, photo)
    model = str(exported.tflite["float32"])
    arguments = ["stylize", str(tmp_path), "-o", str(tmp_path / "out"), "--model", model]
    try:
        code = cli.main([*arguments, "--style", style])
    except SystemExit as error:
        code = error.code
    assert code == 2 and not (tmp_path / "out").exists()
    assert capsys.readouterr().err.count(told) == 1


def test_models_lists_the_styles(exported, monkeypatch, capsys):
    monkeypatch.chdir(exported.saved_model.parent.parent.parent)
    shutil.copytree(exported.saved_model.parent.parent, "saved_models")
    assert cli.main(["models"]) == 0
    assert ", ".join(NAMES) in capsys.readouterr().out


def test_a_model_of_one_style_takes_none(photo):
    stylizer = Stylizer(lambda batch: batch)
    assert stylizer.styles == ()
    stylizer(photo, style=None)
    with pytest.raises(ValueError, match="style 0: the model has one style alone"):
        stylizer(photo, style=0)


def test_names_are_those_of_the_version_that_the_card_speaks_of(exported, tmp_path):
    folder = shutil.copytree(exported.card.parent, tmp_path / "models")
    shutil.copytree(folder / "fusion/1", folder / "fusion/2")
    card = json.loads((folder / "fusion.json").read_text("utf-8"))
    card |= {"version": 2, "styles": ["a", "b", "c"]}
    (folder / "fusion.json").write_text(json.dumps(card))
    assert Stylizer.load(folder / "fusion").styles == ("a", "b", "c")
    assert Stylizer.load(folder / "fusion/1").styles == ("0", "1", "2")
    for broken in ({"styles": ["a"]}, {"styles": "abc"}):
        (folder / "fusion.json").write_text(json.dumps(card | broken))
        assert Stylizer.load(folder / "fusion.tflite").styles == ("0", "1", "2")
    (folder / "fusion.json").unlink()
    # Without a card, the file itself tells.
    names = tuple(json.loads(exported.card.read_text("utf-8"))["styles"])
    assert Stylizer.load(folder / "fusion.tflite").styles == names


def test_a_grid_centres_pictures_of_any_size_on_white(photo):
    wide, high = photo[:10, :20], photo[:30, :15]
    picture = sheets.grid([[None, wide], [high, photo[:7, :7]]], size=40)
    assert picture.shape == (20 + 2 + 40, 82, 3) and picture.dtype == np.float32
    np.testing.assert_array_equal(picture[:22, :42], 1)
    np.testing.assert_array_equal(picture[:20, 42:], images.resize(wide, (20, 40)))
    np.testing.assert_array_equal(picture[22:, :10], 1)
    np.testing.assert_array_equal(picture[22:, 10:30], images.resize(high, (40, 20)))
    np.testing.assert_array_equal(picture[22:, 42:], images.resize(photo[:7, :7], (40, 40)))
    # Of one row, what is lower than the highest is in its middle.
    row = sheets.grid([[wide, high]], size=40)
    np.testing.assert_array_equal(row[:10, :40], 1)
    np.testing.assert_array_equal(row[10:30, :40], images.resize(wide, (20, 40)))


# The pipeline


TINY = [
    "--steps=4", "--checkpoint_every=2", "--width=4", "--depth=1", "--crop_size=32",
    "--batch_size=2", "--style_size=64", "--style=paintings,woodcut", "--content=photos",
    "--evaluate_on=photos/coffee.jpg", "--name=tiny", "--noise", "--style_loss=wasserstein",
    "--style_depth=3", "--saliency=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which the pipeline was run, on two photos and three styles."""
    folder = tmp_path_factory.mktemp("pipeline")
    for name in ("chelsea", "coffee"):
        (folder / "photos").mkdir(exist_ok=True)
        images.write(folder / f"photos/{name}.jpg", images.fit(samples.photo(name), 80))
    for seed, name in enumerate(("red", "blue")):
        (folder / "paintings").mkdir(exist_ok=True)
        images.write(folder / f"paintings/{name}.png", drawn.style("mosaic", 64, seed=seed))
    # Looked at here and not where it is resumed: a look changes no weight.
    result = recipes.run(folder, "fusion", *TINY, "--explain", compiled=False)
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


def test_the_pipeline_trains_exports_and_shows(trained):
    folder, told = trained
    made = ("saved_models/tiny/1", *(f"runs/tiny/{x}" for x in ("blend.jpg", "health.html")))
    for path in made:
        assert (folder / path).exists()
        assert path in told
    card = json.loads((folder / "saved_models/tiny.json").read_text())
    assert card["pipeline"] == "pipelines.fusion"
    assert card["styles"] == ["blue", "red", "woodcut"]
    assert card["style"] == "blue, red, woodcut"
    figures = card["figures"]
    assert (figures["photos"], figures["count"], figures["size"]) == (
        "kept out of training",
        1,
        512,
    )
    by_style = [of_one["relative_style_distance"] for of_one in figures["by_style"].values()]
    assert list(figures["by_style"]) == card["styles"]
    np.testing.assert_allclose(figures["relative_style_distance"], np.mean(by_style))
    stylizer = Stylizer.load(folder / "saved_models/tiny.tflite")
    photo = samples.photo("coffee")
    assert stylizer(photo, style={"red": 1, "woodcut": 2}).shape == photo.shape
    # A row of styles and the photo kept out; from blue to red and from red to woodcut.
    height, width = images.read(folder / "photos/coffee.jpg").shape[:2]
    height = round(256 * height / width)
    result, blend = (images.read(folder / f"runs/tiny/{name}.jpg") for name in ("result", "blend"))
    assert result.shape == (256 + 5 + height, 4 * 261 - 5, 3)
    assert blend.shape == (2 * height + 5, 5 * 261 - 5, 3)


def test_a_resumed_run_ends_bit_equal_to_one_never_stopped(trained, tmp_path):
    folder, _ = trained
    for name in ("photos", "paintings", "runs"):
        shutil.copytree(folder / name, tmp_path / name)
    checkpoints = tmp_path / "runs/tiny/checkpoints"
    recipes.cut_back(checkpoints, 2, 4)
    result = recipes.run(tmp_path, "fusion", *TINY, exported=False, compiled=False)
    assert result.returncode == 0, result.stderr
    recipes.assert_ended_alike(folder / "runs/tiny/checkpoints", checkpoints, 2, 4)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--style=swirls,paper.jpg"], "paper.jpg"),
        (["--style=swirls,swirls"], "another is called swirls too"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_leaves_nothing(tmp_path, flags, message):
    (tmp_path / "paper.jpg").write_bytes(b"%PDF-1.4 not a photo")
    result = recipes.run(tmp_path, "fusion", "--steps=1", *flags)
    assert result.returncode == 2
    (line,) = [line for line in result.stderr.splitlines() if "error:" in line]
    assert message in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["paper.jpg"]
