"""Packaging, as far as it is computed: the one statement of what tfstyle needs and of what its
wheel carries. What stands still is in pyproject.toml."""

import re
import tomllib
from pathlib import Path

from setuptools import find_packages, setup

# The models of saved_models/ that the wheel carries; the folder also holds what its user trained.
# .gitignore has a line for each, and a test compares the two.
SHIPPED_MODELS = ["starry_night", "ten_styles", "vangogh_gan"]

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "tfstyle/__init__.py").read_text())[1]

# Upper bounds stand where the next release may break what is used here.
TENSORFLOW = ">=2.21,<2.22"
VIDEO = "av>=14,<19"
CLAHE = "opencv-python-headless>=4.10,<6"
SERVING = ["aiohttp>=3.12,<4", "prometheus-client>=0.21,<1"]
HEIC = "pillow-heif>=1.1,<2"
C2PA = "c2pa-python>=0.38,<0.50"
EXPLAIN = ["scipy>=1.14,<2", "matplotlib>=3.9,<4", "jinja2>=3.1,<4"]

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY = PROJECT["urls"]["Repository"]


def with_absolute_links(markdown: str) -> str:
    """README.md as PyPI can show it, which has none of the files beside it.

    Links to pictures lead to the files themselves, others to the repository's page of a file.
    """
    raw = REPOSITORY.replace("//github.com/", "//raw.githubusercontent.com/")

    def absolute(match):
        is_picture = re.search(r"\.(jpg|png|gif|webp|svg)$", match["path"])
        return (
            f"{match['before']}{raw if is_picture else f'{REPOSITORY}/blob'}/main/{match['path']}"
        )

    before = r"""(?P<before>\]\(|^\[[^]]+\]: +|\b(?:src|href)=["'])"""
    path = r"""(?!\w+:|//|\#)(?:\./)?(?P<path>[^\s)"'>]+)"""
    text_and_code = re.split(r"(^```.*?^```)", markdown, flags=re.DOTALL | re.MULTILINE)
    for i in range(0, len(text_and_code), 2):
        text_and_code[i] = re.sub(before + path, absolute, text_and_code[i], flags=re.MULTILINE)
    return "".join(text_and_code)


# saved_models/ and pipelines/ lie beside the package, and within it in the wheel.
packages = {*find_packages(include=["tfstyle", "tfstyle.*"]), "tfstyle.pipelines"}
if (ROOT / "saved_models").is_dir():
    packages.add("tfstyle.saved_models")

setup(
    version=VERSION,
    long_description=with_absolute_links((ROOT / "README.md").read_text(encoding="utf-8")),
    long_description_content_type="text/markdown",
    packages=sorted(packages),
    package_dir={"tfstyle.saved_models": "saved_models", "tfstyle.pipelines": "pipelines"},
    package_data={
        "tfstyle": ["assets/*.npz", "assets/photos/*.jpg", "py.typed"],
        "": ["*.pyi"],  # the faces of the rooms are read from them
        "tfstyle.web": ["static/*", "static/litert/*"],
        "tfstyle.saved_models": [
            pattern for name in SHIPPED_MODELS for pattern in (f"{name}.*", f"{name}/**/*")
        ],
    },
    include_package_data=False,
    install_requires=[
        f"tensorflow{TENSORFLOW}",
        "keras>=3.15,<4",
        "tensorflow-datasets>=4.9.10,<5",
        "importlib_resources>=6,<8",  # tensorflow-datasets 4.9.10 imports it, and forgets to ask
        "tensorboard>=2.20,<3",  # tf.summary needs it; tensorflow 2.21 no longer asks for it
        "tensorflow-serving-api>=2.21,<2.22",  # 30 kB of message definitions; warm-up records
        "grpcio>=1.68,<2",
        "protobuf>=6.31,<8",
        "requests>=2.32,<3",
        "docstring_parser>=0.16,<1",  # help of flags out of docstrings
        "ai-edge-litert>=2.1,<3",
        "numpy>=2,<3",
        "absl-py>=2,<3",
        "anyascii>=0.3,<1",  # names of models out of names in any script
        "lazy-loader>=0.4,<1",  # the faces of the rooms
        "google-crc32c>=1.5,<2",
        "pillow>=11.3,<14",
        "platformdirs>=4,<5",  # where what a user taught lies, on each system
        "psutil>=6,<8",
        "scikit-image>=0.25,<1",  # finds faces
        "tqdm>=4.66,<5",
        "wrapt>=1.16,<3",  # a word when keras is imported; tensorflow needs it too
    ],
    extras_require={
        "gpu": [f"tensorflow[and-cuda]{TENSORFLOW}"],
        "video": [VIDEO],
        "clahe": [CLAHE],
        "camera": [CLAHE],
        "explain": EXPLAIN,
        "serving": SERVING,
        "heic": [HEIC],
        "c2pa": [C2PA],
        "test": [
            "pytest>=8,<10",
            "pytest-xdist>=3.6,<4",
            "hypothesis>=6,<7",
            "ruff>=0.12,<1",
            "mypy>=1.15,<2",
            "types-grpcio>=1,<2",
            "types-protobuf>=6,<8",
            "types-psutil>=6,<8",
            "types-requests>=2.32,<3",
            "types-tqdm>=4.66,<5",
            "saliency>=0.2.1,<0.3",  # what integrated gradients are tested against
            "playwright>=1.50,<2",  # drives an installed Chromium through the page of tfstyle.web
            VIDEO,
            CLAHE,
            HEIC,
            C2PA,
            *EXPLAIN,
            *SERVING,
            "ovmsclient>=2023.1,<2024",  # a client that nobody here wrote
            "pyyaml>=6,<7",  # reads deploy/*.yaml
        ],
    },
)
