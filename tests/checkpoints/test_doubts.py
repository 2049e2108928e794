"""Files that do not say what they are: asked about or refused, never opened as something else."""

from __future__ import annotations

import contextlib
import dataclasses
import json

import keras
import numpy as np
import pytest
from keras import ops

import keras_vit
from keras_vit.checkpoints.checkpoint import Checkpoint
from keras_vit.checkpoints.info.describe import describe
from keras_vit.checkpoints.info.doubts import check_no_doubt
from keras_vit.models import VARIANTS

pytestmark = [
    pytest.mark.filterwarnings("ignore:The model .* has {"),
    pytest.mark.filterwarnings("ignore:The head in"),
]


def _vit(image_size=32, **options):
    keras.utils.set_random_seed(0)
    settings = {"patch_size": 8, "width": 64, "depth": 1, "num_heads": 1, "mlp_dim": 8}
    settings |= {"classes": 3, "gelu": "exact", **options}
    return keras_vit.ViT(image_size, **settings)


def _embedding(model):
    return ops.convert_to_numpy(model.get_layer("position_embedding").embedding)


def _arrays(model, path, file_format):
    keras_vit.save_weights(model, path, format=file_format)
    with np.load(path) as file:
        return dict(file)


def _folder(model, tmp_path, file_format, config):
    """The model as the hub has it: weights without our own note, `config.json` beside them."""
    from safetensors.numpy import save_file

    arrays = _arrays(model, tmp_path / "a.npz", file_format)
    save_file(
        {k: np.ascontiguousarray(v) for k, v in arrays.items()}, tmp_path / "model.safetensors"
    )
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("size", [(24, 40), (40, 24), (16, 32)])
def test_the_size_given_tells_whether_the_class_token_has_a_position(size, tmp_path):
    """3 x 5 patches and a class token are 4 x 4 positions."""
    model = _vit(size)
    keras_vit.save_weights(model, tmp_path / "a.npz", format="timm")
    again = keras_vit.from_checkpoint(tmp_path / "a.npz", image_size=size)
    np.testing.assert_array_equal(_embedding(again), _embedding(model))
    with pytest.raises(
        ValueError, match=r"positions. They fit a grid of .* and a grid of another form"
    ):
        keras_vit.from_checkpoint(tmp_path / "a.npz")
    live = _vit(size)
    live.set_weights([np.zeros(w.shape) for w in live.weights])
    keras_vit.load_weights(live, tmp_path / "a.npz", image_size=size)
    np.testing.assert_array_equal(_embedding(live), _embedding(model))


def test_a_square_grid_without_a_position_of_the_class_token(tmp_path):
    """As in DeiT-III."""
    arrays = _arrays(_vit(), tmp_path / "a.npz", "timm")
    arrays["pos_embed"] = arrays["pos_embed"][:, 1:]
    np.savez(tmp_path / "a.npz", **arrays)
    model = keras_vit.from_checkpoint(tmp_path / "a.npz", image_size=32)
    np.testing.assert_array_equal(_embedding(model)[:, 1:], arrays["pos_embed"])
    assert not _embedding(model)[:, 0].any()
    with pytest.raises(ValueError, match=r"image_size=\(32, 32\) or image_size=\(24, 40\)"):
        keras_vit.from_checkpoint(tmp_path / "a.npz")
    config = {"architecture": "deit3", "pretrained_cfg": {"input_size": [3, 32, 32]}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    from safetensors.numpy import save_file

    save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, tmp_path / "m.safetensors")
    model = keras_vit.from_checkpoint(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(_embedding(model)[:, 1:], arrays["pos_embed"])


@pytest.mark.parametrize(
    ("size", "heads"),
    [
        ((64, 6, 192), 2), ((96, 9, 192), 3), ((1152, 27, 4304), 16), ((1280, 32, 5120), 16),
        ((1408, 40, 6144), 16), ((1536, 40, 6144), 16), ((1664, 48, 8192), 16),
        ((768, 12, 3072), 12), ((192, 12, 768), 3), ((2048, 24, 8192), None),
        ((1536, 24, 6144), None), ((100, 2, 400), None),
    ],
)  # fmt: skip
def test_the_heads_of_large_models_are_known_or_asked_for(size, heads, tmp_path, monkeypatch):
    width, depth, mlp_dim = size
    small = _vit()
    keras_vit.save_weights(small, tmp_path / "a.npz", format="timm")
    with Checkpoint(tmp_path / "a.npz") as checkpoint:  # with the shapes of a large one
        checkpoint.shapes["block_0/attention/query/kernel"] = (width, width)
        checkpoint.shapes["block_0/mlp/dense_1/kernel"] = (width, mlp_dim)
        for i in range(depth):
            checkpoint.shapes[f"block_{i}/attention_norm/gamma"] = (width,)
        if heads is None:
            with pytest.raises(ValueError, match=rf"width of {width}.*`num_heads=`"):
                checkpoint.num_heads()
        else:
            assert checkpoint.num_heads() == heads


def _doubts(tmp_path, model, size=None, file_format="timm", **given):
    keras_vit.save_weights(model, tmp_path / "a.npz", format=file_format)
    with Checkpoint(tmp_path / "a.npz") as checkpoint:
        info = describe(checkpoint, 1)
        if size is not None:
            for name, value in zip(("width", "depth", "mlp_dim"), size, strict=True):
                object.__setattr__(info.config, name, value)
        check_no_doubt(checkpoint, info, given)


def test_fc_norm_with_a_class_token_is_asked_about(tmp_path):
    mean = _vit(classifier="gap", class_token=True, norm_after_pooling=True)
    keras_vit.save_weights(mean, tmp_path / "a.npz", format="timm")
    with pytest.raises(ValueError, match=r"classifier=: .*'gap'.*'token'"):
        keras_vit.from_checkpoint(tmp_path / "a.npz")
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    features = {}
    for classifier in ("gap", "token"):
        model = keras_vit.from_checkpoint(tmp_path / "a.npz", classifier=classifier)
        features[classifier] = keras.Model(model.input, model.get_layer("head").input)(images)
    tokens = keras.Model(mean.input, mean.get_layer("pooling").input)(images)
    norm = mean.get_layer("pooled_norm")
    np.testing.assert_allclose(features["token"], norm(tokens[:, 0]), atol=1e-5)
    np.testing.assert_allclose(features["gap"], norm(ops.mean(tokens[:, 1:], 1)), atol=1e-5)


@pytest.mark.parametrize("size", [(1152, 27, 4304), (1536, 40, 6144), (1024, 24, 4096)])
def test_either_gelu_is_asked_about(size, tmp_path):
    model = _vit(classifier="gap")
    with pytest.raises(ValueError, match=r"gelu=: .*'tanh'.*'exact'"):
        _doubts(tmp_path, model, size)
    _doubts(tmp_path, model, size, gelu="tanh")
    _doubts(tmp_path, model, (1152, 26, 4304))


def test_a_siglip_tower_of_timm_is_asked_for_its_gelu_alone(tmp_path):
    model = _vit(classifier="map")
    with pytest.raises(ValueError, match="gelu=: models of this size") as error:
        _doubts(tmp_path, model, (768, 12, 3072))
    assert "num_heads" not in str(error.value)


def test_the_kernel_of_flexivit_is_asked_about(tmp_path, monkeypatch):
    model = _vit(224, patch_size=32, depth=2, mlp_dim=64, gelu="tanh")
    keras_vit.save_weights(model, tmp_path / "a.npz", format="big_vision")
    with pytest.raises(ValueError, match=r"patch_size=: .*FlexiViT"):
        keras_vit.from_checkpoint(tmp_path / "a.npz")
    again = keras_vit.from_checkpoint(tmp_path / "a.npz", patch_size=32)
    assert tuple(again.input_shape) == (None, 224, 224, 3)
    # The constructors hand it on.
    config = dataclasses.replace(VARIANTS["ViT_S32"], width=64, depth=2, num_heads=1, mlp_dim=64)
    monkeypatch.setitem(VARIANTS, "ViT_S32", config)
    options = {"weights": tmp_path / "a.npz", "classifier_activation": None}
    with pytest.raises(ValueError, match="patch_size=: "):
        keras_vit.ViT_S32(**options)
    same = keras_vit.ViT_S32(**options, patch_size=32)
    images = np.random.default_rng(0).uniform(-1, 1, (1, 224, 224, 3)).astype("float32")
    np.testing.assert_array_equal(same(images), again(images))
    # At the patches of another variant, which the file does not rule out.
    monkeypatch.setitem(VARIANTS, "ViT_S16", dataclasses.replace(config, patch_size=16))
    small = keras_vit.ViT_S16(**options, patch_size=16)
    assert small.get_layer("position_embedding").grid_size == (14, 14)
    with pytest.raises(ValueError, match="not a ViT-S/32"):
        keras_vit.ViT_S16(**options)
    untrained = keras_vit.ViT_S32(weights=None, patch_size=56)
    assert untrained.get_layer("patch_embed").patch_size == 56


def test_a_norm_after_each_branch_is_refused(tmp_path):
    """timm's vit_base_patch16_rpn_224: what tells it apart is what it lacks."""
    model = _vit(classifier="gap", norm_after_pooling=True)
    arrays = _arrays(model, tmp_path / "a.npz", "timm")
    keras_vit.from_checkpoint(tmp_path / "a.npz")  # with its biases there is no doubt
    arrays.pop("blocks.0.attn.qkv.bias")
    np.savez(tmp_path / "b.npz", **arrays)
    with pytest.raises(ValueError, match="res-post-norm"):
        keras_vit.from_checkpoint(tmp_path / "b.npz")


HUGGING_FACE = {"model_type": "vit", "hidden_size": 64, "num_attention_heads": 1}


@pytest.mark.parametrize(
    ("file_format", "config", "message"),
    [
        ("huggingface", {"hidden_act": "relu"}, "hidden_act='relu'.*'gelu_new'"),
        ("huggingface", {"layer_norm_eps": "1e-5"}, "layer_norm_eps='1e-5'"),
        ("huggingface", {"pooler_act": "relu"}, "pooler_act='relu'"),
        ("huggingface", {"hidden_size": 32}, "another model: its width is 32.* is 64"),
        ("timm", {"architecture": "vit_base_patch16_rpn_224"}, "res-post-norm"),
        ("timm", {"architecture": "vit_small_patch16_rope_ape_224"}, "rotary positions of another"),
        ("timm", {"architecture": "vit_pe_core_base_patch16_224"}, "a Perception Encoder"),
        ("timm", {"architecture": "vit", "global_pool": "max"}, "global_pool='max'"),
        (
            "timm",
            {"architecture": "vit", "model_args": {"act_layer": "silu"}},
            "'silu', .* no gate",
        ),
        ("timm", {"architecture": "vit", "model_args": {"act_layer": ["a"]}}, r"act_layer=\['a'\]"),
        ("huggingface", {"hidden_act": "silu"}, "'silu', .* no gate"),
    ],
)
def test_what_config_json_says_is_refused_where_it_is_not_known(
    file_format, config, message, tmp_path
):
    options = {"norm_epsilon": 1e-12} if file_format == "huggingface" else {}
    if file_format == "huggingface":
        config = {**HUGGING_FACE, **config}
    path = _folder(_vit(**options), tmp_path, file_format, config)
    with pytest.raises(ValueError, match=message):
        keras_vit.from_checkpoint(path)


def test_a_config_json_that_is_damaged_is_not_ignored(tmp_path):
    """Without it a model with another number of heads or GELU would open, and nothing would say."""
    path = _folder(_vit(norm_epsilon=1e-12), tmp_path, "huggingface", HUGGING_FACE)
    keras_vit.from_checkpoint(path)
    for text in ('{"model_type": "vit", ', "[1]", '"vit"'):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ValueError, match=r"config\.json"):
            keras_vit.from_checkpoint(path)


@pytest.mark.parametrize("inside", ["{", "[1]", "\x00"])
def test_a_note_of_ours_that_is_damaged_is_not_ignored(inside, tmp_path):
    from safetensors.numpy import save_file

    path = tmp_path / "model.safetensors"
    arrays = _arrays(_vit(), tmp_path / "a.npz", "timm")
    save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, path, {"keras_vit": inside})
    with pytest.raises(ValueError, match="the metadata of"):
        keras_vit.from_checkpoint(path)


def test_what_config_json_says_is_believed(tmp_path):
    config = {**HUGGING_FACE, "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-5}
    model = keras_vit.from_checkpoint(_folder(_vit(), tmp_path, "huggingface", config))
    block = model.get_layer("block_0")
    assert (block.gelu, block.epsilon) == ("tanh", 1e-5)
    config = {
        "architecture": "vit", "global_pool": "avg",
        "model_args": {"num_heads": 4, "act_layer": "gelu_tanh"},
    }  # fmt: skip
    mean = _vit(classifier="gap", class_token=True, norm_after_pooling=True)
    model = keras_vit.from_checkpoint(_folder(mean, tmp_path, "timm", config))
    block = model.get_layer("block_0")
    assert (block.gelu, block.num_heads) == ("tanh", 4)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"gelu": "tanh"}, "GELU: 'tanh' in the file, 'exact' in the model"),
        ({"norm_epsilon": 1e-5}, "epsilon of the norms: 1e-05 in the file, 1e-06 in the model"),
        (
            {"classifier": "gap", "class_token": True},
            "classifier: 'gap' in the file, 'token' in the model",
        ),
    ],
)
def test_what_a_file_says_must_be_that_of_the_model(change, line, tmp_path):
    path = tmp_path / "a.safetensors"
    keras_vit.save_weights(_vit(**change), path, format="timm")
    model = _vit()
    before = model.get_weights()
    with pytest.raises(ValueError, match=line):
        keras_vit.load_weights(model, path)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


DINOV2 = {"layer_scale": 1e-5, "classifier": "token+avg", "norm_epsilon": 1e-6}


@pytest.mark.parametrize(
    ("file_format", "options", "usual"),
    [  # the models are of the exact GELU
        ("google", {"norm_epsilon": 1e-5}, "'gelu': 'tanh', 'norm_epsilon': 1e-06"),
        ("huggingface", DINOV2, "'normalisation': 'imagenet'"),
        ("huggingface", {**DINOV2, "normalisation": "imagenet"}, None),
        ("timm", {"normalisation": "imagenet"}, None),  # each model of timm has its own
    ],
)
def test_a_model_unlike_those_of_the_library_of_a_file(file_format, options, usual, tmp_path):
    model = _vit(**options)
    keras_vit.save_weights(model, tmp_path / "a.npz", format=file_format)
    said = f"usually of a model with {{{usual}}}, and this model"
    with pytest.warns(UserWarning, match=said) if usual else contextlib.nullcontext():
        keras_vit.load_weights(model, tmp_path / "a.npz")


def test_a_norm_of_the_class_token_is_none_of_the_mean(tmp_path):
    model = _vit(norm_after_pooling=True)
    keras_vit.save_weights(model, tmp_path / "a.safetensors", format="timm")
    again = keras_vit.from_checkpoint(tmp_path / "a.safetensors")
    assert again.get_layer("pooling").pooling == "token"


@pytest.mark.parametrize("options", [{}, {"classifier": "gap"}], ids=["token", "gap"])
def test_a_square_count_of_a_grid_that_is_not_square(options, tmp_path):
    """4 x 9 patches are as many as 6 x 6, and an `.npz` does not say which."""
    options = {"gelu": "tanh", **options}
    model = _vit((32, 72), **options)
    path = tmp_path / "a.npz"
    keras_vit.save_weights(model, path)
    with pytest.warns(UserWarning, match=r"taken for a grid of 6 x 6.*image_size=\(32, 72\)"):
        keras_vit.from_checkpoint(path, (32, 72), num_heads=1)
    again = _vit((32, 72), **options)
    again.get_layer("position_embedding").embedding.assign(np.zeros(_embedding(model).shape))
    with pytest.warns(UserWarning, match="taken for a grid of 6 x 6"):
        keras_vit.load_weights(again, path)
    keras_vit.load_weights(again, path, image_size=(32, 72))
    np.testing.assert_array_equal(_embedding(again), _embedding(model))


def test_the_config_of_dinov2_is_read_whole(tmp_path):
    options = {"classifier": "token+avg", "layer_scale": 0.1, "mlp_dim": 128}
    config = {"model_type": "dinov2", "hidden_act": "gelu_new", "layer_norm_eps": 1e-5}
    config |= {"num_attention_heads": 4}
    path = _folder(_vit(**options), tmp_path, "huggingface", config)
    model = keras_vit.from_checkpoint(path)
    block = model.get_layer("block_0")
    assert (block.gelu, block.epsilon, block.num_heads) == ("tanh", 1e-5, 4)
    assert model.get_layer("pooling").pooling == "token+avg"
    config["hidden_act"] = "silu"
    path.with_name("config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="activation is 'silu'"):
        keras_vit.from_checkpoint(path)
    for odd, message in (
        ({"mlp_dim": 65}, "one of these sizes as `mlp_dim`: 64, 128,"),
        ({"image_size": (32, 40)}, "square"),
    ):
        with pytest.raises(ValueError, match=message):
            keras_vit.save_weights(_vit(**{**options, **odd}), tmp_path / "a", "huggingface")
    assert not (tmp_path / "a").exists()
