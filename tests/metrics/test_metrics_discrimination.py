"""The right shot above its like: counted by hand on curves of ten clips of 2 s."""

import numpy as np
import pytest

from read.data import Annotation
from read.metrics.discrimination import discrimination

CURVE = [0.1, 0.2, 0.9, 0.9, 0.1, 0.3, 0.5, 0.5, 0.0, 0.0]


def label(windows, distractors, kind="order", qid=1):
    return Annotation(qid, "q", "v", 20.0, tuple(windows), (), (), kind, distractors=tuple(distractors))


@pytest.mark.parametrize(
    ("windows", "distractors", "expected"),
    [
        ([(4, 8)], [(12, 16)], 100.0),
        ([(12, 16)], [(4, 8)], 0.0),
        ([(12, 14)], [(14, 16)], 50.0),  # equal means
        ([(4, 8)], [(12, 16), (0, 4)], 100.0),
        ([(12, 16)], [(4, 8), (0, 4)], 50.0),
        ([(4, 8), (0, 4)], [(12, 16)], 50.0),  # every pair of a window and a distractor
        ([(3, 5)], [(12, 16)], 100.0),  # half of .2 and half of .9: .55 above .5
        ([(3, 4.5)], [(12, 16)], 0.0),  # two thirds of .2 and a third of .9: .43
        ([(4, 8)], [(19.5, 20)], 100.0),
    ],
)
def test_pairs_of_a_true_window_and_a_distractor(windows, distractors, expected):
    assert discrimination([CURVE], [label(windows, distractors)], 2.0) == {"order": pytest.approx(expected)}


def test_each_kind_counts_all_its_pairs_and_none_without_a_distractor_counts():
    labels = [
        label([(4, 8)], [(12, 16), (0, 4)], "order"),
        label([(12, 16)], [(4, 8)], "order"),
        label([(0, 2)], [(2, 4)], "move"),
        label([(0, 2)], [], "count"),
        {"qid": 9, "relevant_windows": [[4, 8]], "distractors": [[0, 2]]},  # a row, without a kind
    ]
    found = discrimination([CURVE] * 5, labels, 2.0)
    assert found == {"": 100.0, "move": 0.0, "order": pytest.approx(200 / 3)}
    assert discrimination([CURVE], [label([(0, 2)], [])], 2.0) == {}


def test_a_curve_that_is_shorter_than_the_video_ends_with_its_last_clip():
    assert discrimination([CURVE[:6]], [label([(16, 20)], [(0, 4)])], 2.0) == {"order": 100.0}  # .3 above .15


def test_chance_is_half():
    rng = np.random.default_rng(0)
    curves = rng.random((4000, 10))
    assert discrimination(curves, [label([(4, 8)], [(12, 16)])] * 4000, 2.0)["order"] == pytest.approx(50, abs=3)


def test_scale_and_shift_of_a_curve_do_not_count():
    rng = np.random.default_rng(1)
    curves, labels = rng.random((50, 10)), [label([(3, 8)], [(11, 16)])] * 50
    assert discrimination(7 * curves - 3, labels, 2.0) == discrimination(curves, labels, 2.0)
