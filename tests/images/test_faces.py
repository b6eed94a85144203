"""Where a photo shows faces."""

import numpy as np
import pytest

from tfstyle import images
from tfstyle.data import samples


@pytest.fixture(scope="module")
def astronaut():
    return images.fit(samples.photo("astronaut"), 512)


def test_a_face_is_found_where_it_is(astronaut):
    height, width = astronaut.shape[:2]
    row, column, side = images.find_faces(astronaut)[0]
    assert row / height == pytest.approx(0.22, abs=0.05)
    assert column / width == pytest.approx(0.44, abs=0.05)
    assert 0.1 < side / width < 0.25


def test_a_larger_photo_has_the_same_faces_in_its_own_pixels(astronaut):
    larger = images.resize(astronaut, (2 * astronaut.shape[0], 2 * astronaut.shape[1]))
    one, other = images.find_faces(astronaut)[0], images.find_faces(larger)[0]
    np.testing.assert_allclose(np.multiply(one, 2), other, rtol=0.1)


def test_a_mask_is_of_the_head_and_soft_at_its_edge(astronaut):
    mask = images.face_mask(astronaut)
    row, column, side = images.find_faces(astronaut)[0]
    assert mask.shape == astronaut.shape[:2] and mask.dtype == np.float32
    assert mask.min() == 0 and mask.max() == 1
    assert mask[round(row), round(column)] == 1
    assert mask[round(row + side / 2), round(column)] == 1  # the chin
    assert mask[round(row + 2 * side), round(column)] == 0
    assert ((mask > 0.01) & (mask < 0.99)).any() and np.abs(np.diff(mask, axis=1)).max() < 0.2


@pytest.mark.parametrize("name", ["coffee", "chelsea"])
def test_a_cup_and_a_cat_have_no_face_of_this_kind(name):
    photo = images.fit(samples.photo(name), 384)
    assert images.find_faces(photo) == []
    assert images.face_mask(photo) is None


def test_what_is_too_small_for_a_face_has_none():
    assert images.find_faces(np.zeros((20, 300, 3), np.float32)) == []
