"""`seqae serve` as a process: what it prints, how it ends, and a click in a real browser."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from small import SENTENCES, own_process, run_seqae, write_text

Out = pytest.CaptureFixture[str]
CHROMIUM = shutil.which("chromium-headless-shell")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    text = write_text(tmp_path / "text.txt", SENTENCES)
    command = [sys.executable, "-m", "seqae", "serve", "demo", "--texts", str(text), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--no_browser"],
        **{"env": own_process(), "text": True, "cwd": tmp_path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def ask(url: str, call: str, body: object) -> object:
    parts = urlsplit(url)
    headers = {
        "Content-Type": "application/json",
        "X-Seqae-Token": parse_qs(parts.query)["token"][0],
    }
    request = urllib.request.Request(
        f"http://{parts.netloc}/api/{call}", json.dumps(body).encode(), headers
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def test_ctrl_c_ends_it_at_once(server: tuple[subprocess.Popen[str], str]) -> None:
    process, url = server
    assert url.startswith("http://127.0.0.1:")
    text = "the cat sees the mat"
    [row] = ask(url, "reconstruct", {"texts": [text]})  # type: ignore[misc]
    assert row["text"] == text
    with urllib.request.urlopen(url, timeout=60) as page:
        assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
        document = page.read()
        assert document.startswith(b"<!doctype html>")
        assert b'"verdict":"good"' in document, "it says how well the model works"
    with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port)) as idle:
        idle.sendall(b"POST /api/sample HTTP/1.1\r\n")  # and nothing more
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 0
    assert time.monotonic() - started < 5
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["demo", "demo", "demo"], "`models` must be one or two"),
        (["demo", "--port", "70000"], "`port` must be between 0 and 65,535"),
        (["demo", "--host", "no.such.host.invalid"], "`host` must be an address of this machine"),
        (["demo", "--points", "0"], "`points` must be between 1"),
        (["demo", "--texts", "missing.txt"], "missing.txt"),
    ],
)
def test_what_it_refuses(options: list[str], said: str, capsys: Out) -> None:
    assert run_seqae("serve", *options) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_port_in_use(capsys: Out) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert run_seqae("serve", "demo", "--port", port) == 1
    assert f"`port` must be free, but {port} is in use" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium-headless-shell")
def test_a_click_on_the_map_is_decoded(server: tuple[subprocess.Popen[str], str]) -> None:
    from playwright.sync_api import sync_playwright

    _, url = server
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        asked: list[str] = []
        faults: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
        page.goto(url)
        canvas = page.locator("canvas[role=application]").first
        canvas.scroll_into_view_if_needed()
        with page.expect_response("**/api/decode_point") as answer:
            canvas.click(position={"x": 200, "y": 150})
        decoded = answer.value.json()["text"]
        says = page.locator(".decoded .says").first
        page.wait_for_function(
            "says => !says.textContent.startsWith('Click')", arg=says.element_handle()
        )
        assert says.text_content() == decoded
        assert not faults
        assert all(urlsplit(one).netloc == urlsplit(url).netloc for one in asked)
        browser.close()
