"""Plain Keras on a folder of photos, with a pretrained Vision Transformer as the backbone.

    python examples/fit_folder.py photos

`photos` holds one folder of images per class. (`tools/finetune.py` also checks the files, trains
by the paper's recipe and draws what the model looks at.)
"""

import sys

import keras

import keras_vit

train, validation = keras.utils.image_dataset_from_directory(
    sys.argv[1], image_size=(224, 224), validation_split=0.2, subset="both", seed=0
)

backbone = keras_vit.ViT_Ti16(
    include_top=False,
    weights="imagenet",
    input_shape=(224, 224, 3),
    pooling="token",  # the class token, [B, 192]
    include_preprocessing=True,  # takes pixels in [0, 255], as the folder gives them
)
head = keras.layers.Dense(len(train.class_names), activation="softmax")
model = keras.Sequential([backbone, head])

model.compile(
    optimizer=keras.optimizers.SGD(0.01, momentum=0.9, global_clipnorm=1.0),
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
)
model.fit(train, validation_data=validation, epochs=3, shuffle=False)  # `train` is shuffled
model.save("photos.keras")
