"""A short `fit` around `TrainStep`, with Keras's callbacks and history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_vit.distribution.processes import is_chief, losses_are_told, several_processes
from keras_vit.distribution.train_step import TrainStep


def fit(
    model: keras.Model,
    dataset: Any,
    steps: int,
    strategy: Any = None,
    *,
    epochs: int = 1,
    accumulate: int = 1,
    jit_compile: bool | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    validation_data: Any = None,
    verbose: str | int = "auto",
) -> keras.callbacks.History:
    """Trains on any strategy; the losses are those of one device.

        strategy = keras_vit.distribution.strategy("mirrored")
        with strategy.scope():
            model = keras_vit.ViT_B16(classes=37, **recipe.model_args())
            model.compile(**recipe.compile_args())
        keras_vit.distribution.fit(model, batches.repeat(), recipe.total_steps, strategy)

    Args:
        model: As for `TrainStep`.
        dataset: Whole batches, as for `TrainStep.distribute`, enough for all steps.
        steps: Updates in all; a multiple of `epochs`.
        strategy: A `tf.distribute` strategy. Default: that of the model.
        epochs: Parts of the training. Each ends with validation, the callbacks' `on_epoch_end`
            and an entry in the history.
        accumulate: Micro-batches of a replica; see `TrainStep`.
        jit_compile: See `TrainStep`.
        callbacks: Callbacks of Keras. On several machines only the chief may have those that
            write files: `is_chief(strategy)`.
        validation_data: Data for `model.evaluate` after each epoch. On several machines Keras
            cannot evaluate, so leave it out.
        verbose: 0 silent, 1 a bar, 2 a line per epoch; `"auto"` a bar, on the chief only.

    Returns:
        The history: lists with an entry per epoch.

    Raises:
        ValueError: If an argument is out of its range or the data end too early.
        keras_vit.training.PreemptedError: If another process of the training is gone.
    """
    if steps < 1 or epochs < 1 or steps % epochs:
        raise ValueError(
            "`steps` must be a positive multiple of `epochs`. Received: "
            f"steps={steps}, epochs={epochs}"
        )
    step = TrainStep(model, strategy, accumulate=accumulate, jit_compile=jit_compile)
    if validation_data is not None and several_processes(step.strategy):
        raise ValueError(
            "Keras cannot evaluate under MultiWorkerMirroredStrategy. Evaluate a saved model in "
            "one process. Received: validation_data with a strategy of several processes"
        )
    show = int(is_chief(step.strategy)) if verbose == "auto" else int(verbose)
    run: Any = keras.callbacks.CallbackList(
        list(callbacks),
        add_history=True,
        add_progbar=show != 0,
        model=model,
        epochs=epochs,
        steps=steps // epochs,
        verbose=show,
    )
    with losses_are_told(step.strategy):
        batches = iter(step.distribute(dataset))
        any_model: Any = model
        any_model.stop_training = False
        logs: dict[str, Any] = {}
        run.on_train_begin()
        for epoch in range(epochs):
            any_model.reset_metrics()
            run.on_epoch_begin(epoch)
            for index in range(steps // epochs):
                batch = next(batches, None)
                if batch is None:
                    raise ValueError(
                        "The data ended before the last step. Pass `dataset.repeat()`. Received: "
                        f"{epoch * (steps // epochs) + index} batches, steps={steps}"
                    )
                run.on_train_batch_begin(index)
                step(batch)
                logs = step.metrics()
                run.on_train_batch_end(index, logs)
                if any_model.stop_training:
                    break
            if validation_data is not None:
                values = any_model.evaluate(validation_data, verbose=0, return_dict=True)
                logs |= {f"val_{name}": value for name, value in values.items()}
            run.on_epoch_end(epoch, logs)
            if any_model.stop_training:
                break
        with step.strategy.scope():
            # With `use_ema` the averages replace the weights, as after Keras's fit.
            any_model.optimizer.finalize_variable_values(any_model.trainable_variables)
        run.on_train_end(logs)
    return any_model.history
