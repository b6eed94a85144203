import dataclasses
import inspect
import math
import typing

import hypothesis
import hypothesis.extra.numpy
import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage
import scipy.stats
import tensorflow as tf
from hypothesis import strategies as st

from tfstyle import losses, metrics

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
@hypothesis.given(feature_maps(), st.floats(0.25, 8))
def test_equal_weights_change_neither_gram_nor_means(features, weight):
    weights = np.full(features.shape[:3], weight, np.float32)
    np.testing.assert_allclose(
        losses.gram(features, weights=weights), losses.gram(features), rtol=1e-4, atol=1e-5
    )
    means = features.astype("float64").mean(axis=(1, 2))
    for found in (losses.channel_means(features), losses.channel_means(features, weights=weights)):
        assert found.dtype == "float32"
        np.testing.assert_allclose(found, means, rtol=1e-4, atol=1e-5)


def test_a_masked_half_has_the_gram_and_means_of_that_half_alone(rng):
    features = rng.normal(size=(2, 4, 6, 3)).astype("float32")
    mask = np.zeros((2, 4, 6), "float32")
    mask[:, :, :3] = 1
    half = features[:, :, :3]
    np.testing.assert_allclose(
        losses.gram(features, weights=mask), losses.gram(half), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        losses.channel_means(features, weights=mask), losses.channel_means(half), atol=1e-6
    )


def test_soft_weights_by_hand():
    # Positions (1, 2) and (3, -4), counted once and half: divided by 1.5.
    features = np.array([[[[1, 2], [3, -4]]]])
    weights = np.array([[[1, 0.5]]])
    expected = [[[(1 + 4.5) / 1.5, (2 - 6) / 1.5], [(2 - 6) / 1.5, (4 + 8) / 1.5]]]
    np.testing.assert_allclose(losses.gram(features, weights=weights), expected, rtol=1e-6)
    np.testing.assert_allclose(
        losses.channel_means(features, weights=weights), [[2.5 / 1.5, 0]], atol=1e-6
    )


def test_weights_are_the_squares_of_guidance_channels(rng):
    # Gatys et al. 2017, section 4.1: T'T of T = guidance * F, with sum of guidance^2 = 1.
    features = rng.normal(size=(1, 5, 4, 3))
    guidance = rng.uniform(size=(1, 5, 4))
    guided = (features * guidance[..., None]).reshape(-1, 3) / np.linalg.norm(guidance)
    np.testing.assert_allclose(
        losses.gram(features, weights=guidance**2)[0], guided.T @ guided, rtol=1e-4
    )


def test_weights_of_zero_give_zeros_and_a_finite_gradient(rng):
    features = tf.constant(rng.normal(size=(1, 3, 4, 5)), "float32")
    zeros = np.zeros((1, 3, 4))
    with tf.GradientTape() as tape:
        tape.watch(features)
        gram = losses.gram(features, weights=zeros)
        means = losses.channel_means(features, weights=zeros)
        total = tf.reduce_sum(gram) + tf.reduce_sum(means)
    assert gram.shape == (1, 5, 5) and means.shape == (1, 5)
    assert not np.any(gram) and not np.any(means)
    assert not np.any(tape.gradient(total, features))


def test_several_regions_of_one_image_give_a_gram_and_means_each(rng):
    features = rng.normal(size=(1, 3, 4, 2))
    weights = rng.uniform(size=(5, 3, 4))
    grams = losses.gram(features, weights=weights)
    means = losses.channel_means(features, weights=weights)
    assert grams.shape == (5, 2, 2) and means.shape == (5, 2)
    flat = features.reshape(-1, 2)
    for gram, mean, weight in zip(grams, means, weights.reshape(5, -1), strict=True):
        np.testing.assert_allclose(gram, flat.T * weight @ flat / weight.sum(), rtol=1e-4)
        np.testing.assert_allclose(mean, weight @ flat / weight.sum(), rtol=1e-4)


def test_one_region_of_several_images_gives_a_gram_and_means_each(rng):
    features = rng.normal(size=(4, 3, 5, 2))
    weights = rng.uniform(size=(1, 3, 5))
    for function in (losses.gram, losses.channel_means):
        each = [function(image[None], weights=weights)[0] for image in features]
        np.testing.assert_allclose(function(features, weights=weights), each, rtol=1e-5)


def test_weighted_moments_need_no_static_shape(rng):
    features = rng.normal(size=(2, 3, 4, 5)).astype("float32")
    weights = rng.uniform(size=(2, 3, 4)).astype("float32")
    signature = [tf.TensorSpec([None] * 4), tf.TensorSpec([None] * 3)]
    for function in (losses.gram, losses.channel_means):
        unknown = tf.function(lambda x, w, f=function: f(x, weights=w), input_signature=signature)
        np.testing.assert_allclose(
            unknown(features, weights), function(features, weights=weights), rtol=1e-5
        )


def test_weighted_moments_of_float16_features_do_not_overflow(rng):
    features = rng.uniform(250, 350, (1, 32, 32, 4)).astype("float16")
    ones = np.ones((1, 32, 32), "float16")
    for function in (losses.gram, losses.channel_means):
        weighted = function(features, weights=ones)
        assert weighted.dtype == "float32"
        np.testing.assert_allclose(weighted, function(features), rtol=1e-5)


@many
@hypothesis.given(feature_maps(), st.integers(0, 2**32 - 1))
def test_content_loss_is_the_mean_of_each_images_relative_squared_error(target, seed):
    features = np.random.default_rng(seed).normal(size=target.shape).astype("float32")
    ratios = []
    for image, reference in zip(features.astype("float64"), target, strict=True):
        energy = sum(float(value) ** 2 for value in reference.ravel())
        error = sum((a - b) ** 2 for a, b in zip(image.ravel(), reference.ravel(), strict=True))
        # Below, float32 has no more than a few digits of the energy, or takes it for 0.
        hypothesis.assume(energy == 0 or energy > 1e-30)
        ratios.append(error / energy if energy else 0.0)
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


def test_weights_say_which_positions_count(rng):
    features, target = rng.normal(size=(2, 1, 4, 6, 3)).astype("float32")
    left = np.zeros((1, 4, 6, 1), "float32")
    left[:, :, :3] = 7
    for loss in (losses.content_loss, losses.gatys_content_loss):
        half = loss(features=features[:, :, :3], target=target[:, :, :3])
        weighted = loss(features=features, target=target, weights=left)
        times = 7 if loss is losses.gatys_content_loss else 1
        np.testing.assert_allclose(weighted, times * half, rtol=1e-5)
        np.testing.assert_allclose(
            loss(features=features, target=target, weights=np.ones_like(left)),
            loss(features=features, target=target),
            rtol=1e-6,
        )


def test_saliency_by_hand():
    """One position of 25 differs: its squared distance is 24 times the mean's of all, over 4."""
    features = np.ones((1, 5, 5, 2), "float32")
    features[0, 2, 3] = 3
    # The mean is off by d / 25 and the one by 24 d / 25: 1/25 and 24 of the mean distance.
    one, others = 4.0, 0.25
    mean = (one + 24 * others) / 25
    found = losses.saliency(features)
    assert found.shape == (1, 5, 5, 1)
    np.testing.assert_allclose(found[0, 2, 3, 0], one / mean, rtol=1e-5)
    np.testing.assert_allclose(np.delete(found, 2 * 5 + 3), others / mean, rtol=1e-5)


def test_saliency_is_1_of_a_plain_image_and_of_two_equal_halves():
    np.testing.assert_allclose(losses.saliency(np.full((2, 3, 4, 5), 7.0)), 1)
    halves = np.concatenate([np.zeros((1, 4, 3, 2)), np.ones((1, 4, 3, 2))], axis=2)
    np.testing.assert_allclose(losses.saliency(halves), 1, rtol=1e-6)


@pytest.mark.parametrize(("scale", "offset"), [(1, 0), (0.1, -5), (100, 3)])
def test_saliency_knows_no_scale_and_no_offset_and_has_mean_1(scale, offset, rng):
    features = rng.normal(size=(2, 6, 5, 3)) ** 3
    found = losses.saliency(features)
    np.testing.assert_allclose(np.mean(found, axis=(1, 2, 3)), 1, rtol=1e-4)
    np.testing.assert_allclose(losses.saliency(scale * (features + offset)), found, rtol=1e-2)


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


def gradient_of(loss, features):
    """(loss, its gradient by the features) as NumPy."""
    features = tf.constant(features, "float32")
    with tf.GradientTape() as tape:
        tape.watch(features)
        value = loss(features)
    return float(value), tape.gradient(value, features).numpy().astype("float64")


# 4 x 4 positions: left half (1, 0), right half (0, 2); the targets hold (2, 1) everywhere.
HALVES = np.zeros((1, 4, 4, 2), "float32")
HALVES[:, :, :2, 0], HALVES[:, :, 2:, 1] = 1, 2
TWO_ONE = np.broadcast_to(np.float32([2, 1]), (1, 4, 4, 2))


def test_the_published_losses_by_hand():
    # Content: 8 positions of (1 - 2)^2 + (0 - 1)^2 = 2 and 8 of (0 - 2)^2 + (2 - 1)^2 = 5: 56 / 2.
    assert float(losses.gatys_content_loss(features=HALVES, target=TWO_ONE)) == 28
    # Style: G = [[8 * 1, 0], [0, 8 * 4]] / 16 = [[1/2, 0], [0, 2]], A = [[4, 2], [2, 1]]:
    # (7/2)^2 + 2^2 + 2^2 + 1 = 21.25, over 4 * 2^2.
    grams, targets = {"a": losses.gram(HALVES)}, {"a": losses.gram(TWO_ONE)}
    np.testing.assert_allclose(losses.gatys_style_loss(grams=grams, targets=targets), 21.25 / 16)


def published(features, target):
    """Gatys et al. 2015, eqs. 1, 3, 4 and 6, with F [channels N, positions M] as they write it.

    (content loss, its gradient, style loss of the layer, its gradient), gradients as [N, M]. They
    leave out the derivative of the rectifier, which is not the loss's affair.
    """
    f, p = (x.astype("float64").reshape(-1, x.shape[-1]).T for x in (features[0], target[0]))
    n, m = f.shape
    content = sum((f[i, j] - p[i, j]) ** 2 for i in range(n) for j in range(m)) / 2
    g, a = f @ f.T, p @ p.T
    style = sum((g[i, j] - a[i, j]) ** 2 for i in range(n) for j in range(n)) / (4 * n**2 * m**2)
    return content, f - p, style, (f.T @ (g - a)).T / (n**2 * m**2)


def test_the_published_losses_and_their_gradients_equal_the_papers_formulas(rng):
    features, target = rng.uniform(0, 2, (2, 1, 4, 4, 3)).astype("float32")
    content, content_gradient, style, style_gradient = published(features, target)

    value, gradient = gradient_of(
        lambda x: losses.gatys_content_loss(features=x, target=target), features
    )
    assert value == pytest.approx(content, rel=1e-5)
    np.testing.assert_allclose(gradient.reshape(-1, 3).T, content_gradient, atol=1e-5)

    value, gradient = gradient_of(
        lambda x: losses.gatys_style_loss(
            grams={"a": losses.gram(x)}, targets={"a": losses.gram(target)}
        ),
        features,
    )
    assert value == pytest.approx(style, rel=1e-5)
    np.testing.assert_allclose(gradient.reshape(-1, 3).T, style_gradient, rtol=1e-4, atol=1e-6)


def slope_along(loss, features, direction, step):
    """The slope of a loss by central differences, extrapolated to steps of 0."""

    def difference(step):
        ahead, behind = (features + sign * step * direction for sign in (1, -1))
        return (float(loss(ahead)) - float(loss(behind))) / (2 * step)

    return (4 * difference(step / 2) - difference(step)) / 3


@pytest.mark.parametrize(
    "name", ["content", "style", "gatys_content", "gatys_style", "wasserstein"]
)
def test_gradients_agree_with_finite_differences(rng, name):
    features = rng.uniform(0.2, 1, (2, 4, 4, 3))
    loss = of_features(name, rng.uniform(0, 1, (2, 4, 4, 3)))
    _, gradient = gradient_of(loss, features)
    for direction in (gradient / np.abs(gradient).max(), rng.choice([-1.0, 1.0], features.shape)):
        # 0.05 is so long that float32's rounding of the loss, 1e-7, is 1e-5 of the difference.
        slope = slope_along(loss, features, direction, 0.05)
        scale = np.linalg.norm(gradient) * np.linalg.norm(direction)
        assert np.vdot(gradient, direction) == pytest.approx(slope, abs=2e-4 * scale)


def of_features(name, target):
    """A loss as a function of features [B, H, W, C] alone, the target's features given."""
    means, grams = ({"a": f(target)} for f in (losses.channel_means, losses.gram))

    def wasserstein(x):
        return losses.wasserstein_style_loss(
            means={"a": losses.channel_means(x)},
            grams={"a": losses.gram(x)},
            target_means=means,
            target_grams=grams,
        )

    return {
        "content": lambda x: losses.content_loss(features=x, target=target),
        "gatys_content": lambda x: losses.gatys_content_loss(features=x, target=target),
        "style": lambda x: losses.style_loss(grams={"a": losses.gram(x)}, targets=grams),
        "gatys_style": lambda x: losses.gatys_style_loss(
            grams={"a": losses.gram(x)}, targets=grams
        ),
        "wasserstein": wasserstein,
    }[name]


@pytest.mark.parametrize("layer_weights", [None, {"shallow": 0.2, "deep": 3.0}])
def test_the_published_style_loss_is_the_relative_one_times_each_layers_energy(rng, layer_weights):
    grams, targets = layers_of_grams(rng), layers_of_grams(rng, batch=1)
    weights = layer_weights or {"shallow": 0.5, "deep": 0.5}
    expected = sum(
        weight
        * float(losses.style_loss(grams=grams, targets={layer: targets[layer]}))
        * np.sum(targets[layer].numpy().astype("float64") ** 2)
        / (4 * targets[layer].shape[-1] ** 2)
        for layer, weight in weights.items()
    )
    found = losses.gatys_style_loss(grams=grams, targets=targets, layer_weights=layer_weights)
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_published_content_loss_is_the_relative_one_times_half_the_energy(rng):
    features, target = rng.normal(size=(2, 1, 4, 5, 3))
    np.testing.assert_allclose(
        losses.gatys_content_loss(features=features, target=target),
        losses.content_loss(features=features, target=target) * np.sum(target**2) / 2,
        rtol=1e-5,
    )


def test_the_published_losses_are_means_over_images(rng):
    features, target = rng.normal(size=(2, 3, 4, 5, 3))
    for name in ("gatys_content", "gatys_style"):
        each = [float(of_features(name, target[i : i + 1])(features[i : i + 1])) for i in range(3)]
        np.testing.assert_allclose(of_features(name, target)(features), np.mean(each), rtol=1e-5)


def gaussian(mean, covariance):
    """{"a": means [1, C]}, {"a": Gram matrices [1, C, C]} of features with these moments."""
    mean = np.asarray(mean, "float64")
    return {"a": mean[None]}, {"a": (covariance + np.outer(mean, mean))[None]}


def wasserstein(one, other, **options):
    means, grams = one
    target_means, target_grams = other
    return losses.wasserstein_style_loss(
        means=means,
        grams=grams,
        target_means=target_means,
        target_grams=target_grams,
        **options,
    )


def of_maps(*maps):
    """Moments of feature maps [B, H, W, C], a layer each."""
    return tuple(
        {str(i): f(x) for i, x in enumerate(maps)} for f in (losses.channel_means, losses.gram)
    )


def test_the_wasserstein_distance_of_independent_channels_is_that_of_each(rng):
    mean, target_mean = rng.normal(size=(2, 5))
    deviation, target_deviation = rng.uniform(0, 2, (2, 5))
    deviation[0] = target_deviation[1] = 0
    squares = (mean - target_mean) ** 2 + (deviation - target_deviation) ** 2
    energy = np.sum(target_deviation**2 + target_mean**2)
    found = wasserstein(
        gaussian(mean, np.diag(deviation**2)), gaussian(target_mean, np.diag(target_deviation**2))
    )
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, squares.sum() / energy, rtol=1e-4)


def test_the_wasserstein_distance_by_hand():
    # C = [[5, 4], [4, 5]] has the root [[2, 1], [1, 2]]. Against D = I with m = (1, 2), n = (0, 2):
    # 1 + 10 + 2 - 2 tr(root) = 13 - 8 = 5, over tr(D) + n'n = 2 + 4.
    found = wasserstein(gaussian([1, 2], np.array([[5, 4], [4, 5]])), gaussian([0, 2], np.eye(2)))
    np.testing.assert_allclose(found, 5 / 6, rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 2, 7, 40])
def test_the_wasserstein_distance_agrees_with_scipys_matrix_root(rng, channels):
    maps = rng.normal(size=(2, 400, channels)) @ rng.normal(size=(2, channels, channels))
    maps += rng.normal(size=(2, 1, channels))
    m, n = maps.mean(axis=1)
    c, d = (np.cov(x.T, bias=True).reshape(channels, channels) for x in maps)
    distance = np.sum((m - n) ** 2) + np.trace(c + d - 2 * scipy.linalg.sqrtm(c @ d).real)
    maps = maps.reshape(2, 1, 20, 20, channels)
    found = wasserstein(of_maps(maps[0]), of_maps(maps[1]))
    np.testing.assert_allclose(found, distance / np.mean(np.sum(maps[1] ** 2, -1)), rtol=1e-4)


@pytest.mark.parametrize("positions", [(4, 4), (12, 12)], ids=["fewer positions", "more"])
def test_the_wasserstein_distance_of_equal_statistics_is_0(rng, positions):
    # Like those of deep layers: correlated, with eigenvalues over many orders of magnitude.
    turn, _ = np.linalg.qr(rng.normal(size=(64, 64)))
    maps = 0.2 + rng.normal(size=(2, *positions, 64)) * np.geomspace(1, 1e-3, 64) @ turn.T
    assert abs(float(wasserstein(of_maps(maps), of_maps(maps)))) < 1e-4
    assert float(wasserstein(of_maps(maps), of_maps(np.flip(maps, axis=0)))) > 1e-3


def test_the_wasserstein_distance_of_nothing_is_1(rng):
    maps = rng.normal(1, 1, (2, 5, 6, 4))
    found = wasserstein(of_maps(np.zeros_like(maps)), of_maps(maps))
    np.testing.assert_allclose(found, 1, rtol=1e-5)


def test_the_wasserstein_distance_is_one_of_positions_of_a_single_channel(rng):
    # In one dimension the best transport keeps the order; of normal quantiles it is linear, so
    # that sorted samples give the distance without a covariance.
    quantiles = scipy.stats.norm.ppf((np.arange(400) + 0.5) / 400)
    one, other = (x.reshape(1, 20, 20, 1) for x in (0.5 + 2 * quantiles, -1 + 0.7 * quantiles))
    np.testing.assert_allclose(
        wasserstein(of_maps(rng.permuted(one, axis=1)), of_maps(other)),
        np.mean((one - other) ** 2) / np.mean(other**2),
        rtol=1e-4,
    )


def test_the_wasserstein_distance_does_not_see_places_size_scale_or_a_turn_of_channels(rng):
    maps, target = rng.normal(0.5, 1, (2, 2, 6, 8, 3)).astype("float32")
    loss = wasserstein(of_maps(maps), of_maps(target))
    shuffled = rng.permutation(maps.reshape(2, 48, 3), axis=1).reshape(maps.shape)
    tiled = np.tile(maps, (1, 2, 3, 1))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    for one, other in (
        (shuffled, target),
        (tiled, target),
        (1000 * maps, 1000 * target),
        (0.001 * maps, 0.001 * target),
        (maps @ turn, target @ turn),
    ):
        np.testing.assert_allclose(wasserstein(of_maps(one), of_maps(other)), loss, rtol=1e-3)


def test_the_wasserstein_loss_weighs_layers_and_broadcasts_one_style(rng):
    shallow, deep = rng.normal(size=(3, 4, 4, 2)), rng.normal(size=(3, 2, 4, 5))
    style = rng.normal(size=(1, 4, 4, 2)), 50 * rng.normal(size=(1, 2, 4, 5))
    each = [
        [float(wasserstein(of_maps(image[None]), of_maps(target))) for image in maps]
        for maps, target in zip((shallow, deep), style, strict=True)
    ]
    by_layer = np.mean(each, axis=1)
    both = of_maps(shallow, deep), of_maps(*style)
    np.testing.assert_allclose(wasserstein(*both), np.mean(by_layer), rtol=1e-4)
    weighted = wasserstein(*both, layer_weights={"0": 0.2, "1": 3.0})
    np.testing.assert_allclose(weighted, by_layer @ [0.2, 3.0], rtol=1e-4)


@pytest.mark.parametrize("loss", ["gatys", "wasserstein"])
def test_layer_weights_for_other_layers_are_refused_by_every_style_loss(rng, loss):
    maps = of_maps(rng.normal(size=(1, 3, 3, 2)), rng.normal(size=(1, 3, 3, 2)))
    with pytest.raises(ValueError, match=r"\['0'\], the style's layers are \['0', '1'\]"):
        if loss == "gatys":
            losses.gatys_style_loss(grams=maps[1], targets=maps[1], layer_weights={"0": 1.0})
        else:
            wasserstein(maps, maps, layer_weights={"0": 1.0})


DEGENERATE = {
    "constant": np.full((1, 4, 4, 3), 0.7),
    "zeros": np.zeros((1, 4, 4, 3)),
    "one position": np.array([0.3, 0.6, 0.9]).reshape(1, 1, 1, 3),
    "fewer positions than channels": np.random.default_rng(1).uniform(size=(1, 2, 2, 9)),
    "equal channels": np.repeat(np.random.default_rng(2).uniform(size=(1, 4, 4, 1)), 3, axis=-1),
    "a dead channel": np.random.default_rng(3).uniform(size=(1, 4, 4, 3)) * [1, 0, 1],
    # The corners of a cube: a covariance of equal eigenvalues.
    "equal eigenvalues": np.stack(np.meshgrid(*[[0.0, 1.0]] * 3), -1).reshape(1, 2, 4, 3),
}


@pytest.mark.parametrize("of_style", DEGENERATE)
@pytest.mark.parametrize("of_image", DEGENERATE)
def test_the_wasserstein_loss_of_degenerate_features_is_right_and_its_gradient_finite(
    of_image, of_style
):
    maps, target = DEGENERATE[of_image], DEGENERATE[of_style]
    if maps.shape[-1] != target.shape[-1]:
        channels = max(maps.shape[-1], target.shape[-1])
        maps, target = (np.tile(x, 3)[..., :channels] for x in (maps, target))
    value, gradient = gradient_of(
        lambda x: wasserstein(of_maps(x), of_maps(target.astype("float32"))), maps
    )
    assert np.isfinite(gradient).all()
    # Singular values of the centred features' product: no root of a singular matrix.
    f, t = (x.reshape(-1, x.shape[-1]) for x in (maps, target))
    centred = [(x - x.mean(0)) / np.sqrt(len(x)) for x in (f, t)]
    distance = np.sum((f.mean(0) - t.mean(0)) ** 2) + sum(np.sum(x**2) for x in centred)
    distance -= 2 * np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    energy = np.mean(np.sum(t**2, axis=-1))
    assert value == pytest.approx(distance / energy if energy else 0.0, rel=1e-3, abs=1e-3)


def test_the_gradient_of_the_wasserstein_loss_is_that_of_the_transport(rng):
    # dW/dF = 2/M (F - transported F), for the best transport of the Gaussians
    # x -> n + (x - m) C^-1/2 (C^1/2 D C^1/2)^1/2 C^-1/2: each position moves towards its aim.
    maps, target = rng.normal(0.5, 1, (2, 1, 5, 6, 4))
    flat, of_style = maps.reshape(-1, 4), target.reshape(-1, 4)
    c, d = np.cov(flat.T, bias=True), np.cov(of_style.T, bias=True)
    root = scipy.linalg.sqrtm(c).real
    inverse = np.linalg.inv(root)
    transport = inverse @ scipy.linalg.sqrtm(root @ d @ root).real @ inverse
    aims = of_style.mean(0) + (flat - flat.mean(0)) @ transport
    expected = 2 / len(flat) * (flat - aims) / np.mean(np.sum(of_style**2, axis=-1))
    _, gradient = gradient_of(lambda x: wasserstein(of_maps(x), of_maps(target)), maps)
    np.testing.assert_allclose(gradient.reshape(-1, 4), expected, atol=1e-4 * expected.max())


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


def waves(stride, amplitude, size=(2, 128, 130, 3)):
    """Grey, with a wave of the stride down and across."""
    y, x = np.indices(size[1:3])
    pattern = np.cos(2 * np.pi * y / stride) * np.cos(2 * np.pi * x / stride)
    return np.float32(0.5 + amplitude * np.broadcast_to(pattern[None, ..., None], size))


def test_the_checkerboard_loss_of_a_pattern_on_grey_has_its_closed_form():
    # See test_metrics: of the three periods only 2 stands out.
    ratio = 1 + 2 / 9 * 128**2 * 0.01**2 / losses.ROUNDING
    result = losses.checkerboard_loss(images=waves(2, 0.01))
    assert result.dtype == "float32"
    np.testing.assert_allclose(result, np.log(ratio) / 3, rtol=1e-4)
    assert losses.checkerboard_loss(images=waves(2, 0.0)) < 1e-5


def test_the_checkerboard_loss_is_that_of_the_measure(rng):
    images = waves(4, 0.02) + rng.normal(0, 0.05, (2, 128, 130, 3)).astype("float32")
    ratios = [list(metrics.checkerboard(image).values()) for image in images]
    expected = np.mean(np.maximum(np.log(ratios), 0))
    np.testing.assert_allclose(losses.checkerboard_loss(images=images), expected, rtol=1e-3)


def test_the_checkerboard_loss_does_not_see_brightness_and_falls_along_its_gradient(rng):
    images = waves(8, 0.05) + rng.normal(0, 0.05, (2, 128, 130, 3)).astype("float32")
    before, gradient = gradient_of(lambda x: losses.checkerboard_loss(images=x), images)
    np.testing.assert_allclose(losses.checkerboard_loss(images=images + 0.1), before, rtol=1e-3)
    after = losses.checkerboard_loss(images=images - 1e-3 * gradient / np.abs(gradient).max())
    assert after < before - 1e-3
    # Towards less of what was planted, not towards more beside it.
    assert np.sum(gradient * (waves(8, 1.0) - 0.5)) > 0


def test_the_checkerboard_loss_names_the_size_that_it_needs():
    with pytest.raises(ValueError, match=r"96x200 pixels.*need 128"):
        losses.checkerboard_loss(images=np.zeros((1, 96, 200, 3), "float32"))
    unknown = tf.function(
        lambda x: losses.checkerboard_loss(images=x),
        input_signature=[tf.TensorSpec((1, None, 128, 3))],
    )
    with pytest.raises(ValueError, match=r"Nonex128 pixels.*need 128"):
        unknown(np.zeros((1, 128, 128, 3), "float32"))


@many
@hypothesis.given(feature_maps(), st.floats(-2, 2))
def test_identity_loss_is_the_mean_distance(images, shift):
    other = np.flip(images, axis=1) + np.float32(shift)
    result = losses.identity_loss(images=images, target=other)
    assert result.dtype == "float32"
    np.testing.assert_allclose(result, np.abs(images - other).mean(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(losses.identity_loss(images=images, target=images + 2), 2, rtol=1e-5)


def test_color_loss_equals_scipys_gaussian_blur_away_from_the_borders(rng):
    one, other = rng.uniform(size=(2, 1, 64, 48, 3))
    # Nothing differs near the border, so that how it is treated does not matter.
    one[:, :20], one[:, -20:], one[:, :, :16], one[:, :, -16:] = 0, 0, 0, 0
    other[:, :20], other[:, -20:], other[:, :, :16], other[:, :, -16:] = 0, 0, 0, 0
    blurred = scipy.ndimage.gaussian_filter(one - other, (0, 2, 2, 0), truncate=10)
    result = losses.color_loss(images=one, target=other, sigma=2.0)
    assert result.dtype == "float32"
    np.testing.assert_allclose(result, np.mean(blurred**2), rtol=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (16, 16)])
def test_color_loss_of_another_tint_is_its_square_at_any_size(size, rng):
    photos = rng.uniform(size=(2, *size, 3)).astype("float32")
    tint = np.array([0.1, -0.2, 0.3], "float32")
    result = losses.color_loss(images=photos + tint, target=photos)
    np.testing.assert_allclose(result, np.mean(tint**2), rtol=1e-4)


def test_color_loss_does_not_see_fine_texture(rng):
    photos = rng.uniform(size=(1, 48, 48, 3))
    checks = 0.5 * (-1.0) ** np.indices((48, 48)).sum(axis=0)[None, ..., None]
    of_texture = losses.color_loss(images=photos + checks, target=photos)
    assert of_texture < 1e-4 < losses.color_loss(images=photos + 0.02, target=photos)


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
        losses.identity_loss(images=half, target=half + 8),
        losses.color_loss(images=half, target=half + 8),
        losses.gatys_content_loss(features=half, target=half + 8),
        losses.gatys_style_loss(
            grams={"a": losses.gram(half)}, targets={"a": losses.gram(half + 8)}
        ),
        wasserstein(of_maps(half), of_maps(half + 8)),
    ]
    for discriminator_loss, generator_loss in losses.ADVERSARIAL.values():
        results += [discriminator_loss(real=half, fake=half), generator_loss(fake=half)]
    assert {result.dtype for result in results} == {tf.float32}
    assert np.isfinite(results).all()
    assert results[0] > 0 and results[1] > 0


# Images against their targets


@many
@hypothesis.given(feature_maps(), st.integers(0, 100))
def test_the_pixel_loss_is_the_mean_square_that_numpy_gives(images, seed):
    target = np.random.default_rng(seed).uniform(size=images.shape).astype("float32")
    result = losses.pixel_loss(images=images, target=target)
    assert result.dtype == "float32"
    np.testing.assert_allclose(result, np.mean((images - target) ** 2, dtype="float64"), rtol=1e-4)


def test_the_pixel_loss_of_a_shift_is_its_square_at_any_size(rng):
    for size in ((1, 1), (3, 8), (16, 5)):
        image = rng.uniform(size=(2, *size, 3)).astype("float32")
        np.testing.assert_allclose(
            losses.pixel_loss(images=image + 0.25, target=image), 0.0625, rtol=1e-5
        )
        half = losses.pixel_loss(images=image.astype("float16"), target=image)
        assert half.dtype == "float32" and 0 < half < 1e-6


# Presets


def test_presets_are_the_documents_weights():
    assert losses.PRESETS == {
        "gatys": losses.Preset(1, 1e3, 0, "gatys"),
        "mixed": losses.Preset(1, 100, 1e-6, "relative"),
    }
    with pytest.raises(dataclasses.FrozenInstanceError):
        losses.PRESETS["mixed"].tv_weight = 1.0


def test_a_presets_fields_are_arguments_of_what_takes_it():
    from tfstyle import gatys
    from tfstyle.training import steps

    fields = {field.name for field in dataclasses.fields(losses.Preset)}
    for function in (gatys.optimize, steps.PerceptualStep.__init__):
        parameters = inspect.signature(function).parameters
        assert fields <= parameters.keys()
        assert parameters["formula"].annotation == typing.get_type_hints(losses.Preset)["formula"]
