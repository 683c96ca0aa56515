"""A stand-in of the Hugging Face hub on loopback: models and data sets as commits of files.

It speaks what `huggingface_hub`, `datasets` and the command `hf` ask for: to read (here) and to
write (hub_uploads.py). They take the address from HF_ENDPOINT when they are imported; `environment`
has that and the rest they need.

As the real one it hides what a stranger may not see behind the same answer as what does not exist,
sends large files through an address of their own, and tells errors by `X-Error-Code`. It can also
be told to fail: see `Fault`, `cut` and `broken`.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from hub_uploads import BY_LFS, Uploads

Files = Mapping[str, bytes]

TOKEN = "hf_of_a_test"  # of the user `tester`, who may write to tester/ and lab/
READ_ONLY_TOKEN = "hf_that_reads"  # of `reader`, who may read what is private, too
VERBS = ("revision", "tree", "paths-info", "refs", "preupload", "commit", "branch", "tag")


@dataclass
class Repository:
    """Commits in their order, and what branches, tags and pull requests stand for."""

    commits: dict[str, Files] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    is_private: bool = False

    def sha(self, revision: str) -> str | None:
        sha = self.refs.get(revision, revision)
        return sha if sha in self.commits else None

    def add(self, files: Files, revision: str = "main", message: str = "") -> str:
        """Move a revision to a new commit of these files; give its sha."""
        told = repr((id(self), len(self.commits), sorted(files.items())))
        sha = hashlib.sha1(told.encode()).hexdigest()
        self.commits[sha], self.refs[revision], self.messages[sha] = dict(files), sha, message
        return sha


@dataclass
class Fault:
    """An answer instead of the right one, to the next requests of this kind.

    Attributes:
        request: a pattern of "METHOD /path".
        status: to answer.
        headers: to send with it.
        times: how often.
    """

    request: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    times: int = 1


class HubServer(ThreadingHTTPServer):
    """What it has, and how it fails.

    Attributes:
        repositories, models: data sets and models by name.
        renamed: the new names of old ones.
        private: names that are gated.
        broken: answer 503 to everything.
        faults: to answer next.
        cut: after so many bytes of a file the connection ends, once, by the name of the file.
        requests: "METHOD /path" of all that was asked.
        ranges: the parts of files that were asked for.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.models: dict[str, Repository] = {}
        self.renamed: dict[str, str] = {}
        self.private: set[str] = set()
        self.broken = False
        self.faults: list[Fault] = []
        self.cut: dict[str, int] = {}
        self.large: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.ranges: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def commit(self, name: str, files: Files, tag: str | None = None, kind: str = "dataset") -> str:
        """Move the main branch to a new commit of these files; give its sha."""
        repositories = self.repositories if kind == "dataset" else self.models
        repository = repositories.setdefault(name, Repository())
        sha = repository.add(files)
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
            "HF_TOKEN": TOKEN,
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


class _Handler(Uploads):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, format: str, *args: Any) -> None:
        self.server.requests.append(f"{self.command} {self.path}")

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        segments = [unquote(segment) for segment in address.path.split("/")[1:]]
        body = self.body()
        if self.server.broken:
            self.refuse(503, "Unavailable")
        elif (fault := self._fault()) is not None:
            self.refuse(fault.status, "Fault", fault.headers)
        elif segments[0] == "api":
            self._api(segments[1], segments[2:], address.query, body)
        elif segments[0] in ("_lfs", "_verify") or ".git" in segments[1]:
            self.lfs(segments, body)
        elif "resolve" in segments:
            kind = segments.pop(0) if segments[0] == "datasets" else "models"
            at = segments.index("resolve")
            path = "/".join(segments[at + 2 :])
            self._file(kind, "/".join(segments[:at]), segments[at + 1], path)
        else:
            self.refuse(404, "NotFound")

    do_HEAD = do_POST = do_PUT = do_GET

    def _fault(self) -> Fault | None:
        for fault in self.server.faults:
            if fault.times and re.search(fault.request, f"{self.command} {self.path}"):
                fault.times -= 1
                return fault
        return None

    def _api(self, kind: str, segments: list[str], query: str, body: bytes) -> None:
        if kind == "whoami-v2":
            self.whoami()
            return
        if kind == "validate-yaml":
            self.tell({"errors": [], "warnings": []})
            return
        if kind == "repos":
            self.create(json.loads(body))
            return
        at = next((i for i, part in enumerate(segments) if i and part in VERBS), len(segments))
        name = "/".join(segments[:at])
        name = self.server.renamed.get(name, name)
        verb, revision, *below = [*segments[at:], *("revision", "main")[len(segments[at:]) :]]
        if verb in ("preupload", "commit", "branch", "tag"):
            self.write(kind, name, verb, revision, parse_qs(query), body)
            return
        if (found := self._find(kind, name, revision)) is None:
            return
        sha, files, repository = found
        if verb == "revision":
            siblings = [{"rfilename": path} for path in sorted(files)]
            told = {"id": name, "sha": sha, "private": repository.is_private, "tags": []}
            self.tell({**told, "siblings": siblings, "downloads": 0, "likes": 0})
        elif verb == "refs":
            refs = [(ref, sha) for ref, sha in repository.refs.items()]
            branches = [{"name": n, "ref": f"refs/heads/{n}", "targetCommit": s} for n, s in refs]
            self.tell({"branches": branches, "tags": [], "converts": []})
        elif verb == "paths-info":
            asked = json.loads(body)["paths"] if body[:1] == b"{" else parse_qs(body.decode())
            paths = asked["paths"] if isinstance(asked, dict) else asked
            entries = _entries(files)
            self.tell([entries[path] for path in paths if path in entries])
        else:
            self._tree(files, "/".join(below), query)

    def _tree(self, files: Files, below: str, query: str) -> None:
        folder = f"{below.strip('/')}/" if below.strip("/") else ""
        is_deep = parse_qs(query).get("recursive", ["false"])[0].lower() == "true"
        listed = [
            entry
            for path, entry in sorted(_entries(files).items())
            if path.startswith(folder) and (is_deep or "/" not in path[len(folder) :])
        ]
        if folder and not listed:
            self.refuse(404, "EntryNotFound")
        else:
            self.tell(listed)

    def _file(self, kind: str, name: str, revision: str, path: str) -> None:
        if (found := self._find(kind, name, revision)) is None:
            return
        sha, files, _ = found
        if path not in files:
            self.refuse(404, "EntryNotFound", {"X-Repo-Commit": sha})
            return
        data, headers = files[path], {"X-Repo-Commit": sha, "Accept-Ranges": "bytes"}
        if kind == "models" and path.endswith(BY_LFS):
            digest = hashlib.sha256(data).hexdigest()
            self.server.large[digest] = data
            linked = {"X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(len(data))}
            # The real hub's large files are on another host.
            place = {"Location": f"http://localhost:{self.server.server_port}/_lfs/{digest}/{path}"}
            self.send(302, b"", {**headers, **linked, **place})
            return
        self.send_part(data, path, {**headers, "ETag": f'"{git_id(data)}"'})

    def send_part(self, data: bytes, path: str, headers: Mapping[str, str]) -> None:
        """Send a file, or the part that is asked for; or cut the connection in the middle of it."""
        status, first, last = 200, 0, len(data) - 1
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            self.server.ranges.append(f"{path} {self.headers['Range']}")
            status, first, last = 206, int(wanted[1]), min(int(wanted[2] or len(data)), last)
            headers = {**headers, "Content-Range": f"bytes {first}-{last}/{len(data)}"}
        limit = self.server.cut.pop(path, None) if self.command == "GET" else None
        self.send(status, data[first : last + 1], headers, limit)

    def _find(self, kind: str, name: str, revision: str) -> tuple[str, Files, Repository] | None:
        """The commit, unless there is none; then that was answered."""
        of_kind = self.server.repositories if kind == "datasets" else self.server.models
        repository = of_kind.get(name)
        if name in self.server.private:
            self.refuse(403, "GatedRepo")
        elif self.token not in (None, TOKEN, READ_ONLY_TOKEN):
            message = {"X-Error-Message": "Invalid credentials in Authorization header"}
            self.refuse(401, "", message)
        elif repository is None or (repository.is_private and self.token is None):
            self.refuse(401, "RepoNotFound")  # the real one does not tell strangers what exists
        elif (sha := repository.sha(revision)) is None:
            self.refuse(404, "RevisionNotFound")
        else:
            return sha, repository.commits[sha], repository
        return None


def _entries(files: Files) -> dict[str, dict[str, Any]]:
    """Files and folders as the tree of a commit lists them."""
    parents = {str(parent) for path in files for parent in Path(path).parents} - {"."}
    folders = {
        path: {"type": "directory", "path": path, "size": 0, "oid": git_id(path.encode())}
        for path in parents
    }
    return folders | {
        path: {"type": "file", "path": path, "size": len(data), "oid": git_id(data)}
        for path, data in files.items()
    }


def git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
