"""Writes a SavedModel that takes image files and gives class names.

    models/vit/1/
        saved_model.pb
        variables/                                  each weight once, float32
        assets/labels.txt                           the names of the classes, one a line
        assets/input.json                           what the Keras model takes as black and white,
                                                    how photos get their size
        assets.extra/tf_serving_warmup_requests

Signatures (B is any batch size, k is `top_k` or the number of classes if that is less):

    serving_default  image_bytes string [B]
                     -> class_ids int32 [B, k], labels string [B, k], scores float32 [B, k],
                        status string [B]
    predict_pixels   pixels uint8 [B, rows, columns, channels]
                     -> class_ids, labels, scores, and outputs float32 [B, classes], what the
                        Keras model gives
    features         pixels uint8 [B, rows, columns, channels]
                     -> features float32 [B, D], what the head sees

Where the outputs are no classes (`scores="none"`: features, regression, several outputs), the
first two give the outputs by their names in place of class_ids, labels and scores. Only a model
with a head has the signature `features`.

An image file is a JPEG, PNG, BMP, GIF (its first frame) or WebP (not animated) of any size and
colour mode; one with an EXIF orientation is turned upright first. A bad image has the class ids
-1, empty labels, scores (or outputs) of 0 and a `status` other than "ok" that says why; it does
not harm the others of its batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_vit.exports.classifier import PixelClassifier, check_backend, check_top_k
from keras_vit.exports.comparison import check_same, example_pixels, facts_json
from keras_vit.exports.saved_model.decoding import MAX_PIXELS, decode_batch
from keras_vit.exports.saved_model.session import SessionModel
from keras_vit.exports.saved_model.warmup import write_warmup
from keras_vit.utils.files import replacing


def export_saved_model(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    class_names: Sequence[str] | None = None,
    top_k: int = 5,
    image_size: int | tuple[int, int] | None = None,
    input_range: tuple[float, float] | None = None,
    scores: str | None = None,
    resize: str = "squash",
    interpolation: str = "bilinear",
    strict: bool = False,
    xla: bool = False,
    max_pixels: int = MAX_PIXELS,
    warmup: Iterable[bytes] | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes a SavedModel and checks it against the model, in the loader that TF Serving uses.

    The SavedModel runs without Keras and keras_vit. It is written under a temporary name, and
    gets its name when it is complete and checked.

    Args:
        model: A model around what keras_vit built: any family, head, dtype policy, data format,
            with or without a scaling of pixels. It is left as it is; a mixed-precision one is
            exported in float32.
        path: The folder to make, those above it too. For TF Serving its name is a version:
            `models/vit/1`.
        class_names: One per class, in order. Default: those of ImageNet for heads of 1,000 and
            21,843 classes, else `"class 0"` and so on.
        top_k: How many classes to name per image; all if there are fewer.
        image_size: Pixels, one number or (rows, columns). Default: the model's. For another, or
            where the model leaves it open, position embeddings are resampled.
        input_range: (low, high), the values of black and white for the Keras model. The exported
            model takes pixels in [0, 255] in any case. Default: found by running the model on
            grey images.
        scores: How outputs become scores: `"softmax"`, `"sigmoid"` (several classes may be
            there at once), or `"none"`: the outputs as they are. Default: the activation that
            the model ends in; for logits `"softmax"`; `"none"` for a single number, features and
            several outputs.
        resize: How an image file gets this size: `"squash"` ignores the proportions, `"crop"`
            keeps them and cuts out the middle 224/256.
        interpolation: How an image file is resampled to this size, `"bilinear"` or `"bicubic"`.
            Choose the one with which the model was trained and evaluated.
        strict: Whether a bad image fails the whole request.
        xla: Compile the model with XLA, for each batch size on its first request. Decoding is
            not compiled.
        max_pixels: Larger images are refused before they are decoded.
        warmup: Image files, as bytes, for the warm-up requests. Default: a generated image.
            `()` for no such file.
        overwrite: Whether a SavedModel at `path` may be replaced.

    Returns:
        `path`.

    Raises:
        FileExistsError: If there is something at `path`; with `overwrite`, if it is no
            SavedModel.
        ValueError: If the model or an argument does not fit, or the result differs from the
            model. Then nothing is written.
    """
    check_backend()
    path = Path(path)
    _check_path(path, overwrite)
    classifier = PixelClassifier(
        model, image_size, class_names, input_range, scores, resize, interpolation
    )
    check_top_k(top_k)
    files = _warmup_files(warmup, classifier.image_size)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as saved:
        signatures = _signatures(
            classifier,
            min(top_k, len(classifier.class_names)),
            strict=strict,
            xla=xla,
            max_pixels=max_pixels,
        )
        # TensorFlow's own variables and not the Keras model: the session loader does not find
        # variables behind that, and `model.export` stores them twice.
        module: Any = tf.Module()
        module.variables_of_the_model = [v.value for v in classifier.model.variables]
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(module, str(saved), signatures, options)
        assets = {"input.json": facts_json(classifier)}
        if classifier.class_names:
            assets["labels.txt"] = "".join(f"{name}\n" for name in classifier.class_names)
        for name, text in assets.items():
            (saved / "assets" / name).write_text(text, "utf-8")
        pixels = example_pixels(classifier)
        if files:
            requests = [("serving_default", {"image_bytes": [file]}) for file in files]
            images = [name for name in signatures if name != "serving_default"]
            requests += [(name, {"pixels": pixels[:1]}) for name in images]
            write_warmup(saved, path.parent.name, requests)
        _check_result(saved, classifier, pixels, files)
    return path


def _signatures(
    classifier: PixelClassifier,
    top_k: int,
    *,
    strict: bool,
    xla: bool,
    max_pixels: int,
) -> dict[str, Any]:
    """The computation: a concrete function per signature."""
    rows, columns = classifier.image_size
    pixels = tf.TensorSpec((None, rows, columns, classifier.channels), tf.uint8, "pixels")
    files = tf.TensorSpec((None,), tf.string, "image_bytes")
    # Of float32 only: another dtype would put the whole computation into the file once more.
    run = tf.function(classifier, jit_compile=xla or None, autograph=False)

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.int32)], autograph=False)
    def label_of(ids: Any) -> Any:  # a function, so that the names are in the file once
        return tf.gather(tf.constant(["", *classifier.class_names]), ids + 1)

    def named(outputs: dict[str, Any]) -> dict[str, Any]:
        """Outputs by name; a single one is called "outputs"."""
        return {"outputs": outputs["output"]} if "output" in outputs else outputs

    def classify(scores: Any, good: Any) -> dict[str, Any]:
        """Names and scores [B, k] of `scores` [B, classes]; rows not `good` empty."""
        scores, ids = tf.math.top_k(scores, top_k)
        ids = tf.where(good[:, None], ids, -1)
        return {
            "class_ids": ids,
            "labels": label_of(ids),
            "scores": tf.where(good[:, None], scores, 0.0),
        }

    if classifier.scores == "none":
        names = named(dict.fromkeys(classifier.output_names))
        shapes = {k: x.shape[1:] for k, x in zip(names, classifier.outputs, strict=True)}
    else:
        shapes = {"scores": (len(classifier.class_names),)}

    @tf.function(input_signature=[files], autograph=False)
    def serving_default(image_bytes: Any) -> dict[str, Any]:
        images, status = decode_batch(
            image_bytes,
            classifier.image_size,
            classifier.channels,
            classifier.resize,
            max_pixels,
            classifier.interpolation,
        )
        good = status == "ok"
        if strict:
            message = ["Images of the request are bad (strict), status: ", status]
            with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(good), message)]):
                images = tf.identity(images)
        rows = tf.where(good)  # bad images do not go through the network

        def run_good() -> dict[str, Any]:
            _, outputs, scores = run(tf.gather_nd(images, rows))
            return named(outputs) if scores is None else {"scores": scores}

        def run_none() -> dict[str, Any]:  # not every convolution takes a batch of none
            return {name: tf.zeros((0, *sides)) for name, sides in shapes.items()}

        count = tf.shape(good, tf.int64)
        made = {}
        for name, values in tf.cond(tf.size(rows) > 0, run_good, run_none).items():
            every = tf.scatter_nd(rows, values, tf.concat([count, shapes[name]], 0))
            made[name] = tf.ensure_shape(every, (None, *shapes[name]))
        classes = {} if classifier.scores == "none" else classify(made.pop("scores"), good)
        return {**classes, **made, "status": status}

    @tf.function(input_signature=[pixels], autograph=False)
    def predict_pixels(pixels: Any) -> dict[str, Any]:
        _, outputs, scores = run(tf.cast(pixels, tf.float32))
        good = tf.ones(tf.shape(pixels)[:1], tf.bool)
        classes = {} if scores is None else classify(scores, good)
        return {**classes, **named(outputs)}

    @tf.function(input_signature=[pixels], autograph=False)
    def features(pixels: Any) -> dict[str, Any]:
        return {"features": run(tf.cast(pixels, tf.float32))[0]}

    functions = [serving_default, predict_pixels]
    if classifier.features is not None:
        functions.append(features)
    return {f.__name__: f.get_concrete_function() for f in functions}


def _check_path(path: Path, overwrite: bool) -> None:
    if not path.exists() and not path.is_symlink():
        return
    if not overwrite:
        raise FileExistsError(
            f"There is something at {str(path)!r} already. Choose another folder (for TF Serving "
            "the next number), or pass overwrite=True."
        )
    if not (path / "saved_model.pb").is_file() or path.is_symlink():
        raise FileExistsError(
            f"{str(path)!r} is not a SavedModel, so it is not replaced. Choose another folder."
        )


def _warmup_files(files: Iterable[bytes] | None, image_size: tuple[int, int]) -> list[bytes]:
    if files is None:
        noise = np.random.default_rng(0).integers(0, 256, (*image_size, 3), "uint8")
        return [tf.io.encode_jpeg(noise).numpy()]
    if isinstance(files, bytes):  # one of them
        files = (files,)
    files = list(files)
    for i, file in enumerate(files):
        if not isinstance(file, bytes):
            raise TypeError(
                "`warmup` must be image files as bytes, `Path(...).read_bytes()`. Received: "
                f"warmup[{i}] of type {type(file).__name__}"
            )
    return files


def _check_result(
    folder: Path, classifier: PixelClassifier, pixels: np.ndarray, files: list[bytes]
) -> None:
    """Raises unless the session loader reads the folder and gives what the model gives."""
    with SessionModel(folder) as session:
        found = dict(session.run({"pixels": pixels}, "predict_pixels"))
        if "outputs" in found:
            found["output"] = found["outputs"]
        check_same(found, classifier.expected(pixels), "SavedModel")
        if not files:
            return
        status = session.run({"image_bytes": files}, outputs=("status",))["status"]
    for i, text in enumerate(status):
        if text != b"ok":
            raise ValueError(
                f"`warmup` must be image files that can be read. Received: warmup[{i}]: "
                f"{text.decode()}"
            )
