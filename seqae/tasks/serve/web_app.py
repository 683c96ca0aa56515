"""The application: a page at `/`, and the calls of `openapi.py` below `/api/`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from seqae.extras import extra
from seqae.tasks.serve.guard import App, Guard, RefusedError, error_body
from seqae.tasks.serve.model_answers import ModelAnswers
from seqae.tasks.serve.model_queue import ModelQueue, QueueFullError
from seqae.tasks.serve.openapi import CALLS, JSON_TYPE, PREFIX, Call, openapi_document
from seqae.tasks.serve.request_check import read_request
from seqae.terminal import visible

with extra("web"):
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import Response
    from starlette.routing import Route

MAX_BODY = 64 * 1024  # bytes
BODY_SECONDS = 10.0  # in which a body must have come
ANSWER_SECONDS = 30.0

Endpoint = Callable[[Request], Awaitable[Response]]


def make_app(
    models: Sequence[ModelAnswers],
    page: tuple[str, str],
    token: str,
    hosts: frozenset[str] = frozenset({"localhost"}),
    rate: float = 200.0,
    queue: ModelQueue | None = None,
    answer_seconds: float = ANSWER_SECONDS,
) -> App:
    """Make the application.

    Args:
        models: that answer.
        page: what stands at `/`, and its Content-Security-Policy.
        token: that each request must bring.
        hosts: names that the server may be called by; addresses are always.
        rate: requests a second of one client.
        queue: of the models; by default one of its own.
        answer_seconds: in which an answer must be there.
    """
    jobs = queue or ModelQueue(models)
    document, policy = page

    async def show_page(_: Request) -> Response:
        headers = {"Content-Security-Policy": f"{policy}; frame-ancestors 'none'"}
        return Response(document, media_type="text/html", headers=headers)

    async def show_models(_: Request) -> Response:
        return _json([model.described(index) for index, model in enumerate(models)])

    async def show_openapi(_: Request) -> Response:
        return _json(openapi_document())

    def answer(call: Call) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            arguments = read_request(await _body(request), call.request)
            return _json(await _answer(request, jobs, call.name, arguments, answer_seconds))

        return _in_one_line(endpoint)

    routes = [Route("/", show_page), Route(f"{PREFIX}openapi.json", show_openapi)]
    routes += [
        Route(f"{PREFIX}{call.name}", show_models)
        if call.request is None
        else Route(f"{PREFIX}{call.name}", answer(call), methods=["POST"])
        for call in CALLS
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _not_found})
    app.router.redirect_slashes = False
    return Guard(app, token, hosts, rate)


async def _body(request: Request) -> bytes:
    """Read a body of JSON, of limited size, in limited time."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON_TYPE:
        raise RefusedError(
            415,
            f"`Content-Type` must be {JSON_TYPE}, but it is another instead. Send the header "
            f"`Content-Type: {JSON_TYPE}`.",
        )
    declared = request.headers.get("content-length", "0")
    if not (declared.isascii() and declared.isdigit()) or int(declared[:12]) > MAX_BODY:
        raise _too_large()
    body = bytearray()

    async def read() -> None:
        async for chunk in request.stream():
            body.extend(chunk)
            if len(body) > MAX_BODY:
                raise _too_large()

    try:
        await asyncio.wait_for(read(), BODY_SECONDS)
    except asyncio.TimeoutError:
        message = "`body` must come at once, but it did not. Send it again."
        raise RefusedError(408, message) from None
    return bytes(body)


async def _answer(
    request: Request, jobs: ModelQueue, call: str, arguments: dict[str, Any], seconds: float
) -> Any:
    """Wait for an answer, unless the client leaves or it takes too long."""
    future = jobs.submit(call, arguments)
    left = asyncio.ensure_future(_leaves(request))
    try:
        await asyncio.wait({future, left}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if future.done():
            return future.result()
        if left.done():
            raise ClientDisconnect
        raise RefusedError(504, f"`{call}` took more than {seconds:g} s. Ask for less.", 5)
    finally:
        left.cancel()
        future.cancel()


async def _leaves(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _json(content: Any) -> Response:
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(f"{text}\n".encode(), media_type=JSON_TYPE)


def _error(status: int, message: str, seconds: int | None = None) -> Response:
    headers = {} if seconds is None else {"Retry-After": str(seconds)}
    if status >= 400:
        headers["Connection"] = "close" if status in (408, 413, 415) else "keep-alive"
    return Response(error_body(message), status, headers, JSON_TYPE)


def _in_one_line(endpoint: Endpoint) -> Endpoint:
    """Turn what an endpoint raises into an answer of one line."""

    async def answered(request: Request) -> Response:
        try:
            return await endpoint(request)
        except RefusedError as error:
            return _error(error.status, error.message, error.seconds)
        except QueueFullError as error:
            message = "`queue` must have room, but too many requests wait instead. Ask again later."
            return _error(503, message, error.seconds)
        except ClientDisconnect:
            return Response(status_code=400)  # which nobody reads
        except (ValueError, ImportError) as error:
            return _error(400, str(error))
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the server
            said = visible(f"{type(error).__name__}: {error}", 300)
            print(f"seqae: {request.url.path} failed: {said}", file=sys.stderr)
            return _error(500, "The server failed. Its terminal says why.")

    return answered


async def _not_found(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 405:
        return _error(405, "`method` must be the call's own, but it is not. See /api/openapi.json.")
    if status == 404:
        return _error(404, "`path` must be that of a call, but it is not. See /api/openapi.json.")
    return _error(status, "The server failed.")


def _too_large() -> RefusedError:
    return RefusedError(413, "`body` must be at most 64 kB, but it is larger instead. Send less.")
