"""tokenizer.json: write it, and read a stranger's without trusting it.

The Hugging Face `tokenizers` library opens the file as it is. A hostile file can make that library
allocate without end, run a pattern that never returns, or replace text until memory is gone. So the
library gets nothing of a stranger's file but the learned part: tokens, merges and scores, checked
one by one. The class that the file names writes all the rest (normalizer, pre-tokenizer, decoder,
...) again, and the file must literally agree.

Three habits of the format:
- The four special tokens are spelt with a space, `< eos >`, and are no "added tokens". No kind of
  ours can cut a token with a space out of text, so no text is ever read as a control token,
  whatever it holds. The library would look for added tokens in the text.
- The class and its arguments are in `post_processor.seqae`: the library ignores unknown keys there,
  but refuses them at the top (seen with 0.22.0 and 0.23.3).
- The JSON is canonical (fixed order, no blanks), so equal tokenizers are equal files.
"""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from seqae.untrusted import MAX_DEPTH, depth_of_json

SPECIAL_TOKENS = ("< pad >", "< unk >", "< bos >", "< eos >")

# A vocabulary of 500,000 words is 10 to 30 MB. Values are counted (by commas and brackets) before
# parsing, because a parsed `[]` takes 60 times the memory of its text.
MAX_FILE_BYTES = 32 * 2**20
MAX_VALUES = 4_000_000
MAX_VOCAB_SIZE = 500_000
MAX_TOKEN_LENGTH = 512
MIN_SCORE = -1e4
SURROGATE = re.compile("[\ud800-\udfff]")


def refuse(key: str, expected: str, actual: object) -> NoReturn:
    """Refuse a file.

    Args:
        key: of the part that is wrong.
        expected: what it must be, to complete "must be ...".
        actual: what it is.

    Raises:
        ValueError: always.
    """
    raise ValueError(
        f"`{key}` of tokenizer.json must be {expected}, but it is {reprlib.repr(actual)} instead. "
        f"Use a file that seqae wrote, unchanged."
    )


def write_document(
    layout: Mapping[str, Any], learned: Mapping[str, Any], tokens: list[str], component: object
) -> dict[str, Any]:
    """Assemble the content of tokenizer.json.

    Args:
        layout: the fixed sections: normalizer, pre_tokenizer, decoder and the model's settings.
        learned: what training found: vocab and, if there are any, merges.
        tokens: the token of each id; says where the special tokens are.
        component: the config of the tokenizer's class; None leaves it out.
    """
    bos, eos = (_special(token, tokens.index(token)) for token in SPECIAL_TOKENS[2:])
    text, second_text = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    post_processor: dict[str, Any] = {
        "type": "TemplateProcessing",
        "single": [_use(bos), text, _use(eos)],
        "pair": [_use(bos), text, _use(eos), _use(bos), second_text, _use(eos)],
        "special_tokens": {bos["id"]: bos, eos["id"]: eos},
    }
    if component is not None:
        post_processor["seqae"] = component
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": layout["normalizer"],
        "pre_tokenizer": layout["pre_tokenizer"],
        "post_processor": post_processor,
        "decoder": layout["decoder"],
        "model": {**layout["model"], **learned},
    }


def to_canonical_json(document: object) -> str:
    """Write JSON in the one form of which the fingerprint is taken.

    Raises:
        ValueError: if the text is larger than a reader of ours accepts.
    """
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    check_size(text)
    return text


def number(tokens: Iterable[str]) -> dict[str, int]:
    """Number tokens from 0."""
    return {token: token_id for token_id, token in enumerate(tokens)}


def bpe_model() -> dict[str, Any]:
    """Return the `model` of a file without merges: each character is a token."""
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "merges": [],
    }


def read_bytes(path: str | Path) -> bytes:
    """Read a file of at most MAX_FILE_BYTES.

    Raises:
        ValueError: if it is no regular file, or is too large.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"`path` must be a file, but {str(path)!r} is none. Check the spelling.")
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(
            f"`path` must have at most {MAX_FILE_BYTES:,} bytes, but {str(path)!r} has more. "
            f"Use a smaller vocabulary."
        )
    return data


def read_text(path: str | Path) -> str:
    """Read a file of at most MAX_FILE_BYTES as UTF-8.

    Raises:
        ValueError: if it is no regular file, is too large or is not UTF-8.
    """
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"`path` must be UTF-8 text, but {str(path)!r} has an invalid byte at offset "
            f"{error.start:,} instead. Fetch or convert it again."
        ) from error


def parse_document(text: str) -> dict[str, Any]:
    """Parse the text of a tokenizer.json without trusting it.

    Raises:
        ValueError: if it is too large, too deep, no JSON or no JSON object.
    """
    check_size(text)
    try:
        document = json.loads(text)
    except RecursionError:
        refuse("nesting", "shallow", "too deep to be read")
    except json.JSONDecodeError as error:
        fault = error.msg.removesuffix(" at")
        refuse("text", "JSON", f"{fault} at character {error.pos:,} of {len(text):,}")
    except ValueError as error:  # int() refuses thousands of digits
        refuse("numbers", "short", str(error))
    if not isinstance(document, dict):
        refuse("text", "a JSON object", document)
    if depth_of_json(text.encode("utf-8", "surrogatepass")) > MAX_DEPTH:
        refuse("nesting", "shallow", f"deeper than {MAX_DEPTH}")
    return document


def pick(section: object, *keys: str) -> Any:
    """Look up nested keys.

    Raises:
        ValueError: if one is missing; it names the key.
    """
    for depth, key in enumerate(keys):
        if not isinstance(section, dict) or key not in section:
            refuse(".".join(keys[: depth + 1]), "present", "missing")
        section = section[key]
    return section


def check_same(
    actual: object, expected: object, key: str = "text", skip: Collection[str] = ()
) -> None:
    """Check that a section of the file is literally the one that we write.

    Args:
        actual: the section as read.
        expected: the section as we write it.
        key: name of the section, for the message.
        skip: full names of the parts that are checked elsewhere, such as model.vocab.

    Raises:
        ValueError: if a part differs; it names the first one.
    """
    if key in skip:
        return
    prefix = "" if key == "text" else f"{key}."
    if isinstance(expected, dict) and isinstance(actual, dict):
        for name in [*expected, *actual]:
            if name not in expected:
                refuse(f"{prefix}{reprlib.repr(name)[1:-1]}", "absent", actual[name])
            if name not in actual:
                refuse(f"{prefix}{name}", "present", "missing")
        for name in expected:
            check_same(actual[name], expected[name], f"{prefix}{name}", skip)
    elif isinstance(expected, list) and isinstance(actual, list) and len(actual) == len(expected):
        for index, (one, other) in enumerate(zip(actual, expected, strict=True)):
            check_same(one, other, f"{prefix}{index}", skip)
    elif type(actual) is not type(expected) or actual != expected:
        refuse(key, json.dumps(expected) if len(str(expected)) < 80 else "as we write it", actual)


def check_vocab(vocab: object) -> list[str]:
    """Check a `model.vocab` that maps tokens to ids.

    Returns:
        The token of each id.

    Raises:
        ValueError: if a token or an id is not well-formed, or the ids are not 0 ... V-1.
    """
    if not isinstance(vocab, dict):
        refuse("model.vocab", "an object of token: id", vocab)
    _check_length(vocab)
    tokens: list[str | None] = [None] * len(vocab)
    for token, token_id in vocab.items():
        if type(token_id) is not int or not 0 <= token_id < len(tokens):
            refuse(
                f"model.vocab.{reprlib.repr(token)[1:-1]}",
                f"an id from 0 to {len(tokens) - 1:,}, without gaps",
                token_id,
            )
        if tokens[token_id] is not None:
            refuse("model.vocab", "without an id given twice", token_id)
        tokens[token_id] = token
    return _check_tokens(tokens)


def check_scored_vocab(vocab: object) -> tuple[list[str], list[float]]:
    """Check a `model.vocab` that lists (token, score); the index is the id.

    Returns:
        The token of each id, and its score, a log-probability.

    Raises:
        ValueError: if a token or a score is not well-formed.
    """
    if not isinstance(vocab, list):
        refuse("model.vocab", "a list of [token, score]", vocab)
    _check_length(vocab)
    tokens, scores = [], []
    for index, entry in enumerate(vocab):
        if not isinstance(entry, list) or len(entry) != 2:
            refuse(f"model.vocab.{index}", "a [token, score] pair", entry)
        token, score = entry
        if type(score) not in (int, float) or not MIN_SCORE <= score <= 0 or math.isnan(score):
            refuse(f"model.vocab.{index}", f"scored between {MIN_SCORE:,.0f} and 0", score)
        tokens.append(token)
        scores.append(float(score))
    return _check_tokens(tokens), scores


def check_merges(merges: object, tokens: list[str]) -> list[list[str]]:
    """Check `model.merges`: pairs of known tokens whose union is a known token.

    Raises:
        ValueError: if a merge is not well-formed, or there are more merges than tokens.
    """
    if not isinstance(merges, list) or len(merges) > len(tokens):
        refuse("model.merges", f"a list of at most {len(tokens):,} pairs", merges)
    known = set(tokens) - set(SPECIAL_TOKENS)
    for index, pair in enumerate(merges):
        if (
            not isinstance(pair, list)
            or len(pair) != 2
            or not all(isinstance(part, str) for part in pair)
            or not {*pair, "".join(pair)} <= known
        ):
            refuse(f"model.merges.{index}", "two tokens that join to a third", pair)
    return merges


def check_special_first(tokens: list[str]) -> None:
    """Check that pad, unk, bos, eos have the ids 0, 1, 2, 3.

    Raises:
        ValueError: if they have other ids.
    """
    if tuple(tokens[:4]) != SPECIAL_TOKENS:
        refuse("model.vocab", "led by the four special tokens", tokens[:4])


def _check_tokens(tokens: list[Any]) -> list[str]:
    for index, token in enumerate(tokens):
        if not isinstance(token, str) or len(token) > MAX_TOKEN_LENGTH or SURROGATE.search(token):
            refuse(
                f"model.vocab (id {index})",
                f"Unicode text of at most {MAX_TOKEN_LENGTH} characters",
                token,
            )
    if len(set(tokens)) != len(tokens):
        refuse("model.vocab", "without a token given twice", f"{len(tokens):,} tokens")
    for token in SPECIAL_TOKENS:
        if token not in tokens:
            refuse("model.vocab", "one with the four special tokens", f"one without {token}")
    return tokens


def _check_length(vocab: Collection[object]) -> None:
    if len(vocab) > MAX_VOCAB_SIZE:
        refuse("model.vocab", f"of at most {MAX_VOCAB_SIZE:,} tokens", f"{len(vocab):,} tokens")


def check_size(text: str) -> None:
    """Refuse a text that would take too much memory once it is parsed.

    Raises:
        ValueError: if it has too many bytes or values.
    """
    num_values = sum(text.count(sign) for sign in ",[{")
    num_bytes = len(text.encode("utf-8", "surrogatepass"))
    if num_bytes > MAX_FILE_BYTES or num_values > MAX_VALUES:
        refuse(
            "text",
            f"at most {MAX_FILE_BYTES:,} bytes and {MAX_VALUES:,} values",
            f"{num_bytes:,} bytes and {num_values:,} values",
        )


def _special(token: str, token_id: int) -> dict[str, Any]:
    return {"id": token, "ids": [token_id], "tokens": [token]}


def _use(special: dict[str, Any]) -> dict[str, Any]:
    return {"SpecialToken": {"id": special["id"], "type_id": 0}}
