"""The QVHighlights scores: equal to the published digits, and with the properties that a score has to have."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from read.errors import InputError
from read.files import read_json, read_jsonl
from read.metrics.grounding import evaluate, evaluate_by, load_predictions, oracle_level, random_level

examples = settings(max_examples=25, deadline=None, derandomize=True)
PUBLISHED = {
    "sample_val_preds.jsonl": "sample_val_preds_metrics_raw.json",
    "moment_detr_cliponly_val_preds.jsonl": "moment_detr_cliponly_val_preds_metrics.json",
}


def leaves(tree, path=()):
    """All numbers of a nested dict by their path."""
    if isinstance(tree, dict):
        return {key: value for name in tree for key, value in leaves(tree[name], (*path, name)).items()}
    return {path: tree}


def annotation(qid, windows, clips=10, annotators=1, score=4, **more):
    """A row whose windows lie on the boundaries of 2 s clips, given in clips."""
    ids = sorted({clip for start, end in windows for clip in range(start, end)})
    return {
        "qid": qid, "query": "a", "vid": "v", "duration": 2.0 * clips,
        "relevant_windows": [[2.0 * start, 2.0 * end] for start, end in windows],
        "relevant_clip_ids": ids, "saliency_scores": [[score] * annotators for _ in ids], **more,
    }  # fmt: skip


def prediction(qid, windows, saliency):
    return {"qid": qid, "pred_relevant_windows": windows, "pred_saliency_scores": saliency}


@st.composite
def sets(draw):
    """Predictions and annotations of some queries, with many ties among the scores."""
    window = st.tuples(st.integers(0, 9), st.integers(1, 6)).map(lambda pair: (pair[0], min(10, sum(pair))))
    annotations, predictions = [], []
    for qid in range(draw(st.integers(1, 5))):
        truth = draw(st.lists(window, min_size=1, max_size=3, unique=True))
        listed = draw(st.lists(st.tuples(window, st.integers(0, 4)), max_size=12))
        grades = draw(st.lists(st.integers(0, 4), min_size=2, max_size=2))
        annotations.append(annotation(qid, truth))
        annotations[-1]["saliency_scores"] = [grades for _ in annotations[-1]["relevant_clip_ids"]]
        windows = [[2.0 * start, 2.0 * end, float(score)] for (start, end), score in listed]
        predictions.append(prediction(qid, windows, draw(st.lists(st.integers(-3, 3), min_size=10, max_size=10))))
    return predictions, annotations


@pytest.mark.parametrize("file", PUBLISHED)
def test_every_published_number_is_reproduced_to_the_digit(mirror, file):
    annotations = read_jsonl(mirror / "qvhighlights" / "highlight_val_release.jsonl")
    published = read_json(mirror / "qvh_predictions" / PUBLISHED[file])
    result = evaluate(load_predictions(mirror / "qvh_predictions" / file), annotations)
    assert len(leaves(published)) == 104
    assert {name: result[name] for name in published} == published
    assert list(result) == [*published, "extra", "exact"]
    for path, value in leaves({name: result[name] for name in (*published, "extra")}).items():
        assert leaves(result["exact"])[path] == pytest.approx(value, abs=0.00501)


def test_the_ground_truth_itself_scores_what_the_annotators_disagreement_leaves(mirror):
    brief = oracle_level(read_jsonl(mirror / "qvhighlights" / "highlight_val_release.jsonl"))["brief"]
    assert brief["MR-full-mAP"] == 99.76  # some queries have more than ten windows
    assert brief["HL-min-VeryGood-mAP"] == 60.81
    assert brief["HL-min-VeryGood-Hit1"] == 95.68


@examples
@given(sets(), st.randoms(use_true_random=False))
def test_the_order_of_queries_is_no_matter(rows, random):
    predictions, annotations = rows
    expected = leaves(evaluate(*rows)["exact"])
    result = leaves(
        evaluate(random.sample(predictions, len(predictions)), random.sample(annotations, len(annotations)))["exact"]
    )
    assert result == pytest.approx(expected)


@examples
@given(sets())
def test_a_monotone_rescaling_of_scores_changes_nothing(rows):
    predictions, annotations = rows
    rescaled = [
        prediction(
            row["qid"],
            [[start, end, np.exp(score) - 7] for start, end, score in row["pred_relevant_windows"]],
            [score**3 + score - 40 for score in row["pred_saliency_scores"]],
        )
        for row in predictions
    ]
    assert evaluate(rescaled, annotations) == evaluate(predictions, annotations)


@examples
@given(sets())
def test_scores_are_percentages_and_never_fall_when_asked_for_less(rows):
    result = evaluate(*rows)["exact"]
    assert all(0 <= value <= 100 + 1e-9 for value in leaves(result).values())
    for name in {"full", "short", "middle", "long"} & set(result):
        recalls = [result[name]["MR-R1"][key] for key in sorted(result[name]["MR-R1"])]
        assert recalls == sorted(recalls, reverse=True)
    extra, full = result["extra"], result["full"]["MR-R1"]
    assert extra["MR-full-R1@0.3"] >= full["0.5"] and extra["MR-full-R5@0.5"] >= full["0.5"]
    assert extra["MR-full-R5@0.5"] >= extra["MR-full-R5@0.7"] >= full["0.7"]


def test_perfect_predictions_score_100_and_empty_ones_0():
    annotations = [annotation(0, [(0, 2), (4, 8)]), annotation(1, [(3, 9)])]
    perfect = oracle_level(annotations)
    assert set(leaves({name: perfect["exact"][name] for name in ("brief", "full", "extra")}).values()) == {100.0}
    nothing = [prediction(row["qid"], [], [0.0] * 10) for row in annotations]
    result = evaluate(nothing, annotations)
    assert {value for (name, *_), value in leaves(result["brief"]).items() if name.startswith("MR")} == {0.0}
    assert result["extra"]["MR-full-mIoU"] == result["extra"]["MR-full-R5@0.5"] == 0


def test_a_constant_saliency_scores_the_share_of_relevant_clips():
    rows = [annotation(0, [(2, 5)])]
    result = evaluate([prediction(0, [[4, 10, 1]], [0.5] * 10)], rows)
    assert result["brief"]["HL-min-Fair-mAP"] == result["extra"]["HL-clip-AP"] == 30
    assert result["brief"]["HL-min-Fair-Hit1"] == 0  # the first clip stands for all of them


def test_recall_looks_at_the_first_listed_window_and_map_at_the_best_scored():
    rows = [annotation(0, [(2, 5)])]
    result = evaluate([prediction(0, [[14, 20, 0.1], [4, 10, 0.9]], [0.0] * 10)], rows)
    assert result["brief"]["MR-full-R1@0.5"] == 0 and result["extra"]["MR-full-R5@0.7"] == 100
    assert result["brief"]["MR-full-mAP"] == 100
    late = [[14.0, 20.0, 0.9]] * 10 + [[4.0, 10.0, 1.0]]
    assert evaluate([prediction(0, late, [0.0] * 10)], rows)["brief"]["MR-full-mAP"] == 0  # the eleventh is not seen


def test_only_the_ground_truth_is_filtered_by_length():
    rows = [annotation(0, [(0, 2), (4, 9), (10, 40)], clips=40), annotation(1, [(0, 5)], clips=40)]
    result = evaluate([prediction(0, [[8, 18, 1]], [0] * 40), prediction(1, [[0, 10, 1]], [0] * 40)], rows)
    assert result["short"]["MR-R1"]["0.5"] == 100  # (4, 9) and (0, 5) are 10 s: short goes up to 10
    assert result["long"]["MR-R1"]["0.5"] == 0 and "middle" not in result and "MR-middle-mAP" not in result["brief"]


def test_a_missing_trailing_score_counts_as_zero_and_a_spare_one_is_dropped():
    rows = [annotation(0, [(9, 10)])]
    short = evaluate([prediction(0, [], [-1.0] * 9)], rows)
    assert short["brief"]["HL-min-Fair-mAP"] == 100 and short["brief"]["HL-min-Fair-Hit1"] == 0
    long = evaluate([prediction(0, [], [0.0] * 9 + [1.0, 5.0])], rows)
    assert long["brief"]["HL-min-Fair-mAP"] == 100 and long["brief"]["HL-min-Fair-Hit1"] == 0


def test_objects_with_attributes_are_annotations_too():
    rows = [annotation(0, [(0, 2), (4, 8)]), annotation(1, [(3, 9)])]
    objects = [
        SimpleNamespace(
            qid=row["qid"], duration=row["duration"], kind="",
            windows=tuple(map(tuple, row["relevant_windows"])), clip_ids=tuple(row["relevant_clip_ids"]),
            saliency=tuple(map(tuple, row["saliency_scores"])),
        )
        for row in rows
    ]  # fmt: skip
    predictions = [prediction(qid, [[4, 10, 1]], list(range(10))) for qid in range(2)]
    assert evaluate(predictions, objects) == evaluate(predictions, rows)
    assert oracle_level(objects) == oracle_level(rows)


def test_what_the_rows_hold_nothing_for_is_left_out():
    rows = [annotation(0, [(0, 2)])]
    windows_only = [{"qid": 0, "pred_relevant_windows": [[0, 4, 1]]}]
    assert not [name for name in leaves(evaluate(windows_only, rows)["brief"]) if name[0].startswith("HL")]
    del rows[0]["saliency_scores"]
    result = evaluate([prediction(0, [[0, 4, 1]], [1.0] * 10)], rows)
    assert "HL-clip-AP" in result["extra"] and "HL-min-Fair" not in result
    saliency_only = evaluate([{"qid": 0, "pred_saliency_scores": [1.0] * 10}], rows)
    assert saliency_only["brief"] == {} and saliency_only["extra"] == {"HL-clip-AP": 20.0}


def test_groups_are_evaluated_on_their_own():
    rows = [annotation(qid, [(qid, qid + 3)], kind="order" if qid % 2 else "move") for qid in range(6)]
    predictions = [prediction(qid, [[2, 8, 1]], list(range(10))) for qid in range(6)]
    groups = evaluate_by(predictions, rows)
    assert list(groups) == ["move", "order"]
    assert groups["move"] == evaluate(predictions[::2], rows[::2])
    with pytest.raises(InputError, match="qid 0: lacks 'domain'"):
        evaluate_by(predictions, rows, key="domain")


def test_the_random_level_is_what_a_random_order_is_expected_to_score():
    rows = [annotation(qid, [(2, 6)]) for qid in range(40)]
    clips, relevant = 10, 4
    ranks = np.arange(1, clips + 1)
    expected = 100 * ((1 + (ranks - 1) * (relevant - 1) / (clips - 1)) / ranks).mean()
    level = random_level(rows, draws=60, seed=1)
    assert level["extra"]["HL-clip-AP"] == pytest.approx(expected, abs=1.5)
    assert level["brief"]["HL-min-Fair-Hit1"] == pytest.approx(100 * relevant / clips, abs=3)
    pairs = [(start, end) for end in range(11) for start in range(end)]  # all windows on clip boundaries
    iou = [max(0, min(end, 6) - max(start, 2)) / (max(end, 6) - min(start, 2)) for start, end in pairs]
    assert level["brief"]["MR-full-R1@0.5"] == pytest.approx(100 * np.mean(np.array(iou) >= 0.5), abs=3)
    assert random_level(rows, draws=2, seed=1) == random_level(rows, draws=2, seed=1)
    assert random_level(rows, draws=2, seed=1) != random_level(rows, draws=2, seed=2)


GOOD = prediction(7, [[0, 4, 0.5], [2, 8, 0.1]], [0.1] * 10)
MISTAKES = [
    ({"pred_relevant_windows": [[0, 4, 0.5], [8, 2, 0.1]]}, r"qid 7: window \[8, 2, 0.1\] ends before its start"),
    ({"pred_relevant_windows": [[0, float("nan"), 0.5]]}, "qid 7: pred_relevant_windows: entry 1 is NaN"),
    ({"pred_relevant_windows": [[0, 4]]}, r"\[start, end, score\] each"),
    ({"pred_relevant_windows": [[0, 4, 1], [0, 4]]}, r"\[start, end, score\] each"),
    ({"pred_saliency_scores": [0.1] * 9 + [float("inf")]}, "pred_saliency_scores: entry 10 is NaN or infinite"),
    ({"pred_saliency_scores": []}, "one number per clip"),
    ({"pred_saliency_scores": "high"}, "not a table of numbers"),
    ({"qid": None}, "lacks a qid"),
]


@pytest.mark.parametrize(("change", "message"), MISTAKES)
def test_a_mistake_in_a_file_names_its_line(tmp_path, change, message):
    path = tmp_path / "predictions.jsonl"
    path.write_text(json.dumps(GOOD | {"qid": 1}) + "\n\n" + json.dumps(GOOD | change) + "\n")
    with pytest.raises(InputError, match=rf"predictions.jsonl:3: .*{message}"):
        load_predictions(path)
    with pytest.raises(InputError, match=rf"prediction 1: .*{message}"):
        evaluate([GOOD | change], [annotation(7, [(0, 2)])])


def test_files_that_hold_no_predictions_are_refused(tmp_path):
    path = tmp_path / "predictions.jsonl"
    with pytest.raises(InputError, match="no such prediction file"):
        load_predictions(path)
    path.write_text("\n")
    with pytest.raises(InputError, match="holds no prediction"):
        load_predictions(path)
    path.write_text(json.dumps(GOOD) + "\n{]\n")
    with pytest.raises(InputError, match=r"predictions\.jsonl:2: not JSON"):
        load_predictions(path)
    path.write_text(f"{json.dumps(GOOD)}\n{json.dumps(GOOD)}\n")
    with pytest.raises(InputError, match=r"predictions\.jsonl:2: qid 7 stands already on line 1"):
        load_predictions(path)
    path.write_bytes(b"\xff\n")
    with pytest.raises(InputError, match=r"predictions\.jsonl:1: not a text in UTF-8"):
        load_predictions(path)
    path.write_text(f"{'[' * 100_000}\n{{]\n")
    with pytest.raises(InputError, match=r"predictions\.jsonl:1: [^\n]*\n.*predictions\.jsonl:2: not JSON"):
        load_predictions(path)


def test_a_line_separator_inside_a_query_ends_no_line(tmp_path):
    path = tmp_path / "predictions.jsonl"
    path.write_text(json.dumps(GOOD | {"query": "one\u2028two"}, ensure_ascii=False) + "\n", encoding="utf-8")
    assert load_predictions(path)[0]["query"] == "one\u2028two"


def test_predictions_and_annotations_have_to_name_the_same_queries():
    rows = [annotation(7, [(0, 2)]), annotation(8, [(0, 2)])]
    with pytest.raises(InputError, match=r"no prediction for qid 8 \(1 missing in all\)"):
        evaluate([GOOD], rows)
    with pytest.raises(InputError, match="prediction 2: qid 9 is not among the annotations"):
        evaluate([GOOD, GOOD | {"qid": 9}], rows)
    with pytest.raises(InputError, match="prediction 3: qid 7 stands already in prediction 1"):
        evaluate([GOOD, GOOD | {"qid": 8}, GOOD], rows)
    with pytest.raises(InputError, match="annotation 2: qid 7 stands twice"):
        evaluate([GOOD], [rows[0], rows[0]])
    with pytest.raises(InputError, match="nothing to evaluate"):
        evaluate([], [])


def test_a_wrong_number_of_scores_or_rows_is_refused():
    rows = [annotation(7, [(0, 2)])]
    with pytest.raises(InputError, match=r"qid 7: 5 pred_saliency_scores for 10 clips of 2 s in 20.0 s"):
        evaluate([GOOD | {"pred_saliency_scores": [0.1] * 5}], rows)
    with pytest.raises(InputError, match="qid 7: saliency_scores: 3 rows for 2 relevant clips"):
        evaluate([GOOD], [rows[0] | {"saliency_scores": [[1]] * 3}])
    with pytest.raises(InputError, match="qid 7: relevant_clip_ids"):
        evaluate([GOOD], [rows[0] | {"relevant_clip_ids": [3, 10]}])
    with pytest.raises(InputError, match="qid 7: relevant_windows"):
        evaluate([GOOD], [rows[0] | {"relevant_windows": []}])
    with pytest.raises(InputError, match="qid 7: duration None"):
        evaluate([GOOD], [rows[0] | {"duration": None}])
    with pytest.raises(InputError, match="qid 8: lacks pred_saliency_scores"):
        other = {key: value for key, value in GOOD.items() if key != "pred_saliency_scores"} | {"qid": 8}
        evaluate([GOOD, other], [*rows, annotation(8, [(0, 2)])])
    with pytest.raises(InputError, match=r"\[1, 3\] annotators"):
        evaluate([GOOD, GOOD | {"qid": 8}], [*rows, annotation(8, [(0, 2)], annotators=3)])


def test_a_query_without_relevant_clips_takes_the_others_number_of_annotators():
    rows = [annotation(7, [(0, 2)], annotators=3), annotation(8, [(0, 2)])]
    rows[1] |= {"relevant_clip_ids": [], "saliency_scores": []}
    result = evaluate([prediction(qid, [], [3.0, 2.0] + [1.0] * 8) for qid in (7, 8)], rows)
    assert result["brief"]["HL-min-Fair-mAP"] == result["brief"]["HL-min-Fair-Hit1"] == 50
