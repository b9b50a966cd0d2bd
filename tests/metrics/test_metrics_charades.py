"""Charades-STA: soft-NMS against a plain loop, and recall."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from read.errors import InputError
from read.files import read_jsonl
from read.metrics.charades import evaluate, soft_nms

examples = settings(max_examples=60, deadline=None, derandomize=True)
window = st.tuples(st.integers(0, 20), st.integers(0, 10), st.integers(0, 100)).map(
    lambda parts: [parts[0], parts[0] + parts[1], parts[2] / 100]
)


def iou_of(one, other):
    overlap = max(0, min(one[1], other[1]) - max(one[0], other[0]))
    union = one[1] - one[0] + other[1] - other[0] - overlap
    return overlap / union if union else 0.0


def reference(windows, sigma):
    waiting, taken = [list(row) for row in windows], []
    while waiting:
        best = max(waiting, key=lambda row: row[2])
        waiting.remove(best)
        taken.append(best)
        for row in waiting:
            row[2] *= math.exp(-(iou_of(best, row) ** 2) / sigma)
    return taken


@examples
@given(st.lists(window, min_size=1, max_size=8), st.integers(0, 3), st.sampled_from([0.1, 0.5, 2.0]))
def test_soft_nms_is_the_loop(windows, padding, sigma):
    table = np.array([windows + [[0, 30, 1]] * padding], float)
    mask = np.arange(table.shape[1])[None] < len(windows)
    result, kept = soft_nms(table, mask, sigma)
    np.testing.assert_array_equal(kept, mask)
    np.testing.assert_allclose(result[0, : len(windows)], reference(windows, sigma), atol=1e-12)


def row(qid, windows):
    return {"qid": qid, "pred_relevant_windows": windows}


def test_suppression_brings_a_second_moment_into_view():
    truth = [{"qid": 0, "relevant_windows": [[20, 26]]}]
    crowd = [[0.0, 10.0 + step / 10, 0.9] for step in range(5)]
    result = evaluate([row(0, [*crowd, [20, 26, 0.5]])], truth)
    assert result["R1@0.5"] == 0 and result["R5@0.7"] == 100
    assert evaluate([row(0, [*crowd, [20, 26, 0.5]])], truth, sigma=1e9)["R5@0.7"] == 0  # no suppression


def test_recall_by_hand_and_empty_predictions():
    truth = [{"qid": qid, "relevant_windows": [[0, 10]]} for qid in range(4)]
    predictions = [row(0, [[0, 10, 0.9]]), row(1, [[0, 6, 0.9]]), row(2, [[10, 20, 0.9], [0, 10, 0.2]]), row(3, [])]
    assert evaluate(predictions, truth) == {
        "R1@0.3": 50, "R1@0.5": 50, "R1@0.7": 25, "R5@0.3": 75, "R5@0.5": 75, "R5@0.7": 50,
        "mIoU": pytest.approx(40),
    }  # fmt: skip


def test_real_annotations_score_100_as_their_own_prediction(mirror):
    truth = read_jsonl(mirror / "charades" / "charades_test_release.jsonl")
    predictions = [row(line["qid"], [[*line["relevant_windows"][0], 1.0]]) for line in truth]
    assert len(truth) == 3720 and set(evaluate(predictions, truth).values()) == {100.0}


def test_bad_input_is_refused():
    truth = [{"qid": 0, "relevant_windows": [[0, 10]]}]
    with pytest.raises(InputError, match="qid 0: a window's score is negative"):
        evaluate([row(0, [[0, 10, -1.0]])], truth)
    with pytest.raises(InputError, match="may be absent"):
        evaluate([{"qid": 0, "pred_saliency_scores": [1.0]}], truth)
    with pytest.raises(InputError, match="ends before its start"):
        evaluate([row(0, [[10, 0, 1.0]])], truth)
