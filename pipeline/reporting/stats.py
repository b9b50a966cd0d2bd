"""Means over seeds and what can be said about them.

Two things vary: the draw of training videos and initial weights, which differs from seed to seed, and the draw of the
test side, which is the same for all. The half-width of an interval joins both: Student's t at 95 % on the mean over
seeds, taken as independent draws, and 1.96 standard errors of a bootstrap over test videos (Efron 1979), within
seeds. It speaks of another set of training videos and of other test videos of the same kind.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from math import hypot, sqrt
from statistics import fmean, stdev

import numpy as np
from scipy.special import stdtrit

CONFIDENCE = 0.95
NORMAL = 1.96  # standard errors on either side that hold 95 % of a normal distribution
DRAWS = 1000  # bootstrap samples of the test side


@dataclass(frozen=True)
class SeedScores:
    """Values over seeds. Spread is None for a single seed: one value has none.

    Attributes:
        values: one a seed.
        test_error: standard error over test videos of the mean over seeds, where scores of single videos are known.
    """

    values: tuple[float, ...]
    test_error: float | None = None

    @property
    def n(self) -> int:
        """How many seeds."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """Arithmetic mean."""
        return fmean(self.values)

    @property
    def std(self) -> float | None:
        """Sample standard deviation over seeds (n - 1)."""
        return stdev(self.values) if self.n > 1 else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Bounds of the 95 % interval of the mean; None for a single seed."""
        if self.std is None:
            return None
        seeds = float(stdtrit(self.n - 1, (1 + CONFIDENCE) / 2)) * self.std / sqrt(self.n)
        half = hypot(seeds, NORMAL * (self.test_error or 0.0))
        return self.mean - half, self.mean + half

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]

    def excludes(self, value: float) -> bool:
        """Whether the interval does not hold a value."""
        return self.interval is not None and not self.interval[0] <= value <= self.interval[1]


def summarise(values: Iterable[float], draws: np.ndarray | None = None) -> SeedScores:
    """A Summary of at least one value; `draws`: bootstrap samples of their mean."""
    return SeedScores(tuple(values), None if draws is None else float(np.std(draws)))


def paired(ours: Mapping[int, float], theirs: Mapping[int, float]) -> dict[int, float]:
    """Differences seed by seed, over the seeds that both have."""
    return {seed: ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())}


def bootstrap(videos: np.ndarray, count: int, weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(DRAWS,) means over samples, of test sides that are drawn anew from the same videos, with replacement.

    Args:
        videos: (R,) numbers below `count`: the video that a row is about.
        count: of the test videos. The draws are the same for all that have as many, so that differences can be paired.
        weights: (R,) samples behind a row.
        values: (R,) their mean score.
    """
    share = _multiplicities(count)[:, videos] * weights
    total = share.sum(axis=1)
    return np.divide(share @ values, total, out=np.full(DRAWS, float(values.mean())), where=total > 0)


@cache
def _multiplicities(count: int) -> np.ndarray:
    """(DRAWS, count) how often each video is in each sample."""
    return np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=DRAWS).astype(float)
