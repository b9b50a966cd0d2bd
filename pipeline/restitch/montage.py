"""The montage's training videos stitched anew: their segments' clips in other orders, with queries that fit.

From a few hundred videos a small model learns them, and not what "before" means. Held belong to clips, so segments
can stand in any order, and no two steps have to see the same video. All sentences are the source's own.

Symbols: n clips of a segment, d width of their features.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch

from pipeline.sources.montage.phrases import PHRASEBOOKS
from pipeline.sources.montage.scenes import SEGMENTS, SUBJECTS
from pipeline.sources.montage.subjects import PHOTOGRAPHS
from read.data import Annotation, Sample
from read.data.annotations import derive_saliency
from read.data.lazy import Held, joined
from read.files import read_jsonl

ORDER_ALONE = 0.4  # share of the steps; a model that may look for moves at once learns these, and order not at all


@dataclass(frozen=True)
class Shot:
    """A segment and its clips (n, d): those whose middle it shows."""

    subject: str
    move: str
    clips: Held


@dataclass(frozen=True)
class Meaning:
    """What a sentence asks for: a subject under the move `how`, or `how`, after or before, another one, `neighbour`."""

    kind: str
    subject: str
    how: str
    neighbour: str = ""

    def finds(self, shots: Sequence[Shot]) -> list[bool]:
        """Which of a video's shots are asked for."""
        around = [None, *(shot.subject for shot in shots), None]
        beside = around if self.how == "after" else around[2:]
        return [
            shot.subject == self.subject and (shot.move == self.how if self.kind == "move" else other == self.neighbour)
            for shot, other in zip(shots, beside, strict=False)
        ]


def meanings() -> dict[str, Meaning]:
    """All sentences of both domains."""
    found: dict[str, Meaning] = {}
    for book in PHRASEBOOKS.values():
        for subject in PHOTOGRAPHS:
            for move, ways in book.moves.items():
                found |= {way.format(subject): Meaning("move", subject, move) for way in ways}
            for relation, ways in book.relations.items():
                for other in PHOTOGRAPHS:
                    meaning = Meaning("order", subject, relation, other)
                    found |= {way.format(subject, other): meaning for way in ways}
    return found


class Restitcher:
    """Draws a sentence of the source, and a new video in which it singles out some of its subject's shots, not all.

    Args:
        samples: all that may be trained on. Sentences and clips are of these and of nothing else.
        folder: of the dataset, with its segments.
        steps: of the training: order is learned alone first, then in every third sample.
    """

    def __init__(self, samples: Sequence[Sample], folder: Path, steps: int) -> None:
        known = meanings()
        self._asked: dict[str, list[tuple[Meaning, Sample]]] = {"order": [], "move": []}
        for sample in samples:
            meaning = known[sample.question.query]
            self._asked[meaning.kind].append((meaning, sample))
        self._clip_len = samples[0].clip_len
        self._shots: dict[str, list[Shot]] = {}
        videos = {sample.vid: sample.clips for sample in samples}
        for row in read_jsonl(folder / "segments.jsonl"):
            if row["vid"] in videos:
                start, stop = (math.ceil(row[end] / self._clip_len - 0.5) for end in ("start", "end"))
                shot = Shot(row["subject"], row["move"], videos[row["vid"]][start:stop])
                if len(shot.clips):
                    self._shots.setdefault(shot.subject, []).append(shot)
        self._alone, self._step = int(ORDER_ALONE * steps), 0

    def __call__(self, count: int) -> list[Sample]:
        """The samples of a step, as torch's generator has it."""
        draw = random.Random(int(torch.randint(2**31, ())))
        self._step += 1
        kinds = ["order"] if self._step <= self._alone else ["order", "move", "move"]
        return [self._draw(kinds[number % len(kinds)], draw) for number in range(count)]

    def _draw(self, kind: str, draw: random.Random) -> Sample:
        meaning, sample = draw.choice(self._asked[kind])
        while True:
            shots = self._video(meaning, draw)
            found = meaning.finds(shots)
            if 0 < sum(found) < sum(shot.subject == meaning.subject for shot in shots):
                return self._sample(sample, shots, found)

    def _video(self, meaning: Meaning, draw: random.Random) -> list[Shot]:
        named = [subject for subject in (meaning.subject, meaning.neighbour) if subject]
        others = [subject for subject in self._shots if subject not in named]
        subjects = [*named, *draw.sample(others, SUBJECTS - len(named))]
        shots: list[Shot] = []
        for _ in range(draw.randint(*SEGMENTS)):
            subject = draw.choice([subject for subject in subjects if not shots or subject != shots[-1].subject])
            shots.append(draw.choice(self._shots[subject]))
        return shots

    def _sample(self, sample: Sample, shots: Sequence[Shot], found: Sequence[bool]) -> Sample:
        ends = torch.tensor([0, *(len(shot.clips) for shot in shots)]).cumsum(0).mul(self._clip_len).tolist()
        windows = tuple(span for span, right in zip(pairwise(ends), found, strict=True) if right)
        question = replace(sample.question, vid=f"{sample.vid}*", duration=ends[-1])
        saliency = derive_saliency(windows, ends[-1], self._clip_len)
        label = Annotation(question.qid, question.query, question.vid, ends[-1], windows, *saliency)
        return replace(sample, clips=joined([shot.clips for shot in shots]), question=question, label=label)


RESTITCHER = Restitcher
