"""Moment retrieval on Charades-STA: Gaussian soft-NMS, then recall of the first 1 and 5 windows.

Sources: Gao et al. 2017 (Charades-STA), Bodla et al. 2017 (soft-NMS, equation 2); sigma as in UMT's evaluator.
Legend: Q queries, P predicted windows. Times in seconds, scores in percent.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from read.errors import InputError
from read.metrics.chance import random_draws, random_prediction
from read.metrics.ranking import intersection_over_union
from read.metrics.rows import Moments, moments_of, pair

RANKS = (1, 5)
THRESHOLDS = (0.3, 0.5, 0.7)
SIGMA = 0.5  # of the soft-NMS


def evaluate(predictions: Sequence[dict], annotations: Iterable[Any], sigma: float = SIGMA) -> dict[str, float]:
    """Recall `R{1,5}@{0.3,0.5,0.7}` after soft-NMS, and `mIoU` of the first window.

    Args:
        predictions: rows with `qid` and `pred_relevant_windows` ([[start, end, score], ...]), scores at least 0.
        annotations: rows with `qid` and `relevant_windows`.
        sigma: of the soft-NMS.

    Raises:
        InputError: as `grounding.evaluate`; or there are no windows, or a score is negative.
    """
    moments = _moments(predictions, annotations)
    negative = (moments.windows[..., 2] < 0).any(axis=1)
    if negative.any():
        qid = predictions[int(negative.argmax())]["qid"]
        raise InputError(f"qid {qid}: a window's score is negative; soft-NMS would raise it by scaling it down")
    return _scores(moments, sigma)


def random_level(annotations: Sequence[Any], clip_len: float, draws: int, seed: int) -> dict[str, float]:
    """What chance scores: the mean of some draws of ten windows on clip boundaries. Form and errors of `evaluate`."""
    rows = [random_prediction(annotation, clip_len, np.random.default_rng(seed)) for annotation in annotations]
    truth = _moments(rows, annotations)
    drawn = random_draws(annotations, clip_len, draws, seed)
    levels = [_scores(replace(truth, windows=windows), SIGMA) for windows, _ in drawn]
    return {name: float(np.mean([level[name] for level in levels])) for name in levels[0]}


def _moments(predictions: Sequence[dict], annotations: Iterable[Any]) -> Moments:
    moments = moments_of(predictions, pair(predictions, annotations))
    if moments is None:
        raise InputError("neither pred_relevant_windows nor relevant_windows may be absent")
    return moments


def _scores(moments: Moments, sigma: float) -> dict[str, float]:
    windows, mask = soft_nms(moments.windows, moments.windows_mask, sigma)
    windows, mask = windows[:, : max(RANKS)], mask[:, : max(RANKS)]
    iou = intersection_over_union(windows, moments.truth)
    best = np.where(mask[:, :, None] & moments.truth_mask[:, None], iou, 0.0).max(axis=2)
    recall = {
        f"R{rank}@{threshold}": 100 * float((best[:, :rank] >= threshold).any(axis=1).mean())
        for rank in RANKS
        for threshold in THRESHOLDS
    }
    return recall | {"mIoU": 100 * float(best[:, 0].mean())}


def soft_nms(windows: np.ndarray, mask: np.ndarray, sigma: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Take windows by falling score; each taken one scales the rest by exp(-IoU^2 / sigma).

    Args:
        windows: (Q, P, 3) start, end, score >= 0.
        mask: (Q, P) bool, real windows.
        sigma: the smaller, the harder the suppression.

    Returns:
        windows (Q, P, 3) in the order taken, with their final scores, and their mask (Q, P). Of equal scores the one
        listed first is taken first.
    """
    queries = np.arange(len(windows))
    iou = intersection_over_union(windows, windows[..., :2])
    decay = np.exp(-(iou**2) / sigma)
    waiting = np.where(mask, windows[..., 2], -1.0)  # scores still to come: -1 is padding, -2 taken
    score = waiting.copy()
    order = np.zeros(mask.shape, int)
    for rank in range(windows.shape[1]):
        taken = waiting.argmax(axis=1)
        order[:, rank] = taken
        score[queries, taken] = waiting[queries, taken]
        waiting = np.where(waiting >= 0, waiting * decay[queries, taken], waiting)
        waiting[queries, taken] = -2
    kept = np.concatenate([windows[..., :2], score[..., None]], axis=2)
    return np.take_along_axis(kept, order[..., None], axis=1), np.take_along_axis(mask, order, axis=1)
