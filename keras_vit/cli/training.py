"""What `tools/train.py` and `tools/finetune.py` have in common: arguments, and what they print."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_vit import distribution
from keras_vit.distribution import hardware
from keras_vit.runs import Settings, run
from keras_vit.runs.dry_run import describe
from keras_vit.training.fine_tuning import TRAIN_IMAGES_TO_EVALUATE


def _or_none(text: str) -> str | None:
    return None if text == "none" else text


def devices(text: str) -> int | tuple[str, ...]:
    return int(text) if text.isdecimal() else tuple(text.split(","))


def _argument(*flags: str, **options: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    return flags, options


# What both tools take. Where their defaults differ, the help has braces: `defaults` of `main`.
ARGUMENTS = (
    _argument(
        "--data",
        help="a folder of class folders or of TFRecords, a TensorFlow data set, or digits "
        "(default)",
    ),
    _argument("--model", help="{model} (default), ViT_B16, ...; small (default for digits)"),
    _argument("--weights", type=_or_none, help="{weights}"),
    _argument(
        "--recipe",
        type=_or_none,
        help="vit-pretrain, augreg, vit-finetune, bit-hyperrule; none: a short one ({recipe})",
    ),
    _argument("--augmentation", help="none (default), light1, light2, medium1, ... strong2"),
    _argument("--image-size", type=int, help="pixels (default: 224; digits 40)"),
    _argument("--steps", type=int, help="training steps (default: {steps}; digits 900)"),
    _argument(
        "--batch-size",
        type=int,
        help="images per step, on all devices together (default: {batch_size}; digits 64)",
    ),
    _argument("--lr", type=float, dest="learning_rate", help="highest (default: the recipe's)"),
    _argument(
        "--warmup",
        type=int,
        dest="warmup_steps",
        help="steps until it is reached (default: the recipe's)",
    ),
    _argument(
        "--validation-share",
        type=float,
        help="share of a folder to validate on, where it has no folder for that (default: .2)",
    ),
    _argument(
        "--least-crop",
        type=float,
        help="share of an image's area that a random crop has at least (default: the papers' .05; "
        "digits .8)",
    ),
    _argument("--resize", help="validation images: squash (default) or crop"),
    _argument("--on-error", help="images that cannot be read: raise (default) or skip"),
    _argument(
        "--strategy",
        help=f"{', '.join(distribution.STRATEGIES)}: what to train on (default: auto, what there "
        "is; docs/distribution.md)",
    ),
    _argument(
        "--devices",
        type=devices,
        help="how many of them, or their names, GPU:0,GPU:1 (default: all)",
    ),
    _argument(
        "--precision",
        "--dtype",
        dest="dtype",
        help="float32, mixed_bfloat16, or auto (default): the latter where the hardware has it; "
        "small: float32",
    ),
    _argument(
        "--xla",
        nargs="?",
        const="on",
        help=f"{', '.join(hardware.XLA)}: compile with XLA (default: auto, on GPUs and for "
        "bfloat16 on a processor that is slow in it)",
    ),
    _argument("--accumulate", type=int, help="batches to split a step into, to save memory"),
    _argument("--save-every", type=int, help="batches between checkpoints (default: 500)"),
    _argument("--tensorboard", action="store_true", help="write logs for TensorBoard"),
    _argument("--seed", type=int, help="of everything random (default: 0)"),
    _argument("--out", help="folder to write (default: runs/ and the name of the data)"),
    _argument(
        "--overwrite", action="store_true", help="start anew; what is there is kept beside it"
    ),
    _argument(
        "--dry-run", action="store_true", help="print what would be done and needed, and end"
    ),
)


def main(description: str | None, settings_for: Callable[..., Settings], **defaults: str) -> int:
    """The body of a tool that trains.

    Args:
        description: What it is, for `--help`.
        settings_for: Settings from the name of the data and whatever else was given.
        **defaults: For the texts of `ARGUMENTS`.

    Returns:
        The exit code.
    """
    # What is not given stays out of the namespace, and the library's defaults hold.
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    for flags, options in ARGUMENTS:
        parser.add_argument(*flags, **{**options, "help": options["help"].format(**defaults)})
    given = vars(parser.parse_args())
    out, overwrite = given.pop("out", None), given.pop("overwrite", False)
    dry = given.pop("dry_run", False)
    settings = settings_for(**given)
    if dry:
        print(describe(settings))
        return 0
    folder = Path(out) if out else Path("runs") / Path(settings.data).resolve().name
    summary = run(settings, folder, overwrite=overwrite, verbose=1 if sys.stdout.isatty() else 2)
    if folder.exists():  # else another process of this training is writing it
        print("\n".join(_report(summary, folder)))
    return 0


def _report(summary: dict[str, Any], folder: Path) -> list[str]:
    """What has come out, and how to go on."""
    lines = []
    for split, what in (("train", "training"), ("validation", "validation")):
        accuracy, count = summary[f"{split}_accuracy"], summary["data"][f"{split}_images"]
        seen = f"{count} images"
        if split == "train" and count > TRAIN_IMAGES_TO_EVALUATE:  # up to a whole batch
            seen = f"about {TRAIN_IMAGES_TO_EVALUATE} of {seen}"
        lines.append(f"{what} accuracy {100 * accuracy:.1f} % ({seen})")
    return [
        *lines,
        f"{summary['steps']} steps in {summary['seconds']:.0f} s. In {folder}:",
        "  " + "  ".join(sorted(path.name for path in folder.iterdir())),
        f"Try it: python tools/predict.py PHOTO --model {folder}",
    ]
