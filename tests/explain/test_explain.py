"""Explanations: each sums to what it explains, finds what was planted, and fails where it must."""

import html.parser
import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st

from tfstyle import losses
from tfstyle.explain import attribution, edits, loss_maps, maps, report, skips, style_gap
from tfstyle.explain.results import Check, Explanation
from tfstyle.networks import generators

WEIGHTS = {"content": 1.0, "style": 10.0, "tv": 1.0, "adversarial": 0.1}


def random_features(rng, height, width, channels=6):
    return rng.normal(size=(1, height, width, channels)).astype("float32")


# Results


@pytest.mark.parametrize(
    ("value", "passes", "verdict"),
    [(1.0, "below", "PASS"), (3.0, "below", "FAIL"), (3.0, "above", "PASS"), (1.0, "above", "FAIL")]
    + [(math.nan, "above", "NOT TESTED"), (2.0, "below", "FAIL"), (2.0, "above", "FAIL")],
)
def test_a_check_holds_its_value_to_its_bound(value, passes, verdict):
    assert Check("it holds", value, 2.0, passes).verdict == verdict


def explanation(*values, **arrays):
    checks = [Check("under 2", value, 2.0, "below") for value in values]
    return Explanation("it", "Is it?", "It is.", {"a": 1.0}, arrays, {}, checks)


def test_one_failed_check_fails_the_explanation_and_none_leaves_it_untested():
    assert explanation(1.0, 1.0).verdict == "PASS"
    assert explanation(1.0, 3.0, math.nan).verdict == "FAIL"
    assert explanation(1.0, math.nan).verdict == "PASS"
    assert explanation(math.nan).verdict == explanation().verdict == "NOT TESTED"


def test_an_explanation_is_saved_as_json_and_arrays(tmp_path, rng):
    array = rng.normal(size=(3, 4))
    text, arrays = explanation(1.0, math.nan, map=array).save(tmp_path / "new")
    saved = json.loads(text.read_text())
    assert [check["verdict"] for check in saved["checks"]] == ["PASS", "NOT TESTED"]
    assert saved["checks"][1]["value"] is None and saved["verdict"] == "PASS"
    np.testing.assert_array_equal(np.load(arrays)["map"], array)
    assert {path.name for path in text.parent.iterdir()} == {"it.json", "it.npz"}


# Maps


@settings(deadline=None)
@given(*[st.integers(1, 12)] * 2, *[st.integers(1, 40)] * 2)
def test_spreading_keeps_the_sum_and_what_is_even(h, w, height, width):
    values = np.random.default_rng(h * w).normal(size=(h, w))
    assert maps.spread(values, (height, width)).sum() == pytest.approx(values.sum(), abs=1e-9)
    np.testing.assert_allclose(
        maps.spread(np.ones((h, w)), (height, width)), h * w / height / width
    )


def test_spreading_by_a_whole_factor_repeats():
    values = np.arange(6.0).reshape(2, 3)
    expected = np.kron(values, np.ones((2, 4))) / 8
    np.testing.assert_allclose(maps.spread(values, (4, 12)), expected)


def test_cells_are_a_grid_of_about_equal_parts():
    cells = maps.cells((10, 21), 4)
    assert cells.shape == (10, 21) and cells.min() == 0 and cells.max() == 15
    sizes = np.bincount(cells.ravel())
    assert sizes.min() > 0 and sizes.max() <= 18
    assert (np.unique(maps.cells((2, 3), 4)) == np.arange(6)).all()


def test_only_the_chosen_pixels_are_blurred(rng):
    image = rng.uniform(size=(20, 20, 3)).astype("float32")
    where = np.zeros((20, 20))
    where[:, :10] = 1
    blurred = maps.blurred(image, where, 2)
    np.testing.assert_array_equal(blurred[:, 10:], image[:, 10:])
    assert blurred[:, :10].var() < 0.3 * image[:, :10].var()


# E1


def test_each_map_sums_to_its_loss(rng):
    features, target = (random_features(rng, 5, 7) for _ in range(2))
    assert loss_maps.content_map(features, target).sum() == pytest.approx(
        float(losses.content_loss(features=features, target=target)), rel=1e-5
    )
    for shape in ((6, 9, 3), (1, 9, 3), (6, 1, 3), (1, 1, 3)):
        picture = rng.uniform(size=shape)
        expected = float(losses.total_variation(picture[None]))
        assert loss_maps.total_variation_map(picture).sum() == pytest.approx(expected, rel=1e-5)
    scores = rng.normal(size=(1, 4, 3, 1)).astype("float32")
    for _, loss in losses.ADVERSARIAL.values():
        expected = float(loss(fake=scores))
        assert loss_maps.adversarial_map(scores, loss).sum() == pytest.approx(expected, rel=1e-5)


def test_an_edge_is_where_total_variation_is():
    picture = np.zeros((4, 6, 3))
    picture[:, 3:] = 1
    found = loss_maps.total_variation_map(picture)
    assert (found[:, 2:4] > 0).all() and found[:, :2].sum() == found[:, 4:].sum() == 0


def explained(tiny_extractor, photo, **options):
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    picture = np.clip(photo + rng.normal(0, 0.1, photo.shape), 0, 1).astype("float32")
    discriminator = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(1, 4, 4)])
    return loss_maps.explain(
        picture,
        content=photo,
        style=photo[::-1, :40],
        extractor=tiny_extractor,
        weights=WEIGHTS,
        discriminator=discriminator,
        **options,
    )


def test_loss_maps_pass_and_a_wrong_normaliser_fails(tiny_extractor, photo):
    good = explained(tiny_extractor, photo)
    assert good.verdict == "PASS" and set(good.arrays) == set(WEIGHTS)
    assert sum(good.figures[f"part/{name}"] for name in WEIGHTS) == pytest.approx(1)
    assert all(array.shape == photo.shape[:2] for array in good.arrays.values())
    logged = {name: good.figures[name] for name in WEIGHTS}
    for name in WEIGHTS:
        wrong = explained(tiny_extractor, photo, logged=logged | {name: logged[name] * 1.001})
        (failed,) = [check for check in wrong.checks if check.verdict == "FAIL"]
        assert f"map of {name} " in failed.name


# E2


def test_positions_and_channels_sum_to_the_gram_loss(rng):
    features, style = random_features(rng, 5, 7), random_features(rng, 6, 4)
    gap = style_gap.layer_gap(features, style)
    expected = float(
        losses.style_loss(grams={"a": losses.gram(features)}, targets={"a": losses.gram(style)})
    )
    assert gap.loss == pytest.approx(expected, rel=1e-5)
    assert gap.positions.sum() == pytest.approx(expected, rel=1e-5)
    assert gap.channels.sum() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("size", [(5, 7), (1, 2)], ids=["plenty", "fewer positions than channels"])
def test_positions_and_channels_sum_to_the_wasserstein_loss(rng, size):
    features, style = random_features(rng, *size) + 0.3, random_features(rng, 6, 4)
    judge = style_gap.judge_of({"a": style}, {"a": 1.0}, "wasserstein")
    gap = style_gap.layer_gap(features, style, style_loss="wasserstein")
    expected = judge({"a": features})
    assert gap.loss == pytest.approx(expected, rel=1e-4)
    assert gap.positions.sum() == pytest.approx(expected, rel=1e-4)
    assert gap.channels.sum() == pytest.approx(expected, rel=1e-4)


def test_a_shift_of_all_features_is_the_shift_squared_and_its_channel(rng):
    style = random_features(rng, 16, 16)
    features = style.copy()
    features[..., 2] += 3
    gap = style_gap.layer_gap(features, style, style_loss="wasserstein")
    assert gap.loss == pytest.approx(9 / (style**2).sum(axis=-1).mean(), rel=1e-4)
    assert gap.channels[2] == pytest.approx(gap.loss, rel=1e-4)


def test_a_position_s_share_is_what_more_of_it_adds_to_the_loss(rng):
    features, style = random_features(rng, 12, 12), 2 * random_features(rng, 12, 12) + 0.2
    judge = style_gap.judge_of({"a": style}, {"a": 1.0}, "wasserstein")
    gap = style_gap.layer_gap(features, style, style_loss="wasserstein")
    flat = features.reshape(144, -1)
    added = []
    for place in range(144):
        more = np.concatenate([flat, flat[place : place + 1]]).reshape(1, 145, 1, -1)
        added.append(judge({"a": more}) - gap.loss)
    assert np.corrcoef(added, gap.positions.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("style_loss", ["gram", "wasserstein"])
def test_the_style_itself_has_no_gap(rng, style_loss):
    style = random_features(rng, 6, 4)
    gap = style_gap.layer_gap(style, style, style_loss=style_loss)
    assert gap.loss == pytest.approx(0, abs=1e-9)
    assert np.abs(gap.positions).max() < 1e-9 and np.abs(gap.missing).max() < 1e-9


def test_a_channel_of_its_own_is_found_where_it_is(rng):
    style = np.abs(random_features(rng, 16, 16))
    style[..., 5] = 0
    features = style.copy()
    features[:, :, :8, 5] = 3
    gap = style_gap.layer_gap(features, style)
    assert gap.positions[:, :8].sum() > 0.9 * gap.loss and np.argmax(gap.channels) == 5
    # And what the picture lacks is found on the style image.
    gap = style_gap.layer_gap(style, features)
    assert gap.missing[:, :8].min() > gap.missing[:, 8:].max()


def patchy(rng):
    """A picture of the style but for a corner of stripes, and the style: fine noise."""
    style = rng.uniform(size=(96, 96, 3)).astype("float32")
    picture = rng.uniform(size=(96, 96, 3)).astype("float32")
    picture[:36, :36] = (np.arange(36) // 3 % 2)[:, None, None]
    return picture, style


@pytest.mark.parametrize("style_loss", ["gram", "wasserstein"])
def test_a_planted_patch_is_found_and_confirmed(tiny_extractor, rng, style_loss):
    found = style_gap.explain(
        *patchy(rng),
        extractor=tiny_extractor,
        layers=losses.STYLE_LAYERS[:3],
        style_loss=style_loss,
    )
    positions = found.arrays["positions"]
    patch, whole = positions[:36, :36].sum(), positions.sum()
    assert patch / 36**2 > 2 * (whole - patch) / (96**2 - 36**2)
    assert found.verdict == "PASS" and "upper left" in found.summary


@pytest.mark.parametrize("style_loss", ["gram", "wasserstein"])
def test_shares_of_other_positions_fail_the_test(tiny_extractor, rng, monkeypatch, style_loss):
    own = style_gap.layer_gap

    def turned(features, style_features, **options):
        gap = own(features, style_features, **options)
        return style_gap.LayerGap(gap.loss, -gap.positions, gap.channels, gap.missing)

    monkeypatch.setattr(style_gap, "layer_gap", turned)
    found = style_gap.explain(*patchy(rng), extractor=tiny_extractor, style_loss=style_loss)
    assert found.verdict == "FAIL"
    assert all(check.verdict == "FAIL" for check in found.checks[1:])


# Edits


@pytest.fixture(scope="module")
def unet():
    keras.utils.set_random_seed(0)
    return generators.unet_generator(width=4, residual_blocks=1)


def test_an_open_gate_changes_nothing_and_a_closed_one_replaces(unet, photo):
    gate = edits.Gate()
    copy = edits.edited(unet, {"down4": gate})
    plain = unet(photo[None]).numpy()
    np.testing.assert_array_equal(copy(photo[None]), plain)
    call = tf.function(copy)
    call(photo[None])
    gate.gate.assign(np.zeros(gate.gate.shape))
    gate.replacement.assign(np.ones(gate.gate.shape))
    assert np.abs(call(photo[None]) - plain).max() > 1e-3  # without another trace
    np.testing.assert_array_equal(unet(photo[None]), plain)
    assert [w.path for w in unet.weights] and copy.get_layer("stem") is unet.get_layer("stem")


def test_an_edit_on_the_way_into_a_layer_leaves_other_ways_alone(photo):
    images = keras.Input((None, None, 3))
    x = keras.layers.ReLU(name="source")(images)
    y = keras.layers.Add(name="merge")([x, x])
    z = keras.layers.Add(name="end")([x, y])
    model = keras.Model(images, z)
    copy = edits.edited(model, inputs={("merge", 1): lambda tensor: 0 * tensor})
    np.testing.assert_allclose(copy(photo[None]), 2 * photo[None], atol=1e-6)
    np.testing.assert_allclose(model(photo[None]), 3 * photo[None], atol=1e-6)


def test_nested_models_and_mixed_precision_are_edited_too(photo):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        inside = keras.Input((None, None, 3))
        inner = keras.Model(inside, keras.layers.Conv2D(4, 1, name="inside")(inside))
        images = keras.Input((None, None, 3))
        model = keras.Model(images, keras.layers.ReLU(name="out")(inner(images)))
    finally:
        keras.config.set_dtype_policy("float32")
    gate = edits.Gate()
    copy = edits.edited(model, {"inside": gate})
    gate.gate.assign([0, 0, 0, 0])
    gate.replacement.assign([1, 2, 3, 4])
    found = copy(photo[None])
    assert found.dtype == "float16" and (found == [1, 2, 3, 4]).numpy().all()


def test_an_unknown_layer_is_named_with_those_there_are(unet):
    with pytest.raises(ValueError, match="no layer nowhere in unet: give one of .*stem"):
        edits.edited(unet, {"nowhere": edits.Gate()})


# E6


def test_shapley_values_of_games_with_known_ones():
    worth = np.array([1.0, -2.0, 5.0])
    np.testing.assert_allclose(skips.shapley(lambda key: worth @ np.array(key), 3), worth)
    # One left glove and two right ones: a pair is worth 1.
    gloves = skips.shapley(lambda key: float(key[0] and (key[1] or key[2])), 3)
    np.testing.assert_allclose(gloves, [2 / 3, 1 / 6, 1 / 6])


def test_skips_of_the_generators_are_found(unet):
    assert [name for name, _ in skips.connections(unet)] and len(skips.connections(unet)) == 4
    assert len(skips.connections(generators.fast_generator(width=4, depth=2))) == 2


def test_the_skip_that_does_the_work_is_found(photo):
    images = keras.Input((None, None, 3))
    x = keras.layers.AveragePooling2D(8)(images)
    for _ in range(7):
        x = keras.layers.ReLU()(x)
    x = keras.layers.UpSampling2D(8)(x)
    x = keras.layers.Rescaling(0.0)(x)
    idle = keras.layers.Rescaling(0.0, name="idle_source")(images)
    for _ in range(9):
        x = keras.layers.ReLU()(x)
    x = keras.layers.Add(name="works")([x, images])
    for _ in range(9):
        x = keras.layers.ReLU()(x)
    x = keras.layers.Add(name="idle")([x, idle])
    model = keras.Model(images, x)
    parts = [photo[:32, :32], photo[8:40, 16:48], photo[:32, 16:48]]
    found = skips.explain(
        model,
        parts[:2],
        score=lambda output, photo: float(np.mean((output - photo) ** 2)),
        held_out=parts[2:],
        what="squared error",
    )
    shares = {name: value for name, value in found.figures.items() if "share" in name}
    assert found.verdict == "PASS" and found.figures["full"] == pytest.approx(0, abs=1e-9)
    assert "the one at full size (works[1]) does most" in found.summary
    assert shares["share/idle[1]"] == pytest.approx(0, abs=1e-9)
    assert shares["share/works[1]"] == pytest.approx(-found.figures["empty"])


def noisy(strength):
    images, noise = keras.Input((None, None, 3)), keras.Input((4,))
    z = keras.layers.Rescaling(strength)(keras.layers.Dense(3)(noise))
    z = keras.layers.Reshape((1, 1, 3))(z)
    return keras.Model([images, noise], keras.layers.Add()([images, z]))


@pytest.mark.parametrize(("strength", "verdict"), [(0.1, "PASS"), (0.0, "FAIL")])
def test_a_generator_that_ignores_its_noise_is_found(strength, verdict, photo):
    keras.utils.set_random_seed(0)
    found = skips.explain_noise(noisy(strength), [photo[:16, :16], photo[16:32, :16]])
    assert found.verdict == verdict
    assert found.checks[0].verdict == "PASS"


# The report


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.open, self.sources, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        self.sources += [v for k, v in attributes if k in ("src", "href", "action")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_is_whole_and_asks_the_network_for_nothing(tmp_path, tiny_extractor, photo, rng):
    explanations = [
        explained(tiny_extractor, photo),
        explanation(3.0, math.nan, bars=rng.normal(size=7)),
    ]
    path, *others = report.write(
        tmp_path / "report.html",
        explanations,
        title="A <picture>",
        pictures={"photo": photo, "style": photo[::-1, :40]},
        ground="photo",
    )
    text = path.read_text("utf-8")
    page = Page(text)
    assert not page.open and "A <picture>" in "".join(page.text)
    assert page.sources and all(s.startswith("data:image/png;base64,") for s in page.sources)
    assert "http" not in text and len(text) < 2_000_000
    assert "FAIL" in text and "NOT TESTED" in text
    saved = json.loads((tmp_path / "report.json").read_text())
    assert [each["verdict"] for each in saved["explanations"]] == ["PASS", "FAIL"]
    assert {p.name for p in others} == {"report.json", "report.loss_maps.npz", "report.it.npz"}


def test_the_page_says_what_colours_and_layers_mean_and_warns_first(tmp_path, rng):
    maps = {"content": rng.uniform(size=(8, 9)), "signed": rng.normal(size=(8, 9))}
    first = Explanation("loss_maps", "Where?", "There.", {"block3_conv1": 0.5}, maps, {}, [])
    checked = Check("block1_conv1:3 does it", 1.0, 2.0, "below")
    second = Explanation("units", "Who?", "It.", {"up1": 1.0}, {}, {}, [checked])
    path = report.write(
        tmp_path / "r.html", [first, second], title="it", pictures={}, warning="Is it another?"
    )[0]
    text = " ".join(Page(path.read_text("utf-8")).text)
    assert "Bright yellow: most" in text and "Red: above 0. Blue: below 0" in text
    assert "small patterns and strokes" in text and "doubles the picture again" in text
    assert "repaints it at a quarter" in text and "finest lines" not in text
    places = [text.index(each) for each in ("Is it another?", "Bright", "Verdicts", "Who?")]
    # The question stands in the table of verdicts, which comes before its own part.
    assert places == sorted(places) and text.count("Who?") == 2
    assert json.loads((tmp_path / "r.json").read_text())["warning"] == "Is it another?"


def test_tables_scroll_in_a_box_of_their_own(tmp_path):
    one = Explanation("it", "Is it?", "It is.", {"a": 1.0}, {}, {}, [Check("b", 1, 2, "below")])
    text = report.write(tmp_path / "r.html", [one], title="it", pictures={})[0].read_text()
    assert text.count("<table>") == text.count('<div class="wide"><table>') == 2
    assert ".wide { overflow-x: auto" in text


# E4


def half_discriminator(columns=16):
    """Sees the brightness of the left half alone, or of the first `columns` of 32."""
    weight = tf.constant(np.where(np.arange(32) < columns, 3 / 32 / columns, 0.0), tf.float32)
    return lambda batch: tf.reduce_sum(tf.reduce_mean(batch, -1) * weight, axis=[1, 2]) ** 2


def test_integrated_gradients_of_a_square_have_a_closed_form(rng):
    image, baseline = (rng.uniform(size=(4, 4, 3)).astype("float32") for _ in range(2))
    found = attribution.integrated_gradients(
        lambda batch: tf.reduce_sum(batch**2, axis=[1, 2, 3]), image, baseline, steps=3
    )
    np.testing.assert_allclose(found, image**2 - baseline**2, atol=1e-6)


def test_integrated_gradients_agree_with_saliency(rng):
    saliency = pytest.importorskip("saliency.core")
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Conv2D(4, 3, activation="tanh"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1),
        ]
    )
    image, baseline = (rng.uniform(size=(16, 16, 3)).astype("float32") for _ in range(2))

    def call(batch, call_model_args=None, expected_keys=None):
        batch = tf.constant(batch, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(batch)
            value = network(batch)[:, 0]
        gradient = tape.gradient(value, batch).numpy()
        return {saliency.base.INPUT_OUTPUT_GRADIENTS: gradient}

    theirs = saliency.IntegratedGradients().GetMask(
        image, call, x_baseline=baseline, x_steps=400, batch_size=50
    )
    ours = attribution.integrated_gradients(
        lambda batch: network(batch)[:, 0], image, baseline, steps=400
    )
    assert np.abs(ours - theirs).max() < 0.01 * np.abs(ours).max()


def test_a_discriminator_that_sees_the_left_half_alone_is_found(rng):
    image = rng.uniform(0.5, 1, size=(32, 32, 3)).astype("float32")
    found = attribution.explain(
        half_discriminator(), image, 0 * image, says="real", against="black"
    )
    pixels = found.arrays["pixels"]
    assert found.verdict == "PASS" and not pixels[:, 16:].any() and (pixels[:, :16] > 0).all()
    assert "does not look at 50% of the picture" in found.summary
    # Its twin, which sees all of it, is not flagged.
    twin = attribution.explain(
        half_discriminator(32), image, 0 * image, says="real", against="black"
    )
    assert twin.verdict == "PASS" and "does not look" not in twin.summary
    assert twin.figures["blind"] == 0
    # Of a score that falls, reasons are what makes it fall.
    falls = attribution.explain(
        half_discriminator(), 0 * image, image, says="real", against="bright"
    )
    assert "picture has -" not in falls.summary


def test_wrong_gradients_fail_and_equal_scores_are_not_tested(rng):
    image = rng.uniform(0.5, 1, size=(32, 32, 3)).astype("float32")
    right = half_discriminator()

    @tf.custom_gradient
    def wrong(batch):
        return right(batch), lambda upstream: tf.reverse(batch, [2]) * upstream[:, None, None, None]

    found = attribution.explain(wrong, image, 0 * image, says="real", against="black")
    assert found.verdict == "FAIL"
    same = attribution.explain(right, image, image, says="real", against="itself")
    assert same.verdict == "NOT TESTED"


def test_weights_drawn_anew_give_another_map_and_are_put_back(photo):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.Conv2D(8, 5, activation="relu"),
            keras.layers.Conv2D(1, 5),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    before = model.get_weights()
    image = photo[:48, :48]
    found = attribution.explain(
        lambda batch: model(batch)[:, 0],
        image,
        0 * image,
        says="real",
        against="black",
        model=model,
    )
    assert found.checks[-1].name.startswith("with weights drawn anew")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_curves_tables_bars_and_pictures_are_drawn(tmp_path, rng):
    arrays = {
        "curve": rng.normal(size=5),
        "step": np.arange(5.0),
        "table": rng.normal(size=(2, 3)),
        "bars": rng.normal(size=3),
        "texture": rng.uniform(size=(8, 9, 3)),
        "saved/only": rng.normal(size=4),
    }
    drawn = Explanation(
        "it",
        "Is it?",
        "It is.",
        {},
        arrays,
        {},
        [],
        along={"curve": "step"},
        labels={"table": ["a", "b"], "table/columns": list("xyz"), "bars": list("xyz")},
    )
    text = report.write(tmp_path / "r.html", [drawn], title="it", pictures={})[0].read_text()
    page = Page(text)
    assert len(page.sources) == 4 and not page.open
    assert json.loads((tmp_path / "r.json").read_text())["explanations"][0]["along"]
    assert "saved/only" in np.load(tmp_path / "r.it.npz")
