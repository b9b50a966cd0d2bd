"""Which learning rate, which step, and whether to train at all.

By cross-validation (Stone 1974): every rate trains once a fold, without the videos of that fold, and the step and rate
that are best on the mean over all held-out videos are trained once more. So every labelled video chooses, and the
error of what chooses is as small as the labels allow. The model stays as it was before its first step unless what was
chosen is better by more than one standard error of the difference, video by video: the best of many states on a few
videos is above the first by chance alone.

Or, without folds, by a validation side of its own: every rate trains once, and the best step of the best rate stays.
Any gain is taken then, as in the literature that reports the side that chose.

Either way the score is the mean over videos of the task's score of each.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import sqrt
from statistics import fmean, stdev
from typing import Any

import torch
from torch import nn

from read.errors import InputError, NotFiniteError
from read.ranks import agreed
from read.train import AlignmentTerm, History, Row, Task, TrainSettings, fit, train_until

BuildModel = Callable[[Sequence[Any]], nn.Module]


@dataclass(frozen=True)
class Tuning:
    """How to choose.

    Attributes:
        learning_rates: the grid. One at which training diverges is out of the race.
        folds: parts into which the labelled videos are divided, each held out in turn, or as many as there are videos;
            0: the validation side chooses alone.

    Raises:
        InputError: an empty grid, or a single fold.
    """

    learning_rates: Sequence[float]
    folds: int = 0

    def __post_init__(self) -> None:
        if not self.learning_rates:
            raise InputError("train: the grid of learning rates is empty")
        if self.folds == 1 or self.folds < 0:
            raise InputError(f"train: {self.folds} folds; two at least hold each other out, and 0 are none")


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
        at_edge: the rate is the lowest or the highest of three or more at which training did not diverge: a better one
            may lie beyond the grid.
        still_rising: the last step is the best, and the last look at the videos that chose is above the one before by
            more than one standard error of the difference: more steps may be better.
    """

    model: nn.Module
    history: History
    learning_rate: float
    trials: list[Row]
    untuned: bool
    gain: Gain
    folds: int = 0
    at_edge: bool = False
    still_rising: bool = False


def tune(
    build_model: BuildModel,
    task: Task,
    train: Sequence[Any],
    val: Sequence[Any],
    settings: TrainSettings,
    tuning: Tuning,
    alignment: AlignmentTerm | None = None,
    on_epoch: Callable[[Row], None] | None = None,
) -> Tuned:
    """Train at every learning rate, and take the best step of the best; the untuned state is step 0.

    Args:
        build_model: makes the model that is trained, given the samples to train on; called under the seed.
        task: what is learned.
        train: samples to train on.
        val: samples that choose. With folds those of `train` choose too, and the last training is on `train` alone:
            `val` stays unseen, for whatever else is chosen by it.
        settings: how; `learning_rate` is that of each trial.
        tuning: how to choose.
        alignment: see `read.train.fit`.
        on_epoch: called with the rows of `fit`; each has the `learning_rate` of its trial as `trial`, and the number of
            its `fold`.

    Raises:
        InputError: nothing to train, no samples to train on or to choose by.
        NotFiniteError: every rate diverges.
    """
    told = on_epoch or (lambda row: None)
    search = _Search(build_model, task, train, val, settings, alignment, told, tuning.folds)
    for rate in tuning.learning_rates:
        search.try_out(rate)
    return search.choose()


@dataclass
class _Trial:
    """A rate: means over its trainings, and at each of their looks the score of every video that was held out."""

    history: History
    looks: list[dict[str, float]]

    @property
    def gain(self) -> Gain:
        """Of the best step over the first."""
        best = next(place for place, row in enumerate(self.history.rows) if row["step"] == self.history.best_step)
        return Gain.of(self.looks[0], self.looks[best])

    @property
    def still_rising(self) -> bool:
        """See `Tuned`."""
        last = self.history.rows[-1]["step"] == self.history.best_step
        return last and Gain.of(*self.looks[-2:]).is_real


@dataclass
class _Search:
    """The arguments of `tune`, and what became of each rate: its trial, or why it is out of the race."""

    build_model: BuildModel
    task: Task
    train: Sequence[Any]
    val: Sequence[Any]
    settings: TrainSettings
    alignment: AlignmentTerm | None
    on_epoch: Callable[[Row], None]
    folds: int
    tried: dict[float, _Trial | NotFiniteError] = field(default_factory=dict)
    model: nn.Module | None = None  # where no folds choose, that of the best trial so far

    def __post_init__(self) -> None:
        self.sides = [(self.train, self.val)]
        if self.folds:
            labelled = [*self.train, *self.val]
            parts = divide([sample.vid for sample in labelled], self.folds, self.settings.seed)
            self.sides = [
                ([s for s in labelled if s.vid not in part], [s for s in labelled if s.vid in part]) for part in parts
            ]

    def try_out(self, rate: float) -> None:
        """Train at a rate, once for each pair of sides."""
        rows, seen, before = [], [], self.best
        try:
            for number, (train, held_out) in enumerate(self.sides):
                model, task = self.build(train), _ByVideo(self.task)
                settings, about = replace(self.settings, learning_rate=rate), {"fold": number} if self.folds else {}
                told = self.told(trial=rate, **about)
                rows.append(fit(model, task, train, held_out, settings, self.alignment, told).rows)
                seen.append(task.seen)
        except NotFiniteError as error:
            self.tried[rate] = error
            return
        looks = [{vid: score for part in look for vid, score in part.items()} for look in zip(*seen, strict=True)]
        self.tried[rate] = _Trial(_means(list(zip(*rows, strict=True)), looks), looks)
        if not self.folds and self.best != before:
            self.model = model

    def choose(self) -> Tuned:
        """The best of what was tried; where folds chose, trained once more on the train side."""
        while (rate := self.best) is not None:
            trial = self.left[rate]
            if self.model is not None:
                return self.tuned(rate, self.model, trial.history)
            model, first = self.build(self.train), trial.history.rows[0]
            if not trial.gain.is_real:
                return self.tuned(rate, model, replace(trial.history, best_step=0, best_score=first["score"]))
            try:
                train_until(
                    model, self.task, self.train, replace(self.settings, learning_rate=rate),
                    trial.history.best_step, self.alignment, self.told(trial=rate),
                )  # fmt: skip
                return self.tuned(rate, model, trial.history)
            except NotFiniteError as error:
                self.tried[rate] = error
        reasons = "; ".join(f"at {rate:g}: {error}" for rate, error in self.tried.items())
        raise NotFiniteError(f"every learning rate diverges; {reasons}")

    def tuned(self, rate: float, model: nn.Module, history: History) -> Tuned:
        """The result, and every trial as it came out."""
        nothing = {"score": None, "best_step": None}
        trials = [
            {"learning_rate": each} | nothing
            if isinstance(trial, NotFiniteError)
            else {"learning_rate": each, "score": trial.history.best_score, "best_step": trial.history.best_step}
            for each, trial in self.tried.items()
        ]
        left, trained, count = self.left, history.best_step > 0, len(self.sides) if self.folds else 0
        at_edge = trained and len(left) > 2 and rate in (min(left), max(left))
        rising = trained and left[rate].still_rising
        return Tuned(model.eval(), history, rate, trials, not trained, left[rate].gain, count, at_edge, rising)

    @property
    def left(self) -> dict[float, _Trial]:
        """The rates in the race."""
        return {rate: trial for rate, trial in self.tried.items() if isinstance(trial, _Trial)}

    @property
    def best(self) -> float | None:
        """The best of these."""
        return max(self.left, key=lambda rate: self.left[rate].history.best_score, default=None)

    def build(self, samples: Sequence[Any]) -> nn.Module:
        """A new model under the seed."""
        with torch.random.fork_rng():
            torch.manual_seed(self.settings.seed)
            return self.build_model(samples)

    def told(self, **about: Any) -> Callable[[Row], None]:
        """`on_epoch` for the rows of one training."""
        return lambda row: self.on_epoch({**about, **row})


def _means(looks: Sequence[Sequence[Row]], scores: Sequence[dict[str, float]]) -> History:
    """One history of several: the mean of their rows at each look, and of the scores of all videos."""
    history = History()
    for rows, of_videos in zip(looks, scores, strict=True):
        told = [name for name in rows[0] if all(name in row for row in rows)]
        row = {name: fmean(row[name] for row in rows) for name in told}
        row |= {"step": rows[0]["step"], "score": fmean(of_videos.values())}
        history.rows.append(row)
        if row["score"] > history.best_score:
            history.best_step, history.best_score = row["step"], row["score"]
    return history


class _ByVideo:
    """A task that scores by the mean over videos, and remembers the scores of each."""

    def __init__(self, task: Task) -> None:
        self.task, self.seen = task, []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.task, name)

    def score(self, model: nn.Module, samples: Sequence[Any]) -> float:
        self.seen.append(agreed(self.task.score_videos(model, samples)))
        return fmean(self.seen[-1].values())


def divide(videos: Sequence[str], folds: int, seed: int) -> list[set[str]]:
    """At most `folds` sets of about as many videos each. Raises InputError for fewer than two videos."""
    distinct = sorted(set(videos))
    if len(distinct) < 2:
        raise InputError(f"train: {len(distinct)} labelled videos; to choose by holding some out takes two at least")
    order = torch.randperm(len(distinct), generator=torch.Generator().manual_seed(seed)).tolist()
    count = min(folds, len(distinct))
    return [{distinct[place] for place in order[first::count]} for first in range(count)]
