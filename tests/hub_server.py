"""A stand-in of the Hugging Face hub on loopback: data sets as commits of files, to be read only.

It speaks what `huggingface_hub` and `datasets` ask for when they read a data set. They take the
address from HF_ENDPOINT when they are imported; `environment` has that and the rest they need.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Files = Mapping[str, bytes]

API = re.compile(r"/api/datasets/(?P<id>[\w.-]+(?:/(?!revision|tree|paths)[\w.-]+)?)(?P<rest>/.*)?")
FILE = re.compile(r"/datasets/(?P<id>[\w.-]+/[\w.-]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")


@dataclass
class Repository:
    """Commits in their order, and what branches and tags stand for."""

    commits: dict[str, Files] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def sha(self, revision: str) -> str | None:
        sha = self.refs.get(revision, revision)
        return sha if sha in self.commits else None


class HubServer(ThreadingHTTPServer):
    """Attributes: `repositories` by name, `renamed` from an old name, `broken` to answer 503."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.renamed: dict[str, str] = {}
        self.private: set[str] = set()
        self.broken = False
        self.requests: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def commit(self, name: str, files: Files, tag: str | None = None) -> str:
        """Move the main branch to a new commit of these files; give its sha."""
        repository = self.repositories.setdefault(name, Repository())
        told = repr((name, len(repository.commits), sorted(files.items())))
        sha = hashlib.sha1(told.encode()).hexdigest()
        repository.commits[sha] = dict(files)
        repository.refs["main"] = sha
        if tag:
            repository.refs[tag] = sha
        return sha

    def environment(self, home: Path) -> dict[str, str]:
        """What the libraries must find in the environment when they are imported."""
        return {
            "HF_ENDPOINT": self.address,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # datasets would tell a server of its own
            "HF_TOKEN": "hf_of_a_test",
        }


@contextmanager
def serve() -> Iterator[HubServer]:
    """A server with nothing in it, until the end of the block."""
    with HubServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, format: str, *args: Any) -> None:
        self.server.requests.append(f"{self.command} {self.path}")

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        path = unquote(address.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.broken:
            self._refuse(503, "Unavailable")
        elif found := FILE.fullmatch(path):
            self._file(found["id"], found["revision"], found["path"])
        elif found := API.fullmatch(path):
            self._api(found["id"], found["rest"] or "/revision/main", address.query, body)
        else:
            self._refuse(404, "NotFound")

    do_HEAD = do_POST = do_GET

    def _api(self, name: str, rest: str, query: str, body: bytes) -> None:
        name = self.server.renamed.get(name, name)
        _, verb, revision, *below = rest.split("/", 3)
        if (found := self._find(name, revision)) is None:
            return
        sha, files = found
        if verb == "revision":
            siblings = [{"rfilename": path} for path in sorted(files)]
            told = {"id": name, "sha": sha, "private": False, "tags": [], "siblings": siblings}
            self._tell({**told, "downloads": 0, "likes": 0})
            return
        entries = _entries(files)
        if verb == "paths-info":
            asked = json.loads(body)["paths"] if body[:1] == b"{" else parse_qs(body.decode())
            paths = asked["paths"] if isinstance(asked, dict) else asked
            self._tell([entries[path] for path in paths if path in entries])
            return
        folder = "".join(f"{part.strip('/')}/" for part in below if part.strip("/"))
        is_deep = parse_qs(query).get("recursive", ["false"])[0].lower() == "true"
        listed = [
            entry
            for path, entry in sorted(entries.items())
            if path.startswith(folder) and (is_deep or "/" not in path[len(folder) :])
        ]
        if folder and not listed:
            self._refuse(404, "EntryNotFound")
        else:
            self._tell(listed)

    def _file(self, name: str, revision: str, path: str) -> None:
        if (found := self._find(name, revision)) is None:
            return
        sha, files = found
        if path not in files:
            self._refuse(404, "EntryNotFound", {"X-Repo-Commit": sha})
            return
        data = files[path]
        headers = {"X-Repo-Commit": sha, "ETag": f'"{_git_id(data)}"', "Accept-Ranges": "bytes"}
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            self._send(206, data[first : last + 1], headers)
        else:
            self._send(200, data, headers)

    def _find(self, name: str, revision: str) -> tuple[str, Files] | None:
        """The commit, unless there is none; then that was answered."""
        repository = self.server.repositories.get(name)
        if name in self.server.private:
            self._refuse(403, "GatedRepo")
        elif repository is None:
            self._refuse(401, "RepoNotFound")  # the real one does not tell strangers what exists
        elif (sha := repository.sha(revision)) is None:
            self._refuse(404, "RevisionNotFound")
        else:
            return sha, repository.commits[sha]
        return None

    def _tell(self, told: Any) -> None:
        self._send(200, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str, headers: Mapping[str, str] | None = None) -> None:
        named = {"X-Error-Code": code, "X-Error-Message": code}
        self._send(status, json.dumps({"error": code}).encode(), {**named, **(headers or {})})

    def _send(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _entries(files: Files) -> dict[str, dict[str, Any]]:
    """Files and folders as the tree of a commit lists them."""
    parents = {str(parent) for path in files for parent in Path(path).parents} - {"."}
    folders = {
        path: {"type": "directory", "path": path, "size": 0, "oid": _git_id(path.encode())}
        for path in parents
    }
    return folders | {
        path: {"type": "file", "path": path, "size": len(data), "oid": _git_id(data)}
        for path, data in files.items()
    }


def _git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
