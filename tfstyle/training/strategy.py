"""How a training is set up: its options, determinism, devices and machines."""

import contextlib
import dataclasses
import json
import logging
import os
import pathlib
import sys
from typing import Literal

import keras
import tensorflow as tf

from tfstyle import machine
from tfstyle.errors import ArgumentError, TfstyleError

_log = logging.getLogger(__name__)


class TrainingError(TfstyleError, RuntimeError):
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
        explain: note every fiftieth part of the training how healthy it is (runs/NAME/health.jsonl
            and TensorBoard), and end with a report of faults and remedies, health.html.
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
    explain: bool = False
    dry_run: bool = False

    def __post_init__(self):
        for field in ("steps", "checkpoint_every", "keep", "log_every", "sample_every"):
            if getattr(self, field) < 1:
                raise ArgumentError(f"{field} {getattr(self, field)}: must be at least 1")
        if self.validate_every < 0:
            raise ArgumentError(f"validate_every {self.validate_every}: must be at least 0")


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
    _have_patience(len(workers))
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (tf.errors.OpError, RuntimeError) as error:
        raise TrainingError(
            f"worker {index} of {len(workers)} cannot start at {workers[index]} "
            f"({first_line(error)}). See that TF_CONFIG's addresses are right, that their ports "
            "are free, and that all workers start anew."
        ) from error


def _have_patience(workers: int):
    """Gives workers _HEARTBEAT_TIMEOUT before they are given up, where this TensorFlow lets us.

    Its own 10 s take a worker on a busy machine for a dead one, and it has no public way to say
    otherwise: this is the one place that reaches into its private modules.
    """
    try:
        from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2
        from tensorflow.python.eager import context

        context.context().configure_coordination_service(
            service_type="standalone",
            service_leader="/job:worker/replica:0/task:0",
            heartbeat_timeout_in_ms=_HEARTBEAT_TIMEOUT * 1000,
            coordinated_jobs=[
                coordination_config_pb2.CoordinatedJob(name="worker", num_tasks=workers)
            ],
        )
    # TypeError: they are still there, and take other arguments.
    except (ImportError, AttributeError, TypeError) as error:
        _log.warning(
            "TensorFlow %s keeps its own limit for a silent worker (%s): one on a busy machine may "
            "be given up too soon",
            tf.__version__,
            error,
        )


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


class Workers:
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
                f"another of the {self.count} workers is gone or stuck ({first_line(error)}); its "
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


def first_line(error) -> str:
    """The first that says what happened; errors of graphs say first where in the code."""
    where = ("Graph execution error", "Detected at node", " ")
    lines = [line for line in str(error).splitlines() if line and not line.startswith(where)]
    return (lines or [type(error).__name__])[0]
