"""Functional Keras builders: layers, generators, discriminators."""
