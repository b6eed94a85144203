import dataclasses
import hashlib
import http.server
import os
import signal
import socket
import threading
import time
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings, strategies as st

import tfstyle
from tfstyle import features, images, losses
from tfstyle.data import samples
from tfstyle.features import applications, backbones, weights


@pytest.fixture(scope="module")
def extractor():
    return features.vgg16(features.VGG16_LAYERS)


@pytest.fixture(scope="module")
def two_photos():
    return np.stack(
        [images.resize(samples.photo(name), (75, 98)) for name in ("astronaut", "coffee")]
    )


@pytest.fixture(scope="module")
def keras_features(extractor, two_photos):
    """{layer: features} by Keras' own VGG16 and preprocessing, with the bundled weights."""
    reference = keras.applications.VGG16(weights=None, include_top=False)
    with np.load(Path(tfstyle.__file__).parent / "assets" / "vgg16_imagenet.npz") as stored:
        for layer in features.VGG16_LAYERS:
            weights = [stored[f"{layer}/{part}"].astype("float32") for part in ("kernel", "bias")]
            reference.get_layer(layer).set_weights(weights)
    outputs = {layer: reference.get_layer(layer).output for layer in features.VGG16_LAYERS}
    reference = keras.Model(reference.inputs[0], outputs)
    return reference(keras.applications.vgg16.preprocess_input(255 * two_photos))


@pytest.fixture(scope="module")
def own_features(extractor, two_photos):
    return extractor(two_photos)


@pytest.mark.parametrize("layer", features.VGG16_LAYERS)
def test_every_layer_equals_keras_vgg16_with_its_own_preprocessing(
    layer, own_features, keras_features
):
    own, expected = own_features[layer].numpy(), keras_features[layer].numpy()
    assert own.shape == expected.shape
    assert np.abs(own - expected).max() <= 1e-3 * np.abs(expected).max()
    assert np.linalg.norm(own - expected) <= 1e-3 * np.linalg.norm(expected)


def test_the_bundled_weights_are_those_that_know_photos(own_features):
    # Random weights leave about half of a ReLU's outputs at 0 and see much the same in any photo.
    deep = own_features["block5_conv1"].numpy()
    assert 0.7 < (deep == 0).mean() < 0.99
    one, other = deep.mean(axis=(1, 2))
    assert np.corrcoef(one, other)[0, 1] < 0.9


def test_nothing_is_trained_and_the_gradient_reaches_the_image(two_photos):
    extractor = features.vgg16(["block2_conv1"])
    assert extractor.trainable_variables == []
    photo = tf.Variable(two_photos[:1])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(extractor(photo, training=True)["block2_conv1"])
    gradient = tape.gradient(total, photo).numpy()
    assert np.isfinite(gradient).all()
    assert (np.abs(gradient).max(axis=-1) > 0).mean() > 0.99


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["block1_conv1", "conv9"], r"conv9 unknown\. Choose from block1_conv1, .*block5_conv1"),
        (["block5_conv2"], r"block5_conv2 unknown"),
        ([], r"at least one is needed\. Choose from block1_conv1"),
    ],
)
def test_unknown_layers_name_those_there_are(layers, message):
    with pytest.raises(ValueError, match=message):
        features.vgg16(layers)


def test_only_the_depth_asked_for_is_built():
    shallow = features.vgg16(["block2_conv2", "block1_conv2"])
    names = [layer.name for layer in shallow.layers if isinstance(layer, keras.layers.Conv2D)]
    assert names == ["block1_conv1", "block1_conv2", "block2_conv1", "block2_conv2"]
    assert set(shallow.output) == {"block1_conv2", "block2_conv2"}


def test_convolutions_in_bfloat16_give_float32_features_that_agree(two_photos, own_features):
    half = features.vgg16(features.VGG16_LAYERS, dtype="mixed_bfloat16")
    assert half.get_layer("block3_conv1").compute_dtype == "bfloat16"
    for layer, values in half(two_photos).items():
        assert values.dtype == "float32"
        error = np.linalg.norm(values - own_features[layer]) / np.linalg.norm(own_features[layer])
        assert error < 0.03, layer


def test_a_global_policy_changes_nothing(two_photos, own_features):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        result = features.vgg16(["block3_conv1"])(two_photos)["block3_conv1"]
    finally:
        keras.config.set_dtype_policy(policy)
    np.testing.assert_allclose(result, own_features["block3_conv1"], rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("size", [(16, 16), (17, 31)])
def test_blocks_halve_the_size_rounded_down(extractor, size):
    for layer, values in extractor(np.zeros((1, *size, 3), "float32")).items():
        halvings = int(layer[len("block")]) - 1
        assert values.shape[1:3] == tuple(side >> halvings for side in size)


# AlexNet, for LPIPS.


def correlate(x, kernel, bias, stride, padding):
    """A convolution with ReLU in NumPy: [H, W, C] -> [h, w, D]."""
    x = np.pad(x, ((padding, padding), (padding, padding), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], axis=(0, 1))
    result = np.einsum("yxcij,ijcd->yxd", windows[::stride, ::stride], kernel, optimize=True)
    return np.maximum(result + bias, 0)


def pool(x):
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(0, 1))
    return windows[::2, ::2].max(axis=(-2, -1))


def test_alexnet_equals_its_definition(two_photos):
    with np.load(Path(tfstyle.__file__).parent / "assets" / "alexnet_lpips.npz") as stored:
        parameters = [
            [stored[f"conv{i}/{part}"].astype("float64") for part in ("kernel", "bias")]
            for i in range(1, 6)
        ]
    photo = two_photos[0].astype("float64")
    x = ((2 * photo - 1) - (-0.030, -0.088, -0.188)) / (0.458, 0.448, 0.450)
    expected = []
    for layer, (stride, padding) in enumerate([(4, 2), (1, 2), (1, 1), (1, 1), (1, 1)]):
        x = pool(x) if layer in (1, 2) else x
        x = correlate(x, *parameters[layer], stride, padding)
        expected.append(x)
    found = features.alexnet()(two_photos[:1])
    assert tuple(found) == features.ALEXNET_LAYERS
    for values, by_hand in zip(found.values(), expected, strict=True):
        assert values.dtype == "float32"
        np.testing.assert_allclose(values[0], by_hand, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("size", "deepest"), [((31, 31), (1, 1)), ((64, 40), (3, 1))])
def test_alexnet_takes_every_size_from_31_pixels(size, deepest):
    image = np.zeros((2, *size, 3), "float32")
    assert features.alexnet(["conv5"])(image)["conv5"].shape == (2, *deepest, 256)


def test_alexnet_builds_only_the_depth_asked_for_and_names_unknown_layers():
    shallow = features.alexnet(["conv2"])
    assert [layer.name for layer in shallow.layers][-2:] == ["conv2", "conv2_features"]
    assert not shallow.trainable_variables
    with pytest.raises(ValueError, match=r"conv6 unknown\. Choose from conv1, .*conv5"):
        features.alexnet(["conv6"])


def test_alexnet_in_bfloat16_gives_float32_features_that_agree(two_photos):
    half = features.alexnet(["conv5"], dtype="mixed_bfloat16")(two_photos)["conv5"]
    full = features.alexnet(["conv5"])(two_photos)["conv5"]
    assert half.dtype == "float32"
    assert 0 < np.linalg.norm(half - full) < 0.05 * np.linalg.norm(full)


# The light VGG16.


@pytest.mark.parametrize(
    ("layer", "of_features", "of_grams"),
    [
        ("block1_conv1", 1e-5, 1e-6),
        # 1.5 times what benchmarks/light_features.py found on ten other photos.
        ("block2_conv1", 0.006, 0.006),
        ("block3_conv1", 0.045, 0.025),
        ("block4_conv1", 0.15, 0.12),
        ("block4_conv2", 0.25, 0.21),
        ("block5_conv1", 0.52, 0.62),
    ],
)
def test_the_light_vgg16_sees_nearly_the_same(layer, of_features, of_grams, two_photos):
    true, light = (
        build([layer])(two_photos)[layer] for build in (features.vgg16, features.vgg16_light)
    )
    assert true.shape == light.shape and np.min(light) == 0

    def share(true, light):
        return np.sum((true - light) ** 2) / np.sum(true**2)

    assert share(true, light) < of_features
    assert share(losses.gram(true), losses.gram(light)) < of_grams


def test_the_light_vgg16_is_frozen_and_has_a_quarter_of_the_weights(two_photos):
    def numbers(model):
        return sum(layer.kernel.shape.num_elements() for layer in model.layers if layer.weights)

    light = features.vgg16_light(features.VGG16_LAYERS)
    assert light.trainable_variables == []
    assert numbers(light) < numbers(features.vgg16(features.VGG16_LAYERS)) / 4
    photo = tf.Variable(two_photos[:1])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(light(photo)["block4_conv2"])
    assert (np.abs(tape.gradient(total, photo)).max(axis=-1) > 0).mean() > 0.99


def test_the_light_vgg16_has_its_own_weights_alone():
    with pytest.raises(ValueError, match=r"vgg16_light, weights my\.h5: it has its own alone"):
        features.vgg16_light(["block1_conv1"], weights="my.h5")
    with pytest.raises(ValueError, match="vgg16_light"):
        features.vgg16_light(["block9"])


# Networks of keras.applications, whole, with random weights.

APPLICATIONS = {
    "vgg19": (keras.applications.VGG19, keras.applications.vgg19.preprocess_input),
    "resnet50": (keras.applications.ResNet50, keras.applications.resnet50.preprocess_input),
    "densenet121": (
        keras.applications.DenseNet121,
        keras.applications.densenet.preprocess_input,
    ),
}
ALL_DEFAULTS = {
    name: (*backbone.style_layers, *backbone.content_layers)
    for name, backbone in features.BACKBONES.items()
}


@pytest.fixture(scope="module")
def random_networks():
    """{name: network}; weights of every kind are random, seeded."""
    rng = np.random.default_rng(0)
    networks = {}
    for name, (build, _) in APPLICATIONS.items():
        keras.utils.set_random_seed(0)
        networks[name] = build(include_top=False, weights=None, input_shape=(None, None, 3))
        for layer in networks[name].layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                low = np.array([0.5, -0.5, -0.5, 0.5])[:, None]
                layer.set_weights(rng.uniform(low, low + 1, (4, layer.gamma.shape[0])))
    return networks


@pytest.fixture(scope="module")
def extract(random_networks):
    """(name, layers, ...) -> extractor from a random network, without the way through a file."""

    def build(name, layers, **options):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(applications, "headless", lambda build: random_networks[name])
            patch.setattr(applications, "load_weights", lambda build, model, path: model)
            return features.BACKBONES[name].build(layers, weights="unused", **options)

    return build


@pytest.fixture(scope="module")
def random_extractors(extract):
    """{name: extractor of the default layers}."""
    return {name: extract(name, ALL_DEFAULTS[name]) for name in APPLICATIONS}


@pytest.mark.parametrize("name", APPLICATIONS)
def test_every_default_layer_equals_that_of_keras_with_its_own_preprocessing(
    name, random_networks, random_extractors, two_photos
):
    network = random_networks[name]
    outputs = {layer: network.get_layer(layer).output for layer in ALL_DEFAULTS[name]}
    reference = keras.Model(network.input, outputs)
    expected = reference(APPLICATIONS[name][1](255 * two_photos), training=False)
    own = random_extractors[name](two_photos, training=True)
    assert set(own) == set(expected)
    for layer, values in own.items():
        error = np.abs(values - expected[layer]).max() / np.abs(expected[layer]).max()
        assert error < 1e-3, layer


@pytest.mark.parametrize("name", APPLICATIONS)
def test_default_layers_come_after_a_relu_one_a_stride_from_fine_to_coarse(name, random_extractors):
    result = random_extractors[name](np.random.default_rng(0).random((1, 64, 64, 3), "float32"))
    sizes = [result[layer].shape[1] for layer in features.BACKBONES[name].style_layers]
    assert sizes == ([64, 32, 16, 8, 4] if name == "vgg19" else [32, 16, 8, 4])
    assert [result[layer].shape[1] for layer in features.BACKBONES[name].content_layers] == [8]
    for layer, values in result.items():
        assert np.min(values) == 0 < np.max(values), layer


@pytest.fixture
def no_new_networks(random_networks, monkeypatch):
    ready = {APPLICATIONS[name][0]: network for name, network in random_networks.items()}
    for module in (applications, backbones):
        monkeypatch.setattr(module, "headless", ready.get)


@pytest.mark.parametrize("name", features.BACKBONES)
def test_default_layers_may_be_asked_for(name, no_new_networks):
    assert set(ALL_DEFAULTS[name]) <= set(features.layer_names(name))


def test_layer_names_leave_out_the_image_and_mere_padding(no_new_networks):
    assert features.layer_names("vgg16") == features.VGG16_LAYERS
    assert features.layer_names("vgg19")[:3] == ("block1_conv1", "block1_conv2", "block1_pool")
    assert len(features.layer_names("vgg19")) == 16 + 5
    for name in ("resnet50", "densenet121"):
        assert not [layer for layer in features.layer_names(name) if "pad" in layer]
    with pytest.raises(
        ValueError, match=r"backbone alexnet: unknown. Choose from vgg16, vgg16_light,"
    ):
        features.layer_names("alexnet")


def test_resnet_is_frozen_and_the_gradient_reaches_the_image(random_extractors, two_photos):
    extractor = random_extractors["resnet50"]
    before = [variable.numpy() for variable in extractor.variables]
    assert extractor.trainable_variables == []
    photo = tf.Variable(two_photos[:1])
    with tf.GradientTape() as tape:
        result = extractor(photo, training=True)
        total = tf.reduce_sum(result["conv4_block1_out"])
    gradient = tape.gradient(total, photo).numpy()
    assert np.isfinite(gradient).all()
    assert (np.abs(gradient).max(axis=-1) > 0).mean() > 0.99
    for old, new in zip(before, extractor.variables, strict=True):
        np.testing.assert_array_equal(old, new)


def test_resnet_from_a_file_is_as_deep_as_asked_for(
    random_networks, random_extractors, two_photos, tmp_path
):
    random_networks["resnet50"].save_weights(tmp_path / "x.weights.h5")
    shallow = features.resnet50(["conv2_block1_out"], weights=tmp_path / "x.weights.h5")
    (tmp_path / "x.weights.h5").unlink()  # 94 MB
    names = [layer.name for layer in shallow.layers if isinstance(layer, keras.layers.Conv2D)]
    assert sorted(names) == ["conv1_conv", *(f"conv2_block1_{i}_conv" for i in range(4))]
    np.testing.assert_array_equal(
        shallow(two_photos)["conv2_block1_out"],
        random_extractors["resnet50"](two_photos)["conv2_block1_out"],
    )


def test_resnet_in_bfloat16_gives_float32_features_that_agree(
    extract, random_extractors, two_photos
):
    half = extract("resnet50", ["conv3_block1_out"], dtype="mixed_bfloat16")
    convolutions = [layer for layer in half.layers if isinstance(layer, keras.layers.Conv2D)]
    assert {layer.compute_dtype for layer in convolutions} == {"bfloat16"}
    values = half(two_photos)["conv3_block1_out"]
    expected = random_extractors["resnet50"](two_photos)["conv3_block1_out"]
    assert values.dtype == "float32"
    assert np.linalg.norm(values - expected) < 0.05 * np.linalg.norm(expected)


# Pooling.


def test_average_pooling_takes_the_place_of_max_pooling_in_vgg16(two_photos):
    extractor = features.vgg16(["block1_conv2", "block2_conv1"], pooling="average")
    result = extractor(two_photos)
    kernel, bias = extractor.get_layer("block2_conv1").get_weights()
    pooled = tf.nn.avg_pool2d(result["block1_conv2"], 2, 2, "VALID")
    expected = tf.nn.relu(tf.nn.conv2d(pooled, kernel, 1, "SAME") + bias)
    np.testing.assert_allclose(result["block2_conv1"], expected, rtol=1e-4, atol=1e-2)


def test_average_pooling_keeps_weights_and_geometry_in_resnet(extract, two_photos):
    layers = ["conv1_relu", "pool1_pool"]
    by_max = extract("resnet50", layers)
    by_mean = extract("resnet50", layers, pooling="average")
    for one, other in zip(by_max.get_weights(), by_mean.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    result = by_mean(two_photos)
    padded = tf.pad(result["conv1_relu"], [[0, 0], [1, 1], [1, 1], [0, 0]])
    expected = tf.nn.avg_pool2d(padded, 3, 2, "VALID")
    np.testing.assert_allclose(result["pool1_pool"], expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("build", [features.vgg16, features.resnet50])
def test_another_pooling_is_refused(build):
    with pytest.raises(ValueError, match=r"pooling median: unknown\. Choose from max, average\."):
        build(["conv1_relu"], pooling="median")


# Padding.


@pytest.mark.parametrize("name", ["vgg16", *APPLICATIONS])
def test_with_symmetric_padding_a_plain_image_has_no_border(name, extract):
    """Every position sees the same, so every feature is the same everywhere; with zeros not."""
    plain = np.full((1, 48, 64, 3), [0.7, 0.2, 0.4], "float32")

    def spread(padding):
        layers = ALL_DEFAULTS[name]
        if name == "vgg16":
            found = features.vgg16(layers, padding=padding)(plain)
        else:
            found = extract(name, layers, padding=padding)(plain)
        return {
            layer: float(np.max(np.ptp(values, axis=(1, 2))) / np.abs(values).max())
            for layer, values in found.items()
        }

    assert max(spread("symmetric").values()) < 1e-4
    assert min(spread("zero").values()) > 0.1


def test_symmetric_padding_repeats_the_border_and_leaves_the_inside_alone(two_photos):
    layers = ["block1_conv1", "block2_conv1"]
    zero = features.vgg16(layers)(two_photos)
    extractor = features.vgg16(layers, padding="symmetric")
    found = extractor(two_photos)
    kernel, bias = extractor.get_layer("block1_conv1").get_weights()
    less = 255 * two_photos - np.array([123.68, 116.779, 103.939])
    around = np.pad(less, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge").astype("float32")
    expected = tf.nn.relu(tf.nn.conv2d(around, kernel, 1, "VALID") + bias)
    np.testing.assert_allclose(found["block1_conv1"], expected, rtol=1e-3, atol=1e-1)
    for layer, edge in zip(layers, (1, 3), strict=True):
        inside = (slice(None), slice(edge, -edge), slice(edge, -edge))
        np.testing.assert_allclose(found[layer][inside], zero[layer][inside], rtol=1e-4, atol=1e-2)
        assert np.abs(found[layer] - zero[layer]).max() > 1


@pytest.mark.parametrize("build", [features.vgg16, features.vgg16_light, features.resnet50])
def test_another_padding_is_refused(build, extract):
    with pytest.raises(ValueError, match=r"padding wrap: unknown\. Choose from zero, symmetric\."):
        if build is features.resnet50:
            extract("resnet50", ["conv1_relu"], padding="wrap")
        else:
            build(["block1_conv1"], padding="wrap")


# Files of weights. The network is a small one: how they are read does not depend on it.


def small_network(include_top=True, weights=None, input_shape=None):
    """A stand-in for a function of keras.applications."""
    assert weights is None
    images = keras.Input(input_shape or (8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", name="conv1_conv")(images)
    x = keras.layers.BatchNormalization(name="conv1_bn")(x)
    x = keras.layers.MaxPooling2D(2, name="pool1")(x)
    x = keras.layers.Conv2D(5, 3, padding="same", name="conv2_conv")(x)
    if include_top:
        x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = keras.layers.Dense(10, name="predictions")(x)
    return keras.Model(images, x, name="small")


@pytest.fixture
def small(monkeypatch):
    """vgg19 gets the small network; nothing is in the cache, and nothing can be reached."""
    small = dataclasses.replace(applications._VGG19, build=small_network)
    monkeypatch.setattr(applications, "_VGG19", small)
    return small


def write_old_weights_file(network, path):
    """As the files of keras.applications are: older than Keras 3, with names of their own."""
    layers = [layer for layer in network.layers if layer.weights]
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.replace("_", "/") for layer in layers]
        for layer in layers:
            group = file.create_group(layer.name.replace("_", "/"))
            group.attrs["weight_names"] = [f"w{i}" for i in range(len(layer.weights))]
            for i, values in enumerate(layer.get_weights()):
                group[f"w{i}"] = values


@pytest.mark.parametrize("top", [False, True])
@pytest.mark.parametrize("name", ["x.weights.h5", "x.keras", "x.h5", "old.h5"])
def test_files_of_every_kind_are_read_with_and_without_the_top(name, top, small, tmp_path):
    network = small_network(include_top=top, input_shape=(8, 8, 3))
    network.set_weights(
        [np.random.default_rng(i).random(w.shape) for i, w in enumerate(network.weights)]
    )
    path = tmp_path / name
    if name == "x.weights.h5":
        network.save_weights(path)
    elif name == "old.h5":
        write_old_weights_file(network, path)
    else:
        network.save(path)
    extractor = features.vgg19(["conv2_conv"], weights=path)
    own = {layer.name: layer.get_weights() for layer in extractor.layers}
    for layer in ("conv1_bn", "conv2_conv"):
        for values, expected in zip(
            own[layer], network.get_layer(layer).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.h5", None, r"none\.h5: no such file\."),
        ("x.npz", b"", r"x\.npz: not those of keras\.applications\.small_network .*Give a"),
        ("x.h5", b"junk", r"x\.h5: not those of"),
        ("x.weights.h5", b"junk", r"x\.weights\.h5: not those of"),
        ("x.keras", b"junk", r"x\.keras: not those of"),
    ],
)
def test_files_that_hold_no_weights_are_named(name, content, message, small, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(features.WeightsError, match=message) as caught:
        features.vgg19(["conv1_conv"], weights=str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_weights_of_another_network_are_refused(small, tmp_path):
    other = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 5)])
    for name in ("x.weights.h5", "x.keras", "x.h5"):
        (other.save_weights if "weights" in name else other.save)(tmp_path / name)
        with pytest.raises(features.WeightsError, match=rf"{name}: not those of .*small_network"):
            features.vgg19(["conv1_conv"], weights=tmp_path / name)


def test_vgg16_takes_other_weights_than_the_bundled(tmp_path):
    network = keras.applications.VGG16(include_top=False, weights=None, input_shape=(None, None, 3))
    network.save_weights(tmp_path / "x.weights.h5")
    extractor = features.vgg16(["block2_conv1"], weights=tmp_path / "x.weights.h5")
    for layer in ("block1_conv2", "block2_conv1"):
        for values, expected in zip(
            extractor.get_layer(layer).get_weights(),
            network.get_layer(layer).get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize(
    ("build", "layers", "message"),
    [
        (features.vgg19, ["conv9"], r"vgg19 layers \['conv9'\]: conv9 unknown\. .*block5_pool\.$"),
        (features.vgg19, [], r"at least one is needed\. Choose from block1_conv1"),
        (features.resnet50, ["conv2_block3"], r"Near to that: conv2_block3_.*All 172: python -c "),
        (features.resnet50, ["zzz"], r"zzz unknown\. Some of them: conv1_conv, conv2_block"),
    ],
)
def test_unknown_layers_are_told_before_weights_are_fetched(
    build, layers, message, no_new_networks, monkeypatch
):
    monkeypatch.setattr(applications, "fetched", None)
    with pytest.raises(ValueError, match=message) as caught:
        build(layers)
    assert not isinstance(caught.value, features.WeightsError)


def test_a_global_policy_does_not_touch_the_weights_on_their_way(small, tmp_path):
    network = small_network(include_top=False, input_shape=(None, None, 3))
    network.save_weights(tmp_path / "x.weights.h5")
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float16")
    try:
        extractor = features.vgg19(["conv2_conv"], weights=tmp_path / "x.weights.h5")
    finally:
        keras.config.set_dtype_policy(policy)
    own, expected = (_.get_layer("conv2_conv").get_weights()[0] for _ in (extractor, network))
    np.testing.assert_array_equal(own, expected)


# Fetching.


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty folder where Keras keeps its models; no proxy is set."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for variable in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(variable)
    return tmp_path / "keras" / "models"


def left_in(cache):
    return sorted(path.name for path in cache.glob("*")) if cache.exists() else []


@pytest.fixture
def serve(monkeypatch):
    """serve(answer) -> list of paths asked for.

    answer: the bytes of the file, an HTTP status, or what is done once half a file is sent
    (more of it than is read at once).
    """
    servers = []

    def start(answer):
        asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                if isinstance(answer, int):
                    self.send_error(answer)
                    return
                content = answer if isinstance(answer, bytes) else b"half of it" * 2**16
                self.send_response(200)
                self.send_header("Content-Length", str(len(content) + 10 * callable(answer)))
                self.end_headers()
                self.wfile.write(content)
                if callable(answer):
                    answer()

            def log_message(self, *args):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        monkeypatch.setattr(applications, "SERVER", f"http://127.0.0.1:{server.server_port}")
        return asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def small_file(small, tmp_path, monkeypatch):
    """The bytes of a file that the small network is known by."""
    network = small_network(include_top=False, input_shape=(None, None, 3))
    write_old_weights_file(network, tmp_path / "served.h5")
    content = (tmp_path / "served.h5").read_bytes()
    known = dataclasses.replace(small, md5=hashlib.md5(content).hexdigest())
    monkeypatch.setattr(applications, "_VGG19", known)
    return content


FILE = "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"


def test_weights_are_fetched_once_and_then_taken_from_the_cache(small_file, serve, cache):
    asked = serve(small_file)
    once = features.vgg19(["conv2_conv"])
    assert asked == [f"/vgg19/{FILE}"]
    assert left_in(cache) == [FILE]
    assert (cache / FILE).read_bytes() == small_file

    again = features.vgg19(["conv2_conv"])
    assert len(asked) == 1
    for one, other in zip(once.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_damaged_file_in_the_cache_is_fetched_again(small_file, serve, cache):
    cache.mkdir(parents=True)
    (cache / FILE).write_bytes(small_file[:100])
    serve(small_file)
    features.vgg19(["conv1_conv"])
    assert (cache / FILE).read_bytes() == small_file


def test_what_is_not_the_file_asked_for_does_not_stay(small_file, serve, cache):
    serve(b"<html>Log in to the hotel's network</html>")
    with pytest.raises(features.WeightsError, match="cannot be fetched .what came has the MD5 "):
        features.vgg19(["conv1_conv"])
    assert left_in(cache) == []


def test_a_server_that_falls_silent_is_given_up_and_nothing_stays(
    small_file, serve, cache, monkeypatch
):
    silent, limits = threading.Event(), []

    def fall_silent():
        limits.append(socket.getdefaulttimeout())
        silent.wait(20)

    monkeypatch.setattr(weights, "_STALL_SECONDS", 0.3)
    serve(fall_silent)
    begin = time.monotonic()
    with pytest.raises(features.WeightsError, match=r"cannot be fetched \(.*timed out\)"):
        features.vgg19(["conv1_conv"])
    silent.set()
    assert time.monotonic() - begin < 5
    assert left_in(cache) == []
    # The other sockets of the process keep their limit, while this one is waited for too.
    assert limits == [None]


def test_a_file_that_ends_too_early_does_not_stay(small_file, serve, cache):
    serve(lambda: None)
    with pytest.raises(features.WeightsError, match=r"cannot be fetched \(.*10 more expected"):
        features.vgg19(["conv1_conv"])
    assert left_in(cache) == []


def test_an_interrupted_download_leaves_nothing_behind(small_file, serve, cache):
    waits = threading.Event()

    def interrupt():
        # Not before what was sent is being written: a signal between opening a file and entering
        # its block would find a file that nobody closes.
        while not any(path.stat().st_size for path in cache.glob(".tfstyle-*")):
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        waits.wait(20)

    serve(interrupt)
    with pytest.raises(KeyboardInterrupt):
        features.vgg19(["conv1_conv"])
    waits.set()
    assert left_in(cache) == []


def test_without_a_network_the_error_names_the_ways_to_do_without(small, cache, monkeypatch):
    def out_of_reach(*args, **kwargs):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", out_of_reach)
    with pytest.raises(features.WeightsError) as caught:
        features.vgg19(["conv1_conv"])
    message = str(caught.value)
    assert f"vgg19: {cache / FILE} is missing" in message
    assert f"https://storage.googleapis.com/tensorflow/keras-applications/vgg19/{FILE}" in message
    assert "cannot be fetched (Network is unreachable)" in message
    assert "vgg16, which is bundled" in message
    assert "--weights PATH" in message
    assert "\n" not in message


def test_a_server_that_refuses_is_quoted(small_file, serve, cache):
    serve(403)
    with pytest.raises(features.WeightsError, match=r"cannot be fetched \(403 Forbidden\)"):
        features.vgg19(["conv1_conv"])
    assert left_in(cache) == []


@pytest.mark.parametrize("proxy", ["http://user:secret@127.0.0.1:{}", "127.0.0.1:{}"])
def test_a_proxy_that_is_not_there_is_told_at_once(proxy, small, cache, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("https_proxy", proxy.format(unused.getsockname()[1]))
        with pytest.raises(features.WeightsError, match="the proxy that is set: .*refused") as told:
            features.vgg19(["conv1_conv"])
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("name", APPLICATIONS)
def test_place_and_checksum_of_the_weights_are_those_that_keras_knows(name, monkeypatch):
    known = {}

    def get_file(file, url, *, cache_subdir, file_hash):
        known.update(file=file, url=url, folder=cache_subdir, md5=file_hash)
        raise InterruptedError

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    with pytest.raises(InterruptedError):
        APPLICATIONS[name][0](include_top=False, weights="imagenet")
    own = getattr(applications, f"_{name.upper()}")
    assert known == {"file": own.file, "url": own.url, "folder": "models", "md5": own.md5}


# Tiles.


@pytest.mark.parametrize(
    ("build", "layer", "size", "stride"),
    [
        # Araujo, Norris and Sim 2019, "Computing Receptive Fields of Convolutional Neural Networks"
        # (https://distill.pub/2019/computing-receptive-fields), table of results.
        (keras.applications.VGG16, "block5_pool", 212, 32),
        ("resnet50", "conv5_block3_out", 483, 32),
    ],
)
def test_halo_agrees_with_published_receptive_fields(build, layer, size, stride, random_networks):
    if build in random_networks:
        network = random_networks[build]
    else:
        network = build(include_top=False, weights=None, input_shape=(None, None, 3))
    model = keras.Model(network.input, network.get_layer(layer).output)
    # A stride's worth of pixels lies at a feature's own place, where the field has even size.
    halo = (size - 1) // 2 if size % 2 else (size - stride) // 2
    assert features.receptive_field(model) == (halo, stride)


def test_halo_and_stride_are_the_largest_of_all_outputs():
    assert features.receptive_field(features.vgg16(["block1_conv1"])) == (1, 1)
    assert features.receptive_field(features.vgg16(["block1_conv1", "block2_conv1"])) == (4, 2)


def strides(model):
    """One for each output."""
    return [
        features.receptive_field(keras.Model(model.input, output))[1] for output in model.outputs
    ]


def compare_tile(model, image, tile, *, tolerance=1e-4):
    """Features of a tile from a crop and from the whole; no pixel beyond the halo has a say.

    tile: (top, bottom, left, right), multiples of the stride or at the image's border.
    """
    halo, stride = features.receptive_field(model)
    margin = -(-halo // stride) * stride
    height, width = image.shape[:2]
    top, bottom, left, right = tile
    crop = (
        slice(max(top - margin, 0), min(bottom + margin, height)),
        slice(max(left - margin, 0), min(right + margin, width)),
    )
    perturbed = 1 - image
    within = (
        slice(max(top - halo, 0), bottom + halo),
        slice(max(left - halo, 0), right + halo),
    )
    perturbed[within] = image[within]
    whole, outside, part = (
        keras.tree.flatten(model(each[None])) for each in (image, perturbed, image[crop])
    )
    for full, other, cropped, step in zip(whole, outside, part, strides(model), strict=True):
        rows, columns = (
            slice(-(-top // step), -(-bottom // step)),
            slice(-(-left // step), -(-right // step)),
        )
        expected = full.numpy()[0, rows, columns]
        own = cropped.numpy()[
            0,
            rows.start - crop[0].start // step : rows.stop - crop[0].start // step,
            columns.start - crop[1].start // step : columns.stop - crop[1].start // step,
        ]
        assert own.shape == expected.shape
        scale = tolerance * np.abs(full).max()
        np.testing.assert_allclose(own, expected, rtol=0, atol=scale)
        np.testing.assert_allclose(other.numpy()[0, rows, columns], expected, rtol=0, atol=scale)


@pytest.fixture(scope="module")
def large_photo():
    return images.resize(samples.photo("astronaut"), (215, 251))


@pytest.mark.parametrize("tile", [(96, 112, 112, 144), (0, 16, 240, 251)], ids=["middle", "corner"])
def test_vgg16_features_of_a_tile_equal_those_of_the_whole_image(tile, extractor, large_photo):
    compare_tile(extractor, large_photo, tile)


@pytest.mark.parametrize("tile", [(96, 112, 112, 144), (0, 16, 240, 251)], ids=["middle", "corner"])
def test_mirrored_features_of_a_tile_equal_those_of_the_whole_image(tile, large_photo):
    compare_tile(features.vgg16(["block3_conv1"], padding="symmetric"), large_photo, tile)


@pytest.fixture(scope="module")
def shallow_networks(extract):
    layers = {
        "resnet50": ["conv1_relu", "conv2_block1_out", "conv3_block1_out"],
        "densenet121": ["conv1_relu", "conv2_block2_0_relu", "conv3_block1_0_relu"],
    }
    return {name: extract(name, layers[name]) for name in layers}


@pytest.mark.parametrize("name", ["resnet50", "densenet121"])
@pytest.mark.parametrize("size", [(120, 136), (117, 131)])
@pytest.mark.parametrize("place", ["middle", "first corner", "last corner"])
def test_features_of_a_tile_equal_those_of_the_whole_image(
    name, size, place, shallow_networks, large_photo
):
    image = large_photo[: size[0], : size[1]]
    tile = {
        "middle": (48, 64, 56, 72),
        "first corner": (0, 16, 0, 8),
        "last corner": (112, size[0], 128, size[1]),
    }[place]
    compare_tile(shallow_networks[name], image, tile)


@pytest.mark.parametrize("name", ["vgg16", "resnet50"])
def test_the_halo_is_no_larger_than_it_must_be(name, extractor, shallow_networks, large_photo):
    model = extractor if name == "vgg16" else shallow_networks[name]
    halo, stride = features.receptive_field(model)
    whole = keras.tree.flatten(model(large_photo[None]))
    start, end = 96, 96 + stride

    def change(*rows):
        perturbed = large_photo.copy()
        perturbed[list(rows)] = 1 - perturbed[list(rows)]
        changed = keras.tree.flatten(model(perturbed[None]))
        return max(
            np.abs(one - other)[0, start // step : end // step].max() / np.max(one)
            for one, other, step in zip(whole, changed, strides(model), strict=True)
        )

    assert change(start - halo, end - 1 + halo) > 1e-4
    assert change(start - halo - 1, end + halo) < 1e-6


SIZES, STEPS = st.integers(1, 4), st.integers(1, 3)
PADDING = st.sampled_from(["same", "valid"])
LOCAL_LAYERS = st.one_of(
    st.tuples(st.just("strided"), SIZES, STEPS, PADDING),
    st.tuples(st.just("dilated"), st.integers(2, 4), st.just(2), PADDING),
    st.tuples(st.just("max"), STEPS, STEPS, PADDING),
    st.tuples(st.just("average"), STEPS, STEPS, PADDING),
    st.tuples(st.just("pad"), *[st.tuples(st.integers(0, 2), st.integers(0, 2))] * 2),
    st.tuples(st.just("add"), SIZES, SIZES),
    st.tuples(st.just("concatenate"), SIZES, SIZES),
)


def local_network(layers):
    x = images_in = keras.Input((None, None, 1))
    for kind, *values in layers:
        if kind == "strided":
            x = keras.layers.Conv2D(2, values[0], strides=values[1], padding=values[2])(x)
        elif kind == "dilated":
            x = keras.layers.Conv2D(2, values[0], dilation_rate=values[1], padding=values[2])(x)
        elif kind == "max":
            x = keras.layers.MaxPooling2D(*values)(x)
        elif kind == "average":
            x = keras.layers.AveragePooling2D(*values)(x)
        elif kind == "pad":
            x = keras.layers.ZeroPadding2D(tuple(values))(x)
        else:
            join = keras.layers.Add() if kind == "add" else keras.layers.Concatenate()
            x = join([keras.layers.Conv2D(2, size, padding="same")(x) for size in values])
            x = keras.layers.Activation("relu")(x)
    return keras.Model(images_in, x)


@settings(max_examples=60)
@given(st.lists(LOCAL_LAYERS, min_size=1, max_size=4), st.data())
def test_features_of_tiles_equal_those_of_the_whole_in_any_local_network(layers, data):
    model = local_network(layers)
    try:
        _, stride = features.receptive_field(model)
    except ValueError as error:
        assert "'same' padding" in str(error)
        assume(False)
    image = np.random.default_rng(0).random((data.draw(st.integers(90, 97)), 95, 1), "float32")
    tile = []
    for side in image.shape[:2]:
        begin = stride * data.draw(st.integers(0, side // stride // 2))
        tile += [begin, min(begin + stride * data.draw(st.integers(1, 50)), side)]
    compare_tile(model, image, tile)


def chain(*layers):
    x = images_in = keras.Input((None, None, 3))
    for layer in layers:
        x = layer(x)
    return keras.Model(images_in, x)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (keras.layers.Conv2D(1, 3, strides=2, padding="same", name="c"), "c: 'same' padding with"),
        (keras.layers.MaxPooling2D(3, 2, padding="same", name="p"), "p: 'same' padding with"),
        (keras.layers.UpSampling2D(2, name="u"), "u: the receptive field of UpSampling2D is not"),
        (keras.layers.GroupNormalization(1, name="n"), "n: the receptive field of"),
        (chain(keras.layers.ReLU()), "the receptive field of Functional is not known"),
    ],
)
def test_layers_whose_reach_is_not_known_are_named(layer, message):
    with pytest.raises(ValueError, match=message):
        features.receptive_field(chain(layer))


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (keras.layers.Conv2D(1, (3, 7), padding="same"), (3, 1)),
        (keras.layers.Conv2D(1, 3, dilation_rate=2, padding="same"), (2, 1)),
        (keras.layers.Conv2D(1, 4), (3, 1)),
        (keras.layers.Conv2D(1, 1, strides=2), (0, 2)),
        (keras.layers.MaxPooling2D((2, 3)), (0, 6)),
        (keras.layers.ZeroPadding2D(((2, 0), (0, 5))), (2, 1)),
        (keras.layers.ReLU(), (0, 1)),
    ],
)
def test_halo_and_stride_of_a_single_layer(layer, expected):
    assert features.receptive_field(chain(layer)) == expected


def test_joins_of_different_strides_and_shared_layers_are_refused():
    x = keras.Input((None, None, 3))
    pooled = keras.layers.MaxPooling2D(1, 2, padding="valid")(x)
    with pytest.raises(ValueError, match="a: joins features of different places"):
        features.receptive_field(keras.Model(x, keras.layers.Add(name="a")([x, pooled])))
    shared = keras.layers.Conv2D(3, 3, padding="same", name="shared")
    with pytest.raises(ValueError, match="called more than once"):
        features.receptive_field(keras.Model(x, shared(shared(x))))
