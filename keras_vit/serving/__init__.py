"""Serves an exported model, to develop clients with.

It serves one model on the loopback interface, with the session loader that TF Serving uses. You
can write and try clients without TF Serving. It is not made for production: no batching of
requests, no encryption, no access control.
"""

from keras_vit.serving.limits import Limits, RequestError
from keras_vit.serving.model import ServedModel
from keras_vit.serving.server import ModelServer

__all__ = ["Limits", "ModelServer", "RequestError", "ServedModel"]
