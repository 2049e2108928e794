"""Where images come from, and what is done to them.

Photos in folders, a TFDS name, TFRecords, arrays and the digits become an `ImageData`. Its
`tf.data` pipelines give float32 images in [0, 255] and integer labels, for models with
`include_preprocessing=True`. One `seed` decides all that is random, whatever the number of threads.
"""

from keras_vit.data.image_data import ImageData
from keras_vit.data.sources.arrays import digits, from_arrays
from keras_vit.data.sources.folders import from_folder
from keras_vit.data.sources.records import from_records, write_records
from keras_vit.data.sources.tfds import from_tfds

__all__ = [
    "ImageData",
    "digits",
    "from_arrays",
    "from_folder",
    "from_records",
    "from_tfds",
    "write_records",
]
