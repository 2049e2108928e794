"""Writes ONNX files."""
