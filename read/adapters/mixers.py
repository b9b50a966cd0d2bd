"""What mixes tokens in a bottleneck: recurrences and convolutions over rows, and over sequences among each other.

How many such sequences there are and how long, a graph of torch.compile cannot know; so there all of it, from dealing
tokens out to gathering them, is one node that runs what eager mode runs.
Symbols: B samples, T tokens of a layer, r width; a mixer sees R rows of L places, real tokens first.
"""

import threading
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from read.adapters.cells import State, make_cell
from read.adapters.config import RECURRENT
from read.adapters.recurrence import recording
from read.adapters.segments import Chains, TokenLayout, lay_out_chains, reversal

MixerForm = tuple[str, int, int, bool, bool]  # of a mixer: its kind, r, the kernel's size, in both directions, causal


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

    def start(self, like: Tensor, rows: int) -> State:
        """The state before the first place."""
        return self.cell.start(like, rows)

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
        (before,) = self.start(rows, rows.shape[0]) if state is None else state
        rows = torch.cat((before, rows), dim=1)
        output = self.conv(F.pad(rows, (0, 0, 0, self.future)).transpose(1, 2)).transpose(1, 2)
        if not keep:
            return output, None
        if lengths is None:
            return output, (rows[:, rows.shape[1] - self.past :],)
        index = lengths[:, None] + torch.arange(self.past, device=rows.device)
        return output, (rows.gather(1, index[..., None].expand(-1, -1, rows.shape[2])),)

    def start(self, like: Tensor, rows: int) -> State:
        """The state before the first place: nothing, which is zero."""
        return (like.new_zeros(rows, self.past, like.shape[-1]),)


def make_mixer(form: MixerForm) -> Recurrence | Convolution | None:
    """A mixer of this form; None where the kind is `none`."""
    kind, width, kernel_size, bidirectional, causal = form
    if kind in RECURRENT:
        return Recurrence(kind, width, bidirectional and not causal)
    return Convolution(width, kernel_size, causal) if kind == "conv" else None


def mixed_in_rows(
    mixer: nn.Module, tokens: Tensor, layout: TokenLayout, state: State | None, keep: bool
) -> tuple[Tensor, State | None]:
    """(B, T, r) -> (B, T, r), each of the layout's sequences by itself; the state is that of those that last."""
    mixed, state = mixer(layout.deal(tokens), layout.lengths, layout.taken_up(state), keep)
    return layout.gather(mixed), layout.left(state)


def mixed_in_a_graph(
    form: MixerForm, mixer: Recurrence | Convolution, tokens: Tensor, layout: Chains, state: State | None, keep: bool
) -> tuple[Tensor, State | None]:
    """As `mixed_in_rows`, as one node."""
    kind, *sizes = form
    state = mixer.start(tokens, tokens.shape[0]) if state is None else state
    weights = list(mixer.parameters())
    mixed, *last = _node(kind, list(map(int, sizes)), tokens, layout.chains, layout.mask, list(state), weights, keep)
    return mixed, tuple(last) if keep else None


@torch.library.custom_op("read::mixed", mutates_args=())
def _node(
    kind: str,
    sizes: list[int],
    tokens: Tensor,
    chains: Tensor,
    mask: Tensor | None,
    state: list[Tensor],
    weights: list[Tensor],
    keep: bool,
) -> list[Tensor]:
    with torch.no_grad():
        return [part.contiguous() for part in _run(kind, sizes, tokens, chains, mask, state, weights, keep)]


@torch.library.custom_op("read::mixed_gradients", mutates_args=())
def _gradients_node(
    kind: str,
    sizes: list[int],
    tokens: Tensor,
    chains: Tensor,
    mask: Tensor | None,
    state: list[Tensor],
    weights: list[Tensor],
    toward: list[Tensor],
) -> list[Tensor]:
    given = [part.detach().requires_grad_() for part in (tokens, *state, *weights)]
    count = 1 + len(state)
    with recording():
        outputs = _run(kind, sizes, given[0], chains, mask, given[1:count], given[count:], len(toward) > 1)
        found = torch.autograd.grad(outputs, given, toward, materialize_grads=True)
    return [part.contiguous() for part in found]


@_node.register_fake
def _(kind, sizes, tokens, chains, mask, state, weights, keep):
    given = (tokens, *state) if keep else (tokens,)
    return [torch.empty_like(part, memory_format=torch.contiguous_format) for part in given]


@_gradients_node.register_fake
def _(kind, sizes, tokens, chains, mask, state, weights, toward):
    return [torch.empty_like(part, memory_format=torch.contiguous_format) for part in (tokens, *state, *weights)]


def _keep(ctx, inputs, output) -> None:
    kind, sizes, tokens, chains, mask, state, weights, _ = inputs
    ctx.form, ctx.parts = (kind, sizes), len(state)
    ctx.save_for_backward(tokens, chains, mask, *state, *weights)


def _backward(ctx, toward: list[Tensor]) -> tuple:
    tokens, chains, mask, *others = ctx.saved_tensors
    state, weights = others[: ctx.parts], others[ctx.parts :]
    of_tokens, *found = _gradients_node(*ctx.form, tokens, chains, mask, state, weights, toward)
    return None, None, of_tokens, None, None, found[: ctx.parts], found[ctx.parts :], None


_node.register_autograd(_backward, setup_context=_keep)


def _run(
    kind: str,
    sizes: list[int],
    tokens: Tensor,
    chains: Tensor,
    mask: Tensor | None,
    state: list[Tensor],
    weights: list[Tensor],
    keep: bool,
) -> list[Tensor]:
    mixer = _like(kind, *sizes, thread=threading.get_ident())
    names = (name for name, _ in mixer.named_parameters())
    layout = lay_out_chains(chains, mask)
    given = (layout.deal(tokens), layout.lengths, layout.taken_up(tuple(state)), keep)
    mixed, last = functional_call(mixer, dict(zip(names, weights, strict=True)), given)
    mixed, last = layout.gather(mixed), layout.left(last)
    return [mixed, *(last or ())]


@lru_cache(64)
def _like(kind: str, width: int, kernel_size: int, bidirectional: int, causal: int, thread: int) -> nn.Module:
    """A mixer of this form without weights, of one thread, since it is lent those of models."""
    with torch.device("meta"):
        mixer = make_mixer((kind, width, kernel_size, bool(bidirectional), bool(causal)))
    assert mixer is not None, "or nothing was mixed"
    return mixer
