"""Bad images cost no more than their decoding: the network does not see them."""

from __future__ import annotations

import keras
import numpy as np
from support.families import build
from support.model_server import BLUE, RED

from keras_vit.exports.saved_model.export import export_saved_model
from keras_vit.exports.saved_model.session import SessionModel


class BatchSize(keras.layers.Layer):
    """Gives the number of images that it sees, in place of what it gets."""

    def call(self, x):
        return x * 0 + keras.ops.cast(keras.ops.shape(x)[0], x.dtype)


def test_the_network_sees_the_good_images(tmp_path):
    model = keras.Sequential([build("bit"), BatchSize()])  # BiT cannot take a batch of none
    path = export_saved_model(model, tmp_path / "1", scores="none")
    with SessionModel(path) as session:
        files = [RED, b"no image", BLUE, RED[:300], b""]
        found = session.run({"image_bytes": files})
        np.testing.assert_array_equal(found["outputs"], [[2] * 5, [0] * 5, [2] * 5, *[[0] * 5] * 2])
        assert [status == b"ok" for status in found["status"]] == [True, False, True, False, False]
        found = session.run({"image_bytes": files[1:2]})
        np.testing.assert_array_equal(found["outputs"], np.zeros((1, 5)))
