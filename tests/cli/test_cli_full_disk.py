"""Commands whose disk is full: one line that names the file, exit code 2, what was there stays."""

import contextlib
import resource

import numpy as np
import pytest
from PIL import Image

from tests.small_models import shaken
from tfstyle import cli
from tfstyle.export import convert
from tfstyle.networks import generators


@contextlib.contextmanager
def full():
    """The system writes no file of more than 60 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with photos, a model of a fixed size and one of any."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "photos").mkdir()
    for name in "ab":
        noise = np.random.default_rng(ord(name)).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "photos" / f"{name}.png")
    source = convert.from_keras(shaken(generators.fast_generator(width=4, depth=1)), "any")
    for name, options in (("any", {}), ("fixed", {"size": (48, 64)})):
        (folder / f"{name}.tflite").write_bytes(convert.convert(source, "float32", **options))
    return folder


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("stylize DESK/photos/a.png --model DESK/any.tflite -o OUT/a.png", "a.png"),
        ("stylize DESK/photos --model DESK/any.tflite -o OUT/painted", "painted/b.png"),
        ("web --model DESK/fixed.tflite -o OUT/page", ""),
        ("records DESK/photos -o OUT/records", "records"),
        (
            "dataset --content DESK/photos --style DESK/photos --name own --data_dir OUT/tfds",
            "tfds/own",
        ),
        ("serve DESK/served --write_only --with docker --dir OUT/serve", "serve"),
    ],
    ids=lambda text: text.split(" ")[0],
)
@pytest.mark.parametrize("before", ["nothing", "an earlier version"])
def test_it_is_told_in_a_line_and_what_was_there_stays(
    desk, tmp_path, capsys, monkeypatch, command, named, before
):
    (desk / "served" / "1").mkdir(parents=True, exist_ok=True)
    (desk / "served" / "1" / "saved_model.pb").touch()
    arguments = command.replace("DESK", str(desk)).replace("OUT", str(tmp_path)).split()
    if before == "an earlier version":
        if arguments[0] in ("records", "dataset"):
            pytest.skip("it replaces none")
        assert cli.main(arguments) == 0
        if arguments[0] == "serve":
            arguments += ["--batching"]
    there = contents(tmp_path)
    capsys.readouterr()
    with full():
        code = cli.main(arguments)
    out, err = capsys.readouterr()
    assert code == 2 and str(tmp_path / named) in err and "File too large" in err, err
    assert "fault of tfstyle" not in err and "Errno" not in err and "tfstyle-" not in err
    left = {path: content for path, content in contents(tmp_path).items() if content is not None}
    assert left == {path: content for path, content in there.items() if content is not None}
