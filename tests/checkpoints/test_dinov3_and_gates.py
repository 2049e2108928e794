"""What timm's config.json must say of a file: what DINOv3's head reads, which gate an MLP has."""

from __future__ import annotations

import json

import pytest
from safetensors.numpy import load_file, save_file

import keras_vit

pytestmark = pytest.mark.filterwarnings("ignore:The (head in|model .* has {)")


def _folder(model, tmp_path, **config):
    """The model as the hub has it: without our own note, `config.json` beside it."""
    path = tmp_path / "model.safetensors"
    keras_vit.save_weights(model, path, format="timm")
    save_file(load_file(path), path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    return path


def _vit(**options):
    return keras_vit.ViT(32, 8, 64, 1, 1, 8, classes=3, gelu="exact", **options)


def test_the_head_of_a_timm_dinov3_asks_what_it_reads(tmp_path):
    model = _vit(position_embedding="rotary", key_bias=False, registers=4, layer_scale=0.1)
    name = "vit_small_patch16_dinov3_qkvb"
    path = _folder(model, tmp_path, architecture=name)
    with pytest.raises(ValueError, match=r"classifier=: .*DINOv3.*'gap'.*'token'"):
        keras_vit.from_checkpoint(path, 32)
    for pool, pooling in (("avg", "avg"), ("token", "token")):
        path = _folder(model, tmp_path, architecture=name, global_pool=pool)
        assert keras_vit.from_checkpoint(path, 32).get_layer("pooling").pooling == pooling


def test_the_activation_of_a_gate_is_said_or_the_file_is_refused(tmp_path, capsys):
    model = _vit(swiglu=True)
    line = "does not say the activation of its gated MLPs"

    def opened(**config):
        path = _folder(model, tmp_path, **config)
        capsys.readouterr()
        assert keras_vit.from_checkpoint(path).get_layer("block_0").swiglu
        return capsys.readouterr().out

    assert line in opened()
    assert line in opened(architecture="vit_base_patch16_224")
    assert line not in opened(architecture="vit_giant_patch14_reg4_dinov2")
    assert line not in opened(architecture="vit", model_args={"act_layer": "silu"})
    with pytest.raises(ValueError, match="activation is 'gelu', and the MLPs in the file have a g"):
        opened(architecture="vit", model_args={"act_layer": "gelu"})
    keras_vit.save_weights(model, tmp_path / "ours.safetensors", format="timm")
    capsys.readouterr()
    keras_vit.from_checkpoint(tmp_path / "ours.safetensors")
    assert line not in capsys.readouterr().out
