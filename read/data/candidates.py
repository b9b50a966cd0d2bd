"""Videos that may share content: those with clips that look alike, found without a comparison of all with all.

Locality-sensitive hashing by signs of random projections (Charikar 2002). However alike the features are, a video is
proposed with few others, so that what follows takes a time that grows as the number of clips.

Symbols: V videos, N clips of a video, T points of all videos, d width of the features, p of their projections.
"""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import combinations
from typing import Protocol

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
AROUND = 3  # points on either side that tell which videos of a bucket are neighbours
AROUND_BITS = 20  # of a signature
VOTES = 2  # agreements from which two videos are compared, and clips that have to be near each other then
PROPOSED = 16  # others for a video, those with the most agreements; of two videos one has to be among the other's
NEAR = 0.7  # cosine of projections
SAME = 0.97  # cosine of projections of clips that show one picture, coded twice
CROWD, SHARE = 8, 0.05  # videos of the sample, and of these the share: a clip that more show is common
STILL = 1e-3  # length below which a centred feature says nothing, where features are about 1 long


class FeaturesByVideo(Protocol):
    """Features by video, as `FeatureStore` has them."""

    def video(self, vid: str) -> torch.Tensor:
        """(N, d) features, one row a clip."""


class CentredVideos:
    """Clips of videos less the mean over all videos, since what all share says nothing.

    They are divided by a power of two, by which features as they come are about 1 long; nothing is rounded by that.

    Args:
        features: of these videos; each video is read once here, and whenever it is asked for.
        names: of the videos, by whose numbers they are asked for.

    Attributes:
        clips: (V,) N of each.
    """

    def __init__(self, features: FeaturesByVideo, names: Sequence[str]) -> None:
        self._features, self._names, self._common = features, names, Cache()
        rng = np.random.default_rng(0)
        picked, each = {*rng.permutation(len(names))[:SAMPLED].tolist()}, max(1, SAMPLED // len(names))
        clips, sample, owners, mean, square = [], [], [], torch.zeros(1, dtype=torch.float64), 0.0
        for number, name in enumerate(names):
            video = features.video(name)
            clips.append(len(video))
            if number in picked:
                sample.append(video[rng.permutation(len(video))[:each]])
                owners += [len(sample) - 1] * len(sample[-1])
            mean = mean + video.mean(dim=0, dtype=torch.float64) / len(names)
            square += video.double().square().sum(dim=1).mean().item() / len(names)
        self.clips = np.array(clips)
        self._unit = 2.0 ** round(math.log2(square) / 2) if square else 1.0
        self._mean = (mean / self._unit).float()
        self._sample, self._owners = self._centred(torch.cat(sample)), torch.tensor(owners)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, video: int) -> torch.Tensor:
        """(N, d) of a video, by its number."""
        return self._centred(self._features.video(self._names[video]))

    @cached_property
    def basis(self) -> torch.Tensor:
        """(d, p): the main directions of the clips, the wider ones weighing less than they are wide."""
        sample = _unit(self._sample).double()
        values, vectors = torch.linalg.eigh(sample.T @ sample / len(sample))
        keep = values > 1e-6 * values.max().clamp(min=1e-12)
        values, vectors = values[keep][-PROJECTED:], vectors[:, keep][:, -PROJECTED:]
        return (vectors / values.sqrt().sqrt()).float()

    def common(self, video: int) -> torch.Tensor:
        """(N,) whether a clip of a video shows what many videos show: black, a card at the end."""
        return self._common.get(video, lambda: self._crowded(self.projected(self[video])))

    def _crowded(self, clips: torch.Tensor) -> torch.Tensor:
        near, videos = (clips @ self._projected_sample.T >= SAME).float(), int(self._owners[-1]) + 1
        seen = near.new_zeros(len(clips), videos).index_add_(1, self._owners, near)
        return (seen > 0).sum(dim=1) > max(CROWD, SHARE * videos)

    @cached_property
    def _projected_sample(self) -> torch.Tensor:
        return self.projected(self._sample)

    def projected(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows (..., d) along `basis`, each of length 1."""
        return F.normalize(_unit(rows) @ self.basis, dim=-1)

    def _centred(self, rows: torch.Tensor) -> torch.Tensor:
        return rows.float() / self._unit - self._mean


def candidates(videos: CentredVideos) -> Iterator[tuple[int, int]]:
    """Pairs (i < j) of videos of which at least `VOTES` clips have a signature in common; all pairs of few videos.

    There are at most V * `PROPOSED`, twice.
    """
    if len(videos) <= FEW:
        yield from combinations(range(len(videos)), 2)
        return
    rng = np.random.default_rng(0)
    if not videos.basis.shape[1]:  # all clips are the same
        return
    points = _Points(videos)
    found: set[int] = set()
    for own, keys in enumerate(_signatures(points, rng)):
        pairs, counts = _votes(keys, 2 * videos.clips - 1, rng)
        one, other = np.divmod(pairs, len(videos))
        least = np.minimum(VOTES, np.minimum(videos.clips[one], videos.clips[other]))
        chosen = np.flatnonzero(counts >= least)
        chosen = chosen[_strongest(one[chosen], other[chosen], counts[chosen])]
        for pair, fewest in zip(pairs[chosen].tolist(), least[chosen].tolist(), strict=True):
            if _matches(*(points[video][own] for video in divmod(pair, len(videos)))) >= fewest:
                found.add(pair)
    yield from (divmod(pair, len(videos)) for pair in sorted(found))


class _Points:
    """Projections of the clips of videos, and of the means of neighbours, which stand for clips half a clip later.

    Those that were asked for last are kept.
    """

    def __init__(self, videos: CentredVideos) -> None:
        self.videos, self._cache = videos, Cache()

    def __getitem__(self, video: int) -> torch.Tensor:
        """(2, 2 N - 1, p) of a video, in the order of time: centred by the mean over all, and by its own."""
        return self._cache.get(video, lambda: self._project(self.videos[video]))

    def _project(self, video: torch.Tensor) -> torch.Tensor:
        both = torch.stack([video, video - video.mean(dim=0)])
        between = F.pad((both[:, 1:] + both[:, :-1]) / 2, (0, 0, 0, 1))
        rows = torch.stack([both, between], dim=2).flatten(1, 2)[:, :-1]
        return self.videos.projected(rows)


def _signatures(points: _Points, rng: np.random.Generator) -> np.ndarray:
    """(2, TABLES, T): of each point a number, whose upper bits are of itself and the lower ones of what is around it.

    So points that agree stand in a row when they are sorted, and beside each other those that go on alike.
    """
    videos, width = points.videos, points.videos.basis.shape[1]
    total = int((2 * videos.clips - 1).sum())
    bits = min(62 - AROUND_BITS, max(6, math.ceil(math.log2(total)) + SPARE_BITS))
    planes, around = (torch.from_numpy(rng.normal(size=(width, TABLES * n))).float() for n in (bits, AROUND_BITS))
    powers = 2 ** torch.arange(bits + AROUND_BITS).flip(0)
    signatures, end = np.empty((2, TABLES, total), np.int64), 0
    for video in range(len(videos)):
        own = points[video]
        near = F.avg_pool1d(own.mT, 2 * AROUND + 1, 1, AROUND, count_include_pad=False).mT
        signs = [(rows @ drawn > 0).unflatten(-1, (TABLES, -1)) for rows, drawn in ((own, planes), (near, around))]
        start, end = end, end + own.shape[1]
        signatures[:, :, start:end] = (torch.cat(signs, dim=-1) * powers).sum(dim=-1).mT
    return signatures


def _votes(signatures: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of videos (i < j, as i * V + j) whose points have a signature in common, and how often.

    Args:
        signatures: (TABLES, T).
        points: (V,) how many of each video.
        rng: draws the order of those that agree in all bits.
    """
    videos, owners = len(points), np.repeat(np.arange(len(points)), points)
    voted = []
    for keys in signatures:
        order = np.lexsort((keys, owners))
        keys, found = keys[order], owners[order]
        buckets = keys >> AROUND_BITS
        first = np.concatenate(([True], (buckets[1:] != buckets[:-1]) | (found[1:] != found[:-1])))
        keys, found = keys[first], found[first]  # a video counts once in a bucket
        order = np.lexsort((rng.permutation(videos)[found], keys))
        buckets, found = keys[order] >> AROUND_BITS, found[order]
        for step in range(1, NEIGHBOURS + 1):
            same = np.flatnonzero(buckets[step:] == buckets[:-step])
            left, right = found[same], found[same + step]
            voted.append(np.minimum(left, right) * videos + np.maximum(left, right))
    return np.unique(np.concatenate(voted), return_counts=True)


def _strongest(one: np.ndarray, other: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """Numbers of the pairs that are among the `PROPOSED` with the most votes of either of their videos."""
    videos, pairs = np.concatenate([one, other]), np.tile(np.arange(len(one)), 2)
    order = np.lexsort((-votes[pairs], videos))
    videos = videos[order]
    rank = np.arange(len(videos)) - np.searchsorted(videos, videos)
    return np.unique(pairs[order[rank < PROPOSED]])


def _matches(one: torch.Tensor, other: torch.Tensor) -> int:
    """How many points of a video have one that is near among those of another."""
    return int(((one @ other.T).amax(dim=1) >= NEAR).sum())


def _unit(rows: torch.Tensor) -> torch.Tensor:
    """Rows of length 1, or shorter where they were hardly anything."""
    return F.normalize(rows, dim=-1, eps=STILL)
