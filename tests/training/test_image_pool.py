import numpy as np
import pytest
import tensorflow as tf

from tfstyle.training.image_pool import ImagePool


def numbered(start, count):
    """Images [count, 2, 3, 3], each of its own number."""
    numbers = np.arange(start, start + count, dtype="float32")
    return np.broadcast_to(numbers[:, None, None, None], (count, 2, 3, 3))


def numbers(images):
    images = np.asarray(images)
    assert (images == images[:, :1, :1, :1]).all()
    return images[:, 0, 0, 0].tolist()


def drawn(pool, batches, batch=2, start=0):
    exchange = tf.function(pool.exchange)
    firsts = range(start, start + batches * batch, batch)
    return [numbers(exchange(numbered(first, batch))) for first in firsts]


def test_while_it_is_not_full_it_takes_images_and_gives_them_back():
    pool = ImagePool(6, (2, 3))
    assert drawn(pool, 3) == [[0, 1], [2, 3], [4, 5]]
    assert numbers(pool.images) == [0, 1, 2, 3, 4, 5]
    assert pool.count == 6


def test_when_it_is_full_half_of_the_images_are_exchanged_for_earlier_ones():
    pool = ImagePool(10, (2, 3))
    results = drawn(pool, 205)
    exchanged = 0
    for i, given in enumerate(results):
        for place, number in enumerate(given):
            assert number <= 2 * i + place
            exchanged += number != 2 * i + place
    assert 160 < exchanged < 240
    # What came is either given back, once, or still in the pool. The first were given twice.
    given = [number for batch in results for number in batch]
    assert sorted(given[10:] + numbers(pool.images)) == list(range(410))


def test_a_pool_of_a_size_that_batches_do_not_fill_exactly_loses_nothing_else():
    pool = ImagePool(3, (2, 3))
    assert drawn(pool, 2) == [[0, 1], [2, 3]]
    assert numbers(pool.images) == [3, 1, 2]
    given = [number for batch in drawn(pool, 100, start=4) for number in batch]
    assert sorted(given + numbers(pool.images)) == [1, 2, 3, *range(4, 204)]


def test_what_is_drawn_is_a_function_of_the_seed():
    one, again, other = (drawn(ImagePool(4, (2, 3), seed=seed), 40) for seed in (1, 1, 2))
    assert one == again != other


def test_a_checkpoint_takes_it_up_where_it_was(tmp_path):
    pool = ImagePool(4, (2, 3))
    drawn(pool, 9)
    path = tf.train.Checkpoint(pool=pool).save(tmp_path / "checkpoint")
    expected = drawn(pool, 20, start=18)
    resumed = ImagePool(4, (2, 3))
    tf.train.Checkpoint(pool=resumed).restore(path).assert_consumed()
    assert drawn(resumed, 20, start=18) == expected


def test_no_gradient_flows_through_it():
    pool, images = ImagePool(4, (2, 3)), tf.Variable(numbered(0, 2))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(pool.exchange(images))
    assert tape.gradient(loss, images) is None


def test_xla_compiles_it():
    pool = ImagePool(4, (2, 3))
    exchange = tf.function(pool.exchange, jit_compile=True)
    given = [n for first in range(0, 80, 2) for n in numbers(exchange(numbered(first, 2)))]
    assert sorted(given[4:] + numbers(pool.images)) == list(range(80))


def test_wrong_sizes_are_named():
    with pytest.raises(ValueError, match="size 0: give at least 1"):
        ImagePool(0, (2, 3))
    with pytest.raises(tf.errors.InvalidArgumentError, match="more images than the pool holds"):
        ImagePool(1, (2, 3)).exchange(numbered(0, 2))
