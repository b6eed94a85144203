"""A training's health: rules, what is noted, and seeded faults in a GAN that trains in seconds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tests import tiny_gan
from tfstyle import training
from tfstyle.errors import ArgumentError
from tfstyle.explain import health

ROOT = Path(__file__).parents[2]
EXTRA = ["jinja2", "matplotlib", "scipy"]


def line(step, **changes):
    """A look at a healthy training."""
    healthy = {
        "step": step,
        "diversity": 0.6,
        "accuracy/real": 0.8,
        "accuracy/fake": 0.8,
        "accuracy/held_out": 0.78,
        "gap": 1.0,
        "gap/held_out": 0.9,
        "memorised": -0.05,
        "generator/gradient": 1.0,
        "generator/update_ratio": 1e-2,
        "discriminator/update_ratio": 1e-2,
    }
    return healthy | changes


# As after `pip install tfstyle`, without the extra.
WITHOUT_EXTRA = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""


def without(missing, code, *arguments):
    """A Python in which some modules cannot be imported, and its exit code and output."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    code = WITHOUT_EXTRA.format(missing=set(missing)) + code
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def broken(found):
    return [check.name for check in found.checks if check.verdict == "FAIL"]


def test_a_healthy_timeline_passes_every_rule():
    found = health.explain([line(step) for step in range(10, 200, 10)])
    assert found.verdict == "PASS" and not broken(found)
    assert "none" in found.summary and len(found.arrays["step"]) == 19


@pytest.mark.parametrize(
    ("changes", "rule", "remedy"),
    [
        ({"discriminator/update_ratio": 0.2}, "moves no faster", "Lower the discriminator's"),
        ({"generator/update_ratio": 0.0}, "the generator moves", "Raise the generator's"),
        ({"diversity": 1e-6}, "different inputs", "collapsed"),
        ({"memorised": 0.3}, "by heart", "more real pictures"),
        ({"generator/gradient": 1e6}, "gradient is lost", "Clip gradients"),
        ({"generator/gradient": 0.0}, "gradient is lost", "Clip gradients"),
    ],
)
def test_each_rule_is_broken_by_its_fault_alone(changes, rule, remedy):
    usual = [line(step) for step in range(10, 210, 10)]
    faulty = [line(step, **changes) for step in range(210, 400, 10)]
    found = health.explain(usual + faulty)
    (name,) = broken(found)
    assert rule in name and remedy in found.summary


def test_faults_of_the_warm_up_do_not_count():
    lines = [line(step, diversity=0.0) for step in range(10, 100, 10)]
    lines += [line(step) for step in range(100, 120, 10)]
    assert broken(health.explain(lines)) and not broken(health.explain(lines, after=99))


def test_a_training_that_was_not_looked_at_has_a_report_that_says_so(tmp_path, capsys):
    found = health.write_report(tmp_path, name="short")
    assert found.verdict == "NOT TESTED" and "no step" in found.summary
    assert "no step" in (tmp_path / "health.html").read_text()
    assert "no step" in capsys.readouterr().out


def test_recipes_do_without_the_libraries_of_reports():
    names = sorted(path.stem for path in (ROOT / "pipelines").glob("[a-z]*.py"))
    assert "fast" in names
    code = """
import importlib

for name in sys.argv[1:]:
    importlib.import_module(f"pipelines.{name}")
"""
    ended = without(EXTRA, code, *names)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("missing", EXTRA)
def test_each_missing_library_of_reports_is_named(missing, monkeypatch):
    health.require()
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ArgumentError, match=rf"needs {missing}: pip install 'tfstyle\[explain\]'$"):
        health.require()


def test_a_recipe_says_in_one_line_what_a_report_needs(tmp_path):
    code = """
import runpy

sys.argv[1:] = ["--explain", "--steps=2", "--runs", sys.argv[1]]
runpy.run_module("pipelines.fast", run_name="__main__", alter_sys=True)
"""
    ended = without(EXTRA, code, tmp_path)
    assert ended.returncode == 2
    told = [line for line in ended.stderr.splitlines() if "needs" in line]
    assert len(told) == 1 and "Traceback" not in ended.stderr
    assert told[0].endswith("--explain needs scipy: pip install 'tfstyle[explain]'")


def test_what_was_not_noted_is_not_tested():
    lines = [{"step": step, "diversity": 0.5} for step in (10, 20)]
    found = health.explain(lines)
    assert found.verdict == "PASS"
    assert [c.verdict for c in found.checks].count("NOT TESTED") == len(health.RULES) - 1
    assert health.explain([]).verdict == "NOT TESTED"


def test_held_out_pictures_that_fare_alike_are_not_by_heart(rng):
    threshold = next(rule.threshold for rule in health.RULES if rule.quantity == "last/memorised")
    for seen in (8, 40):
        # A taste of its own for each picture, and a passing one at each look.
        taste = rng.normal(size=(500, 1, seen + 40))
        looks = stats.rankdata(taste + rng.normal(size=(500, 5, seen + 40)), axis=-1)
        assert np.mean([health._memorised(each, seen) > threshold for each in looks]) < 0.02
    # All of the training above all others; an error of sqrt(81 / (12 * 40 * 40)).
    by_heart = health._memorised([np.arange(80)[::-1]], 40)
    assert by_heart == pytest.approx(0.5 - 1.5 * 81**0.5 / 19200**0.5)


def test_gradients_of_losses_and_their_cosines_have_closed_forms(tmp_path):
    generator, _ = tiny_gan.networks()
    weight = generator.trainable_variables[0]

    def terms():
        # Of one weight, d/dw of w, 2 w and -3 w.
        first = weight.value[0, 0]
        return {"a": first, "b": 2 * first, "c": -3 * first}

    monitor = health.Monitor(
        folder=tmp_path,
        every=5,
        generator=generator,
        inputs=tf.zeros((4, tiny_gan.NOISE)),
        real=tiny_gan.pictures(4, 0),
        terms=terms,
        weights={"a": 1.0, "b": 10.0, "c": 1.0},
    )
    found = monitor.measure()
    assert found["generator/gradient"] == pytest.approx(1 + 20 - 3)
    assert found["gradient/b"] == pytest.approx(20)
    assert found["cosine/a,b"] == pytest.approx(1) and found["cosine/b,c"] == pytest.approx(-1)
    assert found["diversity"] == 0  # the same noise four times


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """(lines, folder) of a GAN without a fault."""
    folder = tmp_path_factory.mktemp("clean")
    return tiny_gan.train(folder, seed=50, count=64), folder


@pytest.mark.parametrize(
    ("fault", "quantity"),
    [("frozen generator", "generator/update_ratio"), ("constant output", "diversity")],
)
def test_a_frozen_and_a_collapsed_gan_are_found_and_their_clean_twin_is_not(
    fault, quantity, clean, tmp_path
):
    rules = [rule for rule in health.RULES if rule.quantity == quantity]
    of_clean, folder = clean
    faulty = tiny_gan.train(tmp_path, fault=fault, seed=50, count=64)
    for lines, verdict in ((of_clean, "PASS"), (faulty, "FAIL")):
        assert health.explain(lines, rules=rules).verdict == verdict
        assert len(lines) == 8
        assert all(np.isfinite(value).all() for each in lines for value in each.values())
    assert list((folder / "logs/health").glob("events*"))


@pytest.mark.slow
@pytest.mark.parametrize("fault", [None, *tiny_gan.FAULTS])
def test_seeded_faults_are_found_and_a_clean_run_is_not_flagged(fault, tmp_path):
    rule = {
        "fast discriminator": "moves no faster",
        "constant output": "different inputs",
        "frozen generator": "the generator moves",
        "memorising discriminator": "by heart",
    }
    found = broken(health.explain(tiny_gan.train(tmp_path, fault=fault, seed=53)))
    assert any(rule[fault] in name for name in found) if fault else not found


def test_a_resumed_training_takes_later_looks_again_and_a_look_changes_nothing(tmp_path):
    generator, discriminator = tiny_gan.networks()
    before = generator.get_weights() + discriminator.get_weights()

    def monitor():
        return health.Monitor(
            folder=tmp_path,
            every=2,
            generator=generator,
            discriminator=discriminator,
            inputs=tf.zeros((4, tiny_gan.NOISE)),
            real=tiny_gan.pictures(4, 0),
        )

    first = monitor()
    for step in range(1, 7):
        first(training.Progress(step, {}))
    again = monitor()
    for step in range(5, 9):
        again(training.Progress(step, {}))
    assert [each["step"] for each in health.read(first.file)] == [2, 4, 6, 8]
    for old, new in zip(before, generator.get_weights() + discriminator.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    json.loads(first.file.read_text().splitlines()[0])
