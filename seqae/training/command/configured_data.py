"""ConfiguredData: the data module of the commands, all of whose options are plain data."""

from __future__ import annotations

from dataclasses import dataclass, field

from typing_extensions import override

from seqae.data.datamodule import TextDataModule
from seqae.data.sources.memory import Sentences
from seqae.data.tokenizers import Tokenizer
from seqae.data.tokenizers.imported.tokenizer_file import TokenizerFile


@dataclass(eq=False, repr=False)
class ConfiguredData(TextDataModule):
    """Serves sentences as batches of like length, filled to a token budget.

    Args:
        tokenizer: text to token ids: one to train, or the name of a file that has one.

    Attributes:
        tokenizer_note: of a file of another program: what of it was taken for what, in a line.
    """

    # Without a default: a configuration names it. A file is read at once, so it stays a tokenizer.
    tokenizer: Tokenizer | TokenizerFile  # type: ignore[assignment]
    tokenizer_note: str | None = field(default=None, init=False)

    @override
    def __post_init__(self) -> None:
        if isinstance(self.tokenizer, TokenizerFile):
            file = self.tokenizer
            self.tokenizer = file.read()
            self.tokenizer_note = file.note
        super().__post_init__()

    @override
    def hold_sentences(self) -> list[Sentences]:
        """Take every text for the name of a source: a configuration holds no sentences."""
        return []
