"""The bottleneck: two projections with something that mixes tokens between them.

    Z = X W_down + b_down              (B, T, r), X (B, T, d_in)
    H = mixer(Z)                       over tokens, each sequence by itself
    branch = GELU(H) W_up + b_up       (B, T, d_out), zero at the start

or, in the low-rank form, without biases (LoRA, Hu et al. 2022), with alpha (r,) that is zero at the start,

    branch = (Z + alpha mixer(Z)) W_up

`mixer` is nothing (Houlsby et al. 2019; Chen et al., AdaptFormer, 2022), a recurrent cell (READ) or a depthwise
convolution (Pan et al., ST-Adapter, 2022). Symbols: B samples, T tokens, d_in and d_out widths, which are one and the
same but beside a linear layer, r bottleneck; a mixer sees R rows of L places, real tokens first.
"""

from contextlib import nullcontext
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from read.adapters.cells import State, make_cell
from read.adapters.config import RECURRENT, AdapterConfig
from read.adapters.segments import TokenLayout, reversal


class Branch(NamedTuple):
    """What a bottleneck gives.

    `delta` (B, T, d_out) is added to the base, `narrow` (B, T, r) is Z, `state` the mixer's after the last real token.
    """

    delta: Tensor
    narrow: Tensor
    state: State | None


class Recurrence(nn.Module):
    """A recurrent cell over the places of each row, in both directions where asked; r in, r out."""

    def __init__(self, kind: str, width: int, bidirectional: bool = False) -> None:
        super().__init__()
        self.cell = make_cell(kind, width)
        self.reverse_cell = make_cell(kind, width) if bidirectional else None

    def forward(
        self, rows: Tensor, lengths: Tensor | None = None, state: State | None = None, keep: bool = False
    ) -> tuple[Tensor, State | None]:
        """Run over (R, L, r).

        Args:
            rows: the input.
            lengths: (R,) real places, which stand first; None: all are.
            state: to go on from.
            keep: return the state after each row's last real place.
        """
        output, last = self.cell(rows, state, lengths if keep else None)
        if self.reverse_cell is not None:
            output = output + self._backwards(self.reverse_cell, rows, lengths)
        return output, last if keep else None

    @staticmethod
    def _backwards(cell: nn.Module, rows: Tensor, lengths: Tensor | None) -> Tensor:
        if lengths is None:
            return cell(rows.flip(1))[0].flip(1)
        # Not a bidirectional nn.RNN on packed sequences: those need the lengths on the host, once per layer.
        index = reversal(lengths, rows.shape[1])[..., None].expand_as(rows)
        return cell(rows.gather(1, index))[0].gather(1, index)


class Convolution(nn.Module):
    """A depthwise convolution over the places of each row; in causal layers over the past only."""

    def __init__(self, width: int, kernel_size: int, causal: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, kernel_size, groups=width)
        self.past = kernel_size - 1 if causal else kernel_size // 2
        self.future = kernel_size - 1 - self.past

    def forward(
        self, rows: Tensor, lengths: Tensor | None = None, state: State | None = None, keep: bool = False
    ) -> tuple[Tensor, State | None]:
        """As `Recurrence.forward`; the state is the last places, (R, kernel_size - 1, r)."""
        before = rows.new_zeros(rows.shape[0], self.past, rows.shape[2]) if state is None else state[0]
        rows = torch.cat((before, rows), dim=1)
        output = self.conv(F.pad(rows, (0, 0, 0, self.future)).transpose(1, 2)).transpose(1, 2)
        if not keep:
            return output, None
        if lengths is None:
            return output, (rows[:, rows.shape[1] - self.past :],)
        index = lengths[:, None] + torch.arange(self.past, device=rows.device)
        return output, (rows.gather(1, index[..., None].expand(-1, -1, rows.shape[2])),)


class Bottleneck(nn.Module):
    """One adapter, d_in wide where it reads and d_out where it gives. `up` starts at zero, so the branch does."""

    def __init__(self, inputs: int, outputs: int, config: AdapterConfig, causal: bool = False) -> None:
        super().__init__()
        r = config.bottleneck
        self.low_rank = config.placement == "low_rank"
        self.down = nn.Linear(inputs, r, bias=not self.low_rank)  # torch starts it as LoRA starts A
        self.up = nn.Linear(r, outputs, bias=not self.low_rank)
        self.residual = config.residual
        self.mixer: Recurrence | Convolution | None = None
        if config.mixer in RECURRENT:
            self.mixer = Recurrence(config.mixer, r, config.bidirectional and not causal)
        elif config.mixer == "conv":
            self.mixer = Convolution(r, config.kernel_size, causal)
        self.alpha = nn.Parameter(torch.zeros(r)) if self.low_rank and self.mixer is not None else None
        for parameter in self.up.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self, tokens: Tensor, layout: TokenLayout | None = None, state: State | None = None, keep: bool = False
    ) -> Branch:
        """The branch for `tokens` (B, T, d_in).

        Args:
            tokens: the input X.
            layout: the sequences that the tokens are; None: every sample is one, without padding.
            state: a causal mixer's, to go on from.
            keep: return the mixer's state.
        """
        narrow = self.down(tokens)
        mixed, state = (narrow, None) if self.mixer is None else self.mix(narrow, layout, state, keep)
        return Branch(self.up(mixed if self.low_rank else F.gelu(mixed)), narrow, state)

    def mix(
        self, narrow: Tensor, layout: TokenLayout | None, state: State | None, keep: bool
    ) -> tuple[Tensor, State | None]:
        """(B, T, r) -> (B, T, r) through the mixer, in the precision of its weights."""
        assert self.mixer is not None, "`forward` asks"
        weights = self.up.weight.dtype
        device = narrow.device.type
        # On a CPU, cells have no rule for it. Where there is none to leave, a program of torch.export holds no trace.
        off = torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()
        with off:
            rows = narrow.to(weights) if layout is None else layout.deal(narrow).to(weights)
            if layout is None:
                mixed, state = self.mixer(rows, None, state, keep)
            else:
                mixed, state = self.mixer(rows, layout.lengths, layout.taken_up(state), keep)
                mixed, state = layout.gather(mixed), layout.left(state)
            mixed = (mixed if self.alpha is None else self.alpha * mixed).to(narrow.dtype)
        return narrow + mixed if self.residual else mixed, state
