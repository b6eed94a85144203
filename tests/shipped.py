"""The models that come with the project, whatever else lies in saved_models/ of a checkout."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
_SETUP = (ROOT / "setup.py").read_text(encoding="utf-8")
NAMES = ast.literal_eval(re.search(r"SHIPPED_MODELS = (\[.*?\])", _SETUP, re.DOTALL)[1])


def paths(pattern: str = "*") -> list[Path]:
    """What of the shipped models lies in saved_models/ under names of that pattern, sorted."""
    found = (ROOT / "saved_models").glob(pattern)
    return sorted(path for path in found if path.name.split(".")[0] in NAMES)
