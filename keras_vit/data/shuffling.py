"""The order of images: fixed for evaluation, a new one for each epoch of training.

The order of an epoch is a function of a seed, so that a run can resume in the middle of one. The
elements before that are skipped: of arrays nothing is read, of streams nothing is decoded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from keras_vit.data.seeds import fold, shuffled

if TYPE_CHECKING:
    import tensorflow as tf

SHUFFLE_BUFFER = 10_000
# Files that are read at the same time, an example of each in turn.
FILES_AT_ONCE = 16


@dataclasses.dataclass(frozen=True)
class Source:
    """Elements that a function `read` turns into (image, label, number).

    Attributes:
        dataset: Tuples, in a fixed order.
        count: How many.
        epoch: Returns all of them in the order of a seed, an int64 tensor `[2]`. It may be called
            while TensorFlow traces.
    """

    dataset: tf.data.Dataset
    count: int
    epoch: Callable[[Any], tf.data.Dataset]


def of_arrays(arrays: Sequence[Any]) -> Source:
    """Elements that are looked up: any permutation is possible, and skipping costs nothing."""
    import tensorflow as tf

    tensors = tuple(tf.convert_to_tensor(array) for array in arrays)
    count = len(tensors[0])

    def epoch(seed: Any) -> tf.data.Dataset:
        order = shuffled(tf.range(count), seed)
        return tf.data.Dataset.from_tensor_slices(order).map(
            lambda index: tuple(tf.gather(tensor, index) for tensor in tensors)
        )

    return Source(tf.data.Dataset.from_tensor_slices(tensors), count, epoch)


def of_stream(dataset: tf.data.Dataset, count: int) -> Source:
    """Elements that come one after the other: shuffled within a buffer."""
    return Source(dataset, count, lambda seed: _shuffle(dataset, count, seed))


def of_records(paths: Sequence[bytes], count: int) -> Source:
    """Serialized examples of TFRecord files, read side by side; an epoch shuffles the files too."""
    import tensorflow as tf

    files = tf.constant(list(paths))

    def read(files: Any) -> tf.data.Dataset:
        examples = tf.data.Dataset.from_tensor_slices(files).interleave(
            tf.data.TFRecordDataset,
            cycle_length=min(len(paths), FILES_AT_ONCE),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        # A file that has lost some of its records looks like one that ends there.
        whole = examples.apply(tf.data.experimental.assert_cardinality(count))
        return whole.map(lambda example: (example,))

    def epoch(seed: Any) -> tf.data.Dataset:
        in_turn = shuffled(files, fold(seed, 0))
        return _shuffle(read(in_turn), count, fold(seed, 1))

    return Source(read(files), count, epoch)


def _shuffle(dataset: tf.data.Dataset, count: int, seed: Any) -> tf.data.Dataset:
    import tensorflow as tf

    if not tf.executing_eagerly():
        # For the function that is being traced only: the order must not depend on the seed that
        # the user has set for the program.
        tf.random.set_seed(1)
    number = tf.cast(seed[1], tf.int64)
    return dataset.shuffle(min(count, SHUFFLE_BUFFER), number, reshuffle_each_iteration=False)
