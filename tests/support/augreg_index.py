"""A sample of AugReg's index.csv, made from what is published about its rows.

No one could fetch the real file here. The columns, and the names and accuracies of most rows, are
those that vit_jax_augreg.ipynb of google-research/vision_transformer shows; those of the others are
from timm (`vit_small_patch16_224.augreg_in21k_ft_in1k` and `.augreg_in1k`).
What is not published about a row is left empty, or made up where a test needs it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

COLUMNS = [
    *("name", "ds", "epochs", "lr", "aug", "wd", "do", "sd", "best_val", "final_val", "final_test"),
    *("adapt_ds", "adapt_lr", "adapt_steps", "adapt_resolution", "adapt_final_val"),
    *("adapt_final_test", "params", "infer_samples_per_sec", "filename", "adapt_filename"),
]
S16 = "S_16-i21k-300ep-lr_0.001-aug_light1-wd_0.03-do_0.0-sd_0.0"
S16_1K = "S_16-i1k-300ep-lr_0.001-aug_medium2-wd_0.1-do_0.0-sd_0.0"
IMAGENET = "--imagenet2012-steps_20k-lr_{}-res_{}"
# Pre-trained file, what the fine-tuned one has after it, and its accuracy.
ROWS = (
    ("L_16-i21k-300ep-lr_0.001-aug_strong1-wd_0.1-do_0.0-sd_0.0", (0.01, 384), 0.85588),
    ("B_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.0-sd_0.0", (0.03, 384), 0.85486),
    (S16, (0.03, 384), 0.83728),
    (S16, (0.03, 224), 0.8138),
    (S16_1K, (0.01, 384), 0.8112),
    (S16_1K, (0.01, 224), None),
    ("R50_L_32-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.1-sd_0.1", (0.01, 384), 0.85992),
    ("R26_S_32-i21k-300ep-lr_0.001-aug_light1-wd_0.1-do_0.0-sd_0.0", (0.01, 384), 0.83846),
    ("Ti_16-i21k-300ep-lr_0.001-aug_none-wd_0.03-do_0.0-sd_0.0", (0.03, 384), 0.78220),
    ("B_32-i21k-300ep-lr_0.001-aug_light1-wd_0.1-do_0.0-sd_0.0", (0.01, 384), 0.83586),
    ("S_32-i21k-300ep-lr_0.001-aug_none-wd_0.1-do_0.0-sd_0.0", (0.01, 384), 0.79584),
    ("R_Ti_16-i21k-300ep-lr_0.001-aug_none-wd_0.03-do_0.0-sd_0.0", (0.03, 384), 0.75402),
    ("B_8-i21k-300ep-lr_0.001-aug_medium2-wd_0.1-do_0.0-sd_0.0", (0.03, 224), 0.85578),
)
# Rows of other data sets, with made up accuracies.
OTHERS = (
    (S16, "--cifar100-steps_10k-lr_0.01-res_224", 0.9),
    (S16, "--kitti-steps_0k-lr_0.01-res_384", 0.8),
)


def row(filename: str, ending: str, accuracy: float | None, **others: object) -> dict[str, str]:
    """One row, by column; `others` replace what follows from the names."""
    dataset, size = re.fullmatch(r"--(\w+)-.*-res_(\d+)", ending).groups()
    cells = {
        "filename": filename,
        "adapt_filename": filename + ending,
        "name": filename.split("-")[0].replace("_", "/"),
        "ds": filename.split("-")[1],
        "adapt_ds": dataset,
        "adapt_resolution": size,
        "adapt_final_test": "" if accuracy is None else accuracy,
        **others,
    }
    return {column: str(cells.get(column, "")) for column in COLUMNS}


def sample() -> list[dict[str, str]]:
    imagenet = [(name, IMAGENET.format(*ending), accuracy) for name, ending, accuracy in ROWS]
    return [row(*of) for of in (*imagenet, *OTHERS)]


def write_index(path: Path, rows: Iterable[dict[str, str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(COLUMNS), *(",".join(row.values()) for row in rows)]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path
