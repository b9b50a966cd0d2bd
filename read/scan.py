"""Recurrences that are linear in their state, whose steps a scan computes all at once: h_t = f_t h_{t-1} + i_t.

f_t in (0, 1) and i_t depend on the input alone, so that two runs of steps combine into one: after ceil(log2 L) rounds
every place holds the run that ends there (Hillis and Steele, "Data Parallel Algorithms", 1986). Products of f only
shrink and nothing is divided, so nothing overflows at any length.

In a graph of torch.compile the scan is one node, whatever L is; in one of torch.export it is a loop over L.

Symbols: R rows, L steps, r width; * is elementwise.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from read.autograd import once_differentiable


def scan(f: Tensor, i: Tensor, h: Tensor | None = None) -> Tensor:
    """The states h_1 ... h_L (R, L, r).

    Args:
        f: (R, L, r), in [0, 1].
        i: (R, L, r).
        h: (R, r), the state before the first step; None: zero.
    """
    if torch.compiler.is_exporting():
        first = torch.zeros_like(i[:, 0]) if h is None else h
        (states,) = over_time(lambda state, at: (at[0] * state[0] + at[1],), (first,), (f, i))
        return states
    if h is not None:
        i = torch.cat((torch.addcmul(i[:, :1], f[:, :1], h[:, None]), i[:, 1:]), dim=1)
    return _node(f, i) if torch.compiler.is_compiling() else _Scan.apply(f, i)


def over_time(
    step: Callable[[tuple[Tensor, ...], tuple[Tensor, ...]], tuple[Tensor, ...]],
    first: tuple[Tensor, ...],
    inputs: tuple[Tensor, ...],
) -> tuple[Tensor, ...]:
    """A loop that torch.export keeps as one, of plain operators: all states (R, L, r) that `step` makes.

    Args:
        step: from a state, tensors (R, r), and the inputs at one place, (R, ...) each, to the next state.
        first: the state before the first step.
        inputs: (R, L, ...) each.
    """
    from torch._higher_order_ops.scan import scan as loop  # takes the compiler along

    def one(state: tuple[Tensor, ...], at: tuple[Tensor, ...]) -> Any:
        after = step(state, at)
        return after, tuple(part.clone() for part in after)

    _, states = loop(one, first, tuple(part.transpose(0, 1) for part in inputs))
    return tuple(part.transpose(0, 1) for part in states)


class _Scan(torch.autograd.Function):
    """Its backward pass is the same recurrence, run backwards."""

    @staticmethod
    def forward(ctx, f: Tensor, i: Tensor) -> Tensor:
        states = _combined(f, i)
        ctx.save_for_backward(f, states)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, ...]:
        return _gradients(*ctx.saved_tensors, gradient)


def _gradients(f: Tensor, states: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    none = torch.zeros_like(f[:, :1])
    onward = torch.cat((f[:, 1:], none), dim=1)  # by which a state reaches the next
    running = _combined(onward.flip(1), gradient.flip(1)).flip(1)
    return running * torch.cat((none, states[:, :-1]), dim=1), running


def _combined(f: Tensor, i: Tensor) -> Tensor:
    length, step = f.shape[1], 1
    while step < length:
        i = torch.cat((i[:, :step], torch.addcmul(i[:, step:], f[:, step:], i[:, :-step])), dim=1)
        if 2 * step < length:
            f = torch.cat((f[:, :step], f[:, step:] * f[:, :-step]), dim=1)
        step *= 2
    return i


@torch.library.custom_op("read::scan", mutates_args=())
def _node(f: Tensor, i: Tensor) -> Tensor:
    states = _combined(f, i)
    return states.clone() if states is i else states  # of one step; a node gives no input back


@torch.library.custom_op("read::scan_gradients", mutates_args=())
def _gradients_node(f: Tensor, states: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    return _gradients(f, states, gradient)


_node.register_fake(lambda f, i: torch.empty_like(i, memory_format=torch.contiguous_format))
_gradients_node.register_fake(lambda f, states, gradient: (torch.empty_like(states), torch.empty_like(states)))
_node.register_autograd(
    lambda ctx, gradient: _gradients_node(*ctx.saved_tensors, gradient),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(inputs[0], output),
)
