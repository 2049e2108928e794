"""Experiments of the papers that train many models: `data_scaling` and `vtab`."""

from keras_vit.experiments import data_scaling, vtab

__all__ = ["data_scaling", "vtab"]
