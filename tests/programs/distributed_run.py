"""Trains a tiny model and prints its losses: a process of its own for `test_distribution.py`.

    python distributed_run.py '{"strategy": "cpu", "devices": 2, "cases": [{"accumulate": 2}]}'

Logical devices and the other workers must be known before TensorFlow starts, hence a process.
The last line that it prints is a JSON list with a dictionary of results for each case.
"""

from __future__ import annotations

import json
import os
import sys
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import keras_vit
from keras_vit import distribution

STEPS, BATCH, CLASSES = 3, 8, 3
TINY = {"patch_size": 8, "width": 16, "depth": 1, "num_heads": 2, "mlp_dim": 32}


def data():
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (STEPS * BATCH, 16, 16, 3)).astype("float32")
    return images, rng.integers(0, CLASSES, STEPS * BATCH)


def compiled(
    dtype="float32", optimizer="momentum", clip=None, dropout=0.0, classes=CLASSES, accumulate=None
):
    """A model whose random weights are always the same, by a recipe."""
    keras.utils.set_random_seed(0)
    recipe = keras_vit.recipes.get("vit-finetune", "pets").replace(
        optimizer=optimizer,
        weight_decay=0.1 if optimizer == "adamw" else 0.0,
        learning_rate=0.01 if optimizer == "adamw" else 0.1,
        clip_norm=clip,
        steps=STEPS,
        warmup_steps=0,
        schedule="linear",
    )
    model = keras_vit.ViT(
        16,
        **TINY,
        classes=classes,
        classifier_activation=None,
        dropout_rate=dropout,
        dtype=dtype,
    )
    # Not the zeros of a new head: then the first loss would not depend on the images.
    kernel = model.get_layer("head").kernel
    kernel.assign(np.random.default_rng(1).normal(0, 0.3, kernel.shape))
    model.compile(
        **recipe.compile_args(
            from_logits=True,
            # Op by op, two processes of JAX may wait for each other without an end.
            jit_compile=keras.backend.backend() == "jax",
            gradient_accumulation_steps=accumulate,
        )
    )
    return model


def alone(model=None, **case):
    """Losses and accuracies of Keras's own training, step by step."""
    model = compiled(**case) if model is None else model
    images, labels = data()
    logs = {"loss": [], "accuracy": []}
    for start in range(0, len(images), BATCH):
        part = slice(start, start + BATCH)
        model.reset_metrics()
        values = model.train_on_batch(images[part], labels[part], return_dict=True)
        for name, value in values.items():
            logs[name].append(float(value))
    return logs


def on_tensorflow(strategy, accumulate=1, jit_compile=False, **case):
    import tensorflow as tf

    with strategy.scope():
        model = compiled(**case)
    batches = tf.data.Dataset.from_tensor_slices(data()).batch(BATCH, drop_remainder=True)
    history = distribution.fit(
        model,
        batches,
        STEPS,
        strategy,
        epochs=STEPS,
        accumulate=accumulate,
        jit_compile=jit_compile,
        verbose=0,
    ).history
    seeds = [v for v in model.variables if v.path.endswith("seed_generator_state")]
    weights = np.concatenate([np.ravel(np.array(v, "float32")) for v in model.get_weights()])
    return {
        **history,
        "replicas": strategy.num_replicas_in_sync,
        "chief": distribution.is_chief(strategy),
        "weights": float(np.abs(weights).sum()),
        "draws": [int(np.array(v)[1]) for v in seeds],
    }


def on_jax(parallel=None, axes=(), accumulate=None, **case):
    """By Keras's own `fit`; with `accumulate`, batches are divided and losses averaged."""
    import tensorflow as tf

    make = {"data": distribution.data_parallel, "model": distribution.model_parallel}
    keras.distribution.set_distribution(make[parallel](*axes) if parallel else None)
    model = compiled(**case, accumulate=accumulate)
    parts = accumulate or 1
    batches = tf.data.Dataset.from_tensor_slices(data()).batch(BATCH // parts, drop_remainder=True)
    # An epoch is a batch, whose loss is then the epoch's.
    epochs = {"epochs": STEPS * parts, "steps_per_epoch": 1}
    history = model.fit(batches, **epochs, shuffle=False, verbose=0).history
    logs: dict = {
        name: np.reshape(values, (STEPS, parts)).mean(1).tolist()
        for name, values in history.items()
    }
    logs["devices"] = len(keras.distribution.list_devices())
    if parallel:
        logs["shards"] = distribution.shard_shapes(model)
        logs["shapes"] = {v.path: v.shape for v in model.weights}
        logs["moments"] = {
            v.path: v.value.sharding.shard_shape(v.shape) for v in model.optimizer.variables
        }
    return logs


def main():
    job = json.loads(sys.argv[1])
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
    if keras.backend.backend() == "jax":
        if "processes" in job:
            keras.distribution.initialize(*job["processes"])
        results = [on_jax(**case) for case in job["cases"]]
    else:
        strategy = distribution.strategy(job["strategy"], job.get("devices"))
        results = [on_tensorflow(strategy, **case) for case in job["cases"]]
    print(json.dumps(results), flush=True)


if __name__ == "__main__":
    main()
