"""What is published: metadata, the wheel, the description, and what CI runs."""

import json
import os
import pkgutil
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
import types
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY = PROJECT["urls"]["Repository"]
RELATIVE = r"""(?:\]\(|^\[[^]]+\]: +|\b(?:src|href)=["'])(?!\w+:|//|#)([^\s)"'#>]+)"""
DOCUMENTS = [
    *(path for path in sorted(ROOT.glob("*.md")) if path.name != "CHANGELOG.md"),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "NOTICE",
    ROOT / "deploy/device.txt",
]


@pytest.fixture(scope="module")
def setup():
    """(what setup.py hands to setuptools, its other names). A stand-in runs it in no time."""
    given = {}
    fake = types.ModuleType("setuptools")
    fake.find_packages = lambda include: ["tfstyle"]
    fake.setup = given.update
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "setuptools", fake)
        names = runpy.run_path(str(ROOT / "setup.py"))
    return given, names


def test_every_field_is_stated_once_in_pyproject_or_in_setup(setup):
    computed = {
        "version": "version",
        "long_description": "readme",
        "install_requires": "dependencies",
        "extras_require": "optional-dependencies",
    }
    files = {"packages", "package_dir", "package_data", "include_package_data"}
    assert setup[0].keys() == computed.keys() | files | {"long_description_content_type"}
    assert sorted(PROJECT["dynamic"]) == sorted(computed.values())
    assert not PROJECT.keys() & set(PROJECT["dynamic"])


def test_the_urls_lie_below_the_repository():
    assert all(url.startswith(REPOSITORY) for url in PROJECT["urls"].values())
    for url in PROJECT["urls"].values():
        if path := url.partition("/main/")[2]:
            assert (ROOT / path).exists(), url


def test_type_checkers_are_told_that_there_are_types(setup):
    assert (ROOT / "tfstyle/py.typed").is_file()
    assert "py.typed" in setup[0]["package_data"]["tfstyle"]
    assert "Typing :: Typed" in PROJECT["classifiers"]


def _pythons() -> list[str]:
    prefix = "Programming Language :: Python :: "
    names = [line.removeprefix(prefix) for line in PROJECT["classifiers"] if prefix in line]
    return [name for name in names if re.fullmatch(r"3\.\d+", name)]


def test_the_pythons_are_the_same_wherever_they_stand():
    first, last = (int(minor) for minor in re.findall(r"3\.(\d+)", PROJECT["requires-python"]))
    assert _pythons() == [f"3.{minor}" for minor in range(first, last)]
    makefile = (ROOT / "Makefile").read_text()
    tried = re.findall(r"\bpython(3\.\d+)\b", re.search(r"for python in .*", makefile)[0])
    assert tried == _pythons()
    assert f"(3, {first}) <= sys.version_info[:2] <= (3, {last - 1})" in makefile


def test_links_of_the_description_lead_to_the_repository(setup):
    text = """
[![Ten](docs/ten.jpg "Ten")](docs/models.md#ten) and [more](./docs/more.md), [away](https://x.org/a.jpg)
[a place](#here) [cited][1] <img alt="x" src="docs/x.png" width="1"> <a href='LICENSE'>it</a>

[1]: docs/cited.md
```
sizes[0](docs/code.md) [kept](docs/kept.md)
```
![After](docs/after.jpg)
"""
    raw = REPOSITORY.replace("github.com", "raw.githubusercontent.com") + "/main/docs/"
    page = REPOSITORY + "/blob/main/"
    assert (
        setup[1]["with_absolute_links"](text)
        == f"""
[![Ten]({raw}ten.jpg "Ten")]({page}docs/models.md#ten) and [more]({page}docs/more.md), [away](https://x.org/a.jpg)
[a place](#here) [cited][1] <img alt="x" src="{raw}x.png" width="1"> <a href='{page}LICENSE'>it</a>

[1]: {page}docs/cited.md
```
sizes[0](docs/code.md) [kept](docs/kept.md)
```
![After]({raw}after.jpg)
"""
    )


def test_the_description_has_no_relative_link_and_readme_none_that_leads_nowhere(setup):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(RELATIVE, readme, re.MULTILINE)
    assert [link for link in links if link.endswith(".jpg")]
    assert not [link for link in links if not (ROOT / link).exists()]
    assert not re.findall(RELATIVE, setup[0]["long_description"], re.MULTILINE)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_only_files_and_modules_that_there_are(path):
    text = path.read_text(encoding="utf-8")
    tops = "tfstyle|tests|pipelines|benchmarks|docs|deploy|\\.github"
    paths = re.findall(rf"(?<![\w./:-])((?:{tops})/[\w./*-]*)", text)
    # What the reader is to make is called NAME and has no file yet.
    named = {name.rstrip(".") for name in paths if "NAME" not in name}
    missing = [name for name in sorted(named) if not list(ROOT.glob(name))]
    assert not missing, f"{path.name} names {missing}"
    dotted = re.findall(r"(?<![\w./:@-])((?:tfstyle|pipelines)(?:\.\w+)+)(?![\w/@-])", text)
    for package, members in re.findall(
        r"^from ((?:tfstyle|pipelines)[\w.]*) import (.+)", text, re.M
    ):
        dotted += [f"{package}.{member}" for member in re.findall(r"\w+", members)]
    for name in {name for name in dotted if not name.endswith(".NAME")}:
        try:
            pkgutil.resolve_name(name)
        except (ImportError, AttributeError) as error:
            pytest.fail(f"{path.name} names {name}: {error}")


def test_ci_runs_lint_and_tests_on_the_oldest_and_the_newest_python():
    text = (ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["cancel-in-progress"]
    # YAML 1.1 reads the key "on" as true.
    assert {"push", "pull_request"} <= workflow[True].keys()
    (job,) = workflow["jobs"].values()
    assert job["strategy"]["matrix"]["python"] == [_pythons()[0], _pythons()[-1]]
    assert [step["run"] for step in job["steps"] if "run" in step] == ["make lint", "make test"]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"lint", "test"} <= set(targets)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy: a build leaves folders behind, and takes up what an earlier one left."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("tfstyle", "pipelines", "saved_models"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=ignored)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, folder / "source")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", folder, "."]
    subprocess.run(command, cwd=folder / "source", check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.slow
def test_the_wheel_carries_weights_photos_models_faces_and_recipes(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "tfstyle/__init__.pyi",
        "tfstyle/py.typed",
        "tfstyle/images/__init__.pyi",
        "tfstyle/training/steps/__init__.pyi",
        "tfstyle/assets/vgg16_imagenet.npz",
        "tfstyle/assets/photos/chelsea.jpg",
        "tfstyle/pipelines/fast.py",
        "tfstyle/saved_models/starry_night.tflite",
        "tfstyle/saved_models/starry_night.json",
        "tfstyle/saved_models/starry_night/1/saved_model.pb",
        "tfstyle/web/static/index.html",
        "tfstyle/web/static/litert/litert_wasm_threaded_internal.wasm",
        "tfstyle/web/static/litert/LICENSES.txt",
    } <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"tfstyle"}


@pytest.mark.slow
def test_the_metadata_of_the_wheel_is_complete(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("dist-info/METADATA")]
        metadata = message_from_bytes(archive.read(name))
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE", "NOTICE"]
    assert set(metadata["Requires-Python"].split(",")) == set(PROJECT["requires-python"].split(","))
    assert metadata.get_all("Classifier") == PROJECT["classifiers"]
    assert f"Repository, {REPOSITORY}" in metadata.get_all("Project-URL")
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert not re.findall(RELATIVE, metadata.get_payload(), re.MULTILINE)
    assert {"gpu", "video", "explain", "serving", "test"} <= set(metadata.get_all("Provides-Extra"))


@pytest.mark.slow
def test_an_installed_wheel_loads_its_models_and_runs_its_recipes(wheel, tmp_path):
    target = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "-q", "--target", target, wheel]
    subprocess.run(command, check=True, capture_output=True)

    def python(*arguments):
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(target)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    code = """
import json, tfstyle, tfstyle.stylize
from tfstyle.cli import pipelines
files = [tfstyle.__file__, pipelines.module("fast").__file__]
files += [card["paths"]["card"] for card in tfstyle.stylize.shipped_models()]
tfstyle.load("starry_night")
print(json.dumps([files, {name: pipelines.summary(name) for name in pipelines.names()}]))
"""
    files, summaries = python("-c", code)
    assert all(Path(file).is_relative_to(target) for file in files)
    assert {"fast", "gan", "fusion"} <= summaries.keys() and all(summaries.values())
    options = python("-m", "tfstyle.pipelines.fast", "--dry_run", "--steps=7")
    assert (options["steps"], options["style"]) == (7, "swirls")
