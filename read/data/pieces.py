"""Long videos in overlapping pieces, so that a model sees no more clips at once than it was trained for.

Symbols: N clips of a video, L clips of a piece.
"""

from dataclasses import replace
from typing import NamedTuple

from read.data.annotations import Annotation
from read.data.samples import Sample


class Piece(NamedTuple):
    """A part of a sample: the video's clips from number `start` on, with the annotation's part in them."""

    start: int
    sample: Sample


def pieces(sample: Sample, length: int) -> list[Piece]:
    """Cut a sample into pieces of `length` clips, each half a piece after the one before, the last at the end.

    A sample of at most `length` clips is its own and only piece.
    """
    clips = len(sample.clips)
    if clips <= length:
        return [Piece(0, sample)]
    starts = [*range(0, clips - length, max(1, length // 2)), clips - length]
    return [Piece(start, cut(sample, start, length)) for start in starts]


def training_pieces(sample: Sample, length: int) -> list[Sample]:
    """The pieces to train on: those with a moment, and as many of the others, evenly spread."""
    parts = [piece.sample for piece in pieces(sample, length)]
    full = [part for part in parts if part.annotation.windows]
    empty = [part for part in parts if not part.annotation.windows]
    kept = min(len(empty), len(full))
    return full + [empty[index * len(empty) // kept] for index in range(kept)]


def cut(sample: Sample, start: int, length: int) -> Sample:
    """The `length` clips of a sample from number `start` on, with what its label says of them."""
    begin, whole = start * sample.clip_len, length * sample.clip_len
    question = replace(sample.question, duration=min(sample.question.duration - begin, whole))
    label = None if sample.label is None else _cut_label(sample.label, start, length, sample.clip_len)
    part = slice(start, start + length)
    correction = None if sample.correction is None else sample.correction[part]
    return replace(sample, clips=sample.clips[part], question=question, label=label, correction=correction)


def _cut_label(annotation: Annotation, start: int, length: int, clip_len: float) -> Annotation:
    begin = start * clip_len
    duration = min(annotation.duration - begin, length * clip_len)
    windows, distractors = (
        tuple((max(s - begin, 0.0), min(e - begin, duration)) for s, e in spans if s < begin + duration and e > begin)
        for spans in (annotation.windows, annotation.distractors)
    )
    scored = [
        (clip - start, scores)
        for clip, scores in zip(annotation.clip_ids, annotation.saliency, strict=True)
        if start <= clip < start + length
    ]
    return replace(
        annotation,
        duration=duration,
        windows=windows,
        distractors=distractors,
        clip_ids=tuple(clip for clip, _ in scored),
        saliency=tuple(scores for _, scores in scored),
    )
