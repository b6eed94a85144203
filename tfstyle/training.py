"""The training loop: strategy, checkpoints, resume, validation, schedules, progress, logging."""

import contextlib
import dataclasses
import json
import math
import os
import pathlib
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
import tqdm
from tensorflow.compiler.xla.tsl.protobuf.coordination_config_pb2 import CoordinatedJob
from tensorflow.python.eager import context

from tfstyle import advice, images, machine


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
        strategy: "one" device; "mirrored" over all GPUs of this machine; "multiworker" over the
            processes that TF_CONFIG names, each on a machine of its own.
        jit: compile the train step with XLA; on one device.
        resume: go on from the last checkpoint of the run, if it has one.
        checkpoint_every: steps between checkpoints.
        keep: checkpoints kept.
        log_every: steps between TensorBoard scalars.
        sample_every: steps between TensorBoard pictures of photos kept for that.
        validate_every: steps between validations, of which the best one's checkpoint is kept; the
            last step is validated too. 0 for none at all.
        runs: folder that holds a folder for each run; of several workers, one that all of them see.
        dry_run: print the resolved options and stop.
    """

    steps: int = 2000
    seed: int = 0
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    strategy: Literal["one", "mirrored", "multiworker"] = "one"
    jit: bool = False
    resume: bool = True
    checkpoint_every: int = 200
    keep: int = 3
    log_every: int = 10
    sample_every: int = 200
    validate_every: int = 500
    runs: str = "runs"
    dry_run: bool = False

    def __post_init__(self):
        for field in ("steps", "checkpoint_every", "keep", "log_every", "sample_every"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} {getattr(self, field)}: must be at least 1")
        if self.validate_every < 0:
            raise ValueError(f"validate_every {self.validate_every}: must be at least 0")


# Options that may differ between a run and its continuation. Other steps stretch the schedule.
_MAY_CHANGE = frozenset(
    (
        "steps",
        "resume",
        "checkpoint_every",
        "keep",
        "log_every",
        "sample_every",
        "validate_every",
        "runs",
        "dry_run",
        # Of what is exported in the end.
        "title",
        "licence",
        "photos",
        "saved_models",
    )
)


def prepare(options: Options) -> tf.distribute.Strategy:
    """Seeds everything, sets the dtype policy, and returns the strategy to build networks under.

    On CPUs runs are reproducible bit for bit for one thread count. On a GPU determinism would cost
    much speed, and XLA does not offer it: there runs agree but for rounding.

    With the strategy "multiworker" it waits until all workers have come this far.

    Raises:
        TrainingError: where TF_CONFIG does not say who the workers are, or this one cannot start.
    """
    cluster = _cluster() if options.strategy == "multiworker" else None
    machine.keep_freed_memory()
    keras.utils.set_random_seed(options.seed)
    keras.config.set_dtype_policy(options.precision)
    # XLA refuses the gradient of max-pooling where determinism is asked for.
    if not tf.config.list_physical_devices("GPU") and not options.jit:
        tf.config.experimental.enable_op_determinism()
    if cluster:
        strategy = _multiworker(*cluster)
    elif options.strategy == "mirrored":
        strategy = tf.distribute.MirroredStrategy()
    else:
        strategy = tf.distribute.get_strategy()
    if options.jit and strategy.num_replicas_in_sync > 1:
        raise TrainingError(
            f"--jit with {strategy.num_replicas_in_sync} devices: XLA compiles a step of one "
            "device only. Leave out --jit or --strategy."
        )
    return strategy


# Seconds after which the workers give up one that is silent.
_HEARTBEAT_TIMEOUT = 60
_TF_CONFIG = (
    '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}, the same '
    "for all workers but for the index"
)


def _multiworker(workers: list[str], index: int):
    print(f"worker {index} of {len(workers)}, {workers[index]}: waits for all", file=sys.stderr)
    # TensorFlow's own 10 s take a worker on a busy machine for a dead one, and it has no public way
    # to say otherwise.
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader="/job:worker/replica:0/task:0",
        heartbeat_timeout_in_ms=_HEARTBEAT_TIMEOUT * 1000,
        coordinated_jobs=[CoordinatedJob(name="worker", num_tasks=len(workers))],
    )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (tf.errors.OpError, RuntimeError) as error:
        raise TrainingError(
            f"worker {index} of {len(workers)} cannot start at {workers[index]} "
            f"({_first_line(error)}). See that TF_CONFIG's addresses are right, that their ports "
            "are free, and that all workers start anew."
        ) from error


def _cluster() -> tuple[list[str], int]:
    """(addresses of all workers, index of this one), from TF_CONFIG."""
    text = os.environ.get("TF_CONFIG", "")

    def wrong(why):
        return TrainingError(f"TF_CONFIG {text!r}: {why}. Set it to {_TF_CONFIG}.")

    if not text.strip():
        raise TrainingError(f"--strategy=multiworker without TF_CONFIG. Set it to {_TF_CONFIG}.")
    try:
        config = json.loads(text)
    except ValueError as error:
        raise wrong(f"not JSON ({error})") from None
    config = config if isinstance(config, dict) else {}
    cluster, task = config.get("cluster"), config.get("task")
    if not isinstance(cluster, dict) or list(cluster) != ["worker"]:
        raise wrong("its cluster must have the job worker and no other")
    workers = cluster["worker"]
    if not workers or not isinstance(workers, list):
        raise wrong("its cluster has no list of workers")
    for address in workers:
        host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
        if not host or not port.isdecimal() or workers.count(address) > 1:
            raise wrong(f"worker {address!r} is not a HOST:PORT of its own")
    if not isinstance(task, dict) or task.get("type") != "worker":
        raise wrong("its task must be of type worker")
    index = str(task.get("index"))
    if not index.isdecimal() or int(index) >= len(workers):
        raise wrong(f"task index {task.get('index')!r} of {len(workers)} workers")
    return workers, int(index)


def shard(strategy: tf.distribute.Strategy) -> tuple[int, int]:
    """(index, count): which part of each global batch this process reads; (0, 1) if it is alone."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 0, 1
    resolver = strategy.cluster_resolver
    return resolver.task_id, resolver.cluster_spec().num_tasks("worker")


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes the run's files and the export: the first of several workers."""
    return shard(strategy)[0] == 0


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


def latest_checkpoint(run: str | os.PathLike) -> str | None:
    """The last checkpoint in the folder of a run, or in its best/; None where there is none."""
    folders = (pathlib.Path(run) / "checkpoints", pathlib.Path(run))
    return next(filter(None, map(tf.train.latest_checkpoint, folders)), None)


def start_from(generator: keras.Model, run: str | os.PathLike):
    """Gives `generator` the weights that the last checkpoint of another run has for its generator.

    Args:
        generator: of the same shape as the other run's.
        run: folder of the other run; runs/NAME/best for its best validation instead of its end.

    Raises:
        TrainingError: where the folder has no checkpoint, or one of another shape.
    """
    path = latest_checkpoint(run)
    if not path:
        raise TrainingError(
            f"{run}: no checkpoint in it. Give the folder of a run, as runs/NAME or runs/NAME/best."
        )
    try:
        status = tf.train.Checkpoint(generator=generator).restore(path)
        status.assert_existing_objects_matched().expect_partial()
    except (AssertionError, ValueError, tf.errors.OpError) as error:
        raise TrainingError(
            f"{path}: its generator has another shape ({_first_line(error)}). Give the "
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


# Options that are words for a card, and no paths.
_SAID = ("title", "licence", "photos")


def card(
    pipeline: str, settings: Mapping[str, Any], options: Options, losses: Mapping[str, float]
) -> dict[str, Any]:
    """What the model cards of all pipelines say alike.

    Args:
        pipeline: its name, such as "pipelines.fast".
        settings: of the pipeline, among them "licence", "photos" and "content".
        options: of the training.
        losses: of its end.

    Returns:
        {"licence", "data", "pipeline", "options", "losses"}. Files and folders are named, but not
        where they lie: cards travel, and say what a model was trained on, not on whose disk.
    """

    def named(part):
        # A dataset's name may have a slash, and lies nowhere.
        return part if part.startswith("tfds:") else pathlib.Path(part).name

    told = resolved_options(settings, options)
    for key, value in told.items():
        if isinstance(value, str) and os.sep in value and key not in _SAID:
            told[key] = ",".join(map(named, value.split(",")))
    return {
        "licence": settings["licence"],
        "data": settings["photos"] or told["content"] or "the photos bundled with tfstyle",
        "pipeline": pipeline,
        "options": told,
        "losses": losses,
    }


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


def write_whole(path: pathlib.Path, write: Callable[[pathlib.Path], object]) -> pathlib.Path:
    """Lets `write` write a file whole or not at all; makes its folder and returns `path`.

    Args:
        path: of the file; an earlier one is replaced.
        write: is given a temporary path beside it, of the same suffix.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def write_json(path: pathlib.Path, value) -> pathlib.Path:
    """Writes JSON, whole or not at all; returns `path`."""
    return _write_text(path, json.dumps(value, indent=2) + "\n")


def _write_text(path: pathlib.Path, text: str) -> pathlib.Path:
    return write_whole(path, lambda temporary: temporary.write_text(text))


def _remove_run(folder):
    for file in (*folder.glob("checkpoints/ckpt-*"), *folder.glob("best/ckpt-*")):
        file.unlink()
    for name in ("checkpoints/checkpoint", "best/checkpoint", "best/figures.json"):
        (folder / name).unlink(missing_ok=True)
    for name in ("validation.jsonl", "losses.json"):
        (folder / name).unlink(missing_ok=True)


class _Validation:
    """The validations of a run, a line each in validation.jsonl, and the checkpoint of the best.

    What it needs to know after a resume it reads from its files.
    """

    def __init__(self, folder: pathlib.Path, checkpoint: tf.train.Checkpoint, step: int):
        self._file = folder / "validation.jsonl"
        self._figures = folder / "best" / "figures.json"
        self._manager = tf.train.CheckpointManager(checkpoint, folder / "best", 1)
        text = self._file.read_text() if self._file.exists() else ""
        # A run resumed at `step` takes later steps again.
        self._lines = [line for line in map(json.loads, text.splitlines()) if line["step"] <= step]

    def has(self, step: int) -> bool:
        return any(line["step"] == step for line in self._lines)

    def add(self, step: int, validate: Callable, workers: "_Workers") -> dict[str, float]:
        """The figures, noted; where the first is the lowest so far, the checkpoint is kept."""
        figures, better = {}, False
        if workers.chief:
            figures = {name: float(value) for name, value in validate().items()}
            self._lines.append({"step": step, **figures})
            _write_text(self._file, "".join(json.dumps(line) + "\n" for line in self._lines))
            name, value = next(iter(figures.items()))
            best = json.loads(self._figures.read_text()) if self._figures.exists() else {}
            better = math.isfinite(value) and value < best.get(name, math.inf)
        if workers.each(better)[0]:
            _save(self._manager, step, workers)
            if workers.chief:
                write_json(self._figures, {"step": step, **figures})
        return figures


class _Workers:
    """The processes that train together. Of one process it is trivial."""

    def __init__(self, strategy: tf.distribute.Strategy, folder: pathlib.Path):
        self.count = shard(strategy)[1]
        self.chief = is_chief(strategy)
        self.devices = strategy.num_replicas_in_sync // self.count
        self._folder = folder

        @tf.function
        def gather(value):
            return strategy.gather(strategy.run(lambda: value[None]), axis=0)

        self._gather = gather

    def each(self, value: int) -> list[int]:
        """The values of all workers, the chief's first. Waits until all have called it."""
        if self.count == 1:
            return [value]
        with self.together():
            return self._gather(tf.constant(int(value))).numpy().tolist()

    @contextlib.contextmanager
    def together(self):
        """For what all workers do at the same time: names them where it fails."""
        try:
            yield
        except _LOST as error:
            if self.count == 1:
                raise
            raise TrainingError(
                f"another of the {self.count} workers is gone or stuck ({_first_line(error)}); its "
                "own output says why. Start all of them again: they go on from the last checkpoint "
                f"in {self._folder}."
            ) from error


# What operations among workers raise where one of them has died.
_LOST = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
    tf.errors.UnknownError,
)


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
    weights: Mapping[str, float] | None = None,
    validate: Callable[[], Mapping[str, float]] | None = None,
) -> dict[str, float]:
    """Trains until `options.steps`, from the last checkpoint of `run` where there is one.

    A run that was killed and resumed ends with the weights of one that was not: the checkpoint
    holds every variable in `state`, and the data after n steps is a function of n and the seed.

    Several workers call it alike. The first alone, the chief, samples, validates and writes into
    the run's folder; a signal to any of them stops all after one and the same step.

    Args:
        step: the `update` of a step of `tfstyle.steps`: takes the elements of a batch, returns
            scalar losses. It is compiled here.
        batches: number of batches to leave out -> dataset of batches that never ends, and the
            `data.ReadReport`s of the folders it reads. A worker gives its part of the global
            batches, that of `shard(strategy)`.
        state: {name: model or optimizer} to checkpoint, all built.
        run: from `open_run`.
        strategy: the one the state was built under; one device where omitted.
        ema: updated after every step and checkpointed.
        sample: gives a picture [H, W, 3] in [0, 1] to log.
        callback: called after each step.
        weights: {name of a loss as the step returns it: its weight in the generator's total}, for
            what `advice` has to say every 100 steps; each piece of it is printed once.
        validate: gives figures of the network that is to be exported, at least one, such as those
            of `metrics.Validator`. The first is the one that is to fall: the checkpoint where it
            was lowest is kept in runs/NAME/best. It must leave random states alone.

    Returns:
        Mean losses of the last 100 steps (fewer in a shorter run); of a run that was complete
        already, those it ended with.

    Raises:
        Interrupted: on SIGINT or SIGTERM, after saving.
        TrainingError: where a loss is not finite, a checkpoint does not fit or cannot be saved, a
            batch cannot be split over the devices, or a worker is gone or begins elsewhere.
        data.DataError: where too many images are unreadable.
    """
    strategy = strategy or tf.distribute.get_strategy()
    done = tf.Variable(0, dtype="int64", trainable=False, name="step")
    objects = dict(state) | ({"ema": ema.model} if ema else {})
    checkpoint = tf.train.Checkpoint(step=done, **objects)
    folder = run.folder / "checkpoints"
    workers = _Workers(strategy, folder)
    if not options.resume:
        if workers.chief:
            _remove_run(run.folder)
    elif latest := tf.train.latest_checkpoint(folder):
        _restore(checkpoint, latest)
    start = int(done.numpy())
    if len(set(starts := workers.each(start))) > 1:
        raise TrainingError(
            f"{folder}: the workers find checkpoints of steps {starts}. Give --runs a folder that "
            "all of them see, or --noresume to start again."
        )
    validation = _Validation(run.folder, checkpoint, start)
    final = run.folder / "losses.json"

    def to_validate(number):
        every = options.validate_every if validate else 0
        return every and (number >= options.steps or number % every == 0)

    if start >= options.steps:
        print(
            f"{run.folder}: complete at step {start}; --steps for more, --noresume to start again.",
            file=sys.stderr,
        )
        if to_validate(start) and not validation.has(start):
            validation.add(start, validate, workers)
        return json.loads(final.read_text()) if final.exists() else {}

    names: list[str] = []

    @tf.function(jit_compile=options.jit or None)
    def train_step(batch, stop):
        def update(*batch):
            values = step(*batch)
            names[:] = values
            # One exchange among the devices for all.
            return tf.stack([*values.values(), stop])

        return strategy.reduce(tf.distribute.ReduceOp.MEAN, strategy.run(update, batch), axis=None)

    @tf.function
    def update_average(number):
        ema.update(number)

    dataset, reports = batches(start)
    manager = tf.train.CheckpointManager(checkpoint, folder, options.keep)
    iterator = _distribute(dataset, strategy, workers)
    if workers.chief:
        write_json(run.folder / "options.json", run.options)
        writer = tf.summary.create_file_writer(str(run.folder / "logs"))
    else:
        writer = tf.summary.create_noop_writer()
    first: list[dict[str, float]] = []
    recent: list[dict[str, float]] = []
    told: dict[int, int] = {}  # how many unreadable images of each report were named
    wrong: set[str] = set()  # what the last advice was on
    advised: set[str] = set()

    def log(number, values):
        with writer.as_default(step=number):
            for key, value in values.items():
                tf.summary.scalar(key, value)

    def log_validation(number):
        figures = validation.add(number, validate, workers)
        log(number, {f"validation/{key}": value for key, value in figures.items()})

    with (
        _Signals() as signals,
        contextlib.closing(writer),
        tqdm.tqdm(
            total=options.steps,
            initial=start,
            unit="step",
            desc=run.folder.name,
            file=sys.stderr,
            mininterval=0.5 if sys.stderr.isatty() else 30,
            dynamic_ncols=True,
            disable=not workers.chief,
        ) as bar,
    ):
        if start and to_validate(start) and not validation.has(start):
            log_validation(start)
        for number in range(start + 1, options.steps + 1):
            with workers.together():
                batch = _next(iterator, reports)
            for report in reports:
                for name, reason in report.skipped[told.get(id(report), 0) :]:
                    bar.write(f"left out {name}: {reason}", file=sys.stderr)
                told[id(report)] = len(report.skipped)
            with workers.together():
                result = train_step(batch, tf.constant(float(signals.received)))
            *values, stop = result.numpy().tolist()
            values = dict(zip(names, values, strict=True))
            if workers.count == 1:  # no other needs to be told first
                stop = signals.received
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
                stop = stop if workers.count > 1 else signals.received
            if number % options.log_every == 0:
                log(number, values)
            if (number - start) % 100 == 0:
                first = first or recent
                found = advice.of(recent, weights=weights, first=first)
                # Twice in a row, and not of the beginning, where all is still out of balance.
                now = found.keys() & wrong - advised if number > options.steps / 10 else set()
                for topic in sorted(now):
                    bar.write(f"advice at step {number}: {found[topic]}", file=sys.stderr)
                    advised.add(topic)
                wrong = set(found)
            last = number == options.steps
            if sample and workers.chief and (number % options.sample_every == 0 or last):
                with writer.as_default(step=number):
                    tf.summary.image("samples", sample()[None])
            due = to_validate(number)
            if number % options.checkpoint_every == 0 or last or stop or due:
                # Before the validation, which takes long.
                saved = _save(manager, number, workers)
            if last:
                means = {key: float(np.mean([v[key] for v in recent])) for key in values}
                if workers.chief:
                    write_json(final, means)
            elif stop:
                bar.close()
                raise Interrupted(
                    f"stopped after step {number} of {options.steps}; checkpoint {saved}. The same "
                    "command goes on from there.",
                    signals.received or signal.SIGTERM,
                )
            if due:
                log_validation(number)
    return means


def _distribute(dataset, strategy, workers):
    """Iterator over this process's batches, each split evenly over its devices."""
    if workers.devices > 1:
        size = tf.nest.flatten(dataset.element_spec)[0].shape[0]
        if not size or size % workers.devices:
            raise TrainingError(
                f"a batch of {size} on {workers.devices} devices: give a --batch_size that is a "
                f"multiple of {workers.devices * workers.count}."
            )
        dataset = dataset.rebatch(size // workers.devices)
    if workers.count > 1:
        # Else the workers tell each other before each batch that they have one.
        dataset = dataset.apply(
            tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
        )
    return iter(strategy.distribute_datasets_from_function(lambda _: dataset))


def _next(iterator, reports):
    try:
        batch = next(iterator)
    except (StopIteration, tf.errors.FailedPreconditionError):
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
            f"{path}: does not fit this model ({_first_line(error)}). Use another --name, "
            "or --noresume to start again."
        ) from error


def _save(manager, number, workers):
    """The chief's checkpoint. All workers save, since reading a variable may take all of them."""
    path = None
    try:
        if workers.chief:
            path = manager.save(checkpoint_number=number)
        else:
            with tempfile.TemporaryDirectory() as scratch:
                manager.checkpoint.write(os.path.join(scratch, "ckpt"))
    except (OSError, tf.errors.OpError) as error:
        raise TrainingError(
            f"{manager.directory}: checkpoint of step {number} could not be written "
            f"({_first_line(error)}). The last good one is {manager.latest_checkpoint}. "
            "Make room and give the same command again."
        ) from error
    workers.each(number)  # nobody goes on, or ends, before it is there
    return path or f"ckpt-{number}"


def _first_line(error) -> str:
    """The first that says what happened; errors of graphs say first where in the code."""
    where = ("Graph execution error", "Detected at node", " ")
    lines = [line for line in str(error).splitlines() if line and not line.startswith(where)]
    return (lines or [type(error).__name__])[0]


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
