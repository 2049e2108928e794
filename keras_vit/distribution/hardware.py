"""Chooses strategy, devices, precision and XLA where the user leaves them open."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import keras

from keras_vit.distribution import defaults, processes, strategies
from keras_vit.utils.checks import check_choice

XLA = ("auto", "on", "off")


@dataclasses.dataclass(frozen=True)
class Hardware:
    """The devices of a run; the defaults are one device, as Keras uses it.

    Attributes:
        strategy: A `tf.distribute` strategy; `None` for one device and Keras's own step.
        name: Name of the strategy; `"one"` for none.
        devices: How many devices train.
        dtype: Dtype policy of the model.
        xla: Whether XLA compiles the steps. `None` leaves it to Keras, which compiles on GPUs.
    """

    strategy: Any = None
    name: str = "one"
    devices: int = 1
    dtype: str = "float32"
    xla: bool | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """The values that replace `"auto"` in the settings that a run records and compares."""
        xla = "on" if self.xla else "off"
        return {"strategy": self.name, "devices": self.devices, "dtype": self.dtype, "xla": xla}

    @property
    def is_chief(self) -> bool:
        """Whether this process is the one that writes."""
        return self.strategy is None or processes.is_chief(self.strategy)

    def scope(self) -> Any:
        """The scope to make and assign variables in; without a strategy it does nothing."""
        return contextlib.nullcontext() if self.strategy is None else self.strategy.scope()

    def wait(self) -> None:
        """Waits until all processes have called this."""
        processes.any_process(self.strategy, False)


def choose(
    strategy: str = "auto", devices: Any = None, dtype: str = "auto", xla: str = "auto"
) -> Hardware:
    """Chooses the hardware of a run.

    Call it before TensorFlow runs anything, because `"cpu"` divides the processor.

    Args:
        strategy: One of `keras_vit.distribution.STRATEGIES`.
        devices: As for `keras_vit.distribution.strategy`.
        dtype: A dtype policy, or `"auto"` for `keras_vit.distribution.default_precision`.
        xla: `"on"`, `"off"`, or `"auto"` for `keras_vit.distribution.default_jit`.

    Raises:
        ValueError: If there is no such strategy, device or setting.
    """
    check_choice("strategy", strategy, strategies.STRATEGIES)
    check_choice("xla", xla, XLA)
    backend = keras.backend.backend()
    if backend == "jax" and xla == "off":
        raise ValueError("On JAX everything is compiled with XLA. Received: xla='off'")
    name = strategy
    if name == "auto":
        name = strategies.automatic() if backend == "tensorflow" else "one"
    # Other backends and one device do not take `devices`: `strategy` raises and says what to do.
    made = None
    if name != "one" or devices is not None:
        made = strategies.strategy(strategy, devices)
    return under(made, dtype, xla, name)


def under(strategy: Any, dtype: str = "auto", xla: str = "auto", name: str = "") -> Hardware:
    """The hardware of a strategy.

    Args:
        strategy: A `tf.distribute` strategy, or `None` for one device.
        dtype: As in `choose`.
        xla: As in `choose`.
        name: Name of the strategy. Default: that of its class.
    """
    if dtype == "auto":
        dtype = defaults.default_precision(strategy)
    return Hardware(
        strategy=strategy,
        name=name or ("one" if strategy is None else type(strategy).__name__),
        devices=1 if strategy is None else strategy.num_replicas_in_sync,
        dtype=dtype,
        xla=defaults.default_jit(strategy, dtype) if xla == "auto" else xla == "on",
    )
