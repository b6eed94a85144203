import keras
import numpy as np
import pytest
import tensorflow as tf

from tfstyle import features, images, losses
from tfstyle.data import drawn, samples
from tfstyle.gatys.objective import KEPT, KEPT_FREE, Objective, Region

CONTENT = {"block4_conv2": 1.0}
STYLE = {layer: 0.2 for layer in losses.STYLE_LAYERS}


@pytest.fixture(scope="module")
def style():
    return images.resize(drawn.style("swirls", 96), (80, 64))


@pytest.fixture(scope="module")
def other_style():
    return images.resize(drawn.style("mosaic", 96), (64, 64))


@pytest.fixture(scope="module")
def start(photo):
    """An image that is neither the photo nor a style."""
    noise = np.random.default_rng(3).normal(0, 0.1, photo.shape)
    return np.clip(photo[::-1] * 0.5 + 0.25 + noise, 0, 1).astype(np.float32)


_OBJECTIVES = {}


def objective(extractor, **options):
    """Of the same arguments the same one, whose graphs are traced once for all tests here."""
    options = {"content_layers": CONTENT, "style_layers": STYLE, "compiled": False} | options
    key = id(extractor), repr(sorted(options.items()))
    if key not in _OBJECTIVES:
        _OBJECTIVES[key] = Objective(extractor, **options)
    return _OBJECTIVES[key]


def test_losses_are_those_of_the_loss_functions(tiny_extractor, photo, style, start):
    found, _ = (judge := objective(tiny_extractor, tv_weight=3.0, compiled=True))(
        start, judge.targets(photo, [Region(style)])
    )
    of_start, of_photo, of_style = (tiny_extractor(x[None]) for x in (start, photo, style))
    content = losses.content_loss(
        features=of_start["block4_conv2"], target=of_photo["block4_conv2"]
    )
    by_style = losses.style_loss(
        grams={layer: losses.gram(of_start[layer]) for layer in STYLE},
        targets={layer: losses.gram(of_style[layer]) for layer in STYLE},
        layer_weights=STYLE,
    )
    tv = losses.total_variation(start[None])
    assert found["content"] == pytest.approx(float(content), rel=1e-5)
    assert found["style"] == pytest.approx(float(by_style), rel=1e-5)
    assert found["tv"] == pytest.approx(float(tv), rel=1e-5)
    assert found["total"] == pytest.approx(float(content + 10 * by_style + 3 * tv), rel=1e-5)
    assert found["style"] == pytest.approx(
        sum(0.2 * found[f"style/{layer}"] for layer in STYLE), rel=1e-5
    )
    assert found["content/block4_conv2"] == found["content"]


@pytest.mark.parametrize("style_loss", ["gram", "wasserstein"])
def test_the_gradient_agrees_with_finite_differences(
    tiny_extractor, photo, style, start, style_loss
):
    judge = objective(tiny_extractor, tv_weight=1.0, style_loss=style_loss)
    targets = judge.targets(photo, [Region(style)])
    _, gradient = judge(start, targets)
    # Along the gradient itself rounding is smallest beside the change.
    direction = gradient / np.abs(gradient).max()
    step = 3e-4
    ahead, _ = judge(start + step * direction, targets)
    behind, _ = judge(start - step * direction, targets)
    slope = (ahead["total"] - behind["total"]) / (2 * step)
    assert slope == pytest.approx(float(np.vdot(gradient, direction)), rel=0.02)


def test_the_published_form_is_the_relative_one_with_other_weights(
    tiny_extractor, photo, style, start
):
    alpha, beta = 2.0, 30.0
    published = objective(tiny_extractor, formula="gatys", content_weight=alpha, style_weight=beta)
    _, gradient = published(start, published.targets(photo, [Region(style)]))
    of_photo, of_style = tiny_extractor(photo[None]), tiny_extractor(style[None])
    energies = {
        layer: float(tf.reduce_sum(losses.gram(of_style[layer]) ** 2))
        / (4 * of_style[layer].shape[-1] ** 2)
        for layer in STYLE
    }
    content_energy = float(tf.reduce_sum(of_photo["block4_conv2"] ** 2)) / 2
    relative = objective(
        tiny_extractor,
        style_layers={layer: 0.2 * energies[layer] for layer in STYLE},
        content_weight=alpha * content_energy,
        style_weight=beta,
    )
    _, expected = relative(start, relative.targets(photo, [Region(style)]))
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


def test_two_styles_give_the_weighted_sum_of_the_losses_of_each(
    tiny_extractor, photo, style, other_style, start
):
    judge = objective(tiny_extractor)
    alone = [
        judge(start, judge.targets(photo, [Region(image)]))[0]["style"]
        for image in (style, other_style)
    ]
    regions = [Region(style, weight=0.3), Region(other_style, weight=0.7)]
    both = judge(start, judge.targets(photo, regions))[0]["style"]
    assert both == pytest.approx(0.3 * alone[0] + 0.7 * alone[1], rel=1e-5)


def test_masks_of_ones_change_nothing(tiny_extractor, photo, style, start):
    judge = objective(tiny_extractor)
    plain, gradient = judge(start, judge.targets(photo, [Region(style)]))
    ones = Region(style, style_mask=np.ones(style.shape[:2]), mask=np.ones(photo.shape[:2]))
    masked, masked_gradient = judge(start, judge.targets(photo, [ones]))
    assert masked == pytest.approx(plain, rel=1e-5)
    np.testing.assert_allclose(masked_gradient, gradient, atol=1e-5 * np.abs(gradient).max())


def test_a_style_has_no_pull_far_outside_its_mask(tiny_extractor, photo, style, start):
    judge = objective(tiny_extractor, content_weight=0.0)
    mask = np.zeros(photo.shape[:2], np.float32)
    mask[:, :32] = 1
    _, gradient = judge(start, judge.targets(photo, [Region(style, mask=mask)]))
    halo, _ = features.receptive_field(tiny_extractor)
    assert 32 + halo < photo.shape[1]
    assert np.abs(gradient[:, :32]).max() > 0
    assert np.abs(gradient[:, 32 + halo :]).max() == 0


def test_only_the_masked_part_of_a_style_counts(tiny_extractor, photo, style, other_style, start):
    judge = objective(tiny_extractor)
    # Side by side with a gap wider than any feature sees: half of each cannot be told by the mask
    # alone, so the mask keeps away from the seam.
    wide = np.concatenate([style, np.zeros((80, 160, 3), np.float32)], axis=1)
    mask = np.zeros(wide.shape[:2], np.float32)
    mask[:, :16] = 1
    changed = wide.copy()
    changed[:, 150:] = 1
    found = [
        judge(start, judge.targets(photo, [Region(image, style_mask=mask)]))[0]["style"]
        for image in (wide, changed)
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-6)
    whole = judge(start, judge.targets(photo, [Region(changed)]))[0]["style"]
    assert whole != pytest.approx(found[0], rel=1e-3)


MASK = np.linspace(0, 1, 128, dtype=np.float32)[None].repeat(96, 0)


@pytest.mark.parametrize("style_loss", ["gram", "wasserstein"])
@pytest.mark.parametrize("mask", [None, MASK], ids=["everywhere", "masked"])
@pytest.mark.parametrize("size", [(96, 128), (77, 123)], ids=str)
def test_in_tiles_losses_and_gradient_are_those_of_the_whole(
    tiny_extractor, photo, style, start, style_loss, mask, size
):
    saliency = 1.0 if style_loss == "wasserstein" else 0.0
    judge = objective(
        tiny_extractor,
        tv_weight=2.0,
        style_loss=style_loss,
        saliency=saliency,
        kept_layers=["block1_conv1"] if saliency else [],
    )
    keep = MASK[: size[0], : size[1]] if saliency else None
    small, start = photo[: size[0], : size[1]], start[: size[0], : size[1]]
    mask = None if mask is None else mask[: size[0], : size[1]]
    regions = [Region(style, 0.5, mask=mask), Region(drawn.style("woodcut", 64), 0.5)]
    found, gradient = judge(start, judge.targets(small, regions, keep=keep))
    tiled, tiled_gradient = judge(start, judge.targets(small, regions, keep=keep, tile=32), tile=32)
    assert tiled == pytest.approx(found, rel=1e-4)
    np.testing.assert_allclose(tiled_gradient, gradient, atol=1e-4 * np.abs(gradient).max())


def test_in_tiles_the_gradient_of_vgg16_is_that_of_the_whole(style):
    layers = ["block1_conv1", "block3_conv1", "block4_conv1"]
    judge = objective(
        features.vgg16(layers, padding="symmetric"),
        saliency=1.0,
        content_layers={"block4_conv1": 1},
        style_layers={"block1_conv1": 1, "block3_conv1": 1},
        compiled=True,
    )
    photo = images.resize(samples.photo("astronaut"), (102, 150))
    start = np.clip(photo[:, ::-1] + 0.1, 0, 1)
    _, gradient = judge(start, judge.targets(photo, [Region(style)]))
    _, tiled = judge(start, judge.targets(photo, [Region(style)], tile=48), tile=48)
    assert np.linalg.norm(tiled - gradient) <= 1e-4 * np.linalg.norm(gradient)


def test_in_bfloat16_the_gradient_points_the_same_way_and_losses_are_float32(photo, style, start):
    gradients = []
    for dtype in ("float32", "mixed_bfloat16"):
        judge = objective(features.vgg16([*STYLE, *CONTENT], dtype=dtype))
        found, gradient = judge(start, judge.targets(photo, [Region(style)]))
        gradients.append(gradient.ravel())
    assert gradient.dtype == np.float32
    one, other = gradients
    assert np.vdot(one, other) > 0.97 * np.linalg.norm(one) * np.linalg.norm(other)


def test_xla_gives_the_same(tiny_extractor, photo, style, start):
    plain, compiled = objective(tiny_extractor), objective(tiny_extractor, jit=True)
    found, gradient = plain(start, plain.targets(photo, [Region(style)]))
    again, other = compiled(start, compiled.targets(photo, [Region(style)]))
    assert again == pytest.approx(found, rel=1e-4)
    np.testing.assert_allclose(other, gradient, atol=1e-4 * np.abs(gradient).max())


def test_memory_is_forecast_from_the_layers(tiny_extractor):
    def judge(channels):
        image = keras.Input((None, None, 3))
        layer = keras.layers.Conv2D(channels, 1)(image)
        model = keras.Model(image, {"a": layer})
        return Objective(model, content_layers={"a": 1}, style_layers={"a": 1})

    assert judge(5).kept_bytes_per_pixel() == 4 * 5
    # 3 values of the image and as many of the layer as it has channels.
    ratio = judge(13).bytes_per_pixel() / judge(5).bytes_per_pixel()
    assert ratio == pytest.approx((3 + 13) / (3 + 5))


def test_an_image_of_another_size_is_refused(tiny_extractor, photo, style):
    judge = objective(tiny_extractor)
    with pytest.raises(ValueError, match=r"\(96, 100\).*\(96, 128\)"):
        judge(photo[:, :100], judge.targets(photo, [Region(style)]))


@pytest.mark.parametrize("saliency", [0.5, 1.0])
def test_content_is_weighted_by_saliency_as_far_as_asked(
    tiny_extractor, photo, style, start, saliency
):
    judge = objective(tiny_extractor, saliency=saliency)
    found, _ = judge(start, judge.targets(photo, [Region(style)]))
    of_start, of_photo = (tiny_extractor(x[None])["block4_conv2"] for x in (start, photo))
    weights = 1 - saliency + saliency * losses.saliency(of_photo)
    expected = losses.content_loss(features=of_start, target=of_photo, weights=weights)
    plain = losses.content_loss(features=of_start, target=of_photo)
    assert found["content"] == pytest.approx(float(expected), rel=1e-5)
    assert found["content"] != pytest.approx(float(plain), rel=1e-2)


def test_what_is_kept_is_compared_there_by_its_share_of_the_picture(
    tiny_extractor, photo, style, start
):
    layer = "block2_conv1"
    judge = objective(tiny_extractor, kept_layers=[layer])
    keep = np.zeros(photo.shape[:2], np.float32)
    keep[32:64, 64:] = 1
    start = np.zeros_like(start)
    found, _ = judge(start, judge.targets(photo, [Region(style)], keep=keep))
    of_start, of_photo = (tiny_extractor(x[None])[layer] for x in (start, photo))
    weights = tf.constant(keep[None, ::2, ::2, None])
    error = losses.content_loss(features=of_start, target=of_photo, weights=weights)
    assert found[f"kept/{layer}"] == pytest.approx(float(error), rel=1e-4)
    assert error > KEPT_FREE
    added = KEPT * judge.style_weight * keep.mean() * (float(error) - KEPT_FREE) ** 2
    parts = found["content"] + judge.style_weight * found["style"]
    assert found["total"] == pytest.approx(parts + added, rel=1e-5)


def test_with_nothing_to_keep_all_is_as_without(tiny_extractor, photo, style, start):
    without = objective(tiny_extractor)
    with_it = objective(tiny_extractor, kept_layers=["block2_conv1"])
    one, gradient = without(start, without.targets(photo, [Region(style)]))
    other, same = with_it(start, with_it.targets(photo, [Region(style)]))
    assert one == {name: pytest.approx(other[name], rel=1e-6) for name in one}
    np.testing.assert_allclose(same, gradient, atol=1e-6 * np.abs(gradient).max())


def test_the_published_form_of_saliency_does_not_exist(tiny_extractor):
    with pytest.raises(ValueError, match="give saliency 0"):
        objective(tiny_extractor, formula="gatys", saliency=1.0)


def test_the_published_form_of_the_wasserstein_loss_does_not_exist(tiny_extractor):
    with pytest.raises(ValueError, match="give style_loss gram"):
        objective(tiny_extractor, formula="gatys", style_loss="wasserstein")
