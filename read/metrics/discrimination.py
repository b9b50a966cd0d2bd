"""Whether a model tells what is asked for from what looks like it: another shot of the same subject, another's turn.

A score of windows mixes that with finding the subject at all; this is the difference alone.

Symbols: N clips of a video.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from read.metrics.rows import field


def discrimination(curves: Sequence[Sequence[float]], annotations: Iterable[Any], clip_len: float) -> dict[str, float]:
    """How often a true window's mean outranks that of a distractor of the same query, in percent; chance is 50.

    Every pair of a true window and a distractor counts once, one of equal means half.

    Args:
        curves: for each annotation, scores (N,) of its video's clips.
        annotations: with `windows` and `distractors`, in seconds, and a `kind`.
        clip_len: seconds per clip. A clip counts by the share of it that a window covers.

    Returns:
        The share of each kind that has distractors, "" where queries have no kind; empty where there is none.
    """
    won: dict[str, list[float]] = {}
    for curve, annotation in zip(curves, annotations, strict=True):
        true, other = (
            np.array([_mean(np.asarray(curve, float), window, clip_len) for window in field(annotation, name) or ()])
            for name in ("relevant_windows", "distractors")
        )
        above = true[:, None] - other[None]
        won.setdefault(field(annotation, "kind") or "", []).extend(((np.sign(above) + 1) / 2).ravel().tolist())
    return {kind: 100 * float(np.mean(pairs)) for kind, pairs in sorted(won.items()) if pairs}


def _mean(curve: np.ndarray, window: Sequence[float], clip_len: float) -> float:
    """The mean of a curve (N,) over a window; of its last clip where it begins after that."""
    starts = np.arange(len(curve)) * clip_len
    covered = (np.minimum(starts + clip_len, window[1]) - np.maximum(starts, window[0])).clip(min=0)
    return float(curve @ covered / covered.sum()) if covered.any() else float(curve[-1])
