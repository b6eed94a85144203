"""E9, whether a training is healthy: what a loss curve does not show, rules, and remedies.

`Monitor` looks at the networks every so many steps and writes a line each time; `explain` reads the
lines, holds them to rules, and names a remedy where one is broken.

Every recipe imports this module: what the extra "explain" installs is imported in functions.
"""

import importlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfstyle import files, training
from tfstyle.errors import ArgumentError
from tfstyle.explain.results import Check, Explanation


class Rule(NamedTuple):
    """What a healthy training keeps to.

    Args:
        name: as a sentence that is true of a healthy training.
        quantity: of a line of the timeline, or made from one by `_derived`.
        passes, threshold: "below" or "above" the threshold, as of a `Check`.
        remedy: what to do where it is broken.
        evidence: the quantity in words, with a place for the number.
    """

    name: str
    quantity: str
    passes: Literal["below", "above"]
    threshold: float
    remedy: str
    evidence: str


# Thresholds: measured on the seeded faults and clean runs of docs/explain.md.
RULES = (
    Rule(
        "the discriminator moves no faster than its weights bear",
        "discriminator/most_update",
        "below",
        0.07,
        "Lower the discriminator's learning rate.",
        "a step changed the discriminator's weights by {:.1%} of their size",
    ),
    Rule(
        "the generator moves",
        "generator/update_ratio",
        "above",
        1e-6,
        "Raise the generator's learning rate, and see that its weights are trainable.",
        "a step changes the generator's weights by {:.1g} of their size",
    ),
    Rule(
        "different inputs give different outputs",
        "diversity",
        "above",
        0.01,
        "The generator has collapsed: lower the discriminator's learning rate, raise the weight "
        "of the content loss, and start again from a checkpoint before it.",
        "outputs differ from each other {:.2%} as much as real pictures do",
    ),
    Rule(
        "the discriminator does not learn its pictures by heart",
        "last/memorised",
        "below",
        0.1,
        "Give it more real pictures, or make the discriminator narrower, or lower its learning "
        "rate.",
        "of two real pictures the one that it was trained on has the higher score more often than "
        "not: by {:.0%} beyond chance and 1.5 standard errors",
    ),
    Rule(
        "no gradient is lost or bursts",
        "generator/log_gradient_range",
        "below",
        4.0,
        "Clip gradients (--clip_norm), or lower the learning rate.",
        "the generator's gradient has changed by {:.1f} powers of ten",
    ),
)
# Rules look at the last half of a training: its beginning is out of balance in any case.
_FROM = 0.5
_SMALLEST = 1e-30
_NO_SCALARS = ("step", "ranks")


class Monitor:
    """A callback of `training.fit` that notes every `every` steps how the networks fare.

    It updates nothing and draws nothing at random: a training with it ends with the weights of one
    without. Lines go to `folder`/health.jsonl, the same numbers to TensorBoard (the run "health").

    Quantities, where what they need was given; accuracies are shares in [0, 1]:
        accuracy/real, accuracy/fake, accuracy/held_out: of the discriminator's scores, right.
        ranks: of the mean score of each picture of `real`, then of `held_out`; a list, not drawn.
        memorised: see `_memorised`; of the last half of the looks so far.
        gap: mean score of real less that of generated pictures; gap/held_out: of real ones that it
            never saw.
        NETWORK/update_ratio: ||change of the weights in a step|| / ||weights||.
        generator/gradient: norm of the gradient of the weighted total; gradient/LOSS of each loss.
        discriminator/gradient: norm of the gradient of the gap.
        cosine/LOSS,LOSS: between the gradients of two losses.
        diversity: mean variance of a pixel over outputs, over that of the real pictures.
    """

    def __init__(
        self,
        *,
        folder: Path,
        every: int,
        generator: keras.Model,
        inputs: np.ndarray | tf.Tensor | list,
        real: np.ndarray,
        terms: Callable[[], Mapping[str, tf.Tensor]] | None = None,
        weights: Mapping[str, float] | None = None,
        discriminator: keras.Model | None = None,
        score: Callable | None = None,
        boundary: float = 0.0,
        held_out: np.ndarray | None = None,
        after: int = 0,
    ) -> None:
        """
        Args:
            folder: of the run.
            every: steps between lines, at least 2.
            generator: what is trained.
            inputs: of the generator, a batch of at least 4, or a list of such; the same each time.
            real: [B, H, W, C] in [0, 1], real pictures that the training uses.
            terms: gives the generator's unweighted losses on a fixed batch, as `terms` of a step.
            weights: {name of a loss: its weight in the total}, or a variable that holds it.
            discriminator: where there is one.
            score: [B, H, W, C] -> scores of any shape, more for what looks more real; the
                discriminator itself where None.
            boundary: the score between real and generated: 0 for logits, 0.5 for LSGAN.
            held_out: as `real`, of pictures that no training step sees.
            after: steps at the beginning that the report leaves out.
        """
        if every < 2:
            raise ArgumentError(f"every {every}: give at least 2 steps")
        self.file = Path(folder) / "health.jsonl"
        self._every = every
        self._generator, self._discriminator = generator, discriminator
        self._inputs = [tf.constant(x) for x in inputs] if isinstance(inputs, list) else inputs
        self._real, self._held_out = real, held_out
        self._terms, self._weights = terms, dict(weights or {})
        self._score = score or discriminator
        self._boundary = boundary
        self._after = after
        self._before: dict[str, list[np.ndarray]] = {}
        self._lines: list[dict] | None = None
        self._writer: Any = None

    def __call__(self, progress: training.Progress) -> None:
        """To be called after each step."""
        step = progress.step
        if (step + 1) % self._every == 0:
            self._before = {name: _weights(model) for name, model in self._networks()}
        if step % self._every:
            return
        if self._lines is None:
            # A run that goes on from a checkpoint takes later steps again.
            known = read(self.file) if self.file.exists() else []
            self._lines = [line for line in known if line["step"] < step]
            self._writer = tf.summary.create_file_writer(str(self.file.parent / "logs" / "health"))
        line = {"step": step, **self.measure()}
        self._lines.append(line)
        if "ranks" in line:
            late = [each.get("ranks", ()) for each in self._lines[len(self._lines) // 2 :]]
            # A run that goes on may have been given other pictures.
            alike = [ranks for ranks in late if len(ranks) == len(line["ranks"])]
            line["memorised"] = _memorised(alike, len(self._real))
        text = "".join(json.dumps(each) + "\n" for each in self._lines)
        files.write_whole(self.file, lambda temporary: temporary.write_text(text))
        with self._writer.as_default(step=step):
            for name, value in line.items():
                if name not in _NO_SCALARS:
                    tf.summary.scalar(f"health/{name}", value)
        self._writer.flush()

    def finish(self) -> None:
        """Writes the report, to be called at the end of the training."""
        write_report(self.file.parent, name=self.file.parent.name, after=self._after)

    def _networks(self) -> Iterator[tuple[str, keras.Model]]:
        yield "generator", self._generator
        if self._discriminator is not None:
            yield "discriminator", self._discriminator

    def measure(self) -> dict:
        """The quantities as they are now, but for `memorised`, which takes several looks."""
        from scipy import stats

        found = {}
        outputs = np.asarray(self._generator(self._inputs, training=False), "float32")
        real = np.asarray(self._real, "float32")
        variance = float(np.mean(outputs.var(axis=0)))
        found["diversity"] = variance / max(float(np.mean(real.var(axis=0))), _SMALLEST)
        if self._score is not None:
            of = {"real": real, "fake": outputs, "held_out": self._held_out}
            scores = {
                name: np.asarray(self._score(some), "float64")
                for name, some in of.items()
                if some is not None
            }
            for name, each in scores.items():
                right = each <= self._boundary if name == "fake" else each > self._boundary
                found[f"accuracy/{name}"] = float(np.mean(right))
            found["gap"] = float(scores["real"].mean() - scores["fake"].mean())
            if "held_out" in scores:
                found["gap/held_out"] = float(scores["held_out"].mean() - scores["fake"].mean())
                both = np.concatenate([scores["real"], scores["held_out"]])
                found["ranks"] = stats.rankdata(both.reshape(len(both), -1).mean(axis=1)).tolist()
        if self._discriminator is not None:
            assert self._score is not None  # the discriminator, if nothing else
            variables = [v.value for v in self._discriminator.trainable_variables]
            with tf.GradientTape() as tape:
                gap = tf.reduce_mean(self._score(real)) - tf.reduce_mean(self._score(outputs))
            found["discriminator/gradient"] = _norm(tape.gradient(gap, variables))
        if self._terms is not None:
            found |= self._of_losses(self._terms)
        for name, model in self._networks():
            if name in self._before:
                now = _weights(model)
                moved = [a - b for a, b in zip(now, self._before[name], strict=True)]
                found[f"{name}/update_ratio"] = _norm(moved) / max(_norm(now), _SMALLEST)
        return found

    def _of_losses(self, terms: Callable[[], Mapping[str, tf.Tensor]]) -> dict[str, float]:
        gradients = gradients_of(terms, self._generator)[1]
        weights = {name: float(self._weights.get(name, 1.0)) for name in gradients}
        weighted = {name: weights[name] * g for name, g in gradients.items()}
        found = {"generator/gradient": float(np.linalg.norm(sum(weighted.values())))}
        names = [name for name in weighted if weights[name]]
        for i, name in enumerate(names):
            found[f"gradient/{name}"] = float(np.linalg.norm(weighted[name]))
            for other in names[i + 1 :]:
                found[f"cosine/{name},{other}"] = _cosine(gradients[name], gradients[other])
        return found


def gradients_of(
    terms: Callable[[], Mapping[str, tf.Tensor]], model: keras.Model
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """({name: loss}, {name: its gradient in the model's trainable weights, flat, float64})."""
    variables = [variable.value for variable in model.trainable_variables]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(variables)
        values = terms()
    gradients = {}
    for name, value in values.items():
        parts = tape.gradient(value, variables, unconnected_gradients="zero")
        gradients[name] = np.concatenate([np.ravel(part) for part in parts]).astype("float64")
    return {name: float(value) for name, value in values.items()}, gradients


def _memorised(looks: Sequence[Sequence[float]], seen: int) -> float:
    """How often a real picture of the training ranks above one that is not of it.

    Less the half of chance and 1.5 standard errors of that (Mann and Whitney 1947). Each picture's
    rank is its mean over the looks: what a discriminator happens to like changes from look to look,
    what it knows by heart does not. Ranks and not accuracies: it may know its pictures and still
    take others for real.

    Args:
        looks: ranks of the pictures' scores, first those of the training.
        seen: how many these are.
    """
    from scipy import stats

    ranks = np.mean(looks, axis=0)
    n, m = seen, len(ranks) - seen
    above = float(stats.mannwhitneyu(ranks[:n], ranks[n:]).statistic) / (n * m)
    return above - 0.5 - 1.5 * math.sqrt((n + m + 1) / (12 * n * m))


def _weights(model: keras.Model) -> list[np.ndarray]:
    return [np.asarray(variable.value, "float64") for variable in model.trainable_variables]


def _norm(arrays: Sequence) -> float:
    squares = [float(np.sum(np.asarray(a, "float64") ** 2)) for a in arrays if a is not None]
    return math.sqrt(sum(squares))


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), _SMALLEST))


def read(file: Path) -> list[dict]:
    """The lines of a health.jsonl, in order."""
    return [json.loads(line) for line in Path(file).read_text().splitlines()]


def explain(
    timeline: Sequence[Mapping[str, float]], *, after: int = 0, rules: Sequence[Rule] = RULES
) -> Explanation:
    """Whether a training was healthy, by the last half of its timeline.

    Args:
        timeline: lines as `Monitor` writes them, in order.
        after: steps at the start that do not count, such as a warm-up.
        rules: to hold it to.

    Returns:
        Figures "QUANTITY", the median over the last half, and "last/QUANTITY". Arrays of the same
        names, the whole timeline, and "step". A check for each rule: one that fails is a finding;
        the summary gives evidence and remedy.
    """
    lines = [_derived(line, timeline) for line in timeline if line["step"] > after]
    late = lines[int(len(lines) * _FROM) :]
    names = [name for name in (late[-1] if late else {}) if name not in _NO_SCALARS]
    figures = {name: _median(late, name) for name in names}
    figures |= {f"last/{name}": float(late[-1][name]) for name in names}
    checks, findings = [], []
    for rule in rules:
        value = figures.get(rule.quantity, math.nan)
        check = Check(
            rule.name,
            value,
            rule.threshold,
            rule.passes,
            n=len(late),
            why="" if rule.quantity in figures else f"no {rule.quantity} was noted",
        )
        checks.append(check)
        if check.verdict == "FAIL":
            findings.append(
                f"Not healthy: {rule.evidence.format(value)}, which is "
                f"{'over' if rule.passes == 'below' else 'under'} {rule.threshold:g}. {rule.remedy}"
            )
    tested = sum(check.verdict != "NOT TESTED" for check in checks)
    arrays = {
        name.replace("/", ".").replace(",", "-"): np.array(
            [line.get(name, math.nan) for line in lines]
        )
        for name in names
    }
    return Explanation(
        name="health",
        question="Is the training healthy?",
        summary=" ".join(findings)
        or (
            f"Of {tested} faults that were looked for in {len(lines)} looks at it, the training "
            "has none."
            if lines
            else "Nobody knows: no step of the training was looked at."
        ),
        figures=figures,
        arrays=arrays | {"step": np.array([line["step"] for line in lines])},
        units=_UNITS,
        checks=checks,
        along=dict.fromkeys(arrays, "step"),
        limits="Rules know the faults that they were made from; none broken is no proof of health.",
    )


_UNITS = {
    "diversity": "variance over outputs, of that over real pictures",
    "gap": "mean score of real less that of generated pictures",
    "gap.held_out": "the same with real pictures never seen",
    "memorised": "how often a real picture seen ranks above one never seen, less chance and error",
    "generator.update_ratio": "change in a step, of the weights' size",
    "discriminator.update_ratio": "change in a step, of the weights' size",
}


def require() -> None:
    """Raises ValueError, before a training begins, where its report could not be written."""
    for name in ("scipy", "matplotlib", "jinja2"):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise ArgumentError(
                f"--explain needs {error.name}: pip install 'tfstyle[explain]'"
            ) from error


def looks(options: training.Options) -> int:
    """Steps between the looks at a training: fifty in all."""
    return max(2, options.steps // 50)


def watch(
    run: training.Run, step: Any, look: Callable[[], Mapping], *, after: int = 0
) -> Monitor | None:
    """The monitor of a recipe's run, where --explain asks for one.

    Args:
        run: of the recipe.
        step: of `training.steps`; its networks are watched.
        look: gives what they are looked at with, only where it is wanted: "batch", a batch of at
            least 4 as `step.terms` takes it; "inputs" and "real" of `Monitor`, and any of its
            "score", "boundary" and "held_out".
        after: steps at the beginning that do not count, such as a warm-up.

    Raises:
        ArgumentError: where the libraries for the report are not installed.
    """
    if not (run.options.explain and run.chief):
        return None
    require()
    seen = dict(look())
    batch = seen.pop("batch")
    return Monitor(
        folder=run.folder,
        every=looks(run.options),
        generator=step.generator,
        discriminator=getattr(step, "discriminator", None),
        terms=lambda: step.terms(*batch),
        weights=step.weights,
        after=after,
        **seen,
    )


def write_report(folder: Path, *, name: str, after: int = 0) -> Explanation:
    """Explains the timeline in a run's folder, writes health.html beside it, and prints where.

    There is no timeline where the run was complete already, or too short for a look.

    Args:
        folder: of the run.
        name: of the run, for the title.
        after: see `explain`.
    """
    from tfstyle.explain import report

    file = Path(folder) / "health.jsonl"
    found = explain(read(file) if file.exists() else [], after=after)
    path, *_ = report.write(
        Path(folder) / "health.html", [found], title=f"The training of {name}", pictures={}
    )
    print(f"{found.verdict:<11} {found.question} {found.summary}\nHealth      {path}")
    return found


def _derived(
    line: Mapping[str, float], timeline: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    """A line with what rules need beside what was noted."""
    line = dict(line)
    moved = [each.get("discriminator/update_ratio", math.nan) for each in timeline]
    if "discriminator/update_ratio" in line:
        line["discriminator/most_update"] = float(np.nanmax(moved))
    norms = [each["generator/gradient"] for each in timeline if "generator/gradient" in each]
    if "generator/gradient" in line and norms:
        usual = float(np.median(norms))
        ratio = (line["generator/gradient"] + _SMALLEST) / (usual + _SMALLEST)
        line["generator/log_gradient_range"] = abs(math.log10(ratio))
    return line


def _median(lines: Sequence[Mapping[str, float]], name: str) -> float:
    return float(np.median([line[name] for line in lines if name in line]))
