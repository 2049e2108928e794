"""The features of blocks are timm's: maps and class tokens, of random models of every family.

Needs the extra `interop` (`make test-interop`).
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
from keras import ops
from support.dinov3 import timm_dinov3
from support.peers import timm_bit, timm_vit

import keras_vit
from benchmarks.contestants.import_timm import import_timm

torch = pytest.importorskip("torch", reason="make test-interop installs it")
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def timm():
    try:
        return import_timm()
    except ImportError as error:
        pytest.skip(f"{error}; make test-interop installs it")


def _vit(timm, **options):
    return timm_vit(timm, 32, **{"depth": 3, **options})


def _hybrid(timm):
    module = timm.models.vision_transformer_hybrid
    embed = functools.partial(module.HybridEmbed, backbone=module._resnetv2((2, 1)))
    return _vit(timm, embed_layer=embed, patch_size=1, img_size=64)


def _mixer(timm):
    """`from_checkpoint` does not read timm's Mixers: `_mixer_of_ours` takes its arrays over."""
    return timm.models.mlp_mixer.MlpMixer(
        img_size=32, patch_size=8, embed_dim=48, num_blocks=3, num_classes=5
    )


def _mixer_of_ours(theirs):
    ours = keras_vit.Mixer(32, 8, 48, 3, 24, 192, classes=5, gelu="exact")
    arrays = [parameter.detach().numpy() for parameter in theirs.parameters()]
    for variable, array in zip(ours.weights, arrays, strict=True):  # in the same order
        variable.assign(array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T)
    return ours


# How to build it, the size of its images, and what `from_checkpoint` cannot read from the file.
HEADS = {"num_heads": 4}
KINDS = {
    "plain": (_vit, (32, 32), HEADS),
    "not square": (functools.partial(_vit, img_size=(16, 40)), (16, 40), HEADS),
    "registers": (
        functools.partial(_vit, reg_tokens=4, no_embed_class=True, init_values=1e-5),
        (32, 32),
        HEADS,
    ),
    "rotary": (
        lambda timm: timm_dinov3(timm, 32, depth=3, num_classes=0, global_pool="token"),
        (32, 32),
        HEADS,
    ),
    "no class token": (
        functools.partial(_vit, class_token=False, global_pool="avg", fc_norm=False),
        (32, 32),
        HEADS,
    ),
    "norm after pooling": (
        functools.partial(_vit, global_pool="avg"),
        (32, 32),
        {**HEADS, "classifier": "gap"},
    ),
    "hybrid": (_hybrid, (64, 64), HEADS),
    "mixer": (_mixer, (32, 32), {}),
    "bit": (timm_bit, (40, 72), {}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_features_of_blocks_are_the_intermediates_of_timm(timm, kind, tmp_path):
    make, size, options = KINDS[kind]
    theirs = make(timm).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator) * 0.1
            parameter.copy_(noise + 1 if name.endswith(("norm.weight", "gamma")) else noise)
    if kind == "mixer":
        ours = _mixer_of_ours(theirs)
    else:
        np.savez(tmp_path / "a.npz", **{k: v.numpy() for k, v in theirs.state_dict().items()})
        ours = keras_vit.from_checkpoint(tmp_path / "a.npz", size, include_top=False, **options)
    blocks = [0, 1, -1]
    images = np.random.default_rng(0).normal(size=(2, *size, 3)).astype("float32")
    has_token = getattr(theirs, "has_class_token", kind == "rotary")
    for norm in (True, False):
        with torch.no_grad():
            found = theirs.forward_intermediates(
                torch.from_numpy(images).permute(0, 3, 1, 2),
                # The first of a ResNet's is its root.
                indices=[1, 2, 4] if kind == "bit" else [0, 1, 2],
                norm=norm,
                output_fmt="NCHW",
                intermediates_only=True,
                **({"return_prefix_tokens": True} if has_token else {}),
            )
        features = keras_vit.feature_model(ours, blocks, norm=norm, class_token=has_token)
        if has_token:  # each with its map; ours come after all maps
            found = [*(maps for maps, _ in found), *(prefix[:, 0] for _, prefix in found)]
        for mine, its in zip(features(images), found, strict=True):
            _same(mine, its.permute(0, 2, 3, 1) if its.ndim == 4 else its)


def _same(mine, its):
    expected = its.numpy()
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(ops.convert_to_numpy(mine), expected, atol=TOLERANCE, rtol=TOLERANCE)


def test_features_of_a_checkpoint(timm, tmp_path):
    """`from_checkpoint(features=)` is `feature_model` of the model without its head."""
    theirs = _vit(timm).eval()
    np.savez(tmp_path / "a.npz", **{k: v.numpy() for k, v in theirs.state_dict().items()})
    made = keras_vit.from_checkpoint(tmp_path / "a.npz", num_heads=4, features=[0, 2])
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    with torch.no_grad():
        found = theirs.forward_intermediates(
            torch.from_numpy(images).permute(0, 3, 1, 2),
            indices=[0, 2],
            norm=True,
            intermediates_only=True,
        )
    for mine, its in zip(made(images), found, strict=True):
        np.testing.assert_allclose(
            ops.convert_to_numpy(mine), its.permute(0, 2, 3, 1).numpy(), atol=TOLERANCE
        )
    for options in ({"classes": 3}, {"pooling": "avg"}):
        with pytest.raises(ValueError, match="no head and no pooling"):
            keras_vit.from_checkpoint(tmp_path / "a.npz", num_heads=4, features=[0], **options)
