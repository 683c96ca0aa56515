"""Bundles in stores: fetched by their manifest and checked, sent to new folders only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from small import ROOT, run_seqae

import seqae
from seqae.bundle.manifest import MANIFEST
from seqae.bundle.sharing.address import RemoteAddress, is_address
from seqae.bundle.sharing.origin import read_origin
from seqae.bundle.sharing.remote_bundle import fetch, send_bundle

BUNDLE = ROOT / "tests" / "fixtures" / "bundle_format_1"
ADDRESS = RemoteAddress("memory://shared/model")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEQAE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_bundle_there_and_back(memory: Any, cache: Path, tmp_path: Path) -> None:
    count = send_bundle(BUNDLE, ADDRESS)
    assert count == len(memory.find("/shared/model"))
    assert send_bundle(BUNDLE, ADDRESS) == 0, "it is there already"
    model = seqae.load("memory://shared/model")
    assert model.origin == "memory://shared/model"
    assert model.reconstruct(["the cat"]) == seqae.load(BUNDLE).reconstruct(["the cat"])
    assert run_seqae("pull", "memory://shared/model/", "--output", tmp_path / "own") == 0
    assert (tmp_path / "own" / MANIFEST).read_bytes() == (BUNDLE / MANIFEST).read_bytes()
    assert read_origin(tmp_path / "own") == "memory://shared/model"
    memory.store.clear()
    memory.pipe_file("/shared/model/config.json", b"{}")
    with pytest.raises(FileNotFoundError, match="must be the folder of a bundle or of a run"):
        seqae.load("memory://shared/model")


def test_another_bundle_is_not_replaced(memory: Any, cache: Path) -> None:
    memory.pipe_file(f"/shared/model/{MANIFEST}", b"0" * 64 + b"  config.json\n")
    before = dict(memory.store)
    with pytest.raises(ValueError, match="must be a new folder"):
        send_bundle(BUNDLE, ADDRESS)
    assert memory.store == before


def test_the_manifest_is_sent_last_and_a_second_try_sends_the_rest(
    memory: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, whole = [], type(memory).put_file

    def failing(self: Any, path: str, name: str, *args: Any, **options: Any) -> None:
        if name.endswith("tokenizer.json") and len(sent) < 3:
            sent.append("cut")
            raise OSError("the connection was cut")
        sent.append(os.path.basename(name))
        whole(self, path, name, *args, **options)

    monkeypatch.setattr(type(memory), "put_file", failing)
    send_bundle(BUNDLE, ADDRESS)
    assert "cut" in sent
    assert sent[-1] == MANIFEST
    assert fetch(ADDRESS).folder.is_dir()


def test_what_is_damaged_is_refused_and_fetched_again(memory: Any, cache: Path) -> None:
    send_bundle(BUNDLE, ADDRESS)
    good = memory.cat_file("/shared/model/model.safetensors")
    memory.pipe_file("/shared/model/model.safetensors", good[:-1] + b"x")
    with pytest.raises(ValueError, match="is not what MANIFEST"):
        fetch(ADDRESS)
    memory.pipe_file("/shared/model/model.safetensors", good)
    assert fetch(ADDRESS).folder.is_dir()


def test_a_manifest_of_a_stranger_names_no_other_files(memory: Any, cache: Path) -> None:
    memory.pipe_file(
        f"/shared/model/{MANIFEST}", f"{'0' * 64}  ../../x\n{'0' * 64}  run.sh\n".encode()
    )
    memory.pipe_file("/shared/model/run.sh", b"#!/bin/sh\n")
    with pytest.raises(ValueError, match=r"has no file|must list the files"):
        fetch(ADDRESS)
    assert not list(cache.rglob("run.sh"))


def test_what_is_no_folder_of_a_model(memory: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert is_address("s3://b/x")
    assert run_seqae("push", BUNDLE, "https://example.org/x") == 1
    assert run_seqae("push", BUNDLE, "memory://x/y", "--private") == 1
    assert run_seqae("check", "memory://a:b@x/y") == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 3
    assert "that can be written" in said
    assert "`private` must be left out" in said
    assert "without a name or a password" in said
