"""`seqae evaluate`: metrics of a model on unseen sentences, beside trivial baselines."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from seqae.bundle.card.bundle_evaluation import WEIGHTS, weights_hash
from seqae.bundle.io import load
from seqae.bundle.operations.text_decoding import GREEDY
from seqae.bundle.operations.text_operations import LongPolicy
from seqae.bundle.prior_draws import PriorName
from seqae.bundle.sharing.address import find_bundle
from seqae.component import check_range, check_seed
from seqae.data.sources.records import ReadOptions
from seqae.files import check_output, write_output
from seqae.generation import Decoding
from seqae.metrics.metric import Group
from seqae.model.int8 import ComputeType
from seqae.tasks.evaluate.annotations import LabelledData, read_annotations
from seqae.tasks.evaluate.baselines import check_train
from seqae.tasks.evaluate.robustness import NOISE
from seqae.tasks.evaluate.robustness_chart import picture, show_curves
from seqae.tasks.evaluate.run import Evaluation, choose_groups, texts_for_generation
from seqae.tasks.evaluate.table import show, show_examples, show_generated
from seqae.tasks.evaluate.texts import Texts, read_split, read_texts
from seqae.tasks.inputs import policies_of
from seqae.terminal import working
from seqae.units import without_nan

GENERATED = 100  # samples and midpoints in the .json file
DEFAULTS = asdict(GREEDY)


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
    paraphrases: str | None = None,
    examples: int = 8,
    output: str | None = None,
    plot: str | None = None,
    explain: bool = False,
    device: str = "auto",
    compute_type: ComputeType = "float32",
    prior: PriorName | None = None,
    reading: ReadOptions = ReadOptions(),  # noqa: B008 - it is frozen
    decoding: Decoding = GREEDY,
) -> None:
    """Measure a model on unseen sentences, beside trivial baselines.

    Args:
        model: a bundle, the folder of a run, an address, or `demo`.
        file: sentences that the model has not seen: a file, or anything else that `data.train`
            accepts; by default the held-out split of the data that it was trained on.
        metrics: groups of metrics: reconstruction, likelihood, latent, robustness, generation,
            embedding; by default all, but embedding only if `pairs`, `labels` or `paraphrases` are
            given.
        train_file: the model's training sentences, for the baselines; by default the data that it
            was trained on.
        split: the held-out split to use if no file is given; by default test.
        limit: number of sentences, drawn at random; 0 takes all.
        seed: seed of all random draws.
        importance_samples: draws for the importance-weighted likelihood; by default 10.
        samples: sentences to sample; by default 5,000, but no more than there are training
            sentences.
        steps: also measure perplexities by three small neural language models, which train for so
            many steps of up to 1,024 tokens each; by default none are trained. 500 take minutes.
        pairs: a .tsv or .jsonl file of first, second, score: pairs with a human similarity.
        labels: a .tsv or .jsonl file of text, label: sentences to classify.
        paraphrases: a .tsv or .jsonl file of first, second: pairs that say the same, each of which
            is to be found among all.
        examples: number of sentences to show; 0 shows none.
        output: a .json file for the metrics, the examples, samples and midpoints.
        plot: an .svg file for a picture of the robustness curve.
        explain: define each row and column.
        device: where to compute: cpu, cuda, cuda:1 ...; auto takes a GPU if there is one.
        compute_type: of the large weights: float32, or int8, which a CPU multiplies faster if the
            vocabulary is large.
        prior: what the samples are drawn from, as in `seqae sample`.
        reading: how the files are read, by default as those of the training; with `target_column`,
            predictions are compared with that column.
        decoding: how samples and midpoints are decoded; reconstructions are always greedy.
    """
    inputs = [file, train_file, pairs, labels, paraphrases]
    check_output(output, (".json",), inputs)
    check_output(plot, (".svg",), inputs, "plot")
    check_seed(seed)
    check_range("limit", limit, 0, 10**9)
    check_range("examples", examples, 0, 10**9)
    if file is not None and split is not None:
        raise ValueError(
            f"`split` must be left out if a file is named, but it is {split} instead. Leave out "
            f"one of the two."
        )
    annotations = read_annotations(pairs, labels, paraphrases)
    groups = choose_groups(metrics, annotations)
    budget = choose_budget(groups, importance_samples, samples, steps)
    sampling = choose_sampling(groups, prior, decoding)
    if plot is not None and "robustness" not in groups:
        raise ValueError(
            f"`plot` must be left out if robustness is not measured, but it is {plot} instead. "
            f"Leave it out, or add robustness to `metrics`."
        )
    split = split or "test"
    loaded, folder = load(model, device, compute_type=compute_type), Path(model)
    train = (
        read_split(loaded, folder, "train")
        if train_file is None
        else read_texts(train_file, "train_file", reading)
    )
    if file is None:
        texts = read_split(loaded, folder, split)
    else:
        texts = read_texts(file, "file", policies_of(loaded, folder, reading).reading_of(file))
    for side in (train, texts):
        side.normalize(loaded)
    # Also where all are taken: some groups read a part of them, and a file may be sorted.
    texts = texts.sample(min(limit or len(texts.inputs), len(texts.inputs)), seed)
    evaluation = Evaluation(loaded, texts.inputs, texts.references, train.inputs, seed)
    measure(evaluation, train, file, groups, metrics or (), annotations, budget, sampling)
    predictions = loaded.tokenizer.decode(evaluation.predictions[:examples])
    shown = list(zip(texts.references, predictions, strict=False))
    origin = file or f"unseen, from the {split} split"
    if output is not None:
        settings = {**asdict(budget), **asdict(sampling)}
        _write_json(output, evaluation, model, origin, settings, shown)
    if plot is not None:
        write_output(plot, picture(evaluation.curves, f"{model}; {origin}; seed {seed}"))
    show_examples(shown)
    show_generated(evaluation.samples[:examples], evaluation.midpoints[:examples])
    count = len(texts.inputs)
    sentences = "1 sentence" if count == 1 else f"{count:,} sentences"
    show(f"{sentences}: {origin}", evaluation.scores, evaluation.notes, explain)
    show_curves(evaluation.curves)


@dataclass(frozen=True)
class Budget:
    """How much is spent on metrics that are estimates; see the options of `evaluate`."""

    importance_samples: int
    samples: int
    language_model_steps: int | None


@dataclass(frozen=True)
class Sampling:
    """How samples are drawn and decoded, and midpoints decoded; see the options of `evaluate`."""

    prior: PriorName | None
    decoding: Decoding


def choose_sampling(
    groups: Sequence[Group], prior: PriorName | None, decoding: Decoding
) -> Sampling:
    """Combine the options of samples.

    Raises:
        ValueError: if one is given, but no samples are measured.
    """
    given = {} if prior is None else {"prior": prior}
    given |= {key: value for key, value in asdict(decoding).items() if value != DEFAULTS[key]}
    if given and "generation" not in groups:
        key, value = next(iter(given.items()))
        raise ValueError(
            f"`{key}` must be left out if generation is not measured, but it is {value} instead. "
            f"Leave it out, or add generation to `metrics`."
        )
    return Sampling(prior, decoding)


def choose_budget(
    groups: Sequence[Group], importance_samples: int | None, samples: int | None, steps: int | None
) -> Budget:
    """Complete the options that belong to one group of metrics each.

    Raises:
        ValueError: if one is out of range, or its group is not measured.
    """

    def check(key: str, value: int | None, group: Group, limits: tuple[int, int]) -> None:
        if value is None:
            return
        check_range(key, value, *limits)
        if group not in groups:
            raise ValueError(
                f"`{key}` must be left out if {group} is not measured, but it is {value} instead. "
                f"Leave it out, or add {group} to `metrics`."
            )

    check("importance_samples", importance_samples, "likelihood", (1, 10**6))
    check("samples", samples, "generation", (2, 10**7))
    check("steps", steps, "generation", (1, 10**7))
    return Budget(
        10 if importance_samples is None else importance_samples,
        5000 if samples is None else samples,
        steps,
    )


def measure(
    evaluation: Evaluation,
    train: Texts,
    file: str | None,
    groups: Sequence[Group],
    required: Sequence[Group],
    annotations: LabelledData,
    budget: Budget,
    sampling: Sampling,
) -> None:
    """Decode the texts, and measure each group.

    Args:
        evaluation: gets the metrics.
        train: training sentences.
        file: the file that the user named for the unseen sentences, if any.
        groups: what to measure.
        required: those that the user asked for; another one that cannot be measured is left out.
        annotations: annotated sentences, for `embedding`.
        budget: how much to spend.
        sampling: how samples are drawn.

    Raises:
        ValueError: if there are too few sentences for a group.
    """
    model, references = evaluation.model, evaluation.references
    if set(groups) & {"reconstruction", "latent", "embedding"}:
        check_train(train.inputs)
    compared = None
    if "generation" in groups:
        with evaluation.noting("generation", required):
            compared = texts_for_generation(model, train.references, references, file)
    too_long: LongPolicy = "split" if model.policy == "split" else "truncate"
    found = model.reconstruct_counting(evaluation.inputs, too_long, show_progress_bar=True)
    stretches, evaluation.cut = found.stretches, found.note(GREEDY.max_length_ratio)
    evaluation.predictions = [list(itertools.chain(*own)) for own in stretches]
    if "reconstruction" in groups:
        with working("reconstruction"):
            evaluation.reconstruction(train.references)
            if too_long == "split" and references == evaluation.inputs:
                evaluation.within_stretches(stretches)
    if "likelihood" in groups or "latent" in groups:
        with working("likelihood and latent space"):
            evaluation.likelihood_and_latent(groups, budget.importance_samples)
    if "robustness" in groups:
        with working("robustness"):
            evaluation.robustness()
    if compared is not None:
        with working("generation"), evaluation.noting("generation", required):
            spent = budget.samples, budget.language_model_steps
            evaluation.generation(*compared, *spent, sampling.prior, sampling.decoding)
    if "embedding" in groups:
        with working("embedding"):
            evaluation.embedding(annotations)


def _write_json(
    output: str,
    evaluation: Evaluation,
    model: str,
    origin: str,
    settings: dict[str, Any],
    examples: Sequence[tuple[str, str]],
) -> None:
    result: dict[str, Any] = {
        "model": model,
        WEIGHTS: weights_hash(find_bundle(model).folder),
        "sentences": len(evaluation.inputs),
        "from": origin,
        "seed": evaluation.seed,
        "scores": evaluation.scores,
        "by_length": evaluation.by_length,
        "bleu_signature": evaluation.bleu_signature,
        "notes": evaluation.notes,
        "settings": settings,
        "robustness": {
            "noise": list(NOISE) if evaluation.curves else [],
            **{name: asdict(curve) for name, curve in evaluation.curves.items()},
        },
        "examples": [{"text": text, "reconstruction": other} for text, other in examples],
        "samples": evaluation.samples[:GENERATED],
        "midpoints": [
            {"start": start, "midpoint": middle, "end": end}
            for start, middle, end in evaluation.midpoints[:GENERATED]
        ],
    }
    text = json.dumps(without_nan(result), indent=2, ensure_ascii=False) + "\n"
    write_output(output, text)
