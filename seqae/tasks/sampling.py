"""`seqae sample`, and `prior`, which fits what it draws from."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import torch

import seqae
from seqae.bundle.find_bundle import DEMO_FOLDER
from seqae.bundle.operations.text_decoding import GREEDY
from seqae.bundle.prior_draws import (
    PriorKind,
    PriorName,
    default_prior,
    fit_priors,
    make_prior,
    usual_priors,
)
from seqae.bundle.sharing.address import own_folder
from seqae.bundle.stored_priors import add_priors, prior_file, remove_prior
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.component import check_range, check_seed
from seqae.data.sources.records import ReadOptions
from seqae.files import check_output
from seqae.generation import Decoding
from seqae.model.int8 import ComputeType
from seqae.model.latents import StochasticLatent, VectorQuantisedLatent
from seqae.priors import CodesPrior, Drawing, FlowPrior, GaussianPrior, MixturePrior
from seqae.priors.base import MAX_DIM, MIN_SENTENCES, can_fit
from seqae.tasks.encode_decode import decode_rows, write_rows
from seqae.tasks.inputs import READING, Instead, check_reading
from seqae.tasks.latent_space import sentences_of

# What to give where a model's training sentences cannot be read.
FITTED = Instead("`input`", "seqae prior MODEL --input FILE")


def sample(
    model: str,
    count: int = 10,
    prior: PriorName | None = None,
    prior_temperature: float = 1.0,
    length: int | None = None,
    label: str | None = None,
    guidance: float = 1.0,
    output: str | None = None,
    seed: int = 0,
    device: str = "auto",
    compute_type: ComputeType = "float32",
    decoding: Decoding = GREEDY,
) -> None:
    """Generate new sentences from random latents.

    Example:
        seqae sample runs/seqae/RUN --prior mixture --temperature 0.8 --seed 1
        seqae sample runs/seqae/RUN --prior neighbourhood --noise 1.5

    Args:
        model: a bundle, the folder of a run, an address, or `demo`.
        count: how many.
        prior: what latents are drawn from: `prior`, the model's own (for a plain latent the
            standard normal distribution); `gaussian` or `mixture`, fitted to the training latents;
            `neighbourhood`, some training latents with noise, for a model that is trained with
            `latent_noise` and its default; of others it is the own one if there is one, otherwise
            the Gaussian; or `flow`, or `codes` for a vector-quantised latent and then the default,
            which `seqae prior --kind` fits.
        prior_temperature: factor of the standard deviation of what the prior draws at random; of
            `codes` the temperature of each.
        length: of the sentences, in tokens, bos and eos counted, for a prior that can follow it.
        label: of the sentences, for a prior that was fitted with labels.
        guidance: how much more than is likely the draws show length and label; 1 is as likely.
        output: a .jsonl file for the texts; by default they are printed, one per line.
        seed: seed of the random latents and the sampled tokens.
        device: where to compute: cpu, cuda, cuda:1 ...; auto takes a GPU if there is one.
        compute_type: of the large weights: float32, or int8, which a CPU multiplies faster if the
            vocabulary is large.
        decoding: how latents are decoded.
    """
    check_output(output, (".jsonl",))
    check_range("count", count, 0, 10**7)
    check_seed(seed)
    drawing = Drawing(prior_temperature, length, label, guidance, decoding.noise)
    loaded = seqae.load(model, device, compute_type=compute_type)
    latents, noise = loaded.draw(count, prior, seed, drawing)
    candidates = decode_rows(loaded, latents, decoding, seed, noise=noise)
    if loaded.autoencoder.latent_noise is None:
        _warn_of_letters(prior or default_prior(loaded.autoencoder, loaded.priors), loaded, model)
    write_rows(itertools.chain.from_iterable(candidates), "text", output)


def _warn_of_letters(name: str, loaded: TextAutoencoder, model: str) -> None:
    """Say what to expect of draws from what was fitted to a space with gaps."""
    is_fitted = name in (GaussianPrior.kind, MixturePrior.kind)
    if not is_fitted or isinstance(loaded.autoencoder.latent, StochasticLatent):
        return
    if isinstance(loaded.autoencoder.latent, VectorQuantisedLatent):
        way_out = f"--prior {CodesPrior.kind}"
        if CodesPrior.kind not in loaded.priors:
            way_out = f"seqae prior {model} --kind {CodesPrior.kind}"
        message = (
            f"these samples are no sentences: they are drawn from {name}, whose draws are not made "
            f"of the model's codes. For a prior of these: `{way_out}`."
        )
    else:
        message = (
            "these samples are no sentences: the model is trained to copy. For one that is trained "
            "to sample too: `seqae fit -c fluent`."
        )
    print(f"seqae: {message}", file=sys.stderr)


def prior(
    model: str,
    input: str | None = None,  # noqa: A002 - the name of the option
    kind: PriorKind | None = None,
    labels: str | None = None,
    remove: bool = False,
    limit: int = 10_000,
    seed: int = 0,
    device: str = "auto",
    reading: ReadOptions = READING,
) -> None:
    """Fit a prior to the training latents and store it in a bundle; `sample` draws from it.

    Example:
        seqae prior runs/seqae/RUN --kind flow --limit 40000
        seqae prior my_bundle --kind mixture --input sentences.txt

    Args:
        model: a bundle, or the folder of a run.
        input: a file of sentences, one per line; by default the training sentences.
        kind: which prior; by default those that `fit` fits at its end. `flow`, and `codes` for a
            vector-quantised latent, take minutes.
        labels: a file of sentences with labels instead, for a flow or codes to follow: .tsv of text
            and label, or .jsonl with these keys.
        remove: take the prior of this kind out of the bundle instead.
        limit: use at most this many of them, spread evenly.
        seed: of all random draws of the fit.
        device: where to compute: cpu, cuda, cuda:1 ...; auto takes a GPU if there is one.
        reading: how the files are read; by default as those of the training.
    """
    check_reading(reading, [input])
    if labels is not None and (input is not None or kind not in (FlowPrior.kind, CodesPrior.kind)):
        raise ValueError(
            f"`labels` must be left out beside `input` and for all kinds but flow and codes, but "
            f"it is {labels} instead. Write `--kind flow --labels FILE` alone."
        )
    check_range("limit", limit, MIN_SENTENCES, 10**7)
    check_seed(seed)
    folder = own_folder(model)
    if folder == DEMO_FOLDER:
        raise ValueError(
            "`model` must be a bundle or a run of yours, but it is demo instead, which ships with "
            "seqae and has its priors. Train one: `seqae fit -c gru`."
        )
    if remove:
        _remove(model, folder, kind)
        return
    loaded = seqae.load(model, device, with_priors=False)
    autoencoder = loaded.autoencoder
    if autoencoder.reads_memory:
        raise ValueError(
            f"`model` must decode latents alone to have a prior, but it is {model} instead, whose "
            f"decoder looks back at a text. Give it texts: `seqae reconstruct {model}`."
        )
    chosen = usual_priors(autoencoder) if kind is None else [make_prior(kind, autoencoder)]
    labelled = None
    if labels is None:
        texts = sentences_of(loaded, model, input, FITTED, reading)
    else:
        # Imported here: it imports scikit-learn, which `sample` does not need.
        from seqae.tasks.evaluate.annotations import read_labelled

        labelled = read_labelled(labels)
        texts = [text for text, _ in labelled]
    every = max(1, -(-len(texts) // limit))
    some = texts[::every]
    of_some = None if labelled is None else [label for _, label in labelled[::every]]
    latents = loaded.encode(some, "truncate", show_progress_bar=True)
    if not can_fit(latents):
        raise ValueError(
            f"`input` must have at least {MIN_SENTENCES} sentences, and a latent at most "
            f"{MAX_DIM:,} dimensions, but the latents are of shape {latents.shape}. Give more "
            f"sentences."
        )
    lengths = [min(length, autoencoder.max_length) for length in loaded.lengths(some)]
    rows = torch.from_numpy(latents).to(loaded.device)
    fitted = fit_priors(chosen, rows, seed, lengths, of_some)
    add_priors(folder, fitted)
    print(
        f"{model}: fitted {' and '.join(sorted(fitted))} to {len(latents):,} latents, for "
        f"`seqae sample {model}{'' if kind is None else f' --prior {kind}'}`."
    )
    for name, report in ((name, prior.report()) for name, prior in fitted.items()):
        if report:
            print(f"{name}: {report}.")


def _remove(model: str, folder: Path, kind: PriorKind | None) -> None:
    if kind is None:
        raise ValueError(
            "`kind` must be given to remove a prior, but it is not. Write `--kind NAME --remove`."
        )
    if not (folder / prior_file(kind)).exists():
        raise ValueError(
            f"`kind` must be that of a prior that {model} has, but it is {kind} instead, and there "
            f"is no {prior_file(kind)}."
        )
    remove_prior(folder, prior_file(kind))
    print(f"{model}: removed {kind}.")
