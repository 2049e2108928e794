"""Random models of timm and Hugging Face open here and ours there, and compute the same.

The rows are in tests/support/families_of_the_field.py. Needs the extra `interop`
(`make test-interop`).
"""

from __future__ import annotations

import dataclasses
import functools
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops
from support.dinov3 import hugging_face_dinov3, timm_eva02
from support.families_of_the_field import PEERS
from support.peers import HEADS, PATCH, SIZE, TOKENS, WIDTH, Peer

import keras_vit
from benchmarks.contestants.import_timm import import_timm, import_transformers

torch = pytest.importorskip("torch", reason="make test-interop installs it")
TOLERANCE = 1e-4
IMPORTS = {"timm": import_timm, "transformers": import_transformers}


@functools.cache
def library_of(name: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the other library
            return IMPORTS[name]()
    except ImportError as error:
        pytest.skip(f"{error}; make test-interop installs it")


def randomised(model: Any, seed: int = 0) -> Any:
    """Every parameter gets a value that shows: also biases, layer scales, norms, tokens."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator) * 0.1
            is_factor = parameter.ndim == 1 and name.endswith(("weight", "gamma", "lambda1"))
            parameter.copy_(noise + 1 if is_factor else noise)
            if "pos" in name:
                parameter.mul_(10)  # so that it shows how they are resampled
    return model.eval()


def images(size: Any) -> np.ndarray:
    rows, columns = (size, size) if isinstance(size, int) else size
    return np.random.default_rng(0).normal(size=(2, rows, columns, 3)).astype("float32")


@dataclasses.dataclass
class Opened:
    """A model of theirs, and the file that it is saved in."""

    peer: Peer
    model: Any
    path: Path

    def tokens(self, pixels: np.ndarray, model: Any = None) -> np.ndarray:
        find = self.peer.tokens or TOKENS[self.peer.library]
        with torch.no_grad():
            return find(model or self.model, as_torch(pixels)).numpy()

    def logits(self, pixels: np.ndarray, model: Any = None) -> np.ndarray:
        with torch.no_grad():
            output = (model or self.model)(as_torch(pixels))
        for name in ("logits", "image_embeds", "pooler_output"):
            output = getattr(output, name, output)
        return output.numpy()

    def ours(self, size: Any = None) -> Any:
        # Their models take pixels that are normalised, as ours do with this argument.
        options = {"normalisation": "centred", **self.peer.options}
        return keras_vit.from_checkpoint(self.path, size or self.peer.opened_at, **options)


def as_torch(pixels: np.ndarray) -> Any:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


@pytest.fixture(scope="module", params=PEERS, ids=lambda peer: peer.name)
def opened(request, tmp_path_factory) -> Opened:
    peer: Peer = request.param
    theirs = randomised(peer.build(library_of(peer.library), SIZE))
    path = tmp_path_factory.mktemp("theirs") / "model"
    if peer.library == "timm":
        from safetensors.torch import save_file

        path = path.with_suffix(".safetensors")
        save_file(peer.saved(theirs.state_dict()), path)
    else:
        theirs.save_pretrained(path)
    return Opened(peer, theirs, path)


def compare(found: np.ndarray, expected: np.ndarray) -> None:
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=TOLERANCE, rtol=TOLERANCE)


def our_tokens(model: Any, pixels: np.ndarray) -> np.ndarray:
    """[B, P + N, D] after the last norm."""
    tokens = keras.Model(model.input, model.get_layer("encoder_norm").output)
    return ops.convert_to_numpy(tokens(pixels))


def test_their_file_opens_here(opened: Opened, capsys):
    ours = opened.ours()
    assert ("are left out" in capsys.readouterr().out) == bool(opened.peer.left_out)
    pixels = images(SIZE)
    compare(our_tokens(ours, pixels), opened.tokens(pixels))
    if opened.peer.has_head:
        compare(ops.convert_to_numpy(ours(pixels)), opened.logits(pixels))


def test_their_file_opens_at_other_sizes(opened: Opened):
    for size in opened.peer.other_sizes:
        pixels = images(size)
        compare(our_tokens(opened.ours(size), pixels), opened.tokens(pixels))


@pytest.mark.filterwarnings("ignore:The model .* has {'gelu'")
def test_our_file_opens_there(opened: Opened, tmp_path):
    peer, library = opened.peer, library_of(opened.peer.library)
    if peer.back == "":
        pytest.skip(f"{peer.library} does not open a file of ours: {peer.family}")
    ours = opened.ours()
    if peer.library == "timm":
        from safetensors.torch import load_file

        keras_vit.save_weights(ours, tmp_path / "ours.safetensors", format="timm")
        again = randomised((peer.build_back or peer.build)(library, SIZE), seed=1)
        again.load_state_dict(load_file(tmp_path / "ours.safetensors"), strict=True)
    else:
        keras_vit.save_weights(ours, tmp_path / "ours", format="huggingface")
        kind = getattr(library, peer.back) if peer.back else type(opened.model)
        again, said = kind.from_pretrained(tmp_path / "ours", output_loading_info=True)
        again.eval()
        absent = {n for n in said["missing_keys"] if not n.endswith("mask_token")}
        absent = {n for n in absent if not n.startswith("pooler")}  # of `ViTModel`
        assert not absent and not said["unexpected_keys"] and not said["mismatched_keys"]
    pixels = images(SIZE)
    compare(opened.tokens(pixels, again), opened.tokens(pixels))
    if peer.has_head:
        compare(opened.logits(pixels, again), opened.logits(pixels))


def test_the_attention_maps_of_dinov3_are_those_of_transformers(tmp_path):
    theirs = randomised(hugging_face_dinov3(library_of("transformers"), SIZE))
    theirs.set_attn_implementation("eager")
    theirs.save_pretrained(tmp_path)
    pixels = images((40, 64))
    ours = keras_vit.from_checkpoint(tmp_path, (40, 64), normalisation="centred")
    with torch.no_grad():
        expected = theirs(as_torch(pixels), output_attentions=True).attentions
    compare(keras_vit.attention_maps(ours, pixels), np.stack([x.numpy() for x in expected], axis=1))


UNKNOWN = {
    "EVA-02 small": (timm_eva02, "EVA or EVA-02, with rotary positions of their own"),
    "EVA-02 large": (
        lambda timm: timm_eva02(timm, qkv_fused=False, scale_mlp=True),
        "EVA-02 or BEiT-3, with norms inside attention and MLP",
    ),
    "BEiT": (
        lambda timm: timm.models.beit.Beit(
            SIZE, PATCH, embed_dim=WIDTH, depth=1, num_heads=HEADS, use_abs_pos_emb=False,
            use_rel_pos_bias=True,
        ),
        "a model with relative positions, as BEiT and Swin have",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_family_that_is_not_known_is_named(name, tmp_path):
    from safetensors.torch import save_file

    build, what = UNKNOWN[name]
    save_file(build(library_of("timm")).state_dict(), tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=f"It looks like {what}.*, and keras_vit has no such"):
        keras_vit.from_checkpoint(tmp_path / "a.safetensors", num_heads=HEADS)
