"""Intervals, pairs, takeaways and the choice of examples, on values small enough to follow by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.reporting.grounding import GROUNDING, first_iou
from pipeline.reporting.inputs import Run
from pipeline.reporting.page import rate, size, time
from pipeline.reporting.showcase import Candidate, as_json, pick_examples
from pipeline.reporting.stats import paired, summarise
from pipeline.reporting.summarization import SUMMARIZATION, in_common, rouge_l
from pipeline.reporting.tables import Row, paired_rows, percent
from pipeline.reporting.takeaways import View
from read.data import Annotation, Summary
from read.metrics.summarization import rouge

TEXTS = st.lists(st.sampled_from(("a", "cup", "cat", "is", ",")), max_size=9)


def make_run(strategy, seed, value):
    return Run(
        strategy=strategy, shots=8, seed=seed, backbone="univtg", trainable=10, total=1000, share=0.01,
        adapter_bytes=40, steps=1, best_step=1, seconds=1, n_samples=1, n_videos=1, scores={"mAP": value},
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
    row = make_row("read", [3.0])
    view = View(GROUNDING, "mAP", 8, [row], [row], {}, [])
    assert view.spread(row) == "3.0 (one seed, spread unknown)"
    assert view.difference(summary) == "+3.0 points (one seed, spread unknown)"


def test_pairs_use_the_seeds_that_both_have():
    assert paired({0: 5.0, 1: 7.0, 2: 9.0}, {1: 6.0, 2: 10.0, 3: 0.0}) == {1: 1.0, 2: -1.0}


def test_differences_are_to_the_plain_adapter():
    rows = [make_row("adapter", [50, 60]), make_row("read", [53, 61])]
    assert [(row.name, gaps) for row, gaps in paired_rows(rows, "mAP", 8)] == [("read", {0: 3.0, 1: 1.0})]
    assert paired_rows(rows[1:], "mAP", 8) == []


def candidate(vid, qualities, kind="", name=0):
    return Candidate(SimpleNamespace(vid=vid, kind=kind, name=name), qualities)


def names(picks):
    return [pick.candidate.label.name for pick in picks]


def test_examples_hold_each_kind_and_then_the_widest_differences():
    candidates = [
        candidate("a", (1.0, 0.6), "move", 1),
        candidate("b", (1.0, 0.6), "order", 2),
        candidate("c", (1.0, 0.0), "move", 3),
        candidate("d", (1.0, 1.0), "move", 4),
    ]
    picks = pick_examples(candidates, 3, "queries")
    assert names(picks) == [1, 2, 3]  # 1 is the median of its kind; on 3 they differ most
    assert picks[0].reason == "typical of move queries" and picks[2].reason == "strategies differ most"


def test_many_kinds_leave_room_for_differences():
    candidates = [candidate(f"{i}", (0.5, 0.5 - i / 20), f"domain {i}", i) for i in range(8)]
    picks = pick_examples(candidates, 4, "videos")
    assert [pick.reason == "strategies differ most" for pick in picks] == [False, False, True, True]
    assert names(picks)[2:] == [7, 6]


def test_a_video_comes_twice_only_if_it_must():
    candidates = [candidate("a", (1, 1), name=1), candidate("a", (1, 0), name=2), candidate("b", (1, 1), name=3)]
    assert [pick.candidate.label.vid for pick in pick_examples(candidates, 2, "queries")] == ["a", "b"]
    assert len(pick_examples(candidates, 9, "queries")) == 3
    assert pick_examples(candidates, 0, "queries") == []


@pytest.mark.parametrize(("start", "iou"), [(2, 1.0), (4, 1 / 3), (6, 0.0), (19, 0.0)])
def test_first_window_is_scored_by_iou(start, iou):
    annotation = Annotation(1, "query", "a", 20.0, ((2.0, 6.0),), (1, 2), ((4.0,), (4.0,)))
    row = {"pred_relevant_windows": [[start, start + 4, 1.0]]}
    assert first_iou(row, annotation) == pytest.approx(iou)
    assert first_iou({"pred_relevant_windows": []}, annotation) == 0


@given(ours=TEXTS, theirs=TEXTS.filter(len))
def test_summaries_are_scored_by_rouge_l_and_share_what_is_in_common(ours, theirs):
    summary = Summary("a", "", " ".join(theirs))
    expected = rouge([" ".join(ours)], [" ".join(theirs)])["ROUGE-L-whitespace"]
    assert 100 * rouge_l({"summary": " ".join(ours)}, summary) == pytest.approx(expected)
    mine, other = in_common(ours, theirs)
    assert [ours[i] for i in mine] == [theirs[i] for i in other]
    assert mine == sorted(set(mine)) and other == sorted(set(other))


def test_metrics_that_are_no_percentage_have_a_scale_of_their_own():
    assert SUMMARIZATION.scale("CIDEr-D") == 10 and SUMMARIZATION.show(1.234, "CIDEr-D") == "1.23"
    assert SUMMARIZATION.scale("BLEU-4") == 100 and SUMMARIZATION.show(1.234, "BLEU-4", "+") == "+1.2"


def test_numbers_read_well():
    assert [size(n) for n in (12, 14_660, 1_000_000)] == ["12 B", "14.7 kB", "1.0 MB"]
    assert [rate(v) for v in (0.003, 0.00025)] == ["3e-3", "2.5e-4"]
    assert [time(v) for v in (6.04, 81.3, 7260)] == ["6.0 s", "1 min 21 s", "2 h 01 min"]
    assert [percent(v) for v in (0.0006, 0.0147, 0.9951, 1)] == ["0.06 %", "1.5 %", "100 %", "100 %"]


def test_json_cannot_leave_its_script_element():
    assert "</script>" not in as_json({"query": "</script><script>alert(1)"})
    with pytest.raises(ValueError, match="JSON"):
        as_json({"score": float("nan")})
