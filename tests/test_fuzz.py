"""benchmarks/fuzz.py as its user calls it, with a few inputs."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def fuzz(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import fuzz

    return fuzz


def test_an_input_is_the_same_each_time(fuzz):
    data, other = bytes(range(200)), b"other" * 9
    inputs = [fuzz.changed(random.Random(f"images {seed}"), data, other) for seed in range(50)]
    again = [fuzz.changed(random.Random(f"images {seed}"), data, other) for seed in range(50)]
    assert inputs == again
    assert len(set(inputs)) == 50 and data not in inputs


def test_what_is_no_documented_error_is_a_fault(fuzz):
    def broken(kind, data):
        raise KeyError("x")

    assert fuzz.judged(broken, "PNG", b"") == ("faults", "KeyError: 'x' (test_fuzz.py)")
    assert fuzz.judged(lambda kind, data: False, "PNG", b"") == ("refused", "")
    assert fuzz.judged(lambda kind, data: True, "PNG", b"") == ("read", "")


def test_a_process_that_dies_is_a_fault_of_its_input_and_the_next_are_tried(fuzz, monkeypatch):
    monkeypatch.setattr(fuzz, "work", dies_at_one)
    found = fuzz.tried("images", range(3))
    assert (found["read"], found["faults"]) == (2, 1)
    assert found["told"] == [{"seed": 1, "input": "PNG", "fault": "the process died (exit code 3)"}]


def dies_at_one(part, seeds, out):
    for seed in seeds:
        out.send(("starts", "PNG", ""))
        if seed == 1:
            sys.exit(3)
        out.send(("read", "PNG", ""))


def test_the_command_counts_what_came_of_the_inputs(tmp_path):
    command = [sys.executable, ROOT / "benchmarks" / "fuzz.py", "--images=20", "--rest=0"]
    command += ["--grpc=0", "--heic=5", f"--out={tmp_path / 'fuzz.json'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads((tmp_path / "fuzz.json").read_text())["images"]
    assert told["faults"] == 0 and told["read"] + told["refused"] == 20
