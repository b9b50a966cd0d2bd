"""Long videos in pieces: every clip is seen, moments move with their clips, training is balanced."""

import pytest
import torch

from read.data import Annotation, Sample, collate, training_pieces
from read.data.pieces import pieces


def long_sample(clips: int, windows, duration: float | None = None, others=()) -> Sample:
    ids = tuple(sorted({clip for start, end in windows for clip in range(int(start // 2), int(-(-end // 2)))}))
    duration = 2.0 * clips if duration is None else duration
    rows = tuple((float(i % 5),) for i in ids)
    annotation = Annotation(1, "q", "v", duration, tuple(windows), ids, rows, "order", distractors=tuple(others))
    return Sample.labelled(torch.arange(clips, dtype=torch.float32)[:, None], torch.ones(2, 1), annotation, 2.0)


def scored(sample: Sample):
    return zip(sample.annotation.clip_ids, sample.annotation.saliency, strict=True)


def test_a_short_video_is_one_piece():
    sample = long_sample(10, [(2.0, 6.0)])
    ((start, part),) = pieces(sample, 10)
    assert start == 0 and part is sample


@pytest.mark.parametrize("clips, length", [(11, 10), (25, 10), (30, 10), (101, 7), (5, 1)])
def test_every_clip_is_in_a_piece_of_the_asked_length(clips, length):
    seen = set()
    starts = []
    for start, part in pieces(long_sample(clips, [(0.0, 2.0)]), length):
        assert part.video[:, 0].tolist() == list(range(start, start + length))
        seen.update(range(start, start + length))
        starts.append(start)
    assert seen == set(range(clips)) and starts == sorted(set(starts))


def test_moments_move_with_their_clips():
    sample = long_sample(20, [(4.0, 9.0), (17.0, 30.0)], duration=39.5, others=[(0.0, 3.0), (10.0, 16.5)])
    parts = dict(pieces(sample, 8))
    assert list(parts) == [0, 4, 8, 12]
    assert parts[0].annotation.windows == ((4.0, 9.0),) and parts[0].annotation.duration == 16
    assert parts[4].annotation.windows == ((0.0, 1.0), (9.0, 16.0))
    found = [parts[start].annotation.distractors for start in (0, 4, 8, 12)]
    assert found == [((0.0, 3.0), (10.0, 16.0)), ((2.0, 8.5),), ((0.0, 0.5),), ()]
    assert parts[8].annotation.windows == ((1.0, 14.0),)
    assert parts[12].annotation.windows == ((0.0, 6.0),) and parts[12].annotation.duration == 15.5
    whole = dict(scored(sample))
    for start, part in parts.items():
        assert part.annotation.kind == "order"
        assert {clip + start: row for clip, row in scored(part)} == {
            clip: row for clip, row in whole.items() if start <= clip < start + 8
        }


def test_training_takes_as_many_pieces_without_a_moment_as_with_one():
    parts = training_pieces(long_sample(200, [(100.0, 104.0)]), 10)
    with_moment = [part for part in parts if part.annotation.windows]
    assert len(with_moment) == 2 and len(parts) == 4
    batch = collate(parts)
    assert batch["windows_mask"].sum(1).tolist() == [1, 1, 0, 0]
    assert batch["foreground"].sum(1).tolist() == [2, 2, 0, 0]
