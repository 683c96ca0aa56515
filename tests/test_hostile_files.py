"""Pickles that would run code, in every place that a stranger can put a file: none of them runs.

What else a stranger can do has its test elsewhere. To config.json, the header of weights, names and
links of a bundle: test_bundle.py; to priors: test_stored_priors.py; to tokenizer.json:
test_json_format.py; to the cost of JSON and YAML: test_untrusted.py; to checkpoints, one file or
shards: test_checkpoint_io.py, test_fsdp.py; to the configuration of a run: test_trust.py; to files
of latents and indices of neighbours: test_latent_files.py, test_neighbour_index.py; to all files of
a bundle by chance: test_fuzzed_bundles.py.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import contracts
import numpy as np
import pytest
import torch
from small import run_seqae

import seqae
from seqae.bundle.find_bundle import DEMO_FOLDER
from seqae.bundle.manifest import CARD, FILES, MANIFEST
from seqae.data.tokenizers.imported.tokenizer_file import TokenizerFile
from seqae.tasks.latent_files import ENDINGS

# What others load, or would load, from a folder of a model.
USUAL_NAMES = (
    *("pytorch_model.bin", "model.pkl", "model.pt", "model.pth", "last.ckpt", "weights.ckpt"),
    *("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "vocab.pkl"),
    *("tokenizer.pkl", "spiece.model", "data.pkl", "hparams.pkl", ".metadata", "latents.npy"),
)
# Python files that a program may import by chance, or that a library runs from a folder.
USUAL_CODE = ("modeling.py", "conftest.py", "sitecustomize.py", "seqae.py", "torch.py", "setup.py")


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def raw_pickle(mark: Path) -> bytes:
    return pickle.dumps(Hostile(mark))


def torch_file(mark: Path) -> bytes:
    stream = BytesIO()
    torch.save({"state_dict": Hostile(mark)}, stream)
    return stream.getvalue()


def numpy_file(mark: Path) -> bytes:
    stream = BytesIO()
    np.save(stream, np.array([[Hostile(mark)]], dtype=object), allow_pickle=True)
    return stream.getvalue()


KINDS: tuple[Callable[[Path], bytes], ...] = (raw_pickle, torch_file, numpy_file)


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that exists once anything has run; the test fails then."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    mark = tmp_path / "ran"
    yield mark
    assert not mark.exists()


def plant(folder: Path, ran: Path) -> None:
    """Put pickles and code under usual names beside whatever is there."""
    for number, name in enumerate(USUAL_NAMES):
        if not (folder / name).exists():
            (folder / name).write_bytes(KINDS[number % len(KINDS)](ran))
    for name in USUAL_CODE:
        (folder / name).write_text(f"import os\nos.mkdir({str(ran)!r})\n")


def test_the_pickles_are_hostile(tmp_path: Path) -> None:
    for kind in KINDS:
        mark = tmp_path / kind.__name__
        if kind is raw_pickle:
            pickle.loads(kind(mark))
        elif kind is torch_file:
            torch.load(BytesIO(kind(mark)), weights_only=False)
        else:
            np.load(BytesIO(kind(mark)), allow_pickle=True)
        assert mark.exists()


def test_nothing_beside_what_is_read_runs(
    overfit_run: Path, tmp_path: Path, ran: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a run folder, its checkpoints and its bundle; in it, and from it."""
    run = Path(shutil.copytree(overfit_run, tmp_path / "run", symlinks=True))
    for folder in (run, run / "checkpoints", run / "bundle"):
        plant(folder, ran)
    monkeypatch.chdir(run)
    bundle, text = run / "bundle", tmp_path / "text.txt"
    text.write_text("a dog sees the mat\nthe cat has the red ball\n" * 20)
    latents = tmp_path / "latents.npy"
    for arguments in (
        ("check", bundle),
        ("encode", bundle, "--input", text, "--output", latents),
        ("decode", bundle, latents, "--output", tmp_path / "decoded.jsonl"),
        ("reconstruct", run, "a dog sees the mat"),
        ("sample", bundle, "--count", "2"),
        ("interpolate", run, "the cat sees the mat", "a dog likes the red ball"),
        ("arithmetic", run, "the cat sees the mat", "a dog sees the mat", "a dog has the mat"),
        ("neighbours", run, "a dog sees the mat"),
        ("evaluate", run, text, "--metrics", "reconstruction"),
        ("compare", run, run),
        ("test", run),
        ("predict", run, "--output", tmp_path / "predictions.jsonl"),
        ("fit", "--resume", run),
    ):
        assert run_seqae(*arguments) == 0, arguments
        assert not ran.exists(), arguments
    assert not {"modeling", "setup"} & set(sys.modules)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pickle_in_place_of_a_file_of_a_bundle_is_refused(
    overfit_run: Path, tmp_path: Path, ran: Path, kind: Callable[[Path], bytes]
) -> None:
    good = overfit_run / "bundle"
    priors = [path.name for path in good.glob("prior_*.safetensors")]
    for name in [*FILES, *priors, MANIFEST, CARD, "density.safetensors", "prior_x.safetensors"]:
        bundle = Path(shutil.copytree(good, tmp_path / "bundle"))
        (bundle / name).write_bytes(kind(ran))
        if name != MANIFEST:  # as somebody would who means it
            listed = [*FILES, *{*priors, name} - {*FILES, CARD}]
            lines = [
                f"{hashlib.sha256((bundle / n).read_bytes()).hexdigest()}  {n}\n" for n in listed
            ]
            (bundle / MANIFEST).write_text("".join(lines))
        assert run_seqae("check", bundle) == (0 if name == CARD else 1), name
        if name not in (CARD, "environment.json"):
            contracts.refusal(seqae.load, bundle)
        shutil.rmtree(bundle)
        assert not ran.exists(), name


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_pickle_in_place_of_latents_is_refused(
    overfit_run: Path, tmp_path: Path, ran: Path, ending: str
) -> None:
    for kind in KINDS:
        path = tmp_path / f"latents{ending}"
        path.write_bytes(kind(ran))
        assert run_seqae("decode", overfit_run, path) == 1
        assert not ran.exists()


def test_a_card_that_leads_to_a_secret_is_not_passed_on(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    from seqae.bundle.rewriting import ready_to_send
    from seqae.bundle.sharing.origin import copy_bundle
    from seqae.interchange.sentence_transformers import bundle_contents

    (tmp_path / "secret").write_text("secret")
    bundle = Path(shutil.copytree(DEMO_FOLDER, tmp_path / "bundle"))
    (bundle / CARD).unlink(missing_ok=True)
    (bundle / CARD).symlink_to(tmp_path / "secret")
    assert bundle_contents(bundle)[CARD] == b""
    copy_bundle(bundle, tmp_path / "copy", "hf:a/b")
    assert not (tmp_path / "copy" / CARD).exists()
    with ready_to_send(bundle, "hf:a/b", examples=False) as ready:
        assert "secret" not in (ready / CARD).read_text().split("\n")


def test_a_vocabulary_that_would_fill_the_memory_is_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.json"
    path.write_text("[" + "[]," * 5_000_000 + "0]")
    assert "4,000,000 values" in contracts.refusal(TokenizerFile(str(path)).read)
