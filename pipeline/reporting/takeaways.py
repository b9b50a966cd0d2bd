"""Sentences computed from the numbers: each states a measured value with its interval and claims nothing beyond it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.reporting.inputs import Results
from pipeline.reporting.stats import SeedScores
from pipeline.reporting.tables import (
    BASELINE,
    ZERO_SHOT,
    TableRow,
    kinds,
    label,
    make_rows,
    percent,
    reference_rows,
    shots_of,
    warnings_of,
)
from pipeline.reporting.task import ReportedTask

FEW_KINDS = 4  # that a sentence can list


@dataclass(frozen=True)
class Takeaway:
    """A headline of a few words and the sentence that carries its numbers."""

    title: str
    text: str


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


def takeaways(results: Results) -> list[Takeaway]:
    """What the page states first of a task."""
    rows = make_rows(results)
    if not (shots := shots_of(rows)):
        return []
    trained = [row for row in rows if row.trained and row.shots == shots[-1]]
    view = View(results.task, results.metric, trained, rows, reference_rows(results), kinds(results))
    makers: Sequence[Callable[[View], Takeaway | None]] = (
        against_plain, _within_chance, _highest, _read, _not_above, _budget, _range, _kinds, _shots, _grid,
        _still_rising, _untouched, _warned,
    )  # fmt: skip
    return [takeaway for make in makers if (takeaway := make(view)) is not None]


def against_plain(view: View) -> Takeaway | None:
    """Whether the best strategy was worth its training."""
    best, gaps = view.ranked[0], {}
    for row in view.plain:
        if gap := best.lead(row, view.metric):
            gaps[row.quoted] = gap
    if not gaps:
        return None
    level = [name for name, gap in gaps.items() if (gap.interval[0] if gap.interval else gap.mean) <= 0]
    told = "; ".join(f"to {name} {view.difference(gap)}" for name, gap in gaps.items())
    start = f"The best strategy, {best.label}, has {view.spread(best)} of {view.metric} with {view.labelled}"
    differences = f"Difference, seed by seed and on the same test videos: {told}."
    if level:
        return Takeaway(
            f"Training does not beat {_listed(level)}",
            f"{start}. That is not shown to be better than {_listed(level)}, which need{'s' * (len(level) == 1)} no "
            f"training. {differences}",
        )
    return Takeaway(f"Better than {_listed(list(gaps))}", f"{start}, above what needs no training. {differences}")


def _within_chance(view: View) -> Takeaway | None:
    """What has to be said before any order: it may be one of chance."""
    if not view.chance:
        return None
    best, names = view.ranked[0], _listed([f"{row.label} ({view.number(view.mean(row))})" for row in view.chance])
    return Takeaway(
        f"Not told apart from {_listed([row.label for row in view.chance])}",
        f"The best strategy, {best.label}, has {view.spread(best)} of {view.metric} with {view.labelled}, which does "
        f"not lie above {names}. The order of the strategies says nothing.",
    )


def _highest(view: View) -> Takeaway | None:
    if view.chance:
        return None
    best, *others = view.ranked
    text = f"{best.label} has the highest mean {view.metric} of all strategies with {view.labelled}: "
    text += f"{view.spread(best)}, over {_seeds(best)}."
    gaps = {row.label: gap for row in others if (gap := best.lead(row, view.metric))}
    if gaps and all(gap.interval for gap in gaps.values()):
        close = [name for name, gap in gaps.items() if not gap.excludes_zero]
        verdict = f"includes zero for {_listed(close)}" if close else "excludes zero for every other strategy"
        text += f" Compared seed by seed, the interval of its lead {verdict}."
    elif gaps:
        text += " One seed cannot say whether the order would hold for another."
    return Takeaway(f"Highest mean: {best.label}", text)


def _read(view: View) -> Takeaway | None:
    base = next((row for row in view.trained if row.name == BASELINE), None)
    rows = [row for row in view.trained if row.name.startswith("read")] if base else []
    recurrent = [(row, gap) for row in rows if (gap := row.lead(base, view.metric))]
    if not recurrent:
        return None
    parts = [f"{row.label} {view.difference(summary)}" for row, summary in recurrent]
    apart = [row.label for row, summary in recurrent if summary.excludes_zero]
    end = f" The interval excludes zero for {_listed(apart)}." if apart else " No interval excludes zero."
    if any(summary.interval is None for _, summary in recurrent):
        end = " One seed gives no interval."
    return Takeaway(
        f"READ against the plain {label(BASELINE)}",
        f"Mean difference in {view.metric}, seed by seed, with {view.labelled}: {'; '.join(parts)}.{end}",
    )


def _not_above(view: View) -> Takeaway | None:
    """What needs no training and is not surpassed."""
    top = view.mean(view.ranked[0])
    rows = [*(row for name, row in view.references.items() if name in view.task.below), view.zero_shot]
    strong = [row for row in rows if row and view.mean(row) >= top]
    if not strong:
        return None
    parts = _listed([f"{row.label} ({view.number(view.mean(row))})" for row in strong])
    names = _listed([row.label for row in strong])
    return Takeaway(f"No gain over {names}", f"No strategy’s mean {view.metric} exceeds that of {parts}.")


def _budget(view: View) -> Takeaway | None:
    if view.zero_shot is None or len(view.trained) < 2 or view.chance:
        return None
    start, best = view.mean(view.zero_shot), view.mean(view.ranked[0])
    if best <= start:
        return None
    gains = {row.name: (view.mean(row) - start) / (best - start) for row in view.trained}
    small = min((row for row in view.trained if gains[row.name] >= 0.8), key=lambda row: row.first.trainable)
    return Takeaway(
        f"Score for size: {small.label}",
        f"It is the smallest strategy whose mean gain over zero-shot is at least 80 % of the largest one: "
        f"{gains[small.name]:.0%}, with {small.first.trainable:,} trainable parameters "
        f"({percent(small.first.share)} of the model).",
    )


def _range(view: View) -> Takeaway | None:
    below = [row for name, row in view.references.items() if name not in view.task.above]
    above = [row for name, row in view.references.items() if name in view.task.above]
    fitted = [row for row in view.plain if row.runs]
    untrained = [*([view.zero_shot] if view.zero_shot else []), *fitted]
    if not (below or above or untrained):
        return None
    parts = [f"{row.quoted} {view.number(view.mean(row))}" for row in (*below, *untrained)]
    if len(view.trained) > 1:
        low, high = (view.number(view.mean(view.ranked[i])) for i in (-1, 0))
        parts.append(f"trained strategies {low} to {high}")
    parts += [f"{row.label} {view.number(view.mean(row))}" for row in above]
    return Takeaway("The scale", f"On this test side, {view.metric} is: {', '.join(parts)}.")


def _kinds(view: View) -> Takeaway | None:
    if len(view.kinds) < 2:
        return None
    best = view.ranked[0]
    if any(best.summary(view.metric, kind) is None for kind in view.kinds):
        return None
    order = sorted(view.kinds, key=lambda kind: view.mean(best, kind))
    tops = {kind: max(view.trained, key=lambda row, k=kind: view.mean(row, k)) for kind in view.kinds}
    shown = view.kinds if len(view.kinds) <= FEW_KINDS else [order[-1], order[0]]
    text = f"{best.label} by kind: {', '.join(f'“{kind}” {view.spread(best, kind)}' for kind in shown)}."
    if len(view.trained) > 1 and len(view.kinds) <= FEW_KINDS:
        text += f" Highest mean per kind: {'; '.join(f'“{kind}”: {row.label}' for kind, row in tops.items())}."
    elif len(view.trained) > 1:
        ahead = sum(row is best for row in tops.values())
        text += f" It has the highest mean of all strategies in {ahead} of {len(view.kinds)} kinds."
    return Takeaway(f"Lowest kind of {view.task.sample}: “{order[0]}”", text)


def _shots(view: View) -> Takeaway | None:
    counts = shots_of(view.everything)
    if len(counts) < 2:
        return None
    parts = []
    for row in view.ranked:
        fewest = next((r for r in view.everything if r.name == row.name and r.shots == counts[0]), None)
        if fewest and (gain := row.lead(fewest, view.metric)):
            parts.append(f"{row.label} {view.number(gain.mean, '+')}")
    text = f"Mean change in {view.metric}, in points: {', '.join(parts)}."
    few = next(row.labelled for row in view.everything if row.trained and row.shots == counts[0])
    return Takeaway(f"From {few} to {view.labelled}", text) if parts else None


def _grid(view: View) -> Takeaway | None:
    edge = [row.label for row in view.trained if row.at_grid_edge]
    if not edge:
        return None
    return Takeaway(
        "Learning rates at the edge",
        f"For {_listed(edge)}, validation chose the smallest or largest rate of the grid in at least one run; a wider "
        f"grid could change these scores.",
    )


def _still_rising(view: View) -> Takeaway | None:
    """Strategies that more steps might have lifted."""
    return _runs_told(
        view, "Best at the last step", lambda row: row.at_last_step, "More steps could raise these scores."
    )


def _untouched(view: View) -> Takeaway | None:
    """Runs whose training was found no better than none."""
    return _runs_told(
        view, "Untuned state kept", lambda row: row.untouched,
        "On the labelled videos that choose, no step was better than the state before training, or not by more than "
        "one standard error there: what is scored is the model untuned.",
    )  # fmt: skip


def _warned(view: View) -> Takeaway | None:
    """Predictions that look wrong."""
    found = warnings_of([*view.references.values(), *view.everything])
    if not found:
        return None
    (who, sentence), more = found[0], len(found) - 1
    rest = f" {more} more stand{'s' * (more == 1)} below the scores." if more else ""
    return Takeaway(f"{len(found)} warning{'s' * (more > 0)}", f"{who}: {sentence.rstrip('.')}.{rest}")


def _runs_told(view: View, title: str, count: Callable[[TableRow], int], text: str) -> Takeaway | None:
    parts = [f"{row.label} in {count(row)} of {len(row.runs)} runs" for row in view.ranked if count(row)]
    return Takeaway(title, f"{_listed(parts)}. {text}") if parts else None


def _seeds(row: TableRow) -> str:
    return f"{len(row.runs)} seed{'s' if len(row.runs) > 1 else ''}"


def _listed(names: Sequence[str]) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
