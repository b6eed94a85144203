"""How a training is set up: its options, determinism, devices and machines."""

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import socket
import sys
import time
from collections.abc import Iterator
from typing import Literal

import keras
import tensorflow as tf
from absl import logging

from tfstyle import machine
from tfstyle.errors import ArgumentError, TfstyleError


class TrainingError(TfstyleError, RuntimeError):
    """A run that cannot go on: wrong options, lost checkpoints, a loss that is not finite."""


class Interrupted(Exception):
    """A run stopped by a signal after it saved a checkpoint; `exit_code` is 128 + the signal."""

    def __init__(self, message: str, signum: int) -> None:
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

    It is for commands: what it sets holds for the whole process, and stays. So do the kept memory
    (`machine.keep_freed_memory`) and, on CPUs, TensorFlow's deterministic operations.

    With the strategy "multiworker" it waits until all workers have come this far.

    Raises:
        TrainingError: where TF_CONFIG does not say who the workers are, or this one cannot start.
    """
    cluster = _workers_of_tf_config() if options.strategy == "multiworker" else None
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
# Seconds between two words about who is missing.
_WORD_EVERY = 30
_TF_CONFIG = (
    '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}, the same '
    "for all workers but for the index"
)


def _multiworker(jobs: dict[str, list[str]], index: int):
    workers = [address for job in jobs.values() for address in job]
    print(f"worker {index} of {len(workers)}, {workers[index]}: waits for all", file=sys.stderr)
    _wait_for(workers, index)
    _have_patience(jobs)
    try:
        with _ended_by_ctrl_c():
            return tf.distribute.MultiWorkerMirroredStrategy()
    except (tf.errors.OpError, RuntimeError) as error:
        raise TrainingError(
            f"worker {index} of {len(workers)} cannot start at {workers[index]} "
            f"({first_line(error)}). See that TF_CONFIG's addresses are right, that their ports "
            "are free, and that all workers start anew."
        ) from error


def _wait_for(workers: list[str], index: int) -> None:
    """Until each of the others listens at its HOST:PORT, as this one does meanwhile.

    TensorFlow would wait itself, but deaf to SIGTERM, which it takes for a word that it will be
    preempted, and without a word who is missing.
    """
    missing = [address for i, address in enumerate(workers) if i != index]
    told = time.monotonic()
    with socket.socket() as own:
        # Where it cannot be bound TensorFlow says so, later.
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError, ValueError, OverflowError):
            own.bind(("", int(workers[index].rpartition(":")[2])))
            own.listen()
        while missing:
            missing = [address for address in missing if not _listens(address)]
            if missing and time.monotonic() > told + _WORD_EVERY:
                told = time.monotonic()
                print(f"worker {index}: still waits for {', '.join(missing)}", file=sys.stderr)
            time.sleep(0.1 if missing else 0)


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
    except (OSError, ValueError, OverflowError):
        return False
    return True


@contextlib.contextmanager
def _ended_by_ctrl_c() -> Iterator[None]:
    """At once: Python handles no signal while TensorFlow waits for the others, maybe for ever."""
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _have_patience(jobs: dict[str, list[str]]):
    """Gives workers _HEARTBEAT_TIMEOUT before they are given up, where this TensorFlow lets us.

    Its own 10 s take a worker on a busy machine for a dead one, and it has no public way to say
    otherwise: this is the one place that reaches into its private modules.
    """
    try:
        from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2
        from tensorflow.python.eager import context

        context.context().configure_coordination_service(
            service_type="standalone",
            service_leader=f"/job:{next(iter(jobs))}/replica:0/task:0",
            heartbeat_timeout_in_ms=_HEARTBEAT_TIMEOUT * 1000,
            coordinated_jobs=[
                coordination_config_pb2.CoordinatedJob(name=job, num_tasks=len(addresses))
                for job, addresses in jobs.items()
            ],
        )
    # TypeError: they are still there, and take other arguments.
    except (ImportError, AttributeError, TypeError) as error:
        logging.warning(
            "TensorFlow %s keeps its own limit for a silent worker (%s): one on a busy machine may "
            "be given up too soon",
            tf.__version__,
            error,
        )


# Jobs whose processes train, in the order in which they are counted: a chief is the first of all.
_TRAINING_JOBS = ("chief", "worker")


def _workers_of_tf_config() -> tuple[dict[str, list[str]], int]:
    """({job: addresses} of all that train, the first of them first; which of them this one is)."""
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
    if not isinstance(cluster, dict) or not cluster.keys() & set(_TRAINING_JOBS):
        raise wrong("its cluster must have the job worker")
    if other := sorted(cluster.keys() - {*_TRAINING_JOBS, "evaluator"}):
        raise wrong(f"its cluster has the job {other[0]}, which this strategy does not know")
    jobs = {job: cluster[job] for job in _TRAINING_JOBS if job in cluster}
    for job, addresses in jobs.items():
        if not addresses or not isinstance(addresses, list):
            raise wrong(f"its cluster has no list of the job {job}")
    if len(jobs.get("chief", ())) > 1:
        raise wrong("its cluster has more than one chief")
    workers = [address for addresses in jobs.values() for address in addresses]
    for address in workers:
        host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
        if not host or not port.isdecimal() or workers.count(address) > 1:
            raise wrong(f"worker {address!r} is not a HOST:PORT of its own")
    task = task if isinstance(task, dict) else {}
    kind = task.get("type")
    if kind == "evaluator":
        raise TrainingError(
            "TF_CONFIG makes this process an evaluator: there is nothing for it to do, since the "
            "first of the workers validates (--validate_every). Start none."
        )
    if kind not in jobs:
        raise wrong(f"its task must be of type {' or '.join(jobs)}")
    index = str(task.get("index"))
    if not index.isdecimal() or int(index) >= len(jobs[kind]):
        raise wrong(f"task index {task.get('index')!r} of {len(jobs[kind])} of type {kind}")
    before = len(jobs["chief"]) if kind == "worker" and "chief" in jobs else 0
    return jobs, before + int(index)


def shard(strategy: tf.distribute.Strategy) -> tuple[int, int]:
    """(index, count): which part of each global batch this process reads; (0, 1) if it is alone."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 0, 1
    resolver = strategy.cluster_resolver
    sizes = {job: len(of) for job, of in resolver.cluster_spec().as_dict().items()}
    chiefs = sizes.get("chief", 0)
    index = resolver.task_id + (chiefs if resolver.task_type == "worker" else 0)
    return index, chiefs + sizes.get("worker", 0)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes the run's files and the export: the first of several workers."""
    return shard(strategy)[0] == 0


class Workers:
    """The processes that train together. Of one process it is trivial."""

    def __init__(self, strategy: tf.distribute.Strategy, folder: pathlib.Path) -> None:
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
    def together(self) -> Iterator[None]:
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


def first_line(error: BaseException) -> str:
    """The first that says what happened; errors of graphs say first where in the code."""
    where = ("Graph execution error", "Detected at node", " ")
    lines = [line for line in str(error).splitlines() if line and not line.startswith(where)]
    return (lines or [type(error).__name__])[0]
