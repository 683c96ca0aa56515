"""The special tokens of a foreign vocabulary: found under their usual names, or added.

Found or added, they are spelt as in every file of ours (json_format.py). So are a file's other
control tokens, such as `[MASK]`, which becomes `< [MASK] >`: they keep their ids, and no text is
ever read as one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from seqae.data.tokenizers.base import Tokenizer
from seqae.data.tokenizers.json_format import SPECIAL_TOKENS
from seqae.data.tokenizers.word_level import IMPORTED_SPELLINGS

ROLES = ("pad", "unk", "bos", "eos")
CONTROL = re.compile(r"< .+ >", re.DOTALL)

# Beside those of vocabularies, the likeliest first.
SUBWORD_SPELLINGS = (
    ("<|pad|>", "<|finetune_right_pad_id|>"),
    ("<|unk|>",),
    ("[CLS]", "<cls>", "<|begin_of_text|>", "<|startoftext|>"),
    ("[SEP]", "<sep>", "<|end_of_text|>", "<|endoftext|>"),
)


def name_special_tokens(
    tokens: Sequence[str],
    given: Mapping[str, int],
    control: Collection[int],
    may_be: Collection[int],
) -> list[str]:
    """Rename the control tokens of a vocabulary as ours are, and append what is missing.

    Args:
        tokens: the token of each id.
        given: ids of those of `pad`, `unk`, `bos` and `eos` that the file names; of two that are
            one token the first counts.
        control: ids of all control tokens.
        may_be: ids in which the others are looked up by their spelling.

    Returns:
        The tokens, in which SPECIAL_TOKENS are.
    """
    named, taken = list(tokens), set[int]()
    ids = {tokens[i]: i for i in sorted(may_be, reverse=True)}
    order = sorted(range(4), key=lambda role: ROLES[role] not in given)
    for role in (1, *(role for role in order if role != 1)):  # a model cannot do without its unk
        found = given.get(ROLES[role])
        if found is None or found in taken:
            spellings = (
                SPECIAL_TOKENS[role],
                *IMPORTED_SPELLINGS[role],
                *SUBWORD_SPELLINGS[role],
            )
            known = (ids[spelling] for spelling in spellings if spelling in ids)
            found = next((i for i in known if i not in taken), None)
        if found is not None:
            taken.add(found)
            named[found] = SPECIAL_TOKENS[role]
    for i in control:
        if i not in taken and CONTROL.fullmatch(named[i]) is None:
            named[i] = f"< {named[i]} >"
    return named + [token for token in SPECIAL_TOKENS if token not in named]


def tell_special_tokens(tokens: Sequence[str], tokenizer: Tokenizer) -> str:
    """Say in half a line which special tokens of a vocabulary were found, and which added.

    Args:
        tokens: the token of each id in the vocabulary as it was.
        tokenizer: that was made of it.
    """
    ids = (tokenizer.pad_id, tokenizer.unk_id, tokenizer.bos_id, tokenizer.eos_id)
    roles = dict(zip(ROLES, ids, strict=True))
    found = [f"{role} is {tokens[i]}" for role, i in roles.items() if i < len(tokens)]
    added = [f"{role} ({i:,})" for role, i in roles.items() if i >= len(tokens)]
    return "; ".join(
        [", ".join(found)] * bool(found)
        + [f"added {', '.join(added)}, with new ids at the end"] * bool(added)
    )
