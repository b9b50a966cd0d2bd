"""How far a perfect curve of scores per clip leads, and one that knows the subject and nothing else.

Windows are read off them as off a model's curve, so that what is lost is what is lost by reading windows of clips.

Symbols: N clips of a video.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from read.data import Annotation, Sample
from read.grounding.windows import Curves, Reading, WindowSettings, windows_of
from read.metrics.protocol import Protocol, Row

TIES = 1e-3  # by how much one shot of the subject may stand above another: by chance, and by next to nothing


def ceilings(samples: Sequence[Sample], windows: WindowSettings, draws: int) -> dict[str, list[list[Row]]]:
    """Predictions of both, by name, each a list of tries.

    `perfect_clips` gives the clips of true windows 1 and the others 0. `subject_only`, where all labels have
    distractors, gives those of distractors 1 as well; which of the windows comes first is left to chance.

    Args:
        samples: labelled.
        windows: how they are read off; where a model would regress them, by runs of clips.
        draws: tries of `subject_only`.
    """
    if windows.method not in ("ladder", "runs"):
        windows = replace(windows, method="runs")
    perfect = [_row(sample, _curve(sample, _clips(sample, "windows")), windows) for sample in samples]
    found = {"perfect_clips": [perfect]}
    if all(sample.annotation.distractors for sample in samples):
        generator = np.random.default_rng(0)
        shots = [[*_clips(sample, "windows"), *_clips(sample, "distractors")] for sample in samples]
        found["subject_only"] = [
            [_row(sample, _curve(sample, of, generator), windows) for sample, of in zip(samples, shots, strict=True)]
            for _ in range(draws)
        ]
    return found


def mean_scores(
    tries: Sequence[Sequence[Row]], annotations: Sequence[Annotation], metric: Protocol, clip_len: float
) -> dict[str, float]:
    """The scores of some of the queries, as means over tries."""
    wanted = {annotation.qid for annotation in annotations}
    parts = [[row for row in rows if row["qid"] in wanted] for rows in tries]
    scores = [metric.scores(part, annotations, clip_len) for part in parts]
    return {name: float(np.mean([of[name] for of in scores])) for name in scores[0]}


def _clips(sample: Sample, name: str) -> list[np.ndarray]:
    """Which clips lie in each window of a name."""
    labels = [replace(sample.annotation, windows=(window,)) for window in getattr(sample.annotation, name)]
    masks = [replace(sample, label=label).targets["foreground"].numpy() > 0 for label in labels]
    return [np.flatnonzero(mask) for mask in masks]


def _curve(sample: Sample, shots: Sequence[np.ndarray], generator: np.random.Generator | None = None) -> np.ndarray:
    """The curve (N,): 1 in shots, a little more with a generator, and 0 elsewhere."""
    curve = np.zeros(len(sample.clips))
    for shot in shots:
        curve[shot] = 1.0 if generator is None else 1.0 + TIES * generator.random()
    return curve


def _row(sample: Sample, curve: np.ndarray, windows: WindowSettings) -> dict[str, Any]:
    question, reading = sample.question, Reading(0, np.zeros((len(curve), 2)), curve, curve)
    return {
        "qid": question.qid,
        "pred_relevant_windows": windows_of(
            [reading], Curves(curve, curve), sample.clip_len, question.duration, windows
        ),
        "pred_saliency_scores": curve.tolist(),
    }
