"""How the loop runs a step: as Keras does on one device, by our own step on several."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import keras


def scope(strategy: Any) -> Any:
    """Where variables are made and assigned; of no strategy: anywhere."""
    return contextlib.nullcontext() if strategy is None else strategy.scope()


class OneDevice:
    """Keras's own step and evaluation; what is accumulated is accumulated in the optimizer.

    Attributes:
        strategy: Of `tf.distribute`, or `None`.
        batches_per_call: Batches of the data that `train` takes at a time.
        writes: Whether this process is the one that writes files and lines.
    """

    strategy: Any = None
    batches_per_call = 1
    writes = True

    def __init__(self, model: keras.Model) -> None:
        self.model: Any = model

    def distribute(self, dataset: Any) -> Any:
        """The batches that `train` takes, from those of the data."""
        if keras.backend.backend() == "tensorflow":
            return dataset
        return dataset.as_numpy_iterator()

    def train(self, batch: Any) -> dict[str, Any]:
        """Trains on a batch: loss and metrics, means over it."""
        return self.model.train_on_batch(*batch, return_dict=True)

    def evaluate(
        self, dataset: Any, batch_size: int, on_batch: Callable[[int], None] = lambda _: None
    ) -> dict[str, float]:
        """Loss and metrics, means over a data set; `on_batch` is called after each batch."""
        values = self.model.evaluate(
            dataset, callbacks=[_AfterBatch(on_batch)], verbose=0, return_dict=True
        )
        return {name: float(value) for name, value in values.items()}

    def any_process(self, flag: bool) -> bool:
        """Whether any process says yes."""
        return flag


class _AfterBatch(keras.callbacks.Callback):
    def __init__(self, call: Callable[[int], None]) -> None:
        super().__init__()
        self.call = call

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self.call(batch)


class SeveralDevices(OneDevice):
    """Our own step and evaluation under a `tf.distribute` strategy.

    Args:
        model: Compiled in the strategy's scope, with its metrics as `weighted_metrics`.
        strategy: Of one device too.
        accumulate: Batches of the data for each step.
        jit_compile: As in `keras_vit.distribution.TrainStep`.
    """

    def __init__(
        self, model: keras.Model, strategy: Any, accumulate: int, jit_compile: bool | None
    ) -> None:
        from keras_vit import distribution

        super().__init__(model)
        self.strategy = strategy
        self.step = distribution.TrainStep(
            model, strategy, accumulate=accumulate, jit_compile=jit_compile
        )
        self.evaluation = distribution.Evaluation(model, strategy, self.step.jit_compile)
        self.batches_per_call = accumulate
        self.writes = distribution.is_chief(strategy)

    def distribute(self, dataset: Any) -> Any:
        import tensorflow as tf

        count = self.batches_per_call
        if count > 1:

            def joined(*parts: Any) -> Any:
                return tuple(tf.concat(tf.unstack(part), 0) for part in parts)

            dataset = dataset.batch(count, drop_remainder=True).map(joined, tf.data.AUTOTUNE)
        return self.step.distribute(dataset)

    def train(self, batch: Any) -> dict[str, Any]:
        self.model.reset_metrics()
        self.step(batch)
        return dict(sorted(self.step.metrics().items()))  # in Keras's order

    def evaluate(
        self, dataset: Any, batch_size: int, on_batch: Callable[[int], None] = lambda _: None
    ) -> dict[str, float]:
        return dict(sorted(self.evaluation(dataset, batch_size, on_batch).items()))

    def any_process(self, flag: bool) -> bool:
        from keras_vit import distribution

        return distribution.any_process(self.strategy, flag)


def compiled(
    model: keras.Model,
    args: dict[str, Any],
    strategy: Any,
    accumulate: int,
    jit_compile: bool | str,
) -> OneDevice:
    """Compiles a model, makes the variables of its optimiser, and returns what trains it.

    Args:
        model: Made in the scope of the strategy.
        args: Of `keras.Model.compile`.
        strategy: Of `tf.distribute`, or `None` for Keras's own step.
        accumulate: Batches of the data for each step, under a strategy; else the optimiser knows.
        jit_compile: Whether XLA compiles; `"auto"`: on GPUs.
    """
    if strategy is None:
        if jit_compile != "auto":
            args["jit_compile"] = jit_compile
        model.compile(**args)
        optimizer: Any = model.optimizer
        optimizer.build(model.trainable_variables)
        return OneDevice(model)
    args["weighted_metrics"] = args.pop("metrics", None)
    with scope(strategy):
        # Our step and evaluation have XLA of their own.
        model.compile(**{**args, "jit_compile": False})
    xla = None if jit_compile == "auto" else bool(jit_compile)
    return SeveralDevices(model, strategy, accumulate, xla)
