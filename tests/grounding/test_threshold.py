"""The bar for moments, against a search through all bars by another way of counting."""

import numpy as np
import pytest
import torch

from read.data import Annotation, Sample
from read.errors import InputError
from read.grounding.threshold import absent_samples, best_threshold, confidence


def rows(*windows):
    return [
        {"qid": qid, "vid": qid, "pred_relevant_windows": [list(each) for each in of]} for qid, of in enumerate(windows)
    ]


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


def found(*scores, then=()):
    """A query a score, whose only window is right; `then` the windows of others. The true moment is (0, 4) for all."""
    predictions = rows(*([(0, 4, score)] for score in scores), *then)
    return predictions, truths(*([(0, 4)] for _ in predictions))


def test_the_bar_parts_right_from_wrong():
    assert best_threshold(*found(*[0.9] * 8, 0.8, then=[[(10, 20, 0.3)], [(6, 8, 0.7)]])) == 0.8


def test_a_second_window_on_the_same_moment_is_wrong():
    assert best_threshold(*found(*[0.9] * 8, then=[[(0, 4, 0.9), (0, 4, 0.5)]])) == 0.9


def test_windows_of_one_score_are_shown_together():
    """At .5 four windows are shown, one of them right, at .9 none of these; neither is as good as .4."""
    more = [[(0, 4, 0.5), (50, 60, 0.5), (70, 80, 0.5), (80, 90, 0.5)], *[[(0, 4, 0.4)]] * 5]
    assert best_threshold(*found(*[0.9] * 9, then=more)) == 0.4


@pytest.mark.parametrize("count", [0, 1, 5, 8, 9])
def test_fewer_than_nine_right_answers_support_no_bar(count):
    """And nothing is denied then: right answers of a small set read as denials before, however sure the model was."""
    predictions, annotations = found(*[0.9, 0.5] * (count // 2), *[0.7] * (count % 2), then=[[(10, 20, 0.95)]] * 20)
    absent = rows(*[[(0, 4, 0.97)]] * 5)
    bar = best_threshold(predictions, annotations, absent)
    assert bar == (None if count < 9 else 0.5)
    worth = confidence(predictions, annotations, absent, bar)
    assert (worth["found"], worth["denied"], worth["videos"]) == (count, 0, count + 20)
    assert worth["absent_recall"] == 0 or bar is not None


def drawn(seed, queries):
    """Rows with up to five windows a query, the first right in about half; the truth; rows for what is not there."""
    generator = np.random.default_rng(seed)

    def windows(count):
        spans = np.sort(generator.uniform(0, 30, (count, 2)), axis=1)
        return np.column_stack((spans, generator.integers(1, 20, count) / 20)).tolist()

    predictions = rows(*(windows(generator.integers(1, 6)) for _ in range(queries)))
    annotations = truths(*([window[:2] for window in windows(generator.integers(1, 4))] for _ in range(queries)))
    for row, truth in list(zip(predictions, annotations, strict=True))[::2]:
        start, end = truth["relevant_windows"][0]
        row["pred_relevant_windows"].append([start, end, generator.integers(10, 20) / 20])
    return predictions, annotations, rows(*(windows(generator.integers(0, 2)) for _ in range(queries)))


@pytest.mark.parametrize("queries", [24, 60])
@pytest.mark.parametrize("seed", range(4))
def test_no_other_bar_that_denies_as_few_is_better(seed, queries):
    """A right answer of another draw is denied if it is among the k lowest: with k / (m + 1) of a tenth at most."""
    predictions, annotations, absent = drawn(seed, queries)
    bar = best_threshold(predictions, annotations, absent)

    def denied(other):
        return confidence(predictions, annotations, absent, other)["denied"]

    def f1(other):
        return f1_of(other, predictions + absent, annotations + truths(*[()] * len(absent)))

    right = confidence(predictions, annotations, absent, None)["found"]
    assert right >= 9 and denied(bar) + 1 <= 0.1 * (right + 1)
    kept = [other / 20 for other in range(1, 20) if denied(other / 20) + 1 <= 0.1 * (right + 1)]
    assert f1(bar) == pytest.approx(max(f1(other) for other in kept))
    assert not any(f1(other) >= f1(bar) for other in kept if other > bar)


@pytest.mark.parametrize("videos", [12, 30])
def test_another_right_answer_is_denied_with_a_chance_of_a_tenth_at_most(videos):
    """Whatever the scores are, and as few as the queries may be: of many draws, that many of the next one are."""
    generator = np.random.default_rng(videos)
    denials = []
    for _ in range(300):
        scores = generator.beta(8, 2, videos + 1)
        absent = rows(*([(0, 4, score)] for score in generator.beta(8, 2.5, videos)))  # it can hardly tell
        denials.append(scores[-1] < best_threshold(*found(*scores[:-1]), absent))
    assert 0.02 < np.mean(denials) < 0.1 + 2 * np.sqrt(0.09 / 300)


def test_a_query_without_annotation_is_named():
    with pytest.raises(InputError, match="qid 0"):
        best_threshold(rows([(0, 4, 0.5)]), [{"qid": 7, "relevant_windows": [[0, 4]]}])


def test_what_is_not_there_lifts_the_bar_as_far_as_right_answers_allow():
    predictions, annotations = found(*[0.9] * 18, 0.6, 0.3)
    absent = rows(*([(0, 4, 0.5 - number / 100)] for number in range(10)))
    assert best_threshold(predictions, annotations) == 0.3
    assert best_threshold(predictions, annotations, absent) == 0.6  # one of twenty is denied
    absent[0]["pred_relevant_windows"] = [[0, 4, 0.65], [5, 6, 0.1]]
    assert best_threshold(predictions, annotations, absent) == 0.6, "two may not be"
    worth = confidence(predictions, annotations, absent, 0.6)
    assert worth == {
        "videos": 20, "found": 20, "denied": 1, "shown": 20, "right": 19, "precision": 0.95, "present": 20,
        "answered": 19, "absent": 10, "answered_absent": 1, "absent_precision": 0.9, "absent_recall": 0.9,
    }  # fmt: skip
    assert confidence(predictions, annotations, [], 0.0)["absent_precision"] is None, "that answer is never given"


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
