"""The bar for moments, against a search through all bars by another way of counting."""

import numpy as np
import pytest
import torch

from read.data import Annotation, Sample
from read.errors import InputError
from read.grounding.threshold import absent_samples, best_threshold, confidence


def rows(*windows):
    return [{"qid": qid, "pred_relevant_windows": [list(each) for each in of]} for qid, of in enumerate(windows)]


def truths(*windows):
    return [{"qid": qid, "relevant_windows": [list(each) for each in of]} for qid, of in enumerate(windows)]


def f1_of(bar, predictions, annotations):
    """F1 of the windows shown, by a greedy loop over pairs."""
    shown = right = 0
    for row, truth in zip(predictions, annotations, strict=True):
        free = list(truth["relevant_windows"])
        for start, end, score in sorted(row["pred_relevant_windows"], key=lambda window: -window[2]):
            if score < bar:
                continue
            shown += 1
            overlaps = [
                max(0, min(end, e) - max(start, s)) / (max(end, e) - min(start, s)) if end > s and e > start else 0
                for s, e in free
            ]
            if overlaps and max(overlaps) >= 0.5:
                right += 1
                free.pop(int(np.argmax(overlaps)))
    return 2 * right / (shown + sum(len(truth["relevant_windows"]) for truth in annotations))


def test_the_bar_parts_right_from_wrong():
    predictions = rows([(0, 4, 0.9), (10, 20, 0.3)], [(0, 2, 0.4), (6, 8, 0.8)])
    assert best_threshold(predictions, truths([(0, 4)], [(6, 8)])) == 0.8


def test_a_second_window_on_the_same_moment_is_wrong():
    predictions = rows([(0, 4, 0.9), (0, 4, 0.5)])
    assert best_threshold(predictions, truths([(0, 4)])) == 0.9


def test_windows_of_one_score_are_shown_together():
    predictions = rows([(0, 4, 0.5), (50, 60, 0.5), (70, 80, 0.5)], [(0, 4, 0.4)])
    annotations = truths([(0, 4)], [(0, 4)])
    assert best_threshold(predictions, annotations) == 0.4


def test_no_right_window_means_no_bar():
    assert best_threshold(rows([(0, 4, 0.5)]), truths([(10, 20)])) is None
    assert best_threshold(rows([]), truths([(10, 20)])) is None


@pytest.mark.parametrize("seed", range(5))
def test_no_other_bar_is_better(seed):
    generator = np.random.default_rng(seed)

    def windows(count):
        spans = np.sort(generator.uniform(0, 30, (count, 2)), axis=1)
        return np.column_stack((spans, generator.integers(1, 8, count) / 8)).tolist()

    predictions = rows(*(windows(generator.integers(0, 6)) for _ in range(20)))
    annotations = truths(*([window[:2] for window in windows(generator.integers(1, 4))] for _ in range(20)))
    bar = best_threshold(predictions, annotations)
    best = max(f1_of(other / 8, predictions, annotations) for other in range(1, 9))
    assert f1_of(bar, predictions, annotations) == pytest.approx(best)
    assert not any(f1_of(other / 8, predictions, annotations) >= best for other in range(int(bar * 8) + 1, 9))


def test_a_query_without_annotation_is_named():
    with pytest.raises(InputError, match="qid 0"):
        best_threshold(rows([(0, 4, 0.5)]), [{"qid": 7, "relevant_windows": [[0, 4]]}])


def test_what_is_not_there_lifts_the_bar():
    predictions, annotations = rows([(0, 4, 0.9)], [(0, 4, 0.6)], [(0, 4, 0.3)]), truths([(0, 4)], [(0, 4)], [(0, 4)])
    absent = [{"qid": qid, "pred_relevant_windows": [[0, 4, 0.5 - qid / 100]]} for qid in range(9)]
    assert best_threshold(predictions, annotations) == 0.3
    assert best_threshold(predictions, annotations, absent) == 0.6
    absent.append({"qid": 9, "pred_relevant_windows": [[0, 4, 0.7]]})  # one of ten may be wrong
    assert best_threshold(predictions, annotations, absent) == 0.6
    absent[0]["pred_relevant_windows"] = [[0, 4, 0.65], [5, 6, 0.1]]  # two may not
    assert best_threshold(predictions, annotations, absent) == 0.9
    worth = confidence(predictions, annotations, absent, 0.6)
    assert worth == {
        "shown": 4, "right": 2, "precision": 0.5, "present": 3, "answered": 2, "absent": 10, "answered_absent": 2,
        "absent_precision": 8 / 9, "absent_recall": 0.8,
    }  # fmt: skip
    assert confidence(predictions, annotations, [], 0.0)["absent_precision"] is None, "that answer is never given"


def test_a_model_that_cannot_tell_shows_nothing():
    absent = [{"qid": 0, "pred_relevant_windows": [[0, 4, 0.9]]}]
    bar = best_threshold(rows([(0, 4, 0.9)]), truths([(0, 4)]), absent)
    assert bar > 0.9 and confidence(rows([(0, 4, 0.9)]), truths([(0, 4)]), absent, bar)["precision"] is None


@pytest.mark.parametrize("seed", range(5))
def test_few_of_the_absent_are_answered_and_no_bar_that_keeps_to_it_is_better(seed):
    generator = np.random.default_rng(seed)

    def windows(count):
        spans = np.sort(generator.uniform(0, 30, (count, 2)), axis=1)
        return np.column_stack((spans, generator.integers(1, 20, count) / 20)).tolist()

    predictions = rows(*(windows(generator.integers(0, 6)) for _ in range(30)))
    annotations = truths(*([window[:2] for window in windows(generator.integers(1, 4))] for _ in range(30)))
    absent = rows(*(windows(generator.integers(0, 2)) for _ in range(30)))
    bar = best_threshold(predictions, annotations, absent)

    def answered(other):
        return confidence(predictions, annotations, absent, other)["answered_absent"]

    def f1(other):
        return f1_of(other, predictions + absent, annotations + truths(*[()] * 30))

    assert answered(bar) <= 3
    kept = [other / 20 for other in range(1, 20) if answered(other / 20) <= 3]
    assert f1(bar) == pytest.approx(max(f1(other) for other in kept))


def test_absent_queries_are_those_of_other_videos():
    said = {"a": ("the cat", "the dog"), "b": ("The  cat", "a bird"), "c": ("a fish",)}
    samples = [
        Sample.labelled(torch.full((3, 2), float(ord(vid))), torch.full((4, 2), float(number)),
               Annotation(f"{vid}{number}", query, vid, 6.0, ((0.0, 2.0),), (), ()), 2.0, torch.ones(3))
        for vid, queries in said.items() for number, query in enumerate(queries)
    ]  # fmt: skip
    found = absent_samples(samples)
    assert len(found) == len(samples)
    for asked, sample in zip(found, samples, strict=True):
        assert torch.equal(asked.video, sample.video) and asked.vid == sample.vid and asked.label is None
        own = {" ".join(query.lower().split()) for query in said[sample.vid]}
        assert " ".join(asked.question.query.lower().split()) not in own
        (origin,) = [each for each in samples if each.text is asked.text]
        assert origin.question.query == asked.question.query and asked.sentence is origin.sentence
    assert absent_samples(samples[:1]) == []
