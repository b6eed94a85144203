import hypothesis
import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from hypothesis import strategies as st

from tfstyle.networks import discriminators, generators, layers

GENERATORS = {
    "fast": lambda: generators.fast_generator(width=4, depth=1),
    "unet": lambda: generators.unet_generator(width=4, residual_blocks=1),
    "unet_batch_zero_dropout": lambda: generators.unet_generator(
        width=4, residual_blocks=1, norm="batch", padding="zero", dropout=0.3
    ),
}
DISCRIMINATORS = {
    "patch": lambda: discriminators.patch_discriminator(width=4),
    "patch_batch": lambda: discriminators.patch_discriminator(width=4, layers=2, norm="batch"),
    "patch_none": lambda: discriminators.patch_discriminator(width=4, layers=1, norm="none"),
}
NETWORKS = GENERATORS | DISCRIMINATORS

many = hypothesis.settings(deadline=None, max_examples=40, derandomize=True)


@pytest.fixture(scope="module")
def built():
    """{name: network}, shared by tests that leave the weights alone."""
    keras.utils.set_random_seed(1)
    return {name: build() for name, build in NETWORKS.items()}


def pictures(rng, height, width, batch=1):
    return rng.uniform(size=(batch, height, width, 3)).astype("float32")


# Networks


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 3), (16, 16), (17, 33), (64, 40)])
@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_keeps_any_size_and_stays_in_range(built, name, size, rng):
    output = built[name](pictures(rng, *size, batch=2)).numpy()
    assert output.shape == (2, *size, 3)
    assert output.dtype == np.float32
    assert np.isfinite(output).all()
    assert 0 <= output.min() and output.max() <= 1
    assert output.std() > 0


@pytest.mark.parametrize("size", [(1, 1), (5, 40), (16, 16), (17, 33), (64, 40)])
@pytest.mark.parametrize(("name", "depth"), [("patch", 3), ("patch_batch", 2), ("patch_none", 1)])
def test_a_discriminator_scores_patches_of_any_size(built, name, depth, size, rng):
    scores = built[name](pictures(rng, *size, batch=2)).numpy()
    rows, columns = (max(side, 3 * 2**depth) // 2**depth - 2 for side in size)
    assert scores.shape == (2, rows, columns, 1)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()


def test_the_discriminator_gives_the_papers_30x30_scores_for_256_pixels(built):
    assert built["patch"].compute_output_shape((1, 256, 256, 3)) == (1, 30, 30, 1)
    assert built["patch"].compute_output_shape((None, None, None, 3))[1:3] == (None, None)


@pytest.mark.parametrize(("depth", "field"), [(1, 16), (2, 34), (3, 70)])
def test_a_score_sees_as_many_pixels_as_the_docstring_says(depth, field, rng):
    network = discriminators.patch_discriminator(width=4, layers=depth, norm="none")
    photo = tf.Variable(pictures(rng, 160, 160))
    with tf.GradientTape() as tape:
        scores = network(photo)
        middle = scores.shape[1] // 2
        score = scores[0, middle, middle, 0]
    seen = np.abs(tape.gradient(score, photo).numpy()[0]).max(axis=-1) > 0
    assert np.ptp(np.flatnonzero(seen.any(axis=0))) + 1 == field
    assert np.ptp(np.flatnonzero(seen.any(axis=1))) + 1 == field


def test_the_discriminators_channels_double_up_to_eight_times():
    network = discriminators.patch_discriminator(width=2, layers=5)
    convolutions = [x for x in network.layers if isinstance(x, keras.layers.Conv2D)]
    assert [x.filters for x in convolutions] == [2, 4, 8, 16, 16, 16, 1]
    assert [x.strides[0] for x in convolutions] == [2] * 5 + [1, 1]


def test_the_discriminators_weights_start_from_a_narrow_normal_distribution():
    network = discriminators.patch_discriminator(width=32)
    kernels = [weight.numpy() for weight in network.weights if weight.name == "kernel"]
    assert [kernel.shape[-1] for kernel in kernels] == [32, 64, 128, 256, 1]
    for kernel in kernels:
        assert abs(kernel.std() - 0.02) < 0.002 and abs(kernel.mean()) < 0.002
    assert not np.array_equal(kernels[2].ravel()[:64], kernels[3].ravel()[:64])


@pytest.mark.parametrize("name", NETWORKS)
def test_every_variable_gets_a_gradient(built, name, rng):
    network = built[name]
    with tf.GradientTape() as tape:
        output = network(pictures(rng, 40, 33, batch=2))
        loss = tf.reduce_mean(tf.square(output - rng.uniform(size=output.shape)))
    gradients = tape.gradient(loss, [variable.value for variable in network.trainable_variables])
    without = []
    for variable, gradient in zip(network.trainable_variables, gradients, strict=True):
        assert gradient is not None, variable.path
        assert np.isfinite(gradient).all(), variable.path
        if np.abs(gradient).max() < 1e-9:
            without.append(variable.path)
    # The norm that ends a residual block adds a constant to each channel, which the norms after it
    # take off again: the one variable that can do nothing.
    blocks = 1 if name in ("fast", "unet") else 0
    assert len(without) <= blocks and all(path.endswith("/beta") for path in without), without


@pytest.mark.parametrize("name", NETWORKS)
def test_a_saved_network_is_loaded_without_further_ado(built, name, rng, tmp_path):
    photos = pictures(rng, 20, 31)
    file = tmp_path / "network.keras"
    built[name].save(file)
    loaded = keras.saving.load_model(file)
    np.testing.assert_array_equal(loaded(photos), built[name](photos))
    assert [type(layer) for layer in loaded.layers] == [type(x) for x in built[name].layers]


@pytest.mark.parametrize("name", NETWORKS)
def test_under_mixed_float16_the_output_is_float32_and_close(built, name, rng, mixed_float16):
    half = NETWORKS[name]()
    last = half.get_layer("head" if name in GENERATORS else "scores")
    assert last.compute_dtype == "float16"
    assert {weight.dtype for weight in half.trainable_variables} == {"float32"}
    half.set_weights(built[name].get_weights())
    photos = pictures(rng, 24, 33)
    output = half(photos)
    assert output.dtype == "float32"
    np.testing.assert_allclose(output, built[name](photos), atol=0.02)


@pytest.mark.parametrize("name", NETWORKS)
def test_through_tflite_with_builtin_operations_it_is_the_same(built, name, rng):
    network = built[name]
    function = tf.function(lambda photos: network(photos))
    concrete = function.get_concrete_function(tf.TensorSpec([1, None, None, 3]))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    interpreter = Interpreter(model_content=converter.convert(), num_threads=1)
    for size in [(48, 64), (17, 33), (5, 5)]:
        photos = pictures(rng, *size)
        index = interpreter.get_input_details()[0]["index"]
        interpreter.resize_tensor_input(index, photos.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(index, photos)
        interpreter.invoke()
        output = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        np.testing.assert_allclose(output, network(photos), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_seed_gives_the_same_weights_again(name):
    weights = []
    for seed in (3, 3, 4):
        keras.utils.set_random_seed(seed)
        weights.append(NETWORKS[name]().get_weights())
    for one, again in zip(weights[0], weights[1], strict=True):
        np.testing.assert_array_equal(one, again)
    assert any(not np.array_equal(a, b) for a, b in zip(weights[0], weights[2], strict=True))


@pytest.mark.parametrize("name", ["fast", "unet", "patch"])
def test_an_image_is_treated_the_same_in_any_batch(built, name, rng):
    photos = pictures(rng, 24, 24, batch=3)
    together = built[name](photos)
    np.testing.assert_allclose(together[1:2], built[name](photos[1:2]), atol=1e-5)


def test_the_unet_has_a_skip_connection_at_each_size():
    network = generators.unet_generator(width=4, residual_blocks=2)
    assert [
        [tensor.shape[-1] for tensor in layer.input]
        for layer in network.layers
        if isinstance(layer, keras.layers.Concatenate)
    ] == [[16, 16], [8, 8], [4, 4]]
    blocks = [layer for layer in network.layers if isinstance(layer, keras.layers.Add)]
    assert [block.output.shape[-1] for block in blocks] == [32, 32]


def test_dropout_acts_in_training_only(built, rng):
    photos = pictures(rng, 16, 16)
    network = GENERATORS["unet_batch_zero_dropout"]()
    rates = [layer.rate for layer in network.layers if isinstance(layer, layers.Dropout)]
    assert rates == [0.3] * 3  # one residual block, two steps of the decoder
    np.testing.assert_array_equal(network(photos), network(photos))
    first, second = network(photos, training=True), network(photos, training=True)
    assert not np.array_equal(first, second)
    assert not [layer for layer in built["unet"].layers if isinstance(layer, layers.Dropout)]


@pytest.mark.parametrize(
    ("build", "arguments", "message"),
    [
        (generators.unet_generator, {"norm": "layer"}, "norm 'layer'.*instance.*batch"),
        (generators.unet_generator, {"padding": "same"}, "padding 'same'.*reflect.*zero"),
        (generators.unet_generator, {"dropout": 1.0}, "rate 1.0.*below 1"),
        (discriminators.patch_discriminator, {"norm": "layer"}, "norm 'layer'.*none"),
        (discriminators.patch_discriminator, {"layers": 0}, "layers 0.*1 or more"),
    ],
)
def test_wrong_arguments_are_named_with_the_right_ones(build, arguments, message):
    with pytest.raises(ValueError, match=message):
        build(width=4, **arguments)


# Layers


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (5, 3), (8, 8)])
@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize("use_bias", [True, False])
def test_resize_conv_equals_doubling_and_a_convolution(size, kernel_size, use_bias, rng):
    x = rng.normal(size=(2, *size, 3)).astype("float32")
    layer = layers.ResizeConv(4, kernel_size, use_bias=use_bias)
    layer.build(x.shape)
    if use_bias:
        layer.bias.assign(rng.normal(size=4))
    n = kernel_size // 2
    doubled = x.repeat(2, axis=1).repeat(2, axis=2)
    padded = np.pad(doubled, [(0, 0), (n, n), (n, n), (0, 0)], mode="symmetric")
    kernel = layer.kernel.numpy()
    expected = np.zeros((2, 2 * size[0], 2 * size[1], 4))
    for y in range(expected.shape[1]):
        for z in range(expected.shape[2]):
            window = padded[:, y : y + kernel_size, z : z + kernel_size]
            expected[:, y, z] = np.einsum("bijc,ijcf->bf", window, kernel)
    expected += layer.bias.numpy() if use_bias else 0
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-5)


def test_resize_conv_has_two_kernel_sizes():
    with pytest.raises(ValueError, match="kernel_size 7: must be 3 or 5"):
        layers.ResizeConv(4, 7)


@pytest.mark.parametrize("amount", [1, 2, 3])
@pytest.mark.parametrize("extra", [(1, 1), (1, 4), (6, 3)])
def test_reflect_pad_equals_tensorflows(amount, extra, rng):
    x = rng.normal(size=(2, amount + extra[0], amount + extra[1], 3)).astype("float32")
    paddings = [(0, 0), (amount, amount), (amount, amount), (0, 0)]
    np.testing.assert_array_equal(layers.ReflectPad(amount)(x), tf.pad(x, paddings, "REFLECT"))


def test_instance_norm_gives_each_image_its_own_mean_and_variance(rng):
    scale = np.array([1, 100]).reshape(2, 1, 1, 1)
    x = rng.normal(3, scale, (2, 7, 9, 5)).astype("float32")
    layer = layers.InstanceNorm()
    output = layer(x).numpy()
    np.testing.assert_allclose(output.mean(axis=(1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(output.var(axis=(1, 2)), 1, rtol=1e-4)
    layer.gamma.assign(np.arange(5.0))
    layer.beta.assign(10 + np.arange(5.0))
    scaled = layer(x).numpy()
    np.testing.assert_allclose(scaled, np.arange(5) * output + 10 + np.arange(5), atol=1e-4)


def test_instance_norm_equals_group_normalization_with_a_group_a_channel(rng):
    x = rng.normal(size=(2, 6, 5, 4)).astype("float32")
    reference = keras.layers.GroupNormalization(groups=-1, epsilon=1e-5)
    np.testing.assert_allclose(layers.InstanceNorm()(x), reference(x), atol=1e-5)


def test_instance_norm_survives_float16_values_whose_squares_do_not(rng):
    x = rng.uniform(-5000, 5000, (1, 8, 8, 3)).astype("float16")
    output = layers.InstanceNorm(dtype="mixed_float16")(x)
    assert output.dtype == "float16"
    np.testing.assert_allclose(np.var(output.numpy().astype("float32")), 1, rtol=1e-2)


def test_instance_norm_of_a_constant_is_its_bias():
    np.testing.assert_allclose(layers.InstanceNorm()(np.full((1, 4, 4, 2), 7.0)), 0, atol=1e-4)


@many
@hypothesis.given(
    st.integers(1, 20), st.integers(1, 20), st.integers(1, 9), st.sampled_from([0, 1, 8, 16, 24])
)
def test_pad_to_multiple_mirrors_the_lower_and_right_border(height, width, multiple, minimum):
    x = np.random.default_rng(0).normal(size=(2, height, width, 3)).astype("float32")
    output = layers.PadToMultiple(multiple, minimum)(x).numpy()
    for axis, side in ((1, height), (2, width)):
        padded = output.shape[axis]
        assert padded >= max(side, minimum)
        assert padded == minimum or (padded % multiple == 0 and padded - side < multiple)
    down, across = output.shape[1] - height, output.shape[2] - width
    np.testing.assert_array_equal(output[:, :height, :width], x)
    if down < height and across < width:
        expected = np.pad(x, [(0, 0), (0, down), (0, across), (0, 0)], mode="reflect")
        np.testing.assert_array_equal(output, expected)
    else:  # too small to mirror: what is added repeats pixels of the image
        assert np.isin(output, x).all()


def test_crop_like_cuts_from_the_upper_left_corner(rng):
    x, like = rng.normal(size=(2, 8, 9, 4)), rng.normal(size=(2, 5, 7, 3))
    output = layers.CropLike(dtype="float64")([x, like])
    np.testing.assert_array_equal(output, x[:, :5, :7])


@pytest.mark.parametrize(
    "layer",
    [
        layers.ReflectPad(2),
        layers.InstanceNorm(),
        layers.PadToMultiple(8, minimum=16),
        layers.PadToMultiple(3),
        layers.ResizeConv(5, 3),
        layers.ResizeConv(2, 5, use_bias=False),
        layers.Dropout(0.5),
    ],
    ids=lambda layer: layer.name,
)
def test_a_layer_knows_its_output_shape_and_its_configuration(layer, rng):
    x = rng.normal(size=(2, 7, 9, 3)).astype("float32")
    output = layer(x)
    assert layer.compute_output_shape(x.shape) == output.shape
    batch, height, width, channels = layer.compute_output_shape((None, None, None, 3))
    assert (batch, height, width, channels) == (None, None, None, output.shape[3])
    again = type(layer).from_config(layer.get_config())
    again.build(x.shape)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(x), layer(x))


def test_dropout_keeps_the_mean_and_drops_its_share():
    x = np.ones((1, 100, 100, 4), "float32")
    output = layers.Dropout(0.25)(x, training=True).numpy()
    assert abs((output == 0).mean() - 0.25) < 0.01
    np.testing.assert_allclose(output[output > 0], 1 / 0.75, rtol=1e-6)


def test_a_checkpoint_takes_dropout_up_where_it_was(rng, tmp_path):
    network = GENERATORS["unet_batch_zero_dropout"]()
    photos = pictures(rng, 16, 16, batch=2)
    network(photos, training=True)
    path = tf.train.Checkpoint(model=network).save(tmp_path / "checkpoint")
    expected = [network(photos, training=True) for _ in range(2)]
    keras.utils.set_random_seed(99)
    resumed = GENERATORS["unet_batch_zero_dropout"]()
    tf.train.Checkpoint(model=resumed).restore(path).assert_consumed()
    for output in expected:
        np.testing.assert_array_equal(resumed(photos, training=True), output)
