"""timm and transformers on PyTorch's kernels for the CPU, or for a graphics card."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import Any

from benchmarks.contestants import CLASSES, facts, images, labels
from benchmarks.contestants.weights import TIMM, TRANSFORMERS, vit


def build(
    model: str,
    size: int,
    batch: int,
    precision: str,
    training: bool,
    folder: str,
    library: str,
    mode: str,
    device: str = "cpu",
    rematerialise: bool = False,
) -> Any:
    """Builds a step.

    In int8 the linear layers are those of `torch.ao.quantization.quantize_dynamic`.

    Args:
        library: `"timm"` or `"transformers"`.
        mode: `"eager"`, `"compiled"` (and frozen at inference), or `"graphs"`: compiled, and
            replayed as a CUDA graph.
        device: `"cpu"` or `"cuda"`.
        rematerialise: Whether timm checkpoints its blocks.
    """
    made = classifier(library, model, size, Path(folder))
    import torch

    dtype = torch.float32 if precision == "int8" else getattr(torch, precision)
    pixels = torch.from_numpy(images(batch, size)).permute(0, 3, 1, 2).contiguous().to(device)
    truth = torch.from_numpy(labels(batch)).long().to(device)
    if rematerialise:
        made.set_grad_checkpointing()
    compiled = {"compiled": "default", "graphs": "reduce-overhead"}.get(mode)

    def logits(run: Any) -> Any:
        output = run(pixels)
        return getattr(output, "logits", output)

    if training:
        made = made.to(device)
        run = torch.compile(made, mode=compiled) if compiled else made
        cast = contextlib.nullcontext
        if precision != "float32":
            cast = lambda: torch.autocast(device, dtype)  # noqa: E731
        optimizer = torch.optim.SGD(made.parameters(), lr=0.01, momentum=0.9)
        with torch.no_grad(), cast():  # not compiled: that would take a second time
            result = facts(logits(made).float().cpu().numpy())

        def step() -> float:
            optimizer.zero_grad(set_to_none=True)
            with cast():
                loss = torch.nn.functional.cross_entropy(logits(run).float(), truth)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(made.parameters(), 1.0)
            optimizer.step()
            return loss.item()

        return step, result

    made = made.eval().to(device, dtype)
    if precision == "int8":
        with warnings.catch_warnings():  # torch.ao is to become torchao, a package of its own
            warnings.simplefilter("ignore")
            made = torch.ao.quantization.quantize_dynamic(made, {torch.nn.Linear}, torch.qint8)
    pixels = pixels.to(dtype)
    if compiled:
        from torch._inductor import config

        config.freezing = True
        run = torch.compile(made, mode=compiled)
    else:
        run = made

    def infer() -> Any:
        with torch.no_grad():
            return logits(run)

    return infer, facts(infer().float().cpu().numpy())


def classifier(library: str, model: str, size: int, folder: Path) -> Any:
    """Builds it and loads the weights that `contestants.weights` has written."""
    try:
        return {"timm": _timm, "transformers": _transformers}[library](model, size, folder)
    except ImportError as error:
        raise ImportError(f"make interop; {error}") from error


def _timm(model: str, size: int, folder: Path) -> Any:
    from safetensors.torch import load_file

    from benchmarks.contestants.import_timm import import_timm

    row = vit(model)
    made = import_timm().models.vision_transformer.VisionTransformer(
        img_size=size,
        patch_size=row.patch_size,
        embed_dim=row.width,
        depth=row.depth,
        num_heads=row.num_heads,
        num_classes=CLASSES,
        act_layer="gelu_tanh",
    )
    made.load_state_dict(load_file(folder / TIMM))
    return made


def _transformers(model: str, size: int, folder: Path) -> Any:
    from benchmarks.contestants.import_timm import import_transformers

    cls = import_transformers().ViTForImageClassification
    return cls.from_pretrained(folder / TRANSFORMERS)
