"""Find the files of a store: one, those of a folder or a pattern, or one of a web server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seqae.data.sources.discovery import FoundFiles, SourceFile, refuse_archive
from seqae.data.sources.walking import PATTERN, LeftOut, quote, suffix_of
from seqae.remote.store import TAGS, open_store, patiently, stamp_of_info
from seqae.remote.url import READ_ONLY, check_url, name_of, scheme_of


def find_remote_files(source: str, key: str, suffixes: Sequence[str]) -> FoundFiles:
    """List the files of an address in the order of their names.

    Args:
        source: the address of a file, a folder or a pattern; of a web server that of a file.
        key: the configuration key that holds it, for error messages.
        suffixes: of the files of a folder that are read.

    Raises:
        ValueError: if the address has credentials in it, or names an archive.
        FileNotFoundError: if there is nothing at the address, or no file fits the pattern.
        OSError: if the store cannot be reached, or does not let this user in.
    """
    url = check_url(source, key)
    if scheme_of(url) in READ_ONLY:
        refuse_archive(name_of(url), key)
        return FoundFiles([_file(url, _look(url, key), key)])
    prefix = url.partition("://")[0] + "://"
    if PATTERN.search(url):
        listed = _list(url, key, "glob")
        if not listed:
            raise FileNotFoundError(
                f"`{key}` must be a pattern that fits a file, but none fits {quote(source)}. Check "
                f"it, or name one file."
            )
        return FoundFiles([_file(prefix + path, info, key) for path, info in listed.items()])
    info = _look(url, key)
    if info["type"] != "directory":
        return FoundFiles([_file(url, info, key)])
    left_out, files = LeftOut(url), []
    for path, info in _list(url, key, "find").items():
        name = prefix + path.lstrip("/")
        below = name[len(url) :].strip("/")
        if not below or any(part.startswith(".") for part in below.split("/")):
            continue
        if suffix_of(below) in suffixes:
            files.append(_file(name, info, key))
        else:
            left_out.add(name)
    return FoundFiles(files, left_out)


def _look(url: str, key: str) -> Mapping[str, Any]:
    def look() -> Mapping[str, Any]:
        store, path = open_store(url)
        found: Mapping[str, Any] = store.info(path)
        return found

    return patiently(look, url, key)


def _list(url: str, key: str, how: str) -> dict[str, Mapping[str, Any]]:
    """List the files that fit a pattern (`glob`) or lie below a folder (`find`), by name."""

    def ask() -> dict[str, Mapping[str, Any]]:
        store, path = open_store(url)
        found: dict[str, Mapping[str, Any]] = getattr(store, how)(path, detail=True)
        return found

    found = patiently(ask, url, key)
    is_file = {
        name: info["type"] == "file" and not name.endswith("/") for name, info in found.items()
    }
    return {name.lstrip("/"): found[name] for name in sorted(found) if is_file[name]}


def _file(url: str, info: Mapping[str, Any], key: str) -> SourceFile:
    refuse_archive(name_of(url), key)
    # A listing writes times in another way than an answer about one file does.
    has_tag = any(info.get(name) for name in TAGS)
    if info.get("size") is None or not has_tag:
        info = _look(url, key)
    if info.get("size") is None:
        raise ValueError(
            f"`{key}` must be on a server that tells the sizes of files, but that of {quote(url)} "
            f"does not. Download it, and name the file."
        )
    return SourceFile("remote", url, stamp_of_info(info))
