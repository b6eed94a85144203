"""datasets: two folders become a TFDS dataset that pipelines and TFDS itself read by name."""

import itertools

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.core.utils import file_utils

from tfstyle import cli, data, images
from tfstyle.data import tfds_builder


@pytest.fixture(autouse=True)
def data_dir(tmp_path):
    tfds.disable_progress_bar()
    file_utils.add_data_dir(tmp_path / "tfds")
    yield tmp_path / "tfds"
    file_utils.clear_registered_data_dirs()


@pytest.fixture
def domains(tmp_path):
    """Photos of grey 10, 20, ... 50 and paintings of 110, 120, 130, in several formats."""
    for domain, start, count in (("photos", 10, 5), ("paintings", 110, 3)):
        (tmp_path / domain / "below").mkdir(parents=True)
        for i in range(count):
            value = start + 10 * i
            suffix = (".png", ".bmp")[i % 2]
            picture = Image.new("RGB", (20 + i, 30), (value, value, value))
            picture.save(tmp_path / domain / "below" / f"{value}{suffix}")
    return {"content": str(tmp_path / "photos"), "style": str(tmp_path / "paintings")}


def run(domains, name, *arguments):
    flags = [f"--{split}={source}" for split, source in domains.items()]
    return cli.main(["dataset", *flags, "--name", name, *map(str, arguments)])


def greys(source, count):
    dataset, report = data.image_batches(source, batch_size=count, crop_size=8)
    (batch,) = itertools.islice(dataset.as_numpy_iterator(), 1)
    return sorted(int(v) for v in images.to_uint8(batch)[:, 0, 0, 0]), report.total


def test_the_command_makes_what_pipelines_read_by_name(domains, data_dir, capsys):
    assert run(domains, "greys", "--data_dir", data_dir) == 0
    out = capsys.readouterr().out.splitlines()
    assert out == [
        f"{data_dir}/greys/1.0.0: 5 content, 3 style",
        f"Train on it as tfds:greys:content and tfds:greys:style (with TFDS_DATA_DIR={data_dir})",
    ]
    assert greys("tfds:greys:content", 5) == ([10, 20, 30, 40, 50], 5)
    assert greys("tfds:greys:style", 3) == ([110, 120, 130], 3)
    assert greys("tfds:greys:style[:2],tfds:greys:content[:1]", 3)[1] == 3


def test_tfds_reads_it_without_this_package(domains, data_dir):
    folder, _ = tfds_builder.prepare("greys", **domains, data_dir=data_dir)
    builder = tfds.builder("greys")
    assert isinstance(builder, tfds.core.read_only_builder.ReadOnlyBuilder)
    assert str(builder.info.version) == "1.0.0" and builder.data_path == folder
    assert builder.info.splits["content"].num_examples == 5
    assert builder.info.features["image"].dtype == np.uint8
    style = tfds.load("greys", split="style", read_config=tfds.ReadConfig(try_autocache=False))
    found = {e["name"]: e["image"] for e in style.as_numpy_iterator()}
    assert set(found) == {b"below/110.png", b"below/120.bmp", b"below/130.png"}
    assert found[b"below/120.bmp"].shape == (30, 21, 3)
    assert (found[b"below/120.bmp"] == 120).all()


def test_a_higher_version_wins_and_none_is_replaced(domains, data_dir, capsys):
    assert run(domains, "greys", "--data_dir", data_dir) == 0
    assert run(domains, "greys", "--data_dir", data_dir) == 2
    assert "greys/1.0.0: exists. Give a higher version" in capsys.readouterr().err
    domains["style"] = domains["content"]
    assert run(domains, "greys", "--data_dir", data_dir, "--version", "1.10.0") == 0
    assert greys("tfds:greys:style", 5)[1] == 5


def test_max_size_shrinks(domains, data_dir):
    tfds_builder.prepare("greys", **domains, data_dir=data_dir, max_size=15)
    content = tfds.load("greys", split="content", read_config=tfds.ReadConfig(try_autocache=False))
    assert {max(e["image"].shape) for e in content.as_numpy_iterator()} == {15}


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("Greys", [], "name 'Greys': give small letters"),
        ("mnist", [], "name 'mnist': TFDS has a dataset of that name"),
        ("greys", ["--version", "1.0"], "version '1.0': give MAJOR.MINOR.PATCH"),
        ("greys", ["--style", "nowhere"], "nowhere: no such file or folder"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(
    domains, data_dir, capsys, name, flags, message
):
    assert run(domains, name, "--data_dir", data_dir, *flags) == 2
    assert message in capsys.readouterr().err
    assert not data_dir.exists()


def test_too_many_unreadable_images_leave_no_dataset(domains, data_dir, tmp_path, capsys):
    (tmp_path / "paintings" / "broken.png").write_bytes(b"%PDF-1.7")
    assert run(domains, "greys", "--data_dir", data_dir) == 2
    assert "1 of 4 images cannot be read" in capsys.readouterr().err
    assert not data_dir.exists()
    with pytest.raises(data.DataError, match="TFDS has no dataset 'greys'"):
        greys("tfds:greys:content", 1)
