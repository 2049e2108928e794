"""What the command-line tools have in common: errors and warnings as one line, exit codes."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

from keras_vit.training.run_checkpoints import EXIT_PREEMPTED, PreemptedError
from keras_vit.utils.text import say


def run_command(main: Callable[[], int]) -> int:
    """Runs the body of a tool.

    Args:
        main: The body; returns the exit code.

    Returns:
        The exit code: 2 after an error of the user's, which is printed as `error: ...` with no
        traceback; 130 after Ctrl-C; 75 after a SIGTERM during a training, whose state is saved:
        the same command goes on. What is nobody's mistake but the program's passes through.
    """
    with warnings.catch_warnings():
        warnings.showwarning = _print_warning
        try:
            return main()
        except (ValueError, ImportError, OSError) as error:
            say(f"error: {error}", file=sys.stderr)
            return 2
        except PreemptedError as error:
            say(error, file=sys.stderr)
            return EXIT_PREEMPTED
        except KeyboardInterrupt:
            say("interrupted", file=sys.stderr)
            return 130


def _print_warning(message: Any, category: Any, *_: Any, **__: Any) -> None:
    say(f"warning: {message}", file=sys.stderr)
