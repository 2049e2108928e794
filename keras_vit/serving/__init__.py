"""Serves an exported model, to develop clients with.

It serves one model on the loopback interface, over the session loader that TF Serving uses, so
that clients can be written and tried without it. It is not made for production: no batching of
requests, no encryption, no access control.
"""

from keras_vit.serving.limits import Limits, RequestError
from keras_vit.serving.model import ServedModel
from keras_vit.serving.server import ModelServer

__all__ = ["Limits", "ModelServer", "RequestError", "ServedModel"]
