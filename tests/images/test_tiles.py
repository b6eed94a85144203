"""Tiles: every pixel once, with its surroundings, on the grid that the whole has."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from tfstyle.images import tiles

sizes = st.tuples(st.integers(1, 300), st.integers(1, 300))


@hypothesis.given(sizes, st.integers(1, 200), st.integers(0, 100))
def test_tiles_of_an_image_put_together_are_the_image(size, side, margin):
    image = np.random.default_rng(0).random((*size, 3), np.float32)
    np.testing.assert_array_equal(
        tiles.apply(image, lambda part, origin: part, side=side, margin=margin), image
    )


@hypothesis.given(sizes, st.integers(1, 200), st.integers(0, 100))
def test_a_tile_begins_at_a_step_and_has_its_margin(size, side, margin):
    rows, columns = np.indices(size)
    image = np.stack([rows, columns, rows], axis=-1)
    seen = []

    def stylize(part, origin):
        top, left = part[0, 0, :2]
        assert origin == (top, left)
        bottom, right = part[-1, -1, :2]
        assert top % tiles.STEP == left % tiles.STEP == 0
        seen.append((top, left, bottom, right))
        return part

    tiles.apply(image, stylize, side=side, margin=margin)
    assert len(seen) == tiles.count(size, side)
    for axis, length in enumerate(size):
        # From one tile's end to the next one's start there is at least the margin of both.
        ends = sorted({(one[axis], one[axis + 2]) for one in seen})
        assert ends[0][0] == 0 and ends[-1][1] == length - 1
        for (_, end), (start, _) in zip(ends, ends[1:], strict=False):
            assert end - start + 1 >= min(2 * margin, margin + length - 1 - end)


@pytest.mark.parametrize("size", [(64, 64), (100, 64), (65, 300), (500, 400)])
@pytest.mark.parametrize("pixels", [1, 64**2, 5 * 64**2, 12 * 64**2])
def test_windows_lie_evenly_within_the_image(size, pixels):
    rows, columns = np.indices(size)
    windows = tiles.windows(np.stack([rows, columns, rows], axis=-1), side=64, pixels=pixels)
    assert windows.shape[1:] == (64, 64, 3)
    assert 1 <= len(windows) <= max(1, pixels // 64**2)
    corners = windows[:, 0, 0, :2]
    assert len(corners) == 1 or tuple(corners[-1]) == (
        size[0] - 64 if len(set(corners[:, 0])) > 1 else 0,
        size[1] - 64 if len(set(corners[:, 1])) > 1 else 0,
    )
