"""The weight of the style is led to where a loss ends at its target."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfstyle import losses, metrics, training
from tfstyle.training import steps


def follow(aim, answer, *, steps=600, weight=10.0, seed=0):
    """(weight, loss) at the end of a training whose loss follows the weight with a delay."""
    balance = training.TargetBalance(aim, weight=weight, steps=steps)
    update = tf.function(lambda loss: balance.update({aim[0]: loss}))
    rng, loss = np.random.default_rng(seed), answer(weight) * 3
    for _ in range(steps):
        loss += (answer(float(balance.weights["style"])) - loss) / 30
        update(tf.constant(loss * rng.lognormal(0, 0.2), tf.float32))
    return float(balance.weights["style"]), loss


@pytest.mark.parametrize("wanted", [0.4, 0.8, 1.1])
@pytest.mark.parametrize("steps", [300, 1500])
def test_a_content_loss_that_follows_late_and_noisily_ends_at_its_target(wanted, steps):
    weight, loss = follow(("content", wanted), lambda weight: 0.25 * weight**0.45, steps=steps)
    assert loss == pytest.approx(wanted, rel=0.1)
    assert weight == pytest.approx((wanted / 0.25) ** (1 / 0.45), rel=0.3)


def test_a_style_loss_falls_with_the_weight():
    _, loss = follow(("style", 0.05), lambda weight: 0.5 * weight**-0.7)
    assert loss == pytest.approx(0.05, rel=0.1)


def test_one_update_by_hand():
    """The first mean is the loss itself; the weight changes by (target / loss)^(20 / steps)."""
    balance = training.TargetBalance(("content", 0.5), weight=2.0, steps=1500)
    balance.update({"content": tf.constant(1.0), "style": tf.constant(9.0)})
    assert float(balance.weights["style"]) == pytest.approx(2 * 0.5 ** (20 / 1500), rel=1e-5)
    other = training.TargetBalance(("style", 0.5), weight=2.0, steps=1500)
    other.update({"style": tf.constant(1.0)})
    assert float(other.weights["style"]) == pytest.approx(2 / 0.5 ** (20 / 1500), rel=1e-5)


def test_a_warm_up_moves_nothing_but_the_mean():
    balance = training.TargetBalance(("content", 0.5), weight=2.0, steps=100)
    balance.update({"content": tf.constant(1.0)}, active=tf.constant(0.0))
    assert float(balance.weights["style"]) == 2.0


@pytest.mark.parametrize(("loss", "end"), [(1e-12, 2e3), (1e12, 2e-3)])
def test_what_cannot_be_reached_ends_at_a_weight_that_is_finite(loss, end):
    balance = training.TargetBalance(("content", 0.5), weight=2.0, steps=20)
    for _ in range(200):
        balance.update({"content": tf.constant(loss)})
    assert float(balance.weights["style"]) == pytest.approx(end, rel=1e-4)


def test_its_state_comes_back_from_a_checkpoint(tmp_path):
    balance, other = (
        training.TargetBalance(("content", 0.5), weight=2.0, steps=9) for _ in range(2)
    )
    for _ in range(3):
        balance.update({"content": tf.constant(0.7)})
    path = tf.train.Checkpoint(balance=balance).write(tmp_path / "checkpoint")
    tf.train.Checkpoint(balance=other).read(path).assert_consumed()
    for each in (balance, other):
        each.update({"content": tf.constant(0.6)})
    assert float(other.weights["style"]) == float(balance.weights["style"]) != 2.0


def test_it_tells_how_near_it_came():
    balance = training.TargetBalance(("content", 0.5), weight=2.0, steps=9)
    told = balance.told({"content_distance": 0.55, "style_distance": 9.0})
    assert told == (
        "target content=0.5: the photos it is judged by end at 0.55, 10% off, with style_weight 2."
    )
    assert balance.told({}) == ""


def test_a_target_is_read_and_wants_a_weight_to_begin_with():
    assert losses.Weights().aim is None
    assert losses.Weights(target="content=0.8").aim == ("content", 0.8)
    assert losses.GanWeights(target="style=1e-2").aim == ("style", 0.01)
    for text in ("content", "tv=1", "content=0", "content=nan", "style=x", "=1"):
        with pytest.raises(ValueError, match=f"target {text}: give content=X or style=X"):
            losses.Weights(target=text)
    with pytest.raises(ValueError, match="style_weight 0 .*: give one above 0"):
        losses.Weights(target="content=1", style_weight=0.0)
    with pytest.raises(ValueError, match="content_weight 0 .*: give one above 0"):
        losses.Weights(balance="gradnorm", content_weight=0.0)
    with pytest.raises(ValueError, match="target content=1 and balance gradnorm: give one"):
        losses.Weights(target="content=1", balance="gradnorm")


def test_with_a_target_the_other_distance_decides_as_far_as_the_target_is_met():
    weights = losses.Weights(target="content=0.8")

    def total(content, style):
        figures = {"content_distance": content, "style_distance": style}
        found = metrics.with_total(figures, weights)
        assert list(found) == ["total", *figures]
        return found["total"]

    assert total(0.8, 0.3) == pytest.approx(0.3)
    assert total(0.88, 0.3) == pytest.approx(total(0.72, 0.3)) == pytest.approx(0.6)
    assert total(0.8, 0.2) < total(0.8, 0.3) < total(1.2, 0.1)
    assert math.isfinite(total(50.0, 0.1))


def test_of_uncertainty_a_weight_goes_after_one_over_its_loss():
    """Kendall et al. 2018: of exp(-s) L + s the minimum is at exp(-s) = 1 / L."""
    balance = training.UncertaintyBalance({"content": 1.0, "style": 10.0}, steps=500)
    update = tf.function(lambda: balance.update({"content": 0.5, "style": 0.2}))
    for _ in range(500):
        update()
    assert float(balance.weights["content"]) == pytest.approx(2, rel=1e-2)
    assert float(balance.weights["style"]) == pytest.approx(5, rel=1e-2)


def test_of_gradnorm_equal_rates_end_with_equal_gradients_and_the_sum_stays():
    balance = training.GradNormBalance({"content": 1.0, "style": 10.0}, steps=500)
    norms = {"content": tf.constant(3.0), "style": tf.constant(1.0)}
    update = tf.function(lambda: balance.update({"content": 1.0, "style": 1.0}, gradients=norms))
    for _ in range(500):
        update()
    ended = {name: float(weight) for name, weight in balance.weights.items()}
    assert sum(ended.values()) == pytest.approx(11, rel=1e-4)
    assert 3 * ended["content"] == pytest.approx(ended["style"], rel=0.1)


def test_of_gradnorm_the_loss_that_has_fallen_less_gets_the_larger_gradient():
    balance = training.GradNormBalance({"content": 1.0, "style": 1.0}, steps=500)
    norms = {"content": tf.constant(1.0), "style": tf.constant(1.0)}
    balance.update({"content": tf.constant(1.0), "style": tf.constant(1.0)}, gradients=norms)
    update = tf.function(lambda: balance.update({"content": 0.9, "style": 0.3}, gradients=norms))
    for _ in range(500):
        update()
    ended = {name: float(weight) for name, weight in balance.weights.items()}
    # Rates of 1.5 and 0.5 times their mean.
    assert ended["content"] == pytest.approx(3 * ended["style"], rel=0.1)


@pytest.mark.parametrize("kind", [training.UncertaintyBalance, training.GradNormBalance])
def test_a_step_weighs_by_what_its_balance_says_and_moves_it(kind, photo, tiny_extractor):
    generator = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(3, 1)])
    of_style = tiny_extractor(photo[None, ::-1])
    balance = kind({"content": 2.0, "style": 5.0}, steps=10)
    step = steps.PerceptualStep(
        generator=generator,
        extractor=tiny_extractor,
        content_extractor=tiny_extractor,
        style_grams={layer: losses.gram(of_style[layer]) for layer in losses.STYLE_LAYERS},
        optimizer=training.adam(0.01, generator.trainable_variables),
        content_layers=[losses.CONTENT_LAYER],
        content_weight=0.0,
        style_weight=0.0,
        tv_weight=0.0,
        balance=balance,
    )
    found, moved = (
        {name: float(value) for name, value in step(photo[None]).items()} for _ in range(2)
    )
    assert (found["content_weight"], found["style_weight"]) == (2, 5)
    assert found["total"] == pytest.approx(2 * found["content"] + 5 * found["style"], rel=1e-5)
    assert moved["content_weight"] != 2 and moved["style_weight"] != 5
    assert step.state["balance"] is balance
