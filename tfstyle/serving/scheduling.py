"""A bounded queue of predict requests, worked off by threads, those of one shape together."""

import collections
import dataclasses
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np

from tfstyle.serving.models import Version
from tfstyle.serving.protocol import ServingError


@dataclasses.dataclass
class Job:
    """A request: its inputs, and the future of its outputs {name: array}.

    It holds its `version` until it is done or cancelled.
    """

    version: Version
    signature: str
    inputs: dict[str, np.ndarray]
    outputs: tuple[str, ...]
    future: Future = dataclasses.field(default_factory=Future)
    entered: float = dataclasses.field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        arrays = list(self.inputs.values())
        self.count = len(arrays[0]) if arrays and arrays[0].ndim else 0
        self.pixels = max((math.prod(a.shape[:3]) for a in arrays if a.ndim == 4), default=0)
        # Strings are files, each of a size of its own, and one that is damaged fails all.
        together = self.count > 0 and all(
            array.dtype != object and len(array) == self.count for array in arrays
        )
        self.key = together and (
            id(self.version),
            self.signature,
            self.outputs,
            tuple((name, a.shape[1:], a.dtype.str) for name, a in sorted(self.inputs.items())),
        )


class Scheduler:
    """Runs jobs in `workers` threads.

    Small images are computed together: jobs of one version, signature and shape that wait at the
    same time, up to `batch_pixels` in all. Nothing waits for company. Large images are not: their
    batches are no faster, and take more memory.
    """

    def __init__(
        self,
        *,
        workers: int,
        queue: int,
        batch_pixels: int,
        on_batch: Callable[[int], None] = lambda size: None,
    ) -> None:
        """
        Args:
            workers: jobs, or batches of them, computed at the same time.
            queue: jobs that may wait; more are refused.
            batch_pixels: of all images of a batch; 0 computes each job alone.
            on_batch: told of the jobs in each batch.
        """
        self._queue = queue
        self._batch_pixels = batch_pixels
        self._on_batch = on_batch
        self._waiting: collections.deque[Job] = collections.deque()
        self._change = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"predict-{i}", daemon=True)
            for i in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return len(self._waiting)

    def submit(self, job: Job) -> Future:
        """Takes a job in.

        Raises:
            ServingError: RESOURCE_EXHAUSTED where too many wait, UNAVAILABLE after `close`.
        """
        with self._change:
            if self._closed:
                raise ServingError("UNAVAILABLE", "the server is stopping")
            if len(self._waiting) >= self._queue:
                # Those that nobody waits for any more make room.
                self._waiting = collections.deque(
                    job for job in self._waiting if not self._dropped(job)
                )
            if len(self._waiting) >= self._queue:
                raise ServingError(
                    "RESOURCE_EXHAUSTED",
                    f"{self._queue} requests are waiting already, which is the limit: try again "
                    "later",
                )
            self._waiting.append(job)
            self._change.notify()
        return job.future

    def close(self) -> None:
        """Computes what waits, then ends the threads."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        for thread in self._threads:
            thread.join()

    def _dropped(self, job: Job) -> bool:
        if job.future.cancelled():
            job.version.release()
            return True
        return False

    def _work(self) -> None:
        while batch := self._next():
            try:
                self._compute(batch)
            finally:
                for job in batch:
                    job.version.release()

    def _next(self) -> list[Job]:
        """Jobs to compute together; none when all is done."""
        with self._change:
            while True:
                self._change.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return []
                first = self._waiting.popleft()
                if first.future.set_running_or_notify_cancel():
                    break
                first.version.release()
            batch, pixels = [first], first.pixels
            if not first.key or not pixels:
                return batch
            left: collections.deque[Job] = collections.deque()
            for job in self._waiting:
                fits = job.key == first.key and pixels + job.pixels <= self._batch_pixels
                if not fits:
                    left.append(job)
                elif job.future.set_running_or_notify_cancel():
                    batch.append(job)
                    pixels += job.pixels
                else:
                    job.version.release()
            self._waiting = left
            return batch

    def _compute(self, batch: list[Job]) -> None:
        first = batch[0]
        self._on_batch(len(batch))
        try:
            if len(batch) == 1:
                inputs = first.inputs
            else:
                inputs = {
                    name: np.concatenate([job.inputs[name] for job in batch])
                    for name in first.inputs
                }
            arrays = first.version.run(first.signature, inputs, first.outputs)
        except ServingError as error:
            if len(batch) == 1:
                first.future.set_exception(error)
            else:  # One of them is at fault, and the others are not to bear it.
                for job in batch:
                    self._compute([job])
            return
        except BaseException as error:
            for job in batch:
                job.future.set_exception(error)
            return
        start = 0
        for job in batch:
            part = slice(start, start + job.count) if len(batch) > 1 else slice(None)
            start += job.count
            job.future.set_result(
                {name: a[part] for name, a in zip(job.outputs, arrays, strict=True)}
            )
