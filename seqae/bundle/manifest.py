"""The manifest: the files of a bundle and a hash of each, checked before any of them is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from seqae.bundle.find_bundle import check_is_bundle
from seqae.data.tokenizers.json_format import MAX_FILE_BYTES as MAX_TOKENIZER_BYTES
from seqae.files import sha256_of
from seqae.untrusted import MAX_BYTES, check_size, read_capped

FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "metrics.json",
    "training.json",
    "environment.json",
    "selftest.json",
)
MANIFEST = "MANIFEST.sha256"
# Not in the manifest, since they are for people: who shares a bundle may write more into its card,
# and measure it later.
CARD = "README.md"
EVALUATION = "evaluation.json"
ORIGIN = "origin.json"  # where a copy was fetched from; it stays on this machine
DENSITY = "density.safetensors"  # the gaussian and the mixture prior, in bundles of before 0.2
PRIOR = re.compile(r"prior_([a-z][a-z0-9_]{0,39})\.safetensors")
PATTERNS = (*FILES, MANIFEST, CARD, EVALUATION, "prior_*.safetensors", DENSITY)  # all of a bundle
OF_HOSTS = (".git", ".gitattributes", ".gitignore", ".cache")  # what git and the hub put beside


def is_prior_file(name: str) -> bool:
    """Whether a file of this name holds priors."""
    return name == DENSITY or PRIOR.fullmatch(name) is not None


def prior_files(folder: Path) -> list[str]:
    """List the files of a folder that hold priors, by name."""
    return sorted(path.name for path in folder.glob("*.safetensors") if is_prior_file(path.name))


def unknown_files(folder: Path) -> list[str]:
    """List what lies in a bundle's folder and is no part of it, by name; it is never read."""
    known = {*FILES, MANIFEST, CARD, EVALUATION, ORIGIN, *OF_HOSTS}
    names = sorted(path.name for path in folder.iterdir())
    return [name for name in names if name not in known and not is_prior_file(name)]


def read_manifest(folder: Path) -> dict[str, str]:
    """Read the hash of each file that the manifest lists.

    Raises:
        ValueError: if the manifest is too large to be one.
    """
    lines = read_capped(folder / MANIFEST).decode("utf-8", "replace").split("\n")[:-1]
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    listed.pop(CARD, None)  # bundles of before 0.2 list it
    return listed


def check_manifest(folder: Path, with_priors: bool = True) -> dict[str, str]:
    """Check each file of a bundle against the manifest.

    Args:
        folder: the bundle.
        with_priors: False leaves out the priors, which may then be missing or damaged.

    Returns:
        The hash of each file that was checked.

    Raises:
        ValueError: if the folder is no bundle or is damaged.
    """
    return check_hashes(folder, check_names(folder, with_priors))


def check_names(folder: Path, with_priors: bool = True) -> dict[str, str]:
    """Check that a bundle has the files that its manifest lists, none of them too large to read.

    Args:
        folder: the bundle.
        with_priors: as `check_manifest`.

    Returns:
        The hash that the manifest says of each file.

    Raises:
        ValueError: if the folder is no bundle or is damaged.
    """
    names = [*FILES, *(prior_files(folder) if with_priors and folder.is_dir() else [])]
    check_is_bundle(folder, [*names, MANIFEST])
    try:
        for name in names:
            if name.endswith(".json"):  # before hashing, which may take long
                limit = MAX_TOKENIZER_BYTES if name == "tokenizer.json" else MAX_BYTES
                check_size(folder / name, limit)
        listed = read_manifest(folder)
    except ValueError as error:
        raise ValueError(f"The bundle {folder} is damaged: {error}. Get it again.") from error
    if not with_priors:
        listed = {name: digest for name, digest in listed.items() if not is_prior_file(name)}
    wrong = sorted(set(listed) ^ set(names))
    if wrong:
        raise ValueError(
            f"`{MANIFEST}` in {folder} must list the files that the bundle has, but it lists "
            f"others. {_way_out(folder, wrong)}"
        )
    return {name: listed[name] for name in names}


def check_hashes(folder: Path, listed: Mapping[str, str]) -> dict[str, str]:
    """Check the content of files by their hashes, and return these.

    Args:
        folder: the bundle.
        listed: what `check_names` returned.

    Raises:
        ValueError: if a file was changed or damaged.
    """
    found = {name: sha256_of(folder / name) for name in listed}
    for name, digest in found.items():
        if listed[name] != digest:
            raise ValueError(
                f"`{name}` in {folder} is not what {MANIFEST} says: it was changed or damaged. "
                f"{_way_out(folder, [name])}"
            )
    return found


def manifest_to_bytes(digests: Mapping[str, str]) -> bytes:
    """Serialise the hashes of files."""
    return "".join(f"{digest}  {name}\n" for name, digest in digests.items()).encode()


def _way_out(folder: Path, names: list[str]) -> str:
    if folder.parent.name == "snapshots":  # in the cache of the hub
        name = folder.parents[1].name.removeprefix("models--").replace("--", "/")
        return (
            f"Fetch it again: `hf download {name} --revision {folder.name} --force-download`. If "
            f"that does not help, it was damaged when it was pushed."
        )
    if not all(map(is_prior_file, names)):
        return "Get the bundle again."
    match = PRIOR.fullmatch(names[0])
    kind = f" --kind {match[1]}" if match else ""
    return f"Get the bundle again, or fit its prior again: `seqae prior {folder}{kind}`."
