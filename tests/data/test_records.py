"""records: written whole or not at all, read at random and by TensorFlow; the command."""

import hashlib
import itertools
import json
import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfstyle import cli, data, images
from tfstyle.data import records

SOME = [(f"{i}.jpg", bytes([i]) * (50 + 7 * i)) for i in range(7)]


def written(folder, shards=3):
    records.write(folder, SOME, shards=shards)
    return records.Records(folder)


@pytest.mark.parametrize("shards", [1, 3, 7])
def test_every_image_is_read_at_random_as_it_was_written(tmp_path, shards):
    read = written(tmp_path / "r", shards)
    assert len(read) == 7
    for i in (6, 0, 3, 3, 5, 1, 2, 4):
        assert read.read(i) == SOME[i]


def test_tensorflow_reads_the_shards(tmp_path):
    paths = records.write(tmp_path / "r", SOME, shards=3)
    assert [path.name for path in paths] == [f"images-0000{i}-of-00003.tfrecord" for i in range(3)]
    spec = {key: tf.io.FixedLenFeature([], tf.string) for key in ("image", "name")}
    for shard, path in enumerate(paths):
        dataset = tf.data.TFRecordDataset(str(path))
        examples = dataset.map(lambda record: tf.io.parse_single_example(record, spec))
        read = [(e["name"].decode(), e["image"]) for e in examples.as_numpy_iterator()]
        assert read == SOME[shard::3]


def test_the_index_tells_count_versions_sizes_and_sums(tmp_path):
    paths = records.write(tmp_path / "r", SOME, shards=2)
    index = json.loads((tmp_path / "r" / records.INDEX).read_text())
    assert (index["version"], index["tensorflow"], index["count"]) == (1, tf.__version__, 7)
    for path, shard in zip(paths, index["shards"], strict=True):
        stored = path.read_bytes()
        assert shard["file"] == path.name and shard["bytes"] == len(stored)
        assert shard["sha256"] == hashlib.sha256(stored).hexdigest()
        assert shard["offsets"][0] == 0 and len(shard["offsets"]) in (3, 4)


def test_names_that_are_not_text_come_back(tmp_path):
    name = os.fsdecode(b"\xff\xfe.jpg")
    records.write(tmp_path / "r", [(name, b"x")], shards=1)
    assert records.Records(tmp_path / "r").read(0) == (name, b"x")


def test_what_fails_leaves_nothing_behind(tmp_path):
    def failing():
        yield from SOME
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        records.write(tmp_path / "r", failing(), shards=2)
    with pytest.raises(records.RecordsError, match="7 images for 8 shards: give at most as many"):
        records.write(tmp_path / "r", SOME, shards=8)
    with pytest.raises(records.RecordsError, match="shards 0: give at least 1"):
        records.write(tmp_path / "r", SOME, shards=0)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_not_replaced(tmp_path):
    (tmp_path / "empty").mkdir()
    assert len(written(tmp_path / "empty")) == 7
    before = sorted((tmp_path / "empty").iterdir())
    with pytest.raises(records.RecordsError, match="empty: exists. Remove it, or give another"):
        written(tmp_path / "empty")
    assert sorted((tmp_path / "empty").iterdir()) == before
    (tmp_path / "file").touch()
    with pytest.raises(records.RecordsError, match="file: exists"):
        written(tmp_path / "file")


@pytest.mark.parametrize("place", [0, 9, 14, 40, -2])
def test_a_flipped_bit_is_seen_in_its_record_alone(tmp_path, place):
    path = records.write(tmp_path / "r", SOME, shards=1)[0]
    read = records.Records(tmp_path / "r")
    start, end = json.loads((tmp_path / "r/index.json").read_text())["shards"][0]["offsets"][2:4]
    stored = bytearray(path.read_bytes())
    stored[(start if place >= 0 else end) + place] ^= 4
    path.write_bytes(stored)
    read = records.Records(tmp_path / "r")
    with pytest.raises(records.RecordsError, match=rf"damaged at byte {start} \(checksum\)"):
        read.read(2)
    assert [read.read(i) for i in (1, 3)] == [SOME[1], SOME[3]]


def test_missing_and_torn_shards_are_named(tmp_path):
    path = records.write(tmp_path / "r", SOME, shards=2)[1]
    size = path.stat().st_size
    os.truncate(path, size - 1)
    with pytest.raises(records.RecordsError, match=f"00001-of-00002.tfrecord: torn: {size - 1} by"):
        records.Records(tmp_path / "r")
    path.unlink()
    with pytest.raises(records.RecordsError, match="00001-of-00002.tfrecord: missing. Copy it ag"):
        records.Records(tmp_path / "r")


def test_a_folder_without_an_index_or_with_a_damaged_one_is_an_error(tmp_path):
    with pytest.raises(records.RecordsError, match="no records in it .*tfstyle records wrote"):
        records.Records(tmp_path)
    written(tmp_path / "r")
    index = tmp_path / "r" / records.INDEX
    good = json.loads(index.read_text())
    with pytest.raises(records.RecordsError, match="of version 2, not 1"):
        index.write_text(json.dumps(good | {"version": 2}))
        records.Records(tmp_path / "r")
    for bad in ("{", "[]", "{}", json.dumps(good | {"count": 8}), json.dumps(good | {"shards": 3})):
        index.write_text(bad)
        with pytest.raises(records.RecordsError, match="index.json: damaged"):
            records.Records(tmp_path / "r")


# --- training on them


@pytest.fixture
def photos(tmp_path):
    """Six pictures in which no two crops are alike, of several formats, one turned by EXIF."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    for i, name in enumerate(["a.png", "b.jpg", "c.bmp", "d.jpg", "e.gif", "below/f.jpg"]):
        picture = Image.fromarray(rng.integers(0, 256, (30 + 5 * i, 50 - 3 * i, 3), np.uint8))
        picture.save(folder / name, **({"exif": exif} if i == 3 else {}))
    return folder


def first(source, count=6, **options):
    dataset, report = data.image_batches(source, batch_size=4, crop_size=16, **options)
    return np.stack(list(itertools.islice(dataset.as_numpy_iterator(), count))), report


def run(*arguments):
    return cli.main(["records", *map(str, arguments)])


def test_training_on_records_is_training_on_the_folder_bit_for_bit(tmp_path, photos, capsys):
    assert run(photos, "-o", tmp_path / "r", "--shards", 4) == 0
    assert "6 images, 4 shards" in capsys.readouterr().out
    whole, _ = first(photos, seed=3)
    from_records, report = first(f"records:{tmp_path / 'r'}", seed=3)
    np.testing.assert_array_equal(from_records, whole)
    assert (report.total, report.seen, report.skipped) == (6, 6, [])
    resumed, _ = first(f"records:{tmp_path / 'r'}", seed=3, skip=2, count=4)
    np.testing.assert_array_equal(resumed, whole[2:])
    parts = [first(f"records:{tmp_path / 'r'}", seed=3, shard=(i, 2))[0] for i in range(2)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_images_are_named_by_their_path_below_the_folder(tmp_path, photos):
    run(photos, "-o", tmp_path / "r")
    read = records.Records(tmp_path / "r")
    names = [read.read(i)[0] for i in range(6)]
    assert names == ["a.png", "b.jpg", "below/f.jpg", "c.bmp", "d.jpg", "e.gif"]


def test_records_mix_with_folders_and_are_written_from_records(tmp_path, photos):
    run(photos, "-o", tmp_path / "r")
    _, report = first(f"records:{tmp_path / 'r'},{photos}", count=1)
    assert report.total == 12
    assert run(f"records:{tmp_path / 'r'}", "-o", tmp_path / "again", "--shards", 6) == 0
    again, _ = first(f"records:{tmp_path / 'again'}")
    np.testing.assert_array_equal(again, first(photos)[0])


def test_max_size_shrinks_what_is_larger(tmp_path, photos):
    run(photos, "-o", tmp_path / "r", "--max_size", 40)
    read = records.Records(tmp_path / "r")
    for i, path in enumerate(images.list_images(photos)):
        _, encoded = read.read(i)
        image, expected = images.decode_bytes(encoded), images.fit(images.read(path), 40)
        assert image.shape == expected.shape and max(image.shape) <= 40
        assert encoded.startswith(b"\xff\xd8" if path.suffix == ".jpg" else b"\x89PNG")
        assert np.abs(image - expected).mean() < 0.05


def test_unreadable_images_are_left_out_and_named(tmp_path, capsys):
    for i in range(20):
        Image.new("RGB", (9, 9), (i, i, i)).save(tmp_path / f"{i:02}.png")
    for i in (3, 15):
        (tmp_path / f"{i:02}.png").write_bytes(b"%PDF-1.7")
    assert run(tmp_path, "-o", tmp_path / "r") == 0
    out, err = capsys.readouterr()
    assert "18 images, 1 shards" in out
    assert err.count("left out: ") == 2 and "03.png: not an image (first bytes" in err
    (tmp_path / "05.png").write_bytes(b"")
    assert run(tmp_path, "-o", tmp_path / "s") == 2
    assert "3 of 20 images cannot be read, the limit is 10%" in capsys.readouterr().err
    assert not (tmp_path / "s").exists() and not list(tmp_path.glob(".tfstyle*"))


def test_damaged_records_count_as_unreadable_and_missing_ones_end_at_once(tmp_path, photos):
    run(photos, "-o", tmp_path / "r")
    path = next((tmp_path / "r").glob("*.tfrecord"))
    stored = bytearray(path.read_bytes())
    stored[100] ^= 1
    path.write_bytes(stored)
    _, report = first(f"records:{tmp_path / 'r'}")
    ((name, reason),) = report.skipped
    assert name == f"records:{tmp_path / 'r'}#0" and "damaged at byte 0 (checksum)" in reason
    with pytest.raises(data.DataError, match="1 of 6 images cannot be read"):
        report.check()
    path.unlink()
    with pytest.raises(data.DataError, match="missing"):
        first(f"records:{tmp_path / 'r'}")


def test_wrong_arguments_are_one_line_and_exit_code_2(tmp_path, photos, capsys):
    assert run(tmp_path / "nowhere", "-o", tmp_path / "r") == 2
    assert run(photos, "-o", tmp_path / "r", "--shards", 7) == 2
    assert run(photos, "-o", photos) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.rpartition(": ")[0] != "" for line in lines] == [True] * 3
    assert "6 images for 7 shards" in lines[1] and "exists" in lines[2]
