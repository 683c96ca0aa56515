"""TokenizerFile: a tokenizer that a file has, instead of one that is trained on the data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, final

from seqae.component import Component, check_choice
from seqae.data.tokenizers import json_format
from seqae.data.tokenizers.base import Tokenizer
from seqae.data.tokenizers.word_level import WordTokenizer


@final
class TokenizerFile(Component):
    """Take the tokenizer of a file, which is not trained; bundles have it, and no path.

    The file is a tokenizer.json of seqae, or a vocabulary such as torchtext's: a token on each
    line, or the list of `vocab.get_itos()` as JSON.

    Args:
        path: the file.
        normalization: of a vocabulary: how text was changed before it was cut at blanks,
            `basic_english` as torchtext's tokenizer of that name, or `none`.
    """

    def __init__(self, path: str, normalization: Literal["none", "basic_english"] = "none") -> None:
        check_choice("normalization", normalization, ("none", "basic_english"))
        self.path, self.normalization = path, normalization

    def read(self) -> Tokenizer:
        """Read the file; safe for a stranger's.

        Returns:
            A trained tokenizer, which needs the file no more.

        Raises:
            ValueError: if it is no file, or none that can be read as a tokenizer.
        """
        path = Path(self.path)
        text = json_format.read_text(path)
        if not text.lstrip().startswith(("{", "[")):
            return self._of_words(self._lines(text))
        json_format.check_size(text)
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            return self._of_words(self._lines(text))  # a vocabulary may begin with a bracket
        if isinstance(content, list):
            return self._of_words(content)
        self._refuse_normalization()
        return Tokenizer.from_json(text)

    @staticmethod
    def _lines(text: str) -> list[str]:
        return text.removeprefix("\ufeff").replace("\r\n", "\n").removesuffix("\n").split("\n")

    def _of_words(self, tokens: Sequence[str]) -> Tokenizer:
        return WordTokenizer.from_token_list(tokens, self.normalization)

    def _refuse_normalization(self) -> None:
        if self.normalization != "none":
            raise ValueError(
                f"`normalization` must be none unless the file is a vocabulary, but it is "
                f"{self.normalization} and {self.path} has rules of its own. Leave it out."
            )
