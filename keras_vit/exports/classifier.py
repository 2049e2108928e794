"""Takes a Keras model apart for an export: pixels in; features, logits, probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_vit.checkpoints.model_variables import model_family
from keras_vit.data.preprocessing import LABELLED_CLASSES, labels, preprocess_input
from keras_vit.exports.float32 import as_float32
from keras_vit.layers import PositionEmbedding
from keras_vit.models import resize_model
from keras_vit.models.flatten import flat
from keras_vit.utils.backend import ops
from keras_vit.utils.checks import as_pair, check_counts


class PixelClassifier:
    """A model in float32 that is called with pixels, whatever it was built for.

    Args:
        model: A classifier around what keras_vit built, with any head, dtype policy and data
            format; also one that has ours as a layer, `keras.Sequential([backbone, head])`.
        image_size: Pixels, one number or (rows, columns). Default: the model's. For another, or
            where the model leaves it open, position embeddings are resampled.
        class_names: One per class, in order. Default: those of ImageNet for heads of 1,000
            and 21,843 classes, else `"class 0"` and so on.

    Attributes:
        model: The Keras model, float32 and of a fixed size unless it needs none.
        image_size: (rows, columns) in pixels.
        channels: Of the image, 1 or 3.
        class_names: As many as the model has classes.
        width: Channels of the features.
        channels_first: Whether the model, though not this, takes `[B, channels, rows, columns]`.
        takes_pixels: Whether the model has its own preprocessing, from [0, 255].

    Raises:
        ValueError: If the model is no such classifier, or an argument does not fit it.
    """

    def __init__(
        self,
        model: Any,
        image_size: int | tuple[int, int] | None = None,
        class_names: Sequence[str] | None = None,
    ):
        if keras.backend.backend() != "tensorflow":
            raise ValueError(
                "Exports are made from Keras's TensorFlow backend; save the weights, set "
                'KERAS_BACKEND="tensorflow", and load them there. Received: the backend '
                f"{keras.backend.backend()!r}"
            )
        model = flat(model)
        model_family(model)  # raises for what keras_vit did not build
        if len(model.inputs) != 1 or len(model.outputs) != 1 or len(model.output.shape) != 2:
            raise ValueError(
                "`model` must take one image and give scores [B, classes]; build it with "
                f"`include_top=True`. Received: model={model.name!r}, {len(model.inputs)} inputs, "
                f"outputs of shape {[tuple(x.shape) for x in model.outputs]}"
            )
        names = {layer.name for layer in model.layers}
        self.channels_first = "channels_last" in names
        self.takes_pixels = "preprocessing" in names
        self.model: Any = _of_size(as_float32(model), self.channels_first, image_size)
        rows, columns, channels = _sides(self.model, self.channels_first)
        if None in (rows, columns):
            rows, columns = as_pair(image_size, "image_size")
        self.image_size = (int(rows), int(columns))
        self.channels = int(channels)
        if self.channels not in (1, 3):
            raise ValueError(
                "`model` must take images of 1 or 3 channels, as image files have. Received: "
                f"model={model.name!r} for {self.channels} channels"
            )
        head = _head(self.model)
        self.width = int(head.input.shape[-1])
        self._gives_logits = _activation(self.model) == "linear"
        self._parts: Any = keras.Model(self.model.input, [head.input, self.model.output])
        self.class_names = _class_names(class_names, int(self.model.output.shape[-1]))

    def __call__(self, pixels: Any) -> tuple[Any, Any, Any]:
        """Runs the model on pixels.

        Args:
            pixels: `[B, rows, columns, channels]` in [0, 255], uint8 or float32; channels last,
                always.

        Returns:
            What the head sees, `[B, width]`; what the model gives, `[B, classes]`; and that as
            probabilities. All float32.
        """
        x = ops.cast(pixels, "float32")
        if not self.takes_pixels:
            x = preprocess_input(x)
        if self.channels_first:
            x = ops.transpose(x, (0, 3, 1, 2))
        features, outputs = self._parts(x, training=False)
        return features, outputs, ops.softmax(outputs) if self._gives_logits else outputs


def _sides(model: Any, channels_first: bool) -> tuple[Any, Any, Any]:
    first, second, third = model.input.shape[1:]
    return (second, third, first) if channels_first else (first, second, third)


def _of_size(model: Any, channels_first: bool, image_size: Any) -> Any:
    """The model for an image size that is known."""
    rows, columns, _ = _sides(model, channels_first)
    wanted = None if image_size is None else as_pair(image_size, "image_size")
    if wanted is None:
        if None in (rows, columns):
            raise ValueError(
                "The model takes images of any size, an exported one of one size: give it, "
                f"`image_size=224` for example. Received: model={model.name!r} for "
                f"({rows}, {columns}), image_size=None"
            )
        return model
    if wanted == (rows, columns):
        return model
    if any(isinstance(layer, PositionEmbedding) for layer in model.layers):
        return resize_model(model, wanted)
    if any(side not in (None, given) for side, given in zip((rows, columns), wanted, strict=True)):
        raise ValueError(
            "`image_size` must be the model's; build the model for the other size. Received: "
            f"model={model.name!r} for ({rows}, {columns}), image_size={wanted}"
        )
    return model


def _head(model: Any) -> Any:
    """The last dense layer: its input are the features."""
    dense: list[Any] = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    if not dense or len(dense[-1].input.shape) != 2:
        raise ValueError(
            "`model` must end in a dense layer on [B, D], as a head of keras_vit does. Received: "
            f"model={model.name!r} with the layers ..., "
            f"{', '.join(layer.name for layer in model.layers[-3:])}"
        )
    return dense[-1]


def _activation(model: Any) -> str:
    """ "linear" for logits; "softmax" or "sigmoid" for what is a probability already."""
    last = model.layers[-1]
    if isinstance(last, keras.layers.Softmax):
        return "softmax"
    name = getattr(getattr(last, "activation", None), "__name__", type(last).__name__)
    if name not in ("linear", "softmax", "sigmoid"):
        raise ValueError(
            "`model` must end in logits, a softmax or a sigmoid. Received: "
            f"model={model.name!r}, which ends in {last.name!r} with {name}"
        )
    return name


def _class_names(names: Sequence[str] | None, classes: int) -> tuple[str, ...]:
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
            f"`class_names` must be strings of one line, not empty. Received: {bad[0]!r}"
        )
    return names


def _one_line(name: str) -> bool:
    return name.splitlines() == [name]


def check_top_k(top_k: Any, classes: int) -> int:
    """`top_k`, or all classes where there are fewer."""
    check_counts(1, top_k=top_k)
    return min(int(top_k), classes)
