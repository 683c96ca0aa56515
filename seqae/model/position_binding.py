"""Position binding: a sum of tokens that keeps their order.

In training on a CPU, product and binding are one function with a backward pass of its own. Binding
touches (B, T, D) numbers, ten times as many as the embeddings, and each of the passes over them
that autograd makes costs as much as a quarter of a product (docs/log.md, 2026-11-29).
"""

from __future__ import annotations

import math
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from typing_extensions import override

from seqae.batch import is_everywhere

# A sum of T independent terms grows with the root of T; 4 is the root of a long one.
SCALE = 4.0


@final
class PositionBinding(nn.Module):
    """A vector for each position, multiplied into the token there, so that a sum keeps the order.

    Adding up `x_t * p_t` over a sentence superposes its tokens in one vector of fixed size, and
    multiplying that sum by `p_t` again gives back `x_t` plus noise that shrinks with the size: the
    multiply-add form of holographic reduced representations (Plate 1995, doi:10.1109/72.377968;
    Gayler 2004, arXiv:cs/0412059). It gives a gradient a path of length one from any token through
    the latent to its position in the output, where a recurrence needs one of the sentence's length.

    The vectors begin as random waves, sin(f t + phase) with f drawn evenly from 0 to pi, which are
    nearly orthogonal between positions (random Fourier features, Rahimi and Recht 2007). They are
    trained like all other weights.

    Args:
        dim: D, size of a vector.
        max_length: number of positions; later ones share the last vector.
    """

    def __init__(self, dim: int, max_length: int) -> None:
        super().__init__()
        self.dim, self.max_length = dim, max_length
        self.weight = nn.Parameter(torch.empty(max_length, dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the waves."""
        if self.weight.is_meta:  # a bundle's weights will replace them; see seqae.bundle.io
            return
        with torch.no_grad():
            frequency = torch.rand(self.dim) * math.pi
            phase = torch.rand(self.dim) * 2 * math.pi
            angle = torch.arange(self.max_length)[:, None] * frequency + phase
            self.weight.copy_(angle.sin() * math.sqrt(2))  # unit mean square

    @override
    def forward(self, positions: Tensor) -> Tensor:
        """Look up (...) int64 positions: (..., D) vectors."""
        return self.weight[positions.clamp(max=self.max_length - 1)]

    def bind(self, rows: Tensor, mask: Tensor) -> Tensor:
        """Bind each real token of (B, T, D) to its position, and sum them: (B, D)."""
        vectors: Tensor = self(torch.arange(mask.shape[1], device=mask.device))
        return without_padding(rows * vectors, mask).sum(dim=1) / SCALE

    def bind_mapped(self, inputs: Tensor, linear: nn.Linear, mask: Tensor) -> Tensor:
        """Map (B, T, K) by a linear layer without bias to (B, T, D), and `bind` that: (B, D)."""
        if _is_fused(inputs, linear, self.weight):
            inputs = without_padding(inputs, mask)
            fused: Tensor = _BoundSum.apply(inputs, linear.weight, self.weight)  # type: ignore[no-untyped-call]
            return fused
        return self.bind(linear(inputs), mask)

    def unbind_mapped(self, bound: Tensor, linear: nn.Linear, steps: int) -> Tensor:
        """Unbind (B, D) at the first T positions, and map by a linear layer without bias.

        Args:
            bound: (B, D).
            linear: D to E.
            steps: T.

        Returns:
            (B, T, E).
        """
        if _is_fused(bound, linear, self.weight, steps):
            fused: Tensor = _Unbound.apply(bound, linear.weight, self.weight, steps)  # type: ignore[no-untyped-call]
            return fused
        vectors: Tensor = self(torch.arange(steps, device=bound.device))
        unbound: Tensor = linear(bound[:, None] * vectors)
        return unbound


class PositionUnbinding(nn.Module):
    """Base of decoders that unbind the latent at each position; see PositionBinding.

    A base class rather than a submodule, because bundles have its weights in the decoder itself.

    Attributes:
        position_dim: size of the vector that is unbound; with 0 there are no weights, and unbinding
            adds nothing.
    """

    position_dim: int

    def build_unbinding(self, latent_dim: int, output_dim: int, max_length: int) -> None:
        """Make the weights, from Z to E = `output_dim`."""
        if self.position_dim:
            self.bound = nn.Linear(latent_dim, self.position_dim)
            self.unbound = nn.Linear(self.position_dim, output_dim, bias=False)
            self.positions = PositionBinding(self.position_dim, max_length)

    def bound_vector(self, latent: Tensor) -> Tensor:
        """Map (B, Z) to the vector that `unbind` takes, (B, position_dim)."""
        bound: Tensor = self.bound(latent) if self.position_dim else latent[:, :0]
        return bound

    def unbind_first(self, bound: Tensor, steps: int) -> Tensor | float:
        """Unbind at the first T = `steps` positions: (B, T, E), or 0."""
        if not self.position_dim:
            return 0.0
        return self.positions.unbind_mapped(bound, self.unbound, steps)

    def unbind(self, bound: Tensor, positions: Tensor) -> Tensor | float:
        """Unbind at (T,) or (B, T) int64 positions: (B, T, E), or 0."""
        if not self.position_dim:
            return 0.0
        unbound: Tensor = self.unbound(bound[:, None] * self.positions(positions))
        return unbound


def without_padding(values: Tensor, mask: Tensor) -> Tensor:
    """Set (B, T, D) to zero where the mask (B, T) is False."""
    if is_everywhere(mask):  # most batches of training have sentences of one length
        return values
    return values.masked_fill(~mask[..., None], 0.0)


def _is_fused(inputs: Tensor, linear: nn.Linear, table: Tensor, steps: int = 0) -> bool:
    """Say whether the functions below serve: in training in full precision on a CPU."""
    if not torch.is_grad_enabled():  # before weights in 8 bits are written as floats
        return False
    tensors = inputs, linear.weight, table
    return (
        all(t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and max(steps, inputs.shape[1] if inputs.ndim == 3 else 0) <= len(table)
    )


class _BoundSum(torch.autograd.Function):
    """Sum W x_t * p_t over t, and divide by SCALE: (B, T, K), (D, K), (L, D) to (B, D)."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, table: Tensor) -> Tensor:
        flat = inputs.flatten(0, 1)
        rows = (flat @ weight.t()).view(*inputs.shape[:2], len(weight))
        ctx.save_for_backward(flat, weight, table, rows)
        return (rows * table[: rows.shape[1]]).sum(dim=1).div_(SCALE)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        flat, weight, table, rows = ctx.saved_tensors
        steps = rows.shape[1]
        grad = (grad / SCALE)[:, None]
        grad_rows = grad * table[:steps]
        grad_flat = grad_rows.flatten(0, 1)
        grad_inputs = (grad_flat @ weight).view(*rows.shape[:2], flat.shape[1])
        grad_weight = grad_flat.t() @ flat
        grad_table = torch.zeros_like(table)
        # Into memory that is in the cache and no longer needed.
        torch.sum(torch.mul(rows, grad, out=grad_rows), dim=0, out=grad_table[:steps])
        return grad_inputs, grad_weight, grad_table


class _Unbound(torch.autograd.Function):
    """Map bound * p_t by W for the first T positions: (B, D), (E, D), (L, D) to (B, T, E)."""

    @staticmethod
    def forward(ctx: Any, bound: Tensor, weight: Tensor, table: Tensor, steps: int) -> Tensor:
        rows = (bound[:, None] * table[:steps]).flatten(0, 1)
        ctx.save_for_backward(bound, weight, table, rows)
        return (rows @ weight.t()).view(len(bound), steps, len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        bound, weight, table, rows = ctx.saved_tensors
        steps = grad.shape[1]
        grad = grad.flatten(0, 1)
        grad_weight = grad.t() @ rows
        grad_rows = (grad @ weight).view(len(bound), steps, weight.shape[1])
        grad_table = torch.zeros_like(table)
        torch.sum(grad_rows * bound[:, None], dim=0, out=grad_table[:steps])
        grad_bound = grad_rows.mul_(table[:steps]).sum(dim=1)
        return grad_bound, grad_weight, grad_table, None
