from . import export as export, images as images
from .gatys import optimize as optimize
from .learning import learn as learn
from .stylize import load as load

__version__: str
