import math

import hypothesis
import hypothesis.extra.numpy
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from tfstyle import losses

many = hypothesis.settings(deadline=None, max_examples=40, derandomize=True)


def feature_maps(low=-3):
    """[B, H, W, C], small and of any proportions, values from `low` to 3."""
    elements = st.floats(low, 3, width=32)
    shape = hypothesis.extra.numpy.array_shapes(min_dims=4, max_dims=4, max_side=5)
    return hypothesis.extra.numpy.arrays(np.float32, shape, elements=elements)


def gram_by_loops(features):
    batch, height, width, channels = features.shape
    result = np.zeros((batch, channels, channels))
    for b in range(batch):
        for i in range(channels):
            for j in range(channels):
                for y in range(height):
                    for x in range(width):
                        result[b, i, j] += float(features[b, y, x, i]) * features[b, y, x, j]
    return result / (height * width)


@many
@hypothesis.given(feature_maps())
def test_gram_is_the_mean_product_of_channels(features):
    result = losses.gram(features)
    assert result.dtype == "float32"
    np.testing.assert_allclose(result, gram_by_loops(features), rtol=1e-5, atol=1e-5)


def test_gram_of_a_small_map_by_hand():
    # Two positions, two channels: (1, 2) and (3, -4).
    features = np.array([[[[1, 2], [3, -4]]]])
    expected = [[[(1 + 9) / 2, (2 - 12) / 2], [(2 - 12) / 2, (4 + 16) / 2]]]
    np.testing.assert_allclose(losses.gram(features), expected)


def test_gram_of_constant_features_is_their_outer_product():
    value = np.array([0.5, -2.0, 3.0], "float32")
    features = np.broadcast_to(value, (2, 5, 7, 3))
    np.testing.assert_allclose(losses.gram(features), [np.outer(value, value)] * 2, rtol=1e-6)


@many
@hypothesis.given(feature_maps(), st.integers(1, 3), st.integers(1, 3))
def test_gram_does_not_depend_on_the_size_of_a_repeated_pattern(features, down, across):
    tiled = np.tile(features, (1, down, across, 1))
    np.testing.assert_allclose(losses.gram(tiled), losses.gram(features), rtol=1e-4, atol=1e-5)


def test_gram_of_float16_features_does_not_overflow(rng):
    # 300^2 is beyond float16's 65504, and so is a sum over positions of much smaller squares.
    features = rng.uniform(250, 350, (1, 32, 32, 4)).astype("float16")
    result = losses.gram(features)
    assert result.dtype == "float32"
    flat = features.reshape(-1, 4).astype("float64")
    np.testing.assert_allclose(result[0], flat.T @ flat / len(flat), rtol=1e-5)


def test_gram_needs_no_static_shape(rng):
    features = rng.normal(size=(2, 3, 4, 5)).astype("float32")
    unknown = tf.function(losses.gram, input_signature=[tf.TensorSpec([None] * 4)])
    np.testing.assert_allclose(unknown(features), losses.gram(features), rtol=1e-6)


@many
@hypothesis.given(feature_maps(), st.integers(0, 2**32 - 1))
def test_content_loss_is_the_mean_of_each_images_relative_squared_error(target, seed):
    features = np.random.default_rng(seed).normal(size=target.shape).astype("float32")
    ratios = []
    for image, reference in zip(features.astype("float64"), target, strict=True):
        energy = sum(float(value) ** 2 for value in reference.ravel())
        error = sum((a - b) ** 2 for a, b in zip(image.ravel(), reference.ravel(), strict=True))
        ratios.append(error / energy if energy > 1e-30 else 0.0)
    hypothesis.assume(max(ratios) < 1e6)
    result = losses.content_loss(features=features, target=target)
    np.testing.assert_allclose(result, np.mean(ratios), rtol=1e-4)


def test_content_loss_is_0_for_equal_1_for_zeros_and_4_for_the_opposite(rng):
    target = rng.normal(size=(2, 4, 5, 3))
    assert losses.content_loss(features=target, target=target) == 0
    np.testing.assert_allclose(losses.content_loss(features=0 * target, target=target), 1)
    np.testing.assert_allclose(losses.content_loss(features=-target, target=target), 4, rtol=1e-6)


def test_content_loss_does_not_depend_on_scale_or_size(rng):
    features, target = rng.normal(size=(2, 2, 4, 5, 3)).astype("float32")
    loss = losses.content_loss(features=features, target=target)
    scaled = losses.content_loss(features=1000 * features, target=1000 * target)
    np.testing.assert_allclose(scaled, loss, rtol=1e-5)
    tiled = [np.tile(x, (1, 3, 2, 1)) for x in (features, target)]
    np.testing.assert_allclose(
        losses.content_loss(features=tiled[0], target=tiled[1]), loss, rtol=1e-5
    )


def test_content_loss_of_a_target_without_features_is_finite(rng):
    features = rng.normal(size=(1, 2, 2, 3))
    assert losses.content_loss(features=features, target=0 * features) == 0


def layers_of_grams(rng, batch=2):
    return {
        "shallow": losses.gram(rng.normal(size=(batch, 6, 5, 3))),
        "deep": losses.gram(rng.normal(size=(batch, 3, 2, 4)) * 50),
    }


@pytest.mark.parametrize("layer_weights", [None, {"shallow": 0.2, "deep": 3.0}])
def test_style_loss_adds_up_each_layers_relative_squared_error(rng, layer_weights):
    grams, targets = layers_of_grams(rng), layers_of_grams(rng, batch=1)
    expected = 0
    for layer, weight in (layer_weights or {"shallow": 0.5, "deep": 0.5}).items():
        target = targets[layer].numpy()[0].astype("float64")
        for of_image in grams[layer].numpy():
            relative = ((of_image - target) ** 2).sum() / (target**2).sum()
            expected += weight * relative / len(grams[layer])
    result = losses.style_loss(grams=grams, targets=targets, layer_weights=layer_weights)
    assert result.dtype == "float32"
    np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_style_loss_is_0_for_the_style_1_for_zeros_and_does_not_depend_on_scale(rng):
    grams, targets = layers_of_grams(rng), layers_of_grams(rng)
    assert losses.style_loss(grams=targets, targets=targets) == 0
    zeros = {layer: tf.zeros_like(gram) for layer, gram in targets.items()}
    np.testing.assert_allclose(losses.style_loss(grams=zeros, targets=targets), 1, rtol=1e-6)
    loss = losses.style_loss(grams=grams, targets=targets)
    tenfold = [{layer: 10 * gram for layer, gram in g.items()} for g in (grams, targets)]
    np.testing.assert_allclose(
        losses.style_loss(grams=tenfold[0], targets=tenfold[1]), loss, rtol=1e-5
    )


def test_style_loss_does_not_see_where_pixels_are(rng):
    features = rng.normal(size=(2, 6, 8, 3))
    targets = {"layer": losses.gram(rng.normal(size=(1, 5, 5, 3)))}
    shuffled = rng.permutation(features.reshape(2, 48, 3), axis=1).reshape(features.shape)
    assert not np.array_equal(features, shuffled)
    np.testing.assert_allclose(
        losses.style_loss(grams={"layer": losses.gram(shuffled)}, targets=targets),
        losses.style_loss(grams={"layer": losses.gram(features)}, targets=targets),
        rtol=1e-5,
    )


def test_style_loss_compares_the_layers_of_the_style_only(rng):
    grams, targets = layers_of_grams(rng), layers_of_grams(rng)
    only = {"deep": targets["deep"]}
    assert losses.style_loss(grams=grams, targets=only) == losses.style_loss(
        grams={"deep": grams["deep"]}, targets=only
    )


@pytest.mark.parametrize("weights", [{"shallow": 1.0}, {"shallow": 1, "deep": 1, "deepest": 1}])
def test_layer_weights_for_other_layers_name_both(rng, weights):
    grams = layers_of_grams(rng)
    with pytest.raises(ValueError, match=r"shallow.*the style's layers are \['deep', 'shallow'\]"):
        losses.style_loss(grams=grams, targets=grams, layer_weights=weights)


@many
@hypothesis.given(feature_maps(low=0))
def test_total_variation_is_the_mean_square_step_down_plus_across(images):
    batch, height, width, channels = images.shape
    down, across = [], []
    for b in range(batch):
        for c in range(channels):
            for y in range(height):
                for x in range(width):
                    here = float(images[b, y, x, c])
                    if y + 1 < height:
                        down.append((images[b, y + 1, x, c] - here) ** 2)
                    if x + 1 < width:
                        across.append((images[b, y, x + 1, c] - here) ** 2)
    expected = sum(down) / max(len(down), 1) + sum(across) / max(len(across), 1)
    result = losses.total_variation(images)
    assert result.dtype == "float32"
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [(2, 2), (9, 31), (64, 16)])
def test_total_variation_of_a_ramp_is_its_squared_slopes_at_any_size(size):
    y, x = np.mgrid[: size[0], : size[1]].astype("float32")
    ramp = np.stack([0.01 * y + 0.03 * x] * 3, axis=-1)[None]
    np.testing.assert_allclose(losses.total_variation(ramp), 0.01**2 + 0.03**2, rtol=1e-3)


def test_total_variation_does_not_see_a_shift_of_brightness_or_place(rng):
    images = rng.uniform(size=(2, 8, 9, 3)).astype("float32")
    loss = losses.total_variation(images)
    np.testing.assert_allclose(losses.total_variation(images + 0.25), loss, rtol=1e-5)
    framed = np.pad(images, [(0, 0), (4, 4), (4, 4), (0, 0)])
    moved = np.roll(framed, (2, -3), axis=(1, 2))
    np.testing.assert_allclose(
        losses.total_variation(moved), losses.total_variation(framed), rtol=1e-5
    )


def test_total_variation_of_one_pixel_is_0():
    assert losses.total_variation(np.ones((1, 1, 1, 3))) == 0


def log_sigmoid(x):
    return -np.log1p(np.exp(-np.asarray(x, "float64")))


@many
@hypothesis.given(feature_maps(), st.floats(-3, 3))
def test_adversarial_losses_equal_their_formulas_on_maps_of_any_shape(fake, shift):
    real = np.flip(fake, axis=1) + np.float32(shift)
    expected = {
        "bce": (-log_sigmoid(real).mean() - log_sigmoid(-fake).mean(), -log_sigmoid(fake).mean()),
        "lsgan": (
            0.5 * np.mean((real - 1.0) ** 2) + 0.5 * np.mean(fake**2.0),
            0.5 * np.mean((fake - 1.0) ** 2),
        ),
        "hinge": (
            np.mean(np.maximum(0, 1 - real)) + np.mean(np.maximum(0, 1 + fake)),
            -np.mean(fake),
        ),
    }
    assert expected.keys() == losses.ADVERSARIAL.keys()
    for name, (discriminator_loss, generator_loss) in losses.ADVERSARIAL.items():
        results = discriminator_loss(real=real, fake=fake), generator_loss(fake=fake)
        assert [result.dtype for result in results] == ["float32"] * 2
        np.testing.assert_allclose(results, expected[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("name", "real", "fake", "discriminator", "generator"),
    [
        ("bce", 0.0, 0.0, 2 * math.log(2), math.log(2)),
        # sigmoid(log 3) = 3/4
        ("bce", math.log(3), -math.log(3), -2 * math.log(3 / 4), -math.log(1 / 4)),
        ("bce", 1e4, -1e4, 0.0, 1e4),
        ("bce", -1e4, 1e4, 2e4, 0.0),
        ("lsgan", 1.0, 0.0, 0.0, 0.5),
        ("lsgan", 0.0, 1.0, 1.0, 0.0),
        ("lsgan", 0.5, 0.5, 0.25, 0.125),
        ("hinge", 0.0, 0.0, 2.0, 0.0),
        ("hinge", 1.0, -1.0, 0.0, 1.0),
        ("hinge", 7.0, -9.0, 0.0, 9.0),
        ("hinge", -1.0, 2.0, 5.0, -2.0),
    ],
)
def test_adversarial_losses_at_known_points(name, real, fake, discriminator, generator):
    discriminator_loss, generator_loss = losses.ADVERSARIAL[name]
    real, fake = (np.full((2, 3, 3, 1), value, "float32") for value in (real, fake))
    result = discriminator_loss(real=real, fake=fake)
    np.testing.assert_allclose(result, discriminator, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(generator_loss(fake=fake), generator, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", losses.ADVERSARIAL)
def test_adversarial_gradients_pull_generator_and_discriminator_apart(name):
    discriminator_loss, generator_loss = losses.ADVERSARIAL[name]
    real, fake = tf.Variable([[0.2]]), tf.Variable([[0.3]])
    with tf.GradientTape(persistent=True) as tape:
        discriminator = discriminator_loss(real=real, fake=fake)
        generator = generator_loss(fake=fake)
    assert tape.gradient(discriminator, real) < 0 < tape.gradient(discriminator, fake)
    assert tape.gradient(generator, fake) < 0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_in_float32_out_and_finite(rng, dtype):
    half = tf.cast(rng.uniform(200, 300, (2, 8, 8, 3)), dtype)
    results = [
        losses.content_loss(features=half, target=half + 8),
        losses.style_loss(grams={"a": losses.gram(half)}, targets={"a": losses.gram(half + 8)}),
        losses.total_variation(half),
    ]
    for discriminator_loss, generator_loss in losses.ADVERSARIAL.values():
        results += [discriminator_loss(real=half, fake=half), generator_loss(fake=half)]
    assert {result.dtype for result in results} == {tf.float32}
    assert np.isfinite(results).all()
    assert results[0] > 0 and results[1] > 0
