"""The 19 tasks of VTAB, one row each.

Names, splits and labels are those of google-research/task_adaptation (commit ed9b417,
`task_adaptation/data/`; the file is named after the TFDS name unless a comment says so), and of
the paper (arXiv 1910.04867). Where TFDS 4.9.10 no longer has the version that is asked for there,
a comment says so. Numbers of images come from TFDS's catalogue, but the 200 images to tune on are
cut by the numbers of the prepared data. The notes on licences are a hint and were not checked
against the data's own pages.
"""

from __future__ import annotations

import dataclasses

from keras_vit.experiments.vtab import labels
from keras_vit.experiments.vtab.labels import Label

GROUPS = ("natural", "specialised", "structured")


@dataclasses.dataclass(frozen=True)
class Task:
    """A task of VTAB, or a stand-in for one.

    Attributes:
        name: Name in commands and files.
        title: Name in pictures, as in the paper.
        group: One of `GROUPS`.
        tfds: Name and version of the data set in TFDS.
        label: How to read the class of an example.
        classes: Number of classes.
        examples: Images of each split of TFDS that is used.
        tune_from: Split, and the percentage of it before the 200 images to tune on. The 800 to
            train on are always `train[:800]`.
        test_from: Split, and the percentage of it before the images to test on.
        crop: Whether the label stays right after a random crop.
        flip: Whether the label stays right after mirroring.
        licence: What the data's page says about their use; read it there before you use them.
        scale: Factor that brings pixels to [0, 255].
        stand_in: Whether this is a stand-in, not a task of VTAB.
    """

    name: str
    title: str
    group: str
    tfds: str
    label: Label
    classes: int
    examples: dict[str, int]
    tune_from: tuple[str, int]
    test_from: tuple[str, int]
    crop: bool
    flip: bool
    licence: str
    scale: int = 1
    stand_in: bool = False


# (tune_from, test_from) of several tasks.
_VALIDATION = (("validation", 0), ("test", 0))
_LAST_TENTH = (("train", 90), ("test", 0))
_CLEVR = {"train": 70_000, "validation": 15_000}
_DSPRITES = {"train": 737_280}
_NORB = {"train": 24_300, "test": 24_300}

# Crop and flip: BiT (arXiv 1912.11370, section 3.3), which the ViT paper follows, leaves out what
# "destroys the label semantics" but gives no list. This one is ours: no flip of digits, azimuths
# and positions; no crop that could cut off or enlarge what is counted, measured or located.
_ROWS = (
    # caltech.py
    Task("caltech101", "Caltech101", "natural", "caltech101:3.*.*", labels.CLASS, 102,
         {"train": 3_057, "test": 6_084}, *_LAST_TENTH, True, True, "CC BY 4.0"),
    # cifar.py, num_classes=100
    Task("cifar100", "CIFAR-100", "natural", "cifar100:3.*.*", labels.CLASS, 100,
         {"train": 50_000, "test": 10_000}, *_LAST_TENTH, True, True, "none stated"),
    Task("dtd", "DTD", "natural", "dtd:3.*.*", labels.CLASS, 47,
         {"train": 1_880, "validation": 1_880, "test": 1_880}, *_VALIDATION, True, True,
         "for research"),
    Task("flowers102", "Flowers102", "natural", "oxford_flowers102:2.*.*", labels.CLASS, 102,
         {"train": 1_020, "validation": 1_020, "test": 6_149}, *_VALIDATION, True, True,
         "none stated"),
    # The code asks for oxford_iiit_pet:3.*.*, which TFDS 4.9.10 no longer has.
    Task("pets", "Pets", "natural", "oxford_iiit_pet:4.*.*", labels.CLASS, 37,
         {"train": 3_680, "test": 3_669}, ("train", 80), ("test", 0), True, True, "CC BY-SA 4.0"),
    Task("sun397", "Sun397", "natural", "sun397/tfds:4.*.*", labels.CLASS, 397,
         {"train": 76_128, "validation": 10_875, "test": 21_750}, *_VALIDATION, True, True,
         "for research"),
    # svhn.py
    Task("svhn", "SVHN", "natural", "svhn_cropped:3.*.*", labels.CLASS, 10,
         {"train": 73_257, "test": 26_032}, *_LAST_TENTH, True, False, "not for commerce"),
    Task("camelyon", "Camelyon", "specialised", "patch_camelyon:2.*.*", labels.CLASS, 2,
         {"train": 262_144, "validation": 32_768, "test": 32_768}, *_VALIDATION, True, True,
         "CC0"),
    Task("eurosat", "EuroSAT", "specialised", "eurosat/rgb:2.*.*", labels.CLASS, 10,
         {"train": 27_000}, ("train", 60), ("train", 80), True, True, "MIT"),
    # Downloaded by hand, as TFDS says.
    Task("resisc45", "Resisc45", "specialised", "resisc45:3.*.*", labels.CLASS, 45,
         {"train": 31_500}, ("train", 60), ("train", 80), True, True, "none stated; for research"),
    # diabetic_retinopathy.py. Downloaded by hand from Kaggle, as TFDS says.
    Task("retinopathy", "Retinopathy", "specialised",
         "diabetic_retinopathy_detection/btgraham-300:3.*.*", labels.CLASS, 5,
         {"train": 35_126, "validation": 10_906, "test": 42_670}, *_VALIDATION, True, True,
         "rules of the Kaggle competition"),
    # clevr.py, task="count_all" and "closest_object_distance". To test: TFDS's validation.
    Task("clevr-count", "Clevr-Count", "structured", "clevr:3.*.*", labels.CLEVR_COUNT, 8,
         _CLEVR, ("train", 90), ("validation", 0), False, True, "CC BY 4.0"),
    Task("clevr-distance", "Clevr-Dist", "structured", "clevr:3.*.*", labels.CLEVR_DISTANCE, 6,
         _CLEVR, ("train", 90), ("validation", 0), False, True, "CC BY 4.0"),
    # The code asks for dmlab:2.0.0; TFDS 4.9.10 has 2.0.1 only.
    Task("dmlab", "DMLab", "structured", "dmlab:2.0.1", labels.CLASS, 6,
         {"train": 65_550, "validation": 22_628, "test": 22_735}, *_VALIDATION, False, True,
         "none stated"),
    # kitti.py, task="closest_vehicle_distance". TFDS 4.9.10 has 3.1.0 still, beside 3.3.0.
    Task("kitti", "KITTI-Dist", "structured", "kitti:3.1.0", labels.KITTI_VEHICLE, 4,
         {"train": 6_347, "validation": 423, "test": 711}, *_VALIDATION, False, True,
         "CC BY-NC-SA 3.0"),
    # dsprites.py, num_classes=16. Its pixels are 0 and 1.
    Task("dsprites-location", "dSpr-Loc", "structured", "dsprites:2.*.*", labels.DSPRITES_X, 16,
         _DSPRITES, ("train", 80), ("train", 90), False, False, "Apache-2.0", 255),
    Task("dsprites-orientation", "dSpr-Ori", "structured", "dsprites:2.*.*",
         labels.DSPRITES_ORIENTATION, 16, _DSPRITES, ("train", 80), ("train", 90), False, False,
         "Apache-2.0", 255),
    # smallnorb.py. The first half of TFDS's test is to tune on, the second to test on.
    Task("norb-azimuth", "sNORB-Azim", "structured", "smallnorb:2.*.*", labels.NORB_AZIMUTH, 18,
         _NORB, ("test", 0), ("test", 50), False, False, "for research, not to be sold"),
    Task("norb-elevation", "sNORB-Elev", "structured", "smallnorb:2.*.*", labels.NORB_ELEVATION,
         9, _NORB, ("test", 0), ("test", 50), False, True, "for research, not to be sold"),
)  # fmt: skip

TASKS: dict[str, Task] = {task.name: task for task in _ROWS}
