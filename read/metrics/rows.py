"""Predictions and annotations as rows, checked, paired by query and laid out as padded arrays.

Legend: Q queries, P predicted windows, G true windows, N clips, A annotators. Times in seconds.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from read.errors import InputError
from read.rows import parse_lines

ATTRIBUTES = {"relevant_windows": "windows", "relevant_clip_ids": "clip_ids", "saliency_scores": "saliency"}
SPARE_CLIPS = 2  # each encoder may end a clip early or late; published prediction files fall short of the duration


def field(row: Any, key: str) -> Any:
    """A value of an annotation: a row in QVHighlights' form, or an object with attributes. None where absent."""
    return row.get(key) if isinstance(row, Mapping) else getattr(row, ATTRIBUTES.get(key, key), None)


def load_predictions(path: str | Path) -> list[dict]:
    """Read and check a jsonl of predictions, one query a line.

    Raises:
        InputError: naming the file and the lines of all mistakes (see `check_prediction`), and of a second row for one
            qid; or the file is absent or empty.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such prediction file")
    first_line: dict[Any, int] = {}

    def checked(row: dict, number: int) -> dict:
        check_prediction(row, "prediction")
        if first_line.setdefault(row["qid"], number) != number:
            raise InputError(f"qid {row['qid']} stands already on line {first_line[row['qid']]}")
        return row

    rows = parse_lines(path, checked)
    if not rows:
        raise InputError(f"{path}: holds no prediction")
    return rows


def check_prediction(row: Any, where: str) -> None:
    """Check one prediction on its own.

    Raises:
        InputError: starting with `where`; no object, no qid, neither windows nor saliency, a window that is no
            [start, end, score] or ends before it starts, a number that is NaN or infinite.
    """
    if not isinstance(row, Mapping):
        raise InputError(f"{where}: a prediction is a JSON object, not {type(row).__name__}")
    if not isinstance(row.get("qid"), int | str):
        raise InputError(f"{where}: lacks a qid")
    where = f"{where}: qid {row['qid']}"
    windows, saliency = row.get("pred_relevant_windows"), row.get("pred_saliency_scores")
    if windows is None and saliency is None:
        raise InputError(f"{where}: has neither pred_relevant_windows nor pred_saliency_scores")
    if windows is not None:
        table = _numbers(windows, (-1, 3), f"{where}: pred_relevant_windows", "[start, end, score] each")
        backwards = np.flatnonzero(table[:, 1] < table[:, 0])
        if len(backwards):
            raise InputError(f"{where}: window {windows[backwards[0]]} ends before its start")
    if saliency is not None and not len(_numbers(saliency, (-1,), f"{where}: pred_saliency_scores", "one per clip")):
        raise InputError(f"{where}: pred_saliency_scores is empty; one number per clip is due")


@dataclass(frozen=True)
class Moments:
    """Predicted windows beside true ones.

    windows (Q, P, 3) start, end, score, best first as listed; windows_mask (Q, P); truth (Q, G, 2); truth_mask (Q, G).
    """

    windows: np.ndarray
    windows_mask: np.ndarray
    truth: np.ndarray
    truth_mask: np.ndarray


@dataclass(frozen=True)
class Highlights:
    """Predicted saliency beside the annotators'.

    scores (Q, N), 0 where the prediction is short; mask (Q, N) real clips; top (Q,) index of the best clip, which
    may lie past the last real one; relevant (Q, N) bool; labels (Q, A, N) scores 0..4, or None where there are none.
    """

    scores: np.ndarray
    mask: np.ndarray
    top: np.ndarray
    relevant: np.ndarray
    labels: np.ndarray | None


def pair(predictions: Sequence[Mapping], annotations: Iterable[Any]) -> list[Any]:
    """The annotations in the order of the predictions.

    Raises:
        InputError: a prediction is malformed, a qid stands twice, or one side lacks a qid of the other.
    """
    by_qid: dict[Any, Any] = {}
    for number, annotation in enumerate(annotations, start=1):
        qid = field(annotation, "qid")
        if qid is None:
            raise InputError(f"annotation {number}: lacks a qid")
        if qid in by_qid:
            raise InputError(f"annotation {number}: qid {qid} stands twice among the annotations")
        by_qid[qid] = annotation
    seen: dict[Any, int] = {}
    for number, row in enumerate(predictions, start=1):
        check_prediction(row, f"prediction {number}")
        if row["qid"] in seen:
            raise InputError(f"prediction {number}: qid {row['qid']} stands already in prediction {seen[row['qid']]}")
        if row["qid"] not in by_qid:
            raise InputError(f"prediction {number}: qid {row['qid']} is not among the annotations")
        seen[row["qid"]] = number
    missing = [qid for qid in by_qid if qid not in seen]
    if missing:
        raise InputError(f"no prediction for qid {', '.join(map(str, missing[:5]))} ({len(missing)} missing in all)")
    if not seen:
        raise InputError("no predictions and no annotations: nothing to evaluate")
    return [by_qid[row["qid"]] for row in predictions]


def moments_of(predictions: Sequence[Mapping], annotations: Sequence[Any]) -> Moments | None:
    """Windows of paired rows as arrays; None where no prediction or no annotation has any (saliency-only data)."""
    predicted = [row.get("pred_relevant_windows") for row in predictions]
    true = [field(annotation, "relevant_windows") for annotation in annotations]
    if not _complete(predicted, "prediction", "pred_relevant_windows", annotations):
        return None
    if not _complete(true, "annotation", "relevant_windows", annotations):
        return None
    windows, windows_mask = pad([np.asarray(rows, float).reshape(-1, 3) for rows in predicted])
    spans = []
    for annotation, rows in zip(annotations, true, strict=True):
        where = f"annotation of qid {field(annotation, 'qid')}: relevant_windows"
        span = _numbers(rows, (-1, 2), where, "[start, end] each")
        if not len(span) or (span[:, 1] < span[:, 0]).any():
            raise InputError(f"{where} {rows}: at least one window, none with its end before its start")
        spans.append(span)
    return Moments(windows, windows_mask, *pad(spans))


def highlights_of(predictions: Sequence[Mapping], annotations: Sequence[Any], clip_len: float) -> Highlights | None:
    """Saliency of paired rows as arrays; None where no prediction has scores or no annotation has relevant clips.

    As published, a video has int(duration / clip_len) clips, predicted scores past the last clip are left out and a
    clip without a predicted score has 0. A trailing part of a clip counts where the annotation names it.
    """
    predicted = [row.get("pred_saliency_scores") for row in predictions]
    if not _complete(predicted, "prediction", "pred_saliency_scores", annotations):
        return None
    clip_ids = [field(annotation, "relevant_clip_ids") for annotation in annotations]
    if not _complete(clip_ids, "annotation", "relevant_clip_ids", annotations):
        return None
    labels = [field(annotation, "saliency_scores") for annotation in annotations]
    judged = _complete(labels, "annotation", "saliency_scores", annotations)
    scores, relevant, sheets, tops = [], [], [], []
    for annotation, ids, rows, raw in zip(annotations, clip_ids, labels, predicted, strict=True):
        clips = clip_count(annotation, clip_len)
        if abs(len(raw) - clips) > SPARE_CLIPS:
            raise InputError(
                f"prediction of qid {field(annotation, 'qid')}: {len(raw)} pred_saliency_scores for {clips} clips of "
                f"{clip_len:g} s in {field(annotation, 'duration')} s"
            )
        line = np.zeros(clips)
        line[: len(raw)] = raw[:clips]
        scores.append(line)
        tops.append(int(np.argmax(raw)))
        relevant.append(np.zeros(clips, bool))
        relevant[-1][np.asarray(ids, int)] = True
        if judged:
            sheets.append(saliency_sheet(annotation, rows, clips))
    table, mask = pad(scores)
    graded = np.moveaxis(pad(_same_width(sheets, clip_ids))[0], 2, 1) if judged else None
    return Highlights(table, mask, np.array(tops), pad(relevant)[0], graded)


def clip_count(annotation: Any, clip_len: float) -> int:
    """int(duration / clip_len) as published, or one more where a relevant clip is the trailing part of one."""
    where = f"annotation of qid {field(annotation, 'qid')}"
    duration = field(annotation, "duration")
    if not isinstance(duration, int | float) or not 0 < duration < math.inf:
        raise InputError(f"{where}: duration {duration!r} is no positive number of seconds")
    ids = field(annotation, "relevant_clip_ids") or ()
    needed = max(ids, default=-1) + 1
    if min(ids, default=0) < 0 or needed > math.ceil(duration / clip_len):
        raise InputError(f"{where}: relevant_clip_ids {list(ids)} leave {duration:g} s of {clip_len:g} s clips")
    return max(1, int(duration / clip_len), needed)


def saliency_sheet(annotation: Any, rows: Sequence[Sequence[float]], clips: int) -> np.ndarray:
    """The annotators' scores of all clips of a video, 0 where no window lies: (clips, A)."""
    where = f"annotation of qid {field(annotation, 'qid')}: saliency_scores"
    ids = np.asarray(field(annotation, "relevant_clip_ids"), int)
    table = _numbers(rows, (-1, None), where, "one row of annotators' scores per relevant clip")
    if len(table) != len(ids):
        raise InputError(f"{where}: {len(table)} rows for {len(ids)} relevant clips")
    sheet = np.zeros((clips, table.shape[1]))
    sheet[ids] = table
    return sheet


def pad(arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Arrays (L_q, ...) stacked to (Q, max L, ...) with zeros at the end, and the mask (Q, max L) of real rows."""
    longest = max(1, max(len(array) for array in arrays))
    table = np.zeros((len(arrays), longest, *arrays[0].shape[1:]), arrays[0].dtype)
    mask = np.zeros((len(arrays), longest), bool)
    for index, array in enumerate(arrays):
        table[index, : len(array)] = array
        mask[index, : len(array)] = True
    return table, mask


def _same_width(sheets: list[np.ndarray], clip_ids: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Sheets (clips, A) of one A. A query without relevant clips names no annotators and takes the others' number."""
    widths = {sheet.shape[1] for sheet, ids in zip(sheets, clip_ids, strict=True) if len(ids)} or {1}
    if len(widths) > 1:
        raise InputError(f"saliency_scores: {sorted(widths)} annotators in different rows; one number in all is due")
    return [sheet if len(ids) else np.zeros((len(sheet), *widths)) for sheet, ids in zip(sheets, clip_ids, strict=True)]


def _complete(values: Sequence[Any], side: str, key: str, annotations: Sequence[Any]) -> bool:
    """Whether all rows have a value; False where none has. Raises InputError where only some have."""
    absent = [field(row, "qid") for row, value in zip(annotations, values, strict=True) if value is None]
    if absent and len(absent) < len(values):
        raise InputError(f"{side} of qid {absent[0]}: lacks {key}, which other rows have ({len(absent)} lack it)")
    return not absent


def _numbers(values: Any, shape: tuple[int | None, ...], where: str, form: str) -> np.ndarray:
    """`values` as floats with as many dimensions as `shape`; -1 is any length, None any width above 0."""
    try:
        table = np.asarray(values, float)
    except (TypeError, ValueError):
        raise InputError(f"{where}: not a table of numbers; {form}") from None
    if table.size == 0 and len(table) == 0:
        return np.zeros([max(side or 1, 0) for side in shape])
    if table.ndim != len(shape) or (len(shape) == 2 and shape[1] is not None and table.shape[1] != shape[1]):
        raise InputError(f"{where}: the form is {form}; got an array of shape {table.shape}")
    if not np.isfinite(table).all():
        bad = np.flatnonzero(~np.isfinite(table).reshape(len(table), -1).all(axis=1))[0]
        raise InputError(f"{where}: entry {bad + 1} is NaN or infinite: {values[bad]}")
    return table
