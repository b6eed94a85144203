"""Exports run as their users run them: by signature, in a graph session, in an interpreter."""

import hashlib
import json
import shutil
import struct
import types
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from tests import small_models
from tfstyle import files, images
from tfstyle.errors import ArgumentError
from tfstyle.export import (
    BOUNDS,
    MAX_SERVED_PIXELS,
    DeviceError,
    ExportError,
    announce,
    check_destination,
    check_name,
    convert,
    export,
    flatbuffer,
    saved_model,
)
from tfstyle.networks import generators

SIZES = [(16, 16), (17, 33), (64, 48), (3, 40)]


def tiny_generator(seed=0):
    """Few channels, and weights far enough from their start that every one of them matters."""
    rng = np.random.default_rng(seed)
    generator = generators.fast_generator(width=4, depth=1)
    generator.set_weights([w + rng.normal(0, 0.1, w.shape) for w in generator.get_weights()])
    return generator


@pytest.fixture(scope="module")
def generator():
    return tiny_generator()


@pytest.fixture(scope="module")
def exported(generator, tmp_path_factory):
    card = {"description": "A test.", "licence": "CC0-1.0", "limits": ["blind to cats"]}
    return export(generator, "tiny", directory=tmp_path_factory.mktemp("models"), card=card)


@pytest.fixture(scope="module")
def served(exported):
    return tf.saved_model.load(str(exported.saved_model))


def snapshot(folder):
    return {
        path.relative_to(folder): path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
    }


def png_that_claims(width, height):
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + crc


@pytest.mark.parametrize("size", SIZES)
def test_float_signature_equals_keras(served, generator, rng, size):
    batch = rng.random((2, *size, 3), np.float32)
    stylized = served.signatures["float"](images=tf.constant(batch))["stylized"]
    np.testing.assert_allclose(stylized, generator(batch, training=False), atol=1e-5)


def test_a_single_pixel_is_an_image_too(served):
    # What it becomes is noise: instance norm divides by its standard deviation, which is 0.
    batch = tf.constant([[[[10, 20, 30]]]], tf.uint8)
    assert served.signatures["serving_default"](images=batch)["stylized"].shape == [1, 1, 1, 3]


@pytest.mark.parametrize("size", SIZES)
def test_default_signature_rounds_keras_to_uint8(served, generator, rng, size):
    batch = rng.integers(0, 256, (2, *size, 3), np.uint8)
    stylized = served.signatures["serving_default"](images=tf.constant(batch))["stylized"]
    expected = generator(images.from_uint8(batch), training=False).numpy() * 255
    assert stylized.dtype == tf.uint8
    assert np.abs(stylized.numpy() - expected).max() <= 0.51


def test_encoded_signature_takes_images_of_different_sizes_in_one_call(served, generator, photo):
    files = [images.encode(photo[:20, :31]), images.encode(photo[:48, :17], "jpeg")]
    answer = served.signatures["encoded"](image_bytes=tf.constant(files))["stylized_bytes"]
    for file, stylized in zip(files, answer.numpy(), strict=True):
        assert stylized.startswith(b"\x89PNG")
        expected = generator(images.decode_bytes(file)[np.newaxis], training=False)[0]
        # The decoders of JPEG may differ by 1/255 before the generator.
        assert np.abs(images.decode_bytes(stylized) - expected).mean() < 2 / 255
        assert images.decode_bytes(stylized).shape == expected.shape


def test_encoded_signature_takes_no_images_at_all(served):
    answer = served.signatures["encoded"](image_bytes=tf.constant([], tf.string))
    assert answer["stylized_bytes"].shape == [0]


@pytest.mark.parametrize("damage", ["truncated", "foreign", "empty"])
def test_encoded_signature_refuses_what_it_cannot_decode(served, photo, damage):
    good = images.encode(photo)
    bad = {"truncated": good[: len(good) // 2], "foreign": b"%PDF-1.7", "empty": b""}[damage]
    with pytest.raises(tf.errors.InvalidArgumentError):
        served.signatures["encoded"](image_bytes=tf.constant([good, bad]))


def test_encoded_signature_names_the_limit_that_an_image_exceeds(served):
    bomb = png_that_claims(4001, 4000)
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"4001x4000.*{MAX_SERVED_PIXELS}"):
        served.signatures["encoded"](image_bytes=tf.constant([bomb]))


def test_names_are_those_of_the_rest_interface(served):
    names = {
        key: (list(signature.structured_input_signature[1]), list(signature.structured_outputs))
        for key, signature in served.signatures.items()
    }
    assert names == {
        "serving_default": (["images"], ["stylized"]),
        "float": (["images"], ["stylized"]),
        "encoded": (["image_bytes"], ["stylized_bytes"]),
    }


def test_saved_model_loads_and_runs_in_a_graph_session_as_in_tensorflow_serving(
    exported, generator, photo
):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        model = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(exported.saved_model))

        def run(key, output, **inputs):
            signature = model.signature_def[key]
            feed = {signature.inputs[name].name: value for name, value in inputs.items()}
            return session.run(signature.outputs[output].name, feed)

        batch = images.to_uint8(photo[np.newaxis, :33, :17])
        stylized = run("serving_default", "stylized", images=batch)
        file = images.encode(photo[:33, :17])
        encoded = run("encoded", "stylized_bytes", image_bytes=[file])
        with pytest.raises(tf.errors.InvalidArgumentError):
            run("encoded", "stylized_bytes", image_bytes=[file[:40]])
    expected = generator(images.from_uint8(batch), training=False)[0].numpy()
    np.testing.assert_allclose(images.from_uint8(stylized[0]), expected, atol=1 / 255)
    np.testing.assert_allclose(images.decode_bytes(encoded[0]), expected, atol=2 / 255)


def test_warm_up_asks_each_signature_and_runs_in_a_graph_session(exported):
    path = exported.saved_model / "assets.extra" / "tf_serving_warmup_requests"
    assert path.stat().st_size < 150_000
    records = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    requests = [PredictionLog.FromString(record).predict_log.request for record in records]
    asked = [request.model_spec.signature_name for request in requests]
    assert asked == ["serving_default", "float", "encoded"]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        model = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(exported.saved_model))
        for request in requests:
            signature = model.signature_def[request.model_spec.signature_name]
            assert request.inputs.keys() == signature.inputs.keys()
            (output,) = signature.outputs.values()
            feed = {
                signature.inputs[name].name: tf.make_ndarray(value)
                for name, value in request.inputs.items()
            }
            count = len(next(iter(feed.values())))
            assert len(session.run(output.name, feed)) == count


@pytest.mark.parametrize("key", ["serving_default", "float"])
@pytest.mark.parametrize("shape", [(1, 4001, 4000, 3), (0, 4, 4, 3), (1, 0, 4, 3)])
def test_tensors_beyond_the_limit_and_without_pixels_are_refused(exported, key, shape):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        model = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(exported.saved_model))
        signature = model.signature_def[key]
        batch = np.zeros(shape, np.uint8 if key == "serving_default" else np.float32)
        message = f"{shape[0]} images of {shape[2]}x{shape[1]} .*limit of {MAX_SERVED_PIXELS}"
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            session.run(
                signature.outputs["stylized"].name, {signature.inputs["images"].name: batch}
            )


def test_saved_model_holds_each_weight_once(exported, generator):
    prefix = exported.saved_model / "variables" / "variables"
    shapes = tf.train.load_checkpoint(str(prefix)).get_variable_to_shape_map()
    shapes.pop("_CHECKPOINTABLE_OBJECT_GRAPH")
    assert sum(np.prod(shape, dtype=int) for shape in shapes.values()) == generator.count_params()
    (data,) = exported.saved_model.glob("variables/*.data-*")
    assert data.stat().st_size < 1.5 * 4 * generator.count_params()


@pytest.mark.parametrize("variant", ["float32", "float16", "dynamic"])
def test_tflite_runs_at_any_size_in_built_in_operations(exported, generator, rng, variant):
    interpreter = Interpreter(model_path=str(exported.tflite[variant]))
    (source,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert list(source["shape_signature"]) == [1, -1, -1, 3]
    assert source["dtype"] == result["dtype"] == np.float32
    signatures = {"serving_default": {"inputs": ["images"], "outputs": ["stylized"]}}
    if variant != "float16":
        signatures["statistics"] = {"inputs": ["images"], "outputs": ["statistics"]}
        signatures["tiles"] = {"inputs": ["images", "statistics"], "outputs": ["stylized"]}
    assert interpreter.get_signature_list() == signatures
    # Variables in place of constants: the weights would not be in the file.
    operations = {details["op_name"] for details in interpreter._get_ops_details()}
    assert not [o for o in operations if o.startswith("Flex") or o in ("CUSTOM", "READ_VARIABLE")]

    tolerance = {"float32": 1e-4, "float16": 0.02, "dynamic": 0.1}[variant]
    for size in [*SIZES, SIZES[0]]:
        batch = rng.random((1, *size, 3), np.float32)
        interpreter.resize_tensor_input(source["index"], batch.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(source["index"], batch)
        interpreter.invoke()
        stylized = interpreter.get_tensor(result["index"])
        np.testing.assert_allclose(stylized, generator(batch, training=False), atol=tolerance)


def test_smaller_variants_are_smaller():
    source = convert.from_keras(generators.fast_generator(width=16, depth=1), "x")
    with convert.Conversion(source) as conversion:
        sizes = [len(conversion.to(each)) for each in ("float32", "float16", "dynamic")]
    assert sizes[1] < 0.65 * sizes[0] and sizes[2] < 0.45 * sizes[0]


def test_card_says_what_was_told_and_measured(exported, generator):
    card = json.loads(exported.card.read_text("utf-8"))
    assert list(card) == [
        "schema", "name", "version", "created", "tfstyle", "tensorflow", "keras", "description",
        "licence", "network", "parameters", "tile_margin", "memory_bytes_per_pixel", "signatures",
        "parity", "limits", "files", "versions",
    ]  # fmt: skip
    assert card["schema"] == 1
    network = {"builder": "fast_generator", "arguments": {"width": 4, "depth": 1}}
    network["arguments"]["noise"] = False
    assert card["network"] == network
    assert card["limits"][-1] == "blind to cats"
    assert (card["name"], card["version"]) == ("tiny", 1)
    assert card["created"].endswith("+00:00")
    assert card["parameters"] == generator.count_params()
    # In and out alone are 24; on another machine the kernels may differ.
    assert 24 < card["memory_bytes_per_pixel"] < 500
    assert card["signatures"]["encoded"]["inputs"] == {"image_bytes": "string [None]"}
    assert "blind to cats" in card["limits"] and len(card["limits"]) > 1
    assert card["parity"] == exported.parity
    assert BOUNDS.keys() - card["parity"].keys() == {"tflite_int8"}
    for artifact in BOUNDS.keys() & card["parity"].keys():
        measure, bound = BOUNDS[artifact]
        assert 0 <= card["parity"][artifact][measure] <= bound
    assert [entry["version"] for entry in card["versions"]] == [1]


def test_card_lists_every_file_with_its_size_and_hash(exported):
    folder = exported.card.parent
    files = json.loads(exported.card.read_text("utf-8"))["files"]
    there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    del there["tiny.json"]
    assert files.keys() == {name for name, path in there.items() if path.is_file()}
    for name, told in files.items():
        data = there[name].read_bytes()
        assert told == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def test_announcement_names_every_artifact(exported, capsys):
    announce(exported, "runs/tiny/result.jpg")
    told = capsys.readouterr().out
    for path in (exported.saved_model, *exported.tflite.values(), exported.card):
        assert f"{path}" in told.split()
    assert "runs/tiny/result.jpg" in told.split()
    # By its path, since it lies where no name is looked for.
    use = f"Use it      tfstyle stylize photo.jpg --model {exported.tflite['float32']}"
    assert use in told


@pytest.mark.usefixtures("quick")
def test_exporting_again_makes_version_2_and_leaves_version_1_untouched(exported, tmp_path, photo):
    folder = shutil.copytree(exported.card.parent, tmp_path / "models")
    before, old_tflite = snapshot(folder / "tiny" / "1"), (folder / "tiny.tflite").read_bytes()
    (folder / "tiny" / "notes").mkdir()  # not a version

    second = export(tiny_generator(2), "tiny", directory=folder, photo=photo)
    assert (second.version, second.saved_model) == (2, folder / "tiny" / "2")
    assert snapshot(folder / "tiny" / "1") == before
    assert second.tflite["float32"].read_bytes() != old_tflite
    card = json.loads(second.card.read_text("utf-8"))
    assert card["version"] == 2
    assert [entry["version"] for entry in card["versions"]] == [1, 2]
    assert sorted(path.name for path in folder.iterdir()) == [
        "tiny", "tiny.dynamic.tflite", "tiny.float16.tflite", "tiny.json", "tiny.tflite",
    ]  # fmt: skip


def test_model_trained_in_mixed_precision_is_exported_in_float32(tmp_path, photo, rng):
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        generator = tiny_generator()
        exported = small_models.exported(generator, "mixed", directory=tmp_path, photo=photo)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert "mixed_float16" in {layer.dtype_policy.name for layer in generator.layers}
    reference = tiny_generator()
    reference.set_weights(generator.get_weights())
    batch = rng.random((1, 40, 24, 3), np.float32)
    served = tf.saved_model.load(str(exported.saved_model))
    stylized = served.signatures["float"](images=tf.constant(batch))["stylized"]
    np.testing.assert_allclose(stylized, reference(batch, training=False), atol=1e-5)


def test_parity_beyond_the_bound_names_the_artifact_and_leaves_nothing(
    generator, photo, tmp_path, monkeypatch
):
    monkeypatch.setitem(BOUNDS, "tflite_float32", ("mean", 1e-12))
    with pytest.raises(ExportError, match=r"photo: tflite_float32 by mean .*bound 0") as error:
        small_models.exported(generator, "tiny", directory=tmp_path, photo=photo)
    assert "saved_model" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_parity_is_not_had_by_nan(exported, served, photo):
    broken = tiny_generator()
    broken.set_weights([np.full_like(w, np.nan) for w in broken.get_weights()])
    source = convert.from_keras(broken, "broken")
    with pytest.raises(ExportError, match="saved_model_float by max nan"):
        saved_model._parity(source, photo, served.signatures, exported.tflite)


def test_interruption_leaves_nothing(generator, photo, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        assert list(tmp_path.rglob("saved_model.pb"))
        raise KeyboardInterrupt

    monkeypatch.setattr(convert.Conversion, "to", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(generator, "tiny", directory=tmp_path, photo=photo)
    assert not list(tmp_path.iterdir())


class Determinant(keras.layers.Layer):
    """TFLite has no such operation."""

    def call(self, x):
        return x * tf.linalg.det(x[:, :3, :3, 0])[:, None, None, None]


def test_generator_that_tflite_cannot_run_is_refused_and_leaves_nothing(tmp_path, photo):
    image = keras.Input((None, None, 3))
    generator = keras.Model(image, Determinant()(image))
    with pytest.raises(ExportError, match="inverter: no float32 TFLite model"):
        export(generator, "inverter", directory=tmp_path, photo=photo)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", "../up", "a b", "a.b", "1/2", "café"])
def test_bad_names_are_refused(generator, tmp_path, name):
    with pytest.raises(ValueError, match="letters, digits"):
        check_name(name)
    with pytest.raises(ValueError, match="letters, digits"):
        export(generator, name, directory=tmp_path)


@pytest.mark.parametrize(
    "card, message",
    [
        ({"parity": {}}, "parity are filled in"),
        ({"schema": 1, "network": {}}, "network, schema are filled in"),
        ({"figures": {"loss": float("nan")}}, "not JSON"),
        ({"data": {1, 2}}, "not JSON"),
    ],
)
def test_bad_cards_are_refused_before_anything_is_converted(generator, tmp_path, card, message):
    with pytest.raises(ValueError, match=message):
        export(generator, "tiny", directory=tmp_path, card=card)
    assert not list(tmp_path.iterdir())


def test_older_card_that_cannot_be_read_is_kept(generator, tmp_path):
    older = tmp_path / "tiny.json"
    older.write_text("{")
    with pytest.raises(ExportError, match="tiny.json: not a model card"):
        export(generator, "tiny", directory=tmp_path)
    assert older.read_text() == "{"


def test_older_card_of_a_newer_tfstyle_is_kept(generator, tmp_path):
    older = tmp_path / "tiny.json"
    older.write_text(json.dumps({"name": "tiny", "schema": 7, "tfstyle": "9.9", "versions": []}))
    with pytest.raises(ArgumentError, match="tiny.json: a model card of schema 7.* tfstyle 9.9"):
        export(generator, "tiny", directory=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.json"]


@pytest.fixture
def quick(monkeypatch):
    """Exports in no time: files stand for what TensorFlow writes, and nothing is measured."""

    def save(_, folder, signatures):
        assert signatures
        (Path(folder) / "assets").mkdir(parents=True)
        (Path(folder) / "saved_model.pb").write_bytes(b"graph")

    monkeypatch.setattr(tf.saved_model, "save", save)
    monkeypatch.setattr(tf.saved_model, "load", lambda _: types.SimpleNamespace(signatures={}))
    monkeypatch.setattr(convert.Conversion, "to", lambda _, variant: variant.encode())
    monkeypatch.setattr(saved_model, "_parity", lambda *_: {})
    monkeypatch.setattr(saved_model, "_memory", lambda *_: 100)
    monkeypatch.setattr(saved_model.statistics, "reach", lambda *_: 5)


def blend():
    return generators.fusion_generator(styles=2, width=4, depth=1)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("listed", [True, False])
def test_files_that_only_the_older_version_had_are_removed(tmp_path, photo, listed):
    one = tiny_generator()
    export(one, "tiny", directory=tmp_path, photo=photo)
    export(one, "tiny2", directory=tmp_path, photo=photo)
    foreign = {"tiny.int8.tflite", "tiny.48x64.float16.tflite", "tiny.txt"}
    for name in foreign:
        (tmp_path / name).write_bytes(b"mine")
    older = json.loads((tmp_path / "tiny.json").read_text())
    before = snapshot(tmp_path / "tiny" / "1")
    if not listed:  # a card in between that did not speak of the file it left behind
        del older["files"]["tiny.float16.tflite"]
    outside = {"../tiny.tflite", "tiny2.tflite", "tiny/1/saved_model.pb"}  # what a card may claim
    older["files"] |= dict.fromkeys(outside, {})
    (tmp_path / "tiny.json").write_text(json.dumps(older))

    second = export(blend(), "tiny", directory=tmp_path, photo=photo, styles=["a", "b"])
    assert second.version == 2 and "float16" not in second.tflite
    there = {path.name for path in tmp_path.iterdir()}
    assert there == foreign | {
        "tiny", "tiny.json", "tiny.tflite", "tiny.dynamic.tflite", "tiny2", "tiny2.json",
        "tiny2.tflite", "tiny2.float16.tflite", "tiny2.dynamic.tflite",
    }  # fmt: skip
    assert snapshot(tmp_path / "tiny" / "1") == before


@pytest.mark.usefixtures("quick")
def test_of_a_first_version_no_file_is_removed(tmp_path, photo):
    (tmp_path / "tiny.float16.tflite").write_bytes(b"mine")
    export(blend(), "tiny", directory=tmp_path, photo=photo, styles=["a", "b"])
    assert (tmp_path / "tiny.float16.tflite").read_bytes() == b"mine"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("last", ["tiny.dynamic.tflite", "tiny.json"])
def test_a_crash_while_files_are_moved_leaves_the_older_version(tmp_path, photo, monkeypatch, last):
    export(tiny_generator(), "tiny", directory=tmp_path, photo=photo)
    before = snapshot(tmp_path)
    replace = files.os.replace

    def interrupt(source, target):
        if source.name == last and source.parent != tmp_path and not source.name.startswith("."):
            assert (tmp_path / "tiny" / "2").is_dir()
            assert (tmp_path / "tiny.float16.tflite").exists()
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(blend(), "tiny", directory=tmp_path, photo=photo, styles=["a", "b"])
    assert snapshot(tmp_path) == before


@pytest.mark.usefixtures("quick")
def test_a_crash_of_a_first_export_leaves_nothing(tmp_path, photo, monkeypatch):
    replace = files.os.replace

    def interrupt(source, target):
        if target == tmp_path / "tiny.json":
            raise OSError("no")
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", interrupt)
    with pytest.raises(OSError, match="no"):
        export(tiny_generator(), "tiny", directory=tmp_path, photo=photo)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("quick")
def test_a_network_that_no_builder_made_is_on_no_card(tmp_path, photo):
    image = keras.Input((None, None, 3))
    generator = keras.Model(image, keras.layers.Rescaling(0.5)(image))
    exported = export(generator, "half", directory=tmp_path, photo=photo)
    assert "network" not in json.loads(exported.card.read_text())


def test_what_is_wrong_with_a_destination_is_told_before_anything_is_made(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "taken").write_text("mine")
    (tmp_path / "broken.json").write_text("{")
    for name, directory, message in (
        ("a b", tmp_path, "letters, digits"),
        ("tiny", tmp_path / "file", "file: a file, and .* is to be a folder"),
        ("tiny", tmp_path / "file" / "in", "file: a file, and .* is to be a folder"),
        ("taken", tmp_path, "taken: a file, and .* is to be a folder"),
    ):
        with pytest.raises(ArgumentError, match=message):
            check_destination(name, directory)
    with pytest.raises(ExportError, match="broken.json: not a model card"):
        check_destination("broken", tmp_path)
    check_destination("tiny", tmp_path / "new" / "deep")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.json", "file", "taken"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder that nobody can write to")
def test_a_folder_that_cannot_be_written_is_told():
    with pytest.raises(
        ArgumentError, match="/proc/models: cannot be written .*Give another folder"
    ):
        check_destination("tiny", "/proc/models")


def test_a_kernel_that_the_float32_file_has_not_is_told_by_its_operator(monkeypatch):
    network = generators.fast_generator(width=16, depth=1)
    source = convert.from_keras(network, "x")
    network.set_weights([weight + 1 for weight in network.get_weights()])
    other = convert.convert(convert.from_keras(network, "y"), "float32")
    exact = flatbuffer.with_exact_kernels
    monkeypatch.setattr(flatbuffer, "with_exact_kernels", lambda dynamic, _: exact(dynamic, other))
    message = r"^x: no dynamic TFLite model: CONV_2D 0 \(kernel '.*stem.*', 16x5x5x3\): its 8-bit"
    with pytest.raises(DeviceError, match=message):
        convert.convert(source, "dynamic")
