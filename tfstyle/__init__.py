"""Image style transfer with TensorFlow and Keras: train it, export it, apply it."""

import lazy_loader

from tfstyle import keras_settings, quiet

__version__ = "0.1.0"

# The names stand in __init__.pyi. What they need is imported when one is first used: `import
# tfstyle` alone takes no TensorFlow and no NumPy.
quiet.on_import("tensorflow")
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

keras_settings.settle_at_import()
