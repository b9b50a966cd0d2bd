"""Shots: cuts where they are, ranked by what is in them."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from read.backbones.joint_space import JointSpace
from read.data import Annotation, Sample
from read.grounding.shots import cuts, shot_rows
from read.grounding.windows import MAX_WINDOWS


def video(lengths, width=16, noise=0.05, seed=0):
    """A shot each of so many clips, of a direction of its own: features (N, width), and the directions."""
    rng = np.random.default_rng(seed)
    axes = np.eye(width)[: len(lengths)]
    rows = np.repeat(axes, lengths, axis=0) + rng.normal(0, noise, (sum(lengths), width))
    return F.normalize(torch.from_numpy(rows).float(), dim=-1), torch.from_numpy(axes).float()


@pytest.mark.parametrize("lengths", [[4, 3, 5], [2, 6, 3, 4, 2], [9], [1, 8]])
def test_cuts_are_where_the_picture_jumps(lengths):
    rows, _ = video(lengths, noise=0.02)
    if len(lengths) == 1:
        rows = rows[:1].expand(9, -1)  # of one shot without any change
    assert cuts(rows) == np.cumsum(lengths)[:-1].tolist()
    assert cuts(rows[:2]) == []


def sample(rows, sentence, duration):
    label = Annotation(1, "a dog", "v", duration, ((0.0, 2.0),), (0,), ((4.0,),))
    return Sample.labelled(rows, torch.ones(1, 4), label, 2.0, sentence)


def test_windows_are_shots_ranked_by_their_likeness():
    lengths = [4, 3, 5]
    rows, axes = video(lengths)
    wanted = F.normalize(axes[1] + 0.5 * axes[2], dim=0)
    (row,) = shot_rows(JointSpace(16, 0, 16), [sample(rows, wanted, 23.5)])
    assert [window[:2] for window in row["pred_relevant_windows"]] == [[8.0, 14.0], [14.0, 23.5], [0.0, 8.0]]
    scores = [window[2] for window in row["pred_relevant_windows"]]
    assert scores == sorted(scores, reverse=True) and len(set(scores)) == 3
    by_shot = np.split(np.array(row["pred_saliency_scores"]), np.cumsum(lengths)[:-1])
    assert all(len(set(shot)) == 1 for shot in by_shot)
    expected = [float((rows[start:stop] @ wanted).mean()) for start, stop in ((0, 4), (4, 7), (7, 12))]
    assert [shot[0] for shot in by_shot] == pytest.approx(expected, abs=1e-3)
    assert (row["qid"], row["vid"], len(row["pred_saliency_scores"])) == (1, "v", 12)


def test_means_of_the_space_count_and_windows_are_ten_at_most():
    rows, axes = video([2] * 14, noise=0.0)
    rows = F.normalize(rows + 2.0, dim=-1)  # what all pictures share
    space = JointSpace(16, 0, 16)
    with torch.no_grad():
        space.video_mean.copy_(rows.mean(0))
    (row,) = shot_rows(space, [sample(rows, axes[5], 56.0)])
    assert len(row["pred_relevant_windows"]) == MAX_WINDOWS
    assert row["pred_relevant_windows"][0][:2] == [20.0, 24.0]
