"""Transformer layers: rotary positions, self-attention with a cache, pre-norm blocks.

A cache is a tuple of tensors whose first axis is the batch: keys and values of each layer in turn,
(B, heads, tokens so far, D) with D = H / heads, keys already turned to their positions.
"""

from __future__ import annotations

import math
from typing import Literal, final

import torch
from torch import Tensor, nn

from seqae.component import check_choice, check_range
from seqae.model.compiled import compiled
from seqae.model.layers import ACTIVATIONS, NORMS, Activation

Cache = tuple[Tensor, ...]
PositionType = Literal["rotary", "learned"]
BlockNorm = Literal["layer", "rms"]

# The slowest pair of features turns once in at most 2 pi 10,000 tokens (Vaswani et al. 2017;
# Su et al. 2021).
ROTARY_BASE = 10_000.0


def rotation(positions: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine, (T, dim / 2) each, of the angles by which `rotate` turns.

    Args:
        positions: (T,) int64.
        dim: features of a head; even.
    """
    pairs = torch.arange(0, dim, 2, device=positions.device, dtype=torch.float32)
    speed = torch.exp(pairs * (-math.log(ROTARY_BASE) / dim))
    angle = positions[:, None] * speed
    return angle.cos(), angle.sin()


def rotate(rows: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn pairs of features (i, i + dim / 2) of (..., T, dim) by an angle that grows with T.

    The product of two turned vectors depends on how far apart they stand, not on where: rotary
    position embedding (Su et al. 2021, arXiv:2104.09864, equation 34; the pairs as in GPT-NeoX).
    """
    first, second = rows.chunk(2, dim=-1)
    turned = [first * cosine - second * sine, second * cosine + first * sine]
    return torch.cat(turned, dim=-1).to(rows.dtype)


@final
class SelfAttention(nn.Module):
    """Multi-head scaled dot-product attention (Vaswani et al. 2017, equation 1), without biases.

    Args:
        hidden_dim: features of a token, H.
        num_heads: how many heads share them.
        dropout: chance that an attention weight is zeroed in training.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.projection = nn.Linear(hidden_dim, 3 * hidden_dim, bias=False)
        self.output = nn.Linear(hidden_dim, hidden_dim, bias=False)

    def forward(
        self,
        inputs: Tensor,
        turn: tuple[Tensor, Tensor] | None,
        mask: Tensor | None,
        causal: bool,
        past: Cache,
    ) -> tuple[Tensor, Cache]:
        """Let every token read the others.

        Args:
            inputs: (B, T, H).
            turn: from `rotation`, for these T positions.
            mask: (B, 1, 1, T) bool, False at keys that nobody may read.
            causal: whether a token reads none after itself.
            past: keys and values of the tokens before these; or empty.

        Returns:
            (B, T, H), and keys and values of all tokens so far.
        """
        rows, steps, size = inputs.shape
        split = rows, steps, 3, self.num_heads, size // self.num_heads
        parts = self.projection(inputs).reshape(split)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        if turn is not None:
            query, key = rotate(query, *turn), rotate(key, *turn)
        if past:
            key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
        read = nn.functional.scaled_dot_product_attention(
            query, key, value, mask, self.dropout if self.training else 0.0, causal
        )
        return self.output(read.transpose(1, 2).reshape(rows, steps, size)), (key, value)


@final
class TransformerBlock(nn.Module):
    """Attention and a feed-forward net, each on a normalised copy and added (pre-norm).

    Normalising before rather than after trains without a long warm-up (Xiong et al. 2020,
    arXiv:2002.04745).

    Args:
        hidden_dim: features of a token, H.
        num_heads: heads of the attention.
        feedforward_dim: hidden units of the feed-forward net.
        activation: its function.
        dropout: chance that an attention weight, a hidden unit or a feature of what is added is
            zeroed in training.
        norm_type: `layer` or `rms`.
    """

    def __init__(
        self,
        hidden_dim: int,
        num_heads: int,
        feedforward_dim: int,
        activation: Activation,
        dropout: float,
        norm_type: BlockNorm,
    ) -> None:
        super().__init__()
        self.attention_norm = NORMS[norm_type](hidden_dim)
        self.attention = SelfAttention(hidden_dim, num_heads, dropout)
        self.feedforward_norm = NORMS[norm_type](hidden_dim)
        self.feedforward = nn.Sequential(
            nn.Linear(hidden_dim, feedforward_dim),
            ACTIVATIONS[activation](),
            nn.Dropout(dropout),
            nn.Linear(feedforward_dim, hidden_dim),
        )
        self.drop = nn.Dropout(dropout)

    def forward(
        self,
        inputs: Tensor,
        turn: tuple[Tensor, Tensor] | None,
        mask: Tensor | None,
        causal: bool,
        past: Cache,
    ) -> tuple[Tensor, Cache]:
        """As SelfAttention."""
        read, cache = self.attention(self.attention_norm(inputs), turn, mask, causal, past)
        inputs = inputs + self.drop(read)
        return inputs + self.drop(self.feedforward(self.feedforward_norm(inputs))), cache


def run_block(
    block: TransformerBlock,
    inputs: Tensor,
    turn: tuple[Tensor, Tensor] | None,
    mask: Tensor | None,
    causal: bool,
    past: Cache,
) -> tuple[Tensor, Cache]:
    """Call a block; a function, so that it can be compiled once for all of them."""
    outputs: tuple[Tensor, Cache] = block(inputs, turn, mask, causal, past)
    return outputs


@final
class TransformerStack(nn.Module):
    """Blocks on top of each other, with positions below and a norm above.

    Args:
        hidden_dim: features of a token, H.
        num_layers: how many blocks.
        num_heads: heads of each.
        feedforward_dim: hidden units of each feed-forward net.
        activation: the function of these.
        dropout: see TransformerBlock.
        norm_type: `layer` or `rms`.
        position_type: `rotary` turns queries and keys; `learned` adds a vector to the inputs.
        max_length: learned positions; later ones share the last vector.

    Attributes:
        is_compiled: whether blocks run as compiled kernels in training; writing never does, where
            every token would be of another size.
    """

    def __init__(
        self,
        hidden_dim: int,
        num_layers: int,
        num_heads: int,
        feedforward_dim: int,
        activation: Activation,
        dropout: float,
        norm_type: BlockNorm,
        position_type: PositionType,
        max_length: int,
    ) -> None:
        super().__init__()
        self.head_dim, self.max_length = hidden_dim // num_heads, max_length
        self.is_compiled = False
        self.positions: nn.Embedding | None = None
        if position_type == "learned":
            self.positions = nn.Embedding(max_length, hidden_dim)
            nn.init.normal_(self.positions.weight, std=0.02)  # as in BERT and GPT-2
        self.blocks = nn.ModuleList(
            TransformerBlock(hidden_dim, num_heads, feedforward_dim, activation, dropout, norm_type)
            for _ in range(num_layers)
        )
        self.norm = NORMS[norm_type](hidden_dim)

    def forward(
        self, inputs: Tensor, mask: Tensor | None = None, causal: bool = False, cache: Cache = ()
    ) -> tuple[Tensor, Cache]:
        """Run all blocks.

        Args:
            inputs: (B, T, H).
            mask: (B, T) bool, True at real tokens; all are by default.
            causal: whether a token reads none after itself.
            cache: from the call before, of the tokens before these.

        Returns:
            (B, T, H), and the cache of all tokens so far.
        """
        start = cache[0].shape[2] if cache else 0
        places = torch.arange(start, start + inputs.shape[1], device=inputs.device)
        turn = None
        if self.positions is None:
            turn = rotation(places, self.head_dim)
        else:
            inputs = inputs + self.positions(places.clamp(max=self.max_length - 1))
        readable = None if mask is None else mask[:, None, None]
        # A size of one would have graphs of its own.
        is_compiled = self.is_compiled and self.training and min(inputs.shape[:2]) > 1
        run = compiled(run_block) if is_compiled else run_block
        found: Cache = ()
        for depth, block in enumerate(self.blocks):
            past = cache[2 * depth : 2 * depth + 2]
            assert isinstance(block, TransformerBlock)
            inputs, pair = run(block, inputs, turn, readable, causal, past)
            found += pair
        return self.norm(inputs), found


def check_blocks(
    hidden_dim: int, num_layers: int, num_heads: int, feedforward_dim: int, dropout: float
) -> None:
    """Refuse sizes of which no block can be made.

    Raises:
        ValueError: in the house grammar.
    """
    check_range("hidden_dim", hidden_dim, 2, 2**16)
    check_range("num_layers", num_layers, 1, 64)
    check_range("num_heads", num_heads, 1, 2**10)
    check_range("feedforward_dim", feedforward_dim, 1, 2**18)
    check_range("dropout", dropout, 0.0, 0.99)
    if hidden_dim % (2 * num_heads):
        raise ValueError(
            f"`hidden_dim` must be a multiple of twice `num_heads`, {2 * num_heads}, but it is "
            f"{hidden_dim} instead. Choose another size or another number of heads."
        )


def check_kinds(activation: str, norm_type: str, position_type: str) -> None:
    """Refuse kinds that a block does not know.

    Raises:
        ValueError: in the house grammar.
    """
    check_choice("activation", activation, tuple(ACTIVATIONS))
    check_choice("norm_type", norm_type, ("layer", "rms"))
    check_choice("position_type", position_type, ("rotary", "learned"))
