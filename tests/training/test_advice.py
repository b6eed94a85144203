import numpy as np
import pytest

from tfstyle.training import advice


def constant(count=100, **values):
    return [values] * count


def noisy(rng, mean, spread, count=100, **others):
    return [{"total": value, **others} for value in rng.normal(mean, spread, count)]


@pytest.mark.parametrize(
    ("real", "fake", "topic"),
    [
        (0.99, 0.96, "strong discriminator"),
        (0.99, 0.94, None),
        (0.5, 0.58, "weak discriminator"),
        (1.0, 0.0, "weak discriminator"),  # all the same to it
        (0.6, 0.6, None),
        (0.75, 0.8, None),
    ],
)
def test_a_discriminator_out_of_balance_is_named_with_both_shares(real, fake, topic):
    found = advice.on_discriminator(constant(real_accuracy=real, fake_accuracy=fake))
    assert list(found) == ([topic] if topic else [])
    for sentence in found.values():
        assert f"{real:.1%} of the real and {fake:.1%} of the generated" in sentence
        assert "last 100 steps" in sentence


def test_single_steps_out_of_balance_say_nothing_of_the_discriminator():
    swinging = constant(50, real_accuracy=1.0, fake_accuracy=1.0)
    swinging += constant(50, real_accuracy=0.4, fake_accuracy=0.6)
    assert not advice.on_discriminator(swinging)
    assert not advice.on_discriminator(constant(total=1.0))
    assert not advice.on_discriminator([])


def test_parts_of_the_total_under_1_and_over_99_percent_are_named():
    losses = constant(content=1.0, style=0.2, tv=0.05)
    weights = {"content": 1.0, "style": 5.0}
    assert not advice.on_balance(losses, weights)
    found = advice.on_balance(losses, weights | {"tv": 0.1})
    assert list(found) == ["part of tv"]
    # 0.005 of 2.005
    assert "tv at weight 0.1 was 0.25% of the total" in found["part of tv"]
    found = advice.on_balance(losses, weights | {"style": 1e4})
    assert set(found) == {"part of content", "part of style"}
    assert "style at weight 10000 was 99.95% of the total" in found["part of style"]


def test_a_part_at_the_edge_of_1_percent_is_left_alone():
    losses = constant(a=99.0, b=1.0)
    assert not advice.on_balance(losses, {"a": 1.0, "b": 1.0})
    assert set(advice.on_balance(losses, {"a": 1.01, "b": 1.0})) == {"part of a", "part of b"}


def test_losses_below_0_count_by_their_size():
    losses = constant(50, adversarial=-2.0, content=1.0) + constant(
        50, adversarial=2.0, content=1.0
    )
    assert not advice.on_balance(losses, {"adversarial": 1.0, "content": 1.0})


@pytest.mark.parametrize(
    "weights",
    [
        {},
        {"content": 1.0},
        {"content": 1.0, "tv": 0.0},  # left out on purpose
        {"content": 1.0, "absent": 5.0},
    ],
)
def test_one_loss_alone_has_nothing_to_be_balanced_with(weights):
    assert not advice.on_balance(constant(content=1.0, tv=1e-9), weights)


def test_losses_that_are_all_0_have_no_parts():
    assert not advice.on_balance(constant(a=0.0, b=0.0), {"a": 1.0, "b": 1.0})


def test_a_total_that_rose_by_half_and_beyond_chance_is_named(rng):
    found = advice.on_trend(noisy(rng, 3.0, 0.5), noisy(rng, 1.5, 0.5))
    assert list(found) == ["rising total"]
    assert "learning rate" in found["rising total"]
    exact = advice.on_trend(constant(total=3.0), constant(total=1.5))
    assert "from 1.5 (mean of the first 100 steps) to 3 (of the last 100)" in exact["rising total"]


@pytest.mark.parametrize(
    ("before", "now", "spread"),
    [
        (1.5, 0.7, 0.3),
        (1.5, 1.5, 0.3),
        (1.5, 1.9, 0.1),  # by less than half
        (1.0, 1.6, 3.0),  # by half, within chance
    ],
)
def test_a_total_that_falls_or_stays_or_only_swings_is_left_alone(before, now, spread):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        assert not advice.on_trend(noisy(rng, now, spread), noisy(rng, before, spread))


def test_a_generators_total_may_rise_while_its_discriminator_learns(rng):
    first, recent = (noisy(rng, mean, 0.1, discriminator=1.0) for mean in (1.0, 3.0))
    assert not advice.on_trend(recent, first)


def test_all_advice_comes_together_and_a_sound_run_gets_none():
    sound = constant(total=2.0, content=1.0, style=1.0, real_accuracy=0.8, fake_accuracy=0.7)
    weights = {"content": 1.0, "style": 1.0}
    assert not advice.of(sound, weights=weights, first=sound)
    assert not advice.of(sound)
    ill = constant(total=9.0, content=8.99, style=0.01, real_accuracy=1.0, fake_accuracy=1.0)
    assert set(advice.of(ill, weights=weights, first=sound)) == {
        "strong discriminator",
        "part of content",
        "part of style",
        "rising total",
    }
