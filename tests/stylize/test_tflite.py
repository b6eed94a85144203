"""TFLite files, and the whole of `tfstyle stylize` without TensorFlow."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import small_models
from tfstyle import cli, images, metrics, stylize
from tfstyle.data import samples
from tfstyle.export import convert, flatbuffer
from tfstyle.networks import generators
from tfstyle.stylize import runners

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "saved_models" / "starry_night.tflite"


@pytest.fixture(scope="module")
def generator():
    return small_models.fast()


@pytest.fixture(scope="module")
def fixed(generator, tmp_path_factory):
    """A TFLite file that takes 48x64 alone."""
    path = tmp_path_factory.mktemp("models") / "tiny.48x64.tflite"
    path.write_bytes(
        convert.convert(convert.from_keras(generator, "tiny"), "float32", size=(48, 64))
    )
    return path


# -- 8-bit weights ----------------------------------------------------------------------------


def kernels(path):
    """[(kernel, stride)] of the convolutions of a file, in their order; float32 or int8."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(path)
    graph = model.subgraphs[0]
    found = []
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex].builtinCode
        if code == schema.BuiltinOperator.CONV_2D:
            tensor = graph.tensors[operator.inputs[1]]
            dtype = {schema.TensorType.FLOAT32: np.float32, schema.TensorType.INT8: np.int8}
            data = np.asarray(model.buffers[tensor.buffer].data, np.uint8).tobytes()
            kernel = np.frombuffer(data, dtype[tensor.type]).reshape(tensor.shape)
            found.append((kernel, operator.builtinOptions.strideH))
    return found


@pytest.mark.parametrize("build", ["fast", "fusion"])
def test_kernels_that_8_bits_cost_most_stay_exact(build, tmp_path):
    network = {
        "fast": lambda: generators.fast_generator(width=16, depth=1),
        "fusion": lambda: generators.fusion_generator(styles=2, width=16, depth=1),
    }[build]()
    source = convert.from_keras(small_models.shaken(network), "some")
    paths = {variant: tmp_path / f"{variant}.tflite" for variant in ("float32", "dynamic")}
    with convert.Conversion(source) as conversion:
        for variant, path in paths.items():
            path.write_bytes(conversion.to(variant))
    exact, found = (kernels(paths[variant]) for variant in ("float32", "dynamic"))
    # The stem and two halvings; a block; two doublings and the head, which doubles too.
    assert [stride for _, stride in found] == [2, 2, 2, 1, 1, 1, 1, 1]
    assert [kernel.dtype == np.float32 for kernel, _ in found] == [True] * 3 + [False] * 4 + [True]
    for (kernel, _), (twin, _) in zip(found, exact, strict=True):
        assert kernel.dtype == np.int8 or np.array_equal(kernel, twin)


@pytest.mark.parametrize("name", ["starry_night", "ten_styles", "vangogh_gan"])
def test_8_bits_bring_no_checkerboard_into_what_ships(name):
    image = images.fit(samples.photo("chelsea"), 256)[np.newaxis]
    ratios = []
    for path in (f"{name}.tflite", f"{name}.dynamic.tflite"):
        run = runners.TFLiteRunner(SHIPPED.with_name(path), 1)
        weights = [np.eye(run.styles, dtype=np.float32)[:1]] if run.styles else []
        ratios.append(metrics.checkerboard(run(image, *weights)[0]))
    for period in (2, 4, 8):
        assert ratios[1][period] <= 1.5 * ratios[0][period]


# -- metadata ---------------------------------------------------------------------------------


def test_metadata_comes_back_and_is_replaced_and_the_network_stays(tmp_path):
    path = tmp_path / "other.tflite"
    before = runners.read_metadata(SHIPPED)
    told = {"name": "other", "variant": "float32", "styles": ["Grün", "雪"]}
    path.write_bytes(flatbuffer.with_metadata(SHIPPED.read_bytes(), told))
    assert runners.read_metadata(path) == told
    assert runners.read_metadata(SHIPPED) == before != told
    path.write_bytes(flatbuffer.with_metadata(path.read_bytes(), told | {"name": "again"}))
    assert runners.read_metadata(path)["name"] == "again"
    assert path.stat().st_size < SHIPPED.stat().st_size + 2000
    image = samples.photo("chelsea")[np.newaxis, :40, :24]
    np.testing.assert_array_equal(
        runners.TFLiteRunner(path, 1)(image), runners.TFLiteRunner(SHIPPED, 1)(image)
    )
    assert flatbuffer.operators(path) == flatbuffer.operators(SHIPPED)


def test_a_file_without_metadata_says_nothing(tmp_path):
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(SHIPPED)
    model.metadata = []
    flatbuffer_utils.write_model(model, tmp_path / "bare.tflite")
    assert runners.read_metadata(tmp_path / "bare.tflite") == {}


@pytest.mark.parametrize("content", [b"", b"hello, this is no model at all"])
def test_what_is_no_model_is_named(tmp_path, content):
    path = tmp_path / "notes.tflite"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="notes.tflite: not a TFLite model"):
        runners.read_metadata(path)
    with pytest.raises(ValueError, match="notes.tflite: not a TFLite model"):
        runners.TFLiteRunner(path, 1)


# -- files of one size ------------------------------------------------------------------------


def test_a_file_of_one_size_paints_that_size_as_keras_does(fixed, generator):
    stylizer = stylize.Stylizer.load(fixed)
    assert stylizer.size == (48, 64)
    photo = images.resize(samples.photo("coffee"), (48, 64))
    expected = generator(photo[np.newaxis], training=False)[0]
    np.testing.assert_allclose(stylizer(photo), expected, atol=1e-3)


@pytest.mark.parametrize("size", [(24, 64), (96, 128), (64, 48), (1, 300), (300, 1), (200, 17)])
def test_a_file_of_one_size_fits_other_photos_into_it(fixed, generator, size):
    stylizer = stylize.Stylizer.load(fixed)
    photo = images.resize(samples.photo("coffee"), size)
    stylized = stylizer(photo)
    assert stylized.shape == photo.shape and np.isfinite(stylized).all()
    if size == (24, 64):  # as large as it may be: the rest is its mirror image
        padded = np.pad(photo, ((0, 24), (0, 0), (0, 0)), mode="reflect")
        expected = generator(padded[np.newaxis], training=False)[0, :24]
        np.testing.assert_allclose(stylized, expected, atol=1e-3)
    if size == (96, 128):  # shrunk, and enlarged again
        small = images.resize(photo, (48, 64))
        expected = generator(small[np.newaxis], training=False)[0].numpy()
        np.testing.assert_allclose(stylized, images.resize(expected, size), atol=1e-3)


# -- runtime ----------------------------------------------------------------------------------


def test_runtime_tflite_takes_the_file_beside_a_saved_model():
    photo = samples.photo("chelsea")[:40, :24]
    expected = stylize.Stylizer.load(SHIPPED)(photo)
    for model in (ROOT / "saved_models" / "starry_night", SHIPPED, "starry_night"):
        stylizer = stylize.Stylizer.load(model, runtime="tflite")
        np.testing.assert_array_equal(stylizer(photo), expected)


def test_runtime_tflite_refuses_what_needs_tensorflow(generator, tmp_path):
    generator.save(tmp_path / "tiny.keras")
    with pytest.raises(ValueError, match="tiny.keras: no TFLite file.*tfstyle export"):
        stylize.Stylizer.load(tmp_path / "tiny.keras", runtime="tflite")
    with pytest.raises(ValueError, match="in memory needs TensorFlow"):
        stylize.Stylizer.load(generator, runtime="tflite")


def test_another_runtime_is_refused(capsys):
    with pytest.raises(SystemExit):
        cli.main(["stylize", "a.jpg", "--runtime", "onnx"])
    assert "onnx: give auto, tflite" in capsys.readouterr().err


# TensorFlow is installed where the tests run: this makes it look as if it were not.
WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from tfstyle import cli
sys.exit(cli.main(sys.argv[1:]))
"""


def without_tensorflow(*arguments, folder):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )


def sixteen_bits(path):
    images_16 = images.encode(images.resize(samples.photo("coffee"), (32, 48)), bits=16)
    Path(path).write_bytes(images_16)


def test_stylizing_needs_no_tensorflow(tmp_path):
    images.write(tmp_path / "a.jpg", images.resize(samples.photo("coffee"), (32, 48)))
    sixteen_bits(tmp_path / "deep.png")
    result = without_tensorflow(
        "stylize", "a.jpg", "deep.png", "-o", "out/", "--model", SHIPPED, folder=tmp_path
    )
    assert result.returncode == 0, result.stderr
    deep = images.read(tmp_path / "out" / "deep.png")
    expected = stylize.Stylizer.load(SHIPPED)(images.read(tmp_path / "deep.png"))
    # 8 bits of each channel are what Pillow reads.
    assert np.abs(deep - expected).mean() < 1 / 255


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["stylize", "a.jpg", "--model", "tiny.keras"], "tiny.keras: needs keras, which is not"),
        (
            ["stylize", "a.jpg", "--model", ROOT / "saved_models" / "starry_night"],
            "needs tensorflow, which is not installed. Give a .tflite file",
        ),
        (
            ["web", "-o", "site", "--model", ROOT / "saved_models" / "starry_night"],
            "TensorFlow is needed, which",
        ),
        (
            ["export", ROOT / "saved_models" / "starry_night", "--tflite", "float32", "-o", "d"],
            "TensorFlow is needed, which",
        ),
    ],
)
def test_what_needs_tensorflow_says_so_in_one_line(tmp_path, arguments, told):
    images.write(tmp_path / "a.jpg", images.resize(samples.photo("coffee"), (32, 48)))
    (tmp_path / "tiny.keras").write_bytes(b"PK")
    result = without_tensorflow(*arguments, folder=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1 and told in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "tiny.keras"]


@pytest.mark.slow
def test_a_venv_of_the_device_requirements_stylizes_a_photo(tmp_path):
    """Fetches the requirements from PyPI, as a device would."""
    python = tmp_path / "venv" / "bin" / "python"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(*command):
        return subprocess.run(
            list(map(str, command)),
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=900,
        )

    assert run(sys.executable, "-m", "venv", tmp_path / "venv").returncode == 0
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    fetched = run(*pip, "-r", ROOT / "deploy" / "device.txt")
    if fetched.returncode and "No matching distribution" not in fetched.stderr:
        pytest.skip(f"PyPI cannot be reached: {fetched.stderr[-300:]}")
    assert fetched.returncode == 0, fetched.stderr
    # A copy: building leaves folders in the sources.
    checkout = tmp_path / "checkout"
    for name in ("tfstyle", "saved_models"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, checkout / name, ignore=ignore)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, checkout)
    made = run(*pip, "--no-deps", checkout)
    assert made.returncode == 0, made.stderr

    for module in ("tensorflow", "keras"):
        assert "ModuleNotFoundError" in run(python, "-c", f"import {module}").stderr
    images.write(tmp_path / "cat.jpg", images.resize(samples.photo("chelsea"), (96, 128)))
    tfstyle = tmp_path / "venv" / "bin" / "tfstyle"
    result = run(tfstyle, "stylize", "cat.jpg", "-o", "out.png", "--runtime", "tflite")
    assert result.returncode == 0, result.stderr
    expected = stylize.Stylizer.load(SHIPPED)(images.read(tmp_path / "cat.jpg"))
    assert np.abs(images.read(tmp_path / "out.png") - expected).max() < 2 / 255
    assert "starry_night" in run(tfstyle, "models").stdout
