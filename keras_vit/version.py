"""The version of keras_vit."""

__version__ = "0.1.0"
