"""Longer training videos, made of a source's short ones: their clips one after the other, a query's label moved along.

Symbols: N clips of a video.
"""

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import torch

from read.data.lazy import joined
from read.data.pieces import cut
from read.data.samples import Sample


def join(parts: Sequence[Sample], index: int) -> Sample:
    """The query of `parts[index]`, asked of the videos of all parts, one after the other.

    A part begins where the clips of the one before it end. What the query's label says of its own video it says of the
    whole, so what is asked for should not be seen in the other parts.

    Args:
        parts: samples of different videos, with clips of one length.
        index: of the one whose query, label and sentence are kept. `correction` is kept where all parts have one.
    """
    sample = parts[index]
    clips, seconds = [len(part.clips) for part in parts], sample.clip_len
    shift = sum(clips[:index])
    later = shift * seconds
    duration = sum(clips[:-1]) * seconds + min(parts[-1].question.duration, clips[-1] * seconds)
    vid = "+".join(part.vid for part in parts)
    label = sample.label and replace(
        sample.label,
        vid=vid,
        duration=duration,
        pictures=math.inf,
        windows=tuple((start + later, end + later) for start, end in sample.label.windows),
        distractors=tuple((start + later, end + later) for start, end in sample.label.distractors),
        clip_ids=tuple(clip + shift for clip in sample.label.clip_ids),
        judged=tuple((start + later, end + later, *scores) for start, end, *scores in sample.label.judged),
    )
    corrections = [part.correction for part in parts if part.correction is not None]
    return replace(
        sample,
        clips=joined([part.clips for part in parts]),
        question=replace(sample.question, vid=vid, duration=duration),
        label=label,
        correction=joined(corrections) if len(corrections) == len(parts) else None,
    )


def lengthened(samples: Sequence[Sample], count: int, seed: int = 0) -> list[Sample]:
    """Each sample in a video of up to `count` of theirs, at a place that the seed draws; its id gets a "+".

    Which videos stand beside one another follows the rule of `Joiner`. A sample that fits no other is left out.
    """
    draw, rarest = random.Random(seed), Rarest(samples)
    found = []
    for sample in samples:
        parts = {sample.vid: sample}
        for other in draw.sample(samples, len(samples)):
            if len(parts) < count and other.vid not in parts and not rarest.recurs(sample, other.vid):
                parts[other.vid] = other
        if len(parts) > 1:
            order = draw.sample(list(parts.values()), len(parts))
            whole = join(order, next(index for index, part in enumerate(order) if part is sample))
            qid = f"{sample.question.qid}+"
            label = whole.label and replace(whole.label, qid=qid)
            found.append(replace(whole, question=replace(whole.question, qid=qid), label=label))
    return found


class Rarest:
    """Whether what a query asks for may be seen in another video: somebody asks of it with the query's rarest word."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._asked: dict[str, set[str]] = {}
        for sample in samples:
            self._asked.setdefault(sample.vid, set()).update(_words(sample))
        self._videos = Counter(word for words in self._asked.values() for word in words)

    def recurs(self, sample: Sample, vid: str) -> bool:
        """Whether it may be seen in a video of those that this was made of."""
        return min(_words(sample), key=lambda word: (self._videos[word], word)) in self._asked[vid]


class Joiner:
    """Puts pieces of joined videos into batches, in place of some samples: they look as those of a long video do.

    A sample's video is joined to another of the batch, and a piece is cut from the two, at any place: it may hold the
    moment, a part of it, or nothing of it. So a model learns that what is asked for may not be there, which it has to
    know where it reads a long video in pieces, at no more cost than before.

    The other video is one of which nobody asks a query with the rarest word of the sample's: what is asked for is not
    to be seen in it, as far as its labels tell.

    Args:
        samples: all that batches are drawn from, with labels.
        longest: clips of a piece, at most.
        share: of the samples of a batch that are replaced.
        begin: how many batches stay as they are first. A model that has not found out yet what a moment looks like is
            held up by videos without one.
    """

    def __init__(self, samples: Sequence[Sample], longest: int, share: float, begin: int = 0) -> None:
        self.longest, self.share, self.begin = longest, share, begin
        self._rarest = Rarest(samples)
        self._batches = 0

    def __call__(self, samples: Sequence[Sample]) -> list[Sample]:
        """A batch, as torch's generator has it; a sample for which there is no other video stays as it is."""
        self._batches += 1
        if self._batches <= self.begin:
            return list(samples)
        draw = random.Random(int(torch.randint(2**31, ())))
        return [self._piece(sample, samples, draw) if draw.random() < self.share else sample for sample in samples]

    def _piece(self, sample: Sample, samples: Sequence[Sample], draw: random.Random) -> Sample:
        vids = {other.vid for other in samples} - {sample.vid}
        fitting = {vid for vid in vids if not self._rarest.recurs(sample, vid)}
        others = [other for other in samples if other.vid in fitting]
        if not others:
            return sample
        other, first = draw.choice(others), draw.random() < 0.5
        whole = join((sample, other) if first else (other, sample), 0 if first else 1)
        length = min(self.longest, len(whole.clips))
        return cut(whole, draw.randint(0, len(whole.clips) - length), length)


def _words(sample: Sample) -> set[str]:
    return set(sample.question.query.lower().split())
