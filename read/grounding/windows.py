"""Windows of time, read off a model's outputs.

Symbols: N clips of a video, K windows. Times in seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from read.errors import InputError

MAX_WINDOWS = 10
DIGITS = 4


@dataclass(frozen=True)
class WindowSettings:
    """How windows are read off the outputs.

    Attributes:
        method: "runs" joins neighbouring clips whose score reaches `share` of the video's highest; "spans" takes the
            windows that the model regresses; "auto" is what the backbone is best read by.
        share: of the highest score, 0 to 1.
        nms: windows that overlap a better one by a higher intersection over union go, 0 to 1. Backbones that predict a
            set are trained not to repeat themselves, so theirs stay, unless a long video was read in pieces.
    """

    method: Literal["auto", "runs", "spans"] = "auto"
    share: float = 0.6
    nms: float = 0.7

    def __post_init__(self) -> None:
        if self.method not in ("auto", "runs", "spans"):
            raise InputError(f"windows: method {self.method!r} is unknown; there are auto, runs and spans")
        for name in ("share", "nms"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"windows: {name} {getattr(self, name)} must lie in [0, 1]")


class Reading(NamedTuple):
    """What a model said of the clips `start` to `start + len(clips)` of a video.

    `spans` (K, 2) are shares of these clips' total length, `scores` (K,) theirs, `clips` (N,) rank highlights.
    """

    start: int
    spans: np.ndarray
    scores: np.ndarray
    clips: np.ndarray


def run_windows(scores: np.ndarray, clip_len: float, share: float) -> np.ndarray:
    """(K, 3) start, end and mean score of each run of clips that reach `share` of the highest of `scores` (N,)."""
    above = np.concatenate(([False], scores >= share * scores.max(), [False]))
    starts, stops = np.flatnonzero(above[1:] & ~above[:-1]), np.flatnonzero(above[:-1] & ~above[1:])
    means = [scores[start:stop].mean() for start, stop in zip(starts, stops, strict=True)]
    return np.column_stack((starts * clip_len, stops * clip_len, means))


def span_windows(readings: Sequence[Reading], clip_len: float) -> np.ndarray:
    """(K, 3) start, end and score of the windows that the model regressed, put together from a video's pieces.

    A moment that is longer than a piece shows in each as a window that is cut off there: such windows are joined, and
    the whole, with the best of their scores, stands before its parts.
    """
    found = [
        np.column_stack(((reading.spans.clip(0, 1) * len(reading.clips) + reading.start) * clip_len, reading.scores))
        for reading in readings
    ]
    for index in range(1, len(found)):
        begin = (readings[index].start + 0.5) * clip_len  # within half a clip counts as there
        end = (readings[index - 1].start + len(readings[index - 1].clips) - 0.5) * clip_len
        before, after = found[index - 1], found[index]
        tails = before[(before[:, 0] <= begin) & (before[:, 1] >= end)]
        heads = after[(after[:, 0] <= begin) & (after[:, 1] >= end)]
        if len(tails) and len(heads):
            tail, head = tails[tails[:, 2].argmax()], heads[heads[:, 2].argmax()]
            found[index] = np.vstack(([tail[0], head[1], max(tail[2], head[2])], after))
    return np.concatenate(found[::-1])  # a join that was joined again comes first


def mean_scores(readings: Sequence[Reading], name: Literal["scores", "clips"]) -> np.ndarray:
    """(N,) scores per clip; where pieces overlap, their mean."""
    length = max(reading.start + len(reading.clips) for reading in readings)
    total, count = np.zeros(length), np.zeros(length)
    for reading in readings:
        part = slice(reading.start, reading.start + len(reading.clips))
        total[part] += getattr(reading, name)
        count[part] += 1
    return total / count


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
    readings: Sequence[Reading], clip_len: float, duration: float, settings: WindowSettings, repeats: bool = True
) -> list[list[float]]:
    """At most ten [start, end, score] in seconds, best first, none beyond the video's end.

    A last clip of which the video fills less than half is no moment of its own: it belongs to the clip before.

    Args:
        readings: of the video's pieces, in order; of the whole video where it is one.
        clip_len: seconds per clip.
        duration: of the video, in seconds.
        settings: how to read windows off; "auto" has to be decided by now.
        repeats: the model may give a window twice within a reading.
    """
    clips = readings[-1].start + len(readings[-1].clips)
    end = min(duration, clips * clip_len)
    whole = max(1, int(end / clip_len + 0.5))  # clips that are filled by half or more
    if settings.method == "runs":
        windows = run_windows(mean_scores(readings, "scores")[:whole], clip_len, settings.share)
        windows[windows[:, 1] == whole * clip_len, 1] = end
    else:
        windows = span_windows(readings, clip_len)
        windows[(windows[:, 0] >= whole * clip_len) & (windows[:, 0] < end), 0] = (whole - 1) * clip_len
    windows[:, :2] = windows[:, :2].clip(0, end)
    windows = windows[windows[:, 1] > windows[:, 0]]
    threshold = settings.nms if repeats or len(readings) > 1 else 1.0
    return suppress(windows, threshold, MAX_WINDOWS).astype(float).round(DIGITS).tolist()
