"""On JAX: which device holds which part of a model, for `keras.distribution`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_vit.utils.checks import check_counts

DATA, MODEL = "data", "model"

# One sum over the devices per branch: the first product of a branch is divided by its columns
# (heads, hidden channels), the second by its rows. Source: Megatron-LM, arXiv 1909.08053, 3.
LAYOUT = {
    r"(.*/)?attention/(query|key|value)/kernel": (None, MODEL),
    r"(.*/)?attention/(query|key|value)/bias": (MODEL,),
    r"(.*/)?attention/out/kernel": (MODEL, None),
    r"(.*/)?mlp/(dense_1|gate)/kernel": (None, MODEL),
    r"(.*/)?mlp/(dense_1|gate)/bias": (MODEL,),
    r"(.*/)?mlp/dense_2/kernel": (MODEL, None),
}


def data_parallel(devices: Sequence[str] | None = None) -> Any:
    """A distribution in which every device has the whole model and a part of each batch.

        keras.distribution.set_distribution(keras_vit.distribution.data_parallel())

    Args:
        devices: Names from `keras.distribution.list_devices()`. Default: all.

    Returns:
        A `keras.distribution.DataParallel`. Set it before you make the model. The batch size must
        be a multiple of the number of devices.

    Raises:
        ValueError: On another backend than JAX, or if a device is not there.
    """
    names = _devices(devices)
    mesh = keras.distribution.DeviceMesh((len(names),), [DATA], names)
    # In one process JAX divides the whole batch. With several, Keras gives each its part first.
    return keras.distribution.DataParallel(device_mesh=mesh)


def model_parallel(
    model_axis: int,
    data_axis: int | None = None,
    devices: Sequence[str] | None = None,
) -> Any:
    """A distribution that divides the heads and MLP channels of a Vision Transformer.

    A device has `1 / model_axis` of the query, key, value, output and MLP kernels, the rest
    of the model whole, and `1 / data_axis` of each batch. The optimiser's variables are divided
    like the model's.

    Args:
        model_axis: Devices that share a model. It must divide the width and `mlp_dim`. It should
            divide the number of heads; otherwise a head lies on two devices, which is slower.
        data_axis: Copies of the model. Default: as many as the devices allow.
        devices: Names from `keras.distribution.list_devices()`. Default: all, or the first
            `model_axis * data_axis`.

    Returns:
        A `keras.distribution.ModelParallel`. Set it before you make the model.

    Raises:
        ValueError: On another backend than JAX, or if the devices are not there.
    """
    names = _devices(devices)
    check_counts(1, model_axis=model_axis)
    if data_axis is not None:
        check_counts(1, data_axis=data_axis)
    if data_axis is None:
        data_axis = max(len(names) // model_axis, 1)
        used = len(names)  # all must be used, or the check below raises
    else:
        used = model_axis * data_axis
    if model_axis * data_axis != used or used > len(names):
        raise ValueError(
            "`model_axis` times `data_axis` must be the number of devices. Received: "
            f"model_axis={model_axis}, data_axis={data_axis}, devices={names}"
        )
    mesh = keras.distribution.DeviceMesh((data_axis, model_axis), [DATA, MODEL], names[:used])
    layout_map: Any = keras.distribution.LayoutMap(mesh)
    for path, axes in LAYOUT.items():
        layout_map[path] = axes
    return keras.distribution.ModelParallel(layout_map=layout_map, batch_dim_name=DATA)


def shard_shapes(model: keras.Model) -> dict[str, tuple[int, ...]]:
    """The shape of the part of each weight that one device holds, by the weight's path.

    Raises:
        ValueError: On another backend than JAX.
    """
    _check_backend()
    shapes = {}
    for variable in model.weights:
        value: Any = variable.value
        shapes[variable.path] = tuple(value.sharding.shard_shape(value.shape))
    return shapes


def _devices(devices: Sequence[str] | None) -> list[str]:
    _check_backend()
    there = keras.distribution.list_devices()
    names = there if devices is None else list(devices)
    if not names or any(name not in there for name in names):
        raise ValueError(
            "`devices` must be some of those that JAX has. (A processor is several with "
            "XLA_FLAGS=--xla_force_host_platform_device_count=4.) Received: "
            f"devices={names}, and JAX has {there}"
        )
    return names


def _check_backend() -> None:
    if keras.backend.backend() != "jax":
        raise ValueError(
            "keras.distribution needs JAX: set KERAS_BACKEND=jax. On TensorFlow take "
            "`keras_vit.distribution.strategy()`. Received: "
            f"KERAS_BACKEND={keras.backend.backend()}"
        )
