"""Loss and metrics on any strategy; every image counts once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras


class Evaluation:
    """Evaluates a compiled model on all replicas of its strategy.

    Keras's own `evaluate` does not run on several machines. It also computes a loss of 0/0 on a
    replica that gets no image of the last batch. This class fills batches up with images of weight
    0, so that all have one size, as TPUs need it.

    Args:
        model: Built and compiled inside `strategy.scope()`, with its metrics as
            `weighted_metrics`: Keras's other metrics ignore the weights of images.
        strategy: A `tf.distribute` strategy.
        jit_compile: Whether XLA compiles the forward pass.
    """

    def __init__(self, model: keras.Model, strategy: Any, jit_compile: bool = False) -> None:
        import tensorflow as tf

        self.model: Any = model
        self.strategy = strategy
        options: dict[str, Any] = {"autograph": False}
        self._forward = forward_pass(model, jit_compile)
        self._step = tf.function(
            lambda batch: self.strategy.run(self._replica, args=(batch,)), **options
        )
        self._results = tf.function(self.model.get_metrics_result, **options)

    def __call__(
        self, dataset: Any, batch_size: int, on_batch: Callable[[int], None] = lambda _: None
    ) -> dict[str, float]:
        """The loss and the metrics by name: means over all images.

        Args:
            dataset: A `tf.data.Dataset` of batches `(images, labels)`. On several machines every
                process makes the same one and calls this.
            batch_size: Images of a batch, at most.
            on_batch: Called after each batch with its number.
        """
        replicas = self.strategy.num_replicas_in_sync
        whole = filled_up(dataset, -(-batch_size // replicas) * replicas)
        self.model.reset_metrics()
        for number, batch in enumerate(self.strategy.experimental_distribute_dataset(whole)):
            self._step(batch)
            on_batch(number)
        return {name: float(value) for name, value in self._results().items()}

    def _replica(self, batch: Any) -> None:
        import tensorflow as tf

        images, labels, weights = batch
        outputs = self._forward(images)
        loss = self.model.compute_loss(images, labels, outputs, weights, training=False)
        # Keras has divided the sum by all places in the batches of all replicas, filled or not.
        places = self.strategy.num_replicas_in_sync * weights.shape[0]
        count = tf.reduce_sum(weights)
        mean = tf.math.divide_no_nan(tf.cast(loss, "float32") * places, count)
        next(m for m in self.model.metrics if m.name == "loss").update_state(
            mean, sample_weight=count
        )
        self.model.compute_metrics(images, labels, outputs, weights)


def forward_pass(model: Any, jit_compile: bool = False) -> Callable[[Any], Any]:
    """What a model computes for a batch of images, compiled.

    Args:
        model: Any that takes images.
        jit_compile: Whether XLA compiles on TensorFlow; on JAX it always does.
    """
    if keras.backend.backend() != "tensorflow":
        return model.predict_on_batch
    import tensorflow as tf

    options: dict[str, Any] = {"jit_compile": jit_compile or None, "autograph": False}
    # The second size of a batch is traced for all sizes; XLA compiles each.
    options["reduce_retracing"] = not jit_compile
    return tf.function(lambda images: model(images, training=False), **options)


def filled_up(dataset: Any, size: int) -> Any:
    """Batches of one size: `(images, labels, weights)`; images that fill up have weight 0."""
    import tensorflow as tf

    def fill(*parts: Any) -> Any:
        count = tf.shape(parts[0])[0]
        rows = [
            tf.ensure_shape(
                tf.pad(part, [[0, size - count]] + [[0, 0]] * (len(part.shape) - 1)),
                (size, *part.shape[1:]),
            )
            for part in parts
        ]
        return *rows, tf.cast(tf.range(size) < count, "float32")

    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.map(fill).with_options(options)
