"""What the command-line tools have in common: errors and warnings as one line, exit codes."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

from keras_vit.utils.preemption import EXIT_PREEMPTED, PreemptedError
from keras_vit.utils.text import say


def run_command(main: Callable[[], int]) -> int:
    """Runs the body of a tool.

    Args:
        main: The body; returns the exit code.

    Returns:
        The exit code of `main`; 2 after an error of the user, which is printed as `error: ...`
        without a traceback; 130 after Ctrl-C; 75 after a SIGTERM or the loss of
        another worker, where the same command goes on. Errors of the program itself pass through.
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
