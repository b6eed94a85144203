"""The loop: exact resume after a kill, signals, broken losses, options. Also run as a program."""

import dataclasses
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfstyle import data, files, losses, training
from tfstyle.data import drawn, samples
from tfstyle.networks import discriminators, generators
from tfstyle.training import image_pool, loop, steps, strategy

OPTIONS = training.Options(steps=6, checkpoint_every=2, log_every=2, sample_every=3)


def _extractor():
    images = keras.Input((None, None, 3))
    features = keras.layers.Conv2D(
        4, 3, 2, activation="relu", kernel_initializer=keras.initializers.GlorotUniform(seed=7)
    )(images)
    model = keras.Model(images, {"layer": features})
    model.trainable = False
    return model


def _train_gan(runs, *, pause=0.0, **options):
    """All that has a state: two networks and optimizers, batch norm, dropout, EMA, a balance."""
    options = dataclasses.replace(OPTIONS, runs=str(runs), **options)
    training.prepare(options)
    generator = generators.unet_generator(width=4, residual_blocks=1, norm="batch", dropout=0.3)
    discriminator = discriminators.patch_discriminator(width=4, layers=1)
    state = {
        "generator": generator,
        "discriminator": discriminator,
        "generator_optimizer": training.adam(1e-3, generator.trainable_variables, clip_norm=1.0),
        "discriminator_optimizer": training.adam(1e-3, discriminator.trainable_variables),
        "balance": training.TargetBalance(("content", 0.3), weight=1.0, steps=options.steps),
    }
    ema = training.Ema(generator, 0.9)
    extractor = _extractor()
    step = steps.GanStep(
        **state,
        extractor=extractor,
        content_extractor=extractor,
        adversarial="bce",
        content_layers=["layer"],
        layer_weights={"layer": 1.0},
        content_weight=1.0,
        style_weight=1.0,
        tv_weight=0.1,
        adversarial_weight=0.1,
    )

    def batches(skip):
        def of(seed):
            return data.image_batches(
                samples.photo_paths()[:3], batch_size=1, crop_size=32, seed=seed, skip=skip
            )

        (photos, report), (paintings, other) = of(0), of(1)
        return tf.data.Dataset.zip(photos, paintings), [report, other]

    training.fit(
        step.update,
        batches=batches,
        state=state,
        run=training.open_folder("gan", options, {"width": 4}),
        options=options,
        ema=ema,
        callback=lambda _: time.sleep(pause),
    )
    models = (generator, discriminator, ema.model)
    weights = [weight for model in models for weight in model.get_weights()]
    for name in ("generator_optimizer", "discriminator_optimizer"):
        weights += [np.asarray(variable.value) for variable in state[name].variables]
    return weights + [variable.numpy() for variable in state["balance"].variables]


def _train_with_others(runs, *, pause=0.0, **options):
    """A generator taught by a linear extractor, clipped, averaged and validated; as TF_CONFIG has
    it, by several processes. Returns the losses of each step and the weights."""
    options = dataclasses.replace(OPTIONS, runs=str(runs), **options)
    strategy = training.prepare(options)
    with strategy.scope():
        images = keras.Input((None, None, 3))
        x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(images)
        generator = keras.Model(images, keras.layers.Conv2D(3, 3, padding="same")(x))
        optimizer = training.adam(1e-2, generator.trainable_variables, clip_norm=1.0)
        images = keras.Input((None, None, 3))
        extractor = keras.Model(images, {"layer": keras.layers.Conv2D(4, 2, 2)(images)})
        extractor.trainable = False
        ema = training.Ema(generator, 0.9)
    painting = drawn.style("swirls", 32)[None]
    step = steps.PerceptualStep(
        generator=generator,
        extractor=extractor,
        content_extractor=extractor,
        style_grams={"layer": losses.gram(extractor(painting)["layer"])},
        optimizer=optimizer,
        content_layers=["layer"],
        content_weight=1.0,
        style_weight=1.0,
        tv_weight=0.1,
    )

    def batches(skip):
        dataset, report = data.image_batches(
            samples.photo_paths()[:3],
            batch_size=4,
            crop_size=32,
            skip=skip,
            shard=training.shard(strategy),
        )
        return dataset, [report]

    seen = []

    def note(progress):
        seen.append([progress.step, *progress.losses.values()])
        time.sleep(pause)

    training.fit(
        step.update,
        batches=batches,
        state={"generator": generator, "optimizer": optimizer},
        run=training.open_folder("run", options, {}),
        options=options,
        strategy=strategy,
        ema=ema,
        callback=note,
        validate=lambda: {"mean": float(tf.reduce_mean(ema.model(painting)))},
    )
    weights = generator.get_weights() + ema.model.get_weights()
    weights += [np.asarray(variable.value) for variable in optimizer.variables]
    return [np.array(seen), *weights]


def _child(runs, train="_train_gan", tf_config="", **kwargs):
    arguments = [sys.executable, __file__, str(runs), train, json.dumps(kwargs)]
    environment = os.environ | {"TF_CONFIG": tf_config}
    return subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=environment)


def _workers(runs, chief=False, **kwargs):
    """Two processes that train together; each has its own folder for what it returns.

    TF_CONFIG names them as TensorFlow does, or as Kubeflow and Vertex AI do.
    """
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    cluster = {"worker": addresses}
    tasks = [{"type": "worker", "index": index} for index in range(2)]
    if chief:
        cluster = {"evaluator": ["a:1"], "worker": addresses[1:], "chief": addresses[:1]}
        tasks = [{"type": "chief", "index": 0}, {"type": "worker", "index": 0}]
    configs = [{"cluster": cluster, "task": task, "environment": "cloud"} for task in tasks]
    return [
        _child(
            runs / f"worker{index}",
            "_train_with_others",
            json.dumps(config),
            shared=str(runs),
            strategy="multiworker",
            **kwargs,
        )
        for index, config in enumerate(configs)
    ]


def _wait_for(path, process, seconds=120):
    end = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.02)


def _weights_of(runs):
    with np.load(runs / "weights.npz") as file:
        return [file[key] for key in file]


def _validations(folder):
    return list(map(json.loads, (folder / "validation.jsonl").read_text().splitlines()))


def _ended(processes):
    """(exit code, standard error) of each."""
    try:
        errors = [process.communicate(timeout=300)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return [(process.returncode, told) for process, told in zip(processes, errors, strict=True)]


@pytest.fixture
def tiny():
    """(step, state): one weight per channel that is to become the batch's mean."""
    layer = keras.layers.Dense(3)
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layer(inputs))
    optimizer = training.adam(0.1, model.trainable_variables)

    @tf.function
    def step(values):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(values) - 1.0))
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)
        return {"loss": loss}

    return step, {"model": model, "optimizer": optimizer}


class _Report:
    def __init__(self, *skipped):
        self.skipped = list(skipped)

    def check(self):
        pass


def _batches(poison_at=-1):
    """Random batches of the index; the one numbered `poison_at` is not a number."""

    def batch(i):
        noise = tf.random.stateless_uniform([2, 3], [i, 0])
        return tf.where(i == poison_at, float("nan"), noise)

    return lambda skip: (tf.data.Dataset.range(skip, 1000).map(batch), [_Report()])


def _options(tmp_path, **kwargs):
    return dataclasses.replace(OPTIONS, runs=str(tmp_path), **kwargs)


def _kill_after_step_4(runs, run, **kwargs):
    """Starts a training in a process of its own, which is killed in its fifth step or sixth."""
    with _child(runs, pause=0.5, **kwargs) as killed:
        try:
            _wait_for(runs / run / "checkpoints/ckpt-4.index", killed)
        finally:
            killed.kill()
    assert killed.returncode == -signal.SIGKILL
    assert not (runs / "weights.npz").exists()


def test_killed_run_goes_on_and_ends_bit_equal_to_one_never_killed(tmp_path):
    """Of a small one; the recipes of GANs, and those of other systems, resume in their own tests
    what they keep."""
    _kill_after_step_4(tmp_path / "killed", "run", train="_train_with_others")
    (seen, *actual), (all_seen, *expected) = (
        _train_with_others(tmp_path / name) for name in ("killed", "whole")
    )
    assert 0 < len(seen) <= 2  # it went on from step 4 or 5
    np.testing.assert_array_equal(seen, all_seen[-len(seen) :])
    assert len(expected) == len(actual) > 10
    for a, b in zip(expected, actual, strict=True):
        np.testing.assert_array_equal(a, b)


# Of everything with a state; faster ones: the one above, that of test_dcgan_mnist, and a loss scale
# below.
@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_killed_and_resumed_run_ends_bit_equal_to_one_never_killed(tmp_path, precision):
    _kill_after_step_4(tmp_path / "killed", "gan", precision=precision)
    for runs in ("killed", "whole"):
        with _child(tmp_path / runs, precision=precision) as child:
            _, errors = child.communicate()
        assert child.returncode == 0, errors

    expected, actual = _weights_of(tmp_path / "whole"), _weights_of(tmp_path / "killed")
    assert len(expected) == len(actual) > 50
    for a, b in zip(expected, actual, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_loss_scale_that_changed_is_resumed(tmp_path, mixed_float16):
    """With a scale that float16 cannot hold, so that updates are skipped until it has fallen."""
    layer = keras.layers.Dense(3)
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layer(inputs))
    optimizer = training.adam(0.1, model.trainable_variables)
    optimizer.dynamic_scale.assign(2.0**20)

    def step(values):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(tf.cast(model(values), "float32") - 1.0))
            scaled = optimizer.scale_loss(loss)
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(scaled, [v.value for v in variables]), variables)
        return {"loss": loss}

    options = _options(tmp_path, precision="mixed_float16")
    run = training.open_folder("run", options, {})
    state = {"model": model, "optimizer": optimizer}
    training.fit(step, batches=_batches(), state=state, run=run, options=options)
    scale = float(optimizer.dynamic_scale)
    assert 0 < scale < 2.0**20
    counted = int(optimizer.step_counter)
    assert 0 < counted < 6  # finite steps since
    optimizer.dynamic_scale.assign(7.0)
    optimizer.step_counter.assign(0)
    seen = []

    def note(progress):
        if progress.step == 7:
            seen.append((float(optimizer.dynamic_scale), int(optimizer.step_counter)))

    training.fit(
        step,
        batches=_batches(),
        state=state,
        run=run,
        options=dataclasses.replace(options, steps=7),
        callback=note,
    )
    assert seen == [(scale, counted + 1)]


# Several workers


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """Folder of a run of two workers; what each returned is in worker0 and worker1."""
    runs = tmp_path_factory.mktemp("unbroken")
    for code, told in _ended(_workers(runs, chief=True, validate_every=4)):
        assert code == 0, told
    return runs


def test_two_workers_learn_what_one_learns_from_the_same_batches(tmp_path, unbroken):
    one = _train_with_others(tmp_path)
    two = [_weights_of(unbroken / f"worker{index}") for index in range(2)]
    assert one[0].shape == (6, 5)
    np.testing.assert_array_equal(one[0][:, 0], range(1, 7))
    for each in two:
        np.testing.assert_allclose(each[0], one[0], rtol=1e-4)
        for a, b in zip(each[1:], one[1:], strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4)
    assert one[0][-1, 1] < 0.8 * one[0][0, 1]


def test_the_chief_alone_writes(unbroken):
    run = unbroken / "run"
    assert sorted(path.name for path in unbroken.iterdir()) == ["run", "worker0", "worker1"]
    kept = sorted(path.name for path in (run / "checkpoints").glob("*.index"))
    assert kept == ["ckpt-2.index", "ckpt-4.index", "ckpt-6.index"]
    assert len(list((run / "logs").iterdir())) == 1
    steps_judged = [line["step"] for line in _validations(run)]
    assert steps_judged == [4, 6]
    assert {path.name for path in run.iterdir()} == {
        ".lock",
        "best",
        "checkpoints",
        "logs",
        "losses.json",
        "options.json",
        "validation.jsonl",
    }


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_where_a_worker_is_killed_the_others_stop_and_all_of_them_go_on_together(
    tmp_path, unbroken, victim
):
    workers = _workers(tmp_path, pause=0.5, validate_every=4)
    try:
        _wait_for(tmp_path / "run/checkpoints/ckpt-4.index", workers[0])
    finally:
        workers[victim].kill()
    ended = _ended(workers)
    assert ended[victim][0] == -signal.SIGKILL
    code, told = ended[1 - victim]
    assert code == 1
    assert "another of the 2 workers is gone" in told and "Start all of them again" in told
    for code, told in _ended(_workers(tmp_path, validate_every=4)):
        assert code == 0, told
    for index in range(2):
        expected, actual = (_weights_of(at / f"worker{index}") for at in (unbroken, tmp_path))
        assert 0 < len(actual[0]) <= 2  # it went on from step 4 or 5
        for a, b in zip(expected[1:], actual[1:], strict=True):
            np.testing.assert_array_equal(a, b)
    lines = [line["step"] for line in _validations(tmp_path / "run")]
    assert lines == [4, 6]


@pytest.mark.slow
def test_a_signal_to_one_worker_stops_all_after_the_same_step(tmp_path):
    workers = _workers(tmp_path, steps=100, pause=0.2)
    try:
        _wait_for(tmp_path / "run/checkpoints/ckpt-2.index", workers[0])
        workers[1].send_signal(signal.SIGTERM)
    finally:
        ended = _ended(workers)
    (last,) = {re.search(r"Interrupted: stopped after step (\d+)", told)[1] for _, told in ended}
    latest = tf.train.latest_checkpoint(tmp_path / "run/checkpoints")
    assert latest.endswith(f"ckpt-{last}")


@pytest.mark.parametrize(
    ("tf_config", "message"),
    [
        ("", "--strategy=multiworker without TF_CONFIG. Set it to {"),
        ("{", "TF_CONFIG '{': not JSON"),
        ("[]", "must have the job worker"),
        (
            '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}}',
            "the job ps, which this strategy does",
        ),
        ('{"cluster": {"worker": []}}', "has no list of the job worker"),
        ('{"cluster": {"worker": ["a:1", "b"]}}', "worker 'b' is not a HOST:PORT"),
        ('{"cluster": {"worker": ["a:1", "a:1"]}}', "worker 'a:1' is not a HOST:PORT of its own"),
        ('{"cluster": {"worker": ["a:1"]}}', "of type worker"),
        (
            '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
            "task index 1 of 1 of type worker",
        ),
        ('{"cluster": {"chief": ["a:1", "b:1"]}}', "more than one chief"),
        ('{"cluster": {"evaluator": ["a:1"]}}', "must have the job worker"),
        ('{"cluster": {"chief": ["a:1"], "worker": ["a:1"]}}', "'a:1' is not a HOST:PORT of its"),
        (
            '{"cluster": {"chief": ["a:1"]}, "task": {"type": "master", "index": 0}}',
            "its task must be of type chief.",
        ),
    ],
)
def test_a_tf_config_that_names_no_workers_is_an_error(monkeypatch, tf_config, message):
    monkeypatch.setenv("TF_CONFIG", tf_config)
    with pytest.raises(training.TrainingError) as caught:
        training.prepare(dataclasses.replace(OPTIONS, strategy="multiworker"))
    assert message in str(caught.value)
    assert '"index": 0' in str(caught.value)


def test_a_chief_is_the_first_of_the_workers_and_an_evaluator_has_nothing_to_do(monkeypatch):
    cluster = {"worker": ["b:1", "c:1"], "evaluator": ["d:1"], "chief": ["a:1"]}
    jobs = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    for kind, index, place in (("chief", 0, 0), ("worker", 0, 1), ("worker", "1", 2)):
        config = {"cluster": cluster, "task": {"type": kind, "index": index}}
        monkeypatch.setenv("TF_CONFIG", json.dumps(config))
        assert strategy._workers_of_tf_config() == (jobs, place)
    config["task"] = {"type": "evaluator", "index": 0}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    with pytest.raises(training.TrainingError, match=r"an evaluator: .*validates .*Start none\.$"):
        training.prepare(dataclasses.replace(OPTIONS, strategy="multiworker"))


@pytest.mark.parametrize(
    "gone", ["tensorflow.python.eager", "tensorflow.compiler.xla.tsl.protobuf"]
)
def test_workers_start_without_tensorflows_private_modules(gone, monkeypatch, caplog):
    alone = {"cluster": {"worker": ["127.0.0.1:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(alone))
    monkeypatch.setattr(
        tf.distribute, "MultiWorkerMirroredStrategy", lambda: tf.distribute.get_strategy()
    )
    monkeypatch.setitem(sys.modules, gone, None)  # an import of it fails
    strategy = training.prepare(dataclasses.replace(OPTIONS, strategy="multiworker"))
    assert strategy is tf.distribute.get_strategy()
    (line,) = caplog.messages
    assert gone in line and "keeps its own limit for a silent worker" in line


@pytest.mark.parametrize(
    ("variable", "environment", "hosts"),
    [
        ("SLURM_PROCID", {"SLURM_JOB_NODELIST": "n[1-2]"}, ["n1:12345", "n2:12345"]),
        ("JOB_COMPLETION_INDEX", {"WORKERS": "2"}, ["train-0.train:12345", "train-1.train:12345"]),
    ],
)
def test_the_readmes_lines_make_a_tf_config(tmp_path, monkeypatch, variable, environment, hosts):
    readme = (pathlib.Path(__file__).parents[2] / "README.md").read_text()
    (script,) = [block for block in readme.split("```")[1::2] if variable in block]
    scontrol = tmp_path / "scontrol"  # as Slurm's answers
    scontrol.write_text('#!/bin/sh\n[ "$*" = "show hostnames n[1-2]" ] && printf "n1\\nn2\\n"\n')
    scontrol.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        ["bash", "-euc", script + 'printf %s "$TF_CONFIG"'],
        env=os.environ | environment | {variable: "1", "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    monkeypatch.setenv("TF_CONFIG", result.stdout)
    assert strategy._workers_of_tf_config() == ({"worker": hosts}, 1)


def test_one_process_is_the_chief_and_reads_all():
    strategy = tf.distribute.get_strategy()
    assert training.shard(strategy) == (0, 1)
    assert training.is_chief(strategy)


# Validation and advice


def test_the_best_and_the_last_checkpoint_are_kept_apart(tmp_path, tiny):
    step, state = tiny
    options = _options(tmp_path, steps=9, validate_every=2)
    run = training.open_folder("run", options, {})
    figures = iter([3.0, 1.0, 2.0, 1.0, 5.0])
    biases = []

    def validate():
        biases.append(state["model"].get_weights()[1])
        return {"distance": next(figures), "other": -float(len(biases))}

    training.fit(step, batches=_batches(), state=state, run=run, options=options, validate=validate)
    lines = _validations(run.folder)
    assert [line["step"] for line in lines] == [2, 4, 6, 8, 9]
    assert [line["distance"] for line in lines] == [3.0, 1.0, 2.0, 1.0, 5.0]
    best = json.loads((run.folder / "best/figures.json").read_text())
    assert best == {"step": 4, "distance": 1.0, "other": -2.0}
    assert [path.name for path in (run.folder / "best").glob("*.index")] == ["ckpt-4.index"]
    assert tf.train.latest_checkpoint(run.folder / "checkpoints").endswith("ckpt-9")
    twin = keras.models.clone_model(state["model"])
    path = tf.train.latest_checkpoint(run.folder / "best")
    tf.train.Checkpoint(model=twin).restore(path).expect_partial()
    np.testing.assert_array_equal(twin.get_weights()[1], biases[1])
    (log,) = (run.folder / "logs").iterdir()
    logged = {
        (event.step, value.tag): float(tf.make_ndarray(value.tensor))
        for event in tf.compat.v1.train.summary_iterator(str(log))
        for value in event.summary.value
    }
    assert logged[6, "validation/distance"] == 2.0 and logged[6, "validation/other"] == -3.0


def test_a_resumed_run_knows_its_best(tmp_path, tiny):
    step, state = tiny
    options = _options(tmp_path, steps=4, validate_every=2)
    run = training.open_folder("run", options, {})
    shared = {"batches": _batches(), "state": state, "run": run}
    for steps_in_all, figure, best in ((4, 2.0, 2), (6, 3.0, 2), (8, 1.0, 8)):
        training.fit(
            step,
            options=dataclasses.replace(options, steps=steps_in_all),
            validate=lambda figure=figure: {"distance": figure},
            **shared,
        )
        assert json.loads((run.folder / "best/figures.json").read_text())["step"] == best
    # Started again, it knows nothing of what was thrown away.
    training.fit(
        step,
        options=dataclasses.replace(options, steps=3, resume=False),
        validate=lambda: {"distance": 9.0},
        **shared,
    )
    assert json.loads((run.folder / "best/figures.json").read_text()) == {"step": 2, "distance": 9}
    assert [line["step"] for line in _validations(run.folder)] == [2, 3]


def test_a_validation_that_a_stop_prevented_is_made_up_for(tmp_path, tiny):
    step, state = tiny
    options = _options(tmp_path, steps=8, validate_every=4)
    run = training.open_folder("run", options, {})
    judged = []

    def validate():
        judged.append(int(state["optimizer"].iterations))
        if len(judged) == 3:
            raise KeyboardInterrupt  # as a second Ctrl-C
        return {"distance": 1.0}

    def interrupt(progress):
        if progress.step == 4 and not judged:
            signal.raise_signal(signal.SIGTERM)

    shared = {"batches": _batches(), "state": state, "run": run, "options": options}
    with pytest.raises(training.Interrupted):
        training.fit(step, validate=validate, callback=interrupt, **shared)
    assert judged == []
    with pytest.raises(KeyboardInterrupt):
        judged.append(0)
        training.fit(step, validate=validate, **shared)
    assert judged == [0, 4, 8]
    # All steps are done; what lacks is the last validation.
    losses_of_last = training.fit(step, validate=validate, **shared)
    assert judged == [0, 4, 8, 8] and losses_of_last.keys() == {"loss"}
    assert [line["step"] for line in _validations(run.folder)] == [4, 8]


def test_validation_changes_nothing_learned_and_0_means_none(tmp_path, tiny):
    step, state = tiny
    start = [variable.numpy() for variable in (*state["model"].weights,)]
    blank = [np.zeros_like(variable.numpy()) for variable in state["optimizer"].variables]
    blank[1] = state["optimizer"].variables[1].numpy()  # the learning rate
    ends = []
    for name, every in (("none", 0), ("each", 1)):
        state["model"].set_weights(start)
        for variable, value in zip(state["optimizer"].variables, blank, strict=True):
            variable.assign(value)
        options = _options(tmp_path, validate_every=every)
        training.fit(
            step,
            batches=_batches(),
            state=state,
            run=training.open_folder(name, options, {}),
            options=options,
            validate=lambda: {"bias": float(state["model"].get_weights()[1][0])},
        )
        ends.append(state["model"].get_weights())
    for a, b in zip(*ends, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not (tmp_path / "none/validation.jsonl").exists()
    assert not (tmp_path / "none/best").exists()
    assert len((tmp_path / "each/validation.jsonl").read_text().splitlines()) == 6


def _losses_of(values):
    """A step that learns nothing and returns the same losses each time, one from step 151 on."""
    count = tf.Variable(0, dtype="int64")

    def step(_):
        count.assign_add(1)
        return {
            name: tf.where(count > 150, tf.constant(value), 0.7) for name, value in values.items()
        }

    return step, {"count": count}


def test_what_stays_wrong_is_told_once(tmp_path, capsys):
    options = _options(tmp_path, steps=500, log_every=500, checkpoint_every=500)
    for name, accuracy in (("ill", 0.99), ("sound", 0.8)):
        step, state = _losses_of({"real_accuracy": accuracy, "fake_accuracy": accuracy})
        training.fit(
            step,
            batches=_batches(),
            state=state,
            run=training.open_folder(name, options, {}),
            options=options,
            weights={"real_accuracy": 1.0, "fake_accuracy": 1.0},
        )
        told = capsys.readouterr().err
        if name == "ill":
            assert told.count("too strong") == told.count("advice at step") == 1
            # Of steps 201 to 300, and again of 301 to 400.
            assert "advice at step 400: the discriminator was right on 99.0%" in told
        else:
            assert "advice" not in told


def test_a_batch_that_devices_cannot_share_is_an_error():
    class _Two:
        devices, count = 2, 3

    dataset = tf.data.Dataset.range(9).batch(3, drop_remainder=True)
    with pytest.raises(training.TrainingError, match=r"a batch of 3 on 2 devices.*multiple of 6"):
        loop._distribute(dataset, None, _Two)


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_worker_that_waits_for_another_is_ended_by_a_signal(tmp_path, signum, code):
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        workers = [f"127.0.0.1:{each.getsockname()[1]}" for each in (one, other)]
    told = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": 0}}
    command = "from tfstyle.cli import messages; from tfstyle import training; import sys; "
    command += "options = training.Options(strategy='multiworker', steps=1); "
    command += "sys.exit(messages.exit_code('x', lambda: training.prepare(options)))"
    process = subprocess.Popen(
        [sys.executable, "-c", command],
        env=os.environ | {"TF_CONFIG": json.dumps(told)},
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert any("waits for all" in line for line in process.stderr)
        time.sleep(0.5)
        process.send_signal(signum)
        assert process.wait(timeout=20) == code
    finally:
        process.kill()
        process.communicate()


def test_a_worker_tells_whom_it_waits_for_and_goes_on_when_all_listen(monkeypatch, capsys):
    monkeypatch.setattr(strategy, "_WORD_EVERY", 0.0)
    with socket.socket() as own, socket.socket() as other:
        for each in (own, other):
            each.bind(("127.0.0.1", 0))
        mine, theirs = (f"127.0.0.1:{each.getsockname()[1]}" for each in (own, other))
        own.close()
        waiting = threading.Thread(target=strategy._wait_for, args=([mine, theirs], 0))
        waiting.start()
        while "still waits for " + theirs not in capsys.readouterr().err:
            time.sleep(0.05)
        assert strategy._listens(mine)
        other.listen()
        waiting.join(timeout=20)
        assert not waiting.is_alive()
    # The port is TensorFlow's now.
    assert not strategy._listens(mine)


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_leaves_a_checkpoint_to_go_on_from(tmp_path, tiny, signum, code):
    step, state = tiny
    options = _options(tmp_path, steps=100, checkpoint_every=50)
    run = training.open_folder("run", options, {})

    def interrupt(progress):
        if progress.step == 7:
            signal.raise_signal(signum)

    with pytest.raises(training.Interrupted) as caught:
        training.fit(
            step, batches=_batches(), state=state, run=run, options=options, callback=interrupt
        )
    assert caught.value.exit_code == code
    assert "ckpt-7" in str(caught.value)
    assert tf.train.latest_checkpoint(run.folder / "checkpoints").endswith("ckpt-7")
    seen = []
    training.fit(
        step,
        batches=_batches(),
        state=state,
        run=run,
        options=dataclasses.replace(options, steps=10),
        callback=lambda progress: seen.append(progress.step),
    )
    assert seen == [8, 9, 10]
    assert signal.getsignal(signum) in (signal.default_int_handler, signal.SIG_DFL)


def test_loss_that_is_not_finite_stops_naming_step_and_checkpoint(tmp_path, tiny):
    step, state = tiny
    options = _options(tmp_path)
    run = training.open_folder("run", options, {})
    with pytest.raises(training.TrainingError, match=r"step 5: loss loss is nan.*ckpt-4") as caught:
        training.fit(step, batches=_batches(4), state=state, run=run, options=options)
    assert "learning rate" in str(caught.value)
    assert tf.train.latest_checkpoint(run.folder / "checkpoints").endswith("ckpt-4")


def test_unreadable_images_are_named_once(tmp_path, tiny, capsys):
    step, state = tiny
    options = _options(tmp_path)
    dataset, _ = _batches()(0)
    report = _Report(("a.jpg", "empty file (0 bytes)."))

    def later(progress):
        if progress.step == 3:
            report.skipped.append(("b.jpg", "truncated."))

    training.fit(
        step,
        batches=lambda skip: (dataset, [report]),
        state=state,
        run=training.open_folder("run", options, {}),
        options=options,
        callback=later,
    )
    told = capsys.readouterr().err
    assert told.count("left out a.jpg: empty file (0 bytes).") == 1
    assert told.count("left out b.jpg: truncated.") == 1


def test_keeps_the_last_checkpoints_and_logs(tmp_path, tiny):
    step, state = tiny
    options = _options(tmp_path, steps=9, keep=2)
    run = training.open_folder("run", options, {})
    final = training.fit(
        step,
        batches=_batches(),
        state=state,
        run=run,
        options=options,
        sample=lambda: np.zeros((4, 4, 3), "float32"),
    )
    assert set(final) == {"loss"}
    kept = sorted(path.name for path in (run.folder / "checkpoints").glob("*.index"))
    assert kept == ["ckpt-8.index", "ckpt-9.index"]
    (log,) = (run.folder / "logs").iterdir()
    tags = {
        value.tag
        for event in tf.compat.v1.train.summary_iterator(str(log))
        for value in event.summary.value
    }
    assert tags == {"loss", "samples"}


def test_a_finished_run_trains_no_more_and_says_so(tmp_path, tiny, capsys):
    step, state = tiny
    options = _options(tmp_path)
    run = training.open_folder("run", options, {})
    arguments = {"batches": _batches(), "state": state, "run": run, "options": options}
    losses = training.fit(step, **arguments)
    before = state["model"].get_weights()
    assert losses.keys() == {"loss"}
    assert training.fit(step, **arguments) == losses
    assert "run: complete at step 6; --steps for more" in capsys.readouterr().err
    for a, b in zip(before, state["model"].get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_run_with_other_options_is_refused_and_noresume_starts_again(tmp_path, tiny):
    step, state = tiny
    options = _options(tmp_path)
    run = training.open_folder("run", options, {"style": "a.jpg"})
    training.fit(step, batches=_batches(), state=state, run=run, options=options)
    with pytest.raises(training.TrainingError, match=r"style: 'a.jpg', now 'b.jpg'.*--noresume"):
        training.open_folder("run", options, {"style": "b.jpg"})
    # What changes nothing learned may change.
    training.open_folder("run", dataclasses.replace(options, keep=9), {"style": "a.jpg"})
    options = dataclasses.replace(options, resume=False)
    run = training.open_folder("run", options, {"style": "b.jpg"})
    assert json.loads((run.folder / "options.json").read_text())["style"] == "a.jpg"
    seen = []
    training.fit(
        step,
        batches=_batches(),
        state=state,
        run=run,
        options=options,
        callback=lambda progress: seen.append(progress.step),
    )
    assert seen == [1, 2, 3, 4, 5, 6]
    assert json.loads((run.folder / "options.json").read_text())["style"] == "b.jpg"


def test_checkpoint_of_another_model_is_an_error(tmp_path, tiny):
    step, state = tiny
    options = _options(tmp_path)
    run = training.open_folder("run", options, {})
    training.fit(step, batches=_batches(), state=state, run=run, options=options)
    other = generators.fast_generator(width=4, depth=1)
    with pytest.raises(training.TrainingError, match="does not fit"):
        training.fit(
            step,
            batches=_batches(),
            state={"model": other},
            run=run,
            options=dataclasses.replace(options, steps=9),
        )


def test_checkpoint_that_cannot_be_written_names_the_last_good_one(tmp_path, tiny, monkeypatch):
    step, state = tiny
    options = _options(tmp_path)
    run = training.open_folder("run", options, {})
    write = tf.train.Checkpoint.write

    def full(self, path):
        if path.endswith("ckpt-4"):
            raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")
        return write(self, path)

    monkeypatch.setattr(tf.train.Checkpoint, "write", full)
    with pytest.raises(training.TrainingError, match=r"step 4 .*No space left.*ckpt-2"):
        training.fit(step, batches=_batches(), state=state, run=run, options=options)


def test_start_from_takes_another_runs_generator_and_refuses_other_shapes(tmp_path, tiny):
    step, state = tiny
    options = _options(tmp_path)
    run = training.open_folder("run", options, {})
    state = {"generator": state["model"], "optimizer": state["optimizer"]}
    training.fit(step, batches=_batches(), state=state, run=run, options=options)
    twin = keras.models.clone_model(state["generator"])
    training.start_from(twin, run.folder)
    for a, b in zip(state["generator"].get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    figures = iter([1.0, 2.0, 3.0])
    best = []

    def validate():
        best.append(state["generator"].get_weights())
        return {"loss": next(figures)}

    again = training.open_folder("judged", options, {})
    judged = {"steps": 3, "validate_every": 1}
    training.fit(
        step,
        batches=_batches(),
        state=state,
        run=again,
        options=dataclasses.replace(options, **judged),
        validate=validate,
    )
    training.start_from(twin, again.folder / "best")
    for a, b in zip(best[0], twin.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(training.TrainingError, match="another shape"):
        training.start_from(generators.fast_generator(width=4, depth=1), run.folder)
    with pytest.raises(training.TrainingError, match="nowhere: no checkpoint"):
        training.start_from(twin, "nowhere")


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    def half(path):
        path.write_text("half of it")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        files.write_whole(tmp_path / "options.json", half)
    assert not list(tmp_path.iterdir())


def test_a_card_names_files_but_not_where_they_lie():
    settings = {"style": "/home/me/a.jpg", "content": "photos,/data/b", "name": "x", "width": 4}
    settings |= {"licence": "CC0-1.0", "photos": ""}
    card = training.card("pipelines.x", settings, OPTIONS, {"total": 1.5})
    told = card["options"]
    assert (told["style"], told["content"]) == ("a.jpg", "photos,b")
    assert (told["name"], told["width"], told["steps"]) == ("x", 4, 6)
    assert (card["licence"], card["pipeline"]) == ("CC0-1.0", "pipelines.x")
    assert (card["data"], card["losses"]) == ("photos,b", {"total": 1.5})
    words = {"title": "A/B", "content": "tfds:cycle_gan/monet2photo:trainB,/a/c"}
    told = training.card("x", settings | words, OPTIONS, {})
    assert told["data"] == told["options"]["content"] == "tfds:cycle_gan/monet2photo:trainB,c"
    assert told["options"]["title"] == "A/B"
    for photos, content, found in (("mine", "/a/b", "mine"), ("", "", "the photos bundled with")):
        given = settings | {"photos": photos, "content": content}
        assert training.card("x", given, OPTIONS, {})["data"].startswith(found)


def test_validate_every_may_be_0_and_no_less():
    assert training.Options(validate_every=0).validate_every == 0
    with pytest.raises(ValueError, match="validate_every -1: must be at least 0"):
        training.Options(validate_every=-1)


@pytest.mark.parametrize("field", ["steps", "keep", "checkpoint_every"])
def test_options_out_of_range_name_the_value(field):
    with pytest.raises(ValueError, match=f"{field} 0: must be at least 1"):
        training.Options(**{field: 0})


def test_ema_follows_its_formula():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.set_weights([np.array([[1.0]])])
    ema = training.Ema(model, 0.5)
    model.set_weights([np.array([[2.0]])])
    ema.update(1)  # decay min(0.5, 2/11)
    np.testing.assert_allclose(ema.model.get_weights()[0], 2 / 11 + 2 * 9 / 11, rtol=1e-6)
    ema.update(1000)  # decay 0.5
    expected = 0.5 * (2 / 11 + 18 / 11) + 0.5 * 2
    np.testing.assert_allclose(ema.model.get_weights()[0], expected, rtol=1e-6)
    with pytest.raises(ValueError, match="1.5"):
        training.Ema(model, 1.5)


def test_cosine_schedule_warms_up_and_ends_at_a_twentieth():
    schedule = training.cosine_schedule(1.0, 1000)
    values = [float(schedule(i)) for i in (0, 50, 525, 1000)]
    np.testing.assert_allclose(values, [0.05, 1.0, 0.525, 0.05], atol=1e-6)


# Every step, in every precision and by XLA


def _network(*channels, outputs=3, sigmoid=False, styles=0):
    """Convolutions of the channels and a last one, under the present policy."""
    images = keras.Input((None, None, 3))
    x = images
    for count in channels:
        x = keras.layers.Conv2D(count, 3, padding="same", activation="relu")(x)
    x = keras.layers.Conv2D(outputs, 3, padding="same")(x)
    inputs = images
    if styles:
        weights = keras.Input((styles,))
        inputs = [images, weights]
        x = x + keras.layers.Dense(outputs)(weights)[:, None, None, :]
    if sigmoid:
        x = keras.layers.Activation("sigmoid", dtype="float32")(x)
    return keras.Model(inputs, x)


def _loud_extractor():
    """Features of about 2400, whose squares float16 cannot hold."""
    images = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 2, 2, kernel_initializer=keras.initializers.Constant(200.0))(images)
    model = keras.Model(images, {"layer": keras.layers.Activation("linear", dtype="float32")(x)})
    model.trainable = False
    return model


def _perceptual(extractor, photos, paintings):
    generator = _network(4, sigmoid=True)
    step = steps.PerceptualStep(
        generator=generator,
        extractor=extractor,
        content_extractor=extractor,
        style_grams={"layer": losses.gram(extractor(paintings[:1])["layer"])},
        optimizer=training.adam(1e-3, generator.trainable_variables, clip_norm=1.0),
        content_layers=["layer"],
        content_weight=1.0,
        style_weight=1.0,
        tv_weight=1.0,
    )
    return step, (photos,)


def _target(extractor, photos, paintings):
    generator = _network(4, sigmoid=True)
    optimizer = training.adam(1e-3, generator.trainable_variables)
    return steps.TargetStep(generator=generator, optimizer=optimizer), (photos, paintings)


def _gan(extractor, photos, paintings):
    generator, discriminator = _network(4, sigmoid=True), _network(4, outputs=1)
    step = steps.GanStep(
        generator=generator,
        discriminator=discriminator,
        extractor=extractor,
        content_extractor=extractor,
        generator_optimizer=training.adam(1e-3, generator.trainable_variables),
        discriminator_optimizer=training.adam(1e-3, discriminator.trainable_variables),
        adversarial="bce",
        content_layers=["layer"],
        layer_weights={"layer": 1.0},
        content_weight=1.0,
        style_weight=1.0,
        tv_weight=1.0,
        adversarial_weight=1.0,
        identity_weight=1.0,
        color_weight=1.0,
        pool=image_pool.ImagePool(8, photos.shape[1:3]),
    )
    return step, (photos, paintings)


def _style_class(extractor, photos, paintings):
    generator, discriminator = _network(4, sigmoid=True, styles=2), _network(4, outputs=3)
    logits = keras.layers.GlobalAveragePooling2D()(discriminator.output)
    discriminator = keras.Model(discriminator.input, logits)
    step = steps.StyleClassStep(
        generator=generator,
        discriminator=discriminator,
        extractor=extractor,
        content_extractor=extractor,
        style_grams={"layer": losses.gram(extractor(paintings[:2])["layer"])},
        generator_optimizer=training.adam(1e-3, generator.trainable_variables),
        discriminator_optimizer=training.adam(1e-3, discriminator.trainable_variables),
        content_layers=["layer"],
        content_weight=1.0,
        style_weight=1.0,
        class_weight=1.0,
    )
    styles = tf.eye(2)
    return step, (photos[:2], styles, paintings[:2], styles)


def _noise_gan(extractor, photos, paintings):
    noise = keras.Input((8,))
    x = keras.layers.Reshape((8, 8, 3))(keras.layers.Dense(192)(noise))
    generator = keras.Model(noise, keras.layers.Activation("sigmoid", dtype="float32")(x))
    discriminator = _network(4, outputs=1)
    step = steps.NoiseGanStep(
        generator=generator,
        discriminator=discriminator,
        generator_optimizer=training.adam(1e-3, generator.trainable_variables),
        discriminator_optimizer=training.adam(1e-3, discriminator.trainable_variables),
    )
    return step, (photos[:, :8, :8], tf.ones([len(photos), 8]))


STEPS = [_perceptual, _target, _gan, _style_class, _noise_gan]


def _saturated():
    """(photos, paintings) [3, 32, 32, 3]: white, black, and the finest checkerboard."""
    board = np.indices((32, 32)).sum(axis=0) % 2
    board = np.repeat(board[..., None], 3, axis=-1)
    photos = np.stack([np.ones_like(board), np.zeros_like(board), board]).astype("float32")
    return photos, photos[::-1].copy()


def test_every_step_is_run_in_every_precision_and_by_xla():
    made = {make(_loud_extractor(), *_saturated())[0].__class__ for make in STEPS}
    own = [each for each in vars(steps).values() if isinstance(each, type)]
    assert made == {each for each in own if each.__module__.startswith("tfstyle.training.steps.")}


@pytest.mark.parametrize("make", STEPS)
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_losses_of_saturated_images_are_finite_in_half_precision(make, policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        step, batch = make(_loud_extractor(), *_saturated())
        told = [step(*batch) for _ in range(3)]
    finally:
        keras.config.set_dtype_policy(before)
    for values in told:
        assert {value.dtype for value in values.values()} == {tf.float32}
        assert np.isfinite([float(value) for value in values.values()]).all()
    for network in (step.generator, getattr(step, "discriminator", step.generator)):
        assert network.layers[1].compute_dtype == policy.removeprefix("mixed_")
        for weight in network.get_weights():
            assert np.isfinite(weight).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_gram_matrices_of_half_precision_features_are_float32_and_finite(dtype):
    features = tf.cast(tf.fill([1, 4, 4, 2], 2400.0), dtype)
    gram = losses.gram(features)
    assert gram.dtype == tf.float32
    np.testing.assert_allclose(gram, np.full((1, 2, 2), float(features[0, 0, 0, 0]) ** 2))


@pytest.mark.parametrize("make", STEPS)
def test_xla_compiles_every_step_to_the_same_losses(make):
    extractor = _extractor()
    rng = np.random.default_rng(0)
    photos, paintings = rng.uniform(0, 1, (2, 2, 16, 16, 3)).astype("float32")
    told = []
    for jit in (None, True):
        keras.utils.set_random_seed(0)
        step, batch = make(extractor, photos, paintings)
        update = tf.function(step.update, jit_compile=jit)
        told.append([{k: float(v) for k, v in update(*batch).items()} for _ in range(2)])
    for plain, compiled in zip(*told, strict=True):
        for name, value in plain.items():
            np.testing.assert_allclose(compiled[name], value, rtol=1e-3, atol=1e-5, err_msg=name)


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    arguments = json.loads(sys.argv[3])
    train = {"_train_gan": _train_gan, "_train_with_others": _train_with_others}[sys.argv[2]]
    try:
        weights = train(arguments.pop("shared", folder), **arguments)
    except (training.Interrupted, training.TrainingError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    np.savez(folder / "weights.npz", *weights)
