import hypothesis
import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from hypothesis import strategies as st

from tests import small_models
from tfstyle import stylize
from tfstyle.networks import discriminators, generators, layers

GENERATORS = {
    "fast": lambda: generators.fast_generator(width=4, depth=1),
    "fast_noise": lambda: generators.fast_generator(width=4, depth=1, noise=True),
    "unet": lambda: generators.unet_generator(width=4, residual_blocks=1),
    "unet_batch_zero_dropout": lambda: generators.unet_generator(
        width=4, residual_blocks=1, norm="batch", padding="zero", dropout=0.3
    ),
}
DISCRIMINATORS = {
    "patch": lambda: discriminators.patch_discriminator(width=4),
    "patch_batch": lambda: discriminators.patch_discriminator(width=4, layers=2, norm="batch"),
    "patch_none": lambda: discriminators.patch_discriminator(width=4, layers=1, norm="none"),
    "patch_spectral": lambda: discriminators.patch_discriminator(
        width=4, layers=1, norm="spectral"
    ),
    "class": lambda: discriminators.class_discriminator(classes=3, width=4, layers=2),
    "class_spectral": lambda: discriminators.class_discriminator(
        classes=3, width=4, layers=1, norm="spectral"
    ),
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


# Noise


@pytest.fixture
def noise():
    keras.utils.set_random_seed(0)
    x = keras.Input((None, None, 2))
    layer = layers.Noise(8, period=5)
    model = keras.Model(x, layer(x))
    layer.strength.assign([2.0, 0.0])
    return model


def test_noise_is_added_as_much_as_each_channel_has_of_it(noise):
    drawn = noise(np.ones((3, 60, 50, 2), "float32"), training=True).numpy() - 1
    assert not drawn[..., 1].any()
    assert drawn[..., 0].mean() == pytest.approx(0, abs=0.1)
    assert drawn[..., 0].std() == pytest.approx(2, rel=0.05)
    # Another in each image and at each call.
    assert np.abs(drawn[0] - drawn[1]).mean() > 1
    again = noise(np.ones((3, 60, 50, 2), "float32"), training=True).numpy() - 1
    assert np.abs(drawn - again)[..., 0].mean() > 1


def test_noise_outside_of_training_is_a_pattern_that_lies_still(noise):
    whole = noise(np.zeros((2, 13, 11, 2), "float32")).numpy()[..., 0]
    np.testing.assert_array_equal(whole[0], whole[1])
    tile = whole[0, :5, :5]
    assert (tile.mean(), tile.std()) == pytest.approx((0, 2), abs=1e-5)
    np.testing.assert_array_equal(whole[0], np.tile(tile, (3, 3))[:13, :11])


def test_noise_of_each_style_is_its_own(rng):
    x, weights = keras.Input((None, None, 2)), keras.Input((2,))
    layer = layers.Noise(4)
    model = keras.Model([x, weights], layer([x, weights]))
    layer.strength.assign([[1.0, 0.0], [0.0, 3.0]])
    zeros = np.zeros((3, 70, 6, 2), "float32")
    found = model([zeros, np.array([[1, 0], [0, 1], [0.5, 0.5]], "float32")]).numpy()
    pattern = found[0, ..., 0]
    assert pattern.std() == pytest.approx(1, abs=0.1)
    np.testing.assert_allclose(found[1], np.stack([0 * pattern, 3 * pattern], -1), atol=1e-6)
    np.testing.assert_allclose(found[2], np.stack([pattern / 2, 1.5 * pattern], -1), atol=1e-6)


def test_a_flat_picture_is_not_flat_with_noise(built):
    flat = np.full((1, 64, 64, 3), 0.5, "float32")
    inner = np.s_[0, 24:40, 24:40]
    assert built["fast"](flat).numpy()[inner].std() < 1e-3
    assert built["fast_noise"](flat).numpy()[inner].std() > 2e-3


def test_a_generator_with_noise_draws_the_same_again_from_its_state(built, rng):
    network, photo = generators.fast_generator(width=4, depth=1, noise=True), pictures(rng, 32, 32)
    state = network.get_weights()
    first = network(photo, training=True).numpy()
    assert np.abs(network(photo, training=True).numpy() - first).max() > 1e-4
    network.set_weights(state)
    np.testing.assert_array_equal(network(photo, training=True).numpy(), first)


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
@pytest.mark.parametrize(
    ("name", "depth"),
    [("patch", 3), ("patch_batch", 2), ("patch_none", 1), ("patch_spectral", 1)],
)
def test_a_discriminator_scores_patches_of_any_size(built, name, depth, size, rng):
    scores = built[name](pictures(rng, *size, batch=2)).numpy()
    rows, columns = (max(side, 3 * 2**depth) // 2**depth - 2 for side in size)
    assert scores.shape == (2, rows, columns, 1)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("size", [(1, 1), (5, 40), (17, 33), (64, 40)])
@pytest.mark.parametrize("name", ["class", "class_spectral"])
def test_a_class_discriminator_gives_an_image_of_any_size_a_logit_a_class(built, name, size, rng):
    photos = pictures(rng, *size, batch=2)
    logits = built[name](photos).numpy()
    assert logits.shape == (2, 3) and logits.dtype == np.float32
    assert np.isfinite(logits).all()
    np.testing.assert_allclose(built[name](photos[1:]), logits[1:], atol=1e-5)


def test_its_logits_are_the_mean_of_what_its_patches_are_given(built, rng):
    network, photos = built["class"], pictures(rng, 40, 33)
    patches = keras.Model(network.input, network.get_layer("scores").output)(photos)
    assert patches.shape[1:] == (8, 6, 3)
    np.testing.assert_allclose(network(photos), np.mean(patches, axis=(1, 2)), atol=1e-6)
    trunk = discriminators.patch_discriminator(width=4, layers=2)
    assert [weight.shape for weight in network.weights[:-2]] == [
        weight.shape for weight in trunk.weights[:-2]
    ]


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
    blocks = 1 if name in ("fast", "fast_noise", "unet") else 0
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


def test_the_unet_has_a_skip_connection_at_each_size_and_one_from_the_photo():
    network = generators.unet_generator(width=4, residual_blocks=2)
    assert [
        [tensor.shape[-1] for tensor in layer.input]
        for layer in network.layers
        if isinstance(layer, keras.layers.Concatenate)
    ] == [[16, 16], [8, 8], [4, 4], [8, 3]]
    blocks = [layer for layer in network.layers if isinstance(layer, keras.layers.Add)]
    assert [block.output.shape[-1] for block in blocks] == [32, 32]


@pytest.fixture(scope="module")
def noisy():
    return generators.unet_generator(width=4, residual_blocks=1, noise_dim=3)


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (17, 33)])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_noise_changes_a_picture_of_any_size(norm, size, rng):
    network = generators.unet_generator(width=4, residual_blocks=1, norm=norm, noise_dim=3)
    photos = np.repeat(pictures(rng, *size), 2, axis=0)
    noise = rng.normal(size=(2, 3)).astype("float32")
    one, other = network([photos, noise]).numpy()
    assert one.shape == (*size, 3) and 0 <= min(one.min(), other.min()) <= one.max() <= 1
    assert np.abs(one - other).max() > 1e-3
    np.testing.assert_array_equal(network([photos, noise]), [one, other])


def test_every_variable_of_a_generator_with_noise_gets_a_gradient(noisy, rng):
    inputs = [pictures(rng, 24, 17, batch=2), rng.normal(size=(2, 3)).astype("float32")]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(noisy(inputs) - rng.uniform(size=(2, 24, 17, 3))))
    gradients = tape.gradient(loss, [variable.value for variable in noisy.trainable_variables])
    # As in the other generators, the offset of the norm that ends the block has no effect.
    still = [
        variable.path
        for variable, gradient in zip(noisy.trainable_variables, gradients, strict=True)
        if not np.abs(gradient).max() > 1e-9
    ]
    assert len(still) <= 1 and all(path.endswith("/beta") for path in still), still


def test_at_zero_noise_it_is_a_function_of_the_image_with_the_same_weights(noisy, rng):
    photos = pictures(rng, 17, 24, batch=2)
    alone = generators.at_zero_noise(noisy)
    np.testing.assert_array_equal(alone(photos), noisy([photos, np.zeros((2, 3), "float32")]))
    assert {id(weight) for weight in alone.weights} == {id(weight) for weight in noisy.weights}


def test_at_zero_noise_it_is_exported(noisy, photo, tmp_path):
    alone = generators.at_zero_noise(noisy)
    exported = small_models.exported(alone, "noisy", directory=tmp_path)
    for artifact in (exported.saved_model, exported.tflite["float32"]):
        stylized = stylize.Stylizer.load(artifact)(photo)
        np.testing.assert_allclose(stylized, alone(photo[None])[0], atol=1e-3)


def test_noise_acts_under_mixed_float16(noisy, rng, mixed_float16):
    half = generators.unet_generator(width=4, residual_blocks=1, noise_dim=3)
    half.set_weights(noisy.get_weights())
    assert half.get_layer("join").compute_dtype == "float16"
    inputs = [pictures(rng, 24, 33), rng.normal(size=(1, 3)).astype("float32")]
    output = half(inputs)
    assert output.dtype == "float32"
    np.testing.assert_allclose(output, noisy(inputs), atol=0.02)


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
        (discriminators.class_discriminator, {"classes": 1}, "classes 1: give 2 or more"),
        (discriminators.class_discriminator, {"classes": 3, "norm": "x"}, "norm 'x'.*none"),
        (generators.unet_generator, {"noise_dim": -1}, "noise_dim -1.*0 or more"),
    ],
)
def test_wrong_arguments_are_named_with_the_right_ones(build, arguments, message):
    with pytest.raises(ValueError, match=message):
        build(width=4, **arguments)


# Layers


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (5, 3), (8, 8)])
@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("smooth", [True, False])
def test_resize_conv_equals_doubling_and_a_convolution(size, kernel_size, use_bias, smooth, rng):
    x = rng.normal(size=(2, *size, 3)).astype("float32")
    layer = layers.ResizeConv(4, kernel_size, use_bias=use_bias, smooth=smooth)
    layer.build(x.shape)
    if use_bias:
        layer.bias.assign(rng.normal(size=4))
    n = kernel_size // 2
    doubled = x.repeat(2, axis=1).repeat(2, axis=2)
    padded = np.pad(doubled, [(0, 0), (n, n), (n, n), (0, 0)], mode="symmetric")
    kernel = layer.kernel.numpy()
    if smooth:
        corners = [
            np.pad(kernel, [(i, 1 - i), (j, 1 - j), (0, 0), (0, 0)]) for i, j in np.ndindex(2, 2)
        ]
        kernel = sum(corners) / 4
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
        layers.SpectralConv2D(5, 3, 2),
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


def spectral(rng, kernel_size=3, channels=4, filters=6, **options):
    layer = layers.SpectralConv2D(filters, kernel_size, **options)
    layer.build((None, None, None, channels))
    layer.kernel.assign(rng.normal(size=layer.kernel.shape))
    return layer


def settle(layer, channels=4, calls=300):
    for _ in range(calls):
        layer(np.zeros((1, 3, 3, channels), "float32"), training=True)


def test_a_spectral_convolution_is_one_by_the_kernel_over_its_largest_singular_value(rng):
    layer = spectral(rng)
    settle(layer)
    kernel = layer.kernel.numpy()
    largest = np.linalg.svd(kernel.reshape(-1, 6), compute_uv=False)[0]
    layer.bias.assign(rng.normal(size=6))
    x = rng.normal(size=(2, 7, 9, 4)).astype("float32")
    expected = tf.nn.conv2d(x, kernel / largest, 1, "VALID") + layer.bias.numpy()
    np.testing.assert_allclose(layer(x), expected, rtol=1e-3, atol=1e-4)
    layer.kernel.assign(1000 * kernel)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-3, atol=1e-4)


def test_its_gradient_is_the_papers(rng):
    """(A - <A, W / s> u v') / s; eq. 12 of Miyato et al. 2018, A the gradient by W / s."""
    layer = spectral(rng, kernel_size=1, use_bias=False)
    settle(layer)
    x = rng.normal(size=(5, 1, 1, 4)).astype("float32")
    upstream = rng.normal(size=(5, 1, 1, 6)).astype("float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x) * upstream)
    (gradient,) = tape.gradient(loss, [layer.kernel.value])
    matrix = layer.kernel.numpy()[0, 0].astype("float64")
    u, s, v = np.linalg.svd(matrix)
    by_normalized = x[:, 0, 0].T @ upstream[:, 0, 0]
    along = np.sum(by_normalized * matrix / s[0])
    expected = (by_normalized - along * np.outer(u[:, 0], v[0])) / s[0]
    np.testing.assert_allclose(gradient[0, 0], expected, rtol=1e-3, atol=1e-3)


def test_its_singular_vector_moves_in_training_only_and_is_checkpointed(rng, tmp_path):
    layer = spectral(rng)
    x = np.ones((1, 3, 3, 4), "float32")
    start = layer.singular_vector.numpy()
    layer(x)
    np.testing.assert_array_equal(layer.singular_vector, start)
    layer(x, training=True)
    assert np.abs(layer.singular_vector.numpy() - start).max() > 1e-3
    path = tf.train.Checkpoint(layer=layer).save(tmp_path / "checkpoint")
    other = spectral(rng)
    tf.train.Checkpoint(layer=other).restore(path).assert_consumed()
    for training in (True, False):
        np.testing.assert_array_equal(other(x, training=training), layer(x, training=training))


def test_its_kernel_is_divided_in_float32_under_mixed_float16(rng, mixed_float16):
    layer = spectral(rng)
    layer.kernel.assign(1e6 * layer.kernel.numpy())  # beyond float16
    settle(layer)
    output = layer(np.ones((1, 3, 3, 4), "float16"))
    assert output.dtype == "float16"
    kernel = layer.kernel.numpy()
    largest = np.linalg.svd(kernel.reshape(-1, 6), compute_uv=False)[0]
    np.testing.assert_allclose(output[0, 0, 0], kernel.sum(axis=(0, 1, 2)) / largest, rtol=0.02)


def test_a_spectral_convolution_of_zeros_is_its_bias(rng):
    layer = spectral(rng)
    layer.kernel.assign(tf.zeros_like(layer.kernel))
    layer.bias.assign(np.arange(6.0))
    for training in (True, False):
        output = layer(np.ones((1, 3, 3, 4), "float32"), training=training)
        np.testing.assert_array_equal(output[0, 0, 0], np.arange(6.0))


def test_resize_like_is_bilinear_to_the_size_of_the_other():
    ramp = np.arange(4.0)[None, None, :, None] * np.ones((2, 1, 1, 3))
    layer = layers.ResizeLike(dtype="float64")
    output = layer([ramp, np.zeros((2, 5, 8, 7))])
    expected = [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]
    np.testing.assert_allclose(output, np.broadcast_to(np.array(expected)[:, None], (2, 5, 8, 3)))
    assert layer.compute_output_shape([(None, 4, 4, 3), (None, None, 5, 7)]) == (None, None, 5, 3)


# The projected discriminator

SCALES = {"block2_conv1": 2.0, "block3_conv1": 3.0, "block4_conv1": 4.0}


@pytest.mark.parametrize("size", [(64, 64), (40, 72), (16, 16), (50, 33)])
def test_a_projected_discriminator_scores_each_layer_at_an_eighth(tiny_extractor, size):
    model = discriminators.projected_discriminator(tiny_extractor, SCALES, width=4)
    scores = model(np.random.default_rng(0).random((2, *size, 3), np.float32))
    assert scores.dtype == "float32"
    assert tuple(scores.shape) == (2, size[0] // 8, size[1] // 8, 3)


def test_only_its_heads_are_trained_and_the_image_gets_a_gradient(tiny_extractor):
    model = discriminators.projected_discriminator(tiny_extractor, SCALES, width=4)
    heads = model.get_layer(discriminators.HEADS)
    assert [v.path for v in model.trainable_variables] == [
        v.path for v in heads.trainable_variables
    ]
    image = tf.constant(np.random.default_rng(0).random((1, 32, 32, 3), np.float32))
    with tf.GradientTape() as tape:
        tape.watch(image)
        score = tf.reduce_sum(model(image) ** 2)
    gradients = tape.gradient(score, [image, *(v.value for v in model.trainable_variables)])
    assert all(float(tf.norm(gradient)) > 0 for gradient in gradients)


def test_its_heads_judge_features_as_it_judges_the_image(tiny_extractor):
    model = discriminators.projected_discriminator(tiny_extractor, SCALES, width=4)
    image = np.random.default_rng(0).random((1, 32, 48, 3), np.float32)
    features = {layer: tiny_extractor(image)[layer] for layer in SCALES}
    np.testing.assert_allclose(
        model.get_layer(discriminators.HEADS)(features), model(image), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("scales", [{}, {"block5_conv1": 1.0}])
def test_a_projected_discriminator_of_no_layers_or_of_too_deep_ones_is_refused(
    tiny_extractor, scales
):
    with pytest.raises(ValueError, match="give layers of block1 to block4"):
        discriminators.projected_discriminator(tiny_extractor, scales)
