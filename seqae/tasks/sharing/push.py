"""`seqae push`: send a bundle to the Hugging Face hub, to Weights & Biases, or to a store."""

from __future__ import annotations

import shlex

from seqae.bundle.bundle_check import check_bundle
from seqae.bundle.rewriting import ready_to_send
from seqae.bundle.sharing.address import (
    WANDB,
    ArtifactAddress,
    HubAddress,
    RemoteAddress,
    find_bundle,
)
from seqae.bundle.sharing.hub_upload import upload
from seqae.bundle.sharing.remote_bundle import send_bundle
from seqae.bundle.sharing.wandb_upload import check_sendable, send
from seqae.remote.url import is_url


def push(
    where: str,
    to: str,
    private: bool = False,
    revision: str | None = None,
    create_pr: bool = False,
    message: str | None = None,
    no_examples: bool = False,
) -> None:
    """Check a bundle as `seqae check` does, and send it to the Hub, to W&B, or to a store.

    On the hub it is one commit. What an earlier bundle left there, such as a prior, is deleted in
    it; other files of the repository stay as they are. On Weights & Biases it is a new version of
    an artifact of type `model`; where its client is offline, it is kept for `wandb sync`.

    Example:
        seqae push runs/gru/RUN hf:my-name/my-model --private

    Args:
        where: a bundle, the folder of a run, an address, or `demo`.
        to: the repository, `hf:OWNER/NAME`; it is made if there is none. Or the artifact,
            `wandb:[ENTITY/]PROJECT/NAME[:ALIAS]`, or a collection of a registry, to which it is
            linked, `wandb:wandb-registry-NAME/COLLECTION[:ALIAS]`. Or a new folder of a store,
            `s3://BUCKET/FOLDER`.
        private: make a repository that others cannot see; of the hub only.
        revision: a branch to push to, which is made if there is none; by default the main one. Of
            W&B the alias.
        create_pr: propose the change as a pull request instead; of the hub only.
        message: of the commit; of W&B the description.
        no_examples: send it without the sentences of its data, and without the prior that holds
            latents of training sentences; the bundle here stays as it is.
    """
    if to.startswith(WANDB):
        for option, value in {"private": private, "create_pr": create_pr}.items():
            if value:
                raise ValueError(
                    f"`{option}` must be left out for W&B, where it means nothing, but it is given "
                    f"for {to} instead. Leave it out."
                )
        artifact = ArtifactAddress.parse(to, "to").at(revision)
        check_sendable(artifact, "to")
        folder = find_bundle(where, "where").folder
        check_bundle(folder)
        with ready_to_send(folder, str(artifact), not no_examples) as ready:
            logged = send(ready, artifact, message)
        if logged.kept_in is None:
            print(f"{where}: checked and pushed, {logged.address}")
        else:
            print(f"{where}: checked and kept, since W&B is offline; send it by")
            print(f"wandb sync {shlex.quote(logged.kept_in)}")
        return
    if is_url(to):
        given = {"private": private, "create_pr": create_pr}
        given |= {"message": message is not None, "revision": revision is not None}
        for option, is_given in given.items():
            if is_given:
                raise ValueError(
                    f"`{option}` must be left out for a store, where it means nothing, but it is "
                    f"given for {to} instead. Leave it out."
                )
        remote = RemoteAddress.parse(to, "to", is_written=True)
        folder = find_bundle(where, "where").folder
        check_bundle(folder)
        with ready_to_send(folder, str(remote), not no_examples) as ready:
            count = send_bundle(ready, remote)
        done = f"pushed, {count} files" if count else "there already"
        print(f"{where}: checked and {done}, {remote}")
        return
    address = HubAddress.parse(to, "to").at(revision)
    folder = find_bundle(where, "where").folder
    check_bundle(folder)
    with ready_to_send(folder, str(HubAddress(address.repository)), not no_examples) as ready:
        sent = upload(ready, address, private, create_pr, message)
    what = "proposed as a pull request" if create_pr else "pushed"
    print(f"{where}: checked and {what}, {sent.address}\n{sent.page}")
