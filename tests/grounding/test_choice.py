"""How windows are read is chosen by the score of each way, and predictions that cannot be right are told of."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from read.backbones import build_backbone
from read.backbones.joint_space import JointSpace
from read.grounding.choice import PRIORS, choose_reading, warnings_of
from read.grounding.inference import predict
from read.grounding.windows import WindowSettings
from read.metrics.protocol import get_protocol
from tests.grounding.test_inference import SIZES, Fixed, sample


@pytest.mark.parametrize("backbone", ["univtg", "moment_detr"])
def test_the_way_that_scores_best_is_chosen(backbone):
    torch.manual_seed(0)
    model, val = build_backbone(backbone, **SIZES, max_clips=8), [sample(qid, 5 + qid) for qid in range(12)]
    chosen, prior, scores = choose_reading(model, val, "qvhighlights")
    assert list(scores) == (["ladder", "runs", "spans"] if model.dense else ["spans"]) and prior == 0
    for method, of_prior in scores.items():
        rows = predict(model, val, WindowSettings(method))
        assert of_prior == {"0": get_protocol("qvhighlights").choice(rows, [each.annotation for each in val], 2.0)}
    assert scores[chosen]["0"] == max(of_prior["0"] for of_prior in scores.values())


@pytest.mark.parametrize("backbone", ["univtg", "moment_detr"])
def test_a_joint_space_that_knows_the_answer_is_weighed_in(backbone):
    """Its first column is 1 in the moment, and the sentence is that direction."""
    torch.manual_seed(0)
    val = [knowing(sample(qid, 6 + qid % 3)) for qid in range(8)]
    model = build_backbone(backbone, **SIZES, max_clips=9, joint_start=1, joint_dim=2).eval()
    model.add_prior(JointSpace(SIZES["video_dim"], 1, 2, trains=False), 1.0)
    windows, prior, scores = choose_reading(model, val, "qvhighlights")
    assert prior > 0 and windows in ("ladder", "runs")
    assert {*scores["spans"]} == {f"{weight:g}" for weight in PRIORS}
    assert scores[windows][f"{prior:g}"] == max(score for of in scores.values() for score in of.values())
    model.add_prior(model.prior, prior)
    rows = predict(model, val, WindowSettings(windows))
    assert get_protocol("qvhighlights").choice(rows, [s.annotation for s in val], 2.0) == scores[windows][f"{prior:g}"]


def knowing(known):
    video, inside = known.video.clone(), known.targets["foreground"]
    video[:, 1], video[:, 2] = inside, 1 - inside
    return replace(known, clips=video, embedding=torch.tensor([1.0, 0.0]))


def test_clips_are_no_windows_that_a_model_regresses():
    model = Fixed([0.1, 0.9, 0.8, 0.1], spans=[[0.0, 0.25]] * 4)
    model.regresses = False
    assert list(choose_reading(model, [sample(1, 4)], "qvhighlights").scores) == ["ladder", "runs"]


def rows_of(*windows, saliency=None, vid=str, query="what {}"):
    saliency = saliency or [[0.1, 0.2 + 0.1 * number] for number in range(len(windows))]
    return [
        {"qid": number, "vid": vid(number), "query": query.format(number), "pred_saliency_scores": curve,
         "pred_relevant_windows": [[*window, 0.5], [0, 20, 0.4]]}
        for number, (window, curve) in enumerate(zip(windows, saliency, strict=True))
    ]  # fmt: skip


def labels(*windows):
    return [SimpleNamespace(windows=(window,), duration=20.0) for window in windows]


def test_windows_that_are_the_whole_video():
    truth = labels((0, 4), (2, 6), (8, 12), (0, 20))
    assert warnings_of(rows_of((0, 19), (1, 20), (5, 9), (0, 20)), truth) == [
        "2 of 3 first windows span 95% of their video or more, where the moment does not: the model does not tell its "
        "clips apart"
    ]
    assert warnings_of(rows_of((0, 18.9), (1, 20), (5, 9), (0, 20)), truth) == []
    assert warnings_of(rows_of((0, 20)), labels((0, 20))) == [], "where it is right"


def test_one_score_for_all():
    truth, windows = labels(*[(0, 4)] * 3), [(0, 4)] * 3
    flat = [[0.31, 0.3101], [0.31, 0.31], [0.3099, 0.31]]
    assert warnings_of(rows_of(*windows, saliency=flat), truth) == [
        "all clips have one score for all queries: the model has not learned anything"
    ]
    assert warnings_of(rows_of(*windows, saliency=[*flat[:2], [0.32, 0.31]]), truth) == []


def test_a_query_without_effect():
    truth, windows = labels(*[(0, 4)] * 4), [(0, 4)] * 4
    curves = [[0.1, 0.3], [0.1, 0.3], [0.7, 0.2], [0.7, 0.2]]
    rows = rows_of(*windows, saliency=curves, vid=lambda number: str(number // 2))
    assert warnings_of(rows, truth) == [
        "the clips of each of 2 videos have the same scores whatever is asked: the query has no effect"
    ]
    assert warnings_of(rows_of(*windows, saliency=curves, vid=lambda _: "one", query="the same"), truth) == []
    rows[3]["pred_saliency_scores"] = [0.7, 0.3]
    assert warnings_of(rows, truth) == []


def test_an_untrained_backbone_of_real_outputs_gives_no_false_warning():
    torch.manual_seed(0)
    model, samples = build_backbone("univtg", **SIZES), [sample(qid, 8) for qid in range(20)]
    rows = predict(model, samples, WindowSettings("ladder"))
    assert warnings_of(rows, [each.annotation for each in samples]) == []
    assert np.ptp([row["pred_saliency_scores"] for row in rows]) > 0
