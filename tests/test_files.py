"""Files and folders are written whole or not at all."""

import errno
import json
import os
import pathlib
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time
from concurrent import futures

import keras
import numpy as np
import pytest
import tensorflow as tf

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


def test_a_folder_is_replaced_and_where_that_fails_the_earlier_one_is_there(staged, monkeypatch):
    source, target = staged
    (target / "f").mkdir()
    (target / "f" / "y").write_text("old y")
    replace = files.os.replace

    def fail(here, there):
        if here == source / "b":
            raise OSError("full")
        replace(here, there)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", fail)
        with pytest.raises(OSError, match="full"):
            files.move_all(moves(staged))
    assert contents(target) == {"b": "old b", "f/y": "old y"}
    files.move_all(moves(staged))
    assert contents(target) == NEW and not list(source.iterdir())


# What the system refuses


@pytest.fixture
def small_files():
    """As a full disk: the system writes no file of more than 100 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def network(path):
    keras.Sequential([keras.Input((9,)), keras.layers.Dense(9)]).save(path)


def saved_model(path):
    tf.saved_model.save(tf.Module(), str(path))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("text.txt", lambda path: path.write_text(1000 * "x")),
        ("arrays.npz", lambda path: np.savez(path, np.zeros(1000))),
        ("network.keras", network),
        ("bytes", lambda path: tf.io.write_file(str(path), bytes(1000))),
        ("model", saved_model),
        ("folder", lambda path: path.joinpath("none", "file").write_bytes(b"")),
        ("copy", lambda path: shutil.copyfile(__file__, path)),
        ("copies", lambda path: shutil.copytree(pathlib.Path(__file__).parent / "images", path)),
    ],
)
def test_an_error_names_the_file_that_is_wanted_and_nothing_is_left(
    tmp_path, small_files, name, write
):
    with pytest.raises(OSError) as caught, files.whole(tmp_path / name) as temporary:
        write(temporary)
    assert caught.value.filename == str(tmp_path / name) and caught.value.errno
    assert os.listdir(tmp_path) == []
    with pytest.raises(OSError) as caught, files.staging(tmp_path) as folder:
        write(folder / name)
    assert caught.value.filename == str(tmp_path) and os.listdir(tmp_path) == []


def test_errors_of_other_files_keep_their_names(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, files.whole(tmp_path / "a"):
        (tmp_path / "other").read_text()
    assert caught.value.filename == str(tmp_path / "other")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_what_a_file_system_tells_only_when_it_is_asked_to_sync_counts(
    tmp_path, monkeypatch, number
):
    def full(_):
        raise OSError(number, os.strerror(number))

    (tmp_path / "a").write_text("before")
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError) as caught:
        files.write_text(tmp_path / "a", "after")
    assert (caught.value.errno, caught.value.filename) == (number, str(tmp_path / "a"))
    assert (tmp_path / "a").read_text() == "before" and os.listdir(tmp_path) == ["a"]


def test_where_folders_cannot_be_synced_files_are_written_all_the_same(tmp_path, monkeypatch):
    fsync = os.fsync

    def of_files_alone(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "no")
        fsync(descriptor)

    monkeypatch.setattr(files.os, "fsync", of_files_alone)
    assert files.write_text(tmp_path / "a", "x").read_text() == "x"


def test_a_file_is_on_the_disk_before_it_has_its_name_and_then_its_folder(tmp_path, monkeypatch):
    calls = []

    def note(name):
        own = getattr(os, name)

        def called(*args):
            if name == "fsync":
                calls.append("folder" if stat.S_ISDIR(os.fstat(args[0]).st_mode) else "file")
            else:
                calls.append(name)
            return own(*args)

        monkeypatch.setattr(files.os, name, called)

    note("fsync")
    note("replace")
    files.write_text(tmp_path / "a", "x")
    assert calls == ["file", "replace", "folder"]


def test_tensorflows_words_for_what_the_system_refuses_are_understood(tmp_path, small_files):
    with pytest.raises(tf.errors.OpError) as caught:
        tf.io.write_file(str(tmp_path / "a b.txt"), bytes(1000))
    refused = files.refusal(caught.value)
    assert refused.filename == str(tmp_path / "a b.txt") and refused.errno == errno.EFBIG
    wrapped = RuntimeError("of another library")
    wrapped.__cause__ = caught.value
    assert files.refusal(wrapped).filename == refused.filename
    wrapped.__cause__ = OSError(errno.ENOSPC, "full", "a")
    assert files.refusal(wrapped) is wrapped.__cause__
    assert files.refusal(ValueError("a; No space left on device")) is None
    other = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating a tensor")
    assert files.refusal(other) is None


@pytest.mark.parametrize("name", ["[2024]", "a*b", "ordinary"])
def test_tensorflow_reads_from_a_folder_of_any_name(tmp_path, name):
    module = tf.Module()
    module.value = tf.Variable(3.0)
    tf.saved_model.save(module, str(tmp_path / name))
    with files.plain(tmp_path / name) as folder:
        assert float(tf.saved_model.load(str(folder)).value) == 3.0
    assert os.listdir(tmp_path) == [name]


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    for name in ("a.png", ".hidden", "ckpt-1.index"):
        (tmp_path / name).touch()
    with files.whole(tmp_path / "b.png") as left:
        left.touch()
        files.remove_left(tmp_path)
        left.touch()
    with files.staging(tmp_path) as folder:
        (folder / "x").touch()
        files.remove_left(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".hidden", "a.png", "b.png", "ckpt-1.index"]


_WRITER = """
import os, signal, sys
from tfstyle import files

with files.staging(sys.argv[1]) as folder, files.whole(sys.argv[1] + "/a.png") as path:
    (folder / "half").write_bytes(b"x")
    path.write_bytes(b"x")
    print("there", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_writer_left_goes_with_the_next_write_and_a_living_ones_stays(tmp_path):
    command = [sys.executable, "-c", _WRITER, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as dead, subprocess.Popen(command, **pipes) as living:
        for writer in (dead, living):
            assert writer.stdout.readline() == b"there\n"
        both = set(os.listdir(tmp_path))
        dead.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)  # not even waited for
        with files.staging(tmp_path):
            left = set(os.listdir(tmp_path)) & both
        assert len(both) == 4 and len(left) == 2
        assert all(f"-{living.pid}-" in name for name in left)
        living.stdin.close()
        assert living.wait() == 0
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize("name", [".tfstyle-0123456789abcdef.png", ".tfstyle-00000000-1-ab"])
def test_of_other_machines_what_did_not_change_for_a_day_goes(tmp_path, name):
    def touched(path, hours):
        then = time.time() - 3600 * hours
        os.utime(path, (then, then))

    for hours, stays in ((23, True), (25, False)):
        folder = tmp_path / str(hours)
        (folder / name / "model").mkdir(parents=True)
        (folder / f"{name}.file").touch()
        (folder / "photo").mkdir()
        for path in (*folder.rglob("*"), folder):
            touched(path, hours)
        files.write_text(folder / "a", "x")
        assert (folder / name).exists() == (folder / f"{name}.file").exists() == stays
        assert (folder / "photo").exists()
    folder = tmp_path / "inner"
    (folder / name).mkdir(parents=True)
    (folder / name / "still_written").touch()
    touched(folder / name, 25)
    files.write_text(folder / "a", "x")
    assert (folder / name).exists()


def test_what_is_no_longer_there_or_cannot_be_removed_stops_no_write(tmp_path, monkeypatch):
    (tmp_path / ".tfstyle-link").symlink_to(tmp_path / "none")
    os.utime(tmp_path / ".tfstyle-link", (0, 0), follow_symlinks=False)
    (tmp_path / ".tfstyle-folder").mkdir()
    os.utime(tmp_path / ".tfstyle-folder", (0, 0))
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    files.write_text(tmp_path / "a", "x")
    assert sorted(os.listdir(tmp_path)) == [".tfstyle-folder", "a"]
