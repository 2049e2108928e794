"""The Vision Transformer for Keras 3, in the manner of `keras.applications`.

model = keras_vit.ViT_B16(weights="imagenet")
scores = model.predict(keras_vit.preprocess_input(images))  # [B, 224, 224, 3] in [0, 255]
keras_vit.decode_predictions(scores, top=3)
"""

# `__init__.pyi` lists the public names. The module of a name is loaded when it is first used.
import lazy_loader

from keras_vit.utils.startup import quiet_commands

quiet_commands()  # before Keras is imported, which imports TensorFlow

# These register layers, losses and optimizers: `keras.models.load_model` must find them.
from keras_vit import layers, models, recipes  # noqa: F401
from keras_vit.version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
