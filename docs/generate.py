"""Writes what the pages repeat of the code: `make docs-tables` runs it.

In a page it replaces the lines between `<!-- name -->` and `<!-- end of name -->`. The pages of the
reference in `api/` and the picture of the packages are written whole.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import inspect
import io
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import architecture  # noqa: E402  (it finds tests/)
from support.families_of_the_field import PEERS  # noqa: E402

import keras_vit  # noqa: E402
from keras_vit import exports, planner, recipes  # noqa: E402
from keras_vit.applications.released_files import RELEASED  # noqa: E402
from keras_vit.checkpoints.names.formats import FORMATS  # noqa: E402
from keras_vit.cli.main import COMMANDS, main  # noqa: E402
from keras_vit.recipes import paper_tables  # noqa: E402


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    cells = (["-" if cell is None else str(cell) for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def variants(family: type, head: str) -> str:
    """The rows of a family: the constructor, the title, its fields, the parameters."""
    rows = []
    for name, config in keras_vit.VARIANTS.items():
        if isinstance(config, family):
            fields = dataclasses.asdict(config)
            facts = [fields[key] for key in fields if key not in ("title", "stem", "swiglu")]
            if isinstance(config, keras_vit.BiTConfig):
                facts = [", ".join(map(str, config.block_sizes)), config.width_factor, config.width]
            count = f"{planner.parameters(config):,}"
            rows.append([f"`{name}`", config.title, *facts, count])
    columns = ["constructor", "paper", *head.split("|"), "parameters (1,000 classes)"]
    return table(columns, rows)


def weights() -> str:
    return table(
        ["constructor", "`weights=`", "classes", "pixels", "source", "top-1, %", "MiB", "file"],
        (
            [f"`{file.variant}`", f"`{file.name}`", file.classes, file.image_size, file.source,
             file.top1, f"{file.payload_bytes / 2**20:.0f}", f"`{file.path}`"]
            for file in RELEASED
        ),
    )  # fmt: skip


# What to choose among, and images/s on 2 cores of an AMD EPYC, 30 November 2026. docs/models.md has
# the commands.
RECOMMENDED = {
    ("ViT_Ti16", "augreg-imagenet-224"): ("least time and memory", 54),
    ("ViT_S16", "augreg-imagenet-224"): ("a good start on a CPU", 19),
    ("ViT_B32", "augreg-imagenet-384"): ("accurate and still fast", 7.0),
    ("ViT_B16", "augreg-imagenet-384"): ("a good start on a GPU", 1.5),
    ("ViT_L16", "augreg-imagenet-384"): ("the highest accuracy of these", 0.47),
}


def recommended() -> str:
    rows = []
    for (variant, name), (why, speed) in RECOMMENDED.items():
        file = next(file for file in RELEASED if (file.variant, file.name) == (variant, name))
        millions = planner.parameters(keras_vit.VARIANTS[variant]) / 1e6
        rows.append(
            [f"`{variant}`", why, f"`{name}`", file.image_size, file.top1, f"{millions:.1f}",
             f"{file.payload_bytes / 2**20:.0f}", speed]
        )  # fmt: skip
    return table(
        ["model", "take it for", "`weights=`", "pixels", "top-1, %", "million parameters",
         "file, MiB", "images/s"],
        rows,
    )  # fmt: skip


def papers() -> str:
    """All rows of the papers' tables, as the recipes that `recipes.get` makes of them."""
    asked = {
        "vit-pretrain": [
            *([name] for name in paper_tables.PRETRAIN if name != "jft"),
            *(["jft", model] for model in paper_tables.JFT_MODELS),
        ],
        "vit-finetune": [
            *([name] for name in paper_tables.FINETUNE),
            *(["imagenet", model] for model in paper_tables.FINETUNE_LARGE),
        ],
        "augreg": [[name] for name in paper_tables.AUGREG],
        "bit-hyperrule": [[name] for name in paper_tables.HYPERRULE_DATASETS],
    }
    rows = []
    for name in recipes.names():
        for arguments in asked[name]:
            made = recipes.get(name, *arguments)
            length = f"{made.steps:,} steps" if made.steps else f"{made.epochs:g} epochs"
            rows.append(
                [f"`{name}`", ", ".join(arguments), made.optimizer, f"{made.learning_rate:g}",
                 made.schedule, f"{made.warmup_steps:,}", length, f"{made.batch_size:,}",
                 made.image_size, f"{made.weight_decay:g}", made.loss]
            )  # fmt: skip
    return table(
        ["recipe", "data set, model", "optimizer", "learning rate", "schedule", "warm-up steps",
         "length", "images a step", "pixels", "weight decay", "loss"],
        rows,
    )  # fmt: skip


def augmentations() -> str:
    return table(
        ["name", "RandAugment operations", "magnitude (0 to 30)", "MixUp alpha"],
        (
            [f"`{row.name}`", row.layers, f"{row.magnitude:g}", f"{row.mixup:g}"]
            for row in recipes.AUGMENTATIONS.values()
        ),
    )


def checkpoint_formats() -> str:
    return table(
        ["`format=`", "what the file holds", "usual file", "GELU", "epsilon of the norms",
         "resampling of positions", "mean and deviation of pixels"],
        (
            [f"`{row.name}`", row.title, f"`{row.container}`", row.gelu, f"{row.norm_epsilon:g}",
             "rotary" if row.position_embedding == "rotary" else row.interpolation,
             row.normalisation]
            for row in FORMATS
        ),
    )  # fmt: skip


def families() -> str:
    return table(
        ["family", "library: its models", "`format=`", "opens here", "ours opens there",
         "left out, and said", "`-k` of the test"],
        (peer.row for peer in PEERS),
    )  # fmt: skip


def export_formats() -> str:
    return table(
        ["`format=`", "path ends with", "`quantize=`", "needs `calibration=`"],
        (
            [f"`{name}`", f"`{row.suffix}`" if row.suffix else "any name: a folder",
             ", ".join(f"`{q}`" for q in row.quantizations) or None,
             ", ".join(f"`{q}`" for q in row.need_photos) or None]
            for name, row in exports.FORMATS.items()
        ),
    )  # fmt: skip


def commands() -> str:
    return "\n\n".join(
        f"## {name}\n\n{what}\n\n```text\n{help_of(name)}```" for name, what in COMMANDS.items()
    )


def help_of(command: str) -> str:
    """What `--help` prints in a terminal of 100 columns."""
    printed = io.StringIO()
    with (
        mock.patch.dict(os.environ, {"COLUMNS": "100", "NO_COLOR": "1"}),
        mock.patch.object(sys, "argv", ["keras-vit"]),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        main([command, "--help"])
    return "\n".join(line.rstrip() for line in printed.getvalue().splitlines()) + "\n"


PARTS = {
    "../README.md": {"recommended": recommended},
    "models.md": {
        "recommended": recommended,
        "vit": lambda: variants(keras_vit.ViTConfig, "patch|width|depth|heads|MLP"),
        "bit": lambda: variants(keras_vit.BiTConfig, "units per block|width x|features"),
        "mixer": lambda: variants(
            keras_vit.MixerConfig, "patch|width|depth|MLP over tokens|MLP over channels"
        ),
        "weights": weights,
    },
    "train.md": {"recipes": papers, "augmentations": augmentations},
    "convert.md": {"families": families, "formats": checkpoint_formats},
    "deploy.md": {"formats": export_formats},
    "commands.md": {"commands": commands},
    "architecture.md": {"tree": architecture.tree_text, "table": architecture.table_text},
}


def with_parts(page: str, parts: dict[str, Any]) -> str:
    """The page with new text between `<!-- name -->` and `<!-- end of name -->`."""
    for name, make in parts.items():
        between = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end of {name} -->)", re.DOTALL)
        text = make()
        page, count = between.subn(lambda _, text=text: f"{text}\n", page)
        if count != 1:
            raise ValueError(f"A page needs one <!-- {name} --> and <!-- end of {name} -->.")
    return page


# Public modules that no `__all__` names, as they are loaded when they are used.
MORE_MODULES = tuple(
    f"keras_vit.exports.{name}.export" for name in ("saved_model", "tflite", "onnx")
)


def public_modules() -> Iterator[str]:
    """`keras_vit`, what its `__all__` names, and what their `__all__` name."""
    waiting, seen = ["keras_vit"], set()
    while waiting:
        name = waiting.pop(0)
        if name not in seen:
            seen.add(name)
            module = importlib.import_module(name)
            if name not in ("keras_vit.exports.saved_model", "keras_vit.exports.tflite",
                            "keras_vit.exports.onnx"):  # fmt: skip
                yield name
            parts = (getattr(module, part) for part in getattr(module, "__all__", ()))
            waiting += sorted(part.__name__ for part in parts if inspect.ismodule(part))
    yield from MORE_MODULES


def reference() -> dict[Path, str]:
    """The pages of the reference. What `keras_vit` itself shows is on its page alone."""
    names = sorted(public_modules())
    top = {
        name: value
        for name in keras_vit.__all__
        if not inspect.ismodule(value := getattr(keras_vit, name))
    }
    pages = {}
    for name in names:
        shown = {part: getattr(importlib.import_module(name), part) for part in _all(name)}
        there = sorted(part for part, value in shown.items() if top.get(part, top) is value)
        text = f"# {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n"
        if name != "keras_vit" and there:
            links = ", ".join(f"{{py:obj}}`~keras_vit.{part}`" for part in there)
            text += f"   :exclude-members: {', '.join(there)}\n```\n\n"
            text += f"On the page of [keras_vit](keras_vit.md): {links}.\n"
        else:
            text += "```\n"
        pages[DOCS / "api" / f"{name}.md"] = text
    pages[DOCS / "api" / "index.md"] = (
        "# Reference\n\nEvery public name, with its arguments, shapes and errors. "
        "What you need most is in [keras_vit](keras_vit.md) itself.\n\n"
        "```{toctree}\n:maxdepth: 1\n\n" + "\n".join(names) + "\n```\n"
    )
    return pages


def _all(name: str) -> list[str]:
    return list(getattr(importlib.import_module(name), "__all__", ()))


def stale(write: bool = False) -> list[Path]:
    """The files that are not what the code says; with `write` they are written."""
    pages = {
        DOCS / name: with_parts((DOCS / name).read_text("utf-8"), parts)
        for name, parts in PARTS.items()
    }
    pages |= reference()
    found = [p for p, text in pages.items() if not p.exists() or p.read_text("utf-8") != text]
    gone = set((DOCS / "api").glob("*.md")) - set(pages)
    if write:
        for path in found:
            path.parent.mkdir(exist_ok=True)
            path.write_text(pages[path], "utf-8")
        for path in gone:
            path.unlink()
    if architecture.picture_is_stale():
        found.append(architecture.PICTURE)
        if write:
            architecture.draw()
    return sorted([*found, *gone])


if __name__ == "__main__":
    for path in stale(write=True):
        print(f"wrote {path.resolve().relative_to(DOCS.parent)}")
