"""QVHighlights (Lei et al. 2021): average precision of windows and of clips."""

from collections.abc import Sequence
from typing import Any

from read.metrics import grounding
from read.metrics.protocol import Protocol, Row, Scores


def _scores(predictions: Sequence[Row], annotations: Sequence[Any], clip_len: float) -> Scores:
    return _flat(grounding.evaluate(predictions, annotations, clip_len))


def _random(annotations: Sequence[Any], clip_len: float, draws: int, seed: int) -> Scores:
    return _flat(grounding.random_level(annotations, clip_len, draws=draws, seed=seed))


def _oracle(annotations: Sequence[Any], clip_len: float) -> Scores:
    return _flat(grounding.oracle_level(annotations, clip_len))


def _choice(predictions: Sequence[Row], annotations: Sequence[Any], clip_len: float) -> float:
    """The mean of the windows' mAP and the clips' AP."""
    scores = _scores(predictions, annotations, clip_len)
    return (scores["MR-full-mAP"] + scores["HL-clip-AP"]) / 2


def _flat(result: dict[str, Any]) -> Scores:
    """Scores under their published names, unrounded."""
    return {**result["exact"]["brief"], **result["exact"]["extra"]}


PROTOCOL = Protocol("MR-full-mAP", _scores, _random, _oracle, _choice)
