"""The `tf.data` pipelines that make a data set ready to train on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from keras_vit.data import image_ops
from keras_vit.data.augment.augmentation import as_augmentation
from keras_vit.data.augment.custom_transform import as_step, random_states, takes_labels
from keras_vit.data.augment.mixing import mix, random_erasing
from keras_vit.data.augment.randaugment import randaugment
from keras_vit.data.image_data import ImageData
from keras_vit.data.random_crop import RandomCrop
from keras_vit.data.seeds import fold
from keras_vit.data.shuffling import SHUFFLE_BUFFER, Source
from keras_vit.utils.checks import as_pair, as_shares, check_choice, check_counts

if TYPE_CHECKING:
    import tensorflow as tf

# Ends the datasets that have no end.
_LAST = 2**62


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """How images are cut, batched and shuffled: the options that all sources share.

    Attributes are the arguments of `keras_vit.data.from_folder`. `crop_area` and `flip` may be
    `None`, for what suits the images.

    Raises:
        ValueError: If an option is out of its range.
    """

    image_size: Any = 224
    batch_size: int = 32
    crop_area: Any = None
    flip: Any = None
    resize: str = "squash"
    seed: int = 0
    augmentation: Any = None
    transform: Any = None
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        check_counts(1, batch_size=self.batch_size)
        check_choice("resize", self.resize, image_ops.RESIZES)
        check_choice("interpolation", self.interpolation, image_ops.INTERPOLATIONS)
        takes_labels(self.transform)  # refuses what cannot be called
        area = self.crop_area
        self._set(
            image_size=as_pair(self.image_size, "image_size"),
            batch_size=int(self.batch_size),
            crop_area=None if area is None else as_shares(area, "crop_area"),
            seed=int(self.seed),
            augmentation=as_augmentation(self.augmentation),
        )

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def one_hot(self) -> bool:
        """Whether something mixes images, so that labels are shares of the classes."""
        return self.augmentation.mixes or takes_labels(self.transform)

    def training(self, source: Source, read: Callable, classes: int) -> tf.data.Dataset:
        """One epoch: shuffled batches; `read` turns an element into (image, label, ...)."""
        import tensorflow as tf

        count = source.count
        elements = source.dataset.shuffle(min(count, SHUFFLE_BUFFER), seed=self.seed)
        # A number of its own for every image of every epoch: the crops do not depend on which
        # thread is first.
        numbers = tf.data.Dataset.random(seed=self.seed, rerandomize_each_iteration=True)
        numbered = tf.data.Dataset.zip(elements, numbers)
        return self._batches(numbered, read, classes, self.batch_size, count >= self.batch_size)

    def steps_from(
        self, start_step: int, source: Source, read: Callable, classes: int
    ) -> tf.data.Dataset:
        """The batches of a run from a step on; see `ImageData.training`."""
        import tensorflow as tf

        batch_size = min(self.batch_size, source.count)
        in_epoch = source.count // batch_size * batch_size  # what is left over is left out
        first, done = divmod(start_step * batch_size, in_epoch)

        def epoch(number: Any) -> tf.data.Dataset:
            seed = self._seed(number)
            elements = source.epoch(fold(seed, 1)).take(in_epoch)
            return elements.skip(tf.where(number == first, tf.constant(done, tf.int64), 0))

        elements = tf.data.Dataset.range(first, _LAST).flat_map(epoch)
        # An image's place in the run is the number that all of its randomness comes from.
        numbers = tf.data.Dataset.range(start_step * batch_size, _LAST)
        numbered = tf.data.Dataset.zip(elements, numbers)
        return self._batches(numbered, read, classes, batch_size, True)

    def _batches(
        self, numbered: tf.data.Dataset, read: Callable, classes: int, batch_size: int, full: bool
    ) -> tf.data.Dataset:
        """Reads, cuts and augments images of their own, then batches, then mixes."""
        import tensorflow as tf

        row = self.augmentation
        mixed = self.one_hot or self.transform is not None

        def prepare(element: Any, number: Any) -> Any:
            seed = self._seed(number)
            crop = RandomCrop(seed, self.image_size, self.crop_area, self.flip, self.interpolation)
            part, label = read(*element, crop=crop)[:2]
            image = crop.finish(part)
            if row.distorts:
                image = tf.saturate_cast(tf.round(image), tf.uint8)
                image = randaugment(image, fold(seed, 2), row.layers, row.magnitude)
                if row.erasing:
                    image = random_erasing(image, fold(seed, 3), row.erasing)
                image = tf.cast(image, tf.float32)
            return (image, label, number) if mixed else (image, label)

        step = None if self.transform is None else as_step(self.transform)

        def finish(pixels: Any, labels: Any, numbers: Any) -> Any:
            seed = self._seed(numbers[0])
            if self.one_hot:
                labels = tf.one_hot(labels, classes)
            if step is not None:
                pixels, labels = step(pixels, labels, fold(seed, 4))
            return mix(pixels, labels, fold(seed, 5), row.mixup, row.cutmix)

        batches = numbered.map(prepare, tf.data.AUTOTUNE).batch(batch_size, drop_remainder=full)
        if mixed:
            # What a layer draws is kept in variables: then one batch after the other.
            parallel = None if random_states(self.transform) else tf.data.AUTOTUNE
            batches = batches.map(finish, parallel)
        return batches.prefetch(tf.data.AUTOTUNE)

    def _seed(self, number: Any) -> Any:
        import tensorflow as tf

        return tf.stack([tf.constant(self.seed, tf.int64), number])

    def validation(self, source: tf.data.Dataset, read: Callable, classes: int) -> tf.data.Dataset:
        """Batches in the order of `source`."""
        import tensorflow as tf

        def fit(*element: Any) -> Any:
            image, label = read(*element)[:2]
            if self.one_hot:
                label = tf.one_hot(label, classes)
            image = image_ops.fit_to_size(
                image, self.image_size, self.resize, interpolation=self.interpolation
            )
            return image, label

        batches = source.map(fit, tf.data.AUTOTUNE).batch(self.batch_size)
        return batches.prefetch(tf.data.AUTOTUNE)

    def data(
        self,
        train: Source,
        validation: Source,
        read: Callable,
        class_names: tuple[str, ...],
        **facts: Any,
    ) -> ImageData:
        classes = len(class_names)
        made = ImageData(
            train=lambda: self.training(train, read, classes),
            validation=lambda: self.validation(validation.dataset, read, classes),
            # Shuffled, once: some of it is then a fair sample of all.
            train_as_validation=lambda: self.validation(
                train.dataset.shuffle(
                    min(train.count, SHUFFLE_BUFFER),
                    seed=self.seed,
                    reshuffle_each_iteration=False,
                ),
                read,
                classes,
            ),
            class_names=class_names,
            num_train=train.count,
            num_validation=validation.count,
            image_size=self.image_size,
            batch_size=self.batch_size,
            resize=self.resize,
            interpolation=self.interpolation,
            one_hot=self.one_hot,
            train_in_order=lambda: self.validation(train.dataset, read, classes),
            make_training=lambda step: self.steps_from(step, train, read, classes),
            **facts,
        )
        if self.transform is not None:
            _ = made.train  # traced now: what is wrong with the user's own code is said at once
        return made
