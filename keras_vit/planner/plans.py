"""Plans a training: memory, communication, time of a step, days."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from keras_vit.models import ViTConfig
from keras_vit.models.variants import Config
from keras_vit.planner.architecture import parts
from keras_vit.planner.costs import OPTIMIZERS
from keras_vit.planner.device_memory import memory
from keras_vit.planner.devices import Device, device_of, parse_devices
from keras_vit.planner.flops import config_of, dataset_of, training_flops
from keras_vit.planner.part import total
from keras_vit.planner.traffic import communication
from keras_vit.utils.checks import check_choice, check_counts, check_numbers

# From the paper's own trainings: L/16 for 14 epochs of JFT takes 1,567 exaFLOPs (Table 6) and 680
# TPUv3-core-days (Table 2), which is 43 % of the peak; H/14 takes 4,262 and 2,500, which is 32 %.
UTILISATION = 0.4


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a training needs; made by `plan`.

    Attributes:
        model: Printed name of the model.
        device: The device; all are of one sort.
        devices: How many.
        data_parallel: Copies of the model.
        precision: Keras dtype policy.
        image_size: Pixels, one number or (rows, columns).
        batch_size: Images of an update.
        parameters: Trainable numbers of the model.
        forward_flops: Floating-point operations of a forward pass for one image.
        step_flops: Floating-point operations of a training step, on all devices.
        memory: Bytes on a device: `weights`, `gradients`, `optimizer`, `activations`, `total`.
        communication: Bytes that a device sends in a step: `gradients`, `weights`,
            `activations`, `total`.
        compute_seconds: Seconds that a step computes, at the given utilisation.
        communication_seconds: Seconds that a step sends, at the link's full bandwidth.
        steps: Number of updates.
    """

    model: str
    device: Device
    devices: int
    data_parallel: int
    precision: str
    image_size: int | tuple[int, int]
    batch_size: int
    parameters: int
    forward_flops: int
    step_flops: int
    memory: dict[str, int]
    communication: dict[str, float]
    compute_seconds: float
    communication_seconds: float
    steps: int

    @property
    def fits(self) -> bool:
        """Whether the estimate is at most the memory of a device."""
        return self.memory["total"] <= self.device.memory

    @property
    def step_seconds(self) -> float:
        """Seconds of a step that computes first and sends then, without overlap."""
        return self.compute_seconds + self.communication_seconds

    @property
    def images_per_second(self) -> float:
        """Images per second on all devices."""
        return self.batch_size / self.step_seconds

    @property
    def exaflops(self) -> float:
        """1e18 floating-point operations of all steps, those of rematerialisation included."""
        return self.steps * self.step_flops / 1e18

    @property
    def days(self) -> float:
        """Days that all steps take."""
        return self.steps * self.step_seconds / 86_400

    @property
    def device_days(self) -> float:
        """`days` times `devices`."""
        return self.days * self.devices


def plan(
    model: str | Config,
    device: str | Device = "A100-80",
    devices: int = 1,
    *,
    image_size: int | tuple[int, int] = 224,
    channels: int = 3,
    batch_size: int = 4096,
    dataset: str = "jft",
    epochs: float = 7,
    steps: int | None = None,
    optimizer: str = "adamw",
    ema: bool = False,
    precision: str | None = None,
    accumulate: int = 1,
    model_parallel: int = 1,
    shard_optimizer: bool = False,
    rematerialise: bool = False,
    utilisation: float = UTILISATION,
) -> Plan:
    """Plans a training, from the row of the model and the row of the device alone.

    The plan leaves out: reading and augmenting images, evaluation, checkpoints; work bound by the
    memory's bandwidth (norms, softmax, the optimizer's update) other than through `utilisation`;
    latencies, slower links between machines, communication during computation; memory that a
    library needs for itself or its allocator wastes; the savings of XLA's fusion; pipeline
    parallelism and the later stages of ZeRO.

    Args:
        model: A name in `keras_vit.VARIANTS` or `planner.UNRELEASED`, or a configuration.
        device: A name in `planner.DEVICES`, or a `Device` of your own.
        devices: How many.
        image_size: Pixels, one number or (rows, columns).
        channels: Of the image.
        batch_size: Images of an update; a multiple of the copies of the model x `accumulate`.
        dataset: One of `planner.CLASSES`. It sets the images of an epoch and the classes.
        epochs: Passes over the data set.
        steps: Number of updates; replaces `epochs`.
        optimizer: `"adamw"` or `"momentum"`.
        ema: Whether averages of the weights are kept.
        precision: A key of the device's `peak`. Default: what `default_precision` takes there.
        accumulate: Parts of a batch that go through the model one after the other.
        model_parallel: Devices that share a copy of the model and divide its heads and MLP.
        shard_optimizer: Whether the copies divide the optimizer's numbers (ZeRO stage 1).
        rematerialise: Whether the backward pass computes the inside of the blocks again.
        utilisation: Share of the device's peak that it reaches while it computes, in (0, 1].

    Raises:
        ValueError: If a name is not known, or numbers do not fit together.
    """
    name, config = config_of(model)
    device = device_of(device)
    precision = next(iter(device.peak)) if precision is None else precision
    check_choice("precision", precision, device.peak)
    check_choice("optimizer", optimizer, OPTIMIZERS)
    check_counts(1, devices=devices, batch_size=batch_size, accumulate=accumulate)
    copies = _copies(config, devices, model_parallel)
    if batch_size % (copies * accumulate):
        raise ValueError(
            "`batch_size` must be a multiple of the copies of the model (devices / "
            f"model_parallel) times `accumulate`. Received: batch_size={batch_size}, copies="
            f"{copies}, accumulate={accumulate}"
        )
    check_numbers("(0, 1]", utilisation=utilisation)
    images, classes = dataset_of(dataset)
    if steps is None:
        check_numbers("(0, inf)", epochs=epochs)
        steps = math.ceil(images * epochs / batch_size)
    check_counts(1, steps=steps)

    model_parts = parts(config, image_size, classes, channels=channels)
    per_copy = batch_size // copies
    # Devices that share a model divide its blocks. Each computes the whole of the rest.
    divided = [part for part in model_parts if part.divided_parameters]
    whole = [part for part in model_parts if not part.divided_parameters]
    device_flops = per_copy * (
        training_flops(divided, rematerialise) / model_parallel
        + training_flops(whole, rematerialise)
    )
    sent = communication(
        model_parts,
        per_copy,
        precision=precision,
        data_parallel=copies,
        model_parallel=model_parallel,
        shard_optimizer=shard_optimizer,
        rematerialise=rematerialise,
    )
    return Plan(
        model=name,
        device=device,
        devices=devices,
        data_parallel=copies,
        precision=precision,
        image_size=image_size,
        batch_size=batch_size,
        parameters=total(model_parts, "parameters"),
        forward_flops=2 * total(model_parts, "macs"),
        step_flops=batch_size * training_flops(model_parts, rematerialise),
        memory=memory(
            model_parts,
            per_copy // accumulate,
            precision=precision,
            optimizer=optimizer,
            ema=ema,
            model_parallel=model_parallel,
            optimizer_shards=copies if shard_optimizer else 1,
            rematerialise=rematerialise,
            accumulate=accumulate,
        ),
        communication=sent,
        compute_seconds=device_flops / (device.peak[precision] * utilisation),
        communication_seconds=sent["total"] / device.link,
        steps=steps,
    )


def compare(model: str | Config, devices: Sequence[str], **options: Any) -> list[Plan]:
    """Plans the same training on several sorts of devices.

    Args:
        model: As for `plan`.
        devices: For example `["8xA100-80", "256xTPUv3-core"]`.
        **options: As for `plan`.

    Returns:
        A plan for each, in the order of `devices`.
    """
    parsed = (parse_devices(text) for text in devices)
    return [plan(model, device, count, **options) for count, device in parsed]


def _copies(config: Config, devices: int, model_parallel: int) -> int:
    """How many copies of the model there are."""
    check_counts(1, model_parallel=model_parallel)
    if model_parallel == 1:
        return devices
    if not isinstance(config, ViTConfig):
        raise ValueError(
            "Only Vision Transformers and their hybrids can be divided among devices. Received: "
            f"model_parallel={model_parallel}, config={config}"
        )
    if devices % model_parallel or config.num_heads % model_parallel:
        raise ValueError(
            "`model_parallel` must divide the number of devices and the model's heads. Received: "
            f"model_parallel={model_parallel}, devices={devices}, num_heads={config.num_heads}"
        )
    if config.mlp_dim % model_parallel:
        raise ValueError(
            "`model_parallel` must divide the model's `mlp_dim`. Received: "
            f"model_parallel={model_parallel}, mlp_dim={config.mlp_dim}"
        )
    return devices // model_parallel
