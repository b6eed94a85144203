"""Packaging; the one statement of what tfstyle needs and of what its wheel carries."""

import re
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
C2PA = "c2pa-python>=0.38,<0.50"
EXPLAIN = ["scipy>=1.14,<2", "matplotlib>=3.9,<4", "jinja2>=3.1,<4"]

packages = find_packages(include=["tfstyle", "tfstyle.*"])
if (ROOT / "saved_models").is_dir():
    packages.append("tfstyle.saved_models")

setup(
    name="tfstyle",
    version=VERSION,
    description="Image style transfer with TensorFlow and Keras: train it, export it, apply it",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE", "NOTICE"],
    python_requires=">=3.11,<3.14",
    packages=packages,
    package_dir={"tfstyle.saved_models": "saved_models"},
    package_data={
        "tfstyle": ["assets/*.npz", "assets/photos/*.jpg"],
        "": ["*.pyi"],  # the faces of the rooms are read from them
        "tfstyle.web": ["static/*", "static/litert/*"],
        "tfstyle.saved_models": [
            pattern for name in SHIPPED_MODELS for pattern in (f"{name}.*", f"{name}/**/*")
        ],
    },
    include_package_data=False,
    entry_points={"console_scripts": ["tfstyle = tfstyle.cli:main"]},
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
        "ai-edge-litert>=2.1,<3",
        "numpy>=2,<3",
        "absl-py>=2,<3",
        "lazy-loader>=0.4,<1",  # the faces of the rooms
        "google-crc32c>=1.5,<2",
        "pillow>=11.3,<14",
        "psutil>=6,<8",
        "tqdm>=4.66,<5",
    ],
    extras_require={
        "gpu": [f"tensorflow[and-cuda]{TENSORFLOW}"],
        "video": [VIDEO],
        "clahe": [CLAHE],
        "camera": [CLAHE],
        "explain": EXPLAIN,
        "serving": SERVING,
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
            C2PA,
            *EXPLAIN,
            *SERVING,
            "ovmsclient>=2023.1,<2024",  # a client that nobody here wrote
            "pyyaml>=6,<7",  # reads deploy/*.yaml
        ],
    },
)
