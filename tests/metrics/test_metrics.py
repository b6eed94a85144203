import inspect
import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, strategies as st

from tfstyle import features, images, losses, metrics
from tfstyle.data import drawn, samples
from tfstyle.metrics import validator


@pytest.fixture(scope="module")
def style():
    return drawn.style("swirls", 96)


def by_definition(extractor, output, reference):
    """(style, content) distance of two images, from the extractor's features, in numpy."""
    of_output, of_reference = (
        {layer: values.numpy()[0].astype("float64") for layer, values in extractor(x[None]).items()}
        for x in (output, reference)
    )

    def gram(values):
        return np.einsum("yxi,yxj->ij", values, values) / (values.shape[0] * values.shape[1])

    ratios = []
    for block in range(1, 6):
        target = gram(of_reference[f"block{block}_conv1"])
        error = gram(of_output[f"block{block}_conv1"]) - target
        ratios.append((error**2).sum() / (target**2).sum())
    if output.shape != reference.shape:
        return np.mean(ratios), None
    target = of_reference["block4_conv2"]
    content = ((of_output["block4_conv2"] - target) ** 2).sum() / (target**2).sum()
    return np.mean(ratios), content


def test_distances_equal_their_definitions(photo, style, tiny_extractor):
    result = metrics.style_distance(photo, style, extractor=tiny_extractor)
    np.testing.assert_allclose(result, by_definition(tiny_extractor, photo, style)[0], rtol=1e-5)
    flipped = photo[:, ::-1]
    result = metrics.content_distance(flipped, photo, extractor=tiny_extractor)
    np.testing.assert_allclose(result, by_definition(tiny_extractor, flipped, photo)[1], rtol=1e-5)
    assert isinstance(result, float)


def test_distances_to_itself_are_0(photo, tiny_extractor):
    assert metrics.style_distance(photo, photo, extractor=tiny_extractor) == 0
    assert metrics.content_distance(photo, photo, extractor=tiny_extractor) == 0
    assert metrics.subject_distance(photo, photo, extractor=tiny_extractor) == pytest.approx(0)


def test_an_image_without_features_is_at_distance_1(photo, tiny_extractor):
    black = np.zeros_like(photo)  # the tiny extractor has no biases, so black has no features
    for distance in (metrics.style_distance, metrics.content_distance, metrics.subject_distance):
        np.testing.assert_allclose(distance(black, photo, extractor=tiny_extractor), 1, rtol=1e-6)


def test_a_batch_of_one_counts_as_an_image(photo, tiny_extractor):
    flipped = photo[:, ::-1]
    for distance in (metrics.style_distance, metrics.content_distance):
        one = distance(flipped, photo, extractor=tiny_extractor)
        assert one == distance(flipped[None], photo[None], extractor=tiny_extractor) > 0


@pytest.mark.parametrize("shape", [(15, 40, 3), (40, 15, 3)])
def test_an_image_too_small_for_the_deepest_layer_is_refused(photo, shape, tiny_extractor):
    small = np.zeros(shape, "float32")
    message = f"{shape[0]}x{shape[1]} pixels.*16"
    with pytest.raises(ValueError, match=message):
        metrics.style_distance(small, photo, extractor=tiny_extractor)
    with pytest.raises(ValueError, match=message):
        metrics.evaluate(small, small, photo, extractor=tiny_extractor)


@pytest.mark.parametrize("name", ["content", "subject"])
def test_distance_of_two_sizes_names_both(name, photo, tiny_extractor):
    distance = getattr(metrics, f"{name}_distance")
    with pytest.raises(ValueError, match=f"{name} distance of 95x128.*96x128.*resize"):
        distance(photo[1:], photo, extractor=tiny_extractor)


def test_a_lost_subject_is_told_from_a_painted_ground():
    """The cat's face before a plain ground: once the ground is painted over, once the face."""
    face = samples.photo("chelsea")[60:220, 120:330]
    photo = np.full((256, 320, 3), [0.6, 0.7, 0.8], "float32")
    place = (slice(80, 176), slice(100, 226))
    photo[place] = images.resize(face, (96, 126))
    strokes = drawn.style("swirls", 320)[:256]
    ground_painted, face_painted = strokes.copy(), photo.copy()
    ground_painted[place] = photo[place]
    face_painted[place] = strokes[place]
    extractor = features.vgg16(metrics.LAYERS)
    of_ground, of_face = (
        metrics.evaluate(each, photo, strokes, extractor=extractor)
        for each in (ground_painted, face_painted)
    )
    assert of_ground.content_distance > of_face.content_distance
    assert of_ground.subject_distance < of_face.subject_distance - 0.3
    assert of_face.subject_distance > 0.5


def test_a_plain_photo_has_no_subject_to_lose(photo, tiny_extractor):
    plain = np.full_like(photo, 0.5)
    of_photo = tiny_extractor(photo[None])
    same_everywhere = {layer: np.ones_like(values) for layer, values in of_photo.items()}
    assert metrics.distances.subject_distance_of(of_photo, same_everywhere) == 0
    assert 0 <= metrics.subject_distance(photo, plain, extractor=tiny_extractor) <= 2


def test_the_photo_itself_has_relative_style_distance_1_and_content_distance_0(
    photo, style, tiny_extractor
):
    scores = metrics.evaluate(photo, photo, style, extractor=tiny_extractor)
    assert scores.relative_style_distance == 1
    assert scores.content_distance == 0
    assert scores.style_distance > 0


def test_the_style_itself_has_style_distance_0_but_not_the_content(photo, tiny_extractor):
    style = images.resize(drawn.style("mosaic", 128), photo.shape[:2])
    scores = metrics.evaluate(style, photo, style, extractor=tiny_extractor)
    assert scores.style_distance == scores.relative_style_distance == 0
    assert scores.content_distance > 0.1


def test_relative_style_distance_is_that_over_the_photos(photo, style, tiny_extractor, rng):
    output = np.clip(photo + rng.normal(0, 0.2, photo.shape), 0, 1).astype("float32")
    scores = metrics.evaluate(output, photo, style, extractor=tiny_extractor)
    of_output, of_photo = (
        metrics.style_distance(x, style, extractor=tiny_extractor) for x in (output, photo)
    )
    np.testing.assert_allclose(scores.style_distance, of_output, rtol=1e-6)
    np.testing.assert_allclose(scores.relative_style_distance, of_output / of_photo, rtol=1e-6)
    np.testing.assert_allclose(
        scores.content_distance,
        metrics.content_distance(output, photo, extractor=tiny_extractor),
        rtol=1e-6,
    )


def test_the_more_is_blended_in_the_nearer_the_style_and_the_farther_the_content(photo):
    extractor = features.vgg16(metrics.LAYERS)
    style = images.resize(drawn.style("woodcut", 128), photo.shape[:2])
    scores = [
        metrics.evaluate((1 - share) * photo + share * style, photo, style, extractor=extractor)
        for share in (0.0, 0.4, 0.7, 1.0)
    ]
    near = [score.relative_style_distance for score in scores]
    far = [score.content_distance for score in scores]
    assert near == sorted(near, reverse=True)
    assert far == sorted(far)
    assert near[0] == 1 and near[-1] == 0 and far[0] == 0
    assert 0.5 < far[-1] < 3


def test_evaluate_scales_everything_down_to_one_size(photo, style, tiny_extractor):
    output = photo[::-1]
    scores = metrics.evaluate(output, photo, style, extractor=tiny_extractor, size=64)
    small = images.resize(photo, (48, 64))
    by_hand = metrics.evaluate(
        images.resize(output, (48, 64)),
        small,
        images.resize(style, (64, 64)),
        extractor=tiny_extractor,
    )
    assert scores == by_hand
    assert scores != metrics.evaluate(output, photo, style, extractor=tiny_extractor)


def test_evaluate_brings_an_output_of_another_size_to_the_contents(photo, style, tiny_extractor):
    larger = images.resize(photo, (192, 256))
    scores = metrics.evaluate(larger, photo, style, extractor=tiny_extractor)
    assert scores.content_distance < 0.01
    assert abs(scores.relative_style_distance - 1) < 0.05


def test_evaluate_sees_images_within_the_size_and_never_enlarges(photo, style, tiny_extractor):
    seen = []

    class Spy(keras.layers.Layer):
        def call(self, x):
            seen.append(tuple(x.shape))
            return tiny_extractor(x)

    metrics.evaluate(photo, photo, style, extractor=Spy(), size=100)
    assert seen == [(1, 75, 100, 3)] * 2 + [(1, 96, 96, 3)]


def test_evaluate_all_gives_the_mean_over_photos(tmp_path, photo, style, tiny_extractor):
    paths = [tmp_path / "one.png", tmp_path / "two.png"]
    images.write(paths[0], photo)
    images.write(paths[1], photo[::-1, :90])

    def stylize(image):
        assert max(image.shape) == 64
        return image[:, ::-1]

    means = metrics.evaluate_all(stylize, paths, style, extractor=tiny_extractor, size=64)
    scores = []
    for path in paths:
        small = images.fit(images.read(path), 64)
        # A written and read result has 8 bits a channel.
        output = np.round(small[:, ::-1] * 255) / 255
        scores.append(metrics.evaluate(output, small, style, extractor=tiny_extractor, size=64))
    assert means["count"] == 2 and means["size"] == 64
    for name in ("style_distance", "relative_style_distance", "content_distance"):
        expected = np.mean([getattr(score, name) for score in scores])
        np.testing.assert_allclose(means[name], expected, rtol=1e-4)


# Kernel inception distance


def squared_mmd(x, y):
    """Binkowski et al. 2018, equation 4, one pair of rows at a time."""

    def kernel(a, b):
        return (sum(p * q for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3

    m, n = len(x), len(y)
    of_x = sum(kernel(x[i], x[j]) for i in range(m) for j in range(m) if i != j)
    of_y = sum(kernel(y[i], y[j]) for i in range(n) for j in range(n) if i != j)
    across = sum(kernel(a, b) for a in x for b in y)
    return of_x / (m * (m - 1)) + of_y / (n * (n - 1)) - 2 * across / (m * n)


def test_kid_equals_that_of_torchmetrics():
    i, j = np.mgrid[:12, :7]
    x, y = np.sin(1.7 * i + 0.9 * j * j), np.cos(0.6 * i * j + 0.3 * i) + 0.25
    # torchmetrics 1.9.0, image.kid.poly_mmd(x, y) and (2 * x, 2 * y).
    for scale, expected in ((1, 0.11013069620676452), (2, 2.534044095722315)):
        mean, deviation = metrics.kid(scale * x, scale * y, subset_size=12, subsets=1)
        assert mean == pytest.approx(expected, rel=1e-12)
        assert deviation == 0


@given(st.integers(2, 6), st.integers(1, 5), st.integers(0, 99))
def test_kid_of_whole_sets_equals_its_double_sum_in_any_order(rows, width, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(rows, width)), rng.normal(0.5, 2, size=(rows, width))
    mean, deviation = metrics.kid(x, y, subset_size=rows, subsets=3, seed=seed)
    expected = squared_mmd(x, y)
    np.testing.assert_allclose(mean, expected, rtol=1e-9, atol=1e-9)
    assert deviation == pytest.approx(0, abs=1e-9)
    swapped, _ = metrics.kid(y[rng.permutation(rows)], x[::-1], subset_size=rows, subsets=1)
    np.testing.assert_allclose(swapped, expected, rtol=1e-9, atol=1e-9)


def test_kid_of_sets_of_one_point_each_is_a_closed_form_for_every_subset():
    x, y = np.tile([1.0, 2.0], (9, 1)), np.tile([0.0, -1.0], (5, 1))
    # k(x, x) = (5 / 2 + 1)^3, k(y, y) = (1 / 2 + 1)^3, k(x, y) = (-2 / 2 + 1)^3
    for subset_size in (2, 3, 5):
        mean, deviation = metrics.kid(x, y, subset_size=subset_size)
        assert mean == pytest.approx(3.5**3 + 1.5**3, rel=1e-12)
        assert deviation == pytest.approx(0, abs=1e-12)


def test_kid_of_a_set_split_in_two_is_0_within_its_deviation_and_that_of_a_shifted_one_is_not(rng):
    everything = rng.normal(size=(400, 16))
    x, y = everything[::2], everything[1::2]
    mean, deviation = metrics.kid(x, y, subset_size=50)
    assert abs(mean) < deviation < 0.1
    shifted, deviation = metrics.kid(x, y + 1, subset_size=50)
    assert shifted > 5 * deviation


def test_kid_has_no_bias_from_the_size_of_subsets_but_larger_ones_vary_less(rng):
    x, y = rng.normal(size=(300, 8)), rng.normal(0.7, 1, size=(200, 8))
    (small, wide), (large, narrow) = (
        metrics.kid(x, y, subset_size=size, subsets=400) for size in (5, 60)
    )
    assert abs(small - large) < 3 * wide / np.sqrt(400)
    assert narrow < wide / 2


def test_kid_draws_the_same_subsets_for_the_same_seed(rng):
    x, y = rng.normal(size=(2, 30, 4))
    one, same, other = (metrics.kid(x, y, subset_size=9, seed=seed) for seed in (1, 1, 2))
    assert one == same != other


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        ((9, 4), (7, 4), {"subset_size": 8}, "subset_size 8 of sets of 9 and 7: give 2 to 7"),
        ((9, 4), (7, 4), {"subset_size": 1}, "subset_size 1 .*give 2 to 7"),
        ((1, 4), (7, 4), {"subset_size": 2}, "sets of 1 and 7: give sets of at least 2"),
        ((9, 4), (7, 5), {"subset_size": 5}, r"\(9, 4\) and \(7, 5\)"),
        ((9, 4), (7,), {"subset_size": 5}, r"\(7,\): give \[N, d\]"),
        ((9, 4), (7, 4), {"subset_size": 5, "subsets": 0}, "subsets 0: give at least 1"),
    ],
)
def test_kid_says_which_subsets_it_can_give(x, y, options, message):
    with pytest.raises(ValueError, match=message):
        metrics.kid(np.ones(x), np.ones(y), **options)


def test_vgg16_kid_is_kid_of_pooled_features_at_one_size(rng, tiny_extractor):
    x = rng.uniform(size=(5, 32, 32, 3)).astype("float32")
    y = [rng.uniform(size=(*size, 3)).astype("float32") for size in ((40, 50), (33, 20), (64, 32))]

    def pooled(picture):
        means = tiny_extractor(picture[None])["block5_conv1"].numpy()[0].mean(axis=(0, 1))
        return means / np.sqrt((means**2).mean())

    expected = metrics.kid(
        [pooled(each) for each in x],
        [pooled(images.resize(each, (32, 32))) for each in y],
        subset_size=3,
        subsets=7,
        seed=4,
    )
    for batch_size in (1, 2, 8):
        result = metrics.vgg16_kid(
            iter(x),
            iter(y),
            extractor=tiny_extractor,
            subset_size=3,
            subsets=7,
            seed=4,
            size=32,
            batch_size=batch_size,
        )
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-12)


def test_vgg16_kid_holds_one_batch_of_images_at_a_time(tiny_extractor):
    taken, waiting = 0, []

    def pictures():
        nonlocal taken
        for _ in range(10):
            taken += 1
            yield np.full((20, 30, 3), 0.5, "float32")

    seen = 0

    def extractor(batch):
        nonlocal seen
        seen += len(batch)
        waiting.append(taken - seen)
        assert len(batch) <= 4
        return tiny_extractor(batch)

    metrics.vgg16_kid(
        pictures(), pictures(), extractor=extractor, subset_size=2, size=16, batch_size=4
    )
    assert waiting == [0] * 6 and seen == 20


def test_vgg16_kid_tells_photos_from_drawings_but_not_from_photos():
    extractor = features.vgg16([metrics.KID_LAYER])
    crops = samples.crops(128)
    photos = [crop[y : y + 64, x : x + 64] for crop in crops for y in (0, 64) for x in (0, 64)]
    drawings = [drawn.style(name, 64, seed) for seed in range(2) for name in drawn.STYLES]

    def distance(x, y):
        return metrics.vgg16_kid(x, y, extractor=extractor, subset_size=5, size=64)

    apart, deviation = distance(photos, drawings)
    assert apart > 3 * deviation
    # All of the photos are in both sets, in other pieces.
    near, deviation = distance(photos[::2], photos[1::2])
    assert abs(near) < deviation
    assert apart > 5 * abs(near)


def test_vgg16_kid_names_what_it_cannot_do(photo, tiny_extractor):
    for change, message in (
        ({"images_y": []}, "no images"),
        ({"size": 15}, "15x15 pixels.*16"),
        ({"batch_size": 0}, "batch_size 0: give at least 1"),
        ({"subset_size": 3}, "subset_size 3 of sets of 2 and 2"),
    ):
        arguments = {"images_x": [photo] * 2, "images_y": [photo] * 2, "subset_size": 2, **change}
        with pytest.raises(ValueError, match=message):
            metrics.vgg16_kid(**arguments, extractor=tiny_extractor)


# LPIPS


@pytest.fixture(scope="module")
def alexnet():
    return features.alexnet()


@pytest.fixture(scope="module")
def pair():
    """Two images [67, 93, 3] by formula, so that another program can have the same."""
    y, x = np.mgrid[:67, :93]
    one = np.stack(
        [
            0.5 + 0.5 * np.sin(x / 5 + y / 11),
            0.5 + 0.5 * np.cos(x * y / 180),
            (x + 2 * y) % 17 / 16,
        ],
        axis=-1,
    ).astype("float32")
    other = np.clip(0.8 * one + 0.2 * one[:, ::-1], 0, 1)
    other[20:40, 30:60] = (0.9, 0.2, 0.1)
    return one, other


def test_lpips_equals_that_of_its_authors(pair, alexnet):
    # PyPI's lpips 0.1.4, net="alex", on PyTorch 2.13 with torchvision's AlexNet and the bundled
    # kernels; the heads are its own. With the same program the kernels, rounded to float16, give
    # 0.7219 and 0.1376 for the pairs of its repository whose distances it states as 0.722, 0.138.
    one, other = pair
    assert metrics.lpips(one, other, extractor=alexnet) == pytest.approx(0.2876625, abs=1e-5)
    corner = metrics.lpips(one[:64, :64], other[:64, :64], extractor=alexnet)
    assert corner == pytest.approx(0.2705345, abs=1e-5)


def test_lpips_is_0_for_equal_images_and_symmetric(pair, alexnet):
    one, other = pair
    assert metrics.lpips(one, one, extractor=alexnet) == 0
    there, back = (metrics.lpips(*each, extractor=alexnet) for each in (pair, pair[::-1]))
    assert there == pytest.approx(back, rel=1e-6)
    assert there == metrics.lpips(one[None], other[None], extractor=alexnet)


def test_lpips_grows_with_noise_and_blur_and_stays_finite_for_black(photo, rng, alexnet):
    noise = rng.normal(size=photo.shape)
    noisy = [np.clip(photo + share * noise, 0, 1) for share in (0.02, 0.05, 0.15)]
    blurred = [
        images.resize(images.resize(photo, (96 // k, 128 // k)), (96, 128)) for k in (2, 4, 8)
    ]
    for distorted in (noisy, blurred):
        distances = [metrics.lpips(each, photo, extractor=alexnet) for each in distorted]
        assert distances == sorted(distances)
        assert 0.001 < distances[0] < 0.2 < distances[-1] < 1
    assert 0.5 < metrics.lpips(np.zeros_like(photo), photo, extractor=alexnet) < 2


@pytest.mark.parametrize(
    ("cut", "message"), [((96, 127), "96x127 and 96x128.*resize"), ((30, 128), "30x128 pixels.*31")]
)
def test_lpips_of_unfit_sizes_names_them(photo, alexnet, cut, message):
    with pytest.raises(ValueError, match=message):
        metrics.lpips(photo[: cut[0], : cut[1]], photo, extractor=alexnet)


def test_lpips_takes_no_other_network(photo, tiny_extractor):
    with pytest.raises(ValueError, match="block1_conv1.*belong to conv1, .*features.alexnet"):
        metrics.lpips(photo, photo, extractor=tiny_extractor)
    with pytest.raises(ValueError, match="on layers conv1: "):
        metrics.lpips(photo, photo, extractor=features.alexnet(["conv1"]))


# Artefacts

# The variance of rounding to 8 bits.
ROUNDING = 1 / (12 * 255**2)
PHOTOS = [path.stem for path in samples.photo_paths()]


def waves(shape, stride):
    """cos(2 pi x / s) cos(2 pi y / s), [H, W, 1]."""
    y, x = (np.cos(2 * np.pi * np.arange(length) / stride) for length in shape[:2])
    return np.outer(y, x)[..., None]


def test_a_flat_image_has_no_artefacts_and_has_exactly_1():
    flat = np.full((130, 140, 3), 0.3, "float32")
    np.testing.assert_allclose(list(metrics.checkerboard(flat).values()), 1, rtol=1e-9)
    assert metrics.border_marks(flat) == 1


@pytest.mark.parametrize("amplitude", [1 / 255, 0.1])
@pytest.mark.parametrize(("strides", "window"), [((2,), 32), ((2, 4), 64), ((2, 4, 8), 128)])
def test_a_checkerboard_on_a_flat_image_has_its_closed_form(amplitude, strides, window):
    image = 0.5 + amplitude * waves((150, 190), 2) * np.ones(3)
    ratios = metrics.checkerboard(image, strides=strides)
    assert tuple(ratios) == strides
    # The window's gain (sum w)^2 / sum w^2 is (2/3)^2 in each direction, times its pixels; two of
    # the four frequencies see the pattern.
    expected = 1 + 2 / 9 * window**2 * amplitude**2 / ROUNDING
    assert ratios.pop(2) == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(list(ratios.values()), 1, rtol=1e-6)


@pytest.mark.parametrize("stride", [2, 3, 4, 8])
def test_a_pattern_in_white_noise_has_the_ratio_of_their_powers(stride, rng):
    amplitude, deviation, window = 0.04, 0.05, 16 * stride
    noise = 0.5 + rng.normal(0, deviation, (400, 420, 3))
    (clean,) = metrics.checkerboard(noise, strides=[stride]).values()
    assert clean == pytest.approx(1, abs=0.25)
    (planted,) = metrics.checkerboard(
        noise + amplitude * waves(noise.shape, stride), strides=[stride]
    ).values()
    # Of cos cos, each of the diagonals' two waves has a fourth of the amplitude; at 2 they are one.
    share = 1 if stride == 2 else 1 / 16
    expected = 1 + 0.5 * share * 4 / 9 * window**2 * amplitude**2 / (deviation**2 + ROUNDING)
    assert planted == pytest.approx(expected, rel=0.25)


@pytest.mark.parametrize("name", PHOTOS)
def test_photos_have_a_checkerboard_only_where_one_was_planted(name):
    photo = samples.photo(name)
    clean = metrics.checkerboard(photo)
    assert 0.4 < min(clean.values()) < max(clean.values()) < 2.5
    for stride in (2, 4, 8):
        marked = metrics.checkerboard(photo + 0.02 * waves(photo.shape, stride))
        for other in (2, 4, 8):
            if other == stride:
                assert marked[other] > 5 * clean[other]
            else:
                assert marked[other] == pytest.approx(clean[other], rel=0.05)


def test_an_uneven_transposed_convolution_leaves_a_checkerboard_and_its_even_twin_none():
    small = images.resize(samples.photo("coffee"), (150, 225))[None]
    checkerboards = {}
    for size in (3, 4):
        # A stride of 2 divides a kernel of 4 pixels, and each pixel gets as much; not so with 3.
        kernel = np.eye(3) * np.full((size, size, 1, 1), 4 / size**2)
        large = tf.nn.conv2d_transpose(small, kernel.astype("float32"), (1, 300, 450, 3), 2)
        checkerboards[size] = metrics.checkerboard(large, strides=[2])[2]
    assert checkerboards[4] < 10
    assert checkerboards[3] > 100 * checkerboards[4]


@pytest.mark.parametrize("axis", [0, 1])
def test_checkerboard_sees_the_image_to_its_last_line(axis):
    image = np.full((90, 90, 3), 0.5)
    marked = np.moveaxis(image, axis, 0)
    marked[66:] += 0.1 * np.moveaxis(waves(image.shape, 2), axis, 0)[66:]
    assert metrics.checkerboard(image, strides=[2, 4])[2] > 100


def test_checkerboard_does_not_depend_on_how_the_image_lies_or_how_light_it_is():
    photo = samples.photo("chelsea")[:192, :256]
    expected = list(metrics.checkerboard(photo).values())
    for other in (photo[::-1], photo[:, ::-1], photo.swapaxes(0, 1), photo[None], photo + 0.1):
        result = list(metrics.checkerboard(other).values())
        # The Hann window is not quite symmetric.
        np.testing.assert_allclose(result, expected, rtol=0.03)


@pytest.mark.parametrize(
    ("size", "strides", "message"),
    [
        ((127, 200), (2, 4, 8), r"127x200 pixels.*\(2, 4, 8\) need 128"),
        ((200, 95), (3, 2), r"200x95 pixels.*need 96"),
        ((200, 200), (1, 2), r"strides \(1, 2\).*at least 2"),
        ((200, 200), (), r"strides \(\).*at least 2"),
    ],
)
def test_checkerboard_names_the_size_that_strides_need(size, strides, message):
    with pytest.raises(ValueError, match=message):
        metrics.checkerboard(np.zeros((*size, 3)), strides=strides)


def framed(image, width, factor=1.0, offset=0.0):
    result = image * factor + offset
    result[width:-width, width:-width] = image[width:-width, width:-width]
    return result


@pytest.mark.parametrize("frame", [1, 3, 8])
@pytest.mark.parametrize("width", [8, 12])
def test_a_frame_around_a_flat_image_has_its_closed_form(frame, width):
    image = framed(np.full((80, 100, 3), 0.4), frame, offset=0.05)
    expected = np.sqrt(1 + 0.05**2 / (width * ROUNDING))
    assert metrics.border_marks(image, width=width) == pytest.approx(expected, rel=1e-9)


def test_a_frame_of_noise_counts_by_its_roughness(rng):
    flat = np.full((600, 600, 3), 0.5)
    noise = rng.normal(0, 0.1, flat.shape)
    noise[4:-4, 4:-4] = 0
    # The step of roughness out of the frame is 0.1; the means of lines vary by 0.1 / sqrt(584).
    steps = 0.1**2 * (1 + 7 / 584)
    expected = np.sqrt(1 + steps / (8 * ROUNDING))
    assert metrics.border_marks(flat + noise) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("name", PHOTOS)
def test_photos_have_border_marks_only_where_they_were_planted(name, rng):
    photo = samples.photo(name)
    clean = metrics.border_marks(photo)
    assert 0.5 < clean < 1.7
    noise = rng.normal(0, 0.08, photo.shape)
    for marked in (framed(photo, 4, 0.85), framed(photo, 4, offset=noise), framed(photo, 1, 0.5)):
        assert metrics.border_marks(marked) > max(2, 1.5 * clean)
    # A frame that does not touch the border is content.
    inner = photo.copy()
    inner[40:-40, 40:-40] = framed(photo[40:-40, 40:-40], 4, 0.85)
    assert metrics.border_marks(inner) == clean


@pytest.mark.parametrize("name", PHOTOS)
def test_zero_padding_leaves_border_marks_and_mirrored_padding_fewer(name):
    photo = samples.photo(name)
    kernel = np.eye(3) * np.full((5, 5, 1, 1), 1 / 25)
    marks = [
        metrics.border_marks(
            tf.nn.conv2d(
                np.pad(photo, ((2, 2), (2, 2), (0, 0)), mode)[None].astype("float32"),
                kernel.astype("float32"),
                1,
                "VALID",
            )
        )
        for mode in ("constant", "reflect")
    ]
    assert marks[0] > 3
    assert marks[0] > 3 * marks[1]


def test_border_marks_do_not_depend_on_how_the_image_lies_or_how_light_it_is(photo):
    expected = metrics.border_marks(photo)
    for other in (photo[::-1], photo[:, ::-1], photo.swapaxes(0, 1), photo[None], photo + 0.1):
        np.testing.assert_allclose(metrics.border_marks(other), expected, rtol=1e-4)


@pytest.mark.parametrize(("size", "width"), [((47, 100), 8), ((100, 47), 8), ((100, 100), 0)])
def test_border_marks_name_the_width_that_fits(size, width):
    with pytest.raises(ValueError, match=f"width {width} .*{size[0]}x{size[1]} .*a sixth"):
        metrics.border_marks(np.zeros((*size, 3)), width=width)


# Targets


def test_psnr_of_a_shift_is_its_level(rng):
    image = rng.uniform(size=(9, 14, 3))
    for shift in (0.1, -0.01, 1.0):
        np.testing.assert_allclose(
            metrics.psnr(image + shift, image), -20 * np.log10(abs(shift)), atol=1e-9
        )
    assert metrics.psnr(image, image) == float("inf")


def test_psnr_of_one_wrong_pixel_by_hand():
    image = np.zeros((4, 5, 3), "float32")
    wrong = image.copy()
    wrong[2, 3, 1] = 0.5
    # 0.25 / 60
    np.testing.assert_allclose(metrics.psnr(wrong, image), 23.80211, atol=1e-5)
    assert metrics.psnr(wrong, image) == metrics.psnr(image[None], wrong)


def test_psnr_of_unlike_sizes_says_so(photo):
    with pytest.raises(ValueError, match="resize one to the other"):
        metrics.psnr(photo, photo[1:])


def test_local_contrast_of_known_images():
    stripes = np.zeros((32, 50, 3))
    stripes[:, ::2] = 1
    stripes[16:] = 0.7
    found = metrics.local_contrast(stripes)
    assert found.shape == (2, 3)
    np.testing.assert_allclose(found, [[0.5] * 3, [0.0] * 3], atol=1e-6)
    ramp = np.tile(np.arange(8)[:, None, None] / 10, (1, 8, 3))
    # The variance of 0, 1, ..., n - 1 is (n^2 - 1) / 12.
    np.testing.assert_allclose(
        metrics.local_contrast(ramp, window=8), np.sqrt(63 / 12) / 10, atol=1e-6
    )
    blue = np.zeros((8, 8, 3))
    blue[::2, :, 2] = 1
    np.testing.assert_allclose(metrics.local_contrast(blue, window=8), 0.114 / 2, atol=1e-6)


def test_local_contrast_is_of_differences_and_grows_with_them(photo):
    contrast = metrics.local_contrast(photo)
    np.testing.assert_allclose(metrics.local_contrast(0.5 * photo + 0.2), contrast / 2, atol=1e-9)
    for window in (1, 97):
        with pytest.raises(ValueError, match=f"window {window} of an image of 96x128"):
            metrics.local_contrast(photo, window=window)


def test_a_stylizer_is_judged_by_its_target(photo, tmp_path):
    path = tmp_path / "photo.png"
    images.write(path, photo)
    seen = images.read(path)

    def darker(image):
        return 0.5 * image

    figures = metrics.evaluate_target(darker, [path], darker)
    assert (figures["count"], figures["error"], figures["psnr"]) == (1, 0, 100)
    untouched = metrics.evaluate_target(lambda image: image, [path, path], darker)
    assert untouched["count"] == 2
    assert untouched["psnr_gain"] == untouched["least_psnr_gain"] == 0
    expected = images.from_uint8(images.to_uint8(0.5 * seen))
    np.testing.assert_allclose(untouched["psnr"], metrics.psnr(seen, expected))
    np.testing.assert_allclose(figures["psnr_gain"], 100 - untouched["psnr"])
    np.testing.assert_allclose(untouched["error"], 10 ** (-untouched["psnr"] / 20))
    contrast = figures["local_contrast"]
    np.testing.assert_allclose(contrast["photo"], metrics.local_contrast(seen).mean())
    assert contrast["output"] == contrast["target"]
    np.testing.assert_allclose(contrast["target"], contrast["photo"] / 2, rtol=0.02)
    histogram = figures["local_contrast_histogram"]
    expected, _ = np.histogram(metrics.local_contrast(seen), histogram["edges"])
    np.testing.assert_allclose(histogram["photo"], expected / expected.sum())
    assert (histogram["edges"][0], histogram["edges"][-1]) == (0, 0.5)


# The validator


@pytest.fixture(scope="module")
def vgg16():
    return features.vgg16(metrics.LAYERS)


def softer(image):
    """A stylizer of sorts; its output is one that a file can hold."""
    return images.from_uint8(images.to_uint8(0.5 * image + 0.2))


def test_the_validator_gives_what_each_measure_gives(photo, style, vgg16, alexnet, tmp_path):
    path = tmp_path / "photo.png"
    images.write(path, photo)
    large = images.fit(samples.photo("coffee"), 200)  # 133 pixels high
    figures = metrics.Validator(photos=[path, large], paintings=[style], size=200)(softer)
    pairs = [(image, softer(image)) for image in (images.read(path), large)]
    scores = [metrics.evaluate(o, i, style, extractor=vgg16, size=200) for i, o in pairs]
    judge = metrics.BrushworkJudge(style, extractor=vgg16, size=200)
    hands = [judge(o, i) for i, o in pairs]
    expected = {
        "relative_style_distance": [score.relative_style_distance for score in scores],
        "style_distance": [score.style_distance for score in scores],
        "content_distance": [score.content_distance for score in scores],
        "subject_distance": [score.subject_distance for score in scores],
        "sliced_wasserstein": [hand.sliced_wasserstein for hand in hands],
        "palette_distance": [hand.palette_distance for hand in hands],
        "chroma_noise": [hand.chroma_noise for hand in hands],
        "repetition": [hand.repetition for hand in hands],
        "lpips": [metrics.lpips(o, i, extractor=alexnet) for i, o in pairs],
        # Of the larger one alone.
        "checkerboard": [max(metrics.checkerboard(pairs[1][1]).values())],
        "border_marks": [metrics.border_marks(o) for _, o in pairs],
    }
    assert figures.keys() == expected.keys()
    assert next(iter(figures)) == "relative_style_distance"
    for name, values in expected.items():
        np.testing.assert_allclose(figures[name], np.mean(values), rtol=1e-4, err_msg=name)


def test_the_validator_finds_an_untouched_photo_untouched(photo, style):
    validator = metrics.Validator(photos=[photo], paintings=[style])
    figures = validator(lambda image: image)
    # But for rounding to 8 bits.
    np.testing.assert_allclose(figures["relative_style_distance"], 1, rtol=1e-3)
    assert figures["content_distance"] < 1e-3 and figures["lpips"] < 1e-3
    assert validator(lambda image: image) == figures


def test_several_paintings_are_one_style_by_their_mean_gram_matrix(photo, style, vgg16):
    paintings = [style, photo[:, ::-1]]
    figures = metrics.Validator(photos=[photo], paintings=paintings)(lambda image: image)
    assert not {"sliced_wasserstein", "palette_distance", "chroma_noise"} & figures.keys()
    grams = [
        {layer: losses.gram(values[layer]) for layer in losses.STYLE_LAYERS}
        for values in (vgg16(painting[None]) for painting in paintings)
    ]
    of_photo = vgg16(images.from_uint8(images.to_uint8(photo))[None])
    expected = losses.style_loss(
        grams={layer: losses.gram(of_photo[layer]) for layer in losses.STYLE_LAYERS},
        targets={layer: (grams[0][layer] + grams[1][layer]) / 2 for layer in losses.STYLE_LAYERS},
    )
    np.testing.assert_allclose(figures["style_distance"], expected, rtol=1e-4)


def test_ten_photos_and_ten_paintings_give_a_kernel_distance_first(photo, vgg16, monkeypatch):
    size = inspect.signature(metrics.vgg16_kid).parameters["size"].default
    assert validator.KID_SIZE == size
    monkeypatch.setattr(validator, "KID_SIZE", 64)  # of 42 pictures it takes seconds
    photos = [photo[i : i + 40, 3 * i :][:, :40] for i in range(10)]
    paintings = [drawn.style("mosaic", 48, seed=i) for i in range(11)]
    figures = metrics.Validator(photos=photos, paintings=paintings, size=48)(softer)
    assert next(iter(figures)) == "vgg16_kid"
    expected, _ = metrics.vgg16_kid(
        map(softer, photos), paintings, extractor=vgg16, subset_size=10, size=64
    )
    np.testing.assert_allclose(figures["vgg16_kid"], expected, rtol=1e-4)
    for fewer in ({"photos": photos[1:]}, {"paintings": paintings[2:]}):
        both = {"photos": photos, "paintings": paintings, "size": 48}
        assert "vgg16_kid" not in metrics.Validator(**(both | fewer))(softer)


def test_without_paintings_nothing_is_said_of_style_and_small_photos_give_what_they_allow(photo):
    figures = metrics.Validator(photos=[photo[:40, :40]])(softer)
    assert list(figures) == ["content_distance", "subject_distance", "lpips"]
    smaller = metrics.Validator(photos=[photo], size=24)(softer)
    assert list(smaller) == ["content_distance", "subject_distance"]
    with pytest.raises(ValueError, match="no photos to validate on"):
        metrics.Validator(photos=[])


def test_the_validator_touches_no_random_state(photo, style):
    validator = metrics.Validator(photos=[photo], paintings=[style])
    drawn = []
    for judged in (False, True):
        keras.utils.set_random_seed(3)
        if judged:
            validator(softer)
        drawn.append((random.random(), np.random.rand(), float(tf.random.uniform([]))))
        drawn[-1] += (float(keras.random.uniform([])),)
    assert drawn[0] == drawn[1]


def test_figures_of_several_styles_are_means_over_them_and_their_weighted_sum_comes_first():
    def judge(stylize):
        style = stylize(None)
        return {"style_distance": 0.5 + style, "content_distance": 1.0, "lpips": 4.0 * style}

    weights = losses.Weights(content_weight=3.0, style_weight=10.0)
    figures = metrics.over_styles([judge, judge], lambda photo, style: style, weights)
    assert list(figures) == ["total", "style_distance", "content_distance", "lpips"]
    assert list(figures.values()) == [13.0, 1.0, 1.0, 2.0]
