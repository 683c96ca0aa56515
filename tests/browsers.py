"""A real browser for tests of the page: Chromium without a screen, if the machine has one."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")

# Every violation of the page's own policy, and every promise that nobody caught, is kept.
WATCH = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective} ${event.blockedURI}`);
});
"""


def browser_path() -> str | None:
    """Find a Chromium: `SEQAE_TEST_BROWSER`, or the first known name on the path."""
    named = os.environ.get("SEQAE_TEST_BROWSER")
    found = [named] if named else [path for path in map(shutil.which, NAMES) if path]
    return found[0] if found else None


def why_not() -> str | None:
    """Say what is missing for tests in a browser; None if nothing is."""
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed"
    if browser_path() is None:
        return f"no browser on the path (looked for {', '.join(NAMES)})"
    return None


@contextmanager
def open_browser() -> Iterator[Any]:
    """Start it, without a network: every name but this machine's leads nowhere."""
    from playwright.sync_api import sync_playwright

    flags = [
        "--no-sandbox",  # which root may not have, as in a container
        "--disable-gpu",
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    ]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=browser_path(), args=flags)
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """A page that is open, and what it did: requests, messages, violations of its policy."""

    def __init__(self, browser: Any, width: int = 1400, scheme: str = "light", **options: Any):
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, **options
        )
        self.context.add_init_script(WATCH)
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.requests: list[str] = []
        self.messages: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))

    def open(self, address: str) -> Any:
        """Go there, and wait until it is drawn."""
        self.page.goto(address)
        self.page.wait_for_selector("html[data-ready]", state="attached")
        return self.page

    @property
    def complaints(self) -> list[str]:
        """What the browser did not like."""
        return [*self.messages, *self.page.evaluate("window.violations")]

    def __enter__(self) -> Visit:
        """Use it in a `with`."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the page and its context."""
        self.context.close()
