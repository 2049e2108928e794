"""The table of released files, and what a name means."""

from __future__ import annotations

import json
import re

import pytest

from keras_vit.applications import available
from keras_vit.applications import weights as weights_module
from keras_vit.applications.released_files import RELEASED
from keras_vit.applications.weights import find
from keras_vit.models import VARIANTS, ViTConfig

B16 = "B_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.0-sd_0.0"
B16_384 = f"{B16}--imagenet2012-steps_20k-lr_0.03-res_384"
NAMES = [f"{file.variant}-{file.name}" for file in RELEASED]


# The table.


def test_a_name_means_one_file():
    assert len(set(NAMES)) == len(RELEASED)
    assert len({file.path for file in RELEASED}) == len(RELEASED)


@pytest.mark.parametrize("variant", sorted(set(VARIANTS) - {"R26_ViT_B32", "Mixer_B32"}))
def test_every_variant_but_two_has_a_file_for_transfer(variant):
    file = find(variant, "imagenet21k")
    assert file.classes == 21843
    assert file.zero_head == (variant in ("ViT_L32", "ViT_H14", "R50_ViT_B16"))
    with pytest.raises(ValueError, match="no weights for R26_ViT_B32"):
        find("R26_ViT_B32", "imagenet21k")
    with pytest.raises(ValueError, match="no Mixer_B32 that is pre-trained on ImageNet-21k"):
        find("Mixer_B32", "imagenet21k")


def _files(*kinds):
    """The rows of some kinds, with their names for pytest."""
    found = [file for file in RELEASED if file.name.split("-")[0] in kinds]
    return pytest.mark.parametrize(
        "file", found, ids=[f"{file.variant}-{file.name}" for file in found]
    )


SOURCES = {
    "augreg": "AugReg",
    "original": "ViT",
    "sam": "SAM",
    "gsam": "GSAM",
    "bit": "BiT",
    "distilled": "BiT distilled",
    "teacher": "BiT distilled",
    "mixer": "Mixer",
}


@pytest.mark.parametrize("file", RELEASED, ids=NAMES)
def test_names_and_columns_agree(file):
    kind, trained_on, *size = file.name.split("-")
    assert file.source.startswith(f"{SOURCES[kind]}, arXiv ")
    imagenet21k = trained_on == "imagenet21k"
    assert file.classes == (21843 if imagenet21k else 1000)
    if size:
        assert [str(file.image_size)] == size
    elif trained_on != "imagenet21k+imagenet":
        assert file.image_size == 224
    if file.trained_on is not None:
        fine_tuned = kind in ("augreg", "original") and not imagenet21k
        assert file.trained_on == ("imagenet21k+imagenet" if fine_tuned else trained_on)
    is_vit = isinstance(VARIANTS[file.variant], ViTConfig)
    assert (file.root == "https://storage.googleapis.com/vit_models/") == is_vit
    assert file.path.startswith(("bit_models/", "mixer_models/")) != is_vit
    original_head = file.name == "original-imagenet21k"
    assert file.zero_head == original_head
    assert file.representation_size == (VARIANTS[file.variant].width if original_head else None)


@_files("augreg")
def test_file_names_of_augreg(file):
    # The same row again, made from the name alone.
    name = file.file_name
    made_up = find(file.variant, name.replace("-300ep", "-299ep", 1))
    assert made_up.path == file.path.replace("-300ep", "-299ep", 1)
    assert (made_up.classes, made_up.image_size) == (file.classes, file.image_size)
    # R50_ViT_L32 -> R50_L_32
    model = file.variant.removeprefix("ViT_").replace("_ViT", "")
    letters = re.sub(r"(\d+)$", r"_\1", model)
    first = "i21k" if file.verified else "i1k"
    assert ("imagenet1k" in file.name) == (first == "i1k")
    assert file.path.startswith(f"augreg/{letters}-{first}-300ep-lr_0.001-")


@_files("original", "sam", "gsam", "mixer")
def test_file_names_of_vit_sam_and_mixer(file):
    *bucket, folder, name = file.path.split("/")
    mixer = file.variant.startswith("Mixer_")
    assert bucket == (["mixer_models"] if mixer else [])
    assert name.startswith(_paper_name(file.variant))
    kind, trained_on, *_ = file.name.split("-")
    assert (
        folder
        == {
            "original-imagenet21k": "imagenet21k",
            "original-imagenet": "imagenet21k+imagenet2012",
            "sam-imagenet": "sam",
            "gsam-imagenet": "gsam",
            "mixer-imagenet21k": "imagenet21k",
            "mixer-imagenet": "imagenet1k",
        }[f"{kind}-{trained_on}"]
    )


@_files("bit")
def test_file_names_of_bit(file):
    model = file.variant.removeprefix("BiT_")
    name = {
        "imagenet21k": f"BiT-M-{model}.npz",
        "imagenet": f"BiT-S-{model}.npz",
        "imagenet21k+imagenet": f"BiT-M-{model}-ILSVRC2012.npz",
    }[file.trained_on]
    assert file.path == f"bit_models/{name}"
    assert file.url == f"https://storage.googleapis.com/bit_models/{name}"


def _paper_name(variant):
    """`R50_ViT_B16` -> `R50+ViT-B_16`, as the tables of the original code have it."""
    title = VARIANTS[variant].title  # "R50+ViT-B/16", "BiT-R50x1"
    return title.replace("/", "_").removeprefix("BiT-")


@pytest.mark.parametrize("file", RELEASED, ids=NAMES)
def test_sizes_are_those_of_the_original_code(file, shared):
    table = json.loads((shared / "golden" / "tables" / "param_counts.json").read_text())
    is_vit = isinstance(VARIANTS[file.variant], ViTConfig)
    counts = table["bit"] if file.variant.startswith("BiT_") else table["vit"]
    model = _paper_name(file.variant) + ("" if file.class_token else "-gap-norep")
    column = "1000" if file.classes == 1000 else "21843"
    column += "_at_384" if file.image_size == 384 and is_vit else ""
    column += "_with_pre_logits(hidden)" if file.representation_size else ""
    assert file.num_parameters == counts[model][column]
    assert file.payload_bytes == 4 * file.num_parameters


# From the table of recommended checkpoints in the README of google-research/vision_transformer.
README = [
    ("ViT_L16", 1243, 85.59),
    ("R50_ViT_L32", 1337, 85.99),
    ("R26_ViT_S32", 170, 83.85),
    ("R_Ti16", 40, 75.40),
    ("ViT_B16", 391, 85.49),
    ("ViT_S16", 115, 83.73),
    ("ViT_Ti16", 37, 78.22),
    ("ViT_B32", 398, 83.59),
    ("ViT_S32", 118, 79.58),
]


@pytest.mark.parametrize("variant, mebibytes, top1", README)
def test_sizes_and_accuracies_of_the_readme(variant, mebibytes, top1):
    assert abs(find(variant, "imagenet21k").payload_bytes / 2**20 - mebibytes) < 1
    assert find(variant, "imagenet", 384).top1 == top1


def test_accuracies_of_the_papers():
    accuracies = {name: f.top1 for name, f in zip(NAMES, RELEASED, strict=True)}
    assert accuracies["ViT_B16-original-imagenet-384"] == 83.97
    assert accuracies["ViT_B32-original-imagenet-384"] == 81.28
    assert accuracies["ViT_L16-original-imagenet-384"] == 85.15
    assert accuracies["ViT_L32-original-imagenet-384"] == 80.99
    assert accuracies["ViT_B16-original-imagenet-224"] == 81.2
    assert accuracies["ViT_L16-original-imagenet-224"] == 82.7
    assert accuracies["ViT_B16-sam-imagenet-224"] == 80.25
    assert accuracies["ViT_B32-sam-imagenet-224"] == 73.70
    assert accuracies["BiT_R50x1-distilled-imagenet-224"] == 82.8
    assert accuracies["BiT_R50x1-distilled-imagenet-160"] == 80.5


def test_addresses_are_encoded():
    url = find("ViT_B16", "original-imagenet-384").url
    root = "https://storage.googleapis.com/vit_models"
    assert url == f"{root}/imagenet21k%2Bimagenet2012/ViT-B_16.npz"
    assert find("ViT_B16", "augreg-imagenet-384").url == f"{root}/augreg/{B16_384}.npz"
    url = find("Mixer_L16", "imagenet21k").url
    assert url == "https://storage.googleapis.com/mixer_models/imagenet21k/Mixer-L_16.npz"


# Finding.


def test_available():
    assert available("ViT_B16") == [
        "augreg-imagenet21k",
        "augreg-imagenet-224",
        "augreg-imagenet-384",
        "original-imagenet21k",
        "original-imagenet-224",
        "original-imagenet-384",
        "sam-imagenet-224",
        "augreg-imagenet1k-224",
        "augreg-imagenet1k-384",
        "gsam-imagenet-224",
    ]
    assert available("ViT_H14") == ["original-imagenet21k"]
    assert available("BiT_R50x3") == ["bit-imagenet21k", "bit-imagenet", "bit-imagenet21k+imagenet"]
    assert available("Mixer_B16") == ["mixer-imagenet21k", "mixer-imagenet", "sam-imagenet"]


@pytest.mark.parametrize(
    "variant, weights, image_size, name",
    [
        ("ViT_B16", "imagenet21k", None, "augreg-imagenet21k"),
        ("ViT_L32", "imagenet21k", (384, 384), "original-imagenet21k"),
        ("ViT_B16", "imagenet", None, "augreg-imagenet-224"),
        ("ViT_B16", "imagenet", (224, 224), "augreg-imagenet-224"),
        ("ViT_B16", "imagenet", 384, "augreg-imagenet-384"),
        ("ViT_B16", "imagenet", (512, 512), "augreg-imagenet-384"),
        ("ViT_B16", "imagenet", (64, 96), "augreg-imagenet-224"),
        ("ViT_B16", "imagenet", (200, 520), "augreg-imagenet-384"),  # the area of 322 x 322
        ("ViT_B8", "imagenet", (384, 384), "augreg-imagenet-224"),
        ("ViT_L32", "imagenet", None, "original-imagenet-384"),
        ("ViT_L32", "imagenet", (224, 224), "original-imagenet-384"),
        ("ViT_B32", "sam-imagenet-224", (384, 384), "sam-imagenet-224"),
        ("ViT_B16", B16_384, None, "augreg-imagenet-384"),
        ("ViT_B16", f"{B16_384}.npz", None, "augreg-imagenet-384"),
        ("ViT_B16", f"augreg/{B16}", None, "augreg-imagenet21k"),
        ("ViT_B16", f"augreg/{B16}.npz", None, "augreg-imagenet21k"),
        ("ViT_H14", "imagenet21k/ViT-H_14.npz", None, "original-imagenet21k"),
        ("ViT_B16", "imagenet21k+imagenet", 384, "augreg-imagenet-384"),
        ("BiT_R50x1", "imagenet", None, "bit-imagenet"),
        ("BiT_R50x1", "imagenet", 160, "bit-imagenet"),
        ("BiT_R50x1", "imagenet21k", None, "bit-imagenet21k"),
        ("BiT_R152x2", "imagenet21k+imagenet", 384, "bit-imagenet21k+imagenet"),
        ("BiT_R152x2", "teacher-imagenet-384", None, "teacher-imagenet-384"),
        ("BiT_R50x1", "BiT-M-R50x1-ILSVRC2012", None, "bit-imagenet21k+imagenet"),
        ("BiT_R50x1", "bit_models/BiT-S-R50x1.npz", None, "bit-imagenet"),
        ("BiT_R50x1", "distill/R50x1_160", None, "distilled-imagenet-160"),
        ("Mixer_B16", "imagenet", None, "mixer-imagenet"),
        ("Mixer_B32", "imagenet", None, "sam-imagenet"),
        ("Mixer_L16", "imagenet21k/Mixer-L_16.npz", None, "mixer-imagenet21k"),
        ("Mixer_B16", "mixer_models/sam/Mixer-B_16", None, "sam-imagenet"),
    ],
)
def test_find(variant, weights, image_size, name):
    found = find(variant, weights, image_size)
    assert found in RELEASED
    assert (found.variant, found.name) == (variant, name)


@pytest.mark.parametrize(
    "variant, ending, classes, image_size",
    [
        ("ViT_S16", "S_16-i1k-300ep-{}-sd_0.1", 1000, 224),
        ("ViT_S16", "S_16-i21k-30ep-{}-sd_0.1--cifar10-steps_10k-lr_0.003-res_384", 10, 384),
        ("ViT_S16", "S_16-i21k-30ep-{}-sd_0.1--cifar100-steps_2.5k-lr_0.01-res_224", 100, 224),
        (
            "ViT_Ti16",
            "Ti_16-i1k-300ep-{}-sd_0.0--oxford_iiit_pet-steps_0k-lr_0.01-res_384",
            37,
            384,
        ),
        ("ViT_B32", "B_32-i1k-300ep-{}-sd_0.0--imagenet2012-steps_20k-lr_0.01-res_384", 1000, 384),
        ("ViT_B8", "B_8-i21k-300ep-{}-sd_0.0--kitti-steps_10k-lr_0.01-res_384", None, 384),
    ],
)
def test_any_augreg_file(variant, ending, classes, image_size):
    name = ending.format("lr_0.001-aug_strong2-wd_0.03-do_0.1")
    file = find(variant, name)
    assert file == find(variant, f"augreg/{name}.npz")
    assert file not in RELEASED
    assert (file.variant, file.classes, file.image_size) == (variant, classes, image_size)
    assert file.path == f"augreg/{name}.npz"
    assert file.source == "AugReg, arXiv 2106.10270"
    assert not file.zero_head
    assert file.verified == ("-i21k-" in name)
    assert (file.payload_bytes is None) == (classes is None)


@pytest.mark.parametrize(
    "variant, weights, message",
    [
        ("ViT_B16", "jft300m", "never released.*JFT.*imagenet21k"),
        ("ViT_B16", "JFT", "never released"),
        ("ViT_H14", "imagenet", r"only \['original-imagenet21k'\].*Received: weights='imagenet'"),
        ("ViT_B16", "imagnet21k", "Did you mean imagenet21k.*sam-imagenet-224.*'imagnet21k'"),
        ("ViT_B16", "augreg-imagenet-448", "Did you mean augreg-imagenet-384"),
        ("ViT_H14", "augreg-imagenet21k", r"imagenet21k.* There are \['original-imagenet21k'\]"),
        ("ViT_S16", B16, r"holds a ViT_B16, not a ViT_S16.*keras_vit\.ViT_B16\(weights='B_16"),
        ("ViT_B32", "imagenet21k/ViT-B_16.npz", "holds a ViT_B16"),
        ("ViT_B16", B16.replace("B_16", "B_99"), r"It has one for \['B_16'.*weights='B_99-i21k"),
        ("ViT_B16", B16.replace("wd_0.1", "wd_"), "names of AugReg files look like"),
        ("ViT_B16", f"{B16}--imagenet2012", "names of AugReg files look like"),
        ("ViT_B16", f"{B16}/../../secret", "names of AugReg files look like"),
        ("ViT_B16", f"{B16}\n", "names of AugReg files look like"),
        ("ViT_B16", "", "no released weights of that name"),
        ("ViT-B16", "imagenet", "Did you mean ViT_B16.*Received: variant='ViT-B16'"),
        ("BiT_R50x1", "jft300m", "never released.*JFT.*imagenet21k"),
        ("BiT_R50x1", "BiT-M-R101x1", r"holds a BiT_R101x1.*keras_vit\.BiT_R101x1\("),
        ("BiT_R50x1", B16, "holds a ViT_B16, not a BiT_R50x1"),
        ("Mixer_L16", "imagenet21k+imagenet", "no Mixer_L16 that is fine-tuned on ImageNet-2012"),
        ("Mixer_B16", "mixer-imagnet", "Did you mean mixer-imagenet"),
    ],
)
def test_find_says_what_is_wrong(variant, weights, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        find(variant, weights)


def test_imagenet_is_never_sam(monkeypatch):
    monkeypatch.setattr(weights_module, "RELEASED", (find("ViT_B16", "sam-imagenet-224"),))
    with pytest.raises(ValueError, match="no ViT_B16 that is fine-tuned on ImageNet-2012"):
        find("ViT_B16", "imagenet")
    monkeypatch.setattr(weights_module, "RELEASED", ())
    with pytest.raises(ValueError, match="Google released no weights for ViT_B16"):
        find("ViT_B16", "imagenet21k")


def test_find_wants_a_string():
    with pytest.raises(TypeError, match="Received: weights=21"):
        find("ViT_B16", 21)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="image_size"):
        find("ViT_B16", "imagenet", (224, 224, 3))  # type: ignore[arg-type]
