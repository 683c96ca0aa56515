"""Summarizers: ways to shorten a document, which share what they read and how long they may be.

document.py        Document, Budget and Summary, whose sentences name their evidence
base.py            what every summarizer does, and the spaces that sentences are read in
lexical_spaces.py  spaces of words, to compare latents with
ranking.py         ranked sentences to a summary within its budget
extractive.py      the sentences that say most, by their vectors
baselines/         what every table of summaries also has

Those that write sentences of their own read a model's latents:

consensus.py       one sentence for each group of sentences that say the same
mean.py            what the mean of a group says
coop.py            what the best convex combination says
popular_codes.py   what the most frequent codes say
reconstruction.py  single sentences, written again and shorter
supervised.py      what a model writes that was trained on documents and their summaries
word_selection.py  single sentences, cut to the words that the decoder would write
"""

from seqae.component import concrete_subclasses
from seqae.summarizers.base import DecodingSpace as DecodingSpace
from seqae.summarizers.base import SentenceSpace as SentenceSpace
from seqae.summarizers.base import Summarizer as Summarizer
from seqae.summarizers.baselines.graph_ranking import LexRankSummarizer as LexRankSummarizer
from seqae.summarizers.baselines.graph_ranking import TextRankSummarizer as TextRankSummarizer
from seqae.summarizers.baselines.lead import LeadSummarizer as LeadSummarizer
from seqae.summarizers.baselines.lead import PrefixSummarizer as PrefixSummarizer
from seqae.summarizers.baselines.lead import RandomSummarizer as RandomSummarizer
from seqae.summarizers.baselines.word_frequency import LsaSummarizer as LsaSummarizer
from seqae.summarizers.baselines.word_frequency import LuhnSummarizer as LuhnSummarizer
from seqae.summarizers.baselines.word_frequency import SumBasicSummarizer as SumBasicSummarizer
from seqae.summarizers.coop import CoopSummarizer as CoopSummarizer
from seqae.summarizers.document import Budget as Budget
from seqae.summarizers.document import Document as Document
from seqae.summarizers.document import Summary as Summary
from seqae.summarizers.document import SummarySentence as SummarySentence
from seqae.summarizers.extractive import CentroidSummarizer as CentroidSummarizer
from seqae.summarizers.extractive import ClusterSummarizer as ClusterSummarizer
from seqae.summarizers.extractive import MarginalRelevanceSummarizer as MarginalRelevanceSummarizer
from seqae.summarizers.extractive import MedoidSummarizer as MedoidSummarizer
from seqae.summarizers.length_control import ReconstructionSummarizer as ReconstructionSummarizer
from seqae.summarizers.lexical_spaces import TfidfSpace as TfidfSpace
from seqae.summarizers.lexical_spaces import WordVectorSpace as WordVectorSpace
from seqae.summarizers.mean import MeanSummarizer as MeanSummarizer
from seqae.summarizers.popular_codes import PopularCodesSummarizer as PopularCodesSummarizer
from seqae.summarizers.supervised import SupervisedSummarizer as SupervisedSummarizer
from seqae.summarizers.word_selection import WordSelectionSummarizer as WordSelectionSummarizer


def summarizers() -> dict[str, type[Summarizer]]:
    """List the imported summarizers by their names on the command line."""
    classes = concrete_subclasses(Summarizer)  # type: ignore[type-abstract]
    found = {cls.kind: cls for cls in classes}
    return dict(sorted(found.items()))
