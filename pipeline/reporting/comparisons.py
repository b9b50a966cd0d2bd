"""Differences of several rows at once: p-values corrected for their number by Holm's method."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

from pipeline.reporting.stats import ALPHA, SeedScores, holm
from pipeline.reporting.tables import TableRow

Key = TypeVar("Key", bound=Hashable)


def corrected(differences: Mapping[Key, SeedScores]) -> dict[Key, float]:
    """P-values of those that have one, corrected for their number."""
    found = {key: summary.p for key, summary in differences.items() if summary.p is not None}
    return dict(zip(found, holm(list(found.values())), strict=True))


@dataclass(frozen=True)
class Pairs:
    """Corrected p-values of all pairs of strategies, by their names.

    All pairs are one family, so that whatever pair a sentence picks after a look at the scores is covered.
    """

    p_values: Mapping[frozenset[str], float]

    def p(self, one: TableRow, other: TableRow) -> float | None:
        """Of the difference of two rows; None where there is one seed."""
        return self.p_values.get(frozenset((one.name, other.name)))

    def apart(self, one: TableRow, other: TableRow) -> bool:
        """Whether the difference is told apart from zero."""
        p = self.p(one, other)
        return p is not None and p < ALPHA

    @property
    def told(self) -> str:
        """What was corrected for, as text."""
        return f"all {len(self.p_values)} comparisons of two strategies" if len(self.p_values) > 1 else "one comparison"


def pairwise(rows: Sequence[TableRow], metric: str) -> Pairs:
    """The differences of a metric between rows of as many labelled videos, over seeds and test videos."""
    gaps = {frozenset((a.name, b.name)): a.lead(b, metric) for a, b in combinations(rows, 2)}
    return Pairs(corrected({pair: gap for pair, gap in gaps.items() if gap}))
