"""What the name of one of AugReg's 50,000 files says about the model in it."""

from __future__ import annotations

import dataclasses
import re

from keras_vit.applications.released_files import (
    AUGREG_ROWS,
    IMAGENET21K_CLASSES,
    IMAGENET_CLASSES,
)

# Model, as in the names of the files -> variant.
AUGREG_MODELS = {model: variant for variant, model, *_ in AUGREG_ROWS}

_NUMBER = r"\d+(?:\.\d+)?(?:e-?\d+)?"
_NAME = re.compile(
    r"(?P<model>[A-Za-z]\w*_\d+)-(?P<pretraining>i1k|i21k)-\d+ep"
    rf"-lr_{_NUMBER}-aug_[a-z]+\d?-wd_{_NUMBER}-do_{_NUMBER}-sd_{_NUMBER}"
    rf"(?:--(?P<dataset>[a-z]\w*)-steps_{_NUMBER}k-lr_{_NUMBER}-res_(?P<image_size>\d{{2,4}}))?",
    re.ASCII,
)
_PRETRAINING = {"i21k": "imagenet21k", "i1k": "imagenet2012"}
_CLASSES = {
    "imagenet21k": IMAGENET21K_CLASSES,
    "imagenet2012": IMAGENET_CLASSES,
    "cifar10": 10,
    "cifar100": 100,
    "oxford_iiit_pet": 37,
    "resisc45": 45,
}


@dataclasses.dataclass(frozen=True)
class AugRegName:
    """A name in its parts.

    Attributes:
        name: The name, without folder and `.npz`.
        variant: Name of the constructor, or `None` where there is none for the model.
        pretraining: `"imagenet21k"` or `"imagenet2012"`.
        dataset: What the head is for: the data set of the fine-tuning, or that of the
            pre-training.
        image_size: Side in pixels of the images of the last training.
        classes: Outputs of the head; `None` where only the file itself tells.
    """

    name: str
    variant: str | None
    pretraining: str
    dataset: str
    image_size: int
    classes: int | None


def parse(name: str) -> AugRegName | None:
    """The parts of a name, without folder and `.npz`; `None` if it is no name of AugReg."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    pretraining = _PRETRAINING[match["pretraining"]]
    dataset = match["dataset"] or pretraining
    return AugRegName(
        name,
        AUGREG_MODELS.get(match["model"]),
        pretraining,
        dataset,
        int(match["image_size"] or 224),
        _CLASSES.get(dataset),
    )
