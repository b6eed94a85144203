"""Image style transfer with TensorFlow and Keras: train it, export it, apply it."""

__version__ = "0.1.0"
