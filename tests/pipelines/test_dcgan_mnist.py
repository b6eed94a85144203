"""Digits from noise: reading MNIST, its networks and train step, the pipeline on a made-up set."""

import gzip
import itertools
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

import hypothesis
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from tests import recipes
from tests.mnist import idx, write_idx
from tfstyle import data, images, losses, training
from tfstyle.images import sheets
from tfstyle.metrics import judges
from tfstyle.networks import digits
from tfstyle.training import steps

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    return write_idx(tmp_path)


# --- Reading


@hypothesis.given(
    shape=st.lists(st.integers(0, 5), min_size=1, max_size=4), seed=st.integers(0, 2**32 - 1)
)
def test_idx_gives_back_what_was_written(tmp_path_factory, shape, seed):
    array = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path_factory.mktemp("idx") / "a.gz"
    path.write_bytes(gzip.compress(idx(array)))
    read = data.read_idx(path)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, array)


GOOD = idx(np.arange(24).reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with nothing"),
        (b"\x89PNG", "begins with 89 50 4e 47, not 00 00 08"),
        (b"\0\0\x0d\1" + GOOD[4:], "begins with 00 00 0d 01"),  # floats
        (b"\0\0\x08\0", "begins with 00 00 08 00"),  # no dimensions
        (GOOD[:9], r"says 3 sizes, \[2\], and holds 0 values"),
        (GOOD[:-1], r"says 3 sizes, \[2, 3, 4\], and holds 23 values after them, not 24"),
        (GOOD + b"x", "holds more values after them, not 24"),
        (struct.pack(">BBBBII", 0, 0, 8, 2, 2**32 - 1, 2**32 - 1), "holds 0 values"),
    ],
)
def test_what_is_no_idx_file_says_so(tmp_path, content, message):
    path = tmp_path / "digits.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(data.DataError, match=f"digits.gz: .*{message}"):
        data.read_idx(path)


def test_a_damaged_gzip_says_so(tmp_path):
    path = tmp_path / "digits.gz"
    packed = gzip.compress(idx(np.random.default_rng(0).integers(0, 256, (50, 60))))
    flipped = bytearray(packed)
    flipped[len(packed) // 2] ^= 0xFF
    checksum = bytearray(packed)
    checksum[-8] ^= 0xFF
    for content in (
        GOOD,
        packed[:-20],
        packed[: len(packed) // 2],
        bytes(flipped),
        bytes(checksum),
    ):
        path.write_bytes(content)
        with pytest.raises(data.DataError, match="digits.gz: (damaged gzip|says 2 sizes)"):
            data.read_idx(path)
    with pytest.raises(data.DataError, match="nowhere.gz: cannot be read"):
        data.read_idx(tmp_path / "nowhere.gz")


def test_digits_of_a_folder(folder):
    digits = data.read_digits(folder)
    assert (digits.train.shape, digits.test.shape) == ((64, 28, 28, 1), (20, 28, 28, 1))
    assert digits.train.dtype == np.uint8
    np.testing.assert_array_equal(digits.train_labels, np.arange(64) % 10)
    np.testing.assert_array_equal(digits.test_labels, np.arange(20) % 10)
    assert (digits.test[3, 10] == 255).all()


def test_digits_say_what_they_lack(tmp_path, folder):
    with pytest.raises(data.DataError, match="nowhere: no such folder. Give one with train-images"):
        data.read_digits("nowhere")
    train_labels = folder / "train-labels-idx1-ubyte.gz"
    for labels, message in (
        (np.arange(63) % 10, r"train labels of shape \(63,\).* for 64 pictures"),
        (np.arange(64), "train labels .* up to 63"),
        (np.zeros((64, 1)), r"train labels of shape \(64, 1\)"),
        (np.zeros(0), r"train labels of shape \(0,\) "),
    ):
        train_labels.write_bytes(gzip.compress(idx(labels)))
        with pytest.raises(data.DataError, match=message):
            data.read_digits(folder)
    train_labels.unlink()
    with pytest.raises(data.DataError, match="lacks train-labels-idx1-ubyte.gz"):
        data.read_digits(folder)
    (tmp_path / "small").mkdir()
    with pytest.raises(data.DataError, match=r"train pictures of shape \(64, 27, 28, 1\)"):
        data.read_digits(write_idx(tmp_path / "small", size=(27, 28)))
    (tmp_path / "none").mkdir()
    with pytest.raises(data.DataError, match=r"test pictures of shape \(0, 28, 28, 1\)"):
        data.read_digits(write_idx(tmp_path / "none", test=0))


def test_digits_of_tfds():
    tfds = pytest.importorskip("tensorflow_datasets")
    with tfds.testing.mock_data(num_examples=7):
        digits = data.read_digits("tfds:mnist")
        for other in ("tfds:cifar10", "tfds:imdb_reviews"):
            with pytest.raises(data.DataError, match=rf"{other}: no pictures \[28, 28, 1\] with"):
                data.read_digits(other)
    assert digits.train.shape == digits.test.shape == (7, 28, 28, 1)
    assert digits.train_labels.shape == (7,)
    assert digits.train.dtype == np.uint8
    with pytest.raises(data.DataError, match="TFDS has no dataset 'no_such_thing'"):
        data.read_digits("tfds:no_such_thing")


# --- Batches


def taken(dataset, count):
    return np.concatenate([batch.numpy() for batch in itertools.islice(dataset, count)])


def test_an_epoch_of_batches_has_every_digit_once_in_another_order_each_time():
    digits = np.arange(12, dtype=np.uint8).reshape(12, 1, 1, 1)
    dataset = data.digit_batches(digits, batch_size=4, seed=3)
    assert dataset.element_spec == tf.TensorSpec([4, 1, 1, 1], tf.float32)
    values = images.to_uint8(taken(dataset, 6)).ravel().reshape(2, 12)
    assert not np.array_equal(*values)
    np.testing.assert_array_equal(np.sort(values), [np.arange(12)] * 2)


@pytest.mark.parametrize("batch_size", [1, 5, 30])
def test_skipped_batches_are_those_that_would_have_come(batch_size):
    digits = np.arange(12, dtype=np.uint8).reshape(12, 1, 1, 1)
    for make in (
        lambda skip: data.digit_batches(digits, batch_size=batch_size, seed=1, skip=skip),
        lambda skip: data.noise_batches(6, batch_size=batch_size, seed=1, skip=skip),
    ):
        np.testing.assert_array_equal(taken(make(0), 5)[2 * batch_size :], taken(make(2), 3))


def test_noise_is_normal_and_differs_between_batches_and_seeds():
    noise = taken(data.noise_batches(100, batch_size=50, seed=0), 20)
    assert noise.shape == (1000, 100)
    assert abs(noise.mean()) < 0.02 and abs(noise.std() - 1) < 0.02  # standard error 0.003
    assert len(np.unique(noise[:, 0])) == 1000
    other = taken(data.noise_batches(100, batch_size=50, seed=1), 20)
    assert abs(np.corrcoef(noise.ravel(), other.ravel())[0, 1]) < 0.02  # standard error 0.003


# --- Networks


@pytest.mark.parametrize("batch", [1, 3])
def test_the_networks_shapes_and_ranges(batch, rng):
    noise = rng.normal(size=(batch, 100)).astype("float32")
    generated = digits.digit_generator(width=2)(noise).numpy()
    assert generated.shape == (batch, 28, 28, 1) and generated.dtype == np.float32
    assert 0 < generated.min() and generated.max() < 1
    scores = digits.digit_discriminator(width=2)(generated).numpy()
    assert scores.shape == (batch, 1) and scores.dtype == np.float32
    probabilities = digits.digit_classifier(width=2)(generated).numpy()
    assert probabilities.shape == (batch, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_outputs_are_float32_in_half_precision_too(mixed_float16, rng):
    generated = digits.digit_generator(width=2)(rng.normal(size=(2, 100)))
    assert generated.dtype == digits.digit_discriminator(width=2)(generated).dtype == tf.float32
    classifier = digits.digit_classifier(width=2)
    keras.config.set_dtype_policy("float32")
    twin = digits.digit_classifier(width=2)
    twin.set_weights(classifier.get_weights())
    np.testing.assert_array_equal(classifier(generated), twin(generated))


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (digits.digit_generator, (100,)),
        (digits.digit_discriminator, (28, 28, 1)),
        (digits.digit_classifier, (28, 28, 1)),
    ],
)
def test_every_variable_gets_a_gradient(build, shape, rng):
    network = build(width=4)
    with tf.GradientTape() as tape:
        output = network(rng.normal(size=(8, *shape)).astype("float32"), training=True)
        loss = tf.reduce_mean(tf.square(output - rng.uniform(size=output.shape)))
    variables = network.trainable_variables
    for variable, gradient in zip(
        variables, tape.gradient(loss, [variable.value for variable in variables]), strict=True
    ):
        assert gradient is not None and np.isfinite(gradient).all(), variable.path
        assert np.abs(gradient).max() > 0, variable.path


def test_weights_start_from_a_narrow_normal_distribution_each_from_its_own():
    for network in (digits.digit_generator(), digits.digit_discriminator()):
        kernels = [weight.numpy() for weight in network.weights if weight.name == "kernel"]
        assert len(kernels) == 7
        for kernel in kernels:
            assert abs(kernel.std() - 0.02) < 0.004
        assert len({float(kernel.ravel()[0]) for kernel in kernels}) == 7


# --- The step


def small_step(rate=1e-3, **kwargs):
    generator = digits.digit_generator(width=2)
    discriminator = digits.digit_discriminator(width=2)
    return steps.NoiseGanStep(
        generator=generator,
        discriminator=discriminator,
        generator_optimizer=training.adam(rate, generator.trainable_variables),
        discriminator_optimizer=training.adam(rate, discriminator.trainable_variables),
        **kwargs,
    )


@pytest.mark.parametrize("label", [1.0, 0.9])
def test_the_step_returns_the_cross_entropies_before_the_update(label, rng):
    step = small_step(real_label=label)
    pictures = rng.uniform(size=(8, 28, 28, 1)).astype("float32")
    noise = rng.normal(size=(8, 100)).astype("float32")
    real = step.discriminator(pictures, training=True).numpy()
    generated = step.generator(noise, training=True)
    fake = step.discriminator(generated, training=True).numpy()
    values = step(pictures, noise)
    np.testing.assert_allclose(values["generator"], np.log1p(np.exp(-fake)).mean(), rtol=1e-4)
    of_real = label * np.log1p(np.exp(-real)) + (1 - label) * np.log1p(np.exp(real))
    expected = of_real.mean() + np.log1p(np.exp(fake)).mean()
    np.testing.assert_allclose(values["discriminator"], expected, rtol=1e-4)
    assert values["real_accuracy"] == (real > 0).mean()
    assert values["fake_accuracy"] == (fake <= 0).mean()


def test_each_network_moves_along_its_own_loss_only(rng):
    """A step of plain descent is minus the rate times the gradient of the network's own loss."""
    step = small_step()
    for name in ("generator", "discriminator"):
        optimizer = keras.optimizers.SGD(1.0)
        optimizer.build(getattr(step, name).trainable_variables)
        setattr(step, f"{name}_optimizer", optimizer)
    pictures = rng.uniform(size=(8, 28, 28, 1)).astype("float32")
    noise = rng.normal(size=(8, 100)).astype("float32")
    expected = {}
    with tf.GradientTape(persistent=True) as tape:
        real = step.discriminator(pictures, training=True)
        fake = step.discriminator(step.generator(noise, training=True), training=True)
        own = {
            "generator": losses.bce_generator_loss(fake=fake),
            "discriminator": losses.bce_discriminator_loss(real=real, fake=fake),
        }
    for name, loss in own.items():
        variables = getattr(step, name).trainable_variables
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        expected[name] = [
            variable.numpy() - gradient
            for variable, gradient in zip(variables, gradients, strict=True)
        ]
    step(pictures, noise)
    for name, weights in expected.items():
        for variable, weight in zip(getattr(step, name).trainable_variables, weights, strict=True):
            np.testing.assert_allclose(variable.numpy(), weight, rtol=1e-4, atol=1e-6)


# --- Judging


def test_recognised_counts_what_is_sure_and_which_classes_occur():
    rows = [[0.95, 0.05, 0.0]] * 5 + [[0.1, 0.9, 0.0]] * 3 + [[0.2, 0.0, 0.8]] * 2
    found = judges.recognised(rows, least=0.3)
    assert found == (pytest.approx(0.8), pytest.approx([0.5, 0.3, 0.0]), 2)
    assert judges.recognised(rows, confidence=0.95, least=0.01).share == 0.5
    assert judges.recognised(rows, confidence=0.0, least=0.2).classes == 3
    assert judges.recognised(rows, least=0.31).classes == 1


def test_a_class_occurs_from_one_percent_on():
    for count, classes in ((10, 2), (9, 1)):
        labels = np.repeat([0, 1], [1000 - count, count])
        assert judges.recognised(np.eye(10)[labels]).classes == classes


def test_scrambled_digits_keep_their_ink_and_not_their_places(rng):
    digits = rng.uniform(size=(6, 28, 28, 1)).astype("float32")
    scrambled = data.scrambled(digits)
    assert scrambled.shape == digits.shape and scrambled.dtype == digits.dtype
    for before, after in zip(digits, scrambled, strict=True):
        np.testing.assert_array_equal(np.sort(before, axis=None), np.sort(after, axis=None))
    assert (digits[::2] != scrambled[::2]).mean() > 0.99

    def quarters(digit):
        return [digit[i : i + 14, j : j + 14].tobytes() for i in (0, 14) for j in (0, 14)]

    for before, after in zip(digits[1::2], scrambled[1::2], strict=True):
        assert sorted(quarters(before)) == sorted(quarters(after))
        assert all(a != b for a, b in zip(quarters(before), quarters(after), strict=True))
    np.testing.assert_array_equal(scrambled, data.scrambled(digits))
    assert not np.array_equal(scrambled, data.scrambled(digits, seed=1))
    assert data.scrambled(digits[:1]).shape == (1, 28, 28, 1)


def test_blobs_are_white_on_black_and_cover_a_third():
    pictures = data.blobs(200)
    assert pictures.shape == (200, 28, 28, 1) and set(np.unique(pictures)) == {0.0, 1.0}
    assert 0.15 < pictures.mean() < 0.4
    assert len({picture.tobytes() for picture in pictures}) == 200
    np.testing.assert_array_equal(pictures, data.blobs(200))


def test_the_judge_knows_digits_and_is_sure_of_nothing_else():
    """Of bars: class n is a bar in row 2 n + 4 of the left half of a noisy picture."""
    rng = np.random.default_rng(0)

    def bars(count):
        labels = rng.integers(0, 10, count)
        pictures = rng.uniform(0, 0.2, (count, 28, 28, 1)).astype("float32")
        pictures[np.arange(count), 2 * labels + 4, 2:14] = 1
        return pictures, labels

    judge = judges.train_judge(*bars(2000), width=8, epochs=8)
    pictures, labels = bars(300)
    probabilities = judge.predict(pictures, verbose=0)
    assert (probabilities.argmax(axis=1) == labels).mean() > 0.95
    assert judges.recognised(probabilities).share > 0.8
    scrambled = data.scrambled(pictures)
    assert judges.recognised(judge.predict(scrambled, verbose=0)).share < 0.1


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (3, 1), (4, 2), (7, 3)])
def test_tiles_lie_row_by_row(count, rows, rng):
    digits = rng.uniform(0.1, 1, size=(count, 4, 5, 1)).astype("float32")
    picture = sheets.tiled(digits, columns=3)
    assert picture.shape == (4 * rows, 15, 3)
    for i in range(3 * rows):
        top, left = 4 * (i // 3), 5 * (i % 3)
        cell = picture[top : top + 4, left : left + 5]
        expected = digits[i] if i < count else np.zeros((4, 5, 1))
        np.testing.assert_array_equal(cell, np.repeat(expected, 3, axis=2))


# --- The pipeline

TINY = ["--width=2", "--discriminator_width=2", "--batch_size=8", "--checkpoint_every=4"]


def start(folder, *flags, **env):
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.dcgan_mnist", *TINY, *flags],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TFDS_DATA_DIR": str(folder / "tfds"), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, code=0):
    out, errors = process.communicate(timeout=600)
    assert process.returncode == code, errors
    return out, errors


def test_pipeline_trains_judges_shows_and_resumes_bit_for_bit(folder):
    common = [*TINY, "--data=.", "--schedule=document", "--sample_every=2", "--validate_every=4"]
    common.append("--steps=8")
    done = recipes.run(folder, "dcgan_mnist", *common, "--name=whole", "--explain", compiled=False)
    assert done.returncode == 0, done.stderr
    out = done.stdout
    # As a kill after step 4 leaves it.
    parts = shutil.copytree(folder / "runs/whole", folder / "runs/parts")
    for name in ("generator.keras", "figures.json", "result.png", "samples/000008.png"):
        (parts / name).unlink()
    for file in (parts / "checkpoints").glob("ckpt-8*"):
        file.unlink()
    tf.compat.v1.train.update_checkpoint_state(
        str(parts / "checkpoints"), str(parts / "checkpoints/ckpt-4")
    )
    first = (parts / "judge.keras").stat().st_mtime_ns
    done = recipes.run(folder, "dcgan_mnist", *common, "--name=parts", compiled=False)
    assert done.returncode == 0, done.stderr
    assert (parts / "judge.keras").stat().st_mtime_ns == first

    run = folder / "runs/whole"
    # The other run was not looked at: a look changes no weight.
    for name in ("generator.keras", "figures.json", "result.png", "health.html"):
        assert str((run / name).relative_to(folder)) in out
    samples = sorted(path.name for path in (run / "samples").iterdir())
    assert samples == [f"{i:06d}.png" for i in (2, 4, 6, 8)]
    shown = images.read(run / "result.png")
    assert shown.shape == (280, 280, 3)
    figures = json.loads((run / "figures.json").read_text())
    assert figures["count"] == 1000
    assert len(figures["of_class"]) == 10
    assert sum(figures["of_class"]) == pytest.approx(figures["share"])
    assert len(figures["judge"]) == 5
    assert all(0 <= value <= 1 for value in figures["judge"].values())
    validations = [json.loads(line) for line in (run / "validation.jsonl").read_text().splitlines()]
    assert [line["step"] for line in validations] == [4, 8]
    assert validations[-1]["unsure"] == pytest.approx(1 - figures["share"])
    assert validations[-1]["missing_classes"] == 10 - figures["classes"]
    assert tf.train.latest_checkpoint(run / "best")

    generators = [
        keras.models.load_model(folder / f"runs/{name}/generator.keras")
        for name in ("whole", "parts")
    ]
    for a, b in zip(*(generator.get_weights() for generator in generators), strict=True):
        np.testing.assert_array_equal(a, b)
    for name in ("samples/000008.png", "result.png"):
        assert (run / name).read_bytes() == (folder / "runs/parts" / name).read_bytes()
    checkpoints = [
        tf.train.load_checkpoint(folder / f"runs/{name}/checkpoints") for name in ("whole", "parts")
    ]
    compared = 0
    for key in checkpoints[0].get_variable_to_shape_map():
        a, b = (checkpoint.get_tensor(key) for checkpoint in checkpoints)
        if isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b, err_msg=key)
            compared += 1
    assert compared > 100


@pytest.mark.slow
def test_of_two_workers_the_first_judges_and_writes(folder):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    workers = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()

    def worker(index):
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": {"worker": workers}, "task": task})
        return start(
            folder,
            "--data=.",
            "--steps=4",
            "--strategy=multiworker",
            "--name=two",
            TF_CONFIG=config,
        )

    with worker(0) as chief, worker(1) as other:
        out, _ = finish(chief)
        assert finish(other)[0] == ""
    assert "are surely a digit" in out
    assert keras.models.load_model(folder / "runs/two/generator.keras").count_params()
    (validation,) = (folder / "runs/two/validation.jsonl").read_text().splitlines()
    assert json.loads(validation)["step"] == 4


def test_without_data_it_fails_at_once_in_one_line_that_names_the_folder(tmp_path, monkeypatch):
    """As offline: nothing is downloaded, and the folder of TFDS is empty."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    done = recipes.run(tmp_path, "dcgan_mnist", *TINY, "--steps=1")
    assert done.returncode == 2
    errors = done.stderr
    (line,) = [line for line in errors.splitlines() if "error:" in line]
    assert "tfds:mnist: not prepared in" in line
    assert "without a network, give a folder with train-images-idx3-ubyte.gz" in line
    assert "Traceback" not in errors
    assert not (tmp_path / "runs").exists()
