"""Moment retrieval and highlight detection, scored as QVHighlights publishes them.

Source: Lei, Berg and Bansal 2021, "Detecting Moments and Highlights in Videos via Natural Language Queries"; the
conventions are those of its public evaluator (moment_detr, `standalone_eval`), so that numbers agree to the digit.
Legend: Q queries, P predicted windows, G true windows, T thresholds, N clips, A annotators. Scores in percent.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from read.errors import InputError
from read.metrics.chance import random_draws, random_prediction
from read.metrics.ranking import (
    average_precision,
    interpolated_precision,
    intersection_over_union,
    match,
    overlap_with_best,
    voc_precision,
)
from read.metrics.rows import (
    Highlights,
    Moments,
    clip_count,
    field,
    highlights_of,
    load_predictions,
    moments_of,
    pair,
    saliency_sheet,
)

__all__ = [
    "evaluate",
    "evaluate_by",
    "load_predictions",
    "oracle_level",
    "oracle_prediction",
    "random_level",
    "random_prediction",
]

THRESHOLDS = np.array([0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95])
LENGTHS = {"short": (0, 10), "middle": (10, 30), "long": (30, 150)}  # seconds, the lower end left out
GRADES = {"Fair": 2, "Good": 3, "VeryGood": 4}  # least score of a positive clip
MAX_WINDOWS = 10  # mAP looks at so many windows, as listed

Row = dict[str, Any]


def evaluate(predictions: Sequence[Row], annotations: Iterable[Any], clip_len: float = 2.0) -> dict[str, Any]:
    """Score predictions against annotations.

    Args:
        predictions: rows with `qid`, and `pred_relevant_windows` ([[start, end, score], ...] in seconds, best first),
            `pred_saliency_scores` (one per clip), or both.
        annotations: rows in QVHighlights' form, or objects with `windows`, `clip_ids`, `saliency`.
        clip_len: seconds per clip.

    Returns:
        The published form, rounded to two digits as published: `brief` (flat names), `full`, `short`, `middle`, `long`
        (`MR-mAP`, `MR-R1`, each by IoU threshold) and `HL-min-{Fair,Good,VeryGood}` (`HL-mAP`, `HL-Hit1`). Besides:
        `extra` (`MR-full-R1@0.3`, `MR-full-R5@0.5`, `MR-full-R5@0.7`, `MR-full-mIoU`, `HL-clip-AP`), and `exact`, all
        of these unrounded. What the rows hold nothing for (no saliency, no long window) is left out. A query with an
        empty list of windows counts 0. `HL-clip-AP` is the plain average precision against the relevant clips.

    Raises:
        InputError: naming the prediction and its qid: NaN, an end before its start, a qid missing, unknown or twice,
            a number of saliency scores that does not fit the duration (two clips more or less are accepted).
    """
    exact = _exact(predictions, pair(predictions, annotations), clip_len)
    return {**_published(exact), "exact": exact}


def evaluate_by(
    predictions: Sequence[Row], annotations: Sequence[Any], key: str = "kind", clip_len: float = 2.0
) -> dict[str, dict[str, Any]]:
    """`evaluate` for each group of queries with one value of `key`, by that value in sorted order.

    Raises:
        InputError: as `evaluate`; or an annotation has no value for `key`.
    """
    pairs = list(zip(predictions, pair(predictions, annotations), strict=True))
    groups: dict[str, list[tuple[Row, Any]]] = {}
    for prediction, annotation in pairs:
        value = field(annotation, key)
        if value in (None, ""):
            raise InputError(f"annotation of qid {field(annotation, 'qid')}: lacks {key!r}, the key of the groups")
        groups.setdefault(str(value), []).append((prediction, annotation))
    return {name: evaluate(*map(list, zip(*groups[name], strict=True)), clip_len) for name in sorted(groups)}


def random_level(annotations: Sequence[Any], clip_len: float = 2.0, draws: int = 10, seed: int = 0) -> dict[str, Any]:
    """What chance scores: saliency and ten windows on clip boundaries, drawn uniformly. Form of `evaluate`.

    Args:
        annotations: as in `evaluate`.
        clip_len: seconds per clip.
        draws: how many such predictions are averaged.
        seed: of the generator.
    """
    rows = [random_prediction(annotation, clip_len, np.random.default_rng(seed)) for annotation in annotations]
    paired = pair(rows, annotations)
    moments, highlights = moments_of(rows, paired), highlights_of(rows, paired, clip_len)  # the truth, for all draws
    results = []
    for windows, saliency in random_draws(annotations, clip_len, draws, seed):
        results.append(
            _tables(
                moments and replace(moments, windows=windows),
                highlights and replace(highlights, scores=saliency, top=saliency.argmax(axis=1)),
            )
        )
    exact = _mean(results)
    return {**_published(exact), "exact": exact}


def oracle_level(annotations: Sequence[Any], clip_len: float = 2.0) -> dict[str, Any]:
    """What the ground truth itself scores: its windows, and the annotators' mean as saliency. Form of `evaluate`.

    Below 100 where the annotators disagree, or where a query has more windows than mAP looks at.
    """
    return evaluate([oracle_prediction(annotation, clip_len) for annotation in annotations], annotations, clip_len)


def _exact(predictions: Sequence[Row], annotations: Sequence[Any], clip_len: float) -> dict[str, Any]:
    """Scores of paired rows, in the published form with `extra`, unrounded."""
    return _tables(moments_of(predictions, annotations), highlights_of(predictions, annotations, clip_len))


def _tables(moments: Moments | None, highlights: Highlights | None) -> dict[str, Any]:
    tables: dict[str, Any] = {}
    brief: dict[str, float] = {}
    extra: dict[str, float] = {}
    if moments is not None:
        tables["full"], extra = _moment_scores(moments)
        tables |= _by_length(moments)
        brief = _moment_brief(tables)
    if highlights is not None:
        relevant = highlights.relevant[:, None]
        extra["HL-clip-AP"] = _percent(average_precision(highlights.scores, relevant, highlights.mask))
        if highlights.labels is not None:
            grades = {f"HL-min-{name}": _highlight_scores(highlights, least) for name, least in GRADES.items()}
            tables |= grades
            brief |= {f"{grade}-{name[3:]}": value for grade in grades for name, value in grades[grade].items()}
    if not brief and not extra:
        raise InputError("predictions and annotations share neither windows nor relevant clips: nothing to evaluate")
    return {"brief": brief, **dict(sorted(tables.items())), "extra": extra}


def _moment_brief(tables: dict[str, Any]) -> dict[str, float]:
    full = tables["full"]
    brief = {f"MR-{name}-mAP": tables[name]["MR-mAP"]["average"] for name in ("full", *LENGTHS) if name in tables}
    brief |= {f"MR-full-mAP@{threshold}": full["MR-mAP"][threshold] for threshold in ("0.5", "0.75")}
    brief |= {f"MR-full-R1@{threshold}": full["MR-R1"][threshold] for threshold in ("0.5", "0.7")}
    return dict(sorted(brief.items()))


def _by_length(moments: Moments) -> dict[str, dict]:
    """Scores by the length of the true windows. Only the ground truth is filtered, never the predictions."""
    length = moments.truth[..., 1] - moments.truth[..., 0]
    results = {}
    for name, (low, high) in LENGTHS.items():
        inside = moments.truth_mask & (length > low) & (length <= high)
        kept = inside.any(axis=1)
        if kept.any():
            part = Moments(moments.windows[kept], moments.windows_mask[kept], moments.truth[kept], inside[kept])
            results[name], _ = _moment_scores(part)
    return results


def _moment_scores(moments: Moments) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """The published table (mAP and R1 by threshold) and the further scores."""
    windows = moments.windows
    iou = intersection_over_union(windows, moments.truth)
    iou = np.where(moments.windows_mask[:, :, None] & moments.truth_mask[:, None], iou, -1.0)

    listed = np.where(moments.windows_mask, windows[..., 2], -np.inf)[:, :MAX_WINDOWS]
    order = np.argsort(-listed, axis=1, kind="stable")
    hits = match(np.take_along_axis(iou, order[..., None], axis=1), THRESHOLDS)
    precision = voc_precision(hits, moments.truth_mask.sum(axis=1)).mean(axis=0)

    best = np.where(moments.windows_mask, overlap_with_best(windows, moments.truth, iou), 0.0)
    names = [str(threshold) for threshold in THRESHOLDS]
    table = {
        "MR-mAP": {name: 100 * float(value) for name, value in zip(names, precision, strict=True)}
        | {"average": _percent(precision)},
        "MR-R1": {name: _recall(best, 1, threshold) for name, threshold in zip(names, THRESHOLDS, strict=True)},
    }
    extra = {"MR-full-R1@0.3": _recall(best, 1, 0.3)}
    extra |= {f"MR-full-R5@{threshold}": _recall(best, 5, threshold) for threshold in (0.5, 0.7)}
    return table, extra | {"MR-full-mIoU": _percent(best[:, 0])}


def _recall(best: np.ndarray, count: int, threshold: float) -> float:
    """Share of queries with one of the first `count` listed windows at or above an IoU, in percent."""
    return _percent((best[:, :count] >= threshold).any(axis=1))


def _highlight_scores(highlights: Highlights, least: int) -> dict[str, float]:
    """The mAP over queries and annotators; the share of queries whose best clip one annotator at least grades so."""
    positive = (highlights.labels >= least) & highlights.mask[:, None]
    inside = np.minimum(highlights.top, positive.shape[2] - 1)
    hit = positive[np.arange(len(inside)), :, inside].any(axis=1) & (highlights.top < highlights.mask.sum(axis=1))
    return {
        "HL-mAP": _percent(interpolated_precision(highlights.scores, positive, highlights.mask)),
        "HL-Hit1": _percent(hit),
    }


def oracle_prediction(annotation: Any, clip_len: float) -> Row:
    """The ground truth of one query as a prediction."""
    row: Row = {"qid": field(annotation, "qid")}
    windows, ids = field(annotation, "relevant_windows"), field(annotation, "relevant_clip_ids")
    if windows is not None:
        row["pred_relevant_windows"] = [[start, end, 1.0] for start, end in windows]
    if ids is not None:
        clips = clip_count(annotation, clip_len)
        graded = field(annotation, "saliency_scores")
        rows = [[1.0]] * len(ids) if graded is None else graded
        row["pred_saliency_scores"] = saliency_sheet(annotation, rows, clips).mean(axis=1).tolist()
    return row


def _percent(values: np.ndarray) -> float:
    return 100 * float(np.mean(values))


def _mean(results: Sequence[Any]) -> Any:
    """The mean of equally nested dicts of numbers, leaf by leaf."""
    if isinstance(results[0], dict):
        return {key: _mean([result[key] for result in results]) for key in results[0]}
    return float(np.mean(results))


def _published(exact: Any) -> Any:
    """All leaves with two digits, by the formatting that made the published figures."""
    if isinstance(exact, dict):
        return {key: _published(value) for key, value in exact.items()}
    return float(f"{exact:.2f}")
