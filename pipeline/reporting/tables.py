"""Runs gathered into rows: one row per strategy and number of labelled videos, each with its values over seeds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean

import numpy as np

from pipeline.reporting.inputs import Results
from pipeline.reporting.records import Reference, Run
from pipeline.reporting.stats import SeedScores, bootstrap, paired, summarise

BASELINE = "adapter"  # the plain bottleneck adapter, which the others are paired with
ZERO_SHOT = "zero_shot"  # the row of the backbone as it is
SUBJECT_ONLY = "subject_only"  # the row of who takes every look-alike for the true moment
NAMES = {
    "cosine": "Cosine, no training",
    "map": "Linear map (ridge)",
    "shots": "Shot boundaries + cosine",
    SUBJECT_ONLY: "Look-alikes not told apart",
    "perfect_clips": "Perfect clips, windows read off",
}
DOUBTS = {  # properties of a run that put its score in doubt
    "at_edge": "rate at the grid’s edge",
    "at_last_step": "best at the last step",
    "still_rising": "still rising at the end",
}
AVERAGE = "mean of kinds"  # a kind that stands for all: the mean over them, each counting as much
SAME = 0.01  # points between a score and the mean of its videos' below which it is that mean


@dataclass(frozen=True)
class TableRow:
    """One row of a table. A reference, such as random, has no runs and one value per metric."""

    name: str
    shots: int
    runs: tuple[Run, ...]
    reference: Reference | None = None

    @property
    def label(self) -> str:
        """The name as shown."""
        return label(self.name)

    @property
    def quoted(self) -> str:
        """The same within a sentence."""
        return f"“{self.label}”" if " " in self.label else self.label

    @property
    def trained(self) -> bool:
        """Whether anything was trained for this row."""
        return any(run.trainable for run in self.runs)

    @property
    def first(self) -> Run:
        """The run whose sizes stand for all: they do not depend on the seed."""
        return self.runs[0]

    def count(self, what: str) -> int:
        """How many of its runs have a property of `Run`, such as `at_edge`."""
        return sum(getattr(run, what) for run in self.runs)

    @property
    def doubts(self) -> list[str]:
        """What puts its score in doubt: `2 of 3 runs: best at the last step`."""
        total = len(self.runs)
        of_runs = f" of {total} runs: " if total > 1 else " run: "
        return [f"{n}{of_runs}{text}" for what, text in DOUBTS.items() if (n := self.count(what))]

    @property
    def places(self) -> str:
        """The kinds of places that train, as text."""
        return ", ".join(dict.fromkeys(label(place) for run in self.runs for place in run.places))

    @property
    def sized(self) -> str:
        """What set its size, as text: `budget 16,000, bottleneck 12`."""
        budget = [f"budget {self.first.budget:,}"] if self.first.budget else []
        return ", ".join(budget + [f"{label(name)} {value}" for name, value in (self.first.size or {}).items()])

    @property
    def alignment(self) -> tuple[float, float] | None:
        """Mean cosines of a sentence with its own video, and with others', over the runs that align; None without."""
        found = [run.alignment_cosine for run in self.runs if run.alignment_cosine]
        return (fmean(pair.own for pair in found), fmean(pair.other for pair in found)) if found else None

    @property
    def warned(self) -> int:
        """How many of its runs, or of its single reference, have warnings."""
        return sum(bool(source.warnings) for source in self.sources)

    @property
    def sources(self) -> tuple[Reference, ...]:
        """Its runs, or what stands in their place."""
        return self.runs or (self.reference,)

    @property
    def labelled(self) -> str:
        """How many videos trained, as text: `30 labelled videos`, and the shots where these count otherwise."""
        counts = {run.shots if run.train_videos is None else run.train_videos for run in self.runs}
        shown = f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
        videos = f"{shown} labelled video{'' if counts == {1} else 's'}"
        return videos if counts == {self.shots} else f"{videos} (shots: {self.shots})"

    def summary(self, metric: str, kind: str | None = None) -> SeedScores | None:
        """Values of a metric over seeds: of all samples, of one kind, or the AVERAGE; None where any is absent."""
        found = [_value(source, metric, kind) for source in self.sources]
        return None if None in found else summarise(found, self.draws(metric, kind))

    def draws(self, metric: str, kind: str | None = None) -> np.ndarray | None:
        """Bootstrap samples over test videos of the mean over seeds; None where it is no mean over videos."""
        found = [_draws(source, metric, kind) for source in self.sources]
        return np.mean(found, axis=0) if all(draws is not None for draws in found) else None

    def discrimination(self, kind: str) -> SeedScores | None:
        """The share of look-alikes that it ranks below the true moment, over seeds; None where any is absent."""
        found = [source.discrimination.get(kind) for source in self.sources]
        return None if None in found else summarise(found)

    def lead(self, other: "TableRow", metric: str) -> SeedScores | None:
        """Differences to another row, seed by seed and on the same test videos; None without a seed in common.

        A reference is the same for every seed.
        """
        ours = self.by_seed(metric)
        theirs = dict.fromkeys(ours, other.reference.scores[metric]) if other.reference else other.by_seed(metric)
        gaps = paired(ours, theirs)
        draws, others = self.draws(metric), other.draws(metric)
        return summarise(gaps.values(), None if draws is None or others is None else draws - others) if gaps else None

    def by_seed(self, metric: str) -> dict[int, float]:
        """Values by seed."""
        return {run.seed: run.scores[metric] for run in self.runs}


def label(name: str) -> str:
    """A row's name as shown: `read_pvla` reads read-pvla."""
    return NAMES.get(name, name.replace("_", "-"))


def percent(share: float) -> str:
    """A share of the model's parameters, with two digits that count: 1.5 %."""
    return f"{100 * share:.0f} %" if share > 0.995 else f"{100 * share:.2g} %"


def make_rows(results: Results) -> list[TableRow]:
    """Rows of the runs, by shots and then by number of trainable parameters."""
    groups: dict[tuple[int, str], list[Run]] = {}
    for run in sorted(results.runs, key=lambda run: (run.shots, run.trainable, run.strategy, run.seed)):
        groups.setdefault((run.shots, run.strategy), []).append(run)
    return [TableRow(name, shots, tuple(runs)) for (shots, name), runs in groups.items()]


def reference_rows(results: Results) -> dict[str, TableRow]:
    """Rows without a model, by name: first chance, then what needs no training, last what stands above all."""
    task = results.task
    places = {name: i for i, name in enumerate((*task.below, *task.plain, None, *task.above))}
    names = sorted(results.references, key=lambda name: places.get(name, places[None]))
    return {name: TableRow(name, 0, (), results.references[name]) for name in names}


def frame_rows(results: Results, shots: int) -> list[TableRow]:
    """What frames the strategies at a number of shots: rows without a model, and those of untrained ones."""
    untrained = [row for row in make_rows(results) if not row.trained and row.shots in (0, shots)]
    return [*reference_rows(results).values(), *untrained]


def warnings_of(rows: Iterable[TableRow]) -> list[tuple[str, str]]:
    """What looks wrong in predictions: of which row and run, and the sentence."""
    found = []
    for row in rows:
        for source in row.sources:
            run = f", {source.shots} shots, seed {source.seed}" if row.shots else ""
            found += [(f"{row.label}{run}", sentence) for sentence in source.warnings]
    return found


def shots_of(rows: Iterable[TableRow]) -> list[int]:
    """The numbers of labelled videos that were trained with, ascending."""
    return sorted({row.shots for row in rows if row.trained})


def columns(results: Results) -> list[str]:
    """The metrics that the score table shows: the primary one, then those of the usual ones that every row has."""
    sources = [*results.runs, *results.references.values()]
    usual = [name for name in results.task.columns if all(name in source.scores for source in sources)]
    return list(dict.fromkeys([results.metric, *usual]))


def kinds(results: Results) -> list[str]:
    """Kinds of sample that scores are reported apart for, such as the domains of a benchmark."""
    return sorted({kind for run in results.runs for kind in run.by_kind if kind})


def best(rows: Sequence[TableRow], metrics: Iterable[str], of_kinds: Iterable[str | None]) -> set[tuple]:
    """(shots, metric, kind, strategy) of the highest mean among what was trained with as many videos."""
    found = set()
    for shots in shots_of(rows):
        for metric, kind in product(metrics, of_kinds):
            own = [(row, row.summary(metric, kind)) for row in rows if row.trained and row.shots == shots]
            if rivals := [(summary.mean, row.name) for row, summary in own if summary]:
                found.add((shots, metric, kind, max(rivals)[1]))
    return found


def paired_rows(rows: Sequence[TableRow], metric: str, shots: int) -> list[tuple[TableRow, dict[int, float]]]:
    """Strategies with their differences to the plain adapter, seed by seed, at one number of shots; see `Row.lead`."""
    trained = [row for row in rows if row.shots == shots and row.trained]
    base = next((row for row in trained if row.name == BASELINE), None)
    if base is None:
        return []
    pairs = [(row, paired(row.by_seed(metric), base.by_seed(metric))) for row in trained if row is not base]
    return [(row, differences) for row, differences in pairs if differences]


def _value(source: Reference, metric: str, kind: str | None) -> float | None:
    if kind is None:
        return source.scores.get(metric)
    if kind != AVERAGE:
        return source.by_kind.get(kind, {}).get(metric)
    values = [table.get(metric) for table in source.by_kind.values()]
    return None if None in values or not values else fmean(values)


def _draws(run: Reference, metric: str, kind: str | None) -> np.ndarray | None:
    """Bootstrap samples of a run's score, where it is the mean of its videos'."""
    if kind == AVERAGE:
        parts = [_draws(run, metric, one) for one in run.by_kind]
        return np.mean(parts, axis=0) if parts and all(part is not None for part in parts) else None
    rows = [row for row in run.by_video if kind in (None, row.kind)]
    value = _value(run, metric, kind)
    if value is None or not rows or any(metric not in row.scores for row in rows):
        return None
    weights = np.array([row.samples for row in rows], float)
    values = np.array([row.scores[metric] for row in rows])
    if abs(np.average(values, weights=weights) - value) > SAME:
        return None
    places = {vid: place for place, vid in enumerate(sorted({row.vid for row in run.by_video}))}
    return bootstrap(np.array([places[row.vid] for row in rows]), len(places), weights, values)
