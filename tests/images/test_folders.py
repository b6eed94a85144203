"""images.folders: which files of a folder are images, and that nothing else is passed over."""

import os
import sys

import pytest

from tests.pictures import encoded, picture
from tfstyle import images


def test_list_images_is_recursive_and_sorted(tmp_path):
    names = ["b.JPG", "a/z.png", "a/b/c.tiff", "c.webp", "e.jfif", "f.jpe", "g.avif.jpg"]
    for name in [*names, "notes.txt", ".hidden.png", "a/._z.png", ".thumbs/t.png", "d.svg"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = images.find_images(tmp_path)
    assert found.images == sorted(tmp_path / name for name in names)
    assert [path.name for path, _ in found.left_out] == ["d.svg", "notes.txt"]
    assert images.list_images(tmp_path) == found.images
    assert images.list_images(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]
    with pytest.raises(images.ImageError, match="nowhere: no such file or folder"):
        images.list_images(tmp_path / "nowhere")


def test_an_image_under_another_suffix_is_known_by_its_content(tmp_path):
    for name in ("photo", "photo.bak", "photo.jpg_large"):
        (tmp_path / name).write_bytes(encoded(picture(), "JPEG"))
    (tmp_path / "notes").write_text("no image")
    found = images.find_images(tmp_path)
    assert [path.name for path in found.images] == ["photo", "photo.bak", "photo.jpg_large"]
    assert found.told() == f"1 left out: {tmp_path / 'notes'} (no image)"


def test_what_is_left_out_is_counted_and_named_by_reason(tmp_path, monkeypatch):
    for name in ("1.txt", "2.txt", "3.txt", "4.txt", "5.txt"):
        (tmp_path / name).write_text("x")
    (tmp_path / "x.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as where it is not installed
    monkeypatch.chdir(tmp_path)
    found = images.find_images(".")
    assert found.images == []
    assert found.told() == (
        "6 left out: 1.txt, 2.txt, 3.txt and 2 more (no image); x.heic (HEIC needs pillow_heif, "
        "which is not installed: pip install 'tfstyle[heic]')"
    )
    with pytest.raises(images.ImageError, match=r"x.heic: HEIC needs .*'tfstyle\[heic\]'\.$"):
        images.read("x.heic")


def test_nothing_left_out_is_nothing_told(tmp_path):
    (tmp_path / "a.png").touch()
    assert images.find_images(tmp_path).told() == ""


def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    os.mkfifo(tmp_path / "b")
    found = images.find_images(tmp_path)
    assert found.images == []
    assert [reason for _, reason in found.left_out] == ["no file", "no file"]


def link(path, target):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target, target_is_directory=True)


def test_links_to_folders_are_followed(tmp_path):
    for name in ("nas/2023/b.jpg", "nas/2023/deep/c.jpg", "photos/a.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    link(tmp_path / "photos/2023", tmp_path / "nas/2023")
    found = images.find_images(tmp_path / "photos")
    below = [path.relative_to(tmp_path / "photos").as_posix() for path in found.images]
    assert below == ["2023/b.jpg", "2023/deep/c.jpg", "a.jpg"]
    assert found.left_out == []


def test_links_in_a_circle_end_and_each_image_comes_once(tmp_path):
    for name in ("photos/x/a.jpg", "photos/y/b.jpg", "other/c.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    photos = tmp_path / "photos"
    link(photos / "up", tmp_path)
    link(photos / "self", ".")
    link(photos / "x/other", photos / "y")
    link(photos / "y/other", photos / "x")
    link(photos / "more", tmp_path / "other")
    link(photos / "again", tmp_path / "other")
    link(tmp_path / "other/back", photos)
    found = images.find_images(photos)
    below = sorted(path.relative_to(photos).as_posix() for path in found.images)
    assert below in (["again/c.jpg", "x/a.jpg", "y/b.jpg"], ["more/c.jpg", "x/a.jpg", "y/b.jpg"])
    assert len(found.left_out) == 6
    assert found.told().startswith("6 left out: ") and "searched anyway" in found.told()


def test_a_link_that_leads_nowhere_is_named_when_it_is_read(tmp_path):
    (tmp_path / "a.jpg").symlink_to("gone.jpg")
    (tmp_path / "b").symlink_to("gone")
    found = images.find_images(tmp_path)
    assert [path.name for path in found.images] == ["a.jpg"]
    assert [path.name for path, _ in found.left_out] == ["b"]
    with pytest.raises(images.ImageError, match="a.jpg: no such file"):
        images.read(tmp_path / "a.jpg")
