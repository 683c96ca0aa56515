"""A file for Embedding Atlas, read as its own command reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small import ODD_SENTENCES, run_seqae, write_text

from seqae.tasks.latent_files import columns_for_atlas, read_latents


@pytest.mark.parametrize("shape", [(0, 4), (1, 4), (3, 1)])
def test_few_latents_and_few_dimensions(shape: tuple[int, int]) -> None:
    columns = columns_for_atlas(np.ones(shape, np.float32))
    assert len(columns["projection_x"]) == shape[0]
    assert np.isfinite(columns["projection_y"]).all()


def test_embedding_atlas_reads_the_file(tmp_path: Path) -> None:
    """Its command loads the file by pandas, stacks vectors and neighbours, and writes it again."""
    import pandas
    import pyarrow

    texts = [*ODD_SENTENCES, *(f"number {i}" for i in range(20))]
    source, output = write_text(tmp_path / "a.txt", texts), tmp_path / "atlas.parquet"
    arguments = ["encode", "demo", "--input", source, "--output", output, "--projection", "pca"]
    assert run_seqae(*arguments) == 0
    frame = pandas.read_parquet(output)
    assert frame["text"].tolist() == texts
    assert frame[["projection_x", "projection_y"]].dtypes.tolist() == [np.float32] * 2
    latents = np.stack(frame["latent"].to_list())
    np.testing.assert_array_equal(latents, read_latents(str(output)))
    ids = np.stack([row["ids"] for row in frame["neighbors"]])
    distances = np.stack([row["distances"] for row in frame["neighbors"]])
    assert ids.shape == distances.shape == (len(texts), 15)
    assert (ids[:, 0] == range(len(texts))).all()
    unit = latents / np.linalg.norm(latents, axis=1, keepdims=True)
    np.testing.assert_allclose(distances[3], 1 - unit[ids[3]] @ unit[3], atol=1e-5)
    assert (np.diff(distances) >= 0).all()
    again = pyarrow.Table.from_pandas(frame)
    assert [field.name for field in again.schema.field("neighbors").type] == ["ids", "distances"]


def test_other_files_have_no_place_for_the_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["encode", "demo", "a text", "--projection", "pca"]
    for more in ([], ["--output", tmp_path / "a.npy"]):
        assert run_seqae(*arguments, *more) == 1
        said = capsys.readouterr().err
        assert said.startswith("seqae: error: `output` must end in .parquet with `projection`")
