"""Addresses of files elsewhere: which are taken, and what is refused in one."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

# Stores that are read and written, by the library that fsspec needs for each.
LIBRARIES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "memory": "fsspec",  # of this process alone
}
READ_ONLY = {"http": "aiohttp", "https": "aiohttp"}

_SCHEME = re.compile(r"([a-z][a-z0-9]*)://", re.IGNORECASE)
_SECRET = re.compile(
    r"sig|signature|token|key|secret|password|passwd|credential|auth|x-amz-.*|x-goog-.*|.*"
    r"(?:token|secret|signature|password|credential|apikey|[-_]key|accesskeyid)",
    re.IGNORECASE,
)
# A host with its port, the name of a bucket, or the ARN of an access point.
_HOST = re.compile(r"[^:]*(?::[0-9]+)?|\[[0-9a-f:.]+\](?::[0-9]+)?|arn:aws.*", re.IGNORECASE)


def is_url(name: object) -> bool:
    """Say whether a name is the address of a file elsewhere, well formed or not."""
    return scheme_of(str(name)) in (*LIBRARIES, *READ_ONLY)


def scheme_of(name: str) -> str | None:
    """Return the scheme of an address, in lower case; None for what is none."""
    match = _SCHEME.match(name)
    return match[1].lower() if match else None


def check_url(url: str, key: str, is_written: bool = False) -> str:
    """Refuse an address with credentials in it, or that cannot be one.

    Args:
        url: as it was given.
        key: what it was given as, for messages.
        is_written: whether files are written there.

    Returns:
        The address, its scheme in lower case and without a `/` at its end.

    Raises:
        ValueError: if it is refused. The message shows nothing of what may be a secret.
    """
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    if not is_url(url):
        raise ValueError(
            f"`{key}` must be a path on this machine, or an address that begins with s3://, gs://, "
            f"az:// or https://, but it is {url!r} instead. Check it."
        )
    try:
        parts = urlsplit(f"{scheme}://{rest}")
    except ValueError:  # such as of a [ without a ]; what is between may be a secret
        raise ValueError(
            f"`{key}` must be an address such as {scheme}://{_example(scheme)}, but the "
            f"{scheme}:// address given is none. Check it."
        ) from None
    names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    has_secret = any(_SECRET.fullmatch(name) for name in names)
    # A secret key of S3 may have a / in it, which ends what is taken for the host.
    has_password = "@" in parts.netloc or not _HOST.fullmatch(parts.netloc)
    if has_password or (scheme in READ_ONLY and has_secret):
        what = "a name or a password" if has_password else "a key or a signature"
        raise ValueError(
            f"`{key}` must be an address without {what}, which would be kept with the run, but one "
            f"is in the {scheme}:// address given instead. {_way_out(scheme)}"
        )
    if not (parts.netloc.strip("/") or parts.path.strip("/")) or not url.isprintable():
        raise ValueError(
            f"`{key}` must be an address such as {scheme}://{_example(scheme)}, but it is "
            f"{url!r} instead. Check it."
        )
    if is_written and scheme in READ_ONLY:
        stores = ", ".join(f"{name}://" for name in ("s3", "gs", "az"))
        raise ValueError(
            f"`{key}` must be a folder of this machine or of a store that can be written "
            f"({stores}), but it is {url} instead. Name another one."
        )
    return f"{scheme}://{rest.rstrip('/')}"


def is_same_place(url: str, other: str | None) -> bool:
    """Say whether two addresses are of the same bucket of a store, or host."""
    one, two = urlsplit(url), urlsplit(other or "")
    return (one.scheme.lower(), one.netloc) == (two.scheme.lower(), two.netloc)


def name_of(url: str) -> str:
    """Return the last part of an address, without a query: what a file there is called."""
    return re.split(r"[?#]", url)[0].rstrip("/").rpartition("/")[2]


def _way_out(scheme: str) -> str:
    if LIBRARIES.get(scheme) == "s3fs":
        return "Leave it out; AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, hold."
    if LIBRARIES.get(scheme) == "gcsfs":
        return "Leave it out; GOOGLE_APPLICATION_CREDENTIALS, or `gcloud auth`, hold."
    if scheme in READ_ONLY:
        return "Download it, and name the file."
    return "Leave it out: az://CONTAINER/PATH, and AZURE_STORAGE_ACCOUNT_NAME, hold."


def _example(scheme: str) -> str:
    return "example.org/text.txt" if scheme in READ_ONLY else "my-bucket/folder/text.txt"
