"""Networks told in JSON, and built again from it."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.small_models import shaken
from tfstyle.errors import ArgumentError
from tfstyle.export import in_float32
from tfstyle.networks import clahe, description, generators
from tfstyle.training import Ema

FAST = {"width": 4, "depth": 1, "noise": True}
FAST_TOLD = {"builder": "fast_generator", "arguments": FAST}
UNET = {"width": 4, "residual_blocks": 1, "noise_dim": 3, "norm": "batch", "dropout": 0.25}
NETWORKS = {
    "fast": lambda: generators.fast_generator(**FAST, name="mine"),
    "fusion": lambda: generators.fusion_generator(styles=np.int64(2), **FAST),
    "unet": lambda: generators.unet_generator(**UNET),
    "zero_noise": lambda: generators.at_zero_noise(generators.unet_generator(**UNET)),
    "clahe": lambda: clahe.curve_generator(knots=5, width=7),
}


def shape(network):
    """All that must be the same of what was built again, but for values."""
    return (
        [(each.name, each.shape) for each in network.inputs],
        [(variable.name, variable.shape, variable.dtype) for variable in network.variables],
        [type(layer).__name__ for layer in network.layers],
    )


def test_every_builder_is_tried():
    told = {description.describe(build())["builder"] for build in NETWORKS.values()}
    assert told == description.BUILDERS.keys()


@pytest.mark.parametrize("kind", NETWORKS)
def test_from_its_description_the_same_network_is_built(kind, photo):
    network = shaken(NETWORKS[kind]())
    told = json.loads(json.dumps(description.describe(network)))
    again = description.build(told)
    assert shape(again) == shape(network)
    assert description.describe(again) == told
    again.set_weights(network.get_weights())
    more = [np.full((1, each.shape[-1]), 0.5, np.float32) for each in network.inputs[1:]]
    given = [photo[None], *more] if more else photo[None]
    np.testing.assert_array_equal(again(given), network(given))


def test_a_description_has_all_arguments_that_there_are():
    told = description.describe(generators.fast_generator(depth=1))
    arguments = {"width": 16, "depth": 1, "noise": False}
    assert told == {"builder": "fast_generator", "arguments": arguments}
    inner = description.describe(generators.unet_generator(**UNET))
    assert inner["arguments"] == UNET | {"padding": "reflect"}
    outer = description.describe(NETWORKS["zero_noise"]())
    assert outer == {"builder": "at_zero_noise", "arguments": {"generator": inner}}


@pytest.mark.parametrize("kind", NETWORKS)
def test_copies_are_described_too(kind):
    network = NETWORKS[kind]()
    told = description.describe(network)
    for copy in (Ema(network, 0.9).model, in_float32(network), description.clone(network)):
        assert description.describe(copy) == told


def test_what_no_builder_made_is_not_described():
    image = keras.Input((None, None, 3), name="images")
    noise = keras.Input((3,), name="noise")
    own = keras.Model([image, noise], keras.layers.Rescaling(0.5)(image))
    network = NETWORKS["fast"]()
    edited = keras.Model(network.input, keras.layers.Rescaling(0.5)(network.output))
    for model in (own, edited, generators.at_zero_noise(own), description.clone(own)):
        assert description.describe(model) is None


def test_a_description_is_no_part_of_checkpoints(tmp_path):
    network = NETWORKS["fast"]()
    names = [name for name, _ in tf.train.list_variables(
        tf.train.Checkpoint(generator=network).save(str(tmp_path / "ckpt"))
    )]  # fmt: skip
    assert not [name for name in names if "record" in name]
    other = shaken(NETWORKS["fast"](), 1)
    del other.recorded  # as of an older tfstyle
    path = tf.train.Checkpoint(generator=other).save(str(tmp_path / "older"))
    tf.train.Checkpoint(generator=network).restore(path).assert_consumed()
    np.testing.assert_array_equal(network.get_weights()[0], other.get_weights()[0])


def test_arguments_can_be_changed():
    told = description.describe(NETWORKS["fusion"]())
    assert description.build(told, styles=5).inputs[1].shape == (None, 5)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (None, "give its builder and arguments"),
        ({"builder": "fast_generator"}, "give its builder and arguments"),
        (
            {"builder": "new_generator", "arguments": {}},
            "'new_generator': this tfstyle builds fast",
        ),
        ({"builder": ["x"], "arguments": {}}, "this tfstyle builds fast"),
        ({"builder": "fast_generator", "arguments": [1]}, r"arguments \[1\] are no object"),
        ({"builder": "fast_generator", "arguments": {"hue": 1}}, r"not known \['hue'\]"),
        ({"builder": "fusion_generator", "arguments": {}}, r"missing \['styles'\]"),
        ({"builder": "fast_generator", "arguments": {"width": "x"}}, "network fast_generator of"),
        ({"builder": "unet_generator", "arguments": {"norm": "x"}}, "norm 'x': give one of"),
        ({"builder": "at_zero_noise", "arguments": {"generator": {}}}, "give its builder and"),
        ({"builder": "at_zero_noise", "arguments": {"generator": 1}}, "network at_zero_noise of"),
        (
            {"builder": "at_zero_noise", "arguments": {"generator": FAST_TOLD}},
            "network at_zero_noise of",  # it has no noise
        ),
    ],
)
def test_what_is_no_description_is_told(told, message):
    with pytest.raises(ArgumentError, match=message):
        description.build(told)
