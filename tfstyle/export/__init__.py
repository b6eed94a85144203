"""A trained generator as SavedModel and TFLite, beside a card that says how it was made."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
