"""What `train` and `finetune` have in common: arguments, the run, and what it prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_vit.cli.arguments import BY_NAME, RESUMING, Parser, called_as, or_none
from keras_vit.cli.output import verbosity
from keras_vit.runs import run, settings_for
from keras_vit.runs.dry_run import describe
from keras_vit.training.fine_tuning import TRAIN_IMAGES_TO_EVALUATE
from keras_vit.utils.text import printable, say


def add_arguments(parser: Parser, *, recipe: str, **defaults: str) -> None:
    """Adds the arguments of a training.

    Args:
        parser: Parser of the command.
        recipe: Default of `--recipe`, as the help shows it.
        **defaults: Defaults of other options by their names, likewise.
    """
    parser.describe(RESUMING)
    parser.shared("--model", help=BY_NAME, **defaults)
    parser.shared("--weights", type=or_none, **defaults)
    parser.add("--data", "data", "a folder of class folders or of TFRecords, a TensorFlow data set",
               "DATA", default="(digits)")  # fmt: skip
    parser.add("--validation-share", "data", "held out of a folder without validation images",
               "SHARE", float, default="(.2)")  # fmt: skip
    parser.shared("--image-size", image_size="(224; digits 40)")
    parser.add("--augmentation", "data", "light1, light2, medium1, ... strong2", "NAME",
               default="(none)")  # fmt: skip
    parser.add("--least-crop", "data", "share of an image's area that a random crop has at least",
               "SHARE", float, default="(the papers' .05; digits .8)")  # fmt: skip
    parser.add("--compare-contents", "data", "when a run goes on, compare every byte of the data "
               "and not names and sizes alone")  # fmt: skip
    parser.shared("--resize", "--interpolation", "--on-error", resize="(squash)",
                  interpolation="(bilinear)", on_error="(raise)")  # fmt: skip
    parser.add("--recipe", "training", "vit-pretrain, augreg, vit-finetune, bit-hyperrule or none",
               "NAME", or_none, default=recipe)  # fmt: skip
    parser.shared(
        "--batch-size", "--accumulate", "--steps", "--lr", lr="(the recipe's)", **defaults
    )
    parser.add("--warmup", "training", "steps until the highest learning rate", "N", int,
               "warmup_steps", default="(the recipe's)")  # fmt: skip
    parser.shared("--save-every", "--seed", save_every="(500)", seed="(0)")
    parser.shared(
        "--strategy",
        "--devices",
        "--precision",
        "--xla",
        strategy="(auto, what there is; docs/distribution.md)",
        devices="(all)",
        precision="(auto: bfloat16 where the hardware has it; small: float32)",
        xla="(auto: on GPUs, and for bfloat16 on a processor that is slow in it)",
    )
    parser.shared("--out", out="(runs/ and the name of the data)")
    parser.shared("--overwrite", help="start anew; what is there is kept beside it")
    parser.add("--tensorboard", "output", "write logs for TensorBoard")
    parser.add("--dry-run", "output", "print what would be done and needed, and end")


def run_training(given: dict[str, Any], *, pretrain: bool = False) -> int:
    """The body of a command that trains.

    Args:
        given: The arguments that were given.
        pretrain: As for `keras_vit.runs.settings_for`.

    Returns:
        The exit code.
    """
    out, overwrite = given.pop("out", None), given.pop("overwrite", False)
    dry = given.pop("dry_run", False)
    settings = settings_for(pretrain=pretrain, **given)
    if dry:
        say(describe(settings))
        return 0
    folder = Path(out) if out else Path("runs") / Path(settings.data).resolve().name
    summary = run(settings, folder, overwrite=overwrite, verbose=verbosity())
    if folder.exists():  # else another process of this training is writing it
        say("\n".join(report_lines(summary, folder)))
    return 0


def report_lines(summary: dict[str, Any], folder: Path) -> list[str]:
    """The results of a training, and what to do next."""
    lines = []
    for split, what in (("train", "training"), ("validation", "validation")):
        accuracy, count = summary[f"{split}_accuracy"], summary["data"][f"{split}_images"]
        seen = f"{count:,} images"
        if split == "train" and count > TRAIN_IMAGES_TO_EVALUATE:  # up to a whole batch
            seen = f"about {TRAIN_IMAGES_TO_EVALUATE:,} of {seen}"
        lines.append(f"{what} accuracy {100 * accuracy:.1f} % ({seen})")
    return [
        *lines,
        f"{summary['steps']:,} steps in {summary['seconds']:.0f} s. In {printable(folder)}:",
        "  " + "  ".join(sorted(path.name for path in folder.iterdir())),
        f"Try it: {called_as('predict')} PHOTO --model {printable(folder)}",
    ]
