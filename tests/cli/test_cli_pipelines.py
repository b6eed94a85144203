"""Finding the recipes: by name, without importing what they need."""

import subprocess
import sys
from pathlib import Path

import pytest

from tfstyle.cli import pipelines
from tfstyle.errors import ArgumentError

ROOT = Path(__file__).parents[2]
FILES = {path.stem for path in (ROOT / "pipelines").glob("[!_]*.py")}


def test_every_file_of_the_folder_is_a_recipe_with_a_name_and_a_summary():
    assert pipelines.names() == sorted(FILES)
    for name in pipelines.names():
        first = (ROOT / f"pipelines/{name}.py").read_text(encoding="utf-8").splitlines()[0]
        assert pipelines.summary(name) == first.removeprefix('"""').removesuffix('"""')


def test_names_and_summaries_import_neither_recipes_nor_tensorflow():
    code = """
import sys
from tfstyle.cli import pipelines
for name in pipelines.names():
    assert pipelines.summary(name)
assert not {"tensorflow", "keras", "numpy", "pipelines"} & sys.modules.keys()
assert not [name for name in sys.modules if name.startswith("tfstyle.pipelines.")]
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)


@pytest.mark.parametrize("name", sorted(FILES))
def test_the_module_is_the_one_of_this_checkout(name):
    module = pipelines.module(name)
    assert Path(module.__file__) == ROOT / "pipelines" / f"{name}.py"
    assert module.__name__ == f"tfstyle.pipelines.{name}"
    assert callable(module.train)


@pytest.mark.parametrize("name", ["", "slow", "__init__", "fast.train", "../fast", "os"])
@pytest.mark.parametrize("find", [pipelines.module, pipelines.summary])
def test_another_name_is_an_error_that_lists_those_there_are(name, find):
    with pytest.raises(ArgumentError, match=r"there is none.*clahe, .*fast, .*or style_class"):
        find(name)
