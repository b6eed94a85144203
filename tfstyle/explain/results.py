"""What an explanation is: figures, arrays, and checks with a verdict that can fail."""

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tfstyle import files

Verdict = Literal["PASS", "FAIL", "NOT TESTED"]


@dataclasses.dataclass(frozen=True)
class Check:
    """One test of an explanation, and how it went.

    Args:
        name: what is tested, as a sentence that is true where it passes.
        value: what was measured; NaN where it could not be.
        null: what an explanation without content would give.
        threshold: the bound that `value` is held to.
        passes: whether `value` must be "below" or "above" the threshold.
        n: number of trials, pictures or positions behind `value`.
        seed: of what was drawn at random; None where nothing was.
        why: the reason where it was not tested.
    """

    name: str
    value: float
    threshold: float
    passes: Literal["below", "above"]
    null: float | None = None
    n: int = 1
    seed: int | None = None
    why: str = ""

    @property
    def verdict(self) -> Verdict:
        """PASS or FAIL; NOT TESTED where the value is not a number."""
        if math.isnan(self.value):
            return "NOT TESTED"
        good = (
            self.value < self.threshold if self.passes == "below" else self.value > self.threshold
        )
        return "PASS" if good else "FAIL"


@dataclasses.dataclass(frozen=True)
class Explanation:
    """The answer to one question about a model or a picture.

    Args:
        name: short, as in file names ("loss_maps").
        question: in plain words.
        summary: sentences with numbers, for who knows no mathematics.
        figures: {name: number}, those that the summary and a comparison need.
        arrays: {name: array}, the maps and curves behind the figures; units are in `units`.
        units: {name of a figure or an array: unit or meaning}.
        checks: what was tested of it.
        limits: what it does not say.
        along: {name of an array [n]: that of the array [n] it is a curve over}.
        labels: {name of an array: what its numbers, or rows, are of}; of columns, "NAME/columns".
    """

    name: str
    question: str
    summary: str
    figures: Mapping[str, float]
    arrays: Mapping[str, np.ndarray]
    units: Mapping[str, str]
    checks: Sequence[Check]
    limits: str = ""
    along: Mapping[str, str] = dataclasses.field(default_factory=dict)
    labels: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """FAIL where a check failed, PASS where all that were tested passed and any was."""
        verdicts = {check.verdict for check in self.checks}
        for verdict in ("FAIL", "PASS"):
            if verdict in verdicts:
                return verdict
        return "NOT TESTED"

    def to_json(self) -> dict:
        """All but the arrays, as JSON values; numbers that JSON lacks become None."""
        checks = [dataclasses.asdict(check) | {"verdict": check.verdict} for check in self.checks]
        return _plain(
            {
                "name": self.name,
                "question": self.question,
                "verdict": self.verdict,
                "summary": self.summary,
                "figures": dict(self.figures),
                "units": dict(self.units),
                "checks": checks,
                "limits": self.limits,
                "along": dict(self.along),
                "labels": {name: list(each) for name, each in self.labels.items()},
            }
        )

    def save(self, folder: str | os.PathLike) -> tuple[Path, Path]:
        """Writes NAME.json and NAME.npz into `folder`, each whole or not at all; returns both."""
        text = files.write_json(Path(folder) / f"{self.name}.json", self.to_json())
        return text, self.save_arrays(text.with_suffix(".npz"))

    def save_arrays(self, path: Path) -> Path:
        """Writes the arrays alone, whole or not at all, into an .npz file; returns `path`."""
        arrays: dict[str, Any] = dict(self.arrays)
        return files.write_whole(path, lambda temporary: np.savez_compressed(temporary, **arrays))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
