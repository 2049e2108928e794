"""CLIP and SigLIP beyond the rows of test_families.py: OpenAI's names, big_vision's, the pixels."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from keras import ops
from support.clip_and_siglip import clip_and_texts, timm_clip, timm_siglip
from support.peers import HEADS, SIZE

import keras_vit
from keras_vit.layers.pixels import NORMALISATIONS

from .test_families import compare, images, library_of, randomised

pytestmark = pytest.mark.filterwarnings("ignore:The model .* has {")
torch = pytest.importorskip("torch", reason="make test-interop installs it")
from support.openai_clip import CLIP, QuickGELU  # noqa: E402

MEAN, STD = NORMALISATIONS["clip"]


def outputs(model, pixels):
    with torch.no_grad():
        return model(torch.from_numpy(pixels).permute(0, 3, 1, 2)).numpy()


def ours(model, pixels):
    return ops.convert_to_numpy(model(pixels))


def saved(state, path):
    from safetensors.torch import save_file

    save_file({name: array.contiguous() for name, array in state.items()}, path)
    return path


@pytest.fixture(scope="module", params=[QuickGELU, torch.nn.GELU])
def clip(request):
    return randomised(CLIP(request.param)), "quick" if request.param is QuickGELU else "exact"


def test_openai_s_file_opens_here_and_ours_in_timm(clip, tmp_path, capsys):
    theirs, kind = clip
    path = saved(theirs.state_dict(), tmp_path / "open_clip_model.safetensors")
    with pytest.raises(ValueError, match=r"gelu=: .*'quick'.*'exact'"):
        keras_vit.from_checkpoint(path, num_heads=HEADS)
    said = {
        "model_cfg": {"quick_gelu": kind == "quick", "vision_cfg": {"width": 48, "head_width": 12}},
        "preprocess_cfg": {"mean": MEAN, "std": STD},
    }
    (tmp_path / "open_clip_config.json").write_text(json.dumps(said))
    capsys.readouterr()
    model = keras_vit.from_checkpoint(tmp_path, normalisation="centred")
    line = capsys.readouterr().out
    assert "18 arrays that are no part of the model are left out: ln_final.bias" in line
    pixels = images(SIZE)
    expected = outputs(theirs.visual, pixels)
    compare(ours(model, pixels), expected)

    keras_vit.save_weights(model, tmp_path / "ours.safetensors", format="open_clip")
    from safetensors.torch import load_file

    state = load_file(tmp_path / "ours.safetensors")
    again = randomised(CLIP(type(theirs.visual.transformer.resblocks[0].mlp.gelu)).visual, seed=1)
    again.load_state_dict({k.removeprefix("visual."): v for k, v in state.items()}, strict=True)
    compare(outputs(again, pixels), expected)
    timm = library_of("timm")
    act = "quick_gelu" if kind == "quick" else "gelu"
    again = timm_clip(timm, SIZE, act_layer=act, num_classes=7, mlp_ratio=2).eval()
    convert = timm.models.vision_transformer.checkpoint_filter_fn
    again.load_state_dict(convert(state, again), strict=True)
    compare(outputs(again, pixels), expected)


def test_a_projection_has_a_bias_of_zeros_where_all_heads_have_one(clip, tmp_path):
    theirs, kind = clip
    path = saved(theirs.state_dict(), tmp_path / "a.safetensors")
    model = keras_vit.from_checkpoint(path, num_heads=HEADS, gelu=kind)
    assert model.get_layer("head").bias is None
    keras_vit.save_weights(model, tmp_path / "timm.npz", format="timm")
    with np.load(tmp_path / "timm.npz") as file:
        assert "patch_embed.proj.bias" not in file
        assert not file["head.bias"].any() and file["head.bias"].shape == (7,)
    options = {"num_heads": HEADS, "gelu": kind, "normalisation": "clip"}
    again = keras_vit.from_checkpoint(tmp_path / "timm.npz", **options)
    pixels = images(SIZE)
    np.testing.assert_array_equal(ours(again, pixels), ours(model, pixels))
    new = keras_vit.from_checkpoint(path, classes=3, num_heads=HEADS, gelu=kind)
    assert new.get_layer("head").bias is not None
    with pytest.raises(ValueError, match="no place for these parts of the model: head/bias"):
        keras_vit.save_weights(new, tmp_path / "b.safetensors", format="open_clip")


def test_clip_takes_pixels_as_every_model_does(clip, tmp_path, capsys):
    """[-1, 1], or [0, 255] with include_preprocessing; CLIP's mean and deviation are inside."""
    theirs, kind = clip
    path = saved(theirs.state_dict(), tmp_path / "a.safetensors")
    pixels = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3)).astype("float32")
    normalised = (pixels / 255 - np.array(MEAN)) / np.array(STD)
    expected = outputs(theirs.visual, normalised.astype("float32"))
    options = {"num_heads": HEADS, "gelu": kind}
    model = keras_vit.from_checkpoint(path, **options)
    said = capsys.readouterr().out
    assert "a.safetensors: give the model images in [-1, 1]" in said and "(clip)" in said
    compare(ours(model, keras_vit.preprocess_input(pixels)), expected)
    whole = keras_vit.from_checkpoint(path, include_preprocessing=True, **options)
    assert "images in [0, 255]" in capsys.readouterr().out
    compare(ours(whole, pixels), expected)
    for name in ("m.keras", "m.weights.h5", "m.safetensors"):
        keras_vit.save_weights(model, tmp_path / name, "open_clip" if "safe" in name else None)
        again = keras_vit.from_checkpoint(tmp_path / name)
        np.testing.assert_array_equal(ours(again, pixels / 255), ours(model, pixels / 255))
    other = keras_vit.from_checkpoint(path, normalisation="centred", **options)
    with pytest.warns(UserWarning, match="usually has {.*'normalisation': 'clip'"):
        keras_vit.save_weights(other, tmp_path / "m.safetensors", "open_clip")
    with pytest.raises(ValueError, match=r"normalisation of the pixels: 'centred' in the file"):
        keras_vit.load_weights(model, tmp_path / "m.safetensors")


def _timm_folder(tmp_path, **said):
    theirs = randomised(timm_clip(library_of("timm"), SIZE))
    path = saved(theirs.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(said))
    return theirs, path


@pytest.mark.parametrize(
    ("said", "normalisation", "line"),
    [
        ({"pretrained_cfg": {"mean": MEAN, "std": STD}}, "clip", "(clip) by itself"),
        ({"pretrained_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}, "centred", ""),
        ({"pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.5] * 3}}, None, "([[0.1, 0.2, 0.3"),
        ({}, "centred", "does not say how its images were normalised"),
    ],
)
def test_timm_s_config_says_the_pixels(said, normalisation, line, tmp_path, capsys):
    name = "vit_base_patch32_clip_224"
    theirs, path = _timm_folder(tmp_path, architecture=name, num_classes=5, **said)
    model = keras_vit.from_checkpoint(path, num_heads=HEADS)
    out = capsys.readouterr().out
    assert line in out and bool(line) == bool(out)
    mean, std = NORMALISATIONS.get(normalisation) or ((0.1, 0.2, 0.3), (0.5,) * 3)
    unit = np.random.default_rng(0).uniform(size=(2, SIZE, SIZE, 3)).astype("float32")
    normalised = ((unit - np.array(mean)) / np.array(std)).astype("float32")
    compare(ours(model, 2 * unit - 1), outputs(theirs, normalised))
    if "pretrained_cfg" in said:
        (tmp_path / "config.json").write_text(json.dumps({
            "architecture": name, "pretrained_cfg": {"mean": [0.5], "std": ["a"]}
        }))  # fmt: skip
        with pytest.raises(ValueError, match=r"mean, std=.*Expected: a number for each channel"):
            keras_vit.from_checkpoint(path, num_heads=HEADS)


def test_hugging_face_s_processor_says_the_pixels_and_ours_does(tmp_path, capsys):
    model = keras_vit.ViT(
        SIZE, 8, 48, 1, HEADS, 64, embedding_norm=True, head_bias=False, gelu="quick",
        norm_epsilon=1e-5, interpolation="bicubic", normalisation="imagenet", classes=7,
    )  # fmt: skip
    folder = tmp_path / "ours"
    keras_vit.save_weights(model, folder, format="huggingface")
    said = json.loads((folder / "preprocessor_config.json").read_text())
    assert said["image_mean"] == list(NORMALISATIONS["imagenet"][0]) and said["do_normalize"]
    processor = library_of("transformers").AutoImageProcessor.from_pretrained(folder)
    assert tuple(processor.image_std) == NORMALISATIONS["imagenet"][1]
    from safetensors.numpy import load_file, save_file

    save_file(load_file(folder / "model.safetensors"), folder / "model.safetensors")  # our note off
    with pytest.warns(UserWarning, match="all zeros"):
        again = keras_vit.from_checkpoint(folder)
    assert "(imagenet) by itself" in capsys.readouterr().out
    assert again.get_layer("normalisation").std == list(NORMALISATIONS["imagenet"][1])


def test_a_clip_file_of_timm_asks_for_its_gelu(tmp_path):
    _, path = _timm_folder(tmp_path, architecture="vit_base_patch32_clip_quickgelu_224")
    model = keras_vit.from_checkpoint(path, num_heads=HEADS, normalisation="clip")
    assert model.get_layer("block_0").gelu == "quick"
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match="gelu=: CLIP models"):
        keras_vit.from_checkpoint(path, num_heads=HEADS)


@pytest.mark.parametrize("classes", [0, 5])
def test_the_image_tower_of_big_vision_opens_here_and_in_timm(classes, tmp_path, capsys):
    """timm has a loader of big_vision's files; it takes what we write in its names."""
    timm = library_of("timm")
    theirs = randomised(timm_siglip(timm, SIZE, act_layer="gelu_tanh", num_classes=classes))
    path = saved(theirs.state_dict(), tmp_path / "a.safetensors")
    options = {"num_heads": HEADS, "gelu": "tanh", "normalisation": "centred"}
    model = keras_vit.from_checkpoint(path, **options)
    pixels = images(SIZE)
    compare(ours(model, pixels), outputs(theirs, pixels))
    keras_vit.save_weights(model, tmp_path / "b.npz", format="big_vision")
    with np.load(tmp_path / "b.npz") as file:
        tower = {f"params/img/{name}": array for name, array in file.items()}
    rest = dict.fromkeys(["params/t", "params/b", "params/txt/head/bias"], np.zeros(1, "float32"))
    np.savez(tmp_path / "c.npz", **tower, **rest)
    again = timm_siglip(timm, SIZE, act_layer="gelu_tanh", num_classes=classes).eval()
    again.load_pretrained(str(tmp_path / "c.npz"))
    compare(outputs(again, pixels), outputs(theirs, pixels))
    capsys.readouterr()
    whole = keras_vit.from_checkpoint(tmp_path / "c.npz")
    assert "3 arrays that are no part of the model are left out" in capsys.readouterr().out
    np.testing.assert_array_equal(ours(whole, pixels), ours(model, pixels))


@pytest.mark.parametrize("name", ["CLIP", "Siglip"])
def test_a_classifier_of_transformers_is_named(name, tmp_path):
    """It reads the mean of the tokens, CLIP's before the last norm."""
    whole = clip_and_texts(library_of("transformers"), SIZE, name).config
    kind = getattr(library_of("transformers"), f"{name}ForImageClassification")
    kind(whole).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"classifier of transformers.*'classifier\.weight'"):
        keras_vit.from_checkpoint(tmp_path)


def test_what_is_left_of_a_siglip_tower(tmp_path):
    """Without its head or with another: a feature map, the mean, a new head on what it pools."""
    options = {"classifier": "map", "include_top": False, "pooling": "map"}
    theirs = keras_vit.ViT(SIZE, 8, 48, 1, HEADS, 64, **options)
    path = tmp_path / "siglip"
    keras_vit.save_weights(theirs, path, format="huggingface")
    pixels = images(SIZE)
    assert keras_vit.from_checkpoint(path)(pixels).shape == (2, 48)
    assert keras_vit.from_checkpoint(path, include_top=False)(pixels).shape == (2, 4, 4, 48)
    assert keras_vit.from_checkpoint(path, pooling="avg")(pixels).shape == (2, 48)
    new = keras_vit.from_checkpoint(path, classes=3)
    before = keras.Model(new.input, new.get_layer("pooling").output)
    np.testing.assert_array_equal(ours(before, pixels), ours(theirs, pixels))
    mean = keras_vit.from_checkpoint(path, classes=3, classifier="gap")
    assert mean.get_layer("pooling").pooling == "avg"
    with pytest.raises(ValueError, match="no place for these parts of the model: head/"):
        keras_vit.save_weights(new, tmp_path / "b", format="huggingface")
