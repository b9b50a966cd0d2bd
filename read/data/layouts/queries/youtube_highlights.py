"""YouTube Highlights (Sun et al. 2014) as rows with `clip`, `match`, `fps` and `duration`.

`clip` holds the clips of about 100 frames that are ranked, [first, last] frame, each begun about 50 after the one
before, so that they overlap; `match` is 1 where somebody cut the clip into a highlight video, -1 where not, 0 between.
The query is the video's domain. Moments are the unions of matched clips.
"""

from collections import Counter
from typing import Any

from read.errors import InputError
from read.rows import number_of, require

MATCHES = (-1, 0, 1)
CLAMPED = "clips clamped to the end of their video"
OUTSIDE = "clips left out, which begin past the end of their video"
DULL = "videos left out, none of whose clips is a highlight"


def convert(row: dict[str, Any], notes: Counter[str]) -> dict[str, Any] | None:
    """The row in seconds; None for a video without a highlight."""
    require(row, ("qid", "query", "vid", "duration", "clip", "match", "fps"))
    name = f"qid {row['qid']}"
    clips, matches = row["clip"], row["match"]
    if not isinstance(clips, list) or not isinstance(matches, list) or len(clips) != len(matches):
        raise InputError(f"{name}: clip and match are no lists of equal length")
    if wrong := [match for match in matches if match not in MATCHES]:
        raise InputError(f"{name}: match {wrong[0]!r} is none of {', '.join(map(str, MATCHES))}")
    fps, duration = number_of(row["fps"], f"{name}: fps"), number_of(row["duration"], f"{name}: duration")
    if fps <= 0:
        raise InputError(f"{name}: fps {fps:g} is not positive")
    judged = []
    for clip, match in zip(clips, matches, strict=True):
        if not isinstance(clip, list) or len(clip) != 2:
            raise InputError(f"{name}: clip {clip!r} is not [first, last] frame")
        start, end = (number_of(frame, f"{name}: a frame") / fps for frame in clip)
        if start >= duration:
            notes[OUTSIDE] += 1
            continue
        if end > duration:
            notes[CLAMPED] += 1
        judged.append([start, min(end, duration), match])
    windows = _unions([clip[:2] for clip in judged if clip[2] > 0])
    if not windows:
        notes[DULL] += 1
        return None
    return {
        "qid": row["qid"],
        "query": row["query"],
        "vid": row["vid"],
        "duration": duration,
        "relevant_windows": windows,
        "kind": row.get("domain", ""),
        "judged": judged,
    }


def _unions(spans: list[list[float]]) -> list[list[float]]:
    """Spans that overlap or touch, joined."""
    joined: list[list[float]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([start, end])
    return joined
