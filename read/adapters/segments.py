"""Sequences inside a layer: which tokens a recurrence runs through, in which order, and which it must not see.

A layer's tokens may be several sequences one after the other ([video; words]), each padded. `TokenLayout` deals them
out to the rows of one batch, real tokens first, so that one call of a cell serves all modalities and samples, no state
crosses from one sequence to the next, and a trailing pad cannot reach a real token.

Symbols: B samples, T tokens of a layer, S segments, R = S * B rows, L tokens of the longest segment.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from read.errors import InputError


class TokenSegment(Protocol):
    """One modality's tokens `start:stop` of a layer, with their mask (B, stop - start), None where all are real."""

    modality: str
    start: int
    stop: int
    mask: Tensor | None


@dataclass(frozen=True)
class TokenLayout:
    """Where every token of a layer stands among its rows.

    Attributes:
        source: (R, L) index into the B * T tokens; 0 in the places that hold no real token.
        real: (R, L) True where a place holds a real token.
        place: (B, T) index into the R * L places; that of padded tokens is any that is not real, or the row's last.
        lengths: (R,) real tokens per row.
        lasting: how many rows, the first, go on in the next call; None: all.
    """

    source: Tensor
    real: Tensor
    place: Tensor
    lengths: Tensor
    lasting: int | None = None

    def deal(self, tokens: Tensor) -> Tensor:
        """(B, T, r) -> (R, L, r), zero where there is no real token."""
        return tokens.flatten(0, 1)[self.source].masked_fill(~self.real[..., None], 0)

    def gather(self, rows: Tensor) -> Tensor:
        """(R, L, r) -> (B, T, r)."""
        return rows.flatten(0, 1)[self.place]

    def taken_up(self, state: tuple[Tensor, ...] | None) -> tuple[Tensor, ...] | None:
        """The state of all rows, of that of the lasting ones: the others start from zero."""
        if state is None or self.lasting is None:
            return state
        new = self.lengths.shape[0] - self.lasting
        return tuple(torch.cat((part, part.new_zeros(new, *part.shape[1:]))) for part in state)

    def left(self, state: tuple[Tensor, ...] | None) -> tuple[Tensor, ...] | None:
        """The state of the lasting rows, of that of all."""
        return state if state is None else tuple(part[: self.lasting] for part in state)


def lay_out(segments: Sequence[TokenSegment], batch: int, tokens: int, device: torch.device) -> TokenLayout:
    """The layout of a layer with `tokens` tokens.

    Raises:
        InputError: segments do not cover them, end to end, or a mask is not of its segment's shape.
    """
    bounds = [(segment.start, segment.stop) for segment in segments]
    if [start for start, _ in bounds] + [tokens] != [0] + [stop for _, stop in bounds]:
        named = ", ".join(f"{segment.modality} {segment.start}:{segment.stop}" for segment in segments)
        raise InputError(f"segments {named} do not cover a layer of {tokens} tokens")
    longest = max(stop - start for start, stop in bounds)
    samples = torch.arange(batch, device=device)[:, None]
    sources, reals, places = [], [], []
    for row, segment in enumerate(segments):
        length = segment.stop - segment.start
        mask = segment.mask
        if mask is None:
            mask = torch.ones(batch, length, dtype=torch.bool, device=device)
        if mask.shape != (batch, length):
            raise InputError(
                f"mask {tuple(mask.shape)} of {segment.modality} {segment.start}:{segment.stop}: must be "
                f"({batch}, {length}), True or 1 at real tokens"
            )
        mask = mask.to(device=device, dtype=torch.bool)
        pads = mask.sum(1, keepdim=True) + (~mask).cumsum(1)
        rank = torch.where(mask, mask.cumsum(1), pads) - 1  # real tokens first, in their order; ONNX has no such sort
        order = torch.zeros_like(rank).scatter(1, rank, torch.arange(length, device=device).expand_as(rank))
        pad = (0, longest - length)
        real = torch.nn.functional.pad(mask.gather(1, order), pad)
        reals.append(real)
        sources.append(torch.nn.functional.pad(samples * tokens + segment.start + order, pad) * real)
        places.append((row * batch + samples) * longest + rank)
    real = torch.cat(reals)
    return TokenLayout(torch.cat(sources), real, torch.cat(places, dim=1), real.sum(1))


@dataclass(frozen=True, eq=False)
class Chains:
    """Sequences that may stand among each other, in a graph, which cannot know how many there are and how long.

    Attributes:
        chains: (B, T) which sequence a token is of; sequence b < B is of sample b, and goes on in the next call.
        mask: (B, T) True at real tokens; None: all are.
    """

    chains: Tensor
    mask: Tensor | None


def among_each_other(chains: Tensor, mask: Tensor | None) -> TokenLayout | Chains:
    """`lay_out_chains`, in a graph when it runs."""
    return Chains(chains, mask) if torch.compiler.is_compiling() else lay_out_chains(chains, mask)


def lay_out_chains(chains: Tensor, mask: Tensor | None) -> TokenLayout:
    """The layout of sequences that may stand among each other, of which those of each sample's words last.

    Args:
        chains: (B, T) which sequence a token is of; sequence b < B is of sample b.
        mask: (B, T) True at real tokens; None: all are.
    """
    batch, tokens = chains.shape
    count = max(batch, int(chains.max()) + 1)
    real = torch.ones_like(chains, dtype=torch.bool) if mask is None else mask.to(chains.device) != 0
    chain = chains.masked_fill(~real, count).flatten()  # padding is the last of all
    lengths = torch.bincount(chain, minlength=count + 1)[:count]
    longest = int(lengths.max())
    order = torch.argsort(chain, stable=True)[: int(lengths.sum())]
    rank = torch.arange(len(order), device=chains.device) - (lengths.cumsum(0) - lengths)[chain[order]]
    index = chain[order] * longest + rank
    source, place = chains.new_zeros(count * longest), chains.new_full((batch * tokens,), longest - 1)
    source[index], place[order] = order, index
    rows = torch.arange(longest, device=chains.device) < lengths[:, None]
    return TokenLayout(source.view(count, -1), rows, place.view(batch, tokens), lengths, batch)


def reversal(lengths: Tensor, places: int) -> Tensor:
    """(R, places) index that turns each row's first `lengths` places round; it undoes itself."""
    index = torch.arange(places, device=lengths.device).expand(lengths.shape[0], places)
    return torch.where(index < lengths[:, None], lengths[:, None] - 1 - index, index)
