"""The recipes: the systems that train, one file each.

In a checkout they lie in pipelines/ beside this package, and this file says so. A wheel carries
them here, with their own __init__.py in the place of this one (`package_dir` in setup.py).
"""

from pathlib import Path

__path__ = [str(Path(__file__).resolve().parents[2] / "pipelines")]
