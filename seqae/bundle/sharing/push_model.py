"""push_model: send a model that is in memory to the hub, as a bundle that was checked."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from seqae.bundle.bundle_check import check_bundle
from seqae.bundle.rewriting import readdress
from seqae.bundle.save import save
from seqae.bundle.sharing.address import HUB, HubAddress
from seqae.bundle.sharing.hub_upload import upload
from seqae.bundle.text_autoencoder import TextAutoencoder


def push_model(
    model: TextAutoencoder,
    repository: str,
    private: bool = False,
    revision: str | None = None,
    create_pr: bool = False,
    message: str | None = None,
    examples: bool = True,
) -> str:
    """Send a model to the hub; see `TextAutoencoder.push_to_hub`."""
    text = repository if repository.startswith(HUB) else f"{HUB}{repository}"
    address = HubAddress.parse(text, "repository").at(revision)
    with TemporaryDirectory(prefix="seqae-") as scratch:
        folder = save(model, Path(scratch) / "bundle", examples)
        readdress(folder, str(HubAddress(address.repository)))
        check_bundle(folder)
        sent = upload(folder, address, private, create_pr, message, "repository")
    return str(sent.address)
