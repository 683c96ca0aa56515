"""Evaluate: how well a model writes unseen sentences back, beside trivial baselines."""

from __future__ import annotations

import itertools
import json
import random
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import yaml
from rich.console import Console
from rich.table import Table

from seqae.bundle.text_autoencoder import TextAutoencoder, load
from seqae.component import check_range
from seqae.data.builtin import Split, builtin_names
from seqae.data.cleaning import clean
from seqae.data.pipeline import hash_texts, split_by_hash
from seqae.data.settings import DataSettings
from seqae.data.sources.records import Block, ReadOptions
from seqae.data.sources.source import open_source
from seqae.metrics.reconstruction import ReconstructionMetric, ReconstructionScores
from seqae.tasks.baselines import most_frequent_sentence, nearest_by_tfidf
from seqae.terminal import visible
from seqae.usage import check_output

EXPLANATIONS = {
    "token accuracy": "share of the sentences' tokens, their end counted, that stand at the same "
    "place in what was written; the decoder reads only what it wrote itself",
    "exact match": "share of sentences written back without any difference",
    "BLEU": "corpus BLEU of what was written against the sentences, as sacreBLEU computes it",
    "most frequent sentence": "always the most frequent training sentence",
    "nearest by TF-IDF": "the training sentence with the highest TF-IDF cosine",
}


def evaluate(
    model: str,
    file: str | None = None,
    train_file: str | None = None,
    split: Literal["test", "val"] = "test",
    limit: int = 1000,
    seed: int = 0,
    examples: int = 8,
    output: str | None = None,
    explain: bool = False,
    device: str = "cpu",
    reading: ReadOptions = ReadOptions(),  # noqa: B008 - it is frozen
) -> None:
    """Measure how well sentences are written back, beside trivial baselines.

    Args:
        model: a bundle, or the folder of a run.
        file: sentences that the model has not seen, in a file or whatever `data.train` may name; by
            default the held-out split of the data that it was trained on.
        train_file: its training sentences, for the baselines; by default the data that it was
            trained on.
        split: which held-out split, where no file is given.
        limit: how many sentences, drawn at random; 0 takes all.
        seed: of the drawing.
        examples: how many sentences to show; 0 shows none.
        output: a .json file for the figures and the examples.
        explain: say what each row and column means.
        device: where to compute: cpu, cuda, cuda:1 ...
        reading: how the files are read; with `target_column`, what was written is held against that
            column.
    """
    check_output(output, (".json",))
    loaded = load(model, device)
    check_range("limit", limit, 0, 10**9)
    folder = Path(model)
    if train_file is None:
        train = read_split(loaded, folder, "train")
    else:
        train = _read(train_file, "train_file", reading)
    texts = read_split(loaded, folder, split) if file is None else _read(file, "file", reading)
    for some in (train, texts):  # as the model reads them; twice is once
        some.read = [loaded.normalization(text) for text in some.read]
        some.due = [loaded.normalization(text) for text in some.due]
    if limit and len(texts.read) > limit:
        texts = texts.sample(limit, seed)
    written = loaded.write(loaded.encode(texts.read, too_long="truncate"))
    baselines = {
        "nearest by TF-IDF": nearest_by_tfidf(train.read, texts.read, train.due),
        "most frequent sentence": most_frequent_sentence(train.due, texts.read),
    }
    scores = {"model": score(loaded, written, texts.due)}
    for name, answers in baselines.items():
        scores[name] = score(loaded, _token_ids(loaded, answers), texts.due)
    shown = list(zip(texts.due, loaded.tokenizer.decode(written), strict=True))[:examples]
    where = file or f"unseen, from the {split} split"
    _show(f"{len(texts.read):,} sentences: {where}", scores, shown, explain)
    if output is not None:
        result = {
            "model": model,
            "sentences": len(texts.read),
            "from": where,
            "seed": seed,
            "scores": {name: value._asdict() for name, value in scores.items()},
            "examples": [{"text": t, "reconstruction": w} for t, w in shown],
        }
        text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
        Path(output).write_text(text, encoding="utf-8")


def score(
    model: TextAutoencoder, written: list[list[int]], texts: list[str]
) -> ReconstructionScores:
    """Score what was written in place of some texts, in tokens of the model.

    Args:
        model: whose tokenizer counts.
        written: for each text token ids, without bos and eos. The ids themselves: a text may have
            several spellings in tokens, and encoding it anew would find another one.
        texts: what should have been written.
    """
    metric = ReconstructionMetric()
    metric.update(written, _token_ids(model, texts), model.tokenizer.decode(written), texts)
    return metric.compute()


def _token_ids(model: TextAutoencoder, texts: list[str]) -> list[list[int]]:
    return [row[1:-1] for row in model.tokenizer.encode(texts)]


@dataclass
class Texts:
    """Sentences, and for paired text what is to be written for each.

    Attributes:
        read: what the model reads.
        due: what it should write: the same, or the other side of each pair.
    """

    read: list[str] = field(default_factory=list)
    due: list[str] = field(default_factory=list)

    def add(self, block: Block, keep: Iterable[bool]) -> None:
        """Add sentences of a block."""
        keep = list(keep)
        self.read += itertools.compress(block.texts, keep)
        self.due += itertools.compress(block.targets or block.texts, keep)

    def sample(self, count: int, seed: int) -> Texts:
        """Draw some of them at random."""
        chosen = random.Random(seed).sample(range(len(self.read)), count)
        return Texts([self.read[i] for i in chosen], [self.due[i] for i in chosen])


def read_split(model: TextAutoencoder, where: Path, split: Split) -> Texts:
    """Read a split of the data that a model was trained on.

    From a bundle alone only built-in corpora are read: it may come from a stranger, who must not
    say which files of this machine are opened. The `config.yaml` of one's own run names others.

    Args:
        model: loaded from `where`.
        where: a bundle, or the folder of a run.
        split: which one.

    Raises:
        ValueError: if it is not known, or not to be read from here.
    """
    settings = _data_settings(model, where)
    own = split if settings.named[split] else "train"
    texts = Texts()
    for source in settings.open_sources()[own]:
        for block in source.blocks():
            cleaned, _ = clean(block, settings.cleaning)
            hashes = hash_texts(cleaned.texts)
            sides = split_by_hash(cleaned.texts, hashes, own, settings)
            if split in sides:
                texts.add(cleaned, sides[split].tolist())
    if not texts.read:
        raise ValueError(
            f"`split` must have sentences, but no {split} was held out of "
            f"{', '.join(settings.train)}. Name a file: `seqae evaluate MODEL FILE`."
        )
    return texts


def _data_settings(model: TextAutoencoder, where: Path) -> DataSettings:
    """What the run's own configuration says of the data, or else the bundle."""
    # Of a bundle, the folder that it lies in is a run's only under the name that runs give it; what
    # else lies in a bundle is not read.
    is_bundle = (where / "config.json").exists()
    place = where.resolve().parent if is_bundle and where.resolve().name == "bundle" else where
    run = (
        place
        if (place / "config.yaml").is_file() and not (place / "config.json").exists()
        else None
    )
    config = model.details.get("training", {}).get("config", {})
    if run is not None:
        config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    data = config.get("data") if isinstance(config, dict) else None
    if not isinstance(data, dict) or not data.get("train"):
        raise ValueError(
            "`file` and `train_file` must be given, because the bundle does not say what data it "
            "was trained on. Write `seqae evaluate MODEL FILE --train_file TRAIN`."
        )
    settings = DataSettings.from_config(data)
    named = {name for names in settings.named.values() for name in names}
    if "-" in named or (run is None and not named <= set(builtin_names())):
        raise ValueError(
            f"`file` and `train_file` must be given, because the model was trained on "
            f"{', '.join(settings.train)}, which cannot be read from here. Write "
            f"`seqae evaluate MODEL FILE --train_file TRAIN`."
        )
    return settings


def _read(source: str, key: str, reading: ReadOptions) -> Texts:
    texts = Texts()
    for block in open_source(source, key, reading, "reading.").blocks():
        texts.add(block, itertools.repeat(True, len(block.texts)))
    return texts


def _show(
    title: str,
    scores: dict[str, ReconstructionScores],
    shown: list[tuple[str, str]],
    explain: bool,
) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    if shown:
        table = Table("sentence", "written back", "", title_justify="left")
        for text, reconstruction in shown:
            mark = "=" if text == reconstruction else "≠"
            table.add_row(visible(text), visible(reconstruction), mark)
        console.print(table)
    table = Table("", title=title, title_justify="left")
    for column in ("token accuracy", "exact match", "BLEU"):
        table.add_column(column, justify="right")
    for name, value in scores.items():
        row = (f"{value.token_accuracy:.1%}", f"{value.exact_match:.1%}", f"{value.bleu:.1f}")
        table.add_row(name, *row)
    console.print(table)
    if explain:
        for name, text in EXPLANATIONS.items():
            console.print(f"{name}: {text}")
