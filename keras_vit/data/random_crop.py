"""The random crop of training images: where it lies, and how to decode nothing else."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from keras_vit.data.image_ops import (
    decode,
    fit_to_size,
    is_transposed,
    turn_upright,
    window_in_file,
)

if TYPE_CHECKING:
    import tensorflow as tf

# A JPEG can be decoded at 1 / RATIO of its size, and faster. It is where the part still has SPARE
# times the rows and columns that are needed: then the result is nearer to that of all pixels than
# with TensorFlow's fast transform. With a SPARE of 1 it is not.
RATIOS = (1, 2, 4, 8)
SPARE = 2


@dataclasses.dataclass(frozen=True)
class RandomCrop:
    """The training crop of the paper: a random part of the image ("inception crop"), mirrored
    half of the time.

    Attributes:
        seed: int `[2]`; the same seed cuts the same crop.
        image_size: (rows, columns) of the result in pixels.
        area: Least and largest share of the image's area; (.05, 1) in the original. Its
            proportions are stretched by 3/4 to 4/3.
        flip: Whether to mirror left and right.
        interpolation: As in `image_ops.fit_to_size`.
    """

    seed: Any
    image_size: tuple[int, int]
    area: tuple[float, float] = (0.05, 1.0)
    flip: bool = True
    interpolation: str = "bilinear"

    def window(self, shape: Any) -> tuple[Any, Any]:
        """The first (row, column) of the part, and its (rows, columns).

        Args:
            shape: int32 `[2]`, rows and columns of the upright image.
        """
        import tensorflow as tf

        begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
            tf.concat([shape, [3]], 0),
            tf.zeros((0, 0, 4)),
            seed=self.seed,
            min_object_covered=0.0,
            aspect_ratio_range=(3 / 4, 4 / 3),
            area_range=self.area,
            use_image_if_no_bounding_boxes=True,
        )
        return begin[:2], size[:2]

    def cut(self, image: Any) -> Any:
        """The part of an upright image `[H, W, 3]`."""
        import tensorflow as tf

        return _slice(image, *self.window(tf.shape(image)[:2]))

    def decode_jpeg(self, file: Any, orientation: Any = 1) -> Any:
        """The part of a JPEG file, upright, uint8 `[h, w, 3]`: as if cut out of the whole image.

        At a smaller scale, its edges are rounded to a whole pixel of that scale.

        Args:
            file: string scalar.
            orientation: EXIF orientation, 1 (upright) to 8.
        """
        import tensorflow as tf

        shape = tf.io.extract_jpeg_shape(file)[:2]
        upright = tf.where(is_transposed(orientation), shape[::-1], shape)
        begin, size = self.window(upright)
        times = tf.reduce_min(size // self.image_size) // SPARE
        begin, size = window_in_file(begin, size, upright, orientation)

        def at(ratio: int) -> Any:
            start, stop = ((edge + ratio // 2) // ratio for edge in (begin, begin + size))
            # The colours of a pixel depend on its neighbours. With two more on each side, the part
            # is exactly that of the whole image.
            first = tf.maximum(start - 2, 0)
            last = tf.minimum(stop + 2, -(-shape // ratio))
            image = tf.io.decode_and_crop_jpeg(
                file,
                tf.concat([first, last - first], 0),
                channels=3,
                ratio=ratio,
                dct_method="INTEGER_ACCURATE",
            )
            return _slice(image, start - first, stop - start)

        which = tf.reduce_sum(tf.cast(times >= tf.constant(RATIOS[1:]), tf.int32))
        part = tf.switch_case(which, [functools.partial(at, ratio) for ratio in RATIOS])
        return turn_upright(part, orientation)

    def finish(self, part: Any) -> tf.Tensor:
        """Brings the part to its size, and mirrors it or not: float32 `[rows, columns, 3]`."""
        import tensorflow as tf

        image = fit_to_size(part, self.image_size, interpolation=self.interpolation)
        if not self.flip:
            return image
        return tf.image.stateless_random_flip_left_right(image, self.seed + 1)


def decode_upright(file: Any, orientation: Any = 1, crop: RandomCrop | None = None) -> Any:
    """Decodes an image file and turns it upright.

    Args:
        file: string scalar, as for `image_ops.decode`.
        orientation: EXIF orientation, 1 (upright) to 8.
        crop: The part to return, for training. Of a JPEG, nothing else is decoded, and damage
            below the part is not noticed.

    Returns:
        uint8 `[H, W, 3]`.
    """
    import tensorflow as tf

    def whole() -> Any:
        return turn_upright(decode(file), orientation)

    if crop is None:
        return whole()
    image = tf.cond(
        tf.io.is_jpeg(file),
        lambda: crop.decode_jpeg(file, orientation),
        lambda: crop.cut(whole()),
    )
    image.set_shape((None, None, 3))
    return image


def _slice(image: Any, begin: Any, size: Any) -> Any:
    import tensorflow as tf

    return tf.slice(image, tf.concat([begin, [0]], 0), tf.concat([size, [3]], 0))
