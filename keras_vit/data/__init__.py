"""Image data sets to train on: photos in folders, a TFDS name, TFRecords, arrays, or the digits.

Each becomes an `ImageData`, whose `tf.data` pipelines give float32 images in [0, 255] and
integer labels, for models with `include_preprocessing=True`. What happens at random follows
from one `seed`, whatever the number of threads.

`preprocessing` has the scale of the pixels and the names of ImageNet's classes, `image_files` opens
single photos.
"""

from keras_vit.data import image_files, preprocessing
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
    "image_files",
    "preprocessing",
    "write_records",
]
