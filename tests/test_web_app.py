"""The server's application: what it lets pass, refuses, queues and drops."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from seqae.tasks.serve.guard import Rates, host_name
from seqae.tasks.serve.model_queue import ModelQueue
from seqae.tasks.serve.openapi import CALLS
from seqae.tasks.serve.web_app import make_app

TOKEN = "a-token"
HERE = "http://localhost:8765"
OWN = {"X-Seqae-Token": TOKEN}


class Parrot:
    """Answers with what it is asked; `gate` holds it back."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.answers = {
            call.name: lambda _name=call.name, **given: self.answer(_name, given) for call in CALLS
        }

    def answer(self, name: str, given: dict[str, Any]) -> Any:
        self.calls.append((name, given))
        assert self.gate.wait(10)
        if "broken" in str(given):
            raise ValueError("`texts` must be whole,\nbut one is <script> instead. Mend it.")
        if "fault" in str(given):
            raise RuntimeError("secret")
        return [{"text": text} for text in given["texts"]] if "texts" in given else given

    def described(self, index: int) -> Any:
        return {"model": index}


@pytest.fixture
def parrot() -> Iterator[Parrot]:
    parrot = Parrot()
    yield parrot
    parrot.gate.set()


def client(parrot: Any, **options: Any) -> httpx.AsyncClient:
    app = make_app([parrot], ("<p>page</p>", "default-src 'none'"), TOKEN, **options)
    transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 1))  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url=HERE)


def post(call: str, content: bytes | str, parrot: Any = None, **headers: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with client(parrot or Parrot()) as server:
            sent = {"Content-Type": "application/json", **OWN, **headers}
            return await server.post(f"/api/{call}", content=content, headers=sent)

    return asyncio.run(ask())


def test_the_page_and_the_calls(parrot: Parrot) -> None:
    async def ask() -> None:
        async with client(parrot) as server:
            page = await server.get(f"/?token={TOKEN}")
            assert page.text == "<p>page</p>"
            assert page.headers["content-security-policy"].endswith("frame-ancestors 'none'")
            assert (await server.get("/api/models", headers=OWN)).json() == [{"model": 0}]
            openapi = (await server.get("/api/openapi.json", headers=OWN)).json()
            assert openapi["openapi"] == "3.1.0"
            for call in CALLS:
                if call.request is not None:
                    answer = await server.post(f"/api/{call.name}", json=call.example, headers=OWN)
                    assert answer.status_code == 200, answer.text
                    assert answer.headers["cache-control"] == "no-store"
                    assert answer.headers["x-content-type-options"] == "nosniff"

    asyncio.run(ask())
    assert [name for name, _ in parrot.calls] == [c.name for c in CALLS if c.request is not None]


def hostile() -> list[tuple[str, str, dict[str, str], bytes, set[int]]]:
    """300 requests: method, path, headers, body and the statuses that refuse them."""
    draw = random.Random(0)
    good = b'{"texts": ["a"]}'
    sent = {**OWN, "Content-Type": "application/json"}
    path = "/api/reconstruct"
    cases: list[tuple[str, str, dict[str, str], bytes, set[int]]] = []
    for host in (
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil",
        "a b",
        "",
        "[::1",
        "x:y",
    ):
        cases.append(("POST", path, {**sent, "Host": host}, good, {403}))
    for origin in (
        "http://evil.example",
        "null",
        "http://localhost:1",
        "https://localhost",
        "file://",
    ):
        cases.append(("POST", path, {**sent, "Origin": origin}, good, {403}))
        cases.append(("GET", f"/?token={TOKEN}", {"Origin": origin}, b"", {403}))
    for site in ("cross-site", "same-site", "odd"):
        cases.append(("POST", path, {**sent, "Sec-Fetch-Site": site}, good, {403}))
    for token in ("", "A-TOKEN", "a-token ", f"{TOKEN}{TOKEN}", "x" * 4000, "%00", "ü"):
        cases.append(("POST", path, {**sent, "X-Seqae-Token": token or "-"}, good, {401}))
        cases.append(("GET", f"/?token={token}", {}, b"", {401}))
    cases.append(("GET", f"/?token={TOKEN}&token={TOKEN}", {}, b"", {401}))
    climbs = ["/../../etc/passwd", "/api/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/.git"]
    climbs += ["/api/reconstruct/", "/api/", "/etc/passwd", "/api/reconstruct%00", "/api/..%5c.."]
    for climb in climbs:
        for method in ("GET", "POST"):
            cases.append((method, climb, sent, good, {404}))
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "GET"):
        cases.append((method, path, sent, b"", {405}))
    for kind in ("text/plain", "multipart/form-data", "application/x-www-form-urlencoded", ""):
        cases.append(("POST", path, {**sent, "Content-Type": kind or "-"}, good, {415}))
    for size in (65_537, 10**6):
        cases.append(("POST", path, sent, b'{"texts": ["' + b"a" * size + b'"]}', {413}))
    for length in ("99999999999999999999", "-1", "1e3"):
        cases.append(("POST", path, {**sent, "Content-Length": length}, good, {413}))
    bodies: list[bytes] = [
        *(b"", b"{", b"null", b"[]", b'"a"', b"\xff\xfe", b"[" * 60_000, b'{"a":' * 10_000),
        *(b'{"texts": ["\\ud800"]}', b'{"texts": NaN}', b'{"texts": [' + b"1" * 5000 + b"]}"),
        *(b'{"texts": []}', b'{"texts": ["a"], "model": 1}', b'{"texts": ["a"], "model": 1e999}'),
        *(b'{"texts": ["a"], "__class__": "x"}', b'{"texts": ["a"], "texts": ["b"]}'),
        b'{"texts": ["broken <script>alert(1)</script>"]}',
    ]
    values = ["NaN", "-Infinity", "1e400", "9" * 400, '"1"', "null", "[[]]", "{}", "true", "1e7"]
    cases += [("POST", path, sent, body, {400}) for body in bodies]
    for key in ("x", "y", "noise", "model"):
        for value in values:
            fields = {"x": "0", "y": "0", key: value}
            body = "{" + ", ".join(f'"{name}": {own}' for name, own in fields.items()) + "}"
            cases.append(("POST", "/api/decode_point", sent, body.encode(), {400}))
    while len(cases) < 300:  # noise, and pieces of requests
        size = draw.randrange(1, 200)
        body = draw.randbytes(size) if draw.random() < 0.5 else good[: draw.randrange(len(good))]
        call = draw.choice([call.name for call in CALLS if call.request is not None])
        cases.append(("POST", f"/api/{call}", sent, body, {400}))
    return cases


def test_300_hostile_requests_do_nothing_and_are_answered_in_a_line(parrot: Parrot) -> None:
    cases = hostile()
    assert len(cases) == 300

    async def ask() -> None:
        async with client(parrot, rate=1e6) as server:
            for method, path, headers, body, statuses in cases:
                sent = {name: value.encode() for name, value in headers.items()}
                answer = await server.request(method, path, headers=sent, content=body)
                said = method, path, headers, body[:80], answer.text
                assert answer.status_code in statuses, said
                assert answer.text.count("\n") == 1, said
                assert answer.text.endswith("\n"), said
                assert set(answer.json()) == {"error"}, said
                assert len(answer.content) < 600, said
                assert answer.headers["content-type"] == "application/json"
                assert answer.headers["content-security-policy"].startswith("default-src 'none'")
            good = await server.post("/api/reconstruct", json={"texts": ["a"]}, headers=OWN)
            assert good.json() == [{"text": "a"}]

    asyncio.run(ask())
    assert [given for _, given in parrot.calls if "broken" not in str(given)] == [{"texts": ["a"]}]


def test_a_fault_of_ours_is_told_to_the_terminal_alone(
    parrot: Parrot, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = post("reconstruct", b'{"texts": ["fault"]}', parrot)
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert capsys.readouterr().err == "seqae: /api/reconstruct failed: RuntimeError: secret\n"


def test_waiting_reconstructions_become_one_batch_and_each_hears_its_own_error(
    parrot: Parrot,
) -> None:
    async def ask() -> list[Any]:
        async with client(parrot) as server:

            async def one(text: str, call: str = "reconstruct") -> Any:
                body = {"texts": [text]} if call == "reconstruct" else {"count": 1}
                answer = await server.post(f"/api/{call}", json=body, headers=OWN)
                return answer.json()

            parrot.gate.clear()
            tasks = [asyncio.create_task(one("first"))]
            await asyncio.sleep(0.05)
            tasks += [asyncio.create_task(one(text)) for text in ("a", "b", "broken")]
            tasks.append(asyncio.create_task(one("", "sample")))
            await asyncio.sleep(0.05)
            parrot.gate.set()
            return await asyncio.gather(*tasks)

    first, a, b, broken, sample = asyncio.run(ask())
    assert [first, a, b, sample] == [
        [{"text": "first"}],
        [{"text": "a"}],
        [{"text": "b"}],
        {"count": 1},
    ]
    assert broken["error"].startswith("`texts` must be whole, but one")
    assert [given.get("texts") for _, given in parrot.calls[:2]] == [
        ["first"],
        ["a", "b", "broken"],
    ]


def test_a_full_queue_a_slow_answer_and_a_client_that_left(parrot: Parrot) -> None:
    async def ask() -> None:
        queue = ModelQueue([parrot], waiting=2)  # type: ignore[list-item]
        async with client(parrot, queue=queue, answer_seconds=0.5) as server:

            def send(text: str) -> asyncio.Task[httpx.Response]:
                sent = server.post("/api/reconstruct", json={"texts": [text]}, headers=OWN)
                return asyncio.create_task(sent)

            parrot.gate.clear()
            slow = send("slow")
            await asyncio.sleep(0.05)
            left, waits = send("left"), send("waits")
            await asyncio.sleep(0.05)
            full = await send("full")
            assert full.status_code == 503
            assert int(full.headers["retry-after"]) >= 1
            left.cancel()
            await asyncio.sleep(0.05)
            fits = send("fits")  # in the room of the one that left
            assert (await slow).status_code == 504
            parrot.gate.set()
            await asyncio.gather(waits, fits)
        queue.close()

    asyncio.run(ask())
    assert not any("left" in str(given) or "full" in str(given) for _, given in parrot.calls)


def test_a_rate_is_of_each_client() -> None:
    now = [0.0]
    rates = Rates(2.0, clock=lambda: now[0])
    assert [rates.take("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert rates.take("b") == 0
    now[0] = 0.5
    assert rates.take("a") == 0
    assert rates.take("a") > 0


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("localhost:8765", "localhost"),
        ("LOCALHOST", "localhost"),
        ("[::1]:80", "::1"),
        ("[::1]", "::1"),
        ("127.0.0.1:1", "127.0.0.1"),
        ("a:b", None),
        ("", None),
        ("a/b", None),
        ("a@b:1", None),
    ],
)
def test_the_name_of_a_host(given: str, name: str | None) -> None:
    assert host_name(given) == name
