"""Charades-STA (Gao et al. 2017) as rows with `qid`, `query`, `vid`, `duration` and one window in `relevant_windows`.

Windows of the original annotations may be turned around or pass the end of the video; both are put right and counted.
"""

from collections import Counter
from typing import Any

from read.errors import InputError
from read.rows import number_of, require

TURNED = "windows turned around, their end stood before their start"
CLAMPED = "windows clamped to the end of their video"
OUTSIDE = "queries left out, whose window lies past the end of their video"


def convert(row: dict[str, Any], notes: Counter[str]) -> dict[str, Any] | None:
    """The row with its window inside the video; None where no part of it lies there."""
    require(row, ("qid", "query", "vid", "duration", "relevant_windows"))
    name = f"qid {row['qid']}"
    duration = number_of(row["duration"], f"{name}: duration")
    windows = row["relevant_windows"]
    if not isinstance(windows, list) or any(not isinstance(window, list) or len(window) != 2 for window in windows):
        raise InputError(f"{name}: relevant_windows {windows!r} is no list of [start, end]")
    kept = []
    for window in windows:
        start, end = (number_of(value, f"{name}: a window's bound") for value in window)
        if end < start:
            notes[TURNED] += 1
            start, end = end, start
        if end > duration:
            notes[CLAMPED] += 1
            end = duration
        if end > start:
            kept.append([start, end])
    if windows and not kept:
        notes[OUTSIDE] += 1
        return None
    return row | {"relevant_windows": kept}
