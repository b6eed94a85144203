import numpy as np
import pytest
from PIL import Image

from tfstyle import images
from tfstyle.data import drawn, samples


@pytest.mark.parametrize("name", drawn.STYLES)
@pytest.mark.parametrize("size", [16, 64, 97])
def test_a_style_has_the_size_asked_for_and_the_range_of_an_image(name, size):
    image = drawn.style(name, size)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.float32
    assert 0 <= image.min() and image.max() <= 1
    assert image.std() > 0.1


@pytest.mark.parametrize("name", drawn.STYLES)
def test_a_style_is_the_same_for_a_seed_and_another_for_another_seed(name):
    image = drawn.style(name, 64, seed=3)
    again = drawn.style.__wrapped__(name, 64, seed=3)  # tests keep what was drawn
    np.testing.assert_array_equal(image, again)
    assert np.abs(image - drawn.style(name, 64, seed=4)).mean() > 0.05


@pytest.mark.parametrize("name", drawn.STYLES)
def test_a_style_looks_the_same_at_another_size(name):
    large = drawn.style(name, 192)
    small = drawn.style(name, 96)
    shrunk = large.reshape(96, 2, 96, 2, 3).mean((1, 3))
    assert np.corrcoef(shrunk.ravel(), small.ravel())[0, 1] > 0.93


def test_the_styles_are_distinct_and_textured_at_several_scales():
    found = [drawn.style(name, 128) for name in drawn.STYLES]
    for i, one in enumerate(found):
        for other in found[:i]:
            assert np.abs(one - other).mean() > 0.1
        grey = one.mean(-1)
        for block in (1, 2, 4, 8):
            coarse = grey.reshape(128 // block, block, 128 // block, block).mean((1, 3))
            assert np.abs(np.diff(coarse, axis=0)).mean() > 0.02


def test_an_unknown_style_names_those_there_are():
    with pytest.raises(ValueError, match=r"'cubism'.*swirls"):
        drawn.style("cubism")


@pytest.mark.parametrize("size", [0, 15, 2049])
def test_a_size_out_of_range_is_refused_with_the_range(size):
    with pytest.raises(ValueError, match=rf"size {size}.*16 to 2048"):
        drawn.style("woodcut", size)


def test_every_bundled_photo_is_read_at_its_size():
    paths = samples.photo_paths()
    assert len(paths) >= 5
    for path in paths:
        image = samples.photo(path.stem)
        with Image.open(path) as file:
            assert image.shape == (file.height, file.width, 3)
        assert image.dtype == np.float32
        assert 0 <= image.min() < 0.2 and 0.8 < image.max() <= 1
    assert sum(path.stat().st_size for path in paths) < 400_000


def test_an_unknown_photo_names_those_there_are():
    with pytest.raises(ValueError, match=r"'mona_lisa'.*astronaut"):
        samples.photo("mona_lisa")


def test_crops_are_the_middle_squares_of_all_photos():
    crops = samples.crops(40)
    assert crops.shape == (len(samples.photo_paths()), 40, 40, 3)
    chelsea = samples.photo("chelsea")
    left = (chelsea.shape[1] - chelsea.shape[0]) // 2
    square = images.resize(chelsea[:, left : left + chelsea.shape[0]], (40, 40))
    index = [path.stem for path in samples.photo_paths()].index("chelsea")
    np.testing.assert_array_equal(crops[index], square)


def test_write_styles_draws_what_is_missing(tmp_path):
    folder = drawn.write_styles(tmp_path / "a" / "b", "woodcut", count=2, size=32)
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == ["woodcut_0.png", "woodcut_1.png"]
    np.testing.assert_allclose(
        images.read(files[1]), drawn.style("woodcut", 32, seed=1), atol=0.5 / 255 + 1e-6
    )
    files[0].unlink()
    images.write(files[1], np.zeros((4, 4, 3), "float32"))
    drawn.write_styles(folder, "woodcut", count=2, size=32)
    assert files[0].exists()
    assert images.read(files[1]).shape == (4, 4, 3)
