from dataclasses import replace

import pytest
import torch

from read.data import Annotation, Sample, collate, training_pieces
from read.data.pieces import pieces
from read.errors import InputError


def sample(clips, words, windows, clip_ids=(), saliency=()):
    annotation = Annotation(1, "q", "v", clips * 2.0, windows, clip_ids, saliency)
    return Sample.labelled(torch.ones(clips, 3), torch.ones(words, 2), annotation, 2.0)


def test_targets_name_the_window_that_covers_each_clip():
    batch = collate([sample(5, 3, ((2.0, 6.0), (8.0, 9.4)), (1, 2), ((4, 2), (2, 2)))])
    assert batch["foreground"].tolist() == [[0, 1, 1, 0, 1]]
    torch.testing.assert_close(batch["spans"][0, 1], torch.tensor([0.2, 0.6]))
    torch.testing.assert_close(batch["spans"][0, 4], torch.tensor([0.8, 0.94]))
    torch.testing.assert_close(batch["saliency"], torch.tensor([[0, 0.75, 0.5, 0, 0]]))


def test_a_window_between_two_centres_still_has_a_clip():
    assert collate([sample(5, 3, ((3.6, 4.4),))])["foreground"].sum() == 1


def test_padding_is_masked():
    batch = collate([sample(5, 3, ((0, 2),)), sample(2, 4, ((0, 2),))])
    assert batch["video"].shape == (2, 5, 3)
    assert batch["text"].shape == (2, 4, 2)
    assert batch["video_mask"].sum(1).tolist() == [5, 2]
    assert batch["text_mask"].sum(1).tolist() == [3, 4]
    assert batch["video"][1, 2:].abs().sum() == 0
    assert len(batch["annotations"]) == 2


def test_a_question_needs_no_label():
    labelled = sample(5, 3, ((0, 2),))
    asked = Sample(labelled.video, labelled.text, labelled.question, 2.0)
    for samples in ([asked], [labelled, asked]):
        assert collate(samples).keys() == {"video", "video_mask", "text", "text_mask"}
    assert [part.sample.question for part in pieces(asked, 2)] == [part.sample.question for part in pieces(labelled, 2)]
    for use in (lambda: asked.targets, lambda: asked.annotation, lambda: training_pieces(asked, 2)):
        with pytest.raises(InputError, match="query 1 of video v: has no label to train on"):
            use()


def test_a_question_lasts_as_long_as_the_pictures():
    label = replace(sample(5, 3, ((0, 2),)).annotation, duration=10.2, pictures=9.6)
    assert (label.question.duration, label.question.query, label.question.qid) == (9.6, "q", 1)
