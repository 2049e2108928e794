"""Optimisers with the original's update rules and its choice of what weight decay skips.

Keras's `SGD` multiplies a gradient by the learning rate when it enters the momentum, the
original (Optax, PyTorch) when the momentum is applied. With a constant rate both are the same.
Along a schedule they are not: after a fall of the rate, Keras still makes large steps until the
old gradients have left the momentum, and during a warmup smaller ones. Take `MomentumSGD` to
reproduce the papers or to go on with their settings; Keras's `SGD` where a published result was
trained with it.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from keras_vit.utils.backend import ops

# What a trainable variable can be, by its name.
KINDS = (
    "kernel",
    "bias",
    "norm",
    "class_token",
    "position_embedding",
    "registers",
    "layer_scale",
    "other",
)

# What big_vision leaves out: its weight decay is for names that end in /kernel.
NOT_KERNELS = tuple(kind for kind in KINDS if kind != "kernel")

_KIND_OF_NAME = {
    "kernel": "kernel",
    "bias": "bias",
    "gamma": "norm",
    "beta": "norm",
    "token": "class_token",
    "embedding": "position_embedding",
}


def kind_of(variable: Any) -> str:
    """What a variable is: one of `KINDS`.

    Args:
        variable: A `keras.Variable` of one of this package's models or of Keras's own layers;
            one whose name says nothing is `"other"`.
    """
    *owners, name = variable.path.split("/")
    owner = owners[-1] if owners else ""
    if name == "token" and owner == "registers":
        return "registers"
    if name == "gamma" and owner.endswith("scale"):
        return "layer_scale"
    return _KIND_OF_NAME.get(name, "other")


def exclude_from_weight_decay(
    optimizer: Any,
    model: keras.Model,
    what: Sequence[str] = ("bias", "norm", "class_token", "position_embedding"),
) -> list[str]:
    """Keeps the weight decay of any Keras optimiser from some kinds of variables.

    Keras does not save this with the optimiser: after `keras.models.load_model` all is decayed
    again. `AdamW` and `MomentumSGD` of this module have `no_decay`, which is saved.

    Args:
        optimizer: A Keras optimiser with decoupled weight decay that has not been built, that
            is before the first step of training.
        model: The model that it is to train.
        what: Some of `KINDS`. `NOT_KERNELS` is big_vision's choice.

    Returns:
        The paths of the variables that are not decayed.

    Raises:
        ValueError: If `what` names something else, or the optimiser is built.
    """
    _check_kinds("what", what)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
    if optimizer.built:
        raise ValueError(
            "Say before the first step which weights are not decayed: make a new optimizer. "
            f"Received: an optimizer that is built, optimizer={optimizer.name!r}"
        )
    excluded = [v for v in model.trainable_variables if kind_of(v) in what]
    optimizer.exclude_from_weight_decay(var_list=excluded)
    return [variable.path for variable in excluded]


class _SkipsDecay:
    """The option `no_decay` for an optimiser of Keras, which makes its variables in time.

    Keras's `fit` builds an optimiser while TensorFlow traces the training step. TensorFlow traces a
    step that makes variables a second time, and keeps both graphs.
    """

    built: bool
    exclude_from_weight_decay: Any

    def _set_no_decay(self, no_decay: Iterable[str]) -> None:
        no_decay = (no_decay,) if isinstance(no_decay, str) else tuple(no_decay)
        _check_kinds("no_decay", no_decay)
        # As one string: TensorFlow wraps tuples that are attributes, and Keras cannot save those.
        self._no_decay = " ".join(no_decay)

    @property
    def no_decay(self) -> tuple[str, ...]:
        """Kinds of variables that are not decayed."""
        return tuple(self._no_decay.split())

    def build(self, variables: Any) -> None:
        if not self.built and self._no_decay:
            # By identity: Keras's other way, by a part of the name, sees only the last part.
            self.exclude_from_weight_decay(
                var_list=[v for v in variables if kind_of(v) in self.no_decay]
            )
        build = super().build  # pyright: ignore[reportAttributeAccessIssue]
        if self.built or not _is_traced():
            build(variables)
            return
        with concurrent.futures.ThreadPoolExecutor(1) as outside:  # a trace is of its thread
            outside.submit(build, variables).result()

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()  # pyright: ignore[reportAttributeAccessIssue]
        return {**config, "no_decay": list(self.no_decay)}


def _is_traced() -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    # Under a strategy Keras builds an optimiser before, in the scope of the strategy.
    return tf.inside_function() and not tf.distribute.has_strategy()


def _in_place(rule: str, variables: dict[str, Any], **operands: Any) -> None:
    """A step by TensorFlow's own kernel, which makes no copies of the variables.

    Args:
        rule: `ResourceApply...` of TensorFlow.
        variables: By their names there, with `var`, the model's.
        **operands: The gradient and numbers, and options as bools.
    """
    import tensorflow as tf

    resources = {
        name: (v.value if isinstance(v, keras.Variable) else v).handle
        for name, v in variables.items()
    }
    dtype = variables["var"].dtype
    given = {name: x if isinstance(x, bool) else ops.cast(x, dtype) for name, x in operands.items()}
    getattr(tf.raw_ops, f"ResourceApply{rule}")(**resources, **given)


@keras.saving.register_keras_serializable(package="keras_vit")
class AdamW(_SkipsDecay, keras.optimizers.AdamW):
    """Keras's `AdamW`, with the original's epsilon and a choice of what is decayed.

    A step takes `learning_rate(t) * weight_decay` of a variable away, as in AugReg, whose wd .1
    at lr .001 is what big_vision's configurations write as 1e-4.

    Args:
        learning_rate: A number or a schedule.
        weight_decay: Relative to the learning rate; 0 or more.
        beta_1: Of the mean of the gradients.
        beta_2: Of the mean of their squares.
        epsilon: 1e-8 as in Optax; Keras's default is 1e-7.
        no_decay: Kinds of variables, some of `KINDS`, that are not decayed. Default: all but
            kernels, as in big_vision.
        **options: All others of `keras.optimizers.AdamW`: `global_clipnorm`, `use_ema`, ...

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        *,
        no_decay: Sequence[str] = NOT_KERNELS,
        **options: Any,
    ) -> None:
        options.setdefault("name", "adamw")
        super().__init__(learning_rate, weight_decay, beta_1, beta_2, epsilon, **options)
        self._set_no_decay(no_decay)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if keras.backend.backend() != "tensorflow" or self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        number = self._get_variable_index(variable)
        mean, square = self._momentums[number], self._velocities[number]
        step = ops.cast(self.iterations, variable.dtype) + 1
        _in_place(
            "Adam", {"var": variable, "m": mean, "v": square}, grad=gradient, lr=learning_rate,
            beta1=self.beta_1, beta1_power=self.beta_1**step,
            beta2=self.beta_2, beta2_power=self.beta_2**step, epsilon=self.epsilon,
        )  # fmt: skip


@keras.saving.register_keras_serializable(package="keras_vit")
class MomentumSGD(_SkipsDecay, keras.optimizers.SGD):
    """Momentum with the learning rate outside: the rule of the original's fine-tuning.

        m = momentum * m + g
        w = w - learning_rate(t) * m

    where `g` is the clipped gradient (`global_clipnorm=1.0` in the papers: g * min(1, 1 / norm)
    over all variables together). See the module for how Keras's `SGD` differs.

    Args:
        learning_rate: A number or a schedule.
        momentum: In [0, 1].
        nesterov: Step along `momentum * m + g` in place of `m`.
        momentum_dtype: Of the stored `m`; default that of the variable. `"bfloat16"`, which
            the original's training takes, halves the memory; the weights differ a little
            (2e-4 after the five steps of `tests/golden/train_token`).
        weight_decay: Decoupled: a step also takes `learning_rate(t) * weight_decay` of a
            variable away. The papers fine-tune without.
        no_decay: Kinds of variables, some of `KINDS`, that are not decayed.
        **options: All others of `keras.optimizers.SGD`: `global_clipnorm`, `use_ema`,
            `gradient_accumulation_steps`, ...

    Raises:
        ValueError: If an argument is out of its range.

    Source: `optax.trace` followed by the learning rate, as google-research/vision_transformer
    has it in `vit_jax/train.py`; `torch.optim.SGD` in BiT's code is the same.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.9,
        nesterov: bool = False,
        *,
        momentum_dtype: str | None = None,
        weight_decay: float | None = None,
        no_decay: Sequence[str] = NOT_KERNELS,
        **options: Any,
    ) -> None:
        options.setdefault("name", "momentum_sgd")
        super().__init__(learning_rate, momentum, nesterov, weight_decay, **options)
        self._set_no_decay(no_decay)
        self.momentum_dtype = (
            None if momentum_dtype is None else keras.backend.standardize_dtype(momentum_dtype)
        )

    def add_variable(self, *args: Any, dtype: Any = None, name: Any = None, **kwargs: Any) -> Any:
        # `add_optimizer_variables` takes the dtype of the model's variable, without a choice.
        if self.momentum_dtype is not None and str(name).endswith("_momentum"):
            dtype = self.momentum_dtype
        return super().add_variable(*args, dtype=dtype, name=name, **kwargs)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if self.momentum == 0:
            super().update_step(gradient, variable, learning_rate)
            return
        dtype = variable.dtype
        gradient = ops.cast(gradient, dtype)
        stored = self.momentums[self._get_variable_index(variable)]
        if keras.backend.backend() == "tensorflow" and stored.dtype == dtype:
            _in_place(
                "Momentum", {"var": variable, "accum": stored}, grad=gradient, lr=learning_rate,
                momentum=self.momentum, use_nesterov=self.nesterov,
            )  # fmt: skip
            return
        # Optax rounds the factor too: beside a bfloat16 buffer, .9 is .8984.
        momentum = float(np.array(self.momentum).astype(self.momentum_dtype or "float64"))
        m = gradient + ops.cast(stored, dtype) * ops.cast(momentum, dtype)
        self.assign(stored, m)
        step = gradient + m * ops.cast(momentum, dtype) if self.nesterov else m
        self.assign_sub(variable, ops.cast(learning_rate, dtype) * step)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum_dtype": self.momentum_dtype}


def _check_kinds(argument: str, kinds: Iterable[str]) -> None:
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise ValueError(
            f"`{argument}` must name some of {', '.join(KINDS)}. Received: {argument}="
            f"{tuple(kinds)!r}"
        )
