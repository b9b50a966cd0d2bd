"""Recurrences that are linear in their state, whose steps a scan computes all at once: h_t = f_t h_{t-1} + i_t.

f_t in (0, 1) and i_t depend on the input alone, so that two runs of steps combine into one: after ceil(log2 L) rounds
every place holds the run that ends there (Hillis and Steele, "Data Parallel Algorithms", 1986). Products of f only
shrink and nothing is divided, so nothing overflows at any length.

Symbols: R rows, L steps, r width; * is elementwise.
"""

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
    if h is not None:
        i = torch.cat((torch.addcmul(i[:, :1], f[:, :1], h[:, None]), i[:, 1:]), dim=1)
    return _combined(f, i) if torch.compiler.is_compiling() else _Scan.apply(f, i)


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
        f, states = ctx.saved_tensors
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
