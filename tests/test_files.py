"""Files and folders are written whole or not at all."""

import json
import os
from concurrent import futures

import pytest

from tfstyle import files


def test_what_is_written_is_there_at_the_end_alone_and_takes_the_place_of_what_was(tmp_path):
    path = tmp_path / "a.png"
    path.write_text("before")
    with files.whole(path) as temporary:
        temporary.write_text("after")
        assert temporary.parent == tmp_path and temporary.suffix == ".png"
        assert temporary.name.startswith(".") and path.read_text() == "before"
    assert path.read_text() == "after" and os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt(), ValueError("x")])
def test_where_it_fails_nothing_is_left_and_what_was_stays(tmp_path, error):
    path = tmp_path / "a.json"
    path.write_text("before")
    with pytest.raises(type(error)), files.whole(path) as temporary:
        temporary.write_text("half of i")
        raise error
    assert path.read_text() == "before" and os.listdir(tmp_path) == ["a.json"]


def test_a_folder_takes_the_place_of_an_empty_one_only(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    for _ in range(2):
        try:
            with files.whole(path) as temporary:
                temporary.mkdir()
                (temporary / "file").write_text("x")
        except OSError:
            (path / "file").read_text()
    assert os.listdir(tmp_path) == ["folder"] and os.listdir(path) == ["file"]


def _write(path, letter):
    for _ in range(50):
        files.write_text(path, 20_000 * letter)


def test_of_two_who_write_at_once_one_wins_whole(tmp_path):
    path = tmp_path / "both.txt"
    with futures.ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(_write, path, letter) for letter in "ab"]:
            done.result()
    assert path.read_text() in (20_000 * "a", 20_000 * "b")
    assert os.listdir(tmp_path) == ["both.txt"]


def test_json_and_text_make_their_folder(tmp_path):
    assert files.write_json(tmp_path / "a/b.json", {"é": 1}) == tmp_path / "a/b.json"
    assert json.loads((tmp_path / "a/b.json").read_text("utf-8")) == {"é": 1}
    files.write_text(tmp_path / "a/c.txt", "星月夜")
    assert (tmp_path / "a/c.txt").read_text("utf-8") == "星月夜"


@pytest.fixture
def staged(tmp_path):
    """A folder with the files a and b, a folder f, and where they go: an older b is there."""
    source, target = tmp_path / "staged", tmp_path / "there"
    source.mkdir()
    target.mkdir()
    for name in "ab":
        (source / name).write_text(f"new {name}")
    (source / "f").mkdir()
    (source / "f" / "x").write_text("new x")
    (target / "b").write_text("old b")
    return source, target


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def moves(staged):
    source, target = staged
    return [(source / name, target / name) for name in ("f", "a", "b")]


NEW = {"a": "new a", "b": "new b", "f/x": "new x"}


def test_all_are_moved(staged):
    files.move_all(moves(staged))
    assert contents(staged[1]) == NEW and not list(staged[0].iterdir())


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("moved", [True, False])
def test_where_one_fails_none_is_moved(staged, monkeypatch, links, moved):
    replace = files.os.replace

    def fail(source, target):
        if source == staged[0] / "b":
            assert contents(staged[1]) == {**NEW, "b": "old b"}
            if moved:  # interrupted right after it
                replace(source, target)
            raise KeyboardInterrupt
        replace(source, target)

    def no_links(*_):
        raise OSError("no hard links here")

    monkeypatch.setattr(files.os, "replace", fail)
    if not links:
        monkeypatch.setattr(files.os, "link", no_links)
    with pytest.raises(KeyboardInterrupt):
        files.move_all(moves(staged))
    assert contents(staged[1]) == {"b": "old b"}
    left = contents(staged[0])
    assert {name: left[name] for name in NEW} == NEW


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "table.json"

    def write(temporary):
        temporary.write_text("half")
        # Another process comes, and is done before this one.
        files.write_text(path, "the other's")
        temporary.write_text("whole")

    assert files.write_whole(path, write) == path
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]
