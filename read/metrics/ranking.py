"""Average precision of ranked clips and of matched windows, vectorised over queries.

Legend: Q queries, P predicted windows, G true windows, T thresholds, N clips, A annotators.
"""

import numpy as np


def clip_precision(scores: np.ndarray, labels: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Walk down the clips by falling score; clips of equal score are one step, since no order among them is meant.

    Args:
        scores: (Q, N).
        labels: (Q, A, N) bool.
        mask: (Q, N) bool, real clips.

    Returns:
        precision (Q, A, N) after each step, 0 inside one; gain (Q, A, N) relevant clips found in the step.
    """
    ranked = np.where(mask, scores, -np.inf)
    order = np.argsort(-ranked, axis=1, kind="stable")
    ranked = np.take_along_axis(ranked, order, axis=1)
    found = np.cumsum(np.take_along_axis(labels & mask[:, None], order[:, None], axis=2), axis=2)
    step_end = np.ones(ranked.shape, bool)
    step_end[:, :-1] = ranked[:, 1:] != ranked[:, :-1]
    at_end = np.where(step_end[:, None], found, 0)
    before = np.zeros_like(at_end)
    before[..., 1:] = np.maximum.accumulate(at_end, axis=2)[..., :-1]
    gain = np.where(step_end[:, None], found - before, 0)
    return at_end / np.arange(1, ranked.shape[1] + 1), gain


def average_precision(scores: np.ndarray, labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Precision summed over the rises of recall, not interpolated (Q, A); 0 where nothing is relevant."""
    precision, gain = clip_precision(scores, labels, mask)
    return (precision * gain).sum(axis=2) / np.maximum(gain.sum(axis=2), 1)


def interpolated_precision(scores: np.ndarray, labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """QVHighlights' AP of clips (Q, A): the best precision at this or a higher recall, averaged over recall levels.

    Every level that the ranking reaches weighs the same, however many clips tie there (the published evaluator does
    so). 0 where nothing is relevant, 1 where everything is.
    """
    precision, gain = clip_precision(scores, labels, mask)
    envelope = np.maximum.accumulate(precision[..., ::-1], axis=2)[..., ::-1]
    rises = gain > 0
    return (envelope * rises).sum(axis=2) / np.maximum(rises.sum(axis=2), 1)


def trapezoid_precision(labels: np.ndarray) -> np.ndarray:
    """Area under precision over recall by trapezoids from (recall 0, precision 1), of labels in ranked order.

    Args:
        labels: (..., N) 0 or 1, best clip first.

    Returns:
        (...) sum of (rec_i - rec_{i-1}) * (prec_{i-1} + prec_i) / 2; 0 where nothing is relevant. The recall's
        denominator is the number of relevant clips in `labels`.
    """
    labels = np.asarray(labels, float)
    hits = labels.cumsum(axis=-1)
    precision = hits / np.arange(1, labels.shape[-1] + 1)
    previous = np.concatenate([np.ones_like(precision[..., :1]), precision[..., :-1]], axis=-1)
    return (labels * (previous + precision)).sum(axis=-1) / 2 / np.maximum(hits[..., -1], 1)


def intersection_over_union(windows: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Temporal IoU of windows (Q, P, >=2) and truth (Q, G, 2): (Q, P, G), 0 where both are points."""
    overlap = _overlap(windows, truth)
    length, true_length = windows[..., 1] - windows[..., 0], truth[..., 1] - truth[..., 0]
    union = length[:, :, None] + true_length[:, None] - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)


def overlap_with_best(windows: np.ndarray, truth: np.ndarray, iou: np.ndarray) -> np.ndarray:
    """IoU of each window with the true window that it fits best (Q, P), over their hull as recall is published.

    Hull and union are the same wherever two windows meet; only the last bit of the quotient can differ.
    """
    best = np.take_along_axis(truth, iou.argmax(axis=2)[..., None], axis=1)
    overlap = np.minimum(windows[..., 1], best[..., 1]) - np.maximum(windows[..., 0], best[..., 0])
    hull = np.maximum(windows[..., 1], best[..., 1]) - np.minimum(windows[..., 0], best[..., 0])
    return np.divide(np.maximum(overlap, 0), hull, out=np.zeros_like(hull), where=hull > 0)


def match(iou: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Each window in turn takes the free true window of the highest IoU (the last of equals) that meets a threshold.

    Args:
        iou: (Q, P, G), windows by falling score, -1 for padding.
        thresholds: (T,).

    Returns:
        (Q, T, P) bool, whether the window found one.
    """
    queries, windows, truths = iou.shape
    free = np.ones((queries, len(thresholds), truths), bool)
    hits = np.zeros((queries, len(thresholds), windows), bool)
    for rank in range(windows):
        row = iou[:, rank, None]
        eligible = np.where(free & (row >= thresholds[:, None]), row, -1.0)
        choice = truths - 1 - eligible[..., ::-1].argmax(axis=2)
        hits[..., rank] = eligible.max(axis=2) >= 0
        free &= ~(hits[..., rank, None] & (np.arange(truths) == choice[..., None]))
    return hits


def voc_precision(hits: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Average precision of VOC 2011 (Q, T): area under the envelope of precision over recall.

    Args:
        hits: (Q, T, P) bool by falling score; padding at the end counts as a miss and changes nothing.
        positives: (Q,) true windows, at least one.
    """
    found = hits.cumsum(axis=2)
    precision = found / np.arange(1, hits.shape[2] + 1)
    envelope = np.maximum.accumulate(precision[..., ::-1], axis=2)[..., ::-1]
    return (envelope * hits).sum(axis=2) / positives[:, None]


def _overlap(windows: np.ndarray, truth: np.ndarray) -> np.ndarray:
    end = np.minimum(windows[:, :, None, 1], truth[:, None, :, 1])
    start = np.maximum(windows[:, :, None, 0], truth[:, None, :, 0])
    return np.maximum(end - start, 0)
