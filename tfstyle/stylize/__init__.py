"""Applying a model: one callable over all artifacts, and the finding of them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
