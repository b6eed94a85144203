from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfstyle import features, images, samples


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
    with np.load(Path(features.__file__).parent / "assets" / "vgg16_imagenet.npz") as stored:
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
