"""The messages in docs/troubleshooting.md are still those of the code."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator

from support.paths import ROOT

TABLE = re.compile(r"<!-- messages -->\n(.*?)<!-- end of messages -->", re.S)


def said(node: ast.AST) -> str:
    """The text of a string, with `...` for what is filled in."""
    if isinstance(node, ast.JoinedStr):
        return "".join(said(value) for value in node.values)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return "..."


@functools.cache
def texts() -> list[str]:
    """All strings of the package, those of f-strings with `...`."""
    return [
        said(node)
        for path in sorted((ROOT / "keras_vit").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, (ast.JoinedStr, ast.Constant))
    ]


def missing(messages: list[str]) -> Iterator[str]:
    for message in messages:
        parts = [re.escape(part.strip()) for part in message.split("...")]
        pattern = re.compile(".*".join(parts), re.S)
        if not any(pattern.search(text) for text in texts()):
            yield message


def test_the_messages_of_the_page_stand_in_the_code():
    (table,) = TABLE.findall((ROOT / "docs/troubleshooting.md").read_text("utf-8"))
    messages = re.findall(r"^\| `([^`]+)` \|", table, re.M)
    assert len(messages) == len(table.splitlines()) - 2 > 40
    assert list(missing(messages)) == []


def test_a_message_that_the_code_no_longer_has_is_found():
    gone = ["The model is not in the mood"]
    assert list(missing([*gone, "The model has no scaling for pixels"])) == gone
