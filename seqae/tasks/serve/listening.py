"""The port that the server listens at, and how it ends: at once."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from typing_extensions import override

from seqae.component import check_range
from seqae.extras import extra
from seqae.tasks.serve.model_answers import ModelAnswers
from seqae.tasks.serve.model_queue import ModelQueue

MAX_HEAD = 16 * 1024  # bytes of a request's line and headers
MAX_CONNECTIONS = 256
IDLE_SECONDS = 30  # of a connection that is kept
END_SECONDS = 1  # for answers that are being sent


def check_port(port: int) -> None:
    """Refuse what is no port.

    Raises:
        ValueError: if it is not from 0 to 65,535.
    """
    check_range("port", port, 0, 65_535)


@contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """Take a port.

    Args:
        host: a name or an address of this machine.
        port: 0 for a free one.

    Yields:
        The socket, which is closed in the end.

    Raises:
        ValueError: if it cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise ValueError(
            f"`host` must be an address of this machine, but it is {host} instead. Write "
            f"`--host 127.0.0.1`."
        ) from error
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(128)
        except OSError as error:
            raise _not_had(host, port, error) from error
        yield listener


def url_of(host: str, listener: socket.socket) -> str:
    """Return the URL of a server, without a slash at the end.

    Args:
        host: that the user named.
        listener: of `listen`.
    """
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{listener.getsockname()[1]}"


def run_until_interrupted(
    models: Sequence[ModelAnswers],
    page: tuple[str, str],
    token: str,
    hosts: frozenset[str],
    rate: float,
    listener: socket.socket,
) -> None:
    """Serve until Ctrl-C, and then end at once, whatever is computed.

    Args:
        models: as `make_app`.
        page: as `make_app`.
        token: as `make_app`.
        hosts: as `make_app`.
        rate: as `make_app`.
        listener: where to listen.
    """
    from seqae.tasks.serve.web_app import make_app

    with extra("web"):
        import uvicorn

    class Server(uvicorn.Server):
        """Ends at the first signal, not at the second."""

        @override
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            super().handle_exit(sig, frame)
            self.force_exit = True

    queue = ModelQueue(models)
    config = uvicorn.Config(
        make_app(models, page, token, hosts, rate, queue),
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=END_SECONDS,
        h11_max_incomplete_event_size=MAX_HEAD,
    )
    try:
        Server(config).run(sockets=[listener])
    except KeyboardInterrupt:  # which uvicorn passes on: how a server ends
        pass
    finally:
        queue.close()


def _not_had(host: str, port: int, error: OSError) -> ValueError:
    if error.errno == errno.EADDRINUSE:
        return ValueError(
            f"`port` must be free, but {port} is in use instead. Choose another one, or "
            f"`--port 0` for any that is free."
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return ValueError(
            f"`port` must be one that you may use, but it is {port} instead. Choose one from 1024 "
            f"on."
        )
    return ValueError(
        f"`host` must be an address of this machine, but it is {host} instead. Write "
        f"`--host 127.0.0.1`."
    )
