"""What our own commands do before TensorFlow is imported: they keep its start-up lines away.

TensorFlow tells the terminal that it found no CUDA, which oneDNN operations it uses, and more, and
`TF_CPP_MIN_LOG_LEVEL` comes too late for most of it. A command therefore lets another process read
what compiled code writes to the error stream. That process drops the lines of `NO_WARNINGS` and
hands all others on, also if the command crashes. One line comes from Python and is dropped there.
Programs of other people are left alone.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

LEVEL = "TF_CPP_MIN_LOG_LEVEL"
ROOT = Path(__file__).parents[2]
NO_WARNINGS = re.compile(
    b"|".join(
        (
            # Information, as Abseil and the older TensorFlow write it.
            rb"I\d{4} \d\d:\d\d:|\d{4}-\d\d-\d\d [\d:.]+: I ",
            rb"WARNING: All log messages before absl::InitializeLog\(\) is called",
            # There is no GPU (303: no driver either), or two libraries register the same function.
            rb"E\d{4} .*failed call to cuInit: .*(\(303\)|NO_DEVICE)",
            rb"[EW]\d{4} .*(Unable to register cu\w+ factory|computation placer already regist)",
            # A damaged image, or the end of the data: TensorFlow also raises it as an error.
            rb"W\d{4} .*Local rendezvous is aborting with status",
            rb"Improper call to JPEG library",
            # Of each conversion to TFLite: what it does anyway, and a delegate that there is.
            rb"W\d{4} .*Ignored (output_format|drop_control_dependency)",
            rb"E\d{4} .*NodeDef mentions attribute \w+ which is not in the op definition",
            rb"INFO: ",
            # Neither oneDNN nor the optimiser of graphs helps here; results are the same.
            rb"E\d{4} .*oneDNN supports DT_\w+ only on platforms with",
            rb"[EW]\d{4} .*meta_optimizer\.cc:\d+\] remapper failed: ",
        )
    )
)
# Of each export, through Abseil's logger in Python: exported files hold no gradients.
NO_GRADIENTS = "ops with unsaved custom gradients"


def quiet_commands() -> None:
    """Keeps TensorFlow's start-up lines away from the terminal, if this process is a command.

    Warnings and errors still arrive. A user who sets `TF_CPP_MIN_LOG_LEVEL` decides: 0 shows all.
    """
    if not is_command(*sys.argv[:1], command_line=sys.orig_argv):
        return
    if os.environ.setdefault(LEVEL, "1") == "0":
        return
    from absl.logging import get_absl_logger  # which Keras imports too

    get_absl_logger().addFilter(_is_a_warning)
    if hasattr(os, "fork"):
        _filter_errors()


def _is_a_warning(record: logging.LogRecord) -> bool:
    return NO_GRADIENTS not in str(record.msg)


def is_command(program: str = "", command_line: Sequence[str] = ()) -> bool:
    """Whether a process is `keras-vit`, `python -m keras_vit` or one of the scripts of ours.

    Args:
        program: `sys.argv[0]` while the package is imported.
        command_line: `sys.orig_argv`.
    """
    if program == "-m":
        return ("-m", "keras_vit") in itertools.pairwise(command_line)
    path = Path(program)
    if path.stem == "keras-vit":
        return True
    return path.suffix == ".py" and (
        path.resolve().parent == ROOT / "tools" or path.resolve() == ROOT / "examples" / "serve.py"
    )


def _filter_errors() -> None:
    """Puts a process between the file descriptor 2 and the terminal."""
    terminal = os.dup(2)
    read, write = os.pipe()
    if os.fork() == 0:
        # Ctrl-C goes to all processes of a terminal: this one has to hand on the last words.
        for asked in (signal.SIGINT, signal.SIGTERM):
            signal.signal(asked, signal.SIG_IGN)
        for inherited in (0, 1, 2, write):
            os.close(inherited)
        _hand_on(read, terminal)
        os._exit(0)
    os.dup2(write, 2)
    for done in (read, write):
        os.close(done)
    # Python's own errors take the direct way: they stay in order, and a terminal stays one.
    sys.stderr = os.fdopen(terminal, "w", 1, sys.stderr.encoding, "backslashreplace")


def _hand_on(source: int, target: int) -> None:
    """Writes the lines of one file descriptor to another, but for those of `NO_WARNINGS`."""
    rest = b""
    while block := os.read(source, 65536):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if not NO_WARNINGS.match(line):
                os.write(target, line + b"\n")
    if rest and not NO_WARNINGS.match(rest):
        os.write(target, rest)
