"""Files of latents say what they hold, and give it back."""

from __future__ import annotations

from pathlib import Path

import contracts
import numpy as np
import pytest

from seqae.bundle.operations.long_texts import LongLatents, pad
from seqae.tasks.encode_decode import write_json_lines
from seqae.tasks.latent_files import ENDINGS, latent_rows, read_latents, write_arrays

FLAT = np.arange(6, dtype=np.float32).reshape(3, 2)
LONG = pad([FLAT, FLAT[:1], FLAT[1:]])


def write(path: Path, latents: np.ndarray | LongLatents) -> str:
    texts = ["a", "b", "c"]
    if path.suffix == ".jsonl":
        write_json_lines(str(path), latent_rows(texts, latents))
    else:
        write_arrays(str(path), texts, latents)
    return str(path)


@pytest.mark.parametrize("ending", ENDINGS)
def test_one_latent_of_each_text(tmp_path: Path, ending: str) -> None:
    found = read_latents(write(tmp_path / f"a{ending}", FLAT))
    if isinstance(found, LongLatents):
        assert found.mask.shape == (3, 1)
        found = found.latents[found.mask]
    np.testing.assert_array_equal(found, FLAT)


@pytest.mark.parametrize("ending", ENDINGS[1:])
def test_latents_of_stretches(tmp_path: Path, ending: str) -> None:
    found = read_latents(write(tmp_path / f"a{ending}", LONG))
    assert isinstance(found, LongLatents)
    assert found.mask.tolist() == [[True] * 3, [True, False, False], [True, True, False]]
    np.testing.assert_array_equal(found.latents, LONG.latents)


def test_an_array_has_one_latent_of_each_text(tmp_path: Path) -> None:
    found = read_latents(write(tmp_path / "a.npy", pad([FLAT[:1]])))
    np.testing.assert_array_equal(found, FLAT[:1])
    message = contracts.refusal(write, tmp_path / "b.npy", LONG)
    assert "the one at index 0, but it is .npy" in message
    assert not (tmp_path / "b.npy").exists()


@pytest.mark.parametrize(
    "content",
    [
        {"latents": LONG.latents, "mask": LONG.mask[:2]},
        {"latents": LONG.latents, "mask": LONG.mask.astype(int)},
        {"latents": FLAT, "mask": LONG.mask},
        {"latents": LONG.latents},
        {"latents": LONG.latents.astype(object), "mask": LONG.mask},
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, content: dict) -> None:
    np.savez(tmp_path / "a.npz", **content)
    assert "latents.npy" in contracts.refusal(read_latents, str(tmp_path / "a.npz"))


@pytest.mark.parametrize("content", [b"", b"no", b"PK\x03\x04broken"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    assert "is not: " in contracts.refusal(read_latents, str(tmp_path / "a.npz"))


@pytest.mark.parametrize("latents", ["[]", "[1, 2]"])
def test_a_first_line_without_stretches_is_refused(tmp_path: Path, latents: str) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"latents": {latents}}}\n')
    assert "`latents` must be" in contracts.refusal(read_latents, str(tmp_path / "a.jsonl"))


@pytest.mark.parametrize("latents", ["[[1], [2, 3]]", "1", "[]"])
def test_lines_that_do_not_fit_are_refused(tmp_path: Path, latents: str) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"latents": [[1, 2]]}}\n{{"latents": {latents}}}\n')
    assert "`latents` must be" in contracts.refusal(read_latents, str(tmp_path / "a.jsonl"))
