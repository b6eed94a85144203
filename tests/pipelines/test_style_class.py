"""The class-giving discriminator's system: step, judge, what is kept out, and the pipeline."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import recipes
from tfstyle import images, losses, training
from tfstyle.data import drawn, samples
from tfstyle.data.paintings import find, keep_out, read
from tfstyle.metrics import judges
from tfstyle.networks import discriminators, generators
from tfstyle.stylize import Stylizer
from tfstyle.training import steps

ROOT = Path(__file__).parents[2]
WEIGHTS = {"content_weight": 1.0, "style_weight": 0.5, "class_weight": 0.3}
EYE = np.eye(2, dtype=np.float32)


def crops(photo, batch=2):
    return np.stack([photo[8 * i :][:32, 20 * i :][:, :32] for i in range(batch)])


@pytest.fixture(scope="module")
def style_grams(tiny_extractor):
    """{layer: [2, C, C]} of two drawn styles."""
    features = [tiny_extractor(drawn.style(name, 64)[None]) for name in ("swirls", "woodcut")]
    return {
        layer: tf.concat([losses.gram(of_one[layer]) for of_one in features], axis=0)
        for layer in losses.STYLE_LAYERS
    }


@pytest.fixture(scope="module")
def paintings():
    return np.stack([drawn.style(name, 32) for name in ("swirls", "woodcut")])


def small_generator():
    return generators.fusion_generator(styles=2, width=4, depth=1)


def small_discriminator(norm="none"):
    return discriminators.class_discriminator(classes=3, width=4, layers=1, norm=norm)


def step_of(tiny_extractor, style_grams, generator, discriminator, rates=(0.01, 0.01), **weights):
    return steps.StyleClassStep(
        generator=generator,
        discriminator=discriminator,
        extractor=tiny_extractor,
        content_extractor=tiny_extractor,
        style_grams=style_grams,
        generator_optimizer=training.adam(rates[0], generator.trainable_variables),
        discriminator_optimizer=training.adam(rates[1], discriminator.trainable_variables),
        content_layers=[losses.CONTENT_LAYER],
        **(WEIGHTS | weights),
    )


# The step


def color_discriminator(kernel, bias):
    """Logits are a linear function of the mean colour."""
    image = keras.Input((None, None, 3))
    layer = keras.layers.Dense(3)
    model = keras.Model(image, layer(keras.layers.GlobalAveragePooling2D()(image)))
    layer.set_weights([kernel, bias])
    return model


def painting_generator(colors):
    """Paints all over in the colour of the style."""
    image, weights = keras.Input((None, None, 3)), keras.Input((2,))
    layer = keras.layers.Dense(3, use_bias=False)
    color = keras.layers.Reshape((1, 1, 3))(layer(weights))
    model = keras.Model([image, weights], keras.layers.Add()([0 * image, color]))
    layer.set_weights([colors])
    return model


@pytest.mark.usefixtures("eager")
def test_its_losses_are_those_worked_out_by_hand(photo, tiny_extractor, style_grams, rng):
    kernel, bias = rng.normal(size=(3, 3)), rng.normal(size=3)
    colors = rng.uniform(size=(2, 3)).astype("float32")
    paintings = rng.uniform(size=(3, 32, 32, 3)).astype("float32")
    photos, wanted, own = crops(photo, 3), [1, 0, 1], [0, 1, 1]
    generator = painting_generator(colors)
    step = step_of(tiny_extractor, style_grams, generator, color_discriminator(kernel, bias))
    values = step(photos, EYE[wanted], paintings, EYE[own])

    def logits_of(colors):
        return colors @ kernel + bias

    def cross_entropy(logits, labels):
        return np.mean(
            [np.log(np.exp(row).sum()) - row[i] for row, i in zip(logits, labels, strict=True)]
        )

    of_stylized = logits_of(colors[wanted].astype("float64"))
    of_paintings = logits_of(paintings.mean(axis=(1, 2), dtype="float64"))
    features = tiny_extractor(np.broadcast_to(colors[wanted][:, None, None], photos.shape))
    style = [
        losses.style_loss(
            grams={layer: losses.gram(features[layer][i : i + 1]) for layer in style_grams},
            targets={layer: gram[s : s + 1] for layer, gram in style_grams.items()},
        )
        for i, s in enumerate(wanted)
    ]
    expected = {
        "content": losses.content_loss(
            features=features[losses.CONTENT_LAYER],
            target=tiny_extractor(photos)[losses.CONTENT_LAYER],
        ),
        "style": np.mean(style),
        "class": cross_entropy(of_stylized, wanted),
        "discriminator": cross_entropy(of_paintings, own) + cross_entropy(of_stylized, [2] * 3),
        "real_accuracy": np.mean(of_paintings.argmax(axis=1) == own),
        "fake_accuracy": np.mean(of_stylized.argmax(axis=1) == 2),
        "as_wanted": np.mean(of_stylized.argmax(axis=1) == wanted),
    }
    expected["total"] = sum(
        WEIGHTS[f"{name}_weight"] * expected[name] for name in ("content", "style", "class")
    )
    assert values.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(values[name], value, rtol=1e-4, err_msg=name)


def test_the_expected_distance_to_paintings_is_that_to_their_mean_and_a_constant(rng):
    """What the step's docstring says of a style loss whose features stand still."""
    paintings, stylized = rng.normal(size=(50, 7)), rng.normal(size=(2, 7))
    pairs = ((paintings[:, None] - stylized) ** 2).sum(axis=-1).mean(axis=0)
    to_mean = ((paintings.mean(axis=0) - stylized) ** 2).sum(axis=-1)
    np.testing.assert_allclose(np.diff(pairs), np.diff(to_mean))


@pytest.mark.usefixtures("eager")
def test_both_networks_move_and_their_losses_stay_finite(
    photo, paintings, tiny_extractor, style_grams
):
    generator, discriminator = small_generator(), small_discriminator()
    before = generator.get_weights(), discriminator.get_weights()
    step = step_of(tiny_extractor, style_grams, generator, discriminator)
    values = step(crops(photo), EYE, paintings, EYE)
    assert np.isfinite([float(value) for value in values.values()]).all()
    for old, network in zip(before, (generator, discriminator), strict=True):
        still = [
            variable.path
            for variable, weight in zip(network.trainable_variables, old, strict=True)
            if np.array_equal(weight, variable.numpy())
        ]
        # As in test_fusion: one norm's offset is taken off again by the next.
        assert len(still) <= 1 and all(path.endswith("/beta") for path in still), still


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("class_weight", [0.0, 1.0])
def test_the_discriminator_moves_the_generator_by_its_weight_only(
    photo, paintings, tiny_extractor, style_grams, class_weight
):
    generator = small_generator()
    results = []
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        twin = keras.models.clone_model(generator)
        twin.set_weights(generator.get_weights())
        step = step_of(
            tiny_extractor, style_grams, twin, small_discriminator(), class_weight=class_weight
        )
        step(crops(photo), EYE, paintings, EYE)
        results.append(twin.get_weights())
    same = all(np.allclose(a, b, atol=1e-6) for a, b in zip(*results, strict=True))
    assert same == (class_weight == 0)


def test_each_side_learns_where_the_other_stands_still(
    photo, paintings, tiny_extractor, style_grams
):
    generator, discriminator = small_generator(), small_discriminator()
    args = crops(photo), EYE, paintings, EYE
    step = step_of(tiny_extractor, style_grams, generator, discriminator, rates=(0.0, 0.01))
    before = generator.get_weights()
    learned = [step(*args) for _ in range(60)]
    for old, now in zip(before, generator.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)
    assert learned[-1]["discriminator"] < 0.5 * learned[0]["discriminator"]
    assert learned[-1]["real_accuracy"] == learned[-1]["fake_accuracy"] == 1
    assert learned[-1]["as_wanted"] == 0

    weights = {"content_weight": 0.0, "style_weight": 0.0, "class_weight": 1.0}
    step = step_of(
        tiny_extractor, style_grams, generator, discriminator, rates=(0.01, 0.0), **weights
    )
    before = discriminator.get_weights()
    learned = [step(*args) for _ in range(60)]
    for old, now in zip(before, discriminator.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)
    assert learned[-1]["class"] < 0.5 * learned[0]["class"]
    assert learned[-1]["as_wanted"] > learned[0]["as_wanted"]


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("norm", ["instance", "spectral", "none"])
def test_in_float16_losses_and_weights_stay_finite_on_saturated_images(
    tiny_extractor, style_grams, mixed_float16, norm
):
    generator, discriminator = small_generator(), small_discriminator(norm)
    assert discriminator.get_layer("scores").compute_dtype == "float16"
    step = step_of(tiny_extractor, style_grams, generator, discriminator)
    flat = np.stack([np.full((32, 32, 3), value, np.float32) for value in (0, 1)])
    for _ in range(3):
        values = step(flat, EYE, flat, EYE)
        assert {value.dtype for value in values.values()} == {tf.float32}
        assert np.isfinite([float(value) for value in values.values()]).all()
    for network in (generator, discriminator):
        assert all(np.isfinite(weight).all() for weight in network.get_weights())


@pytest.mark.slow
def test_compiled_by_xla_it_gives_the_same_losses(photo, paintings, tiny_extractor, style_grams):
    networks = small_generator(), small_discriminator("spectral")
    twins = [keras.models.clone_model(network) for network in networks]
    for twin, network in zip(twins, networks, strict=True):
        twin.set_weights(network.get_weights())
    plain, compiled = (step_of(tiny_extractor, style_grams, *pair) for pair in (networks, twins))
    args = [tf.constant(value) for value in (crops(photo), EYE, paintings, EYE)]
    expected, found = plain(*args), tf.function(compiled.update, jit_compile=True)(*args)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3, err_msg=name)


# Devices must be made before TensorFlow starts, hence a process of its own.
TWO_DEVICES = """
import json, sys
import keras, numpy as np, tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from tfstyle import losses, training
from tfstyle.networks import discriminators, generators
from tfstyle.training import steps

folder = sys.argv[1]
data = dict(np.load(folder + "/data.npz"))
batch = [data.pop(name) for name in ("photos", "wanted", "paintings", "own")]

def train(strategy):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        extractor = keras.saving.load_model(folder + "/extractor.keras")
        generator = generators.fusion_generator(styles=2, width=2, depth=1)
        discriminator = discriminators.class_discriminator(classes=3, width=2, layers=1)
        optimizers = []
        for network in (generator, discriminator):
            optimizer = training.adam(1.0, network.trainable_variables, clip_norm=1.0)
            # The update is then linear in the gradient: see test_steps.
            optimizer.epsilon = 10.0
            optimizers.append(optimizer)
        step = steps.StyleClassStep(
            generator=generator, discriminator=discriminator, extractor=extractor,
            content_extractor=extractor, style_grams=data, generator_optimizer=optimizers[0],
            discriminator_optimizer=optimizers[1], content_layers=[losses.CONTENT_LAYER],
            content_weight=1.0, style_weight=0.5, class_weight=0.3)
    dataset = tf.data.Dataset.from_tensors(tuple(batch)).repeat().rebatch(
        4 // strategy.num_replicas_in_sync)
    iterator = iter(strategy.distribute_datasets_from_function(lambda _: dataset))

    @tf.function
    def run(values):
        return {name: strategy.reduce("MEAN", value, axis=None)
                for name, value in strategy.run(step.update, args=values).items()}

    def weights():
        return [w for n in (generator, discriminator) for w in n.get_weights()]

    start = weights()
    reported = [{k: float(v) for k, v in run(next(iterator)).items()} for _ in range(3)]
    return reported, [(b - a).ravel().tolist() for a, b in zip(start, weights())]

mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with open(folder + "/results.json", "w") as file:
    json.dump([train(strategy) for strategy in (tf.distribute.get_strategy(), mirrored)], file)
"""


@pytest.mark.slow
def test_two_devices_learn_what_one_learns_from_the_same_batch(
    photo, tiny_extractor, style_grams, tmp_path, rng
):
    batch = {
        "photos": crops(photo, 4),
        "wanted": EYE[[1, 0, 0, 0]],
        "paintings": rng.uniform(size=(4, 32, 32, 3)).astype("float32"),
        "own": EYE[[0, 1, 0, 1]],
    }
    np.savez(tmp_path / "data.npz", **batch, **{k: v.numpy() for k, v in style_grams.items()})
    tiny_extractor.save(tmp_path / "extractor.keras")
    process = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES, tmp_path],
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    (one_losses, one), (two_losses, two) = json.loads((tmp_path / "results.json").read_text())
    for of_one, of_two in zip(one_losses, two_losses, strict=True):
        for name, value in of_one.items():
            np.testing.assert_allclose(of_two[name], value, rtol=1e-4, err_msg=name)
    one, two = np.concatenate(one), np.concatenate(two)
    assert np.linalg.norm(two - one) < 1e-3 * np.linalg.norm(one)


# The judge


def planted(rng, count=40):
    """Flat pictures of two shades, and noise of the first one's mean."""
    labels = np.arange(3).repeat(count)
    pictures = np.empty((len(labels), 16, 16, 3), np.float32)
    for picture, label in zip(pictures, labels, strict=True):
        noise = rng.normal(0, 0.2 if label == 2 else 0.01, picture.shape)
        picture[:] = np.array([0.3, 0.6, 0.3])[label] + rng.normal(0, 0.02) + noise
    return pictures, labels


def as_features():
    """An extractor of the pixels themselves."""
    image = keras.Input((None, None, 3))
    return keras.Model(image, {"pixels": keras.layers.Identity()(image)})


def test_the_judge_tells_planted_classes_it_has_not_seen_by_mean_and_by_deviation(rng):
    judge = judges.nearest_mean_classifier(as_features(), *planted(rng))
    pictures, labels = planted(rng)
    logits = judge.predict(pictures, verbose=0)
    assert logits.shape == (120, 3) and logits.dtype == np.float32
    np.testing.assert_array_equal(logits.argmax(axis=1), labels)
    assert not judge.trainable_variables


def test_the_judges_logits_are_negative_half_squared_distances(rng):
    pictures, labels = planted(rng)
    judge = judges.nearest_mean_classifier(as_features(), pictures, labels)

    def numbers(x):
        x = x.astype("float64")
        return np.concatenate([x.mean(axis=(1, 2)), x.std(axis=(1, 2))], axis=1)

    rows = numbers(pictures)
    means = np.stack([rows[labels == label].mean(axis=0) for label in range(3)])
    within = np.mean([rows[labels == label].var(axis=0) for label in range(3)], axis=0)
    within = np.maximum(within, within.mean() / 100)
    others = rng.uniform(size=(5, 16, 16, 3)).astype("float32")
    distances = ((numbers(others)[:, None] - means) ** 2 / within).sum(axis=-1)
    logits = judge(others).numpy()
    expected = -distances / 2
    expected -= expected.mean(axis=1, keepdims=True) - logits.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("labels", [[0, 0], [0, 2], [1, 1]])
def test_a_judge_wants_pictures_of_every_class(rng, labels):
    with pytest.raises(ValueError, match="at least one picture"):
        judges.nearest_mean_classifier(as_features(), np.zeros((2, 8, 8, 3), "f"), labels)


def test_accuracy_and_confusion_of_planted_answers():
    logits = np.eye(3)[[0, 2, 1, 1, 0, 2]] + [[0.2, 0.1, 0]]
    found = judges.classed(logits, [0, 0, 0, 1, 1, 1], count=2)
    assert found.confusion == [[1, 1, 1], [1, 1, 1]]
    assert found.accuracy == 2 / 6
    # Where "generated" is no answer, its two pictures go to style 0: right for one of them.
    assert found.accuracy_among_styles == 3 / 6
    alone = judges.classed(logits[:, :2], [0, 0, 0, 1, 1, 1], count=2)
    assert alone.accuracy == alone.accuracy_among_styles == 3 / 6


# What is kept out


def test_of_many_paintings_some_are_kept_out_whole(tmp_path):
    works = [tmp_path / f"{i}.png" for i in range(10)]
    split = keep_out(works, tmp_path / "cut", seed=0)
    assert sorted(split.training + split.kept_out) == works
    assert len(split.kept_out) == 3
    assert split.told == "3 of 10 paintings" and split.scale == (1.0, 1.6)
    assert keep_out(works, tmp_path / "cut", seed=0) == split
    assert keep_out(works, tmp_path / "cut", seed=1) != split
    assert not (tmp_path / "cut").exists()


@pytest.mark.parametrize("shape", [(40, 60, 3), (60, 40, 3)])
def test_of_a_single_painting_the_end_of_the_longer_side_is_kept_out(tmp_path, rng, shape):
    work = rng.integers(0, 256, shape) / 255
    images.write(tmp_path / "work.png", work.astype("float32"))
    split = keep_out([tmp_path / "work.png"], tmp_path / "cut", seed=0)
    (trained,), (kept_out,) = (
        [images.read(path) for path in paths] for paths in (split.training, split.kept_out)
    )
    whole = np.concatenate([trained, kept_out], axis=int(shape[1] > shape[0]))
    np.testing.assert_allclose(whole, work, atol=1e-6)
    assert kept_out.size == 0.3 * whole.size
    # A training crop shows as many pixels of the work as one of the part kept out.
    for low, high in zip(split.scale, (1.0, 1.6), strict=True):
        np.testing.assert_allclose(40 / low, 18 / high)
    assert "30% of the longer side of each of 1" in split.told


def test_a_painting_is_a_file_no_larger_than_asked_for_or_drawn_at_that_size(tmp_path):
    images.write(tmp_path / "a.png", drawn.style("mosaic", 64)[:32])
    assert read(str(tmp_path / "a.png"), 48).shape == (24, 48, 3)
    assert read(str(tmp_path / "a.png"), 100).shape == (32, 64, 3)
    np.testing.assert_array_equal(read("mosaic", 48), drawn.style("mosaic", 48))


def test_styles_are_folders_images_or_drawn(tmp_path):
    for name in ("a/1.png", "a/2.png", "b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        images.write(tmp_path / name, np.zeros((16, 16, 3), np.float32))
    found = find(f"{tmp_path}/b.png, {tmp_path}/a", tmp_path)
    assert found == {
        "b": [tmp_path / "b.png"],
        "a": [tmp_path / "a/1.png", tmp_path / "a/2.png"],
    }
    assert list(found) == ["b", "a"]
    assert list(find(str(tmp_path / "a"), tmp_path)) == ["1", "2"]
    (tmp_path / "of_both/x").mkdir(parents=True)
    shutil.copytree(tmp_path / "a", tmp_path / "of_both/y")
    shutil.copy(tmp_path / "b.png", tmp_path / "of_both/x")
    assert list(find(str(tmp_path / "of_both"), tmp_path)) == ["x", "y"]


# The pipeline


# Three crops of two styles in turn: a resumed run starts in the middle of a turn.
TINY = [
    "--steps=3", "--checkpoint_every=1", "--validate_every=0", "--width=4", "--depth=1",
    "--discriminator_width=4", "--crop_size=32", "--batch_size=3", "--style=paintings,one.png",
    "--content=photos", "--evaluate_on=photos/coffee.jpg", "--name=tiny",
]  # fmt: skip


def run(folder, *flags, **options):
    """The pipeline, judged by few crops. Style and judge are made from them, so by the same."""
    with pytest.MonkeyPatch.context() as patch:
        for name, count in (("FITTED", 16), ("JUDGED", 8), ("VALIDATED", 2)):
            patch.setattr(f"pipelines.style_class.{name}", count)
        return recipes.run(folder, "style_class", *TINY, *flags, compiled=False, **options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which the pipeline was run, on two photos, four paintings and a single one."""
    folder = tmp_path_factory.mktemp("pipeline")
    for name in ("chelsea", "coffee"):
        (folder / "photos").mkdir(exist_ok=True)
        images.write(folder / f"photos/{name}.jpg", images.fit(samples.photo(name), 80))
    for seed in range(4):
        (folder / "paintings").mkdir(exist_ok=True)
        images.write(folder / f"paintings/{seed}.png", drawn.style("woodcut", 64, seed=seed))
    images.write(folder / "one.png", drawn.style("swirls", 64))
    # Looked at here and not where it is resumed: a look changes no weight.
    result = run(folder, "--explain")
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


def test_the_pipeline_trains_judges_exports_and_shows(trained):
    folder, told = trained
    for path in ("saved_models/tiny/1", "runs/tiny/figures.json", "runs/tiny/health.html"):
        assert (folder / path).exists()
        assert path in told
    figures = json.loads((folder / "runs/tiny/figures.json").read_text())
    assert figures["classes"] == ["paintings", "one", "generated"]
    assert figures["chance"] == 1 / 2
    assert figures["kept_out"] == {
        "paintings": "1 of 4 paintings",
        "one": "30% of the longer side of each of 1",
    }
    for of_what in ("paintings", "stylized"):
        for by, columns in (("discriminator", 3), ("judge", 2)):
            found = figures[f"{of_what}_by_{by}"]
            confusion = np.array(found["confusion"])
            assert confusion.shape == (2, columns)
            assert (confusion.sum(axis=1) == figures["crops_a_style"]).all()
            np.testing.assert_allclose(
                np.trace(confusion[:, :2]) / confusion.sum(), found["accuracy"]
            )
    # Drawn in other colours and lines, they are told apart by a judge that no training touches.
    assert figures["paintings_by_judge"]["accuracy"] > 0.9
    card = json.loads((folder / "saved_models/tiny.json").read_text())
    assert card["pipeline"] == "pipelines.style_class"
    assert card["styles"] == ["paintings", "one"]
    assert card["figures"]["stylized_by_judge"] == figures["stylized_by_judge"]
    assert {"content", "style", "class", "discriminator", "as_wanted"} <= card["losses"].keys()
    stylizer = Stylizer.load(folder / "saved_models/tiny.tflite")
    photo = samples.photo("coffee")
    assert stylizer(photo, style={"one": 1, "paintings": 2}).shape == photo.shape


@pytest.mark.slow
def test_a_resumed_run_ends_bit_equal_to_one_never_stopped(trained, tmp_path):
    folder, _ = trained
    for name in ("photos", "paintings", "runs"):
        shutil.copytree(folder / name, tmp_path / name)
    shutil.copy(folder / "one.png", tmp_path)
    checkpoints = tmp_path / "runs/tiny/checkpoints"
    recipes.cut_back(checkpoints, 1, 3)
    result = run(tmp_path, exported=False)
    assert result.returncode == 0, result.stderr
    recipes.assert_ended_alike(folder / "runs/tiny/checkpoints", checkpoints, 1, 3)


@pytest.mark.parametrize(
    ("style", "message"),
    [
        ("swirls", "'swirls': 1 of them; give at least two"),
        ("swirls,paper.jpg", "paper.jpg"),
        ("swirls,swirls", "another is called swirls too"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_leaves_nothing(tmp_path, style, message):
    (tmp_path / "paper.jpg").write_bytes(b"%PDF-1.4 not a photo")
    result = recipes.run(tmp_path, "style_class", "--steps=1", f"--style={style}")
    assert result.returncode == 2
    (line,) = [line for line in result.stderr.splitlines() if "error:" in line]
    assert message in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["paper.jpg"]
