"""A client of pyright's language server: what an editor shows for a place in a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def ask(file: Path, environment: dict[str, str], *requests: tuple[str, int, int]) -> list[Any]:
    """Opens a file in a new language server and asks about places in it.

    Args:
        file: A Python file.
        environment: Added to the server's own.
        *requests: (kind, line, character), such as `("hover", 0, 4)`; both count from 0.

    Returns:
        The server's answers.
    """
    server = subprocess.Popen(
        [sys.executable, "-c", "from pyright.langserver import run; run('--stdio')"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=file.parent,
        env=os.environ | environment,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    stdin, stdout = server.stdin, server.stdout

    def send(**message: Any) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        stdin.flush()

    def receive() -> dict[str, Any]:
        length = 0
        while line := stdout.readline().strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        assert length, "the language server has ended"
        return json.loads(stdout.read(length))

    def call(method: str, params: dict[str, Any]) -> Any:
        send(id=method, method=method, params=params)
        while (message := receive()).get("id") != method:
            if message.get("method") == "workspace/configuration":
                items = message["params"]["items"]
                send(id=message["id"], result=[{"pythonPath": sys.executable} for _ in items])
            elif "id" in message:
                send(id=message["id"], result=None)
        return message["result"]

    try:
        folder = {"uri": file.parent.as_uri(), "name": file.parent.name}
        call(
            "initialize",
            {
                "processId": os.getpid(),
                "rootUri": folder["uri"],
                "workspaceFolders": [folder],
                "capabilities": {"workspace": {"configuration": True, "workspaceFolders": True}},
            },
        )
        send(method="initialized", params={})
        document = {"uri": file.as_uri(), "languageId": "python", "version": 1}
        text = file.read_text()
        send(method="textDocument/didOpen", params={"textDocument": {**document, "text": text}})
        answers = [
            call(
                f"textDocument/{kind}",
                {
                    "textDocument": {"uri": document["uri"]},
                    "position": {"line": line, "character": character},
                },
            )
            for kind, line, character in requests
        ]
        call("shutdown", {})
        send(method="exit")
        server.wait(60)
        return answers
    finally:
        server.kill()  # only what has not ended yet
        server.communicate()
