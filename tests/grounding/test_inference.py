"""Windows decoded from crafted outputs, and predictions in the submission form."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from read.backbones import build_backbone
from read.data import Annotation, Sample
from read.errors import InputError
from read.grounding.inference import predict, settled
from read.grounding.windows import WindowSettings

SIZES = {"video_dim": 6, "text_dim": 5, "hidden": 16, "layers": 2, "heads": 2, "feed_forward": 24}


def sample(qid: int, clips: int, words: int = 3, duration: float | None = None) -> Sample:
    generator = torch.Generator().manual_seed(qid)
    duration = 2.0 * clips if duration is None else duration
    annotation = Annotation(qid, f"query {qid}", f"video_{qid}", duration, ((0.0, 2.0),), (0,), ((4.0,),))
    video, text = torch.randn(clips, 6, generator=generator), torch.randn(words, 5, generator=generator)
    return Sample.labelled(video, text, annotation, 2.0)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return build_backbone("univtg", **SIZES)


class Fixed(nn.Module):
    """Answers with given scores and spans."""

    dense, regresses, name, windows, reads_sentence = True, True, "fixed", "runs", False
    config, prior = SimpleNamespace(max_clips=75, windows="auto", listens=0), None

    def __init__(self, scores, spans=None):
        super().__init__()
        self.scores = nn.Parameter(torch.tensor([scores]))
        self.spans = torch.zeros(1, len(scores), 2) if spans is None else torch.tensor([spans])

    def forward(self, video, video_mask, text, text_mask):
        return {"scores": self.scores, "spans": self.spans, "saliency": self.scores}

    def clip_scores(self, outputs):
        return outputs["saliency"]


def test_rows_have_the_submission_form(model):
    samples = [sample(3, 5, duration=9.3), sample(8, 7, words=4), sample(5, 1)]
    rows = predict(model, samples, batch_size=2)
    assert [row["qid"] for row in rows] == [3, 8, 5]
    for row, each in zip(rows, samples, strict=True):
        assert list(row) == [
            "qid", "query", "vid", "pred_relevant_windows", "pred_saliency_scores", "pred_clip_scores",
        ]  # fmt: skip
        assert (row["query"], row["vid"]) == (each.annotation.query, each.annotation.vid)
        assert len(row["pred_saliency_scores"]) == len(each.video)
        assert 1 <= len(row["pred_relevant_windows"]) <= 10
        assert all(0 <= start < end <= each.annotation.duration for start, end, _ in row["pred_relevant_windows"])


@pytest.mark.parametrize("method", ["ladder", "runs", "spans"])
def test_a_batch_gives_what_each_sample_gives_alone(model, method):
    samples, windows = [sample(qid, clips) for qid, clips in enumerate((3, 9, 6))], WindowSettings(method)
    together = predict(model, samples, windows)
    for row, each in zip(together, samples, strict=True):
        (alone,) = predict(model, [each], windows)
        np.testing.assert_allclose(row["pred_saliency_scores"], alone["pred_saliency_scores"], atol=2e-4)
        np.testing.assert_allclose(row["pred_relevant_windows"], alone["pred_relevant_windows"], atol=2e-4)


def test_prediction_neither_draws_dropout_nor_changes_the_mode(model):
    model.train()
    assert predict(model, [sample(1, 6)]) == predict(model, [sample(1, 6)])
    assert model.training
    model.eval()
    predict(model, [sample(1, 6)])
    assert not model.training


def test_what_is_predicted_does_not_depend_on_the_label(model):
    labelled = [sample(1, 6), sample(2, 90, duration=177.5)]
    asked = [replace(each, label=None) for each in labelled]
    assert predict(model, asked) == predict(model, labelled)


def test_bad_samples_are_named(model):
    good = sample(1, 4)
    broken = good.video.clone()
    broken[2, 3] = math.inf
    for video, text, message in (
        (good.video[:0], good.text, "video video_1: has no clips"),
        (good.video, good.text[:0], "query 1: has no words"),
        (broken, good.text, "video video_1: its features hold NaN"),
        (good.video, good.text * math.nan, "query 1: its features hold NaN"),
    ):
        with pytest.raises(InputError, match=message):
            predict(model, [Sample.labelled(video, text, good.annotation, 2.0)])


def test_bad_outputs_are_named(model):
    with pytest.raises(InputError, match="query 1: the model's outputs hold NaN"):
        predict(Fixed([0.1, math.nan, 0.3, 0.2]), [sample(1, 4)])


def test_windows_are_read_as_the_outputs_allow_and_as_the_config_says():
    detr = SimpleNamespace(dense=False, regresses=True, name="detr", windows="spans", config=Fixed.config, prior=None)
    assert settled(WindowSettings(), detr).method == "spans"
    with pytest.raises(InputError, match="detr cannot be read by runs, only by spans"):
        predict(detr, [sample(1, 4)], WindowSettings("runs"))
    scores = [0.1, 0.1, 0.1, 0.8, 0.38, 0.8, 0.1, 0.1]
    model = Fixed(scores)
    named = {method: predict(model, [sample(1, 8)], WindowSettings(method)) for method in ("ladder", "runs")}
    assert named["ladder"] != named["runs"] == predict(model, [sample(1, 8)]), "the class's own"
    model.config = SimpleNamespace(max_clips=75, windows="ladder", listens=0)
    assert predict(model, [sample(1, 8)]) == named["ladder"], "what was chosen for this one"
    assert predict(model, [sample(1, 8)], WindowSettings("runs")) == named["runs"]


def test_scores_and_saliency_come_through(model):
    (row,) = predict(Fixed([0.1, 0.8, 0.6, 0.2]), [sample(1, 4)])
    assert row["pred_relevant_windows"] == [[2.0, 6.0, 0.7]]
    assert row["pred_saliency_scores"] == pytest.approx([0.1, 0.8, 0.6, 0.2])


class Local(Fixed):
    """Says of each clip what its features say, wherever it stands."""

    def __init__(self, max_clips):
        super().__init__([0.0])
        self.config = SimpleNamespace(max_clips=max_clips, windows="auto", listens=0)

    def forward(self, video, video_mask, text, text_mask):
        return {"scores": video[..., 0].sigmoid(), "spans": video[..., 1:3], "saliency": video[..., 3]}


@pytest.mark.parametrize("method", ["ladder", "runs"])
@pytest.mark.parametrize("clips", [10, 11, 25, 1000])
def test_a_long_video_in_pieces_gives_what_it_gives_whole(clips, method):
    long, windows = [sample(1, clips), sample(2, 7), sample(3, clips + 3)], WindowSettings(method)
    whole, cut = predict(Local(10**6), long, windows), predict(Local(10), long, windows, batch_size=3)
    for one, other in zip(whole, cut, strict=True):
        assert one["vid"] == other["vid"]
        np.testing.assert_allclose(one["pred_relevant_windows"], other["pred_relevant_windows"], atol=2e-4)
        np.testing.assert_allclose(one["pred_saliency_scores"], other["pred_saliency_scores"], atol=2e-4)


def test_a_real_backbone_reads_a_video_of_two_hours(model):
    long = sample(1, 3600)
    for method in ("ladder", "runs", "spans"):
        (row,) = predict(model, [long], WindowSettings(method))
        assert len(row["pred_saliency_scores"]) == 3600
        assert all(0 <= start < end <= 7200 for start, end, _ in row["pred_relevant_windows"])
