"""Several files moved to their places, all or none."""

import pytest

from tfstyle import files


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
