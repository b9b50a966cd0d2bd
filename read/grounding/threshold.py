"""The score from which on a moment is worth showing, chosen on validation videos, and on what is not in them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from read.data import Sample
from read.errors import InputError
from read.metrics.ranking import intersection_over_union, match
from read.metrics.rows import field

MOST_DENIED = 0.1  # chance that a query whose first window is right is answered with "not in this video"
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
    """The bar that gives the windows whose score reaches it the highest F1, among those that deny few right answers.

    A right answer is denied where the first window of its query is right and does not reach the bar. For a query like
    these m that are answered right, the chance of that is k / (m + 1) at most below the k-th lowest of their scores
    (split conformal prediction: Vovk, Gammerman and Shafer 2005); k is the largest that keeps it to a tenth. Fewer than
    nine right answers support no bar at all.

    For the F1 a shown window counts as right when it is the first to reach an intersection over union of .5 with a true
    window; for what is not there every window is wrong. Of bars that are as good the highest is taken, which shows the
    fewest windows.

    Args:
        predictions: rows of `read.grounding.inference.predict`.
        annotations: of the same queries, rows in QVHighlights' form or objects with `windows`.
        absent: rows of `predict` for what is not in the videos, as of `absent_samples`.

    Returns:
        One of the scores; None where fewer than nine queries have a right first window.

    Raises:
        InputError: a prediction's qid has no annotation.
    """
    found = _windows(predictions, annotations)
    rank = int(MOST_DENIED * (len(found.firsts) + 1))
    if rank == 0:
        return None
    wrong = [window[2] for row in absent for window in row["pred_relevant_windows"]]
    scores, hits = np.array([*found.scores, *wrong]), np.array([*found.hits, *[False] * len(wrong)])
    order = np.argsort(-scores, kind="stable")
    ranked, right = scores[order], hits[order].cumsum()
    f1 = 2 * right / (np.arange(1, len(ranked) + 1) + found.truths)
    f1[:-1][ranked[1:] == ranked[:-1]] = 0.0  # a bar cannot part windows of equal score
    f1[ranked > sorted(found.firsts)[rank - 1]] = 0.0
    return float(ranked[f1.argmax()])


def confidence(
    predictions: Sequence[dict[str, Any]],
    annotations: Iterable[Any],
    absent: Sequence[dict[str, Any]],
    bar: float | None,
) -> dict[str, Any]:
    """What a bar is worth, counted on the queries that it was chosen on, and how many these are.

    Args:
        predictions: as of `best_threshold`.
        annotations: as there.
        absent: as there.
        bar: None where there is none, and all is shown.

    Returns:
        `shown` windows and how many of them are `right`, for what is there and what is not, and `precision`, their
        share; `videos` asked and their `present` queries, how many are `answered` with a moment, how many have a right
        first window, `found`, and how many of these are `denied`; `absent` queries and how many are `answered_absent`
        all the same. Of the answer "not in this video" `absent_precision`, the share of its cases where it is right,
        and `absent_recall`, the share of the absent queries that get it. Shares of nothing are None.
    """
    bar = -np.inf if bar is None else bar
    found = _windows(predictions, annotations)
    wrong = [window[2] for row in absent for window in row["pred_relevant_windows"]]
    shown = sum(score >= bar for score in [*found.scores, *wrong])
    right = sum(hit and score >= bar for score, hit in zip(found.scores, found.hits, strict=True))
    answered, wrongly = (sum(_top(row) >= bar for row in of) for of in (predictions, absent))
    rejected, denied = len(absent) - wrongly, len(predictions) - answered
    return {
        "videos": len({row["vid"] for row in predictions}),
        "found": len(found.firsts), "denied": sum(score < bar for score in found.firsts),
        "shown": int(shown), "right": int(right), "precision": _share(right, shown),
        "present": len(predictions), "answered": answered, "absent": len(absent), "answered_absent": wrongly,
        "absent_precision": _share(rejected, rejected + denied), "absent_recall": _share(rejected, len(absent)),
    }  # fmt: skip


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


class _Windows(NamedTuple):
    """Scores of all windows, whether each is right, scores of the first ones that are, and how many true ones are."""

    scores: list[float]
    hits: list[bool]
    firsts: list[float]
    truths: int


def _windows(predictions: Sequence[dict[str, Any]], annotations: Iterable[Any]) -> _Windows:
    truth_of = {field(annotation, "qid"): field(annotation, "relevant_windows") for annotation in annotations}
    scores, hits, firsts, truths = [], [], [], 0
    for row in predictions:
        if row["qid"] not in truth_of:
            raise InputError(f"threshold: qid {row['qid']} is predicted, but not annotated")
        windows = sorted(row["pred_relevant_windows"], key=lambda window: -window[2])
        truth = truth_of[row["qid"]]
        truths += len(truth)
        own = [False] * len(windows)
        if windows and len(truth):
            pairs = intersection_over_union(np.array([windows], float), np.array([truth], float))
            own = match(pairs, np.array([IOU]))[0, 0].tolist()
        scores += [window[2] for window in windows]
        hits += own
        firsts += [windows[0][2]] if any(own[:1]) else []
    return _Windows(scores, hits, firsts, truths)


def _top(row: dict[str, Any]) -> float:
    return max((window[2] for window in row["pred_relevant_windows"]), default=-np.inf)


def _said(sample: Sample) -> str:
    return " ".join(sample.question.query.lower().split())
