"""Where images come from, and what is done to them.

Photos in folders, a TFDS name, TFRecords, arrays and the digits become an `ImageData`. Its
`tf.data` pipelines give float32 images in [0, 255] and integer labels, for models with
`include_preprocessing=True`. One `seed` decides all that is random, whatever the number of threads.
`open` finds images of any of these kinds by a name.

`preprocessing` has the scale of the pixels and the names of ImageNet's classes, `image_files` opens
single photos.
"""

from keras_vit.data import image_files, preprocessing
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
    "image_files",
    "open",
    "preprocessing",
    "write_records",
]
