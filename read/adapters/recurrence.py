"""torch's recurrent cells with a backward pass of a few operations per step.

torch's own leave a dozen autograd nodes per step behind, which on a CPU costs more than the arithmetic of a narrow
bottleneck. Here all that does not depend on the running gradient is computed for all steps at once, before the loop.
torch's LSTM is fused already, and on a GPU all of its cells are.

Symbols: L steps, R rows, r width; x_t holds the input's part of the gates, W x + b, and W, b are the hidden weights.
A state is h, and with an LSTM c, each (R, r); weights are W and b of the inputs and the hidden ones, in torch's order
(weight_ih, weight_hh, bias_ih, bias_hh).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

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


FUNCTIONS: dict[str, Any] = {"RNN_TANH": Elman, "GRU": Gated}  # by the mode of an nn.RNNBase


def run(
    mode: str, rows: Tensor, state: list[Tensor], weights: list[Tensor], lengths: Tensor | None, train: bool
) -> list[Tensor]:
    """All h (R, L, r) from rows (R, L, r), and the parts of the last state.

    Args:
        mode: of an nn.RNNBase.
        rows: the input.
        state: the one before the first step.
        weights: of the cell.
        lengths: (R,) real places, which stand first, after which the last state is; 0 leaves it as it was. None: all.
        train: gradients are wanted; on a GPU torch's cells have none otherwise.
    """
    function = FUNCTIONS.get(mode)
    if function is None or lengths is not None or rows.device.type != "cpu" or not torch.is_grad_enabled():
        return run_torchs(mode, rows, state, weights, lengths, train)
    states = function.apply(_inputs(rows, weights), state[0], weights[1], weights[3])
    return [states.transpose(0, 1), states[-1]]


def run_torchs(
    mode: str, rows: Tensor, state: list[Tensor], weights: list[Tensor], lengths: Tensor | None, train: bool
) -> list[Tensor]:
    """As `run`, always by torch's own kernels."""
    call: Any = {"RNN_TANH": torch.rnn_tanh, "GRU": torch.gru, "LSTM": torch.lstm}[mode]
    hidden = [part[None].contiguous() for part in state]
    if lengths is None:
        output, *last = call(rows, _as_torch_takes(hidden), weights, True, 1, 0.0, train, False, True)
        return [output, *(part[0] for part in last)]
    packed = pack_padded_sequence(rows, lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False)
    order: Any = packed.sorted_indices
    hidden = [part.index_select(1, order) for part in hidden]
    data, *last = call(packed.data, packed.batch_sizes, _as_torch_takes(hidden), weights, True, 1, 0.0, train, False)
    output = pad_packed_sequence(packed._replace(data=data), batch_first=True, total_length=rows.shape[1])[0]
    parts = (part[0].index_select(0, packed.unsorted_indices) for part in last)
    return [output, *(torch.where((lengths > 0)[:, None], new, old) for new, old in zip(parts, state, strict=True))]


@contextmanager
def recording() -> Iterator[None]:
    """In a custom operator, where torch records nothing: record for gradients."""
    with torch._C._SetExcludeDispatchKeyGuard(torch._C.DispatchKey.AutogradFunctionality, False), torch.enable_grad():
        yield


def gradients(
    mode: str, rows: Tensor, state: list[Tensor], weights: list[Tensor], lengths: Tensor | None, toward: list[Tensor]
) -> list[Tensor]:
    """Of rows, state and weights, from those `toward` what `run` gives, which is computed once more."""
    inputs = [part.detach().requires_grad_() for part in (rows, *state, *weights)]
    count = 1 + len(state)
    with recording():
        outputs = run(mode, inputs[0], inputs[1:count], inputs[count:], lengths, True)
        return list(torch.autograd.grad(outputs, inputs, toward, materialize_grads=True))


def _inputs(rows: Tensor, weights: list[Tensor]) -> Tensor:
    """The inputs' part of the gates, (L, R, ...)."""
    return nn.functional.linear(rows.transpose(0, 1), weights[0], weights[2]).contiguous()


def _as_torch_takes(hidden: list[Tensor]) -> Tensor | list[Tensor]:
    return hidden if len(hidden) > 1 else hidden[0]


def _weight_gradient(inner: Tensor, h: Tensor, states: Tensor) -> Tensor:
    before = torch.cat((h[None], states[:-1]))
    return inner.flatten(0, 1).T @ before.flatten(0, 1)
