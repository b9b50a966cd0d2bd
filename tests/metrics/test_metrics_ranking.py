"""Average precision and matching against slow references written from their definitions."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from read.metrics.ranking import (
    average_precision,
    interpolated_precision,
    intersection_over_union,
    match,
    overlap_with_best,
    trapezoid_precision,
    voc_precision,
)

examples = settings(max_examples=60, deadline=None, derandomize=True)
clips = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=12)  # few scores: many ties


def curve(ranking):
    """(recall count, precision) at every distinct score taken as the threshold, from the highest."""
    for threshold in sorted({score for score, _ in ranking}, reverse=True):
        taken = [relevant for score, relevant in ranking if score >= threshold]
        yield sum(taken), sum(taken) / len(taken)


def arrays(ranking, padding=0):
    scores = np.array([[score for score, _ in ranking] + [9.0] * padding])
    labels = np.array([[[relevant for _, relevant in ranking] + [True] * padding]])
    return scores, labels, np.arange(scores.shape[1])[None] < len(ranking)


@examples
@given(clips, st.integers(0, 4))
def test_average_precision_is_the_precision_summed_over_rises_of_recall(ranking, padding):
    total = sum(relevant for _, relevant in ranking)
    expected, before = 0.0, 0
    for found, precision in curve(ranking):
        expected += (found - before) / max(total, 1) * precision
        before = found
    assert average_precision(*arrays(ranking, padding)).item() == pytest.approx(expected)


@examples
@given(clips, st.integers(0, 4))
def test_interpolated_precision_averages_the_best_precision_at_each_recall_level(ranking, padding):
    points = list(curve(ranking))
    levels = {found for found, _ in points} - {0}
    best = [max(precision for found, precision in points if found >= level) for level in levels]
    expected = np.mean(best) if best else 0.0
    assert interpolated_precision(*arrays(ranking, padding)).item() == pytest.approx(expected)


@examples
@given(st.lists(st.integers(0, 1), min_size=1, max_size=15))
def test_trapezoid_precision_is_the_area_of_trapezoids(labels):
    hits = [sum(labels[:rank]) for rank in range(len(labels) + 1)]
    precision = [1.0] + [hits[rank] / rank for rank in range(1, len(hits))]
    recall = [found / max(hits[-1], 1) for found in hits]
    steps = range(1, len(hits))
    area = sum((recall[i] - recall[i - 1]) * (precision[i] + precision[i - 1]) / 2 for i in steps)
    assert trapezoid_precision(np.array(labels)) == pytest.approx(area)


def test_precisions_of_a_ranking_by_hand():
    scores, labels, mask = arrays([(4, True), (3, False), (2, True), (1, False)])
    assert average_precision(scores, labels, mask).item() == pytest.approx((1 + 2 / 3) / 2)
    assert trapezoid_precision(np.array([1, 0, 1, 0])) == pytest.approx(0.5 * 1 + 0.5 * (1 / 2 + 2 / 3) / 2)
    # The interpolation lifts a level to the best precision at a higher recall: [0, 1, 1] has 1/2 and 2/3.
    assert interpolated_precision(*arrays([(3, False), (2, True), (1, True)])).item() == pytest.approx(2 / 3)


span = st.tuples(st.integers(0, 9), st.integers(0, 6)).map(lambda pair: (pair[0], pair[0] + pair[1]))
spans = st.lists(span, min_size=1, max_size=5)


def iou_of(one, other):
    overlap = max(0, min(one[1], other[1]) - max(one[0], other[0]))
    union = one[1] - one[0] + other[1] - other[0] - overlap
    return overlap / union if union else 0.0


@examples
@given(spans, spans)
def test_intersection_over_union_and_its_form_over_the_hull_agree(windows, truth):
    iou = intersection_over_union(np.array([windows], float), np.array([truth], float))
    expected = np.array([[iou_of(window, true) for true in truth] for window in windows])
    np.testing.assert_allclose(iou[0], expected)
    best = overlap_with_best(np.array([windows], float), np.array([truth], float), iou)
    np.testing.assert_allclose(best[0], expected.max(axis=1))


@examples
@given(spans, spans)
@example([(2, 10), (0, 8)], [(0, 8), (4, 12)])  # the first fits both equally: it takes the last
def test_match_takes_the_best_free_window_in_turn(windows, truth):
    thresholds = np.array([0.3, 0.5, 0.9])
    iou = intersection_over_union(np.array([windows], float), np.array([truth], float))
    expected = np.zeros((len(thresholds), len(windows)), bool)
    for row, threshold in enumerate(thresholds):
        free = set(range(len(truth)))
        for rank, window in enumerate(windows):
            fits = [
                (iou_of(window, truth[index]), index) for index in free if iou_of(window, truth[index]) >= threshold
            ]
            if fits:
                free.remove(max(fits)[1])
                expected[row, rank] = True
    np.testing.assert_array_equal(match(iou, thresholds)[0], expected)


def test_voc_precision_by_hand():
    hits = np.array([[[False, True, True, False]]])
    # Recall 1/4 and 2/4 at precision 1/2 and 2/3; the envelope lifts the first to 2/3; two of four are never found.
    assert voc_precision(hits, np.array([4])).item() == pytest.approx(2 / 4 * 2 / 3)
    padded = np.concatenate([hits, np.zeros((1, 1, 3), bool)], axis=2)
    assert voc_precision(padded, np.array([4])).item() == voc_precision(hits, np.array([4])).item()
