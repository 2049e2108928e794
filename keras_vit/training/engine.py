"""How the loop runs a step: as Keras does on one device, by our own step on several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_vit.distribution import Evaluation, TrainStep, any_process
from keras_vit.distribution.hardware import Hardware
from keras_vit.models.input_and_head import ends_in_probabilities
from keras_vit.recipes import Recipe

ONE_DEVICE = Hardware()


class OneDevice:
    """Keras's own step and evaluation; the optimizer accumulates gradients.

    Args:
        model: Compiled.
        hardware: What it is trained on.

    Attributes:
        batches_per_call: Batches of the data that `train` takes at a time.
        writes: Whether this process is the one that writes files and lines.
    """

    batches_per_call = 1
    writes = True

    def __init__(self, model: keras.Model, hardware: Hardware = ONE_DEVICE) -> None:
        self.model: Any = model
        self.hardware = hardware

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
        hardware: With a strategy, of one device too.
        accumulate: Batches of the data for each step.
    """

    def __init__(self, model: keras.Model, hardware: Hardware, accumulate: int) -> None:
        super().__init__(model, hardware)
        strategy = hardware.strategy
        self.step = TrainStep(model, strategy, accumulate=accumulate, jit_compile=hardware.xla)
        self.evaluation = Evaluation(model, strategy, self.step.jit_compile)
        self.batches_per_call = accumulate
        self.writes = hardware.is_chief

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
        return any_process(self.hardware.strategy, flag)


def compiled(model: keras.Model, recipe: Recipe, hardware: Hardware, accumulate: int) -> OneDevice:
    """Compiles a model by a recipe, and returns what trains it; its optimiser is built.

    Args:
        model: Made in the scope of the strategy.
        recipe: Its labels are those of the data.
        hardware: What to train on.
        accumulate: Batches of the data for each step.
    """
    from_logits = not ends_in_probabilities(model)
    with hardware.scope():
        if hardware.strategy is None:
            in_optimizer = accumulate if accumulate > 1 else None
            xla = "auto" if hardware.xla is None else hardware.xla
            model.compile(**recipe.compile_args(from_logits, xla, in_optimizer))
            optimizer: Any = model.optimizer
            optimizer.build(model.trainable_variables)
            return OneDevice(model, hardware)
        # `TrainStep` and `Evaluation` use XLA themselves, and count every image once.
        args = recipe.compile_args(from_logits, jit_compile=False)
        model.compile(weighted_metrics=args.pop("metrics"), **args)
    return SeveralDevices(model, hardware, accumulate)
