"""The table of Google's released files: Vision Transformers, BiT ResNets and MLP-Mixers.

Sources: the papers (ViT arXiv 2010.11929, AugReg arXiv 2106.10270, SAM arXiv 2106.01548, BiT arXiv
1912.11370, distillation arXiv 2106.05237, Mixer arXiv 2105.01601) and the READMEs of
google-research/vision_transformer and google-research/big_transfer. Files and accuracies from
elsewhere say so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from urllib.parse import quote

from keras_vit.models import VARIANTS

BUCKETS = "https://storage.googleapis.com/"
ROOT = BUCKETS + "vit_models/"
VIT = "ViT, arXiv 2010.11929"
AUGREG = "AugReg, arXiv 2106.10270"
SAM = "SAM, arXiv 2106.01548"
BIT = "BiT, arXiv 1912.11370"
DISTILLATION = "BiT distilled, arXiv 2106.05237"
MIXER = "Mixer, arXiv 2105.01601"
GSAM = "GSAM, arXiv 2203.08065"
IMAGENET21K_CLASSES = 21843
IMAGENET_CLASSES = 1000
_FINE_TUNED = "imagenet21k+imagenet"


def url_of(root: str, path: str) -> str:
    """The address of a path below a root, `https://...` or `file:///...`."""
    # quote() encodes the `+` of `imagenet21k+imagenet2012`, which a server may take for a space.
    return f"{root.rstrip('/')}/{quote(path)}"


@dataclasses.dataclass(frozen=True)
class ReleasedFile:
    """One released `.npz`.

    Attributes:
        variant: Name of the constructor, a key of `VARIANTS`.
        name: What `weights=` calls it, `"augreg-imagenet-384"` for example.
        path: Below `root`: the path of the file on a mirror and in the cache.
        classes: Outputs of its head; `None` where only the file itself tells.
        image_size: Side in pixels of the images that it was trained on: what a position
            embedding or a Mixer is made for. The size that `top1` is for.
        source: The paper, with its arXiv number.
        trained_on: `"imagenet21k"`, `"imagenet"` (ImageNet-2012 alone) or
            `"imagenet21k+imagenet"` (fine-tuned), for `weights=` to name it by; `None` where
            only its own name means it.
        root: Google's address that `path` is below: the bucket of the ViT files, or all buckets.
        gelu: The GELU that it was trained with.
        representation_size: Width of its `pre_logits` layer, or `None` for no such layer.
        zero_head: Whether Google set the head to zero before the release, so that the file is
            good for fine-tuning and features, not for predictions.
        top1: Published ImageNet top-1 accuracy in %, or `None`.
        verified: `False` for a kind of files of which none could be opened when this table was
            written. `fetch` then warns.
        class_token: Whether it has one; otherwise its head reads the mean of the patches.
        sha256: Of the file. Google publishes none, so a user may pin one in `fetch`.
    """

    variant: str
    name: str
    path: str
    classes: int | None
    image_size: int
    source: str
    trained_on: str | None = None
    root: str = ROOT
    gelu: str = "tanh"
    representation_size: int | None = None
    zero_head: bool = False
    top1: float | None = None
    verified: bool = True
    class_token: bool = True
    sha256: str | None = None

    @property
    def file_name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def paths(self) -> tuple[str, ...]:
        """Ways to write the path: as it is, and without the bucket."""
        return (self.path,) if self.root == ROOT else (self.path, self.path.partition("/")[2])

    @property
    def url(self) -> str:
        """Where Google has it."""
        return url_of(self.root, self.path)

    @property
    def num_parameters(self) -> int | None:
        """Numbers in the file, counted from the architecture; `None` without `classes`."""
        if self.classes is None:
            return None
        # Here, as that package builds on the layers, and this is a table.
        from keras_vit.planner import parameters

        return parameters(
            self.variant,
            self.image_size,
            self.classes,
            representation_size=self.representation_size,
            class_token=self.class_token,
        )

    @property
    def payload_bytes(self) -> int | None:
        """Bytes of its float32 numbers; the file has some 300 bytes more per array."""
        count = self.num_parameters
        return None if count is None else 4 * count


def _augreg(
    variant: str, model: str, recipe: str, learning_rate: float, top1: Mapping[int, float | None]
) -> Iterator[ReleasedFile]:
    stem = f"augreg/{model}-i21k-300ep-lr_0.001-{recipe}"
    yield ReleasedFile(
        variant,
        "augreg-imagenet21k",
        f"{stem}.npz",
        IMAGENET21K_CLASSES,
        224,
        AUGREG,
        "imagenet21k",
    )
    for size, accuracy in top1.items():
        path = f"{stem}--imagenet2012-steps_20k-lr_{learning_rate}-res_{size}.npz"
        name = f"augreg-imagenet-{size}"
        yield ReleasedFile(
            variant, name, path, IMAGENET_CLASSES, size, AUGREG, _FINE_TUNED, top1=accuracy
        )


def _augreg_1k(
    variant: str, model: str, recipe: str, top1: Mapping[int, float]
) -> Iterator[ReleasedFile]:
    stem = f"augreg/{model}-i1k-300ep-lr_0.001-{recipe}--imagenet2012-steps_20k-lr_0.01"
    for size, accuracy in top1.items():
        name, path = f"augreg-imagenet1k-{size}", f"{stem}-res_{size}.npz"
        yield ReleasedFile(
            variant, name, path, IMAGENET_CLASSES, size, AUGREG, top1=accuracy, verified=False
        )


def _original(variant: str, model: str, top1: Mapping[int, float | None]) -> Iterator[ReleasedFile]:
    yield ReleasedFile(
        variant,
        "original-imagenet21k",
        f"imagenet21k/{model}.npz",
        IMAGENET21K_CLASSES,
        224,
        VIT,
        "imagenet21k",
        representation_size=VARIANTS[variant].width,
        zero_head=True,  # on purpose: vision_transformer issues 10, 32 and 252
    )
    for size, accuracy in top1.items():
        path = f"imagenet21k+imagenet2012/{model}{'' if size == 384 else f'-{size}'}.npz"
        name = f"original-imagenet-{size}"
        yield ReleasedFile(
            variant, name, path, IMAGENET_CLASSES, size, VIT, _FINE_TUNED, top1=accuracy
        )


def _sam(variant: str, model: str, top1: float) -> Iterator[ReleasedFile]:
    path = f"sam/{model}.npz"
    yield ReleasedFile(variant, "sam-imagenet-224", path, IMAGENET_CLASSES, 224, SAM, top1=top1)


def _gsam(variant: str, model: str) -> ReleasedFile:
    name, path = "gsam-imagenet-224", f"gsam/{model}.npz"
    return ReleasedFile(
        variant, name, path, IMAGENET_CLASSES, 224, GSAM, verified=False, class_token=False
    )


def _bit(variant: str, model: str, size: int, top1: float) -> Iterator[ReleasedFile]:
    for name, path, classes, image_size, trained_on, accuracy in (
        ("bit-imagenet21k", f"BiT-M-{model}", IMAGENET21K_CLASSES, 224, "imagenet21k", None),
        ("bit-imagenet", f"BiT-S-{model}", IMAGENET_CLASSES, 224, "imagenet", None),
        (
            f"bit-{_FINE_TUNED}", f"BiT-M-{model}-ILSVRC2012", IMAGENET_CLASSES, size,
            _FINE_TUNED, top1,
        ),
    ):  # fmt: skip
        yield ReleasedFile(
            variant,
            name,
            f"bit_models/{path}.npz",
            classes,
            image_size,
            BIT,
            trained_on,
            BUCKETS,
            top1=accuracy,
        )


def _distilled(
    variant: str, name: str, model: str, image_size: int, top1: float | None
) -> ReleasedFile:
    path = f"bit_models/distill/{model}_{image_size}.npz"
    return ReleasedFile(
        variant,
        f"{name}-imagenet-{image_size}",
        path,
        IMAGENET_CLASSES,
        image_size,
        DISTILLATION,
        root=BUCKETS,
        top1=top1,
    )


def _mixer(
    variant: str, name: str, path: str, trained_on: str, source: str, top1: float | None
) -> ReleasedFile:
    classes = IMAGENET21K_CLASSES if trained_on == "imagenet21k" else IMAGENET_CLASSES
    path = f"mixer_models/{path}.npz"
    return ReleasedFile(variant, name, path, classes, 224, source, trained_on, BUCKETS, top1=top1)


# The AugReg files that their authors recommend, best on ImageNet-21k among the recipes tried:
# variant; model and recipe as the file names spell them; learning rate of the ImageNet fine-tune;
# its top-1 at each image size. At 384 from the README. At 224 from timm's results-imagenet.csv
# (timm evaluates the same files of Ti/16 and S/16) and tensorflow/tfhub.dev pull request 87 (B/8,
# whose recipe is big_vision's "howto-i21k-B/8"; no 384 px file of it is known).
AUGREG_ROWS = (
    ("ViT_Ti16", "Ti_16", "aug_none-wd_0.03-do_0.0-sd_0.0", 0.03, {224: 75.45, 384: 78.22}),
    ("ViT_S16", "S_16", "aug_light1-wd_0.03-do_0.0-sd_0.0", 0.03, {224: 81.38, 384: 83.73}),
    ("ViT_S32", "S_32", "aug_none-wd_0.1-do_0.0-sd_0.0", 0.01, {224: None, 384: 79.58}),
    ("ViT_B8", "B_8", "aug_medium2-wd_0.1-do_0.0-sd_0.0", 0.01, {224: 85.95}),
    ("ViT_B16", "B_16", "aug_medium1-wd_0.1-do_0.0-sd_0.0", 0.03, {224: None, 384: 85.49}),
    ("ViT_B32", "B_32", "aug_light1-wd_0.1-do_0.0-sd_0.0", 0.01, {224: None, 384: 83.59}),
    ("ViT_L16", "L_16", "aug_strong1-wd_0.1-do_0.0-sd_0.0", 0.01, {224: None, 384: 85.59}),
    ("R_Ti16", "R_Ti_16", "aug_none-wd_0.03-do_0.0-sd_0.0", 0.03, {224: None, 384: 75.40}),
    ("R26_ViT_S32", "R26_S_32", "aug_light1-wd_0.1-do_0.0-sd_0.0", 0.01, {224: None, 384: 83.85}),
    ("R50_ViT_L32", "R50_L_32", "aug_medium1-wd_0.1-do_0.1-sd_0.1", 0.01, {224: None, 384: 85.99}),
)

# AugReg files that saw ImageNet-2012 alone: variant; model and recipe; top-1 at each image size.
# timm has these (models/vision_transformer.py), and its results-imagenet.csv the accuracies.
_AUGREG_1K_ROWS = (
    ("ViT_S16", "S_16", "aug_medium2-wd_0.1-do_0.0-sd_0.0", {224: 78.85, 384: 81.12}),
    ("ViT_B16", "B_16", "aug_strong2-wd_0.1-do_0.1-sd_0.1", {224: 79.15, 384: 81.10}),
    ("ViT_B32", "B_32", "aug_medium2-wd_0.1-do_0.1-sd_0.1", {224: 74.89, 384: 78.75}),
)

# The files of the ViT paper: variant; model; top-1 of the ImageNet fine-tunes at each image size
# (384: paper, Table 5; 224: README). B/8 was added in 2022 (vision_transformer issue 139).
_ORIGINAL_ROWS = (
    ("ViT_B8", "ViT-B_8", {}),
    ("ViT_B16", "ViT-B_16", {224: 81.2, 384: 83.97}),
    ("ViT_B32", "ViT-B_32", {384: 81.28}),
    ("ViT_L16", "ViT-L_16", {224: 82.7, 384: 85.15}),
    ("ViT_L32", "ViT-L_32", {384: 80.99}),
    ("ViT_H14", "ViT-H_14", {}),
    ("R50_ViT_B16", "R50+ViT-B_16", {384: None}),
)

# Trained on ImageNet alone with sharpness-aware minimisation; top-1 as timm measures it.
_SAM_ROWS = (
    ("ViT_B16", "ViT-B_16", 80.25),
    ("ViT_B32", "ViT-B_32", 73.70),
)

# The same with the surrogate gap, without a class token (vision_transformer pull request 215).
# The author of timm measured poor accuracies with them (pytorch-image-models issue 1302).
_GSAM_ROWS = (
    ("ViT_S16", "ViT-S_16"),
    ("ViT_S32", "ViT-S_32"),
    ("ViT_B16", "ViT-B_16"),
    ("ViT_B32", "ViT-B_32"),
)

# BiT-M, BiT-S and BiT-M fine-tuned on ImageNet: variant; model; size and top-1 of the fine-tuned
# file as timm's results-imagenet.csv has them, as the images of the training had another size
# (448 cropped to 384, for R152x4 512 to 480: paper, section 3.3). The README lists the files; that
# S has R152x2 too says `KNOWN_MODELS` of bit_pytorch/models.py alone. The heads of BiT-M are real:
# big_transfer issue 7, where a user names the classes that R101x1 sees.
_BIT_ROWS = (
    ("BiT_R50x1", "R50x1", 448, 80.34),
    ("BiT_R50x3", "R50x3", 448, 84.02),
    ("BiT_R101x1", "R101x1", 448, 82.34),
    ("BiT_R101x3", "R101x3", 448, 84.44),
    ("BiT_R152x2", "R152x2", 448, 84.51),
    ("BiT_R152x4", "R152x4", 480, 84.92),
)

# R50x1 distilled from R152x2, and that teacher: variant; name; model; size; top-1 (README for the
# students; timm's results-imagenet.csv for the teachers).
_DISTILLED_ROWS = (
    ("BiT_R50x1", "distilled", "R50x1", 224, 82.8),
    ("BiT_R50x1", "distilled", "R50x1", 160, 80.5),
    ("BiT_R152x2", "teacher", "R152x2_T", 224, 82.88),
    ("BiT_R152x2", "teacher", "R152x2_T", 384, 83.83),
)

# The six files of 2021 (vision_transformer pull request 141 counts them): variant; name; path;
# what it was trained on; paper; top-1 as timm measures the file, which it calls fine-tuned and
# Google's author ImageNet alone (pytorch-image-models pull request 651). What the SAM paper says
# of B/16 is not what a user measured with the file (vision_transformer issue 134).
_MIXER_ROWS = (
    ("Mixer_B16", "mixer-imagenet21k", "imagenet21k/Mixer-B_16", "imagenet21k", MIXER, None),
    ("Mixer_B16", "mixer-imagenet", "imagenet1k/Mixer-B_16", "imagenet", MIXER, 76.6),
    ("Mixer_B16", "sam-imagenet", "sam/Mixer-B_16", "imagenet", SAM, None),
    ("Mixer_B32", "sam-imagenet", "sam/Mixer-B_32", "imagenet", SAM, None),
    ("Mixer_L16", "mixer-imagenet21k", "imagenet21k/Mixer-L_16", "imagenet21k", MIXER, None),
    ("Mixer_L16", "mixer-imagenet", "imagenet1k/Mixer-L_16", "imagenet", MIXER, 72.05),
)

# Of the files of a variant the preferred one comes first.
RELEASED: tuple[ReleasedFile, ...] = (
    *(file for row in AUGREG_ROWS for file in _augreg(*row)),
    *(file for row in _ORIGINAL_ROWS for file in _original(*row)),
    *(file for row in _SAM_ROWS for file in _sam(*row)),
    *(file for row in _AUGREG_1K_ROWS for file in _augreg_1k(*row)),
    *(_gsam(*row) for row in _GSAM_ROWS),
    *(file for row in _BIT_ROWS for file in _bit(*row)),
    *(_distilled(*row) for row in _DISTILLED_ROWS),
    *(_mixer(*row) for row in _MIXER_ROWS),
)
