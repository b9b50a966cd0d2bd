"""Copies of a video, or of a part of it, found by what its clips look like.

Symbols: N clips of a video, T clips of all videos, d width of the features, p of their projections.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch.nn import functional as F

from read.data.lazy import Cache

PROJECTED = 48  # p at most
FEW = 32  # videos of which all pairs are compared
SAMPLED = 4096  # clips from which the projection is learned
TABLES = 8  # of signatures, twice; clips that agree in any of them are looked at
SPARE_BITS = 5  # of a signature beyond log2 T, so that clips that have nothing in common seldom agree
NEIGHBOURS = 4  # in a bucket, that each of its videos is compared with: a black picture is in thousands
BATCH = 2048  # clips of the videos that are laid over each other at a time
VOTES = 2  # agreements from which two videos are compared, and clips that have to be near each other then
NEAR = 0.7  # cosine of projections
SPEEDS = (1.0, 1.25)  # of either
STILL = 1e-3  # length below which a centred feature says nothing
TRIMMED = 3  # clips that a copy of the whole may lack at its start or its end
# Mean cosines of aligned clips from which two videos are one. With the small trained encoders, the 11,476 pairs of 152
# videos that share photographs have .64 at most in whole, .92 in stretches of 5 clips and .79 of 8.
WHOLE = 0.8  # of whole videos, centred by the mean over all
OWN = 0.7  # the same where each is centred by its own mean, which takes off what stands in all of its pictures: a logo
SHORT, OWN_SHORT = 8, 0.9  # with fewer clips their own mean says less
STRETCHES = {5: 0.93, 8: 0.83}  # of so many clips in a row, centred by the mean over all


class FeaturesByVideo(Protocol):
    """Features by video, as `FeatureStore` has them."""

    def video(self, vid: str) -> torch.Tensor:
        """(N, d) features, one row a clip."""


@dataclass(frozen=True)
class Twins:
    """Two videos of which one holds a copy of the other or of a part; `similarity` is the mean cosine there."""

    one: str
    other: str
    similarity: float


def find_twins(features: FeaturesByVideo, vids: Collection[str]) -> list[Twins]:
    """Pairs of videos of which one is a copy of the other, or holds a stretch of it.

    Features are centred by the mean over all videos, since what all share says nothing. Clips that may be the same are
    found by signatures, signs of random projections, in a time that grows as the number of clips. Videos with some such
    clips are laid over each other at every shift by half a clip, and at 0.8 and 1.25 times the speed.

    Args:
        features: of all these videos.
        vids: all videos of the dataset, or of the sides that are compared.

    Returns:
        The pairs, most similar first.
    """
    names = sorted(set(vids))
    if len(names) < 2:
        return []
    center = _center(features, names)
    twins = []
    for pairs in _alike(_candidates(features, names, center), [len(features.video(vid)) for vid in names]):
        ones, others = (
            torch.stack([features.video(names[video]) for video in side]) for side in zip(*pairs, strict=True)
        )
        for (one, other), similarity in zip(pairs, likeness(ones, others, center).tolist(), strict=True):
            if similarity:
                twins.append(Twins(names[one], names[other], round(similarity, 4)))
    return sorted(twins, key=lambda pair: (-pair.similarity, pair.one, pair.other))


def likeness(one: torch.Tensor, other: torch.Tensor, center: torch.Tensor) -> torch.Tensor:
    """How sure it is that two videos share content, for B pairs of videos.

    Args:
        one: (B, N, d) features.
        other: (B, M, d) features.
        center: (d,) the mean over all videos.

    Returns:
        (B,) the highest of the mean cosines that reach their bar; 0 where none does.
    """
    left, right = (one - center).double(), (other - center).double()
    products = left @ right.mT
    found = products.new_zeros(len(one))
    for own in (False, True):
        one_side, other_side = (_Neighbours(side, own) for side in (left, right))
        if own:  # of rows that are centred by their own means
            products = products - products.mean(1, keepdim=True) - products.mean(2, keepdim=True)
            products = products - products.mean((1, 2), keepdim=True)
        for late, early, dots in ((one_side, other_side, products), (other_side, one_side, products.mT)):
            dots = dots / early.lengths(_played(dots.shape[2], 1.0, 0.0))[:, None]
            for speed, shift in product(SPEEDS, (0.0, 0.5)):
                low, high, share = played = _played(dots.shape[1], speed, shift)
                rows = dots[:, low] * (1 - share[:, None]) + dots[:, high] * share[:, None]
                lines = _Lines(rows / late.lengths(played)[..., None])
                scores = [(lines.whole(), OWN_SHORT if own and lines.shorter < SHORT else OWN if own else WHOLE)]
                scores += [(lines.stretch(length), bar) for length, bar in STRETCHES.items() if not own]
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


def _candidates(features: FeaturesByVideo, names: Sequence[str], center: torch.Tensor) -> Iterator[tuple[int, int]]:
    """Pairs (i < j) of videos of which at least `VOTES` clips have a signature in common; all pairs of few videos."""
    if len(names) <= FEW:
        yield from combinations(range(len(names)), 2)
        return
    rng = np.random.default_rng(0)
    basis = _basis(features, names, center, rng)
    clips = np.array([len(features.video(vid)) for vid in names])
    owners = np.repeat(np.arange(len(names)), 2 * clips - 1)
    found: set[int] = set()
    for own in (False, True):
        points = _Points(features, names, basis, None if own else center)
        pairs, counts = _votes(points, owners, rng)
        one, other = np.divmod(pairs, len(names))
        least = np.minimum(VOTES, np.minimum(clips[one], clips[other]))
        for pair, fewest in zip(pairs[counts >= least].tolist(), least[counts >= least].tolist(), strict=True):
            if _matches(*(points[video] for video in divmod(pair, len(names)))) >= fewest:
                found.add(pair)
    yield from (divmod(pair, len(names)) for pair in sorted(found))


class _Points:
    """Projections of the clips of videos, centred by a mean, or by their own; the last ones are kept."""

    def __init__(
        self, features: FeaturesByVideo, names: Sequence[str], basis: torch.Tensor, center: torch.Tensor | None
    ) -> None:
        self.features, self.names, self.basis, self.center = features, names, basis, center
        self._cache = Cache()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, video: int) -> np.ndarray:
        """(2 N - 1, p) of a video, by its number."""
        return self._cache.get(video, lambda: self._project(self.features.video(self.names[video]))).numpy()

    def _project(self, video: torch.Tensor) -> torch.Tensor:
        return _projected(video - (video.mean(dim=0) if self.center is None else self.center), self.basis)


def _matches(one: np.ndarray, other: np.ndarray) -> int:
    """How many points of a video have one that is near among those of another."""
    return int(((one @ other.T).max(axis=1) >= NEAR).sum())


def _votes(points: _Points, owners: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of videos (i < j, as i * videos + j) whose clips have a signature in common, and how often."""
    videos, bits = len(points), min(62, max(6, math.ceil(math.log2(len(owners))) + SPARE_BITS))
    width = points.basis.shape[1]
    drawn = [(rng.normal(size=(width, bits)).astype(np.float32), rng.permutation(videos)) for _ in range(TABLES)]
    planes, powers = np.concatenate([plane for plane, _ in drawn], axis=1), 1 << np.arange(bits, dtype=np.int64)
    signatures = np.concatenate(  # of all clips: the only thing that is kept of each
        [(points[video] @ planes > 0).reshape(-1, TABLES, bits) @ powers for video in range(videos)]
    ).T
    voted = []
    for keys, (_, shuffled) in zip(signatures, drawn, strict=True):
        order = np.lexsort((shuffled[owners], keys))
        keys, found = keys[order], owners[order]
        first = np.concatenate(([True], (keys[1:] != keys[:-1]) | (found[1:] != found[:-1])))
        keys, found = keys[first], found[first]  # a video counts once in a bucket
        for step in range(1, NEIGHBOURS + 1):
            same = np.flatnonzero(keys[step:] == keys[:-step])
            left, right = found[same], found[same + step]
            voted.append(np.minimum(left, right) * videos + np.maximum(left, right))
    return np.unique(np.concatenate(voted), return_counts=True)


def _basis(
    features: FeaturesByVideo, names: Sequence[str], center: torch.Tensor, rng: np.random.Generator
) -> torch.Tensor:
    """(d, p): the main directions of the clips, the wider ones weighing less than they are wide."""
    each = max(1, SAMPLED // len(names))
    picked = [names[at] for at in sorted(rng.permutation(len(names))[:SAMPLED])]
    sample = torch.cat([(video := features.video(vid))[rng.permutation(len(video))[:each]] for vid in picked])
    sample = _unit(sample - center).double()
    values, vectors = torch.linalg.eigh(sample.T @ sample / len(sample))
    keep = values > 1e-6 * values.max().clamp(min=1e-12)
    values, vectors = values[keep][-PROJECTED:], vectors[:, keep][:, -PROJECTED:]
    return (vectors / values.sqrt().sqrt()).float()


def _center(features: FeaturesByVideo, names: Sequence[str]) -> torch.Tensor:
    """(d,) the mean over videos of their means."""
    total = torch.zeros(features.video(names[0]).shape[1], dtype=torch.float64)
    for vid in names:
        total += features.video(vid).mean(dim=0)
    return (total / len(names)).float()


def _projected(video: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """The clips of a video, and the means of neighbours, which stand for clips half a clip later."""
    between = (video[1:] + video[:-1]) / 2
    return F.normalize(_unit(torch.cat([video, between])) @ basis, dim=-1)


def _unit(rows: torch.Tensor) -> torch.Tensor:
    """Rows of length 1, or shorter where they were hardly anything."""
    return F.normalize(rows, dim=-1, eps=STILL)
