"""A GRU layer that trains fast on a CPU: the mathematics of nn.GRU, with other products.

torch's own layer computes the gradient of the recurrent weight at every step of a sequence and adds
up the steps, and its elementwise operations, some twenty a step and direction, go through autograd
one by one. Here the backward pass takes three operations and one product a step; everything that
does not depend on the gradient from the step after is computed for many steps at once, and the
weights' gradients are one product each over all steps. That matters most where there are few rows,
so that a product of a single step is small (docs/log.md has the figures).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# Elements of an intermediate result that are computed at once in the backward pass: eight arrays of
# 2**15 floats are 1 MiB, which fits the second-level cache of a core.
BLOCK_ELEMENTS = 2**15


def runs_fast(rnn: nn.GRU, inputs: Tensor) -> bool:
    """Say whether a layer is to be trained by `run_gru`, rather than by its own kernels.

    Args:
        rnn: a layer with biases, in one direction.
        inputs: (B, T, E).
    """
    weight = rnn.weight_hh_l0
    assert isinstance(weight, Tensor)
    return (
        torch.is_grad_enabled()
        and (inputs.requires_grad or weight.requires_grad)
        and inputs.device.type == "cpu"
        and inputs.dtype == weight.dtype
        and inputs.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def run_gru(rnn: nn.GRU, inputs: Tensor, state: Tensor | None = None) -> Tensor:
    """Run a layer over rows of T tokens; has a gradient, but no gradient of that one.

    Args:
        rnn: a layer with biases, in one direction.
        inputs: (B, T, E), T at least 1.
        state: (B, H) before the first token, by default zero.

    Returns:
        The outputs (B, T, H).
    """
    if state is None:
        state = inputs.new_zeros(inputs.shape[0], rnn.hidden_size)
    weights = (rnn.weight_ih_l0, rnn.weight_hh_l0, rnn.bias_ih_l0, rnn.bias_hh_l0)
    outputs: Tensor = _GRUSequence.apply(inputs, state, *weights)  # type: ignore[no-untyped-call]
    return outputs


class _GRUSequence(torch.autograd.Function):
    """One direction of one layer.

    With r reset, z update and n new gates, rows of the weights in this order:
    r, z = sigmoid(W_rz x + U_rz h), m = U_n h, n = tanh(W_n x + r m), h' = n + z (h - n); the
    biases belong to W and U.
    """

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        state: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor,
        bias_hh: Tensor,
    ) -> Tensor:
        (rows, steps), size = inputs.shape[:2], state.shape[1]
        # Time first, so that the values of a step lie side by side.
        read = inputs.transpose(0, 1).reshape(steps * rows, inputs.shape[2])
        gates = inputs.new_empty(steps, rows, 4 * size)  # r, z, n, m of each step
        by_step = gates.view(steps * rows, 4 * size)
        torch.addmm(bias_ih, read, weight_ih.t(), out=by_step[:, : 3 * size])
        states = inputs.new_empty(steps + 1, rows, size)
        states[0] = state
        # Transposed, as a product of few rows is twice as fast so.
        transposed = weight_hh.t().contiguous()
        recurrent = inputs.new_empty(rows, 3 * size)
        recurrent_rz, recurrent_n = recurrent[:, : 2 * size], recurrent[:, 2 * size :]
        r, z, n, m = (part.unbind() for part in gates.chunk(4, dim=2))
        rz = gates[..., : 2 * size].unbind()
        all_states = states.unbind()
        for step in range(steps):
            torch.addmm(bias_hh, all_states[step], transposed, out=recurrent)
            rz[step].add_(recurrent_rz).sigmoid_()
            m[step].copy_(recurrent_n)
            n[step].addcmul_(r[step], recurrent_n).tanh_()
            torch.lerp(n[step], all_states[step], z[step], out=all_states[step + 1])
        ctx.save_for_backward(read, states, gates, weight_ih, weight_hh)
        return states[1:].transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        read, states, gates, weight_ih, weight_hh = ctx.saved_tensors
        (steps, rows), size = gates.shape[:2], states.shape[2]
        # Gradients by the inputs of the gates, in the order n, r, z, m: the first three are those
        # of the product with W, the last three those of the product with U.
        grads = torch.empty_like(gates)
        update = gates[..., size : 2 * size]
        grad_state = grad_outputs.new_zeros(rows, size)
        block = max(1, BLOCK_ELEMENTS // max(1, rows * size))
        one = gates.new_ones(())
        for end in range(steps, 0, -block):
            start = max(0, end - block)
            _write_slopes(gates[start:end], states[start:end], one, grads[start:end])
            for step in range(end - 1, start - 1, -1):
                grad_state = grad_state + grad_outputs[:, step]
                grad = grads[step]
                grad.view(rows, 4, size).mul_(grad_state[:, None])
                grad_state.mul_(update[step]).addmm_(grad[:, size:], weight_hh)
        flat = grads.view(steps * rows, 4 * size)
        by_inputs, by_states = flat[:, : 3 * size], flat[:, size:]
        needs = ctx.needs_input_grad
        grad_inputs = grad_ih = grad_hh = grad_bias_ih = grad_bias_hh = None
        if needs[0]:
            order = torch.cat([weight_ih[2 * size :], weight_ih[: 2 * size]])
            grad_inputs = (by_inputs @ order).view(steps, rows, read.shape[1]).transpose(0, 1)
        if needs[2]:
            grad_ih = _rotate(by_inputs.t() @ read, size)
        if needs[3]:
            grad_hh = by_states.t() @ states[:-1].view(steps * rows, size)
        if needs[4] or needs[5]:
            total = flat.sum(dim=0)
            grad_bias_ih, grad_bias_hh = _rotate(total[: 3 * size], size), total[size:]
        grad_first = grad_state if needs[1] else None
        return grad_inputs, grad_first, grad_ih, grad_hh, grad_bias_ih, grad_bias_hh


def _rotate(rows: Tensor, size: int) -> Tensor:
    """Bring rows for the gates n, r, z into the order of the weights, r, z, n."""
    return torch.cat([rows[size:], rows[:size]])


def _write_slopes(gates: Tensor, previous: Tensor, one: Tensor, slopes: Tensor) -> None:
    """Write the derivatives of new states by the inputs of their gates.

    Args:
        gates: (S, B, 4 H), r, z, n and m of some steps.
        previous: (S, B, H) states before these steps.
        one: 1, ().
        slopes: (S, B, 4 H) result, by the inputs of n, r, z, and by m.
    """
    reset, update, new, product = gates.chunk(4, dim=2)
    by_new, by_reset, by_update, by_product = slopes.chunk(4, dim=2)
    torch.addcmul(one, new, new, value=-1, out=by_new)  # tanh
    by_new.addcmul_(by_new, update, value=-1)
    torch.mul(by_new, reset, out=by_product)
    torch.mul(by_product, product, out=by_reset)  # sigmoid: r m (1 - r)
    by_reset.addcmul_(by_reset, reset, value=-1)
    torch.sub(previous, new, out=by_update).mul_(update)
    by_update.addcmul_(by_update, update, value=-1)
