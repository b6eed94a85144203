"""Checkpoints that are torn, lost or half-written, and two trainings in one folder."""

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys

import pytest
import tensorflow as tf

from tfstyle import training
from tfstyle.training import checkpoints, events, lock, strategy

ALONE = strategy.Workers(tf.distribute.get_strategy(), None)


def parts(value=0.0):
    return {"weights": tf.Variable(tf.fill([50, 20], value))}


def saved(folder, *numbers, keep=9):
    """`Checkpoints` in a folder, with those of these numbers, which their weights hold."""
    own = parts()
    found = checkpoints.Checkpoints(folder, keep, own)
    for number in numbers:
        own["weights"].assign(tf.fill([50, 20], float(number)))
        found.save(number, ALONE)
    return found


def resumed(folder):
    own = parts(-1.0)
    path = checkpoints.Checkpoints(folder, 9, own).resume()
    return path and os.path.basename(path), float(own["weights"][0, 0])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("state", [b"", bytes(300), None, b'model_checkpoint_path: "ckpt-9"\n'])
def test_the_small_file_that_names_the_newest_is_not_relied_on(tmp_path, state):
    saved(tmp_path, 2, 4)
    (tmp_path / "checkpoint").unlink()
    if state is not None:
        (tmp_path / "checkpoint").write_bytes(state)
    assert resumed(tmp_path) == ("ckpt-4", 4.0)


def cut(data):
    return data[: len(data) // 2]


def changed(data):
    return data[:40] + bytes([data[40] ^ 1]) + data[41:]


@pytest.mark.parametrize("suffix", ["index", "data-00000-of-00001"])
@pytest.mark.parametrize("damage", [cut, changed, lambda data: b"", lambda data: bytes(len(data))])
def test_one_that_is_torn_is_passed_over_in_one_line(tmp_path, capsys, suffix, damage):
    saved(tmp_path, 2, 4, 6)
    file = tmp_path / f"ckpt-6.{suffix}"
    file.write_bytes(damage(file.read_bytes()))
    assert resumed(tmp_path) == ("ckpt-4", 4.0)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{tmp_path}/ckpt-6: not whole (") and "taken ckpt-4, the newest" in line


def test_one_whose_data_are_gone_is_passed_over_and_one_without_an_index_is_none(tmp_path):
    saved(tmp_path, 2, 4, 6)
    (tmp_path / "ckpt-6.data-00000-of-00001").unlink()
    (tmp_path / "ckpt-4.index").unlink()
    assert resumed(tmp_path) == ("ckpt-2", 2.0)


def test_where_none_is_whole_nothing_starts_again_by_itself(tmp_path):
    saved(tmp_path, 2)
    (tmp_path / "ckpt-2.index").write_bytes(b"")
    with pytest.raises(training.TrainingError, match=r"ckpt-2: not whole .*--noresume"):
        resumed(tmp_path)
    assert resumed(tmp_path / "nothing") == (None, -1.0)


def test_so_many_are_kept_that_are_whole_and_the_torn_ones_go(tmp_path):
    saved(tmp_path, 2, 4, 6)
    (tmp_path / "ckpt-6.index").write_bytes(b"")
    found = checkpoints.Checkpoints(tmp_path, 2, parts())
    found.resume()
    (tmp_path / ".tfstyle-left").mkdir()  # by a kill while one was written
    found.save(7, ALONE)
    kept = ["ckpt-4", "ckpt-7"]
    suffixes = ["data-00000-of-00001", "index"]
    assert names(tmp_path) == ["checkpoint", *(f"{k}.{s}" for k in kept for s in suffixes)]
    # As TensorFlow's own tools find them.
    assert tf.train.latest_checkpoint(tmp_path) == str(tmp_path / "ckpt-7")


def test_one_of_a_number_that_is_there_takes_its_place(tmp_path):
    saved(tmp_path, 2, 4)
    (tmp_path / "ckpt-4.data-00000-of-00001").write_bytes(b"")
    found = checkpoints.Checkpoints(tmp_path, 2, parts(5.0))
    assert found.resume().endswith("ckpt-2")
    found.save(4, ALONE)
    assert resumed(tmp_path) == ("ckpt-4", 2.0)


@pytest.mark.parametrize("name", ["[2024] runs", "a*b", "what?", "[!x]", "{a,b}", "ümläut 星"])
def test_any_name_of_a_folder_will_do(tmp_path, name):
    saved(tmp_path / name, 1, 2, 3, keep=2)
    assert resumed(tmp_path / name) == ("ckpt-3", 3.0)
    assert "ckpt-1.index" not in names(tmp_path / name)
    shapes = checkpoints.shapes(checkpoints.newest(tmp_path / name))
    assert [50, 20] in shapes.values()


@contextlib.contextmanager
def files_of_at_most(size):
    """As a disk that is full: the system refuses to write more into a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_where_the_disk_is_full_the_earlier_one_stays_and_nothing_else(tmp_path):
    found = saved(tmp_path, 2)
    before = names(tmp_path)
    with pytest.raises(training.TrainingError, match=r"step 4 could not .*last good one.*ckpt-2"):
        with files_of_at_most(1000):
            found.save(4, ALONE)
    assert names(tmp_path) == before
    assert resumed(tmp_path) == ("ckpt-2", 2.0)


@pytest.mark.parametrize("stop", range(1, 12))
def test_a_kill_at_any_moment_of_writing_leaves_a_whole_one(tmp_path, monkeypatch, stop):
    """Each call that changes the folder is the last one, as after kill -9 or a loss of power."""
    found = saved(tmp_path / "folder", 2, 4, keep=2)
    calls = []

    class Killed(BaseException):
        pass

    def until(call):
        def called(*args, **options):
            calls.append(call)
            if len(calls) >= stop:
                # What lies there now is what the next process finds.
                shutil.copytree(tmp_path / "folder", tmp_path / "found", dirs_exist_ok=True)
                raise Killed
            return call(*args, **options)

        return called

    with monkeypatch.context() as patch:
        for module, name in ((os, "replace"), (os, "link"), (os, "unlink"), (os, "fsync")):
            patch.setattr(module, name, until(getattr(module, name)))
        with pytest.raises(Killed):
            found.save(6, ALONE)
    assert resumed(tmp_path / "found") in (("ckpt-4", 4.0), ("ckpt-6", 4.0))


# The rest of a run's folder


def fit(tmp_path, steps=4, resume=True, **more):
    """A run of a variable that counts the steps; returns those that it took."""
    options = training.Options(
        steps=steps, checkpoint_every=2, log_every=1, validate_every=2, resume=resume,
        runs=str(tmp_path),
    )  # fmt: skip
    count = tf.Variable(0.0)

    def step(_):
        count.assign_add(1.0)
        return {"loss": count * 1.0}

    taken = []
    training.fit(
        step,
        batches=lambda skip: (tf.data.Dataset.from_tensors(0.0).repeat(), []),
        state={"count": count},
        run=training.open_folder("run", options, {"width": 2}),
        options=options,
        validate=lambda: {"distance": float(10 - count)},
        **({"callback": lambda progress: taken.append(progress.step)} | more),
    )
    return taken


@pytest.mark.parametrize("content", [b"{", b"[]", None])
def test_options_that_are_lost_do_not_start_a_run_again(tmp_path, capsys, content):
    fit(tmp_path)
    file = tmp_path / "run/options.json"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    assert fit(tmp_path, steps=6) == [5, 6]
    told = [line for line in capsys.readouterr().err.splitlines() if str(file) in line]
    assert len(told) == 1 and "gone or torn; the run goes on" in told[0]
    assert json.loads(file.read_text())["width"] == 2


def test_torn_validations_are_left_out_and_the_best_is_known_all_the_same(tmp_path, capsys):
    fit(tmp_path, steps=6)
    file = tmp_path / "run/validation.jsonl"
    file.write_text(file.read_text()[:-12] + "\n\0\0\0")
    (tmp_path / "run/losses.json").write_text("")
    (tmp_path / "run/best/figures.json").write_text('{"st')
    assert fit(tmp_path, steps=8) == [7, 8]
    told = [line for line in capsys.readouterr().err.splitlines() if str(file) in line]
    assert told == [f"{file}: left out 2 of its lines, which are torn."]
    steps = [json.loads(line)["step"] for line in file.read_text().splitlines()]
    assert steps == [2, 4, 6, 8]
    best = json.loads((tmp_path / "run/best/figures.json").read_text())
    assert best == {"step": 8, "distance": 2.0}


def logged(folder):
    """The steps at which "loss" was logged, of all files."""
    return sorted(
        event.step
        for file in folder.rglob("*tfevents*")
        for event in tf.compat.v1.train.summary_iterator(str(file))
        for value in event.summary.value
        if value.tag == "loss"
    )


def test_tensorboard_shows_each_step_once_after_a_crash_and_of_the_new_run_only(tmp_path):
    class Killed(Exception):
        pass

    def kill(progress):
        if progress.step == 6:
            raise Killed

    with pytest.raises(Killed):
        fit(tmp_path, steps=9, callback=kill)
    (file,) = (tmp_path / "run/logs").iterdir()
    with file.open("ab") as torn:
        torn.write(b"\x07\0\0\0half")
    assert fit(tmp_path, steps=9) == [5, 6, 7, 8, 9]
    assert logged(tmp_path / "run/logs") == list(range(1, 10))
    (tmp_path / "run/samples").mkdir()
    (tmp_path / "run/samples/000900.png").touch()
    assert fit(tmp_path, steps=3, resume=False) == [1, 2, 3]
    assert logged(tmp_path / "run/logs") == [1, 2, 3]
    assert not (tmp_path / "run/samples").exists()


def test_a_log_without_later_steps_is_left_as_it_is(tmp_path):
    with tf.summary.create_file_writer(str(tmp_path / "below")).as_default(step=4):
        tf.summary.scalar("loss", 1.0)
        tf.summary.flush()
    (file,) = (tmp_path / "below").iterdir()
    before = file.stat()
    events.cut(tmp_path, 4)
    assert file.stat() == before and logged(tmp_path) == [4]
    events.cut(tmp_path, 3)
    assert logged(tmp_path) == []


def test_a_second_training_in_a_folder_is_refused(tmp_path):
    refused = []

    def start_another(progress):
        if not refused:
            with pytest.raises(training.TrainingError) as caught:
                fit(tmp_path)
            refused.append(str(caught.value))

    fit(tmp_path, callback=start_another)
    (line,) = refused
    assert line.startswith(f"{tmp_path}/run: another training runs in it (process {os.getpid()})")
    assert fit(tmp_path, steps=5) == [5]


def test_a_lock_does_not_outlive_a_process_that_is_killed(tmp_path):
    program = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX); "
    program += "print(flush=True); sys.stdin.read()"
    (tmp_path / ".lock").touch()
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / ".lock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        holder.stdout.readline()
        with pytest.raises(training.TrainingError, match=r"process unknown"):
            with lock.only_one(tmp_path):
                pass
        holder.kill()
    with lock.only_one(tmp_path):
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"


def test_a_folder_in_which_nothing_was_written_goes_again(tmp_path):
    with lock.only_one(tmp_path / "runs/a"):
        pass
    assert os.listdir(tmp_path) == []
    with lock.only_one(tmp_path / "runs/a"):
        (tmp_path / "runs/a/options.json").touch()
    assert names(tmp_path / "runs/a") == [".lock", "options.json"]


def test_without_locks_a_training_runs_all_the_same(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", none)
    with lock.only_one(tmp_path / "new"), lock.only_one(tmp_path / "new"):
        assert os.listdir(tmp_path) == ["new"]
