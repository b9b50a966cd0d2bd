"""Windows decoded from crafted outputs, of whole videos and of pieces."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from read.errors import InputError
from read.grounding.windows import (
    STEP,
    Curves,
    Reading,
    WindowSettings,
    best_run,
    best_runs,
    falling,
    joined,
    ladder,
    runs,
    span_windows,
    suppress,
    windows_of,
)


def reading(spans, scores, clips: int, start: int = 0) -> Reading:
    return Reading(start, np.array(spans, dtype=float).reshape(-1, 2), np.array(scores, dtype=float), np.zeros(clips))


def curves(scores, confidence=None) -> Curves:
    curve = np.array(scores, dtype=float)
    return Curves(curve, curve if confidence is None else np.array(confidence, dtype=float))


def spans_of(readings, duration: float, dense: bool = True) -> list[list[float]]:
    of_clips = curves(np.concatenate([each.scores for each in readings])) if dense else None
    return windows_of(readings, of_clips, 2.0, duration, WindowSettings("spans"))


def slow_best_run(values) -> tuple[float, int, int]:
    """All runs, one after the other."""
    runs = [(start, stop) for start in range(len(values)) for stop in range(start + 1, len(values) + 1)]
    return max(((sum(values[start:stop]), start, stop) for start, stop in runs), key=lambda run: run[0])


def slow_ladder(curve) -> list[tuple[int, int]]:
    """As `ladder`, with removed clips as walls that no sum outweighs, and sets of clips for overlaps."""
    heights, rungs = (curve - np.mean(curve)) / np.std(curve), []
    for rung in (0.75, 0.5, 1.0):
        values, found = heights - rung, []
        for _ in range(10):
            total, start, stop = slow_best_run(values)
            if found and total <= 0:
                break
            found.append((start, stop))
            values[start:stop] = -1e6
        rungs.append(found)
    kept = []
    for rank in range(10):
        for found in rungs:
            if rank < len(found):
                clips = set(range(*found[rank]))
                if all(len(clips & set(range(*k))) / len(clips | set(range(*k))) <= 0.7 for k in kept):
                    kept.append(found[rank])
    return kept[:10]


@pytest.mark.parametrize("seed", range(8))
def test_the_best_runs_are_those_that_a_search_of_all_finds(seed):
    values = np.random.default_rng(seed).normal(size=30)
    found, expected = best_run(values), slow_best_run(values)
    assert found[0] == pytest.approx(expected[0]) and found[1:] == expected[1:]
    assert best_run(np.array([-3.0, -1.0, -2.0])) == (-1.0, 1, 2), "at least one clip"
    assert best_run(np.array([0.0, 2.0, 0.0, 1.0, -5.0]))[1:] == (1, 4)
    curve = np.convolve(values, np.ones(3), "same")
    assert ladder(curve, 0.7) == slow_ladder(curve)


def test_the_runs_that_are_removed_part_what_is_left():
    assert best_runs(np.array([2.0, -1, 5, -1, 2, -9, 3])) == [(0, 5), (6, 7)]
    assert best_runs(np.array([-2.0, -1.0])) == [(1, 2)]
    alternating = np.array([1.0, -2.0] * 20)
    assert best_runs(alternating) == [(2 * index, 2 * index + 1) for index in range(10)]


def test_a_ladder_of_two_bumps_has_both_at_its_top():
    curve = np.zeros(40)
    curve[5:9], curve[22:32] = 1.0, 0.9
    assert ladder(curve, 0.7)[:2] == [(22, 32), (5, 9)]
    assert runs(curve) == [(5, 9), (22, 32)], "by their means"
    found = windows_of([reading([], [], 40)], curves(curve), 2.0, 80.0, WindowSettings("ladder"))
    assert found[:2] == [[44, 64, 0.9], [10, 18, 0.9 - STEP]], "the scores fall in the order of the windows"


@pytest.mark.parametrize("method", ["ladder", "runs"])
@given(st.lists(st.integers(-20, 20), min_size=1, max_size=40), st.floats(0.01, 100), st.floats(-5, 5))
def test_only_the_shape_of_a_curve_counts(method, values, scale, shift):
    def read(curve):
        return ladder(curve, 0.7) if method == "ladder" else runs(curve)

    curve = np.array(values, float) + np.linspace(0, 0.3, len(values)) ** 2 * (np.ptp(values) > 0)
    found = read(curve)
    assert 1 <= len(found) <= 10 and all(0 <= start < stop <= len(curve) for start, stop in found)
    assert read(curve * scale + shift) == found
    if np.ptp(curve) == 0:
        assert found == [(0, len(curve))]


@pytest.mark.parametrize("method", ["ladder", "runs"])
@pytest.mark.parametrize("level", [0.0, 0.3, 1e-30, -7.0])
def test_a_flat_curve_gives_the_whole_video(method, level):
    noise = level * (1 + 1e-8 * np.random.default_rng(0).normal(size=50))
    found = windows_of([reading([], [], 50)], curves(noise, np.full(50, 0.2)), 2.0, 99.5, WindowSettings(method))
    assert found == [[0.0, 99.5, 0.2]]


def test_runs_stand_half_a_deviation_above_the_mean():
    scores = np.array([0.1, 0.9, 1.0, 0.2, 0.7, 0.75, 0.1, 0.6])  # mean .544, deviation .348: above .717
    assert runs(scores) == [(1, 3), (5, 6)]


def test_a_score_is_the_confidence_whatever_the_curve():
    found = windows_of([reading([], [], 5)], curves([0, 9, 9, 0, 0], [0.1, 0.3, 0.5, 0.2, 0.2]), 2.0, 10.0,
                       WindowSettings("runs"))  # fmt: skip
    assert found == [[2.0, 6.0, 0.4]]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_scores_fall(scores):
    found = falling(np.array(scores))
    assert (np.diff(found) <= -STEP + 1e-9).all() and found[-1] >= 0 and found[0] <= 1
    assert abs(found[0] - scores[0]) <= len(scores) * STEP
    np.testing.assert_array_equal(found, found.round(4))
    spaced = np.linspace(0.9, 0.1, 9)
    np.testing.assert_allclose(falling(spaced), spaced)


def test_a_curve_of_two_hours_takes_milliseconds():
    curve = np.random.default_rng(0).normal(size=3600)
    began = time.thread_time()
    for _ in range(10):
        ladder(curve, 0.7)
    assert time.thread_time() - began < 1.0  # some 5 ms each


def test_suppression_keeps_the_best_of_those_that_overlap():
    windows = np.array([[0, 10, 0.5], [1, 10, 0.9], [0, 5, 0.4], [20, 30, 0.7], [20, 27.1, 0.8]])
    kept = suppress(windows, threshold=0.7, limit=10)
    assert kept.tolist() == [[1, 10, 0.9], [20, 27.1, 0.8], [0, 5, 0.4]]
    assert len(suppress(windows, 1.0, limit=10)) == 5 and len(suppress(windows, 0.7, limit=2)) == 2
    assert suppress(windows, 0.0, 10).tolist() == [[1, 10, 0.9], [20, 27.1, 0.8]]


def test_suppression_agrees_with_a_plain_loop():
    generator = np.random.default_rng(0)
    for _ in range(20):
        starts, scores = generator.uniform(0, 50, 40), generator.permutation(40) / 40
        windows = np.column_stack((starts, starts + generator.uniform(1, 30, 40), scores))
        kept = []
        for start, end, score in sorted(windows.tolist(), key=lambda row: -row[2]):
            overlaps = [max(0, min(end, e) - max(start, s)) / (max(end, e) - min(start, s)) for s, e, _ in kept]
            if all(overlap <= 0.5 for overlap in overlaps):
                kept.append([start, end, score])
        assert suppress(windows, 0.5, 10).tolist() == kept[:10]


def test_spans_are_shares_of_the_clips_total_length():
    spans, scores = np.array([[-0.2, 0.5], [0.5, 1.3], [0.45, 0.4]]), np.array([0.3, 0.8, 0.9])
    windows = spans_of([reading(spans, scores, 5)], 9.0, dense=False)
    assert windows == [[5.0, 9.0, 0.8], [0.0, 5.0, 0.3]], "clipped to the video, an end before its start dropped"


def test_at_most_ten_windows():
    spans = np.column_stack((np.arange(30) / 30, np.arange(1, 31) / 30))
    windows = spans_of([reading(spans, np.linspace(0, 1, 30), 30)], 60.0)
    assert len(windows) == 10 and windows[0] == [58.0, 60.0, 1.0]
    assert [row[2] for row in windows] == sorted((row[2] for row in windows), reverse=True)


def test_bad_window_settings():
    for wrong in ({"method": "peaks"}, {"nms": -0.1}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            WindowSettings(**wrong)


def test_overlapping_pieces_count_by_their_mean():
    parts = [Reading(0, np.zeros((0, 2)), np.array([1.0, 2.0, 3.0]), np.zeros(3)),
             Reading(2, np.zeros((0, 2)), np.array([5.0, 6.0]), np.zeros(2))]  # fmt: skip
    assert joined(parts, "scores").tolist() == [1, 2, 4, 6]


def test_spans_of_a_piece_start_where_it_starts():
    parts = [reading([[0.0, 0.5]], [0.4], 10), reading([[0.2, 0.4]], [0.9], 10, start=5)]
    assert spans_of(parts, 30.0, dense=False) == [[14, 18, 0.9], [0, 10, 0.4]]


def test_a_moment_longer_than_a_piece_is_joined():
    parts = [
        reading([[0.3, 1.0], [0.0, 0.2]], [0.7, 0.1], 10),
        reading([[0.0, 1.0], [0.6, 0.8]], [0.9, 0.2], 10, start=5),
        reading([[0.0, 0.6]], [0.8], 10, start=10),
    ]
    best = spans_of(parts, 40.0, dense=False)[0]
    assert best == [6.0, 32.0, 0.9]
    other = [parts[0], reading([[0.4, 1.0]], [0.9], 10, start=5)]
    assert len(span_windows(other, None, 2.0)) == 3, "a window that starts inside the next piece is another moment"


def test_a_set_is_only_thinned_where_pieces_overlap():
    spans, scores = [[0.1, 0.5], [0.12, 0.5]], [0.9, 0.8]
    assert len(spans_of([reading(spans, scores, 10)], 20.0, dense=False)) == 2
    dense = [reading([*spans, *[[0, 1]] * 8], [*scores, *[0] * 8], 10)]
    assert len(spans_of(dense, 20.0)) == 2, "of three that differ, two are nearly one"
    twice = [reading([[0.5, 0.9]], [0.9], 10), reading([[0.0, 0.4]], [0.8], 10, start=5)]
    assert spans_of(twice, 30.0, dense=False) == [[10, 18, 0.9]]


def test_a_clips_window_ranks_by_the_curve_and_is_worth_its_confidence():
    spans = np.column_stack((np.arange(4) / 4, np.arange(1, 5) / 4))
    of_clips = curves([0.0, 3.0, 1.0, 2.0], [0.9, 0.4, 0.8, 0.3])
    found = windows_of([reading(spans, np.zeros(4), 4)], of_clips, 2.0, 8.0, WindowSettings("spans"))
    assert found == [[2, 4, 0.4], [6, 8, 0.3], [4, 6, 0.3 - STEP], [0, 2, 0.3 - 2 * STEP]]


@pytest.mark.parametrize("method", ["ladder", "runs", "spans"])
@pytest.mark.parametrize(
    ("duration", "expected"), [(8.1, [6.0, 8.1]), (8.9, [6.0, 8.9]), (9.0, [8.0, 9.0]), (10, [8, 10])]
)
def test_a_tail_of_less_than_half_a_clip_is_no_moment_of_its_own(method, duration, expected):
    scores = np.array([0.1, 0.1, 0.1, 0.3, 1.0])
    spans = np.column_stack((np.arange(5) / 5, np.arange(1, 6) / 5))
    windows = windows_of([reading(spans, scores, 5)], curves(scores), 2.0, duration, WindowSettings(method))
    assert windows[0][:2] == expected
    assert all(0 <= start < end <= duration for start, end, _ in windows)


def test_a_video_shorter_than_half_a_clip_has_its_moment():
    for method in ("ladder", "runs", "spans"):
        found = windows_of([reading([[0, 1]], [0.5], 1)], curves([0.5]), 2.0, 0.3, WindowSettings(method))
        assert found == [[0.0, 0.3, 0.5]]


@given(st.integers(1, 12), st.floats(0.05, 24), st.integers(0, 999), st.sampled_from(["ladder", "runs", "spans"]))
def test_no_moment_ends_after_the_file_and_none_is_a_crumb_at_its_end(clips, duration, seed, method):
    rng = np.random.default_rng(seed)
    spans = np.sort(rng.uniform(0, 1, (clips, 2)), axis=1)
    scores = rng.uniform(0, 1, clips)
    found = windows_of([reading(spans, scores, clips)], curves(scores), 2.0, duration, WindowSettings(method))
    assert all(0 <= start < end <= min(duration, 2 * clips) + 1e-4 for start, end, _ in found)
    border = 2 * int(min(duration, 2 * clips) / 2)
    if 0 < min(duration, 2 * clips) - border < 1 and border:
        assert all(start < border for start, *_ in found)
    assert found or method == "spans"
