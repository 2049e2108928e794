"""Shows what a model has learned: filters, positions, attention.

keras-vit visualize ViT_Ti16 --photos photos/ --out inside
keras-vit visualize runs/photos --photos photos/test --out inside

The figures are those of the papers. index.html shows all of them.
"""

from __future__ import annotations

from typing import Any

from keras_vit.analysis.page import write_report
from keras_vit.cli.arguments import Parser
from keras_vit.utils.text import say


def add_arguments(parser: Parser) -> None:
    parser.positional("MODEL", "a model's name, a run folder, a .keras or a checkpoint")
    parser.shared("--weights", weights="(imagenet)")
    parser.add("--photos", "data", "photos, or folders of them", "FOLDER", required=True)
    parser.shared("--out", "--overwrite", out="inside")


def run(given: dict[str, Any]) -> int:
    page = write_report(
        given["model"],
        given["photos"],
        given["out"],
        given.get("weights"),
        given.get("overwrite", False),
    )
    say(f"wrote {page} and the pictures beside it")
    return 0
