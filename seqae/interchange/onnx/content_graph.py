"""ContentEncoder as a graph: words and their pieces found, hashed and summed, in whole numbers."""

from __future__ import annotations

import math

import torch

from seqae.interchange.onnx.graph import Value
from seqae.interchange.onnx.layer_graphs import unit_length, where
from seqae.model.content.content_encoder import (
    END,
    FACTOR,
    MAX_TOKEN_BYTES,
    NOTHING,
    PIECES,
    PRIME,
    ContentEncoder,
)


def encode_content(encoder: ContentEncoder, token_ids: Value, mask: Value, length: int) -> Value:
    """Write what a content encoder makes of (B, T) tokens and their mask: (B, C).

    Args:
        encoder: with what it has learnt.
        token_ids: (B, T) int64.
        mask: (B, T) bool.
        length: most tokens of a row.
    """
    graph = token_ids.graph
    token_bytes = graph.call("Gather", encoder.token_bytes, token_ids)
    letters = _join(where(mask.unsqueeze(2), token_bytes, NOTHING).reshape(0, -1))
    hashes = [_hash_words(letters, length), *(_hash_pieces(letters, size) for size in PIECES)]
    size = encoder.table_size
    rows = graph.cat([where(is_real, found % size, size) for found, is_real in hashes], 1)
    table = encoder.table.detach().clone()
    table[size] = 0.0  # what is no feature adds nothing
    summed = graph.call("Gather", table, rows).sum(1)
    return unit_length(summed) * math.sqrt(encoder.content_dim)


def _join(flat: Value) -> Value:
    """Join the bytes of tokens (B, T x L), as the encoder does, with three more ENDs behind."""
    graph = flat.graph
    is_letter = graph.call("Not", graph.call("Equal", flat, NOTHING))
    places = graph.call("CumSum", is_letter.cast("int64"), 1)
    width = places.max() + 4  # so that no piece of four bytes is longer than the row
    places = where(is_letter, places, width - 1)
    shape = graph.cat([flat.size(0).reshape(1), width.reshape(1)], 0)
    empty = graph.call("Expand", graph.constant([END]), shape)
    found = where(is_letter, flat, END)
    return graph.call("ScatterElements", empty, places, found, axis=1)


def _hash_pieces(letters: Value, size: int) -> tuple[Value, Value]:
    """Hash all pieces of a size in rows (B, W): hashes, and whether they are within a word."""
    graph = letters.graph
    count = letters.size(1) - (size - 1)
    windows = [letters.part(1, place, count + place) for place in range(size)]
    hashes: Value | int = size
    for window in windows:
        hashes = (window + hashes * FACTOR) % PRIME
    assert isinstance(hashes, Value)
    inside = _is_letter(windows[1])
    for window in windows[2:-1]:
        inside = graph.call("And", inside, _is_letter(window))
    return hashes, inside


def _hash_words(letters: Value, length: int) -> tuple[Value, Value]:
    """Hash all words in rows (B, W): hashes, and whether a word ends here."""
    graph = letters.graph
    is_letter = _is_letter(letters)
    is_end = graph.call("Not", is_letter)
    columns = graph.range(0, letters.size(1))
    # The column of the END before each letter: ENDs are numbered, from 1, and write their columns
    # to a list in which each letter looks up its number; letters write to place 0.
    number = graph.call("CumSum", is_end.cast("int64"), 1)
    everywhere = number * 0 + columns
    wide = graph.cat([everywhere.part(1, 0, 1), everywhere], 1) * 0
    listed = graph.call("ScatterElements", wide, where(is_end, number, 0), everywhere, axis=1)
    begins = graph.call("GatherElements", listed, number, axis=1)
    powers = [1]
    for _ in range(length * MAX_TOKEN_BYTES + 4):
        powers.append(powers[-1] * FACTOR % PRIME)
    power = graph.call("Gather", torch.tensor(powers), everywhere - begins)
    terms = where(is_end, 0, letters * power % PRIME)
    sums = graph.call("CumSum", terms, 1)
    previous = graph.cat([begins.part(1, 0, 1) * 0, begins.part(1, 0, -1)], 1)
    words = sums - graph.call("GatherElements", sums, previous, axis=1)
    is_word = graph.call("And", is_end, graph.call("Greater", everywhere - previous, 1))
    return words % PRIME, is_word


def _is_letter(letters: Value) -> Value:
    return letters.graph.call("Not", letters.graph.call("Equal", letters, END))
