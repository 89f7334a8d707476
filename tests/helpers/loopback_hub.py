"""A server on loopback that speaks the protocol of the Hugging Face Hub, as far as huggingface_hub uses it.

The Hub itself sends small files. Weights are large files: it redirects to another host with a signed address.
"""

import contextlib
import hashlib
import http.server
import json
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

LARGE = ".safetensors"
SIGNATURE = "signed-and-secret"


class Request(NamedTuple):
    method: str
    path: str
    range: str | None
    token: str | None


class Hub(http.server.ThreadingHTTPServer):
    """Models by name; each has its commits, newest last, with the content of the files.

    Attributes:
        models: name -> commit -> path of a file -> content.
        requests: what was asked.
        fault: what goes wrong: "" or a key of the tests.
        token: token that every request of the Hub needs; "" if none does.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models: dict[str, dict[str, dict[str, bytes]]] = {}
        self.requests: list[Request] = []
        self.fault = ""
        self.token = ""
        self.gate = threading.Event()
        self.gate.set()

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that do not wait for the response."""

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def add(self, name: str, files: dict[str, bytes]) -> str:
        """Add a commit with these files; return its hash."""
        commits = self.models.setdefault(name, {})
        content = repr((name, len(commits), sorted(files.items())))
        commit = hashlib.sha1(content.encode(), usedforsecurity=False).hexdigest()
        commits[commit] = files
        return commit

    def add_folder(self, name: str, folder: Path) -> str:
        """Add a commit with the files of a folder; return its hash."""
        return self.add(name, {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()})

    def count(self, method: str = "", path: str = "") -> int:
        """The number of requests with a method, and with a text in their path."""
        return sum(method in one.method and path in one.path for one in self.requests)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._respond()

    def do_GET(self) -> None:
        self._respond()

    def log_message(self, *_: object) -> None:
        pass

    def _respond(self) -> None:
        hub = self.server
        token = (self.headers["Authorization"] or "").removeprefix("Bearer ") or None
        path = urllib.parse.unquote(self.path.partition("?")[0])
        hub.requests.append(Request(self.command, path, self.headers["Range"], token))
        hub.gate.wait(30)
        if path.startswith("/cdn/"):
            self._large(path.removeprefix("/cdn/"))
        elif hub.fault == "html":
            self._send(200, b"<html>log in to the network</html>", {})
        elif hub.fault.isdigit():
            self._send(int(hub.fault), b"", {})
        elif hub.fault == "gated":
            self._send(403, b"", {"X-Error-Code": "GatedRepo"})
        elif hub.token and token != hub.token:
            message = {"X-Error-Message": "Invalid credentials in Authorization header"} if token else {}
            self._send(401, b"", {} if token else {"X-Error-Code": "RepoNotFound"} | message)
        elif path.startswith("/api/models/"):
            name, _, revision = path.removeprefix("/api/models/").partition("/revision/")
            self._listing(name, revision)
        else:
            name, _, rest = path[1:].partition("/resolve/")
            self._file(name, *rest.partition("/")[::2])

    def _commit(self, name: str, revision: str) -> str | None:
        """The commit of a revision; a response is sent if there is none."""
        if name not in self.server.models:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
            return None
        commits = list(self.server.models[name])
        if revision == "main":
            return commits[-1]
        if revision not in commits:
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
            return None
        return revision

    def _listing(self, name: str, revision: str) -> None:
        if (commit := self._commit(name, revision)) is None:
            return
        siblings = []
        for path, content in self.server.models[name][commit].items():
            sibling = {"rfilename": path, "size": len(content), "blobId": _git_hash(content)}
            if path.endswith(LARGE):
                sibling["lfs"] = {"sha256": _sha256(content), "size": len(content), "pointerSize": 135}
            siblings.append(sibling)
        body = {"_id": "1", "id": name, "modelId": name, "sha": commit, "siblings": siblings, "tags": []}
        self._send(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _file(self, name: str, revision: str, path: str) -> None:
        if (commit := self._commit(name, revision)) is None:
            return
        content = self.server.models[name][commit].get(path)
        if content is None or (self.server.fault == "lost" and path.endswith(LARGE)):
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        if path.endswith(LARGE):
            etag = _sha256(content)
            place = f"http://localhost:{self.server.server_address[1]}/cdn/{etag}?Signature={SIGNATURE}"
            headers = {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{etag}"', "Location": place}
            self._send(302, b"", {"X-Repo-Commit": commit, **headers})
            return
        if self.server.fault == "changed":
            content = content[:-1] + b"?"
        self._send(200, content, {"X-Repo-Commit": commit, "ETag": f'"{_git_hash(content)}"'})

    def _large(self, sha256: str) -> None:
        files = [
            file for commits in self.server.models.values() for files in commits.values() for file in files.values()
        ]
        content = next(file for file in files if _sha256(file) == sha256)
        if self.server.fault == "broken":
            content = content[:-1] + bytes([content[-1] ^ 1])
        if self.server.fault == "short":
            content = content[:-100]
        start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-")) if self.headers["Range"] else 0
        headers = {"ETag": f'"{sha256}"'}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        # The connection breaks in the first response, not in that with the rest.
        cut = len(content) // 2 if self.server.fault == "cut" and not start else None
        self._send(206 if start else 200, content[start:], headers, cut)

    def _send(self, status: int, body: bytes, headers: dict[str, str], cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if cut is None else body[:cut])
        self.close_connection = self.close_connection or cut is not None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _git_hash(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()


@contextlib.contextmanager
def running_hub() -> Iterator[Hub]:
    """Run the server until the end of the block."""
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield hub
        finally:
            hub.gate.set()
            hub.shutdown()
            thread.join()
