"""What a Keras model is timed as: a traced forward pass, or `train_on_batch`."""

from __future__ import annotations

from typing import Any

import keras

from benchmarks.contestants import facts, images, labels


def policy(precision: str, training: bool) -> str:
    """Weights stay in float32 for training; `timed` makes them int8."""
    if precision == "int8":
        return "float32"
    return f"mixed_{precision}" if training and precision != "float32" else precision


def timed(
    model: Any,
    batch: int,
    size: int,
    precision: str,
    mode: str,
    training: bool,
    optimizer: Any = keras.optimizers.SGD,
) -> Any:
    """The step and the facts of a model that takes images in [-1, 1] and gives logits.

    Args:
        model: A `keras.Model`; Keras's own types take no bool for `jit_compile`.
        batch: Images.
        size: Pixels of a side.
        precision: `"int8"` quantises the model; others are those of `policy`.
        mode: `"graph"` or `"xla"` on TensorFlow; `"jax"` or `"eager"`, on PyTorch, where that is
            the backend.
        training: Whether a step is one of training.
        optimizer: SGD with momentum; a class.
    """
    if precision == "int8":
        model.quantize("int8")
    inputs = keras.ops.convert_to_tensor(images(batch, size))
    forward = _FORWARD[keras.backend.backend()](model, mode)
    result = facts(keras.ops.convert_to_numpy(keras.ops.cast(forward(inputs), "float32")))
    if not training:
        return lambda: forward(inputs), result
    model.compile(
        optimizer(0.01, momentum=0.9, global_clipnorm=1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=mode in ("xla", "jax"),
    )
    truth = keras.ops.convert_to_tensor(labels(batch))
    return lambda: model.train_on_batch(inputs, truth), result


def _tensorflow_forward(model: keras.Model, mode: str) -> Any:
    import tensorflow as tf

    call = tf.function(
        lambda x: model(x, training=False), jit_compile=mode == "xla", autograph=False
    )
    return lambda x: call(x).numpy()


def _jax_forward(model: keras.Model, mode: str) -> Any:
    import jax

    trainable = [v.value for v in model.trainable_variables]
    others = [v.value for v in model.non_trainable_variables]
    call = jax.jit(lambda t, o, x: model.stateless_call(t, o, x, training=False)[0])
    return lambda x: call(trainable, others, x)


def _torch_forward(model: keras.Model, mode: str) -> Any:
    import torch

    return torch.no_grad()(lambda x: model(x, training=False))


_FORWARD = {
    "tensorflow": _tensorflow_forward,
    "jax": _jax_forward,
    "torch": _torch_forward,
}
