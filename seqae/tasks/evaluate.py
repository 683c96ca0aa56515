"""Evaluate: the field's figures of a model on unseen sentences, beside trivial baselines."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, Literal

import yaml

from seqae.bundle.text_autoencoder import TextAutoencoder, load
from seqae.component import check_range
from seqae.data.builtin import builtin_names, split_of
from seqae.data.sources import TextSource
from seqae.tasks.evaluation import Evaluation, Judged, choose_groups, without_nan
from seqae.tasks.figures import Group, show, show_examples
from seqae.tasks.judged import read_labelled, read_pairs
from seqae.usage import check_output


def evaluate(
    model: str,
    file: str | None = None,
    metrics: list[Group] | None = None,
    train_file: str | None = None,
    split: Literal["test", "val"] = "test",
    limit: int = 1000,
    seed: int = 0,
    importance_samples: int = 10,
    samples: int = 5000,
    steps: int = 500,
    pairs: str | None = None,
    labels: str | None = None,
    examples: int = 8,
    output: str | None = None,
    explain: bool = False,
    device: str = "cpu",
) -> None:
    """Measure a model on unseen sentences, beside trivial baselines.

    Args:
        model: a bundle, or the folder of a run.
        file: sentences that the model has not seen, one a line; by default the held-out split of
            the data that it was trained on.
        metrics: groups of figures: reconstruction, likelihood, latent, generation (trains three
            small language models, minutes), embedding; by default the first three, and embedding
            where `pairs` or `labels` are given.
        train_file: its training sentences, for the baselines; by default the data that it was
            trained on.
        split: which held-out split, where no file is given.
        limit: how many sentences, drawn at random; 0 takes all.
        seed: of the drawing.
        importance_samples: draws of the importance-weighted likelihood.
        samples: sentences to draw from the prior, and to train the language models on.
        steps: of each language model's training, of up to 1,024 tokens each.
        pairs: a .tsv or .jsonl file of first, second, score: pairs with a human similarity.
        labels: a .tsv or .jsonl file of text, label: sentences to classify.
        examples: how many sentences to show; 0 shows none.
        output: a .json file for the figures and the examples.
        explain: say what each row and column means.
        device: where to compute: cpu, cuda, cuda:1 ...
    """
    check_output(output, (".json",))
    check_range("importance_samples", importance_samples, 1, 10**6)
    check_range("samples", samples, 2, 10**7)
    check_range("steps", steps, 1, 10**7)
    judged = Judged(
        None if pairs is None else read_pairs(pairs),
        None if labels is None else read_labelled(labels),
    )
    groups = choose_groups(metrics, judged)
    loaded = load(model, device)
    check_range("limit", limit, 0, 10**9)
    folder = Path(model)
    if train_file is None:
        train = read_split(loaded, folder, "train")
    else:
        train = _read(train_file, "train_file")
    texts = read_split(loaded, folder, split) if file is None else _read(file, "file")
    if limit and len(texts) > limit:
        texts = random.Random(seed).sample(texts, limit)
    written = loaded.write(loaded.encode(texts, too_long="truncate"))
    work = Evaluation(loaded, texts, texts, written, train, seed)
    if "reconstruction" in groups:
        work.reconstruction()
    if "likelihood" in groups or "latent" in groups:
        work.likelihood_and_latent(groups, importance_samples)
    if "generation" in groups:
        work.generation(samples, steps)
    if "embedding" in groups:
        work.embedding(judged)
    shown = list(zip(texts, loaded.tokenizer.decode(written), strict=True))[:examples]
    where = file or f"unseen, from the {split} split"
    show_examples(shown)
    show(f"{len(texts):,} sentences: {where}", work.scores, work.notes, explain)
    if output is not None:
        result = {
            "model": model,
            "sentences": len(texts),
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


def read_split(
    model: TextAutoencoder, where: Path, split: Literal["train", "val", "test"]
) -> list[str]:
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
    data = _data_settings(model, where)
    own = data[split] if split != "train" else None
    texts: list[str] = []
    for name in own or data["train"]:
        for sentence in TextSource(name, key="file", errors=data["errors"]):
            side = split_of(
                sentence.text,
                val_percent=data["val_percent"],
                test_percent=data["test_percent"],
                seed=data["split_seed"],
            )
            if own or split == ("train" if side != "train" and data[side] else side):
                texts.append(sentence.text)
    if not texts:
        raise ValueError(
            f"`split` must have sentences, but no {split} was held out of "
            f"{', '.join(data['train'])}. Name a file: `seqae evaluate MODEL FILE`."
        )
    return texts


def _data_settings(model: TextAutoencoder, where: Path) -> dict[str, Any]:
    """What the run's own configuration says of the data, or else the bundle."""
    run = next((f for f in (where, where.parent) if (f / "config.yaml").is_file()), None)
    config = model.details.get("training", {}).get("config", {})
    if run is not None:
        config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    given = config.get("data") if isinstance(config, dict) else None
    data = dict(given) if isinstance(given, dict) else {}
    for split in ("train", "val", "test"):
        names = data.get(split) or []
        data[split] = [names] if isinstance(names, str) else list(names)
    numbers = [data.get(key) for key in ("val_percent", "test_percent", "split_seed")]
    named = [*data["train"], *data["val"], *data["test"]]
    if not data["train"] or not all(type(number) is int for number in numbers):
        raise ValueError(
            "`file` and `train_file` must be given, because the bundle does not say what data it "
            "was trained on. Write `seqae evaluate MODEL FILE --train_file TRAIN`."
        )
    if "-" in named or (run is None and not set(named) <= set(builtin_names())):
        raise ValueError(
            f"`file` and `train_file` must be given, because the model was trained on "
            f"{', '.join(map(str, data['train']))}, which cannot be read from here. Write "
            f"`seqae evaluate MODEL FILE --train_file TRAIN`."
        )
    data.setdefault("errors", "strict")
    return data


def _read(source: str, key: str) -> list[str]:
    return [sentence.text for sentence in TextSource(source, key=key)]
