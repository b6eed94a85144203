"""The command line, called as a user would call it; `run` shows this docstring in its --help."""

import dataclasses
import inspect
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import tensorflow as tf

from tests.desks import complaint, is_negative, picture, stylized
from tfstyle import cli, data, export, features, files, images, machine, metrics, stylize, training
from tfstyle.cli import jobs, library, messages
from tfstyle.cli.program import documented
from tfstyle.errors import ArgumentError

# Of processes whose current folder is another.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


# -- the command ------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [[], ["stylize"], ["evaluate"], ["models"]])
def test_help_shows_no_flags_of_other_libraries(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([*command, "--help"])
    assert stop.value.code == 0
    told = capsys.readouterr().out
    assert "usage: tfstyle" in told
    assert "helpfull" not in told
    assert "%" not in told


def test_help_does_not_wait_for_tensorflow():
    code = (
        "import sys; from tfstyle import cli\n"
        "try: cli.main(['stylize', '--help'])\n"
        "finally: assert not {'tensorflow', 'keras', 'numpy'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code]
    subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True)


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("tfstyle 0.")


def test_without_arguments_it_helps(capsys):
    assert cli.main([]) == 0
    said = capsys.readouterr()
    assert "usage: tfstyle" in said.out and "stylize" in said.out and not said.err


def test_flags_with_dashes_are_those_with_underscores(capsys):
    arguments = ["stylize", "nothing.jpg", "--max-size=5", "--preserve-color", "--strength", "0.5"]
    assert cli.main(arguments) == 2
    assert "nothing.jpg: no such file" in capsys.readouterr().err
    assert program(train, "--dry-run", "--steps=9") == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 9


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["paint"], "argument COMMAND: paint: give stylize, optimize,"),
        (["stylise"], "argument COMMAND: stylise: did you mean stylize? give stylize,"),
        (["optimize", "a.jpg", "--preset=portrit"], "portrit: did you mean portrait? give"),
        (["optimize", "a.jpg", "--tile=atuo"], "atuo: "),
        (["stylize", "a.jpg", "--runtime=Tflite"], "Tflite: did you mean tflite? give"),
        (["stylize", "a.jpg", "--modle=x"], "arguments: --modle=x: did you mean --model?"),
        (["stylize", "a.jpg", "--max-sise", "5"], "--max-sise: did you mean --max_size?"),
        (["stylize"], "IN"),
        (["stylize", "a.jpg", "--strength", "1.5"], "1.5: give a number from 0 to 1"),
        (["stylize", "a.jpg", "--strength", "nan"], "nan: give a number from 0 to 1"),
        (["stylize", "a.jpg", "--max_size", "0"], "0: give a whole number of at least 1"),
        (["stylize", "a.jpg", "--quality", "x"], "x: give a whole number from 1 to 100"),
        (["stylize", "a.jpg", "--threads", "1.5"], "1.5: give a whole number of at least 1"),
        (["stylize", "a.jpg", "--style", "a:1,b,a:2"], "a:1,b,a:2: a twice"),
        (["stylize", "a.jpg", "--preserve"], "unrecognized arguments: --preserve"),
        (["evaluate", "a.jpg", "--content", "b.jpg"], "--style"),
    ],
)
def test_wrong_flags_are_answered_in_one_line(arguments, told, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert told in complaint(capsys)


def test_defaults_are_those_of_the_library():
    for path, function, parameter in (
        ("stylize/stylizer.Stylizer.__call__", stylize.Stylizer.__call__, "strength"),
        ("images/files.write", images.write, "quality"),
        ("metrics/distances.evaluate", metrics.evaluate, "size"),
    ):
        default = inspect.signature(function).parameters[parameter].default
        assert library.default(path, parameter) == default


# -- stylize: where pictures go ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("a.jpg", "a.negative.jpg"),
        ("a.JPG", "a.negative.JPG"),
        ("b.png", "b.negative.png"),
        ("c.webp", "c.negative.png"),
        ("sub/a.b.jpeg", "sub/a.b.negative.jpeg"),
    ],
)
def test_without_output_the_picture_lies_beside_the_photo(desk, source, target, capsys):
    picture(source)
    assert stylized(source) == 0
    assert is_negative(target)
    assert f"{source} -> {target} (40x24" in capsys.readouterr().out


@pytest.mark.parametrize(
    "model", ["saved_models/negative.tflite", "./saved_models/negative.tflite"]
)
def test_a_model_given_by_its_path_names_the_picture_too(desk, model):
    picture("a.png")
    assert cli.main(["stylize", "a.png", "--model", model]) == 0
    assert is_negative("a.negative.png")


def test_a_version_of_a_saved_model_names_the_picture_after_the_model():
    assert jobs.label("saved_models/mine/12/") == "mine"
    assert jobs.label("mine.int8") == "mine.int8"
    assert jobs.label("mine.int8.tflite") == "mine.int8"


@pytest.mark.parametrize("output", ["x.png", "x.jpg", "x.JPEG", "x.webp", "new/sub/x.png"])
def test_one_photo_goes_to_the_file_that_is_named(desk, output):
    assert stylized(picture("a.jpg"), "-o", output) == 0
    assert is_negative(output)
    formats = {".png": b"\x89PNG", ".jpg": b"\xff\xd8", ".jpeg": b"\xff\xd8", ".webp": b"RIFF"}
    assert Path(output).read_bytes().startswith(formats[Path(output).suffix.lower()])


def test_one_photo_goes_into_a_folder_that_exists_or_ends_in_a_slash(desk):
    picture("a.jpg")
    Path("here").mkdir()
    assert stylized("a.jpg", "-o", "here") == 0
    assert stylized("a.jpg", "-o", "new/there/") == 0
    assert is_negative("here/a.jpg")
    assert is_negative("new/there/a.jpg")


def test_several_inputs_keep_sub_folders_in_a_folder_that_is_made(desk):
    for name in ("photos/a.jpg", "photos/x/a.png", "photos/x/y/b.webp", "c.bmp.png"):
        picture(name)
    Path("photos/notes.txt").write_text("no image")
    assert stylized("photos", "c.bmp.png", "-o", "out/painted") == 0
    made = sorted(path.relative_to("out/painted") for path in Path("out").rglob("*.*"))
    assert list(map(str, made)) == ["a.jpg", "c.bmp.png", "x/a.png", "x/y/b.png"]
    assert all(is_negative(Path("out/painted") / path) for path in made)


def test_a_second_run_does_not_paint_what_the_first_one_painted(desk):
    picture("photos/a.jpg")
    for _ in range(2):
        assert stylized("photos", "-o", "photos/out") == 0
    assert [path.name for path in Path("photos/out").rglob("*")] == ["a.jpg"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["a.jpg", "-o", "x.gif"], "cannot write .gif"),
        (["a.jpg", "-o", "x"], "without suffix"),
        (["a.jpg", "b.jpg", "-o", "x.jpg"], "several inputs need a folder"),
        (["a.jpg", "b.jpg", "-o", "notes"], "several inputs need a folder"),
        (["a.jpg", "b.jpg", "-o", "-"], "standard output takes one picture"),
        (["photos"], "photos: a folder. Say with -o DIR"),
        (["-", "-", "-o", "out"], "- twice"),
        (["a.jpg", "-o", "a.jpg"], "a.jpg: an input"),
        (["a.jpg", "-o", "photos/../a.jpg"], "an input"),
        (["photos", "-o", "photos"], "an input"),
        (["a.jpg", "--json", "-o", "-"], "both want standard output"),
        (["a.jpg", "-o", "notes/out/"], "notes"),
        (["a.jpg", "--model", "monet"], "model 'monet': no file and no model of that name; there"),
        (["a.jpg", "--model", "monet"], "negative"),
        (["a.jpg", "--model", "notes"], "notes: not a model"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_work(desk, arguments, told, capsys):
    for name in ("a.jpg", "b.jpg", "photos/a.jpg", "c.png", "c.webp"):
        picture(name)
    Path("notes").write_text("no model")
    before = {path: path.read_bytes() for path in desk.rglob("*") if path.is_file()}
    assert stylized(*arguments) == 2
    line = complaint(capsys)
    assert line.startswith("tfstyle: error: ")
    assert told in line
    assert {path: path.read_bytes() for path in desk.rglob("*") if path.is_file()} == before


# -- stylize: what pictures are ---------------------------------------------------------------


def test_strength_color_size_and_comparison_reach_the_picture(desk):
    picture("a.png", value=0.2)
    assert stylized("a.png", "-o", "half.png", "--strength", "0.5") == 0
    assert stylized("a.png", "-o", "none.png", "--strength=0") == 0
    assert stylized("a.png", "-o", "small.png", "--max_size", "20") == 0
    assert stylized("a.png", "-o", "both.png", "--compare", "--threads=1") == 0
    assert images.read("half.png") == pytest.approx(0.5, abs=0.003)
    assert images.read("none.png") == pytest.approx(0.2)
    assert images.read("small.png").shape == (12, 20, 3)
    both = images.read("both.png")
    assert both.shape[0] == 24
    assert both[:, :40] == pytest.approx(0.2)
    assert both[:, -40:] == pytest.approx(0.8)
    color = np.zeros((8, 8, 3), np.float32) + np.float32([1, 0, 0])
    images.write("red.png", color)
    assert stylized("red.png", "-o", "kept.png", "--preserve_color") == 0
    red, green, blue = images.read("kept.png")[0, 0]
    assert red > green == blue


def test_quality_makes_smaller_files(desk, photo):
    images.write("a.png", photo)
    assert stylized("a.png", "-o", "95.jpg") == 0
    assert stylized("a.png", "-o", "20.jpg", "--quality", "20") == 0
    assert Path("20.jpg").stat().st_size < Path("95.jpg").stat().st_size / 2


# -- stylize: bad files -----------------------------------------------------------------------


@pytest.fixture
def mixed(desk) -> Path:
    """Two photos among a PDF, an empty file and half a JPEG."""
    whole = picture("photos/good.jpg").read_bytes()
    picture("photos/sub/fine.png")
    Path("photos/bill.jpg").write_bytes(b"%PDF-1.7 and so on")
    Path("photos/empty.png").write_bytes(b"")
    Path("photos/half.jpg").write_bytes(whole[: len(whole) // 2])
    return desk


def test_bad_files_do_not_stop_the_others_and_are_all_named(mixed, capsys):
    assert stylized("photos", "missing.jpg", "-o", "out") == 2
    assert is_negative("out/good.jpg")
    assert is_negative("out/sub/fine.png")
    assert sorted(path.name for path in Path("out").rglob("*.*")) == ["fine.png", "good.jpg"]
    told = capsys.readouterr()
    assert told.out.count("\n") == 2
    *lines, last = told.err.splitlines()
    assert all(line.startswith("tfstyle: error: ") for line in lines)
    bad = ["missing.jpg", "photos/bill.jpg", "photos/empty.png", "photos/half.jpg"]
    assert sorted(line.split(": ")[2] for line in lines) == bad
    assert "PDF" in told.err
    assert last == "tfstyle: 4 of 6 could not be stylized"


def test_json_tells_what_was_done_and_what_was_not(mixed, capsys):
    assert stylized("photos", "-o", "out", "--json", "--max_size=20") == 2
    told = json.loads(capsys.readouterr().out)
    first, second = told["images"]
    assert first["seconds"] >= 0
    assert {**first, "seconds": 0} == {
        "input": "photos/good.jpg",
        "output": "out/good.jpg",
        "width": 20,
        "height": 12,
        "seconds": 0,
        "model": "negative",
    }
    assert second["output"] == "out/sub/fine.png"
    assert {entry["input"]: "error" in entry for entry in told["errors"]} == {
        "photos/bill.jpg": True,
        "photos/empty.png": True,
        "photos/half.jpg": True,
    }


def test_a_single_bad_file_is_one_line(desk, capsys):
    Path("photo.jpg").write_bytes(b"%PDF-1.7")
    assert stylized("photo.jpg") == 2
    assert "photo.jpg: not an image" in complaint(capsys)
    assert stylized("nowhere.jpg") == 2
    assert "nowhere.jpg: no such file" in complaint(capsys)


def test_a_folder_without_images_says_what_was_looked_for(desk, capsys):
    Path("photos").mkdir()
    assert stylized("photos", "-o", "out") == 2
    assert "photos: no images in it (.jpg" in complaint(capsys)


def test_what_is_too_large_is_told_with_the_flag_that_helps(desk, capsys, monkeypatch):
    def refuse(self, image, **_):
        raise machine.TooLargeError("too large. Make the image at most 7x5", (5, 7))

    monkeypatch.setattr(stylize.Stylizer, "__call__", refuse)
    assert stylized(picture("a.jpg")) == 2
    assert complaint(capsys).endswith(
        "a.jpg: too large. Make the image at most 7x5 (--max_size 7)\n"
    )


def test_a_name_that_is_no_text_is_painted_like_others(desk, capsys):
    name = os.fsdecode(b"gr\xfcn.jpg")
    picture("a.jpg").rename(name)
    assert stylized(name) == 0
    assert is_negative(os.fsdecode(b"gr\xfcn.negative.jpg"))


def test_an_interrupt_keeps_what_is_finished_and_leaves_nothing_half_written(
    desk, capsys, monkeypatch
):
    for name in "abc":
        picture(f"photos/{name}.png")
    write = images.write

    def interrupted(path, *arguments, **options):
        if path.name == "b.png":
            signal.raise_signal(signal.SIGINT)
        write(path, *arguments, **options)

    monkeypatch.setattr(images, "write", interrupted)
    assert stylized("photos", "-o", "out") == 130
    assert [path.name for path in Path("out").iterdir()] == ["a.png"]
    assert capsys.readouterr().err == "tfstyle: interrupted\n"


# -- stylize: pipes ---------------------------------------------------------------------------


def test_standard_input_goes_to_standard_output_and_nothing_else_does(
    desk, capsysbinary, monkeypatch
):
    file = io.BytesIO(picture("a.jpg").read_bytes())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file))
    assert stylized("-") == 0
    told = capsysbinary.readouterr()
    assert told.err == b""
    assert told.out.startswith(b"\x89PNG")
    assert images.decode_bytes(told.out) == pytest.approx(191 / 255, abs=0.01)


def test_standard_output_that_takes_little_at_a_time_gets_the_whole_picture(desk, monkeypatch):
    class Raw(io.BytesIO):
        """As the standard output of an unbuffered Python."""

        def write(self, data):
            return super().write(data[:10])

    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(Raw()))
    assert stylized(picture("a.png"), "-o", "-") == 0
    assert images.decode_bytes(sys.stdout.buffer.getvalue()) == pytest.approx(191 / 255)


def test_standard_input_can_be_one_of_several(desk, monkeypatch):
    file = io.BytesIO(picture("a.jpg").read_bytes())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file))
    assert stylized("-", "a.jpg", "-o", "out") == 0
    assert is_negative("out/stdin.png")
    assert is_negative("out/a.jpg")


def test_standard_input_that_is_no_image_is_one_line(desk, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert stylized("-") == 2
    assert complaint(capsys) == "tfstyle: error: standard input: empty file (0 bytes).\n"


def test_as_a_process_it_works_in_a_pipe_and_is_silent_when_the_pipe_closes(desk, photo):
    images.write("a.png", photo)
    source = Path("a.png").read_bytes()
    command = [sys.executable, "-m", "tfstyle", "stylize", "--model=negative"]
    streams = {"input": source, "capture_output": True}
    done = subprocess.run([*command, "-", "-o", "-"], env=ENVIRONMENT, **streams)
    assert done.returncode == 0, done.stderr.decode()
    assert np.abs(images.decode_bytes(done.stdout) - (1 - images.read("a.png"))).max() < 0.003

    read, write = os.pipe()
    os.close(read)
    streams = {"stdout": write, "stderr": subprocess.PIPE}
    done = subprocess.run([*command, "a.png"], env=ENVIRONMENT, **streams)
    os.close(write)
    assert done.returncode == 141
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr
    assert Path("a.negative.png").exists()


# -- evaluate ---------------------------------------------------------------------------------


@pytest.fixture
def judged(desk, monkeypatch, tiny_extractor, photo) -> Path:
    """Two photos, each with a picture: one untouched, one the negative of the other photo."""
    monkeypatch.setattr(features, "vgg16", lambda layers: tiny_extractor)
    for folder in ("photos", "painted"):
        Path(folder).mkdir()
    images.write("photos/cat.png", photo)
    images.write("photos/cat.b.png", photo[:, ::-1])
    images.write("painted/cat.negative.png", photo)
    images.write("painted/cat.b.png", 1 - photo[:, ::-1])
    images.write("style.png", photo[::2, ::-1] ** 2)
    return desk


def evaluate(*arguments):
    return cli.main(["evaluate", *arguments, "--style", "style.png"])


def test_an_untouched_photo_has_content_distance_0_and_its_own_style(judged, capsys):
    content = ["--content", "photos/cat.png"]
    assert evaluate("painted/cat.negative.png", *content, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    (score,) = told["images"]
    assert (score["output"], score["content"]) == ("painted/cat.negative.png", "photos/cat.png")
    assert score["content_distance"] == 0
    assert score["relative_style_distance"] == 1
    assert score["style_distance"] > 0
    assert told["mean"]["content_distance"] == 0
    assert score["sliced_wasserstein"] == pytest.approx(1)
    assert 0 < score["patch_precision"] < 1 and 0 < score["patch_recall"] < 1
    assert score["palette_distance"] > 1 and score["chroma_noise"] > 0
    assert 0 <= score["repetition"] <= 1
    assert score["lpips"] == pytest.approx(0, abs=1e-6)
    assert score["checkerboard"] is None or score["checkerboard"] > 0
    assert (told["style"], told["size"]) == ("style.png", 512)


def test_figures_are_written_as_csv_and_of_sets_there_is_a_kernel_distance(judged, capsys, photo):
    for number in range(10):
        Path("works").mkdir(exist_ok=True), Path("many").mkdir(exist_ok=True)
        images.write(f"works/{number}.png", photo[number : 64 + number, number : 64 + number])
        images.write(f"many/{number}.png", 1 - photo[number : 64 + number, : 80 - number])
    many = ["many", "--content", "many", "--size=64", "--csv", "new/figures.csv"]
    assert evaluate(*many, "--paintings", "works") == 0
    table = capsys.readouterr().out
    assert re.search(r"^kernel distance to works: -?\d\.\d{4}$", table, re.MULTILINE)
    rows = [line.split(",") for line in Path("new/figures.csv").read_text().splitlines()]
    assert rows[0][:2] == ["output", "content"] and {"lpips", "repetition"} <= set(rows[0])
    assert len(rows) == 11 and len({len(row) for row in rows}) == 1
    lpips = rows[0].index("lpips")
    assert float(rows[1][lpips]) == pytest.approx(0, abs=1e-6)
    # Of fewer than ten pictures none is told; of fewer than ten works it is refused.
    few = ["painted", "--content", "photos", "--size=64", "--json"]
    assert evaluate(*few, "--paintings", "works") == 0
    assert "vgg16_kid" not in json.loads(capsys.readouterr().out)
    assert evaluate(*few, "--paintings", "photos") == 2
    assert "--paintings photos: 2 images. Give 10 or more" in capsys.readouterr().err


def test_the_table_has_a_row_for_each_picture_and_their_mean(judged, capsys):
    assert evaluate("painted", "--content", "photos", "--size", "64") == 0
    header, *rows = [re.split(" {2,}", line) for line in capsys.readouterr().out.splitlines()]
    assert header == [
        "output", "style distance", "relative to photo", "content distance", "subject",
        "sliced Wasserstein", "precision", "recall", "colour noise", "palette", "repetition",
        "LPIPS", "checkerboard",
    ]  # fmt: skip
    assert [row[0] for row in rows] == ["painted/cat.b.png", "painted/cat.negative.png", "mean"]
    assert {row[-1] for row in rows} == {row[-3] for row in rows} == {"-"}  # too small for them
    distances = [float(row[3]) for row in rows]
    assert distances[0] > 0 == distances[1]
    assert distances[2] == pytest.approx(distances[0] / 2, abs=1e-4)


def test_photos_are_matched_by_folder_by_order_or_one_for_all(judged, capsys):
    pictures = ["painted/cat.b.png", "painted/cat.negative.png"]
    for content in (["photos"], ["photos/cat.b.png", "photos/cat.png"], ["photos/cat.png"]):
        assert evaluate(*pictures, "--json", "--size=64", "--content", *content) == 0
        told = json.loads(capsys.readouterr().out)
        used = [entry["content"] for entry in told["images"]]
        assert used == (
            ["photos/cat.png"] * 2
            if content == ["photos/cat.png"]
            else ["photos/cat.b.png", "photos/cat.png"]
        )


def test_photos_of_one_name_are_told_apart_by_their_folders(judged, capsys):
    for year, value in (("2023", 0.2), ("2024", 0.8)):
        for folder in ("old", "new"):
            picture(f"{folder}/{year}/1.png", 32, 32, value)
    picture("new/2024/2.b.png", 32, 32)
    picture("old/2024/2.png", 32, 32)
    picture("old/2.b.png", 32, 32)
    assert evaluate("new", "--content", "old/", "--json", "--size=64") == 0
    told = json.loads(capsys.readouterr().out)["images"]
    assert [entry["content"] for entry in told] == [
        "old/2023/1.png",
        "old/2024/1.png",
        "old/2024/2.png",
    ]


def test_photos_of_one_name_and_several_formats_are_told_apart_too(judged, capsys):
    for name in ("old/logo.png", "old/logo.webp", "new/logo.png", "new/logo.webp.png"):
        picture(name, 32, 32)
    assert evaluate("new", "--content", "old", "--json", "--size=64") == 0
    told = json.loads(capsys.readouterr().out)["images"]
    assert [entry["content"] for entry in told] == ["old/logo.png", "old/logo.webp"]


def test_a_picture_that_cannot_be_evaluated_does_not_stop_the_others(judged, capsys):
    picture("painted/dog.png", 32, 32)
    Path("painted/bill.png").write_bytes(b"%PDF-1.7")
    Path("photos/bill.png").write_bytes(b"%PDF-1.7")
    assert evaluate("painted", "--content", "photos", "--json", "--size=64") == 2
    told = capsys.readouterr()
    assert len(json.loads(told.out)["images"]) == 2
    lines = told.err.splitlines()
    assert lines[0].startswith("tfstyle: error: painted/dog.png: which photo in photos is it of?")
    assert lines[1].startswith("tfstyle: error: painted/bill.png: not an image")
    assert lines[2] == "tfstyle: 2 of 4 could not be evaluated"


def test_too_large_a_size_is_told_with_the_flag_before_anything_is_made(
    judged, capsys, monkeypatch
):
    picture("large.png", 400, 600)
    monkeypatch.setattr(machine, "usable_memory", lambda: 300_000_000)
    content = ["--content", "large.png", "--size", "100000"]
    assert evaluate("large.png", *content) == 2
    line = complaint(capsys)
    assert "600x400 pixels need about 1.2 GB of memory to be judged" in line
    assert line.endswith("Give a size of at most 300x200 (--size 300)\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["painted", "--content", "style.png", "style.png", "style.png"], "3 photos for 2"),
        (["style.png", "--content", "photos"], "style.png: which photo in photos is it of? Found"),
        (["painted", "--content", "photos/dog.png"], "photos/dog.png: no such file"),
        (["empty", "--content", "photos"], "empty: no images"),
        (["nowhere", "--content", "photos"], "nowhere: no such file or folder"),
    ],
)
def test_what_cannot_be_evaluated_is_told_in_one_line(judged, arguments, told, capsys):
    Path("empty").mkdir()
    assert evaluate(*arguments) == 2
    assert told in complaint(capsys)


# -- models -----------------------------------------------------------------------------------


def test_models_are_listed_in_80_columns_and_as_their_cards(desk, negative, capsys):
    assert cli.main(["models"]) == 0
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 80
    (mine,) = [part for part in told.split("\n\n") if part.startswith("negative ")]
    size = f"{negative.stat().st_size / 1e6:.2f} MB"
    assert mine.splitlines() == [
        f"negative ({size}, version 3, CC0-1.0)",
        "  style Film",
        "  use   tfstyle stylize photo.jpg --model negative",
    ]
    (ten,) = [part for part in told.split("\n\n") if part.startswith("ten_styles ")]
    # A command that can be copied, with a style of the model.
    command = ten.splitlines()[-1].split("use ")[1].split()
    assert cli.main([*command[1:2], "nothing.jpg", *command[3:]]) == 2
    assert "nothing.jpg: no such file" in capsys.readouterr().err
    assert cli.main(["models", "--json"]) == 0
    cards = {card["name"]: card for card in json.loads(capsys.readouterr().out)}
    assert cards["negative"]["version"] == 3
    assert cards["negative"]["paths"]["tflite"].endswith("negative.tflite")


# -- run --------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Speed:
    """How fast.

    Args:
        gear: which one.
        turbo: more of it.
        dry_run: print the options and stop.
    """

    gear: Literal[1, 2, 3] = 1
    turbo: bool = True
    dry_run: bool = False

    def __post_init__(self):
        if self.gear == 3 and not self.turbo:
            raise ArgumentError("gear 3 without turbo: use --turbo")


calls = []


def train(
    *,
    steps: int = 5,
    rate: float = 0.5,
    style: str = "swirls",
    noise: bool = False,
    kind: Literal["a", "b"] = "a",
    limit: float | None = None,
    norm: Literal["x", "y"] | None = "x",
    speed: Speed = Speed(gear=2),  # noqa: B008
):
    """Trains.

    Args:
        steps: how many,
            100 % of them.
        rate, style: of what: that.
        noise: on or off.

    Returns:
        Nothing that: matters.
    """
    calls.append(locals())
    return "ignored"


def program(function, *arguments) -> int:
    calls.clear()
    with pytest.raises(SystemExit) as stop:
        cli.run(function, arguments)
    return stop.value.code


DEFAULTS = {
    "steps": 5,
    "rate": 0.5,
    "style": "swirls",
    "noise": False,
    "kind": "a",
    "limit": None,
    "norm": "x",
    "speed": Speed(gear=2),
}


@pytest.mark.parametrize(
    ("arguments", "changed"),
    [
        ([], {}),
        (["--steps=7"], {"steps": 7}),
        (["--steps", "7"], {"steps": 7}),
        (["--rate=1e-3", "--style="], {"rate": 1e-3, "style": ""}),
        (["--rate", "-1"], {"rate": -1.0}),
        (["--noise"], {"noise": True}),
        (["--noise", "--nonoise"], {"noise": False}),
        (["--kind=b", "--limit=2"], {"kind": "b", "limit": 2.0}),
        (["--limit=2", "--limit=none", "--norm=none"], {"limit": None, "norm": None}),
        (["--norm=y"], {"norm": "y"}),
        (["--gear=3"], {"speed": Speed(gear=3)}),
        (["--noturbo"], {"speed": Speed(gear=2, turbo=False)}),
    ],
)
def test_flags_reach_the_function_in_their_types(arguments, changed):
    assert program(train, *arguments) == 0
    assert calls == [DEFAULTS | changed]
    assert {k: type(v) for k, v in calls[0].items()} == {
        k: type(v) for k, v in (DEFAULTS | changed).items()
    }


def test_help_of_a_program_comes_from_docstrings_and_signature(capsys):
    assert program(train, "--help") == 0
    told = " ".join(capsys.readouterr().out.split())
    assert f"usage: python -m {__name__}" in told
    assert "The command line, called as a user would call it" in told
    assert "--steps N how many, 100 % of them. (default 5)" in told
    assert "--rate X of what: that. (default 0.5)" in told
    assert "--style TEXT of what: that. (default swirls)" in told
    assert "--noise, --nonoise on or off. (default off)" in told
    assert "--kind a|b (default a)" in told
    assert "speed: how fast: --gear 1|2|3 which one. (default 2)" in told
    assert "--turbo, --noturbo more of it. (default on)" in told
    assert "matters" not in told


def test_dry_run_prints_the_resolved_options_and_calls_nothing(capsys):
    assert program(train, "--dry_run", "--steps=9", "--noturbo") == 0
    assert calls == []
    assert json.loads(capsys.readouterr().out) == {
        **{key: value for key, value in DEFAULTS.items() if key != "speed"},
        "steps": 9,
        "gear": 2,
        "turbo": False,
        "dry_run": True,
    }


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--nope"], "unrecognized arguments: --nope"),
        (["--step=1"], "unrecognized arguments: --step=1"),
        (["--steps=1.5"], "argument --steps: invalid int value: '1.5'"),
        (["--kind=c"], "argument --kind: c: give a, b"),
        (["--gear=4"], "4"),
        (["--gear=3", "--noturbo"], "gear 3 without turbo: use --turbo"),
        (["--gear=3", "--noturbo", "--dry_run"], "gear 3 without turbo: use --turbo"),
    ],
)
def test_wrong_flags_of_a_program_are_answered_in_one_line(arguments, told, capsys):
    assert program(train, *arguments) == 2
    assert calls == []
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith(f"python -m {__name__}: error: ")
    assert told in error


def test_a_flag_without_default_is_required(capsys):
    def paint(*, style: str):
        calls.append(style)

    assert program(paint) == 2
    assert "--style" in capsys.readouterr().err
    assert program(paint, "--style=x") == 0
    assert calls == ["x"]


def test_a_package_that_is_missing_is_named_but_for_one_of_tfstyle(capsys):
    def fail(name):
        def run():
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        return run

    for name in ("tensorflow", "keras.src"):
        assert messages.exit_code("tfstyle", fail(name)) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1 and f"this needs {name}, which is not installed" in told
    assert messages.exit_code("tfstyle", fail("tfstyle.nothing")) == 1
    assert "a fault of tfstyle" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (ArgumentError("steps 0:\n give 1"), 2, "error: steps 0: give 1"),
        (images.ImageError("a.jpg: empty"), 2, "error: a.jpg: empty"),
        (data.DataError("no images"), 2, "error: no images"),
        (training.TrainingError("loss is nan"), 2, "error: loss is nan"),
        (export.ExportError("differs"), 2, "error: differs"),
        (stylize.ModelNotFoundError("no model"), 2, "error: no model"),
        (PermissionError(13, "Permission denied", "runs"), 2, "error: runs: Permission denied"),
        (OSError(28, "Full", "a"), 2, "error: a: Full. Make room there, or write elsewhere"),
        (OSError(28, "Full"), 2, "error: Full. Make room there, or write elsewhere"),
        (training.Interrupted("stopped", signal.SIGINT), 130, "stopped"),
        (training.Interrupted("stopped", signal.SIGTERM), 143, "stopped"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_errors_and_interrupts_become_one_line_and_an_exit_code(error, code, told, capsys):
    def fail():
        raise error

    assert program(fail) == code
    assert capsys.readouterr().err == f"python -m {__name__}: {told}\n"


def test_what_the_system_refuses_tensorflow_is_told_as_such(capsys):
    told = "runs/a/logs/b.v2; No space left on device Creating writable file runs/a/logs/b.v2"

    def fail():
        raise tf.errors.UnknownError(None, None, "{{function_node x}} " + told)

    assert program(fail) == 2
    expected = f"python -m {__name__}: error: runs/a/logs/b.v2: No space left on device. "
    expected += "Make room there, or write elsewhere\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_while_something_is_written_leaves_nothing_behind(tmp_path, signum, code):
    (tmp_path / "model").write_text("before")

    def export():
        with files.staging(tmp_path) as staged:
            (staged / "model").write_text("half")
            signal.raise_signal(signum)
            files.move_all([(staged / "model", tmp_path / "model")])

    before = signal.getsignal(signum)
    assert program(export) == code
    assert os.listdir(tmp_path) == ["model"] and (tmp_path / "model").read_text() == "before"
    assert signal.getsignal(signum) == before


@pytest.mark.parametrize("error", [KeyError("bug"), ValueError("shapes differ"), RuntimeError()])
def test_a_fault_of_tfstyle_shows_as_one_and_with_debug_where_it_is(error, capsys):
    def fail():
        raise error

    assert program(fail) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "Traceback" not in told
    assert told.startswith(f"python -m {__name__}: error: {type(error).__name__}: ")
    assert "a fault of tfstyle" in told and "/issues" in told and "--debug" in told
    with pytest.raises(type(error)):
        cli.run(fail, ["--debug"])


def test_debug_shows_where_an_error_of_the_user_comes_from_too():
    def fail():
        raise ArgumentError("steps 0")

    with pytest.raises(ArgumentError):
        cli.run(fail, ["--debug"])


@pytest.mark.parametrize(
    ("flags", "told"), [([], 1), (["--verbosity=0"], 2), (["--verbosity=-2"], 0)]
)
def test_verbosity_decides_what_libraries_may_say(flags, told, caplog):
    def paint():
        logging.getLogger("somelibrary").info("reads a file")
        logging.getLogger("somelibrary").warning("odd file")

    assert program(paint, *flags) == 0
    assert len(caplog.records) == told


def test_a_parameter_that_cannot_be_a_flag_is_named():
    def paint(*, sizes: list[int] = ()):
        pass

    with pytest.raises(TypeError, match="sizes"):
        cli.run(paint, [])


def test_the_options_of_training_become_documented_flags(capsys):
    def paint(*, options: training.Options = training.Options(steps=77)):  # noqa: B008
        pass

    assert program(paint, "--dry_run", "--noresume") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == dataclasses.asdict(training.Options(steps=77, resume=False, dry_run=True))
    assert documented(training.Options).keys() == told.keys()


def test_help_comes_from_the_arguments_section_of_a_docstring():
    def train(*, content_weight, style_weight, rate, steps):
        """Trains.

        Args:
            content_weight,
                style_weight: of the losses; more of the second gives more of the
                painting:
                    indented.
            rate (float): in 1/s, 0.1 to 1.
            steps:

        Raises:
            As `fit`.

        Returns:
            steps: those that were taken.

        More about it: here.
        """

    weights = "of the losses; more of the second gives more of the painting: indented."
    assert documented(train) == {
        "content_weight": weights,
        "style_weight": weights,
        "rate": "in 1/s, 0.1 to 1.",
        "steps": "",
    }
    assert documented(lambda: None) == {}


def test_a_docstring_that_begins_with_its_arguments_gives_help_too():
    class Weights:
        """
        Args:
            tv: of the total variation.
        """

    assert documented(Weights) == {"tv": "of the total variation."}


# -- styles -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["--style", "mine.png"],
            "--style mine.png: a picture, .* tfstyle optimize a.jpg --style mine.png -o OUT.png .*"
            "tfstyle learn mine.png --name mine",
        ),
        (["--style", "gone.jpg"], "--style gone.jpg: a picture, "),
        (
            ["--style", "scream"],
            "starry_night has no such style, ten_styles has: tfstyle stylize a.jpg --model "
            "ten_styles --style scream$",
        ),
        (
            ["--style", "screem"],
            "did you mean scream. starry_night has one style alone, and takes no --style",
        ),
        (
            ["--style", "mondrain:2,scream:1", "--model", "ten_styles"],
            "--style mondrain: did you mean mondrian. ten_styles has no such style. Give one of c",
        ),
    ],
)
def test_a_style_that_a_model_lacks_comes_with_what_helps(desk, arguments, told, capsys):
    picture("a.jpg"), picture("mine.png")
    assert cli.main(["stylize", "a.jpg", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and re.search(told, said.strip())


def test_the_style_that_is_taken_where_none_is_asked_for_is_told(desk, capsys):
    picture("a.jpg")
    assert cli.main(["stylize", "a.jpg", "--model", "ten_styles", "-o", "out.png"]) == 0
    said = capsys.readouterr().err
    assert "style composition_vii, the first of ten_styles; --style has others: contrast_" in said
    assert cli.main(["stylize", "a.jpg", "--model=ten_styles", "--style=3", "-o", "b.png"]) == 0
    assert "the first of" not in capsys.readouterr().err
