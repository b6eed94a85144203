import dataclasses
import inspect
import math
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfstyle import features, gatys, images, losses, machine
from tfstyle.data import drawn
from tfstyle.gatys import objective, optimization
from tfstyle.images import color

# What every run here shares: seconds become tenths of a second. The losses are those that are
# made soonest; of the default ones there are tests of their own.
SMALL = gatys.PRESETS["classic"] | {"size": 64, "min_size": 32, "steps": 8, "precision": "float32"}


@pytest.fixture(autouse=True)
def _tiny_backbone(tiny_extractor, monkeypatch):
    use(
        monkeypatch,
        lambda layers, *, weights=None, pooling="max", padding="zero", dtype="float32": (
            tiny_extractor
        ),
        kept_layers=("block1_conv1", "block2_conv1"),
    )


@pytest.fixture(scope="module")
def _graphs():
    return {}


@pytest.fixture(autouse=True)
def _objectives_of_the_same_arguments_share_their_graphs(_graphs, monkeypatch):
    """Tracing takes most of a small run's time, and nearly all runs here trace the same graphs."""
    original = optimization.Objective.__init__

    def with_shared_graphs(self, extractor, **options):
        original(self, extractor, **options)
        # The extractor itself is kept as well: another one may get the id of one that is gone.
        key = id(extractor), repr(sorted(options.items()))
        weights = self._weights
        self._graphs, self._weights, _ = _graphs.setdefault(key, ({}, weights, extractor))
        for name, weight in weights.items():
            self._weights[name].assign(weight)

    monkeypatch.setattr(optimization.Objective, "__init__", with_shared_graphs)


def use(monkeypatch, build, **attributes):
    """Puts another network in the place of VGG16."""
    attributes = {"bfloat16_holds": False} | attributes
    other = dataclasses.replace(features.BACKBONES["vgg16"], build=build, **attributes)
    monkeypatch.setitem(features.BACKBONES, "vgg16", other)


@pytest.fixture(scope="module")
def content(photo):
    return images.resize(photo, (48, 64))


@pytest.fixture(scope="module")
def swirls():
    return drawn.style("swirls", 64)


@pytest.fixture(scope="module")
def mosaic():
    return drawn.style("mosaic", 64)


def optimize(content, styles, **options):
    styles = [style if isinstance(style, gatys.Style) else gatys.Style(style) for style in styles]
    return gatys.optimize(content, styles, **(SMALL | options))


def style_distance(extractor, image, style):
    grams = [
        {layer: losses.gram(extractor(x[None])[layer]) for layer in losses.STYLE_LAYERS}
        for x in (image, style)
    ]
    return float(losses.style_loss(grams=grams[0], targets=grams[1]))


class Watched:
    """A callback that keeps what it gets, and stops after `last` steps in all."""

    def __init__(self, last=math.inf):
        self.seen, self.last = [], last

    def __call__(self, progress):
        self.seen.append(progress)
        return len(self.seen) >= self.last


@pytest.mark.parametrize("optimizer", gatys.OPTIMIZERS)
def test_the_picture_takes_the_style_on(tiny_extractor, content, swirls, optimizer):
    result = optimize(content, [swirls], optimizer=optimizer, steps=15)
    assert result.image.shape == content.shape and result.image.dtype == np.float32
    assert 0 <= result.image.min() and result.image.max() <= 1
    before = style_distance(tiny_extractor, content, swirls)
    assert style_distance(tiny_extractor, result.image, swirls) < 0.5 * before
    assert result.stopped in ("steps", "no improvement")


@pytest.mark.parametrize("style_loss", ["gram", "wasserstein"])
def test_lbfgs_never_ends_higher_than_it_began(content, swirls, style_loss):
    watched = Watched()
    optimize(content, [swirls], style_loss=style_loss, min_size=64, callback=watched)
    totals = [progress.losses["total"] for progress in watched.seen]
    assert totals == sorted(totals, reverse=True)
    assert totals[-1] < totals[0]


@pytest.mark.parametrize(
    "optimizer, init",
    [("lbfgs", "content"), ("lbfgs", "uniform"), ("adam", "normal"), ("adagrad", "style")],
)
def test_runs_with_one_seed_are_equal_to_the_bit(content, swirls, optimizer, init):
    options = {"optimizer": optimizer, "init": init, "steps": 4}
    first, second = (optimize(content, [swirls], seed=5, **options).image for _ in range(2))
    np.testing.assert_array_equal(first, second)
    other = optimize(content, [swirls], seed=6, **options).image
    assert (init == "content") == np.array_equal(first, other)


def test_scales_go_from_coarse_to_fine_and_end_at_the_size_asked_for(content, swirls):
    watched = Watched()
    optimize(content, [swirls], size=144, min_size=32, scale_factor=2, steps=5, callback=watched)
    sizes = list(dict.fromkeys(progress.size for progress in watched.seen))
    assert sizes == [(27, 36), (54, 72), (108, 144)]
    for progress in watched.seen:
        assert progress.image.shape == (*progress.size, 3)
        assert 1 <= progress.step <= progress.steps
        assert progress.scales == 3 and sizes[progress.scale] == progress.size
    assert [p.steps for p in watched.seen if p.step == 1] == [60, 20, 5]
    seconds = [progress.seconds for progress in watched.seen]
    assert seconds == sorted(seconds)


@pytest.mark.parametrize("size, expected", [(None, (48, 64)), (32, (24, 32)), (96, (72, 96))])
def test_the_size_is_the_longest_side_of_the_picture(content, swirls, size, expected):
    assert optimize(content, [swirls], size=size, steps=1).image.shape[:2] == expected


@pytest.mark.parametrize("optimizer", gatys.OPTIMIZERS)
def test_the_state_of_the_optimizer_reaches_the_next_scale(content, swirls, optimizer, monkeypatch):
    carried = []
    if optimizer == "lbfgs":
        original = optimization.Lbfgs.transferred
        monkeypatch.setattr(
            optimization.Lbfgs,
            "transferred",
            lambda self, change: carried.append(original(self, change)) or carried[-1],
        )
    else:
        original = optimization._carry_over
        monkeypatch.setattr(
            optimization,
            "_carry_over",
            lambda old, new, size: (original(old, new, size), carried.append(new)),
        )
    optimize(content, [swirls], optimizer=optimizer, steps=6, min_size=32)
    assert len(carried) == 1
    if optimizer == "lbfgs":
        assert carried[0].pairs[0][0].shape == (48, 64, 3)
    else:
        # 24 steps at the coarse scale, which has a quarter of the pixels, and 6 at the fine one.
        assert int(carried[0].iterations) == 30


def test_two_styles_end_between_the_two_single_ones(tiny_extractor, content, swirls, mosaic):
    pictures = [
        optimize(content, styles, steps=20).image
        for styles in ([swirls], [mosaic], [gatys.Style(swirls, 0.5), gatys.Style(mosaic, 0.5)])
    ]
    for style in (swirls, mosaic):
        one, other, both = (style_distance(tiny_extractor, x, style) for x in pictures)
        assert min(one, other) < both < max(one, other)


def test_only_the_ratio_of_the_styles_weights_matters(content, swirls, mosaic):
    pictures = [
        optimize(content, [gatys.Style(swirls, a), gatys.Style(mosaic, b)]).image
        for a, b in ((1, 3), (2, 6))
    ]
    np.testing.assert_array_equal(*pictures)


def test_masks_put_each_style_in_its_place(tiny_extractor, content):
    left = np.zeros((48, 64), np.float32)
    left[:, :32] = 1
    red, blue = (np.full((64, 64, 3), c, np.float32) for c in ([0.9, 0.1, 0.1], [0.1, 0.1, 0.9]))
    styles = [gatys.Style(red, mask=left), gatys.Style(blue, mask=1 - left)]
    picture = optimize(content, styles, steps=40, content_weight=0.01).image
    redness = (picture[..., 0] - picture[..., 2]).mean(0)
    assert redness[:24].mean() > redness[40:].mean() + 0.1


def test_it_stops_at_the_content_threshold_on_the_way_down(content, swirls):
    watched = Watched()
    options = {"steps": 40, "min_size": 64, "init": "uniform"}
    free = optimize(content, [swirls], callback=watched, **options)
    middle = (watched.seen[0].losses["content"] + free.losses["content"]) / 2
    result = optimize(content, [swirls], content_threshold=middle, **options)
    assert result.stopped == "content_threshold"
    assert result.losses["content"] <= middle
    assert result.steps < free.steps


def test_it_stops_when_nothing_improves(content):
    # The photo in its own style: there is nothing to do.
    result = optimize(content, [content], min_size=64, steps=50, patience=3)
    assert result.stopped == "no improvement" and result.steps <= 8


def test_it_stops_within_the_time_budget(content, swirls, monkeypatch):
    now = [0.0]
    evaluate = optimization.Objective.__call__

    def takes_a_tenth_of_a_second(*arguments, **options):
        now[0] += 0.1
        return evaluate(*arguments, **options)

    monkeypatch.setattr(optimization, "time", types.SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(optimization.Objective, "__call__", takes_a_tenth_of_a_second)
    watched = Watched()
    result = optimize(content, [swirls], steps=10**6, time_budget=2.0, callback=watched)
    assert result.stopped == "time_budget"
    assert 1.7 < result.seconds <= 2.0
    # The coarse scale has a fifth of the pixels of both, and gets a third of the time.
    assert [sum(p.scale == scale for p in watched.seen) for scale in (0, 1)] == [6, 13]


def test_a_callback_that_says_true_gets_the_picture_so_far_in_the_final_size(content, swirls):
    watched = Watched(last=3)
    result = optimize(content, [swirls], callback=watched)
    assert result.stopped == "callback" and len(watched.seen) == 3 == result.steps
    assert watched.seen[-1].size == (24, 32)
    np.testing.assert_array_equal(
        result.image, images.resize(watched.seen[-1].image, content.shape[:2])
    )


def test_averaging_gives_the_mean_of_the_pictures_with_decaying_weights(content, swirls):
    watched = Watched()
    options = {"optimizer": "adam", "steps": 5, "min_size": 64}
    optimize(content, [swirls], callback=watched, **options)
    result = optimize(content, [swirls], averaging=0.5, **options)
    pictures = [progress.image for progress in watched.seen]
    weights = np.array([0.5**4, 0.5**3, 0.5**2, 0.5, 1.0])
    expected = np.tensordot(weights / weights.sum(), np.stack(pictures), 1)
    np.testing.assert_allclose(result.image, expected, atol=1e-5)


def test_the_photos_colours_can_be_kept(content, swirls):
    watched = Watched()
    picture = optimize(content, [swirls], color="content", callback=watched).image
    np.testing.assert_allclose(watched.seen[-1].image, picture, atol=1e-6)
    plain = optimize(content, [swirls]).image
    kept = color.keep_color(plain, content)
    np.testing.assert_allclose(picture, kept, atol=1e-6)


def test_matching_gives_the_style_the_photos_colours_first(content, swirls):
    matched = optimize(content, [color.match_color(swirls, content)]).image
    np.testing.assert_array_equal(optimize(content, [swirls], color="match").image, matched)


def test_it_can_start_from_an_image(content, swirls, mosaic):
    watched = Watched(last=1)
    optimize(content, [swirls], init=mosaic, min_size=64, callback=watched)
    np.testing.assert_array_equal(watched.seen[0].image, images.resize(mosaic, (48, 64)))


def test_it_can_start_from_the_styles_statistics(content):
    flat = np.full((64, 64, 3), [0.8, 0.5, 0.2], np.float32)
    flat += np.random.default_rng(0).normal(0, 0.02, flat.shape).astype(np.float32)
    watched = Watched(last=1)
    optimize(content, [np.clip(flat, 0, 1)], init="style", min_size=64, callback=watched)
    start = watched.seen[0].image
    np.testing.assert_allclose(start.mean((0, 1)), [0.8, 0.5, 0.2], atol=0.01)
    np.testing.assert_allclose(start.std((0, 1)), 0.02, atol=0.005)


@pytest.mark.parametrize("scale, expected", [(0.5, 32), (1.0, 64), (2.0, 128)])
def test_the_style_scale_sizes_the_style_image(content, swirls, scale, expected):
    (region,) = optimization._regions([gatys.Style(swirls)], (48, 64), scale)
    assert max(region.style.shape[:2]) == expected


def test_a_small_style_image_is_not_enlarged_unasked(swirls):
    (region,) = optimization._regions([gatys.Style(swirls)], (480, 640), 1.0)
    assert max(region.style.shape[:2]) == 64


def test_styles_of_every_aspect_are_taken(content):
    long = np.zeros((8, 400, 3), np.float32)
    assert optimize(content, [long], steps=1).image.shape == content.shape


def test_more_style_weight_is_more_style(tiny_extractor, content, swirls):
    distances = [
        style_distance(tiny_extractor, optimize(content, [swirls], style_weight=w).image, swirls)
        for w in (0.1, 1.0, 10.0)
    ]
    assert distances == sorted(distances, reverse=True)


def test_memory_decides_between_whole_tiles_and_a_refusal(content, swirls, monkeypatch):
    big = images.resize(content, (1200, 1600))
    styles = [gatys.Style(swirls)]

    def tile_with(free):
        monkeypatch.setattr(machine, "usable_memory", lambda: free)
        judge = optimization.Objective(
            features.BACKBONES["vgg16"].build(losses.STYLE_LAYERS),
            content_layers={losses.CONTENT_LAYER: 1.0},
            style_layers=dict.fromkeys(losses.STYLE_LAYERS, 0.2),
        )
        return optimization._tile("auto", judge, (6000, 8000), "lbfgs")

    whole = 10**12
    assert tile_with(whole) is None
    while tile_with(less := round(0.9 * whole)) is None:
        whole = less
    assert tile_with(less) in optimization._TILES
    monkeypatch.setattr(machine, "usable_memory", lambda: 10**8)
    with pytest.raises(machine.TooLargeError, match="1600x1200 pixels need about") as refused:
        gatys.optimize(big, styles, **(SMALL | {"size": None}))
    height, width = refused.value.fits
    assert f"at most {width}x{height}" in str(refused.value)
    # What it says would fit does fit, and not much more does.
    small = images.resize(content, (height, width))
    judge_args = SMALL | {"size": None, "steps": 1, "min_size": max(height, width)}
    gatys.optimize(small, styles, **judge_args)
    larger = images.resize(content, (round(height * 1.3), round(width * 1.3)))
    with pytest.raises(machine.TooLargeError):
        gatys.optimize(larger, styles, **(judge_args | {"min_size": 512}))


def test_a_size_that_cannot_be_is_refused_before_the_photo_is_enlarged(
    content, swirls, monkeypatch
):
    resize = images.resize

    def small_only(image, size):
        assert max(size) < 2000, "made before it was refused"
        return resize(image, size)

    monkeypatch.setattr(images, "resize", small_only)
    for options in ({}, {"tile": 64}, {"optimizer": "adam"}, {"precision": "auto"}):
        with pytest.raises(machine.TooLargeError, match="500000x375000 pixels need") as refused:
            optimize(content, [swirls], **(SMALL | {"size": 500_000} | options))
        assert max(refused.value.fits) < 500_000


def test_tiles_do_not_change_the_picture(content, swirls):
    whole = optimize(content, [swirls], steps=3).image
    tiled = optimize(content, [swirls], steps=3, tile=16).image
    np.testing.assert_allclose(tiled, whole, atol=2e-3)


def test_bfloat16_is_chosen_where_it_is_fast_and_holds(
    content, swirls, tiny_extractor, monkeypatch, rng
):
    other = keras.models.clone_model(tiny_extractor)
    other.set_weights([w + rng.normal(0, 1, w.shape) for w in tiny_extractor.get_weights()])

    def build(layers, *, weights=None, pooling="max", padding="zero", dtype="float32"):
        return other if dtype in broken else tiny_extractor

    broken = set()
    use(monkeypatch, build)
    for fast, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(machine, "has_fast_bfloat16", lambda fast=fast: fast)
        result = optimize(content, [swirls], precision="auto", steps=1)
        assert result.precision == expected
    monkeypatch.setattr(machine, "has_fast_bfloat16", lambda: True)
    broken.add("mixed_bfloat16")
    assert optimize(content, [swirls], precision="auto", steps=1).precision == "float32"
    # Where it is known to hold there is no trial; other layers than the known ones are tried.
    use(monkeypatch, build, bfloat16_holds=True)
    assert optimize(content, [swirls], precision="auto", steps=1).precision == "bfloat16"
    wasserstein = {"style_loss": "wasserstein", "style_depth": 4, "style_falloff": 0.7}
    known = optimize(content, [swirls], precision="auto", steps=1, **wasserstein)
    assert known.precision == "bfloat16"
    own = {"style_layers": losses.STYLE_LAYERS[:4]}
    assert optimize(content, [swirls], precision="auto", steps=1, **own).precision == "float32"


@pytest.mark.slow
def test_bfloat16_holds_for_the_backbone_that_says_so(content, swirls, monkeypatch):
    use(monkeypatch, features.vgg16, bfloat16_holds=True)
    pictures = [
        optimize(content, [swirls], precision=precision, min_size=64, steps=20).image
        for precision in ("float32", "bfloat16")
    ]
    extractor = features.vgg16((*losses.STYLE_LAYERS, losses.CONTENT_LAYER))
    totals = []
    for picture in pictures:
        of = {name: extractor(x[None]) for name, x in (("out", picture), ("photo", content))}
        content_loss = losses.content_loss(
            features=of["out"][losses.CONTENT_LAYER], target=of["photo"][losses.CONTENT_LAYER]
        )
        totals.append(float(content_loss) + 10 * style_distance(extractor, picture, swirls))
    assert features.BACKBONES["vgg16"].bfloat16_holds
    assert totals[1] < 1.05 * totals[0]


def test_a_loss_that_is_not_finite_is_an_error(content, swirls, monkeypatch):
    monkeypatch.setattr(
        optimization.Objective,
        "__call__",
        lambda self, image, targets, tile=None: (
            {"total": math.nan, "content": 0.0, "style": 0.0},
            np.zeros_like(image),
        ),
    )
    with pytest.raises(ValueError, match="the loss became nan at step 1"):
        optimize(content, [swirls])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"optimizer": "sgd"}, "optimizer 'sgd': give lbfgs, adam, adagrad"),
        ({"init": "grey"}, "init 'grey': give content, uniform, normal, style or an image"),
        ({"size": 8}, "size 8: give at least 32 pixels"),
        ({"min_size": 1}, "min_size 1: give at least 32 pixels"),
        ({"steps": 0}, "steps 0: give at least 1"),
        ({"patience": 0}, "patience 0: give at least 1"),
        ({"scale_factor": 1.0}, "scale_factor 1.0: give more than 1"),
        ({"averaging": 1.0}, "averaging 1.0"),
        ({"style_scale": 0.0}, "style_scale 0.0: give more than 0"),
        ({"style_weight": -1.0}, "style_weight -1.0: give at least 0"),
        ({"tv_weight": math.nan}, "tv_weight nan: give at least 0"),
        ({"time_budget": 0}, "time_budget 0: give more than 0 seconds"),
        ({"precision": "float64"}, "precision 'float64': give auto, float32 or bfloat16"),
        ({"tile": "small"}, "tile 'small': give auto, off, or a side in pixels"),
        ({"color": "grey"}, "color 'grey': give style, content or match"),
        ({"style_layers": {"block1_conv1": 0.0}}, "style_layers .* weights"),
        ({"content_layers": []}, "content_layers .* give at least one"),
    ],
)
def test_what_cannot_be_is_refused_by_name(content, swirls, options, message):
    with pytest.raises(ValueError, match=message):
        optimize(content, [swirls], **options)


@pytest.mark.parametrize(
    "style, message",
    [
        ({"weight": 0.0}, "weight 0.0 of style 1: give more than 0"),
        ({"mask": np.zeros((4, 4))}, "mask of style 1: give .* not all 0"),
        ({"style_mask": np.ones((4, 4, 3))}, r"style_mask of style 1: give \[h, w\]"),
    ],
)
def test_a_style_that_cannot_be_is_refused(content, swirls, style, message):
    with pytest.raises(ValueError, match=message):
        optimize(content, [gatys.Style(swirls, **style)])


@pytest.mark.parametrize("bad", [np.zeros((4, 4)), np.full((8, 8, 3), 2.0), np.zeros((0, 4, 3))])
def test_what_is_no_image_is_refused(content, swirls, bad):
    with pytest.raises(ValueError, match="content"):
        optimize(bad, [swirls])
    with pytest.raises(ValueError, match="style 1"):
        optimize(content, [bad])
    with pytest.raises(ValueError, match="no styles"):
        optimize(content, [])


def test_presets_hold_arguments_of_optimize():
    known = inspect.signature(gatys.optimize).parameters
    for preset in gatys.PRESETS.values():
        assert set(preset) <= set(known)


def test_a_tiny_photo_is_enlarged_first(swirls):
    assert optimize(np.zeros((1, 1, 3)), [swirls], steps=1).image.shape == (64, 64, 3)


def test_a_photo_that_is_too_narrow_is_refused_by_its_size(swirls):
    with pytest.raises(ValueError, match="a picture of 64x6 pixels: .* at least 16"):
        optimize(np.zeros((10, 100, 3)), [swirls])


def test_memory_that_runs_out_on_the_way_is_said_plainly(content, swirls, monkeypatch):
    def exhausted(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(optimization.Objective, "_whole", exhausted)
    with pytest.raises(MemoryError, match="OOM when allocating"):
        optimize(content, [swirls])


# Targets


@pytest.mark.parametrize("first", [0.3, 100.0])
def test_the_picture_ends_at_the_content_loss_that_was_asked_for(content, swirls, first):
    options = {"min_size": 64, "steps": 80}
    result = optimize(content, [swirls], target={"content": 0.1}, style_weight=first, **options)
    assert result.losses["content"] == pytest.approx(0.1, rel=0.1)
    assert result.style_weight != first
    free = optimize(content, [swirls], target="off", style_weight=first, **options)
    assert free.losses["content"] != pytest.approx(0.1, rel=0.3)
    assert free.style_weight == pytest.approx(first)


def test_adam_is_led_to_a_target_too(content, swirls):
    result = optimize(
        content, [swirls], target={"style": 0.2}, optimizer="adam", min_size=64, steps=80
    )
    assert result.losses["style"] == pytest.approx(0.2, rel=0.15)


def test_a_target_is_led_to_from_scale_to_scale_and_the_last_steps_are_left_alone(content, swirls):
    watched = Watched()
    options = {"target": {"content": 0.1}, "steps": 20, "callback": watched}
    result = optimize(content, [swirls], style_weight=0.5, **options)
    again = optimize(content, [swirls], style_weight=0.5, **(options | {"callback": None}))
    np.testing.assert_array_equal(result.image, again.image)
    last = [seen for seen in watched.seen if seen.scale == 1][-3:]
    weights = [
        (seen.losses["total"] - seen.losses["content"]) / seen.losses["style"] for seen in last
    ]
    np.testing.assert_allclose(weights, result.style_weight, rtol=1e-3)


def test_without_a_weight_of_the_style_the_default_target_leads(content, swirls):
    found = optimize(content, [swirls], style_weight=None, steps=1)
    assert found.style_weight == 30
    led = optimize(content, [swirls], style_weight=None, steps=20)
    assert led.style_weight not in (10, 30)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"target": "soon"}, "target 'soon': give auto, off"),
        ({"target": {"tv": 1.0}}, "target .*give one of content, style"),
        ({"style_falloff": 0.0}, "style_falloff 0.0: give more than 0"),
        ({"style_depth": 0}, "style_depth 0: give at least 1"),
        ({"saliency": 1.5}, r"saliency 1\.5: give 0 to 1"),
        ({"keep": "hands"}, "keep 'hands': give faces, off or a region"),
        ({"keep": np.full((3, 3), 2.0)}, r"keep of shape \(3, 3\): give \[h, w\] with values"),
    ],
)
def test_values_that_cannot_be_are_refused_by_name(content, swirls, options, told):
    with pytest.raises(ValueError, match=told):
        optimize(content, [swirls], **options)


def test_what_is_to_keep_stays_nearer_to_the_photo_and_the_rest_does_not(
    content, swirls, monkeypatch
):
    # Features of random weights are all alike, and never as far off as what is free.
    monkeypatch.setattr(objective, "KEPT_FREE", 0.0)
    left = np.zeros((10, 10))
    left[:, :5] = 1
    small = {"size": 64, "min_size": 48, "steps": 12, "precision": "float32", "style_weight": 100.5}
    painted = {
        name: gatys.optimize(content, [gatys.Style(swirls)], keep=keep, **small).image
        for name, keep in {"none": "off", "left": left}.items()
    }
    photo = images.resize(content, painted["none"].shape[:2])
    middle = photo.shape[1] // 2
    off = {name: np.abs(image - photo) for name, image in painted.items()}
    assert off["left"][:, :middle].mean() < 0.85 * off["none"][:, :middle].mean()
    assert off["left"][:, middle:].mean() > 0.95 * off["none"][:, middle:].mean()


def test_faces_are_kept_where_there_are_any(content, swirls, monkeypatch):
    asked = []
    monkeypatch.setattr(images, "face_mask", lambda photo: asked.append(photo.shape))
    small = {"size": 48, "min_size": 48, "steps": 2, "precision": "float32"}
    plain = gatys.optimize(content, [gatys.Style(swirls)], keep="off", **small)
    assert not asked
    found = gatys.optimize(content, [gatys.Style(swirls)], **small)
    assert asked == [content.shape]
    np.testing.assert_array_equal(found.image, plain.image)
    monkeypatch.setattr(images, "face_mask", lambda photo: np.ones(photo.shape[:2], np.float32))
    kept = gatys.optimize(content, [gatys.Style(swirls)], **small)
    assert {name for name in kept.losses if name.startswith("kept/")} == {
        "kept/block1_conv1", "kept/block2_conv1"
    }  # fmt: skip


def test_the_defaults_paint_and_early_layers_count_more(content, swirls):
    watched = Watched()
    small = {"size": 64, "min_size": 48, "steps": 3, "precision": "float32"}
    gatys.optimize(content, [gatys.Style(swirls)], callback=watched, **small)
    found = watched.seen[-1].losses
    assert "style/block5_conv1" not in found
    by_layer = [found[f"style/{layer}"] for layer in losses.STYLE_LAYERS[:4]]
    weights = 0.7 ** np.arange(4)
    assert found["style"] == pytest.approx(np.dot(weights / weights.sum(), by_layer), rel=1e-3)
