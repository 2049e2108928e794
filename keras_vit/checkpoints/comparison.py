"""Whether a file holds what a model needs, each array in its shape, and nothing else."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from keras_vit.checkpoints.adapt import shape_needed
from keras_vit.checkpoints.checkpoint import Checkpoint, is_float
from keras_vit.checkpoints.model_arrays import SETTINGS
from keras_vit.checkpoints.names.keys import MIXER


def left_out_of(wanted: dict[str, Any], new_head: bool) -> tuple[str, ...]:
    """What the names of the variables begin with that are not loaded."""
    if not new_head and "head/kernel" in wanted:
        return ()
    after_pooling = [f"{layer}/" for layer in ("pooling", "pre_logits", "pooled_norm")]
    return ("head/", *(p for p in after_pooling if not any(n.startswith(p) for n in wanted)))


def check_fits(
    checkpoint: Checkpoint,
    wanted: dict[str, Any],
    left_out: tuple[str, ...],
    here: dict[str, Any],
    fits: Collection[str],
    building: bool,
) -> None:
    """Raises one error with everything in which the file differs from the variables wanted.

    Variables in `fits` are fitted from another shape. With `building` the caller is
    `from_checkpoint`, which a hint must then not recommend.
    """
    lines, read = [], set()
    said = {**checkpoint.metadata, "num_heads": checkpoint.said_heads()}
    if building:  # what the caller asked for is right
        said = {"num_heads": said["num_heads"]}
    elif "head/kernel" not in wanted:  # features may be pooled in another way
        said.pop("classifier", None)
    for name, title in SETTINGS.items():
        if name in here and said.get(name) not in (None, here[name]):
            lines.append(f"  {title}: {said[name]!r} in the file, {here[name]!r} in the model")
    for name, variable in wanted.items():
        found = checkpoint.array_of(name)
        if found is None:
            lines.append(f"  the format {checkpoint.format.title!r} has no name for: {name}")
            continue
        array, key = found
        shape = checkpoint.arrays.get(array)
        read.add(array)
        if shape is None:
            if not checkpoint.is_absent(key):
                lines.append(f"  missing from the file: {array}")
        elif (
            name not in fits
            and (
                needed := shape_needed(key, tuple(variable.shape), shape, here.get("num_heads", 1))
            )
            is not None
        ):
            lines.append(f"  wrong shape: {array} is {shape}, the model needs {needed}")
        elif not is_float(checkpoint.dtype_of(array)):
            lines.append(
                f"  expected floating-point numbers: {array} is {checkpoint.dtype_of(array)}"
            )
    left = {checkpoint.array_of(name) for name in checkpoint if name.startswith(left_out or "/")}
    known = read | {found[0] for found in left if found}
    lines += [f"  unexpected in the file: {a}" for a in checkpoint.arrays if a not in known]
    if not lines:
        return
    hint = (
        "Its arrays are not those of one whole model."
        if building
        else "`keras_vit.from_checkpoint` builds the model that a file describes."
    )
    if checkpoint.format.family is MIXER:
        hint += " A Mixer is made for one number of patches and cannot be resized."
    raise ValueError(
        f"The checkpoint {str(checkpoint.path)!r} does not fit the model, and nothing was loaded. "
        f"{hint}\n" + "\n".join(sorted(lines))
    )
