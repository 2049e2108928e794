"""`keras-vit COMMAND ...`: finds the command, reads its arguments and runs it."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Sequence

import keras

from keras_vit.cli.arguments import Parser, called_as
from keras_vit.cli.run_command import run_command
from keras_vit.utils.checks import check_choice
from keras_vit.utils.text import say
from keras_vit.version import __version__

# Command -> what it does: the first line of its module in `commands`. A module has a docstring with
# examples, `add_arguments(parser)` and `run(given)`. It is only imported for its own command.
COMMANDS = {
    "predict": "Says what is on photos.",
    "finetune": "Fine-tunes a pretrained model on your images, or learns digits.",
    "train": "Trains a model from random weights, by the papers' recipes.",
    "evaluate": "Says how often a model is right: top-1, top-5, class by class.",
    "few-shot": "Says what features are worth: few-shot, linear probe, neighbours.",
    "vtab": "Fine-tunes a model on each of VTAB's 19 tasks, and tests it.",
    "convert": "Converts a checkpoint for another library, and checks it.",
    "export": "Writes a model as files to deploy, and measures each.",
    "serve": "Serves an exported model over REST and gRPC, for development.",
    "plan": "Says what a training needs: compute, memory, days.",
    "visualize": "Shows what a model has learned: filters, positions, attention.",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: The name of the command and its arguments. Default: those of the process.

    Returns:
        The exit code, as `run_command` says.
    """
    return run_command(lambda: _run(*(sys.argv[1:] if arguments is None else arguments)))


def _run(name: str = "--help", *arguments: str) -> int:
    if name in ("--help", "-h"):
        say(_help())
        return 0
    if name == "--version":
        say(_versions())
        return 0
    check_choice("command", name, (*COMMANDS, "--help", "--version"))
    command = importlib.import_module(f"keras_vit.cli.commands.{name.replace('-', '_')}")
    parser = Parser(called_as(name), command.__doc__ or "")
    command.add_arguments(parser)
    return command.run(parser.parse(arguments))


def _help() -> str:
    lines = [f"  {name:<10} {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            f"usage: {called_as('COMMAND')} ...",
            "",
            "The Vision Transformer for Keras 3. The commands:",
            "",
            *lines,
            "",
            f"{called_as('COMMAND')} --help shows the arguments of a command.",
            f"{called_as('--version')} shows the versions of keras_vit, Keras and TensorFlow.",
        ]
    )


def _versions() -> str:
    tensorflow = importlib.metadata.version("tensorflow")
    return (
        f"keras_vit {__version__}, Keras {keras.__version__}, TensorFlow {tensorflow}, "
        f"backend {keras.backend.backend()}"
    )
