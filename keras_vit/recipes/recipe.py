"""What a recipe is: one way to train, as data, and the arguments that Keras needs for it."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from keras_vit.data.augment.augmentation import AUGMENTATIONS, Augmentation, as_augmentation
from keras_vit.recipes.losses import SigmoidCrossentropy
from keras_vit.recipes.optimizers import NOT_KERNELS, AdamW, MomentumSGD
from keras_vit.recipes.schedules import BiTSteps, WarmupCosine, WarmupLinear
from keras_vit.utils.checks import check_choice, check_counts

_CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": ("momentum", "adamw"),
    "schedule": ("cosine", "linear", "steps"),
    "loss": ("softmax", "sigmoid"),
    "labels": ("integer", "one_hot"),
    "crop": ("inception", "random"),
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One complete way to train: `get` makes it, `replace` changes it, `print` shows all of it.

    Attributes:
        name: The name of the recipe, with what `get` was asked for.
        source: Where its numbers are published.
        optimizer: `"momentum"` (`MomentumSGD`, .9) or `"adamw"` (.9, .999).
        learning_rate: The highest learning rate of the schedule.
        learning_rates: The values from which the paper chose one, on the held-out share.
        schedule: `"cosine"` to 0, `"linear"` to 1e-5, or `"steps"` (a tenth at `decay_at`).
        warmup_steps: Updates until the highest rate.
        decay_at: With `"steps"`: shares of all updates, in (0, 1).
        weight_decay: Decoupled, multiplied by the learning rate; 0 for none.
        no_decay: Kinds of variables without weight decay (`keras_vit.recipes.optimizers.KINDS`).
        batch_size: Images per update.
        steps: Updates in all; `None` where `epochs` says how long.
        epochs: Passes over `num_examples`; `None` where `steps` says how long.
        num_examples: Training images; the held-out share is not taken off.
        image_size: Pixels of a side that the model sees.
        resize: Pixels of a side before the crop, or `None` where the crop comes first.
        crop: `"inception"` (a share `crop_area` of the area, any shape, resized) or `"random"`
            (a square of `image_size` from the resized image).
        crop_area: Least and largest share for the inception crop.
        flip: Whether half of the images are mirrored.
        augmentation: What else is done to images; a row of `AUGMENTATIONS` or its name.
        dropout_rate: After each dense layer but query, key and value, and after the position
            embedding.
        stochastic_depth_rate: Of the last block, rising linearly from 0.
        clip_norm: Largest global norm of the gradients, or `None`.
        loss: `"softmax"` or `"sigmoid"` cross-entropy.
        labels: `"integer"` `[B]` or `"one_hot"` `[B, classes]`, which mixup needs.
        head_bias: What the bias of a new head starts at; see `set_head_bias`.
        ema: Factor of the average of the weights (Polyak), or `None`.
        dev_share: Share of the training images held out to choose settings on.

    Raises:
        ValueError: If fields contradict each other.
    """

    name: str
    source: str
    optimizer: str = "momentum"
    learning_rate: float = 0.03
    learning_rates: tuple[float, ...] = ()
    schedule: str = "cosine"
    warmup_steps: int = 500
    decay_at: tuple[float, ...] = ()
    weight_decay: float = 0.0
    no_decay: tuple[str, ...] = NOT_KERNELS
    batch_size: int = 512
    steps: int | None = None
    epochs: float | None = None
    num_examples: int | None = None
    image_size: int = 224
    resize: int | None = None
    crop: str = "inception"
    crop_area: tuple[float, float] = (0.05, 1.0)
    flip: bool = True
    augmentation: Augmentation = AUGMENTATIONS["none"]
    dropout_rate: float = 0.0
    stochastic_depth_rate: float = 0.0
    clip_norm: float | None = None
    loss: str = "softmax"
    labels: str = "integer"
    head_bias: float = 0.0
    ema: float | None = None
    dev_share: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.augmentation, str):
            object.__setattr__(self, "augmentation", as_augmentation(self.augmentation))
        for field, choices in _CHOICES.items():
            check_choice(field, getattr(self, field), choices)
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(
                "Give exactly one of `steps` and `epochs`: how long to train. Received: "
                f"steps={self.steps}, epochs={self.epochs}"
            )
        if self.epochs is not None and not self.num_examples:
            raise ValueError(
                "With `epochs`, `num_examples` must be the number of training images. "
                f"Received: epochs={self.epochs}, num_examples={self.num_examples}"
            )
        check_counts(1, batch_size=self.batch_size)
        if not 0 <= self.warmup_steps < self.total_steps:
            raise ValueError(
                "The warmup must be shorter than the training: give `warmup_steps` too, or take "
                "`recipe.shortened_to(steps)`. Received: "
                f"warmup_steps={self.warmup_steps}, {self.total_steps} steps in all"
            )
        if self.augmentation.mixes and self.labels != "one_hot":
            raise ValueError(
                "Mixing images mixes labels too, so they must be one-hot: labels='one_hot', or "
                f"another augmentation. Received: augmentation={self.augmentation.name!r}, "
                f"labels={self.labels!r}"
            )

    @property
    def total_steps(self) -> int:
        """Updates in all."""
        if self.steps is not None:
            return self.steps
        return max(int((self.epochs or 0) * (self.num_examples or 0) / self.batch_size), 1)

    def replace(self, **changes: Any) -> Recipe:
        """The same but for some fields. Nothing else follows: not the learning rate from the
        batch size, not the warmup from the steps (see `scaled_to` and `shortened_to`).

        `steps` takes the place of `epochs`, and the other way round.
        """
        fields = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            check_choice("field", name, fields)
        for one, other in (("steps", "epochs"), ("epochs", "steps")):
            if changes.get(one) is not None:
                changes.setdefault(other, None)
        return dataclasses.replace(self, **changes)

    def scaled_to(self, batch_size: int) -> Recipe:
        """For another batch size by the linear rule: the learning rate in proportion to it, and
        as many images in warmup and training as before (Goyal et al., 2017).

        The papers did not do this. It is the usual start where 512 or 4,096 images do not fit
        and gradients are not accumulated.
        """
        factor = batch_size / self.batch_size
        return self.replace(
            batch_size=batch_size,
            learning_rate=self.learning_rate * factor,
            learning_rates=tuple(rate * factor for rate in self.learning_rates),
            warmup_steps=round(self.warmup_steps / factor),
            **({} if self.steps is None else {"steps": max(round(self.steps / factor), 1)}),
        )

    def shortened_to(self, steps: int) -> Recipe:
        """With so many steps, and the warmup in proportion: the schedule keeps its shape."""
        warmup = int(self.warmup_steps * steps / self.total_steps)
        return self.replace(steps=steps, warmup_steps=warmup)

    def adapted(
        self,
        steps: int | None = None,
        learning_rate: float | None = None,
        warmup_steps: int | None = None,
    ) -> Recipe:
        """With what is given in place of its own; else the warmup goes with the steps.

        Raises:
            ValueError: If something is out of its range.
        """
        recipe = self
        if steps is not None:
            check_counts(1, steps=steps)
            recipe = recipe.shortened_to(steps)
        given = {"learning_rate": learning_rate, "warmup_steps": warmup_steps}
        return recipe.replace(**{name: value for name, value in given.items() if value is not None})

    def learning_rate_schedule(self, batches_per_step: int = 1) -> Any:
        """The schedule, for any Keras optimiser; arguments as in `keras_vit.recipes.schedules`."""
        steps, options = self.total_steps, {"batches_per_step": batches_per_step}
        if self.schedule == "steps":
            falls = (round(share * steps) for share in self.decay_at)
            return BiTSteps(self.learning_rate, (self.warmup_steps, *falls, steps), **options)
        kind = WarmupCosine if self.schedule == "cosine" else WarmupLinear
        return kind(self.learning_rate, steps, self.warmup_steps, **options)

    def make_optimizer(self, gradient_accumulation_steps: int | None = None) -> Any:
        """A new optimiser with the schedule, weight decay, clipping and average.

        Args:
            gradient_accumulation_steps: Batches per update, at least 2: then a batch holds
                `batch_size` divided by it, and `fit` makes that many times `total_steps`.
                Keras averages weights after every batch, so `ema` is adapted to that.
        """
        batches = gradient_accumulation_steps or 1
        options: dict[str, Any] = {
            "global_clipnorm": self.clip_norm,
            "gradient_accumulation_steps": gradient_accumulation_steps,
            "no_decay": self.no_decay,
        }
        if self.ema is not None:
            options |= {"use_ema": True, "ema_momentum": self.ema ** (1 / batches)}
        rate = self.learning_rate_schedule(batches)
        if self.optimizer == "adamw":
            return AdamW(rate, self.weight_decay, **options)
        return MomentumSGD(rate, 0.9, weight_decay=self.weight_decay or None, **options)

    def compile_args(
        self,
        from_logits: bool = False,
        jit_compile: bool | str = "auto",
        gradient_accumulation_steps: int | None = None,
    ) -> dict[str, Any]:
        """What `keras.Model.compile` takes: optimiser, loss, metrics, `jit_compile`.

        Args:
            from_logits: Whether the model ends in logits; else in a softmax (the default of the
                named constructors) or, with `loss="sigmoid"`, in a sigmoid. A model made with
                `model_args` ends in what the default expects.
            jit_compile: `"auto"` compiles with XLA on a GPU.
            gradient_accumulation_steps: As in `make_optimizer`.

        With `ema`, `fit` puts the averages into the model when it ends; to validate with them
        on the way, pass the callback `keras.callbacks.SwapEMAWeights`.
        """
        integer = self.labels == "integer"
        if self.loss == "sigmoid":
            loss: Any = SigmoidCrossentropy(from_logits=from_logits, sparse=integer)
        elif integer:
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
        else:
            loss = keras.losses.CategoricalCrossentropy(from_logits=from_logits)
        metrics = keras.metrics
        accuracy = metrics.SparseCategoricalAccuracy if integer else metrics.CategoricalAccuracy
        return {
            "optimizer": self.make_optimizer(gradient_accumulation_steps),
            "loss": loss,
            "metrics": [accuracy(name="accuracy")],
            "jit_compile": jit_compile,
        }

    def model_args(self) -> dict[str, Any]:
        """Arguments of a constructor: the activation that `compile_args` expects, and dropout
        and stochastic depth where there are any (a BiT ResNet has neither)."""
        rates = {
            "dropout_rate": self.dropout_rate,
            "stochastic_depth_rate": self.stochastic_depth_rate,
        }
        args = {name: rate for name, rate in rates.items() if rate}
        return {"classifier_activation": self.loss, **args}

    def data_args(self, batches_per_step: int = 1) -> dict[str, Any]:
        """Arguments of `keras_vit.data.from_folder`, `from_tfds` and `from_records`.

        The crop is the inception crop of `crop_area`, whatever `crop` says: a square at a random
        place after a resize, as BiT has it, becomes one of (`image_size` / `resize`)^2 of the area
        or more. Labels are one-hot where the augmentation mixes images, and only there: give the
        recipe `labels="integer"` (its `replace`) where they are not, as `compile_args` chooses the
        loss by that.

        Args:
            batches_per_step: As for `gradient_accumulation_steps`; must divide `batch_size`.

        Raises:
            ValueError: If it does not.
        """
        if batches_per_step < 1 or self.batch_size % batches_per_step:
            raise ValueError(
                "The batches of a step must be of one size: `batches_per_step` must divide "
                f"`batch_size`. Received: batches_per_step={batches_per_step}, "
                f"batch_size={self.batch_size}"
            )
        area = self.crop_area
        if self.crop == "random" and self.resize:
            area = (min((self.image_size / self.resize) ** 2, 1.0), 1.0)
        return {
            "image_size": self.image_size,
            "batch_size": self.batch_size // batches_per_step,
            "crop_area": area,
            "flip": self.flip,
            "augmentation": self.augmentation,
        }

    def set_head_bias(self, model: keras.Model) -> None:
        """Sets the bias of the head to `head_bias`; once, before training from random weights.

        With a sigmoid for each of many classes, a start at 0 says that every image belongs to
        half of them.
        """
        head: Any = model.get_layer("head")
        head.bias.assign(keras.ops.full(head.bias.shape, self.head_bias))

    def describe(self) -> str:
        """All fields as a table, a line each."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values["total_steps"] = self.total_steps
        width = max(map(len, values))
        return "\n".join(f"{name:<{width}}  {_text(value)}" for name, value in values.items())

    __str__ = describe


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_text, value)) or "-"
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
