"""Files of latents say what they hold, and give it back."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
from collections.abc import Callable
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


def zipped(path: Path) -> None:
    """8 MB of zeros in 8 kB."""
    header = io.BytesIO()
    shape = {"descr": "<f4", "fortran_order": False, "shape": (10**4, 1, 200)}
    np.lib.format.write_array_header_1_0(header, shape)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("latents.npy", header.getvalue() + bytes(8 * 10**6))


def in_a_dictionary(path: Path) -> None:
    """8 MB of one number."""
    pa = pytest.importorskip("pyarrow")
    zeros = pa.array(np.zeros(2 * 10**6, np.float32))
    table = pa.table({"latent": pa.FixedSizeListArray.from_arrays(zeros, 100)})
    pytest.importorskip("pyarrow.parquet").write_table(table, path)


def in_one_row(path: Path) -> None:
    """45 MB of padding: one text of 3,000 stretches among as many of one."""
    rows = [[[0]]] * 3000 + [[[0]] * 3000]
    path.write_text("".join(f'{{"latents": {row}}}\n' for row in rows))


@pytest.mark.parametrize(
    ("name", "write_bomb"),
    [("a.npz", zipped), ("a.parquet", in_a_dictionary), ("a.jsonl", in_one_row)],
)
def test_what_would_fill_the_memory_is_refused_before(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    write_bomb: Callable[[Path], None],
) -> None:
    monkeypatch.setattr("seqae.tasks.latent_files.unpacked_size.ALWAYS", 4 * 10**6)
    write_bomb(tmp_path / name)
    tracemalloc.start()  # NumPy's memory, too
    message = contracts.refusal(read_latents, str(tmp_path / name))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert f"{name} would take " in message
    assert peak < 4e6


@pytest.mark.parametrize("kind", ["list_", "large_list"])
def test_parquet_of_other_programs(tmp_path: Path, kind: str) -> None:
    """Pandas writes lists, Polars large ones; in several row groups, a column sliced, or halves."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    own = getattr(pa, kind)
    table = pa.table({"latent": pa.array(FLAT.tolist(), own(pa.float64()))})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    np.testing.assert_array_equal(read_latents(str(tmp_path / "a.parquet")), FLAT)
    rows = [FLAT.tolist(), FLAT[1:].tolist()]
    table = pa.table({"latents": pa.array([[], *rows], own(own(pa.float32()))).slice(1)})
    pq.write_table(table, tmp_path / "b.parquet", row_group_size=1)
    found = read_latents(str(tmp_path / "b.parquet"))
    np.testing.assert_array_equal(found.latents[found.mask], np.concatenate([FLAT, FLAT[1:]]))
    for column in ([[1.0, None]], [[1.0], None], [[1.0], [1.0, 2.0]], [["a"]], [None]):
        pq.write_table(pa.table({"latent": column}), tmp_path / "c.parquet")
        assert "`latents` must be" in contracts.refusal(read_latents, str(tmp_path / "c.parquet"))
