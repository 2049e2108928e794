"""On which devices to train, and in which precision.

docs/distribution.md says what works and what was tested. On TensorFlow `strategy` and `fit` train
on several devices and machines:

    strategy = keras_vit.distribution.strategy("mirrored")
    with strategy.scope():
        model = keras_vit.ViT_B16(dtype=keras_vit.distribution.default_precision(strategy))
        model.compile(**recipe.compile_args())
    keras_vit.distribution.fit(model, batches, steps=recipe.total_steps, strategy=strategy)

On JAX set a distribution first, then train with the plain `model.fit`:

    keras.distribution.set_distribution(keras_vit.distribution.data_parallel())
"""

from keras_vit.distribution.defaults import default_jit, default_precision
from keras_vit.distribution.evaluation import Evaluation
from keras_vit.distribution.fit_loop import fit
from keras_vit.distribution.jax_sharding import data_parallel, model_parallel, shard_shapes
from keras_vit.distribution.processes import any_process, is_chief
from keras_vit.distribution.strategies import STRATEGIES, automatic, strategy
from keras_vit.distribution.train_step import TrainStep

__all__ = [
    "Evaluation",
    "STRATEGIES",
    "TrainStep",
    "any_process",
    "automatic",
    "data_parallel",
    "default_jit",
    "default_precision",
    "fit",
    "is_chief",
    "model_parallel",
    "shard_shapes",
    "strategy",
]
