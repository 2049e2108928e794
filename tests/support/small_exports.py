"""Small models, image files and what is expected of their exports, for `test_saved_model*.py`."""

from __future__ import annotations

import io

import keras
import numpy as np
import pytest
from PIL import Image, ImageOps

import keras_vit
from keras_vit.data.image_ops import fit_to_size
from keras_vit.exports.saved_model.export import export_saved_model
from keras_vit.exports.saved_model.session import SessionModel

ROWS, COLUMNS = 32, 48
NAMES = ("açai", "beech", "cedar of Lebanon")
SMALL = {"patch_size": 16, "width": 24, "depth": 2, "num_heads": 2, "mlp_dim": 40}


def randomised(model):
    """All weights random: a new head is zero, and says nothing."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.normal(0, 0.2, weight.shape).astype("float32"))
    return model


def small_vit(**options):
    options = {"classes": len(NAMES), **SMALL, **options}
    return randomised(keras_vit.ViT((ROWS, COLUMNS), **options))


def picture(mode="RGB", size=(61, 43)):
    image = Image.new("RGB", size, (250, 10, 10))
    image.paste((10, 10, 250), (0, 0, 20, 43))
    image.paste((10, 250, 10), (0, 0, 61, 11))
    return image.convert("RGBA").convert(mode) if mode == "LA" else image.convert(mode)


def encode(image, kind="jpeg", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixels(count=2, rows=ROWS, columns=COLUMNS, channels=3):
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (count, rows, columns, channels), "uint8")


def expected_scores(model, file, resize="squash"):
    """Probabilities of an image file by way of Pillow and the Keras model."""
    with Image.open(io.BytesIO(file)) as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    x = fit_to_size(upright, (ROWS, COLUMNS), resize).numpy()[None]
    return keras.ops.softmax(model(keras_vit.preprocess_input(x))).numpy()[0]


def by_class(result, row=0):
    """The scores of a row in the order of the classes."""
    scores = np.zeros(len(NAMES))
    scores[result["class_ids"][row]] = result["scores"][row]
    return scores


@pytest.fixture(scope="module", name="model")
def model_fixture():
    return small_vit()


@pytest.fixture(scope="module", name="exported")
def exported_fixture(model, tmp_path_factory):
    base = tmp_path_factory.mktemp("models") / "vit"
    base.mkdir()
    return export_saved_model(model, base / "1", class_names=NAMES, warmup=[encode(picture())])


@pytest.fixture(scope="module", name="session")
def session_fixture(exported):
    with SessionModel(exported) as session:
        yield session
