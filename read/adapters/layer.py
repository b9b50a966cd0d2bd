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

from read.adapters.cells import State
from read.adapters.config import AdapterConfig
from read.adapters.mixers import make_mixer, mixed_in_a_graph, mixed_in_rows
from read.adapters.segments import Chains, TokenLayout


class Branch(NamedTuple):
    """What a bottleneck gives.

    `delta` (B, T, d_out) is added to the base, `narrow` (B, T, r) is Z, `state` the mixer's after the last real token.
    """

    delta: Tensor
    narrow: Tensor
    state: State | None


class Bottleneck(nn.Module):
    """One adapter, d_in wide where it reads and d_out where it gives. `up` starts at zero, so the branch does."""

    def __init__(self, inputs: int, outputs: int, config: AdapterConfig, causal: bool = False) -> None:
        super().__init__()
        r = config.bottleneck
        self.low_rank = config.placement == "low_rank"
        self.down = nn.Linear(inputs, r, bias=not self.low_rank)  # torch starts it as LoRA starts A
        self.up = nn.Linear(r, outputs, bias=not self.low_rank)
        self.residual = config.residual
        self.form = (config.mixer, r, config.kernel_size, config.bidirectional, causal)
        self.mixer = make_mixer(self.form)
        self.alpha = nn.Parameter(torch.zeros(r)) if self.low_rank and self.mixer is not None else None
        for parameter in self.up.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self, tokens: Tensor, layout: TokenLayout | Chains | None = None, state: State | None = None, keep: bool = False
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
        self, narrow: Tensor, layout: TokenLayout | Chains | None, state: State | None, keep: bool
    ) -> tuple[Tensor, State | None]:
        """(B, T, r) -> (B, T, r) through the mixer, in the precision of its weights."""
        assert self.mixer is not None, "`forward` asks"
        weights = self.up.weight.dtype
        device = narrow.device.type
        # On a CPU, cells have no rule for it. Where there is none to leave, a program of torch.export holds no trace.
        off = torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()
        with off:
            rows = narrow.to(weights)
            if layout is None:
                mixed, state = self.mixer(rows, None, state, keep)
            elif isinstance(layout, Chains):
                mixed, state = mixed_in_a_graph(self.form, self.mixer, rows, layout, state, keep)
            else:
                mixed, state = mixed_in_rows(self.mixer, rows, layout, state, keep)
            mixed = (mixed if self.alpha is None else self.alpha * mixed).to(narrow.dtype)
        return narrow + mixed if self.residual else mixed, state
