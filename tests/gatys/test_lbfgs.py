import hypothesis
import numpy as np
import pytest
import scipy.optimize
from hypothesis import strategies as st

from tfstyle.gatys.lbfgs import Lbfgs


class Watched:
    """A function that notes where it is evaluated and fails where that does not end."""

    def __init__(self, function, most=1000):
        self.function, self.most = function, most
        self.places, self.losses = [], []

    def __call__(self, x):
        assert len(self.places) < self.most, "it does not end"
        loss, gradient = self.function(x)
        self.places.append(np.array(x))
        self.losses.append(float(loss))
        return loss, np.asarray(gradient, np.float32)

    def evaluations_to(self, loss):
        """How many it took to come down to `loss`."""
        return 1 + next(i for i, found in enumerate(self.losses) if found <= loss)


def never(best, is_new):
    return False


def minimized(function, start, solver=None, **bounds):
    """(best x, the watched function) of a search that nobody stops."""
    watched = Watched(function)
    return (solver or Lbfgs(**bounds)).minimize(watched, start, never), watched


def by_scipy(function, start, lower, upper):
    watched = Watched(function)
    found = scipy.optimize.minimize(
        lambda x: (lambda loss, gradient: (loss, gradient.astype(np.float64)))(*watched(x)),
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(lower, upper)] * start.size,
        options={"maxcor": 10, "ftol": 1e-12},
    )
    return found.x, watched


def rosenbrock(x):
    x = x.astype(np.float64)
    return scipy.optimize.rosen(x), scipy.optimize.rosen_der(x)


def quadratic(matrix, minimum):
    """1/2 (x - minimum)' matrix (x - minimum)."""

    def function(x):
        away = x.astype(np.float64) - minimum
        return away @ matrix @ away / 2, matrix @ away

    return function


def conditioned(rng, size, condition):
    """A symmetric matrix with eigenvalues from 1 to `condition`, turned at random."""
    turn, _ = np.linalg.qr(rng.normal(size=(size, size)))
    return turn * np.geomspace(1, condition, size) @ turn.T


def check_first_order(x, gradient, tolerance, lower=0.0, upper=1.0):
    """The conditions of Karush, Kuhn and Tucker: no way down but through a bound."""
    inside = (x > lower) & (x < upper)
    assert np.abs(gradient[inside]).max(initial=0) <= tolerance
    assert gradient[x == lower].min(initial=0) >= -tolerance
    assert gradient[x == upper].max(initial=0) <= tolerance


@pytest.mark.parametrize("start", [[-1.2, 1.0], [-1.0] * 10], ids=["2", "10"])
def test_rosenbrocks_valley_takes_about_as_many_evaluations_as_scipy(start):
    start = np.array(start)
    ours, watched = minimized(rosenbrock, start, lower=-2.0, upper=2.0)
    theirs, watched_theirs = by_scipy(rosenbrock, start, -2, 2)
    np.testing.assert_allclose(ours, np.ones(len(start)), atol=1e-3)
    np.testing.assert_allclose(theirs, ours, atol=1e-3)
    assert watched.evaluations_to(1e-6) <= 2 * watched_theirs.evaluations_to(1e-6)


@pytest.mark.parametrize("spread", [0.3, 1.0], ids=["inside", "across the bounds"])
@pytest.mark.parametrize("size", [10, 100])
def test_an_ill_conditioned_quadratic_takes_about_as_many_evaluations_as_scipy(rng, size, spread):
    minimum = rng.uniform(0.5 - spread, 0.5 + spread, size)
    function = quadratic(conditioned(rng, size, 1e3), minimum)
    start = np.full(size, 0.5)
    ours, watched = minimized(function, start)
    theirs, watched_theirs = by_scipy(function, start, 0, 1)
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
    if spread == 0.3:
        np.testing.assert_allclose(ours, minimum, atol=1e-3)
    else:
        at_a_bound = np.mean((ours == 0) | (ours == 1))
        assert 0.2 < at_a_bound < 0.8
    goal = min(watched.losses + watched_theirs.losses) + 1e-4
    assert watched.evaluations_to(goal) <= 2 * watched_theirs.evaluations_to(goal)


@hypothesis.settings(max_examples=60)
@hypothesis.given(
    st.integers(1, 12), st.floats(1, 300), st.integers(1, 12), st.integers(0, 2**32 - 1)
)
def test_random_convex_quadratics_end_where_least_squares_within_bounds_does(
    size, condition, memory, seed
):
    rng = np.random.default_rng(seed)
    root = np.linalg.cholesky(conditioned(rng, size, condition)).T
    minimum, start = rng.uniform(-0.5, 1.5, (2, size))
    exact = scipy.optimize.lsq_linear(root, root @ minimum, (0, 1), method="bvls", tol=1e-12).x
    function = quadratic(root.T @ root, minimum)
    found, watched = minimized(function, start, memory=memory)
    np.testing.assert_allclose(found, exact, atol=1e-3)
    assert min(watched.losses) == pytest.approx(function(exact)[0], rel=1e-4, abs=1e-6)
    check_first_order(found, function(found)[1], tolerance=1e-2)


def test_every_evaluation_is_within_the_bounds_and_in_float32_of_the_starts_shape(rng):
    start = rng.uniform(-1, 2, (6, 5, 3))
    before = start.copy()
    minimum = rng.uniform(-1, 2, start.shape)
    stretch = rng.uniform(1, 100, start.shape)

    def function(x):
        assert x.dtype == np.float32 and x.shape == start.shape
        return np.sum(stretch * (x - minimum) ** 2), 2 * stretch * (x - minimum)

    found, watched = minimized(function, start, lower=0.25, upper=0.75)
    assert np.min(watched.places) >= 0.25 and np.max(watched.places) <= 0.75
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.clip(minimum, 0.25, 0.75), atol=1e-3)
    np.testing.assert_array_equal(start, before)


def test_a_minimum_outside_the_box_ends_on_its_face(rng):
    # x0 has its minimum beyond the upper bound; there the others' minimum is not theirs alone:
    # 1/2 x'Ax with A = [[2, 1], [1, 2]] about (2, 0): at x0 = 1 the slope by x1 is (1 - 2) + 2 x1,
    # which is 0 at x1 = 1/2.
    function = quadratic(np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([2.0, 0.0]))
    found, _ = minimized(function, np.array([0.2, 0.9]))
    assert found[0] == 1
    assert found[1] == pytest.approx(0.5, abs=1e-4)
    check_first_order(found, function(found)[1], tolerance=1e-3)


def test_a_corner_is_found_in_as_many_evaluations_as_it_takes_to_walk_there():
    found, watched = minimized(lambda x: (x.sum(), np.ones_like(x)), np.full(50, 0.5))
    assert not found.any()
    assert len(watched.losses) <= 30  # 0.02 a step: no curvature is ever seen


def test_the_first_step_is_of_002_on_average_whatever_pushes_at_the_bounds():
    watched = Watched(lambda x: (x @ [1e3, 1, -3], np.array([1e3, 1, -3])))
    Lbfgs().minimize(watched, np.array([0, 0.5, 0.5]), lambda *_: len(watched.losses) == 2)
    np.testing.assert_allclose(watched.places[1], [0, 0.485, 0.545], rtol=1e-6)


def test_a_step_too_long_is_shortened_to_the_minimum_of_the_parabola():
    # From 0.492 the first step goes to 0.512, which is higher than the start: 3 points in all.
    _, watched = minimized(lambda x: (1e3 * np.sum((x - 0.5) ** 2), 2e3 * (x - 0.5)), [0.492])
    np.testing.assert_allclose(watched.places[1:3], [[0.512], [0.5]], atol=1e-5)


def test_a_step_of_which_projection_leaves_the_uphill_part_is_not_evaluated():
    # From (0.001, 0.5) the way to the unbounded minimum is downhill by x0, which the bound cuts
    # off, and uphill by x1.
    matrix = np.array([[2.0, -1.9], [-1.9, 2.0]])
    start = np.array([0.001, 0.5], np.float32)
    gradient = np.array([1.0, -0.1])
    function = quadratic(matrix, start - np.linalg.solve(matrix, gradient))
    solver = Lbfgs()
    for step in np.eye(2, dtype=np.float32):
        solver.pairs.append((step, (matrix @ step).astype(np.float32)))
    _, watched = minimized(function, start, solver)
    assert gradient @ (watched.places[1] - start) < 0


@pytest.mark.parametrize("curvature", [1e-12, 1e12])
def test_a_history_that_misleads_is_dropped(rng, curvature):
    minimum = rng.uniform(0.2, 0.8, 10)
    function = quadratic(conditioned(rng, 10, 100), minimum)
    solver = Lbfgs()
    for step in rng.normal(size=(5, 10)).astype(np.float32):
        solver.pairs.append((step, step * np.float32(curvature)))
    found, _ = minimized(function, np.full(10, 0.5), solver)
    np.testing.assert_allclose(found, minimum, atol=1e-3)


def test_negative_curvature_is_walked_down_and_not_remembered(rng):
    solver = Lbfgs()
    start = rng.choice([0.4, 0.6], 20)
    found, _ = minimized(lambda x: (-np.sum((x - 0.5) ** 2), 1 - 2 * x), start, solver)
    np.testing.assert_array_equal(found, np.round(start))
    assert solver.pairs == []


def test_what_is_remembered_has_positive_curvature_and_is_no_more_than_the_memory():
    solver, most = Lbfgs(memory=3, lower=-2.0, upper=2.0), 0

    def look(best, is_new):
        nonlocal most
        most = max(most, len(solver.pairs))
        return False

    solver.minimize(Watched(rosenbrock), np.full(6, -1.0), look)
    assert most == 3
    assert all(np.vdot(step, difference) > 0 for step, difference in solver.pairs)


def test_more_memory_takes_fewer_evaluations(rng):
    function = quadratic(conditioned(rng, 60, 1e3), rng.uniform(0.3, 0.7, 60))
    start = np.full(60, 0.5)
    counts = [
        minimized(function, start, memory=memory)[1].evaluations_to(1e-4) for memory in (1, 5, 30)
    ]
    assert counts == sorted(counts, reverse=True) and counts[0] > 1.2 * counts[-1]


def test_the_search_does_not_depend_on_the_scale_of_the_loss():
    # Powers of 2 change no rounding.
    paths = [
        minimized(
            lambda x, scale=scale: tuple(scale * of for of in rosenbrock(x)),
            np.array([-1.2, 1.0]),
            lower=-2.0,
            upper=2.0,
        )[1].places
        for scale in (1.0, 2.0**-40, 2.0**40)
    ]
    np.testing.assert_array_equal(paths[0], paths[1])
    np.testing.assert_array_equal(paths[0], paths[2])


def calls_of(function, start, stop_at=None, **bounds):
    """(result, [(copy of best, is_new)] for each call of the callback, the watched function)."""
    watched, calls = Watched(function), []

    def callback(best, is_new):
        calls.append((best.copy(), is_new))
        assert len(calls) == len(watched.losses)
        return len(calls) == stop_at

    return Lbfgs(**bounds).minimize(watched, start, callback), calls, watched


def test_the_callback_is_told_of_every_evaluation_and_of_the_best_so_far():
    found, calls, watched = calls_of(rosenbrock, np.array([-1.2, 1.0]), lower=-2.0, upper=2.0)
    assert len(calls) == len(watched.losses)
    lowest = np.minimum.accumulate(watched.losses)
    news = np.array([True, *(lowest[1:] < lowest[:-1])])
    assert [is_new for _, is_new in calls] == news.tolist()
    assert 0 < np.sum(~news) < len(news) / 2  # steps too long were among them
    for i, (best, _) in enumerate(calls):
        np.testing.assert_array_equal(best, watched.places[np.argmin(watched.losses[: i + 1])])
    np.testing.assert_array_equal(found, watched.places[np.argmin(watched.losses)])


@pytest.mark.parametrize("evaluations", range(1, 25))
def test_it_stops_when_the_callback_says_so_and_returns_the_best_it_saw(evaluations):
    start = np.array([-1.2, 1.0])
    found, calls, watched = calls_of(rosenbrock, start, evaluations, lower=-2.0, upper=2.0)
    assert len(calls) == len(watched.losses) == evaluations
    np.testing.assert_array_equal(found, watched.places[np.argmin(watched.losses)])


def test_a_search_can_be_taken_up_again_with_what_was_learned():
    solver, watched = Lbfgs(lower=-2.0, upper=2.0), Watched(rosenbrock)
    half = solver.minimize(watched, np.full(10, -1.0), lambda *_: len(watched.losses) >= 60)
    remembered = len(solver.pairs)
    _, with_history = minimized(rosenbrock, half, solver)
    _, without = minimized(rosenbrock, half, lower=-2.0, upper=2.0)
    assert remembered == 10
    assert with_history.evaluations_to(1e-6) < without.evaluations_to(1e-6)


@pytest.mark.parametrize(
    ("of_loss", "of_gradient"),
    [(np.nan, np.nan), (np.nan, 1.0), (np.inf, np.nan), (np.inf, 1.0), (-np.inf, 1.0), (9, np.nan)],
    ids=str,
)
def test_what_is_not_finite_beyond_a_cliff_ends_only_the_step(of_loss, of_gradient):
    # x - 0.01 log(x - 0.3): least at x = 0.31, and undefined below 0.3.
    def cliff(x):
        away = x.astype(np.float64) - 0.3
        if away.min() <= 0:
            return of_loss, np.full_like(x, of_gradient)
        return np.sum(x - 0.01 * np.log(away)), 1 - 0.01 / away

    found, watched = minimized(cliff, np.array([0.9, 0.7, 0.5]))
    assert np.min(watched.places) <= 0.3
    np.testing.assert_allclose(found, 0.31, atol=1e-3)


def test_a_place_of_lower_loss_is_the_best_even_where_the_gradient_is_not_finite():
    def function(x):
        return np.sum(x), np.ones_like(x) * (np.nan if x.min() < 0.5 else 1.0)

    found, watched = minimized(function, np.array([0.6, 0.7]))
    assert found.min() < 0.5
    assert found.sum() == pytest.approx(min(watched.losses))


@pytest.mark.parametrize(
    ("loss", "slope"), [(np.nan, np.nan), (np.inf, 1.0), (1.0, np.nan), (1.0, np.inf)], ids=str
)
def test_at_a_start_that_is_not_finite_it_ends_at_once(loss, slope):
    start = np.array([0.25, 0.5, 0.75])
    found, calls, _ = calls_of(lambda x: (loss, np.full_like(x, slope)), start)
    np.testing.assert_array_equal(found, start)
    assert [is_new for _, is_new in calls] == [True]


def test_a_flat_function_is_evaluated_once():
    start = np.array([0.25, 0.5, 0.75])
    found, calls, _ = calls_of(lambda x: (3.0, np.zeros_like(x)), start)
    np.testing.assert_array_equal(found, start)
    assert len(calls) == 1


def test_in_a_corner_with_all_ways_down_outside_it_is_evaluated_once():
    corner = np.array([0.0, 1.0, 1.0])
    found, calls, _ = calls_of(lambda x: (3.0, np.array([1.0, -1.0, -2.0])), corner)
    np.testing.assert_array_equal(found, corner)
    assert len(calls) == 1


TINY = np.float32(1e-30)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (1.0, np.ones_like(x)),
        lambda x: (1.0, np.full_like(x, TINY)),
        lambda x: (1e9 - np.sum(x) * 1e-9, np.full_like(x, -1e-9)),
        lambda x: (np.sum(x), -np.ones_like(x)),
        lambda x: (np.sum(x * TINY), np.full_like(x, np.float32(1e-44))),
        lambda x: (np.sum((x - 0.3) ** 2) * 1e-24, 2e-24 * (x - 0.3)),
        lambda x: (np.sum((x - 0.3) ** 2) * 1e30, 2e30 * (x - 0.3)),
        lambda x: (np.round(np.sum((x - 0.3) ** 2), 3), 2 * (x - 0.3)),
        lambda x: (np.float32(1e4) + np.float32(np.sum((x - 0.3) ** 2)), 2 * (x - 0.3)),
        lambda x: (np.sum(np.abs(x - 0.3)), np.sign(x - 0.3)),
        lambda x: (np.sum(np.abs(x - 0.3) ** 0.5), np.sign(x - 0.3)),
        lambda x: (np.sum(np.sin(1e4 * x)), 1e4 * np.cos(1e4 * x)),
    ],
    ids=[
        "a loss that does not move",
        "nor with a tiny slope",
        "a fall within rounding",
        "a slope of the wrong sign",
        "a slope that is subnormal",
        "a slope of which the square is 0",
        "a slope of which the square is infinite",
        "a staircase",
        "a large constant in float32",
        "a kink",
        "a cusp",
        "ripples",
    ],
)
def test_it_ends_by_itself_where_arithmetic_gets_stuck(function):
    start = np.linspace(0.1, 0.9, 7)
    found, watched = minimized(function, start)
    assert function(found)[0] == min(watched.losses)


def test_it_ends_by_itself_where_the_loss_is_noisy(rng):
    minimum = rng.uniform(0.2, 0.8, 40)

    def function(x):
        away = x - minimum
        return np.sum(away**2) * (1 + 1e-3 * rng.normal()), 2 * away + 1e-3 * rng.normal(size=40)

    found, watched = minimized(function, np.full(40, 0.5))
    assert min(watched.losses) < 0.01 * watched.losses[0]
    np.testing.assert_allclose(found, minimum, atol=0.05)


def mean_over_pixels(scale):
    """A mean whose curvature runs from 1 to 1000 over 6 x 5 pixels, each of them `scale` square."""
    rng = np.random.default_rng(1)
    stretch = enlarged(10 ** rng.uniform(0, 3, (6, 5, 3)), scale)
    minimum = enlarged(rng.uniform(-0.2, 1.2, (6, 5, 3)), scale)

    def function(image):
        away = image.astype(np.float64) - minimum
        pixels = away.size / 3
        return np.sum(stretch * away**2) / pixels, 2 * stretch * away / pixels

    return function


def enlarged(array, scale=2):
    return array.repeat(scale, axis=0).repeat(scale, axis=1)


def test_with_its_history_a_search_goes_on_at_twice_the_size_as_if_nothing_had_happened():
    solver, watched = Lbfgs(), Watched(mean_over_pixels(1))
    start = np.full((6, 5, 3), 0.5)
    half = solver.minimize(watched, start, lambda *_: len(watched.losses) == 15)
    transferred = solver.transferred(enlarged)
    assert len(solver.pairs) == len(transferred.pairs) == 10
    _, small = minimized(mean_over_pixels(1), half, solver)
    _, with_history = minimized(mean_over_pixels(2), enlarged(half), transferred)
    _, without = minimized(mean_over_pixels(2), enlarged(half))
    for one, other in zip(small.places[:12], with_history.places, strict=False):
        np.testing.assert_allclose(enlarged(one), other, atol=1e-3)
    half_way = (small.losses[0] + min(small.losses)) / 2
    assert with_history.evaluations_to(half_way) < without.evaluations_to(half_way)


def test_a_history_brought_to_twice_the_size_is_that_of_the_problem_there():
    # A loss that is a mean over pixels, on images in which every pixel stands four times.
    stretch = np.linspace(1, 9, 48).reshape(4, 4, 3).astype(np.float32)

    def gradient(stretch, x):
        return 2 * stretch * x / (x.size / 3)

    step = np.linspace(-1, 1, 48).reshape(4, 4, 3).astype(np.float32)
    solver = Lbfgs(memory=2)
    solver._remember(step, gradient(stretch, step))
    other = solver.transferred(enlarged)
    ((large_step, difference),) = other.pairs
    np.testing.assert_array_equal(large_step, enlarged(step))
    np.testing.assert_allclose(difference, gradient(enlarged(stretch), enlarged(step)), rtol=1e-6)
    assert (other.memory, other.lower, other.upper) == (2, 0, 1)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="memory 0: give at least 1"):
        Lbfgs(memory=0)
    with pytest.raises(ValueError, match="lower 1.0, upper 1.0"):
        Lbfgs(lower=1.0)
