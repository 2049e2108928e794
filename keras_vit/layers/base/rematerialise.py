"""Rematerialisation: the backward pass computes the inside of a block again to save memory.

Chen et al., "Training Deep Nets with Sublinear Memory Cost" (arXiv 1604.06174): one more forward
pass of the block, for the memory of all that lies between its input and its output.

`keras.RematScope` (Keras 3.15) cannot do it: it hands `training` to `tf.recompute_grad` and
`jax.checkpoint`, which take tensors only, draws other dropout masks in the second pass, whose
gradients are then wrong, and is lost when a model is saved.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras


def rematerialised(layer: keras.Layer, function: Callable[[Any], Any], inputs: Any) -> Any:
    """`function(inputs)`, of which only `inputs` is kept for the backward pass.

    Args:
        layer: `function` uses its weights and seeds. Both passes draw the same dropout masks, and
            the seeds advance once.
        function: Maps a tensor to a tensor, as `layer` does in training.
        inputs: A tensor.
    """
    seeds = [v for v in layer.variables if v.name == "seed_generator_state"]
    # Copies, as Keras's generators make them: TensorFlow's `value` is the variable.
    before = [seed.value * 1 for seed in seeds]
    if keras.backend.backend() == "tensorflow":
        passes = iter([function])  # the first pass draws as usual

        def again(x: Any) -> Any:
            with keras.StatelessScope(state_mapping=list(zip(seeds, before, strict=True))):
                return function(x)

        return keras.remat(lambda x: next(passes, again)(x))(inputs)

    # JAX records one pass, and no tensor of it may stay in a variable.
    def recorded(x: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        _assign(seeds, states)
        return function(x), [seed.value for seed in seeds]

    outputs, after = keras.remat(recorded)(inputs, before)
    _assign(seeds, after)
    return outputs


def _assign(variables: list[Any], values: list[Any]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
