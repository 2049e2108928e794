"""Finds weights among AugReg's 50,000 files by the index that was published with them.

Every row of the index is a fine-tuned file and the file that it started from, with the accuracies
of both. Its columns are described at `get_augreg_df` in vit_jax/checkpoint.py of
google-research/vision_transformer.
"""

from __future__ import annotations

import csv
import functools
import math
import os
from collections.abc import Iterator
from pathlib import Path

from keras_vit.applications.augreg_names import AUGREG_MODELS, AugRegName, parse
from keras_vit.applications.download import DownloadError, download
from keras_vit.applications.found_weights import FoundWeights, WeightsTable
from keras_vit.applications.released_files import ROOT, url_of
from keras_vit.applications.weights import cache_folder
from keras_vit.models import VARIANTS
from keras_vit.planner import forward_macs, parameters
from keras_vit.utils.checks import check_choice, check_counts, check_numbers
from keras_vit.utils.text import printable

INDEX = "augreg/index.csv"
# The published index has 51,509 rows, some 15 MB. Another cannot be much larger.
MOST_BYTES = 2**26
MOST_ROWS = 200_000
MOST_CHARACTERS = 4096  # of a row
# Of the pre-trained and of the fine-tuned file: its name, and its accuracies, those on a test set
# first. ImageNet-21k has no public test set: only `final_val` is there, which the authors choose
# files by (vit_jax_augreg.ipynb).
_FILES = {
    "filename": ("final_test", "final_val"),
    "adapt_filename": ("adapt_final_test", "adapt_final_val"),
}
COLUMNS = (*_FILES, *(column for columns in _FILES.values() for column in columns))
# How rows are sorted -> what is smallest in the best row.
_SORTS = {
    "accuracy": lambda row: (-(row.accuracy or 0), row.gflops, row.name),
    "gflops": lambda row: (row.gflops, -(row.accuracy or 0), row.name),
    "parameters": lambda row: (row.parameters, -(row.accuracy or 0), row.name),
}


def find_weights(
    model: str | None = None,
    dataset: str | None = None,
    *,
    pretraining: str | None = None,
    image_size: int | None = None,
    max_gflops: float | None = None,
    sort: str = "accuracy",
) -> WeightsTable:
    """Finds weights among the 50,000 files of AugReg.

        found = keras_vit.find_weights("ViT_S16", dataset="imagenet2012", max_gflops=10)
        print(found)
        model = keras_vit.ViT_S16(weights=found[0])

    The index of the files (some 15 MB) is downloaded once, into the cache of the weights.

    Args:
        model: Name of a constructor, `"ViT_S16"` for example. Default: any that AugReg has.
        dataset: What the head is for: `"imagenet2012"`, `"imagenet21k"`, `"cifar100"`,
            `"oxford_iiit_pet"`, `"resisc45"` or `"kitti"`. Default: any.
        pretraining: What was trained on first: `"imagenet21k"`, or `"imagenet2012"` for files
            that saw ImageNet-2012 alone before the fine-tuning. Default: any.
        image_size: Side in pixels of the images of the last training, 224 or 384. Default: any.
        max_gflops: The most operations of one image in 10^9, two for each multiply-accumulate.
            Default: any number.
        sort: What the best row has: the highest `"accuracy"`, or the least `"gflops"` or
            `"parameters"`. Files without a published accuracy come last.

    Returns:
        The rows, best first. It is a tuple, and prints as a table.

    Raises:
        DownloadError: If the index cannot be downloaded (an `OSError`).
        ValueError: If an argument is out of its range, or the index is not what it should be.
    """
    check_choice("sort", sort, _SORTS)
    if max_gflops is not None:
        check_numbers("(0, inf)", max_gflops=max_gflops)
    if image_size is not None:
        check_counts(1, image_size=image_size)
    if model is not None:
        hint = "These are the models that AugReg has files of."
        check_choice("model", model, AUGREG_MODELS.values(), hint)
    files = read_index(_fetch_index())
    if dataset is not None:
        check_choice("dataset", dataset, sorted({name.dataset for name in files}))
    if pretraining is not None:
        check_choice("pretraining", pretraining, sorted({name.pretraining for name in files}))
    wanted = {
        "variant": model, "dataset": dataset, "pretraining": pretraining, "image_size": image_size
    }  # fmt: skip
    costs = functools.cache(_costs)
    rows = []
    for name, accuracy in files.items():
        if any(value not in (None, getattr(name, key)) for key, value in wanted.items()):
            continue
        variant = str(name.variant)
        gflops, count = costs(variant, name.image_size, name.classes)
        if max_gflops is None or gflops <= max_gflops:
            rows.append(
                FoundWeights(
                    variant, name.dataset, name.pretraining, name.image_size, accuracy, gflops,
                    count, name.name,
                )
            )  # fmt: skip
    return WeightsTable(sorted(rows, key=_SORTS[sort]))


def _costs(variant: str, image_size: int, classes: int | None) -> tuple[float, int]:
    """GFLOPs and parameters of a model."""
    config = VARIANTS[variant]
    gflops = 2 * forward_macs(config, image_size, classes) / 1e9
    return gflops, parameters(config, image_size, classes)


def _fetch_index() -> Path:
    root = os.environ.get("KERAS_VIT_WEIGHTS_URL") or ROOT
    target = cache_folder() / INDEX
    try:
        return download(url_of(root, INDEX), target, check=read_index)
    except DownloadError as error:
        raise DownloadError(
            f"{error}\nBring the index by other means and name it {str(target)!r}, or set "
            "KERAS_VIT_WEIGHTS_URL to the address of a mirror that has it."
        ) from None


def read_index(path: Path) -> dict[AugRegName, float | None]:
    """The files of an index, and the accuracy of each in %, or `None` where it has none.

    Args:
        path: The file, which anybody may have written. Columns beyond `COLUMNS` are ignored.

    Raises:
        ValueError: If it is no such table, or a row is wrong.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise _refused(path, f"it has {size:,} bytes, more than {MOST_BYTES:,}")
    found: dict[AugRegName, float | None] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(_lines(file), strict=True)
            missing = [column for column in COLUMNS if column not in (rows.fieldnames or ())]
            if missing:
                raise ValueError(f"it has no column {', '.join(missing)}")
            for count, row in enumerate(rows, 2):
                try:
                    found.update(_files_of(row))
                except ValueError as error:
                    raise ValueError(f"row {count}: {error}") from None
                if count > MOST_ROWS:
                    raise ValueError(f"it has more than {MOST_ROWS:,} rows")
    except (ValueError, csv.Error) as error:  # no UTF-8 is a `ValueError` too
        raise _refused(path, error) from None
    if not found:
        raise _refused(path, "it has no rows")
    return found


def _lines(file: Iterator[str]) -> Iterator[str]:
    for line in file:
        if len(line) > MOST_CHARACTERS:
            raise ValueError(f"a line has more than {MOST_CHARACTERS:,} characters")
        yield line


def _files_of(row: dict[str, str]) -> Iterator[tuple[AugRegName, float | None]]:
    """The pre-trained and the fine-tuned file of a row."""
    if None in row or None in row.values():
        raise ValueError("it has another number of columns than the first row")
    for column, accuracies in _FILES.items():
        name = parse(row[column])
        if name is None or name.variant is None:
            raise ValueError(f"{column} is no name of an AugReg file: {printable(row[column])!r}")
        values = [_percent(accuracy, row[accuracy]) for accuracy in accuracies]
        yield name, next((value for value in values if value is not None), None)


def _percent(column: str, text: str) -> float | None:
    """Accuracies are parts of one in the index; one that was not measured is empty or `nan`."""
    try:
        value = float(text or "nan")
    except ValueError:
        value = math.inf
    if math.isnan(value):
        return None
    if not 0 <= value <= 1:
        raise ValueError(f"{column} must be in [0, 1]: {printable(text)!r}")
    return 100 * value


def _refused(path: Path, reason: object) -> ValueError:
    return ValueError(
        f"{str(path)!r} is not the index of AugReg's files, and is not used: {reason}. Delete it "
        "to download it again, and check KERAS_VIT_WEIGHTS_URL if you have set it."
    )
