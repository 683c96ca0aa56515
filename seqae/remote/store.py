"""Open the store of an address by fsspec, ask again what failed, and say what went wrong."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, TypeVar

from seqae.extras import Extra, extra
from seqae.remote.url import LIBRARIES, READ_ONLY, scheme_of

# Seconds before each further try, after those of the store's own library: about a minute in all.
WAITS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
QUIET_SECONDS = 4.0  # a longer wait is said
PATIENCE_SECONDS = 300.0  # after the first failure no try begins later, where each takes minutes

# What decides whether a file is another one, by the names that the stores give it.
TAGS = ("ETag", "etag", "generation", "md5Hash", "content_md5")
TIMES = ("LastModified", "Last-Modified", "last_modified", "updated", "mtime", "created")

BROUGHT_BY: dict[str, Extra] = {"s3fs": "s3", "gcsfs": "gs"}

# Errors that come again, by the names of their classes: botocore, google-auth, s3fs, ours.
FINAL = (
    *("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "FileExpired"),
    *("ProfileNotFound", "ParamValidationError", "InvalidURL", "NonHttpUrlClientError"),
)

Stamp = tuple[int, str]
Result = TypeVar("Result")

log = logging.getLogger(__name__)


class FailedStore(OSError):
    """A store could not do what was asked; the message is one line and names the address."""

    def __str__(self) -> str:
        return str(self.args[0])


class RemoteNotFound(FailedStore, FileNotFoundError):
    """There is no such file, or this user may not see it."""


class RemoteDenied(FailedStore, PermissionError):
    """The store does not let this user in."""


class RemoteError(FailedStore, ConnectionError):
    """The store, or the way to it, failed."""


class RemoteChanged(ValueError):
    """A file of a store is not the one that was opened."""


def open_store(url: str) -> tuple[Any, str]:
    """Open the store of an address.

    Args:
        url: from `check_url`.

    Returns:
        An `fsspec` file system, which keeps no listings; and what it calls the address.

    Raises:
        ModuleNotFoundError: naming the extra that brings the store's library.
    """
    scheme = scheme_of(url) or ""
    library = (LIBRARIES | READ_ONLY)[scheme]
    options: dict[str, Any] = {"use_listings_cache": False}
    if library in BROUGHT_BY:
        with extra(BROUGHT_BY[library]):
            import_module(library)
    elif library == "aiohttp":
        with extra("data"):
            import aiohttp

        # A file takes as long as it takes, but no single part of it.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=30.0, sock_read=30.0)
        options["client_kwargs"] = {"timeout": timeout}
    import fsspec

    try:
        store = fsspec.filesystem(scheme, **options)
    except ImportError as error:
        raise ModuleNotFoundError(
            f"{scheme}:// needs {library}, which is not installed. Install it: "
            f"pip install {library}",
            name=library,
        ) from error
    return store, store._strip_protocol(url)


def patiently(call: Callable[[], Result], url: str, key: str) -> Result:
    """Call, and call again after a while if the store or the way to it fails.

    Args:
        call: that may be repeated.
        url: for messages.
        key: what the address was given as.

    Raises:
        OSError: in one line, if it fails for good, or each time.
        RemoteChanged: if the file has changed meanwhile.
    """
    is_said, end = False, None
    for wait in (*WAITS, None):
        try:
            return call()
        except (FailedStore, RemoteChanged, ImportError):
            raise
        except Exception as error:  # of botocore, aiohttp, google-auth, fsspec ...
            end = end or time.monotonic() + PATIENCE_SECONDS
            if wait is None or is_final(error) or time.monotonic() + wait > end:
                raise explain(error, url, key) from error
            if wait >= QUIET_SECONDS and not is_said:
                is_said = True
                log.warning(f"{url} does not answer ({first_line(error)}); asked again for a while")
        time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def is_final(error: BaseException) -> bool:
    """Say whether an error would come again: there is no such file, or no permission."""
    if isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError, FileExistsError)):
        # HTTPFileSystem says so of every failure; its cause is the true one.
        cause = getattr(error.__cause__, "status", None)
        return error.__cause__ is None or (
            cause in (None, 401, 403, 404, 410) and _is_answer(error.__cause__)
        )
    if getattr(error, "status", None) in (400, 401, 403, 404, 405, 410, 416):
        return True
    return type(error).__name__ in FINAL or isinstance(error, (NotImplementedError, TypeError))


def _is_answer(error: BaseException) -> bool:
    """Say whether an error is an answer of a server, and not that there was none."""
    return "Connect" not in type(error).__name__ and not isinstance(error, TimeoutError)


def explain(error: BaseException, url: str, key: str) -> FailedStore:
    """Make the one line that says why a store could not do what was asked."""
    status = getattr(error.__cause__ or error, "status", None)
    name = type(error).__name__
    is_answer = error.__cause__ is None or _is_answer(error.__cause__)
    if isinstance(error, FileNotFoundError) and is_answer and status in (None, 404, 410):
        return RemoteNotFound(
            f"`{key}` must name what is there, but there is no {url}, or you may not see it. Check "
            f"the address.",
        )
    is_refused = isinstance(error, PermissionError) or status in (401, 403)
    if is_refused or "Credentials" in name or name == "ProfileNotFound":
        return RemoteDenied(
            f"`{key}` must be open to you, but {url} is not ({first_line(error)}). Set the "
            f"credentials of its store in the environment; docs/remote.md says how.",
        )
    return RemoteError(
        f"`{key}` must be within reach, but {url} is not ({first_line(error)}). Run the same "
        f"command again when it is."
    )


def stamp_of_info(info: Mapping[str, Any]) -> Stamp:
    """Return what changes when a file of a store changes: its size, and its tag or time."""
    found = next((info[name] for name in (*TAGS, *TIMES) if info.get(name)), "")
    return int(info["size"]), str(found)


def first_line(error: BaseException) -> str:
    """Put an error of a library into one line of limited length, without queries of addresses.

    A web server may have led to an address with a signature in it.
    """
    lines = re.sub(r"(://[^\s'\"?]*\?)[^\s'\"]*", r"\1...", str(error)).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}"[:160] if lines else type(error).__name__
