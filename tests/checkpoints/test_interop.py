"""Weights go to timm and to Hugging Face and back, and the logits stay.

Every model here is random. Needs the extra `interop` (`make test-interop`).
"""

from __future__ import annotations

import functools
import warnings

import keras
import numpy as np
import pytest
from keras import ops
from support.peers import timm_bit

import keras_vit
from benchmarks.contestants.import_timm import import_timm, import_transformers
from keras_vit.layers.patch_resampling import resample_patch_kernel

torch = pytest.importorskip("torch", reason="make test-interop installs it")
SIZE = 32
TOLERANCE = 1e-4


def _imported(function):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the other library
            return function()
    except ImportError as error:
        pytest.skip(f"{error}; make test-interop installs it")


@pytest.fixture(scope="module")
def timm():
    return _imported(import_timm)


@pytest.fixture(scope="module")
def transformers():
    return _imported(import_transformers)


def _randomise(model, seed=0):
    """Every parameter gets a value that shows: also biases, layer scales, norms, tokens."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator) * 0.1
            parameter.copy_(noise + 1 if name.endswith(("norm.weight", "gamma")) else noise)
    return model.eval()


def _images(size, seed=0):
    rows, columns = (size, size) if isinstance(size, int) else size
    return np.random.default_rng(seed).normal(size=(2, rows, columns, 3)).astype("float32")


def _theirs(model, images, **options):
    with torch.no_grad():
        output = model(torch.from_numpy(images).permute(0, 3, 1, 2), **options)
    return getattr(output, "logits", output).numpy()


def _ours(model, images):
    return ops.convert_to_numpy(model(images))


def _timm_vit(timm, **options):
    settings = {
        "img_size": SIZE, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 4,
        "num_classes": 5, **options,
    }  # fmt: skip
    return timm.models.vision_transformer.VisionTransformer(**settings)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "bicubic_antialias"])
@pytest.mark.parametrize("patch_size", [8, 10, 20, 32])
def test_the_kernel_of_another_patch_size_is_that_of_timm(patch_size, interpolation, timm):
    kernel = np.random.default_rng(0).normal(0, 0.1, (16, 16, 3, 4)).astype("float32")
    theirs = timm.layers.patch_embed.resample_patch_embed(
        torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))),
        [patch_size, patch_size],
        interpolation=interpolation.partition("_")[0],
        antialias=interpolation.endswith("antialias"),
    )
    ours = resample_patch_kernel(kernel, patch_size, interpolation)
    np.testing.assert_allclose(ours, theirs.numpy().transpose(2, 3, 1, 0), atol=1e-5)


def _timm_hybrid(timm, layers, patch_size):
    hybrid = timm.models.vision_transformer_hybrid
    backbone = hybrid._resnetv2(layers)
    embed = functools.partial(hybrid.HybridEmbed, backbone=backbone)
    return _timm_vit(timm, embed_layer=embed, patch_size=patch_size, img_size=64)


VITS = {
    "plain": {},
    "deit3": {"no_embed_class": True, "init_values": 1e-5},
    "dinov2": {"patch_size": 14, "img_size": 28, "init_values": 1e-5, "num_classes": 0},
    "dinov2 registers": {
        "patch_size": 14, "img_size": 28, "init_values": 1e-5, "num_classes": 0,
        "reg_tokens": 4, "no_embed_class": True,
    },
    "gap": {
        "class_token": False, "global_pool": "avg", "qkv_bias": False, "init_values": 1e-5,
        "fc_norm": False,
    },
    "gap, norm after pooling": {"global_pool": "avg"},
    "not square": {"img_size": (16, 40)},
}  # fmt: skip


def _timm_models(timm):
    for name, options in VITS.items():
        yield name, functools.partial(_timm_vit, timm, **options), options.get("img_size", SIZE)
    yield "hybrid", functools.partial(_timm_hybrid, timm, (2, 1), 1), 64
    yield "hybrid, stem only", functools.partial(_timm_hybrid, timm, (), 4), 64
    yield "bit", functools.partial(timm_bit, timm), 40


KINDS = [*VITS, "hybrid", "hybrid, stem only", "bit"]


def _timm_model(timm, kind):
    return next((make, size) for name, make, size in _timm_models(timm) if name == kind)


@pytest.mark.parametrize("container", [".safetensors", ".npz"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_timm_file_opens_here_and_ours_there(timm, kind, container, tmp_path):
    make, size = _timm_model(timm, kind)
    theirs = _randomise(make())
    path = tmp_path / f"theirs{container}"
    if container == ".npz":
        np.savez(path, **{k: v.numpy() for k, v in theirs.state_dict().items()})
    else:
        from safetensors.torch import save_file

        save_file(theirs.state_dict(), path)
    images = _images(size)
    expected = _theirs(theirs, images)
    if kind == "bit":
        ours = keras_vit.from_checkpoint(path, size)
    else:
        options = {} if theirs.num_classes else {"pooling": "token"}
        if kind == "gap, norm after pooling":
            options["classifier"] = "gap"
        # No timm file says a grid that is not square, or that the class token has no position.
        image_size = size if kind in ("not square", "deit3") else None
        ours = keras_vit.from_checkpoint(path, image_size, num_heads=4, **options)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(_ours(ours, images), expected, atol=TOLERANCE, rtol=TOLERANCE)

    # And back: their code takes what we write, every array of it.
    back = tmp_path / f"ours{container}"
    keras_vit.save_weights(ours, back, format="timm")
    if container == ".npz":
        with np.load(back) as file:
            state = {name: torch.from_numpy(file[name]) for name in file}
    else:
        from safetensors.torch import load_file

        state = load_file(back)
    again = _randomise(make(), seed=1)
    if kind == "gap":  # the file that we write has biases, of zeros
        again = _timm_vit(timm, **{**VITS[kind], "qkv_bias": True}).eval()
    if kind == "deit3":  # ... and the position of the class token, of zeros
        again = _timm_vit(timm, **{**VITS[kind], "no_embed_class": False}).eval()
    again.load_state_dict(state, strict=True)
    np.testing.assert_allclose(_theirs(again, images), expected, atol=TOLERANCE, rtol=TOLERANCE)


OTHER_SIZES = [48, (40, 64), (24, 16)]


def _logits_at(theirs_at, path, image_size, tmp_path, **options):
    """Theirs, and ours opened at the size, resized to it, and made for any size."""
    images = _images(image_size)
    expected = _theirs(*theirs_at(images))
    trained_at = keras_vit.from_checkpoint(path, **options)
    opened = keras_vit.from_checkpoint(path, image_size, **options)
    resized = keras_vit.resize_model(trained_at, image_size)
    any_size = keras_vit.from_checkpoint(path, input_shape=(None, None, 3), **options)
    any_size.save(tmp_path / "any.keras")
    saved = keras.models.load_model(tmp_path / "any.keras")
    for ours in (opened, resized, any_size, saved):
        np.testing.assert_allclose(_ours(ours, images), expected, atol=TOLERANCE, rtol=TOLERANCE)
    other = keras_vit.from_checkpoint(path, image_size, interpolation="bilinear", **options)
    assert np.abs(_ours(other, images) - expected).max() > 1e-3


@pytest.mark.parametrize("image_size", OTHER_SIZES)
@pytest.mark.parametrize("kind", ["plain", "dinov2", "dinov2 registers"])
def test_positions_of_timm_at_another_size(timm, kind, image_size, tmp_path):
    from safetensors.torch import save_file

    options = {**VITS[kind], "num_classes": 5, "patch_size": 8, "img_size": SIZE}
    theirs = _randomise(_timm_vit(timm, **options, dynamic_img_size=True))
    with torch.no_grad():
        theirs.pos_embed.mul_(10)  # so that it shows
    save_file(theirs.state_dict(), tmp_path / "a.safetensors")
    _logits_at(
        lambda images: (theirs, images),
        tmp_path / "a.safetensors",
        image_size,
        tmp_path,
        num_heads=4,
    )


def _hugging_face(transformers, image_size):
    config = transformers.ViTConfig(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        image_size=image_size, patch_size=8, num_labels=5,
    )  # fmt: skip
    return _randomise(transformers.ViTForImageClassification(config))


@pytest.mark.parametrize("image_size", OTHER_SIZES)
def test_positions_of_hugging_face_at_another_size(transformers, image_size, tmp_path):
    theirs = _hugging_face(transformers, SIZE)
    with torch.no_grad():
        theirs.vit.embeddings.position_embeddings.mul_(10)
    theirs.save_pretrained(tmp_path / "theirs")

    def at_any_size(pixels):
        return theirs(pixels, interpolate_pos_encoding=True)

    _logits_at(lambda images: (at_any_size, images), tmp_path / "theirs", image_size, tmp_path)


@pytest.mark.parametrize("size", [SIZE, (16, 40)])
def test_a_hugging_face_model_opens_here_and_ours_there(transformers, size, tmp_path):
    theirs = _hugging_face(transformers, size)
    theirs.save_pretrained(tmp_path / "theirs")
    images = _images(size)
    expected = _theirs(theirs, images)
    assert np.abs(expected).max() > 0.1

    # `config.json` lies beside the weights and says the number of heads.
    ours = keras_vit.from_checkpoint(tmp_path / "theirs" / "model.safetensors")
    np.testing.assert_allclose(_ours(ours, images), expected, atol=TOLERANCE, rtol=TOLERANCE)

    keras_vit.save_weights(ours, tmp_path / "ours", format="huggingface")
    again = transformers.ViTForImageClassification.from_pretrained(tmp_path / "ours").eval()
    np.testing.assert_allclose(_theirs(again, images), expected, atol=TOLERANCE, rtol=TOLERANCE)
    assert again.config.num_labels == 5


def test_hugging_face_names_as_transformers_5_has_them_in_memory(transformers, tmp_path):
    from safetensors.torch import save_file

    config = transformers.ViTConfig(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=1, intermediate_size=64,
        image_size=SIZE, patch_size=8,
    )  # fmt: skip
    theirs = _randomise(transformers.ViTModel(config))  # with a pooler, without a head
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    images = _images(SIZE)
    with torch.no_grad():
        output = theirs(torch.from_numpy(images).permute(0, 3, 1, 2))
    ours = keras_vit.from_checkpoint(tmp_path / "model.safetensors", pooling="token")
    np.testing.assert_allclose(
        _ours(ours, images), output.last_hidden_state[:, 0].numpy(), atol=TOLERANCE
    )


@pytest.mark.filterwarnings("ignore:The model .* has {'gelu'")
def test_timm_reads_our_npz_with_its_own_loader(timm, tmp_path):
    """timm has code for Google's layout; it takes what we write in it."""
    theirs = _randomise(_timm_vit(timm))
    np.savez(tmp_path / "a.npz", **{k: v.numpy() for k, v in theirs.state_dict().items()})
    ours = keras_vit.from_checkpoint(tmp_path / "a.npz", num_heads=4)
    keras_vit.save_weights(ours, tmp_path / "google.npz")
    again = _randomise(_timm_vit(timm), seed=1)
    again.load_pretrained(str(tmp_path / "google.npz"))
    images = _images(SIZE)
    np.testing.assert_allclose(_theirs(again, images), _ours(ours, images), atol=TOLERANCE)


def test_the_real_weights_say_the_same_in_timm(timm, ti16_path):
    """The released ViT-Ti/16: timm with its own loader, ours with timm's GELU."""
    theirs = timm.create_model("vit_tiny_patch16_224").eval()
    theirs.load_pretrained(str(ti16_path))
    ours = keras_vit.from_checkpoint(ti16_path, gelu="exact")
    images = _images(224).clip(-1, 1)
    np.testing.assert_allclose(_ours(ours, images), _theirs(theirs, images), atol=TOLERANCE)


def test_the_contestants_of_the_benchmarks_have_the_same_weights(tmp_path):
    """What `benchmarks` times beside ours are the same models."""
    from benchmarks.contestants import images, pytorch, weights

    weights.write(tmp_path, "ViT_Ti16", SIZE)
    ours = keras_vit.from_checkpoint(tmp_path / weights.OURS, classifier_activation=None)
    pixels = images(2, SIZE)
    expected = ours.predict(pixels, verbose=0)
    tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    for library in ("timm", "transformers"):
        made = pytorch.classifier(library, "ViT_Ti16", SIZE, tmp_path).eval()
        with torch.no_grad():
            logits = made(tensor)
        logits = getattr(logits, "logits", logits).numpy()
        difference = np.abs(logits - expected).max() / np.ptp(expected)
        assert difference < 1e-3, (library, difference)
