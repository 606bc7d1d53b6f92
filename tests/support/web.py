"""A web server on this machine that serves files, in ranges too, can break off, and can speak as the Hub does."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "c" * 40


@dataclass
class Web:
    """What is served: path to contents. `cut` breaks the next answer for a path off after so many bytes, `hidden` paths
    answer 403, `moved` ones send elsewhere. `asked` are method, path and range of every request."""

    files: dict[str, bytes] = field(default_factory=dict)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    moved: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    address: str = ""

    def put_on_hub(self, repo: str, files: dict[str, bytes], *, small: int = 100) -> None:
        """Serve files as the repository's at the revision COMMIT, which is also `main`; git knows small ones."""
        for revision in (COMMIT, "main"):
            listing = {"id": repo, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
            self.files[f"/api/models/{repo}/revision/{revision}"] = json.dumps(listing).encode()
            for name, contents in files.items():
                path = f"/{repo}/resolve/{revision}/{name}"
                self.files[path] = contents
                tagged = {"X-Repo-Commit": COMMIT, "ETag": f'"{git_hash(contents)}"'}
                if len(contents) >= small:
                    tagged["X-Linked-Etag"] = f'"{hashlib.sha256(contents).hexdigest()}"'
                    tagged["X-Linked-Size"] = str(len(contents))
                self.headers[path] = tagged

    def gets(self, name: str) -> list[str | None]:
        """The ranges of the requests for the contents of a file."""
        return [ranged for method, path, ranged in self.asked if method == "GET" and path.endswith(name)]


def git_hash(contents: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(contents) + contents).hexdigest()


@contextmanager
def serving() -> Iterator[Web]:
    """A server until the block ends."""
    web = Web()
    handler = type("Handler", (_Handler,), {"web": web})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    web.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    web: Web

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path, ranged = self.path.partition("?")[0], self.headers.get("Range")
        self.web.asked.append((self.command, path, ranged))
        if path in self.web.moved:
            self.send_response(302)
            self.send_header("Location", self.web.address + self.web.moved[path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        contents = self.web.files.get(path)
        if contents is None or path in self.web.hidden:
            self.send_response(404 if contents is None else 403)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", ranged)[1]) if ranged else 0  # type: ignore[index]
        if start >= len(contents):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(contents) - 1}/{len(contents)}")
        self.send_header("Content-Length", str(len(contents) - start))
        for name, value in self.web.headers.get(path, {}).items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            sent = contents[start:]
            self.wfile.write(sent[: self.web.cut.pop(path, len(sent))])
            self.wfile.flush()
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: tests look at `asked`."""
