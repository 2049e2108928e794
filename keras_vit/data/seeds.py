"""Random numbers that depend on a seed alone, not on what was drawn before."""

from __future__ import annotations

from typing import Any


def fold(seed: Any, number: Any) -> Any:
    """Another seed, int `[2]`, for each number: what uses it is independent of the others."""
    import tensorflow as tf

    random: Any = tf.random
    return random.experimental.stateless_fold_in(seed, number)


def shuffled(values: Any, seed: Any) -> Any:
    """A permutation of a tensor along its first axis, all alike."""
    import tensorflow as tf

    random: Any = tf.random
    return random.experimental.stateless_shuffle(values, seed)
