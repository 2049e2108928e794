"""The Vision Transformer for Keras 3, in the manner of `keras.applications`.

`__init__.pyi` lists the public names. Each is there after `import keras_vit`, and its module is
loaded when the name is first used.
"""

import lazy_loader

from keras_vit.utils.startup import quiet_commands

quiet_commands()  # before Keras is imported, which imports TensorFlow

# These register layers, losses and optimizers: `keras.models.load_model` must find them.
from keras_vit import layers, models, recipes  # noqa: F401
from keras_vit.version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
