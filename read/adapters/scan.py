"""Cells that are linear in their state, h_t = f_t h_{t-1} + i_t, all of whose steps `read.scan` computes at once.

Symbols: R rows, L steps, r width; * is elementwise. A state is h alone, (R, r).
"""

import torch
from torch import Tensor, nn

from read.scan import scan


class Scanned(nn.Module):
    """A cell over (R, L, r), called as `read.adapters.cells.TorchCell` is."""

    def gates(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Those of the recurrence, f and i (R, L, r)."""
        raise NotImplementedError

    def forward(
        self, rows: Tensor, state: tuple[Tensor, ...] | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """All states (R, L, r) and the last; in single precision at least, whatever the rows are in."""
        precise = torch.promote_types(rows.dtype, torch.float32)
        f, i = (gate.to(precise) for gate in self.gates(rows))
        states = scan(f, i, None if state is None else state[0].to(precise)).to(rows.dtype)
        if lengths is None:
            return states, (states[:, -1],)
        return states, (last_of(states, lengths, torch.zeros_like(states[:, 0]) if state is None else state[0]),)

    def start(self, like: Tensor, rows: int) -> tuple[Tensor, ...]:
        """The state before the first step: zero."""
        return (like.new_zeros(rows, like.shape[-1]),)


def last_of(states: Tensor, lengths: Tensor, before: Tensor) -> Tensor:
    """(R, r), of (R, L, r) those after the first `lengths` (R,) places; `before` (R, r) where that is 0."""
    index = (lengths - 1).clamp(min=0)[:, None, None].expand(-1, 1, states.shape[2])
    return torch.where((lengths > 0)[:, None], states.gather(1, index)[:, 0], before)


class DampedAverage(Scanned):
    """Each channel's damped moving average (Ma et al., "Mega", 2023): h_t = a * x_t + (1 - a * d) * h_{t-1}."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.randn(width))  # a = sigmoid(rate): channels start with memories of their own
        self.damping = nn.Parameter(torch.randn(width))  # d likewise

    def gates(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        a = torch.sigmoid(self.rate)
        return (1 - a * torch.sigmoid(self.damping)).expand_as(rows), a * rows


class MinimalGRU(Scanned):
    """minGRU (Feng et al., "Were RNNs All We Needed?", 2024): h_t = (1 - z_t) * h_{t-1} + z_t * n_t.

    The gate z_t = sigmoid(W_z x_t + b_z) and what is new, n_t = W_n x_t + b_n, do not see the state.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 2 * width)

    def gates(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        gate, new = self.linear(rows).chunk(2, dim=-1)
        return torch.sigmoid(-gate), torch.sigmoid(gate) * new


SCANNED = {"ema": DampedAverage, "mingru": MinimalGRU}
