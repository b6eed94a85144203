"""`tfstyle optimize`, called as a user would call it; mostly with a stand-in for the long part."""

import hashlib
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from PIL import Image, ImageCms

import tfstyle
from tests.desks import complaint
from tfstyle import cli, features, gatys, images, machine
from tfstyle.cli import recipe
from tfstyle.errors import ArgumentError

# Of processes whose current folder is another.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
SIGNATURE = {
    name: parameter.default
    for name, parameter in inspect.signature(gatys.optimize).parameters.items()
    if parameter.default is not inspect.Parameter.empty
}
DEFAULTS = {name: value for name, value in SIGNATURE.items() if name != "callback"}
SETTINGS = "tfstyle:settings"


@pytest.fixture
def desk(tmp_path, monkeypatch, photo) -> Path:
    """A current folder with a photo, two styles and two masks."""
    monkeypatch.chdir(tmp_path)
    images.write("photo.png", photo)
    images.write("a.png", photo[:, ::-1] ** 2)
    images.write("b.png", 1 - photo[::-1])
    left = np.zeros((6, 8, 3), np.float32)
    left[:, :4] = 1
    images.write("left.png", left)
    images.write("right.png", 1 - left)
    return tmp_path


class Painter:
    """Stands in for `gatys.optimize`: two scales of a few steps; the picture tells the seed."""

    def __init__(self):
        self.steps = 5
        self.calls = []
        self.error = None
        self.before_step = lambda scale, step: None

    def __call__(self, content, styles, *, callback, **options):
        self.calls.append({"content": content, "styles": styles, **options})
        if self.error:
            raise self.error
        longest = options["size"] or max(content.shape[:2])
        size = tuple(round(side * longest / max(content.shape[:2])) for side in content.shape[:2])
        losses = {"content": 0.5, "style": 0.25, "tv": 0.0, "total": 3.0}
        done, stopped = 0, "steps"
        for scale in range(2):
            here = tuple(side // (2 - scale) for side in size)
            for step in range(1, self.steps + 1):
                self.before_step(scale, step)
                done += 1
                image = np.full((*here, 3), (scale + step / self.steps) / 4, np.float32)
                progress = gatys.Progress(
                    scale, 2, here, step, self.steps, losses, image, 0.5 * done
                )
                if callback(progress):
                    stopped = "callback"
                    break
            if stopped != "steps":
                break
        image = images.resize(content, size) * 0.5 + np.float32(options["seed"] / 255)
        return gatys.Result(np.clip(image, 0, 1), losses, done, 1.25, stopped, "float32", 12.0)

    @property
    def options(self) -> dict:
        """Of the last call, less what is no option."""
        return {k: v for k, v in self.calls[-1].items() if k not in ("content", "styles")}


@pytest.fixture
def painter(monkeypatch) -> Painter:
    painter = Painter()
    monkeypatch.setattr(gatys, "optimize", painter)
    return painter


# What --alpha and --beta bring: the papers' losses, and their weights.
PAPERS = {
    "formula": "gatys",
    "style_loss": "gram",
    "tv_weight": 0.0,
    "style_depth": 5,
    "style_falloff": 1.0,
    "saliency": 0.0,
    "keep": "off",
}
PAPER_WEIGHTS = {"content_weight": 3, "style_weight": 1000.0}


def run(*arguments) -> int:
    try:
        return cli.main(["optimize", *map(str, arguments)])
    except SystemExit as stop:
        return stop.code


def optimize(*arguments, output="out.png") -> int:
    return run("photo.png", "--style", "a.png", "-o", output, *arguments)


def noted(path="out.png") -> dict:
    return json.loads(images.read_text(path)[SETTINGS])


def files() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(Path().rglob("*")) if path.is_file()}


# -- help and defaults ------------------------------------------------------------------------


def test_help_is_short_enough_to_read_and_names_every_preset_and_backbone(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run("--help") == 0
    told = capsys.readouterr().out
    assert told.count("\n") < 82
    for name in (*gatys.PRESETS, *features.BACKBONES, *gatys.INITS):
        assert name in told
    assert max(map(len, told.splitlines())) <= 100


def test_help_does_not_wait_for_tensorflow():
    code = (
        "import sys; from tfstyle import cli\n"
        "try: cli.main(['optimize', '--help'])\n"
        "finally: assert not {'tensorflow', 'keras', 'numpy'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code]
    subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True)


def test_without_flags_the_library_gets_its_own_defaults(desk, painter):
    assert optimize() == 0
    assert painter.options == DEFAULTS


def test_every_option_of_the_library_has_a_flag():
    flags = {name for group in recipe.knobs().values() for name in group}
    assert DEFAULTS.keys() - flags == {"formula"}
    assert flags - DEFAULTS.keys() == {"alpha", "beta", "bits", "quality"}


@pytest.mark.parametrize(
    ("arguments", "changed"),
    [
        (["--size", "300"], {"size": 300}),
        (["--size=own"], {"size": None}),
        (["--min_size=64", "--scale_factor=1.5"], {"min_size": 64, "scale_factor": 1.5}),
        (["--steps=7", "--patience=3"], {"steps": 7, "patience": 3}),
        (
            ["--optimizer=adam", "--learning_rate=1e-2"],
            {"optimizer": "adam", "learning_rate": 0.01},
        ),
        (["--content_weight=0", "--style_weight=4"], {"content_weight": 0, "style_weight": 4}),
        (["--tv_weight=0.25"], {"tv_weight": 0.25}),
        (
            ["--style_loss=wasserstein", "--color=match"],
            {"style_loss": "wasserstein", "color": "match"},
        ),
        (["--backbone=vgg19", "--pooling=average"], {"backbone": "vgg19", "pooling": "average"}),
        (["--padding=zero"], {"padding": "zero"}),
        (["--content_layers", "x,y:0.5"], {"content_layers": {"x": 1.0, "y": 0.5}}),
        (["--style_layers=x:0"], {"style_layers": {"x": 0.0}}),
        (["--init=normal", "--averaging=0.9"], {"init": "normal", "averaging": 0.9}),
        (
            ["--style_scale=2", "--content_threshold=0.5"],
            {"style_scale": 2, "content_threshold": 0.5},
        ),
        (["--time_budget=60", "--precision=float32"], {"time_budget": 60, "precision": "float32"}),
        (["--jit", "--tile=256"], {"jit": True, "tile": 256}),
        (["--jit", "--nojit", "--tile=off"], {"tile": "off"}),
        (["--seed=3"], {"seed": 3}),
        (["--weights=a.png"], {"weights": "a.png"}),
        (["--preset=preview"], gatys.PRESETS["preview"]),
        (["--steps=9", "--preset=preview"], gatys.PRESETS["preview"] | {"steps": 9}),
        (["--preset=preview", "--size=512"], gatys.PRESETS["preview"] | {"size": 512}),
        (["--preset=portrait"], gatys.PRESETS["portrait"]),
        (
            ["--preset=portrait", "--style_weight=6"],
            gatys.PRESETS["portrait"] | {"style_weight": 6, "target": "auto"},
        ),
        (["--alpha=2"], PAPERS | {"content_weight": 2.0, "style_weight": 1000.0}),
        (["--beta=2"], PAPERS | {"content_weight": 1.0, "style_weight": 2.0}),
        (["--alpha=3", "--beta=2"], PAPERS | {"content_weight": 3, "style_weight": 2}),
        (["--alpha=3", "--tv_weight=1"], PAPERS | PAPER_WEIGHTS | {"tv_weight": 1}),
        (["--target=content=0.6"], {"target": {"content": 0.6}}),
        (["--target", "style:0.1"], {"target": {"style": 0.1}}),
        (["--target=off", "--style_falloff=1"], {"target": "off", "style_falloff": 1}),
    ],
)
def test_flags_reach_the_library_in_their_types(desk, painter, arguments, changed):
    assert optimize(*arguments) == 0
    expected = DEFAULTS | changed
    assert painter.options == expected
    assert {k: type(v) for k, v in painter.options.items() if k in ("size", "tile", "seed")} == {
        k: type(expected[k]) for k in ("size", "tile", "seed")
    }


def test_a_flag_wins_over_a_preset_even_where_it_names_the_default(desk, painter, monkeypatch):
    presets = {"odd": {"steps": 3, "style_weight": 7.0, "content_layers": {"x": 0.5}}}
    monkeypatch.setattr(recipe, "presets", lambda: presets)
    assert optimize("--preset=odd", "--steps", DEFAULTS["steps"]) == 0
    odd = {"style_weight": 7.0, "content_layers": {"x": 0.5}}
    assert painter.options == DEFAULTS | odd
    # Weights of one formula mean nothing in the other.
    assert optimize("--preset=odd", "--alpha=5") == 0
    assert (painter.options["content_weight"], painter.options["style_weight"]) == (5, 1000)


def test_the_picture_to_start_from_can_be_a_file(desk, painter, photo):
    assert optimize("--init", "b.png") == 0
    assert np.abs(painter.options["init"] - (1 - photo[::-1])).max() < 0.003
    assert noted()["options"]["init"] == "b.png"
    assert "b.png" in noted()["sha256"]


def test_what_to_keep_can_be_a_mask_of_any_size(desk, painter, photo):
    mask = np.zeros((10, 20, 3), np.float32)
    mask[:, 10:] = 1
    images.write("mask.png", mask)
    assert optimize("--keep", "mask.png") == 0
    np.testing.assert_array_equal(painter.options["keep"], mask[..., 0])
    assert noted()["options"]["keep"] == "mask.png" and "mask.png" in noted()["sha256"]
    assert optimize("--keep=off") == 0
    assert painter.options["keep"] == "off" and noted()["options"]["keep"] == "off"


# -- styles -----------------------------------------------------------------------------------


def test_styles_have_weights_and_masks(desk, painter):
    assert optimize("--style", "b.png:0.5:left.png:right.png") == 0
    first, second = painter.calls[-1]["styles"]
    assert (first.weight, first.mask, first.style_mask) == (1.0, None, None)
    assert second.weight == 0.5
    assert (second.mask[0] == [1] * 4 + [0] * 4).all()
    assert (second.style_mask[0] == [0] * 4 + [1] * 4).all()
    assert np.abs(first.image - images.read("a.png")).max() == 0


SOME = ("a.png", "left.png", "right.png", "x:2.png", "m:k.png", "a.png:3", "9")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.png", ("a.png", 1.0, None, None)),
        ("a.png:2", ("a.png", 2.0, None, None)),
        ("a.png:1e-3", ("a.png", 0.001, None, None)),
        ("a.png:", ("a.png", 1.0, None, None)),
        ("a.png::", ("a.png", 1.0, None, None)),
        ("a.png::left.png", ("a.png", 1.0, "left.png", None)),
        ("a.png:2:left.png", ("a.png", 2.0, "left.png", None)),
        ("a.png:2:left.png:", ("a.png", 2.0, "left.png", None)),
        ("a.png:2:left.png:right.png", ("a.png", 2.0, "left.png", "right.png")),
        ("a.png:2::right.png", ("a.png", 2.0, None, "right.png")),
        ("a.png:::right.png", ("a.png", 1.0, None, "right.png")),
        ("x:2.png", ("x:2.png", 1.0, None, None)),
        ("x:2.png:3", ("x:2.png", 3.0, None, None)),
        ("x:2.png::m:k.png:x:2.png", ("x:2.png", 1.0, "m:k.png", "x:2.png")),
        ("a.png:3", ("a.png:3", 1.0, None, None)),
        ("a.png:3:4", ("a.png:3", 4.0, None, None)),
        ("9:9:9:9", ("9", 9.0, "9", "9")),
        ("a.png::9", ("a.png", 1.0, "9", None)),
    ],
)
def test_a_style_is_the_longest_file_then_weight_then_masks(tmp_path, monkeypatch, text, expected):
    monkeypatch.chdir(tmp_path)
    for name in SOME:
        # The name that would shadow "a.png" with a weight of 3 is there only where it is meant.
        if name != "a.png:3" or text.startswith(name):
            Path(name).touch()
    assert tuple(recipe.parse_style(text).values()) == expected
    assert list(recipe.parse_style(text)) == ["path", "weight", "mask", "style_mask"]


@hypothesis.given(
    names=st.lists(st.text("ab:.1", min_size=1).filter(lambda n: n.strip(".")), min_size=1),
    weight=st.sampled_from(["", "2", "0.5"]),
    masks=st.integers(0, 2),
)
def test_names_with_colons_are_found_again(tmp_path_factory, names, weight, masks):
    folder = tmp_path_factory.mktemp("names")
    paths = [f"{folder}/{name}" for name in names]
    for path in paths:
        Path(path).touch()
    given = [paths[0], weight, *(paths[-1 - i % len(paths)] for i in range(masks))]
    text = ":".join(given)
    found = recipe.parse_style(text)
    # The longest: nothing that goes on to a later colon, or to the end, is a file.
    assert text.startswith(found["path"])
    rest = text[len(found["path"]) :]
    assert not rest or rest.startswith(":")
    for i in range(1, len(rest) + 1):
        if i == len(rest) or rest[i] == ":":
            assert not os.path.isfile(found["path"] + rest[:i])
    assert Path(found["path"]).is_file()
    # Where no other file begins as this text does, it is what was given.
    if found["path"] == paths[0]:
        assert found["weight"] == float(weight or 1)
        used = [found["mask"], found["style_mask"]]
        assert all(mask is None or os.path.isfile(mask) for mask in used)
        assert bool(masks) == (used[0] is not None)


@pytest.mark.parametrize(
    ("style", "told"),
    [
        ("c.png", "--style c.png: no such file"),
        ("c.png:2", "--style c.png:2: no such file"),
        ("", "--style : no such file"),
        ("a.png:x", "--style a.png:x: weight x: give a number above 0"),
        ("a.png:0", "weight 0: give a number above 0"),
        ("a.png:-1:left.png", "weight -1: give"),
        ("a.png:nan", "weight nan: give"),
        ("a.png:inf", "weight inf: give"),
        ("a.png:left.png", "weight left.png: give"),
        ("a.png:1:c.png", "mask c.png: no such file"),
        ("a.png:1:left.png:c.png", "style mask c.png: no such file"),
        ("a.png:1::c.png", "style mask c.png: no such file"),
        ("a.png:1:left.png:right.png:2", "style mask right.png:2: no such file"),
    ],
)
def test_what_is_wrong_in_a_style_is_named(desk, painter, style, told, capsys):
    before = files()
    assert run("photo.png", "--style", style, "-o", "out.png") == 2
    assert told in complaint(capsys)
    assert files() == before
    assert not painter.calls


# -- mistakes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["photo.png", "--style", "a.png"], "-o"),
        (["-o", "out.png"], "CONTENT is missing"),
        (["photo.png", "-o", "out.png"], "--style is missing"),
        (["c.png", "--style", "a.png", "-o", "out.png"], "c.png: No such file"),
        (
            [".", "--style", "a.png", "-o", "out.png"],
            "several inputs need a folder. Give one, such as out/",
        ),
        (["notes.txt", "--style", "a.png", "-o", "out.png"], "notes.txt: not an image"),
        (["photo.png", "--style", "notes.txt", "-o", "out.png"], "notes.txt: not an image"),
        (["photo.png", "--style", "a.png:1:notes.txt", "-o", "out.png"], "notes.txt: not an image"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_work(desk, painter, arguments, told, capsys):
    Path("notes.txt").write_text("no image")
    before = sorted(desk.rglob("*")), files()
    assert run(*arguments) == 2
    assert told in complaint(capsys)
    assert (sorted(desk.rglob("*")), files()) == before
    assert not painter.calls


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-o", "out.gif"], "-o out.gif: cannot write .gif. Give .png"),
        (["-o", "out"], "cannot write a file without suffix"),
        (["-o", "photo.png"], "photo.png: an input, which is never replaced"),
        (["-o", "new/../a.png"], "an input, which is never replaced"),
        (["-o", "folder.png"], "-o folder.png: a folder"),
        (["-o", "notes.txt/out.png"], "notes.txt"),
        (["-o", "out.jpg", "--bits=16"], "16 bits go into .png only"),
        (["--video", "out.gif"], "out.gif: cannot write .gif"),
        (["--video", "folder.mp4"], "--video folder.mp4: a folder"),
        (["--video", "v.mp4", "--style", "v.mp4"], "v.mp4: an input"),
        (["--init", "c.png"], "c.png: No such file"),
        (["--init", "notes.txt"], "notes.txt: not an image"),
        (["--weights", "c.h5"], "c.h5: No such file"),
        (["--save_every=1", "--style", "out.1-0040.png"], "out.1-0040.png: an input"),
        (["--alpha=1", "--style_weight=1"], "--alpha and --style_weight"),
        (["--beta=1", "--content_weight=1"], "--beta and --content_weight"),
        (["--size", "0"], "0: give a whole number of at least 1, or own"),
        (["--size", "full"], "full: give a whole number of at least 1, or own"),
        (["--scale_factor", "1"], "1: give a number above 1"),
        (["--steps", "1.5"], "1.5: give a whole number of at least 1"),
        (["--steps", "1" + "0" * 400], "give a whole number"),
        (["--style_weight", "-1"], "-1: give a number of at least 0"),
        (["--style_weight", "inf"], "inf: give a number of at least 0"),
        (["--averaging", "2"], "2: give a number from 0 to 1"),
        (["--time_budget", "0"], "0: give a number above 0"),
        (["--optimizer", "sgd"], "sgd: give lbfgs, adam, adagrad"),
        (["--color", "red"], "red: give style, content, match"),
        (["--tile", "small"], "small: give a whole number of at least 1, or auto, off"),
        (["--backbone", "alexnet"], "alexnet: give vgg16"),
        (["--preset", "none"], "none: give classic, portrait"),
        (["--content_layers", "a,,b"], "a,,b: a name is empty; give NAME[:WEIGHT],..."),
        (["--content_layers", "a,a:2"], "a twice"),
        (["--style_layers", "a:x"], "x: give a number of at least 0"),
        (["--bits", "12"], "12: give 8, 16"),
        (["--video_fps", "10"], "--video_fps: there is no video"),
        (["--learning_rate", "0.1"], "--learning_rate: lbfgs has none"),
        (["--video_fps", "0"], "0: give a number from 0.01 to 1000"),
        (["--nope"], "unrecognized arguments: --nope"),
    ],
)
def test_wrong_flags_are_answered_in_one_line_before_any_work(
    desk, painter, arguments, told, capsys
):
    Path("folder.png").mkdir()
    Path("folder.mp4").mkdir()
    Path("notes.txt").write_text("no image")
    images.write("out.1-0040.png", images.read("a.png"))
    Path("v.mp4").write_bytes(Path("a.png").read_bytes())
    before = files()
    assert optimize(*arguments) == 2
    assert told in complaint(capsys)
    assert files() == before
    assert not painter.calls


def test_a_mistake_is_told_without_waiting_for_tensorflow(desk):
    code = (
        "import sys; from tfstyle import cli\n"
        "assert cli.main(sys.argv[1:]) == 2\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    arguments = ["optimize", "photo.png", "--style=a.png", "-o=out.png", "--init=b.png"]
    arguments += ["--style=b.png::left.png", "--video=out.gif"]
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("tfstyle: error: out.gif: cannot write .gif")


def test_a_folder_that_may_not_be_written_is_told_before_any_work(
    desk, painter, capsys, monkeypatch
):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert optimize(output="new/out.png") == 2
    assert "new/out.png: no permission to write into new" in complaint(capsys)
    assert not painter.calls


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            machine.TooLargeError("too large. Give 30x20", (20, 30)),
            "too large. Give 30x20 (--size 30)",
        ),
        (features.WeightsError("vgg19: no weights"), "vgg19: no weights"),
        (ArgumentError("size 8: give 32"), "size 8: give 32"),
        (MemoryError(), "not enough memory"),
    ],
)
def test_errors_of_the_library_are_one_line_and_leave_nothing(desk, painter, error, told, capsys):
    painter.error = error
    before = files()
    assert optimize("--video=v.mp4", "--save_every=1") == 2
    assert complaint(capsys) == f"tfstyle: error: {told}\n"
    assert files() == before


# -- the picture ------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["out.png", "out.jpg", "out.JPEG", "out.webp", "new/sub/x.png"])
def test_the_picture_carries_how_it_was_made(desk, painter, output):
    arguments = ["--style", "b.png:2:left.png", "--seed=5", "--quality=90", "--patience=4"]
    assert optimize(*arguments, output=output) == 0
    assert images.read(output).shape == (384, 512, 3)
    assert images.read_text(output)["Software"] == f"tfstyle {tfstyle.__version__}"
    told = noted(output)
    assert told["content"] == "photo.png"
    assert told["styles"] == [
        {"path": "a.png", "weight": 1.0, "mask": None, "style_mask": None},
        {"path": "b.png", "weight": 2.0, "mask": "left.png", "style_mask": None},
    ]
    changed = {"seed": 5, "quality": 90, "patience": 4, "precision": "float32"}
    assert told["options"] == DEFAULTS | {"bits": 8} | changed
    names = ("photo.png", "a.png", "b.png", "left.png")
    digests = {name: hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in names}
    assert told["sha256"] == digests
    assert told["figures"] == {
        "width": 512,
        "height": 384,
        "seconds": 1.25,
        "steps": 10,
        "stopped": "steps",
        "precision": "float32",
        "losses": {"content": 0.5, "style": 0.25, "tv": 0.0, "total": 3.0},
        "style_weight": 12.0,
    }


def test_the_last_line_tells_the_picture_and_the_scales_come_before(desk, painter, capsys):
    assert optimize("--size=64") == 0
    told = capsys.readouterr()
    assert told.out == (
        "out.png (64x48, 1.2 s, 10 steps, all steps done, content 0.5, style 0.25)\n"
    )
    assert told.err.splitlines() == [
        "tfstyle: 32x24 (1/2): 5 of 5 steps, 2.5 s, content 0.5, style 0.25",
        "tfstyle: 64x48 (2/2): 5 of 5 steps, 5.0 s, content 0.5, style 0.25",
    ]


def test_a_terminal_gets_a_bar_for_each_scale(desk, painter, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert optimize("--size=64") == 0
    told = capsys.readouterr().err
    assert re.search(r"32x24 \(1/2\): 100%.* 5/5 .*content 0\.5, style 0\.25", told)
    assert re.search(r"64x48 \(2/2\): 100%.* 5/5 ", told)
    assert "tfstyle:" not in told


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_the_picture_has_the_date_of_its_photo_and_not_its_place(desk, painter, suffix):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2019:07:04 10:11:12"
    exif.get_ifd(0x8825)[1] = "N"
    Image.new("RGB", (64, 48), (90, 90, 90)).save("photo.png", exif=exif.tobytes())

    def kept(*flags):
        assert optimize(*flags, output=f"b{suffix}") == 0
        with Image.open(f"b{suffix}") as image:
            read = image.getexif()
            return read.get_ifd(0x8769).get(0x9003), bool(read.get_ifd(0x8825))

    assert kept() == ("2019:07:04 10:11:12", False)
    assert kept("--metadata=all") == ("2019:07:04 10:11:12", True)
    assert kept("--metadata=none") == (None, False)
    assert "options" in noted(f"b{suffix}")


def test_a_photo_far_larger_than_its_picture_is_decoded_small(desk, painter, capsys):
    Image.new("RGB", (4000, 3000), (90, 90, 90)).save("photo.png", "JPEG")
    limit = ["--max_pixels", "3000000"]
    assert optimize("--size=64", *limit) == 0
    capsys.readouterr()
    assert painter.calls[-1]["content"].shape[1] == 512
    assert optimize("--size=2000", *limit) == 2
    assert "photo.png: 4000x3000 pixels, above the limit of 3000000" in complaint(capsys)


def test_json_tells_the_final_figures(desk, painter, capsys):
    assert optimize("--size=64", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told.pop("output") == "out.png"
    assert told == noted()["figures"]
    assert (told["width"], told["height"], told["stopped"]) == (64, 48, "steps")


def test_16_bits_make_a_picture_of_finer_steps(desk, painter):
    assert optimize("--bits=16", "--size=64") == 0
    assert Path("out.png").read_bytes()[24] == 16
    deep = images.read("out.png") * 255
    assert np.abs(deep - np.rint(deep)).max() > 0.3
    assert noted()["options"]["bits"] == 16


def test_quality_makes_smaller_files(desk, painter):
    assert optimize(output="95.jpg") == 0
    assert optimize("--quality", "20", output="20.jpg") == 0
    assert Path("20.jpg").stat().st_size < Path("95.jpg").stat().st_size / 2


def test_the_colour_profile_of_the_photo_stays_with_the_picture(desk, painter, photo):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(images.to_uint8(photo)).save("tagged.jpg", icc_profile=profile)
    assert run("tagged.jpg", "--style", "a.png", "-o", "out.png") == 0
    assert images.read_icc("out.png") == profile
    assert optimize(output="plain.png") == 0
    assert images.read_icc("plain.png") is None


def test_pictures_in_between_have_names_that_tell_scale_and_step(desk, painter):
    assert optimize("--save_every=2", "--size=64", output="new/out.png") == 0
    made = {path.name: images.read(path) for path in Path("new").iterdir()}
    steps = [f"out.{scale}-{step:04}.png" for scale in (1, 2) for step in (2, 4)]
    assert sorted(made) == sorted([*steps, "out.png"])
    assert made["out.1-0004.png"].shape == (24, 32, 3)
    assert made["out.1-0004.png"] == pytest.approx(4 / 20, abs=0.003)
    assert made["out.2-0002.png"] == pytest.approx(7 / 20, abs=0.003)
    told = noted("new/out.2-0002.png")
    assert (told["figures"]["scale"], told["figures"]["step"]) == (2, 2)
    assert told["options"]["seed"] == 0


def video(path) -> tuple[tuple[int, int], float, list[float]]:
    """((width, height), frames a second, the middle grey of each frame)."""
    av = pytest.importorskip("av")
    with av.open(str(path)) as container:
        (stream,) = container.streams.video
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        rate = float(stream.average_rate)
    return frames[0].shape[1::-1], rate, [frame[8:-8, 8:-8].mean() / 255 for frame in frames]


def test_a_video_shows_every_step_at_the_final_size_and_the_result_for_a_second(desk, painter):
    pytest.importorskip("av")
    images.write("photo.png", np.full((48, 64, 3), 0.5, np.float32))
    assert optimize("--video=new/v.mp4", "--video_fps=10", "--size=96") == 0
    size, rate, greys = video("new/v.mp4")
    assert (size, rate) == ((96, 72), 10)
    assert len(greys) == 10 + 10
    assert greys[:10] == pytest.approx([step / 20 for step in range(1, 11)], abs=0.03)
    assert greys[-1] == pytest.approx(0.25, abs=0.03)
    assert [path.name for path in Path("new").iterdir()] == ["v.mp4"]


def test_a_long_run_is_filmed_in_about_ten_seconds(desk, painter):
    painter.steps = 1000
    assert optimize("--video=v.mp4", "--size=32") == 0
    size, rate, greys = video("v.mp4")
    assert (size, rate) == ((32, 24), 24)
    assert 200 <= len(greys) - 24 <= 300


# -- Ctrl-C -----------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [(0, 2), (0, 5), (1, 1), (1, 5)])
def test_an_interrupt_writes_the_picture_so_far(desk, painter, at, capfd):
    def interrupt(scale, step):
        if (scale, step) == at:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    painter.before_step = interrupt
    assert optimize("--size=64", "--video=v.mp4") == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert images.read("out.png").shape == (48, 64, 3)
    told = noted()
    assert told["figures"]["stopped"] == "callback"
    assert told["figures"]["steps"] == at[0] * 5 + at[1]
    assert len(video("v.mp4")[2]) == told["figures"]["steps"] + 24
    captured = capfd.readouterr()
    assert "stopped by Ctrl-C" in captured.out
    assert "Ctrl-C again" in captured.err
    painter.before_step = lambda scale, step: None
    assert run("--again", "out.png", "-o", "whole.png") == 0
    assert noted("whole.png")["figures"]["stopped"] == "steps"


def test_an_interrupt_before_the_first_step_writes_nothing(desk, painter, capsys):
    painter.before_step = lambda scale, step: signal.raise_signal(signal.SIGINT)
    before = files(), signal.getsignal(signal.SIGINT)
    assert optimize("--video=v.mp4") == 130
    assert complaint(capsys) == "tfstyle: interrupted\n"
    assert (files(), signal.getsignal(signal.SIGINT)) == before


def test_a_second_interrupt_ends_at_once_and_writes_nothing(desk, painter, capfd):
    def interrupt(scale, step):
        if step == 2:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    painter.before_step = interrupt
    before = files(), signal.getsignal(signal.SIGINT)
    assert optimize("--video=v.mp4") == 130
    assert capfd.readouterr().err.endswith("tfstyle: interrupted\n")
    assert (files(), signal.getsignal(signal.SIGINT)) == before


def test_a_second_interrupt_while_the_picture_is_written_leaves_no_half_of_it(
    desk, painter, capfd, monkeypatch
):
    painter.before_step = lambda scale, step: step == 2 and signal.raise_signal(signal.SIGINT)
    replace = os.replace

    def interrupted(*arguments):
        signal.raise_signal(signal.SIGINT)
        replace(*arguments)

    monkeypatch.setattr(os, "replace", interrupted)
    before = files()
    assert optimize("--video=v.mp4") == 130
    assert files() == before
    assert capfd.readouterr().out == ""


# -- again ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--size=own", "--jit", "--tile=64", "--precision=bfloat16", "--bits=16"],
        ["--alpha=2", "--seed=9", "--content_layers=x:0.1,y", "--time_budget=0.3"],
        ["--init=b.png", "--weights=a.png", "--style=b.png:0.1:left.png:right.png"],
        ["--preset=preview", "--averaging=0.5", "--learning_rate=0.1", "--optimizer=adam"],
    ],
)
def test_again_gives_the_same_call_and_the_same_file_but_for_its_name(desk, painter, arguments):
    assert optimize(*arguments) == 0
    assert run("--again", "out.png", "-o", "again.png") == 0
    first, second = painter.calls
    # What "auto" came to is known by then.
    assert second["precision"] == "float32"
    for name in first.keys() - {"precision", "styles", "content", "init"}:
        assert first[name] == second[name], name
    assert np.array_equal(first["content"], second["content"])
    assert np.array_equal(first["init"], second["init"])
    for one, other in zip(first["styles"], second["styles"], strict=True):
        assert one.weight == other.weight
        for name in ("image", "mask", "style_mask"):
            assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert Path("again.png").read_bytes() == Path("out.png").read_bytes()


@pytest.mark.parametrize(
    ("made", "arguments", "expected"),
    [
        ([], ["--size=99"], {"size": 99}),
        (["--size=99"], [], {"size": 99}),
        (["--size=99", "--jit"], ["--size=own", "--nojit"], {"size": None}),
        (["--steps=9", "--seed=2"], ["--preset=preview"], gatys.PRESETS["preview"] | {"seed": 2}),
        (
            ["--alpha=3"],
            ["--beta=5"],
            PAPERS | {"content_weight": 3, "style_weight": 5},
        ),
        (
            ["--alpha=3", "--tv_weight=2"],
            ["--beta=5"],
            PAPERS | {"content_weight": 3, "tv_weight": 2, "style_weight": 5},
        ),
        (["--target=content=0.7"], [], {"target": {"content": 0.7}}),
        (["--target=content=0.7"], ["--target=auto"], {}),
        (["--alpha=3"], ["--style_weight=5"], {"style_weight": 5}),
        (["--content_weight=3"], ["--style_weight=5"], {"content_weight": 3, "style_weight": 5}),
        (
            ["--style_weight=3"],
            ["--alpha=5"],
            PAPERS | {"content_weight": 5, "style_weight": 1000},
        ),
    ],
)
def test_flags_that_are_given_win_over_what_was(desk, painter, made, arguments, expected):
    assert optimize(*made) == 0
    assert run("--again", "out.png", "-o", "again.png", *arguments) == 0
    assert painter.options == DEFAULTS | {"precision": "float32"} | expected


def test_again_with_another_photo_or_style_takes_that(desk, painter):
    assert optimize("--seed=4") == 0
    Path("photo.png").unlink()
    assert run("b.png", "--again", "out.png", "-o", "again.png") == 0
    assert np.array_equal(painter.calls[-1]["content"], images.read("b.png"))
    assert painter.options["seed"] == 4
    Path("a.png").unlink()
    command = ["b.png", "--again", "out.png", "-o", "again.png"]
    assert run(*command, "--style", "left.png", "--style", "right.png:3") == 0
    assert [style.weight for style in painter.calls[-1]["styles"]] == [1, 3]


def test_again_refuses_inputs_that_changed_or_are_gone(desk, painter, capsys):
    assert optimize("--style=b.png::left.png", "--init=right.png") == 0
    inputs = {name: Path(name).read_bytes() for name in noted()["sha256"]}
    assert len(inputs) == 5
    calls = len(painter.calls)
    capsys.readouterr()
    for name, data in inputs.items():
        Path(name).write_bytes(data + b"\0")
        assert run("--again", "out.png", "-o", "again.png") == 2
        assert f"error: {name}: changed since out.png was made" in complaint(capsys)
        Path(name).unlink()
        assert run("--again", "out.png", "-o", "again.png") == 2
        assert f"error: {name}: no such file; out.png was made from it" in complaint(capsys)
        Path(name).write_bytes(data)
    assert len(painter.calls) == calls
    assert not Path("again.png").exists()
    Path("right.png").unlink()
    assert run("--again", "out.png", "-o", "again.png", "--init=content") == 0


def test_again_needs_a_picture_that_holds_settings_and_never_replaces_it(desk, painter, capsys):
    assert run("--again", "photo.png", "-o", "out.png") == 2
    assert "--again photo.png: no settings in it" in complaint(capsys)
    assert run("--again", "c.png", "-o", "out.png") == 2
    assert "c.png: no such file" in complaint(capsys)
    assert run("--again", "photo.png") == 2
    assert "-o" in complaint(capsys)
    assert optimize() == 0
    capsys.readouterr()
    assert run("--again", "out.png", "-o", "out.png") == 2
    assert "out.png: an input, which is never replaced" in complaint(capsys)
    assert optimize("--bits=16") == 0
    capsys.readouterr()
    assert run("--again", "out.png", "-o", "again.jpg") == 2
    assert "16 bits go into .png only" in complaint(capsys)
    assert run("--again", "out.png", "-o", "again.jpg", "--bits=8") == 0


def test_a_picture_of_before_newer_options_is_made_again_without_them(desk, painter):
    assert optimize("--preset=classic") == 0
    settings = noted()
    newer = {"target": "off", "style_depth": 5, "style_falloff": 1.0, "saliency": 0.0}
    newer |= {"padding": "zero", "keep": "off"}
    for name in newer:
        del settings["options"][name]
    images.write("old.png", images.read("out.png"), text={SETTINGS: json.dumps(settings)})
    assert run("--again", "old.png", "-o", "again.png") == 0
    assert {name: painter.calls[-1][name] for name in newer} == newer


def test_a_picture_tells_the_style_loss_that_explains_it(desk, painter, photo):
    assert optimize() == 0
    layers = [f"block{block}_conv1" for block in (1, 2, 3, 4)]
    weights = {layer: pytest.approx(0.7**place) for place, layer in enumerate(layers)}
    told = {"style_loss": "wasserstein", "style_layers": weights}
    assert recipe.style_loss_of("out.png") == told
    assert optimize("--preset=classic") == 0
    found = recipe.style_loss_of("out.png")
    assert found["style_loss"] == "gram" and list(found["style_layers"].values()) == [1.0] * 5
    images.write("other.png", photo)
    assert recipe.style_loss_of("other.png") == {}


HEALTHY = {
    "content": "photo.png",
    "styles": [{"path": "a.png", "weight": 1.0, "mask": None, "style_mask": None}],
    "options": {"steps": 3},
    "sha256": {},
}


@pytest.mark.parametrize(
    "settings",
    [
        "{",
        "[]",
        "null",
        "[" * 100_000,
        json.dumps({**HEALTHY, "content": 3}),
        json.dumps({**HEALTHY, "content": None}),
        json.dumps({**HEALTHY, "styles": {}}),
        json.dumps({**HEALTHY, "styles": "a.png"}),
        json.dumps({**HEALTHY, "styles": [{**HEALTHY["styles"][0], "weight": -1}]}),
        json.dumps({**HEALTHY, "styles": [{**HEALTHY["styles"][0], "mask": 1}]}),
        json.dumps({**HEALTHY, "options": []}),
        json.dumps({**HEALTHY, "options": {"steps": 1.5}}),
        json.dumps({**HEALTHY, "options": {"steps": None}}),
        json.dumps({**HEALTHY, "options": {"steps": [3]}}),
        json.dumps({**HEALTHY, "options": {"steps": True}}),
        json.dumps({**HEALTHY, "options": {"jit": "yes"}}),
        json.dumps({**HEALTHY, "options": {"color": "red"}}),
        json.dumps({**HEALTHY, "options": {"formula": "other"}}),
        json.dumps({**HEALTHY, "options": {"content_layers": {"a": "x"}}}),
        json.dumps({**HEALTHY, "options": {"callback": "print"}}),
        json.dumps({**HEALTHY, "options": {"warp": 9}}),
        json.dumps(HEALTHY),
    ],
)
def test_damaged_settings_are_one_line(desk, painter, photo, settings, capsys):
    images.write("odd.png", photo, text={SETTINGS: settings})
    before = files()
    assert run("--again", "odd.png", "-o", "again.png") == 2
    assert "--again odd.png: its settings are damaged" in complaint(capsys)
    assert files() == before
    assert not painter.calls


# -- the real thing ---------------------------------------------------------------------------

SMALL = ["--size=64", "--min_size=32", "--steps=3", "--precision=float32"]


def test_a_real_run_can_be_repeated_to_the_bit_from_its_picture(desk, capsys):
    arguments = ["--style=b.png:0.5:left.png", "--init=uniform", "--seed=3", "--bits=16"]
    assert optimize(*SMALL, *arguments) == 0
    told = capsys.readouterr()
    assert told.out.startswith("out.png (64x48, ")
    assert re.findall(r"^tfstyle: (.*?): ", told.err, re.MULTILINE) == [
        "43x32 (1/2)",
        "64x48 (2/2)",
    ]
    assert run("--again", "out.png", "-o", "again.png") == 0
    assert np.array_equal(images.read("out.png"), images.read("again.png"))
    first, second = noted()["figures"], noted("again.png")["figures"]
    assert first["losses"] == second["losses"]
    assert {"content", "style", "tv", "total"} < first["losses"].keys()


def test_a_process_that_is_interrupted_writes_the_picture_so_far_and_ends_with_130(desk):
    command = [sys.executable, "-m", "tfstyle", "optimize", "photo.png", "--style=a.png"]
    command += ["--size=48", "--min_size=32", "--steps=100000", "--optimizer=adam"]
    command += ["-o=out.png", "--save_every=1"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=ENVIRONMENT, **streams) as process:
        try:
            deadline = time.monotonic() + 120
            while not Path("out.1-0003.png").exists() and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, err.decode()
    assert b"Traceback" not in err
    assert out.startswith(b"out.png (48x36, ")
    assert images.read("out.png").shape == (36, 48, 3)
    assert noted()["figures"]["stopped"] == "callback"
    assert not [name for name in files() if name.startswith(".")]


def test_the_command_keeps_freed_memory_for_the_process(desk, painter, monkeypatch):
    """The library does not: it holds for all of the process."""
    called = []
    monkeypatch.setattr(machine, "keep_freed_memory", lambda: called.append(len(painter.calls)))
    assert optimize() == 0
    assert called == [0]


# -- several photos ---------------------------------------------------------------------------


def test_folders_and_several_photos_are_painted_one_by_one(desk, painter, photo, capsys):
    for name in ("more/x.png", "more/deep/y.jpg", "more/broken.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        images.write(name, photo)
    Path("more/broken.png").write_bytes(Path("more/broken.png").read_bytes()[:200])
    assert run("photo.png", "more", "--style", "a.png", "-o", "out", "--steps=3") == 2
    assert "more/broken.png: " in capsys.readouterr().err
    made = sorted(str(path) for path in Path("out").rglob("*.*"))
    assert made == ["out/deep/y.jpg", "out/photo.png", "out/x.png"]
    assert [call["steps"] for call in painter.calls] == [3, 3, 3]
    # Each can be made again by itself.
    assert noted("out/x.png")["content"] == "more/x.png"


@pytest.mark.parametrize("flags", [["--again=photo.png"], ["--video=x.mp4"]])
def test_what_is_of_one_picture_is_refused_for_several(desk, painter, flags, capsys):
    assert run("photo.png", "a.png", "--style", "a.png", "-o", "out", *flags) == 2
    assert f"{flags[0].partition('=')[0]} with several photos" in complaint(capsys)
    assert not painter.calls and not Path("out").exists()
