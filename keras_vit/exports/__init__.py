"""Writes a model as a file to deploy.

`export` writes one, and `report` measures what was written. `saved_model`, `onnx` and `tflite` are
the formats. Each is loaded when it is used: it needs packages that the others do not.
"""

from typing import TYPE_CHECKING

import lazy_loader

from keras_vit.exports.formats import FORMATS, export

if TYPE_CHECKING:
    from keras_vit.exports import onnx, report, saved_model, tflite

__all__ = ["FORMATS", "export", "onnx", "report", "saved_model", "tflite"]
__getattr__, *_ = lazy_loader.attach(__name__, ["onnx", "report", "saved_model", "tflite"])
