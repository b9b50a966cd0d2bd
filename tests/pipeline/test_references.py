"""Rows of grounding that need no training, by what they are made of."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pipeline.tasks import grounding
from read.backbones.grounding.joint import JointBackbone, JointConfig
from read.data import Annotation, Sample
from read.metrics.protocol import get_protocol

WORK = SimpleNamespace(
    dataset="d", clip_len=2.0, evaluate=SimpleNamespace(random_draws=2, windows="auto"), report=SimpleNamespace()
)


def stitched(vid: str, rng: np.random.Generator) -> list[Sample]:
    """A query for each of three shots of three to five clips; clips and sentence of a shot point one way, roughly."""
    lengths = rng.integers(3, 6, 3)
    axes = F.normalize(torch.from_numpy(rng.normal(size=(3, 32))).float(), dim=-1)
    noise = torch.from_numpy(rng.normal(0, 0.12, (int(lengths.sum()), 32))).float()
    rows = F.normalize(axes.repeat_interleave(torch.from_numpy(lengths), dim=0) + noise, dim=-1)
    ends = 2.0 * np.cumsum(lengths)
    return [
        Sample.labelled(
            rows,
            torch.ones(1, 4),
            Annotation(
                f"{vid}{at}", "a", vid, float(ends[-1]), ((ends[at] - 2.0 * lengths[at], ends[at]),), (0,), ((4.0,),)
            ),
            2.0,
            F.normalize(axes[at] + torch.from_numpy(rng.normal(0, 0.1, 32)).float(), dim=0),
        )
        for at in range(3)
    ]


@pytest.mark.parametrize("joint", [True, False])
def test_the_cuts_of_stitched_videos_find_their_moments(monkeypatch, joint):
    rng = np.random.default_rng(0)
    samples = [sample for number in range(6) for sample in stitched(f"v{number}", rng)]
    model = JointBackbone(JointConfig(32, 4, joint_start=0, joint_dim=32)) if joint else None
    monkeypatch.setattr(grounding, "metric_of", lambda dataset: get_protocol("qvhighlights"))
    monkeypatch.setattr(grounding, "cosine", lambda backbone: model)
    monkeypatch.setattr(grounding.GroundingWork, "backbone", lambda self: None)
    rows = grounding.GroundingWork(WORK).baselines(samples)
    assert rows.keys() == {"random", "oracle", "perfect_clips"} | ({"cosine", "shots"} if joint else set())
    assert rows["perfect_clips"]["scores"]["MR-full-mAP"] == 100  # of windows that are whole clips
    if joint:
        found = {name: row["scores"]["MR-full-mAP"] for name, row in rows.items()}
        assert found["random"] + 20 < found["cosine"] <= found["shots"] and found["shots"] > 90


def test_scores_tell_how_often_the_right_shot_outranks_another(monkeypatch):
    """By the curve that windows are read off; by the saliency where there is none."""
    monkeypatch.setattr(grounding, "metric_of", lambda dataset: get_protocol("qvhighlights"))
    label = Annotation(1, "a", "v", 8.0, ((0.0, 2.0),), (0,), ((4.0,),), "order", distractors=((4.0, 6.0), (6.0, 8.0)))
    samples = [Sample.labelled(torch.ones(4, 3), torch.ones(1, 4), label, 2.0)]
    row = {"qid": 1, "query": "a", "vid": "v", "pred_relevant_windows": [[0.0, 2.0, 0.5]],
           "pred_saliency_scores": [0.3, 0.0, 0.5, 0.1]}  # fmt: skip
    work = grounding.GroundingWork(WORK)
    assert work.scores([row], samples)["discrimination"] == {"order": 50.0}
    assert work.scores([row | {"pred_clip_scores": [0.3, 0.0, 0.1, 0.1]}], samples)["discrimination"] == {
        "order": 100.0
    }
