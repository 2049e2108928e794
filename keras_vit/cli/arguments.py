"""The arguments of the commands: an option that several have is written once, here."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from keras_vit.distribution import STRATEGIES
from keras_vit.distribution.hardware import XLA
from keras_vit.utils.checks import did_you_mean

# In the order of `--help`.
GROUPS = ("model", "data", "training", "hardware", "output", "limits")


def device_names(text: str) -> int | tuple[str, ...]:
    """`2` -> 2; `GPU:0,GPU:1` -> `("GPU:0", "GPU:1")`."""
    return int(text) if text.isdecimal() else tuple(text.split(","))


def or_none(text: str) -> str | None:
    return None if text == "none" else text


@dataclasses.dataclass(frozen=True)
class Option:
    """An option of several commands.

    Attributes:
        group: One of `GROUPS`.
        help: Its text in the help.
        metavar: The word for its value in the help; empty for an option without a value.
        type: Converts the text to the value.
        dest: The library's name of the option. Default: its own.
        const: Its value if it is given without one; `None` if it needs one.
    """

    group: str
    help: str
    metavar: str = ""
    type: Callable[[str], Any] = str
    dest: str | None = None
    const: str | None = None


# Of `--model` where a new model is built: no run folder and no file.
BY_NAME = "a model's name: ViT_B16, ..., or small"
OPTIONS = {
    "--model": Option("model", "a model's name, a run folder, a .keras or a checkpoint", "MODEL"),
    "--weights": Option(
        "model", "of a named model: imagenet, imagenet21k, a file, hf://OWNER/NAME", "WEIGHTS"
    ),
    "--image-size": Option("data", "pixels", "N", int),
    "--resize": Option("data", "how an image gets its size: squash or crop", "HOW"),
    "--interpolation": Option("data", "how it is resampled: bilinear, or bicubic as timm's", "HOW"),
    "--on-error": Option("data", "what to do with images that cannot be read: raise or skip", "DO"),
    "--data-dir": Option("data", "where TFDS keeps its files", "FOLDER"),
    "--batch-size": Option("training", "images of a step, on all devices together", "N", int),
    "--accumulate": Option("training", "batches to split a step into, to save memory", "N", int),
    "--steps": Option("training", "training steps", "N", int),
    "--lr": Option("training", "the highest learning rate", "RATE", float, "learning_rate"),
    "--save-every": Option("training", "batches between checkpoints", "N", int),
    "--seed": Option("training", "seed of all random numbers", "N", int),
    "--strategy": Option("hardware", f"what to run on: {', '.join(STRATEGIES)}", "NAME"),
    "--devices": Option(
        "hardware", "how many, or their names: GPU:0,GPU:1", "DEVICES", device_names
    ),
    "--precision": Option("hardware", "float32, mixed_bfloat16 or auto", "DTYPE", dest="dtype"),
    "--xla": Option("hardware", f"compile with XLA: {', '.join(XLA)}", "WHEN", const="on"),
    "--out": Option("output", "the folder to write", "FOLDER"),
    "--overwrite": Option("output", "write it again; a folder is kept as FOLDER.old"),
}
# For the help of commands that train.
RESUMING = """
To resume a run that was interrupted, repeat the command. Exit codes: 0 done,
2 an error that is printed, 75 asked to end (SIGTERM) and saved, 130 Ctrl-C.
"""
# The defaults of these options, for the help of commands that take a model.
AS_THE_RUN = {
    "resize": "(squash; of a run folder what it was evaluated with)",
    "interpolation": "(bilinear; of a run folder its own)",
}


class Parser:
    """Reads the arguments of a command.

    Args:
        called: How users call the command.
        description: What the command does, for `--help`.
    """

    def __init__(self, called: str, description: str):
        # Options that are not given stay out of the result, so the library's defaults hold.
        self._parser = _ArgumentParser(
            prog=called,
            description=description.strip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            argument_default=argparse.SUPPRESS,
        )
        self._groups = {name: self._parser.add_argument_group(name) for name in GROUPS}
        self._options = ["--help"]

    def describe(self, more: str) -> None:
        """Adds a paragraph to the description."""
        self._parser.description = f"{self._parser.description}\n\n{more.strip()}"

    def positional(self, name: str, help: str, **keywords: Any) -> None:
        """Adds a positional argument. `nargs` and `type` are those of argparse."""
        self._parser.add_argument(name.lower(), metavar=name, help=help, **keywords)

    def shared(self, *flags: str, **changes: Any) -> None:
        """Adds options of `OPTIONS`.

        Args:
            *flags: Names of the options.
            **changes: Name of an option, for example `batch_size`, -> its default (see `add`). Or
                name of an argument of `add` -> its value for this command.
        """
        others = {name: changes[name] for name in changes if f"--{_dashed(name)}" not in OPTIONS}
        for flag in flags:
            row = vars(OPTIONS[flag]) | others
            self.add(flag, **row, default=changes.get(flag[2:].replace("-", "_")))

    def add(
        self,
        flag: str,
        group: str,
        help: str,
        metavar: str = "",
        type: Callable[[str], Any] = str,
        dest: str | None = None,
        const: str | None = None,
        default: Any = None,
        **keywords: Any,
    ) -> None:
        """Adds an option that this command alone has; the arguments are those of `Option`.

        Args:
            default: Its value if it is not given. The help shows it. A text in parentheses is only
                shown; the library has the default.
            **keywords: `nargs` and `required` are those of argparse.
        """
        if metavar:
            keywords |= {"metavar": metavar, "type": type}
        else:
            keywords |= {"action": "store_true"}
        if dest is not None:
            keywords |= {"dest": dest}
        if const is not None:
            keywords |= {"nargs": "?", "const": const}
        if default is not None:
            said = str(default).removeprefix("(").removesuffix(")")
            help = f"{help} (default: {said})"
            if said == str(default):
                keywords["default"] = default
        self._options.append(flag)
        self._groups[group].add_argument(flag, help=help.replace("%", "%%"), **keywords)

    def parse(self, arguments: Sequence[str]) -> dict[str, Any]:
        """The given values and the defaults of the command, by the names that the library uses.

        Raises:
            ValueError: If an option is unknown or missing, or a value cannot be read.
        """
        for text in arguments:
            name = text.partition("=")[0]
            if name.startswith("--") and not any(o.startswith(name) for o in self._options):
                raise ValueError(
                    f"There is no option {name}.{did_you_mean(name, self._options)} "
                    f"{self._parser.prog} --help shows all."
                )
        return vars(self._parser.parse_args(arguments))


class _ArgumentParser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise ValueError(f"{message}. {self.prog} --help shows what is expected.")


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def called_as(command: str) -> str:
    """How to call a command in the same way as this process was called."""
    program = Path(sys.argv[0])
    if program.parts[-2:] == ("keras_vit", "__main__.py"):
        return f"python -m keras_vit {command}"
    if program.suffix == ".py" and program.parent.name == "tools":
        return f"python {program.with_name(command.replace('-', '_'))}.py"
    return f"keras-vit {command}"
