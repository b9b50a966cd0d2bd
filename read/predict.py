"""Predictions from a backbone's dense outputs: windows in seconds and a score per clip.

Symbols: B samples, N clips, M words, K windows. Times in seconds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from read.data import Sample, collate
from read.errors import InputError

INPUTS = ("video", "video_mask", "text", "text_mask")
MAX_WINDOWS = 10
DIGITS = 4


@dataclass(frozen=True)
class WindowSettings:
    """How windows are read off the outputs.

    Attributes:
        method: "runs" joins neighbouring clips whose score reaches `share` of the video's highest. "offsets" takes the
            window that each clip regresses, and drops those that overlap a better one by more than `nms`.
        share: of the highest score, 0 to 1.
        nms: intersection over union, 0 to 1.
    """

    method: Literal["runs", "offsets"] = "runs"
    share: float = 0.6
    nms: float = 0.7

    def __post_init__(self) -> None:
        if self.method not in ("runs", "offsets"):
            raise InputError(f"windows: method {self.method!r} is unknown; there are runs and offsets")
        for name in ("share", "nms"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"windows: {name} {getattr(self, name)} must lie in [0, 1]")


def run_windows(scores: np.ndarray, clip_len: float, share: float) -> np.ndarray:
    """(K, 3) start, end and mean score of each run of clips that reach `share` of the highest of `scores` (N,)."""
    above = np.concatenate(([False], scores >= share * scores.max(), [False]))
    starts, stops = np.flatnonzero(above[1:] & ~above[:-1]), np.flatnonzero(above[:-1] & ~above[1:])
    means = [scores[start:stop].mean() for start, stop in zip(starts, stops, strict=True)]
    return np.column_stack((starts * clip_len, stops * clip_len, means))


def suppress(windows: np.ndarray, threshold: float, limit: int) -> np.ndarray:
    """Greedy non-maximum suppression: at most `limit` of the (K, 3) windows, best first.

    A window goes when its intersection over union with a better one that stays is above `threshold`.
    """
    left = windows[np.argsort(-windows[:, 2], kind="stable")]
    kept = []
    while len(left) and len(kept) < limit:
        best, left = left[0], left[1:]
        kept.append(best)
        overlap = np.minimum(left[:, 1], best[1]) - np.maximum(left[:, 0], best[0])
        hull = np.maximum(left[:, 1], best[1]) - np.minimum(left[:, 0], best[0])
        left = left[overlap <= threshold * np.maximum(hull, 1e-9)]
    return np.array(kept)


def windows_of(
    spans: np.ndarray, scores: np.ndarray, clip_len: float, clips: int, duration: float, settings: WindowSettings
) -> list[list[float]]:
    """At most ten [start, end, score] in seconds, best first, none beyond the video's end.

    Args:
        spans: (K, 2) shares of the clips' total length.
        scores: (K,) foreground scores; for "runs" one per clip.
        clip_len: seconds per clip.
        clips: N.
        duration: of the video, in seconds.
        settings: how to read windows off.
    """
    if settings.method == "runs":
        windows = run_windows(scores, clip_len, settings.share)
    else:
        windows = np.column_stack((spans * clips * clip_len, scores))
    windows[:, :2] = windows[:, :2].clip(0, min(duration, clips * clip_len))
    windows = windows[windows[:, 1] > windows[:, 0]]
    return suppress(windows, settings.nms, MAX_WINDOWS).astype(float).round(DIGITS).tolist()


def predict(
    model: nn.Module, samples: Sequence[Sample], windows: WindowSettings | None = None, batch_size: int = 64
) -> list[dict[str, Any]]:
    """Predict every sample, on the device the model is on, in evaluation mode.

    Returns:
        One row per sample in QVHighlights' submission form: `qid`, `query`, `vid`, `pred_relevant_windows`
        [[start, end, score], ...] best first, `pred_saliency_scores` one per clip.

    Raises:
        InputError: a video or query without tokens, or with a feature that is not finite; outputs that are not finite;
            "runs" asked of a backbone that does not score clips.
    """
    windows = windows or WindowSettings()
    if windows.method == "runs" and not model.dense:
        raise InputError(f"windows: runs need a score per clip, which {model.name} does not give; take offsets")
    rows = []
    for part, outputs in forward_batches(model, samples, batch_size):
        arrays = {
            name: value.float().cpu().numpy()
            for name, value in {
                "spans": outputs["spans"], "scores": outputs["scores"], "clips": model.clip_scores(outputs),
            }.items()
        }  # fmt: skip
        rows += [
            _row(sample, {name: array[index] for name, array in arrays.items()}, model.dense, windows)
            for index, sample in enumerate(part)
        ]
    return rows


def forward_batches(
    model: nn.Module, samples: Sequence[Sample], batch_size: int
) -> Iterator[tuple[Sequence[Sample], dict[str, Any]]]:
    """Yield samples, `batch_size` at a time, with the model's outputs in evaluation mode and without gradients."""
    for sample in samples:
        check(sample)
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    try:
        for start in range(0, len(samples), batch_size):
            part = samples[start : start + batch_size]
            batch = collate(part)
            with torch.no_grad():
                yield part, model(*(batch[name].to(device) for name in INPUTS))
    finally:
        model.train(training)


def check(sample: Sample) -> None:
    """Raise InputError when a sample has no clip or no word, or a feature that is not finite."""
    for what, features, name in (("video", sample.video, "vid"), ("query", sample.text, "qid")):
        label = f"{what} {getattr(sample.annotation, name)}"
        if len(features) == 0:
            raise InputError(f"{label}: has no {'clips' if what == 'video' else 'words'}")
        if not torch.isfinite(features).all():
            raise InputError(f"{label}: its features hold NaN or infinity; extract them again")


def _row(sample: Sample, outputs: dict[str, np.ndarray], dense: bool, settings: WindowSettings) -> dict[str, Any]:
    annotation, clips = sample.annotation, len(sample.video)
    stop = clips if dense else None  # a dense backbone has a window per clip, padding included
    spans, scores, saliency = outputs["spans"][:stop], outputs["scores"][:stop], outputs["clips"][:clips]
    if not all(np.isfinite(array).all() for array in (spans, scores, saliency)):
        raise InputError(f"query {annotation.qid}: the model's outputs hold NaN or infinity")
    return {
        "qid": annotation.qid,
        "query": annotation.query,
        "vid": annotation.vid,
        "pred_relevant_windows": windows_of(spans, scores, sample.clip_len, clips, annotation.duration, settings),
        "pred_saliency_scores": saliency.astype(float).round(DIGITS).tolist(),
    }
