"""TVSum (Song et al. 2015) as rows with `label`: for each shot of 2 s the scores, 1 to 5, of 20 annotators.

`duration` in these rows is the number of shots, not seconds (a video lasts up to 2 s longer than its shots). Every clip
of 2 s is relevant to the title that is the query, each to its degree: an annotator's score less 1 is the saliency.
There are no moments; as such count the runs of shots whose mean score lies above the median of the video's.
"""

from collections import Counter
from itertools import groupby
from statistics import fmean, median_low
from typing import Any

from read.errors import InputError
from read.rows import number_of, require

SHOT = 2.0  # seconds
SCALE = (1, 5)
FLAT = "videos left out, all of whose shots have the same mean score"


def convert(row: dict[str, Any], notes: Counter[str]) -> dict[str, Any] | None:
    """The row in seconds; None where no shot stands out."""
    require(row, ("qid", "query", "vid", "duration", "label"))
    scores = _scores(row)
    means = [fmean(shot) for shot in scores]
    middle = median_low(means)
    windows, shot = [], 0
    for above, run in groupby(mean > middle for mean in means):
        length = len(list(run))
        if above:
            windows.append([shot * SHOT, (shot + length) * SHOT])
        shot += length
    if not windows:
        notes[FLAT] += 1
        return None
    return {
        "qid": row["qid"],
        "query": row["query"],
        "vid": row["vid"],
        "duration": len(scores) * SHOT,
        "relevant_windows": windows,
        "relevant_clip_ids": list(range(len(scores))),
        "saliency_scores": [[score - SCALE[0] for score in shot] for shot in scores],
        "kind": row.get("domain", ""),
        "judged": [[number * SHOT, (number + 1) * SHOT, *shot] for number, shot in enumerate(scores)],
    }


def _scores(row: dict[str, Any]) -> list[list[float]]:
    """Scores (shots, annotators)."""
    label, name = row["label"], f"qid {row['qid']}: label"
    if not isinstance(label, list) or not label or any(not isinstance(shot, list) or not shot for shot in label):
        raise InputError(f"{name}: is no list of the annotators' scores for every shot")
    if len({len(shot) for shot in label}) > 1:
        raise InputError(f"{name}: {sorted({len(shot) for shot in label})} annotators; every shot has the same ones")
    if row["duration"] != len(label):
        raise InputError(f"{name}: {len(label)} shots, but duration, the number of shots, is {row['duration']!r}")
    scores = [[number_of(score, f"{name}: a score") for score in shot] for shot in label]
    low, high = SCALE
    if any(not low <= score <= high for shot in scores for score in shot):
        raise InputError(f"{name}: scores go from {low} to {high}")
    return scores
