"""Addresses are read as people write them; what is none is refused in a line with the way out."""

from __future__ import annotations

from pathlib import Path

import contracts
import pytest

from seqae.bundle.sharing.address import (
    ArtifactAddress,
    HubAddress,
    find_bundle,
    find_checked_bundle,
    is_address,
    parse_address,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("hf:a/b", HubAddress("a/b")),
        ("hf:my-lab/gru_1.5@v1.0", HubAddress("my-lab/gru_1.5", "v1.0")),
        ("hf:a/b@refs/pr/3", HubAddress("a/b", "refs/pr/3")),
        (f"hf:a/b@{'0a' * 20}", HubAddress("a/b", "0a" * 20)),
        ("wandb:lab/news/gru:best", ArtifactAddress("lab", "news", "gru", "best")),
        ("wandb:news/gru:step-100", ArtifactAddress(None, "news", "gru", "step-100")),
        ("wandb:lab/news/gru:latest", ArtifactAddress("lab", "news", "gru")),
        (
            "wandb:wandb-registry-model/sentences:v3",
            ArtifactAddress(None, "wandb-registry-model", "sentences", "v3"),
        ),
    ],
)
def test_addresses(text: str, address: HubAddress | ArtifactAddress) -> None:
    assert parse_address(text) == address
    assert str(address) == text
    assert parse_address(Path(text)) == address
    assert is_address(text)


@pytest.mark.parametrize(
    "text",
    ["hf:", "hf:a", "hf:a/", "hf:a/b/c", "hf:a b/c", "hf:a/b@", "hf:a/-b", "hf:a/b..c", "hf:a/b--c"]
    + ["hf:a/b.git", "hf:../b", "hf:a/b@v1@v2", "hf:a/" + "b" * 97, "hf:ä/b", "hf:a/b\n"],
)
def test_no_address_of_the_hub(text: str) -> None:
    message = contracts.refusal(parse_address, text, "where")
    assert message.startswith("`where` must be written hf:OWNER/NAME[@REVISION], but it is ")
    assert message.endswith(
        " instead. Write it like hf:my-name/my-model or hf:my-name/my-model@v1.0."
    )


@pytest.mark.parametrize(
    "text", ["wandb:", "wandb:a", "wandb:a/b/c/d", "wandb:a/b:", "wandb:a/b:c:d"]
)
def test_no_address_of_wandb(text: str) -> None:
    message = contracts.refusal(parse_address, text)
    assert message.startswith("`model` must be written wandb:[ENTITY/]PROJECT/NAME[:ALIAS], but ")


@pytest.mark.parametrize(
    ("page", "address"),
    [
        ("https://huggingface.co/lab/gru", "hf:lab/gru"),
        ("https://huggingface.co/lab/gru/tree/v1.0", "hf:lab/gru@v1.0"),
        ("hf://lab/gru/config.json", "hf:lab/gru"),
    ],
)
def test_a_page_is_answered_with_its_address(page: str, address: str) -> None:
    assert contracts.refusal(find_bundle, page).endswith(f"Write it like {address}.")


def test_the_revision_may_be_given_apart() -> None:
    address = HubAddress("a/b")
    assert address.at("v1") == HubAddress("a/b", "v1") == HubAddress("a/b", "v1").at("v1")
    assert address.at(None) == address
    assert contracts.refusal(HubAddress("a/b", "v1").at, "v2") == (
        "`revision` must be given once, but it is v1 in the address and v2 beside it instead. "
        "Leave one of them out."
    )
    for wrong in ("", "-x", "a b", "../x"):
        assert "cannot be the name of one" in contracts.refusal(address.at, wrong)


def test_a_folder_is_found_and_checked(tmp_path: Path) -> None:
    for name in ("runs/hf", "demo", tmp_path):
        assert not is_address(name)
    assert find_checked_bundle("demo").folder.name == "demo"
    assert find_checked_bundle("demo").origin is None
    with pytest.raises(ValueError, match="has no file config.json"):
        find_checked_bundle(tmp_path)
