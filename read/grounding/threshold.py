"""The score from which on a moment is worth showing, chosen on validation videos."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from read.errors import InputError
from read.metrics.ranking import intersection_over_union, match
from read.metrics.rows import field


def best_threshold(predictions: Sequence[dict[str, Any]], annotations: Iterable[Any], iou: float = 0.5) -> float | None:
    """The bar that gives the windows whose score reaches it the highest F1 against the true ones.

    A shown window counts as right when it is the first to reach `iou` with a true window. Of bars that are as good the
    highest is taken, which shows the fewest windows.

    Args:
        predictions: rows of `read.grounding.inference.predict`.
        annotations: of the same queries, rows in QVHighlights' form or objects with `windows`.
        iou: least intersection over union.

    Returns:
        One of the scores; None where no window is right, so that no bar is better than another.

    Raises:
        InputError: a prediction's qid has no annotation.
    """
    truth_of = {field(annotation, "qid"): field(annotation, "relevant_windows") for annotation in annotations}
    scores, hits, truths = [], [], 0
    for row in predictions:
        if row["qid"] not in truth_of:
            raise InputError(f"threshold: qid {row['qid']} is predicted, but not annotated")
        windows = sorted(row["pred_relevant_windows"], key=lambda window: -window[2])
        truth = truth_of[row["qid"]]
        truths += len(truth)
        if windows and len(truth):
            pairs = intersection_over_union(np.array([windows], float), np.array([truth], float))
            hits += match(pairs, np.array([iou]))[0, 0].tolist()
        else:
            hits += [False] * len(windows)
        scores += [window[2] for window in windows]
    if not any(hits):
        return None
    order = np.argsort(-np.array(scores), kind="stable")
    ranked, right = np.array(scores)[order], np.array(hits)[order].cumsum()
    f1 = 2 * right / (np.arange(1, len(ranked) + 1) + truths)
    f1[:-1][ranked[1:] == ranked[:-1]] = 0.0  # a bar cannot part windows of equal score
    return float(ranked[f1.argmax()])
