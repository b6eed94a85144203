"""TFLite files as a device gets them, each compared with the Keras model it was made of."""

import hashlib
import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tests import shipped, small_models
from tests.small_models import shaken
from tfstyle import cli, images, stylize
from tfstyle.data import samples
from tfstyle.export import (
    BOUNDS,
    DeviceError,
    convert,
    device,
    flatbuffer,
)
from tfstyle.networks import generators
from tfstyle.stylize import runners, shelf

STYLES = ["swirls", "mosaic", "woodcut"]
CARD = {"style": "Scribble", "licence": "CC0-1.0", "styles": STYLES}
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generator():
    return shaken(generators.fast_generator(width=4, depth=1))


@pytest.fixture(scope="module")
def fusion():
    return shaken(generators.fusion_generator(styles=3, width=4, depth=1))


@pytest.fixture(scope="module")
def source(generator):
    return convert.from_keras(generator, "tiny", {"style": "Scribble", "licence": "CC0-1.0"})


@pytest.fixture(scope="module")
def exported(generator, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    photo = samples.photo("chelsea")[:48, :64]
    return small_models.save(generator, folder / "1", photo, alone="float")


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_converted_twice():
    """Most tests here ask what is done with a file: the same file is made for the first alone."""
    known = {}
    to = convert.Conversion.to

    def once(conversion, variant, *, calibration=()):
        source = conversion._source
        weights = b"".join(np.asarray(weight).tobytes() for weight in source.alive.weights)
        key = (hashlib.sha256(weights).digest(), source.name, str(source.card), source.styles)
        key += (tuple(conversion._parts), conversion._size, variant, len(calibration))
        if key not in known:
            known[key] = to(conversion, variant, calibration=calibration)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convert.Conversion, "to", once)
        yield


@pytest.fixture(scope="module", autouse=True)
def _files_of_any_size_are_timed_on_small_pictures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device, "TIMED_SIZE", (64, 64))
        yield


def photos(count=1, size=(64, 48)):
    return [images.resize(images.read(path), size) for path in samples.photo_paths()[:count]]


def of_keras(generator, image, weights=None):
    given = image[np.newaxis] if weights is None else [image[np.newaxis], np.array([weights])]
    return generator(given, training=False)[0].numpy()


# -- files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [None, (48, 64)])
def test_what_is_kept_agrees_with_keras_and_says_what_it_is(source, generator, tmp_path, size):
    report = device.export(
        source, ["float32", "float16", "dynamic"], tmp_path, size=size, photos=photos()
    )
    middle = "" if size is None else ".48x64"
    assert {variant: path.name for variant, path in report.files.items()} == {
        "float32": f"tiny{middle}.tflite",
        "float16": f"tiny{middle}.float16.tflite",
        "dynamic": f"tiny{middle}.dynamic.tflite",
    }
    assert not report.refused
    photo = samples.photo("chelsea")[:48, :64]
    tolerance = {"float32": 1e-3, "float16": 0.02, "dynamic": 0.1}
    for variant, path in report.files.items():
        run = runners.TFLiteRunner(path, 1)
        assert (run.size, run.styles) == (size, 0)
        stylized = run(photo[np.newaxis])[0]
        np.testing.assert_allclose(stylized, of_keras(generator, photo), atol=tolerance[variant])
        told = runners.read_metadata(path)
        assert (told["name"], told["variant"]) == ("tiny", variant)
        assert (told["style"], told["licence"], told["styles"]) == ("Scribble", "CC0-1.0", [])
        assert told["inputs"]["images"]["range"] == [0, 1]
        assert told["inputs"]["images"]["shape"] == [1, *(size or (None, None)), 3]
        signature = {"inputs": ["images"], "outputs": ["stylized"]}
        interpreter = Interpreter(model_path=str(path))
        assert interpreter.get_signature_list() == {"serving_default": signature}


def test_the_report_measures_every_variant(source, tmp_path):
    report = device.export(source, ["float32", "dynamic"], tmp_path, size=(48, 64), photos=photos())
    told = json.loads(report.path.read_text("utf-8"))
    assert told == report.content
    assert report.path.name == "tiny.48x64.tflite.json"
    assert told["size"] == told["timed_size"] == [48, 64]
    for variant, entry in told["variants"].items():
        path = report.files[variant]
        assert entry["kept"] and entry["bytes"] == path.stat().st_size
        assert set(entry["milliseconds"]) == {"1", "2"} and min(entry["milliseconds"].values()) > 0
        measure, bound = BOUNDS[f"tflite_{variant}"]
        assert 0 <= entry["parity"][measure] <= bound == entry["parity"]["bound"]
        assert "CONV_2D" in entry["operators"]
    # The report is no model card: models are not listed twice.
    assert not [card for card in stylize.shipped_models() if card["name"] == "tiny.48x64.tflite"]


def test_several_styles_go_through_as_weights(fusion, tmp_path):
    source = convert.from_keras(fusion, "blend", CARD)
    report = device.export(
        source, ["float32", "float16"], tmp_path, size=(48, 64), photos=photos(size=(48, 64))
    )
    # No card lies beside the file: it names its styles itself.
    stylizer = stylize.Stylizer.load(report.files["float32"], runtime="tflite")
    assert stylizer.styles == tuple(STYLES)
    photo = samples.photo("chelsea")[:48, :64]
    blend = stylizer(photo, style={"mosaic": 3, "woodcut": 1})
    np.testing.assert_allclose(blend, of_keras(fusion, photo, [0, 0.75, 0.25]), atol=1e-3)
    assert np.abs(blend - stylizer(photo)).max() > 0.01
    told = runners.read_metadata(report.files["float16"])["inputs"]["style_weights"]
    assert told == {"dtype": "float32", "shape": [1, 3], "range": [0, 1], "sum": 1}


def test_float16_of_several_styles_is_refused_at_any_size(fusion, tmp_path):
    with pytest.raises(DeviceError, match="float16 of several styles.*--size"):
        device.export(convert.from_keras(fusion, "blend", CARD), ["float16"], tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("styles", [False, True])
def test_full_int8_is_calibrated_and_judged(generator, fusion, tmp_path, styles, monkeypatch):
    source = convert.from_keras(fusion if styles else generator, "tiny", CARD if styles else {})
    monkeypatch.setitem(BOUNDS, "tflite_int8", ("mean", 1.0))
    report = device.export(
        source, ["int8"], tmp_path, size=(48, 64), calibration=photos(5), photos=photos()
    )
    (path,) = report.files.values()
    assert path.name == "tiny.48x64.int8.tflite"
    assert report.content["calibration_photos"] == 5
    # The convolutions compute with integers, and not with weights that are unpacked first.
    details = Interpreter(
        model_path=str(path),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    types = {each["index"]: each["dtype"] for each in details.get_tensor_details()}
    convolutions = [op for op in details._get_ops_details() if op["op_name"] == "CONV_2D"]
    assert convolutions and {types[op["inputs"][0]] for op in convolutions} == {np.int8}
    assert report.content["variants"]["int8"]["parity"]["mean"] > 1e-4


def test_a_variant_beyond_its_bound_is_refused_with_figures_and_the_others_stay(
    source, tmp_path, monkeypatch
):
    monkeypatch.setitem(BOUNDS, "tflite_dynamic", ("mean", 1e-9))
    report = device.export(source, ["float32", "dynamic"], tmp_path, size=(48, 64), photos=photos())
    assert list(report.files) == ["float32"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "tiny.48x64.tflite",
        "tiny.48x64.tflite.json",
    ]
    assert "dynamic differs from Keras by mean " in report.refused["dynamic"]
    entry = report.content["variants"]["dynamic"]
    assert not entry["kept"] and f"{255 * entry['parity']['mean']:.2f}" in report.refused["dynamic"]


@pytest.mark.parametrize("folder", ["there", "new/deep"])
def test_where_none_is_kept_nothing_is_left(source, tmp_path, monkeypatch, folder):
    (tmp_path / "there").mkdir()
    monkeypatch.setitem(BOUNDS, "tflite_dynamic", ("mean", 1e-9))
    report = device.export(source, ["dynamic"], tmp_path / folder, photos=photos())
    assert (report.files, report.path) == ({}, None)
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


def test_nan_is_beyond_every_bound(tmp_path):
    broken = generators.fast_generator(width=4, depth=1)
    broken.set_weights([np.full_like(weight, np.nan) for weight in broken.get_weights()])
    source = convert.from_keras(broken, "broken")
    report = device.export(source, ["float32"], tmp_path, size=(48, 64), photos=photos())
    assert list(report.refused) == ["float32"] and not list(tmp_path.iterdir())


class Determinant(keras.layers.Layer):
    """TFLite has no such operation."""

    def call(self, x):
        return x * tf.linalg.det(x[:, :3, :3, 0])[:, None, None, None]


def test_an_operation_that_tflite_lacks_is_refused_and_leaves_nothing(tmp_path):
    image = keras.Input((None, None, 3))
    source = convert.from_keras(keras.Model(image, Determinant()(image)), "inverter")
    with pytest.raises(DeviceError, match="inverter: no float32 TFLite model"):
        device.export(source, ["float32"], tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_of_one_variant_the_file_can_be_named(source, tmp_path):
    report = device.export(
        source, ["dynamic"], tmp_path / "mine.tflite", size=(48, 64), photos=photos()
    )
    assert report.files == {"dynamic": tmp_path / "mine.tflite"}
    assert report.path == tmp_path / "mine.tflite.json"


@pytest.mark.parametrize(
    ("variants", "output", "options", "told"),
    [
        (["float64"], "out", {}, "float64.*give some of float32"),
        ([], "out", {}, "give some of float32"),
        (["float32"], "out", {"size": (8, 64)}, "size 8x64: give height and width from 16"),
        (["float32"], "out", {"size": (64, 9999)}, "size 64x9999"),
        (["float32", "dynamic"], "a.tflite", {}, "one file for 2 variants"),
        (["int8"], "out", {}, "int8 needs photos"),
        (["float32"], "taken", {}, "not a folder"),
        (["float32"], "folder.tflite", {}, "a folder. Give a file"),
    ],
)
def test_bad_wishes_are_refused_before_anything_is_written(
    source, tmp_path, variants, output, options, told
):
    (tmp_path / "taken").write_text("mine")
    (tmp_path / "folder.tflite").mkdir()
    with pytest.raises(DeviceError, match=told):
        device.export(source, variants, tmp_path / output, **options)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder.tflite", "taken"]


# -- sources ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["keras", "versions", "version", "name"])
def test_a_model_is_read_from_all_that_there_is_of_it(
    kind, generator, exported, tmp_path, monkeypatch
):
    model = {
        "keras": tmp_path / "tiny.keras",
        "versions": exported.parent,
        "version": exported,
        "name": "tiny",
    }[kind]
    if kind == "keras":
        generator.save(model)
    if kind == "name":
        monkeypatch.setattr(shelf, "model_folders", lambda: [exported.parents[1]])
    source = device.read(model)
    assert (source.name, source.styles) == ("tiny", ())
    photo = samples.photo("chelsea")[:33, :17]
    stylized = source.stylize(tf.constant(photo[np.newaxis]))[0]
    np.testing.assert_allclose(stylized, of_keras(generator, photo), atol=1e-4)


def test_a_saved_model_of_several_styles_keeps_their_names(fusion, tmp_path):
    folder = tmp_path / "blend"
    small_models.save(fusion, folder / "1", samples.photo("chelsea")[:48, :64], alone="float")
    (tmp_path / "blend.json").write_text(json.dumps({"version": 1, "styles": STYLES}))
    source = device.read(folder)
    assert source.styles == tuple(STYLES)
    photo = samples.photo("chelsea")[:40, :24]
    weights = np.array([[0.5, 0, 0.5]], np.float32)
    stylized = source.stylize(tf.constant(photo[np.newaxis]), tf.constant(weights))[0]
    np.testing.assert_allclose(stylized, of_keras(fusion, photo, weights[0]), atol=1e-4)


@pytest.mark.parametrize("kind", ["fast", "fusion", "gan"])
@pytest.mark.parametrize("averaged", [False, True])
def test_a_run_folder_gives_what_its_pipeline_would_export(kind, averaged, tmp_path, fusion):
    options = {"name": "mine", "width": 4, "depth": 1, "licence": "CC0-1.0", "steps": 5}
    if kind == "gan":
        options = {"name": "mine", "width": 4, "residual_blocks": 1, "norm": "instance"}
        options |= {"dropout": 0.5, "padding": "reflect", "noise_dim": 2}
        network = shaken(
            generators.unet_generator(width=4, residual_blocks=1, dropout=0.5, noise_dim=2)
        )
        expected = generators.at_zero_noise(network)
    else:
        network = expected = {
            "fast": shaken(generators.fast_generator(width=4, depth=1)),
            "fusion": fusion,
        }[kind]
    run = tmp_path / "runs" / "mine"
    run.mkdir(parents=True)
    (run / "options.json").write_text(json.dumps(options))
    parts = {"ema": network} if averaged else {}
    other = keras.models.clone_model(network)  # what was trained, where the average is exported
    trained = {"generator": other if averaged else network}
    checkpoint = tf.train.Checkpoint(**parts, **trained, step=tf.Variable(5))
    tf.train.CheckpointManager(checkpoint, run / "checkpoints", 1).save()
    source = device.read(run)
    assert source.name == "mine" and len(source.styles) == (3 if kind == "fusion" else 0)
    photo = samples.photo("chelsea")[:40, :24]
    weights = [0.25, 0, 0.75] if source.styles else None
    given = [tf.constant(photo[np.newaxis])] + ([tf.constant([weights])] if weights else [])
    expected = of_keras(expected, photo, weights)
    np.testing.assert_allclose(source.stylize(*given)[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("nothing.keras", "no such file"),
        ("mine.tflite", "is a TFLite file already"),
        ("nowhere", "no SavedModel of that name"),
        ("empty", "no checkpoint in it"),
    ],
)
def test_what_is_no_model_is_named(tmp_path, monkeypatch, model, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "options.json").write_text("{}")
    with pytest.raises(ValueError, match=told):
        device.read(model)


# -- operations -------------------------------------------------------------------------------

SHIPPED = [pytest.param(path, id=path.name) for path in shipped.paths("*.tflite")]


@pytest.mark.parametrize("path", SHIPPED)
def test_shipped_files_run_on_the_plain_kernels_of_litert_alone(path):
    assert len(flatbuffer.operators(path)) > 5
    # Without XNNPACK and any other delegate: what every LiteRT has.
    interpreter = Interpreter(
        model_path=str(path),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    # The image has four dimensions, the weights of styles two.
    inputs = interpreter.get_input_details()
    inputs.sort(key=lambda details: -len(details["shape"]))
    interpreter.resize_tensor_input(inputs[0]["index"], [1, 24, 40, 3])
    interpreter.allocate_tensors()
    interpreter.set_tensor(inputs[0]["index"], np.full((1, 24, 40, 3), 0.5, np.float32))
    for weights in inputs[1:]:
        interpreter.set_tensor(weights["index"], np.eye(*weights["shape"], dtype=np.float32))
    interpreter.invoke()
    (result,) = interpreter.get_output_details()
    assert interpreter.get_tensor(result["index"]).shape == (1, 24, 40, 3)


@pytest.mark.parametrize("path", SHIPPED)
def test_the_guide_for_phones_lists_the_operations_of_shipped_files(path):
    text = (ROOT / "docs" / "device.md").read_text("utf-8")
    missing = [name for name in flatbuffer.operators(path) if f"`{name}`" not in text]
    assert not missing


@pytest.mark.parametrize("path", SHIPPED)
def test_the_guide_for_phones_names_the_inputs_as_shipped_files_do(path):
    text = (ROOT / "docs" / "device.md").read_text("utf-8")
    interpreter = Interpreter(model_path=str(path))
    names = {details["name"] for details in interpreter.get_input_details()}
    assert "serving_default_images:0" in names and '"serving_default_images:0"' in text
    signature = interpreter.get_signature_list()["serving_default"]
    assert all(f'"{name}" to' in text for name in signature["inputs"] + signature["outputs"])


@pytest.mark.parametrize("path", SHIPPED)
def test_shipped_files_say_what_they_are(path):
    told = runners.read_metadata(path)
    assert path.name.startswith(told["name"]) and told["licence"]
    assert told["variant"] in convert.VARIANTS


def test_flex_operations_are_named(tmp_path):
    @tf.function(input_signature=[tf.TensorSpec([1, 3, 3], tf.float32)])
    def invert(x):
        return tf.linalg.det(x)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([invert.get_concrete_function()])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.SELECT_TF_OPS]
    path = tmp_path / "flex.tflite"
    path.write_bytes(converter.convert())
    with pytest.raises(ValueError, match="FlexMatrixDeterminant is not built in"):
        flatbuffer.operators(path)


# -- command line -----------------------------------------------------------------------------


def test_the_command_writes_a_table_and_a_report(generator, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    generator.save("tiny.keras")
    command = ["export", "tiny.keras", "--tflite", "float32,dynamic", "--size", "48x64", "-o", "d"]
    assert cli.main(command) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].split()[:2] == ["variant", "size"]
    assert told[1].split()[0] == "float32" and told[1].split()[-1] == "tiny.48x64.tflite"
    assert told[2].split()[0] == "dynamic"
    assert told[-1] == "Report d/tiny.48x64.tflite.json"
    assert sorted(path.name for path in Path("d").iterdir()) == [
        "tiny.48x64.dynamic.tflite",
        "tiny.48x64.tflite",
        "tiny.48x64.tflite.json",
    ]


def test_a_refusal_is_exit_code_1_and_leaves_nothing(generator, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    generator.save("tiny.keras")
    images.write("a.png", photos()[0])
    monkeypatch.setitem(BOUNDS, "tflite_int8", ("mean", 1e-9))
    command = ["export", "tiny.keras", "--tflite", "int8", "--calibration", "a.png"]
    assert cli.main([*command, "--size", "48x64", "-o", "d"]) == 1
    assert "refused: int8 differs from Keras by mean" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "tiny.keras"]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--tflite", "int4"], "int4: give float32, float16, dynamic, int8"),
        (["--tflite", "float32", "--size", "64"], "64: give height and width, such as 384x512"),
        (["--tflite", "float32", "--size", "0x9"], "0x9: give height and width"),
        (["--tflite", "int8"], "int8 needs --calibration"),
        (["--tflite", "float32", "--calibration", "."], "--calibration is for int8 alone"),
        (["--tflite", "int8", "--calibration", "."], "no images in it"),
    ],
)
def test_wrong_flags_end_in_exit_code_2(flags, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try:
        code = cli.main(["export", "tiny", *flags, "-o", "d"])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
