"""What sentences about a task's numbers are computed from, and how they say a value."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pipeline.reporting.comparisons import Pairs, pairwise
from pipeline.reporting.stats import SeedScores
from pipeline.reporting.tables import ZERO_SHOT, TableRow
from pipeline.reporting.task import ReportedTask


@dataclass(frozen=True)
class Takeaway:
    """A headline of a few words and the sentence that carries its numbers; a caution says what limits them."""

    title: str
    text: str
    caution: bool = False


@dataclass(frozen=True)
class View:
    """What the sentences are computed from: rows at the largest number of shots, and the references."""

    task: ReportedTask
    metric: str
    trained: list[TableRow]
    everything: list[TableRow]
    references: dict[str, TableRow]
    kinds: list[str]

    @property
    def ranked(self) -> list[TableRow]:
        """Trained rows, the highest mean first."""
        return sorted(self.trained, key=self.mean, reverse=True)

    @property
    def chance(self) -> list[TableRow]:
        """Rows of no knowledge that the best strategy is not told apart from: its interval holds them, or lies below.

        With a single seed there is no interval, and the mean alone has to be above.
        """
        summary = self.ranked[0].summary(self.metric)
        low = summary.interval[0] if summary.interval else summary.mean
        below = [row for name, row in self.references.items() if name in self.task.below]
        return [row for row in below if self.mean(row) >= low]

    @property
    def labelled(self) -> str:
        """How many videos trained, as text."""
        return self.ranked[0].labelled

    @property
    def zero_shot(self) -> TableRow | None:
        """The row of the backbone as it is."""
        return next((row for row in self.everything if row.name == ZERO_SHOT), None)

    @property
    def plain(self) -> list[TableRow]:
        """Rows that need no training: those without a model, and those fitted to as many labels."""
        rows = [row for name, row in self.references.items() if name in self.task.plain]
        return rows + [
            row for row in self.everything if row.name in self.task.plain and row.shots == self.trained[0].shots
        ]

    @cached_property
    def pairs(self) -> Pairs:
        """The p-values of the differences between trained strategies, corrected for the number of pairs."""
        return pairwise(self.trained, self.metric)

    def mean(self, row: TableRow, kind: str | None = None) -> float:
        """A row's mean; below all others where it has none."""
        summary = row.summary(self.metric, kind)
        return summary.mean if summary else float("-inf")

    def number(self, value: float, sign: str = "") -> str:
        """A value of the metric as text."""
        return self.task.show(value, self.metric, sign)

    def spread(self, row: TableRow, kind: str | None = None) -> str:
        """A row's mean with its interval: `53.1 (95 % interval 49.0 to 57.2)`."""
        return self._with_interval(row.summary(self.metric, kind), "", "")

    def difference(self, summary: SeedScores) -> str:
        """A mean difference in points with its interval."""
        return self._with_interval(summary, "+", " points")

    def _with_interval(self, summary: SeedScores, sign: str, unit: str) -> str:
        mean = f"{self.number(summary.mean, sign)}{unit}"
        if summary.interval is None:
            return f"{mean} (one seed, spread unknown)"
        low, high = (self.number(bound, sign) for bound in summary.interval)
        return f"{mean} (95 % interval {low} to {high})"


def seeds_of(row: TableRow) -> str:
    """How many seeds a row has, as text."""
    return f"{len(row.runs)} seed{'s' if len(row.runs) > 1 else ''}"


def listed(names: Sequence[str]) -> str:
    """Names as a sentence lists them."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
