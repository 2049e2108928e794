"""Input pipelines for training: JPEG files to batches of random crops, mirrored or not.

A task has `photos` (a folder of class folders), `size` (pixels), `batch`, `batches` (of a step) and
`workers`: processes of PyTorch's `DataLoader`, or threads of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.contestants.import_timm import import_torchvision

AREA = (0.05, 1.0)


def build(
    library: str, photos: str, size: int, batch: int, batches: int, workers: int
) -> tuple[Callable[[], None], dict[str, Any]]:
    """A step takes so many batches.

    Args:
        library: A name in `BATCHES`.
        photos: The folder.
        size: Of a crop.
        batch: Images.
        batches: Of a step.
        workers: Processes or threads.
    """
    iterator = iter(BATCHES[library](photos, size, batch, workers))

    def step() -> None:
        for _ in range(batches):
            next(iterator)

    return step, {}


def _ours(photos: str, size: int, batch: int, workers: int) -> Any:
    import tensorflow as tf

    from keras_vit.data import from_folder

    options = tf.data.Options()
    options.threading.private_threadpool_size = workers
    data = from_folder(photos, size, batch, crop_area=AREA, progress=False)
    return data.training().with_options(options)


def _timm(photos: str, size: int, batch: int, workers: int) -> Any:
    """timm's loader, without its colour jitter."""
    import_torchvision()
    import torch
    from timm.data import ImageDataset, create_loader  # type: ignore[import-not-found]

    return create_loader(
        _repeated(ImageDataset(photos)),  # type: ignore[arg-type]
        size,
        batch,
        is_training=True,
        scale=AREA,
        color_jitter=0.0,
        num_workers=workers,
        device=torch.device("cpu"),
    )


def _torchvision_pillow(photos: str, size: int, batch: int, workers: int) -> Any:
    """As in PyTorch's ImageNet example."""
    transforms = import_torchvision().transforms
    change = transforms.Compose(
        [
            transforms.RandomResizedCrop(size, AREA),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.5,) * 3, (0.5,) * 3),
        ]
    )
    return _torch_loader(photos, change, batch, workers)


def _torchvision_tensors(photos: str, size: int, batch: int, workers: int) -> Any:
    """torchvision's own decoder, and its second set of transforms on tensors of bytes."""
    import_torchvision()
    import torch
    from torchvision.io import ImageReadMode, decode_image, read_file
    from torchvision.transforms import v2

    def load(path: str) -> Any:
        return decode_image(read_file(path), ImageReadMode.RGB)

    try:
        decode_image(torch.zeros(1, dtype=torch.uint8))
    except RuntimeError as error:
        if "extension" in str(error):
            raise ImportError("torchvision's decoders, which this build does not load") from error
    change = v2.Compose(
        [
            v2.RandomResizedCrop(size, AREA),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.5,) * 3, (0.5,) * 3),
        ]
    )
    return _torch_loader(photos, change, batch, workers, loader=load)


def _torch_loader(photos: str, change: Any, batch: int, workers: int, **options: Any) -> Any:
    import torch
    from torchvision.datasets import ImageFolder

    return torch.utils.data.DataLoader(
        _repeated(ImageFolder(photos, change, **options)),
        batch,
        shuffle=True,
        num_workers=workers,
        drop_last=True,
    )


def _repeated(dataset: Any, times: int = 10_000) -> Any:
    """The same images often: the workers do not wait at the end of an epoch."""
    import torch

    class Repeated(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return times * len(dataset)

        def __getitem__(self, index: int) -> Any:
            return dataset[index % len(dataset)]

        def __setattr__(self, name: str, value: Any) -> None:
            setattr(dataset, name, value)  # timm sets `transform`

    return Repeated()


BATCHES = {
    "ours": _ours,
    "timm": _timm,
    "pillow": _torchvision_pillow,
    "tensors": _torchvision_tensors,
}
