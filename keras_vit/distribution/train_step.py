"""A training step that gives the same losses on any strategy.

Keras's own `fit` is right for one device, and for several as long as nothing is clipped,
accumulated or compiled with XLA; docs/distribution.md has the table. This step does, in this
order, on every replica:

    loss and gradients of each micro-batch, their sum    (the part that XLA compiles)
    the sum over all replicas                            (one all-reduce)
    clipping, weight decay, update                       (one `optimizer.apply`)

so it clips the gradient of the whole batch. Keras clips that of each replica's part.

Shape letters: R replicas, A micro-batches, b images of a micro-batch: a batch has R * A * b.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from keras_vit.utils.checks import check_counts

# Odd, so that all 2^32 products differ (Knuth, The Art of Computer Programming, 6.4).
_SPREAD = 2654435769


class TrainStep:
    """One update of a compiled model from one batch.

    The loss is the mean over the whole batch, however it is divided. Dropout draws other masks
    for every replica and micro-batch, so with dropout the losses depend on the division, as on
    the seed; without it they agree to rounding.

    Args:
        model: Built and compiled inside `strategy.scope()`. The loss must average over images.
        strategy: A `tf.distribute` strategy; default: the one of the model.
        accumulate: Micro-batches into which each replica divides its images. Only one at a time
            is in memory.
        jit_compile: Whether XLA compiles the forward and backward pass. Default:
            `default_jit(strategy)`, if all layers can be compiled. XLA cannot compile the whole
            step on several devices.

    Raises:
        ValueError: If the model, its optimiser or its loss cannot be used this way.
    """

    def __init__(
        self,
        model: keras.Model,
        strategy: Any = None,
        *,
        accumulate: int = 1,
        jit_compile: bool | None = None,
    ) -> None:
        import tensorflow as tf

        from keras_vit.distribution.defaults import default_jit

        model_any: Any = model
        self.model: Any = model
        self.strategy: Any = model_any.distribute_strategy if strategy is None else strategy
        self.accumulate = accumulate
        if jit_compile is None:
            can = all(layer.supports_jit for layer in self.model._flatten_layers())
            jit_compile = can and default_jit(self.strategy)
        self.jit_compile = jit_compile
        _check(self.model, self.strategy, accumulate)
        with self.strategy.scope():
            model_any.optimizer.build(model_any.trainable_variables)
        self._seeds = [v for v in model.variables if v.path.endswith("seed_generator_state")]
        options = {"autograph": False}  # it converts nothing here, and doubles the time to trace
        xla = {"jit_compile": self.jit_compile or None}
        self._gradients = tf.function(self._micro_batch, **options, **xla)
        self._step = tf.function(self._global_batch, **options, reduce_retracing=True)
        self._results = tf.function(model_any.get_metrics_result, **options)
        self._ready = False

    def distribute(self, dataset: Any) -> Any:
        """A data set of whole batches, divided among the replicas in their order.

        Every process of a multi-worker strategy makes the same batches and keeps its part. A data
        set of `strategy.distribute_datasets_from_function` is returned unchanged.

        Args:
            dataset: A `tf.data.Dataset` of `(images, labels)` or `(images, labels, weights)`,
                batched with `drop_remainder=True`.

        Raises:
            ValueError: If the size of its batches is not known or cannot be divided.
        """
        import tensorflow as tf

        if not isinstance(dataset, tf.data.Dataset):
            return dataset
        size = tf.nest.flatten(dataset.element_spec)[0].shape[0]
        replicas = self.strategy.num_replicas_in_sync
        if size is None or size % (replicas * self.accumulate):
            raise ValueError(
                "Batches must have a known size that is a multiple of replicas times "
                "`accumulate`; batch the data with `drop_remainder=True`. Received: batches of "
                f"{size}, replicas={replicas}, accumulate={self.accumulate}"
            )
        options = tf.data.Options()
        # "auto" may divide by files, which makes other batches than one device would see.
        options.experimental_distribute.auto_shard_policy = (
            tf.data.experimental.AutoShardPolicy.DATA
        )
        return self.strategy.experimental_distribute_dataset(dataset.with_options(options))

    def __call__(self, batch: Any) -> Any:
        """Makes one update.

        Args:
            batch: One element of what `distribute` returns.

        Returns:
            The loss, a float32 scalar: the mean over the whole batch before the update.
        """
        if not self._ready:
            self._build(batch)
        return self._step(batch)

    def metrics(self) -> dict[str, Any]:
        """The metrics of `compile` and the loss since `model.reset_metrics()`, of all replicas.

        On several machines all of them must call this, because they exchange their parts.
        """
        return {name: float(value) for name, value in self._results().items()}

    def _build(self, batch: Any) -> None:
        """Makes the variables of loss and metrics, which cannot be made inside a replica."""
        import tensorflow as tf

        local = tf.nest.map_structure(
            lambda part: self.strategy.experimental_local_results(part)[0], batch
        )
        with self.strategy.scope():
            self.model._symbolic_build(data_batch=local)  # as Keras's own fit does
        self._ready = True

    def _global_batch(self, batch: Any) -> Any:
        """Runs in the cross-replica context: all replicas first, then the seeds they share."""
        with _sums_are_made(self.model.optimizer):
            loss, drawn = self.strategy.run(self._replica, args=(batch,))
        first = self.strategy.experimental_local_results
        for seed, numbers in zip(self._seeds, drawn, strict=True):
            # Here, because Keras's seeds cannot be assigned inside a replica.
            seed.assign(seed.value + first(numbers)[0])
        return first(loss)[0]

    def _replica(self, batch: Any) -> tuple[Any, list[Any]]:
        """Runs in each replica; returns `(loss, how far each seed moved)`."""
        import tensorflow as tf

        context: Any = tf.distribute.get_replica_context()
        size = tf.nest.flatten(batch)[0].shape[0]
        if size is None or size % self.accumulate:
            raise ValueError(
                "The images of a replica must have a known number that is a multiple of "
                f"`accumulate`. Received: {size} images, accumulate={self.accumulate}"
            )
        loss, gradients, outputs, drawn = self._accumulated(
            batch, context.replica_id_in_sync_group * self.accumulate
        )
        known = [i for i, gradient in enumerate(gradients) if gradient is not None]
        loss, *summed = context.all_reduce(
            tf.distribute.ReduceOp.SUM, [loss, *(gradients[i] for i in known)]
        )
        variables = self.model.trainable_variables
        self.model.optimizer.apply(summed, [variables[i] for i in known])

        images, labels, weights = keras.utils.unpack_x_y_sample_weight(batch)
        next(m for m in self.model.metrics if m.name == "loss").update_state(
            loss, sample_weight=size
        )
        self.model.compute_metrics(images, labels, outputs, weights)
        return loss, drawn

    def _accumulated(self, batch: Any, number: Any) -> tuple[Any, list[Any], Any, list[Any]]:
        """Sums of loss and gradients over the micro-batches; outputs in their order.

        Args:
            batch: Tensors [A * b, ...].
            number: Number of the first micro-batch among those of all replicas.
        """
        import tensorflow as tf

        if self.accumulate == 1:
            return self._gradients(batch, number)
        parts = tf.nest.map_structure(
            lambda t: tf.reshape(t, (self.accumulate, -1, *t.shape[1:])), batch
        )  # [A, b, ...]

        def part(i: Any) -> Any:
            return self._gradients(tf.nest.map_structure(lambda t: t[i], parts), number + i)

        # The first micro-batch shows which variables have a gradient, and what the outputs are.
        loss, gradients, outputs, drawn = part(0)
        known = [i for i, gradient in enumerate(gradients) if gradient is not None]
        lists = [
            tf.TensorArray(t.dtype, self.accumulate, element_shape=t.shape).write(0, t)
            for t in tf.nest.flatten(outputs)
        ]

        def add(i: Any, loss: Any, sums: Any, lists: Any) -> Any:
            more_loss, more, more_outputs, _ = part(i)
            sums = [total + more[j] for total, j in zip(sums, known, strict=True)]
            flat = tf.nest.flatten(more_outputs)
            lists = [array.write(i, t) for array, t in zip(lists, flat, strict=True)]
            return i + 1, loss + more_loss, sums, lists

        # A loop, because TensorFlow would run separate calls side by side, with the memory of the
        # whole batch.
        _, loss, sums, lists = tf.while_loop(
            lambda i, *_: i < self.accumulate,
            add,
            (1, loss, [gradients[i] for i in known], lists),
            parallel_iterations=1,
        )
        for i, total in zip(known, sums, strict=True):
            gradients[i] = total
        return (
            loss,
            gradients,
            tf.nest.pack_sequence_as(outputs, [a.concat() for a in lists]),
            drawn,
        )

    def _micro_batch(self, batch: Any, number: Any) -> tuple[Any, list[Any], Any, list[Any]]:
        """`(share of the loss, its gradients, outputs, how far each seed moved)`.

        Args:
            batch: Tensors [b, ...].
            number: Number of this micro-batch among the R * A.
        """
        import tensorflow as tf

        images, labels, weights = keras.utils.unpack_x_y_sample_weight(batch)
        spread = tf.cast(number, "int64") * _SPREAD % 2**31
        starts = [
            seed.value + tf.cast(tf.stack([spread, 0]), seed.value.dtype) for seed in self._seeds
        ]
        # What the layers assign stays in the scope: a replica may not assign to a variable that
        # all replicas share, and XLA may not assign to one that it did not make.
        scope: Any = keras.StatelessScope(
            state_mapping=list(zip(self._seeds, starts, strict=True)), collect_losses=True
        )
        with tf.GradientTape() as tape, scope:
            outputs = self.model(images, training=True)
            loss = self.model.compute_loss(images, labels, outputs, weights, training=True)
            # Keras has divided by the replicas too: its loss is the mean over b images, over R.
            loss = tf.cast(loss, "float32") / self.accumulate
        gradients = tape.gradient(loss, self.model.trainable_variables)
        ends = [scope.get_current_value(seed) for seed in self._seeds]
        self._check_assigned(scope)
        return loss, gradients, outputs, [e - s for e, s in zip(ends, starts, strict=True)]

    def _check_assigned(self, scope: Any) -> None:
        known = {id(seed) for seed in self._seeds}
        changed = [
            v.path
            for v in self.model.weights
            if id(v) not in known and scope.get_current_value(v) is not None
        ]
        if changed:
            raise ValueError(
                "Layers that change variables in the forward pass, as BatchNormalization does, "
                "see only a part of the batch here and are not supported. Freeze them or use "
                f"`model.fit`. Received: a model that changes {', '.join(changed)}"
            )


@contextlib.contextmanager
def _sums_are_made(optimizer: Any) -> Iterator[None]:
    """Keeps Keras's `apply` from summing the gradients of the replicas a second time.

    Keras has no option for that. Dividing by R first would work, but costs a second all-reduce of
    every gradient. The first sum is needed, because `apply` must clip summed gradients.
    """
    name = "_all_reduce_sum_gradients"
    if not hasattr(optimizer, name):
        raise RuntimeError(
            "This version of Keras sums gradients elsewhere than 3.15 did, and the sum would be "
            f"made twice. Received: keras {keras.__version__}, {type(optimizer).__name__}"
        )
    optimizer.__dict__[name] = list
    try:
        yield
    finally:
        del optimizer.__dict__[name]


def _check(model: Any, strategy: Any, accumulate: Any) -> None:
    check_counts(1, accumulate=accumulate)
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        raise ValueError("`model` must be compiled. Received: a model without an optimizer")
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        raise ValueError(
            "mixed_float16 needs a scaled loss, which is not supported here. Build the model with "
            f"mixed_bfloat16. Received: optimizer={type(optimizer).__name__}"
        )
    if optimizer.gradient_accumulation_steps:
        raise ValueError(
            "Under a strategy the optimizer cannot accumulate gradients. Leave its "
            "`gradient_accumulation_steps` out and pass `accumulate=`. Received: "
            f"gradient_accumulation_steps={optimizer.gradient_accumulation_steps}"
        )
    for what, variable in (("model", model.variables[0]), ("optimizer", optimizer.iterations)):
        if not strategy.extended.variable_created_in_scope(variable.value):
            raise ValueError(
                "Model and optimizer must be made inside `with strategy.scope():`. Received: "
                f"{what} made outside, strategy={type(strategy).__name__}"
            )
    for loss in keras.tree.flatten(model.loss):
        reduction = getattr(loss, "reduction", "sum_over_batch_size")
        if reduction not in ("sum_over_batch_size", "mean"):
            raise ValueError(
                "The loss must average over the images: reduction='sum_over_batch_size'. "
                f"Received: reduction={reduction!r}"
            )
