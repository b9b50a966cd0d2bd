"""The score from which on a moment is worth showing, chosen on validation videos, and on what is not in them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from read.data import Sample
from read.errors import InputError
from read.metrics.ranking import intersection_over_union, match
from read.metrics.rows import field

MOST_ABSENT = 0.1  # share of the queries for what is not there that may be answered with a moment
IOU = 0.5  # least intersection over union of a window that is right


def absent_samples(samples: Sequence[Sample]) -> list[Sample]:
    """Each video asked for what another one shows: samples without a label, whose right answer is that it is not there.

    A query that one of the video's own says in the same words is passed over; in other words it may be there all the
    same, so that what is measured on these is on the low side.
    """
    own: dict[str, set[str]] = {}
    for sample in samples:
        own.setdefault(sample.vid, set()).add(_said(sample))
    found, count = [], len(samples)
    for index, sample in enumerate(samples):
        others = (samples[(index + count // 2 + step) % count] for step in range(count))  # far away in the file
        other = next((other for other in others if _said(other) not in own[sample.vid]), None)
        if other is not None:
            question = replace(sample.question, query=other.question.query)
            found.append(Sample(sample.clips, other.words, question, sample.clip_len, embedding=other.embedding))
    return found


def best_threshold(
    predictions: Sequence[dict[str, Any]], annotations: Iterable[Any], absent: Sequence[dict[str, Any]] = ()
) -> float | None:
    """The bar that gives the windows whose score reaches it the highest F1 against the true ones.

    A shown window counts as right when it is the first to reach an intersection over union of .5 with a true window;
    for what is not there every window is wrong. Only bars are looked at that at most a tenth of the queries for what is
    not there reach. Of bars that are as good the highest is taken, which shows the fewest windows.

    Args:
        predictions: rows of `read.grounding.inference.predict`.
        annotations: of the same queries, rows in QVHighlights' form or objects with `windows`.
        absent: rows of `predict` for what is not in the videos, as of `absent_samples`.

    Returns:
        One of the scores, or a little more than all where those for what is not there are the highest; None where no
        window is right, so that no bar is better than another.

    Raises:
        InputError: a prediction's qid has no annotation.
    """
    scores, hits, truths = _windows(predictions, annotations)
    if not any(hits):
        return None
    tops = np.sort([_top(row) for row in absent])[::-1]
    wrong = [window[2] for row in absent for window in row["pred_relevant_windows"]]
    scores, hits = np.array([*scores, *wrong]), np.array([*hits, *[False] * len(wrong)])
    order = np.argsort(-scores, kind="stable")
    ranked, right = scores[order], hits[order].cumsum()
    f1 = 2 * right / (np.arange(1, len(ranked) + 1) + truths)
    f1[:-1][ranked[1:] == ranked[:-1]] = 0.0  # a bar cannot part windows of equal score
    allowed = int(MOST_ABSENT * len(tops))
    if len(tops):
        f1[ranked <= tops[allowed]] = 0.0
    return float(ranked[f1.argmax()]) if f1.any() else float(np.nextafter(ranked[0], np.inf))


def confidence(
    predictions: Sequence[dict[str, Any]], annotations: Iterable[Any], absent: Sequence[dict[str, Any]], bar: float
) -> dict[str, Any]:
    """What a bar is worth, counted on the queries that it was chosen on.

    Returns:
        `shown` windows and how many of them are `right`, for what is there and what is not, and `precision`, their
        share; `present` queries and how many are `answered` with a moment; `absent` queries and how many are
        `answered_absent` all the same. Of the answer "not in this video" `absent_precision`, the share of its cases
        where it is right, and `absent_recall`, the share of the absent queries that get it. Shares of nothing are None.
    """
    scores, hits, _ = _windows(predictions, annotations)
    wrong = [window[2] for row in absent for window in row["pred_relevant_windows"]]
    shown = sum(score >= bar for score in [*scores, *wrong])
    right = sum(hit and score >= bar for score, hit in zip(scores, hits, strict=True))
    answered, wrongly = (sum(_top(row) >= bar for row in of) for of in (predictions, absent))
    rejected, denied = len(absent) - wrongly, len(predictions) - answered
    return {
        "shown": int(shown), "right": int(right), "precision": _share(right, shown),
        "present": len(predictions), "answered": answered, "absent": len(absent), "answered_absent": wrongly,
        "absent_precision": _share(rejected, rejected + denied), "absent_recall": _share(rejected, len(absent)),
    }  # fmt: skip


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def _windows(predictions: Sequence[dict[str, Any]], annotations: Iterable[Any]) -> tuple[list[float], list[bool], int]:
    """Scores of all windows, whether each is right, and how many true ones there are."""
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
            hits += match(pairs, np.array([IOU]))[0, 0].tolist()
        else:
            hits += [False] * len(windows)
        scores += [window[2] for window in windows]
    return scores, hits, truths


def _top(row: dict[str, Any]) -> float:
    return max((window[2] for window in row["pred_relevant_windows"]), default=-np.inf)


def _said(sample: Sample) -> str:
    return " ".join(sample.question.query.lower().split())
