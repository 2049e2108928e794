"""A small Hub of Hugging Face on this machine: what `huggingface_hub` asks of one."""

from __future__ import annotations

import hashlib
import json
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote, urlsplit

from support.local_server import Loopback


class HubServer(Loopback):
    """One repository, `timm/tiny`, with one commit that `main` and the tag `v1` mean.

    Attributes:
        files: What the commit has, path -> bytes.
        refuse: A status and an error code of the Hub for every answer; `None` for none.
        fetched: The files whose bytes were asked for.
    """

    REPO = "timm/tiny"
    COMMIT = "0123456789" * 4

    def __init__(self, files: dict[str, bytes]):
        self.files = files
        self.refuse: tuple[int, str] | None = None
        self.fetched: list[str] = []
        super().__init__()

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a path."""
        if self.refuse is not None:
            return self.refuse[0], {"X-Error-Code": self.refuse[1]}, b""
        parts = unquote(path).strip("/").split("/")
        api = parts[0] == "api"
        repo, rest = ("/".join(parts[2:4]), parts[4:]) if api else ("/".join(parts[:2]), parts[2:])
        if repo != self.REPO:  # as the Hub answers those who have not logged in
            return 401, {"X-Error-Message": "Invalid username or password."}, b""
        verb, revision = [*rest, "revision", "main"][:2]
        if revision not in ("main", "v1", self.COMMIT):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        headers = {"X-Repo-Commit": self.COMMIT}
        if verb == "resolve":
            body = self.files["/".join(rest[2:])]
            return 200, headers | {"ETag": f'"{hashlib.sha1(body).hexdigest()}"'}, body
        names = sorted(self.files)
        if verb == "tree":
            found = [
                {"type": "file", "path": name, "size": len(body), "oid": "0" * 40}
                for name, body in self.files.items()
            ]
            return 200, headers, json.dumps(found).encode()
        siblings = [{"rfilename": name} for name in names]
        found = {"id": repo, "sha": self.COMMIT, "siblings": siblings}
        return 200, headers, json.dumps(found).encode()

    def _handler(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                path = urlsplit(self.path).path
                status, headers, body = server.answer(path)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    if "/resolve/" in path:
                        server.fetched.append(path.rpartition("/")[2])
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
