"""Transformer blocks: rotary positions, self-attention with a cache, pre-norm residuals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor, nn
from typing_extensions import override

from seqae.batch import is_everywhere
from seqae.component import check_literal, check_range
from seqae.model.compiled import compiled
from seqae.model.layers import ACTIVATIONS, NORMS, Activation
from seqae.model.memory.cross_attention import CrossAttention

# Keys and values of each block in turn, (B, heads, tokens so far, D) with D = H / heads; the keys
# are rotated already. The batch comes first, as in every state of a decoder.
KeyValueCache = tuple[Tensor, ...]
PositionType = Literal["rotary", "learned"]
BlockNorm = Literal["layer", "rms"]

# The slowest pair of features turns once in at most 2 pi 10,000 tokens (Vaswani et al. 2017;
# Su et al. 2021).
ROTARY_BASE = 10_000.0


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes and kinds of the blocks; TransformerEncoder describes each.

    Raises:
        ValueError: if no block can be made of them.
    """

    hidden_dim: int
    num_layers: int
    num_heads: int
    feedforward_dim: int
    activation: Activation
    dropout: float
    norm_type: BlockNorm
    position_type: PositionType

    def __post_init__(self) -> None:
        check_range("hidden_dim", self.hidden_dim, 2, 2**16)
        check_range("num_layers", self.num_layers, 1, 64)
        check_range("num_heads", self.num_heads, 1, 2**10)
        check_range("feedforward_dim", self.feedforward_dim, 1, 2**18)
        check_range("dropout", self.dropout, 0.0, 0.99)
        if self.hidden_dim % (2 * self.num_heads):
            raise ValueError(
                f"`hidden_dim` must be a multiple of twice `num_heads`, {2 * self.num_heads}, but "
                f"it is {self.hidden_dim} instead. Choose another size or another number of heads."
            )
        check_literal("activation", self.activation, Activation)
        check_literal("norm_type", self.norm_type, BlockNorm)
        check_literal("position_type", self.position_type, PositionType)


def rotation(positions: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Compute cosine and sine, (T, dim / 2) each, of the angles by which `rotate` turns.

    Args:
        positions: (T,) int64.
        dim: features of a head; even.
    """
    pairs = torch.arange(0, dim, 2, device=positions.device, dtype=torch.float32)
    speed = torch.exp(pairs * (-math.log(ROTARY_BASE) / dim))
    angle = positions[:, None] * speed
    return angle.cos(), angle.sin()


def rotate(rows: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate pairs of features (i, i + dim / 2) of (..., T, dim) by an angle that grows with T.

    The product of two rotated vectors depends on their distance alone: rotary position embedding
    (Su et al. 2021, arXiv:2104.09864, equation 34; the pairs as in GPT-NeoX).
    """
    first, second = rows.chunk(2, dim=-1)
    rotated = [first * cos - second * sin, second * cos + first * sin]
    return torch.cat(rotated, dim=-1).to(rows.dtype)


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

    @override
    def forward(
        self,
        inputs: Tensor,
        rotary: tuple[Tensor, Tensor] | None,
        mask: Tensor | None,
        causal: bool,
        past: KeyValueCache,
    ) -> tuple[Tensor, KeyValueCache]:
        """Let every token attend to the others.

        Args:
            inputs: (B, T, H).
            rotary: cos and sin from `rotation` for these T positions; None rotates nothing.
            mask: (B, 1, 1, T) bool, False at keys that no token may attend to.
            causal: whether a token attends to none after itself.
            past: keys and values of the tokens before these; or empty.

        Returns:
            (B, T, H), and keys and values of all tokens so far.
        """
        rows, steps, size = inputs.shape
        split = rows, steps, 3, self.num_heads, size // self.num_heads
        parts = self.projection(inputs).reshape(split)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        if rotary is not None:
            query, key = rotate(query, *rotary), rotate(key, *rotary)
        if past:
            key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
        attended = nn.functional.scaled_dot_product_attention(
            query, key, value, mask, self.dropout if self.training else 0.0, causal
        )
        return self.output(attended.transpose(1, 2).reshape(rows, steps, size)), (key, value)


@final
class TransformerBlock(nn.Module):
    """Attention and a feed-forward net, each on a normalised copy and added (pre-norm).

    Normalising before rather than after trains without a long warm-up (Xiong et al. 2020,
    arXiv:2002.04745).

    Args:
        config: sizes and kinds.
        memory_dim: features of a state of the memory to which tokens attend in between; 0 attends
            to none.

    Attributes:
        is_compiled: whether it runs as compiled kernels in training. Generation never does: it
            would compile them for every length.
    """

    def __init__(self, config: TransformerConfig, memory_dim: int = 0) -> None:
        super().__init__()
        self.is_compiled = False
        self.attention_norm = NORMS[config.norm_type](config.hidden_dim)
        self.attention = SelfAttention(config.hidden_dim, config.num_heads, config.dropout)
        self.feedforward_norm = NORMS[config.norm_type](config.hidden_dim)
        self.feedforward = nn.Sequential(
            nn.Linear(config.hidden_dim, config.feedforward_dim),
            ACTIVATIONS[config.activation](),
            nn.Dropout(config.dropout),
            nn.Linear(config.feedforward_dim, config.hidden_dim),
        )
        self.drop = nn.Dropout(config.dropout)
        if memory_dim:
            size, heads = config.hidden_dim, config.num_heads
            self.memory_norm = NORMS[config.norm_type](size)
            self.memory_attention = CrossAttention(size, memory_dim, size, heads, config.dropout)
            self.memory_output = nn.Linear(size, size, bias=False)

    @override
    def forward(
        self,
        inputs: Tensor,
        rotary: tuple[Tensor, Tensor] | None,
        mask: Tensor | None,
        causal: bool,
        past: KeyValueCache,
        memory: tuple[Tensor, ...] = (),
    ) -> tuple[Tensor, KeyValueCache]:
        """Take and return what SelfAttention does; `memory` is keys, values and (B, S) mask."""
        # A size of one would have graphs of its own.
        is_compiled = self.is_compiled and self.training and min(inputs.shape[:2]) > 1
        run = compiled(run_block) if is_compiled else run_block
        return run(self, inputs, rotary, mask, causal, past, memory)


def run_block(
    block: TransformerBlock,
    inputs: Tensor,
    rotary: tuple[Tensor, Tensor] | None,
    mask: Tensor | None,
    causal: bool,
    past: KeyValueCache,
    memory: tuple[Tensor, ...] = (),
) -> tuple[Tensor, KeyValueCache]:
    """Run a block: a function, so that it is compiled once for all blocks.

    The block calls it, rather than being called by it, since FSDP gathers a block's weights before
    the block is called, which must not become part of the graph.
    """
    normalized = block.attention_norm(inputs)
    attended, cache = block.attention(normalized, rotary, mask, causal, past)
    inputs = inputs + block.drop(attended)
    if memory:
        key, value, readable = memory
        read = block.memory_attention(block.memory_norm(inputs), (key, value), readable)
        inputs = inputs + block.drop(block.memory_output(read))
    return inputs + block.drop(block.feedforward(block.feedforward_norm(inputs))), cache


@final
class TransformerStack(nn.Module):
    """Blocks on top of each other, with positions below and a norm above.

    Args:
        config: sizes and kinds; `rotary` positions rotate queries and keys, `learned` ones add a
            vector to the inputs.
        max_length: learned positions; later ones share the last vector.
        memory_dim: features of a state of the memory that the blocks read; 0 reads none.
    """

    def __init__(self, config: TransformerConfig, max_length: int, memory_dim: int = 0) -> None:
        super().__init__()
        self.head_dim, self.max_length = config.hidden_dim // config.num_heads, max_length
        self.positions: nn.Embedding | None = None
        if config.position_type == "learned":
            self.positions = nn.Embedding(max_length, config.hidden_dim)
            nn.init.normal_(self.positions.weight, std=0.02)  # as in BERT and GPT-2
        self.blocks = nn.ModuleList(
            TransformerBlock(config, memory_dim) for _ in range(config.num_layers)
        )
        self.norm = NORMS[config.norm_type](config.hidden_dim)

    def read(self, states: Tensor) -> tuple[Tensor, ...]:
        """Make each block's keys and values of (B, S, D) states of the memory, in turn."""
        read: tuple[Tensor, ...] = ()
        for block in self.blocks:
            assert isinstance(block, TransformerBlock)
            read += block.memory_attention.read(states)
        return read

    @override
    def forward(
        self,
        inputs: Tensor,
        mask: Tensor | None = None,
        causal: bool = False,
        cache: KeyValueCache = (),
        memory: tuple[Tensor, ...] = (),
    ) -> tuple[Tensor, KeyValueCache]:
        """Run all blocks.

        Args:
            inputs: (B, T, H).
            mask: (B, T) bool, True at real tokens; all are by default.
            causal: whether a token attends to none after itself.
            cache: from the previous call, of the tokens before these.
            memory: from `read`, and after it the mask (B, S) of the memory.

        Returns:
            (B, T, H), and the cache of all tokens so far.
        """
        start = cache[0].shape[2] if cache else 0
        positions = torch.arange(start, start + inputs.shape[1], device=inputs.device)
        rotary = None
        if self.positions is None:
            rotary = rotation(positions, self.head_dim)
        else:
            inputs = inputs + self.positions(positions.clamp(max=self.max_length - 1))
        # Without a mask attention can take its fastest kernel (docs/gpu.md).
        readable = None if mask is None or is_everywhere(mask) else mask[:, None, None]
        extended: KeyValueCache = ()
        for depth, block in enumerate(self.blocks):
            past = cache[2 * depth : 2 * depth + 2]
            assert isinstance(block, TransformerBlock)
            read = (*memory[2 * depth : 2 * depth + 2], memory[-1]) if memory else ()
            inputs, key_value = block(inputs, rotary, readable, causal, past, read)
            extended += key_value
        return self.norm(inputs), extended
