"""Means over seeds and what can be said about them.

Two things vary: the draw of training videos and initial weights, which differs from seed to seed, and the draw of the
test side, which is the same for all. The half-width of an interval joins both: Student's t at 95 % on the mean over
seeds, taken as independent draws, and 1.96 standard errors of a bootstrap over test videos (Efron 1979), within
seeds. It speaks of another set of training videos and of other test videos of the same kind. A p-value is one minus the
level at which such an interval ends at zero; of several, `holm` corrects them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import exp, hypot, log, sqrt
from statistics import fmean, stdev

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri, stdtrit

ALPHA = 0.05  # one minus the level of intervals, and what a p-value has to be below
LEAST = 1e-12  # p-values below are 0
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
        return self.bounds(ALPHA)

    def bounds(self, alpha: float) -> tuple[float, float]:
        """Bounds of the interval of the mean at level 1 - alpha, of at least two seeds."""
        half = self._half(alpha)
        return self.mean - half, self.mean + half

    @property
    def p(self) -> float | None:
        """Two-sided p-value of a mean of zero, below `ALPHA` just where the interval excludes it; None for one seed."""
        if self.std is None:
            return None
        if self._half(LEAST) <= abs(self.mean):
            return 0.0 if self.mean else 1.0
        return exp(brentq(lambda logarithm: self._half(exp(logarithm)) - abs(self.mean), log(LEAST), 0.0))

    def _half(self, p: float) -> float:
        """Half the width of the interval at level 1 - p."""
        seeds = -float(stdtrit(self.n - 1, p / 2)) * self.std / sqrt(self.n)
        return hypot(seeds, float(ndtri(p / 2)) * (self.test_error or 0.0))

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


def two_level(
    values: Mapping[int, Mapping[int, float]], draws: Mapping[int, Mapping[int, np.ndarray]] | None = None
) -> SeedScores:
    """The mean over seeds of backbones, where each has seeds of its own, as scores over the upper of the two levels.

    The means of backbones vary by both: their spread holds that of seeds within, and has one value less than there are
    backbones as degrees of freedom, as an analysis of variance of nested factors has (Snedecor & Cochran 1967).
    Drawing three backbones anew, as a bootstrap would, gives intervals that are too narrow. With one backbone the
    seeds are the level, and the interval speaks of that backbone only.

    Args:
        values: a score or difference, by backbone seed and then by seed; backbones count alike.
        draws: (DRAWS,) bootstrap samples of each over test videos, by the same keys; see `bootstrap`.
    """
    within = draws and [np.mean(list(seeds.values()), axis=0) for seeds in draws.values()]
    only = next(iter(values.values())).values() if len(values) == 1 else None
    return summarise(
        only or [fmean(seeds.values()) for seeds in values.values()], np.mean(within, axis=0) if within else None
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number, in the given order: step-down Bonferroni (Holm 1979)."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, highest = [0.0] * len(order), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[place]))
        corrected[place] = highest
    return corrected


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
