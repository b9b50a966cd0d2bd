"""Intervals, pairs, takeaways and the choice of examples, on values small enough to follow by hand."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pipeline.reporting.cautions import cut_short
from pipeline.reporting.comparisons import pairwise
from pipeline.reporting.grounding import GROUNDING, first_iou
from pipeline.reporting.inputs import CurvePoint, Inputs, Report, Results, key_of
from pipeline.reporting.page import rate, render, size
from pipeline.reporting.records import Dataset, GridPoint, Provenance, Reference, Run, VideoScores
from pipeline.reporting.showcase import Candidate, as_json, pick_examples
from pipeline.reporting.stats import ALPHA, SeedScores, bootstrap, holm, paired, summarise, two_level
from pipeline.reporting.summarization import SUMMARIZATION, in_common, rouge_l
from pipeline.reporting.tables import TableRow, make_rows, paired_rows, percent
from pipeline.reporting.takeaways import against_control, against_plain, beyond_the_subject, takeaways
from pipeline.reporting.view import View
from read.data import Annotation, Summary
from read.metrics.summarization import rouge

TEXTS = st.lists(st.sampled_from(("a", "cup", "cat", "is", ",")), max_size=9)


def make_run(strategy, seed, value):
    return Run(
        strategy=strategy, shots=8, seed=seed, backbone="univtg", trainable=10, total=1000, share=0.01,
        adapter_bytes=40, steps=1, best_step=1, seconds=1, n_samples=1, n_videos=1, scores={"mAP": value},
    )  # fmt: skip


def make_row(strategy, values):
    return TableRow(strategy, 8, tuple(make_run(strategy, seed, value) for seed, value in enumerate(values)))


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


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=6), st.sampled_from((None, 0.3, 2.0)))
def test_a_p_value_is_below_the_bar_just_where_the_interval_excludes_zero(values, error):
    summary = SeedScores(tuple(values), error)
    assert 0 <= summary.p <= 1
    assert (summary.p < ALPHA) == summary.excludes_zero


def test_p_values_are_those_of_t_and_of_the_normal_distribution_at_the_ends():
    values = [1.0, 2.5, 0.2, 1.1]
    assert summarise(values).p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert SeedScores((2.0, 2.0), 0.9).p == pytest.approx(2 * stats.norm.sf(2 / 0.9))
    assert SeedScores((2.0, 2.0)).p == 0 and SeedScores((0.0, 0.0)).p == 1 and SeedScores((2.0,)).p is None


def test_holm_corrects_as_in_the_worked_example():
    """Four hypotheses: .01 * 4, .02 * 3, then .03 * 2, and .04, which is not below the one before."""
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_no_correction_and_that_of_bonferroni(p_values):
    corrected = holm(p_values)
    bounds = [(p, min(1, p * len(p_values))) for p in p_values]
    assert all(low <= value <= high for value, (low, high) in zip(corrected, bounds, strict=True))
    assert corrected[int(np.argmin(p_values))] == bounds[int(np.argmin(p_values))][1]


def nested(dice, backbones, seeds, between, within):
    upper = dice.normal(0, between, (backbones, 1))
    return dict(enumerate(map(dict, map(enumerate, upper + dice.normal(0, within, (backbones, seeds))))))


@pytest.mark.parametrize(("between", "within"), [(1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
def test_intervals_over_two_levels_cover_the_mean_as_often_as_they_say(between, within):
    dice = np.random.default_rng(0)
    covered = np.mean([not two_level(nested(dice, 3, 4, between, within)).excludes_zero for _ in range(1500)])
    assert covered == pytest.approx(0.95, abs=0.02)


def test_two_levels_are_the_means_of_backbones_and_one_test_side():
    values = {0: {0: 1.0, 1: 3.0}, 1: {0: 5.0, 1: 5.0, 2: 8.0}}
    test = np.random.default_rng(0).normal(0, 2.0, 4000)
    draws = {b: {s: value + test for s, value in seeds.items()} for b, seeds in values.items()}
    summary = two_level(values, draws)
    assert summary.values == (2.0, 6.0) and summary.test_error == pytest.approx(2.0, rel=0.05)
    assert two_level(values).test_error is None
    assert two_level({3: values[1]}).values == (5.0, 5.0, 8.0)  # one backbone: the seeds are the level


def test_one_seed_has_no_spread():
    summary = summarise([3.0])
    assert summary.std is None and summary.interval is None and not summary.excludes_zero
    row = make_row("read", [3.0])
    view = View(GROUNDING, "mAP", [row], [row], {}, [])
    assert view.spread(row) == "3.0 (one seed, spread unknown)"
    assert view.difference(summary) == "+3.0 points (one seed, spread unknown)"


def with_videos(row, table):
    """The row with scores of single videos, one query each, by which its scores are their means."""
    runs = [
        run.model_copy(
            update={
                "scores": {"mAP": float(np.mean(scores))},
                "by_video": [VideoScores(vid=str(v), samples=1, scores={"mAP": s}) for v, s in enumerate(scores)],
            }
        )
        for run, scores in zip(row.runs, table, strict=True)
    ]
    return replace(row, runs=tuple(runs))


def test_intervals_include_the_draw_of_test_videos():
    table = np.random.default_rng(0).normal(50, 10, (3, 40)) + np.random.default_rng(1).normal(0, 20, 40)
    row = with_videos(make_row("read", [0, 0, 0]), table)
    summary = row.summary("mAP")
    over_videos = stats.sem(table.mean(axis=0))
    assert summary.test_error == pytest.approx(over_videos, rel=0.1)
    seeds = summarise(table.mean(axis=1))
    half = np.hypot(seeds.interval[1] - seeds.mean, stats.norm.ppf(0.975) * summary.test_error)
    assert summary.interval == pytest.approx((seeds.mean - half, seeds.mean + half))
    other = with_videos(make_row("adapter", [0, 0, 0]), table - 3)
    lead = row.lead(other, "mAP")
    assert lead.mean == pytest.approx(3) and lead.test_error == pytest.approx(0, abs=1e-9)  # on the same videos


def test_a_lead_over_a_row_without_a_model_is_paired_on_the_same_videos():
    videos = np.random.default_rng(1).normal(0, 20, 40)
    table = 50 + videos + np.array([[-1.0], [0.0], [1.0]])
    row = with_videos(make_row("read", [0, 0, 0]), table)
    scores = [VideoScores(vid=str(v), samples=1, scores={"mAP": s}) for v, s in enumerate(45 + videos)]
    reference = Reference(scores={"mAP": float(np.mean(45 + videos))}, by_video=scores)
    lead = row.lead(TableRow("cosine", 0, (), reference), "mAP")
    assert lead.mean == pytest.approx(5) and lead.test_error == pytest.approx(0, abs=1e-9)
    assert lead.interval == pytest.approx(stats.t.interval(0.95, 2, loc=5, scale=stats.sem([-1, 0, 1])))
    unpaired = Reference(scores=reference.scores)
    assert row.lead(TableRow("cosine", 0, (), unpaired), "mAP").test_error is None
    other = TableRow("cosine", 0, (), reference).summary("mAP")
    assert other.interval is None and other.test_error == pytest.approx(stats.sem(videos), rel=0.1)


@pytest.mark.parametrize(
    ("value", "title"), [(49.0, "Better than"), (51.0, "not shown to beat"), (60.0, "not shown to beat")]
)
def test_one_seed_beats_a_row_by_its_mean(value, title):
    row, cosine = make_row("read", [50.0]), TableRow("cosine", 0, (), Reference(scores={"mAP": value}))
    found = against_plain(View(GROUNDING, "mAP", [row], [row], {"cosine": cosine}, []))
    assert title in found.title and "“Cosine, no training”" in found.title
    assert found.caution == (title == "not shown to beat")
    assert f"{50 - value:+.1f} points (one seed, spread unknown)" in found.text


def test_a_lead_that_its_interval_does_not_tell_from_none_is_no_lead():
    """Three points above on the mean, but seeds differ by more."""
    row, cosine = make_row("read", [48.0, 53.0, 58.0]), TableRow("cosine", 0, (), Reference(scores={"mAP": 50.0}))
    found = against_plain(View(GROUNDING, "mAP", [row], [row], {"cosine": cosine}, []))
    assert "not shown to beat" in found.title and "+3.0 points (95 % interval -9.4 to +15.4)" in found.text
    fitted = TableRow(
        "map", 8, tuple(run.model_copy(update={"trainable": 0}) for run in make_row("map", [20, 21, 22]).runs)
    )
    found = against_plain(View(GROUNDING, "mAP", [row], [row, fitted], {"cosine": cosine}, []))
    assert (
        found.title == "Training is not shown to beat “Cosine, no training”"
        and "to “Linear map (ridge)” +32.0" in found.text
    )
    assert View(GROUNDING, "mAP", [row], [fitted, row], {}, []).zero_shot is None
    assert against_plain(View(GROUNDING, "mAP", [row], [row], {}, [])) is None


def test_scores_that_are_no_mean_over_videos_have_no_test_error():
    row = with_videos(make_row("read", [0, 0]), [[10.0, 30.0], [20.0, 60.0]])
    assert row.summary("mAP").test_error is not None
    pooled = replace(row, runs=tuple(run.model_copy(update={"scores": {"mAP": 1.0}}) for run in row.runs))
    assert pooled.summary("mAP").test_error is None


def test_bootstrap_weighs_videos_by_their_samples():
    draws = bootstrap(np.array([0, 1]), 2, np.array([3.0, 1.0]), np.array([10.0, 50.0]))
    assert set(draws.round(6)) == {10.0, 20.0, 50.0}  # one video twice, both, the other twice
    assert np.mean(draws == 20.0) == pytest.approx(0.5, abs=0.05)


def doubtful(strategy, values, **changes):
    """A row whose first run has some fields, and whose others were best in the middle."""
    row = make_row(strategy, values)
    first, *others = (run.model_copy(update={"steps": 9, "best_step": 5}) for run in row.runs)
    return replace(row, runs=(first.model_copy(update=changes), *others))


def test_runs_that_may_be_cut_short_are_counted_once_each():
    rows = [
        doubtful("read", [1, 2, 3], at_edge=True, best_step=9, still_rising=True),
        doubtful("lora", [1, 2, 3], at_edge=True),
        doubtful("adapter", [1, 2, 3]),
    ]
    assert rows[0].doubts == [
        "1 of 3 runs: rate at the grid’s edge",
        "1 of 3 runs: best at the last step",
        "1 of 3 runs: still rising at the end",
    ]
    assert rows[2].doubts == []
    card = cut_short(View(GROUNDING, "mAP", rows, rows, {}, []))
    assert card.title == "2 of 9 runs may be cut short"
    assert "Rate at the grid’s edge in 2, best at the last step in 1 and still rising at the end in 1" in card.text
    assert "read 1 and lora 1" in card.text
    assert cut_short(View(GROUNDING, "mAP", rows[2:], rows, {}, [])) is None


def test_each_form_of_read_is_held_against_its_own_control():
    names = {"adapter": 50.0, "read": 52.0, "read_lora": 57.0, "read_lora_control": 53.0}
    rows = [make_row(name, [mean, mean + 1, mean + 2.5]) for name, mean in names.items()]
    card = against_control(View(GROUNDING, "mAP", rows, rows, {}, []))
    assert "read to adapter +2.0 points" in card.text and "read-lora to read-lora-control +4.0 points" in card.text
    assert card.text.count(" to adapter ") == 1
    assert "all 6 comparisons of two strategies, read and read-lora are told apart from zero." in card.text
    alone = [rows[1], rows[2]]
    assert against_control(View(GROUNDING, "mAP", alone, alone, {}, [])) is None


@pytest.mark.parametrize(
    ("levels", "title"),
    [((40, 60), "No more than the subject alone: “order”"), ((40, 40), "More than the subject alone")],
)
def test_what_the_subject_alone_would_give_is_held_against_the_best(levels, title):
    by_kind = {"move": {"mAP": 50.0}, "order": {"mAP": 50.0}}
    runs = tuple(run.model_copy(update={"by_kind": by_kind}) for run in make_row("read", [50.0]).runs)
    subject = dict(zip(by_kind, ({"mAP": float(level)} for level in levels), strict=True))
    reference = TableRow("subject_only", 0, (), Reference(scores={"mAP": 45.0}, by_kind=subject))
    rows = [TableRow("read", 8, runs)]
    found = beyond_the_subject(View(GROUNDING, "mAP", rows, rows, {"subject_only": reference}, ["move", "order"]))
    assert found.title == title
    assert (
        f"45.0 of mAP; read, the highest, has 50.0. By kind: “move” 40.0 against 50.0, “order” {levels[1]}.0"
        in found.text
    )
    assert beyond_the_subject(View(GROUNDING, "mAP", rows, rows, {}, [])) is None


def test_pairs_of_strategies_are_one_family_whose_p_values_are_corrected():
    rows = [make_row("adapter", [50, 50, 51]), make_row("read", [53, 53, 54.1]), make_row("lora", [49, 53, 51])]
    pairs = pairwise(rows, "mAP")
    raw = [rows[a].lead(rows[b], "mAP").p for a, b in ((0, 1), (0, 2), (1, 2))]
    expected = [pairs.p(rows[a], rows[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert expected == pytest.approx(holm(raw)) and raw[0] < ALPHA
    assert pairs.apart(rows[0], rows[1]) == pairs.apart(rows[1], rows[0]) == (expected[0] < ALPHA)
    assert not pairs.apart(rows[0], rows[2]) and "all 3 comparisons" in pairs.told
    alone = pairwise([make_row("adapter", [50]), make_row("read", [53])], "mAP")
    assert not alone.p_values and not alone.apart(rows[0], rows[1])


def test_what_one_interval_excludes_several_comparisons_may_not():
    """A difference whose own p-value is between .05 / 3 and .05: told apart alone, and not as one of three."""
    rows = [make_row("adapter", [50, 50, 50]), make_row("read", [52, 53, 54]), make_row("lora", [49, 51, 50.5])]
    assert 0.05 / 3 < rows[1].lead(rows[0], "mAP").p < 0.05
    assert pairwise(rows[:2], "mAP").apart(*rows[:2]) and not pairwise(rows, "mAP").apart(*rows[:2])


@st.composite
def any_results(draw):
    """Runs as the pipeline can write them: any scores, one seed or several, diverged rates, ends of training."""
    seeds, value = draw(st.integers(1, 3)), st.floats(0, 100)
    names = draw(st.lists(st.sampled_from(("read", "adapter", "lora", "full")), min_size=1, max_size=3, unique=True))
    kinds = draw(st.sampled_from(([], ["move"], ["move", "order"])))
    samples = draw(st.integers(1, 80))

    def scored():
        return {"scores": {"mAP": draw(value)}, "by_kind": {kind: {"mAP": draw(value)} for kind in kinds}}

    shared = {"backbone": "univtg", "total": 1000, "n_samples": samples, "n_videos": 1}
    runs = [
        Run(
            strategy=name, shots=shots, seed=seed, trainable=10, share=0.01, adapter_bytes=40, steps=9,
            best_step=draw(st.integers(0, 9)), seconds=1, train_videos=draw(st.sampled_from((None, shots, 30))),
            learning_rate=0.1, grid=[GridPoint(learning_rate=0.1, score=1.0), GridPoint(learning_rate=1, score=None)],
            **shared, **scored(),
        )
        for name in names for shots in draw(st.sampled_from(((1,), (2, 8)))) for seed in range(seeds)
    ]  # fmt: skip
    runs.append(
        Run(
            strategy="zero_shot", shots=0, seed=0, trainable=0, share=0, adapter_bytes=0, steps=0, best_step=0,
            seconds=0, **shared, **scored(),
        )
    )  # fmt: skip
    references = {name: Reference(**scored()) for name in draw(st.sampled_from(([], ["random"], ["random", "oracle"])))}
    curves = {key_of(run): [CurvePoint(0, None, 1.0), CurvePoint(9, 0.5, 2.0)] for run in runs if run.trainable}
    task = replace(GROUNDING, showcase=lambda results: {"examples": []})
    provenance = Provenance()
    inputs = Inputs("toy", Path("runs"), Path("raw"), {"grounding": "mAP"}, 0, 2.0, provenance)
    results = Results(task, "mAP", inputs, tuple(runs), references, {}, curves, [], {})
    return Report(inputs, Dataset(), [results], {}, {}, 1)


@settings(max_examples=40, deadline=None)
@given(any_results())
def test_any_runs_make_a_page_that_claims_no_order_within_chance(report):
    results = report.tasks[0]
    text = render(report, {results.task.name: takeaways(results)})
    assert all(f'data-row="{run.strategy}"' in text for run in results.runs)
    most = max(run.shots for run in results.runs)
    rows = [row for row in make_rows(results) if row.trained and row.shots == most]
    best = max(rows, key=lambda row: row.summary("mAP").mean)
    chance, summary = results.references.get("random"), best.summary("mAP")
    low = summary.interval[0] if summary.interval else summary.mean
    within = chance is not None and chance.scores["mAP"] >= low
    assert ("Not told apart from random" in text) == within
    assert ("Highest mean: " in text) == (not within)
    assert not (within and "Score for size" in text)


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
    assert [percent(v) for v in (0.0006, 0.0147, 0.9951, 1)] == ["0.06 %", "1.5 %", "100 %", "100 %"]


def test_json_cannot_leave_its_script_element():
    assert "</script>" not in as_json({"query": "</script><script>alert(1)"})
    with pytest.raises(ValueError, match="JSON"):
        as_json({"score": float("nan")})
