"""The contract of runners, kept by each of them alike."""

import numpy as np
import pytest

from tests import small_models
from tfstyle.errors import ArgumentError
from tfstyle.export import convert
from tfstyle.networks import statistics
from tfstyle.stylize import FunctionRunner, KerasRunner, Runner, SavedModelRunner, TFLiteRunner

KINDS = ["keras", "saved_model", "tflite", "tflite_whole", "tflite_fixed", "function"]
SIZE = (24, 40)  # of the fixed one


@pytest.fixture(scope="module", params=["one_style", "styles", "noise"])
def generator(request):
    if request.param == "one_style":
        return small_models.fast()
    return small_models.fusion(noise=request.param == "noise")


@pytest.fixture(scope="module")
def made(generator, tmp_path_factory):
    """{kind: Runner} of one network."""
    folder = tmp_path_factory.mktemp("runners")
    photo = np.random.default_rng(0).random((64, 64, 3), np.float32)
    source = convert.from_keras(generator, "x")
    paths = {}
    for kind, options in (
        ("tflite", {"parts": True}),
        ("tflite_whole", {}),
        ("tflite_fixed", {"size": SIZE}),
    ):
        paths[kind] = folder / f"{kind}.tflite"
        paths[kind].write_bytes(convert.convert(source, "float32", **options))

    def function(batch, weights=None):
        return np.array(generator(batch if weights is None else [batch, weights]))

    return {
        "keras": KerasRunner(generator),
        "saved_model": SavedModelRunner(
            small_models.save(generator, folder / "x" / "1", photo, alone="float")
        ),
        **{kind: TFLiteRunner(path, 2) for kind, path in paths.items()},
        "function": FunctionRunner(function, styles=len(source.styles)),
    }


@pytest.fixture(params=KINDS)
def runner(request, made):
    return made[request.param]


def weights(runner, seed=0):
    """[] of a model of one style, else those of a blend."""
    if not runner.styles:
        return []
    drawn = np.random.default_rng(seed).random((1, runner.styles), np.float32)
    return [drawn / drawn.sum()]


def batch(rng, *shape):
    return rng.random((1, *shape, 3), np.float32)


def test_every_kind_of_runner_is_tried(made):
    kinds = {each for each in Runner.__subclasses__() if each.__module__ == Runner.__module__}
    assert {type(each) for each in made.values()} == kinds and list(made) == KINDS


def test_it_says_what_it_is(runner, generator):
    assert isinstance(runner, Runner)
    assert runner.styles == (small_models.STYLES if len(generator.inputs) > 1 else 0)
    assert runner.size is None or [type(side) for side in runner.size] == [int, int]
    assert type(runner.can_tile) is bool and type(runner.keeps_memory) is bool


def test_it_gives_what_keras_gives_at_every_size_again_and_again(runner, generator, rng):
    for height, width in [(24, 40), (17, 33), (40, 24), (24, 40)]:
        if runner.size not in (None, (height, width)):
            continue
        image, more = batch(rng, height, width), weights(runner, height)
        picture = runner(image, *more)
        assert (picture.shape, picture.dtype) == (image.shape, np.float32)
        expected = generator([image, *more] if more else image, training=False)
        np.testing.assert_allclose(picture, expected, atol=1e-3)


def test_what_it_was_given_and_what_it_gave_stay(runner, rng):
    image, more = batch(rng, *SIZE), weights(runner)
    image.setflags(write=False)
    first = runner(image, *more)
    kept = first.copy()
    runner(batch(rng, *SIZE), *more)
    np.testing.assert_array_equal(first, kept)
    first += 1  # what it gave is the caller's
    np.testing.assert_array_equal(runner(image, *more), kept)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((*SIZE, 3), np.float32),
        np.zeros((2, *SIZE, 3), np.float32),
        np.zeros((1, *SIZE, 4), np.float32),
        np.zeros((1, 0, 40, 3), np.float32),
        np.zeros((1, *SIZE, 3), np.float64),
        np.zeros((1, *SIZE, 3), np.uint8),
    ],
    ids=lambda wrong: f"{wrong.shape}-{wrong.dtype}",
)
def test_what_is_no_image_is_refused(runner, wrong):
    with pytest.raises(ArgumentError, match=r"images of shape .* give float32 \[1, H, W, 3\]"):
        runner(wrong, *weights(runner))


def test_weights_of_other_styles_are_refused(runner, rng):
    image = batch(rng, *SIZE)
    if runner.styles:
        with pytest.raises(ArgumentError, match="no weights: give float32 .1, 3., of each style"):
            runner(image)
        wrong = [np.ones(3, np.float32), np.ones((1, 2), np.float32), np.eye(3)[:1]]
    else:
        wrong = [np.ones((1, 1), np.float32)]
    for each in wrong:
        with pytest.raises(ArgumentError, match="weights"):
            runner(image, each)


def test_one_of_a_single_size_takes_no_other(made, rng):
    runner = made["tflite_fixed"]
    assert runner.size == SIZE
    with pytest.raises(ArgumentError, match="image of 40x24: the model takes 24x40 alone"):
        runner(batch(rng, 40, 24), *weights(runner))


def test_parts_of_an_image_come_out_as_the_whole_or_are_refused(runner, generator, rng):
    image, more = batch(rng, 64, 64), weights(runner)
    if not runner.can_tile:
        for call in (
            lambda: runner.statistics(image, *more),
            lambda: runner.stylize_part(image, np.zeros((2, 4), np.float32), *more),
        ):
            with pytest.raises(ArgumentError, match="no signatures for parts of an image"):
                call()
        return
    whole = runner(image, *more)
    found = runner.statistics(image, *more)
    expected = statistics.taken(generator, [image, *more])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-3, rtol=1e-3)
    # Of two windows together: those of either half are as good as of the whole.
    halves = runner.statistics(np.concatenate([image[:, :32], image[:, 32:]]), *more)
    assert halves.shape == found.shape
    np.testing.assert_allclose(runner.stylize_part(image, found, *more), whole, atol=1e-3)
    np.testing.assert_allclose(runner(image, *more), whole, atol=1e-6)
    part = runner.stylize_part(image[:, :48], found, *more)
    assert (part.shape, part.dtype) == ((1, 48, 64, 3), np.float32)
    # Of a part that begins elsewhere: far enough from its edge it is as in the whole.
    image = batch(rng, 128, 64)
    found = runner.statistics(image, *more)
    part = runner.stylize_part(image[:, 16:], found, *more, origin=(16, 0))
    np.testing.assert_allclose(part[:, 64:], runner(image, *more)[:, 80:], atol=1e-3)
    for wrong in (found[0], found[:1], found.astype(np.float64)):
        with pytest.raises(ArgumentError, match=r"statistics of shape .* give float32 \[2, C\]"):
            runner.stylize_part(image, wrong, *more)
    with pytest.raises(ArgumentError, match=r"give float32 \[N, H, W, 3\]"):
        runner.statistics(image[0], *more)


def test_those_that_can_work_on_parts_are_these(made):
    assert [kind for kind in KINDS if made[kind].can_tile] == ["keras", "tflite"]
    assert [kind for kind in KINDS if made[kind].keeps_memory] == [
        "tflite",
        "tflite_whole",
        "tflite_fixed",
    ]


def test_a_contract_without_a_model_cannot_be_made():
    with pytest.raises(TypeError, match="abstract"):
        Runner()
