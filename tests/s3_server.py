"""S3 on loopback: moto's server in a process of its own, and before it a proxy that fails.

moto keeps objects in memory, answers byte ranges and `If-Match`, and takes multipart uploads. The
proxy can cut a connection in the middle of an answer or of a request, and answer in the server's
stead. s3fs finds it by the environment, as it finds a real store.
"""

from __future__ import annotations

import http.client
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BUCKET = "texts"
START_SECONDS = 60.0

MOTO = """
import sys
from moto.server import main
main(["-H", "127.0.0.1", "-p", sys.argv[1]])
"""


@dataclass
class S3Fault:
    """What becomes of the next requests of a kind.

    Attributes:
        request: a pattern of "METHOD /path".
        status: to answer; 0 cuts the connection instead.
        after: bytes of the answer, or of a request that writes, before the cut.
        times: how often.
    """

    request: str
    status: int = 0
    after: int = 0
    times: int = 1


class S3Proxy(ThreadingHTTPServer):
    """Passes requests on, but for the faults.

    Attributes:
        port: of the server behind.
        faults: to come.
        requests: "METHOD /path Range" of all that was asked.
        is_down: close every connection at once.
    """

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port = port
        self.faults: list[S3Fault] = []
        self.requests: list[str] = []
        self.is_down = False

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        return environment_of(self.address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is no error of a test."""


def environment_of(address: str) -> dict[str, str]:
    """What s3fs must find in the environment."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


@contextmanager
def serve_s3() -> Iterator[S3Proxy]:
    """A server with an empty bucket, until the end of the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    moto = subprocess.Popen(
        [sys.executable, "-c", MOTO, str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, moto)
        with S3Proxy(port) as proxy:
            thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            try:
                make_bucket(port, BUCKET)
                yield proxy
            finally:
                proxy.shutdown()
                thread.join()
    finally:
        moto.kill()
        moto.wait()


def make_bucket(port: int, name: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    signed = {
        "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request"
    }
    connection.request("PUT", f"/{name}", headers=signed)
    assert connection.getresponse().status == 200
    connection.close()


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, "moto has ended"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError("moto does not listen")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: S3Proxy

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        asked = f"{self.command} {self.path} {self.headers.get('Range', '')}".rstrip()
        self.server.requests.append(asked)
        if self.server.is_down:
            self._cut()
            return
        fault = next(
            (f for f in self.server.faults if f.times and re.search(f.request, asked)), None
        )
        if fault is not None:
            fault.times -= 1
        length = int(self.headers.get("Content-Length") or 0)
        if fault is not None and fault.status == 0 and self.command in ("PUT", "POST"):
            self.rfile.read(min(length, fault.after))
            self._cut()
            return
        body = self.rfile.read(length)
        if fault is not None and fault.status:
            code = {503: "SlowDown", 429: "TooManyRequests"}.get(fault.status, "InternalError")
            self._send(fault.status, {}, f"<Error><Code>{code}</Code></Error>".encode())
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            data, headers = answer.read(), dict(answer.getheaders())
        finally:
            connection.close()
        self._send(answer.status, headers, data, None if fault is None else fault.after)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

    def _send(
        self, status: int, headers: Mapping[str, str], data: bytes, limit: int | None = None
    ) -> None:
        left_out = ("transfer-encoding", "connection", "date", "server")
        self.send_response(status)
        length = str(len(data))
        for name, value in headers.items():
            if name.lower() == "content-length":
                length = value  # of a HEAD it is that of the file
            elif name.lower() not in left_out:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(data[:limit])
        if limit is not None:
            self._cut()

    def _cut(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
