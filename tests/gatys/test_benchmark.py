"""benchmarks/gatys.py beside another program, as its user calls it."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
COPIES = "import shutil, sys; shutil.copy(*sys.argv[1:3])"


@pytest.fixture
def hand(monkeypatch, capsys):
    """Measures the painter's hand of a peer alone, and gives what was printed."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import gatys

    def run(peer, *flags):
        flags = ["--hand", "--presets=", "--size=64", "--pairs=coffee:swirls", *flags]
        monkeypatch.setattr("sys.argv", ["gatys.py", *flags, f"--peer={peer}"])
        gatys.main()
        return capsys.readouterr().out

    return run


def test_another_program_is_measured_on_the_same_pairs(hand):
    told = hand(f"{sys.executable} -c '{COPIES}' {{content}} {{output}}")
    assert told.startswith("coffee in swirls, peer: ")
    # It gave the photo back.
    assert "relative_style_distance 1.000" in told and "content_distance 0.000" in told


def test_one_that_fails_is_named_with_what_it_said(hand):
    with pytest.raises(SystemExit, match=r"status 3; no such brush"):
        hand(f"{sys.executable} -c 'import sys; sys.stderr.write(\"no such brush\"); sys.exit(3)'")
