"""Compare graphs with the model that they were written from, before anybody gets them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tokenizers as hf
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from seqae.batch import Batch
from seqae.bundle.codec import evaluating
from seqae.data.tokenizers import Tokenizer
from seqae.extras import extra
from seqae.model.autoencoder import SequenceAutoencoder

# A frozen length, a gate in the wrong order or padding that is read shows in some of these.
LENGTHS, BATCHES = (1, 2, 7, 64), (1, 5)

# Of the largest value, or of one if all are smaller: rounding grows with the values.
TOLERANCE = 1e-4

# What text can be: other scripts, combined characters, several blanks, what looks like a token.
ODD_TEXTS = ("Caf\u00e9, 42 items;  twice", "\u4f60\u597d \U0001f600", "the <eos> is text", "")


def largest_differences(model: SequenceAutoencoder, files: Mapping[str, bytes]) -> dict[str, float]:
    """Run graphs beside their model, on random tokens in right-padded rows.

    Args:
        model: a built model.
        files: as `write_graphs` returns them.

    Returns:
        The largest difference of latents and of logits, as a share of the largest of them (or of 1,
        if that is smaller).

    Raises:
        ValueError: if one is above `TOLERANCE` or a graph cannot be run; it says which, and where.
    """
    sessions = {name: session(data) for name, data in files.items()}
    differences = {"latents": 0.0, "logits": 0.0}
    generator = Generator().manual_seed(0)
    with evaluating(model, 1), torch.inference_mode():
        for steps in sorted({min(length, model.max_length) for length in LENGTHS}):
            for rows in BATCHES:
                where = f"{rows} rows of up to {steps} tokens"
                batch = _random_batch(model, rows, steps, generator)
                latent = model.encode(batch).latent.float()
                feed = {"token_ids": batch.token_ids, "lengths": batch.lengths}
                (written,) = run(sessions["encoder"], feed, where)
                found = _difference(written, latent)
                differences["latents"] = max(found, differences["latents"])
                _check("latents", found, where)
                found = _decoding_difference(model, sessions, batch, latent, where)
                differences["logits"] = max(found, differences["logits"])
                _check("logits", found, where)
    return differences


def check_tokenizer(tokenizer: Tokenizer, texts: Sequence[str]) -> None:
    """Check that the `tokenizers` library alone reads and writes texts as the tokenizer does.

    Args:
        tokenizer: of the model.
        texts: a few, beside odd ones.

    Raises:
        ValueError: if it does not.
    """
    alone = hf.Tokenizer.from_str(tokenizer.to_json())
    texts = [*texts, *ODD_TEXTS]
    for text, ids in zip(texts, tokenizer.encode(texts), strict=True):
        is_read = alone.encode(text).ids == ids
        if not is_read or _joined(alone, tokenizer, ids) != tokenizer.decode([ids])[0]:
            raise ValueError(
                f"`tokenizer` must be one that the tokenizers library reads alone, but "
                f"{text[:40]!r} is not the same there as in this {type(tokenizer).__name__}. Share "
                f"the bundle itself: `seqae push`."
            )


def _joined(alone: hf.Tokenizer, tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """Turn `bos ... eos` into text as onnx_runner.py does."""
    tokens = [
        tokenizer.unk_text if token_id == tokenizer.unk_id else str(alone.id_to_token(token_id))
        for token_id in ids[1:-1]
    ]
    return str(alone.decoder.decode(tokens)) if alone.decoder else " ".join(tokens)


def session(data: bytes) -> Any:
    """Load a graph into onnxruntime, on one thread of the CPU."""
    with extra("onnx"):
        import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # what fails is raised, too
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(data, options, providers=providers)


def run(graph: Any, feed: Mapping[str, Tensor | NDArray[Any]], where: str) -> list[NDArray[Any]]:
    """Run a graph.

    Args:
        graph: from `session`.
        feed: its inputs by name.
        where: what they are, for the message.

    Raises:
        ValueError: if onnxruntime refuses them.
    """
    plain = {name: np.asarray(value) for name, value in feed.items()}
    try:
        outputs: list[NDArray[Any]] = graph.run(None, plain)
    except Exception as error:  # onnxruntime has a class for each of its status codes
        raise ValueError(
            f"`model` must give the same as ONNX, but on {where} onnxruntime says "
            f"{str(error).splitlines()[0][:200]!r} instead. Share the bundle itself: `seqae push`."
        ) from error
    return outputs


def _decoding_difference(
    model: SequenceAutoencoder,
    sessions: Mapping[str, Any],
    batch: Batch,
    latent: Tensor,
    where: str,
) -> float:
    """Decode step by step what the model decodes at once: the largest difference of logits."""
    noise = torch.linspace(0.0, 2.0, len(latent)) if model.latent_noise is not None else None
    steps = min(batch.token_ids.shape[1], model.max_length - 1)
    token_ids = batch.token_ids[:, :steps]
    logits = model.logits(model.decode(token_ids, latent, noise))
    feed = {"latents": latent} if noise is None else {"latents": latent, "noise": noise}
    state = run(sessions["decoder_init"], feed, where)
    names = [output.name for output in sessions["decoder_init"].get_outputs()]
    largest = 0.0
    for step in range(steps):
        inputs = {"token": token_ids[:, step], **dict(zip(names, state, strict=True))}
        written, *state = run(sessions["decoder_step"], inputs, where)
        largest = max(largest, _difference(written, logits[:, step]))
    return largest


def _random_batch(model: SequenceAutoencoder, rows: int, steps: int, generator: Generator) -> Batch:
    """Make rows of random tokens, the first of full length; so is what the padding holds."""
    assert model.vocabulary is not None
    token_ids = torch.randint(model.vocabulary.size, (rows, steps), generator=generator)
    lengths = torch.randint(1, steps + 1, (rows,), generator=generator)
    lengths[0] = steps
    return Batch(token_ids, lengths)


def _difference(written: NDArray[Any], wanted: Tensor) -> float:
    """Compare (…) values: infinite if shapes differ or a number is not finite."""
    values = wanted.numpy()
    if written.shape != values.shape or not np.isfinite(written).all():
        return float("inf")
    scale = max(1.0, float(np.abs(values).max(initial=0.0)))
    return float(np.abs(written - values).max(initial=0.0)) / scale


def _check(name: str, difference: float, where: str) -> None:
    if not difference <= TOLERANCE:
        raise ValueError(
            f"`model` must give the same as ONNX, but on {where} its {name} differ by "
            f"{difference:.1e} of the largest instead of at most {TOLERANCE:.0e}. Nothing was "
            f"written. Share the bundle itself: `seqae push`."
        )
