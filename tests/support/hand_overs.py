"""Which calls from one module to another only pass something on, found while a program runs."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FrameType

import pytest


@cache
def _calls(file: str) -> dict[tuple[int, int | None], ast.Call]:
    """Where a call starts and ends (lines), with the call; inner ones replace outer ones."""
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    return {
        (node.lineno, node.end_lineno): node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    }


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _only_passes_on(call: ast.Call, caller: FrameType) -> bool:
    """Whether each argument is a parameter of the caller or a field of one, or written out."""
    code = caller.f_code
    parameters = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    names = set()
    for argument in [*call.args, *(keyword.value for keyword in call.keywords)]:
        while isinstance(argument, ast.Attribute):
            argument = argument.value
        if not isinstance(argument, ast.Constant):
            names.add(argument.id if isinstance(argument, ast.Name) else "")
    return bool(names) and names <= {*parameters}


class _ReachedError(Exception):
    """The traced program is where the trace ends."""


class Trace:
    """`calls` and, among them, `hand_overs`: each a line "caller -> callee".

    Args:
        package: The folder of the modules.
        without: What the paths of modules that do not count start with.
        until: The qualified name of the function at whose call the program ends.
    """

    def __init__(self, package: Path, without: tuple[str, ...], until: str):
        self.package, self.without = package, without
        self.calls: dict[str, None] = {}
        self.hand_overs: dict[str, None] = {}
        self.until = until
        self.modules: dict[str, str | None] = {}

    def _module(self, file: str) -> str | None:
        if file not in self.modules:  # a program makes millions of calls
            path = Path(file)
            module = ""
            if path.is_relative_to(self.package):
                module = path.relative_to(self.package).with_suffix("").as_posix()
            self.modules[file] = None if module.startswith(self.without) else module or None
        return self.modules[file]

    def _see(self, frame: FrameType, event: str, _: object) -> None:
        if event != "call" or not (here := self._module(frame.f_code.co_filename)):
            return
        if frame.f_code.co_qualname == self.until:
            raise _ReachedError
        caller = frame.f_back
        there = self._module(caller.f_code.co_filename) if caller else None
        if caller is None or there is None or here == there or frame.f_code.co_name[0] == "<":
            return
        line = f"{there}.{caller.f_code.co_name} -> {here}.{frame.f_code.co_qualname}"
        self.calls[line] = None
        wanted = frame.f_code.co_qualname.removesuffix(".__init__").rpartition(".")[2]
        for (start, end), call in _calls(caller.f_code.co_filename).items():
            if start <= caller.f_lineno <= (end or start) and _name(call) == wanted:
                if _only_passes_on(call, caller):
                    self.hand_overs[line] = None
                return

    def run(self, function: Callable[[], object]) -> None:
        before = sys.getprofile()
        sys.setprofile(self._see)
        try:
            with pytest.raises(_ReachedError):
                function()
        finally:
            sys.setprofile(before)
