"""Says what is on all photos of a folder, millions of them: in parts, by several processes.

The photos are sorted by name and cut into parts of one size. A part becomes one file, which
appears whole or not at all. So the files that are there say what is done, and a run that was
killed goes on with those that are missing. Shard 3 of 16 writes each sixteenth part from the third
on: the parts are the same for any number of shards.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import re
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_vit.data.image_files import ENDINGS, walk_images
from keras_vit.predict.classifier import Classifier
from keras_vit.predict.listing import Listing
from keras_vit.predict.photos import Predictor
from keras_vit.predict.tables import write_table, writer
from keras_vit.utils.checks import check_counts, differences
from keras_vit.utils.files import check_writable, is_there, read_json, write_new_json
from keras_vit.utils.locks import one_process
from keras_vit.utils.preemption import PreemptedError, sigterm_sets
from keras_vit.utils.progress import Progress
from keras_vit.utils.text import printable

# What reads a folder of tables passes over names that begin with `_` or a dot.
MANIFEST_FILE = "_manifest.json"


@dataclasses.dataclass(frozen=True)
class FolderSummary:
    """What a call of `predict_folder` did.

    Attributes:
        written: Parts that it wrote.
        photos: Photos in them.
        unreadable: How many of these cannot be read.
        parts: Parts in all, of all shards.
        missing: How many of all parts are not there yet.
    """

    written: int
    photos: int
    unreadable: int
    parts: int
    missing: int


def predict_folder(
    classifier: Classifier,
    folder: str | Path,
    out: str | Path,
    *,
    shard: tuple[int, int] = (1, 1),
    format: str = "csv",
    part_size: int = 10_000,
    top: int = 5,
    features: bool = False,
    batch_size: int = 32,
    verbose: str | int = "auto",
) -> FolderSummary:
    """Says what is on all photos of a folder, and writes it as a folder of tables, its parts.

    Each photo has one row in one of the files `part-00000.csv`, `part-00001.csv`, ...: its path
    from `folder` on, an error if it cannot be read, its likeliest classes with their probabilities,
    and its features if they are asked for. When the process ends before its time, at whatever
    moment, the same call writes what is missing. The memory does not depend on the number of
    photos.

    Args:
        classifier: Of `load_classifier`.
        folder: Where the photos are, at any depth. Hidden files are left out, and links to folders
            are not followed.
        out: The folder of the parts. It is new or empty, or holds parts of the same photos, model
            and options.
        shard: (3, 16): this process writes the parts 2, 18, 34, ... Others write the rest.
        format: `"csv"` or `"parquet"`.
        part_size: Photos of a part. It is held in memory until it is written.
        top: How many classes to name per photo, at least 1.
        features: Whether to write the vector before the head too.
        batch_size: Photos per step. Another one changes the last digits at most.
        verbose: As in `keras_vit.training.fine_tune`.

    Returns:
        What this call wrote, and what is missing.

    Raises:
        ValueError: If `out` holds something else, another process writes the same shard there,
            there are no photos, an option is out of its range, the model gives NaN, or a part
            cannot be written, on a full disk for example; the parts before it are kept.
        ImportError: If pyarrow is missing, for `"parquet"`.
        OSError: If a folder cannot be read.
        keras_vit.training.PreemptedError: After a SIGTERM. The part that was begun is left out.
    """
    folder, out = Path(folder), Path(out)
    check_asked(folder, shard=shard, format=format, part_size=part_size)
    number, shards = shard
    predictor = Predictor(classifier, top=top, features=features, batch_size=batch_size)
    check_writable(out)
    name, asked = f"shard-{number}-of-{shards}", threading.Event()
    with (
        one_process(out / f"_{name}"),
        sigterm_sets(asked),
        contextlib.closing(Listing(_photos(folder), part_size)) as listing,
    ):
        facts = {"photos": listing.fingerprint, "format": format, "part_size": part_size}
        for unfinished in out.glob(f".{name}.*"):  # of a process that was killed
            unfinished.unlink(missing_ok=True)
        place = out / f".{name}.{uuid.uuid4().hex}"
        _check_same(out, facts | _facts(predictor), place)
        paths = [out / f"part-{i:05d}.{format}" for i in range(listing.parts)]
        mine = range(number - 1, listing.parts, shards)
        todo = [i for i in mine if not is_there(paths[i])]
        total, left = (sum(map(listing.length, parts)) for parts in (mine, todo))
        unreadable, done = 0, total - left
        with Progress(total, 1, verbose, unit="photo", speed="photos/s") as progress:
            if done:
                progress.resumed(done)
            for i in todo:
                rows = []
                photos = (folder / photo for photo in listing.part(i))
                with contextlib.closing(predictor.predict(photos)) as predictions:
                    for row in predictions:
                        if asked.is_set():
                            raise PreemptedError(
                                f"asked to end (SIGTERM). {done:,} of the {total:,} photos of "
                                f"{name} are in {out}. The same command goes on from there"
                            )
                        rows.append(dataclasses.replace(row, path=row.path.relative_to(folder)))
                        progress.show(done + len(rows))
                write_table(paths[i], rows, predictor.top, predictor.width, place, sync=True)
                done += len(rows)
                unreadable += sum(bool(row.error) for row in rows)
        missing = sum(not is_there(path) for path in paths)
    return FolderSummary(len(todo), left, unreadable, len(paths), missing)


def check_asked(
    folder: str | Path,
    *,
    shard: Any = (1, 1),
    format: str = "csv",
    part_size: int = 10_000,
    **others: int,
) -> None:
    """Refuses what `predict_folder` cannot do, before a model is loaded for it.

    Args:
        folder: As there, like the rest.
        shard, format, part_size: As there.
        **others: Numbers that must be at least 1: `top`, `batch_size`.
    """
    if not os.path.isdir(folder):
        raise ValueError(f"There is no folder {printable(folder)!r}")
    check_counts(1, part_size=part_size, **others)
    writer(format)  # now, not after the first part
    try:
        number, shards = shard
        check_counts(1, number=number, shards=shards)
        check_counts(number, shards=shards)
    except (TypeError, ValueError):
        raise ValueError(
            "`shard` must be a pair: which one, from 1 on, and of how many: (3, 16), --shard 3/16. "
            f"Received: shard={shard!r}"
        ) from None


def _photos(folder: Path) -> Iterator[tuple[str, int]]:
    """(name from the folder on, bytes) of each photo."""
    start, there = len(os.path.join(folder, "")), False
    for entry in walk_images(folder):
        there = True
        yield entry.path[start:], entry.stat().st_size
    if not there:
        raise ValueError(f"There is no photo ({', '.join(ENDINGS)}) in {str(folder)!r}")


def _facts(predictor: Predictor) -> dict[str, Any]:
    """What the rows depend on, besides the photos, for JSON."""
    found = predictor.classifier
    model: Any = found.model
    # Keras counts what has no name of its own: the next time the same layer may be `dense_1`.
    name, architecture = (re.sub(r"_\d+\b", "", text) for text in (model.name, model.to_json()))
    weights = hashlib.sha256()
    for variable in model.weights:
        array = np.ascontiguousarray(keras.ops.convert_to_numpy(variable))
        weights.update(array.reshape(-1).view("uint8").data)
    return {
        "model": name,
        "architecture": hashlib.sha256(architecture.encode()).hexdigest()[:16],
        "weights": weights.hexdigest()[:16],
        "class_names": hashlib.sha256(repr(found.class_names).encode()).hexdigest()[:16],
        "image_size": list(found.image_size),
        "resize": found.resize,
        "interpolation": found.interpolation,
        "top": predictor.top,
        "features": predictor.width,
    }


def _check_same(out: Path, facts: dict[str, Any], place: Path) -> None:
    """Writes what the parts depend on, or refuses a folder that has parts of something else."""
    manifest = out / MANIFEST_FILE
    # It is there before the first part, so look for it after them.
    other = next((path.name for path in out.iterdir() if path.name[0] not in "_."), None)
    if not is_there(manifest):
        if other is not None:
            raise ValueError(
                f"{out} must be a new or empty folder, or one that this command has written. "
                f"Received: a folder with {printable(other)!r} and without {MANIFEST_FILE}"
            )
        write_new_json(manifest, facts, place)
    differing = differences(facts, read_json(manifest, {}))
    if differing:
        raise ValueError(
            f"{out} holds parts of other photos or with other options ({differing}). Repeat the "
            "command with the same photos and options to go on, or choose another folder"
        )
