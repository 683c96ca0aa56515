"""ConsensusSummarizer: a sentence of the summary for each group of sentences that say the same.

With a budget of one sentence, or of so few words, all sentences are one group: that is how several
reviews become one. With a larger budget k-means makes the groups.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Generator
from typing_extensions import override

from seqae.extras import extra
from seqae.summarizers.base import DecodingSpace, SentenceSpace, Summarizer, Vectors
from seqae.summarizers.document import Budget, Document, Summary, SummarySentence

with extra("eval"):
    from sklearn.cluster import KMeans
    from sklearn.preprocessing import normalize

Group = tuple[int, ...]


class Spoken(NamedTuple):
    """What a group is made to say.

    Attributes:
        text: one sentence, or nothing.
        places: in the group, of the sentences that went into it, ascending.
    """

    text: str
    places: tuple[int, ...]


class ConsensusSummarizer(Summarizer):
    """Speaks for one group of sentences after the other, the largest first."""

    needs: ClassVar[type[SentenceSpace] | None] = DecodingSpace

    @override
    def _summarize(
        self, document: Document, space: Any, budget: Budget, generator: Generator
    ) -> Summary:
        spoken: list[SummarySentence] = []
        for group in groups(document, space.vectors(document), budget, generator):
            sentences = [document.sentences[index] for index in group]
            text, places = self._speak(sentences, space, budget)
            evidence = tuple(group[place] for place in places)
            said = [sentence.text for sentence in spoken]
            if not text or text in said:
                continue
            if budget.fits([*said, text]):
                spoken.append(SummarySentence(text, evidence))
            elif not said:  # a summary is not empty only because its sentence is too long
                spoken.append(SummarySentence(budget.cut(text), evidence))
        return Summary(tuple(spoken))

    @abstractmethod
    def _speak(self, sentences: Sequence[str], space: DecodingSpace, budget: Budget) -> Spoken:
        """Say in one sentence what a group says.

        Args:
            sentences: of the group, one or more.
            space: of a model.
            budget: resolved, of the whole summary.
        """


def groups(
    document: Document, vectors: Vectors, budget: Budget, generator: Generator
) -> list[Group]:
    """Group n sentences by their vectors, into as many groups as a summary has sentences.

    Args:
        document: with a sentence or more.
        vectors: (n, D).
        budget: resolved. One of words or bytes has as many sentences as it holds of mean size.
        generator: seeds k-means.

    Returns:
        Indices of the sentences of each group, the largest group first.
    """
    size = sum(budget.size([sentence]) for sentence in document.sentences) / len(document)
    count = min(len(document), max(1, int(budget.amount / max(size, 1.0))))
    if count == 1:
        return [tuple(range(len(document)))]
    seed = int(torch.randint(2**31, (), generator=generator))
    rows = normalize(vectors)
    count = min(count, len(set(map(bytes, rows.round(5)))))  # equal sentences are one group
    labels = KMeans(count, n_init=4, random_state=seed).fit(rows).labels_.tolist()
    found = [tuple(i for i, own in enumerate(labels) if own == label) for label in range(count)]
    return sorted(found, key=lambda group: (-len(group), group))
