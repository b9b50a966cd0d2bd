"""Scores of all cells of a setting, and differences between strategies with their intervals.

Two levels vary, the seed of the backbone and that of the runs, and the test videos; see `pipeline.reporting.stats`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.reporting.grounding import GROUNDING
from pipeline.reporting.inputs import CurvePoint, Inputs, Provenance, Results, Run, load_results
from pipeline.reporting.stats import ALPHA, SeedScores, holm, two_level
from pipeline.reporting.tables import ZERO_SHOT, TableRow
from pipeline.study.cells import Cell
from pipeline.study.schema import ABLATIONS, TASK, Study
from read.errors import InputError
from read.files import read_json

Arm = dict[int, dict[int, Run]]  # the runs of a strategy at a number of shots, by the backbone's seed and their own


@dataclass(frozen=True)
class Outcome:
    """What came out in a setting.

    Attributes:
        setting: its name.
        study: what was to be run.
        cells: of the setting, of both parts.
        results: what each cell gave, by (part, seed of the backbone); cells without any run are not in it.
    """

    setting: str
    study: Study
    cells: Sequence[Cell]
    results: Mapping[tuple[str, int], Results]

    @cached_property
    def arms(self) -> dict[tuple[str, int], Arm]:
        """By (strategy, shots)."""
        found: dict[tuple[str, int], Arm] = {}
        for (part, backbone), results in self.results.items():
            for run in results.runs:
                if part == ABLATIONS and run.strategy not in self.study.entries(ABLATIONS):
                    continue  # its zero-shot row is that of the comparison
                found.setdefault((run.strategy, run.shots), {}).setdefault(backbone, {})[run.seed] = run
        return found

    @property
    def trained(self) -> list[Run]:
        """All runs in which something was trained."""
        return [run for arm in self.arms.values() for seeds in arm.values() for run in seeds.values() if run.trainable]

    def runs(self, *strategies: str) -> bool:
        """Whether all of some strategies can be run in the setting."""
        return all(any(name in cell.params.strategies for cell in self.cells) for name in strategies)

    @property
    def expected(self) -> int:
        """How many runs were to be trained."""
        return sum(len(cell.runs) for cell in self.cells)

    @property
    def compared(self) -> list[Results]:
        """What the comparison's cells gave, a backbone seed each."""
        return [results for (part, _), results in self.results.items() if part != ABLATIONS]

    def curves(self, strategy: str, shots: int) -> list[list[CurvePoint]]:
        """The learning curves of a strategy's runs."""
        return [
            curve
            for results in self.results.values()
            for key, curve in results.curves.items()
            if key[:2] == (strategy, shots)
        ]

    def complete(self, strategy: str, shots: Sequence[int]) -> bool:
        """Whether every run that was registered is there."""
        seeds = self.study.seeds_in(self.study.part_of(strategy))
        wanted = {(b, seed) for b in self.study.seeds_of(self.setting) for seed in seeds}
        arms = [self.arms.get((strategy, k), {}) for k in shots]
        return all(wanted <= {(b, seed) for b, seeds in arm.items() for seed in seeds} for arm in arms)

    def level(self, strategy: str, shots: Sequence[int], metric: str, kind: str | None = None) -> SeedScores | None:
        """The mean of a strategy, over some shots alike; None where nothing was run at all of them."""
        return _two_level(self._points(strategy, shots, metric, kind))

    def lead(self, ours: str, theirs: str, shots: Sequence[int], metric: str) -> SeedScores | None:
        """The same of the difference, paired by backbone, seed and test videos; None without a pair."""
        mine, others = (self._points(name, shots, metric) for name in (ours, theirs))
        return _two_level(
            {
                b: {seed: _less(mine[b][seed], others[b][seed]) for seed in sorted(mine[b].keys() & others[b].keys())}
                for b in sorted(mine.keys() & others.keys())
            }
        )

    def _points(self, strategy: str, shots: Sequence[int], metric: str, kind: str | None = None) -> "Points":
        """The mean over shots of each backbone seed and seed that ran at all of them; zero-shot is the same for all."""
        if strategy == ZERO_SHOT:
            arm = self.arms.get((strategy, 0), {})
            same = {b: dict.fromkeys(self.study.seeds, run) for b, seeds in arm.items() for run in seeds.values()}
            arms = [same]
        else:
            arms = [self.arms.get((strategy, k), {}) for k in shots]
        points: Points = {}
        for b in set.intersection(*(set(arm) for arm in arms)):
            for seed in set.intersection(*(set(arm[b]) for arm in arms)):
                points.setdefault(b, {})[seed] = _mean([_point(arm[b][seed], metric, kind) for arm in arms])
        return points


Point = tuple[float, np.ndarray | None]  # a score, and its bootstrap samples over test videos, where there are any
Points = dict[int, dict[int, Point]]


def _point(run: Run, metric: str, kind: str | None) -> Point:
    row = TableRow(run.strategy, run.shots, (run,))
    summary = row.summary(metric, kind)
    if summary is None:
        raise InputError(f"{run.strategy}, {run.shots} shots, seed {run.seed}: has no {metric} among its scores")
    return summary.mean, row.draws(metric, kind)


def _mean(points: Sequence[Point]) -> Point:
    draws = [each for _, each in points if each is not None]
    known = np.mean(draws, axis=0) if len(draws) == len(points) else None
    return fmean(value for value, _ in points), known


def _less(ours: Point, theirs: Point) -> Point:
    return ours[0] - theirs[0], None if ours[1] is None or theirs[1] is None else ours[1] - theirs[1]


def _two_level(points: Points) -> SeedScores | None:
    points = {b: seeds for b, seeds in points.items() if seeds}
    if not points:
        return None
    values = {b: {seed: value for seed, (value, _) in seeds.items()} for b, seeds in points.items()}
    draws = {b: {seed: each for seed, (_, each) in seeds.items()} for b, seeds in points.items()}
    known = all(each is not None for seeds in draws.values() for each in seeds.values())
    return two_level(values, draws if known else None)


@dataclass(frozen=True)
class Difference:
    """A difference of two strategies among others that are looked at with it.

    Attributes:
        mean: in points.
        low, high: bounds of its interval, at the level at which Holm's correction tests it; None for a single seed.
        p: that it is `null`, corrected for the number of differences; None likewise.
        null: what it is tested against.
    """

    mean: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    null: float = 0.0

    @property
    def decided(self) -> bool:
        """Whether it is told apart from `null`."""
        return self.p is not None and self.p < ALPHA

    @property
    def row(self) -> dict[str, Any]:
        """As data."""
        return {"mean": self.mean, "low": self.low, "high": self.high, "p": self.p, "decided": self.decided}


def corrected(family: Sequence[SeedScores | None], nulls: Sequence[float]) -> list[Difference | None]:
    """Differences, each corrected for all of the family, those without a value counted (Holm 1979).

    Args:
        family: differences in a row; None where the runs are not there.
        nulls: what each is tested against.
    """
    shifted = [
        scores and replace(scores, values=tuple(value - null for value in scores.values))
        for scores, null in zip(family, nulls, strict=True)
    ]
    p_values = [1.0 if scores is None or scores.p is None else scores.p for scores in shifted]
    found: list[Difference | None] = []
    for scores, null, p, all_of_them in zip(family, nulls, p_values, holm(p_values), strict=True):
        if scores is None or scores.std is None:
            found.append(scores and Difference(scores.mean, null=null))
            continue
        # The level by which p is below it just where the corrected p is below ALPHA.
        level = ALPHA * p / all_of_them if all_of_them else ALPHA / len(family)
        found.append(Difference(scores.mean, *scores.bounds(level), all_of_them, null))
    return found


def matrix(outcome: Outcome) -> dict[tuple[str, str, int], Difference | None]:
    """(ours, theirs, shots) -> difference, of all pairs of strategies at all shots, corrected for all of them."""
    study = outcome.study
    keys = [(*pair, k) for k in study.shots for pair in combinations(study.strategies, 2)]
    leads = [outcome.lead(ours, theirs, [k], study.metric) for ours, theirs, k in keys]
    return dict(zip(keys, corrected(leads, [0.0] * len(keys)), strict=True))


def load_outcome(study: Study, setting: str, cells: Sequence[Cell]) -> Outcome:
    """Read and check what came out in a setting, whole or not.

    Raises:
        InputError: a file is not as expected, or runs do not belong to their cell.
    """
    mine = [cell for cell in cells if cell.setting == setting]
    found = {(cell.part, cell.backbone_seed): _load(cell, study.metric) for cell in mine if any_runs(cell)}
    for backbone in study.seeds_of(setting):
        if (ABLATIONS, backbone) in found and ("runs", backbone) in found:
            _check_same_splits(*(cell for cell in mine if cell.backbone_seed == backbone))
    return Outcome(setting, study, mine, found)


def any_runs(cell: Cell) -> bool:
    """Whether anything of a cell has been scored."""
    return (cell.results / "references.json").is_file() and any(cell.results.glob("*/k*-s*/scores.json"))


def _load(cell: Cell, metric: str) -> Results:
    dataset = cell.params.dataset
    features = cell.folder / paths.features(dataset) / "features.json"
    inputs = Inputs(
        dataset=dataset, runs=cell.results.parent, raw=cell.folder / paths.raw(dataset), metrics={TASK: metric},
        examples=0, clip_len=cell.params.clip_len, provenance=Provenance(), features=features,
        domain=cell.params.domain, panels=(),
    )  # fmt: skip
    results = load_results(inputs, GROUNDING, {})
    spec = read_json(features)["spec"]
    for key, folder in results.folders.items():
        trained_on = read_json(folder / "scores.json").get("features", spec)
        if trained_on != spec:
            raise InputError(f"{folder}: {key[0]} was trained on features of another cell; take it out and run again")
    return results


def _check_same_splits(one: Cell, other: Cell) -> None:
    """Variants are compared with the strategies of the comparison run by run: on the same labelled videos."""
    for _, k, seed in dict.fromkeys(("", *run[1:]) for run in other.runs):
        files = [cell.folder / paths.split_file(cell.params.dataset, TASK, k, seed) for cell in (one, other)]
        if all(file.is_file() for file in files) and read_json(files[0]) != read_json(files[1]):
            raise InputError(f"{files[0]} and {files[1]} differ, so that their runs cannot be compared")
