"""Intervals, pairs, takeaways and the choice of examples, on values small enough to follow by hand."""

import numpy as np
import pytest
from scipy import stats

from pipeline.reporting.inputs import Run
from pipeline.reporting.page import rate, size, time
from pipeline.reporting.showcase import as_json, first_iou, pick_examples
from pipeline.reporting.stats import paired, summarise
from pipeline.reporting.tables import Row, paired_rows, percent
from pipeline.reporting.takeaways import difference, spread
from read.data.annotations import Annotation


def make_run(strategy, seed, value):
    return Run(
        strategy=strategy, shots=8, seed=seed, backbone="univtg", trainable=10, total=1000, share=0.01,
        adapter_bytes=40, steps=1, best_step=1, seconds=1, n_queries=1, n_videos=1, scores={"mAP": value},
    )  # fmt: skip


def make_row(strategy, values):
    return Row(strategy, 8, tuple(make_run(strategy, seed, value) for seed, value in enumerate(values)))


@pytest.mark.parametrize("count", [2, 3, 10])
def test_interval_is_students(count):
    values = np.random.default_rng(count).normal(50, 3, count)
    summary = summarise(values.tolist())
    expected = stats.t.interval(0.95, count - 1, loc=values.mean(), scale=stats.sem(values))
    assert summary.interval == pytest.approx(expected)
    assert summary.std == pytest.approx(values.std(ddof=1))


def test_interval_covers_the_mean_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(0, 1, (2000, 3))
    covered = np.mean([not summarise(row.tolist()).excludes_zero for row in draws])
    assert covered == pytest.approx(0.95, abs=0.02)


def test_one_seed_has_no_spread():
    summary = summarise([3.0])
    assert summary.std is None and summary.interval is None and not summary.excludes_zero
    assert "spread unknown" in spread(summary) and "spread unknown" in difference(summary)


def test_pairs_use_the_seeds_that_both_have():
    assert paired({0: 5.0, 1: 7.0, 2: 9.0}, {1: 6.0, 2: 10.0, 3: 0.0}) == {1: 1.0, 2: -1.0}


def test_differences_are_to_the_plain_adapter():
    rows = [make_row("adapter", [50, 60]), make_row("read", [53, 61])]
    assert [(row.name, gaps) for row, gaps in paired_rows(rows, "mAP", 8)] == [("read", {0: 3.0, 1: 1.0})]
    assert paired_rows(rows[1:], "mAP", 8) == []


def annotation(qid, vid, kind="", window=(2.0, 6.0)):
    return Annotation(qid, f"query {qid}", vid, 20.0, (window,), (1, 2), ((4.0,), (4.0,)), kind)


def predictions(starts):
    return {qid: {"pred_relevant_windows": [[start, start + 4, 1.0]]} for qid, start in starts.items()}


def test_examples_hold_each_kind_and_then_the_widest_differences():
    queries = [
        annotation(1, "a", "move"),
        annotation(2, "b", "order"),
        annotation(3, "c", "move"),
        annotation(4, "d", "move"),
    ]
    good, mixed = predictions({1: 2, 2: 2, 3: 2, 4: 2}), predictions({1: 3, 2: 3, 3: 12, 4: 2})
    picks = pick_examples(queries, {"one": good, "two": mixed}, 3)
    assert [pick.annotation.qid for pick in picks] == [1, 2, 3]  # 1 is the median of its kind; on 3 they differ most
    assert picks[0].reason == "typical of move queries" and picks[2].reason == "strategies differ most"


def test_a_video_comes_twice_only_if_it_must():
    queries = [annotation(1, "a"), annotation(2, "a"), annotation(3, "b")]
    rows = {"one": predictions({1: 2, 2: 2, 3: 2}), "two": predictions({1: 2, 2: 12, 3: 2})}
    assert [pick.annotation.vid for pick in pick_examples(queries, rows, 2)] == ["a", "b"]
    assert len(pick_examples(queries, rows, 9)) == 3


@pytest.mark.parametrize(("start", "iou"), [(2, 1.0), (4, 1 / 3), (6, 0.0), (19, 0.0)])
def test_first_window_is_scored_by_iou(start, iou):
    assert first_iou(predictions({1: start})[1], annotation(1, "a")) == pytest.approx(iou)
    assert first_iou({"pred_relevant_windows": []}, annotation(1, "a")) == 0


def test_numbers_read_well():
    assert [size(n) for n in (12, 14_660, 1_000_000)] == ["12 B", "14.7 kB", "1.0 MB"]
    assert [rate(v) for v in (0.003, 0.00025)] == ["3e-3", "2.5e-4"]
    assert [time(v) for v in (6.04, 81.3, 7260)] == ["6.0 s", "1 min 21 s", "2 h 01 min"]
    assert [percent(v) for v in (0.0006, 0.0147, 0.9951, 1)] == ["0.06 %", "1.5 %", "100 %", "100 %"]


def test_json_cannot_leave_its_script_element():
    assert "</script>" not in as_json({"query": "</script><script>alert(1)"})
    with pytest.raises(ValueError, match="JSON"):
        as_json({"score": float("nan")})
