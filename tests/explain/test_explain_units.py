"""Which units paint what: measures with known answers, a unit that alone paints red, its twin."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfstyle import images
from tfstyle.data import samples
from tfstyle.explain import units
from tfstyle.images import color


def parts(count, side=48):
    photo = images.resize(samples.photo("chelsea"), (96, 128))
    return [photo[8 * i : 8 * i + side, 12 * i : 12 * i + side] for i in range(count)]


def painter(red: bool):
    """Five units paint grey and a sixth red, or each of them some colour."""
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(6, 1, name="mix")(image)
    x = keras.layers.ReLU(name="units")(x)
    x = keras.layers.Conv2D(3, 1, name="out")(x)
    model = keras.Model(image, x)
    rng = np.random.default_rng(0)
    mix = np.abs(rng.normal(size=(1, 1, 3, 6))) / 3
    mix[..., 5] = 1 / 3
    out = np.abs(rng.normal(size=(1, 1, 6, 3))) / 6
    if red:
        out[:] = 0.15
        out[:, :, 5] = [[0.5, 0, 0]]
    model.get_layer("mix").set_weights([mix, np.zeros(6)])
    model.get_layer("out").set_weights([out, np.zeros(3)])
    if red:
        # It paints where a picture is bright.
        model.get_layer("mix").bias.assign([0, 0, 0, 0, 0, -0.3])
    return model


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        # http://www.brucelindbloom.com, sRGB and D65
        ((1, 1, 1), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((1, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 0, 1), (32.30, 79.19, -107.86)),
    ],
)
def test_colours_have_their_known_lab_values(rgb, expected):
    found = color.lab(tf.constant([[[rgb]]], tf.float32))[0, 0, 0]
    np.testing.assert_allclose(found, expected, atol=0.03)


def test_stripes_are_found_at_their_wavelength_and_angle():
    x = np.arange(64)
    for axis, angle in ((1, 0), (0, 90)):
        for wavelength in (4, 8):
            wave = 0.5 + 0.4 * np.sin(2 * np.pi * x / wavelength)
            picture = np.broadcast_to(np.expand_dims(wave, 1 - axis), (64, 64))
            picture = np.repeat(picture[None, ..., None], 3, axis=-1).astype("float32")
            found = units.measures(tf.constant(picture))
            stripes = {k: float(v[0]) for k, v in found.items() if k.startswith("stripes")}
            assert max(stripes, key=stripes.get) == f"stripes/{wavelength}px/{angle}"


def test_changes_of_measures_have_words():
    assert units.in_words("yellow-blue", np.float64(-1.0)) == "more blue"
    assert units.in_words("stripes/8px/45", 0.1) == "stronger stripes of 8px at 45 degrees"
    assert units.in_words("fine detail", -0.1) == "less fine detail"
    told = units.in_words("style/block1_conv1", -0.1)
    assert told == "less distance to the style in block1_conv1"


def test_measures_have_gradients_in_black_and_white_too():
    for value in (0.0, 1.0):
        picture = tf.constant(np.full((1, 16, 16, 3), value, "float32"))
        with tf.GradientTape() as tape:
            tape.watch(picture)
            total = tf.add_n([v[0] for v in units.measures(picture).values()])
        assert np.isfinite(tape.gradient(total, picture)).all()


def test_an_ablation_is_what_screening_says_where_the_measure_is_linear():
    model = painter(red=True)
    photos = parts(2)
    gated = units._Gated(model, [], None, None)
    means, _ = units._means(gated, photos)
    for name, mean in zip(gated.names, means, strict=True):
        gated.gates[name].replacement.assign(mean)
    out = model(photos[0][None]).numpy()
    taken = gated.measured(photos[0], [gated.units[5]])
    read = gated.reads(photos[0][None])[1].numpy()
    red = out.copy()
    red[..., 0] -= 0.5 * (read[..., 5] - means[0][5])
    np.testing.assert_allclose(
        taken[:3], np.mean(color.lab(tf.constant(red)), (0, 1, 2)), atol=0.05
    )


def test_a_unit_that_alone_paints_red_is_found_and_its_twin_is_not_flagged():
    bright = [np.clip(part + 0.3, 0, 1) for part in parts(1)]
    dark = [part * 0.4 for part in parts(4)[1:]]
    flagged = {}
    for red in (True, False):
        found = units.explain(painter(red), bright + dark[:1], dark[1:], ablate=6, together=1)
        flagged[red] = "depend on one unit" in found.summary
        if red:
            assert "units:5 alone" in found.summary and "brings more red" in found.summary
            assert found.verdict == "PASS"
    assert flagged == {True: True, False: False}


def test_effects_that_are_not_there_fail(monkeypatch):
    own = units._Gated.screened
    monkeypatch.setattr(units._Gated, "screened", lambda *of: -own(*of))
    found = units.explain(painter(True), parts(2), parts(4)[2:], ablate=6, together=1)
    (screening,) = [check for check in found.checks if "screening" in check.name]
    assert screening.verdict == "FAIL"


def test_a_generator_without_units_is_told():
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(3, 1)(image), name="plain")
    with pytest.raises(ValueError, match="plain: no ReLU layers"):
        units.explain(model, parts(1), parts(1))
