"""The training loop: strategy, checkpoints, resume, validation, schedules, progress, logging."""

import contextlib
import dataclasses
import functools
import math
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

import numpy as np
import tensorflow as tf
import tqdm

from tfstyle.files import write_json
from tfstyle.training import advice, events
from tfstyle.training.checkpoints import Checkpoints
from tfstyle.training.folders import RunFolder, Validation, losses_of, remove_run
from tfstyle.training.lock import only_one
from tfstyle.training.optimizers import Ema
from tfstyle.training.strategy import Interrupted, Options, TrainingError, Workers, is_chief

_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclasses.dataclass(frozen=True)
class Progress:
    """What a run reports after each step: number of steps done and the losses, unsmoothed."""

    step: int
    losses: Mapping[str, float]


def _alone(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """`fit` while no other process trains in the folder of the run."""

    @functools.wraps(function)
    def alone(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        strategy: Any = kwargs.get("strategy") or tf.distribute.get_strategy()
        run: Any = kwargs["run"]
        with only_one(run.folder) if is_chief(strategy) else contextlib.nullcontext():
            return function(*args, **kwargs)

    return alone


@_alone
def fit(
    step: Callable[..., Mapping[str, tf.Tensor]],
    *,
    batches: Callable[[int], tuple[tf.data.Dataset, list]],
    state: Mapping[str, Any],
    run: RunFolder,
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
        step: the `update` of a step of `training.steps`: takes the elements of a batch, returns
            scalar losses. It is compiled here.
        batches: number of batches to leave out -> dataset of batches that never ends, and the
            `data.ReadReport`s of the folders it reads. A worker gives its part of the global
            batches, that of `shard(strategy)`.
        state: {name: model or optimizer} to checkpoint, all built.
        run: from `open_folder`.
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
        Interrupted: on SIGINT, SIGTERM or SIGHUP, after saving.
        TrainingError: where a loss is not finite, a checkpoint does not fit or cannot be saved, a
            batch cannot be split over the devices, a worker is gone or begins elsewhere, or another
            process trains in the folder.
        data.DataError: where too many images are unreadable.
    """
    strategy = strategy or tf.distribute.get_strategy()
    done = tf.Variable(0, dtype="int64", trainable=False, name="step")
    objects = {"step": done, **state} | ({"ema": ema.model} if ema else {})
    folder = run.folder / "checkpoints"
    workers = Workers(strategy, folder)
    checkpoints = Checkpoints(folder, options.keep, objects)
    if not options.resume:
        if workers.chief:
            remove_run(run.folder)
    else:
        checkpoints.resume()
    start = int(done.numpy())
    if len(set(starts := workers.each(start))) > 1:
        raise TrainingError(
            f"{folder}: the workers find checkpoints of steps {starts}. Give --runs a folder that "
            "all of them see, or --noresume to start again."
        )
    validation = Validation(run.folder, start, objects)

    def to_validate(number):
        every = options.validate_every if validate else 0
        return every and (number >= options.steps or number % every == 0)

    if start >= options.steps:
        print(
            f"{run.folder}: complete at step {start}; --steps for more, --noresume to start again.",
            file=sys.stderr,
        )
        if validate and to_validate(start) and not validation.has(start):
            validation.add(start, validate, workers)
        return losses_of(run.folder)

    names: list[str] = []

    # Steps are graphs as they are written; AutoGraph would only put its words before their errors.
    @tf.function(jit_compile=options.jit or None, autograph=False)
    def train_step(batch, stop):
        def update(*batch):
            values = step(*batch)
            names[:] = values
            # One exchange among the devices for all.
            return tf.stack([*values.values(), stop])

        return strategy.reduce(tf.distribute.ReduceOp.MEAN, strategy.run(update, batch), axis=None)

    @tf.function(autograph=False)
    def update_average(number):
        if ema:
            ema.update(number)

    dataset, reports = batches(start)
    iterator = _distribute(dataset, strategy, workers)
    if workers.chief:
        write_json(run.folder / "options.json", run.options)
        events.cut(run.folder / "logs", start)
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
        if not validate:
            return
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
                    f"last good checkpoint is {checkpoints.latest or 'none yet'}. Lower the "
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
                # What a run that goes on from it will not log again.
                writer.flush()
                # Before the validation, which takes long.
                saved = checkpoints.save(number, workers)
            if last:
                means = {key: float(np.mean([v[key] for v in recent])) for key in values}
                if workers.chief:
                    write_json(run.folder / "losses.json", means)
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


class _Signals:
    """Notes SIGINT, SIGTERM and SIGHUP instead of dying; a second one of them kills as usual."""

    def __enter__(self):
        self.received = 0
        self._previous = {}
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            signum = getattr(signal, name, signal.SIGTERM)  # Windows has no SIGHUP
            if name == "SIGHUP" and signal.getsignal(signum) == signal.SIG_IGN:
                continue  # nohup
            with contextlib.suppress(ValueError):  # not in the main thread: nothing to install
                self._previous[signum] = signal.signal(signum, self._note)
        return self

    def _note(self, signum, _frame):
        self.received = signum
        signal.signal(signum, signal.SIG_DFL)

    def __exit__(self, *_):
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
