"""`seqae evaluate`: metrics of a model on unseen sentences, beside trivial baselines."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from seqae.bundle.io import load
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.component import check_range, check_seed, from_plain
from seqae.data.builtin import builtin_names
from seqae.data.config import DataConfig
from seqae.data.preprocessing import clean_and_split
from seqae.data.sources.open import open_source
from seqae.data.sources.records import Block, ReadOptions
from seqae.data.split import Split
from seqae.files import check_output
from seqae.tasks.evaluate.annotations import LabelledData, read_annotations
from seqae.tasks.evaluate.baselines import check_train
from seqae.tasks.evaluate.definitions import Group
from seqae.tasks.evaluate.run import Evaluation, choose_groups, texts_for_generation, without_nan
from seqae.tasks.evaluate.table import show, show_examples
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
        file: sentences that the model has not seen: a file, or anything else that `data.train`
            accepts; by default the held-out split of the data that it was trained on.
        metrics: groups of metrics: reconstruction, likelihood, latent, generation (trains three
            small language models, which takes minutes), embedding; by default the first three, and
            embedding if `pairs` or `labels` are given.
        train_file: the model's training sentences, for the baselines; by default the data that it
            was trained on.
        split: the held-out split to use if no file is given; by default test.
        limit: number of sentences, drawn at random; 0 takes all.
        seed: seed of all random draws.
        importance_samples: draws for the importance-weighted likelihood; by default 10.
        samples: sentences to sample, and to train the language models on; by default 5,000, but no
            more than there are training sentences.
        steps: training steps of each language model, of up to 1,024 tokens each; by default 500.
        pairs: a .tsv or .jsonl file of first, second, score: pairs with a human similarity.
        labels: a .tsv or .jsonl file of text, label: sentences to classify.
        examples: number of sentences to show; 0 shows none.
        output: a .json file for the metrics and the examples.
        explain: define each row and column.
        device: where to compute: cpu, cuda, cuda:1 ...
        reading: how the files are read; with `target_column`, predictions are compared with that
            column.
    """
    check_output(output, (".json",))
    check_seed(seed)
    check_range("limit", limit, 0, 10**9)
    check_range("examples", examples, 0, 10**9)
    if file is not None and split is not None:
        raise ValueError(
            f"`split` must be left out if a file is named, but it is {split} instead. Leave out "
            f"one of the two."
        )
    annotations = read_annotations(pairs, labels)
    groups = choose_groups(metrics, annotations)
    budget = choose_budget(groups, importance_samples, samples, steps)
    split = split or "test"
    loaded, folder = load(model, device), Path(model)
    train = (
        read_split(loaded, folder, "train")
        if train_file is None
        else _read(train_file, "train_file", reading)
    )
    texts = read_split(loaded, folder, split) if file is None else _read(file, "file", reading)
    for side in (train, texts):
        side.normalize(loaded)
    if limit and len(texts.inputs) > limit:
        texts = texts.sample(limit, seed)
    evaluation = measure(loaded, train, texts, file, groups, annotations, budget, seed)
    predictions = loaded.tokenizer.decode(evaluation.predictions[:examples])
    shown = list(zip(texts.references, predictions, strict=False))
    origin = file or f"unseen, from the {split} split"
    if output is not None:
        _write_json(output, evaluation, model, origin, budget, shown)
    show_examples(shown)
    count = len(texts.inputs)
    sentences = "1 sentence" if count == 1 else f"{count:,} sentences"
    show(f"{sentences}: {origin}", evaluation.scores, evaluation.notes, explain)


@dataclass(frozen=True)
class Budget:
    """How much is spent on metrics that are estimates; see the options of `evaluate`."""

    importance_samples: int
    samples: int
    language_model_steps: int


def choose_budget(
    groups: Sequence[Group], importance_samples: int | None, samples: int | None, steps: int | None
) -> Budget:
    """Complete the options that belong to one group of metrics each.

    Raises:
        ValueError: if one is out of range, or its group is not measured.
    """

    def choose(
        key: str, value: int | None, default: int, group: Group, limits: tuple[int, int]
    ) -> int:
        if value is None:
            return default
        check_range(key, value, *limits)
        if group not in groups:
            raise ValueError(
                f"`{key}` must be left out if {group} is not measured, but it is {value} instead. "
                f"Leave it out, or add {group} to `metrics`."
            )
        return value

    return Budget(
        choose("importance_samples", importance_samples, 10, "likelihood", (1, 10**6)),
        choose("samples", samples, 5000, "generation", (2, 10**7)),
        choose("steps", steps, 500, "generation", (1, 10**7)),
    )


def measure(
    model: TextAutoencoder,
    train: Texts,
    texts: Texts,
    file: str | None,
    groups: Sequence[Group],
    annotations: LabelledData,
    budget: Budget,
    seed: int,
) -> Evaluation:
    """Decode the texts, and measure each group.

    Args:
        model: what is measured.
        train: training sentences.
        texts: unseen sentences.
        file: the file that the user named for the unseen sentences, if any.
        groups: what to measure.
        annotations: annotated sentences, for `embedding`.
        budget: how much to spend.
        seed: of all draws.

    Raises:
        ValueError: if there are too few sentences for a group.
    """
    if set(groups) & {"reconstruction", "latent", "embedding"}:
        check_train(train.inputs)
    compared = None
    if "generation" in groups:
        compared = texts_for_generation(model, train.references, texts.references, file)
    predictions = model.decode_ids(model.encode(texts.inputs, too_long="truncate"))
    evaluation = Evaluation(model, texts.inputs, texts.references, predictions, train.inputs, seed)
    if "reconstruction" in groups:
        evaluation.reconstruction(train.references)
    if "likelihood" in groups or "latent" in groups:
        evaluation.likelihood_and_latent(groups, budget.importance_samples)
    if compared is not None:
        evaluation.generation(*compared, budget.samples, budget.language_model_steps)
    if "embedding" in groups:
        evaluation.embedding(annotations)
    return evaluation


def _write_json(
    output: str,
    evaluation: Evaluation,
    model: str,
    origin: str,
    budget: Budget,
    examples: Sequence[tuple[str, str]],
) -> None:
    result: dict[str, Any] = {
        "model": model,
        "sentences": len(evaluation.inputs),
        "from": origin,
        "seed": evaluation.seed,
        "scores": evaluation.scores,
        "by_length": evaluation.by_length,
        "notes": evaluation.notes,
        "settings": asdict(budget),
        "examples": [{"text": text, "reconstruction": other} for text, other in examples],
    }
    text = json.dumps(without_nan(result), indent=2, ensure_ascii=False) + "\n"
    Path(output).write_text(text, encoding="utf-8")


@dataclass
class Texts:
    """Sentences, and for paired text their targets.

    Attributes:
        inputs: what the model encodes.
        references: what it should decode: the same sentences, or their targets.
    """

    inputs: list[str] = field(default_factory=list)
    references: list[str] = field(default_factory=list)

    def add(self, block: Block) -> None:
        """Add the sentences of a block."""
        self.inputs += block.texts
        self.references += block.targets or block.texts

    def normalize(self, model: TextAutoencoder) -> None:
        """Normalize all texts as the model does; a second time changes nothing."""
        self.inputs = [model.normalization(text) for text in self.inputs]
        self.references = [model.normalization(text) for text in self.references]

    def sample(self, count: int, seed: int) -> Texts:
        """Draw some sentences at random, without replacement."""
        rows = random.Random(seed).sample(range(len(self.inputs)), count)
        return Texts([self.inputs[i] for i in rows], [self.references[i] for i in rows])


def read_split(model: TextAutoencoder, where: Path, split: Split) -> Texts:
    """Read a split of the data that a model was trained on.

    Of a bundle alone only built-in corpora are read: it may come from a stranger, who must not
    choose which files of this machine are opened. The `config.yaml` of a run may name any file.

    Args:
        model: loaded from `where`.
        where: a bundle, or the folder of a run.
        split: which split.

    Raises:
        ValueError: if the data is unknown, or must not be read.
    """
    settings = _data_settings(model, where)
    own = split if settings.source_names[split] else "train"
    texts = Texts()
    for source in settings.open_sources()[own]:
        for block in source.blocks():
            texts.add(clean_and_split(block, own, settings).select(split))
    if not texts.inputs:
        names = ", ".join(settings.source_names["train"])
        raise ValueError(
            f"`split` must have sentences, but no {split} was held out of {names}. Name a file: "
            f"`seqae evaluate MODEL FILE`."
        )
    return texts


def _data_settings(model: TextAutoencoder, where: Path) -> DataConfig:
    """Read the data settings from the run's configuration, if there is a run, or the bundle's."""
    # The parent of a bundle counts as a run only if the bundle has the name that runs give it. A
    # config.yaml inside a bundle is a stranger's and is ignored.
    is_bundle = (where / "config.json").exists()
    folder = where.resolve()
    run = folder.parent if is_bundle and folder.name == "bundle" else where
    is_run = (run / "config.yaml").is_file() and not (run / "config.json").exists()
    config = model.details.get("training", {}).get("config", {})
    if is_run:
        config = read_config(run / "config.yaml", "model")
    data = config.get("data") if isinstance(config, dict) else None
    if not isinstance(data, dict) or not data.get("train"):
        raise ValueError(
            "`file` and `train_file` must be given, because the bundle does not say what data it "
            "was trained on. Write `seqae evaluate MODEL FILE --train_file TRAIN`."
        )
    options = {name: value for name, value in data.items() if name != "tokenizer"}
    settings: DataConfig = from_plain(options, DataConfig, "data")
    settings.check()
    named = {name for names in settings.source_names.values() for name in names}
    if "-" in named or not (is_run or named <= set(builtin_names())):
        raise ValueError(
            f"`file` and `train_file` must be given, because the model was trained on "
            f"{', '.join(settings.source_names['train'])}, which cannot be read from here. Write "
            f"`seqae evaluate MODEL FILE --train_file TRAIN`."
        )
    return settings


def _read(source: str, key: str, reading: ReadOptions) -> Texts:
    texts = Texts()
    for block in open_source(source, key, reading, "reading.").blocks():
        texts.add(block)
    return texts
