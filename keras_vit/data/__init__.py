"""Image data sets to train on: photos in folders, a TFDS name, TFRecords, arrays, or the digits.

Each becomes an `ImageData`, whose `tf.data` pipelines give float32 images in [0, 255] and
integer labels, for models with `include_preprocessing=True`. What happens at random follows
from one `seed`, whatever the number of threads. `open` finds
images by a name of any of these kinds.
"""

from keras_vit.data.by_name import open
from keras_vit.data.image_data import ImageData
from keras_vit.data.labelled import LabelledImages
from keras_vit.data.sources.arrays import digits, from_arrays
from keras_vit.data.sources.folders import from_folder
from keras_vit.data.sources.records import from_records, write_records
from keras_vit.data.sources.tfds import from_tfds

__all__ = [
    "ImageData",
    "LabelledImages",
    "digits",
    "from_arrays",
    "from_folder",
    "from_records",
    "from_tfds",
    "open",
    "write_records",
]
