"""The part of the hub's stand-in that writes: repositories, branches, large files, commits.

A commit is lines of JSON: small files in base64, large ones by their hash, after they were sent to
an address of their own. One that names a parent is refused if somebody else was faster.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any

BY_LFS = (".safetensors", ".bin", ".pt", ".pkl", ".npy", ".parquet")
SMALL = 10_000_000  # bytes; larger files are sent by LFS, too

WRITERS = {"hf_of_a_test": ("tester", "lab")}


class Uploads(BaseHTTPRequestHandler):
    """Answers requests that write, and has what all answers share."""

    server: Any

    @property
    def token(self) -> str | None:
        return self.headers.get("Authorization", "").removeprefix("Bearer ") or None

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline().strip() or b"0", 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def whoami(self) -> None:
        if self.token not in WRITERS:
            self.refuse(401, "", {"X-Error-Message": "Invalid credentials in Authorization header"})
            return
        access = {"type": "access_token", "accessToken": {"role": "write", "displayName": "test"}}
        self.tell({"name": "tester", "type": "user", "orgs": [], "auth": access})

    def may_write(self, name: str) -> bool:
        return name.partition("/")[0] in WRITERS.get(self.token or "", ())

    def create(self, asked: Mapping[str, Any]) -> None:
        name = f"{asked.get('organization') or 'tester'}/{asked['name']}"
        of_kind = self.of_kind(f"{asked.get('type', 'model')}s")
        address = {"url": f"{self.server.address}/{name}", "id": name, "name": name}
        if self.token is None:
            self.refuse(401, "", {"X-Error-Message": "Invalid username or password."})
        elif not self.may_write(name):
            message = "You don't have the rights to create a model under this namespace"
            self.refuse(403, "", {"X-Error-Message": message})
        elif name in of_kind:
            self.send(409, json.dumps({"error": "exists", **address}).encode(), {})
        else:
            from hub_server import Repository

            is_private = asked.get("visibility") == "private" or asked.get("private") is True
            of_kind[name] = Repository(is_private=is_private)
            of_kind[name].add({".gitattributes": b"*.safetensors filter=lfs\n"})
            self.tell(address)

    def of_kind(self, kind: str) -> dict[str, Any]:
        found: dict[str, Any] = (
            self.server.repositories if kind == "datasets" else self.server.models
        )
        return found

    def lfs(self, segments: list[str], body: bytes) -> None:
        """Take a large file, or give it."""
        if segments[0] == "_verify":
            self.tell({}) if json.loads(body)["oid"] in self.server.large else self.refuse(404, "")
        elif segments[0] == "_lfs" and self.command == "PUT":
            is_right = hashlib.sha256(body).hexdigest() == segments[1]
            if is_right:
                self.server.large[segments[1]] = body
            self.tell({}) if is_right else self.refuse(400, "BadDigest")
        elif segments[0] == "_lfs":
            assert self.token is None, "a token was sent to another host"
            self.send_part(self.server.large[segments[1]], segments[2], {"Accept-Ranges": "bytes"})
        else:
            objects = [
                {**asked, "actions": self._actions(asked["oid"])}
                if asked["oid"] not in self.server.large
                else asked
                for asked in json.loads(body)["objects"]
            ]
            self.tell({"transfer": "basic", "objects": objects})

    def _actions(self, digest: str) -> dict[str, Any]:
        place = self.server.address
        return {
            "upload": {"href": f"{place}/_lfs/{digest}/upload"},
            "verify": {"href": f"{place}/_verify/{digest}"},
        }

    def send_part(self, data: bytes, path: str, headers: Mapping[str, str]) -> None:
        raise NotImplementedError

    def write(
        self, kind: str, name: str, verb: str, revision: str, query: Mapping[str, Any], body: bytes
    ) -> None:
        is_request = query.get("create_pr") == ["1"]
        repository = self.of_kind(kind).get(name)
        if repository is None or (repository.is_private and self.token is None):
            self.refuse(401, "RepoNotFound")
        elif self.token is None or not (self.may_write(name) or is_request):
            message = "Authorization error: you have no write access to this repository."
            self.refuse(403, "", {"X-Error-Message": message})
        elif verb == "branch":
            if revision in repository.refs:
                self.refuse(409, "")
                return
            repository.refs[revision] = repository.refs["main"]
            self.tell({})
        elif verb == "tag":
            repository.refs[json.loads(body)["tag"]] = repository.sha(revision)
            self.tell({})
        elif (sha := repository.sha(revision)) is None:
            self.refuse(404, "RevisionNotFound")
        elif verb == "preupload":
            known = repository.commits[sha]
            files = json.loads(body)["files"]
            self.tell({"files": [_upload_mode(file, known) for file in files]})
        else:
            self._commit(repository, name, sha, revision, is_request, body)

    def _commit(
        self, repository: Any, name: str, sha: str, revision: str, is_request: bool, body: bytes
    ) -> None:
        files, summary = dict(repository.commits[sha]), ""
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                summary = value["summary"]
                if value.get("parentCommit", sha) != sha:
                    message = "A commit has happened since. Please refresh and try again."
                    self.refuse(412, "", {"X-Error-Message": message})
                    return
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.server.large[value["oid"]]
            elif entry["key"] == "deletedFile":
                del files[value["path"]]
        told: dict[str, Any] = {"success": True, "hookOutput": ""}
        if is_request:
            number = 1 + sum(ref.startswith("refs/pr/") for ref in repository.refs)
            revision = f"refs/pr/{number}"
            told["pullRequestUrl"] = f"{self.server.address}/{name}/discussions/{number}"
        new = repository.add(files, revision, summary)
        place = f"{self.server.address}/{name}/commit/{new}"
        self.tell({**told, "commitOid": new, "commitUrl": place})

    def tell(self, told: Any) -> None:
        self.send(200, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def refuse(self, status: int, code: str, headers: Mapping[str, str] | None = None) -> None:
        named = {"X-Error-Code": code, "X-Error-Message": code} if code else {}
        self.send(status, json.dumps({"error": code}).encode(), {**named, **(headers or {})})

    def send(
        self, status: int, data: bytes, headers: Mapping[str, str], limit: int | None = None
    ) -> None:
        """Answer; a `limit` cuts the connection after so many bytes."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[:limit])
        if limit is not None:
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(2)


def _upload_mode(file: Mapping[str, Any], known: Mapping[str, bytes]) -> dict[str, Any]:
    """Say how a file is sent, and which one is there: what is equal need not be sent."""
    is_large = file["size"] > SMALL or file["path"].endswith(BY_LFS)
    mode = {"path": file["path"], "shouldIgnore": False, "uploadMode": "regular"}
    if is_large:
        mode["uploadMode"] = "lfs"
    if (data := known.get(file["path"])) is not None:
        sha1 = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        mode["oid"] = hashlib.sha256(data).hexdigest() if is_large else sha1
    return mode
