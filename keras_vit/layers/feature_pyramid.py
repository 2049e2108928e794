"""Makes maps of four scales from the one map of a plain backbone, for detection."""

from __future__ import annotations

from typing import Any

import keras

from keras_vit.layers.base.composite import Composite
from keras_vit.layers.functional import gelu
from keras_vit.layers.norm import LayerNorm
from keras_vit.utils.backend import ops
from keras_vit.utils.checks import check_choice, check_counts

DATA_FORMATS = ("channels_last", "channels_first")
# Of the four maps, relative to the map that comes in; from patches of 16 pixels, strides of 4, 8,
# 16 and 32.
SCALES = ("4", "2", "1", "half")


@keras.saving.register_keras_serializable(package="keras_vit")
class SimpleFeaturePyramid(Composite):
    """Four maps of four scales from one (ViTDet, arXiv 2203.16527, section 3).

    The map is enlarged by 4 (two deconvolutions with a layer norm and a GELU between), enlarged
    by 2 (a deconvolution), left as it is, and halved (max pooling). On each of these follow a
    1x1 and a 3x3 convolution with a layer norm after each, as in the authors' code.

    Args:
        width: Channels of the four maps.
        data_format: Of the maps, `"channels_last"` or `"channels_first"`. Default: that of the
            Keras configuration, which the maps of `keras_vit.feature_model` have.

    Input: `[B, rows, columns, D]`, the map of the last block. D is at least 4.
    Output: four maps `[B, r, c, width]`, where (r, c) is (rows, columns) times 4, 2, 1 and 1/2
    (rounded down). With patches of 16 pixels their strides are 4, 8, 16 and 32 pixels.

    Raises:
        ValueError: If an argument is out of its range, or D is below 4.
    """

    def __init__(self, width: int = 256, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        check_counts(1, width=width)
        self.width = width
        self.data_format = check_choice(
            "data_format", data_format or keras.config.image_data_format(), DATA_FORMATS
        )

    def build(self, input_shape: Any) -> None:
        channels = input_shape[1 if self.data_format == "channels_first" else -1]
        if channels < 4:
            raise ValueError(
                f"The map must have at least 4 channels. Received: input_shape={input_shape}"
            )
        inside = (None, None, None)  # the layers work with channels last
        self.enlarge_4_first = self._deconvolution(channels // 2, "enlarge_4_first")
        self.enlarge_4_norm = self.part(LayerNorm, name="enlarge_4_norm")
        self.enlarge_4_second = self._deconvolution(channels // 4, "enlarge_4_second")
        self.enlarge_2 = self._deconvolution(channels // 2, "enlarge_2")
        self.enlarge_4_first.build((*inside, channels))
        self.enlarge_4_norm.build((*inside, channels // 2))
        self.enlarge_4_second.build((*inside, channels // 2))
        self.enlarge_2.build((*inside, channels))
        self.projections = [self._convolution(1, f"projection_{s}") for s in SCALES]
        self.projection_norms = [self.part(LayerNorm, name=f"projection_norm_{s}") for s in SCALES]
        self.convolutions = [self._convolution(3, f"convolution_{s}") for s in SCALES]
        self.convolution_norms = [
            self.part(LayerNorm, name=f"convolution_norm_{s}") for s in SCALES
        ]
        widths = (channels // 4, channels // 2, channels, channels)
        for layer, of_scale in zip(self.projections, widths, strict=True):
            layer.build((*inside, of_scale))
        for layer in (*self.projection_norms, *self.convolutions, *self.convolution_norms):
            layer.build((*inside, self.width))

    def _deconvolution(self, channels: int, name: str) -> Any:
        return self.part(
            keras.layers.Conv2DTranspose, channels, 2, strides=2, data_format="channels_last",
            name=name,
        )  # fmt: skip

    def _convolution(self, size: int, name: str) -> Any:
        """Without a bias, as a norm follows."""
        return self.part(
            keras.layers.Conv2D, self.width, size, padding="same", use_bias=False,
            data_format="channels_last", name=name,
        )  # fmt: skip

    def call(self, features: Any, training: bool | None = None) -> Any:
        first = self.data_format == "channels_first"
        x = ops.transpose(features, (0, 2, 3, 1)) if first else features
        twice = gelu(self.enlarge_4_norm(self.enlarge_4_first(x)), "exact", training)
        scaled = (
            self.enlarge_4_second(twice),
            self.enlarge_2(x),
            x,
            ops.max_pool(x, 2, 2, data_format="channels_last"),
        )
        maps = []
        for i, y in enumerate(scaled):
            y = self.projection_norms[i](self.projections[i](y))
            y = self.convolution_norms[i](self.convolutions[i](y))
            maps.append(ops.transpose(y, (0, 3, 1, 2)) if first else y)
        return maps

    def compute_output_shape(self, input_shape: Any) -> Any:
        first = self.data_format == "channels_first"
        batch, *sides = input_shape
        sides = sides[1:] if first else sides[:2]
        shapes = []
        for numerator, denominator in ((4, 1), (2, 1), (1, 1), (1, 2)):
            size = [None if side is None else side * numerator // denominator for side in sides]
            shapes.append((batch, self.width, *size) if first else (batch, *size, self.width))
        return shapes

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "width": self.width, "data_format": self.data_format}
