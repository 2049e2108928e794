"""A transfer-learning script for keras.applications in which only the model was swapped.

    python examples/swap_constructor.py photos

`photos` holds one folder of images per class. The backbone stays frozen.
"""

import sys

import keras

import keras_vit

train, validation = keras.utils.image_dataset_from_directory(
    sys.argv[1], image_size=(224, 224), validation_split=0.2, subset="both", seed=0
)

# preprocess_input = keras.applications.resnet_v2.preprocess_input
# base = keras.applications.ResNet50V2(
preprocess_input = keras_vit.preprocess_input
base = keras_vit.ViT_Ti16(
    include_top=False, weights="imagenet", input_shape=(224, 224, 3), pooling="avg"
)
base.trainable = False

inputs = keras.Input((224, 224, 3))
x = preprocess_input(inputs)
x = base(x, training=False)
x = keras.layers.Dropout(0.2)(x)
outputs = keras.layers.Dense(len(train.class_names), activation="softmax")(x)
model = keras.Model(inputs, outputs)

model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(train, validation_data=validation, epochs=3, shuffle=False)  # `train` is shuffled
