"""What chance predicts: saliency and ten windows on clip boundaries, drawn uniformly for every query.

Legend: Q queries, P drawn windows, N clips of the longest video. Times in seconds.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from read.metrics.rows import clip_count, field

WINDOWS = 10  # P
Row = dict[str, Any]


def random_draws(
    annotations: Sequence[Any], clip_len: float, draws: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield predictions of all queries: windows (Q, P, 3), start, end and score, and saliency (Q, N), 0 past the end.

    Args:
        annotations: as in `read.metrics.grounding.evaluate`.
        clip_len: seconds per clip.
        draws: how many such predictions.
        seed: of the generator.
    """
    generator = np.random.default_rng(seed)
    clips = np.array([clip_count(annotation, clip_len) for annotation in annotations])
    for _ in range(draws):
        yield _drawn(clips, clip_len, generator)


def random_prediction(annotation: Any, clip_len: float, generator: np.random.Generator) -> Row:
    """The prediction of one query as a row."""
    windows, saliency = _drawn(np.array([clip_count(annotation, clip_len)]), clip_len, generator)
    row = {"pred_relevant_windows": windows[0].tolist(), "pred_saliency_scores": saliency[0].tolist()}
    return {"qid": field(annotation, "qid")} | row


def _drawn(clips: np.ndarray, clip_len: float, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    first, step = np.empty((len(clips), WINDOWS), int), np.empty((len(clips), WINDOWS), int)
    scores, saliency = np.empty((len(clips), WINDOWS)), np.zeros((len(clips), clips.max()))
    for query, count in enumerate(clips.tolist()):
        first[query] = generator.integers(count + 1, size=WINDOWS)
        step[query] = generator.integers(count, size=WINDOWS)
        generator.random(out=scores[query])
        generator.random(out=saliency[query, :count])
    second = (first + 1 + step) % (clips[:, None] + 1)  # any other boundary
    return np.stack([*(np.sort([first, second], axis=0) * clip_len), scores], axis=-1), saliency
