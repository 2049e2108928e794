"""A layer that is made of others, and stores in its configuration how each was changed."""

from __future__ import annotations

from typing import Any

import keras

# Arguments of every layer, and of a dense one, that Keras's verbs change on a layer that is built:
# `trainable = False`, `quantize`, `enable_lora`.
_CHANGED = ("trainable", "dtype", "lora_rank", "lora_alpha", "quantization_config", "inner")


class Composite(keras.layers.Layer):
    """A layer whose parts are frozen, quantized or given LoRA, and stay so in a copy of it.

    Keras builds the parts of a layer from the arguments of the whole. A part that was frozen would
    therefore train again after `load_model` or `clone_model`. This class makes its parts with
    `part`, and its configuration lists how each part differs from the whole.

    Args:
        inner: Name of a part -> the arguments that were changed on it. `get_config` writes it.
        **kwargs: `name`, `dtype`, `trainable`, as every layer takes them.
    """

    def __init__(self, *, inner: dict[str, Any] | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self._inner = inner or {}

    def part(self, kind: Any, *args: Any, name: str, **options: Any) -> Any:
        """Makes a part: a layer of this policy, frozen where the whole is, or as it was changed."""
        changed = dict(self._inner.get(name, {}))
        if "quantization_config" in changed:
            changed["quantization_config"] = keras.saving.deserialize_keras_object(
                changed["quantization_config"]
            )
        common = {"dtype": self.dtype_policy, "trainable": self.trainable}
        return kind(*args, name=name, **{**common, **options, **changed})

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "trainable":
            # On TensorFlow, Keras does nothing if the whole has the value already, though a part
            # may have another.
            type(self).trainable.fset(self, value)  # type: ignore[attr-defined]
        else:
            super().__setattr__(name, value)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        inner = dict(self._inner)  # of parts that are made in `build`, maybe later
        for part in self._flatten_layers(include_self=False, recursive=False):
            inner.pop(part.name, None)
            found = part.get_config()
            changed = {k: found[k] for k in _CHANGED if found.get(k) != _of_whole(config, k)}
            if changed:
                inner[part.name] = changed
        return {**config, "inner": inner} if inner else config


def _of_whole(config: dict[str, Any], argument: str) -> Any:
    """The value that an unchanged part has."""
    return config[argument] if argument in ("trainable", "dtype") else None
