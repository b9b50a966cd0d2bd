"""Windows decoded from crafted outputs, of whole videos and of pieces."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from read.errors import InputError
from read.grounding.windows import Reading, WindowSettings, mean_scores, run_windows, span_windows, suppress, windows_of


def reading(spans, scores, clips: int, start: int = 0) -> Reading:
    return Reading(start, np.array(spans, dtype=float).reshape(-1, 2), np.array(scores, dtype=float), np.zeros(clips))


def test_runs_join_clips_near_the_peak():
    scores = np.array([0.1, 0.9, 1.0, 0.2, 0.65, 0.7, 0.1, 0.61])
    windows = run_windows(scores, clip_len=2.0, share=0.6)
    np.testing.assert_allclose(windows, [[2, 6, 0.95], [8, 12, 0.675], [14, 16, 0.61]])
    np.testing.assert_allclose(run_windows(scores, 2.0, share=0.95), [[4, 6, 1.0]])
    np.testing.assert_allclose(run_windows(np.full(4, 0.3), 1.5, 0.6), [[0, 6, 0.3]])
    np.testing.assert_allclose(run_windows(np.array([0.5]), 2.0, 0.6), [[0, 2, 0.5]])


def test_runs_are_found_whatever_the_scale_of_the_scores():
    scores = np.array([0.1, 0.9, 1.0, 0.2, 0.65])
    small = run_windows(scores * 1e-6, 2.0, 0.6)
    np.testing.assert_allclose(small[:, :2], run_windows(scores, 2.0, 0.6)[:, :2])


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
    windows = windows_of([reading(spans, scores, 5)], 2.0, 9.0, WindowSettings("spans"))
    assert windows == [[5.0, 9.0, 0.8], [0.0, 5.0, 0.3]], "clipped to the video, an end before its start dropped"


def test_at_most_ten_windows():
    spans = np.column_stack((np.arange(30) / 30, np.arange(1, 31) / 30))
    windows = windows_of([reading(spans, np.linspace(0, 1, 30), 30)], 2.0, 60.0, WindowSettings("spans"))
    assert len(windows) == 10 and windows[0] == [58.0, 60.0, 1.0]
    assert [row[2] for row in windows] == sorted((row[2] for row in windows), reverse=True)


def test_bad_window_settings():
    for wrong in ({"method": "peaks"}, {"share": 1.5}, {"nms": -0.1}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            WindowSettings(**wrong)


def test_overlapping_pieces_count_by_their_mean():
    parts = [Reading(0, np.zeros((0, 2)), np.array([1.0, 2.0, 3.0]), np.zeros(3)),
             Reading(2, np.zeros((0, 2)), np.array([5.0, 6.0]), np.zeros(2))]  # fmt: skip
    assert mean_scores(parts, "scores").tolist() == [1, 2, 4, 6]


def test_spans_of_a_piece_start_where_it_starts():
    parts = [reading([[0.0, 0.5]], [0.4], 10), reading([[0.2, 0.4]], [0.9], 10, start=5)]
    assert windows_of(parts, 2.0, 30.0, WindowSettings("spans"), repeats=False) == [[14, 18, 0.9], [0, 10, 0.4]]


def test_a_moment_longer_than_a_piece_is_joined():
    parts = [
        reading([[0.3, 1.0], [0.0, 0.2]], [0.7, 0.1], 10),
        reading([[0.0, 1.0], [0.6, 0.8]], [0.9, 0.2], 10, start=5),
        reading([[0.0, 0.6]], [0.8], 10, start=10),
    ]
    best = windows_of(parts, 2.0, 40.0, WindowSettings("spans"))[0]
    assert best == [6.0, 32.0, 0.9]
    other = [parts[0], reading([[0.4, 1.0]], [0.9], 10, start=5)]
    assert len(span_windows(other, 2.0)) == 3, "a window that starts inside the next piece is another moment"


def test_a_set_is_only_thinned_where_pieces_overlap():
    spans, scores = [[0.1, 0.5], [0.12, 0.5]], [0.9, 0.8]
    once = windows_of([reading(spans, scores, 10)], 2.0, 20.0, WindowSettings("spans"), repeats=False)
    assert len(once) == 2
    assert len(windows_of([reading(spans, scores, 10)], 2.0, 20.0, WindowSettings("spans"))) == 1
    twice = [reading([[0.5, 0.9]], [0.9], 10), reading([[0.0, 0.4]], [0.8], 10, start=5)]
    assert windows_of(twice, 2.0, 30.0, WindowSettings("spans"), repeats=False) == [[10, 18, 0.9]]


@pytest.mark.parametrize("method", ["runs", "spans"])
@pytest.mark.parametrize(
    ("duration", "expected"), [(8.1, [6.0, 8.1]), (8.9, [6.0, 8.9]), (9.0, [8.0, 9.0]), (10, [8, 10])]
)
def test_a_tail_of_less_than_half_a_clip_is_no_moment_of_its_own(method, duration, expected):
    scores = np.array([0.1, 0.1, 0.1, 0.6, 1.0])
    spans = np.column_stack((np.arange(5) / 5, np.arange(1, 6) / 5))
    windows = windows_of([reading(spans, scores, 5)], 2.0, duration, WindowSettings(method, share=0.9))
    assert windows[0][:2] == expected
    assert all(0 <= start < end <= duration for start, end, _ in windows)


def test_a_video_shorter_than_half_a_clip_has_its_moment():
    for method in ("runs", "spans"):
        assert windows_of([reading([[0, 1]], [0.5], 1)], 2.0, 0.3, WindowSettings(method)) == [[0.0, 0.3, 0.5]]


@given(st.integers(1, 12), st.floats(0.05, 24), st.integers(0, 999), st.sampled_from(["runs", "spans"]))
def test_no_moment_ends_after_the_file_and_none_is_a_crumb_at_its_end(clips, duration, seed, method):
    rng = np.random.default_rng(seed)
    spans = np.sort(rng.uniform(0, 1, (clips, 2)), axis=1)
    found = windows_of([reading(spans, rng.uniform(0, 1, clips), clips)], 2.0, duration, WindowSettings(method))
    assert all(0 <= start < end <= min(duration, 2 * clips) + 1e-4 for start, end, _ in found)
    border = 2 * int(min(duration, 2 * clips) / 2)
    if 0 < min(duration, 2 * clips) - border < 1 and border:
        assert all(start < border for start, *_ in found)
    assert found or method == "spans"
