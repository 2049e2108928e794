"""The devices that a plan can be made for, one row each, with the source of its numbers.

Peaks are for dense matrices (a vendor's "with sparsity" halved). float32 is the plain rate,
without TensorFloat-32. A link's bandwidth counts only sending: half of a vendor's sum over both
directions; for a TPU, the all-reduce bandwidth of a pod divided by its chips.
"""

from __future__ import annotations

import dataclasses
import re

from keras_vit.utils.checks import check_choice

_CLOUD_TPU = "https://cloud.google.com/tpu/docs/"

_A100 = (
    "https://www.nvidia.com/content/dam/en-zz/Solutions/Data-Center/a100/pdf/"
    "nvidia-a100-datasheet-us-nvidia-1758950-r4-web.pdf"
)

_V100 = (
    "https://images.nvidia.com/content/technologies/volta/pdf/"
    "volta-v100-datasheet-update-us-1165301-r5.pdf"
)

_T4 = (
    "https://www.nvidia.com/content/dam/en-zz/Solutions/Data-Center/tesla-t4/"
    "t4-tensor-core-datasheet-951643.pdf"
)


@dataclasses.dataclass(frozen=True)
class Device:
    """One accelerator, or one core.

    Attributes:
        name: Its key in `DEVICES`.
        peak: Precision (a Keras dtype policy) -> floating-point operations per second. The first
            is the one that `keras_vit.distribution.default_precision` takes there.
        memory: Bytes.
        link: Bytes per second that it can send to others of its kind in one machine or pod.
        source: Where the numbers are published.
    """

    name: str
    peak: dict[str, float]
    memory: float
    link: float
    source: str


DEVICES: dict[str, Device] = {
    device.name: device
    for device in (
        # A core is half a chip of 123 TFLOPS and 32 GiB; 340 TB/s for the 1,024 chips of a pod.
        Device("TPUv3-core", {"mixed_bfloat16": 61.5e12}, 16 * 2**30, 166e9, f"{_CLOUD_TPU}v3"),
        # 1.1 PB/s for 4,096 chips.
        Device("TPUv4", {"mixed_bfloat16": 275e12}, 32 * 2**30, 268e9, f"{_CLOUD_TPU}v4"),
        # 51.2 TB/s for 256 chips.
        Device("TPUv5e", {"mixed_bfloat16": 197e12}, 16e9, 200e9, f"{_CLOUD_TPU}v5e"),
        # NVLink 600 GB/s.
        Device("A100-40", {"mixed_bfloat16": 312e12, "float32": 19.5e12}, 40e9, 300e9, _A100),
        Device("A100-80", {"mixed_bfloat16": 312e12, "float32": 19.5e12}, 80e9, 300e9, _A100),
        # The SXM module: 1,979 TFLOPS with sparsity, NVLink 900 GB/s.
        Device(
            "H100", {"mixed_bfloat16": 989e12, "float32": 67e12}, 80e9, 450e9,
            "https://www.nvidia.com/en-us/data-center/h100/",
        ),
        # The H100's processor with more memory; the SXM module, with the same numbers for a link.
        Device(
            "H200", {"mixed_bfloat16": 989e12, "float32": 67e12}, 141e9, 450e9,
            "https://www.nvidia.com/en-us/data-center/h200/",
        ),
        # 242 TFLOPS with sparsity, PCIe 64 GB/s.
        Device(
            "L4", {"mixed_bfloat16": 121e12, "float32": 30.3e12}, 24e9, 32e9,
            "https://www.nvidia.com/en-us/data-center/l4/",
        ),
        # GPUs before Ampere are fast in float16, not in bfloat16. PCIe 32 GB/s; NVLink 300 GB/s.
        Device("T4", {"float32": 8.1e12, "mixed_float16": 65e12}, 16e9, 16e9, _T4),
        Device("V100-16", {"float32": 15.7e12, "mixed_float16": 125e12}, 16e9, 150e9, _V100),
        Device("V100-32", {"float32": 15.7e12, "mixed_float16": 125e12}, 32e9, 150e9, _V100),
        # Two AVX2 multiply-adds of 8 floats a cycle at 3 GHz; a channel of DDR4-3200 between
        # cores. The 8 GB are an assumption, because all cores share the machine's memory.
        Device(
            "CPU-core", {"float32": 96e9}, 8e9, 25.6e9,
            "2 x 8 x 2 x 3 GHz (AVX2); 3,200 MT/s x 8 bytes (DDR4-3200)",
        ),
    )
}  # fmt: skip


def device_of(device: str | Device) -> Device:
    """A device by its name.

    Raises:
        ValueError: If there is no such name.
    """
    if isinstance(device, Device):
        return device
    return DEVICES[check_choice("device", device, DEVICES)]


def parse_devices(text: str) -> tuple[int, Device]:
    """Reads `"8xA100-80"`: 8 and the device; the number is 1 where the text has none.

    Raises:
        ValueError: If `text` is not of this form, or there is no such device.
    """
    found = re.fullmatch(r"(?:(\d+)x)?(.+)", text)
    if found is None:
        raise ValueError(
            f"Devices are written 8xA100-80, with one of {', '.join(DEVICES)}. Received: {text!r}"
        )
    return int(found[1] or 1), device_of(found[2])
