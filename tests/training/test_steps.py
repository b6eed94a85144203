import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfstyle import losses, training
from tfstyle.data import drawn, samples
from tfstyle.errors import ArgumentError
from tfstyle.networks import discriminators, generators
from tfstyle.training import image_pool, steps
from tfstyle.training.steps import base

WEIGHTS = {"content_weight": 1.0, "style_weight": 0.5, "tv_weight": 2.0}


def small_generator():
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(6, 3, padding="same", activation="relu")(image)
    x = keras.layers.Conv2D(3, 3, padding="same", name="head")(x)
    return keras.Model(image, keras.layers.Activation("sigmoid", dtype="float32")(x))


def crops(photo, batch=2):
    return np.stack([photo[8 * i :][:32, 20 * i :][:, :32] for i in range(batch)])


@pytest.fixture(scope="module")
def paintings():
    return crops(drawn.style("swirls", 96))


@pytest.fixture(scope="module")
def style_grams(paintings, tiny_extractor):
    values = tiny_extractor(paintings[:1])
    return {layer: losses.gram(values[layer]) for layer in losses.STYLE_LAYERS}


def perceptual_step(tiny_extractor, style_grams, generator, *, optimizer=None, **weights):
    return steps.PerceptualStep(
        generator=generator,
        extractor=tiny_extractor,
        content_extractor=tiny_extractor,
        style_grams=style_grams,
        optimizer=optimizer or training.adam(0.01, generator.trainable_variables),
        **({"content_layers": [losses.CONTENT_LAYER]} | WEIGHTS | weights),
    )


def gan_step(tiny_extractor, generator, discriminator, *, rates=(0.01, 0.01), **options):
    return steps.GanStep(
        generator=generator,
        discriminator=discriminator,
        extractor=tiny_extractor,
        content_extractor=tiny_extractor,
        generator_optimizer=training.adam(rates[0], generator.trainable_variables),
        discriminator_optimizer=training.adam(rates[1], discriminator.trainable_variables),
        content_layers=[losses.CONTENT_LAYER],
        layer_weights=dict.fromkeys(losses.STYLE_LAYERS, 0.2),
        **({"adversarial": "bce", "adversarial_weight": 0.3} | WEIGHTS | options),
    )


def weights_of(model):
    return [weight.copy() for weight in model.get_weights()]


def assert_equal(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


# The perceptual step


def test_the_perceptual_step_lowers_its_loss(photo, tiny_extractor, style_grams):
    step = perceptual_step(tiny_extractor, style_grams, small_generator())
    totals = [float(step(crops(photo))["total"]) for _ in range(40)]
    assert totals[-1] < 0.7 * totals[0]
    assert min(totals[-5:]) < min(totals[:5])


def test_it_returns_the_losses_before_the_update_and_their_weighted_sum(
    photo, tiny_extractor, style_grams
):
    generator, photos = small_generator(), crops(photo)
    stylized = generator(photos)
    of_stylized, of_photos = tiny_extractor(stylized), tiny_extractor(photos)
    expected = {
        "content": losses.content_loss(
            features=of_stylized["block4_conv2"], target=of_photos["block4_conv2"]
        ),
        "style": losses.style_loss(
            grams={layer: losses.gram(of_stylized[layer]) for layer in style_grams},
            targets=style_grams,
        ),
        "tv": losses.total_variation(stylized),
    }
    expected["total"] = sum(WEIGHTS[f"{name}_weight"] * value for name, value in expected.items())
    values = perceptual_step(tiny_extractor, style_grams, generator)(photos)
    assert values.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(values[name], value, rtol=1e-4, err_msg=name)


@pytest.mark.usefixtures("eager")
def test_the_checkerboard_loss_joins_the_total_where_it_has_a_weight(tiny_extractor, style_grams):
    photos, generator = samples.photo("chelsea")[None, :128, :144], small_generator()
    stylized = generator(photos)
    plain = perceptual_step(tiny_extractor, style_grams, generator).terms(photos)
    assert "checkerboard" not in plain
    step = perceptual_step(tiny_extractor, style_grams, generator, checkerboard_weight=2.0)
    values = step(photos)
    expected = losses.checkerboard_loss(images=stylized)
    assert expected > 0
    np.testing.assert_allclose(values["checkerboard"], expected, rtol=1e-3)
    others = sum(step.weights[name] * value for name, value in plain.items())
    np.testing.assert_allclose(values["total"], others + 2 * expected, rtol=1e-3)


@pytest.mark.usefixtures("eager")
def test_with_means_the_style_loss_is_wassersteins(photo, tiny_extractor, paintings):
    layers = {"block1_conv1": 0.75, "block2_conv1": 0.25}
    of_paintings = tiny_extractor(np.stack([paintings[0], 0.3 * paintings[1]]))
    grams = {layer: losses.gram(of_paintings[layer]) for layer in layers}
    means = {layer: losses.channel_means(of_paintings[layer]) for layer in layers}
    generator = small_generator()
    step = perceptual_step(
        tiny_extractor, grams, lambda given, training: generator(given[0]),
        optimizer=training.adam(0.01, generator.trainable_variables),
        style_means=means, layer_weights=layers,
    )  # fmt: skip
    photos = crops(photo)
    found = tiny_extractor(generator(photos))

    def expected(target_means, target_grams):
        return losses.wasserstein_style_loss(
            means={layer: losses.channel_means(found[layer]) for layer in layers},
            grams={layer: losses.gram(found[layer]) for layer in layers},
            target_means=target_means,
            target_grams=target_grams,
            layer_weights=layers,
        )

    values = step.terms(photos, tf.eye(2))
    np.testing.assert_allclose(values["style"], expected(means, grams), rtol=1e-3)
    # Each image by its own style: the other way round it is another loss.
    other = expected(*({k: v[::-1] for k, v in of.items()} for of in (means, grams)))
    assert abs(values["style"] / other - 1) > 0.01
    turned = step.terms(photos, tf.eye(2)[::-1])
    np.testing.assert_allclose(turned["style"], other, rtol=1e-3)
    # A blend of a style with itself is that style.
    twice = {layer: tf.repeat(value[:1], 2, axis=0) for layer, value in means.items()}
    grams = {layer: tf.repeat(value[:1], 2, axis=0) for layer, value in grams.items()}
    step = perceptual_step(
        tiny_extractor, grams, step.generator, optimizer=step.optimizer,
        style_means=twice, layer_weights=layers,
    )  # fmt: skip
    np.testing.assert_allclose(
        step.terms(photos, tf.constant([[0.3, 0.7]] * 2))["style"],
        expected(twice, grams),
        rtol=1e-3,
    )


def test_means_go_with_grams_and_the_relative_formula(tiny_extractor, style_grams):
    means = {layer: tf.zeros(gram.shape[:2]) for layer, gram in style_grams.items()}
    with pytest.raises(ArgumentError, match="formula gatys: give .* the relative formula"):
        perceptual_step(
            tiny_extractor, style_grams, small_generator(), style_means=means, formula="gatys"
        )
    with pytest.raises(ArgumentError, match=r"style_means of \[\] .*: give those of \['block1"):
        perceptual_step(tiny_extractor, style_grams, small_generator(), style_means={})


@pytest.mark.usefixtures("eager")
def test_what_stands_out_weighs_more_in_the_content_by_saliency(photo, tiny_extractor, style_grams):
    generator, photos = small_generator(), crops(photo)
    found, target = (tiny_extractor(x)["block4_conv2"] for x in (generator(photos), photos))
    weights = (1 + losses.saliency(target)) / 2
    step = perceptual_step(tiny_extractor, style_grams, generator, saliency=0.5)
    expected = losses.content_loss(features=found, target=target, weights=weights)
    np.testing.assert_allclose(step.terms(photos)["content"], expected, rtol=1e-4)


@pytest.mark.usefixtures("eager")
def test_several_content_layers_count_the_same(photo, tiny_extractor, style_grams):
    layers = ["block2_conv1", "block4_conv2"]
    step = perceptual_step(tiny_extractor, style_grams, small_generator(), content_layers=layers)
    of_stylized, of_photos = (
        tiny_extractor(x) for x in (step.generator(crops(photo)), crops(photo))
    )
    expected = [
        losses.content_loss(features=of_stylized[layer], target=of_photos[layer])
        for layer in layers
    ]
    np.testing.assert_allclose(step(crops(photo))["content"], np.mean(expected), rtol=1e-4)


@pytest.mark.usefixtures("eager")
def test_layer_weights_choose_among_the_styles_layers(photo, tiny_extractor, style_grams):
    only = {layer: float(layer == "block2_conv1") for layer in style_grams}
    step = perceptual_step(tiny_extractor, style_grams, small_generator(), layer_weights=only)
    stylized = step.generator(crops(photo))
    expected = losses.style_loss(
        grams={"block2_conv1": losses.gram(tiny_extractor(stylized)["block2_conv1"])},
        targets={"block2_conv1": style_grams["block2_conv1"]},
    )
    np.testing.assert_allclose(step(crops(photo))["style"], expected, rtol=1e-4)


@pytest.mark.usefixtures("eager")
def test_without_style_weight_only_the_content_teaches(photo, tiny_extractor, style_grams):
    """The update is the one that a plain content loss, written out, gives."""
    photos = crops(photo)
    generator = small_generator()
    twin = keras.models.clone_model(generator)
    twin.set_weights(generator.get_weights())
    descent = keras.optimizers.SGD(0.01)
    descent.build(generator.trainable_variables)
    step = perceptual_step(
        tiny_extractor,
        style_grams,
        generator,
        optimizer=descent,
        style_weight=0.0,
        tv_weight=0.0,
        content_weight=3.0,
    )
    step(photos)

    target = tiny_extractor(photos)["block4_conv2"]
    variables = [variable.value for variable in twin.trainable_variables]
    with tf.GradientTape() as tape:
        error = tf.square(tiny_extractor(twin(photos))["block4_conv2"] - target)
        relative = tf.reduce_sum(error, [1, 2, 3]) / tf.reduce_sum(target**2, [1, 2, 3])
        loss = 3.0 * tf.reduce_mean(relative)
    start = twin.get_weights()
    gradients = tape.gradient(loss, variables)
    for now, old, gradient in zip(generator.get_weights(), start, gradients, strict=True):
        np.testing.assert_allclose(now - old, -0.01 * gradient, rtol=1e-3, atol=1e-7)


@pytest.mark.usefixtures("eager")
def test_the_extractor_and_the_style_stay_as_they_were(photo, tiny_extractor, style_grams):
    before = weights_of(tiny_extractor), {k: v.numpy().copy() for k, v in style_grams.items()}
    perceptual_step(tiny_extractor, style_grams, small_generator())(crops(photo))
    assert_equal(before[0], tiny_extractor.get_weights())
    assert_equal(before[1].values(), [gram.numpy() for gram in style_grams.values()])


# The GAN step


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("adversarial", losses.ADVERSARIAL)
def test_the_gan_step_updates_both_networks(photo, paintings, tiny_extractor, adversarial):
    generator = small_generator()
    discriminator = discriminators.patch_discriminator(width=4, layers=1, norm="none")
    before = weights_of(generator), weights_of(discriminator)
    step = gan_step(tiny_extractor, generator, discriminator, adversarial=adversarial)
    values = {name: float(value) for name, value in step(crops(photo), paintings).items()}
    for old, network in zip(before, (generator, discriminator), strict=True):
        for weight, now in zip(old, network.get_weights(), strict=True):
            # Of biases, hinge's pulls by real and by fake patches cancel at the start.
            assert now.ndim == 1 or not np.array_equal(weight, now)
            assert np.isfinite(now).all()
    assert np.isfinite(list(values.values())).all()
    weights = WEIGHTS | {"adversarial_weight": 0.3}
    total = sum(
        weights[f"{k}_weight"] * values[k] for k in ("content", "style", "tv", "adversarial")
    )
    np.testing.assert_allclose(values["total"], total, rtol=1e-5)


@pytest.mark.usefixtures("eager")
def test_the_gan_step_compares_with_the_mean_gram_of_the_paintings(
    photo, paintings, tiny_extractor
):
    generator = small_generator()
    discriminator = discriminators.patch_discriminator(width=4, layers=1, norm="none")
    of_stylized, of_paintings = tiny_extractor(generator(crops(photo))), tiny_extractor(paintings)
    expected = losses.style_loss(
        grams={layer: losses.gram(of_stylized[layer]) for layer in losses.STYLE_LAYERS},
        targets={
            layer: np.mean(losses.gram(of_paintings[layer]), axis=0, keepdims=True)
            for layer in losses.STYLE_LAYERS
        },
    )
    values = gan_step(tiny_extractor, generator, discriminator)(crops(photo), paintings)
    np.testing.assert_allclose(values["style"], expected, rtol=1e-4)


def projected_pair(tiny_extractor):
    """Twice the same discriminator on features."""
    scales = {"block2_conv1": 0.2, "block4_conv1": 0.1}
    models = [
        discriminators.projected_discriminator(tiny_extractor, scales, width=4) for _ in range(2)
    ]
    models[1].set_weights(models[0].get_weights())
    return models


def test_heads_on_features_of_the_losses_train_as_a_discriminator_of_images(
    photo, paintings, tiny_extractor, eager
):
    generator = small_generator()
    twin = keras.models.clone_model(generator)
    twin.set_weights(generator.get_weights())
    first, second = projected_pair(tiny_extractor)
    heads = first.get_layer(discriminators.HEADS)
    kind = {"adversarial": "hinge", "rates": (0.01, 0.01)}
    shared = gan_step(tiny_extractor, generator, first, heads=heads, **kind)
    plain = gan_step(tiny_extractor, twin, second, **kind)
    for _ in range(2):
        one, other = shared(crops(photo), paintings), plain(crops(photo), paintings)
        for name, value in other.items():
            np.testing.assert_allclose(one[name], value, rtol=1e-4, atol=1e-6, err_msg=name)
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    # A checkpoint does not hold what is never trained.
    assert shared.state["discriminator"] is heads and plain.state["discriminator"] is second


def test_with_targets_each_photo_is_painted_like_the_painting_it_is_nearest_to(
    photo, paintings, tiny_extractor
):
    generator = small_generator()
    discriminator = discriminators.patch_discriminator(width=4, layers=1, norm="none")
    of_paintings = tiny_extractor(paintings)
    statistics = {
        kind: {layer: of(of_paintings[layer]) for layer in losses.STYLE_LAYERS}
        for kind, of in (("grams", losses.gram), ("means", losses.channel_means))
    }
    targets = losses.StyleTargets(statistics["grams"], means=statistics["means"])
    step = gan_step(tiny_extractor, generator, discriminator, targets=targets)
    photos = crops(photo)
    chosen = targets.nearest(tiny_extractor(photos))
    features = tiny_extractor(generator(photos, training=True))
    expected = losses.wasserstein_style_loss(
        **{
            kind: {layer: of(features[layer]) for layer in losses.STYLE_LAYERS}
            for kind, of in (("grams", losses.gram), ("means", losses.channel_means))
        },
        target_means={name: tf.gather(each, chosen) for name, each in statistics["means"].items()},
        target_grams={name: tf.gather(each, chosen) for name, each in statistics["grams"].items()},
    )
    np.testing.assert_allclose(step(photos, paintings)["style"], expected, rtol=1e-4)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("adversarial_weight", [0.0, 1.0])
def test_the_discriminator_moves_the_generator_by_its_weight_only(
    photo, paintings, tiny_extractor, adversarial_weight
):
    generator = small_generator()
    start = generator.get_weights()
    results = []
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        twin = keras.models.clone_model(generator)
        twin.set_weights(start)
        discriminator = discriminators.patch_discriminator(width=4, layers=1, norm="none")
        step = gan_step(tiny_extractor, twin, discriminator, adversarial_weight=adversarial_weight)
        for _ in range(2):
            step(crops(photo), paintings)
        results.append(twin.get_weights())
    same = all(np.allclose(a, b, atol=1e-6) for a, b in zip(*results, strict=True))
    assert same == (adversarial_weight == 0)


@pytest.mark.parametrize("adversarial", losses.ADVERSARIAL)
def test_each_side_learns_where_the_other_stands_still(
    photo, paintings, tiny_extractor, adversarial
):
    alone = {"content_weight": 0.0, "style_weight": 0.0, "tv_weight": 0.0, "adversarial_weight": 1}
    generator = small_generator()
    discriminator = discriminators.patch_discriminator(width=8, layers=1, norm="none")
    step = gan_step(
        tiny_extractor, generator, discriminator, adversarial=adversarial, rates=(0.0, 0.01)
    )
    before = weights_of(generator)
    learned = [step(crops(photo), paintings) for _ in range(40)]
    assert_equal(before, generator.get_weights())
    assert learned[-1]["discriminator"] < 0.7 * learned[0]["discriminator"]
    assert learned[-1]["real_accuracy"] > 0.8 and learned[-1]["fake_accuracy"] > 0.8

    step = gan_step(
        tiny_extractor,
        generator,
        discriminator,
        adversarial=adversarial,
        rates=(0.01, 0.0),
        **alone,
    )
    before = weights_of(discriminator)
    learned = [step(crops(photo), paintings) for _ in range(30)]
    assert_equal(before, discriminator.get_weights())
    assert learned[-1]["adversarial"] < learned[0]["adversarial"]
    assert learned[-1]["fake_accuracy"] < learned[0]["fake_accuracy"]


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("adversarial", losses.ADVERSARIAL)
@pytest.mark.parametrize("norm", ["instance", "batch", "spectral", "none"])
def test_every_discriminator_trains_under_every_loss(
    photo, paintings, tiny_extractor, norm, adversarial
):
    discriminator = discriminators.patch_discriminator(width=4, layers=1, norm=norm)
    before = weights_of(discriminator)
    step = gan_step(tiny_extractor, small_generator(), discriminator, adversarial=adversarial)
    for _ in range(2):
        values = step(crops(photo), paintings)
    assert np.isfinite([float(value) for value in values.values()]).all()
    for old, weight in zip(before, discriminator.get_weights(), strict=True):
        assert np.isfinite(weight).all()
        assert weight.ndim == 1 or not np.array_equal(old, weight)


@pytest.mark.usefixtures("eager")
def test_the_generator_faces_the_discriminator_after_its_update(photo, paintings, tiny_extractor):
    discriminator = discriminators.patch_discriminator(width=4, layers=1, norm="none")
    step = gan_step(tiny_extractor, small_generator(), discriminator, rates=(0.0, 0.01))
    values = step(crops(photo), paintings)
    fake = discriminator(step.generator(crops(photo)))
    np.testing.assert_allclose(
        values["adversarial"], losses.bce_generator_loss(fake=fake), rtol=1e-4
    )


@pytest.mark.usefixtures("eager")
def test_identity_and_color_losses_join_the_total_where_they_have_a_weight(
    photo, paintings, tiny_extractor
):
    generator = small_generator()
    discriminator = discriminators.patch_discriminator(width=4, layers=1, norm="none")
    weights = {"identity_weight": 0.7, "color_weight": 3.0}
    step = gan_step(tiny_extractor, generator, discriminator, rates=(0.0, 0.0), **weights)
    values = step(crops(photo), paintings)
    expected = {
        "identity": losses.identity_loss(images=generator(paintings), target=paintings),
        "color": losses.color_loss(images=generator(crops(photo)), target=crops(photo)),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(values[name], value, rtol=1e-4)
    without = gan_step(tiny_extractor, generator, discriminator, rates=(0.0, 0.0))
    plain = without(crops(photo), paintings)
    assert not expected.keys() & plain.keys()
    more = 0.7 * expected["identity"] + 3.0 * expected["color"]
    np.testing.assert_allclose(values["total"] - plain["total"], more, rtol=1e-3)


def test_identity_teaches_the_generator_to_leave_paintings_alone(photo, paintings, tiny_extractor):
    nothing = {name: 0.0 for name in WEIGHTS} | {"adversarial_weight": 0.0}
    discriminator = discriminators.patch_discriminator(width=4, layers=1, norm="none")
    step = gan_step(
        tiny_extractor, small_generator(), discriminator, **nothing, identity_weight=1.0
    )
    learned = [float(step(crops(photo), paintings)["identity"]) for _ in range(60)]
    assert learned[-1] < 0.8 * learned[0]


@pytest.mark.usefixtures("eager")
def test_d_steps_are_updates_on_a_part_of_the_batch_each(photo, tiny_extractor):
    photos, paintings = crops(photo, 4), crops(drawn.style("mosaic", 128), 4)
    discriminator = discriminators.patch_discriminator(width=4, layers=1)
    twin = keras.models.clone_model(discriminator)
    twin.set_weights(discriminator.get_weights())
    generator = small_generator()
    step = gan_step(tiny_extractor, generator, discriminator, rates=(0.0, 0.01), d_steps=2)
    step(photos, paintings)
    assert step.discriminator_optimizer.iterations == 2
    assert step.generator_optimizer.iterations == 1
    alone = gan_step(tiny_extractor, generator, twin, rates=(0.0, 0.01))
    for part in range(2):
        alone(photos[part::2], paintings[part::2])
    for one, other in zip(discriminator.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("option", [{"d_steps": 0}, {"warmup_steps": -1}])
def test_numbers_of_steps_out_of_range_are_named(tiny_extractor, option):
    discriminator = discriminators.patch_discriminator(width=4, layers=1)
    ((name, value),) = option.items()
    with pytest.raises(ValueError, match=f"{name} {value}: give at least {value + 1}"):
        gan_step(tiny_extractor, small_generator(), discriminator, **option)


@pytest.mark.usefixtures("eager")
def test_in_the_warm_up_content_alone_teaches_the_generator_and_the_discriminator_rests(
    photo, paintings, tiny_extractor
):
    generator = small_generator()
    twin = keras.models.clone_model(generator)
    twin.set_weights(generator.get_weights())
    discriminator = discriminators.patch_discriminator(width=4, layers=1)
    before = weights_of(discriminator)
    step = gan_step(tiny_extractor, generator, discriminator, warmup_steps=2, identity_weight=1.0)
    content = {"style_weight": 0.0, "tv_weight": 0.0, "adversarial_weight": 0.0}
    other = discriminators.patch_discriminator(width=4, layers=1)
    alone = gan_step(tiny_extractor, twin, other, **content)
    for _ in range(2):
        values = step(crops(photo), paintings)
        alone(crops(photo), paintings)
        np.testing.assert_allclose(values["total"], values["content"], rtol=1e-5)
    assert_equal(before, discriminator.get_weights())
    for one, weight in zip(generator.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(one, weight, atol=1e-5)
    values = step(crops(photo), paintings)
    assert values["total"] > 1.05 * values["content"]
    assert not np.array_equal(before[0], discriminator.get_weights()[0])


@pytest.mark.parametrize(
    "balance",
    [training.GradNormBalance, training.UncertaintyBalance],
    ids=lambda kind: kind.__name__,
)
@pytest.mark.usefixtures("eager")
def test_the_weights_of_a_gan_are_moved_from_the_end_of_the_warm_up_on(
    balance, photo, paintings, tiny_extractor
):
    moving = balance({"content": 2.0, "style": 5.0}, steps=10)
    discriminator = discriminators.patch_discriminator(width=4, layers=1)
    step = gan_step(
        tiny_extractor, small_generator(), discriminator, warmup_steps=1, balance=moving
    )
    seen = [step(crops(photo), paintings) for _ in range(3)]
    weights = [(float(of["content_weight"]), float(of["style_weight"])) for of in seen]
    assert weights[0] == weights[1] == (2, 5) and weights[2] != (2, 5)
    for values, (content, style) in list(zip(seen, weights, strict=True))[1:]:
        expected = content * values["content"] + style * values["style"]
        expected += step.tv_weight * values["tv"]
        expected += step.adversarial_weight * values["adversarial"]
        np.testing.assert_allclose(values["total"], expected, rtol=1e-5)
    assert float(step.weights["content"]) == float(moving.weights["content"])


@pytest.mark.usefixtures("eager")
def test_after_the_warm_up_the_discriminators_first_update_is_that_of_a_fresh_one(
    photo, paintings, tiny_extractor
):
    moved = []
    for warmup in (0, 7):
        keras.utils.set_random_seed(3)
        discriminator = discriminators.patch_discriminator(width=4, layers=1, norm="none")
        step = gan_step(
            tiny_extractor,
            small_generator(),
            discriminator,
            rates=(0.0, 0.01),
            warmup_steps=warmup,
        )
        for _ in range(warmup):
            step(crops(photo), paintings)
        first = weights_of(discriminator)
        step(crops(photo), paintings)
        moved.append([b - a for a, b in zip(first, discriminator.get_weights(), strict=True)])
    for fresh, waited in zip(*moved, strict=True):
        np.testing.assert_allclose(waited, fresh, rtol=1e-3, atol=1e-6)
        assert np.abs(fresh).max() > 1e-3


def test_an_optimizer_that_scales_losses_is_held_back_too():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    inner = keras.optimizers.Adam(0.1)
    optimizer = keras.optimizers.LossScaleOptimizer(inner)
    optimizer.build(model.trainable_variables)
    for active, expected in ((0.0, 0), (1.0, 1), (1.0, 2)):
        nothing = [tf.zeros_like(variable) for variable in model.trainable_variables]
        optimizer.apply(nothing, model.trainable_variables)
        base.hold_back(optimizer, active)
        assert int(inner.iterations) == expected


@pytest.mark.usefixtures("eager")
def test_the_discriminator_is_shown_what_the_pool_gives(photo, paintings, tiny_extractor):
    generator = small_generator()
    discriminator = discriminators.patch_discriminator(width=4, layers=1, norm="none")
    pool, twin = (image_pool.ImagePool(3, (32, 32)) for _ in range(2))
    step = gan_step(tiny_extractor, generator, discriminator, rates=(0.0, 0.0), pool=pool)
    for i in range(6):
        photos = crops(photo[:, 4 * i :])
        shown = twin.exchange(generator(photos))
        expected = losses.bce_discriminator_loss(
            real=discriminator(paintings), fake=discriminator(shown)
        )
        values = step(photos, paintings)
        np.testing.assert_allclose(values["discriminator"], expected, rtol=1e-4)
    np.testing.assert_allclose(pool.images, twin.images, atol=1e-5)


@pytest.mark.usefixtures("eager")
def test_noise_goes_to_the_generator(photo, paintings, tiny_extractor):
    generator = generators.unet_generator(width=4, residual_blocks=1, noise_dim=3)
    discriminator = discriminators.patch_discriminator(width=4, layers=1)
    step = gan_step(tiny_extractor, generator, discriminator, rates=(0.0, 0.0), identity_weight=1.0)
    one, same, other = (
        step(crops(photo), paintings, np.full((2, 3), value, "float32")) for value in (0, 0, 1)
    )
    assert one["style"] == same["style"] != other["style"]
    assert one["identity"] == same["identity"] != other["identity"]


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    ("adversarial", "score", "real", "fake"),
    [
        ("bce", 0.3, 1.0, 0.0),
        ("bce", -0.3, 0.0, 1.0),
        ("hinge", 0.3, 1.0, 0.0),
        ("lsgan", 0.3, 0.0, 1.0),  # nearer to 0, fake, than to 1, real
        ("lsgan", 0.7, 1.0, 0.0),
    ],
)
def test_accuracy_counts_scores_on_the_right_side_of_the_losss_boundary(
    photo, paintings, tiny_extractor, adversarial, score, real, fake
):
    discriminator = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.Conv2D(1, 1, kernel_initializer="zeros"),
        ]
    )
    discriminator.layers[0].bias.assign([score])
    step = gan_step(tiny_extractor, small_generator(), discriminator, adversarial=adversarial)
    values = step(crops(photo), paintings)
    assert values["real_accuracy"] == real
    assert values["fake_accuracy"] == fake


# Precision and replicas


def test_float16_trains_with_scaled_losses_and_float32_ones_reported(
    photo, paintings, tiny_extractor, style_grams, mixed_float16
):
    generator = small_generator()
    discriminator = discriminators.patch_discriminator(width=4, layers=1)
    assert generator.get_layer("head").compute_dtype == "float16"
    perceptual = perceptual_step(tiny_extractor, style_grams, generator)
    assert isinstance(perceptual.optimizer, keras.optimizers.LossScaleOptimizer)
    adversarial = gan_step(tiny_extractor, generator, discriminator)
    before = weights_of(generator), weights_of(discriminator)
    totals = []
    for _ in range(15):
        values = perceptual(crops(photo))
        assert {value.dtype for value in values.values()} == {tf.float32}
        totals.append(float(values["total"]))
    values = [adversarial(crops(photo), paintings) for _ in range(3)][-1]
    assert np.isfinite(totals).all() and totals[-1] < totals[0]
    assert np.isfinite([float(value) for value in values.values()]).all()
    for old, network in zip(before, (generator, discriminator), strict=True):
        for weight, now in zip(old, network.get_weights(), strict=True):
            assert now.dtype == np.float32 and np.isfinite(now).all()
            assert not np.array_equal(weight, now)


def test_a_float16_overflow_is_skipped_and_the_scale_halved(
    photo, tiny_extractor, style_grams, mixed_float16
):
    generator = small_generator()
    step = perceptual_step(tiny_extractor, style_grams, generator)
    step.optimizer.dynamic_scale.assign(1e30)
    before = weights_of(generator)
    step(crops(photo))
    assert_equal(before, generator.get_weights())
    np.testing.assert_allclose(step.optimizer.dynamic_scale, 5e29)


# Not each with clipping and without it: tracing them takes most of the time.
SYSTEMS = [  # system, precision, clip_norm
    ("perceptual", "float32", None),
    ("perceptual", "mixed_float16", 0.01),
    ("whole gan", "float32", 0.01),
]
# With nothing of what "whole" adds to it.
PLAIN_GAN = ("gan", "float32", 0.01)
# Devices must be made before TensorFlow starts, hence a process of its own.
TWO_DEVICES = """
import json, sys
import keras, numpy as np, tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from tfstyle import losses, training
from tfstyle.networks import discriminators
from tfstyle.training import image_pool, steps

folder, systems = sys.argv[1], json.loads(sys.argv[2])
data = np.load(folder + "/data.npz")

def adam(network, clip_norm):
    optimizer = training.adam(1.0, network.trainable_variables, clip_norm=clip_norm)
    # Adam divides the gradient by its own size, which hides a wrong scale of it and magnifies
    # rounding where it is near 0. With a large epsilon the update is linear in the gradient.
    getattr(optimizer, "inner_optimizer", optimizer).epsilon = 10.0
    return optimizer

def train(system, precision, clip_norm, strategy):
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(precision)
    with strategy.scope():
        extractor = keras.saving.load_model(folder + "/extractor.keras")
        extractor.trainable = False
        generator = keras.Sequential([
            keras.Input((None, None, 3)),
            keras.layers.Conv2D(6, 3, padding="same", activation="relu"),
            keras.layers.Conv2D(3, 3, padding="same"),
            keras.layers.Activation("sigmoid", dtype="float32"),
        ])
        optimizer = adam(generator, clip_norm)
        networks = [generator]
        shared = dict(
            generator=generator, extractor=extractor, content_extractor=extractor,
            content_layers=[losses.CONTENT_LAYER], content_weight=1.0, style_weight=0.5,
            tv_weight=2.0,
        )
        if system == "perceptual":
            batch = (data["photos"],)
            of_style = extractor(data["paintings"][:1])
            grams = {layer: losses.gram(of_style[layer]) for layer in losses.STYLE_LAYERS}
            step = steps.PerceptualStep(style_grams=grams, optimizer=optimizer, **shared)
        else:
            batch = (data["photos"], data["paintings"])
            more, norm = {}, "instance"
            if system == "whole gan":
                norm = "spectral"
                pool = image_pool.ImagePool(2, (32, 32))
                more = dict(
                    d_steps=2, warmup_steps=1, pool=pool, identity_weight=0.5, color_weight=1.0,
                    balance=training.TargetBalance(("style", 0.1), weight=0.5, steps=30),
                )
            discriminator = discriminators.patch_discriminator(width=4, layers=1, norm=norm)
            networks.append(discriminator)
            step = steps.GanStep(
                discriminator=discriminator, generator_optimizer=optimizer,
                discriminator_optimizer=adam(discriminator, clip_norm),
                adversarial="bce", adversarial_weight=0.3,
                layer_weights=dict.fromkeys(losses.STYLE_LAYERS, 0.2),
                **more, **shared,
            )
    dataset = tf.data.Dataset.from_tensors(batch).repeat().unbatch().batch(4, drop_remainder=True)
    iterator = iter(strategy.experimental_distribute_dataset(dataset))

    def run(values):
        return {
            name: strategy.reduce("MEAN", value, axis=None)
            for name, value in strategy.run(step.update, args=values).items()
        }

    # One device does three steps line by line in less time than it takes to trace one.
    if strategy.num_replicas_in_sync > 1:
        run = tf.function(run, autograph=False)
    start = [w for network in networks for w in network.get_weights()]
    reported = [{k: float(v) for k, v in run(next(iterator)).items()} for _ in range(3)]
    end = [w for network in networks for w in network.get_weights()]
    return reported, [(b - a).tolist() for a, b in zip(start, end)]

mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
results = [
    [train(*system, strategy) for strategy in (tf.distribute.get_strategy(), mirrored)]
    for system in systems
]
with open(folder + "/results.json", "w") as file:
    json.dump(results, file)
"""


def learned_by_one_and_by_two(systems, folder, photo, tiny_extractor):
    """For each of `systems`: losses of three steps, and how far each weight went, by one and by two
    devices."""
    paintings = crops(drawn.style("mosaic", 128), 4)
    np.savez(folder / "data.npz", photos=crops(photo, 4), paintings=paintings)
    tiny_extractor.save(folder / "extractor.keras")
    process = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES, folder, json.dumps(systems)],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return json.loads((folder / "results.json").read_text())


@pytest.fixture(scope="module")
def learned(photo, tiny_extractor, tmp_path_factory):
    folder = tmp_path_factory.mktemp("devices")
    found = learned_by_one_and_by_two(SYSTEMS, folder, photo, tiny_extractor)
    return dict(zip(SYSTEMS, found, strict=True))


@pytest.mark.parametrize("system", SYSTEMS, ids=str)
def test_two_devices_learn_what_one_learns_from_the_same_batch(learned, system):
    assert_two_devices_learn_the_same(system, learned[system])


@pytest.mark.slow
def test_two_devices_learn_what_one_learns_of_a_plain_gan(photo, tiny_extractor, tmp_path):
    (found,) = learned_by_one_and_by_two([PLAIN_GAN], tmp_path, photo, tiny_extractor)
    assert_two_devices_learn_the_same(PLAIN_GAN, found)


def assert_two_devices_learn_the_same(system, found):
    (one_losses, one_way), (two_losses, two_way) = found
    for of_one, of_two in zip(one_losses, two_losses, strict=True):
        for name, value in of_one.items():
            np.testing.assert_allclose(of_two[name], value, rtol=1e-4, err_msg=name)
    one, two = (np.concatenate([np.ravel(w) for w in way]) for way in (one_way, two_way))
    rounding = 1e-2 if "float16" in system[1] else 1e-4
    assert np.linalg.norm(two - one) <= rounding * np.linalg.norm(one)


def test_clipping_was_active_in_that_comparison(learned):
    free, clipped = (learned[system][0][1] for system in SYSTEMS[:2])
    length = [np.sqrt(sum(np.sum(np.square(w)) for w in way)) for way in (free, clipped)]
    assert length[1] < 0.5 * length[0]
