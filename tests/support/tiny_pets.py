"""Data sets of TFDS that are generated on the spot: grey images of cats and dogs."""

from __future__ import annotations

import numpy as np
import pytest

tfds = pytest.importorskip("tensorflow_datasets", reason="needs tensorflow-datasets")


class _Pets(tfds.core.GeneratorBasedBuilder):
    """Images of one level of grey each: 100 for a dog, plus the number of the image."""

    VERSION = tfds.core.Version("1.0.0")
    SPLITS: dict[str, int]
    CHANNELS = 3

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, self.CHANNELS)),
            "label": tfds.features.ClassLabel(names=["cat", "dog"]),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(count) for split, count in self.SPLITS.items()}

    def _generate_examples(self, count):
        for i in range(count):
            image = np.full((12, 10, self.CHANNELS), 100 * (i % 2) + i, "uint8")
            yield i, {"image": image, "label": i % 2}


class TinyPets(_Pets):
    SPLITS = {"train": 20, "test": 6}  # noqa: RUF012


class TinyGreyPets(_Pets):
    SPLITS = {"train": 40}  # noqa: RUF012
    CHANNELS = 1


class TinyUnlabelled(_Pets):
    SPLITS = {"train": 2}  # noqa: RUF012

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict({"label": tfds.features.Text()})
        )


def grey_levels(dataset):
    pixels, labels = zip(*dataset.as_numpy_iterator(), strict=True)
    pixels, labels = np.concatenate(pixels), np.concatenate(labels)
    assert pixels.shape[1:] == (8, 8, 3)
    assert pixels.dtype == np.float32
    levels = pixels.mean(axis=(1, 2, 3)).round().astype(int)
    np.testing.assert_array_equal(levels >= 100, labels == 1)
    return sorted(levels)


def levels_of(numbers):
    return sorted(100 * (i % 2) + i for i in numbers)


class TinyImagenet(_Pets):
    """With the names of files, as ImageNet has them: numbers 18, 19, ... of the validation set."""

    SPLITS = {"train": 2, "validation": 3}  # noqa: RUF012

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(names=["n01440764", "n01443537"]),
            "file_name": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
        )

    def _generate_examples(self, count):
        for i, example in super()._generate_examples(count):
            name = f"ILSVRC2012_val_{18 + i:08d}.JPEG" if i else "n01440764_10026.JPEG"
            yield i, {**example, "file_name": name}


class TinyPhotos(_Pets):
    """Colours that JPEG files keep only nearly."""

    SPLITS = {"test": 2}  # noqa: RUF012

    def _info(self):
        info = super()._info()
        features = dict(info.features)
        features["image"] = tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg")
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
        )

    def _generate_examples(self, count):
        for i in range(count):
            image = np.random.default_rng(i).integers(0, 256, (24, 32, 3), "uint8")
            yield i, {"image": image, "label": i % 2}
