"""color: closed forms of the recoloured moments, and what singular covariances give."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tfstyle.images import color

# Rows: Y, Cb, Cr of JFIF 1.02.
TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
seeds = st.integers(0, 2**32 - 1)


def moments(image):
    pixels = np.asarray(image, np.float64).reshape(-1, 3)
    return pixels.mean(0), np.cov(pixels.T, bias=True)


def correlated(seed, height=20, width=30):
    """Random colours with correlated channels, far enough from 0 and 1 that nothing clips, and of
    deviations far above one step of 8 bits in every direction."""
    rng = np.random.default_rng(seed)
    mix = np.eye(3) + rng.uniform(-0.25, 0.25, (3, 3))
    noise = rng.uniform(-1, 1, (height, width, 3)) @ mix
    return (rng.uniform(0.45, 0.55, 3) + 0.08 * noise).astype(np.float32)


# --- keep_color


@given(seeds)
def test_keep_color_takes_luma_of_one_and_chroma_of_the_other(seed):
    stylized, content = correlated(seed), correlated(seed + 1)
    kept = color.keep_color(stylized, content) @ TO_YCC.T
    np.testing.assert_allclose(kept[..., 0], stylized @ TO_YCC[0], atol=1e-6)
    np.testing.assert_allclose(kept[..., 1:], content @ TO_YCC[1:].T, atol=1e-6)


def test_keep_color_of_an_image_with_itself_changes_nothing(photo):
    kept = color.keep_color(photo, photo)
    assert kept.dtype == np.float32
    np.testing.assert_array_equal(kept, photo)


def test_keep_color_of_a_grey_photo_is_the_luma_of_the_painting(photo):
    grey = np.full_like(photo, 0.3)
    kept = color.keep_color(photo, grey)
    np.testing.assert_allclose(kept, (photo @ TO_YCC[0])[..., None] + np.zeros(3), atol=1e-6)


def test_keep_color_stays_in_range():
    kept = color.keep_color(
        np.ones((2, 2, 3), "f"), np.float32([[[1, 0, 0]]]) + np.zeros((2, 2, 1))
    )
    assert kept.min() >= 0 and kept.max() <= 1


def test_luma_is_one_number_for_all_and_nobody_changes_it():
    assert color.LUMA.sum() == pytest.approx(1)
    with pytest.raises(ValueError, match="read-only"):
        color.LUMA[0] = 1


# --- match_color


@given(seeds, st.integers(5, 30), st.integers(5, 30))
def test_mean_and_covariance_become_those_of_the_content(seed, height, width):
    style, content = correlated(seed), correlated(seed + 1, height, width)
    matched = color.match_color(style, content)
    assert matched.shape == style.shape and matched.dtype == np.float32
    assert 0 < matched.min() and matched.max() < 1
    for got, expected in zip(moments(matched), moments(content), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_the_root_is_the_symmetric_one():
    # Covariances with the same axes commute: then the map stretches along each axis by the ratio of
    # the deviations. Other roots, such as Cholesky's, turn the colours about.
    rng = np.random.default_rng(0)
    axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    noise = rng.normal(size=(40, 50, 3))
    noise = (noise - noise.mean((0, 1))) @ np.linalg.inv(np.linalg.cholesky(moments(noise)[1])).T
    deviations_of_style, deviations_of_content = np.array([[0.06, 0.02, 0.03], [0.02, 0.05, 0.04]])
    style = 0.5 + noise * deviations_of_style @ axes.T
    content = 0.4 + noise[::-1] * deviations_of_content @ axes.T
    matched = color.match_color(style, content)
    np.testing.assert_allclose(matched, 0.4 + noise * deviations_of_content @ axes.T, atol=1e-5)


def test_colours_of_the_image_itself_change_nothing(photo):
    np.testing.assert_allclose(color.match_color(photo, photo), photo, atol=1e-5)


@given(seeds, st.permutations(range(3)))
def test_no_channel_has_a_place_of_its_own(seed, order):
    style, content = correlated(seed), correlated(seed + 1)
    expected = color.match_color(style, content)[..., order]
    matched = color.match_color(style[..., order], content[..., order])
    np.testing.assert_allclose(matched, expected, atol=1e-4)


def test_neither_size_nor_order_of_the_content_matters(photo):
    style = correlated(0)
    expected = color.match_color(style, photo)
    for content in (photo[::-1], np.tile(photo, (2, 1, 1)), photo.reshape(-1, 1, 3)):
        np.testing.assert_allclose(color.match_color(style, content), expected, atol=1e-5)


def test_a_grey_content_makes_the_style_grey():
    grey = correlated(0)[..., :1] + np.zeros(3, np.float32)
    matched = color.match_color(correlated(1), grey)
    assert np.ptp(matched, axis=-1).max() < 1e-4
    for got, expected in zip(moments(matched), moments(grey), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_a_grey_style_gets_one_line_of_colours():
    rng = np.random.default_rng(0)
    grey = rng.uniform(0.3, 0.7, (30, 40, 1)) + np.zeros(3)
    content = correlated(1)
    mean, covariance = moments(content)
    matched = color.match_color(grey, content)
    # S_s^(-1/2) leaves the unit variance along u = (1, 1, 1) / sqrt(3), and S_c^(1/2) maps it.
    values, vectors = np.linalg.eigh(covariance)
    line = (vectors * np.sqrt(values)) @ vectors.T @ np.full(3, 3**-0.5)
    np.testing.assert_allclose(moments(matched)[0], mean, atol=1e-6)
    np.testing.assert_allclose(moments(matched)[1], np.outer(line, line), atol=1e-6)


def test_the_noise_of_a_grey_jpeg_does_not_become_coloured_grain(photo):
    rng = np.random.default_rng(0)
    grey = rng.uniform(0.2, 0.8, (60, 80, 1)) + np.zeros(3)
    noisy = grey + rng.uniform(-0.5, 0.5, grey.shape) / 255
    difference = color.match_color(noisy, photo) - color.match_color(grey, photo)
    assert np.abs(difference).max() < 5 / 255


def test_a_flat_style_becomes_the_mean_of_the_content(photo):
    flat = np.full((5, 7, 3), 0.2, np.float32)
    matched = color.match_color(flat, photo)
    np.testing.assert_allclose(matched, np.broadcast_to(moments(photo)[0], (5, 7, 3)), atol=1e-6)


def test_a_flat_content_leaves_nothing_but_its_colour():
    flat = np.full((5, 7, 3), [0.2, 0.5, 0.9], np.float32)
    np.testing.assert_allclose(color.match_color(correlated(0), flat)[3, 3], flat[0, 0], atol=1e-6)
    one = np.full((1, 1, 3), 0.5, np.float32)
    np.testing.assert_allclose(color.match_color(one, flat)[0, 0], flat[0, 0], atol=1e-6)


def test_matched_colours_are_clipped():
    rng = np.random.default_rng(0)
    peaked = rng.normal(0.5, 0.05, (30, 30, 3))
    extremes = rng.integers(0, 2, (30, 30, 3)).astype(np.float32)
    matched = color.match_color(peaked, extremes)
    assert matched.min() == 0 and matched.max() == 1
