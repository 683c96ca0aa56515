"""Data sets of the Hugging Face hub: streamed, or downloaded to the cache of `datasets`.

    hf:OWNER/NAME[@REVISION][:CONFIG][#SPLIT[.COLUMN]]

Opening the source resolves the revision to a commit, and from then on only this commit is read. The
data report of the run records it, so that other processes and a resume read the same, even if
somebody pushes to the data set meanwhile.
`datasets` 4 and later run no code of a data set; a data set that needs its own is refused.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from typing_extensions import override

from seqae.data.sources.base import Source, SourcePart
from seqae.data.sources.formats.nested import all_fields, root_of
from seqae.data.sources.formats.reader import Keys
from seqae.data.sources.hubs.hub_readers import (
    CachedReader,
    HubLocation,
    StreamReader,
    import_datasets,
    is_text,
    open_builder,
    open_cached,
)
from seqae.data.sources.hubs.hub_requests import TIMEOUT_SECONDS, first_line, patiently, refusal
from seqae.data.sources.records import ReadOptions
from seqae.data.sources.walking import quote
from seqae.extras import extra

with extra("data"):
    import pyarrow as pa

NAME = re.compile(
    r"hf:(?P<dataset>[\w.-]+(?:/[\w.-]+)?)"
    r"(?:@(?P<revision>[\w./-]+))?"
    r"(?::(?P<config>[^#\s]+))?"
    r"(?:#(?P<split>\w+)(?:\.(?P<column>.+))?)?",
    re.ASCII,
)
SHA = re.compile(r"[0-9a-f]{40}")
MAX_LISTED_CHOICES = 20  # in a message


@dataclass(frozen=True)
class HubName:
    """The parts of the name that the user wrote; None for a part that is missing."""

    dataset: str
    revision: str | None = None
    config: str | None = None
    split: str = "train"
    column: str | None = None

    @classmethod
    def parse(cls, name: str, key: str) -> HubName:
        """Parse a name.

        Raises:
            ValueError: if it does not have the form of one.
        """
        match = NAME.fullmatch(name)
        if match is None:
            raise ValueError(
                f"`{key}` must be written hf:OWNER/NAME[@REVISION][:CONFIG][#SPLIT[.COLUMN]], but "
                f"it is {quote(name)} instead. Write it like hf:stanfordnlp/imdb#train.text."
            )
        return cls(**{part: text for part, text in match.groupdict().items() if text is not None})


@final
class HubSource(Source):
    """A split of a data set of the hub.

    The constructor refuses whatever can be wrong with the name. If `hub` is download it also
    downloads the data set, unless the cache has that commit. Without a network it uses the cache.

    Args:
        name: as the user wrote it.
        options: say how to read it.
        keys: for error messages.
        revision: to read whatever the name says: the commit with which a run began.

    Raises:
        ValueError: if the name is wrong, there is no such configuration, split or column, or the
            data set needs code of its own.
        FileNotFoundError: if there is no such data set or revision.
        PermissionError: if it is gated.
        OSError: if it cannot be reached or downloaded.
    """

    def __init__(
        self, name: str, options: ReadOptions, keys: Keys, revision: str | None = None
    ) -> None:
        super().__init__(name, options, keys)
        self.asked = HubName.parse(name, keys.source)
        if revision is not None:
            self.asked = replace(self.asked, revision=revision)
        self.is_download = options.hub == "download"
        columns = [self.asked.column or options.column]
        if options.target_column is not None:
            columns.append(options.target_column)
        import_datasets()
        dataset, revision, builder = self._open()
        splits = [str(split) for split in builder.config.data_files or builder.info.splits or ()]
        if self.asked.split not in splits:
            raise self._refusal("name a split", f"there is no {quote(self.asked.split)}", splits)
        self.paths: tuple[str, ...] = ()
        try:
            if self.is_download:
                builder.download_and_prepare()
                rows = builder.as_dataset(self.asked.split)
                self.paths = tuple(file["filename"] for file in rows.cache_files)
                self.count, schema = rows.num_rows, rows.features.arrow_schema
            else:
                rows = builder.as_streaming_dataset(self.asked.split)
                self.count, schema = rows.num_shards, _schema(rows)
        except Exception as error:  # of httpx, fsspec, Arrow, pandas, datasets
            raise self._failure(error) from error
        self._check_columns(schema, columns)
        config = builder.config.name
        roots = {root_of(column, schema.names): None for column in columns}  # without repetitions
        self.location = HubLocation(
            dataset, revision, config, self.asked.split, tuple(columns), tuple(roots)
        )

    @override
    @property
    def can_reread(self) -> bool:
        return True

    @property
    def fingerprint(self) -> str:
        """Changes with the commit, and with what is read of it and how."""
        return self.hash_of(vars(self.location))

    @override
    @property
    def record(self) -> dict[str, Any]:
        location = self.location
        return {
            "dataset": location.dataset,
            "config": location.config,
            "split": location.split,
            "column": location.columns[0],
            "revision": location.revision,
        }

    @property
    def size(self) -> int | None:
        """Bytes of the columns to read; None unless they are in the cache."""
        if not self.is_download:
            return None
        return int(open_cached(self.paths, self.location.roots).data.nbytes)

    def parts(self, wanted: int = 1) -> list[SourcePart]:
        """Cut the source into ranges of shards or, in the cache, of rows.

        If there are fewer shards than parts, several parts share the blocks of a shard, and each of
        them fetches the whole shard: `hub: download` is better then.
        """
        stride = 1 if self.is_download else -(-wanted // max(1, self.count))
        spans = wanted if stride == 1 else self.count
        cuts = [self.count * index // spans for index in range(spans + 1)]
        readers = [self._reader(span) for span in zip(cuts, cuts[1:], strict=False)]
        return [
            SourcePart(reader, stride, offset) for reader in readers for offset in range(stride)
        ]

    def _reader(self, span: tuple[int, int]) -> StreamReader | CachedReader:
        most = self.options.max_line_bytes
        if self.is_download:
            return CachedReader(self.name, self.location, self.keys, most, span, self.paths)
        return StreamReader(self.name, self.location, self.keys, most, span, self.count)

    def _open(self) -> tuple[str, str, Any]:
        """Return the full name of the data set, its commit, and a DatasetBuilder of the commit."""
        with extra("data"):
            from huggingface_hub import HfApi

        asked, key = self.asked, self.keys.source
        try:
            info = patiently(
                lambda: HfApi().dataset_info(
                    asked.dataset, revision=asked.revision, timeout=TIMEOUT_SECONDS
                )
            )
        except Exception as error:  # of the hub's client and of what it speaks HTTP with
            told = refusal(error, key, "data set", asked.dataset, asked.revision)
            if told is not None:
                raise told from None
            return self._open_from_cache(error)
        script = f"{info.id.split('/')[-1]}.py"
        if any(file.rfilename == script for file in info.siblings or ()):
            raise ValueError(
                f"`{key}` must hold its data in files, but {info.id} needs its own code ({script}) "
                f"instead, which is not run. Try hf:{info.id}@refs/convert/parquet."
            )
        return info.id, str(info.sha), self._open_at(info.id, str(info.sha))

    def _open_at(self, dataset: str, revision: str) -> Any:
        with extra("data"):
            from datasets import get_dataset_config_names
            from huggingface_hub import hf_hub_download
            from huggingface_hub.errors import EntryNotFoundError

        config = self.asked.config
        try:
            if self.is_download:  # records in the cache which commit it is, for _open_from_cache
                with suppress(EntryNotFoundError):
                    named = self.asked.revision or "main"
                    hf_hub_download(dataset, "README.md", repo_type="dataset", revision=named)
            try:
                return open_builder(dataset, revision, config)
            except ValueError:
                configs = get_dataset_config_names(f"hf://datasets/{dataset}", revision=revision)
                if config in configs or (config is None and len(configs) == 1):
                    raise
        except Exception as error:  # of httpx, fsspec, datasets
            raise self._failure(error) from error
        fault = "it names none" if config is None else f"there is no {quote(config)}"
        raise self._refusal("name a configuration", fault, configs)

    def _open_from_cache(self, error: Exception) -> tuple[str, str, Any]:
        """Find a commit that was downloaded earlier; load_dataset would take the newest of them."""
        with extra("data"):
            from datasets import config as settings
            from datasets.naming import camelcase_to_snakecase
            from datasets.packaged_modules.cache.cache import Cache
            from huggingface_hub import constants
            from huggingface_hub.file_download import repo_folder_name

        dataset, revision = self.asked.dataset, self.asked.revision or "main"
        folder = repo_folder_name(repo_id=dataset, repo_type="dataset")
        record = Path(constants.HF_HUB_CACHE, folder, "refs", revision)
        if not SHA.fullmatch(revision) and record.is_file():
            revision = record.read_text().strip()
        *owner, name = dataset.split("/")
        folder = "___".join([*owner, camelcase_to_snakecase(name)])
        config = glob.escape(self.asked.config) if self.asked.config else "*"
        pattern = f"{config}/*/{revision}/dataset_info.json"
        infos = sorted(Path(settings.HF_DATASETS_CACHE, folder).glob(pattern))
        if not self.is_download or not infos:
            raise ConnectionError(
                f"`{self.keys.source}` must be within reach, but {dataset} is not "
                f"({first_line(error)}) instead. Connect; or fetch it once where there is a "
                f"network, and read it from then on, with {self.keys.setting('hub', 'download')}."
            ) from None
        if len(infos) > 1:
            configs = [path.parts[-4] for path in infos]
            raise self._refusal("name a configuration", "it names none", configs)
        config, version = infos[0].parts[-4:-2]
        names = {"repo_id": dataset, "dataset_name": name, "config_name": config}
        return dataset, revision, Cache(**names, version=version, hash=revision)

    def _check_columns(self, schema: pa.Schema, columns: Sequence[str]) -> None:
        fields = dict(all_fields(schema))
        texts = [name for name, kind in fields.items() if is_text(kind)]
        for column in columns:
            if column in texts:
                continue
            fault = f"there is no {quote(column)}"
            if column in fields:
                fault = f"{quote(column)} holds {fields[column]}"
            raise self._refusal("name a column of text", fault, texts)

    def _refusal(self, duty: str, fault: str, choices: Sequence[str]) -> ValueError:
        listed = ", ".join(choices[:MAX_LISTED_CHOICES]) or "(there is none)"
        if len(choices) > MAX_LISTED_CHOICES:
            listed += f", ... ({len(choices):,} in all)"
        return ValueError(
            f"`{self.keys.source}` must {duty} of {self.asked.dataset}, but {fault} instead. "
            f"Choose one of: {listed}."
        )

    def _failure(self, error: Exception) -> OSError:
        return OSError(
            f"`{self.keys.source}` must be a data set that can be opened, but {self.asked.dataset} "
            f"cannot instead ({first_line(error)}). Try again, or look at its page on the hub."
        )


def _schema(stream: Any) -> pa.Schema:
    """Return the columns of a stream; if no file tells them, its first row does."""
    if stream.features is not None:
        return stream.features.arrow_schema
    table = next(iter(stream.with_format("arrow").iter(1)), None)
    return pa.schema([]) if table is None else table.schema
