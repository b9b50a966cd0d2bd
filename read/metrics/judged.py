"""Benchmarks that rank clips of their own: `judged` of an annotation, each a start, an end and scores.

Such a clip gets its saliency from that of ours: the mean of the clips that lie in it, each weighed by the time that
they share.
Legend: J judged clips of a video, N clips, A annotators. Times in seconds, scores in percent.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from read.errors import InputError
from read.metrics import highlights
from read.metrics.protocol import Protocol, Row, Scores
from read.metrics.rows import field, pair

ORDERS = 100  # random rankings of the judged clips for each draw that is asked for: they cost little
DIGITS = 9  # of saliency: what is equal but for rounding stays equal, so that ties break by time


def judged_saliency(saliency: Sequence[float], clip_len: float, spans: np.ndarray) -> np.ndarray:
    """Saliency of spans of time.

    Args:
        saliency: N, of clips of `clip_len` seconds from 0 on.
        clip_len: seconds per clip.
        spans: (J, 2) start and end.

    Returns:
        (J,) the mean over the clips that a span overlaps, by the time they share; the lowest of the video for a span
        past the last clip, so that it ranks behind those that were predicted.
    """
    values = np.asarray(saliency, float)
    starts = np.arange(len(values)) * clip_len
    shared = np.minimum(spans[:, 1:], starts + clip_len) - np.maximum(spans[:, :1], starts)
    shared = shared.clip(0)
    total = shared.sum(axis=1)
    mean = np.divide(shared @ values, total, out=np.full(len(spans), values.min()), where=total > 0)
    return mean.round(DIGITS)


@dataclass(frozen=True)
class Ranking:
    """A metric of highlights over videos of one domain, then over domains."""

    name: str
    metric: Callable[[highlights.Arrays, highlights.Arrays], float]
    levels: Callable[..., dict[str, float]]
    annotators: bool  # whether labels are (J, A), or (J,) of one

    def scores(self, predictions: Sequence[Row], annotations: Sequence[Any], clip_len: float) -> Scores:
        """How well the predicted saliency ranks the judged clips."""
        paired = pair(predictions, annotations)
        saliency = []
        for row, annotation in zip(predictions, paired, strict=True):
            if row.get("pred_saliency_scores") is None:
                raise InputError(
                    f"prediction of qid {row['qid']}: lacks pred_saliency_scores, by which clips are ranked"
                )
            saliency.append(judged_saliency(row["pred_saliency_scores"], clip_len, _judged(annotation)[:, :2]))
        return self._by_domain(self.metric, saliency, paired)

    def random(self, annotations: Sequence[Any], clip_len: float, draws: int, seed: int) -> Scores:
        """What random orders of the judged clips score."""
        return self._level("random", annotations, draws=draws * ORDERS, seed=seed)

    def oracle(self, annotations: Sequence[Any], clip_len: float) -> Scores:
        """What the annotators' own mean scores."""
        return self._level("oracle", annotations, draws=1)

    def choice(self, predictions: Sequence[Row], annotations: Sequence[Any], clip_len: float) -> float:
        """The score itself."""
        return self.scores(predictions, annotations, clip_len)[self.name]

    def _level(self, name: str, annotations: Sequence[Any], **options: int) -> Scores:
        return self._by_domain(lambda _, own: self.levels(own, **options)[name], annotations, annotations)

    def _by_domain(self, metric: Callable, scores: Sequence[Any], annotations: Sequence[Any]) -> Scores:
        labels = [_judged(annotation)[:, 2:] for annotation in annotations]
        if not self.annotators:
            labels = [label[:, 0] for label in labels]
        domains = [str(field(annotation, "kind") or "") for annotation in annotations]
        return {self.name: highlights.by_domain(metric, scores, labels, domains)["mean"]}

    @property
    def protocol(self) -> Protocol:
        """As a benchmark's way to score."""
        return Protocol(self.name, self.scores, self.random, self.oracle, self.choice)


def _judged(annotation: Any) -> np.ndarray:
    """(J, 2 + A) start, end and scores of the clips that a benchmark ranks."""
    clips = field(annotation, "judged")
    if not clips:
        raise InputError(f"annotation of qid {field(annotation, 'qid')}: lacks judged, the clips that are ranked")
    return np.asarray(clips, float)
