"""Files written whole or not at all."""

from tfstyle import files


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
