"""Encode and decode sentences by this folder's graphs: needs onnxruntime, tokenizers and numpy.

python run.py "the cat sat on the mat"
"""

import json
import sys
import unicodedata
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

HERE = Path(__file__).parent
ABOUT = json.loads((HERE / "onnx.json").read_text(encoding="utf-8"))
PAD, UNK, BOS, EOS = (ABOUT["vocabulary"][f"{name}_id"] for name in ("pad", "unk", "bos", "eos"))
TOKENIZER = Tokenizer.from_file(str(HERE / "tokenizer.json"))
FILES = [HERE / f"{name}.onnx" for name in ("encoder", "decoder_init", "decoder_step")]
ENCODER, INIT, STEP = (onnxruntime.InferenceSession(file) for file in FILES)


def encode(texts: list[str]) -> NDArray[np.float32]:
    """Encode n texts as latents, (n, Z)."""
    rows = [TOKENIZER.encode(normalized(text)).ids for text in texts]
    lengths = np.array([len(row) for row in rows])
    if lengths.max() > ABOUT["max_length"]:
        raise SystemExit(f"a text has {lengths.max()} tokens; it may have {ABOUT['max_length']}")
    token_ids = np.array([row + [PAD] * (lengths.max() - len(row)) for row in rows])
    latents: NDArray[np.float32]
    (latents,) = ENCODER.run(None, {"token_ids": token_ids, "lengths": lengths})
    return latents


def decode(latents: NDArray[np.float32]) -> list[str]:
    """Decode latents (n, Z) as n texts, greedily."""
    feed = {"latents": latents}
    if ABOUT["reads_noise"]:  # how noisy latents are; those of sentences are not
        feed["noise"] = np.zeros(len(latents), np.float32)
    state, token, rows = INIT.run(None, feed), np.full(len(latents), BOS), np.arange(len(latents))
    written: list[list[int]] = [[] for _ in latents]
    for _ in range(ABOUT["max_length"] - 1):
        own = dict(zip(ABOUT["state"], state, strict=True))
        logits, *state = STEP.run(None, {"token": token, **own})
        logits[:, [PAD, BOS]] = -np.inf
        token = logits.argmax(axis=1)
        if (ends := token == EOS).any():  # rows that end are computed no longer
            rows, token, *state = (part[~ends] for part in (rows, token, *state))
        for row, one in zip(rows, token, strict=True):
            written[row].append(int(one))
        if not len(rows):
            break
    return [joined(row) for row in written]


def normalized(text: str) -> str:
    """Write a text as those of the training were written."""
    how = ABOUT["normalization"]
    if how["unicode_form"]:
        text = unicodedata.normalize(how["unicode_form"], text).strip()
    text = text.lower() if how["lowercase"] else text
    return " ".join(text.split()) if how["collapse_whitespace"] else text


def joined(ids: list[int]) -> str:
    """Turn token ids into text."""
    tokens = [ABOUT["unk_text"] if i == UNK else str(TOKENIZER.id_to_token(i)) for i in ids]
    return str(TOKENIZER.decoder.decode(tokens)) if TOKENIZER.decoder else " ".join(tokens)


if __name__ == "__main__":
    print(*decode(encode(sys.argv[1:])), sep="\n")
