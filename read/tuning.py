"""Which learning rate, which step, and whether to train at all.

Two ways to choose. By a validation side: every rate trains once, and the best step of the best rate stays. By
cross-validation (Stone 1974), for those who have so few labelled videos that a part of them says nothing: every rate
trains once a fold, without the videos of that fold, and the step and rate that are best on the mean over all held-out
videos are trained once more.

Where folds chose, the model stays as it was before its first step unless what was chosen is better by more than one
standard error of the difference, video by video: the best of many states on a few videos is above the first by chance
alone. Where a validation side chose, among whom are many fewer than train, that error is as large as most true gains,
and any gain is taken.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import sqrt
from statistics import fmean, stdev
from typing import Any

import torch
from torch import nn

from read.errors import InputError, NotFiniteError
from read.train import AlignmentTerm, History, Row, Task, TrainSettings, fit, train_until

FOLDS = 4  # so that, with a validation video to four that train, a fold trains on about as many as train in the end

BuildModel = Callable[[Sequence[Any]], nn.Module]


@dataclass(frozen=True)
class Gain:
    """What training gave: the mean over videos of the score after it minus that before, and its standard error.

    The error is None for a single video, of which any gain is believed.
    """

    mean: float = 0.0
    error: float | None = None

    @classmethod
    def of(cls, before: dict[str, float], after: dict[str, float]) -> "Gain":
        """Of scores by video."""
        gaps = [after[vid] - score for vid, score in before.items()]
        return cls(fmean(gaps), stdev(gaps) / sqrt(len(gaps)) if len(gaps) > 1 else None)

    @property
    def is_real(self) -> bool:
        """Whether it exceeds one standard error."""
        return self.mean > (self.error or 0.0)


@dataclass
class Tuned:
    """What was chosen, and what it was chosen from.

    Attributes:
        model: in the chosen state, in evaluation mode.
        history: of the chosen rate; where folds chose, its rows are means over these.
        learning_rate: the best one, also where the model stays untuned.
        trials: every rate as `learning_rate`, `score`, `best_step`; both None where training diverged.
        untuned: whether the state before the first step was kept; `history.best_step` is then 0.
        gain: of the best step of the best rate, on the videos that chose.
        folds: that chose; 0 where the validation side did.
    """

    model: nn.Module
    history: History
    learning_rate: float
    trials: list[Row]
    untuned: bool
    gain: Gain
    folds: int = 0


def tune(
    build_model: BuildModel,
    task: Task,
    train: Sequence[Any],
    val: Sequence[Any],
    settings: TrainSettings,
    learning_rates: Sequence[float],
    alignment: AlignmentTerm | None = None,
    on_epoch: Callable[[Row], None] | None = None,
) -> Tuned:
    """Train at every learning rate, and take the best step of the best by `val`; the untuned state is step 0.

    Args:
        build_model: makes the model that is trained, given the samples to train on; called under the seed.
        task: what is learned.
        train: samples to train on.
        val: samples that choose.
        settings: how; `learning_rate` is that of each trial.
        learning_rates: the grid. One at which training diverges is out of the race.
        alignment: see `read.train.fit`.
        on_epoch: called with the rows of `fit`; each has the `learning_rate` of its trial as `trial`.

    Raises:
        InputError: an empty grid, nothing to train, no samples to train on or to choose by.
        NotFiniteError: every rate diverges.
    """
    search = _Search(build_model, task, train, val, settings, alignment, on_epoch or (lambda row: None))
    return search.by_validation(learning_rates)


def cross_validate(
    build_model: BuildModel,
    task: Task,
    train: Sequence[Any],
    val: Sequence[Any],
    settings: TrainSettings,
    learning_rates: Sequence[float],
    alignment: AlignmentTerm | None = None,
    on_epoch: Callable[[Row], None] | None = None,
) -> Tuned:
    """The same where all videos of `train` and `val` choose, held out in turn, and in doubt the untuned state is kept.

    The last training is on `train` alone: `val` stays unseen, for whatever else is chosen by it. Rows for `on_epoch`
    have the number of their `fold`.
    """
    search = _Search(build_model, task, train, val, settings, alignment, on_epoch or (lambda row: None))
    return search.by_folds(learning_rates)


@dataclass
class _Search:
    """The arguments of `tune`, and what became of each rate: its history, or why it is out of the race."""

    build_model: BuildModel
    task: Task
    train: Sequence[Any]
    val: Sequence[Any]
    settings: TrainSettings
    alignment: AlignmentTerm | None
    on_epoch: Callable[[Row], None]
    found: dict[float, History | NotFiniteError] = field(default_factory=dict)

    def by_validation(self, rates: Sequence[float]) -> Tuned:
        """One training a rate."""
        best = None
        for rate in _grid(rates):
            model = self.build(self.train)
            try:
                history = self.found[rate] = self.fit(model, self.task, self.train, self.val, rate)
            except NotFiniteError as error:
                self.found[rate] = error
                continue
            if best is None or history.best_score > best[0].best_score:
                best = history, rate, model
        if best is None:
            raise self.nothing_left()
        history, rate, model = best
        before = self.task.score_videos(self.build(self.train), self.val)
        return self.tuned(model, history, rate, Gain.of(before, self.task.score_videos(model, self.val)))

    def by_folds(self, rates: Sequence[float]) -> Tuned:
        """One training a rate and fold, and one more with what was chosen."""
        labelled = [*self.train, *self.val]
        parts = divide([sample.vid for sample in labelled], FOLDS, self.settings.seed)
        videos: dict[float, list[dict[str, float]]] = {}
        for rate in _grid(rates):
            try:
                self.found[rate], videos[rate] = self.held_out(labelled, parts, rate)
            except NotFiniteError as error:
                self.found[rate] = error
        while self.left:
            rate = max(self.left, key=lambda rate: self.left[rate].best_score)
            history, scores = self.left[rate], videos[rate]
            chosen = next(place for place, row in enumerate(history.rows) if row["step"] == history.best_step)
            gain, model = Gain.of(scores[0], scores[chosen]), self.build(self.train)
            if not gain.is_real:
                first = History(history.rows, history.rows[0]["step"], history.rows[0]["score"])
                return self.tuned(model, first, rate, gain, len(parts))
            try:
                train_until(
                    model, self.task, self.train, replace(self.settings, learning_rate=rate), history.best_step,
                    self.alignment, self.told(trial=rate),
                )  # fmt: skip
                return self.tuned(model, history, rate, gain, len(parts))
            except NotFiniteError as error:
                self.found[rate] = error
        raise self.nothing_left()

    def held_out(
        self, labelled: Sequence[Any], parts: Sequence[set[str]], rate: float
    ) -> tuple[History, list[dict[str, float]]]:
        """Means over the folds, and at each of their steps the score of every video, by the model that never saw it."""
        rows: list[list[Row]] = []
        seen: list[list[dict[str, float]]] = []
        for number, part in enumerate(parts):
            rest = [sample for sample in labelled if sample.vid not in part]
            own = [sample for sample in labelled if sample.vid in part]
            task = _ByVideo(self.task)
            rows.append(self.fit(self.build(rest), task, rest, own, rate, fold=number).rows)
            seen.append(task.seen)
        videos = [{vid: score for part in step for vid, score in part.items()} for step in zip(*seen, strict=True)]
        history = History()
        for of_folds, scores in zip(zip(*rows, strict=True), videos, strict=True):
            told = [name for name in of_folds[0] if all(name in row for row in of_folds)]
            row = {name: fmean(row[name] for row in of_folds) for name in told}
            row |= {"step": of_folds[0]["step"], "score": fmean(scores.values())}
            history.rows.append(row)
            if row["score"] > history.best_score:
                history.best_step, history.best_score = row["step"], row["score"]
        return history, videos

    @property
    def left(self) -> dict[float, History]:
        """The rates in the race."""
        return {rate: history for rate, history in self.found.items() if isinstance(history, History)}

    def build(self, samples: Sequence[Any]) -> nn.Module:
        """A new model under the seed."""
        with torch.random.fork_rng():
            torch.manual_seed(self.settings.seed)
            return self.build_model(samples)

    def fit(
        self, model: nn.Module, task: Task, train: Sequence[Any], val: Sequence[Any], rate: float, **about: Any
    ) -> History:
        """A training of a trial."""
        settings = replace(self.settings, learning_rate=rate)
        return fit(model, task, train, val, settings, self.alignment, self.told(trial=rate, **about))

    def told(self, **about: Any) -> Callable[[Row], None]:
        """`on_epoch` for the rows of one training."""
        return lambda row: self.on_epoch({**about, **row})

    def tuned(self, model: nn.Module, history: History, rate: float, gain: Gain, folds: int = 0) -> Tuned:
        """The result, and every trial as it came out."""
        trials = [
            {"learning_rate": each, "score": history.best_score, "best_step": history.best_step}
            if isinstance(history, History)
            else {"learning_rate": each, "score": None, "best_step": None}
            for each, history in self.found.items()
        ]
        return Tuned(model.eval(), history, rate, trials, history.best_step == 0, gain, folds)

    def nothing_left(self) -> NotFiniteError:
        """What is raised where no rate is in the race."""
        reasons = "; ".join(f"at {rate:g}: {error}" for rate, error in self.found.items())
        return NotFiniteError(f"every learning rate diverges; {reasons}")


def _grid(rates: Sequence[float]) -> Sequence[float]:
    if not rates:
        raise InputError("train: the grid of learning rates is empty")
    return rates


class _ByVideo:
    """A task that scores by the mean over videos, and remembers the scores of each."""

    def __init__(self, task: Task) -> None:
        self.task, self.seen = task, []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.task, name)

    def score(self, model: nn.Module, samples: Sequence[Any]) -> float:
        self.seen.append(self.task.score_videos(model, samples))
        return fmean(self.seen[-1].values())


def divide(videos: Sequence[str], folds: int, seed: int) -> list[set[str]]:
    """At most `folds` sets of about as many videos each. Raises InputError for fewer than two videos."""
    distinct = sorted(set(videos))
    if len(distinct) < 2:
        raise InputError(f"train: {len(distinct)} labelled videos; to choose by holding some out takes two at least")
    order = torch.randperm(len(distinct), generator=torch.Generator().manual_seed(seed)).tolist()
    count = min(folds, len(distinct))
    return [{distinct[place] for place in order[first::count]} for first in range(count)]
