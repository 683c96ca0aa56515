"""The tokenizer.json of `tokenizers` and transformers: what of it is taken over, and how.

Taken over are the rules (library_parts.py), the model, and the tokens that are cut out of a text
first. Ours are the special tokens, which a file may spell as it likes, and that each sentence
becomes `bos ... eos`, whatever its post-processor adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seqae.data.tokenizers.imported.imported_tokenizer import UNK, ImportedTokenizer
from seqae.data.tokenizers.imported.library_parts import refuse_part
from seqae.data.tokenizers.imported.special_tokens import name_special_tokens
from seqae.data.tokenizers.json_format import MAX_VOCAB_SIZE

SECTIONS = frozenset(
    {
        *("version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer"),
        *("post_processor", "decoder", "model"),
    }
)


def import_tokenizer_json(document: Mapping[str, Any]) -> tuple[ImportedTokenizer, list[str]]:
    """Make a tokenizer of a file that is not ours.

    Args:
        document: its content, of a sane size and depth.

    Returns:
        The tokenizer, and the token of each id as the file has it.

    Raises:
        ValueError: if a part of it is unknown, or not let through.
    """
    for key, section in document.items():
        if key not in SECTIONS:
            refuse_part(str(key)[:40], "absent", section)
    model = document.get("model")
    if not isinstance(model, dict):
        refuse_part("model", "an object", model)
    added = _added_tokens(document.get("added_tokens"))
    tokens = _tokens(model, added)
    control = [i for i, token in added.items() if token.get("special") is True]
    named = name_special_tokens(
        tokens, _roles(document, model, tokens), control, control or range(len(tokens))
    )
    plain = [
        {"id": i, **token}
        for i, token in added.items()
        if token.get("special") is not True and named[i] == tokens[i]
    ]
    made = ImportedTokenizer.from_sections(
        {
            "added_tokens": plain,
            **{key: document.get(key) for key in ("normalizer", "pre_tokenizer", "decoder")},
            "model": _model(model, tokens, named),
        }
    )
    return made, tokens


def _added_tokens(added: Any) -> dict[int, dict[str, Any]]:
    """List the added tokens by their ids."""
    if added is None:
        return {}
    if not isinstance(added, list) or len(added) > MAX_VOCAB_SIZE:
        refuse_part("added_tokens", "a list", added)
    found: dict[int, dict[str, Any]] = {}
    for index, token in enumerate(added):
        settings = dict(token) if isinstance(token, dict) else {}
        token_id, content = settings.pop("id", None), settings.get("content")
        if type(token_id) is not int or not isinstance(content, str) or not content:
            refuse_part(f"added_tokens.{index}", "a token and its id", token)
        if found.setdefault(token_id, settings) is not settings:
            refuse_part(f"added_tokens.{index}.id", "given once", token_id)
    return found


def _tokens(model: dict[str, Any], added: dict[int, dict[str, Any]]) -> list[str]:
    """List the token of each id, those of the model first."""
    vocab = model.get("vocab")
    if isinstance(vocab, list):
        pairs = [p[0] if isinstance(p, list) and len(p) == 2 else None for p in vocab]
        ids = dict(enumerate(pairs))
    elif isinstance(vocab, dict):
        ids = {i if type(i) is int else -1: token for token, i in vocab.items()}
        if len(ids) != len(vocab):
            refuse_part("model.vocab", "without an id given twice", f"{len(vocab):,} tokens")
    else:
        refuse_part("model.vocab", "tokens and their ids", vocab)
    for i, token in added.items():
        if ids.setdefault(i, token["content"]) != token["content"]:
            refuse_part("added_tokens", f"{ids[i]!r} at the id {i:,}", token["content"])
    tokens = [ids.get(i) for i in range(len(ids))]
    whole = [token for token in tokens if isinstance(token, str)]
    if len(whole) != len(ids) or len(set(whole)) != len(ids) or len(ids) > MAX_VOCAB_SIZE:
        refuse_part(
            "model.vocab",
            f"up to {MAX_VOCAB_SIZE:,} different tokens with ids from 0 without gaps",
            f"{len(ids):,} tokens",
        )
    return whole


def _roles(document: Mapping[str, Any], model: dict[str, Any], tokens: list[str]) -> dict[str, int]:
    """Find the special tokens that the file itself names by what they are for."""
    padding, unk_id = document.get("padding"), model.get("unk_id")
    unk = model.get("unk_token")
    if type(unk_id) is int and 0 <= unk_id < len(tokens):
        unk = tokens[unk_id]
    around = _around(document.get("post_processor"))
    named = {"unk": unk, "bos": around[0], "eos": around[1]}
    named["pad"] = padding.get("pad_token") if isinstance(padding, dict) else None
    ids = {token: i for i, token in enumerate(tokens)}
    return {
        role: ids[token] for role, token in named.items() if isinstance(token, str) and token in ids
    }


def _around(processor: Any) -> tuple[object, object]:
    """Say which tokens a post-processor puts before and after one text."""
    kind = processor.get("type") if isinstance(processor, dict) else None
    if kind in ("BertProcessing", "RobertaProcessing"):
        pairs = [processor.get(key) for key in ("cls", "sep")]
        first, last = (p[0] if isinstance(p, list) and p else None for p in pairs)
        return first, last
    if kind == "Sequence" and isinstance(processor.get("processors"), list):
        found = [
            _around(part)
            for part in processor["processors"][:8]
            if isinstance(part, dict) and part.get("type") != "Sequence"
        ]
        return next((each for each in found if each != (None, None)), (None, None))
    if kind != "TemplateProcessing" or not isinstance(processor.get("single"), list):
        return None, None
    before, after, seen = None, None, False
    for part in processor["single"][:16]:
        special = part.get("SpecialToken") if isinstance(part, dict) else None
        seen = seen or (isinstance(part, dict) and "Sequence" in part)
        if isinstance(special, dict) and not seen:
            before = special.get("id")
        elif isinstance(special, dict):
            after = special.get("id")
    return before, after


def _model(model: dict[str, Any], tokens: list[str], named: list[str]) -> dict[str, Any]:
    """Write the model with the tokens as they are named here."""
    changed = dict(model)
    if isinstance(model["vocab"], list):
        scores = [pair[1] for pair in model["vocab"]]
        changed["vocab"] = [
            [token, scores[i] if i < len(scores) else 0.0] for i, token in enumerate(named)
        ]
        changed["unk_id"] = named.index(UNK)
    else:
        changed["vocab"] = {token: i for i, token in enumerate(named)}
    if isinstance(changed.get("unk_token"), str):
        is_known = model["unk_token"] in tokens
        changed["unk_token"] = named[tokens.index(model["unk_token"])] if is_known else UNK
    if changed.get("dropout") == 0:
        changed["dropout"] = None
    if isinstance(changed.get("merges"), list):
        changed["merges"] = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
    return changed
