"""Bundles on the hub: the real client, the real command, a stand-in of the hub on loopback."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hub_server import READ_ONLY_TOKEN, TOKEN, Fault, HubServer, serve
from hub_user import User, start_user
from model_user import Done, command, load, push

import seqae
from seqae.bundle.manifest import check_manifest
from seqae.bundle.stored_priors import remove_prior

BUNDLE = Path(__file__).parent / "fixtures" / "bundle_format_1"
NAMES = {path.name for path in BUNDLE.iterdir()}


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    with serve() as server:
        server.commit("lab/gru", files(), tag="v1", kind="model")
        yield server


@pytest.fixture(scope="module")
def user(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    home = tmp_path_factory.mktemp("hub")
    yield from start_user(home, hub.environment(home))


@pytest.fixture
def run(user: User, hub: HubServer, tmp_path: Path) -> Any:
    """Run a command in a new folder, which has a copy of the bundle."""
    shutil.copytree(BUNDLE, tmp_path / "mine")
    hub.requests.clear()
    hub.faults.clear()

    def run(*words: str, token: str | None = TOKEN, offline: bool = False) -> Done:
        return user(command, list(words), tmp_path, offline, token)

    return run


def files(**others: bytes) -> dict[str, bytes]:
    return {**{path.name: path.read_bytes() for path in BUNDLE.iterdir()}, **others}


def failure(done: Done) -> str:
    """The one line of a command that failed."""
    assert done.status == 1
    lines = [line for line in done.error.splitlines() if line]
    assert len(lines) == 1, done.error
    assert " must " in lines[0] or "MANIFEST" in lines[0]
    return lines[0]


def head(hub: HubServer, name: str, revision: str = "main") -> dict[str, bytes]:
    repository = hub.models[name]
    return dict(repository.commits[repository.refs[revision]])


def test_push_makes_a_repository_and_pull_gives_the_bundle_back(
    run: Any, hub: HubServer, tmp_path: Path
) -> None:
    pushed = run("push", "mine", "hf:lab/new", "--private", "--message", "First")
    assert pushed.status == 0, pushed.error
    commit = hub.models["lab/new"].refs["main"]
    assert f"pushed, hf:lab/new@{commit}\n{hub.address}/lab/new/commit/{commit}\n" in pushed.out
    assert hub.models["lab/new"].is_private
    assert hub.models["lab/new"].messages[commit] == "First"
    assert set(head(hub, "lab/new")) == {*NAMES, ".gitattributes"}
    pulled = run("pull", "hf:lab/new", "--output", "theirs/again")
    assert pulled.status == 0, pulled.error
    assert pulled.out.startswith(f"hf:lab/new@{commit}: 8 files, 0.3 MB, as its manifest says\n")
    again = tmp_path / "theirs" / "again"
    assert {path.name for path in again.iterdir()} == {*NAMES, "origin.json"}
    for name in NAMES:
        assert (again / name).read_bytes() == (BUNDLE / name).read_bytes()
    assert seqae.load(again).origin == f"hf:lab/new@{commit}"
    assert run("check", "theirs/again").status == 0
    assert run("pull", "hf:lab/new", "--output", "theirs/again").status == 0  # it is replaced


def test_what_an_earlier_bundle_left_is_deleted_and_other_files_stay(
    run: Any, hub: HubServer, tmp_path: Path
) -> None:
    besides = {
        "notes.txt": b"mine",
        "pytorch_model.bin": b"\x80\x04.",
        "x/prior_a.safetensors": b"",
    }
    hub.commit("lab/old", files(**besides), kind="model")
    remove_prior(tmp_path / "mine", "density.safetensors")
    (tmp_path / "mine" / "origin.json").write_text("{}")
    (tmp_path / "mine" / "private.txt").write_text("not for others")
    count = len(hub.models["lab/old"].commits)
    assert run("push", "mine", "hf:lab/old").status == 0
    assert set(head(hub, "lab/old")) == {*NAMES - {"density.safetensors"}, *besides}
    assert len(hub.models["lab/old"].commits) == count + 1
    assert run("check", "hf:lab/old").status == 0
    assert run("push", "mine", "hf:lab/old").status == 0  # nothing new: no commit
    assert len(hub.models["lab/old"].commits) == count + 1


def test_revisions(run: Any, user: User, hub: HubServer, tmp_path: Path) -> None:
    first = hub.models["lab/gru"].refs["v1"]
    remove_prior(tmp_path / "mine", "density.safetensors")
    assert run("push", "mine", "hf:lab/gru", "--revision", "smaller").status == 0
    second = hub.models["lab/gru"].refs["smaller"]
    assert first == hub.models["lab/gru"].refs["main"]
    for where, commit, priors in (
        ("hf:lab/gru", first, ["gaussian", "mixture"]),
        ("hf:lab/gru@v1", first, ["gaussian", "mixture"]),
        ("hf:lab/gru@smaller", second, []),
        (f"hf:lab/gru@{second}", second, []),
    ):
        origin, latent, found = user(load, where, tmp_path, TOKEN)
        assert (origin, found) == (f"hf:lab/gru@{commit}", priors)
        np.testing.assert_array_equal(latent, seqae.load(BUNDLE).encode("the cat sees the mat"))
    assert user(load, "hf:lab/gru", tmp_path, TOKEN, revision="smaller")[0].endswith(second)


def test_a_pull_request(run: Any, user: User, hub: HubServer, tmp_path: Path) -> None:
    """It may be of somebody who may not write, as pull requests are."""
    before = hub.models["lab/gru"].refs["main"]
    (tmp_path / "mine" / "README.md").write_text("# Better\n")
    done = run("push", "mine", "hf:lab/gru", "--create_pr", token=READ_ONLY_TOKEN)
    assert done.status == 0, done.error
    commit = hub.models["lab/gru"].refs["refs/pr/1"]
    assert f"hf:lab/gru@{commit}\n{hub.address}/lab/gru/discussions/1\n" in done.out
    assert hub.models["lab/gru"].refs["main"] == before
    assert head(hub, "lab/gru", "refs/pr/1")["README.md"] == b"# Better\n"
    assert user(load, "hf:lab/gru@refs/pr/1", tmp_path, TOKEN)[0] == f"hf:lab/gru@{commit}"


def test_the_revision_is_asked_for_once(user: User, hub: HubServer, tmp_path: Path) -> None:
    """Files are fetched by the commit; what is there is not fetched again."""
    commit = hub.commit("lab/once", files(), kind="model")
    hub.requests.clear()
    user(load, "hf:lab/once", tmp_path, TOKEN)
    assert sum("/revision/" in line or line.endswith("/lab/once") for line in hub.requests) == 1
    fetched = [line for line in hub.requests if "/resolve/" in line]
    assert fetched
    assert all(f"/resolve/{commit}/" in line for line in fetched)
    hub.requests.clear()
    user(load, "hf:lab/once", tmp_path, TOKEN)
    assert len(hub.requests) == 1
    hub.requests.clear()
    user(load, f"hf:lab/once@{commit}", tmp_path, TOKEN)
    assert hub.requests == []


def test_no_pickle_is_fetched(run: Any, user: User, hub: HubServer, tmp_path: Path) -> None:
    pickle = b"cbuiltins\nprint\n(S'pwned'\ntR."
    hostile = ["pytorch_model.bin", "model.pkl", "last.ckpt", "handler.py", "modeling_seqae.py"]
    hub.commit("lab/odd", files(**dict.fromkeys(hostile, pickle)), kind="model")
    assert user(load, "hf:lab/odd", tmp_path, TOKEN)[2] == ["gaussian", "mixture"]
    assert run("pull", "hf:lab/odd", "--output", "odd").status == 0
    assert {path.name for path in (tmp_path / "odd").iterdir()} == {*NAMES, "origin.json"}
    assert not [line for line in hub.requests if any(name in line for name in hostile)]


def test_without_a_network_what_was_fetched_is_found(
    run: Any, user: User, hub: HubServer, tmp_path: Path
) -> None:
    origin = user(load, "hf:lab/gru@v1", tmp_path, TOKEN)[0]
    hub.requests.clear()
    assert user(load, "hf:lab/gru@v1", tmp_path, TOKEN, offline=True)[0] == origin
    assert user(load, "hf:lab/gru@v1", tmp_path, None, local_files_only=True)[0] == origin
    assert run("reconstruct", "hf:lab/gru@v1", "the cat sees the mat", offline=True).status == 0
    line = failure(run("check", "hf:lab/gru@v9", offline=True))
    assert "hf:lab/gru@v9 is not whole in " in line
    assert line.endswith("Connect, and fetch it: `seqae pull hf:lab/gru@v9`.")
    assert "must be a repository that can be reached" in failure(
        run("push", "mine", "hf:lab/gru", offline=True)
    )
    assert hub.requests == []
    hub.broken = True  # then the cache serves, and a line says so
    try:
        done = run("reconstruct", "hf:lab/gru@v1", "the cat sees the mat")
    finally:
        hub.broken = False
    assert (done.status, done.out) == (0, "the cat sees the mat\n")
    assert re.fullmatch(r"seqae: the hub cannot be reached \(.*503.*\), so .*\n", done.error)


def test_a_busy_hub_is_asked_again(run: Any, hub: HubServer) -> None:
    hub.commit("lab/busy", files(), kind="model")
    wait = {"Retry-After": "1"}
    for request, status in (
        ("GET /api/models/lab/busy$", 429),
        ("GET /api/models/lab/busy$", 503),
        ("GET /api/models/lab/busy/tree", 502),
        ("HEAD /lab/busy/resolve/.*config.json", 500),
        ("GET /lab/busy/resolve/.*config.json", 429),
        ("GET /lab/busy/resolve/.*tokenizer.json", 503),
    ):
        hub.faults.append(Fault(request, status, wait if status == 429 else {}))
    done = run("pull", "hf:lab/busy")
    assert (done.status, done.error) == (0, "")
    for request, status in (
        ("POST /api/repos/create", 503),
        ("POST /api/models/lab/busy/preupload", 429),
        ("PUT /_lfs/", 500),
        ("POST /api/models/lab/busy/commit", 504),
    ):
        hub.faults.append(Fault(request, status, wait if status == 429 else {}))
    hub.large.clear()
    hub.models["lab/busy"].add({"README.md": b""})
    done = run("push", "mine", "hf:lab/busy")
    assert (done.status, done.error) == (0, "")
    assert not any(fault.times for fault in hub.faults)


def test_a_cut_connection_loses_nothing(run: Any, hub: HubServer, tmp_path: Path) -> None:
    """The client goes on after what it has written, in pieces of 10 MB: here from the start."""
    hub.commit("lab/far", files(), kind="model")
    hub.cut.update({"model.safetensors": 100_000, "config.json": 7})
    assert run("pull", "hf:lab/far", "--output", "far").status == 0
    for name in ("config.json", "model.safetensors"):
        asked = [line for line in hub.requests if re.fullmatch(rf"GET .*/{name}", line)]
        assert len(asked) == 2
    assert check_manifest(tmp_path / "far") == check_manifest(BUNDLE)


@pytest.mark.parametrize(
    ("words", "token", "told"),
    [
        (("pull", "hf:lab/none"), TOKEN, "there is no lab/none that you may read instead. Check"),
        (("pull", "hf:lab/gru@v9"), TOKEN, "no 'v9' instead. Give a branch, a tag or a commit."),
        (("pull", "hf:lab/secret"), None, "if it is private, `hf auth login`."),
        (("pull", "hf:lab/gated"), TOKEN, "is gated instead. Ask for access on its page, and log"),
        (("pull", "hf:lab/gru"), "hf_wrong", "Log in with `hf auth login`, or correct HF_TOKEN."),
        (("pull", "hf:lab/bert"), TOKEN, "hf:lab/bert has no MANIFEST.sha256 instead."),
        (("pull", "hf:lab/spoilt"), TOKEN, "`hf download lab/spoilt --revision "),
        (("pull", "hf:lab/gru", "--output", "."), TOKEN, "`output` must be new, empty or a bundle"),
        (("pull", "mine"), TOKEN, "must be an address, hf:OWNER/NAME, wandb:"),
        (("pull", "hf:lab/gru@v1", "--revision", "v2"), TOKEN, "v1 in the address and v2 beside"),
        (("prior", "hf:lab/gru"), TOKEN, "`seqae pull hf:lab/gru --output my_bundle`."),
        (("test", "hf:lab/gru"), TOKEN, "Write `seqae evaluate hf:lab/gru`."),
        (("push", "mine", "hf:lab/gru"), None, "`hf auth login`"),
        (("push", "mine", "hf:others/x"), TOKEN, "others/x is not instead. Log in with a token"),
        (("push", "mine", "hf:lab/gru"), READ_ONLY_TOKEN, "propose the change to its owner"),
        (("push", "mine", "lab/gru"), TOKEN, "must be written hf:OWNER/NAME[@REVISION], but it is"),
        (("push", "mine", "hf:lab/gru", "--private"), TOKEN, "there and public instead."),
        (("push", "mine", f"hf:lab/gru@{'0' * 40}"), TOKEN, "must be a branch to push to"),
        (("push", "mine", "hf:lab/gru@b", "--create_pr"), TOKEN, "`create_pr` must be left out"),
        (("push", "mine", "hf:lab/raced"), TOKEN, "has just pushed to lab/raced instead. Run"),
    ],
)
def test_refusals(
    run: Any, hub: HubServer, words: tuple[str, ...], token: str | None, told: str
) -> None:
    if "lab/secret" not in hub.models:
        hub.commit("lab/secret", files(), kind="model")
        hub.models["lab/secret"].is_private = True
        hub.commit("lab/gated", files(), kind="model")
        hub.private.add("lab/gated")
        hub.commit("lab/bert", {"config.json": b"{}", "model.safetensors": b""}, kind="model")
        hub.commit("lab/spoilt", files(**{"config.json": b"{}"}), kind="model")
        hub.commit("lab/raced", files(**{"README.md": b"theirs"}), kind="model")
    hub.faults.append(Fault("POST /api/models/lab/raced/commit", 412))
    before = dict(hub.models["lab/gru"].refs)
    assert told in failure(run(*words, token=token))
    assert hub.models["lab/gru"].refs == before


def test_what_is_damaged_is_not_pushed(run: Any, hub: HubServer, tmp_path: Path) -> None:
    selftest = tmp_path / "mine" / "selftest.json"
    rows = json.loads(selftest.read_text())
    rows[0]["reconstruction"] = "something else"
    manifest = tmp_path / "mine" / "MANIFEST.sha256"
    selftest.write_text(json.dumps(rows))
    assert "is not what MANIFEST.sha256 says" in run("push", "mine", "hf:lab/bad").error
    lines = manifest.read_text().splitlines()
    from seqae.files import sha256_of

    fixed = [f"{sha256_of(selftest)}  selftest.json" if "selftest" in x else x for x in lines]
    manifest.write_text("\n".join(fixed) + "\n")
    assert "`selftest` must give the reconstructions" in run("push", "mine", "hf:lab/bad").error
    shutil.copytree(BUNDLE, tmp_path / "linked")
    (tmp_path / "linked" / "README.md").unlink()
    (tmp_path / "linked" / "README.md").symlink_to("/etc/hostname")
    assert "it is a link or no regular file" in run("push", "linked", "hf:lab/bad").error
    assert "lab/bad" not in hub.models


def test_push_to_hub(user: User, hub: HubServer, tmp_path: Path) -> None:
    address = user(push, tmp_path, TOKEN, str(BUNDLE), "lab/python", message="From Python")
    commit = hub.models["lab/python"].refs["main"]
    assert address == f"hf:lab/python@{commit}"
    assert hub.models["lab/python"].messages[commit] == "From Python"
    assert user(load, address, tmp_path, TOKEN)[0] == address


def test_a_failed_pull_leaves_what_was_there(run: Any, hub: HubServer, tmp_path: Path) -> None:
    hub.commit("lab/half", files(**{"model.safetensors": b"half"}), kind="model")
    assert run("pull", "hf:lab/half", "--output", "mine").status == 1
    assert run("pull", "hf:lab/half", "--output", "new").status == 1
    assert check_manifest(tmp_path / "mine") == check_manifest(BUNDLE)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.slow  # it imports lightning
def test_a_training_starts_from_a_repository(run: Any, hub: HubServer, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the cat sees the mat\na dog likes the mat\n" * 8)
    words = ["--data.train", "text.txt", "--data.val", "text.txt", "--run_dir", "run"]
    words += ["--max_steps", "1", "--samples", "0", "--prior_sentences", "0", "--threads", "1"]
    done = run("fit", "--init", "hf:lab/gru@v1", *words)
    assert done.status == 0, done.error
    commit = hub.models["lab/gru"].refs["v1"]
    kept = json.loads((tmp_path / "run" / "bundle" / "training.json").read_text())["init"]
    assert kept["bundle"] == f"hf:lab/gru@{commit}"
    line = failure(run("fit", "--init", "hf:lab/none", *words, "--run_dir", "other"))
    assert line.startswith("seqae: error: `init` must name a model of the hub, but there is no lab")
    assert not (tmp_path / "other").exists()


def test_the_command_hf(run: Any, hub: HubServer, tmp_path: Path) -> None:
    """It uploads and downloads the folder as it is; its snapshot in the cache is a bundle, too."""
    hf = str(Path(sys.executable).with_name("hf"))
    environment = {**os.environ, **hub.environment(tmp_path / "home")}

    def run_hf(*words: str) -> str:
        done = subprocess.run(
            [hf, *words], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=100
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run_hf("upload", "lab/by-hand", "mine", ".")
    assert set(head(hub, "lab/by-hand")) == {*NAMES, ".gitattributes"}
    run_hf("download", "lab/by-hand", "--local-dir", "got")
    assert run("check", "--strict", "true", "got").status in (0, 1)  # other versions are a warning
    assert seqae.load(tmp_path / "got").origin is None
    run_hf("download", "lab/by-hand")
    (snapshot,) = (tmp_path / "home" / "hub" / "models--lab--by-hand" / "snapshots").iterdir()
    assert (snapshot / "config.json").is_symlink()
    seqae.load(snapshot)
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to(BUNDLE / "config.json")
    with pytest.raises(ValueError, match="has no file config.json"):
        seqae.load(snapshot)
