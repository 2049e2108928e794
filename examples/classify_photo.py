"""What is on a photo? A pretrained ViT-Ti/16 says.

python examples/classify_photo.py photo.jpg
"""

import sys

import keras

import keras_vit

model = keras_vit.ViT_Ti16(weights="imagenet")  # 224 x 224 pixels, 1,000 classes

photo = keras.utils.load_img(sys.argv[1], target_size=(224, 224), interpolation="bilinear")
pixels = keras.utils.img_to_array(photo)[None]  # [1, 224, 224, 3] in [0, 255]
scores = model.predict(keras_vit.preprocess_input(pixels))

for _, name, score in keras_vit.decode_predictions(scores, top=5)[0]:
    print(f"{100 * score:5.1f} %  {name}")
