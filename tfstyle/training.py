"""The training loop: strategy, checkpoints, resume, schedules, progress, logging."""

import contextlib
import dataclasses
import json
import math
import os
import pathlib
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
import tqdm

from tfstyle import images, machine


class TrainingError(RuntimeError):
    """A run that cannot go on: wrong options, lost checkpoints, a loss that is not finite."""


class Interrupted(Exception):
    """A run stopped by a signal after it saved a checkpoint; `exit_code` is 128 + the signal."""

    def __init__(self, message: str, signum: int):
        super().__init__(message)
        self.exit_code = 128 + signum


@dataclasses.dataclass(frozen=True)
class Options:
    """How to train; what is trained is the pipeline's affair.

    Args:
        steps: updates in all, those of an earlier, resumed run included.
        seed: of initial weights, order of images, crops and dropout.
        precision: dtype policy of the networks; losses and Gram matrices are float32 in any case.
        strategy: "one" device, or "mirrored" over all GPUs of this machine.
        jit: compile the train step with XLA.
        resume: go on from the last checkpoint of the run, if it has one.
        checkpoint_every: steps between checkpoints.
        keep: checkpoints kept.
        log_every: steps between TensorBoard scalars.
        sample_every: steps between TensorBoard pictures of photos kept for that.
        runs: folder that holds a folder for each run.
        dry_run: print the resolved options and stop.
    """

    steps: int = 2000
    seed: int = 0
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    strategy: Literal["one", "mirrored"] = "one"
    jit: bool = False
    resume: bool = True
    checkpoint_every: int = 200
    keep: int = 3
    log_every: int = 10
    sample_every: int = 200
    runs: str = "runs"
    dry_run: bool = False

    def __post_init__(self):
        for field in ("steps", "checkpoint_every", "keep", "log_every", "sample_every"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} {getattr(self, field)}: must be at least 1")


# Options that may differ between a run and its continuation. Other steps stretch the schedule.
_MAY_CHANGE = frozenset(
    ("steps", "resume", "checkpoint_every", "keep", "log_every", "sample_every", "runs", "dry_run")
)


def prepare(options: Options) -> tf.distribute.Strategy:
    """Seeds everything, sets the dtype policy, and returns the strategy to build networks under.

    On CPUs runs are reproducible bit for bit for one thread count. On a GPU determinism would cost
    much speed, and XLA does not offer it: there runs agree but for rounding.
    """
    machine.keep_freed_memory()
    keras.utils.set_random_seed(options.seed)
    keras.config.set_dtype_policy(options.precision)
    # XLA refuses the gradient of max-pooling where determinism is asked for.
    if not tf.config.list_physical_devices("GPU") and not options.jit:
        tf.config.experimental.enable_op_determinism()
    if options.strategy == "mirrored":
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def cosine_schedule(
    learning_rate: float, steps: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Linear warm-up over a twentieth of the steps (100 at most), then a cosine to a twentieth."""
    warmup = min(100, steps // 20)
    return keras.optimizers.schedules.CosineDecay(
        learning_rate / 20, steps - warmup, 0.05, warmup_target=learning_rate, warmup_steps=warmup
    )


def adam(
    learning_rate, variables, *, clip_norm: float | None = None, beta_1: float = 0.9
) -> keras.optimizers.Optimizer:
    """Adam built on `variables`, with loss scaling where the dtype policy is mixed_float16.

    Args:
        learning_rate: number or schedule.
        clip_norm: bound on the global norm of the gradient averaged over replicas; None for none.
        beta_1: decay of the first moment.
    """
    if clip_norm is not None:
        # The optimizer clips each replica's share before it adds them up: see steps._apply.
        clip_norm /= tf.distribute.get_strategy().num_replicas_in_sync
    optimizer = keras.optimizers.Adam(learning_rate, beta_1=beta_1, global_clipnorm=clip_norm)
    if keras.config.dtype_policy().name == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    # An unbuilt optimizer is not in the checkpoint, so a resumed run would start it from zero.
    optimizer.build(variables)
    return optimizer


def start_from(generator: keras.Model, run: str | os.PathLike):
    """Gives `generator` the weights that the last checkpoint of another run has for its generator.

    Args:
        generator: of the same shape as the other run's.
        run: folder of the other run.

    Raises:
        TrainingError: where the folder has no checkpoint, or one of another shape.
    """
    path = tf.train.latest_checkpoint(pathlib.Path(run) / "checkpoints")
    if not path:
        raise TrainingError(f"{run}: no checkpoint in it. Give the folder of a run, as runs/NAME.")
    try:
        status = tf.train.Checkpoint(generator=generator).restore(path)
        status.assert_existing_objects_matched().expect_partial()
    except (AssertionError, ValueError, tf.errors.OpError) as error:
        raise TrainingError(
            f"{path}: its generator has another shape ({str(error).splitlines()[0]}). Give the "
            "same --width and --depth as that run's options.json."
        ) from error


class Ema:
    """Exponential moving average of a model's weights, kept in a model of the same shape.

    w_ema <- d w_ema + (1 - d) w with d = min(decay, (1 + t) / (10 + t)) after t updates, so that
    early weights are forgotten soon. Yazici et al. 2018 (https://arxiv.org/abs/1806.04498).
    """

    def __init__(self, model: keras.Model, decay: float):
        if not 0 < decay < 1:
            raise ValueError(f"EMA decay {decay}: must be between 0 and 1, such as 0.999")
        self.source = model
        self.decay = decay
        self.model = keras.models.clone_model(model)
        self.model.set_weights(model.get_weights())

    def update(self, step):
        """Takes in the source's weights as they are after update number `step`."""
        step = tf.cast(step, "float32")
        decay = tf.minimum(self.decay, (1 + step) / (10 + step))
        for average, weight in zip(self.model.weights, self.source.weights, strict=True):
            if weight.dtype.startswith("float"):
                average.assign(decay * average + (1 - decay) * weight)
            else:  # the state of a random generator is no quantity to average
                average.assign(weight)


@dataclasses.dataclass(frozen=True)
class Progress:
    """What a run reports after each step: number of steps done and the losses, unsmoothed."""

    step: int
    losses: Mapping[str, float]


def resolved_options(settings: Mapping[str, Any], options: Options) -> dict[str, Any]:
    """A pipeline's own settings and `options` in one flat dictionary of JSON values."""
    return json.loads(json.dumps({**settings, **dataclasses.asdict(options)}))


def card_options(settings: Mapping[str, Any], options: Options) -> dict[str, Any]:
    """As `resolved_options`, with the names of files and folders and not where they lie.

    For model cards: they travel, and say what a model was trained on, not on whose disk.
    """

    def named(value):
        if not isinstance(value, str) or os.sep not in value:
            return value
        return ",".join(pathlib.Path(part).name for part in value.split(","))

    return {key: named(value) for key, value in resolved_options(settings, options).items()}


@dataclasses.dataclass(frozen=True)
class Run:
    """A run's folder and its options, resolved. `fit` makes the folder once all else is ready."""

    folder: pathlib.Path
    options: Mapping[str, Any]


def open_run(name: str, options: Options, settings: Mapping[str, Any]) -> Run:
    """The run to start or to resume; writes nothing yet.

    Args:
        name: of the run, a folder under `options.runs`.
        settings: every option of the pipeline, its `options` left out; JSON values.

    Raises:
        TrainingError: where the folder holds a run with other settings.
    """
    folder = pathlib.Path(options.runs) / name
    resolved = resolved_options(settings, options)
    file = folder / "options.json"
    if options.resume and tf.train.latest_checkpoint(folder / "checkpoints") and file.exists():
        saved = json.loads(file.read_text())
        differing = [
            f"{key}: {saved.get(key)!r}, now {value!r}"
            for key, value in resolved.items()
            if key not in _MAY_CHANGE and value != saved.get(key)
        ]
        if differing:
            raise TrainingError(
                f"{folder} holds a run with other options ({'; '.join(differing)}). Use another "
                "--name, the same options, or --noresume to throw that run away."
            )
    return Run(folder, resolved)


def _write_json(path: pathlib.Path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(json.dumps(value, indent=2) + "\n")
    os.replace(temporary, path)


def _remove_checkpoints(folder):
    for file in folder.glob("ckpt-*"):
        file.unlink()
    (folder / "checkpoint").unlink(missing_ok=True)


def fit(
    step: Callable[..., Mapping[str, tf.Tensor]],
    *,
    batches: Callable[[int], tuple[tf.data.Dataset, list]],
    state: Mapping[str, Any],
    run: Run,
    options: Options,
    strategy: tf.distribute.Strategy | None = None,
    ema: Ema | None = None,
    sample: Callable[[], np.ndarray] | None = None,
    callback: Callable[[Progress], None] | None = None,
) -> dict[str, float]:
    """Trains until `options.steps`, from the last checkpoint of `run` where there is one.

    A run that was killed and resumed ends with the weights of one that was not: the checkpoint
    holds every variable in `state`, and the data after n steps is a function of n and the seed.

    Args:
        step: the `update` of a step of `tfstyle.steps`: takes the elements of a batch, returns
            scalar losses. It is compiled here.
        batches: number of batches to leave out -> dataset of batches that never ends, and the
            `data.ReadReport`s of the folders it reads.
        state: {name: model or optimizer} to checkpoint, all built.
        run: from `open_run`.
        strategy: the one the state was built under; one device where omitted.
        ema: updated after every step and checkpointed.
        sample: gives a picture [H, W, 3] in [0, 1] to log.
        callback: called after each step.

    Returns:
        Mean losses of the last 100 steps (fewer in a shorter run); of a run that was complete
        already, those it ended with.

    Raises:
        Interrupted: on SIGINT or SIGTERM, after saving.
        TrainingError: where a loss is not finite, or a checkpoint does not fit or cannot be saved.
        data.DataError: where too many images are unreadable.
    """
    strategy = strategy or tf.distribute.get_strategy()
    done = tf.Variable(0, dtype="int64", trainable=False, name="step")
    objects = dict(state) | ({"ema": ema.model} if ema else {})
    checkpoint = tf.train.Checkpoint(step=done, **objects)
    folder = run.folder / "checkpoints"
    if not options.resume:
        _remove_checkpoints(folder)
    elif latest := tf.train.latest_checkpoint(folder):
        _restore(checkpoint, latest)
    start = int(done.numpy())
    final = run.folder / "losses.json"
    if start >= options.steps:
        print(
            f"{run.folder}: complete at step {start}; --steps for more, --noresume to start again.",
            file=sys.stderr,
        )
        return json.loads(final.read_text()) if final.exists() else {}

    @tf.function(jit_compile=options.jit or None)
    def train_step(batch):
        values = strategy.run(step, args=batch)
        return {
            name: strategy.reduce(tf.distribute.ReduceOp.MEAN, value, axis=None)
            for name, value in values.items()
        }

    @tf.function
    def update_average(number):
        ema.update(number)

    dataset, reports = batches(start)
    _write_json(run.folder / "options.json", run.options)
    manager = tf.train.CheckpointManager(checkpoint, folder, options.keep)
    iterator = iter(strategy.experimental_distribute_dataset(dataset))
    recent: list[dict[str, float]] = []
    told: dict[int, int] = {}  # how many unreadable images of each report were named
    with (
        _Signals() as signals,
        contextlib.closing(tf.summary.create_file_writer(str(run.folder / "logs"))) as writer,
        tqdm.tqdm(
            total=options.steps,
            initial=start,
            unit="step",
            desc=run.folder.name,
            file=sys.stderr,
            mininterval=0.5 if sys.stderr.isatty() else 30,
            dynamic_ncols=True,
        ) as bar,
    ):
        for number in range(start + 1, options.steps + 1):
            batch = _next(iterator, reports)
            for report in reports:
                for name, reason in report.skipped[told.get(id(report), 0) :]:
                    bar.write(f"left out {name}: {reason}", file=sys.stderr)
                told[id(report)] = len(report.skipped)
            values = {key: float(value) for key, value in train_step(batch).items()}
            broken = [key for key, value in values.items() if not math.isfinite(value)]
            if broken:
                raise TrainingError(
                    f"step {number}: loss {', '.join(f'{k} is {values[k]}' for k in broken)}. The "
                    f"last good checkpoint is {manager.latest_checkpoint or 'none yet'}. Lower the "
                    "learning rate or the weights, or use --precision=float32, and start again."
                )
            if ema:
                update_average(tf.constant(number))
            done.assign(number)
            recent = [*recent[-99:], values]
            bar.set_postfix(
                {key: f"{np.mean([v[key] for v in recent[-20:]]):.3g}" for key in values},
                refresh=False,
            )
            bar.update()
            if callback:
                callback(Progress(number, values))
            if number % options.log_every == 0:
                with writer.as_default(step=number):
                    for key, value in values.items():
                        tf.summary.scalar(key, value)
            if sample and (number % options.sample_every == 0 or number == options.steps):
                with writer.as_default(step=number):
                    tf.summary.image("samples", sample()[None])
            last = number == options.steps
            if number % options.checkpoint_every == 0 or last or signals.received:
                saved = _save(manager, number)
            if signals.received and not last:
                bar.close()
                raise Interrupted(
                    f"stopped after step {number} of {options.steps}; checkpoint {saved}. The same "
                    "command goes on from there.",
                    signals.received,
                )
    means = {key: float(np.mean([v[key] for v in recent])) for key in recent[0]}
    _write_json(final, means)
    return means


def _next(iterator, reports):
    try:
        batch = next(iterator)
    except StopIteration:
        batch = None
    for report in reports:
        report.check()
    if batch is None:
        raise TrainingError("the data ended: a training dataset must repeat")
    return batch if isinstance(batch, tuple) else (batch,)


def _restore(checkpoint, path):
    try:
        checkpoint.restore(path).assert_consumed()
    except (AssertionError, ValueError, tf.errors.OpError) as error:
        raise TrainingError(
            f"{path}: does not fit this model ({str(error).splitlines()[0]}). Use another --name, "
            "or --noresume to start again."
        ) from error


def _save(manager, number):
    try:
        return manager.save(checkpoint_number=number)
    except (OSError, tf.errors.OpError) as error:
        raise TrainingError(
            f"{manager.directory}: checkpoint of step {number} could not be written "
            f"({str(error).splitlines()[0]}). The last good one is {manager.latest_checkpoint}. "
            "Make room and give the same command again."
        ) from error


class _Signals:
    """Notes SIGINT and SIGTERM instead of dying; a second one of them kills as usual."""

    def __enter__(self):
        self.received = 0
        self._previous = {}
        for signum in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(ValueError):  # not in the main thread: nothing to install
                self._previous[signum] = signal.signal(signum, self._note)
        return self

    def _note(self, signum, _frame):
        self.received = signum
        signal.signal(signum, signal.SIG_DFL)

    def __exit__(self, *_):
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)


def sample_grid(model: keras.Model, photos: np.ndarray) -> np.ndarray:
    """Photos above their stylized versions.

    Args:
        model: generator.
        photos: [B, H, W, 3] in [0, 1].

    Returns:
        [2 H, B W, 3] in [0, 1].
    """
    stylized = images.from_uint8(images.to_uint8(np.asarray(model(photos))))
    return np.concatenate([np.concatenate(list(row), axis=1) for row in (photos, stylized)])
