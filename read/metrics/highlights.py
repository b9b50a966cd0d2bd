"""Highlight detection on YouTube Highlights and TVSum: mAP by trapezoids, as their benchmarks are compared in print.

Sources: Sun et al. 2014 (YouTube Highlights), Song et al. 2015 (TVSum); the conventions are those of UMT's evaluator
(Liu et al. 2022), which differ from scikit-learn's average precision. Legend: V videos, N clips of a video,
A annotators. Scores in percent. Clips of equal score rank in their order in time.
"""

from collections.abc import Callable, Sequence

import numpy as np

from read.errors import InputError
from read.metrics.ranking import trapezoid_precision

TOP = 5

Arrays = Sequence[np.ndarray]


def youtube_map(scores: Arrays, labels: Arrays) -> float:
    """Mean over videos of the trapezoid AP; a clip is relevant where its match label is above 0.

    Args:
        scores: V arrays (N,), predicted saliency.
        labels: V arrays (N,), -1, 0 or 1. A video without a relevant clip counts 0.

    Raises:
        InputError: no videos, lengths that differ, or a score that is NaN.
    """
    _check(scores, labels, dims=1)
    ranked = [_ranked(score, np.asarray(label) > 0) for score, label in zip(scores, labels, strict=True)]
    return 100 * float(np.mean([trapezoid_precision(label) for label in ranked]))


def youtube_levels(labels: Arrays, draws: int = 1000, seed: int = 0) -> dict[str, float]:
    """`random`: the mean `youtube_map` of random rankings; `oracle`: of the labels themselves."""
    _check(labels, labels, dims=1)
    generator = np.random.default_rng(seed)
    chance = [trapezoid_precision(_shuffled(np.asarray(label) > 0, draws, generator)).mean() for label in labels]
    return {"random": 100 * float(np.mean(chance)), "oracle": youtube_map(labels, labels)}


def tvsum_top5_map(scores: Arrays, labels: Arrays) -> float:
    """Mean over annotators and videos of the trapezoid AP of the five best clips.

    A clip is relevant to an annotator who scores it strictly above the (lower) median of the video's clips; the
    recall's denominator is the number of relevant clips among the five.

    Args:
        scores: V arrays (N,), predicted saliency.
        labels: V arrays (N, A), the annotators' scores.

    Raises:
        InputError: no videos, lengths that differ, or a score that is NaN.
    """
    _check(scores, labels, dims=2)
    ranked = [_ranked(score, above_median(label))[:TOP] for score, label in zip(scores, labels, strict=True)]
    return 100 * float(np.mean([trapezoid_precision(label.T).mean() for label in ranked]))


def tvsum_levels(labels: Arrays, draws: int = 1000, seed: int = 0) -> dict[str, float]:
    """`random`: the mean `tvsum_top5_map` of random rankings; `oracle`: of the mean of the annotators."""
    oracle = tvsum_top5_map([np.mean(label, axis=1) for label in labels], labels)
    generator = np.random.default_rng(seed)
    chance = [
        trapezoid_precision(np.moveaxis(_shuffled(above_median(label), draws, generator)[:, :TOP], 1, 2)).mean()
        for label in labels
    ]
    return {"random": 100 * float(np.mean(chance)), "oracle": oracle}


def above_median(label: np.ndarray) -> np.ndarray:
    """Where each annotator's score lies strictly above the lower median over the clips: (N, A) bool."""
    label = np.asarray(label)
    return label > np.sort(label, axis=0)[(len(label) - 1) // 2]


def by_domain(
    metric: Callable[[Arrays, Arrays], float], scores: Arrays, labels: Arrays, domains: Sequence[str]
) -> dict[str, float]:
    """A metric for the videos of each domain, and `mean` over the domains (not over the videos), as in print."""
    names = np.asarray(domains)
    if not len(scores) == len(labels) == len(names):
        raise InputError(f"{len(scores)} scores, {len(labels)} labels and {len(names)} domains: one each per video")
    members = {name: np.flatnonzero(names == name) for name in sorted(set(domains))}
    result = {name: metric([scores[i] for i in own], [labels[i] for i in own]) for name, own in members.items()}
    return result | {"mean": float(np.mean(list(result.values())))}


def _ranked(score: np.ndarray, label: np.ndarray) -> np.ndarray:
    """`label` (N, ...) with the clip of the highest score first."""
    return label[np.argsort(-np.asarray(score, float), kind="stable")]


def _shuffled(label: np.ndarray, draws: int, generator: np.random.Generator) -> np.ndarray:
    """`label` (N, ...) in `draws` random orders of its clips: (draws, N, ...)."""
    return label[np.argsort(generator.random((draws, len(label))), axis=1)]


def _check(scores: Arrays, labels: Arrays, dims: int) -> None:
    if not len(scores) or len(scores) != len(labels):
        raise InputError(f"{len(scores)} arrays of scores for {len(labels)} of labels: one each per video is due")
    for video, (score, label) in enumerate(zip(scores, labels, strict=True), start=1):
        if np.ndim(label) != dims or not len(label):
            raise InputError(f"video {video}: labels of shape {np.shape(label)}; {dims} dimensions are due")
        if np.shape(score) != (len(label),):
            raise InputError(f"video {video}: scores of shape {np.shape(score)} for {len(label)} labelled clips")
        if not (np.isfinite(np.asarray(score, float)).all() and np.isfinite(np.asarray(label, float)).all()):
            raise InputError(f"video {video}: a score or label is NaN or infinite")
