"""Open a source by the name that the user gives it."""

from __future__ import annotations

import re

from seqae.data.sources.base import Source
from seqae.data.sources.file_source import FileSource
from seqae.data.sources.formats.reader import Keys
from seqae.data.sources.memory import SCHEME, MemorySource
from seqae.data.sources.records import ReadOptions
from seqae.data.sources.walking import quote
from seqae.remote.url import is_url

ADDRESS = re.compile(
    r"[a-z][a-z0-9+]+://(?:huggingface\.co/datasets/(?P<dataset>[\w.-]+/[\w.-]+))?", re.IGNORECASE
)


HUB_PAGE = re.compile(r"https?://huggingface\.co/datasets/[\w.-]+/[\w.-]+(?!.*/resolve/)")


def open_source(
    name: str,
    key: str,
    options: ReadOptions | None = None,
    section: str = "",
    revision: str | None = None,
) -> Source:
    """Find what the user means.

    A bare word that names a built-in corpus means that corpus; write a file of the same name with
    its folder or suffix (`./hsk`, `hsk.txt`). `-` is standard input.

    Args:
        name: a file, a folder, a pattern (`*.txt`), `-`, the name of a built-in corpus,
            `hf:OWNER/NAME` or `nltk:CORPUS`; a file, folder or pattern may name its column,
            `FILE#COLUMN`; `memory:HASH` for sentences that were handed over in Python; or the
            address of a file, folder or pattern elsewhere, `s3://BUCKET/text/*.txt`.
        key: the configuration key that holds `name`; error messages begin with it.
        options: say how to read it.
        section: the prefix of the options' keys in the configuration, with a dot, or nothing.
        revision: commit to read of a data set of the hub, whatever its name says; ignored for
            other sources.

    Raises:
        ValueError: if an option is out of range, a file is an archive, or the name is an address.
        FileNotFoundError: if there is no such source, or nothing to read in the folder.
        PermissionError: if the source may not be read.
    """
    options, keys = options or ReadOptions(), Keys(key, section)
    if name.startswith("hf:"):
        from seqae.data.sources.hubs.hub import HubSource

        return HubSource(name, options, keys, revision)
    if name.startswith("nltk:"):
        from seqae.data.sources.nltk import NltkSource

        return NltkSource(name, options, keys)
    if is_url(name) and HUB_PAGE.match(name) is None:
        return FileSource(name, options, keys)
    if match := ADDRESS.match(name):
        raise _refuse_address(name, match, key)
    if name.startswith(SCHEME):
        return MemorySource(name, options, keys)
    return FileSource(name, options, keys)


def _refuse_address(name: str, match: re.Match[str], key: str) -> ValueError:
    """Make the error that says how to get what is at an address."""
    way_out = "Download it, and name the file."
    if name.startswith("ftp:"):
        way_out = f"Download it (`curl -LO {quote(name)}`), and name the file."
    elif name.startswith("file:"):
        way_out = "Write its path alone."
    if dataset := match.group("dataset"):
        way_out = f"Write hf:{dataset}."
    return ValueError(
        f"`{key}` must be a path on this machine, or an address that begins with s3://, gs://, "
        f"az:// or https://, but it is {quote(name)} instead. {way_out}"
    )
