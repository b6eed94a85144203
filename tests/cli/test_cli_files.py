"""Which files `tfstyle stylize` takes, what it keeps of them, and where their pictures go."""

import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.desks import complaint, is_negative, picture, stylized
from tfstyle import images, machine


def files_below(folder) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()
    )


def animation(path, count=3, **options) -> Path:
    """Writes flat frames of growing grey."""
    frames = [Image.new("RGB", (40, 24), (20 + 40 * i,) * 3) for i in range(count)]
    options = {"duration": 80, "loop": 0} | options
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    return Path(path)


def greys(path) -> list[int]:
    found = images.read_animation(Path(path).read_bytes())
    return [int(images.to_uint8(image)[0, 0, 0]) for image, _ in found.frames]


# -- folders ----------------------------------------------------------------------------------


def test_what_is_no_photo_is_named_in_one_line_and_stops_nothing(desk, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as where it is not installed
    jpeg = picture("photos/a.jpg").read_bytes()
    Path("photos/b.jfif").write_bytes(jpeg)
    Path("photos/c").write_bytes(jpeg)
    Path("photos/d.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    Path("photos/notes.txt").write_text("no image")
    assert stylized("photos", "-o", "out") == 0
    assert files_below("out") == ["a.jpg", "b.png", "c.png"]
    assert capsys.readouterr().err == (
        "tfstyle: photos: 2 left out: photos/d.heic (HEIC needs pillow_heif, which is not "
        "installed: pip install 'tfstyle[heic]'); photos/notes.txt (no image)\n"
    )


def test_links_to_folders_are_followed(desk):
    picture("nas/2023/b.jpg")
    picture("photos/a.jpg")
    Path("photos/2023").symlink_to(Path("nas/2023").resolve())
    assert stylized("photos", "-o", "out") == 0
    assert files_below("out") == ["2023/b.jpg", "a.jpg"]


# -- the same command again -------------------------------------------------------------------


def test_a_second_run_leaves_out_its_own_pictures(desk, capsys):
    for name in ("a.jpg", "b.png", "c.d.webp"):
        picture(name)
    photos = ["a.jpg", "b.png", "c.d.webp"]
    assert stylized(*photos) == 0
    made = ["a.negative.jpg", "b.negative.png", "c.d.negative.png"]
    capsys.readouterr()
    for _ in range(2):
        assert stylized(*sorted(photos + made)) == 0
        told = capsys.readouterr()
        assert told.out.count("\n") == 3
        assert told.err == (
            "tfstyle: 3 left out: a.negative.jpg, b.negative.png, c.d.negative.png (painted "
            "before, of photos that are given too)\n"
        )
        assert all(is_negative(name) for name in made)
    assert sorted(path.name for path in Path().glob("*.*")) == sorted(photos + made)


def test_a_picture_that_is_given_alone_is_meant(desk, capsys):
    picture("a.png")
    assert stylized("a.png") == 0
    assert stylized("a.negative.png", "-o", "back.png") == 0
    assert images.read("back.png") == pytest.approx(0.25, abs=0.003)


def test_a_photo_that_is_only_called_so_is_painted_and_never_replaced(desk, capsys):
    picture("a.png")
    before = picture("a.negative.png", value=0.5).read_bytes()
    picture("a.b.png")
    assert stylized("a.b.png", "a.negative.png", "a.png") == 2
    assert Path("a.negative.png").read_bytes() == before
    assert is_negative("a.negative.negative.png", 0.5) and is_negative("a.b.negative.png")
    assert "a.png: a.negative.png: an input, which is never replaced" in capsys.readouterr().err


# -- outputs that would be one ----------------------------------------------------------------


def test_photos_of_one_name_and_several_formats_become_pictures_of_their_own(desk, capsys):
    for name, value in {"logo.png": 0.2, "logo.webp": 0.4, "logo.bmp.png": 0.6}.items():
        picture(f"in/{name}", value=value)
    Image.new("RGB", (8, 8), (204, 204, 204)).save("in/logo.bmp")
    for _ in range(2):
        assert stylized("in", "-o", "out") == 2  # logo.bmp would become logo.bmp.png too
        assert files_below("out") == ["logo.bmp.png", "logo.png", "logo.webp.png"]
        assert is_negative("out/logo.png", 0.2) and is_negative("out/logo.webp.png", 0.4)
        assert is_negative("out/logo.bmp.png", 0.6)
        told = capsys.readouterr().err
        assert "in/logo.bmp.png and in/logo.bmp would both become out/logo.bmp.png" in told
    assert stylized("in/logo.webp", "in/logo.png") == 0
    assert is_negative("in/logo.negative.png", 0.2)
    assert is_negative("in/logo.webp.negative.png", 0.4)


def test_one_name_in_two_folders_stops_the_second_alone(desk, capsys):
    picture("a/x.jpg")
    picture("b/x.jpg", value=0.5)
    picture("b/y.jpg")
    assert stylized("a", "b", "-o", "out") == 2
    assert files_below("out") == ["x.jpg", "y.jpg"] and is_negative("out/x.jpg")
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("tfstyle: error: b/x.jpg: a/x.jpg and b/x.jpg would both become out")
    assert told[1] == "tfstyle: 1 of 3 could not be stylized"


def test_an_input_is_never_replaced_and_the_others_are_painted(desk, capsys):
    before = picture("a.jpg").read_bytes()
    picture("photos/b.jpg")
    assert stylized("a.jpg", "photos/b.jpg", "-o", ".") == 2
    assert Path("a.jpg").read_bytes() == before and is_negative("b.jpg")
    assert "a.jpg: an input, which is never replaced" in capsys.readouterr().err


# -- large photos -----------------------------------------------------------------------------


def test_max_size_takes_photos_above_the_limit_and_the_error_names_the_flag(desk, capsys):
    picture("a.jpg", 400, 800)
    limit = ["--max_pixels", "100000"]
    assert stylized("a.jpg", *limit) == 2
    assert complaint(capsys).endswith(
        "a.jpg: 800x400 pixels, above the limit of 100000. Make it smaller or raise the limit. "
        "(--max_pixels 320000)\n"
    )
    assert stylized("a.jpg", "-o", "b.png", "--max_pixels", "320000") == 0
    assert stylized("a.jpg", "-o", "c.png", "--max_size", "200", *limit) == 0
    assert images.read("c.png").shape == (100, 200, 3) and is_negative("c.png")


def test_too_little_memory_is_told_before_a_photo_is_decoded(desk, capsys, monkeypatch):
    picture("a.jpg", 3000, 4000)
    monkeypatch.setattr(machine, "usable_memory", lambda: 300_000_000)
    monkeypatch.setattr(Image.Image, "load", None)
    assert stylized("a.jpg", "-o", "b.jpg") == 2
    line = complaint(capsys)
    assert "a.jpg: 4000x3000 pixels need about 0.5 GB of memory to be read" in line
    assert line.endswith("(--max_size 3162)\n")
    assert not Path("b.jpg").exists()


# -- what is kept of a photo ------------------------------------------------------------------


def dated(path) -> Path:
    exif = Image.Exif()
    exif.update({0x010F: "Phone", 0x0112: 6})
    exif.get_ifd(0x8769)[0x9003] = "2019:07:04 10:11:12"
    exif.get_ifd(0x8825).update({1: "N", 2: (47.0, 22.0, 30.0)})
    Image.new("RGB", (40, 24), (64, 64, 64)).save(path, exif=exif, dpi=(300, 300))
    return Path(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_a_painting_has_the_date_of_its_photo_and_not_its_place(desk, suffix):
    def kept(*flags):
        assert stylized("a.jpg", "-o", f"b{suffix}", *flags) == 0
        with Image.open(f"b{suffix}") as image:
            assert image.size == (24, 40)
            exif = image.getexif()
            return exif.get_ifd(0x8769).get(0x9003), bool(exif.get_ifd(0x8825)), exif.get(0x0112)

    dated("a.jpg")
    assert kept() == ("2019:07:04 10:11:12", False, None)
    assert kept("--metadata=all") == ("2019:07:04 10:11:12", True, None)
    assert kept("--metadata", "none") == (None, False, None)
    assert "AI-generated" in images.read_text(f"b{suffix}")["Description"]


def test_a_photo_from_standard_input_keeps_its_date_too(desk, capsysbinary, monkeypatch):
    file = io.BytesIO(dated("a.jpg").read_bytes())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file))
    assert stylized("-") == 0
    with Image.open(io.BytesIO(capsysbinary.readouterr().out)) as image:
        assert image.getexif().get_ifd(0x8769)[0x9003] == "2019:07:04 10:11:12"
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)


# -- animations -------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["b.webp", "b.png"])
@pytest.mark.parametrize("source", ["a.gif", "a.webp", "a.png"])
def test_all_frames_of_an_animation_are_painted(desk, source, target, capsys):
    if source == "a.gif":
        animation(source)
    else:
        animation(source, **({"quality": 100} if source == "a.webp" else {}))
    assert stylized(source, "-o", target, "--quality=100") == 0
    assert greys(target) == pytest.approx([235, 195, 155], abs=3)
    found = images.read_animation(Path(target).read_bytes())
    assert [length for _, length in found.frames] == [80, 80, 80] and found.plays == 0
    assert f"{source} -> {target} (40x24, 3 frames, " in capsys.readouterr().out
    assert "AI-generated" in images.read_text(target)["Description"]


def test_an_animation_becomes_one_beside_it_and_in_a_folder(desk, capsys):
    animation("a.gif")
    assert stylized("a.gif", "--json") == 0
    (made,) = json.loads(capsys.readouterr().out)["images"]
    assert (made["output"], made["frames"]) == ("a.negative.png", 3)
    assert len(greys("a.negative.png")) == 3


def test_where_there_is_no_animation_the_first_frame_is_painted_with_a_word(desk, capsys):
    animation("a.gif")
    assert stylized("a.gif", "-o", "b.jpg") == 0
    told = capsys.readouterr()
    assert told.err == (
        "tfstyle: a.gif: the first of 3 frames; .jpg holds no animation, .webp and .png do\n"
    )
    assert is_negative("b.jpg", 20 / 255)


def test_a_broken_frame_leaves_nothing_half_written(desk, capsys):
    data = animation("a.webp", 4).read_bytes()
    place = data.rindex(b"ANMF") + 40
    Path("a.webp").write_bytes(data[:place] + bytes(len(data) - place))
    assert stylized("a.webp", "-o", "b.webp") == 2
    assert "a.webp: truncated or damaged WEBP file" in capsys.readouterr().err
    assert sorted(os.listdir()) == ["a.webp", "saved_models"]


def test_an_animation_goes_through_standard_streams(desk, capsysbinary, monkeypatch):
    file = io.BytesIO(animation("a.gif").read_bytes())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file))
    assert stylized("-") == 0
    Path("b.png").write_bytes(capsysbinary.readouterr().out)
    assert greys("b.png") == [235, 195, 155]


def test_comparison_and_size_are_those_of_each_frame(desk):
    animation("a.gif")
    assert stylized("a.gif", "-o", "b.png", "--max_size", "20", "--compare") == 0
    found = images.read_animation(Path("b.png").read_bytes())
    for number, (image, _) in enumerate(found.frames):
        assert image.shape[0] == 12
        np.testing.assert_allclose(image[:, :20], (20 + 40 * number) / 255, atol=0.01)
