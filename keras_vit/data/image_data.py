"""A data set that is ready to train on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from keras_vit.utils.checks import check_counts

if TYPE_CHECKING:
    import tensorflow as tf


class Batches:
    """A field that holds a dataset, or a function that makes it at its first use.

    TensorFlow traces how photos are read anew for each dataset, and few programs use all of them.
    """

    def __init__(self, *default: None):
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:  # a dataclass asks for the default
            if not self.default:
                raise AttributeError(f"{self.name} has no default")
            return self.default[0]
        given = instance.__dict__[self.name]
        if callable(given):
            given = instance.__dict__[self.name] = given()
        return given

    def __set__(
        self, instance: Any, given: tf.data.Dataset | Callable[[], tf.data.Dataset]
    ) -> None:
        instance.__dict__[self.name] = given


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageData:
    """Images to train on and images to validate on.

    The four datasets are made at their first use.

    Attributes:
        train: Batches of (`[B, rows, columns, 3]` float32 in [0, 255], `[B]` int32 labels),
            cropped at random and shuffled, in another way each epoch. An incomplete batch is
            left out at the end of an epoch. Where images are mixed, labels are shares of the
            classes, `[B, classes]` float32, here and in the others.
        validation: The same without anything random, all of the images in a fixed order.
        train_as_validation: The training images, prepared as those of `validation`; shuffled once.
        class_names: Names of the labels 0, 1, ...
        num_train: Number of training images.
        num_validation: Number of validation images.
        image_size: (rows, columns) in pixels.
        batch_size: Images per batch.
        name: Where the data come from, for people to read.
        resize: How `validation` brings an image to its size: `"squash"` or `"crop"`.
        interpolation: How images are resampled for that: `"bilinear"` or `"bicubic"`.
        unreadable: Files left out because they cannot be read, relative to the folder.
        one_hot: Whether labels are `[B, classes]` float32.
        make_training: Called by `training`.
        find_damage: Checks all files again, after an error in the middle of a run. It returns the
            first that cannot be read and the reason, or `None`.
        fingerprint: Returns a text that changes with the data. It takes whether to read the
            contents (`True`), or only names and sizes (`False`).
        train_in_order: The same as `train_as_validation`, in the order of the files; for code that
            picks images by their number.
    """

    train: Batches = Batches()
    validation: Batches = Batches()
    train_as_validation: Batches = Batches()
    class_names: tuple[str, ...]
    num_train: int
    num_validation: int
    image_size: tuple[int, int]
    batch_size: int
    name: str
    resize: str = "squash"
    interpolation: str = "bilinear"
    unreadable: tuple[str, ...] = ()
    one_hot: bool = False
    make_training: Callable[[int], tf.data.Dataset] | None = None
    find_damage: Callable[[], tuple[str, str] | None] | None = None
    fingerprint: Callable[[bool], str] | None = None
    train_in_order: Batches = Batches(None)

    @property
    def steps_per_epoch(self) -> int:
        """Batches that one pass over the training images gives; at least 1."""
        return max(1, self.num_train // self.batch_size)

    def training(self, start_step: int = 0) -> tf.data.Dataset:
        """Batches prepared like those of `train`, without an end, from any step of a run on.

        The order and everything random depend on the seed and the step alone: from step N on, the
        batches are identical to those of a run that was not interrupted. Earlier images are not
        decoded. The order differs from that of `train`.

        Args:
            start_step: Number of batches to skip, 0 or more.

        Raises:
            ValueError: If `start_step` is negative, or the data were put together by hand.
        """
        check_counts(0, start_step=start_step)
        if self.make_training is None:
            raise ValueError(
                "These data cannot resume in the middle of a run; use data from a function of "
                "keras_vit.data. "
                f"Received: name={self.name!r}, make_training=None"
            )
        return self.make_training(int(start_step))
