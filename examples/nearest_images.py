"""The nearest images by the cosine of their features, and how many show the same class.

    python examples/nearest_images.py flowers

`flowers` has folders `train` and `test` with one folder of images per class. Without an argument
the images are handwritten digits.
"""

import sys

import numpy as np

import keras_vit
from keras_vit.evaluate import extract_labelled_features

NEAREST = 10

data = keras_vit.data.open(*sys.argv[1:2] or ["digits"]).prepare(image_size=224, batch_size=32)
model = keras_vit.ViT_Ti16(weights="imagenet", include_preprocessing=True)


def unit_features(images):
    """Vectors of length 1, whose products are cosines, and the class of each."""
    features, labels = extract_labelled_features(model, images)
    return features / np.linalg.norm(features, axis=1, keepdims=True), labels


shown, shown_labels = unit_features(data.train_in_order)
asked, asked_labels = unit_features(data.validation)
cosines = asked @ shown.T  # [asked, shown]
nearest = np.argsort(-cosines, axis=1)[:, :NEAREST]
precision = np.mean(shown_labels[nearest] == asked_labels[:, None])
print(f"precision at {NEAREST}: {100 * precision:.1f} % ({len(asked)} among {len(shown)} images)")
