"""What a data set is once it is ready to train on, and the `tf.data` pipelines that make it so."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_vit import images
from keras_vit.position import as_pair

if TYPE_CHECKING:
    import tensorflow as tf

SHUFFLE_BUFFER = 10_000


@dataclasses.dataclass(frozen=True)
class ImageData:
    """Images to train on and images to validate on.

    Attributes:
        train: Batches of (`[B, rows, columns, 3]` float32 in [0, 255], `[B]` int32 labels),
            cropped at random and shuffled, in another way each epoch. An incomplete batch is
            left out at the end of an epoch.
        validation: The same without anything random, all of the images in a fixed order.
        train_as_validation: The training images, prepared as those of `validation`; shuffled once.
        class_names: Names of the labels 0, 1, ...
        num_train: Number of training images.
        num_validation: Number of validation images.
        image_size: (rows, columns) in pixels.
        batch_size: Images per batch.
        name: Where the data come from, for people to read.
        resize: How `validation` brings an image to its size: `"squash"` or `"crop"`.
        unreadable: Files left out because they cannot be read, relative to the folder.
    """

    train: tf.data.Dataset
    validation: tf.data.Dataset
    train_as_validation: tf.data.Dataset
    class_names: tuple[str, ...]
    num_train: int
    num_validation: int
    image_size: tuple[int, int]
    batch_size: int
    name: str
    resize: str = "squash"
    unreadable: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """How images are cut, batched and shuffled: the options that all sources share."""

    image_size: tuple[int, int]
    batch_size: int
    crop_area: tuple[float, float]
    flip: bool
    resize: str
    seed: int

    @classmethod
    def checked(
        cls, image_size: Any, batch_size: Any, crop_area: Any, flip: Any, resize: Any, seed: Any
    ) -> Pipeline:
        if not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
            raise ValueError(
                f"`batch_size` must be a positive integer. Received: batch_size={batch_size!r}"
            )
        if resize not in images.RESIZES:
            raise ValueError(
                f"`resize` must be one of {images.RESIZES}. Received: resize={resize!r}"
            )
        try:
            least, largest = (float(share) for share in crop_area)
        except (TypeError, ValueError):
            least, largest = 0.0, 0.0
        if not 0 < least <= largest <= 1:
            raise ValueError(
                "`crop_area` must be a pair (least, largest) of shares of the image's area, "
                f"with 0 < least <= largest <= 1. Received: crop_area={crop_area!r}"
            )
        size = as_pair(image_size, "image_size")
        return cls(size, int(batch_size), (least, largest), bool(flip), resize, int(seed))

    def training(self, source: tf.data.Dataset, read: Callable, count: int) -> tf.data.Dataset:
        """Shuffled batches of random crops; `read` turns an element into (image, label)."""
        import tensorflow as tf

        def crop(element: Any, number: Any) -> Any:
            image, label = read(*element)
            seed = tf.stack([tf.constant(self.seed, tf.int64), number])
            return (
                images.random_crop(image, seed, self.image_size, self.crop_area, self.flip),
                label,
            )

        source = source.shuffle(min(count, SHUFFLE_BUFFER), seed=self.seed)
        # A number of its own for every image of every epoch: the crops do not depend on which
        # thread is first.
        numbers = tf.data.Dataset.random(seed=self.seed, rerandomize_each_iteration=True)
        cropped = tf.data.Dataset.zip(source, numbers).map(crop, tf.data.AUTOTUNE)
        batches = cropped.batch(self.batch_size, drop_remainder=count >= self.batch_size)
        return batches.prefetch(tf.data.AUTOTUNE)

    def validation(self, source: tf.data.Dataset, read: Callable) -> tf.data.Dataset:
        """Batches in the order of `source`."""
        import tensorflow as tf

        def fit(*element: Any) -> Any:
            image, label = read(*element)
            return images.fit_to_size(image, self.image_size, self.resize), label

        batches = source.map(fit, tf.data.AUTOTUNE).batch(self.batch_size)
        return batches.prefetch(tf.data.AUTOTUNE)

    def data(
        self,
        train: tf.data.Dataset,
        validation: tf.data.Dataset,
        read: Callable,
        num_train: int,
        num_validation: int,
        **facts: Any,
    ) -> ImageData:
        return ImageData(
            train=self.training(train, read, num_train),
            validation=self.validation(validation, read),
            # Shuffled, once: some of it is then a fair sample of all.
            train_as_validation=self.validation(
                train.shuffle(
                    min(num_train, SHUFFLE_BUFFER),
                    seed=self.seed,
                    reshuffle_each_iteration=False,
                ),
                read,
            ),
            num_train=num_train,
            num_validation=num_validation,
            image_size=self.image_size,
            batch_size=self.batch_size,
            resize=self.resize,
            **facts,
        )
