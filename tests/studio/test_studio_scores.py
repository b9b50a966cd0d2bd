"""Scores of windows come back from a line as they were, in rows that the pipeline takes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from read.data.annotations import derive_saliency, parse
from read.studio.checks import Window, checked_windows
from read.studio.label import label_of, times_of
from read.studio.scores import KEYS

SCORE = st.one_of(st.none(), st.integers(0, 4))


@st.composite
def windows(draw, unit=1):
    times = sorted(draw(st.lists(st.integers(0, 29_999 // unit), min_size=2, max_size=8, unique=True)))
    spans = zip(times[::2], times[1::2], strict=False)
    return [Window(start * unit / 1000, end * unit / 1000, draw(SCORE)) for start, end in spans]


def line_of(given_windows, clip_len, annotators=1, duration=30.0):
    return {"qid": 1, "query": "a", "vid": "v", **times_of(given_windows, duration, clip_len, annotators)}


@settings(max_examples=150, deadline=None, derandomize=True)
@given(windows(), st.sampled_from([0.5, 1.0, 2.0, 7.0]), st.integers(1, 3), st.sampled_from([30.0, None]))
def test_scores_come_back_from_rows_that_the_pipeline_takes(marked, clip_len, annotators, duration):
    marked = list(checked_windows(marked, duration, clip_len))
    line = line_of(marked, clip_len, annotators, duration)
    annotation = parse(line, clip_len)
    assert list(label_of(line, "", clip_len).windows) == marked
    assert list(annotation.windows) == [(window.start, window.end) for window in marked]
    assert (KEYS[1] in line) == (annotators > 1 or any(window.score is not None for window in marked))
    if KEYS[1] in line:
        assert {len(row) for row in annotation.saliency} == {annotators}
        derived, _ = derive_saliency(annotation.windows, duration or 1e6, clip_len)
        assert {*derived} <= {*annotation.clip_ids}, "every clip that would count by itself has a score"


@settings(max_examples=50, deadline=None, derandomize=True)
@given(windows(unit=2000))
def test_rows_of_somebody_else_are_scores_where_they_are_of_one_voice(marked):
    """Windows of whole clips: the rows alone tell the scores, but for a window without one, whose clips count 4."""
    line = line_of(marked, 2.0)
    rows = {key: value for key, value in line.items() if key != KEYS[2]}
    read = [window.score for window in label_of(rows, "", 2.0).windows]
    scored = any(window.score is not None for window in marked)
    assert read == [window.score if window.score is not None or not scored else 4 for window in marked]


@pytest.mark.parametrize("rows, score", [([[3], [3]], 3), ([[3], [2]], None), ([[3, 3], [3, 2]], None), ([3, 3], 3)])
def test_voices_that_differ_are_no_score(rows, score):
    line = {"qid": 1, "query": "a", "vid": "v", "duration": 9.0, "relevant_windows": [[2, 6]]}
    line |= {"relevant_clip_ids": [1, 2], "saliency_scores": rows}
    assert label_of(line, "", 2.0).windows == (Window(2, 6, score),)
    edited = line | {"window_scores": [1]}  # rows that somebody changed count, and not what stood beside them
    assert label_of(edited, "", 2.0).windows == (Window(2, 6, score),)
