"""Copies of a video, or of a part of it, found by what its clips look like.

Symbols: N clips of a video, T clips of all videos, d width of the features, p of their projections.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Protocol

import numpy as np
import torch
from torch.nn import functional as F

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
    center = torch.stack([features.video(vid).mean(dim=0) for vid in names]).mean(dim=0)
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
    found = one.new_zeros(len(one))
    for center_one, center_other in ((center, center), (one.mean(1, keepdim=True), other.mean(1, keepdim=True))):
        shared = center_one is center_other
        left, right = one - center_one, other - center_other
        for late, early in ((left, right), (right, left)):
            early = _unit(early)
            for speed, shift in product(SPEEDS, (0.0, 0.5)):
                lines = _Lines(_unit(_resampled(late, speed, shift)) @ early.mT)
                scores = [(lines.whole(), WHOLE if shared else OWN if lines.shorter >= SHORT else OWN_SHORT)]
                scores += [(lines.stretch(length), bar) for length, bar in STRETCHES.items() if shared]
                for score, bar in scores:
                    found = found.maximum(score * (score >= bar))
    return found


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


def _resampled(clips: torch.Tensor, speed: float, shift: float) -> torch.Tensor:
    """What the clips (B, N, d) would be, played at a speed and begun `shift` clips later: means of neighbours."""
    count = clips.shape[1]
    places = torch.arange(int((count - shift) / speed + 1e-6) or 1) * speed + shift + (speed - 1) / 2
    places = places.clamp(0, count - 1)
    low = places.floor().long()
    share = (places - low).unsqueeze(1)
    return clips[:, low] * (1 - share) + clips[:, (low + 1).clamp(max=count - 1)] * share


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
    clips = [len(features.video(vid)) for vid in names]
    owners = np.repeat(np.arange(len(names)), [2 * length - 1 for length in clips])
    found: set[int] = set()
    for own in (False, True):
        centers = ((video, video.mean(dim=0) if own else center) for video in map(features.video, names))
        points = [_projected(video - middle, basis) for video, middle in centers]
        for pair, count in _votes(np.concatenate(points), owners, len(names), rng).items():
            one, other = divmod(pair, len(names))
            least = min(VOTES, clips[one], clips[other])
            if count >= least and _matches(points[one], points[other]) >= least:
                found.add(pair)
    yield from (divmod(pair, len(names)) for pair in sorted(found))


def _matches(one: np.ndarray, other: np.ndarray) -> int:
    """How many points of a video have one that is near among those of another."""
    return int(((one @ other.T).max(axis=1) >= NEAR).sum())


def _votes(points: np.ndarray, owners: np.ndarray, videos: int, rng: np.random.Generator) -> Counter[int]:
    """How often clips of two videos (i < j, as i * videos + j) have a signature in common."""
    bits = min(62, max(6, math.ceil(math.log2(len(points))) + SPARE_BITS))
    votes: Counter[int] = Counter()
    for _ in range(TABLES):
        signs = points @ rng.normal(size=(points.shape[1], bits)).astype(np.float32) > 0
        keys = signs @ (1 << np.arange(bits, dtype=np.int64))
        order = np.lexsort((rng.permutation(videos)[owners], keys))
        keys, found = keys[order], owners[order]
        first = np.concatenate(([True], (keys[1:] != keys[:-1]) | (found[1:] != found[:-1])))
        keys, found = keys[first], found[first]  # a video counts once in a bucket
        for step in range(1, NEIGHBOURS + 1):
            same = np.flatnonzero(keys[step:] == keys[:-step])
            left, right = found[same], found[same + step]
            pairs = np.minimum(left, right) * videos + np.maximum(left, right)
            votes.update(dict(zip(*map(np.ndarray.tolist, np.unique(pairs, return_counts=True)), strict=True)))
    return votes


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


def _projected(video: torch.Tensor, basis: torch.Tensor) -> np.ndarray:
    """The clips of a video, and the means of neighbours, which stand for clips half a clip later."""
    between = (video[1:] + video[:-1]) / 2
    return F.normalize(_unit(torch.cat([video, between])) @ basis, dim=-1).numpy()


def _unit(rows: torch.Tensor) -> torch.Tensor:
    """Rows of length 1, or shorter where they were hardly anything."""
    return F.normalize(rows, dim=-1, eps=STILL)
