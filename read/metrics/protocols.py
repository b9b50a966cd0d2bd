"""How the queries of a benchmark are scored: one `Protocol` by name, with the levels of chance and of the truth.

A benchmark that ranks clips of its own (`judged` of an annotation: start, end, scores) gets the saliency of these clips
from that of ours: the mean of the clips that lie in them, each weighed by the time that they share.
Legend: J judged clips of a video, N clips, A annotators. Times in seconds, scores in percent.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from read.errors import InputError
from read.metrics import charades, grounding, highlights
from read.metrics.rows import field, pair

Row = Mapping[str, Any]
Scores = dict[str, float]
ORDERS = 100  # random rankings of the judged clips for each draw that is asked for: they cost little
DIGITS = 9  # of saliency: what is equal but for rounding stays equal, so that ties break by time


@dataclass(frozen=True)
class Protocol:
    """A benchmark's way to score queries.

    Attributes:
        name: by which cards know it.
        primary: the score that its tables are about.
        scores: (predictions, annotations, clip_len) -> name -> percent. Where annotations are of several `kind`s and
            the benchmark's figure is a mean over domains, so is this.
        random: (annotations, clip_len, draws, seed) -> what chance scores.
        oracle: (annotations, clip_len) -> what the ground truth itself scores.
        choice: (predictions, annotations, clip_len) -> the number that chooses steps and learning rates.
    """

    name: str
    primary: str
    scores: Callable[[Sequence[Row], Sequence[Any], float], Scores]
    random: Callable[[Sequence[Any], float, int, int], Scores]
    oracle: Callable[[Sequence[Any], float], Scores]
    choice: Callable[[Sequence[Row], Sequence[Any], float], float]


def get_protocol(name: str) -> Protocol:
    """The protocol of a name. Raises InputError with the names there are."""
    if name not in PROTOCOLS:
        raise InputError(f"metric {name!r} is none of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


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


def _grounding_scores(predictions: Sequence[Row], annotations: Sequence[Any], clip_len: float) -> Scores:
    return _flat(grounding.evaluate(predictions, annotations, clip_len))


def _grounding_random(annotations: Sequence[Any], clip_len: float, draws: int, seed: int) -> Scores:
    return _flat(grounding.random_level(annotations, clip_len, draws=draws, seed=seed))


def _grounding_oracle(annotations: Sequence[Any], clip_len: float) -> Scores:
    return _flat(grounding.oracle_level(annotations, clip_len))


def _grounding_choice(predictions: Sequence[Row], annotations: Sequence[Any], clip_len: float) -> float:
    """The mean of the windows' mAP and the clips' AP."""
    scores = _grounding_scores(predictions, annotations, clip_len)
    return (scores["MR-full-mAP"] + scores["HL-clip-AP"]) / 2


def _flat(result: dict[str, Any]) -> Scores:
    """Scores under their published names, unrounded."""
    return {**result["exact"]["brief"], **result["exact"]["extra"]}


def _charades_scores(predictions: Sequence[Row], annotations: Sequence[Any], clip_len: float) -> Scores:
    return charades.evaluate(predictions, annotations)


def _charades_random(annotations: Sequence[Any], clip_len: float, draws: int, seed: int) -> Scores:
    generator = np.random.default_rng(seed)
    levels = [
        charades.evaluate([grounding.random_prediction(a, clip_len, generator) for a in annotations], annotations)
        for _ in range(draws)
    ]
    return {name: float(np.mean([level[name] for level in levels])) for name in levels[0]}


def _charades_oracle(annotations: Sequence[Any], clip_len: float) -> Scores:
    return charades.evaluate([grounding.oracle_prediction(a, clip_len) for a in annotations], annotations)


@dataclass(frozen=True)
class _Ranking:
    """A benchmark that ranks judged clips: a metric of highlights, over videos of one domain, then over domains."""

    name: str
    metric: Callable[[highlights.Arrays, highlights.Arrays], float]
    levels: Callable[..., dict[str, float]]
    annotators: bool  # whether labels are (J, A), or (J,) of one

    def scores(self, predictions: Sequence[Row], annotations: Sequence[Any], clip_len: float) -> Scores:
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
        return self._level("random", annotations, draws=draws * ORDERS, seed=seed)

    def oracle(self, annotations: Sequence[Any], clip_len: float) -> Scores:
        return self._level("oracle", annotations, draws=1)

    def choice(self, predictions: Sequence[Row], annotations: Sequence[Any], clip_len: float) -> float:
        return self.scores(predictions, annotations, clip_len)[self.name]

    def _level(self, name: str, annotations: Sequence[Any], **options: int) -> Scores:
        return self._by_domain(lambda _, own: self.levels(own, **options)[name], annotations, annotations)

    def _by_domain(self, metric: Callable, scores: Sequence[Any], annotations: Sequence[Any]) -> Scores:
        labels = [_judged(annotation)[:, 2:] for annotation in annotations]
        if not self.annotators:
            labels = [label[:, 0] for label in labels]
        domains = [str(field(annotation, "kind") or "") for annotation in annotations]
        return {self.name: highlights.by_domain(metric, scores, labels, domains)["mean"]}


def _judged(annotation: Any) -> np.ndarray:
    """(J, 2 + A) start, end and scores of the clips that a benchmark ranks."""
    clips = field(annotation, "judged")
    if not clips:
        raise InputError(f"annotation of qid {field(annotation, 'qid')}: lacks judged, the clips that are ranked")
    return np.asarray(clips, float)


def _ranking(protocol: str, ranking: _Ranking) -> Protocol:
    return Protocol(protocol, ranking.name, ranking.scores, ranking.random, ranking.oracle, ranking.choice)


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "qvhighlights", "MR-full-mAP", _grounding_scores, _grounding_random, _grounding_oracle, _grounding_choice
        ),
        _ranking("tvsum", _Ranking("HL-top5-mAP", highlights.tvsum_top5_map, highlights.tvsum_levels, True)),
        _ranking("youtube_highlights", _Ranking("HL-mAP", highlights.youtube_map, highlights.youtube_levels, False)),
        Protocol(
            "charades_sta", "R1@0.5", _charades_scores, _charades_random, _charades_oracle,
            lambda *arguments: _charades_scores(*arguments)["mIoU"],
        ),
    )
}  # fmt: skip
