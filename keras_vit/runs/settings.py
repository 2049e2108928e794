"""The settings of a run: what to train, on what, and how."""

from __future__ import annotations

import dataclasses
from typing import Any

SMALL = "small"
SMALL_MODEL = {"patch_size": 8, "width": 64, "depth": 4, "num_heads": 4, "mlp_dim": 128}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to train on what, and how.

    Attributes:
        data: `"digits"`, a folder of images (see `keras_vit.data.from_folder`) or of TFRecord
            files (`keras_vit.data.write_records`), or the name of a TensorFlow data set.
        model: A constructor of `keras_vit`, `"ViT_Ti16"` for example, or `"small"`, a ViT of
            150,000 parameters with patches of 8 pixels.
        weights: What its constructor takes as `weights`; `None` trains from scratch.
        freeze: The part of the model that is not trained, as in `keras_vit.freeze`. Default: none.
        image_size: Pixels, one number or (rows, columns).
        steps: Number of training steps. Default: four passes over the training images, and
            100 steps at least.
        batch_size: Images per step.
        learning_rate: The highest. Default: the recipe's.
        warmup_steps: Steps until the learning rate is reached. Default: the recipe's.
        validation_share: Share of every class of a folder to validate on, in (0, 1), where it has
            no folder for that.
        least_crop: Share of a training image's area that the random crop has at least, in (0, 1].
            Default: the papers' .05; digits .8.
        resize: How validation images get their size: `"squash"` or `"crop"`.
        interpolation: How images are resampled, to train too: `"bilinear"` or `"bicubic"`.
        on_error: `"raise"` or `"skip"` images that cannot be read.
        dtype: Dtype policy of the model. Default: `keras_vit.distribution.default_precision`,
            which is `"mixed_bfloat16"` where the hardware has it; float32 for the small model,
            which gains nothing by it.
        seed: Of everything that happens at random.
        recipe: A name of `keras_vit.recipes`, `"vit-finetune"` for example, adapted to the data
            and the batch size. Default: a short one, of the paper for fine-tuning and of AugReg
            from scratch.
        augmentation: A name of `keras_vit.data.augment.augmentation.AUGMENTATIONS`.
        accumulate: In how many batches the images of a step are taken; saves memory. It must
            divide `batch_size`.
        xla: `"on"` or `"off"`: whether to compile with XLA. Default:
            `keras_vit.distribution.default_jit`.
        strategy: What to train on: one of `keras_vit.distribution.STRATEGIES`. The default takes
            what there is.
        devices: As for `keras_vit.distribution.strategy`.
        save_every: Batches between checkpoints.
        compare_contents: Whether a run that is taken up is refused where a byte of its data has
            changed; else where a file's name or size has.
        tensorboard: Whether to write logs for TensorBoard.
    """

    data: str
    model: str = "ViT_Ti16"
    weights: str | None = "imagenet"
    freeze: str | int | None = None
    image_size: int | tuple[int, int] = 224
    steps: int | None = None
    batch_size: int = 32
    learning_rate: float | None = None
    warmup_steps: int | None = None
    validation_share: float = 0.2
    least_crop: float | None = None
    resize: str = "squash"
    interpolation: str = "bilinear"
    on_error: str = "raise"
    dtype: str = "auto"
    seed: int = 0
    recipe: str | None = None
    augmentation: str = "none"
    accumulate: int = 1
    xla: str = "auto"
    strategy: str = "auto"
    devices: int | tuple[str, ...] | None = None
    save_every: int = 500
    compare_contents: bool = False
    tensorboard: bool = False

    @property
    def images_of_a_batch(self) -> int:
        """Images that are in memory at a time: a step takes `accumulate` such batches.

        Raises:
            ValueError: If they would not be of one size.
        """
        if self.accumulate < 1 or self.batch_size % self.accumulate:
            raise ValueError(
                "The batches of a step must be of one size: `accumulate` must divide "
                f"`batch_size`. Received: accumulate={self.accumulate}, "
                f"batch_size={self.batch_size}"
            )
        return self.batch_size // self.accumulate

    def if_changed(self, name: str) -> Any:
        """A setting; `None` where it has its default, which binds nobody."""
        value = getattr(self, name)
        return None if value == getattr(type(self), name) else value


# Digits from scratch: a minute on two cores, no download.
DIGITS = Settings("digits", SMALL, None, image_size=40, steps=900, batch_size=64, dtype="float32")
# Table 3 of the ViT paper, at a batch that a machine of one to eight devices can hold.
PRETRAIN = Settings("", "ViT_S16", None, batch_size=256, recipe="vit-pretrain")


def settings_for(data: str = "digits", pretrain: bool = False, **given: Any) -> Settings:
    """The settings for a data set: defaults that suit it, but for what is given.

    Args:
        data: As in `Settings`. The digits are learnt by the small model from scratch, all else
            by fine-tuning a pretrained one.
        pretrain: Whether all else is learnt from scratch as well, by a recipe for that.
        **given: Any other fields of `Settings`.
    """
    model = given.get("model", SMALL if data == "digits" else None)
    defaults = DIGITS if model == SMALL else PRETRAIN if pretrain else Settings(data)
    return dataclasses.replace(defaults, data=data, **given)
