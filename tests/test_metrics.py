import keras
import numpy as np
import pytest

from tfstyle import features, images, metrics, samples


@pytest.fixture(scope="module")
def style():
    return samples.style("swirls", 96)


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


def test_an_image_without_features_is_at_distance_1(photo, tiny_extractor):
    black = np.zeros_like(photo)  # the tiny extractor has no biases, so black has no features
    for distance in (metrics.style_distance, metrics.content_distance):
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


def test_content_distance_of_two_sizes_names_both(photo, tiny_extractor):
    with pytest.raises(ValueError, match="95x128.*96x128.*resize"):
        metrics.content_distance(photo[1:], photo, extractor=tiny_extractor)


def test_the_photo_itself_has_relative_style_distance_1_and_content_distance_0(
    photo, style, tiny_extractor
):
    scores = metrics.evaluate(photo, photo, style, extractor=tiny_extractor)
    assert scores.relative_style_distance == 1
    assert scores.content_distance == 0
    assert scores.style_distance > 0


def test_the_style_itself_has_style_distance_0_but_not_the_content(photo, tiny_extractor):
    style = images.resize(samples.style("mosaic", 128), photo.shape[:2])
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
    style = images.resize(samples.style("woodcut", 128), photo.shape[:2])
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
