"""Give a model's content encoder its vectors, from the data that it is about to train on."""

from __future__ import annotations

from collections.abc import Iterator

from seqae.batch import Batch
from seqae.data.datamodule import TextDataModule
from seqae.data.sentences.preprocessing import Pipeline
from seqae.data.streaming.stream import TokenStream
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.content.content_learning import LEARNT_FROM, learn_content
from seqae.terminal import progress_bar

BATCH_SENTENCES = 1000


def prepare_content(model: SequenceAutoencoder, data: TextDataModule, seed: int) -> None:
    """Learn the vectors of a model's content encoder, if it has one that has not learnt any.

    Every process learns the same.

    Args:
        model: built, on the CPU.
        data: set up.
        seed: of all draws.
    """
    if model.content is not None and not model.content.is_learnt:
        model.content.read_tokens(data.tokenizer.token_bytes())
        with progress_bar("learning content", None) as advance:
            learn_content(model.content, training_batches(data), seed, advance)


def training_batches(data: TextDataModule) -> Iterator[Batch]:
    """Yield training sentences: spread over a corpus, or the first of a stream."""
    if data.streaming:
        pipeline = Pipeline(data.corpus_config, data.tokenizer)
        # Apart from the training, and from the beginning, also on other ranks.
        stream = TokenStream(data.open_sources()["train"], pipeline, data.stream_options)
        yield from (item.batch for item in stream.loader())
        return
    corpus = data.corpora["train"]
    rows = corpus.spread(LEARNT_FROM)
    for start in range(0, len(rows), BATCH_SENTENCES):
        yield corpus.__getitems__(rows[start : start + BATCH_SENTENCES].tolist())
