"""The weight of the style that ends where one wants the picture to be."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tfstyle.gatys.balance import Balance


def test_the_correction_is_exact_where_the_loss_follows_as_expected():
    for name, slope in (("content", 0.45), ("style", -0.7)):
        balance = Balance({name: 0.5})
        right = (0.5 / 0.3) ** (1 / slope)  # of a loss of 0.3 weight^slope
        for weight in (right / 2, right * 3):
            found = balance.corrected(weight, {name: 0.3 * weight**slope})
            assert found == pytest.approx(right)
            assert balance.corrected(found, {name: 0.5}) == pytest.approx(found)


def test_more_style_is_asked_for_where_the_photo_still_stands():
    balance = Balance({"content": 0.8})
    assert balance.corrected(10, {"content": 0.4}) > 10 > balance.corrected(10, {"content": 1.2})
    less = balance.corrected(10, {"content": 0.6}, 0.5)
    assert 10 < less < balance.corrected(10, {"content": 0.6}, 1.0)


@given(
    slope=st.floats(0.25, 0.8),
    scale=st.floats(0.02, 1.0),
    wanted=st.floats(0.3, 1.3),
    first=st.floats(1.0, 300.0),
)
def test_it_ends_at_the_target_whatever_the_slope(slope, scale, wanted, first):
    """All corrections of five scales, of losses that are there at once."""
    balance, weight = Balance({"content": wanted}), first
    for _ in range(5):
        for share in balance.begin_scale(100).values():
            weight = balance.corrected(weight, {"content": scale * weight**slope}, share)
    reached = scale * weight**slope
    assert reached == pytest.approx(wanted, rel=0.1) or weight in (1e-3, 1e5)


def test_a_loss_of_nothing_does_not_end_in_infinity():
    weight = 1.0
    for _ in range(30):
        weight = Balance({"content": 0.8}).corrected(weight, {"content": 0.0})
    assert np.isfinite(weight) and weight == 1e5


def test_a_weight_of_0_is_led_too():
    balance = Balance({"content": 0.8})
    first = balance.corrected(0.0, {"content": 0.1})
    assert 0 < first < balance.corrected(first, {"content": 0.2})


@pytest.mark.parametrize("steps", [1, 2, 8, 60, 100])
def test_corrections_come_in_order_and_leave_steps_to_settle(steps):
    marks = Balance({"content": 0.8}).begin_scale(steps)
    assert list(marks) == sorted(marks) and min(marks, default=5) >= 5
    assert all(0 < share <= 1 for share in marks.values())
    assert steps < 8 or max(marks) < steps


@pytest.mark.parametrize(
    "target", [{}, {"tv": 1.0}, {"content": 1.0, "style": 1.0}, {"content": 0.0}, {"style": np.inf}]
)
def test_what_cannot_be_aimed_at_is_refused(target):
    with pytest.raises(ValueError, match="target .*give"):
        Balance(target)
