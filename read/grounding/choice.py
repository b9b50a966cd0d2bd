"""What is chosen for a backbone on its source's validation side, where labels are many, and what looks wrong there."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from read.data import Annotation, Sample
from read.grounding.fusion import CurveFusion
from read.grounding.inference import prediction_row, read_samples, ways
from read.grounding.windows import STEP, WindowSettings
from read.metrics.protocol import get_protocol

WHOLE = 0.95  # share of a video from which on a window is all of it
MOST_WHOLE = 0.5  # share of the queries that may be answered so
PRIORS = (0.0, 0.5, 1.0, 2.0, 4.0)  # weights of a joint space beside a model's own scores


class Choice(NamedTuple):
    """A way to read windows off, the weight of the joint space beside the model, and the score of each with each."""

    windows: str
    prior: float
    scores: dict[str, dict[str, float]]


def choose_reading(model: Any, val: Sequence[Sample], metric: str) -> Choice:
    """What scores best of all ways to read windows off, with each weight of the joint space where the model has one.

    Of equals the first, so that a joint space that helps nothing has no weight.

    Args:
        model: pretrained; a `prior` may stand beside it, of any weight.
        val: labelled samples that neither was trained on or fitted to.
        metric: a name of `read.metrics.protocols`, whose `choice` counts, in percent.
    """
    found, labels = [*read_samples(model, val)], [sample.annotation for sample in val]
    tried: list[tuple[float, str, float]] = []
    for prior in PRIORS if model.prior is not None else PRIORS[:1]:
        fusion = CurveFusion(model.dense, prior)
        for method in [way for way in ways(model) if way == "spans" or model.dense or prior]:
            rows = [prediction_row(*each, WindowSettings(method), fusion) for each in zip(val, found, strict=True)]
            tried.append((get_protocol(metric).choice(rows, labels, val[0].clip_len), method, prior))
    _, windows, prior = max(tried, key=lambda each: each[0])
    scores: dict[str, dict[str, float]] = {}
    for score, method, weight in tried:
        scores.setdefault(method, {})[f"{weight:g}"] = score
    return Choice(windows, prior, scores)


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
