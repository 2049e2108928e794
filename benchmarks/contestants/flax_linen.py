"""A Vision Transformer in flax.linen, with the modules named as Google's code names its arrays.

So `ours.npz`, which is in Google's format, is its parameters. Flax's own attention and layer norm,
in the order of the paper's equations 1 to 4.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.contestants import CLASSES, facts, images, labels
from benchmarks.contestants.weights import OURS, vit
from keras_vit.models import ViTConfig

try:
    import flax.linen as nn  # pyright: ignore[reportMissingImports]  # not in peers
    import optax  # pyright: ignore[reportMissingImports]
    from flax.traverse_util import unflatten_dict  # pyright: ignore[reportMissingImports]
except ImportError as error:
    raise ImportError("pip install flax optax") from error


class MLP(nn.Module):
    """[B, N, D] -> [B, N, D]."""

    hidden: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Any) -> Any:
        width = x.shape[-1]
        x = nn.gelu(nn.Dense(self.hidden, dtype=self.dtype, name="Dense_0")(x))
        return nn.Dense(width, dtype=self.dtype, name="Dense_1")(x)


class Block(nn.Module):
    """[B, N, D] -> [B, N, D]."""

    row: ViTConfig
    dtype: Any

    @nn.compact
    def __call__(self, x: Any) -> Any:
        norm = partial(nn.LayerNorm, epsilon=1e-6, dtype=self.dtype)
        attention = nn.MultiHeadDotProductAttention(
            num_heads=self.row.num_heads, dtype=self.dtype, name="MultiHeadDotProductAttention_1"
        )
        x = x + attention(norm(name="LayerNorm_0")(x))
        mlp = MLP(self.row.mlp_dim, self.dtype, name="MlpBlock_3")
        return x + mlp(norm(name="LayerNorm_2")(x))


class Positions(nn.Module):
    """[B, N, D] -> [B, N, D]."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        shape = (1, *x.shape[1:])
        return x + self.param("pos_embedding", nn.initializers.zeros, shape).astype(x.dtype)


class Encoder(nn.Module):
    """[B, N, D] -> [B, N, D]."""

    row: ViTConfig
    dtype: Any
    rematerialise: bool

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = Positions(name="posembed_input")(x)
        block = nn.remat(Block) if self.rematerialise else Block
        for number in range(self.row.depth):
            x = block(self.row, self.dtype, name=f"encoderblock_{number}")(x)
        return nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name="encoder_norm")(x)


class VisionTransformer(nn.Module):
    """[B, H, W, 3] -> [B, classes]."""

    row: ViTConfig
    dtype: Any
    rematerialise: bool

    @nn.compact
    def __call__(self, x: Any) -> Any:
        patch, width = (self.row.patch_size,) * 2, self.row.width
        embedding = nn.Conv(
            width, patch, patch, padding="VALID", dtype=self.dtype, name="embedding"
        )
        x = embedding(x).reshape(x.shape[0], -1, width)
        token = self.param("cls", nn.initializers.zeros, (1, 1, width)).astype(x.dtype)
        x = jnp.concatenate([jnp.tile(token, (x.shape[0], 1, 1)), x], axis=1)
        x = Encoder(self.row, self.dtype, self.rematerialise, name="Transformer")(x)
        return nn.Dense(CLASSES, dtype=self.dtype, name="head")(x[:, 0])


def build(
    model: str,
    size: int,
    batch: int,
    precision: str,
    training: bool,
    folder: str,
    rematerialise: bool = False,
) -> Any:
    with np.load(Path(folder, OURS)) as arrays:
        params = unflatten_dict({tuple(name.split("/")): arrays[name] for name in arrays.files})
    dtype = jnp.dtype(precision)
    params = jax.tree.map(lambda x: jnp.asarray(x, "float32" if training else dtype), params)
    pixels, truth = jnp.asarray(images(batch, size)), jnp.asarray(labels(batch))
    net = VisionTransformer(vit(model), dtype, rematerialise)
    forward = jax.jit(lambda params, x: net.apply({"params": params}, x))
    result = facts(np.asarray(forward(params, pixels), "float32"))
    if not training:
        return lambda: forward(params, pixels), result

    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.01, momentum=0.9))

    def mean_loss(params: Any, x: Any, y: Any) -> Any:
        logits = net.apply({"params": params}, x).astype("float32")
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    @partial(jax.jit, donate_argnums=(0, 1))
    def update(params: Any, state: Any, x: Any, y: Any) -> Any:
        loss, gradients = jax.value_and_grad(mean_loss)(params, x, y)
        changes, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, changes), state, loss

    now = [params, optimizer.init(params)]

    def step() -> float:
        now[0], now[1], loss = update(*now, pixels, truth)
        return float(loss)

    return step, result
