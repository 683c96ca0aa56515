"""Ask the Hugging Face hub: again if it is busy, and with one line if it refuses.

The client of the hub repeats most of what it sends, but asks only once which commit a revision is.
What it raises goes on for several lines, and names no way out.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar

from seqae.data.sources.walking import quote
from seqae.extras import extra
from seqae.files import cannot_write

Kind = Literal["data set", "model"]

WAITS = (1.0, 2.0, 4.0)  # seconds before each further try, unless the hub names another time
MAX_WAIT = 60.0  # seconds; the hub may ask for five minutes, which is left to the user
TIMEOUT_SECONDS = 30.0  # for the hub to say which commit a revision is

Result = TypeVar("Result")


def patiently(call: Callable[[], Result]) -> Result:
    """Call, and call again if the hub answers that it is busy (429) or broken (5xx).

    Args:
        call: that may be repeated.

    Raises:
        Exception: what the last call raised.
    """
    for wait in WAITS:
        try:
            return call()
        except Exception as error:
            asked = _wait_asked_for(error)
            if asked is None or asked > MAX_WAIT:
                raise
        time.sleep(asked or wait)
    return call()


def _wait_asked_for(error: BaseException) -> float | None:
    """Return the seconds after which the hub may be asked again, 0 if it does not say; or None."""
    with extra("hub"):
        from huggingface_hub.errors import HfHubHTTPError

    # Where the client looks into its cache first, the answer of the hub is the cause.
    answers = (error, error.__cause__)
    answer = next((answer for answer in answers if isinstance(answer, HfHubHTTPError)), None)
    if answer is None or (answer.response.status_code != 429 and answer.response.status_code < 500):
        return None
    asked = answer.response.headers.get("Retry-After", "")
    return float(asked) if asked.isdecimal() else 0.0


@contextmanager
def quiet_client() -> Iterator[None]:
    """Let the client print nothing within this block, but its bars if a person looks on."""
    with extra("hub"):
        from huggingface_hub.utils import logging as hub_logging
        from huggingface_hub.utils.tqdm import (
            are_progress_bars_disabled,
            disable_progress_bars,
            enable_progress_bars,
        )

    level, had_bars = hub_logging.get_verbosity(), not are_progress_bars_disabled()
    hub_logging.set_verbosity(logging.CRITICAL)
    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        yield
    finally:
        hub_logging.set_verbosity(level)
        if had_bars:
            enable_progress_bars()


def refusal(
    error: BaseException, key: str, kind: Kind, name: str, revision: str | None = None
) -> Exception | None:
    """Turn what the hub refuses into one line; None for what is no refusal, such as no network.

    Args:
        error: of huggingface_hub.
        key: what the name was given as.
        kind: what the hub was asked for.
        name: of the repository.
        revision: that was asked for.
    """
    with extra("hub"):
        from huggingface_hub import errors as hub

    # A class may be derived from one below it.
    if isinstance(error, hub.GatedRepoError):
        return PermissionError(
            f"`{key}` must name a {kind} that you may read, but {name} is gated instead. Ask for "
            f"access on its page, and log in with `hf auth login`."
        )
    if isinstance(error, hub.RepositoryNotFoundError):
        return FileNotFoundError(
            f"`{key}` must name a {kind} of the hub, but there is no {name} that you may read "
            f"instead. Check the name; if it is private, `hf auth login`."
        )
    if isinstance(error, hub.RevisionNotFoundError):
        return FileNotFoundError(
            f"`{key}` must name a revision of {name}, but there is no {quote(str(revision))} "
            f"instead. Give a branch, a tag or a commit."
        )
    if isinstance(error, hub.HFValidationError):
        example = "hf:stanfordnlp/imdb" if kind == "data set" else "hf:my-name/my-model"
        return ValueError(
            f"`{key}` must name a {kind} of the hub, but {name} cannot be a name instead "
            f"({first_line(error)}). Write it like {example}."
        )
    if isinstance(error, hub.DisabledRepoError):
        return PermissionError(
            f"`{key}` must name a {kind} that may be read, but {name} was disabled instead. Look "
            f"at its page on the hub."
        )
    if isinstance(error, hub.HfHubHTTPError) and error.response.status_code == 401:
        return PermissionError(
            f"`{key}` must be asked for with a token that the hub accepts, but it does not accept "
            f"yours instead. Log in with `hf auth login`, or correct HF_TOKEN."
        )
    return None


def local_failure(error: BaseException, cache: str | Path) -> OSError | None:
    """Turn an error of this machine's disk into one line; None for what is none."""
    if type(error).__module__ == "builtins" and isinstance(error, OSError) and error.errno:
        return cannot_write(Path(error.filename or cache), error)
    return None


def first_line(error: BaseException) -> str:
    """Put an error of a library into one line of limited length."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}"[:200] if lines else type(error).__name__
