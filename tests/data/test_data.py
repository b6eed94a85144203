"""data: order, crops and resumption as functions of the seed; bad files; folders and TFDS."""

import itertools
import os
import shutil
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, strategies as st
from PIL import Image
from tensorflow_datasets.core.utils import file_utils

from tfstyle import data, export, images
from tfstyle.data import batches, records, sources, tfds_builder

CROP = 16


def taken(dataset, count):
    return [batch.numpy() for batch in itertools.islice(dataset, count)]


def make(source, batch_size=2, crop_size=CROP, **options):
    return data.image_batches(source, batch_size=batch_size, crop_size=crop_size, **options)


def flat(value, size=(20, 24)):
    """A picture of one grey value, by which a crop tells where it comes from."""
    return Image.new("RGB", size, (value, value, value))


def values(crops):
    """The grey values of flat crops, as uint8."""
    return [int(v) for v in images.to_uint8(np.asarray(crops))[:, 0, 0, 0]]


@pytest.fixture
def folder(tmp_path):
    """Seven flat pictures of different sizes and values 10, 20, ... 70, one in a folder below."""
    (tmp_path / "below").mkdir()
    for i in range(1, 8):
        name = "below/7.PNG" if i == 7 else f"{i}.png"
        flat(10 * i, (10 + 7 * i, 40 - 3 * i)).save(tmp_path / name)
    return tmp_path


@pytest.fixture
def noise(tmp_path):
    """Three pictures in which no two crops are alike."""
    rng = np.random.default_rng(0)
    for i, size in enumerate([(40, 30), (25, 60), (33, 33)]):
        images.write(tmp_path / f"{i}.png", rng.random((*size, 3)).astype(np.float32))
    return tmp_path


def test_what_a_folder_holds_and_is_not_read_is_told_once(folder, caplog):
    (folder / "notes.txt").write_text("no image")
    (folder / "below" / "list.csv").write_text("no image")
    for _ in range(2):
        _, report = make(folder)
    assert report.total == 7
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        f"{folder}: 2 left out: {folder}/below/list.csv, {folder}/notes.txt (no image)"
    )


def test_photos_above_the_pixel_limit_are_taken_where_they_are_made_small(tmp_path, monkeypatch):
    Image.new("RGB", (900, 600), (90, 90, 90)).save(tmp_path / "a.jpg")
    Image.new("RGB", (200, 100), (90, 90, 90)).save(tmp_path / "b.png")
    asked = []
    decode = images.decode_bytes

    def limited(stored, **options):
        asked.append(options.get("max_size"))
        return decode(stored, **options, max_pixels=100_000)

    monkeypatch.setattr(images, "decode_bytes", limited)
    found, report = data.checked_images(tmp_path, max_size=100)
    sizes = [decode(stored).shape[:2] for _, stored, _ in found]
    assert sizes == [(67, 100), (50, 100)] and not report.skipped
    assert asked == [100, 100]


def test_images_of_linked_folders_and_of_any_suffix_are_read(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    flat(80).save(other / "8.png")
    (other / "8.png").rename(other / "8")
    (folder / "linked").symlink_to(other)
    (folder / "self").symlink_to(folder)
    assert make(folder)[1].total == 8


def test_batches_have_the_size_and_range_asked_for(noise):
    dataset, report = make(noise, batch_size=5, crop_size=24)
    assert dataset.element_spec == tf.TensorSpec([5, 24, 24, 3], tf.float32)
    for batch in taken(dataset, 3):
        assert batch.shape == (5, 24, 24, 3) and batch.dtype == np.float32
        assert 0 <= batch.min() and batch.max() <= 1 and batch.std() > 0.05
    assert (report.total, report.seen, report.skipped) == (3, 3, [])
    report.check()


def test_every_epoch_holds_every_image_once_in_an_order_of_its_own(folder):
    dataset, report = make(folder, batch_size=7)
    epochs = [values(batch) for batch in taken(dataset, 4)]
    for epoch in epochs:
        assert sorted(epoch) == [10, 20, 30, 40, 50, 60, 70]
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert report.total == 7


def test_order_is_that_of_the_seed_and_the_epoch(folder):
    dataset, _ = make(folder, batch_size=7, seed=3)
    listed = [images.read(path)[0, 0, 0] for path in images.list_images(folder)]
    for epoch, batch in enumerate(taken(dataset, 2)):
        expected = np.array(listed)[data.order(7, 3, epoch)]
        np.testing.assert_allclose(batch[:, 0, 0, 0], expected, atol=1e-5)


def test_one_seed_gives_one_sequence_and_another_seed_another(noise):
    first, again, other = (np.stack(taken(make(noise, seed=seed)[0], 4)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("skip", [0, 1, 4, 11])
def test_skipping_continues_bit_for_bit_within_and_across_epochs(noise, skip):
    whole = taken(make(noise, seed=5)[0], 13)
    resumed = taken(make(noise, seed=5, skip=skip)[0], 2)
    np.testing.assert_array_equal(resumed, whole[skip : skip + 2])


def test_skipping_far_costs_nothing(noise):
    assert len(taken(make(noise, skip=10**12)[0], 1)) == 1


def test_crops_differ_from_epoch_to_epoch(tmp_path):
    rng = np.random.default_rng(0)
    images.write(tmp_path / "a.png", rng.random((64, 64, 3)).astype(np.float32))
    crops = np.concatenate(taken(make(tmp_path, batch_size=4)[0], 2))
    for a, b in itertools.combinations(crops, 2):
        assert np.abs(a - b).max() > 0.05


def test_crops_come_from_the_whole_picture_at_every_scale(tmp_path):
    # Red grows to the right, green downwards, so a crop's corners tell where it was cut.
    y, x = np.mgrid[0:64, 0:96] / 95
    images.write(tmp_path / "a.png", np.stack([x, y, 0 * x], -1).astype(np.float32))
    dataset, _ = make(tmp_path, batch_size=64, flip=False)
    crops = np.concatenate(taken(dataset, 2)) * 95
    left, right = crops[..., 0].mean(1)[:, 0], crops[..., 0].mean(1)[:, -1]
    top, bottom = crops[..., 1].mean(2)[:, 0], crops[..., 1].mean(2)[:, -1]
    side = (right - left) * CROP / (CROP - 1)
    np.testing.assert_allclose(bottom - top, right - left, atol=0.6)  # square
    assert 64 / 1.6 - 2 < side.min() < 43 and 60 < side.max() < 64 + 2
    assert left.min() < 4 and right.max() > 91 and top.min() < 4 and bottom.max() > 59


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_scale_1_of_a_square_is_the_mean_of_its_blocks(tmp_path, suffix):
    images.write(tmp_path / f"a{suffix}", np.random.default_rng(0).random((32, 32, 3)))
    dataset, _ = make(tmp_path, scale=(1, 1), flip=False)
    image = images.read(tmp_path / f"a{suffix}")
    blocks = image.reshape(CROP, 2, CROP, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(taken(dataset, 1)[0][0], blocks, atol=1.01 / 255)


def test_a_crop_that_is_no_smaller_than_its_source_is_that_source(tmp_path):
    images.write(tmp_path / "a.png", np.random.default_rng(0).random((CROP, CROP, 3)))
    dataset, _ = make(tmp_path, scale=(1, 1), flip=False)
    np.testing.assert_allclose(taken(dataset, 1)[0][0], images.read(tmp_path / "a.png"), atol=1e-6)


@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_part_of_a_jpeg_is_what_decoding_all_of_it_gives(
    tmp_path, monkeypatch, mode, subsampling
):
    rng = np.random.default_rng(0)
    for i, size in enumerate([(40, 53), (61, 33), (CROP, CROP)]):
        noise = Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).convert(mode)
        options = {"subsampling": subsampling} if mode == "RGB" else {}
        noise.save(tmp_path / f"{i}.jpg", quality=90, **options)
    parts = np.concatenate(taken(make(tmp_path, batch_size=30)[0], 2))
    monkeypatch.setattr(batches, "_is_upright_jpeg", lambda encoded: False)
    whole = np.concatenate(taken(make(tmp_path, batch_size=30)[0], 2))
    # Chroma at the edge of a part is enlarged without the neighbours that it has in the whole.
    error = np.abs(parts - whole)
    assert error.mean() < (0.01 if subsampling and mode == "RGB" else 1e-4), error.mean()
    assert error[:, 2:-2, 2:-2].max() < 0.02, error[:, 2:-2, 2:-2].max()


@pytest.mark.parametrize("orientation", [0, 1, 6, 8, 9])
def test_jpegs_are_turned_as_exif_says(tmp_path, orientation):
    # Brighter to the right; turned to 6 or 8, brighter downwards or upwards.
    stored = Image.fromarray(np.tile(np.linspace(0, 255, 48).astype(np.uint8), (48, 1)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.jpg", quality=95, exif=exif)
    dataset, _ = make(tmp_path, batch_size=20, flip=False)
    crops = taken(dataset, 1)[0].mean(-1)
    down = crops[:, -1].mean(-1) - crops[:, 0].mean(-1)
    right = crops[..., -1].mean(-1) - crops[..., 0].mean(-1)
    expected = {6: (1, 0), 8: (-1, 0)}.get(orientation, (0, 1))
    np.testing.assert_array_equal(np.round(np.stack([down, right], -1)), np.tile(expected, (20, 1)))


def test_half_of_the_crops_are_mirrored(tmp_path):
    ramp = np.linspace(0, 1, 32, dtype=np.float32)[None, :, None] * np.ones((32, 1, 3), np.float32)
    images.write(tmp_path / "a.png", ramp)
    for flip, low, high in ((True, 0.35, 0.65), (False, 0, 0)):
        crops = np.concatenate(taken(make(tmp_path, batch_size=50, flip=flip)[0], 4))
        mirrored = crops[:, 0, 0, 0] > crops[:, 0, -1, 0]
        assert low <= mirrored.mean() <= high


def test_pictures_smaller_than_the_crop_are_enlarged(tmp_path):
    for i, size in enumerate([(1, 1), (3, 50), (50, 2)]):
        flat(40 * (i + 1), size).save(tmp_path / f"{i}.png")
    crops = np.concatenate(taken(make(tmp_path, batch_size=3)[0], 1))
    assert sorted(values(crops)) == [40, 80, 120]
    assert crops.std(axis=(1, 2, 3)).max() < 1e-5


def test_large_pictures_are_kept_small_in_memory(tmp_path):
    flat(90, (600, 400)).save(tmp_path / "a.png")
    reads = []
    real = images.to_graph_bytes

    def watched(*arguments, **options):
        reads.append(real(*arguments, **options))
        return reads[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "to_graph_bytes", watched)
        crops = taken(make(tmp_path)[0], 3)
    assert min(images.decode_bytes(reads[0]).shape[:2]) == 26  # 16 * 1.6, rounded up
    assert set(values(np.concatenate(crops))) == {90}


def test_a_full_cache_reads_again_and_gives_the_same(noise, monkeypatch):
    cached = taken(make(noise, seed=5)[0], 6)
    monkeypatch.setattr(batches, "CACHE_BYTES", 0)
    Image.open(noise / "0.png").save(noise / "0.tiff")  # converted each time
    (noise / "0.png").unlink()
    np.testing.assert_array_equal(taken(make(noise, seed=5)[0], 6), cached)


def test_every_format_and_mode_trains(tmp_path):
    flat(200).convert("L").save(tmp_path / "grey.jpg", quality=100)
    flat(200).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100)
    flat(200).save(tmp_path / "a.tiff")
    flat(200).save(tmp_path / "b.webp", lossless=True)
    flat(200).save(tmp_path / "c.bmp")
    flat(200).save(tmp_path / "d.gif")
    flat(200).convert("RGBA").save(tmp_path / "e.png")
    dataset, report = make(tmp_path, batch_size=7)
    assert np.abs(np.array(values(taken(dataset, 1)[0])) - 200).max() <= 2
    assert report.total == 7 and not report.skipped


# --- parts of a batch for several processes


def sources_of_batches(folder):
    digits = np.arange(10 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(10, 28, 28, 1)
    return {
        "images": lambda **options: make(folder, batch_size=6, **options)[0],
        "digits": lambda **options: data.digit_batches(digits, batch_size=6, **options),
        "noise": lambda **options: data.noise_batches(5, batch_size=6, **options),
        "styles": lambda **options: data.style_draws(4, batch_size=6, **options),
    }


@pytest.mark.parametrize("kind", ["images", "digits", "noise", "styles"])
@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_the_shards_together_are_the_whole_batch(noise, kind, count):
    made = sources_of_batches(noise)[kind]
    whole = taken(made(seed=2, skip=1), 3)
    shards = [made(seed=2, skip=1, shard=(i, count)) for i in range(count)]
    assert {shard.element_spec.shape[0] for shard in shards} <= {6 // count, None}
    parts = [taken(shard, 3) for shard in shards]
    for number, batch in enumerate(whole):
        np.testing.assert_array_equal(np.concatenate([part[number] for part in parts]), batch)


@pytest.mark.parametrize("kind", ["images", "digits", "noise", "styles"])
def test_a_batch_that_cannot_be_shared_evenly_is_an_error(noise, kind):
    made = sources_of_batches(noise)[kind]
    with pytest.raises(data.DataError, match="batch_size 6: 4 processes share it; give a multiple"):
        made(shard=(0, 4))
    for shard in ((2, 2), (-1, 2), (0, 0)):
        with pytest.raises(data.DataError, match=r"shard .*give \(index, count\) with 0 <= index"):
            made(shard=shard)


# --- unreadable files


def break_files(folder, *names):
    for name in names:
        (folder / name).write_bytes(b"%PDF-1.7 no picture")


def test_unreadable_files_are_named_counted_and_replaced(folder):
    break_files(folder, "3.png")
    dataset, report = make(folder, batch_size=7)
    epochs = [values(batch) for batch in taken(dataset, 3)]
    for epoch in epochs:
        assert set(epoch) == {10, 20, 40, 50, 60, 70}
    assert (report.seen, len(report.skipped)) == (7, 1)
    name, reason = report.skipped[0]
    assert name == str(folder / "3.png") and reason.startswith("not an image")


def test_skipping_is_exact_with_unreadable_files_too(folder):
    break_files(folder, "3.png", "4.png")
    whole = taken(make(folder)[0], 12)
    for skip in (1, 5, 9):
        np.testing.assert_array_equal(taken(make(folder, skip=skip)[0], 2), whole[skip:][:2])


def test_more_than_a_tenth_unreadable_is_an_error(tmp_path):
    for i in range(20):
        flat(i).save(tmp_path / f"{i:02}.png")
    break_files(tmp_path, "03.png", "05.png")
    dataset, report = make(tmp_path, batch_size=20)
    taken(dataset, 1)
    report.check()
    break_files(tmp_path, "07.png", "09.png")
    dataset, report = make(tmp_path, batch_size=20)
    taken(dataset, 1)
    with pytest.raises(data.DataError) as caught:
        report.check()
    message = str(caught.value)
    assert message.startswith("4 of 20 images cannot be read, the limit is 10%: ")
    assert message.count("not an image (first bytes 25 50 44 46: PDF)") == 3
    assert message.endswith("; and 1 more. Mend, remove or exclude them.")


def test_strict_means_none_may_be_unreadable(tmp_path):
    for i in range(30):
        flat(i).save(tmp_path / f"{i:02}.png")
    break_files(tmp_path, "29.png")
    dataset, report = make(tmp_path, batch_size=30, strict=True)
    report.check()
    taken(dataset, 1)
    with pytest.raises(data.DataError, match=r"1 of 30 .*none may be \(strict\): .*29\.png"):
        report.check()


def test_a_folder_without_a_readable_file_ends_instead_of_hanging(folder):
    names = [str(path.relative_to(folder)) for path in images.list_images(folder)]
    break_files(folder, *names)
    dataset, report = make(folder)
    assert taken(dataset, 1) == []
    with pytest.raises(data.DataError, match="7 of 7 images cannot be read"):
        report.check()


def test_too_many_pixels_count_as_unreadable(folder):
    dataset, report = make(folder, max_pixels=700, batch_size=7)
    taken(dataset, 1)
    assert report.skipped and all("above the limit of 700" in r for _, r in report.skipped)


# --- sources


def test_sources_are_joined_from_commas_and_sequences(folder):
    paths = [folder / "1.png", folder / "below"]
    for source in (paths, f"{paths[0]}, {paths[1]}", [str(p) for p in paths]):
        dataset, report = make(source, batch_size=2)
        assert report.total == 2
        assert sorted(values(taken(dataset, 1)[0])) == [10, 70]
    (folder / "a,b").mkdir()
    flat(5).save(folder / "a,b" / "x.png")
    assert make(str(folder / "a,b"))[1].total == 1


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_white_stays_white_and_no_more_than_that(tmp_path, suffix):
    """The mean of many ones may be rounded to more than one."""
    images.write(tmp_path / f"white.{suffix}", np.ones((95, 131, 3), np.float32), quality=100)
    crops = data.crops(tmp_path, 24, crop_size=31, scale=(1.0, 3.0))
    assert crops.max() <= 1 and crops.min() > 0.99


def test_excluded_files_and_folders_are_left_out(folder):
    dataset, report = make(folder, batch_size=5, exclude=[folder / "1.png", str(folder / "below")])
    assert report.total == 5
    assert sorted(values(taken(dataset, 1)[0])) == [20, 30, 40, 50, 60]
    with pytest.raises(data.DataError, match="exclude .*nowhere: no such file"):
        make(folder, exclude=[folder / "nowhere"])


def test_an_empty_folder_says_what_was_looked_for_and_where(tmp_path, folder):
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "notes.txt").touch()
    with pytest.raises(data.DataError) as caught:
        make(empty)
    assert str(caught.value) == (
        f"{empty}: no images. Looked for {', '.join(images.SUFFIXES)} in all folders below."
    )
    with pytest.raises(data.DataError, match="; 7 found and excluded"):
        make(folder, exclude=[folder])
    with pytest.raises(data.DataError, match="nowhere: no such file or folder"):
        make(tmp_path / "nowhere")
    with pytest.raises(data.DataError, match="no source: no images"):
        make(" , ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size 0: give at least 1"),
        ({"crop_size": 0}, "crop_size 0: give at least 1"),
        ({"seed": -1}, "seed -1: give at least 0"),
        ({"skip": -1}, "skip -1: give at least 0"),
        ({"scale": (0.5, 1)}, r"scale \(0.5, 1\): give \(low, high\)"),
        ({"scale": (2, 1.5)}, "scale"),
    ],
)
def test_arguments_out_of_range_are_named(folder, options, message):
    with pytest.raises(data.DataError, match=message):
        make(folder, **options)


# --- TFDS


def test_tfds_by_name_and_split():
    tfds = pytest.importorskip("tensorflow_datasets")
    with tfds.testing.mock_data(num_examples=5):
        for source in (
            "tfds:mnist",
            "tfds:mnist:test[:10%]",
            "tfds:cycle_gan/vangogh2photo:trainA",
        ):
            dataset, report = make(source, batch_size=6)
            assert report.total == 5
            assert taken(dataset, 1)[0].shape == (6, CROP, CROP, 3)
            assert not report.skipped


def test_tfds_and_folders_mix(folder):
    tfds = pytest.importorskip("tensorflow_datasets")
    with tfds.testing.mock_data(num_examples=5):
        assert make(f"tfds:mnist,{folder}")[1].total == 12


def test_tfds_from_a_dataset_that_is_prepared_or_not_yet(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    from tensorflow_datasets.core.utils import file_utils

    class TinyPictures(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {"label": tfds.features.Scalar(tf.int64), "photo": tfds.features.Image()}
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, _):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for i in range(10):
                yield i, {"label": i, "photo": np.full((20, 20, 3), 10 * i, np.uint8)}

    tfds.disable_progress_bar()
    file_utils.add_data_dir(tmp_path)
    try:
        # At once, where tfds.load would wait for a network without end.
        with pytest.raises(data.DataError, match="not prepared in .*: tfds build tiny_pictures"):
            make("tfds:tiny_pictures")
        TinyPictures(data_dir=tmp_path).download_and_prepare()
        dataset, report = make("tfds:tiny_pictures", batch_size=10)
        assert sorted(values(taken(dataset, 1)[0])) == list(range(0, 100, 10))
        assert make("tfds:tiny_pictures:train[:30%]")[1].total == 3
        with pytest.raises(data.DataError, match="no split 'test'. There are train"):
            make("tfds:tiny_pictures:test")
    finally:
        file_utils.clear_registered_data_dirs()


def test_a_configuration_of_a_dataset_is_named_where_it_must_be_prepared(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    told = "not prepared in .*: tfds build cycle_gan/monet2photo$"
    with pytest.raises(data.DataError, match=told):
        make("tfds:cycle_gan/monet2photo:trainB")


def test_tfds_names_what_it_lacks():
    with pytest.raises(data.DataError, match="TFDS has no dataset 'no_such_thing'"):
        make("tfds:no_such_thing")
    with pytest.raises(data.DataError, match="no image among its features label, text"):
        make("tfds:imdb_reviews")


def test_list_files_follows_the_order_of_the_source(tmp_path):
    for name in ("b/2.png", "b/1.png", "a.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        images.write(path, np.zeros((4, 4, 3), "float32"))
    found = data.list_files(f"{tmp_path}/b, {tmp_path}/a.png")
    assert [path.name for path in found] == ["1.png", "2.png", "a.png"]
    assert data.list_files("") == []
    with pytest.raises(data.DataError, match="nowhere"):
        data.list_files("nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(data.DataError, match="empty: no images. Looked for .jpg"):
        data.list_files(tmp_path / "empty")


def test_crops_are_the_first_batch(noise):
    crops = data.crops(noise, 3, crop_size=16, seed=4)
    dataset, _ = data.image_batches(noise, batch_size=3, crop_size=16, seed=4)
    np.testing.assert_array_equal(crops, next(iter(dataset)))


def test_crops_of_images_of_which_none_is_left_say_so(tmp_path):
    folder, original = tmp_path / "photos", tmp_path / "original.png"
    folder.mkdir()
    images.write(original, np.full((8, 8, 3), 0.5))
    for number in range(10):  # copies of one that is left out, and one that is broken
        (folder / f"{number}.png").write_bytes(original.read_bytes())
    (folder / "broken.png").write_bytes(original.read_bytes()[:40])
    with pytest.raises(data.DataError, match="photos: none of its images is left"):
        data.crops(folder, 1, crop_size=8, exclude=[original])


def test_op_determinism_leaves_the_crops_to_several_threads(noise, monkeypatch):
    tf.config.experimental.enable_op_determinism()
    lock, running, most = threading.Lock(), 0, 0

    def slow(_):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        with lock:
            running -= 1
        return np.zeros((CROP, CROP, 3), np.float32)

    def crop(encoded, *args, **kwargs):
        return tf.ensure_shape(
            tf.numpy_function(slow, [encoded], tf.float32, stateful=False), [CROP, CROP, 3]
        )

    monkeypatch.setattr(batches, "_random_crop", crop)
    taken(make(noise, batch_size=8)[0], 4)
    assert most > 1


# -- What is kept out, and what is judged by ------------------------------------------------------


@pytest.fixture
def kept_out(tmp_path):
    """A photo to keep out, in another folder than those to train on, of which it is a copy."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "judged").mkdir()
    for value in (50, 100, 150, 200):
        flat(value).save(tmp_path / f"photos/{value}.png")
    flat(100).save(tmp_path / "judged/copy.png")
    return tmp_path


def seen_in(source, exclude):
    dataset, report = make(source, batch_size=4, crop_size=8, exclude=exclude)
    found = {value for batch in taken(dataset, 3) for value in values(batch)}
    return found, report


@pytest.mark.parametrize("kind", ["folder", "records", "shrunk records", "tfds"])
def test_a_photo_that_is_kept_out_is_left_out_of_every_kind_of_source(kept_out, kind, request):
    source = str(kept_out / "photos")
    if "records" in kind:
        max_size = 16 if kind == "shrunk records" else None
        checked, _ = data.checked_images(source, max_size=max_size)
        records.write(kept_out / "r", checked, shards=2)
        source = f"records:{kept_out / 'r'}"
    elif kind == "tfds":
        file_utils.add_data_dir(kept_out / "tfds")
        request.addfinalizer(file_utils.clear_registered_data_dirs)
        tfds_builder.prepare(
            "keptout", content=source, style=source, max_size=16, data_dir=kept_out / "tfds"
        )
        source = "tfds:keptout:content"
    found, report = seen_in(source, [kept_out / "judged/copy.png"])
    assert found == {50, 150, 200}
    assert (report.seen, report.excluded, report.skipped) == (4, 1, [])
    everything, _ = seen_in(source, [])
    assert everything == {50, 100, 150, 200}


def test_where_all_is_kept_out_it_is_said(kept_out):
    (kept_out / "only").mkdir()
    flat(100).save(kept_out / "only/same.png")
    dataset, report = make(
        kept_out / "only", batch_size=1, crop_size=8, exclude=[kept_out / "judged"]
    )
    assert not taken(dataset, 1)
    with pytest.raises(data.DataError, match="all 1 images are excluded"):
        report.check()


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("The Starry Night (1889).jpg", "The_Starry_Night_1889"),
        ("/a/b/scream.png", "scream"),
        ("swirls", "swirls"),
        ("tfds:monet:style", "monet_style"),
        ("tfds:coco/2014:train[:10%]", "coco_2014_train"),
        ("records:/data/photos.records", "photos"),
        ("a/,b/", "a_b"),
        ("Café-Nº 1.jpg", "Cafe-No_1"),
        ("星月夜.jpg", "XingYueYe"),
        ("...", ""),
        ("", ""),
    ],
)
def test_a_name_is_made_of_any_source(source, name):
    assert data.name_of(source) == name
    if name:
        export.check_name(name)


@given(st.text())
def test_a_name_of_any_text_is_one_that_the_export_takes(text):
    name = data.name_of(text.replace("\0", ""))
    assert not name or export.check_name(name) is None


def test_the_pictures_to_judge_by_are_files_of_folders_and_a_part_of_datasets(kept_out):
    folder = kept_out / "photos"
    files = data.pictures_of(str(folder), size=12, exclude=[folder / "50.png"])
    assert [path.name for path in files] == ["100.png", "150.png", "200.png"]
    checked, _ = data.checked_images(folder)
    records.write(kept_out / "r", checked, shards=1)
    source = f"records:{kept_out / 'r'}"
    pictures = data.pictures_of(source, size=12, exclude=[folder / "50.png"])
    assert [picture.shape for picture in pictures] == [(12, 10, 3)] * 3
    assert sorted(round(float(each.mean()) * 255) for each in pictures) == [100, 150, 200]
    some = data.gallery(source, size=12, count=2, seed=1)
    again = data.gallery(source, size=12, count=2, seed=1)
    np.testing.assert_array_equal(some, again)
    assert len(some) == 2


def test_the_photos_of_a_recipe_train_without_those_that_judge(kept_out):
    photos = data.Photos(
        content=str(kept_out / "photos"),
        evaluate_on=str(kept_out / "photos/50.png"),
        crop_size=8,
        batch_size=3,
    )
    dataset, (report,) = photos.batches(seed=1)
    (batch,) = taken(dataset, 1)
    assert batch.shape == (3, 8, 8, 3) and report.total == 3
    assert sorted(values(batch)) == [100, 150, 200]
    assert photos.judged == photos.held_out and photos.told == "kept out of training"
    assert values(photos.crops_kept_out(2)) == [50, 50]
    twice, _ = photos.batches(times=2)
    assert taken(twice, 1)[0].shape[0] == 6
    bundled = data.Photos()
    assert bundled.held_out == [] and bundled.told == "bundled"
    assert bundled.judged == bundled.source
    spared = data.Photos(spared=2)
    assert spared.held_out == bundled.judged[-2:] and spared.told == "kept out of training"


@pytest.mark.parametrize("read_whole", [64e6, 0])
def test_a_source_is_known_again_by_its_files(tmp_path, monkeypatch, read_whole):
    monkeypatch.setattr(sources, "_READ_WHOLE", read_whole)
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(b"one")
    (folder / "below/b.jpg").write_bytes(b"three")
    source = f"{folder}, {folder / 'a.jpg'}, tfds:mnist, swirls"
    before = sources.fingerprints(source)
    assert list(before) == [str(folder), str(folder / "a.jpg")]
    (folder / "notes.txt").write_text("no image")
    os.utime(folder / "a.jpg", (1, 1))
    assert sources.fingerprints(source) == before
    copied = shutil.copytree(folder, tmp_path / "copy")
    assert set(sources.fingerprints(str(copied)).values()) == {before[str(folder)]}
    (folder / "a.jpg").write_bytes(b"two")  # as many bytes
    after = sources.fingerprints(source)
    assert after[str(folder / "a.jpg")] != before[str(folder / "a.jpg")]
    assert (after[str(folder)] == before[str(folder)]) == (read_whole == 0)
    (folder / "below/b.jpg").rename(folder / "below/c.jpg")
    renamed = sources.fingerprints(source)[str(folder)]
    assert renamed != after[str(folder)]
    (folder / "below/c.jpg").write_bytes(b"seven..")
    assert sources.fingerprints(source)[str(folder)] != renamed
    left = sources.fingerprints(str(folder), exclude=[folder / "below"])[str(folder)]
    (folder / "below/d.jpg").touch()
    assert sources.fingerprints(str(folder), exclude=[folder / "below"]) == {str(folder): left}
    assert sources.fingerprints("") == {}
