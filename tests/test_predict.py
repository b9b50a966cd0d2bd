"""Windows decoded from crafted outputs, and predictions in the submission form."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from read.backbones import build_backbone
from read.data import Annotation, Sample
from read.errors import InputError
from read.predict import WindowSettings, predict, run_windows, suppress, windows_of

SIZES = {"video_dim": 6, "text_dim": 5, "hidden": 16, "layers": 2, "heads": 2, "feed_forward": 24}


def sample(qid: int, clips: int, words: int = 3, duration: float | None = None) -> Sample:
    generator = torch.Generator().manual_seed(qid)
    duration = 2.0 * clips if duration is None else duration
    annotation = Annotation(qid, f"query {qid}", f"video_{qid}", duration, ((0.0, 2.0),), (0,), ((4.0,),))
    video, text = torch.randn(clips, 6, generator=generator), torch.randn(words, 5, generator=generator)
    return Sample(video, text, annotation, 2.0)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return build_backbone("univtg", **SIZES)


class Fixed(nn.Module):
    """Answers with given scores and spans."""

    dense, name = True, "fixed"

    def __init__(self, scores, spans=None):
        super().__init__()
        self.scores = nn.Parameter(torch.tensor([scores]))
        self.spans = torch.zeros(1, len(scores), 2) if spans is None else torch.tensor([spans])

    def forward(self, video, video_mask, text, text_mask):
        return {"scores": self.scores, "spans": self.spans, "saliency": self.scores}

    def clip_scores(self, outputs):
        return outputs["saliency"]


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


def test_offsets_are_shares_of_the_clips_total_length():
    spans, scores = np.array([[-0.2, 0.5], [0.5, 1.3], [0.45, 0.4]]), np.array([0.3, 0.8, 0.9])
    windows = windows_of(spans, scores, 2.0, 5, duration=9.0, settings=WindowSettings("offsets"))
    assert windows == [[5.0, 9.0, 0.8], [0.0, 5.0, 0.3]], "clipped to the video, an end before its start dropped"


def test_at_most_ten_windows():
    spans = np.column_stack((np.arange(30) / 30, np.arange(1, 31) / 30))
    windows = windows_of(spans, np.linspace(0, 1, 30), 2.0, 30, 60.0, WindowSettings("offsets"))
    assert len(windows) == 10 and windows[0] == [58.0, 60.0, 1.0]
    assert [row[2] for row in windows] == sorted((row[2] for row in windows), reverse=True)


def test_rows_have_the_submission_form(model):
    samples = [sample(3, 5, duration=9.3), sample(8, 7, words=4), sample(5, 1)]
    rows = predict(model, samples, batch_size=2)
    assert [row["qid"] for row in rows] == [3, 8, 5]
    for row, each in zip(rows, samples, strict=True):
        assert list(row) == ["qid", "query", "vid", "pred_relevant_windows", "pred_saliency_scores"]
        assert (row["query"], row["vid"]) == (each.annotation.query, each.annotation.vid)
        assert len(row["pred_saliency_scores"]) == len(each.video)
        assert 1 <= len(row["pred_relevant_windows"]) <= 10
        assert all(0 <= start < end <= each.annotation.duration for start, end, _ in row["pred_relevant_windows"])


@pytest.mark.parametrize("method", ["runs", "offsets"])
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
            predict(model, [Sample(video, text, good.annotation, 2.0)])


def test_bad_outputs_are_named(model):
    with pytest.raises(InputError, match="query 1: the model's outputs hold NaN"):
        predict(Fixed([0.1, math.nan, 0.3, 0.2]), [sample(1, 4)])
    with pytest.raises(InputError, match="runs need a score per clip"):
        predict(SimpleNamespace(dense=False, name="detr"), [sample(1, 4)])


def test_scores_and_saliency_come_through(model):
    (row,) = predict(Fixed([0.1, 0.8, 0.6, 0.2]), [sample(1, 4)])
    assert row["pred_relevant_windows"] == [[2.0, 6.0, 0.7]]
    assert row["pred_saliency_scores"] == pytest.approx([0.1, 0.8, 0.6, 0.2])


def test_bad_window_settings():
    for wrong in ({"method": "peaks"}, {"share": 1.5}, {"nms": -0.1}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            WindowSettings(**wrong)
