"""TFLite files of 16, 8 and 4 bits, by ai-edge-quantizer, and what keeps them accurate.

| `quantize=` | weights | dense layers' inputs | convolutions' inputs | photos |
|---|---|---|---|---|
| `"float16"` | float16 | float32 | float32 | |
| `"dynamic_int8"` | int8, a scale a channel | int8, a scale a row | float32 | |
| `"int8"` | the same | int8, a scale that is known before | the same | yes |
| `"int4"` | dense: int4, a scale for each 32 | int8, a scale a row | float32 | yes |

Softmax, norms, GELU and attention stay in float32, where quantised ones are slower and less exact.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from keras_vit.exports.tflite.flatbuffer import read, write
from keras_vit.exports.tflite.gptq import gptq
from keras_vit.exports.tflite.observe import Layer, Observed, layers_of_file, observe
from keras_vit.exports.tflite.quantizations import NEED_PHOTOS, QUANTIZATIONS
from keras_vit.utils.checks import check_choice

BLOCK = 32
# The largest errors of rounding an input and an output, as shares of their mean squares, that one
# scale for a whole tensor may make. Above them a dense layer has a scale a row, a convolution only
# its weights quantised. A few massive activations (hidden units of 200 where others reach 3, in
# block 7 of the released Ti/16) are 40 times above; the patches' tokens too, as those of a photo's
# plain parts are small beside its edges. Outputs are the stricter ones, as most are added to the
# residual stream. With a scale a row everywhere Ti/16 is 3 % slower and its logits differ by 4 %
# in place of 7 %; with 0.001 for both they differ by 14 %.
LARGEST_NOISE = (0.0015, 0.00025)


def check_quantize(quantize: Any, calibration: Any) -> None:
    """Raises for a recipe that is unknown or lacks its photos."""
    check_choice("quantize", quantize, (None, *QUANTIZATIONS))
    if quantize in NEED_PHOTOS and calibration is None:
        raise ValueError(
            f"quantize={quantize!r} needs photos like those that the model will see: "
            "`calibration=` a folder of them, or a uint8 array [N, rows, columns, channels]. "
            "Without any, take quantize='dynamic_int8'."
        )
    if quantize not in NEED_PHOTOS and calibration is not None:
        raise ValueError(
            f"`calibration` is for quantize={' or '.join(map(repr, NEED_PHOTOS))}. Received: "
            f"quantize={quantize!r} and photos; leave them out."
        )


def quantize_file(
    flatbuffer: bytes, quantize: str, images: Sequence[np.ndarray] = (), progress: bool = False
) -> bytes:
    """Quantises a converted file.

    Args:
        flatbuffer: In float32, from the converter.
        quantize: One of `QUANTIZATIONS`.
        images: What its first signature takes, one batch each; for `NEED_PHOTOS`.
        progress: Whether to show the photos' progress.

    Raises:
        ImportError: If ai-edge-quantizer is not installed.
    """
    try:
        from ai_edge_quantizer import quantizer, recipe
    except ImportError as error:
        raise ImportError(
            "Quantising needs the package ai-edge-quantizer: "
            'pip install "keras-vit-applications[quantize]"'
        ) from error
    per_channel = recipe.QuantGranularity.CHANNELWISE
    ranges: dict[str, Any] | None = None
    observed: list[Observed] = []
    if quantize in NEED_PHOTOS:
        observed = observe(flatbuffer, images, progress)
        ranges = {}
        flatbuffer = _with_rounded_weights(flatbuffer, observed, quantize)
    made = quantizer.Quantizer(flatbuffer)
    for layer in layers_of_file(flatbuffer):
        operation = getattr(recipe.TFLOperationName, layer.operation)
        here = (f"^{re.escape(layer.scope)}$", operation)
        if quantize == "float16":
            made.add_weight_only_config(*here, 16, per_channel, recipe.AlgorithmName.FLOAT_CASTING)
        elif quantize == "int8" and _one_scale_is_enough(observed[layer.position]):
            made.add_static_config(*here, 8, 8, per_channel)
        elif layer.operation == "CONV_2D":
            made.add_weight_only_config(*here, 8, per_channel)
        elif quantize == "int4" and _has_blocks(layer):
            made.add_dynamic_config(*here, 4, recipe.QuantGranularity.BLOCKWISE_32)
        else:
            made.add_dynamic_config(*here, 8, per_channel)
        if ranges is not None:
            ranges.update(_as_quantizer_has_it(layer, observed[layer.position]))
    with _quiet():
        result: Any = made.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantizer's progress bar and warnings: of memory, and of every array that two
    signatures share, which it quantises alike."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _one_scale_is_enough(observed: Observed) -> bool:
    return all(x <= most for x, most in zip(observed.noise, LARGEST_NOISE, strict=True))


def _has_blocks(layer: Layer) -> bool:
    return layer.operation == "FULLY_CONNECTED" and layer.weight_shape[-1] % BLOCK == 0


def _with_rounded_weights(flatbuffer: bytes, observed: list[Observed], quantize: str) -> bytes:
    """The file with the weights of its dense layers at 4 or 8 bits, still as floats."""
    model: Any = read(flatbuffer)
    done = set()
    for layer in layers_of_file(flatbuffer):
        products = observed[layer.position].products
        if layer.weights in done or products is None:
            continue
        done.add(layer.weights)  # the other signatures have the same
        buffer = model.buffers[layer.weights]
        data: Any = buffer.data
        weights = np.asarray(data).view("float32").reshape(layer.weight_shape)
        four = quantize == "int4" and _has_blocks(layer)
        bits, block = (4, BLOCK) if four else (8, weights.shape[1])
        buffer.data = gptq(weights, products, bits, block).reshape(-1).view("uint8")
    return write(model)


def _as_quantizer_has_it(layer: Layer, observed: Observed) -> dict[str, Any]:
    """The ranges of a layer's input and output by their names."""

    def ends(low: float, high: float) -> dict[str, Any]:
        return {
            "min": np.full((1,) * layer.rank, low, "float32"),
            "max": np.full((1,) * layer.rank, high, "float32"),
        }

    return {layer.input: ends(*observed.input), layer.output: ends(*observed.output)}
