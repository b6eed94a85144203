"""A training from its options to its end, as a recipe holds it."""

import contextlib
import inspect
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfstyle import images, losses
from tfstyle.networks import recorded
from tfstyle.training import balance, checkpoints, folders, loop
from tfstyle.training.optimizers import Ema
from tfstyle.training.strategy import Options, is_chief, prepare, shard


class Run:
    """A recipe's run: its folder, devices, training, and what its card says of it.

    runs/NAME/options.json holds the options by the names of their flags, and besides "schema" (the
    layout of the file), "pipeline" (the recipe) and "network" (by which the generator is built
    again, see `networks.description`).

    Attributes:
        pipeline: the recipe, as "pipelines.fast".
        name: of the run, and of the model that is exported.
        folder: runs/NAME.
        settings: the recipe's options, flat.
        options: those of all recipes.
        strategy: to build networks under.
        losses: means of the last 100 steps; empty before `fit`.
    """

    def __init__(
        self,
        pipeline: str,
        folder: folders.RunFolder,
        settings: Mapping[str, Any],
        options: Options,
        strategy: tf.distribute.Strategy,
    ) -> None:
        """Recipes want `open_run`."""
        self.pipeline = pipeline
        self.folder = folder.folder
        self.name = folder.folder.name
        self.settings = dict(settings)
        self.options = options
        self.strategy = strategy
        self.losses: dict[str, float] = {}
        self._resolved = folder.options

    @property
    def chief(self) -> bool:
        """Whether this process judges, writes and exports: the first of several workers."""
        return is_chief(self.strategy)

    @property
    def resumes(self) -> bool:
        """Whether there is a checkpoint that `fit` will go on from."""
        return self.options.resume and bool(checkpoints.found(self.folder / "checkpoints"))

    @property
    def shard(self) -> tuple[int, int]:
        """(index, count): this process's part of each batch."""
        return shard(self.strategy)

    def scope(self) -> contextlib.AbstractContextManager:
        """Networks and optimizers are built in it."""
        return self.strategy.scope()

    def start_from(self, generator: keras.Model, initial: str) -> None:
        """Gives `generator` the weights of another run, where `initial` names one."""
        if initial:
            folders.start_from(generator, initial)

    def balance(self, weights: losses.Weights) -> balance.Balance | None:
        """What moves weights as their `target` or `balance` says; None where they stay."""
        with self.scope():
            return balance.of(weights, self.options.steps)

    def fit(
        self,
        step: Any,
        batches: Callable[..., tuple[tf.data.Dataset, list]],
        *,
        ema: Ema,
        validate: Callable[[], Mapping[str, float]],
        sample: Callable[[], np.ndarray] | None = None,
        callbacks: Sequence[Callable[[loop.Progress], None] | None] = (),
    ) -> dict[str, float]:
        """Trains to the end, or goes on from the last checkpoint; see `training.fit`.

        Args:
            step: of `training.steps`.
            batches: called with `skip` (batches used already), `seed` and `shard`, gives (dataset,
                reports), as `data.Photos.batches` does.
            ema: of the generator.
            validate: gives figures of `ema.model`, the one that is to fall first.
            sample: gives a picture [H, W, 3] in [0, 1] to log.
            callbacks: called after each step, in this order; None for none. Where one has a method
                `finish`, that is called at the end by the first worker.

        Returns:
            The losses of its end, which `losses` holds too.
        """
        called = [callback for callback in callbacks if callback]

        figures: dict[str, float] = {}

        def judge():
            figures.update(validate())
            return figures

        def report(progress):
            for callback in called:
                callback(progress)

        self.losses = loop.fit(
            step.update,
            batches=lambda skip: batches(skip=skip, seed=self.options.seed, shard=self.shard),
            state=step.state,
            run=folders.RunFolder(self.folder, self._told(step.generator)),
            options=self.options,
            strategy=self.strategy,
            ema=ema if ema.decay else None,
            sample=sample,
            callback=report if called else None,
            weights={name: float(weight) for name, weight in step.weights.items()},
            validate=judge,
        )
        if self.chief:
            if moving := getattr(step, "balance", None):
                print(moving.told(figures), file=sys.stderr)
            for callback in called:
                getattr(callback, "finish", lambda: None)()
        return self.losses

    def keep_samples(self, sample: Callable[[], np.ndarray]) -> Callable | None:
        """A callback that writes what `sample` gives to runs/NAME/samples/STEP.png, now and then.

        None where this process writes nothing.
        """

        def write(progress):
            if progress.step % self.options.sample_every == 0:
                path = self.folder / "samples" / f"{progress.step:06d}.png"
                path.parent.mkdir(exist_ok=True)
                images.write(path, sample())

        return write if self.chief else None

    def _told(self, generator: keras.Model) -> dict[str, Any]:
        """What options.json holds."""
        told = {"schema": folders.SCHEMA, "pipeline": self.pipeline, **self._resolved}
        network = recorded.describe(generator)
        return told | ({"network": network} if network else {})

    def card(self) -> dict[str, Any]:
        """What a model card says of the run; see `training.card`."""
        return folders.card(self.pipeline, self.settings, self.options, self.losses)


def open_run(recipe: Callable, values: Mapping[str, Any], *, name: str) -> Run:
    """The run of a recipe, to start or to resume; sets up the process for it, writes nothing yet.

        def train(*, width: int = 16, options: training.Options = training.Options()):
            run = training.open_run(train, locals(), name="tiny")

    Args:
        recipe: the function.
        values: its `locals()` before any other is set: its options, dataclasses of them included.
            A "name" among them names the run.
        name: where there is none. Where a run with other options has that name, name_2, name_3,
            ... are tried, and it is said.

    Raises:
        TrainingError: where the run that is named has other options, or this process cannot train
            as it is asked to.
    """
    options = values["options"]
    strategy = prepare(options)
    settings = folders.flattened({key: v for key, v in values.items() if key != "options"})
    parameters = inspect.signature(recipe).parameters.values()
    defaults = folders.flattened({each.name: each.default for each in parameters})
    inputs = folders.inputs_of(settings, options)
    named = settings.get("name") or folders.free_name(name, options, settings, defaults, inputs)
    if named not in (name, settings.get("name")):
        print(
            f"{pathlib.Path(options.runs) / name}: holds a run with other options; this one is "
            f"{named}. --name gives it another name.",
            file=sys.stderr,
        )
    folder = folders.open_folder(named, options, settings, defaults, inputs)
    pipeline = f"pipelines.{pathlib.Path(inspect.getfile(recipe)).stem}"
    return Run(pipeline, folder, settings, options, strategy)
