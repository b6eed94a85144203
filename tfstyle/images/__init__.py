"""Pictures: files, arrays, tensors, colour; the one owner of value ranges."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
