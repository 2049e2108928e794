"""Experiments of the papers that train many models."""
