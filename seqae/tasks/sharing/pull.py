"""`seqae pull`: fetch a bundle from where it is kept, and check it."""

from __future__ import annotations

import shlex
from pathlib import Path

from seqae.bundle.manifest import check_manifest
from seqae.bundle.save import check_replaceable
from seqae.bundle.sharing.address import find_bundle, is_address
from seqae.bundle.sharing.origin import copy_bundle


def pull(where: str, revision: str | None = None, output: str | None = None) -> None:
    """Fetch a bundle, check each file against its manifest, and say where it is.

    Only the files of a bundle are fetched, whatever else is kept beside them, and nothing is run.
    What was fetched once is not fetched again.

    Example:
        seqae pull hf:lab/model@v1.0 --output my_bundle

    Args:
        where: `hf:OWNER/NAME[@REVISION]`, `wandb:ENTITY/PROJECT/NAME:ALIAS`, or a bundle or run
            elsewhere, `s3://BUCKET/FOLDER`.
        revision: a branch, a tag or a commit, or an alias of W&B, if the address names none.
        output: a folder for it, new or a bundle, which is replaced; by default it stays in the
            cache, where `seqae.load` and the commands find it by its address.
    """
    if not is_address(where):
        raise ValueError(
            f"`where` must be an address, hf:OWNER/NAME, wandb:ENTITY/PROJECT/NAME:ALIAS or "
            f"s3://BUCKET/FOLDER, but it is {where} instead. A folder is used as it is: `seqae "
            f"check {where}`."
        )
    if output is not None:
        check_replaceable(Path(output), "output")
    found = find_bundle(where, "where", revision)
    names = check_manifest(found.folder)
    size = sum((found.folder / name).stat().st_size for name in names) / 1e6
    folder = found.folder
    if output is not None:
        folder = Path(output)
        copy_bundle(found.folder, folder, found.origin)
    print(f"{found.origin}: {len(names)} files, {size:,.1f} MB, as its manifest says")
    print(f"{folder}\nnext: seqae check {shlex.quote(str(output or found.origin))}")
