"""How often the rules of a training's health find a seeded fault, and flag a training without one.

    python benchmarks/health.py [--seed=1000] [--clean=62] [--faulty=17] [--out=health.json]

Each training is that of a small GAN (`tests/tiny_gan.py`), clean or with one of its faults, each
with a seed of its own. A fault counts as found where the rule that is about it is broken, a clean
training as flagged where any rule is. Intervals are those of Clopper and Pearson, two-sided, 95 %.
Seeds under 1000 have been used to set the rules; judge them by others.
"""

import argparse
import collections
import sys
import tempfile
from pathlib import Path

import keras
from scipy import stats

from tfstyle import files
from tfstyle.explain import health

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests import tiny_gan

RULES = dict(
    zip(
        tiny_gan.FAULTS,
        (
            "the discriminator moves no faster than its weights bear",
            "different inputs give different outputs",
            "the generator moves",
            "the discriminator does not learn its pictures by heart",
        ),
        strict=True,
    )
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1000, help="the first seed")
    parser.add_argument("--clean", type=int, default=62, help="trainings without a fault")
    parser.add_argument("--faulty", type=int, default=17, help="trainings with each fault")
    parser.add_argument("--out", type=Path, default=Path("health.json"), help="figures, as JSON")
    options = parser.parse_args()
    if min(options.clean, options.faulty) < 1:
        sys.exit(f"--clean={options.clean} --faulty={options.faulty}: give 1 or more")
    figures = {}
    for fault in (*tiny_gan.FAULTS, None):
        flagged, broken = [], collections.Counter()
        for i in range(options.faulty if fault else options.clean):
            rules = rules_broken(fault, options.seed + i)
            flagged.append(RULES[fault] in rules if fault else bool(rules))
            broken.update(rules)
            low, high = stats.binomtest(sum(flagged), len(flagged)).proportion_ci()
            found = {"flagged": sum(flagged), "of": len(flagged), "low": low, "high": high}
            found["rules"] = dict(broken)
            # Complete after each: it takes an hour.
            figures[fault or "clean"] = found
            files.write_json(options.out, {"seed": options.seed, **figures})
        shown = f"{sum(flagged)} of {len(flagged)}"
        print(f"{fault or 'clean':26}{shown:12}{low:.1%} to {high:.1%}", flush=True)


def rules_broken(fault, seed) -> list[str]:
    """The rules that a training breaks."""
    keras.backend.clear_session()
    with tempfile.TemporaryDirectory() as folder:
        found = health.explain(tiny_gan.train(Path(folder), fault=fault, seed=seed))
    return [check.name for check in found.checks if check.verdict == "FAIL"]


if __name__ == "__main__":
    main()
