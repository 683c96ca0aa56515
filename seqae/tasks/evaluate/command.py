"""Evaluate: the field's figures of a model on unseen sentences, beside trivial baselines."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from seqae.bundle.io import load
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.component import check_range, check_seed
from seqae.data.builtin import builtin_names
from seqae.data.cleaning import clean
from seqae.data.config import DataConfig
from seqae.data.sources.open import open_source
from seqae.data.sources.records import Block, ReadOptions
from seqae.data.split import Split, hash_texts, split_by_hash
from seqae.files import check_output
from seqae.tasks.evaluate.annotations import read_labelled, read_pairs
from seqae.tasks.evaluate.baselines import check_train
from seqae.tasks.evaluate.run import Evaluation, Judged, choose_groups, sides_that_fit, without_nan
from seqae.tasks.evaluate.table import Group, show, show_examples
from seqae.tasks.run_files import read_config


def evaluate(
    model: str,
    file: str | None = None,
    metrics: list[Group] | None = None,
    train_file: str | None = None,
    split: Literal["test", "val"] | None = None,
    limit: int = 1000,
    seed: int = 0,
    importance_samples: int | None = None,
    samples: int | None = None,
    steps: int | None = None,
    pairs: str | None = None,
    labels: str | None = None,
    examples: int = 8,
    output: str | None = None,
    explain: bool = False,
    device: str = "cpu",
    reading: ReadOptions = ReadOptions(),  # noqa: B008 - it is frozen
) -> None:
    """Measure a model on unseen sentences, beside trivial baselines.

    Args:
        model: a bundle, or the folder of a run.
        file: sentences that the model has not seen, in a file or whatever `data.train` may name; by
            default the held-out split of the data that it was trained on.
        metrics: groups of figures: reconstruction, likelihood, latent, generation (trains three
            small language models, minutes), embedding; by default the first three, and embedding
            where `pairs` or `labels` are given.
        train_file: its training sentences, for the baselines; by default the data that it was
            trained on.
        split: which held-out split, where no file is given; by default test.
        limit: how many sentences, drawn at random; 0 takes all.
        seed: of the drawing.
        importance_samples: draws of the importance-weighted likelihood; by default 10.
        samples: sentences to draw from the prior, and to train the language models on; by default
            5,000, and no more than there are training sentences.
        steps: of each language model's training, of up to 1,024 tokens each; by default 500.
        pairs: a .tsv or .jsonl file of first, second, score: pairs with a human similarity.
        labels: a .tsv or .jsonl file of text, label: sentences to classify.
        examples: how many sentences to show; 0 shows none.
        output: a .json file for the figures and the examples.
        explain: say what each row and column means.
        device: where to compute: cpu, cuda, cuda:1 ...
        reading: how the files are read; with `target_column`, what was written is held against that
            column.
    """
    check_output(output, (".json",))
    check_seed(seed)
    check_range("limit", limit, 0, 10**9)
    check_range("examples", examples, 0, 10**9)
    if file is not None and split is not None:
        raise ValueError(
            f"`split` must be left out where a file is named, but it is {split} instead. Leave out "
            f"one of the two."
        )
    split = split or "test"
    judged = Judged(
        None if pairs is None else read_pairs(pairs),
        None if labels is None else read_labelled(labels),
    )
    groups = choose_groups(metrics, judged)
    importance_samples = _of_group(
        "importance_samples", importance_samples, 10, "likelihood", groups, (1, 10**6)
    )
    samples = _of_group("samples", samples, 5000, "generation", groups, (2, 10**7))
    steps = _of_group("steps", steps, 500, "generation", groups, (1, 10**7))
    loaded = load(model, device)
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
    if set(groups) & {"reconstruction", "latent", "embedding"}:
        check_train(train.read)
    fitting = sides_that_fit(loaded, train.due, texts.due, file) if "generation" in groups else None
    written = loaded.decode_ids(loaded.encode(texts.read, too_long="truncate"))
    work = Evaluation(loaded, texts.read, texts.due, written, train.read, seed)
    if "reconstruction" in groups:
        work.reconstruction(train.due)
    if "likelihood" in groups or "latent" in groups:
        work.likelihood_and_latent(groups, importance_samples)
    if fitting is not None:
        work.generation(*fitting, samples, steps)
    if "embedding" in groups:
        work.embedding(judged)
    shown = list(zip(texts.due, loaded.tokenizer.decode(written), strict=True))[:examples]
    where = file or f"unseen, from the {split} split"
    if output is not None:
        result = {
            "model": model,
            "sentences": len(texts.read),
            "from": where,
            "seed": seed,
            "scores": work.scores,
            "by_length": work.by_length,
            "notes": work.notes,
            "settings": {
                "importance_samples": importance_samples,
                "samples": samples,
                "language_model_steps": steps,
            },
            "examples": [{"text": t, "reconstruction": w} for t, w in shown],
        }
        text = json.dumps(without_nan(result), indent=2, ensure_ascii=False) + "\n"
        Path(output).write_text(text, encoding="utf-8")
    show_examples(shown)
    sentences = "1 sentence" if len(texts.read) == 1 else f"{len(texts.read):,} sentences"
    show(f"{sentences}: {where}", work.scores, work.notes, explain)


def _of_group(
    key: str,
    value: int | None,
    default: int,
    group: Group,
    groups: Sequence[Group],
    limits: tuple[int, int],
) -> int:
    """An option of a group, or its default.

    Raises:
        ValueError: if it is out of range, or the group is not measured.
    """
    if value is None:
        return default
    check_range(key, value, *limits)
    if group not in groups:
        raise ValueError(
            f"`{key}` must be left out where {group} is not measured, but it is {value} instead. "
            f"Leave it out, or add {group} to `metrics`."
        )
    return value


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
            sides = split_by_hash(cleaned.texts, hashes, own, settings.split_rule)
            if split in sides:
                texts.add(cleaned, sides[split].tolist())
    if not texts.read:
        raise ValueError(
            f"`split` must have sentences, but no {split} was held out of "
            f"{', '.join(settings.train)}. Name a file: `seqae evaluate MODEL FILE`."
        )
    return texts


def _data_settings(model: TextAutoencoder, where: Path) -> DataConfig:
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
        config = read_config(run / "config.yaml", "model")
    data = config.get("data") if isinstance(config, dict) else None
    if not isinstance(data, dict) or not data.get("train"):
        raise ValueError(
            "`file` and `train_file` must be given, because the bundle does not say what data it "
            "was trained on. Write `seqae evaluate MODEL FILE --train_file TRAIN`."
        )
    settings = DataConfig.from_config(data)
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
