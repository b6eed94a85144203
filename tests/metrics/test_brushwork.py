"""Measures of the painter's hand: by closed form, and by what must and must not change them."""

import numpy as np
import pytest
import tensorflow as tf

from tfstyle import images, metrics
from tfstyle.data import drawn, samples


@pytest.fixture(scope="module")
def painting():
    return drawn.style("swirls", 128)


@pytest.fixture(scope="module")
def cat():
    return images.resize(samples.photo("chelsea"), (120, 160))


def pixels(image):
    """An extractor that gives the image itself."""
    return {"pixels": tf.convert_to_tensor(image, "float32")}


def shuffled(image, rng, side=8):
    """Its squares of so many pixels in another order."""
    rows, columns = image.shape[0] // side, image.shape[1] // side
    squares = image.reshape(rows, side, columns, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    squares = rng.permutation(squares).reshape(rows, columns, side, side, 3)
    return squares.swapaxes(1, 2).reshape(image.shape)


def with_confetti(image, rng, strength=0.3):
    dots = rng.normal(0, strength, image.shape).astype("float32")
    grey = dots.mean(axis=-1, keepdims=True)
    return np.clip(image + dots - grey, 0, 1)


# Patches


def test_a_picture_has_every_patch_of_itself_and_of_its_shuffled_self(
    painting, tiny_extractor, rng
):
    def of(output, style):
        return metrics.patch_distance(output, style, extractor=tiny_extractor)

    assert of(painting, painting) < 1e-5
    assert of(shuffled(painting, rng, 64), painting) < 0.5 * of(
        drawn.style("mosaic", 128), painting
    )


def test_patches_without_anything_in_common_are_at_distance_1():
    red, blue = (np.zeros((20, 20, 3), np.float32) for _ in range(2))
    red[..., 0], blue[..., 2] = 1, 0.3

    def of(output, style):
        return metrics.patch_distance(output, style, extractor=pixels, layers=["pixels"])

    assert of(red, blue) == pytest.approx(1)
    # By the angle: how bright they are does not matter.
    assert of(red, 0.2 * red) == pytest.approx(0, abs=1e-6)


def test_precision_and_recall_are_two_things(tiny_extractor, painting):
    """What is painted with one stroke alone has only the painter's strokes, and few of them."""
    few = np.tile(painting[:32, :32], (4, 4, 1))
    precision = metrics.patch_distance(few, painting, extractor=tiny_extractor)
    recall = metrics.patch_distance(painting, few, extractor=tiny_extractor)
    assert precision < 0.7 * recall


def test_confetti_is_no_stroke_of_the_painter(painting, tiny_extractor, rng):
    plain = metrics.patch_distance(painting, painting, extractor=tiny_extractor)
    confetti = with_confetti(painting, rng)
    assert metrics.patch_distance(confetti, painting, extractor=tiny_extractor) > plain + 0.01


def test_the_painters_own_hand_is_that_of_one_half_against_the_other(painting, tiny_extractor):
    twice = np.concatenate([painting, painting], axis=1)
    assert metrics.own_patch_distance(twice, extractor=tiny_extractor) < 1e-5
    halves = painting[:64], painting[64:]
    ways = [
        metrics.patch_distance(*way, extractor=tiny_extractor) for way in (halves, halves[::-1])
    ]
    found = metrics.own_patch_distance(painting, extractor=tiny_extractor)
    assert found == pytest.approx(np.mean(ways)) and found > 0.01


# Distributions


def test_the_sliced_distance_of_two_flat_pictures_is_that_of_their_colors_over_3():
    one, other = (np.full((16, 24, 3), value, np.float32) for value in (0.25, 0.75))
    other[..., 1] = 0.25
    found = metrics.sliced_wasserstein(one, other, extractor=pixels, layers=["pixels"])
    # In expectation over directions; 64 of them come near it.
    assert found["pixels"] == pytest.approx((0.5**2 + 0.5**2) / 3, rel=0.25)


def test_positions_do_not_matter_to_distributions_and_sizes_hardly(cat, rng):
    def of(output, style):
        return metrics.sliced_wasserstein(output, style, extractor=pixels, layers=["pixels"])[
            "pixels"
        ]

    assert of(cat, cat) == 0
    assert of(cat, shuffled(cat, rng)) == pytest.approx(0, abs=1e-9)
    assert of(cat, np.tile(cat, (2, 1, 1))) < 1e-5
    assert of(cat, drawn.style("mosaic", 128)) > 1e-3


def test_it_sees_what_mean_and_covariance_do_not(rng):
    """Two distributions of one mean and covariance: a normal one, and two points."""
    normal = rng.normal(0.5, 0.1, (64, 64, 3)).astype("float32")
    points = (0.5 + 0.1 * rng.choice([-1, 1], (64, 64, 3))).astype("float32")
    other = rng.normal(0.5, 0.1, (64, 64, 3)).astype("float32")

    def of(output):
        return metrics.sliced_wasserstein(output, normal, extractor=pixels, layers=["pixels"])[
            "pixels"
        ]

    assert of(points) > 3 * of(other)


def test_relative_to_the_photo_it_is_1_for_the_photo_and_0_for_the_style():
    of_photo = {"a": 4.0, "b": 0.1}
    assert metrics.relative_wasserstein(of_photo, of_photo) == 1
    assert metrics.relative_wasserstein({"a": 0.0, "b": 0.0}, of_photo) == 0
    assert metrics.relative_wasserstein({"a": 2.0, "b": 0.0}, of_photo) == 0.25


def test_the_palette_is_a_matter_of_colors_alone(painting, cat, rng):
    assert metrics.palette_distance(cat, cat) == 0
    assert metrics.palette_distance(cat, shuffled(cat, rng)) < 0.01
    grey, lighter = (np.full((16, 16, 3), value, np.float32) for value in (0.2, 0.6))
    # L* of grey 0.2 and 0.6: 21.2466 and 63.2226 (CIE 15), a* and b* are 0.
    expected = (63.2226 - 21.2466) / np.sqrt(3)
    assert metrics.palette_distance(grey, lighter) == pytest.approx(expected, rel=0.15)
    assert metrics.palette_distance(cat, painting) > 3


# Colour noise


def test_color_noise_is_1_for_the_painting_and_confetti_raises_it(painting, rng):
    assert metrics.chroma_noise(painting, painting) == pytest.approx(1)
    assert metrics.chroma_noise(with_confetti(painting, rng), painting) > 2
    grey = np.repeat(painting.mean(axis=-1, keepdims=True), 3, axis=-1)
    assert metrics.chroma_noise(grey, painting) < 1e-3


def test_wide_washes_of_color_are_no_noise(painting):
    across = np.linspace(0, 1, 128, dtype=np.float32)
    wash = np.stack(np.broadcast_arrays(across[:, None], 0.5, across[None]), axis=-1)
    assert metrics.chroma_noise(wash.astype("float32"), painting) < 0.05


# Repetition


def test_a_pattern_that_is_repeated_exactly_is_at_1(rng):
    tile = rng.uniform(size=(24, 24, 3)).astype("float32")
    assert metrics.repetition(np.tile(tile, (8, 8, 1))) == pytest.approx(1, abs=0.05)
    waves = 0.5 + 0.3 * np.sin(2 * np.pi * np.arange(192) / 16)
    dots = (waves[:, None] * waves[None])[..., None].repeat(3, axis=-1)
    assert metrics.repetition(dots) == pytest.approx(1, abs=0.05)


def test_noise_and_flat_pictures_do_not_repeat_themselves(rng):
    assert metrics.repetition(rng.uniform(size=(192, 192, 3))) < 0.15
    assert metrics.repetition(np.full((96, 96, 3), 0.4)) == 0


def test_beyond_the_lags_nothing_counts(rng):
    tile = rng.uniform(size=(60, 60, 3))
    assert metrics.repetition(np.tile(tile, (4, 4, 1))) < 0.3
    fine = np.tile(rng.uniform(size=(4, 4, 3)), (48, 48, 1))
    blocks = np.kron(rng.uniform(size=(64, 64)), np.ones((3, 3)))[..., None].repeat(3, axis=-1)
    # A period of 4 comes round at 8 too: it is wallpaper all the same.
    assert metrics.repetition(fine) > 0.9 > 0.3 > metrics.repetition(blocks)


def test_it_is_looked_for_where_the_photo_is_calm(rng):
    photo = rng.uniform(size=(192, 384, 3))
    photo[:, :192] = 0.7
    tile = np.tile(rng.uniform(size=(16, 16, 3)), (12, 12, 1))
    noise = rng.uniform(size=(192, 192, 3))
    in_the_sky = metrics.repetition(np.concatenate([tile, noise], axis=1), photo)
    elsewhere = metrics.repetition(np.concatenate([noise, tile], axis=1), photo)
    assert in_the_sky > 0.9 and elsewhere < 0.3


def test_contrast_and_brightness_do_not_matter_to_repetition(painting):
    assert metrics.repetition(0.3 + 0.5 * painting) == pytest.approx(
        metrics.repetition(painting), abs=0.02
    )


@pytest.mark.parametrize(
    ("size", "photo", "told"),
    [
        ((90, 200), None, "90x200 pixels: give at least 96"),
        ((96, 99), (96, 100), "of 96x99 pixels"),
    ],
)
def test_pictures_that_repetition_cannot_be_seen_in_are_named(size, photo, told):
    picture = np.zeros((*size, 3))
    with pytest.raises(ValueError, match=told):
        metrics.repetition(picture, None if photo is None else np.zeros((*photo, 3)))


# All of it


def test_the_judge_gives_each_measure_at_its_size(painting, cat, tiny_extractor):
    judge = metrics.BrushworkJudge(painting, extractor=tiny_extractor, size=128)
    small = images.fit(cat, 128)
    found = judge(cat, cat)
    assert found.sliced_wasserstein == pytest.approx(1)
    own = metrics.own_patch_distance(painting, extractor=tiny_extractor)
    precision = metrics.patch_distance(small, painting, extractor=tiny_extractor)
    recall = metrics.patch_distance(painting, small, extractor=tiny_extractor)
    assert (found.patch_precision, found.patch_recall) == pytest.approx((precision, recall))
    assert found.relative_patch_precision == pytest.approx(precision / own)
    assert found.relative_patch_recall == pytest.approx(recall / own)
    assert found.chroma_noise == pytest.approx(metrics.chroma_noise(small, painting))
    assert found.palette_distance == pytest.approx(metrics.palette_distance(small, painting))
    assert found.repetition == pytest.approx(metrics.repetition(small, small))
    painted = judge(images.resize(painting, (60, 80)), cat)
    assert painted.palette_distance < 0.3 * found.palette_distance
    tiny = metrics.BrushworkJudge(painting, extractor=tiny_extractor, size=90)
    assert tiny(cat, cat).repetition is None
    nail = metrics.BrushworkJudge(painting[:20, :20], extractor=tiny_extractor)
    assert nail(cat, cat).relative_patch_recall is None and nail(cat, cat).patch_recall > 0
