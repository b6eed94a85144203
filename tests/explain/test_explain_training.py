"""What the weights of the losses do, which directions steer, what layers see, hidden payloads."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfstyle import images, losses
from tfstyle.data import drawn, samples
from tfstyle.explain import hidden_payload, layer_meaning, loss_weights, style_directions
from tfstyle.networks import generators
from tfstyle.training import steps


def parts(count, side=32):
    photo = images.resize(samples.photo("chelsea"), (96, 128))
    return [photo[6 * i : 6 * i + side, 10 * i : 10 * i + side] for i in range(count)]


# What the weights do


def bowls(*targets):
    """A model of two weights, and losses that are squared distances from targets."""
    image = keras.Input((2,))
    model = keras.Model(image, keras.layers.Dense(1, use_bias=False)(image))
    model.set_weights([np.zeros((2, 1))])

    def terms(scale):
        weight = model.trainable_variables[0].value[:, 0]
        return {
            str(i): scale * tf.reduce_sum((weight - np.float32(t)) ** 2)
            for i, t in enumerate(targets)
        }

    return model, terms


def test_shares_and_conflicts_of_two_bowls_have_closed_forms():
    model, terms = bowls((1, 0), (-1, 1))
    found = loss_weights.explain(
        terms, model, weights={"0": 1.0, "1": 3.0}, batches=[(1.0,)], held_out=[(1.0,)], step=1e-3
    )
    # Losses 1 and 2; gradients (-2, 0) and (2, -2).
    assert found.figures["value/0"] == pytest.approx(1 / 7)
    assert found.figures["gradient/0"] == pytest.approx(2 / (2 + 3 * 8**0.5))
    assert found.figures["conflict/1,0"] == pytest.approx(-(0.5**0.5))
    assert found.verdict == "PASS" and not model.get_weights()[0].any()


def test_batches_that_want_the_opposite_fail():
    model, terms = bowls((1, 0), (0, 1))

    def opposed(sign):
        return {name: 4 + sign * value for name, value in terms(1.0).items()}

    found = loss_weights.explain(
        opposed,
        model,
        weights={"0": 1.0, "1": 1.0},
        batches=[(1.0,)],
        held_out=[(-1.0,)],
        step=1e-3,
    )
    assert found.verdict == "FAIL"


def test_one_step_of_a_style_network_is_foretold(tiny_extractor):
    keras.utils.set_random_seed(0)
    generator = generators.fast_generator(width=4, depth=1)
    layers = losses.STYLE_LAYERS[:3]
    of_style = tiny_extractor(drawn.style("mosaic", 64)[None])
    optimizer = keras.optimizers.Adam()
    optimizer.build(generator.trainable_variables)
    step = steps.PerceptualStep(
        generator=generator,
        extractor=tiny_extractor,
        content_extractor=tiny_extractor,
        style_grams={layer: losses.gram(of_style[layer]) for layer in layers},
        optimizer=optimizer,
        content_layers=[losses.CONTENT_LAYER],
        content_weight=1.0,
        style_weight=10.0,
        tv_weight=1.0,
    )
    photos = tf.constant(np.stack(parts(4)))
    before = generator.get_weights()
    # The same batch for both: others differ, which is what the test of a real training measures.
    found = loss_weights.explain(
        step.terms, generator, weights=step.weights, batches=[(photos,)], held_out=[(photos,)]
    )
    assert min(check.value for check in found.checks) > 0.99
    assert found.verdict == "PASS"
    for old, new in zip(before, generator.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    # `terms` are what `update` reports before it updates.
    terms = {name: float(value) for name, value in step.terms(photos).items()}
    reported = step(photos)
    for name, value in terms.items():
        assert float(reported[name]) == pytest.approx(value, rel=1e-4)


def test_one_loss_alone_has_nothing_to_be_weighed_against():
    model, terms = bowls((1, 0), (0, 1))
    with pytest.raises(ValueError, match="at least two losses"):
        loss_weights.explain(
            terms, model, weights={"0": 1.0, "1": 0.0}, batches=[(1.0,)], held_out=[(1.0,)]
        )


# Style directions


def fusion(strength):
    """Three styles that differ by `strength` in the offsets of the last normalisation."""
    keras.utils.set_random_seed(0)
    model = generators.fusion_generator(styles=3, width=4, depth=1)
    variable = style_directions._variables(model)[-1]
    rng = np.random.default_rng(0)
    values = np.zeros(variable.shape)
    values[:, 0] = strength * rng.normal(size=len(values))
    variable.assign(values + np.asarray(variable.value).mean(axis=0))
    return model


def test_the_direction_in_which_styles_differ_is_found_and_weights_are_put_back():
    model = fusion(0.3)
    vectors = style_directions.parameters(model)
    found = style_directions.explain(model, parts(1), extent=0.3)
    assert found.figures["share/0"] == pytest.approx(1, abs=1e-6)
    assert found.figures["r2/0"] > 0.8 and found.checks[0].verdict == "PASS"
    np.testing.assert_array_equal(style_directions.parameters(model), vectors)
    assert found.arrays["strip_0"].shape == (32, 160, 3)


def test_a_range_in_which_nothing_is_straight_fails():
    found = style_directions.explain(fusion(5.0), parts(1), extent=3.0)
    assert found.checks[0].verdict == "FAIL"


def test_a_model_of_one_style_has_no_directions():
    with pytest.raises(ValueError, match="no conditional normalisation"):
        style_directions.explain(generators.fast_generator(width=4, depth=1), parts(1))
    with pytest.raises(ValueError, match="one style"):
        style_directions.explain(generators.fusion_generator(styles=1, width=4, depth=1), parts(1))


# Layers


def grounds(count):
    """Styles of other colours and stripes."""
    rng = np.random.default_rng(0)
    made = {}
    for i in range(count):
        inks = rng.uniform(size=(2, 3))
        stripes = (np.arange(48) // (2 + i % 3 * 3) % 2)[:, None, None]
        picture = np.broadcast_to(np.where(stripes, *inks), (48, 48, 3)).astype("float32")
        made[f"style{i}"] = picture if i % 2 else picture.transpose(1, 0, 2)
    return made


def test_a_texture_has_the_gram_matrix_that_was_asked_for(tiny_extractor):
    style = grounds(1)["style0"]
    layer = "block1_conv1"
    made = layer_meaning.texture(style, extractor=tiny_extractor, layer=layer, size=32, steps=80)
    target = losses.gram(tiny_extractor(style[None])[layer])

    def loss(picture):
        gram = losses.gram(tiny_extractor(picture[None].astype("float32"))[layer])
        return float(losses.style_loss(grams={layer: gram}, targets={layer: target}))

    assert made.shape == (32, 32, 3) and made.min() >= 0 and made.max() <= 1
    assert loss(made) < 0.02 < loss(np.random.default_rng(0).uniform(size=(32, 32, 3)))


@pytest.mark.parametrize(("steps_", "verdict"), [(60, "PASS"), (0, "FAIL")])
def test_textures_find_their_style_and_noise_does_not(tiny_extractor, steps_, verdict):
    styles = grounds(6)
    judge = keras.Model(
        tiny_extractor.input,
        {name: tiny_extractor.get_layer(name).output for name in ("block1_conv1", "block2_conv1")},
    )
    found = layer_meaning.explain(
        styles,
        extractor=tiny_extractor,
        judge=judge,
        layers=("block1_conv1",),
        retrieved=list(styles)[:3],
        size=32,
        steps=steps_,
    )
    assert found.checks[0].verdict == verdict
    if steps_:
        assert set(found.arrays) == {"block1_conv1", "random_weights"}
    else:  # two noises and the noise again: nothing was made
        assert found.verdict == "FAIL"


# Hidden payloads


def secretive(batch):
    """Its own blur, and the fine detail at a hundredth: back by a hundredfold."""
    soft = tf.nn.avg_pool2d(batch, 4, 4, "SAME")
    soft = tf.image.resize(soft, batch.shape[1:3], "nearest")
    # Steps of 4/255 carry the remainder faintly.
    coarse = tf.round(soft * 64) / 64
    return (coarse + (batch - 0.5) * 0.01).numpy()


def revealing(batch):
    coarse = np.round(batch * 64) / 64
    return np.clip((batch - coarse) * 100 + 0.5, 0, 1)


@pytest.mark.parametrize(
    ("forward", "back", "verdict"),
    [
        (secretive, revealing, "FAIL"),
        (lambda x: 0.1 + 0.8 * x, lambda x: (x - 0.1) / 0.8, "PASS"),
        (lambda x: x[..., ::-1], lambda x: x[..., ::-1], "PASS"),
    ],
)
def test_a_planted_payload_is_flagged_and_a_clean_pair_is_not(forward, back, verdict):
    found = hidden_payload.explain(forward, back, parts(2))
    assert found.verdict == verdict
    # Both bring the photo back; only one of them does without faint marks.
    assert found.figures["error"] < 0.02
    assert ("hides its input" in found.summary) == (verdict == "FAIL")
