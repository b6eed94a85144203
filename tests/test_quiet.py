"""What native libraries write to standard error: chatter goes, warnings stay."""

import os
import subprocess
import sys

import pytest

from tfstyle import quiet

CHATTER = (
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    b"I0000 00:00:1 port.cc:153] oneDNN custom operations are on. You may see slightly\n"
    b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n"
)


def test_chatter_goes_and_all_else_comes_in_order(capfd):
    os.write(2, b"before\n")
    with quiet.native():
        os.write(2, CHATTER + b"E0000 out of disk\n")
    os.write(2, b"after")
    assert capfd.readouterr().err == "before\nE0000 out of disk\nafter"


def test_what_was_said_before_an_error_comes_out_with_it(capfd):
    with pytest.raises(ZeroDivisionError), quiet.native():
        os.write(2, b"no chatter\n")
        raise ZeroDivisionError
    assert capfd.readouterr().err == "no chatter\n"


def child(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


TALKATIVE = """
import os, sys, pathlib, tempfile
folder = pathlib.Path(tempfile.mkdtemp())
(folder / "tensorflow.py").write_text(
    "import os; os.write(2, b'oneDNN custom operations are on.\\\\nreal\\\\n'); value = 5"
)
sys.path.insert(0, str(folder))
import tfstyle
assert "tensorflow" not in sys.modules
import tensorflow
print(tensorflow.value, tensorflow.__spec__.name)
"""


def test_tensorflow_is_imported_without_its_chatter_unless_it_is_asked_for():
    done = child(TALKATIVE, TF_CPP_MIN_LOG_LEVEL="3")
    assert (done.stdout, done.stderr) == ("5 tensorflow\n", "real\n")
    loud = child(TALKATIVE, TF_CPP_MIN_LOG_LEVEL="0")
    assert loud.stderr.splitlines() == ["oneDNN custom operations are on.", "real"]


def test_without_a_standard_error_all_works():
    code = "import os; os.close(2)\nfrom tfstyle import quiet\nwith quiet.native(): print('done')"
    assert child(code).stdout == "done\n"
