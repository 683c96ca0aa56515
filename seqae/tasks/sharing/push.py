"""`seqae push`: send a bundle to the Hugging Face hub."""

from __future__ import annotations

from seqae.bundle.bundle_check import check_bundle
from seqae.bundle.rewriting import ready_to_send
from seqae.bundle.sharing.address import HubAddress, find_bundle
from seqae.bundle.sharing.hub_upload import upload


def push(
    where: str,
    to: str,
    private: bool = False,
    revision: str | None = None,
    create_pr: bool = False,
    message: str | None = None,
    no_examples: bool = False,
) -> None:
    """Check a bundle as `seqae check` does, and send it to the Hugging Face hub.

    It is one commit. What an earlier bundle left there, such as a prior, is deleted in it; other
    files of the repository stay as they are.

    Example:
        seqae push runs/gru/RUN hf:my-name/my-model --private

    Args:
        where: a bundle, the folder of a run, an address, or `demo`.
        to: the repository, `hf:OWNER/NAME`; it is made if there is none.
        private: make a repository that others cannot see.
        revision: a branch to push to, which is made if there is none; by default the main one.
        create_pr: propose the change as a pull request instead.
        message: of the commit.
        no_examples: send it without the sentences of its data, and without the prior that holds
            latents of training sentences; the bundle here stays as it is.
    """
    address = HubAddress.parse(to, "to").at(revision)
    folder = find_bundle(where, "where").folder
    check_bundle(folder)
    with ready_to_send(folder, str(HubAddress(address.repository)), not no_examples) as ready:
        sent = upload(ready, address, private, create_pr, message)
    what = "proposed as a pull request" if create_pr else "pushed"
    print(f"{where}: checked and {what}, {sent.address}\n{sent.page}")
