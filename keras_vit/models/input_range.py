"""What the numbers of a model's input mean: the values that it takes as black and white."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from keras_vit.layers import PatchEmbed, PixelNormalisation
from keras_vit.layers.standardized_conv import StandardizedConv2D
from keras_vit.models.graph import functional, walk
from keras_vit.utils.backend import ops


class InputRange(NamedTuple):
    """The values of an image: `low` is black, `high` is white.

    A value is `(pixel - mean) / std`, as TFLite's metadata and most libraries write it.
    """

    low: float
    high: float

    @property
    def std(self) -> float:
        return 255 / (self.high - self.low)

    @property
    def mean(self) -> float:
        return -self.low * self.std

    def of_pixels(self, pixels: Any) -> Any:
        """Floating-point pixels in [0, 255] in this range."""
        return pixels if self == PIXELS else (pixels - self.mean) / self.std

    def centred(self, values: Any) -> Any:
        """Values in this range, in [-1, 1]."""
        middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        return values if self == CENTRED else (values - middle) / half

    def __str__(self) -> str:
        return f"[{self.low:g}, {self.high:g}]"


PIXELS = InputRange(0.0, 255.0)
UNIT = InputRange(0.0, 1.0)
CENTRED = InputRange(-1.0, 1.0)

# What takes images in [-1, 1]: the normalisation of CLIP's like, the patches of a ViT and a Mixer,
# the root of a BiT and a hybrid.
_FIRST = (PixelNormalisation, PatchEmbed, StandardizedConv2D)
# Grey levels to try a model with; each is a number in all three ranges.
_LEVELS = np.arange(0, 256, 51).astype("float32")
# Less than one of 256 levels, more than what bfloat16 rounds.
_TOLERANCE = 0.007
# Released models were trained in [-1, 1], others with a mean and a deviation: beyond this nothing
# but a missing scaling leads.
_LARGEST = 10.0


def input_range(model: Any, given: Any = None) -> InputRange:
    """The range that a model takes onto [-1, 1] before its first convolution.

    The part of the model before that convolution is run on grey images, so it does not matter
    what it consists of: Rescaling, Normalization, arithmetic, augmentation, or layers of your own.

    Args:
        model: A functional model or `keras.Sequential` of one image, with a model of keras_vit in
            it.
        given: (low, high), what a caller says that the range is; then nothing is tried.

    Raises:
        ValueError: If the model takes none of [0, 255], [0, 1] and [-1, 1] onto [-1, 1], and
            nothing is given.
    """
    if given is not None:
        try:
            low, high = (float(value) for value in given)
        except (TypeError, ValueError):
            low = high = np.nan
        if not (np.isfinite([low, high]).all() and low < high):
            raise ValueError(
                "`input_range` must be two numbers, what the model takes as black and as white: "
                f"(0, 255), (0, 1) or (-1, 1) for example. Received: input_range={given!r}"
            )
        return InputRange(low, high)
    for each in (PIXELS, UNIT, CENTRED):
        seen = _greys(model, each)
        if seen is not None and np.abs(seen - CENTRED.of_pixels(_LEVELS)[:, None]).max() < (
            _TOLERANCE
        ):
            return each
    seen = _greys(model, PIXELS)
    became = "" if seen is None else (
        f", where the pixels 0 and 255 become {_numbers(seen[0])} and {_numbers(seen[-1])}"
    )  # fmt: skip
    raise ValueError(
        "It cannot be told what the model's input means: before its first convolution it takes "
        "none of [0, 255], [0, 1] and [-1, 1] onto [-1, 1]. Pass `input_range=`, what it takes as "
        "black and white: (0, 255) for a model that is fed pixels as they are in image files. "
        f"Received: model={getattr(model, 'name', model)!r}{became}"
    )


def far_from_pixels(model: Any) -> bool:
    """Whether pixels in [0, 255] reach the first convolution of a model of ours unscaled."""
    seen = _greys(model, PIXELS)
    return seen is not None and not np.abs(seen).max() <= _LARGEST


def before_first(kinds: Any, model: Any, images: np.ndarray) -> np.ndarray | None:
    """What a model makes of images before its first layer of some kinds.

    Args:
        kinds: Classes of layers.
        model: As in `input_range`.
        images: As the model takes them.

    Returns:
        float32 `[B, rows, columns, channels]`, or `None` where there is no such layer.
    """

    def call(node: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        if isinstance(node.operation, kinds):
            raise _ReachedError(args[0])
        outputs = node.operation(*args, **kwargs)
        return list(outputs) if len(node.outputs) > 1 else [outputs]

    graph = functional(model)
    if graph is None or len(graph.inputs) != 1 or not _has(kinds, graph):
        return None
    try:
        walk(graph, [ops.convert_to_tensor(images, graph.inputs[0].dtype)], call)
    except _ReachedError as reached:
        return np.asarray(ops.convert_to_numpy(ops.cast(reached.images, "float32")))
    return None


class _ReachedError(Exception):
    """The layer was reached; nothing behind it is run."""

    def __init__(self, images: Any):
        super().__init__()
        self.images = images


def _has(kinds: Any, graph: Any) -> bool:
    inner = (functional(layer) for layer in graph.layers)
    return any(isinstance(layer, kinds) for layer in graph.layers) or any(
        _has(kinds, each) for each in inner if each is not None
    )


def _greys(model: Any, taken: InputRange) -> np.ndarray | None:
    """What the levels become, `[levels, channels]`: the middle of an image of one colour.

    In its middle: the border may be padding.
    """
    graph = functional(model)
    if graph is None or len(graph.inputs) != 1:
        return None
    # 64 pixels where any size is taken: whatever is cut off, a middle is left.
    sides = (side or 64 for side in graph.inputs[0].shape[1:])
    shape = (len(_LEVELS), *sides)
    images = np.broadcast_to(taken.of_pixels(_LEVELS)[:, None, None, None], shape)
    seen = before_first(_FIRST, graph, images)
    return None if seen is None else seen[:, seen.shape[1] // 2, seen.shape[2] // 2]


def _numbers(values: np.ndarray) -> str:
    distinct = dict.fromkeys(f"{value:.3g}" for value in values)
    return ", ".join(distinct)
