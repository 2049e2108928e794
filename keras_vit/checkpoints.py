"""Released checkpoints: what a file holds, and how it becomes the variables of a model.

Every array of the file and every variable of the model is accounted for, or nothing is loaded
and one error lists all that does not fit.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras

from keras_vit.describe import CheckpointInfo, describe
from keras_vit.ends import image_shape
from keras_vit.initializers import weights_follow
from keras_vit.keys import FAMILIES, LAYOUTS, Family, Key, array_name, released_names
from keras_vit.npz import NpzReader
from keras_vit.position import as_pair, resample_position_embedding
from keras_vit.tokens import ClassToken, PatchEmbed, PositionEmbedding
from keras_vit.transformer import TransformerBlock
from keras_vit.variants import VARIANTS, ViTConfig
from keras_vit.vit import ViT

_BLOCK = "Transformer/encoderblock_{}/"


def model_family(model: keras.Model) -> Family:
    """The family that a model belongs to.

    Raises:
        ValueError: If it has the layers of none.
    """
    names = {layer.name for layer in model.layers}
    for family in FAMILIES:
        if family.layer in names:
            return family
    raise ValueError(
        "`model` must have the layers of a model that keras_vit built, itself and not inside "
        f"another layer. Received: model={getattr(model, 'name', model)!r}"
    )


def model_arrays(model: keras.Model) -> dict[str, tuple[Any, Key, tuple[int, ...]]]:
    """The arrays that a checkpoint of `model` has.

    Returns:
        Released name -> (variable, its row in the table of keys, the array's shape). Layers
        before and after the Vision Transformer, of the user's own, are left out.
    """
    family = model_family(model)
    num_heads = next((b.num_heads for b in vit_layers(model, TransformerBlock)), 1)
    ours = (ClassToken, PatchEmbed, PositionEmbedding, TransformerBlock)
    arrays = {}
    for layer in model.layers:
        for variable in layer.weights:
            path = variable.path.split("/")
            name = "/".join(path[path.index(layer.name) :]) if layer.name in path else variable.path
            found = array_name(name, family)
            if found is not None:
                array, key = found
                shape = LAYOUTS[key.layout](tuple(variable.shape), num_heads)
                arrays[array] = (variable, key, shape)
            elif isinstance(layer, ours):
                raise ValueError(f"No released checkpoint has a name for the variable {name!r}.")
    return arrays


def vit_layers(model: keras.Model, kind: type) -> list[Any]:
    """All layers of one kind in the model, in order."""
    return [layer for layer in model.layers if isinstance(layer, kind)]


def load_checkpoint(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    image_size: tuple[int, int] | None = None,
    new_head: bool = False,
) -> None:
    """Loads a released checkpoint into a model that `ViT` built.

    The position embedding is resampled to the model's grid. A model without a head ignores the
    file's head and `pre_logits`; a model without `pre_logits` whose head is new ignores that.

    Args:
        model: The model; its variables are overwritten.
        path: An `.npz` in Google's layout.
        image_size: (rows, columns) in pixels that the file was trained at, where its grid is
            not a square.
        new_head: Leave the model's head as it is, and do not read the file's.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If arrays are missing, unexpected or of another shape (all are listed, and
            nothing is loaded), or if the file is damaged.
    """
    with NpzReader(path) as reader:
        _load(model, reader, image_size, new_head)


def _load(
    model: keras.Model,
    reader: NpzReader,
    image_size: tuple[int, int] | None,
    new_head: bool,
) -> None:
    found = released_names(reader)
    info = describe(reader.shapes)
    wanted = model_arrays(model)
    family = model_family(model)
    if info.family is not family:
        raise ValueError(
            f"{str(reader.path)!r} is the checkpoint of a {info.family.name}, and "
            f"`model` is a {family.name}. Received: model={model.name!r}"
        )
    has_head = any(name.startswith(family.head) for name in wanted)
    if new_head or not has_head:
        keep_pre_logits = "pre_logits/kernel" in wanted
        for group in (wanted, found):
            for name in list(group):
                if name.startswith(family.head) or (
                    name.startswith("pre_logits/") and not keep_pre_logits
                ):
                    del group[name]
    _compare(
        {name: (key.layout, shape) for name, (_, key, shape) in wanted.items()},
        {name: reader.shapes[source] for name, source in found.items()},
        reader.path,
    )
    _check_floating_point(reader, found.values())
    for name, (variable, key, _) in wanted.items():
        array = reader[found[name]]
        if key.layout == "positions" and isinstance(info, CheckpointInfo):
            layer = vit_layers(model, PositionEmbedding)[0]
            array = resample_position_embedding(
                array, info.grid_size(image_size), layer.grid_size, layer.num_prefix_tokens
            )
        variable.assign(array.reshape(variable.shape))
        if name == f"{family.head}kernel" and not array.any():
            warnings.warn(
                f"The head in {reader.path.name!r} is all zeros: Google released this file for "
                "its features, and its class scores mean nothing. Use include_top=False or a new "
                "head (classes=..., new_head=True) and train it; the AugReg files of ImageNet-21k "
                "have trained heads.",
                stacklevel=2,
            )


def _check_floating_point(reader: NpzReader, names: Iterable[str]) -> None:
    for name in names:
        if reader.dtypes[name].kind != "f":
            raise ValueError(
                f"Expected floating-point arrays in {str(reader.path)!r}. Received: {name!r} of "
                f"dtype {reader.dtypes[name]}"
            )


def _compare(
    wanted: Mapping[str, tuple[str, tuple[int, ...]]],
    shapes: Mapping[str, tuple[int, ...]],
    path: Path,
) -> None:
    """Raises one error with everything in which the file differs from (layout, shape) wanted."""
    lines = [f"  missing from the file: {name}" for name in wanted if name not in shapes]
    lines += [f"  unexpected in the file: {name}" for name in shapes if name not in wanted]
    for name, (layout, shape) in wanted.items():
        if name not in shapes or shapes[name] == shape:
            continue
        if layout == "positions" and (shapes[name][:1], shapes[name][2:]) == ((1,), shape[2:]):
            continue  # another grid, which is resampled
        if layout in ("group_norm", "norm") and shapes[name] in (shape[-1:], (1, 1, 1, shape[-1])):
            continue  # a GroupNorm is stored with or without leading ones
        lines.append(f"  wrong shape: {name} is {shapes[name]}, the model needs {shape}")
    if lines:
        raise ValueError(
            f"The checkpoint {str(path)!r} does not fit the model, and nothing was loaded. "
            "`keras_vit.from_checkpoint` builds the model that a file describes.\n"
            + "\n".join(sorted(lines))
        )


def from_checkpoint(
    path: str | os.PathLike[str],
    image_size: int | tuple[int, int] | None = None,
    *,
    classes: int | None = None,
    classifier_activation: Any = None,
    include_top: bool = True,
    **options: Any,
) -> keras.Model:
    """Builds the model that a checkpoint describes, from its arrays alone, and loads it.

    Args:
        path: An `.npz` in Google's layout.
        image_size: Pixels, one number or (rows, columns). Default: what the file was trained
            at. At another size the position embedding is resampled (paper, section 3.2).
        classes: Replace the file's head by a new one of so many outputs, of zeros, and drop
            its `pre_logits` layer, as the original fine-tuning does (pass
            `representation_size=` to keep it). Default: the file's own head.
        classifier_activation: Activation of the head; the default `None` gives logits.
        include_top: Whether to end with the head. Without it the result is a feature map, or
            what `pooling=` says.
        **options: Further arguments of `keras_vit.ViT`: `gelu`, `dropout_rate`,
            `include_preprocessing`, `pooling`, `input_shape`, `dtype`, `name`, ...

    Returns:
        A functional `keras.Model`; see `keras_vit.ViT`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a Vision Transformer's checkpoint, or is damaged.
    """
    with NpzReader(path) as reader:
        info = describe(reader.shapes)
        pair = None if image_size is None else as_pair(image_size, "image_size")
        size = info.image_size(pair)
        include_top = include_top and (info.classes is not None or classes is not None)
        new_head = classes is not None
        settings: dict[str, Any] = {
            **info.settings(new_head),
            "input_shape": None if "input_tensor" in options else image_shape(size, info.channels),
            **options,
        }
        with weights_follow():
            model = info.build(
                size,
                **info.architecture,
                include_top=include_top,
                classes=classes if new_head else info.classes or 0,
                classifier_activation=classifier_activation,
                **settings,
            )
        _load(model, reader, pair, new_head)
    return model


def load_weights(
    model: keras.Model, path: str | os.PathLike[str], *, new_head: bool = False
) -> None:
    """Loads weights of any supported format into a model.

    Args:
        model: A model that `ViT` or a constructor built.
        path: `.npz` (Google's layout), `.weights.h5`, or `.keras`.
        new_head: For `.npz`: leave the model's head as it is.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the format is unknown or the file does not fit the model.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    if path.suffix == ".npz":
        load_checkpoint(model, path, new_head=new_head)
    elif path.name.endswith((".weights.h5", ".keras")):
        model.load_weights(path)
    else:
        raise ValueError(
            "Expected a file whose name ends with .npz, .weights.h5 or .keras. "
            f"Received: path={str(path)!r}"
        )


def manifest(
    config: ViTConfig,
    image_size: int = 224,
    classes: int | None = 1000,
    representation_size: int | None = None,
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all arrays of a released checkpoint, without building the model.

    One block is built; the others are its copies.

    Args:
        config: A row of `VARIANTS`.
        image_size: Pixels of a side.
        classes: Outputs of the head; `None` for none.
        representation_size: Width of the `pre_logits` layer, or `None`.
    """
    expected = _expected(config, image_size, classes, representation_size)
    return {name: shape for name, (_, shape) in expected.items()}


def _expected(
    config: ViTConfig, image_size: int, classes: int | None, representation_size: int | None
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The layout and shape of every array that `config` has."""
    with weights_follow():
        one_block = ViT(
            image_size,
            **{**config.architecture, "depth": 1},
            include_top=classes is not None,
            classes=classes or 0,
            representation_size=representation_size,
        )
    expected = {}
    for name, (_, key, shape) in model_arrays(one_block).items():
        copies = config.depth if name.startswith(_BLOCK.format(0)) else 1
        for i in range(copies):
            copy = name.replace(_BLOCK.format(0), _BLOCK.format(i), 1)
            # A released file has one grid: no position may be resampled here.
            expected[copy] = ("same" if key.layout == "positions" else key.layout, shape)
    return expected


def check_released_file(path: str | os.PathLike[str], released: Any) -> None:
    """Checks that a file has exactly the arrays of a row of `weights.RELEASED`.

    Args:
        path: An `.npz`.
        released: The row: `variant`, `classes` (or `None`), `image_size`, `representation_size`.

    Raises:
        ValueError: If a name, a shape or the dtype of an array is not that of the row, or an
            array is damaged.
    """
    config = VARIANTS[released.variant]
    with NpzReader(path) as reader:
        info = describe(reader.shapes)
        classes = released.classes if released.classes is not None else info.classes
        expected = _expected(config, released.image_size, classes, released.representation_size)
        found = released_names(reader)
        shapes = {name: reader.shapes[source] for name, source in found.items()}
        _compare(expected, shapes, reader.path)
        _check_floating_point(reader, found.values())
        for name in reader:
            reader[name]  # compares its checksum
