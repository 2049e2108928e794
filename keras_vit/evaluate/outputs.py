"""The outputs of a model for a data set, on one device or any strategy, on either backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from keras_vit.distribution.evaluation import filled_up, forward_pass


def outputs(
    model: Any,
    dataset: Any,
    batch_size: int,
    strategy: Any = None,
    jit_compile: bool = False,
) -> Iterator[tuple[np.ndarray, ...]]:
    """The outputs, batch by batch; every image counts once.

    All batches have one size, because XLA and TPUs need that: images whose outputs are discarded
    fill up the last batch.

    Args:
        model: A model of one input and one output, built in the scope of the strategy, if any.
        dataset: A `tf.data.Dataset` of tuples `(image, ...)`, one by one. On several machines
            every process makes the same one and calls this.
        batch_size: Images of a batch, on all devices together; rounded up to a multiple of them.
        strategy: A `tf.distribute` strategy. Default: one device.
        jit_compile: Whether XLA compiles on TensorFlow; on JAX it always does.

    Yields:
        `(outputs, ...)`, `[B, ...]` each: the outputs of a batch, and what came with its images.
        Under a strategy of several machines the order within a batch is that of the devices.
    """
    import tensorflow as tf

    replicas = 1 if strategy is None else strategy.num_replicas_in_sync
    size = -(-batch_size // replicas) * replicas
    batches = filled_up(dataset.batch(size), size).prefetch(tf.data.AUTOTUNE)
    forward = forward_pass(model, jit_compile)
    made = _on_one(batches, forward) if strategy is None else _on_all(batches, forward, strategy)
    for result, *rest, weights in made:
        there = weights > 0
        yield tuple(part[there] for part in (result, *rest))


def _on_one(batches: Any, forward: Callable[[Any], Any]) -> Iterator[tuple[np.ndarray, ...]]:
    for images, *rest in batches.as_numpy_iterator():
        yield np.asarray(keras.ops.convert_to_numpy(forward(images))), *rest


def _on_all(
    batches: Any, forward: Callable[[Any], Any], strategy: Any
) -> Iterator[tuple[np.ndarray, ...]]:
    import tensorflow as tf

    def replica(images: Any, *rest: Any) -> Any:
        return forward(images), *rest

    options: dict[str, Any] = {"autograph": False}
    step = tf.function(lambda batch: strategy.run(replica, args=batch), **options)
    for batch in strategy.experimental_distribute_dataset(batches):
        yield tuple(strategy.gather(part, axis=0).numpy() for part in step(batch))
