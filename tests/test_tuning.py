"""Choosing a rate, a step, and whether to train: on a planted problem, and on scores that can be followed by hand."""

from collections import Counter
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional as F

from read.data import Sample
from read.errors import InputError, NotFiniteError
from read.grounding.task import Grounding, validation_score
from read.grounding.windows import WindowSettings
from read.train import History, TrainSettings, fit, train_until
from read.tuning import Gain, Tuning, _Search, _Trial, divide, tune
from tests.test_train import planted, small


@pytest.fixture(scope="module")
def train():
    return planted(64, seed=1)


@pytest.fixture(scope="module")
def val():
    return planted(24, seed=2)


def test_tuning_takes_the_best_rate_and_records_all(train, val):
    started, rows = [], []

    def build(samples):
        started.append(small(seed=torch.initial_seed()))
        return started[-1]

    digest = small(seed=4).digest()
    settings = TrainSettings(steps=20, batch_size=16, eval_every=20)
    tuned = tune(build, Grounding(), train, val, replace(settings, seed=4), Tuning([1e-6, 3e-3]), on_epoch=rows.append)
    assert [trial["learning_rate"] for trial in tuned.trials] == [1e-6, 3e-3]
    assert tuned.history.best_score == max(trial["score"] for trial in tuned.trials)
    assert tuned.model is started[[1e-6, 3e-3].index(tuned.learning_rate)]
    assert validation_score(tuned.model, val, WindowSettings()) == pytest.approx(tuned.history.best_score)
    assert Counter(row["trial"] for row in rows) == {1e-6: 2, 3e-3: 2} and digest != tuned.model.digest()
    assert rows[0]["score"] == rows[2]["score"], "every rate starts from the same weights"
    with pytest.raises(InputError, match="grid of learning rates is empty"):
        Tuning([])
    for folds in (1, -2):
        with pytest.raises(InputError, match=f"{folds} folds; two at least"):
            Tuning([1e-3], folds)


def test_a_rate_that_diverges_is_out_of_the_race(train, val):
    """A real divergence: at 1e30 the first step overflows the weights, and the second loss is not finite."""
    settings = TrainSettings(steps=4, batch_size=16, eval_every=1, clip_norm=1e30)
    tuned = tune(lambda samples: small(), Grounding(), train, val, settings, Tuning([1e30, 1e-3]))
    assert tuned.learning_rate == 1e-3
    assert tuned.trials[0] == {"learning_rate": 1e30, "score": None, "best_step": None}
    assert tuned.trials[1]["score"] == max(row["score"] for row in tuned.history.rows)
    with pytest.raises(
        NotFiniteError, match=r"every learning rate diverges; at 1e\+30: .*(not finite at step|NaN or infinity)"
    ):
        tune(lambda samples: small(), Grounding(), train, val, settings, Tuning([1e30]))


class Point(NamedTuple):
    """A sample of the simplest task."""

    vid: str
    x: float
    y: float


class Line:
    """Points on a line; scored by how near the line comes, plus what `bonus` says of a step."""

    def __init__(self):
        self.trained, self.held_out = [], []

    def prepare(self, model, samples):
        self.trained.append({point.vid for point in samples})
        return list(samples)

    def collate(self, samples):
        return {"x": torch.tensor([[point.x] for point in samples]), "y": torch.tensor([[p.y] for p in samples])}

    def forward(self, model, batch):
        return model(batch["x"])

    def losses(self, model, outputs, batch):
        return {"squares": F.mse_loss(outputs, batch["y"])}

    def score(self, model, samples):
        return sum(self.score_videos(model, samples).values()) / len(samples)

    def score_videos(self, model, samples):
        self.held_out.append({point.vid for point in samples})
        return {p.vid: -abs(model(torch.tensor([p.x])).item() - p.y) for p in samples}


def zero(samples=None):
    """y = 0 x."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    return model


def points(count, slope=3.0, noise=0.0, first=0):
    dice = torch.Generator().manual_seed(first)
    xs = torch.rand(count, generator=dice) + 0.5
    ys = slope * xs + noise * torch.randn(count, generator=dice)
    return [Point(f"v{first + i}", x, y) for i, (x, y) in enumerate(zip(xs.tolist(), ys.tolist(), strict=True))]


STEPS = TrainSettings(steps=60, batch_size=4, eval_every=20)


def test_folds_hold_out_every_video_once_and_the_last_training_has_the_train_side_only():
    train, val, task, built, rows = points(8), points(2, first=8), Line(), [], []

    def build(samples):
        built.append({point.vid for point in samples})
        return zero()

    tuned = tune(build, task, train, val, STEPS, Tuning([1e-3, 0.1], 4), on_epoch=rows.append)
    everything = {point.vid for point in [*train, *val]}
    assert built == task.trained and len(built) == 2 * 4 + 1
    for first in (0, 4):
        outside = [everything - trained for trained in built[first : first + 4]]
        assert Counter(vid for part in outside for vid in part) == dict.fromkeys(everything, 1)
        assert sorted(map(len, outside)) == [2, 2, 3, 3]
        seen = task.held_out[4 * first : 4 * (first + 4)]
        assert seen == [part for part in outside for _ in range(4)]  # at steps 0, 20, 40 and 60
    assert built[-1] == {point.vid for point in train}
    assert tuned.learning_rate == 0.1 and tuned.folds == 4 and not tuned.untuned
    assert tuned.model.weight.item() == pytest.approx(3, abs=0.3)
    assert Counter((row["trial"], row.get("fold")) for row in rows) == {
        **{(rate, fold): 4 for rate in (1e-3, 0.1) for fold in range(4)}, 
        (0.1, None): tuned.history.best_step // 20 + 1,
    }  # fmt: skip


def test_what_folds_chose_is_the_mean_over_held_out_videos_and_is_trained_to_its_step():
    train, val, rows = points(8, noise=0.5), points(2, noise=0.5, first=8), []
    tuned = tune(zero, Line(), train, val, STEPS, Tuning([0.03, 0.1], 4), on_epoch=rows.append)
    parts = divide([point.vid for point in [*train, *val]], 4, STEPS.seed)
    sizes = [len(part) for part in parts]
    for trial in tuned.trials:
        folds = [[r for r in rows if (r["trial"], r.get("fold")) == (trial["learning_rate"], i)] for i in range(4)]
        means = {
            step[0]["step"]: sum(row["score"] * size for row, size in zip(step, sizes, strict=True)) / sum(sizes)
            for step in zip(*folds, strict=True)
        }
        assert trial["score"] == pytest.approx(max(means.values())) == pytest.approx(means[trial["best_step"]])
        if trial["learning_rate"] == tuned.learning_rate:
            assert {row["step"]: row["score"] for row in tuned.history.rows} == pytest.approx(means)
            assert tuned.gain.mean == pytest.approx(max(means.values()) - means[0])
    assert tuned.history.best_score == max(trial["score"] for trial in tuned.trials)
    alone = zero()
    train_until(alone, Line(), train, replace(STEPS, learning_rate=tuned.learning_rate), tuned.history.best_step)
    assert torch.equal(tuned.model.weight, alone.weight)


def test_a_gain_within_its_error_keeps_the_untuned_state():
    """Half of the videos lie above the line y = 0 and half below: what helps one harms another."""
    upper, lower = points(6, slope=1.0), points(6, slope=-0.8, first=6)
    train, val = [*upper[:4], *lower[:4]], [*upper[4:], *lower[4:]]
    tuned = tune(zero, Line(), train, val, STEPS, Tuning([1e-3, 0.1], 4))
    assert tuned.untuned and tuned.model.weight.item() == 0 and tuned.history.best_step == 0
    assert tuned.history.best_score == tuned.history.rows[0]["score"] and not tuned.model.training
    assert tuned.gain.mean <= tuned.gain.error
    for folds in (0, 4):
        clear = tune(zero, Line(), upper[:4], upper[4:], STEPS, Tuning([1e-3, 0.1], folds))
        assert not clear.untuned and clear.history.best_step > 0 and clear.gain.mean > clear.gain.error > 0


def test_a_validation_side_takes_any_gain():
    train, val = points(6, slope=1.0), [*points(3, slope=1.0, first=6), *points(2, slope=-1.0, first=9)]
    tuned = tune(zero, Line(), train, val, STEPS, Tuning([1e-3]))
    assert not tuned.untuned and 0 < tuned.gain.mean < tuned.gain.error
    harmed = tune(zero, Line(), train, points(2, slope=-1.0, first=9), STEPS, Tuning([1e-3]))
    assert harmed.untuned and harmed.history.best_step == 0 == harmed.gain.mean and harmed.model.weight.item() == 0


def test_the_gain_is_paired_by_video():
    before, after = {"a": 10.0, "b": 50.0, "c": 30.0}, {"c": 33.0, "a": 12.0, "b": 51.0}
    gain = Gain.of(before, after)
    assert gain.mean == pytest.approx(2) and gain.error == pytest.approx(stats.sem([2, 1, 3])) and gain.is_real
    assert not Gain.of(before, {"a": 30.0, "b": 45.0, "c": 30.0}).is_real
    assert not Gain.of(before, before).is_real
    assert Gain.of({"a": 1.0}, {"a": 1.5}) == Gain(0.5, None) and Gain(0.5, None).is_real


@pytest.mark.parametrize("folds", [0, 4])
def test_where_every_rate_diverges_the_reasons_are_told(folds):
    settings = replace(STEPS, steps=4, eval_every=1, clip_norm=1e30)
    train, val = points(4), points(2, first=4)
    tuned = tune(zero, Line(), train, val, settings, Tuning([1e30, 1e-3], folds))
    assert tuned.trials[0] == {"learning_rate": 1e30, "score": None, "best_step": None}
    assert tuned.learning_rate == 1e-3
    with pytest.raises(NotFiniteError, match=r"every learning rate diverges; at 1e\+30"):
        tune(zero, Line(), train, val, settings, Tuning([1e30], folds))


def test_a_rate_that_diverges_in_the_last_training_only_gives_way():
    """The fold's models are given to train with; only the last one is spoiled, as its weights say."""
    train, val, built = points(4), points(2, first=4), []

    def build(samples):
        built.append(samples)
        model = zero()
        if len(built) == 2 * 4 + 1:
            nn.init.constant_(model.weight, torch.nan)
        return model

    tuned = tune(build, Line(), train, val, STEPS, Tuning([0.05, 0.1], 4))
    assert [trial["score"] is None for trial in tuned.trials] == [False, True]  # the faster one was the best
    assert tuned.learning_rate == 0.05 and tuned.model.weight.item() > 1


@pytest.mark.parametrize(
    ("scores", "at_edge"),
    [
        ({1e-3: 5.0, 1e-2: 6.0, 0.1: 7.0}, True),
        ({0.1: 7.0, 1e-2: 6.0, 1e-3: 5.0}, True),
        ({1e-3: 7.0, 1e-2: 6.0, 0.1: 5.0}, True),
        ({1e-3: 5.0, 1e-2: 7.0, 0.1: 6.0}, False),
        ({1e-3: 5.0, 1e-2: 7.0, 0.1: 6.0, 1.0: None}, False),
        ({1e-3: 5.0, 1e-2: 6.0, 0.1: 7.0, 1.0: None}, True),  # the highest that can be had
        ({1e-2: 6.0, 0.1: 7.0}, False),  # of two, each is an edge
        ({1e-2: 6.0, 0.1: 7.0, 1.0: None}, False),
        ({1e-3: 1.0, 1e-2: 1.0, 0.1: 0.5}, False),  # none is better than no step: there is no rate to be wrong
    ],
)
def test_a_rate_at_the_edge_of_the_grid_is_told(scores, at_edge):
    search = _Search(zero, Line(), points(2), points(2, first=2), STEPS, None, print, 0, model=zero())
    for rate, score in scores.items():
        rows = [{"step": 0, "score": 1.0}, {"step": 9, "score": score}]
        best = (9, score) if score is not None and score > 1 else (0, 1.0)
        trial = _Trial(History(rows, *best), [{"a": 1.0}, {"a": score}])
        search.tried[rate] = NotFiniteError("it diverged") if score is None else trial
    assert search.choose().at_edge == at_edge


@pytest.mark.parametrize("folds", [0, 4])
def test_a_curve_that_has_not_ended_is_told(folds):
    """Too low a rate has every video still rise at the last look."""
    settings = replace(STEPS, schedule="constant")
    tuned = tune(zero, Line(), points(8), points(4, first=8), settings, Tuning([0.01], folds))
    assert tuned.still_rising and tuned.history.best_step == settings.steps
    rows = [{"step": step} for step in (0, 5, 10)]
    for best, last, rising in ((10, (9.1, 8.9), False), (10, (9.3, 9.2), True), (5, (9.3, 9.2), False)):
        looks = [{"a": score, "b": other} for score, other in ((1.0, 2.0), (9.0, 9.0), last)]
        assert _Trial(History(rows, best, 9.0), looks).still_rising == rising


@pytest.mark.parametrize(("videos", "folds", "sizes"), [(10, 4, [2, 2, 3, 3]), (3, 4, [1, 1, 1]), (2, 9, [1, 1])])
def test_videos_are_divided_evenly(videos, folds, sizes):
    names = [f"v{i}" for i in range(videos)] * 2
    parts = divide(names, folds, 0)
    assert sorted(map(len, parts)) == sizes and set.union(*parts) == set(names)
    assert divide(names, folds, 0) == parts
    with pytest.raises(InputError, match="1 labelled videos; to choose by holding some out takes two"):
        divide(["a", "a"], 4, 0)


def test_grounding_and_its_videos_apart(val):
    """Of one video the score is the score; of all it is their mean, since each has one query."""
    model, task = small(), Grounding()
    apart = task.score_videos(model, val)
    assert list(apart) == [sample.vid for sample in val]
    for sample in val[:3]:
        assert apart[sample.vid] == pytest.approx(task.score(model, [sample]))
    assert task.score(model, val) == pytest.approx(sum(apart.values()) / len(val))
    twice = replace(val[1].annotation, qid=900, vid=val[0].vid)
    other = Sample.labelled(val[1].video, val[1].text, twice, val[1].clip_len)
    of_both = task.score_videos(model, [other, *val])
    assert of_both.keys() == apart.keys() and of_both[val[0].vid] == pytest.approx((apart["v0"] + apart["v1"]) / 2)


def test_few_labels_on_a_planted_problem():
    """A model that knows the problem, and a rate that only harms: the state stays as it was."""
    task, known = Grounding(), small()
    settings = TrainSettings(steps=150, batch_size=32, learning_rate=3e-3, eval_every=50)
    fit(known, task, planted(64, seed=1), planted(24, seed=2), settings)
    state = known.state_dict()

    def build(samples):
        model = small()
        model.load_state_dict(state)
        return model

    few = planted(10, seed=5)
    tuned = tune(build, task, few[:8], few[8:], replace(settings, steps=10), Tuning([1.0], 4))
    assert tuned.untuned and tuned.model.digest() == build([]).digest() and tuned.gain.mean <= 0
