"""Writes TFLite files."""
