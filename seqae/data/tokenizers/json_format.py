"""tokenizer.json: how it is written, and how a stranger's is read without trusting it.

The file is one that the Hugging Face `tokenizers` library opens as it is. Read by that library, a
hostile one can allocate without end, run a pattern that never returns, or replace text until memory
is gone. So nothing of a stranger's file is handed over but the learned part: tokens, merges and
scores, checked one by one. All the rest (normalizer, pre-tokenizer, decoder, ...) is written anew
by the class that the file names, and the file must say literally the same.

Three habits of the format:
- The four special tokens are spelt with a space, `< eos >`, and are no "added tokens". No kind of
  ours can cut a token with a space out of text, so that no text, whatever it holds, is ever read as
  a control token. Added tokens would be looked for in the text.
- The class and its arguments stand in `post_processor.seqae`: the library ignores keys that it does
  not know there, but refuses them at the top (found with 0.22.0 and 0.23.3).
- The JSON is canonical (fixed order, no blanks), so that equal tokenizers are equal files.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

SPECIAL_TOKENS = ("< pad >", "< unk >", "< bos >", "< eos >")

# A vocabulary of 500,000 words is 10 to 30 MB. Values are counted (by commas and brackets) before
# the parse, because a parsed `[]` takes 60 times the memory of its text.
MAX_FILE_BYTES = 32 * 2**20
MAX_VALUES = 4_000_000
MAX_VOCAB_SIZE = 500_000
MAX_TOKEN_LENGTH = 512
MIN_SCORE = -1e4


def refuse(key: str, expected: str, found: object) -> NoReturn:
    """Refuse a file, in the house grammar.

    Raises:
        ValueError: always.
    """
    raise ValueError(
        f"`{key}` of tokenizer.json must be {expected}, but it is {reprlib.repr(found)} instead. "
        f"Use a file that seqae wrote, unchanged."
    )


def write_document(
    layout: Mapping[str, Any], learned: Mapping[str, Any], tokens: list[str], component: object
) -> dict[str, Any]:
    """Assemble the content of tokenizer.json.

    Args:
        layout: the fixed sections: normalizer, pre_tokenizer, decoder and the model's settings.
        learned: what training found: vocab and, where there are any, merges.
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
    """Write JSON in the one form that the fingerprint is taken of.

    Raises:
        ValueError: if the text is larger than a reader of ours accepts.
    """
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    _check_size(text)
    return text


def number(tokens: Iterable[str]) -> dict[str, int]:
    """Give tokens their ids, 0 on."""
    return {token: token_id for token_id, token in enumerate(tokens)}


def bpe_model() -> dict[str, Any]:
    """Write the `model` of a file that has no merges: each character is a token."""
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


def read_text(path: str | Path) -> str:
    """Read a file of at most MAX_FILE_BYTES as UTF-8.

    Raises:
        ValueError: if it is no regular file, too large or not UTF-8.
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
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"`path` must be UTF-8 text, but {str(path)!r} has an invalid byte at offset "
            f"{error.start:,} instead. Fetch or convert it again."
        ) from error


def parse_document(text: str) -> dict[str, Any]:
    """Parse the text of a tokenizer.json, trusting nothing.

    Raises:
        ValueError: if it is too large, too deep, no JSON or no JSON object.
    """
    _check_size(text)
    try:
        document = json.loads(text)
    except RecursionError:
        refuse("nesting", "shallow", "too deep to be read")
    except json.JSONDecodeError as error:
        refuse("text", "JSON", f"{error.msg} at character {error.pos:,} of {len(text):,}")
    except ValueError as error:  # int() refuses thousands of digits
        refuse("numbers", "short", str(error))
    if not isinstance(document, dict):
        refuse("text", "a JSON object", document)
    return document


def pick(section: object, *keys: str) -> Any:
    """Look up nested keys.

    Raises:
        ValueError: naming the key that is not there.
    """
    for depth, key in enumerate(keys):
        if not isinstance(section, dict) or key not in section:
            refuse(".".join(keys[: depth + 1]), "present", "missing")
        section = section[key]
    return section


def check_same(
    found: object, expected: object, key: str = "text", skip: Collection[str] = ()
) -> None:
    """Check that a section of the file is literally the one that we write.

    Args:
        found: the section as read.
        expected: the section as we write it.
        key: name of the section, for the message.
        skip: full names of the parts checked elsewhere, such as model.vocab.

    Raises:
        ValueError: naming the first part that differs.
    """
    if key in skip:
        return
    prefix = "" if key == "text" else f"{key}."
    if isinstance(expected, dict) and isinstance(found, dict):
        for name in [*expected, *found]:
            if name not in expected:
                refuse(f"{prefix}{reprlib.repr(name)[1:-1]}", "absent", found[name])
            if name not in found:
                refuse(f"{prefix}{name}", "present", "missing")
        for name in expected:
            check_same(found[name], expected[name], f"{prefix}{name}", skip)
    elif isinstance(expected, list) and isinstance(found, list) and len(found) == len(expected):
        for index, (one, other) in enumerate(zip(found, expected, strict=True)):
            check_same(one, other, f"{prefix}{index}", skip)
    elif type(found) is not type(expected) or found != expected:
        refuse(key, json.dumps(expected) if len(str(expected)) < 80 else "as we write it", found)


def check_vocab(vocab: object) -> list[str]:
    """Check `model.vocab` where it maps tokens to ids.

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
    """Check `model.vocab` where it lists (token, score), the place being the id.

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
        ValueError: if they have not.
    """
    if tuple(tokens[:4]) != SPECIAL_TOKENS:
        refuse("model.vocab", "led by the four special tokens", tokens[:4])


def _check_tokens(tokens: list[Any]) -> list[str]:
    for index, token in enumerate(tokens):
        if not isinstance(token, str) or len(token) > MAX_TOKEN_LENGTH or not _is_unicode(token):
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


def _check_size(text: str) -> None:
    num_values = sum(text.count(sign) for sign in ",[{")
    num_bytes = len(text.encode("utf-8", "surrogatepass"))
    if num_bytes > MAX_FILE_BYTES or num_values > MAX_VALUES:
        refuse(
            "text",
            f"at most {MAX_FILE_BYTES:,} bytes and {MAX_VALUES:,} values",
            f"{num_bytes:,} bytes and {num_values:,} values",
        )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _special(token: str, token_id: int) -> dict[str, Any]:
    return {"id": token, "ids": [token_id], "tokens": [token]}


def _use(special: dict[str, Any]) -> dict[str, Any]:
    return {"SpecialToken": {"id": special["id"], "type_id": 0}}
