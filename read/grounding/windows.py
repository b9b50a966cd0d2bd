"""Windows of time, read off a model's outputs.

Symbols: N clips of a video, K windows. Times in seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import NamedTuple

import numpy as np

from read.errors import InputError
from read.plugins import none_of
from read.settings import WINDOWS

MAX_WINDOWS = 10
DIGITS = 4
STEP = 10.0**-DIGITS  # by which the score of a window is lower at least than that of the one before
RUNGS = (0.75, 0.5, 1.0)  # standard deviations above the mean that a clip must reach to lengthen a window
ABOVE = 0.5  # likewise, to belong to a run
FLAT = 1e-6  # a standard deviation that is a smaller share of the highest value is noise of float32


@dataclass(frozen=True)
class WindowSettings:
    """How windows are read off the outputs.

    Attributes:
        method: "ladder" and "runs" read them off a curve of scores per clip, see `ladder` and `runs`; "spans" takes
            those that the model regresses; "auto" is what was chosen for the backbone on its source's validation side.
        nms: windows that overlap a better one by a higher intersection over union go, 0 to 1. Backbones that predict a
            set are trained not to repeat themselves, so theirs stay, unless a long video was read in pieces.
    """

    method: str = "auto"
    nms: float = 0.7

    def __post_init__(self) -> None:
        if self.method not in WINDOWS:
            raise InputError(f"windows: method {none_of(self.method, WINDOWS)}")
        if not 0 <= self.nms <= 1:
            raise InputError(f"windows: nms {self.nms} must lie in [0, 1]")


class Reading(NamedTuple):
    """What a model said of the clips `start` to `start + len(clips)` of a video.

    `spans` (K, 2) are shares of these clips' total length, `scores` (K,) theirs, `clips` (N,) rank highlights. K = N
    where the model scores each clip. `prior` (N,) are the cosines of a joint space, where the model has one beside it.
    """

    start: int
    spans: np.ndarray
    scores: np.ndarray
    clips: np.ndarray
    prior: np.ndarray | None = None


class Curves(NamedTuple):
    """Scores (N,) of the clips of a whole video: `curve` says where windows are, `confidence` what they are worth.

    The scale of `curve` means nothing, that of `confidence` is the same for all queries and videos.
    """

    curve: np.ndarray
    confidence: np.ndarray


def standardised(curve: np.ndarray) -> np.ndarray | None:
    """`curve` (N,) less its mean, over its standard deviation; None where it is flat."""
    spread = curve.std()
    return None if spread <= FLAT * np.abs(curve).max() else (curve - curve.mean()) / spread


def best_run(values: np.ndarray) -> tuple[float, int, int]:
    """Sum, start and stop of the run of `values` (N,), at least one, whose sum is highest; of equals the first."""
    sums = np.concatenate(([0.0], values.cumsum()))
    lowest = np.minimum.accumulate(sums[:-1])
    stop = int((sums[1:] - lowest).argmax()) + 1
    start = stop - 1 - int(sums[:stop][::-1].argmin())  # the last of the lowest: no run begins with a sum of 0
    return float(sums[stop] - sums[start]), start, stop


def best_runs(values: np.ndarray) -> list[tuple[int, int]]:
    """Start and stop of the best run of `values` (N,), of the best in what is left to both sides of it, and so on.

    At most ten; after the first only those whose sum is positive.
    """
    parts, found = [(*best_run(values), 0, len(values))], []
    while parts and len(found) < MAX_WINDOWS:
        best = max(parts, key=lambda part: part[0])
        parts.remove(best)
        total, start, stop, low, high = best
        if found and total <= 0:
            break
        found.append((start, stop))
        for left, right in ((low, start), (stop, high)):
            if left < right:
                total, start, stop = best_run(values[left:right])
                parts.append((total, left + start, left + stop, left, right))
    return found


def ladder(curve: np.ndarray, nms: float) -> list[tuple[int, int]]:
    """Start and stop, in clips, of at most ten windows of a curve (N,), best first.

    A rung is a height above the mean, in standard deviations. The best window at a rung is the run of clips whose sum
    of heights above the rung is highest; the next are sought beside it. Low rungs give long windows, high ones short.
    The best windows of all rungs come first, then the second best, without those that overlap an earlier one by an
    intersection over union above `nms`. Only the curve's shape counts. A flat one gives one window, all of it.
    """
    heights = standardised(curve)
    if heights is None:
        return [(0, len(curve))]
    rungs = [best_runs(heights - rung) for rung in RUNGS]
    found = [run for run in chain.from_iterable(zip_longest(*rungs)) if run is not None]
    ranked = np.array([(*run, -rank) for rank, run in enumerate(found)], float)
    return [(int(start), int(stop)) for start, stop, _ in suppress(ranked, nms, MAX_WINDOWS)]


def runs(curve: np.ndarray) -> list[tuple[int, int]]:
    """Start and stop of the ten best runs of clips that lie half a standard deviation above the mean of `curve` (N,).

    They are ranked by their means. A flat curve gives one run, all of it.
    """
    heights = standardised(curve)
    if heights is None:
        return [(0, len(curve))]
    above = np.concatenate(([False], heights > ABOVE, [False]))
    starts, stops = np.flatnonzero(above[1:] & ~above[:-1]), np.flatnonzero(above[:-1] & ~above[1:])
    found = list(zip(starts.tolist(), stops.tolist(), strict=True))
    return sorted(found, key=lambda run: -heights[slice(*run)].mean())[:MAX_WINDOWS]


def falling(scores: np.ndarray) -> np.ndarray:
    """`scores` (K,) of windows, best first, made to fall from each to the next, and rounded.

    A window whose score is above that of a better one gets a little less than that. The first keeps its own, where
    there is room below it.
    """
    steps = np.arange(len(scores))
    counted = np.maximum(np.round(scores / STEP), steps[::-1])  # in steps; that many are still to come
    return ((np.minimum.accumulate(counted + steps) - steps) * STEP).round(DIGITS)


def span_windows(readings: Sequence[Reading], curves: Curves | None, clip_len: float) -> np.ndarray:
    """(K, 4) start, end, rank and score of the windows that the model regressed, put together from a video's pieces.

    A clip's window ranks by the curve there, one of a set by its score, which is by one scale for all pieces.

    A moment that is longer than a piece shows in each as a window that is cut off there: such windows are joined, and
    the whole, with the best of their scores, stands before its parts.
    """
    found = []
    for reading in readings:
        part = slice(reading.start, reading.start + len(reading.clips))
        rank, score = (reading.scores,) * 2 if curves is None else (curves.curve[part], curves.confidence[part])
        times = (reading.spans.clip(0, 1) * len(reading.clips) + reading.start) * clip_len
        found.append(np.column_stack((times, rank, score)))
    for index in range(1, len(found)):
        begin = (readings[index].start + 0.5) * clip_len  # within half a clip counts as there
        end = (readings[index - 1].start + len(readings[index - 1].clips) - 0.5) * clip_len
        before, after = found[index - 1], found[index]
        tails = before[(before[:, 0] <= begin) & (before[:, 1] >= end)]
        heads = after[(after[:, 0] <= begin) & (after[:, 1] >= end)]
        if len(tails) and len(heads):
            tail, head = tails[tails[:, 2].argmax()], heads[heads[:, 2].argmax()]
            found[index] = np.vstack(([tail[0], head[1], *np.maximum(tail[2:], head[2:])], after))
    return np.concatenate(found[::-1])  # a join that was joined again comes first


def joined(readings: Sequence[Reading], name: str) -> np.ndarray:
    """(N,) of a video's clips, put together from its pieces; where these overlap, their mean.

    Args:
        readings: of the pieces.
        name: of a field of theirs with a number for each clip.
    """
    length = max(reading.start + len(reading.clips) for reading in readings)
    total, count = np.zeros(length), np.zeros(length)
    for reading in readings:
        part = slice(reading.start, reading.start + len(reading.clips))
        total[part] += getattr(reading, name)
        count[part] += 1
    return total / count


def suppress(windows: np.ndarray, threshold: float, limit: int) -> np.ndarray:
    """Greedy non-maximum suppression: at most `limit` of the windows (K, 3 or more: start, end, rank), best first.

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
    return np.array(kept).reshape(-1, windows.shape[1])


def windows_of(
    readings: Sequence[Reading], curves: Curves | None, clip_len: float, duration: float, settings: WindowSettings
) -> list[list[float]]:
    """At most ten [start, end, score] in seconds, best first, none beyond the video's end.

    The score of a window is the mean confidence of its clips, or what the model gave a regressed one, and falls from
    each window to the next. A last clip of which the video fills less than half is no moment of its own: it belongs to
    the clip before.

    Args:
        readings: of the video's pieces, in order; of the whole video where it is one.
        curves: of the video's clips, by one scale for all pieces; None: the model predicts a set of windows.
        clip_len: seconds per clip.
        duration: of the video, in seconds.
        settings: how to read windows off; "auto" has to be decided by now.
    """
    clips = readings[-1].start + len(readings[-1].clips)
    end = min(duration, clips * clip_len)
    whole = max(1, int(end / clip_len + 0.5))  # clips that are filled by half or more
    if settings.method == "spans":
        windows = span_windows(readings, curves, clip_len)
        windows[(windows[:, 0] >= whole * clip_len) & (windows[:, 0] < end), 0] = (whole - 1) * clip_len
        windows[:, :2] = windows[:, :2].clip(0, end)
        repeats = curves is not None or len(readings) > 1
        windows = suppress(windows[windows[:, 1] > windows[:, 0]], settings.nms if repeats else 1.0, MAX_WINDOWS)
    else:
        curve, confidence = (scores[:whole] for scores in curves)
        found = ladder(curve, settings.nms) if settings.method == "ladder" else runs(curve)
        times = [(start * clip_len, end if stop == whole else stop * clip_len) for start, stop in found]
        windows = np.column_stack((times, [confidence[start:stop].mean() for start, stop in found]))
    scores = falling(windows[:, -1])
    return np.column_stack((windows[:, :2], scores)).astype(float).round(DIGITS).tolist()
