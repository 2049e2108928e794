"""Takes a Keras model apart for an export: pixels in; features, outputs, scores out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_vit.checkpoints.model_variables import model_family
from keras_vit.data.image_ops import INTERPOLATIONS, RESIZES
from keras_vit.data.preprocessing import LABELLED_CLASSES, labels
from keras_vit.exports.float32 import as_float32
from keras_vit.models import resize_model
from keras_vit.models.features import last_node
from keras_vit.models.flatten import flat
from keras_vit.models.input_and_head import last_activation
from keras_vit.models.input_range import input_range as range_of
from keras_vit.models.lora import merged
from keras_vit.models.parts import positions_of
from keras_vit.utils.backend import ops
from keras_vit.utils.checks import as_pair, check_choice, check_counts
from keras_vit.utils.text import printable

# How outputs become scores.
_SCORES = {"softmax": ops.softmax, "sigmoid": ops.sigmoid, "none": None}


class PixelClassifier:
    """A model in float32 that takes pixels in [0, 255], whatever input it was built for.

    Args:
        model: A model of one image around what keras_vit built, with any outputs, dtype policy
            and data format; also one that has ours as a layer, `keras.Sequential([backbone,
            head])`, with a scaling of its own before it.
        image_size: Pixels, one number or (rows, columns). Default: the model's. For another, or
            where the model leaves it open, position embeddings are resampled.
        class_names: One per class, in order. Default: those of ImageNet for heads of 1,000
            and 21,843 classes, else `"class 0"` and so on.
        input_range: (low, high), the values of black and white for the model. Default: found by
            running the model on grey images, see `keras_vit.models.input_range`.
        scores: How the outputs become scores: `"softmax"`, `"sigmoid"`, or `"none"` for numbers
            that are no classes. Default: the activation that the model ends in; for logits
            `"softmax"`; `"none"` for a single number, features, and several outputs.
        resize: How a photo gets the size of the image, `"squash"` or `"crop"`.
        interpolation: How it is resampled for that, `"bilinear"` or `"bicubic"`.

    Attributes:
        model: The Keras model, float32 and of one size.
        image_size: (rows, columns) in pixels.
        channels: Of the image, 1 or 3.
        class_names: As many as the model has classes; none with scores of `"none"`.
        channels_first: Whether the model, though not this, takes `[B, channels, rows, columns]`.
        input_range: What the model takes as black and white.
        scores, resize, interpolation: As above.
        output_names: Of the outputs, in their order; `("output",)` where there is one.
        features: What the head sees, a Keras tensor of `model`; `None` where there is no head.
        outputs: Of `model`, Keras tensors in the order of their names.

    Raises:
        ValueError: If the model is no such model, or an argument does not fit it.
    """

    def __init__(
        self,
        model: Any,
        image_size: int | tuple[int, int] | None = None,
        class_names: Sequence[str] | None = None,
        input_range: tuple[float, float] | None = None,
        scores: str | None = None,
        resize: str = "squash",
        interpolation: str = "bilinear",
    ):
        self.resize = check_choice("resize", resize, RESIZES)
        self.interpolation = check_choice("interpolation", interpolation, INTERPOLATIONS)
        original, model = model, flat(model)
        model_family(model)  # raises for what keras_vit did not build
        model = merged(model)
        if len(model.inputs) != 1:
            raise ValueError(
                f"`model` must take one image. Received: model={model.name!r} of "
                f"{len(model.inputs)} inputs"
            )
        self.input_range = range_of(model, input_range)
        self.output_names = output_names(original)
        self.channels_first = "channels_last" in {layer.name for layer in model.layers}
        self.model: Any = _of_size(as_float32(model), self.channels_first, image_size)
        # Where nothing was changed, the files are compared with the model that was given.
        self._as_used: Any = original if self.model is model else self.model
        rows, columns, channels = _sides(self.model, self.channels_first)
        self.image_size = (int(rows), int(columns))
        self.channels = int(channels)
        if self.channels not in (1, 3):
            raise ValueError(
                "`model` must take images of 1 or 3 channels, as image files have. Received: "
                f"model={model.name!r} for {self.channels} channels"
            )
        self._activation = _activation(self.model)
        self.scores = _scores(scores, self._activation, self.model)
        self.features = _before_head(self.model)
        self.outputs = list(self.model.outputs)
        features = [] if self.features is None else [self.features]
        self._parts: Any = keras.Model(self.model.inputs[0], [*features, *self.outputs])
        self.class_names = ()
        if self.scores != "none" or class_names is not None:
            self.class_names = _class_names(class_names, self.model)

    def __call__(self, pixels: Any) -> tuple[Any, dict[str, Any], Any]:
        """Runs the model on pixels.

        Args:
            pixels: `[B, rows, columns, channels]` in [0, 255], uint8 or float32; channels last,
                always.

        Returns:
            What the head sees, `[B, width]`, or `None`; what the model gives, by
            `output_names`; and the scores `[B, classes]`, or `None`. All float32.
        """
        made = keras.tree.flatten(self._parts(self._images(pixels), training=False))
        features = None if self.features is None else made.pop(0)
        scores = None
        if self.scores != "none":
            to_scores: Any = _SCORES[self.scores]
            scores = made[0] if self._activation == self.scores else to_scores(made[0])
        return features, dict(zip(self.output_names, made, strict=True)), scores

    def expected(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """What the Keras model gives, fed as its user feeds it: its outputs by name."""
        made = self._as_used(self._images(pixels), training=False)
        outputs = [ops.convert_to_numpy(x) for x in keras.tree.flatten(made)]
        return dict(zip(self.output_names, outputs, strict=True))

    def _images(self, pixels: Any) -> Any:
        x = self.input_range.of_pixels(ops.cast(pixels, "float32"))
        return ops.transpose(x, (0, 3, 1, 2)) if self.channels_first else x


def output_names(model: Any) -> tuple[str, ...]:
    """The keys of a dictionary of outputs, or the names of the layers that they come from."""
    if len(model.outputs) == 1:
        return ("output",)
    if isinstance(model.output, dict):
        names = sorted(model.output)
    else:
        names = [x._keras_history.operation.name for x in model.outputs]
    return tuple(
        f"{name}_{names[:i].count(name) + 1}" if name in names[:i] else name
        for i, name in enumerate(names)
    )


def _sides(model: Any, channels_first: bool) -> tuple[Any, Any, Any]:
    first, second, third = model.inputs[0].shape[1:]  # `input` may be a list of one
    return (second, third, first) if channels_first else (first, second, third)


def _of_size(model: Any, channels_first: bool, image_size: Any) -> Any:
    """The model for an image size that is known."""
    rows, columns, _ = _sides(model, channels_first)
    wanted = None if image_size is None else as_pair(image_size, "image_size")
    if wanted is None:
        if None in (rows, columns):
            raise ValueError(
                "The model takes images of any size, but an exported model takes one size. Pass "
                f"it, `image_size=224` for example. Received: model={model.name!r} for "
                f"({rows}, {columns}), image_size=None"
            )
        return model
    if wanted == (rows, columns):
        return model
    differs = any(side not in (None, n) for side, n in zip((rows, columns), wanted, strict=True))
    if positions_of(model) is None and differs:
        raise ValueError(
            "`image_size` must be that of the model. Build the model for the other size. Received: "
            f"model={model.name!r} for ({rows}, {columns}), image_size={wanted}"
        )
    return resize_model(model, wanted)


def _before_head(model: Any) -> Any:
    """What the dense layer that ends the model takes: its features."""
    if len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
        return None
    node = last_node(model)
    return node.input_tensors[0] if isinstance(node.operation, keras.layers.Dense) else None


def _activation(model: Any) -> str | None:
    """What a model of one vector ends in."""
    is_vector = len(model.outputs) == 1 and len(model.outputs[0].shape) == 2
    return last_activation(model) if is_vector else None


def _scores(wanted: str | None, activation: str | None, model: Any) -> str:
    """A key of `_SCORES`."""
    outputs = [tuple(x.shape) for x in model.outputs]
    if wanted is not None:
        check_choice("scores", wanted, _SCORES)
        vector = len(outputs) == 1 and len(outputs[0]) == 2
        if wanted != "none" and (not vector or activation in ({"softmax", "sigmoid"} - {wanted})):
            raise ValueError(
                '`scores` must be "none" for a model whose outputs are not [B, classes], and the '
                "name of its activation for a model that ends in softmax or sigmoid. Received: "
                f"scores={wanted!r}, model={model.name!r} of outputs {outputs}, which ends in "
                f"{activation or 'no activation'}"
            )
        return wanted
    if activation in (None, "softmax", "sigmoid"):
        return activation or "none"
    if activation != "linear":
        raise ValueError(
            "`model` must end in logits, a softmax or a sigmoid, or `scores=` must say what its "
            '`scores` are: "softmax", "sigmoid", or "none" for numbers that are no classes. '
            f"Received: model={model.name!r}, which ends in {activation}"
        )
    # One number is no choice among classes: its softmax is always 1.
    return "softmax" if outputs[0][-1] > 1 else "none"


def _class_names(names: Sequence[str] | None, model: Any) -> tuple[str, ...]:
    classes = int(model.outputs[0].shape[-1])
    if len(model.outputs) > 1 or len(model.outputs[0].shape) != 2:
        raise ValueError(
            "`class_names` are for a model with one output [B, classes]. Leave them out. "
            f"Received: outputs of shape {[tuple(x.shape) for x in model.outputs]}"
        )
    if names is None:
        if classes in LABELLED_CLASSES:
            return tuple(name for _, name in labels(classes))
        return tuple(f"class {i}" for i in range(classes))
    names = (names,) if isinstance(names, str) else tuple(names)
    if len(names) != classes:
        raise ValueError(
            f"`class_names` must have a name for each of the {classes} classes of the model. "
            f"Received: {len(names)} names"
        )
    # They become the lines of a file.
    bad = [name for name in names if not isinstance(name, str) or not name or not _one_line(name)]
    if bad:
        raise ValueError(
            "`class_names` must be strings of one line, not empty, without control characters. "
            f"Received: {bad[0]!r}"
        )
    return names


def _one_line(name: str) -> bool:
    return name.splitlines() == [name] == [printable(name)]


def check_backend() -> None:
    """Refuses another backend than TensorFlow, whose converters make the files.

    Raises:
        ValueError: If it is another.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Exports need Keras's TensorFlow backend. Save the weights, set "
            'KERAS_BACKEND="tensorflow", and load them there. Received: the backend '
            f"{keras.backend.backend()!r}"
        )


def check_top_k(top_k: Any) -> None:
    """Refuses less than 1. More than there are classes is allowed: then all are named."""
    check_counts(1, top_k=top_k)
