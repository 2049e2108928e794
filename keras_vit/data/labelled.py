"""Images that have been found but not decoded yet, with their labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from keras_vit.data.image_data import ImageData
from keras_vit.data.pipeline import Pipeline
from keras_vit.data.shuffling import Source


@dataclasses.dataclass(frozen=True)
class LabelledImages:
    """What every source of images returns; `prepare` makes batches of it.

    Attributes:
        validation: The elements to validate, test or evaluate on, in a fixed order.
        read: An element -> (image uint8 or float32 `[H, W, 3]` in [0, 255]; label int32, -1 where
            it is not known; number int32 of an image of ImageNet's validation set, else 0). With
            `crop=`, a `RandomCrop`, the image is only that part.
        class_names: Of the labels 0, 1, ...
        name: Where the images come from, for people to read.
        train: The elements to train on; `None` if only others were asked for.
        unreadable: Files left out because they cannot be read, relative to the folder.
        find_damage: As in `ImageData`.
        fingerprint: As in `ImageData`.
        flip: Whether mirrored images show the same; not so for digits.
        crop_area: Least and largest share of a training image's area that still shows it.
    """

    validation: Source
    read: Callable[..., Any]
    class_names: tuple[str, ...]
    name: str
    train: Source | None = None
    unreadable: tuple[str, ...] = ()
    find_damage: Callable[[], tuple[str, str] | None] | None = None
    fingerprint: Callable[[bool], str] | None = None
    flip: bool = True
    crop_area: tuple[float, float] = (0.05, 1.0)

    def prepare(self, *args: Any, **options: Any) -> ImageData:
        """Batches to train and to validate on; arguments as for `Pipeline`.

        Raises:
            ValueError: If there are no images to train on, or an option is out of its range.
        """
        return self.batches(Pipeline(*args, **options))

    def batches(self, pipeline: Pipeline) -> ImageData:
        """Batches to train and to validate on.

        Raises:
            ValueError: If there are no images to train on.
        """
        if self.train is None:
            raise ValueError(
                f"{self.name} was opened to evaluate on. To train on it, open it with "
                "to_evaluate=False"
            )
        suited = dataclasses.replace(
            pipeline,
            crop_area=pipeline.crop_area or self.crop_area,
            flip=self.flip if pipeline.flip is None else pipeline.flip,
        )
        return suited.data(
            self.train,
            self.validation,
            self.read,
            self.class_names,
            name=self.name,
            unreadable=self.unreadable,
            find_damage=self.find_damage,
            fingerprint=self.fingerprint,
        )
