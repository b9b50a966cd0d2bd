"""Strata of a dataset's videos, and orders of which every beginning holds of each stratum its share.

A stratum is a domain (the distinct `kind`s of a video's labels) and a bucket of how many windows they hold.
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Protocol, TypeVar

from read.errors import InputError
from read.rows import SIDES

BUCKETS = ("no windows", "1 window", "2-3 windows", "4-7 windows", "8 windows or more")

Item = TypeVar("Item")


class Labelled(Protocol):
    """What a split is drawn from: a query or a summary. Where it has a `kind` and `windows`, they make the strata."""

    @property
    def vid(self) -> str:
        """Id of the video."""

    @property
    def split(self) -> str:
        """The video's side, one of `SIDES`; empty where nothing is said."""


@dataclass(frozen=True)
class VideoLabels:
    """What a split has to know of a video: its side, the kinds of its labels, how many windows they hold."""

    side: str
    kinds: frozenset[str]
    windows: int

    @property
    def domain(self) -> str:
        """The kinds as one name."""
        return "+".join(sorted(self.kinds)) or "all"

    @property
    def bucket(self) -> str:
        """Its entry of `BUCKETS`."""
        return BUCKETS[min(self.windows.bit_length(), len(BUCKETS) - 1)]


def videos_of(labels: Iterable[Labelled]) -> dict[str, VideoLabels]:
    """What the labels tell of each video, in the order of the ids."""
    by_vid: dict[str, list[Labelled]] = {}
    for label in labels:
        by_vid.setdefault(label.vid, []).append(label)
    videos = {}
    for vid, own in sorted(by_vid.items()):
        names = sorted({label.split for label in own})
        if wrong := set(names) - set(SIDES):
            raise InputError(f"video {vid}: split is {min(wrong)!r}, not one of {', '.join(SIDES[1:])}")
        if len(names) > 1:
            raise InputError(
                f"video {vid} is on two sides: its labels say {', '.join(name or 'none' for name in names)}"
            )
        kinds = frozenset(kind for label in own if (kind := getattr(label, "kind", "")))
        videos[vid] = VideoLabels(names[0], kinds, sum(len(getattr(label, "windows", ())) for label in own))
    return videos


@dataclass(frozen=True)
class Hand:
    """What a seed draws from: its own videos in an order, those of the other seeds, and how many `hands` there are."""

    own: list[str]
    others: list[str]
    hands: int


def pools_of(pool: Sequence[str], videos: Mapping[str, VideoLabels], shots_per: str) -> dict[str, list[str]]:
    """What is drawn from: the whole pool, under an empty name, or each of its domains."""
    domains: dict[str, list[str]] = {}
    for vid in pool:
        domains.setdefault(videos[vid].domain if shots_per == "domain" else "", []).append(vid)
    return dict(sorted(domains.items()))


def hand_of(pool: Sequence[str], videos: Mapping[str, VideoLabels], seed: int, needed: int) -> Hand:
    """The videos of a seed: where the pool allows hands of `needed` videos, n of them, seeds 0 to n - 1 share none.

    Seed s has the (s mod n)-th hand of the (s // n)-th deal; so what it has does not depend on which others there are.
    """
    hands = max(1, len(pool) // needed) if needed else 1
    own = deal(pool, videos, hands, seed // hands)[seed % hands]
    others = set(pool) - set(own)
    return Hand(order_of(own, videos, seed), order_of(others, videos, seed), hands)


def deal(pool: Iterable[str], videos: Mapping[str, VideoLabels], hands: int, seed: int) -> list[list[str]]:
    """Divide a pool so that every hand has its share of each domain and bucket, up or down to a whole number."""
    rng = random.Random(seed)
    domains: dict[str, dict[str, list[str]]] = {}
    for vid in sorted(pool):
        domains.setdefault(videos[vid].domain, {}).setdefault(videos[vid].bucket, []).append(vid)
    line = [
        vid
        for buckets in _shuffled(domains.values(), rng)
        for vids in _shuffled(buckets.values(), rng)
        for vid in _shuffled(vids, rng)
    ]
    return [line[first::hands] for first in range(hands)]


def order_of(pool: Iterable[str], videos: Mapping[str, VideoLabels], seed: int) -> list[str]:
    """An order by seed of which every beginning and every end holds of each domain its share."""
    rng = random.Random(seed)
    domains: dict[str, list[str]] = {}
    for vid in sorted(pool):
        domains.setdefault(videos[vid].domain, []).append(vid)
    lines = []
    for _, vids in sorted(domains.items()):
        last = vids.pop(seed % len(vids))  # so that n seeds hold out each of n videos once
        buckets: dict[str, list[str]] = {}
        for vid in _shuffled(vids, rng):
            buckets.setdefault(videos[vid].bucket, []).append(vid)
        lines.append([*interleave(_shuffled(buckets.values(), rng)), last])
    return interleave(_shuffled(lines, rng))


def interleave(lines: Sequence[Sequence[str]]) -> list[str]:
    """Merge lines so that every beginning holds of each its share, up or down to a whole number.

    The j-th of a line's n, of N in all, may not come before place (j - 1) N / n and must not come after j N / n;
    to take the one that must come first is optimal for jobs of unit length with release times and deadlines.
    """
    total = sum(map(len, lines))
    jobs = [
        (at * total // len(line), -(-(at + 1) * total // len(line)), number, item)
        for number, line in enumerate(lines)
        for at, item in enumerate(line)
    ]
    jobs.sort(reverse=True)
    merged: list[str] = []
    ready: list[tuple[int, int, str]] = []
    for place in range(total):
        while jobs and jobs[-1][0] <= place:
            _, deadline, number, item = jobs.pop()
            heappush(ready, (deadline, number, item))
        merged.append(heappop(ready)[-1])
    return merged


def count_strata(videos: Mapping[str, VideoLabels], sides: Mapping[str, Sequence[str]]) -> dict[str, dict[str, int]]:
    """Domain and bucket -> side -> number of videos."""
    counts: dict[str, Counter[str]] = {}
    for side, vids in sides.items():
        for vid in vids:
            counts.setdefault(f"{videos[vid].domain}, {videos[vid].bucket}", Counter())[side] += 1
    return {name: dict(counts[name]) for name in sorted(counts)}


def _shuffled(items: Iterable[Item], rng: random.Random) -> list[Item]:
    """By `random()` alone, whose sequence Python keeps from version to version."""
    return sorted(items, key=lambda _: rng.random())
