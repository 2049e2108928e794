"""Files to deploy a model with: a SavedModel, TFLite, ONNX."""
