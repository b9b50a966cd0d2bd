"""Elman and GRU recurrences whose backward pass is a few operations per step.

torch's own cells leave a dozen autograd nodes per step behind, which on a CPU costs more than the arithmetic of a
narrow bottleneck. Here all that does not depend on the running gradient is computed for all steps at once, before the
loop. torch's LSTM is fused already, and on a GPU all of its cells are.

Symbols: L steps, R rows, r width; x_t holds the input's part of the gates, W x + b, and W, b are the hidden weights.
"""

from typing import Any

import torch
from torch import Tensor, nn

from read.autograd import once_differentiable


class Elman(torch.autograd.Function):
    """h_t = tanh(x_t + W h_{t-1} + b)."""

    @staticmethod
    def forward(ctx, x: Tensor, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """From x (L, R, r) and the first state (R, r), the states (L, R, r)."""
        states = torch.empty_like(x)
        previous = h
        for x_t, h_t in zip((x + bias).unbind(), states.unbind(), strict=True):
            previous = torch.tanh(torch.addmm(x_t, previous, weight.T), out=h_t)
        ctx.save_for_backward(h, states, weight)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, ...]:
        """Gradients of x, h, W and b."""
        h, states, weight = ctx.saved_tensors
        slope = 1 - states.square()
        inner = torch.empty_like(states)  # of what tanh is taken of
        steps = list(zip(slope.unbind(), inner.unbind(), gradient.unbind(), strict=True))
        running = torch.zeros_like(h)
        for slope_t, inner_t, gradient_t in reversed(steps):
            torch.mul(slope_t, running + gradient_t, out=inner_t)
            running = inner_t @ weight
        return inner, running, _weight_gradient(inner, h, states), inner.sum((0, 1))


class Gated(torch.autograd.Function):
    """The GRU of torch: gates (reset, update, new) in this order.

    r, z = sigmoid(x + W h + b), n = tanh(x_n + r (W_n h + b_n)), h' = n + z (h - n).
    """

    @staticmethod
    def forward(ctx, x: Tensor, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """From x (L, R, 3 r) and the first state (R, r), the states (L, R, r)."""
        width = h.shape[1]
        to_gates, to_new = weight[: 2 * width].T, weight[2 * width :].T
        x_gates, x_new = x[..., : 2 * width] + bias[: 2 * width], x[..., 2 * width :]
        gates = torch.empty_like(x_gates)
        states, new, hidden_new = (torch.empty_like(x_new) for _ in range(3))
        reset, update = gates.chunk(2, dim=-1)
        parts = (x_gates, x_new, gates, reset, update, hidden_new, new, states)  # taken apart once: slices cost as well
        previous = h
        for xg, xn, g, r, z, hn, n, s in zip(*(part.unbind() for part in parts), strict=True):
            torch.sigmoid(torch.addmm(xg, previous, to_gates), out=g)
            torch.addmm(bias[2 * width :], previous, to_new, out=hn)
            torch.tanh(torch.addcmul(xn, r, hn), out=n)
            previous = torch.lerp(n, previous, z, out=s)
        ctx.save_for_backward(h, states, gates, new, hidden_new, weight)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, ...]:
        """Gradients of x, h, W and b."""
        h, states, gates, new, hidden_new, weight = ctx.saved_tensors
        reset, update = gates.chunk(2, dim=-1)
        before = torch.cat((h[None], states[:-1]))
        to_new = (1 - update) * (1 - new.square())
        slope = torch.stack(
            (to_new * hidden_new * reset * (1 - reset), (before - new) * update * (1 - update), to_new * reset), dim=2
        )
        inner, totals = torch.empty_like(slope), torch.empty_like(states)
        parts = (slope, inner, inner.flatten(2), totals, update, gradient)
        steps = list(zip(*(part.unbind() for part in parts), strict=True))
        running = torch.zeros_like(h)
        for slope_t, inner_t, flat_t, total_t, update_t, gradient_t in reversed(steps):
            torch.add(running, gradient_t, out=total_t)
            torch.mul(slope_t, total_t[:, None], out=inner_t)
            running = torch.addmm(update_t * total_t, flat_t, weight)
        inner = inner.flatten(2)
        x = torch.cat((inner[..., : 2 * h.shape[1]], to_new * totals), dim=-1)
        return x, running, _weight_gradient(inner, h, states), inner.sum((0, 1))


FUNCTIONS = {nn.RNN: Elman, nn.GRU: Gated}


def run(cell: Any, rows: Tensor, hidden: Any) -> tuple[Tensor, Any]:
    """As `cell(rows, hidden)` for a batch-first nn.RNNBase of one layer; rows (R, L, r), hidden (1, R, r)."""
    function = FUNCTIONS.get(type(cell))
    if function is None or rows.device.type != "cpu" or not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return cell(rows, hidden)
    x = nn.functional.linear(rows.transpose(0, 1), cell.weight_ih_l0, cell.bias_ih_l0).contiguous()
    first = rows.new_zeros(len(rows), cell.hidden_size) if hidden is None else hidden[0]
    states = function.apply(x, first, cell.weight_hh_l0, cell.bias_hh_l0)
    return states.transpose(0, 1), states[-1:]


def _weight_gradient(inner: Tensor, h: Tensor, states: Tensor) -> Tensor:
    before = torch.cat((h[None], states[:-1]))
    return inner.flatten(0, 1).T @ before.flatten(0, 1)
