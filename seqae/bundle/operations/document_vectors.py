"""DocumentOperations: a document of any length as one vector of D numbers, and back.

It is for models that were trained with `nested_dropout`, whose latents say most in their first
numbers. The vector has the stretches of the document (see data/stretches) in their order, as many
as fit, each as few first numbers of its latent as read back as well as all of them:

    k_1 / Z, the k_1 numbers of the first stretch, k_2 / Z, those of the second, ..., 0, 0, ...

A stretch that no longer fits gets what is left if that is at least half of what it needs. No other
is blurred to make room: half the numbers of a stretch tell far less than half of its words.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from operator import eq
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Unpack

from seqae.bundle.codec import encode_rows
from seqae.bundle.operations.latent_ops import Latents, check_latents
from seqae.bundle.operations.long_texts import LongTextOperations, pad
from seqae.bundle.operations.text_decoding import GREEDY, OneOrList
from seqae.component import check_whole
from seqae.data.containers import read_array, read_texts
from seqae.generation import Decoding, DecodingKeywords

ROUNDS = 5  # of halving, in search of the fewest numbers: they are found to a 32nd of Z

MAX_DOCUMENT_DIM = 2**24  # float32 counts to it

SLACK = 1e-2  # how far k / Z may be from a whole number of Z-ths


class DocumentOperations(LongTextOperations):
    """What is done with documents as one vector each."""

    def encode_documents(
        self,
        texts: Any,
        document_dim: SupportsIndex,
        *,
        batch_size: SupportsIndex | None = None,
        show_progress_bar: bool = False,
    ) -> Latents:
        """Encode n documents of any length to (n, D) float32, or one to (D,).

        A vector holds the beginning of its document, as far as it goes: about as much as
        `document_dim` numbers of `encode_long`'s latents, and more by what these can spare.

        Args:
            texts: as the class says.
            document_dim: D, numbers of a vector.
            batch_size: stretches computed at once; by default what has measured fast.
            show_progress_bar: as the class says.

        Raises:
            ValueError: if the model was trained without `nested_dropout`.
        """
        self._check_nested()
        size = check_whole("document_dim", document_dim, 2, MAX_DOCUMENT_DIM)
        texts, is_one = read_texts("texts", texts)
        vectors = np.zeros((len(texts), size), dtype=np.float32)
        rows = map(self._stretches.cut, self._tokenize(texts))
        pages = [_Page(*own) for own in zip(vectors, rows, strict=True)]
        while any(taken := [page.take(self.latent_dim) for page in pages]):
            flat = list(itertools.chain.from_iterable(taken))
            latents = encode_rows(self.autoencoder, flat, batch_size, show_progress_bar)
            counts = self._fewest_numbers(flat, latents, batch_size, show_progress_bar)
            pairs = zip(latents, counts.tolist(), strict=True)
            for page, own in zip(pages, taken, strict=True):
                for latent, count in itertools.islice(pairs, len(own)):
                    page.write(latent, count)
        return vectors[0] if is_one else vectors

    def decode_documents(
        self,
        vectors: Any,
        options: Decoding = GREEDY,
        seed: SupportsIndex = 0,
        *,
        batch_size: SupportsIndex | None = None,
        show_progress_bar: bool = False,
        **decoding: Unpack[DecodingKeywords],
    ) -> OneOrList:
        """Decode what `encode_documents` returned: (n, D) to n texts, or (D,) to one.

        Options of decoding, such as `max_length`, are for each stretch. They are no latents, even
        if D is Z: `decode` makes gibberish of them.

        Args:
            vectors: (n, D) or (D,); also rounded to float16.
            options: as the class says.
            seed: as the class says.
            batch_size: as the class says.
            show_progress_bar: as the class says.
            decoding: as the class says.

        Raises:
            ValueError: if the vectors are not those of documents, the model was trained without
                `nested_dropout`, or `options` ask for several texts each.
        """
        self._check_nested()
        array = read_array("vectors", vectors)
        is_one = array.ndim == 1
        values = array[None] if is_one else array
        if values.ndim != 2:
            raise ValueError(
                f"`vectors` must be (documents, numbers), but their shape is {array.shape} "
                f"instead. Give what `encode_documents` returned."
            )
        values = check_latents(values, values.shape[1])
        latents = [_read(index, vector, self.latent_dim) for index, vector in enumerate(values)]
        bar: Any = {"batch_size": batch_size, "show_progress_bar": show_progress_bar}
        how = options.replaced(decoding)
        texts = self.decode_long(pad(latents, self.latent_dim), None, how, seed, **bar)
        return texts[0] if is_one else texts

    def _check_nested(self) -> None:
        if not self.autoencoder.nested_dropout:
            raise ValueError(
                "`nested_dropout` must be above 0 in the training of a model that makes one "
                "vector of a document, but it was 0 instead. Take a model of the recipe `long`, or "
                "encode the stretches of documents: `too_long: split`."
            )

    def _fewest_numbers(
        self,
        rows: Sequence[Sequence[int]],
        latents: Latents,
        batch_size: SupportsIndex | None,
        show_progress_bar: bool,
    ) -> NDArray[np.int64]:
        """Find how many first numbers of each latent read back as well as all of them, (n,)."""
        bar: Any = {"batch_size": batch_size, "show_progress_bar": show_progress_bar}
        lengths, eos = [len(row) for row in rows], self.tokenizer.eos_id

        def hits(counts: NDArray[np.int64]) -> NDArray[np.int64]:
            decoded = self.decode_ids(first_numbers(latents, counts), lengths=lengths, **bar)
            sides = [([*told, eos], row[1:]) for told, row in zip(decoded, rows, strict=True)]
            return np.array([sum(map(eq, told, row)) for told, row in sides], dtype=np.int64)

        size = latents.shape[1]
        enough = np.full(len(rows), size)
        too_few = np.zeros_like(enough)
        whole = hits(enough)
        for _ in range(ROUNDS):
            middle = (too_few + enough + 1) // 2
            is_enough = hits(middle) >= whole
            enough = np.where(is_enough, middle, enough)
            too_few = np.where(is_enough, too_few, middle)
        return enough


def first_numbers(latents: Latents, counts: NDArray[np.int64]) -> Latents:
    """Keep the first numbers of latents (n, Z), as many as `counts` (n,) says; zero the others."""
    return np.where(np.arange(latents.shape[1]) < counts[:, None], latents, np.float32(0))


class _Page:
    """The vector of a document while it is written.

    Args:
        vector: (D,) of zeros, which is written to.
        rows: the document's stretches.
    """

    def __init__(self, vector: NDArray[np.float32], rows: list[list[int]]) -> None:
        self.vector, self.rows, self.place = vector, rows, 0

    def take(self, latent_dim: int) -> list[list[int]]:
        """Take the stretches to write next: as many as surely fit, and one if there is room."""
        room = len(self.vector) - self.place
        count = max(room // (1 + latent_dim), int(room > 1))
        taken, self.rows = self.rows[:count], self.rows[count:]
        return taken

    def write(self, latent: Latents, count: int) -> None:
        """Write the first numbers of the latent (Z,) of a stretch, or as many as there is room for.

        Args:
            latent: of the stretch.
            count: how many numbers it needs. If there is room for less than half of them, the
                vector ends here, unless it would have nothing.
        """
        kept = min(count, len(self.vector) - self.place - 1)
        if kept < count / 2 and self.place:
            self.rows = []
            return
        self.vector[self.place] = kept / len(latent)
        self.vector[self.place + 1 : self.place + 1 + kept] = latent[:kept]
        self.place += 1 + kept


def are_documents(vectors: Latents, latent_dim: int) -> bool:
    """Tell whether vectors (n, D), of which not all are zero, can be read as those of documents."""
    if vectors.ndim != 2 or not vectors.any():
        return False
    try:
        for index, vector in enumerate(vectors):
            _read(index, vector, latent_dim)
    except ValueError:
        return False
    return True


def _read(index: int, vector: NDArray[np.float32], size: int) -> Latents:
    """Read the stretches (K, Z) of a document from its vector.

    Raises:
        ValueError: if it is not one that `_Page` wrote.
    """
    latents, place = [], 0
    while place < len(vector) and vector[place]:
        count = _count(float(vector[place]), size)
        if not 1 <= count <= min(size, len(vector) - place - 1):
            raise ValueError(
                f"`vectors` must be those of documents, but the one at index {index} says at "
                f"{place} that {vector[place]:g} of a latent follows. Give what "
                f"`encode_documents` of this model returned."
            )
        latents.append(np.zeros(size, dtype=np.float32))
        latents[-1][:count] = vector[place + 1 : place + 1 + count]
        place += 1 + count
    if vector[place:].any():
        raise ValueError(
            f"`vectors` must be those of documents, but the one at index {index} ends at {place} "
            f"and has other numbers than zeros after it. Give what `encode_documents` of this "
            f"model returned."
        )
    return np.stack(latents) if latents else np.zeros((0, size), dtype=np.float32)


def _count(share: float, size: int) -> int:
    """Return the k of k / Z, also if that was rounded to float16; 0 if it is no such number."""
    if not 0 < share <= 1:
        return 0
    count = round(share * size)
    is_whole = abs(share * size - count) < SLACK or share == float(np.float16(count / size))
    return count if is_whole else 0
