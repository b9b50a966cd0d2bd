"""What a perfect curve and one of the subject alone lead to, on videos whose windows begin with clips, or do not."""

import numpy as np
import pytest
import torch

from read.data import Annotation, Sample
from read.grounding.ceilings import ceilings, mean_scores
from read.grounding.windows import WindowSettings
from read.metrics.protocol import get_protocol

METRIC = get_protocol("qvhighlights")


def sample(qid, windows, distractors=(), clips=16):
    label = Annotation(qid, "q", "v", 2.0 * clips, tuple(windows), (1,), ((4.0,),), distractors=tuple(distractors))
    return Sample.labelled(torch.zeros(clips, 3), torch.ones(2, 3), label, 2.0)


def scores(samples, name, method="runs", draws=4):
    tries = ceilings(samples, WindowSettings(method), draws)[name]
    return mean_scores(tries, [each.annotation for each in samples], METRIC, 2.0)


@pytest.mark.parametrize("method", ["runs", "ladder", "spans", "auto"])
def test_perfect_clips_find_windows_of_whole_clips(method):
    samples = [sample(1, [(4.0, 8.0)]), sample(2, [(2.0, 4.0), (10.0, 16.0)])]
    assert scores(samples, "perfect_clips", method)["MR-full-R1@0.7"] == 100
    (rows,) = ceilings(samples, WindowSettings("runs"), 1)["perfect_clips"]
    assert [window[:2] for window in rows[0]["pred_relevant_windows"]] == [[4.0, 8.0]]
    assert sorted(window[:2] for window in rows[1]["pred_relevant_windows"]) == [[2.0, 4.0], [10.0, 16.0]]


def test_what_a_window_has_of_a_clip_is_lost():
    (rows,) = ceilings([sample(1, [(4.8, 7.5)])], WindowSettings("runs"), 1)["perfect_clips"]
    assert [window[:2] for window in rows[0]["pred_relevant_windows"]] == [[4.0, 8.0]]  # both middles lie in it
    assert scores([sample(1, [(4.8, 7.5)])], "perfect_clips")["MR-full-mAP"] == pytest.approx(40)  # IoU 2.7 / 4


def test_of_like_windows_chance_says_which_comes_first():
    samples = [sample(qid, [(4.0, 8.0)], [(12.0, 16.0), (20.0, 24.0)]) for qid in range(60)]
    found = scores(samples, "subject_only", draws=10)
    assert found["MR-full-R1@0.7"] == pytest.approx(100 / 3, abs=6)
    assert found["MR-full-mAP"] == pytest.approx(100 * np.mean([1, 1 / 2, 1 / 3]), abs=6)
    assert scores(samples, "subject_only", draws=10) == found


def test_subject_only_needs_distractors_of_every_query():
    assert "subject_only" not in ceilings([sample(1, [(4.0, 8.0)])], WindowSettings(), 2)
