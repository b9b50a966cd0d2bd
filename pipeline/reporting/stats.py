"""Means over seeds and what can be said about them.

The interval is Student's t at 95 % on the mean over seeds, taken as independent draws. It speaks of another draw of
training videos and initial weights, not of another test set.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

from scipy.special import stdtrit

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """Values over seeds. Spread and interval are None for a single seed: one value has no spread."""

    values: tuple[float, ...]

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
        """Sample standard deviation (n - 1)."""
        return stdev(self.values) if self.n > 1 else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Bounds of the 95 % interval of the mean."""
        if self.std is None:
            return None
        half = float(stdtrit(self.n - 1, (1 + CONFIDENCE) / 2)) * self.std / sqrt(self.n)
        return self.mean - half, self.mean + half

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]


def summarise(values: Iterable[float]) -> Summary:
    """A Summary of at least one value."""
    return Summary(tuple(values))


def paired(ours: Mapping[int, float], theirs: Mapping[int, float]) -> dict[int, float]:
    """Differences seed by seed, over the seeds that both have."""
    return {seed: ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())}
