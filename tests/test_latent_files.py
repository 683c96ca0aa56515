"""Files of latents say what they hold, and give it back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import contracts
import numpy as np
import pytest
import safetensors.numpy
from small import run_seqae

from seqae.bundle.operations.long_texts import LongLatents, pad
from seqae.bundle.operations.quantised_latents import PRECISIONS, SCALED, calibrate
from seqae.tasks.encode_decode import write_json_lines
from seqae.tasks.latent_files import (
    ENDINGS,
    latent_rows,
    metadata_path,
    read_latents,
    read_scale,
    write_arrays,
)
from seqae.tasks.latent_files.write_latents import WITH_SCALE

FLAT = np.arange(6, dtype=np.float32).reshape(3, 2)
LONG = pad([FLAT, FLAT[:1], FLAT[1:]])


def write(path: Path, latents: np.ndarray | LongLatents, *options: Any) -> str:
    texts = ["a", "b", "c"]
    if path.suffix == ".jsonl":
        write_json_lines(str(path), latent_rows(texts, latents))
    else:
        write_arrays(str(path), texts, latents, *options)
    return str(path)


@pytest.mark.parametrize("ending", ENDINGS)
def test_one_latent_of_each_text(tmp_path: Path, ending: str) -> None:
    found = read_latents(write(tmp_path / f"a{ending}", FLAT))
    if isinstance(found, LongLatents):
        assert found.mask.shape == (3, 1)
        found = found.latents[found.mask]
    np.testing.assert_array_equal(found, FLAT)


@pytest.mark.parametrize("ending", [each for each in ENDINGS if each not in (".npy", ".tsv")])
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
        {"latents": LONG.latents, "mask": LONG.mask, "scale": FLAT[:2]},
        {"latents": LONG.latents, "mask": LONG.mask, "scale": FLAT[:2], "precision": "int4"},
        {"latents": LONG.latents.astype(np.int8), "mask": LONG.mask, "scale": np.ones((2, 3))}
        | {"precision": "int8"},
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


@pytest.mark.parametrize("precision", PRECISIONS[1:])
def test_every_file_holds_fewer_bits_with_the_way_back(tmp_path: Path, precision: str) -> None:
    """All files of a precision are decoded to the same; `decode` in each is the code that does."""
    values = np.random.default_rng(0).normal(size=(6, 11)).astype(np.float32)
    long = pad([values[:3], values[3:4], values[4:]])
    found = [read_latents(write(tmp_path / f"a{e}", long, precision)) for e in WITH_SCALE]
    for each in found:
        assert isinstance(each, LongLatents)
        np.testing.assert_array_equal(each.latents, found[0].latents)
        np.testing.assert_array_equal(each.latents[~each.mask], 0.0)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        code = str(arrays.get("decode", "latents"))
        assert ("scale" in arrays) == (precision in SCALED)
        names = {name: arrays[name] for name in arrays} | {"numpy": np}
    decoded = eval(code, names)[LONG.mask]
    np.testing.assert_array_equal(decoded.astype(np.float32), found[0].latents[LONG.mask])


def test_safetensors_and_parquet_as_their_own_libraries_read_them(tmp_path: Path) -> None:
    import pandas
    import pyarrow.parquet

    arrays = safetensors.numpy.load_file(write(tmp_path / "a.safetensors", FLAT, "int8"))
    assert {name: (a.dtype.name, a.shape) for name, a in arrays.items()} == {
        "latents": ("int8", (3, 2)),
        "scale": ("float32", (2, 2)),
    }
    np.testing.assert_array_equal(arrays["scale"], [[0, 1], [4, 5]])
    plain = safetensors.numpy.load_file(write(tmp_path / "b.safetensors", FLAT))
    assert list(plain) == ["latents"]
    np.testing.assert_array_equal(plain["latents"], FLAT)
    name = write(tmp_path / "a.parquet", FLAT, "int8")
    assert pandas.read_parquet(name)["text"].tolist() == ["a", "b", "c"]
    said = json.loads(pyarrow.parquet.read_schema(name).metadata[b"seqae"])
    assert said["scale"] == arrays["scale"].tolist()
    column = pyarrow.parquet.read_table(name)["latent"].to_pylist()
    assert column == arrays["latents"].tolist()


def test_the_files_of_the_projector(tmp_path: Path) -> None:
    """As many lines in both, whatever a text holds, read as the projector and pandas read them."""
    import pandas

    texts = ["a\tb", "two\nlines\r\u2028", "\\t", " ", '"quoted', "ünï"]
    latents = np.float32([[0.1, -1e-20], [1 / 3, 2], [3, 4], [5, 6], [7, 8], [9, 1e20]])
    output = str(tmp_path / "vectors.tsv")
    write_arrays(output, texts, latents)
    assert metadata_path(output) == tmp_path / "metadata.tsv"
    lines = (tmp_path / "metadata.tsv").read_text().split("\n")
    expected = ["a\\tb", "two\\nlines\\r\\u2028", "\\\\t", "(blank)", '"quoted', "ünï", ""]
    assert lines == expected
    table = pandas.read_csv(output, sep="\t", header=None, dtype=np.float32)
    np.testing.assert_array_equal(table.to_numpy(), latents)
    np.testing.assert_array_equal(read_latents(output), latents)
    assert metadata_path("out/mine.tsv") == Path("out/mine.metadata.tsv")


def test_a_scale_comes_from_other_latents_or_from_their_file(tmp_path: Path) -> None:
    own = calibrate(FLAT, "int8")
    np.testing.assert_array_equal(read_scale(write(tmp_path / "a.npy", FLAT), "int8"), own)
    np.testing.assert_array_equal(read_scale(write(tmp_path / "a.npz", LONG), "int8"), own)
    wide = np.float32([[-9, -9], [9, 9]])
    name = write(tmp_path / "a.safetensors", FLAT, "int8", wide)
    np.testing.assert_array_equal(read_scale(name, "int8"), wide)
    assert "is in int8 instead" in contracts.refusal(read_scale, name, "binary")
    assert "no a.npy" in contracts.refusal(read_scale, "a.npy", "int8")


def test_the_command_writes_and_reads_each_precision(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["the cat sat on the mat", "a dog ran home"]
    said = []
    for name, *options in (
        ["a.npy"],
        ["a.tsv"],
        ["b.npy", "--precision", "float16"],
        ["a.safetensors", "--precision", "int8"],
        ["a.parquet", "--precision", "int8", "--calibration", tmp_path / "a.safetensors"],
    ):
        output = tmp_path / name
        assert run_seqae("encode", "demo", *texts, "--output", output, *options) == 0
        assert run_seqae("decode", "demo", output) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] == said[2]
    assert said[3] == said[4]
    for options, expected in (
        (["--precision", "int8"], "`output` must end in .npz or .safetensors or .parquet for"),
        (["--precision", "float16", "--output", tmp_path / "x.jsonl"], "`output` must end in .npy"),
        (["--calibration", tmp_path / "a.npy"], "`calibration` must be left out for float32"),
    ):
        assert run_seqae("encode", "demo", *texts, *options) == 1
        assert expected in capsys.readouterr().err
