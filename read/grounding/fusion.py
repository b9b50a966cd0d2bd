"""Scores per clip of a whole video, from a model and from the joint space beside it.

Symbols: N clips of a video, z(.) less the mean, over the standard deviation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from read.grounding.windows import Curves, Reading, joined, standardised

SMOOTHED = 3  # clips over which a fused curve is averaged to rank highlights; windows are read off what is not
SMALLEST = 1e-6  # probability that a logit is taken of


@dataclass(frozen=True)
class CurveFusion:
    """How the curves of a model and of its joint space become one.

    Attributes:
        dense: the model scores each clip.
        prior: lambda, the weight of the joint space; 0: what the model says stands as it is.
    """

    dense: bool
    prior: float = 0.0

    @classmethod
    def of(cls, model: Any) -> Self:
        """That of a backbone."""
        return cls(model.dense, 0.0 if model.prior is None else model.config.prior)

    def curves(self, readings: Sequence[Reading]) -> Curves | None:
        """What windows are read off; None for a model that predicts a set of them, without a prior.

        The curve is z(logit of the scores) + z(saliency) + lambda z(cosine), without the logits where scores are not of
        clips. The confidence is the mean of the score and of the cosine, taken to [0, 1], by the same weight.
        """
        scores = joined(readings, "scores") if self.dense else None
        if not self.prior:
            return None if scores is None else Curves(curve=scores, confidence=scores)
        curve, likely = self._fused(readings), (1 + joined(readings, "prior")) / 2
        return Curves(curve, likely if scores is None else (scores + self.prior * likely) / (1 + self.prior))

    def saliency(self, readings: Sequence[Reading]) -> np.ndarray:
        """(N,) by which clips rank as highlights: the model's own, or the fused curve, averaged over neighbours."""
        if not self.prior:
            return joined(readings, "clips")
        curve = np.pad(self._fused(readings), SMOOTHED // 2, mode="edge")
        return np.convolve(curve, np.full(SMOOTHED, 1 / SMOOTHED), mode="valid")

    def _fused(self, readings: Sequence[Reading]) -> np.ndarray:
        parts = [_z(joined(readings, "clips")), self.prior * _z(joined(readings, "prior"))]
        if self.dense:
            scores = joined(readings, "scores").clip(SMALLEST, 1 - SMALLEST)
            parts.append(_z(np.log(scores) - np.log1p(-scores)))
        return np.sum(parts, axis=0)


def _z(curve: np.ndarray) -> np.ndarray:
    heights = standardised(curve)
    return np.zeros(len(curve)) if heights is None else heights
