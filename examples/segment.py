"""A linear head on the frozen features of four blocks says which pixels belong to a digit.

    python examples/segment.py

The scenes are handwritten digits of scikit-learn on noise, so no data are downloaded.
"""

import sys

import keras
import numpy as np
from sklearn.datasets import load_digits

import keras_vit

SIZE, DIGIT = 224, 96
count = int(sys.argv[1]) if len(sys.argv) > 1 else 160


def scenes(count, random):
    """Images `[count, SIZE, SIZE, 3]` in [0, 255], and for each pixel whether a digit is there."""
    images = random.uniform(0, 160, (count, SIZE, SIZE, 3)).astype("float32")
    labels = np.zeros((count, SIZE, SIZE), "int32")
    digits = load_digits(return_X_y=True)[0].reshape(-1, 8, 8)  # in [0, 16]
    for image, label in zip(images, labels, strict=True):
        digit = np.kron(random.choice(digits), np.ones((DIGIT // 8, DIGIT // 8))) > 7
        row, column = random.integers(0, SIZE - DIGIT, 2)
        place = np.s_[row : row + DIGIT, column : column + DIGIT]
        image[place][digit] += random.uniform(40, 95, 3)
        label[place] = digit
    return images, labels


backbone = keras_vit.ViT_Ti16(
    weights="imagenet",
    input_shape=(SIZE, SIZE, 3),
    include_preprocessing=True,
    features=[-4, -3, -2, -1],  # four maps [B, 14, 14, 192]
)
keras_vit.freeze(backbone, "all")
maps = keras.layers.Concatenate()(backbone.outputs)  # [B, 14, 14, 768]
logits = keras.layers.Conv2D(2, 1)(maps)
logits = keras.layers.UpSampling2D(16, interpolation="bilinear")(logits)  # [B, 224, 224, 2]
model = keras.Model(backbone.input, logits)
model.compile(
    keras.optimizers.Adam(0.003), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
)

random = np.random.default_rng(0)
model.fit(*scenes(count, random), batch_size=16, epochs=4)
images, labels = scenes(max(count // 4, 1), random)
found = model.predict(images).argmax(axis=-1)
shared, either = np.sum(found & labels), np.sum(found | labels)
print(f"intersection over union of the digits: {shared / either:.3f} ({len(images)} new scenes)")
print(f"if every pixel were called a digit: {labels.mean():.3f}")
