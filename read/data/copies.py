"""Copies of a video, or of a part of it, found by what its clips look like.

Symbols: N and M clips of two videos, B pairs of videos, d width of the features.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import torch
from torch.nn import functional as F

from read.data.candidates import STILL, CentredVideos, FeaturesByVideo, candidates

BATCH = 2048  # clips of the videos that are laid over each other at a time
SPEEDS = (1.0, 1.25)  # of either
TRIMMED = 3  # clips that a copy of the whole may lack at its start or its end
# Mean cosines of aligned clips from which two videos are one. With the small trained encoders, the 11,476 pairs of 152
# videos that share photographs have .64 at most in whole, .92 in stretches of 5 clips and .79 of 8.
WHOLE = 0.8  # of whole videos, centred by the mean over all
OWN = 0.7  # the same where each is centred by its own mean, which takes off what stands in all of its pictures: a logo
SHORT, OWN_SHORT = 8, 0.9  # with fewer clips their own mean says less
STRETCHES = {5: 0.93, 8: 0.83}  # of so many clips in a row, centred by the mean over all


@dataclass(frozen=True)
class Twins:
    """Two videos of which one holds a copy of the other or of a part; `similarity` is the mean cosine there."""

    one: str
    other: str
    similarity: float


def find_twins(features: FeaturesByVideo, vids: Collection[str]) -> list[Twins]:
    """Pairs of videos of which one is a copy of the other, or holds a stretch of it.

    Features are centred by the mean over all videos, since what all share says nothing. Each video is compared with few
    others (`read.data.candidates`), so that the time grows as the number of clips, however alike their features are.
    Two are laid over each other at every shift by half a clip, and at 0.8 and 1.25 times the speed. A stretch of clips
    that many videos show, as black or a card at the end, is no copy.

    Args:
        features: of all these videos, of any scale; a video is read three times, and once for each comparison.
        vids: all videos of the dataset, or of the sides that are compared.

    Returns:
        The pairs, most similar first.
    """
    names = sorted(set(vids))
    if len(names) < 2:
        return []
    videos, twins = CentredVideos(features, names), []
    for pairs in _alike(candidates(videos), videos.clips.tolist()):
        ones, others = (torch.stack([videos[video] for video in side]) for side in zip(*pairs, strict=True))
        rare = [torch.stack([~videos.common(video) for video in side]) for side in zip(*pairs, strict=True)]
        for (one, other), similarity in zip(pairs, likeness(ones, others, rare).tolist(), strict=True):
            if similarity:
                twins.append(Twins(names[one], names[other], round(similarity, 4)))
    return sorted(twins, key=lambda pair: (-pair.similarity, pair.one, pair.other))


def likeness(one: torch.Tensor, other: torch.Tensor, rare: Sequence[torch.Tensor] = ()) -> torch.Tensor:
    """How sure it is that two videos share content, for B pairs of videos.

    Args:
        one: (B, N, d) features, less the mean over all videos.
        other: (B, M, d) features, likewise.
        rare: (B, N) and (B, M) False for clips that many videos show, which tell no stretch; empty: there are none.

    Returns:
        (B,) the highest of the mean cosines that reach their bar; 0 where none does.
    """
    left, right = one.double(), other.double()
    products = left @ right.mT
    found = products.new_zeros(len(one))
    told = (rare[0][:, :, None] | rare[1][:, None]).double() if rare else products.new_ones(1, 1, 1)
    all_tell = bool(told.all())
    for own in (False, True):
        one_side, other_side = (_Neighbours(side, own) for side in (left, right))
        if own:  # of rows that are centred by their own means
            products = products - products.mean(1, keepdim=True) - products.mean(2, keepdim=True)
            products = products - products.mean((1, 2), keepdim=True)
        sides = ((one_side, other_side, products, told), (other_side, one_side, products.mT, told.mT))
        for late, early, dots, weights in sides:
            dots = dots / early.lengths(_played(dots.shape[2], 1.0, 0.0))[:, None]
            for speed, shift in product(SPEEDS, (0.0, 0.5)):
                low, high, share = played = _played(dots.shape[1], speed, shift)
                rows = dots[:, low] * (1 - share[:, None]) + dots[:, high] * share[:, None]
                cosines = rows / late.lengths(played)[..., None]
                lines = _Lines(cosines)
                scores = [(lines.whole(), OWN_SHORT if own and lines.shorter < SHORT else OWN if own else WHOLE)]
                if not own:
                    lines = lines if all_tell else _Lines(cosines * weights[:, low].minimum(weights[:, high]))
                    scores += [(lines.stretch(length), bar) for length, bar in STRETCHES.items()]
                for score, bar in scores:
                    found = found.maximum(score * (score >= bar))
    return found.to(one.dtype)


class _Neighbours:
    """Products of the rows (B, N, d) with themselves and the next: all that the lengths of their means need."""

    def __init__(self, rows: torch.Tensor, own: bool) -> None:
        rows = rows - rows.mean(1, keepdim=True) if own else rows
        self.squares = rows.square().sum(-1)
        self.next = F.pad((rows[:, 1:] * rows[:, :-1]).sum(-1), (0, 1))

    def lengths(self, played: "_Played") -> torch.Tensor:
        """Lengths (B, clips) of these means of neighbours; hardly anything counts as `STILL`."""
        low, high, share = played
        squares = (1 - share) ** 2 * self.squares[:, low] + share**2 * self.squares[:, high]
        return (squares + 2 * share * (1 - share) * self.next[:, low]).clamp(min=0).sqrt().clamp(min=STILL)


class _Lines:
    """The diagonals of cosines (B, N, M): one for every shift of two videos."""

    def __init__(self, cosines: torch.Tensor) -> None:
        self.shorter, self.longer = sorted(cosines.shape[1:])
        self._lines = _diagonals(cosines)
        self._lengths = _diagonals(torch.ones_like(cosines[:1])).sum(dim=1)[0]

    def whole(self) -> torch.Tensor:
        """(B,) the best mean of those that are as long as that of a trimmed copy; -1 without one."""
        fewest = max(self.longer - TRIMMED - 1, (self.longer + 1) // 2)
        means = (self._lines.sum(dim=1) / self._lengths)[:, self._lengths >= fewest]
        return means.amax(dim=1) if means.shape[1] else means.new_full((len(means),), -1.0)

    def stretch(self, length: int) -> torch.Tensor:
        """(B,) the best mean of `length` clips in a row; -1 where the videos are shorter."""
        if self.shorter < length:
            return self._lines.new_full((len(self._lines),), -1.0)
        sums = F.pad(self._lines.cumsum(dim=1), (0, 0, 1, 0))  # zeros beyond a diagonal's ends lower what reaches there
        return (sums[:, length:] - sums[:, :-length]).amax(dim=(1, 2)) / length


def _diagonals(matrices: torch.Tensor) -> torch.Tensor:
    """(B, N, N + M - 1): the diagonals of (B, N, M) as columns, with zeros beyond their ends."""
    rows, columns = matrices.shape[1:]
    return F.pad(matrices.flip(1), (0, rows)).flatten(1)[:, :-rows].unflatten(1, (rows, rows + columns - 1))


class _Played(NamedTuple):
    """Clips as means of two neighbours: the number of the first, that of the second, and the share of the second."""

    low: torch.Tensor
    high: torch.Tensor
    share: torch.Tensor


def _played(count: int, speed: float, shift: float) -> _Played:
    """What `count` clips would be, played at a speed and begun `shift` clips later."""
    places = torch.arange(int((count - shift) / speed + 1e-6) or 1) * speed + shift + (speed - 1) / 2
    places = places.clamp(0, count - 1)
    low = places.floor().long()
    return _Played(low, (low + 1).clamp(max=count - 1), (places - low).double())


def _alike(pairs: Iterable[tuple[int, int]], clips: Sequence[int]) -> Iterator[list[tuple[int, int]]]:
    """Pairs in batches of equal lengths, which is many times faster than one by one."""
    batches: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for one, other in pairs:
        batch = batches.setdefault((clips[one], clips[other]), [])
        batch.append((one, other))
        if len(batch) * (clips[one] + clips[other]) >= BATCH:
            yield batches.pop((clips[one], clips[other]))
    yield from batches.values()
