"""TokenizerFile: a tokenizer that a file has, instead of one that is trained on the data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, final

from seqae.component import Component, check_choice
from seqae.data.tokenizers import json_format
from seqae.data.tokenizers.base import Tokenizer
from seqae.data.tokenizers.imported.library_json import import_tokenizer_json
from seqae.data.tokenizers.imported.sentencepiece_model import MODEL_NAMES, SentencePieceModel
from seqae.data.tokenizers.imported.special_tokens import tell_special_tokens
from seqae.data.tokenizers.word_level import WordTokenizer

SENTENCEPIECE_ENDINGS = (".model", ".spm")


@final
class TokenizerFile(Component):
    """Take the tokenizer of a file, which is not trained; bundles have it, and no path.

    The file is a tokenizer.json, of seqae or of another program; a model of SentencePiece
    (`.model`); or a vocabulary such as torchtext's: a token on each line, or the list of
    `vocab.get_itos()` as JSON.

    Args:
        path: the file.
        normalization: of a vocabulary: how text was changed before it was cut at blanks,
            `basic_english` as torchtext's tokenizer of that name, or `none`.

    Attributes:
        note: after `read`, what the file is, in one line: which of its tokens are the special
            ones, and which were added. None if it is one of seqae's own.
    """

    def __init__(self, path: str, normalization: Literal["none", "basic_english"] = "none") -> None:
        check_choice("normalization", normalization, ("none", "basic_english"))
        self.path, self.normalization = path, normalization
        self.note: str | None = None

    def read(self) -> Tokenizer:
        """Read the file; safe for a stranger's.

        Returns:
            A trained tokenizer, which needs the file no more.

        Raises:
            ValueError: if it is no file, or none that can be read as a tokenizer.
        """
        path = Path(self.path)
        if path.suffix in SENTENCEPIECE_ENDINGS:
            return self._of_sentencepiece(json_format.read_bytes(path))
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
        processor = content.get("post_processor") if isinstance(content, dict) else None
        if not isinstance(content, dict) or (isinstance(processor, dict) and "seqae" in processor):
            return Tokenizer.from_json(text)
        tokenizer, tokens = import_tokenizer_json(json_format.parse_document(text))
        kind = content["model"]["type"]
        return self._told(tokenizer, tokens, f"a {kind} tokenizer of another program")

    def _of_sentencepiece(self, data: bytes) -> Tokenizer:
        self._refuse_normalization()
        try:
            model = SentencePieceModel.parse(data)
            tokenizer = model.tokenizer()
        except ValueError as error:
            if str(error).startswith("`"):
                raise
            raise ValueError(
                f"`path` must be a model of SentencePiece that can be imported, but {self.path} "
                f"{error} instead. Fetch it again, or take another tokenizer."
            ) from error
        kind = f"SentencePiece's {MODEL_NAMES[model.model_type]}"
        return self._told(tokenizer, model.pieces, kind)

    @staticmethod
    def _lines(text: str) -> list[str]:
        return text.removeprefix("\ufeff").replace("\r\n", "\n").removesuffix("\n").split("\n")

    def _of_words(self, tokens: Sequence[str]) -> Tokenizer:
        made = WordTokenizer.from_token_list(tokens, self.normalization)
        return self._told(made, tokens, "a vocabulary of words")

    def _told(self, tokenizer: Tokenizer, tokens: Sequence[str], kind: str) -> Tokenizer:
        special = tell_special_tokens(tokens, tokenizer)
        self.note = f"tokenizer: {self.path}, {kind}, {len(tokens):,} tokens; {special}"
        return tokenizer

    def _refuse_normalization(self) -> None:
        if self.normalization != "none":
            raise ValueError(
                f"`normalization` must be none unless the file is a vocabulary, but it is "
                f"{self.normalization} and {self.path} has rules of its own. Leave it out."
            )
