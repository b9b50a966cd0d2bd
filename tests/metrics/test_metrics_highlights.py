"""mAP on YouTube Highlights and TVSum: the levels of the real labels, and the conventions."""

import itertools
import json
import math
import tarfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from read.errors import InputError
from read.files import read_json, read_jsonl
from read.metrics.highlights import (
    above_median,
    by_domain,
    tvsum_levels,
    tvsum_top5_map,
    youtube_levels,
    youtube_map,
)
from read.metrics.ranking import trapezoid_precision

examples = settings(max_examples=40, deadline=None, derandomize=True)


def expected_trapezoid(clips, relevant):
    """The expected AP of a random order of all clips, in closed form."""
    ranks = np.arange(1, clips + 1)
    before = (ranks - 1) * (relevant - 1) / max(clips - 1, 1)  # hits before a rank, given that the rank is a hit
    previous = np.where(ranks > 1, before / np.maximum(ranks - 1, 1), 1.0)
    return ((previous + (1 + before) / ranks) / 2).mean() if relevant else 0.0


def expected_top(clips, relevant, count=5):
    """The expected AP of the first clips of a random order, by going through all their patterns."""
    total = 0.0
    for pattern in itertools.product((0, 1), repeat=count):
        others = relevant - sum(pattern)
        if 0 <= others <= clips - count:
            chance = math.comb(clips - count, others) / math.comb(clips, relevant)
            total += chance * trapezoid_precision(np.array(pattern))
    return total


@pytest.fixture(scope="module")
def tvsum(request):
    mirror = request.getfixturevalue("mirror")
    return [np.array(row["label"]) for row in read_jsonl(mirror / "tvsum" / "tvsum_val_release.jsonl")]


@pytest.fixture(scope="module")
def youtube(request):
    """Labels and domains of the 172 videos of UMT's test split."""
    folder = request.getfixturevalue("mirror") / "youtube_highlights"
    splits = read_json(folder / "umt_splits.json")
    with tarfile.open(folder / "original_labels_no_info.tar.gz") as archive:
        videos = [(domain, video) for domain, split in splits.items() for video in split["val"]]
        labels = [
            np.array(json.load(archive.extractfile(f"{domain}/{video}/match_label.json"))[1])
            for domain, video in videos
        ]
    return labels, [domain for domain, _ in videos]


def test_levels_of_tvsum(tvsum):
    levels = tvsum_levels(tvsum, draws=2000)
    expected = np.mean(
        [[expected_top(len(label), hits) for hits in above_median(label).sum(axis=0)] for label in tvsum]
    )
    assert round(levels["oracle"], 2) == 84.35
    assert levels["random"] == pytest.approx(100 * expected, abs=0.3)
    assert levels["random"] == pytest.approx(42.4, abs=0.4)


def test_levels_of_youtube_highlights(youtube):
    labels, domains = youtube
    assert len(labels) == 172
    levels = by_domain(lambda _, own: youtube_levels(own, draws=500)["random"], labels, labels, domains)
    expected = by_domain(
        lambda _, own: 100 * np.mean([expected_trapezoid(len(label), (label > 0).sum()) for label in own]),
        labels, labels, domains,
    )  # fmt: skip
    assert levels["mean"] == pytest.approx(expected["mean"], abs=0.3)
    assert levels["mean"] == pytest.approx(49.97, abs=0.4)
    assert by_domain(youtube_map, labels, labels, domains)["mean"] == 100


def test_youtube_by_hand():
    scores, labels = [np.array([4.0, 3, 2, 1])], [np.array([1, -1, 1, 0])]
    assert youtube_map(scores, labels) == pytest.approx(100 * (0.5 + 0.5 * (1 / 2 + 2 / 3) / 2))
    assert youtube_map([*scores, np.arange(3.0)], [*labels, np.array([0, -1, 0])]) == youtube_map(scores, labels) / 2


def test_tvsum_by_hand():
    # Median 2: clips 4 and 5 are relevant to the one annotator; the five best hold clip 4 only, at rank 2.
    label = np.array([[1], [2], [2], [2], [3], [3], [1]])
    scores = np.array([9.0, 7, 6, 5, 8, 1, 0])
    assert tvsum_top5_map([scores], [label]) == pytest.approx(100 * (0 + 1 / 2) / 2)
    assert tvsum_top5_map([-scores], [np.full((7, 3), 2)]) == 0  # nobody prefers a clip


def test_the_median_of_an_even_number_of_clips_is_the_lower_one():
    np.testing.assert_array_equal(above_median(np.array([[1], [2], [3], [4]])).ravel(), [False, False, True, True])
    np.testing.assert_array_equal(above_median(np.array([[1], [1], [2], [2]])).ravel(), [False, False, True, True])


def test_ties_rank_in_time():
    assert youtube_map([np.zeros(4)], [np.array([1, 1, 0, 0])]) == 100
    label = np.array([[5]] * 2 + [[1]] * 6)
    assert tvsum_top5_map([np.zeros(8)], [label]) == 100
    assert tvsum_top5_map([np.zeros(8)], [label[::-1]]) == 0


videos = st.lists(
    st.lists(st.tuples(st.integers(-4, 4), st.integers(-1, 1)), min_size=1, max_size=8), min_size=1, max_size=4
)


@examples
@given(videos)
def test_a_monotone_rescaling_changes_nothing_and_the_labels_themselves_are_best(rows):
    scores = [np.array([score for score, _ in row], float) for row in rows]
    labels = [np.array([label for _, label in row]) for row in rows]
    sheets = [label[:, None] * np.ones((1, 2)) for label in labels]
    for metric, truth, best in ((youtube_map, labels, labels), (tvsum_top5_map, sheets, labels)):
        value = metric(scores, truth)
        assert metric([3 * score**3 - 9 for score in scores], truth) == value
        assert metric(scores[::-1], truth[::-1]) == pytest.approx(value)
        assert 0 <= value <= metric(best, truth) + 1e-9 <= 100 + 1e-6


def test_bad_input_names_the_video():
    with pytest.raises(InputError, match="video 2: scores of shape"):
        youtube_map([np.zeros(3), np.zeros(4)], [np.zeros(3), np.zeros(3)])
    with pytest.raises(InputError, match="video 1: a score or label is NaN"):
        tvsum_top5_map([np.array([np.nan, 1.0])], [np.zeros((2, 3))])
    with pytest.raises(InputError, match="video 1: labels of shape"):
        tvsum_top5_map([np.zeros(2)], [np.zeros(2)])
    with pytest.raises(InputError, match="0 arrays of scores"):
        youtube_map([], [])
    with pytest.raises(InputError, match="one each per video"):
        by_domain(youtube_map, [np.zeros(2)], [np.zeros(2)], ["dog", "ski"])
