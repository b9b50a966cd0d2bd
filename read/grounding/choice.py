"""What is chosen for a backbone on its source's validation side, where labels are many, and what looks wrong there."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from read.data import Annotation, Sample
from read.grounding.inference import prediction_row, read_samples, ways
from read.grounding.windows import STEP, WindowSettings
from read.metrics.protocol import get_protocol

WHOLE = 0.95  # share of a video from which on a window is all of it
MOST_WHOLE = 0.5  # share of the queries that may be answered so


def choose_windows(model: nn.Module, val: Sequence[Sample], metric: str) -> tuple[str, dict[str, float]]:
    """The way to read windows off that scores best, and the score of each that the model allows.

    Args:
        model: pretrained.
        val: labelled samples that it was not trained on.
        metric: a name of `read.metrics.protocols`, whose `choice` counts, in percent.
    """
    found, labels = read_samples(model, val), [sample.annotation for sample in val]
    scores = {}
    for method in ways(model):
        windows = WindowSettings(method)
        rows = [prediction_row(*each, windows, model.dense) for each in zip(val, found, strict=True)]
        scores[method] = get_protocol(metric).choice(rows, labels, val[0].clip_len)
    return max(scores, key=scores.__getitem__), scores


def warnings_of(rows: Sequence[dict[str, Any]], annotations: Sequence[Annotation]) -> list[str]:
    """Sentences about predictions that cannot be what was asked for; mostly there is none.

    Args:
        rows: of `read.grounding.inference.predict`.
        annotations: of the same queries, in the same order. Those whose answer is the whole video do not count where
            it is asked whether windows are.
    """
    found = []
    parts = [(row, label) for row, label in zip(rows, annotations, strict=True) if not _whole(label.windows, label)]
    count = sum(_whole(row["pred_relevant_windows"][:1], label) for row, label in parts)
    if count > MOST_WHOLE * len(parts):
        found.append(
            f"{count} of {len(parts)} first windows span {WHOLE:.0%} of their video or more, where the moment does "
            "not: the model does not tell its clips apart"
        )
    scores = [score for row in rows for score in row["pred_saliency_scores"]]
    if len(scores) > 1 and max(scores) - min(scores) <= 2 * STEP:
        found.append("all clips have one score for all queries: the model has not learned anything")
    elif same := _deaf(rows):
        found.append(
            f"the clips of each of {same} videos have the same scores whatever is asked: the query has no effect"
        )
    return found


def _whole(windows: Sequence[Sequence[float]], label: Annotation) -> bool:
    return any(end - start >= WHOLE * label.duration for start, end, *_ in windows)


def _deaf(rows: Sequence[dict[str, Any]]) -> int:
    """How many videos there are with several queries, if all have the same scores for each of theirs; else 0."""
    curves: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        curves.setdefault(row["vid"], {})[row["query"]] = row["pred_saliency_scores"]
    several = [list(found.values()) for found in curves.values() if len(found) > 1]
    return len(several) * all(all(curve == found[0] for curve in found) for found in several)
