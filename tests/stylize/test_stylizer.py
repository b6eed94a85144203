"""One callable over Keras, SavedModel and TFLite, and the ways to find a model."""

import json
import shutil
import subprocess
import sys
import types
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf

from tests import small_models
from tfstyle import cli, images
from tfstyle.data import samples
from tfstyle.errors import ArgumentError
from tfstyle.export import export
from tfstyle.images import tiles
from tfstyle.images.sheets import compare
from tfstyle.machine import TooLargeError
from tfstyle.stylize import (
    CARD_SCHEMA,
    ModelNotFoundError,
    Stylizer,
    card as card_of,
    runners,
    shelf,
    shipped_models,
    stylizer as stylizer_module,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generator():
    return small_models.fast()


@pytest.fixture(scope="module")
def exported(generator, tmp_path_factory):
    folder = tmp_path_factory.mktemp("home") / "saved_models"
    return export(generator, "tiny", directory=folder, card={"style": "scribble"})


@pytest.fixture(scope="module")
def stylizer(exported):
    return Stylizer.load(exported.tflite["float32"])


@pytest.fixture
def home(exported, tmp_path, monkeypatch):
    """A current folder with the model in its saved_models/, and a tfstyle installed beside it."""
    shutil.copytree(exported.card.parent, tmp_path / "home" / "saved_models")
    monkeypatch.chdir(tmp_path / "home")
    package = tmp_path / "site" / "tfstyle"
    package.mkdir(parents=True)
    monkeypatch.setattr(shelf, "__file__", str(package / "stylize" / "shelf.py"))
    return tmp_path / "home"


def expected(generator, image):
    return generator(image[np.newaxis], training=False)[0].numpy()


@pytest.mark.parametrize("kind", ["model", "keras", "SavedModel", "versions", "tflite", "str"])
def test_all_runtimes_give_what_keras_gives(kind, exported, generator, photo, tmp_path):
    source = {
        "model": generator,
        "keras": tmp_path / "tiny.keras",
        "SavedModel": exported.saved_model,
        "versions": exported.saved_model.parent,
        "tflite": exported.tflite["float32"],
        "str": str(exported.tflite["float32"]),
    }[kind]
    if kind == "keras":
        generator.save(source)
    stylizer = Stylizer.load(source)
    for height, width in [(96, 128), (17, 33), (16, 16), (96, 128)]:
        image = photo[:height, :width]
        stylized = stylizer(image)
        assert stylized.dtype == np.float32 and stylized.shape == image.shape
        np.testing.assert_allclose(stylized, expected(generator, image), atol=1e-3)


@pytest.mark.parametrize("variant, bound", [("float16", 2 / 255), ("dynamic", 6 / 255)])
def test_smaller_variants_come_close(exported, generator, photo, variant, bound):
    stylized = Stylizer.load(exported.tflite[variant])(photo)
    assert np.abs(stylized - expected(generator, photo)).mean() <= bound


@hypothesis.settings(max_examples=25)
@hypothesis.given(height=st.integers(1, 70), width=st.integers(1, 70))
def test_any_size_comes_back_in_its_size(stylizer, generator, height, width):
    image = np.random.default_rng(height * 100 + width).random((height, width, 3), np.float32)
    stylized = stylizer(image)
    assert stylized.shape == image.shape
    assert 0 <= stylized.min() and stylized.max() <= 1
    if height * width >= 64:  # instance norm of a few equal values is noise
        np.testing.assert_allclose(stylized, expected(generator, image), atol=1e-3)


def test_the_image_given_is_not_changed(stylizer, photo):
    before = photo.copy()
    result = stylizer(photo, strength=0)
    result += 1
    stylizer(photo, strength=0.5, preserve_color=True)
    np.testing.assert_array_equal(photo, before)


def test_strength_0_is_the_photo_and_1_the_stylized(stylizer, photo):
    np.testing.assert_array_equal(stylizer(photo, strength=0), photo)
    np.testing.assert_array_equal(stylizer(photo, strength=1), stylizer(photo))


def test_strength_blends_linearly(stylizer, photo):
    full = stylizer(photo)
    strengths = [0, 0.25, 0.5, 0.75, 1]
    results = [stylizer(photo, strength=s) for s in strengths]
    for s, result in zip(strengths, results, strict=True):
        np.testing.assert_allclose(result, (1 - s) * photo + s * full, atol=1e-6)
    distances = [np.abs(result - photo).mean() for result in results]
    assert distances == sorted(distances) and distances[-1] > 0.05


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_strength_outside_0_to_1_is_refused(stylizer, photo, strength):
    with pytest.raises(ValueError, match="strength"):
        stylizer(photo, strength=strength)


def test_preserve_color_keeps_chroma_and_takes_luma(photo):
    # An independent conversion: the matrix of JFIF, luma and two colour differences.
    to_ycc = np.array(
        [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
    ).T
    image = 0.3 + 0.4 * photo
    style = np.random.default_rng(0).random(image.shape, np.float32) * 0.3 + 0.35
    result = Stylizer(lambda batch: style[np.newaxis], 1)(image, preserve_color=True)
    inside = ((result > 0) & (result < 1)).all(-1)
    assert inside.mean() > 0.9
    ycc = (result @ to_ycc)[inside]
    np.testing.assert_allclose(ycc[:, 0], (style @ to_ycc)[inside][:, 0], atol=1e-5)
    np.testing.assert_allclose(ycc[:, 1:], (image @ to_ycc)[inside][:, 1:], atol=1e-5)


def test_preserve_color_leaves_a_grey_photo_grey(stylizer, photo):
    grey = np.repeat(photo.mean(-1, keepdims=True), 3, -1)
    result = stylizer(grey, preserve_color=True)
    assert np.ptp(result, axis=-1).max() < 1e-6


@pytest.mark.parametrize(
    "image, message",
    [
        (np.zeros((8, 8, 3), np.uint8), "type uint8"),
        (np.zeros((8, 8), np.float32), r"shape \(8, 8\)"),
        (np.zeros((8, 8, 4), np.float32), r"shape \(8, 8, 4\)"),
        (np.zeros((1, 8, 8, 3), np.float32), r"shape \(1, 8, 8, 3\)"),
        (np.zeros((0, 8, 3), np.float32), r"shape \(0, 8, 3\)"),
        (np.full((8, 8, 3), 255.0, np.float32), "from 255 to 255"),
        (np.full((8, 8, 3), np.nan, np.float32), "nan"),
    ],
)
def test_what_is_no_image_is_refused(stylizer, image, message):
    with pytest.raises(ValueError, match=message):
        stylizer(image)


def test_too_large_an_image_is_refused_with_the_size_that_fits(photo, monkeypatch):
    free = 96 * 128 * (1000 + 48) / 0.9 / 4
    monkeypatch.setattr("psutil.virtual_memory", lambda: types.SimpleNamespace(available=free))
    stylizer = Stylizer(lambda batch: batch, bytes_per_pixel=1000)
    with pytest.raises(TooLargeError, match="128x96 pixels need .* GB .* at most 64x48") as error:
        stylizer(photo)
    assert error.value.fits == (48, 64)
    assert stylizer(images.resize(photo, error.value.fits)).shape == (48, 64, 3)


def test_memory_is_forecast_by_the_card_of_the_model(exported, generator, photo, monkeypatch):
    free = photo.size // 3 * 500  # less than where nothing is known, more than this model needs
    monkeypatch.setattr("psutil.virtual_memory", lambda: types.SimpleNamespace(available=free))
    for source in (exported.saved_model, *exported.tflite.values()):
        Stylizer.load(source)(photo)
    with pytest.raises(TooLargeError):
        Stylizer.load(generator)(photo)


@pytest.mark.parametrize("keeps_memory", [True, False])
def test_memory_that_the_model_keeps_is_there_for_the_next_image(photo, monkeypatch, keeps_memory):
    pixels, free = photo.size // 3, iter([2000, 1000])
    monkeypatch.setattr(
        "psutil.virtual_memory", lambda: types.SimpleNamespace(available=next(free) * pixels)
    )
    stylizer = Stylizer(lambda batch: batch, bytes_per_pixel=1000, keeps_memory=keeps_memory)
    stylizer(photo)
    if keeps_memory:
        stylizer(photo)
    else:
        with pytest.raises(TooLargeError):
            stylizer(photo)


def test_name_is_found_in_the_current_folder(home, generator, photo):
    np.testing.assert_allclose(Stylizer.load("tiny")(photo), expected(generator, photo), atol=1e-3)


def test_variant_is_a_name_too(home, exported, photo):
    np.testing.assert_array_equal(
        Stylizer.load("tiny.dynamic")(photo), Stylizer.load(exported.tflite["dynamic"])(photo)
    )


def test_name_without_tflite_is_its_newest_saved_model(home, monkeypatch):
    saved_models = home / "saved_models"
    (saved_models / "tiny.tflite").unlink()
    for version in ("2", "10"):
        shutil.copytree(saved_models / "tiny" / "1", saved_models / "tiny" / version)
    (saved_models / "tiny" / "11").mkdir()  # still empty
    loaded = []

    class Noted(runners.FunctionRunner):
        def __init__(self, path):
            super().__init__(lambda batch: batch)
            loaded.append(path)

    monkeypatch.setattr(runners, "SavedModelRunner", Noted)
    Stylizer.load("tiny")
    Stylizer.load(saved_models / "tiny")
    assert loaded == [saved_models / "tiny" / "10"] * 2


@pytest.mark.parametrize("place", ["site/saved_models", "site/tfstyle/saved_models"])
def test_name_is_found_in_the_checkout_and_in_the_installed_package(home, place):
    shutil.move(home / "saved_models", home.parent / place)
    Stylizer.load("tiny")
    assert [card["name"] for card in shipped_models()] == ["tiny"]


def test_name_means_the_model_and_not_a_folder_that_is_called_so(home):
    (home / "tiny").mkdir()
    Stylizer.load("tiny")
    with pytest.raises(ModelNotFoundError, match="saved_model.pb"):
        Stylizer.load("./tiny/")


def test_unknown_name_lists_the_names_and_the_places(home):
    with pytest.raises(ModelNotFoundError) as error:
        Stylizer.load("starry")
    message = str(error.value)
    assert "'starry'" in message and "there are: tiny." in message
    assert str(home / "saved_models") in message


def test_unknown_name_where_there_is_no_model_at_all(home):
    shutil.rmtree(home / "saved_models")
    with pytest.raises(ModelNotFoundError, match="there are: none. Looked in: saved_models/"):
        Stylizer.load("starry")


def test_path_that_is_not_there(home):
    with pytest.raises(ModelNotFoundError, match="nowhere/tiny.tflite"):
        Stylizer.load("nowhere/tiny.tflite")


def test_other_and_damaged_files_are_refused(home):
    (home / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ValueError, match="photo.jpg: not a model"):
        Stylizer.load("photo.jpg")
    whole = (home / "saved_models" / "tiny.tflite").read_bytes()
    (home / "cut.tflite").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cut.tflite: not a TFLite model"):
        Stylizer.load("cut.tflite")
    (home / "cut.keras").write_bytes(b"PK")
    with pytest.raises(ValueError, match="cut.keras: not a Keras model"):
        Stylizer.load("cut.keras")


def test_torn_weights_of_a_saved_model_are_told(exported, tmp_path):
    copy = shutil.copytree(exported.saved_model, tmp_path / "torn")
    weights = copy / "variables" / "variables.data-00000-of-00001"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ValueError, match="torn: not a SavedModel that can be loaded"):
        Stylizer.load(copy)


def test_saved_model_of_others_is_refused(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path))
    with pytest.raises(ValueError, match="no signature 'float'"):
        Stylizer.load(tmp_path)


def test_threads_are_for_tflite_alone(exported, photo):
    one = Stylizer.load(exported.tflite["float32"], threads=1)
    np.testing.assert_allclose(one(photo), Stylizer.load(exported.saved_model)(photo), atol=1e-3)
    with pytest.raises(ValueError, match="threads 1: only for TFLite"):
        Stylizer.load(exported.saved_model, threads=1)


def run_alone(code):
    """What `code` prints in a fresh process."""
    command = [sys.executable, "-c", f"from tfstyle.stylize import Stylizer\n{code}"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_tflite_needs_no_tensorflow(exported):
    path = str(exported.tflite["float32"])
    shape = run_alone(
        "import sys, numpy as np\n"
        "sys.modules['tensorflow'] = sys.modules['keras'] = None\n"
        f"stylizer = Stylizer.load({path!r})\n"
        "print(stylizer(np.full((20, 30, 3), 0.5, 'f'), preserve_color=True).shape)"
    )
    assert shape == "(20, 30, 3)\n"


def test_keras_file_loads_where_nothing_else_has_imported_its_layers(generator, tmp_path):
    generator.save(tmp_path / "tiny.keras")
    code = f"print(type(Stylizer.load({str(tmp_path / 'tiny.keras')!r})).__name__)"
    assert run_alone(code) == "Stylizer\n"


def test_shipped_models_are_the_cards_in_order_with_their_paths(home):
    folder = home / "saved_models"
    (folder / "aardvark.json").write_text(json.dumps({"name": "aardvark", "style": "ants"}))
    (folder / "options.json").write_text("[1, 2]")
    (folder / "broken.json").write_text("{")
    installed = home.parent / "site" / "tfstyle" / "saved_models"
    installed.mkdir()
    for name in ("tiny", "zebra"):
        (installed / f"{name}.json").write_text(json.dumps({"name": name, "style": "stripes"}))

    cards = shipped_models()
    assert [(card["name"], card["style"]) for card in cards] == [
        ("aardvark", "ants"), ("tiny", "scribble"), ("zebra", "stripes"),
    ]  # fmt: skip
    assert cards[1]["paths"] == {
        "card": str(folder / "tiny.json"),
        "tflite": str(folder / "tiny.tflite"),
        "tflite_float16": str(folder / "tiny.float16.tflite"),
        "tflite_dynamic": str(folder / "tiny.dynamic.tflite"),
        "saved_model": str(folder / "tiny" / "1"),
    }
    assert cards[2]["paths"] == {"card": str(installed / "zebra.json")}


def test_the_card_of_a_newer_tfstyle_is_refused_by_name(home, photo):
    file = home / "saved_models" / "tiny.json"
    card = json.loads(file.read_text())
    assert card["schema"] == CARD_SCHEMA
    file.write_text(json.dumps(card | {"schema": CARD_SCHEMA + 1, "tfstyle": "9.8.7"}))
    message = r"tiny.json: a model card of schema \d+, .*Install tfstyle 9.8.7 or newer"
    for refused in (card_of, Stylizer.load):
        with pytest.raises(ArgumentError, match=message):
            refused("tiny")
    # One of them does not hide the others.
    (home / "saved_models" / "aardvark.json").write_text(json.dumps({"name": "aardvark"}))
    reasons = []
    assert [each["name"] for each in shipped_models(reasons.append)] == ["aardvark"]
    assert len(reasons) == 1 and "9.8.7" in reasons[0]
    for schema in ("1", -1, True, None):
        file.write_text(json.dumps(card | {"schema": schema}))
        with pytest.raises(ArgumentError, match="a model card of schema"):
            card_of("tiny")
    del card["schema"]  # as all cards were
    file.write_text(json.dumps(card))
    assert card_of("tiny") == card
    Stylizer.load("tiny")(photo)


def test_the_list_of_models_says_which_card_it_leaves_out(home, capsys):
    file = home / "saved_models" / "tiny.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema": 99}))
    assert cli.main(["models"]) == 0
    said = capsys.readouterr()
    assert "tiny" not in said.out and said.err.startswith("tfstyle: left out: ")
    assert "tiny.json: a model card of schema 99" in said.err


def test_a_plain_function_that_takes_weights_gets_them(photo):
    given = []

    def run(batch, weights):
        given.append(weights.tolist())
        return batch

    stylizer = Stylizer(run, styles=["a", "b"])
    stylizer(photo, style={"b": 1, "a": 3})
    assert given == [[[0.75, 0.25]]]
    with pytest.raises(ArgumentError, match="no signatures for parts of an image"):
        stylizer(photo, tiled=True)


def test_compare_puts_pictures_of_any_size_side_by_side(photo):
    content, style, result = photo[:40, :60], photo[:80, :80], photo[:40, :60] * 0.5
    picture = compare(content, style, result)
    assert picture.shape == (40, 60 + 2 + 40 + 2 + 60, 3)
    np.testing.assert_array_equal(picture[:, :60], content)
    np.testing.assert_array_equal(picture[:, 60:62], 1)
    np.testing.assert_array_equal(picture[:, 104:], result)
    assert compare(content, None, result).shape == (40, 122, 3)


# Tiles


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(stylizer_module, "_TILE", 64)
    monkeypatch.setattr(stylizer_module, "_WINDOW", 64)


@pytest.mark.parametrize("kind", ["keras", "float32", "dynamic"])
def test_in_tiles_the_picture_is_that_of_the_whole(exported, generator, small_tiles, kind):
    image = images.resize(samples.photo("coffee"), (200, 331))
    stylizer = Stylizer.load(generator if kind == "keras" else exported.tflite[kind])
    calls = []
    tiled = stylizer(image, tiled=True, progress=lambda *call: calls.append(call))
    assert calls == [(i, 24) for i in range(1, 25)]
    difference = np.abs(tiled - stylizer(image, tiled=False))
    joins = np.concatenate([difference[63:65].ravel(), difference[:, 63:65].ravel()])
    if kind == "dynamic":  # which has a scale of its own in every tile
        assert difference.mean() < 2 / 255 and joins.mean() < 1.2 * difference.mean()
    else:
        assert difference.max() < 1e-4


def test_an_image_beyond_the_limit_is_worked_on_in_tiles(stylizer, small_tiles, monkeypatch):
    image = images.resize(samples.photo("coffee"), (200, 331))
    whole = stylizer(image)
    monkeypatch.setattr(stylizer_module, "WHOLE_PIXELS", 30_000)
    calls = []
    tiled = stylizer(image, progress=lambda *call: calls.append(call))
    assert len(calls) == 24
    # The statistics are those of windows over half of it: not the same, and nearer than each tile's
    # own.
    alone = tiles.apply(image, lambda part, origin: stylizer(part, tiled=False), side=64, margin=0)
    assert 1e-3 < np.abs(tiled - whole).mean() < 0.8 * np.abs(alone - whole).mean()


def test_a_heavier_model_paints_in_tiles_from_fewer_pixels_on(stylizer, small_tiles, monkeypatch):
    image = images.resize(samples.photo("coffee"), (200, 331))
    needed = 200 * 331 * (stylizer._bytes_per_pixel + stylizer_module._OWN_BYTES_PER_PIXEL)
    calls = []
    for limit, tiles_made in ((needed, 0), (needed - 331, 24)):
        monkeypatch.setattr(stylizer_module, "WHOLE_BYTES", limit)
        stylizer(image, progress=lambda *call: calls.append(call))
        assert len(calls) == tiles_made


def test_an_image_that_does_not_fit_into_memory_is_worked_on_in_tiles(
    exported, small_tiles, monkeypatch
):
    image = images.resize(samples.photo("coffee"), (200, 331))
    free = 331 * 200 * 150
    monkeypatch.setattr("psutil.virtual_memory", lambda: types.SimpleNamespace(available=free))
    stylizer = Stylizer.load(exported.tflite["float32"])
    stylizer._tile_margin = 16
    with pytest.raises(TooLargeError):
        stylizer(image, tiled=False)
    assert stylizer(image).shape == image.shape
    free = 331 * 200 * 20
    with pytest.raises(TooLargeError, match="331x200 pixels need"):
        stylizer(image)


def test_a_model_without_statistics_is_not_tiled(exported, photo):
    for model in (exported.saved_model, exported.tflite["float16"]):
        with pytest.raises(ValueError, match="no signatures for parts of an image"):
            Stylizer.load(model)(photo, tiled=True)
