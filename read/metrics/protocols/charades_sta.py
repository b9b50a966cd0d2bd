"""Charades-STA (Gao et al. 2017): recall of the first windows."""

from collections.abc import Sequence
from typing import Any

from read.metrics import charades, grounding
from read.metrics.protocol import Protocol, Row, Scores


def _scores(predictions: Sequence[Row], annotations: Sequence[Any], clip_len: float) -> Scores:
    return charades.evaluate(predictions, annotations)


def _random(annotations: Sequence[Any], clip_len: float, draws: int, seed: int) -> Scores:
    return charades.random_level(annotations, clip_len, draws, seed)


def _oracle(annotations: Sequence[Any], clip_len: float) -> Scores:
    return charades.evaluate([grounding.oracle_prediction(a, clip_len) for a in annotations], annotations)


def _choice(predictions: Sequence[Row], annotations: Sequence[Any], clip_len: float) -> float:
    return _scores(predictions, annotations, clip_len)["mIoU"]


PROTOCOL = Protocol("R1@0.5", _scores, _random, _oracle, _choice)
