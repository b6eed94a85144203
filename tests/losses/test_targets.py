"""Style targets: each photo has a style of its own."""

import numpy as np
import pytest
import tensorflow as tf

from tfstyle import losses
from tfstyle.errors import ArgumentError


@pytest.fixture(scope="module")
def features():
    """Of five pictures of other means and spreads: {layer: [5, H, W, C]}."""
    rng = np.random.default_rng(0)
    means, spreads = rng.uniform(1, 4, (2, 5, 1, 1, 3))

    def of(side):
        return tf.constant(means + spreads * rng.normal(size=(5, side, side, 3)), "float32")

    return {"fine": of(16), "coarse": of(8)}


def targets(features, *, wasserstein=True):
    of_layers = features.items()
    means = {layer: losses.channel_means(each) for layer, each in of_layers}
    return losses.StyleTargets(
        {layer: losses.gram(each) for layer, each in of_layers},
        means=means if wasserstein else None,
    )


@pytest.mark.parametrize("wasserstein", [True, False])
def test_pictures_are_at_distance_0_of_the_styles_they_are(features, wasserstein):
    chosen = targets(features, wasserstein=wasserstein)
    assert float(chosen.loss(features, chosen=tf.range(5))) == pytest.approx(0, abs=1e-5)
    assert float(chosen.loss(features, chosen=(tf.range(5) + 1) % 5)) > 0.01


@pytest.mark.parametrize("wasserstein", [True, False])
def test_a_chosen_style_is_a_blend_of_it_alone(features, wasserstein):
    both = targets(features, wasserstein=wasserstein)
    chosen = [3, 0, 0, 1, 4]
    blends = tf.one_hot(chosen, 5)
    one, other = both.loss(features, chosen=chosen), both.loss(features, blends=blends)
    np.testing.assert_allclose(one, other, rtol=1e-5)


def test_the_nearest_style_of_a_picture_is_its_own(features):
    own = targets(features)
    np.testing.assert_allclose(np.diag(own.distances(features)), 0, atol=1e-5)
    np.testing.assert_array_equal(own.nearest(features), np.arange(5))


def test_distances_are_the_closed_form_of_channels_one_by_one():
    # Means 1 and 3, deviations 0 and 2: (3 - 1)^2 + (2 - 0)^2 over the style's energy, 3^2 + 2^2.
    still = tf.ones((1, 2, 2, 1))
    style = tf.reshape([1.0, 5.0, 1.0, 5.0], (1, 2, 2, 1))
    found = targets({"layer": style}).distances({"layer": still})
    np.testing.assert_allclose(found, [[(4 + 4) / 13]], rtol=1e-6)


def test_a_middling_style_is_not_the_nearest_of_all_once_evened(features):
    rng = np.random.default_rng(1)
    # Photos around 0; one style in their midst, two to the sides.
    photos = {
        "layer": tf.constant(rng.normal(0, 1, (40, 1, 1, 2)) + np.zeros((40, 4, 4, 2)), tf.float32)
    }
    spread = rng.normal(0, 0.1, (3, 4, 4, 2))
    places = np.array([[0, 0], [3, 0], [-3, 0]])[:, None, None]
    styles = targets({"layer": tf.constant(places + spread, tf.float32)})
    # Energies differ, which is not the point.
    before = np.bincount(styles.nearest(photos), minlength=3)
    styles.even(styles.distances(photos))
    after = np.bincount(styles.nearest(photos), minlength=3)
    assert after.max() < before.max() and (after > 0).all()


def test_means_must_go_with_the_matrices_and_not_with_the_published_formula(features):
    grams = {layer: losses.gram(each) for layer, each in features.items()}
    with pytest.raises(ArgumentError, match=r"style_means of \[\]"):
        losses.StyleTargets(grams, means={})
    means = {layer: losses.channel_means(each) for layer, each in features.items()}
    with pytest.raises(ArgumentError, match="formula gatys"):
        losses.StyleTargets(grams, means=means, formula=losses.gatys_style_loss)
