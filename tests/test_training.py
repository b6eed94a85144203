"""The loop: exact resume after a kill, signals, broken losses, options. Also run as a program."""

import dataclasses
import json
import pathlib
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfstyle import data, samples, steps, training
from tfstyle.networks import discriminators, generators

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
    """Everything with a state: two networks and optimizers, batch norm, dropout, EMA, real data."""
    options = dataclasses.replace(OPTIONS, runs=str(runs), **options)
    training.prepare(options)
    generator = generators.unet_generator(width=4, residual_blocks=1, norm="batch", dropout=0.3)
    discriminator = discriminators.patch_discriminator(width=4, layers=1)
    state = {
        "generator": generator,
        "discriminator": discriminator,
        "generator_optimizer": training.adam(1e-3, generator.trainable_variables, clip_norm=1.0),
        "discriminator_optimizer": training.adam(1e-3, discriminator.trainable_variables),
    }
    ema = training.Ema(generator, 0.9)
    extractor = _extractor()
    step = steps.GanStep(
        **state,
        extractor=extractor,
        content_extractor=extractor,
        adversarial="bce",
        content_layers=["layer"],
        style_layers=["layer"],
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
        run=training.open_run("gan", options, {"width": 4}),
        options=options,
        ema=ema,
        callback=lambda _: time.sleep(pause),
    )
    models = (generator, discriminator, ema.model)
    weights = [weight for model in models for weight in model.get_weights()]
    for name in ("generator_optimizer", "discriminator_optimizer"):
        weights += [np.asarray(variable.value) for variable in state[name].variables]
    return weights


def _child(runs, **kwargs):
    arguments = [sys.executable, __file__, str(runs), json.dumps(kwargs)]
    return subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)


def _wait_for(path, process, seconds=120):
    end = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.02)


def _weights_of(runs):
    with np.load(runs / "weights.npz") as file:
        return [file[key] for key in file]


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


def test_killed_and_resumed_run_ends_bit_equal_to_one_never_killed(tmp_path):
    with _child(tmp_path / "killed", pause=0.5) as killed:
        try:
            _wait_for(tmp_path / "killed/gan/checkpoints/ckpt-4.index", killed)
        finally:
            killed.kill()
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed/weights.npz").exists()
    for runs in ("killed", "whole"):
        with _child(tmp_path / runs) as child:
            _, errors = child.communicate()
        assert child.returncode == 0, errors

    expected, actual = _weights_of(tmp_path / "whole"), _weights_of(tmp_path / "killed")
    assert len(expected) == len(actual) > 50
    for a, b in zip(expected, actual, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_leaves_a_checkpoint_to_go_on_from(tmp_path, tiny, signum, code):
    step, state = tiny
    options = _options(tmp_path, steps=100, checkpoint_every=50)
    run = training.open_run("run", options, {})

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
    run = training.open_run("run", options, {})
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
        run=training.open_run("run", options, {}),
        options=options,
        callback=later,
    )
    told = capsys.readouterr().err
    assert told.count("left out a.jpg: empty file (0 bytes).") == 1
    assert told.count("left out b.jpg: truncated.") == 1


def test_keeps_the_last_checkpoints_and_logs(tmp_path, tiny):
    step, state = tiny
    options = _options(tmp_path, steps=9, keep=2)
    run = training.open_run("run", options, {})
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
    run = training.open_run("run", options, {})
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
    run = training.open_run("run", options, {"style": "a.jpg"})
    training.fit(step, batches=_batches(), state=state, run=run, options=options)
    with pytest.raises(training.TrainingError, match=r"style: 'a.jpg', now 'b.jpg'.*--noresume"):
        training.open_run("run", options, {"style": "b.jpg"})
    # What changes nothing learned may change.
    training.open_run("run", dataclasses.replace(options, keep=9), {"style": "a.jpg"})
    options = dataclasses.replace(options, resume=False)
    run = training.open_run("run", options, {"style": "b.jpg"})
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
    run = training.open_run("run", options, {})
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
    run = training.open_run("run", options, {})
    save = tf.train.CheckpointManager.save

    def full(self, checkpoint_number):
        if checkpoint_number == 4:
            raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")
        return save(self, checkpoint_number)

    monkeypatch.setattr(tf.train.CheckpointManager, "save", full)
    with pytest.raises(training.TrainingError, match=r"step 4 .*No space left.*ckpt-2"):
        training.fit(step, batches=_batches(), state=state, run=run, options=options)


def test_start_from_takes_another_runs_generator_and_refuses_other_shapes(tmp_path, tiny):
    step, state = tiny
    options = _options(tmp_path)
    run = training.open_run("run", options, {})
    state = {"generator": state["model"], "optimizer": state["optimizer"]}
    training.fit(step, batches=_batches(), state=state, run=run, options=options)
    twin = keras.models.clone_model(state["generator"])
    training.start_from(twin, run.folder)
    for a, b in zip(state["generator"].get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(training.TrainingError, match="another shape"):
        training.start_from(generators.fast_generator(width=4, depth=1), run.folder)
    with pytest.raises(training.TrainingError, match="nowhere: no checkpoint"):
        training.start_from(twin, "nowhere")


def test_card_options_name_files_but_not_where_they_lie():
    settings = {"style": "/home/me/a.jpg", "content": "photos,/data/b", "name": "x", "width": 4}
    told = training.card_options(settings, OPTIONS)
    assert told["style"] == "a.jpg"
    assert told["content"] == "photos,b"
    assert (told["name"], told["width"], told["steps"]) == ("x", 4, 6)


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


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "weights.npz", *_train_gan(folder, **json.loads(sys.argv[2])))
