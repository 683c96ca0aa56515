"""Files of latents: one (Z,) for each text, or in long texts (K, Z), one for each stretch.

| ending | content |
|---|---|
| .npy | (n, Z) float32 or float16 |
| .npz | `latents` (n, K, Z) and `mask` (n, K) |
| .safetensors | `latents` (n, Z), or (n, K, Z) with `mask` (n, K) |
| .parquet | `text` and `latent`, or `latents`, without padding |
| .jsonl | the same, as JSON lines |
| .tsv | for the embedding projector, with a second file for the texts |

Those of int8 and binary also have their `scale`, (2, Z), and say how they are decoded: .npz and
.safetensors as arrays and texts beside `latents`, .parquet in the metadata of its schema.

write_latents.py    to each of them
read_latents.py     from each of them
parquet_latents.py  from .parquet
unpacked_size.py    how much memory a file may take
projector_tsv.py    the format of the projector
atlas_columns.py    more columns of .parquet, for Embedding Atlas
"""

from seqae.tasks.latent_files.atlas_columns import (
    check_projection,
    columns_for_atlas,
)
from seqae.tasks.latent_files.projector_tsv import metadata_path
from seqae.tasks.latent_files.read_latents import read_latents, read_scale
from seqae.tasks.latent_files.write_latents import (
    ENDINGS,
    check_precision,
    latent_rows,
    write_arrays,
)

__all__ = [
    "ENDINGS",
    "check_precision",
    "check_projection",
    "columns_for_atlas",
    "latent_rows",
    "metadata_path",
    "read_latents",
    "read_scale",
    "write_arrays",
]
