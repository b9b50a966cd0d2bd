"""Scores of windows as the rows of a line: a score a clip, which is what is learned, and back.

`relevant_clip_ids` and `saliency_scores` are QVHighlights' own. `window_scores`, a score or null for each window,
stands beside them, since the rows do not tell a window without a score from one whose clips score what they cover.
"""

from collections.abc import Sequence

from read.data.annotations import derive_saliency
from read.rows import WEEK
from read.studio.checks import Window
from read.studio.tables import Record

KEYS = ("relevant_clip_ids", "saliency_scores", "window_scores")


def score_rows(windows: Sequence[Window], duration: float | None, clip_len: float, annotators: int) -> Record:
    """The keys of a line that hold the scores of windows; none where no window has one and one annotator is enough.

    A clip has the score of the window that covers most of it, the higher of two that cover as much; clips of windows
    without a score have what they would get by themselves. Each annotator says the same.
    """
    if annotators == 1 and all(window.score is None for window in windows):
        return {}
    lasts = WEEK if duration is None else duration
    best: dict[int, tuple[float, float]] = {}
    for window in windows:
        for clip, (derived,) in zip(*derive_saliency([(window.start, window.end)], lasts, clip_len), strict=True):
            covered = min(window.end, (clip + 1) * clip_len) - max(window.start, clip * clip_len)
            score = derived if window.score is None else float(window.score)
            best[clip] = max(best.get(clip, (0.0, 0.0)), (covered, score))
    clips = sorted(best)
    rows = [[best[clip][1]] * annotators for clip in clips]
    return dict(zip(KEYS, (clips, rows, [window.score for window in windows]), strict=True))


def window_scores(line: Record, spans: Sequence[tuple[float, float]], clip_len: float) -> list[int | None]:
    """The score of each window of a line: what it says of itself, else what all of its clips say with one voice."""
    given = dict(zip(line.get(KEYS[0]) or [], line.get(KEYS[1]) or [], strict=True))
    if not given:
        return [None] * len(spans)
    rows = {clip: row if isinstance(row, list) else [row] for clip, row in given.items()}
    said = line.get(KEYS[2])
    if isinstance(said, list) and len(said) == len(spans) and all(_is_score(score) for score in said):
        windows = [Window(*span, score) for span, score in zip(spans, said, strict=True)]
        told = score_rows(windows, line.get("duration"), clip_len, len(next(iter(rows.values()))))
        if told and dict(zip(told[KEYS[0]], told[KEYS[1]], strict=True)) == rows:
            return said
    return [_one_voice(rows, span, line.get("duration"), clip_len) for span in spans]


def _one_voice(
    rows: dict[int, list[float]], span: tuple[float, float], duration: float | None, clip_len: float
) -> int | None:
    clips, _ = derive_saliency([span], WEEK if duration is None else duration, clip_len)
    scores = {score for clip in clips for score in rows.get(clip, [-1.0])}
    return int(next(iter(scores))) if len(scores) == 1 and scores <= {0, 1, 2, 3, 4} else None


def _is_score(score: object) -> bool:
    return score is None or (isinstance(score, int) and not isinstance(score, bool) and 0 <= score <= 4)
