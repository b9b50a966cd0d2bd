"""Sentences computed from the numbers: each states a measured value with its interval and claims nothing beyond it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.reporting.inputs import Results
from pipeline.reporting.stats import Summary, paired, summarise
from pipeline.reporting.tables import (
    BASELINE,
    Row,
    kinds,
    label,
    make_rows,
    paired_rows,
    percent,
    reference_rows,
    shots_of,
)


@dataclass(frozen=True)
class Takeaway:
    """A headline of a few words and the sentence that carries its numbers."""

    title: str
    text: str


@dataclass(frozen=True)
class View:
    """What the sentences are computed from: rows at the largest number of shots, and the references."""

    metric: str
    shots: int
    trained: list[Row]
    everything: list[Row]
    references: dict[str, Row]
    kinds: list[str]
    results: Results

    @property
    def ranked(self) -> list[Row]:
        """Trained rows, the highest mean first."""
        return sorted(self.trained, key=lambda row: -row.summary(self.metric).mean)

    @property
    def zero_shot(self) -> Row | None:
        """The row of the backbone as it is."""
        return next((row for row in self.everything if not row.trained), None)


def takeaways(results: Results) -> list[Takeaway]:
    """What the page states first."""
    rows, metric = make_rows(results), results.inputs.metric
    if not (shots := shots_of(rows)):
        return []
    trained = [row for row in rows if row.trained and row.shots == shots[-1]]
    view = View(metric, shots[-1], trained, rows, reference_rows(results), kinds(results), results)
    makers: Sequence[Callable[[View], Takeaway | None]] = (_highest, _read, _budget, _range, _hardest, _shots, _grid)
    return [takeaway for make in makers if (takeaway := make(view)) is not None]


def spread(summary: Summary) -> str:
    """A mean with its interval: `53.1 (95 % interval 49.0 to 57.2)`."""
    if summary.interval is None:
        return f"{summary.mean:.1f} (one seed, spread unknown)"
    low, high = summary.interval
    return f"{summary.mean:.1f} (95 % interval {low:.1f} to {high:.1f})"


def difference(summary: Summary) -> str:
    """A mean difference in points with its interval."""
    if summary.interval is None:
        return f"{summary.mean:+.1f} points (one seed, spread unknown)"
    low, high = summary.interval
    return f"{summary.mean:+.1f} points (95 % interval {low:+.1f} to {high:+.1f})"


def _highest(view: View) -> Takeaway:
    best, *others = view.ranked
    text = f"{best.label} has the highest mean {view.metric} with {view.shots} labelled videos: "
    text += f"{spread(best.summary(view.metric))}, over {_seeds(best)}."
    gaps = {
        row.label: summarise(values.values())
        for row in others
        if (values := paired(best.by_seed(view.metric), row.by_seed(view.metric)))
    }
    if gaps and all(gap.interval for gap in gaps.values()):
        close = [name for name, gap in gaps.items() if not gap.excludes_zero]
        verdict = f"includes zero for {_listed(close)}" if close else "excludes zero for every other strategy"
        text += f" Compared seed by seed, the interval of its lead {verdict}."
    elif gaps:
        text += " One seed cannot say whether the order would hold for another."
    return Takeaway(f"Highest mean: {best.label}", text)


def _read(view: View) -> Takeaway | None:
    pairs = [(row, differences) for row, differences in paired_rows(view.trained, view.metric, view.shots)]
    recurrent = [(row, summarise(diff.values())) for row, diff in pairs if row.name.startswith("read")]
    if not recurrent:
        return None
    parts = [f"{row.label} {difference(summary)}" for row, summary in recurrent]
    apart = [row.label for row, summary in recurrent if summary.excludes_zero]
    end = f" The interval excludes zero for {_listed(apart)}." if apart else " No interval excludes zero."
    if any(summary.interval is None for _, summary in recurrent):
        end = " One seed gives no interval."
    return Takeaway(
        f"READ against the plain {label(BASELINE)}",
        f"Mean difference in {view.metric}, seed by seed, with {view.shots} labelled videos: {'; '.join(parts)}.{end}",
    )


def _budget(view: View) -> Takeaway | None:
    if view.zero_shot is None or len(view.trained) < 2:
        return None
    start, best = view.zero_shot.summary(view.metric).mean, view.ranked[0].summary(view.metric).mean
    if best <= start:
        return Takeaway("No gain over zero-shot", f"No strategy's mean {view.metric} exceeds zero-shot's {start:.1f}.")
    gains = {row.name: (row.summary(view.metric).mean - start) / (best - start) for row in view.trained}
    small = min((row for row in view.trained if gains[row.name] >= 0.8), key=lambda row: row.first.trainable)
    return Takeaway(
        f"Score for size: {small.label}",
        f"It is the smallest strategy whose mean gain over zero-shot is at least 80 % of the largest one: "
        f"{gains[small.name]:.0%}, with {small.first.trainable:,} trainable parameters "
        f"({percent(small.first.share)} of the model).",
    )


def _range(view: View) -> Takeaway | None:
    parts = [f"{name} {row.summary(view.metric).mean:.1f}" for name, row in view.references.items()]
    if view.zero_shot is not None:
        parts.insert(1, f"{view.zero_shot.label} {view.zero_shot.summary(view.metric).mean:.1f}")
    low, high = (view.ranked[i].summary(view.metric).mean for i in (-1, 0))
    if len(view.trained) > 1:
        parts.append(f"trained strategies {low:.1f} to {high:.1f}")
    return Takeaway("The scale", f"On this test side, {view.metric} is: {', '.join(parts)}.") if parts else None


def _hardest(view: View) -> Takeaway | None:
    if len(view.kinds) < 2:
        return None
    best = view.ranked[0]
    by_kind = {kind: best.summary(view.metric, kind) for kind in view.kinds}
    if any(summary is None for summary in by_kind.values()):
        return None
    hardest = min(by_kind, key=lambda kind: by_kind[kind].mean)
    parts = [f"“{kind}” {spread(summary)}" for kind, summary in by_kind.items()]
    tops = {kind: max(view.trained, key=lambda row, k=kind: _mean(row, view.metric, k)).label for kind in view.kinds}
    leaders = "; ".join(f"“{kind}”: {name}" for kind, name in tops.items())
    return Takeaway(
        f"Lowest kind of query: “{hardest}”",
        f"{best.label} by kind: {', '.join(parts)}. Highest mean per kind: {leaders}.",
    )


def _shots(view: View) -> Takeaway | None:
    counts = shots_of(view.everything)
    if len(counts) < 2:
        return None
    parts = []
    for row in view.ranked:
        fewest = next((r for r in view.everything if r.name == row.name and r.shots == counts[0]), None)
        if fewest and (gain := paired(row.by_seed(view.metric), fewest.by_seed(view.metric))):
            parts.append(f"{row.label} {summarise(gain.values()).mean:+.1f}")
    text = f"Mean change in {view.metric}, in points: {', '.join(parts)}."
    return Takeaway(f"From {counts[0]} to {counts[-1]} labelled videos", text) if parts else None


def _grid(view: View) -> Takeaway | None:
    edge = [row.label for row in view.trained if row.at_grid_edge]
    if not edge:
        return None
    return Takeaway(
        "Learning rates at the edge",
        f"For {_listed(edge)}, validation chose the smallest or largest rate of the grid in at least one run; a wider "
        f"grid could change these scores.",
    )


def _mean(row: Row, metric: str, kind: str) -> float:
    summary = row.summary(metric, kind)
    return summary.mean if summary else float("-inf")


def _seeds(row: Row) -> str:
    return f"{len(row.runs)} seed{'s' if len(row.runs) > 1 else ''}"


def _listed(names: Sequence[str]) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
