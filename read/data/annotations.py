"""Annotations in QVHighlights' form: one JSON object a line, a sentence and the windows that it describes.

Required keys: `qid`, `query`, `vid`, `duration` (seconds), `relevant_windows` ([[start, end], ...] in seconds).
Optional: `relevant_clip_ids` with `saliency_scores` (one row of annotators' scores 0..4 per relevant clip), derived
from the windows when absent; `kind`, a name by which scores are reported apart; `split`, `train`, `val` or `test`;
`judged`, the clips that a benchmark ranks where they are not ours: [start, end, score, ...], seconds and annotators.
"""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from read.errors import InputError

REQUIRED = ("qid", "query", "vid", "duration", "relevant_windows")
MAX_SALIENCY = 4
SHOWN = 20  # mistakes in a message
SLACK = 0.05  # seconds by which a window may pass the end: durations are rounded in real files

Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class Annotation:
    """One query with its ground truth; times in seconds.

    `saliency` holds one row per entry of `clip_ids`, one column per annotator, 0..4. `judged` holds a row per clip
    that a benchmark ranks: start, end, and the annotators' scores in the benchmark's own scale.
    """

    qid: int | str
    query: str
    vid: str
    duration: float
    windows: tuple[tuple[float, float], ...]
    clip_ids: tuple[int, ...]
    saliency: tuple[tuple[float, ...], ...]
    kind: str = ""
    split: str = ""
    judged: tuple[tuple[float, ...], ...] = ()

    def row(self) -> dict[str, Any]:
        """The annotation as a line of QVHighlights' jsonl."""
        row = {
            "qid": self.qid,
            "query": self.query,
            "vid": self.vid,
            "duration": self.duration,
            "relevant_windows": [list(window) for window in self.windows],
            "relevant_clip_ids": list(self.clip_ids),
            "saliency_scores": [list(scores) for scores in self.saliency],
        }
        optional = {"kind": self.kind, "split": self.split, "judged": [list(clip) for clip in self.judged]}
        return row | {key: value for key, value in optional.items() if value}


def load_annotations(path: str | Path, clip_len: float) -> list[Annotation]:
    """Read and check a jsonl of annotations.

    Args:
        path: the file.
        clip_len: seconds per clip, by which saliency is derived where the file has none.

    Raises:
        InputError: the file is absent or empty, or has mistakes. All of them are listed, each with its line.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such annotation file")
    first_line: dict[Any, int] = {}

    def once(row: Any, number: int) -> Annotation:
        annotation = parse(row, clip_len)
        if annotation.qid in first_line:
            raise InputError(f"qid {annotation.qid} stands already on line {first_line[annotation.qid]}")
        first_line[annotation.qid] = number
        return annotation

    annotations = parse_lines(path, once)
    if not annotations:
        raise InputError(f"{path}: holds no annotation")
    return annotations


def parse_lines(path: Path, parse_row: Callable[[Any, int], Parsed]) -> list[Parsed]:
    """`parse_row(row, line number)` of every line of a jsonl; blank lines are passed over.

    Raises:
        InputError: lines that are no JSON, or that `parse_row` refuses; all of them are listed, each with its number.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text in UTF-8 ({error})") from None
    mistakes: list[str] = []
    parsed: list[Parsed] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise InputError("not a JSON object")
            parsed.append(parse_row(row, number))
        except (InputError, json.JSONDecodeError) as error:
            mistakes.append(f"{path}:{number}: {error}")
    if mistakes:
        shown = mistakes[:SHOWN] + [f"... and {len(mistakes) - SHOWN} more"] * (len(mistakes) > SHOWN)
        raise InputError("\n".join(shown))
    return parsed


def parse(row: Any, clip_len: float) -> Annotation:
    """Check one row and fill in what is derived. Raises InputError with the reason."""
    require(row, REQUIRED)
    if not isinstance(row["query"], str) or not row["query"].strip():
        raise InputError(f"qid {row['qid']}: query is empty")
    check_vid(row["vid"], f"qid {row['qid']}: vid")
    duration = number_of(row["duration"], f"qid {row['qid']}: duration")
    if duration <= 0:
        raise InputError(f"qid {row['qid']}: duration {duration:g} is not positive")
    windows = tuple(_window(window, duration, row["qid"]) for window in row["relevant_windows"])
    if not windows:
        raise InputError(f"qid {row['qid']}: relevant_windows is empty")
    clip_ids, saliency = _saliency(row, windows, duration, clip_len)
    return Annotation(
        row["qid"], row["query"], row["vid"], duration, windows, clip_ids, saliency,
        row.get("kind", ""), row.get("split", ""), _judged(row.get("judged", ()), duration, row["qid"]),
    )  # fmt: skip


def clips_of(duration: float, clip_len: float) -> int:
    """How many clips of `clip_len` seconds cover `duration` seconds; a trailing part counts as one."""
    return max(1, math.ceil(duration / clip_len - 1e-6))


def derive_saliency(
    windows: Iterable[tuple[float, float]], duration: float, clip_len: float
) -> tuple[tuple[int, ...], tuple[tuple[float, ...], ...]]:
    """Clips that a window covers by at least a quarter, each scored 1..4 by the share covered (one annotator)."""
    covered = [0.0] * clips_of(duration, clip_len)
    for start, end in windows:
        for clip in range(int(start // clip_len), min(len(covered), math.ceil(end / clip_len))):
            begin, stop = clip * clip_len, min((clip + 1) * clip_len, duration)
            covered[clip] += max(0.0, min(end, stop) - max(start, begin)) / max(stop - begin, 1e-6)
    peak = max(covered)
    bar = min(0.25, peak)  # a window shorter than a quarter of a clip still has its clip
    clip_ids = tuple(clip for clip, share in enumerate(covered) if share >= bar and share > 0)
    return clip_ids, tuple((float(max(1, round(MAX_SALIENCY * min(covered[clip], 1.0)))),) for clip in clip_ids)


def require(row: dict[str, Any], keys: Iterable[str]) -> None:
    """Raise InputError with the keys that a row lacks."""
    if missing := [key for key in keys if key not in row]:
        raise InputError(f"lacks {', '.join(missing)}")


def check_vid(vid: Any, name: str) -> None:
    """Raise InputError unless a video's id can be a file's name."""
    if not isinstance(vid, str) or not vid or "/" in vid or vid.startswith("."):
        raise InputError(f"{name} {vid!r} is no plain file name")


def number_of(value: Any, name: str) -> float:
    """A finite number. Raises InputError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{name} is {value!r}, not a number")
    return float(value)


def _window(window: Any, duration: float, qid: Any) -> tuple[float, float]:
    if not isinstance(window, list | tuple) or len(window) != 2:
        raise InputError(f"qid {qid}: window {window!r} is not [start, end]")
    start, end = (number_of(value, f"qid {qid}: a window's bound") for value in window)
    return checked_window(start, end, duration, f"qid {qid}: window")


def checked_window(start: float, end: float, duration: float, name: str) -> tuple[float, float]:
    """A window inside its video, up to rounding. Raises InputError for any other."""
    if end <= start:
        raise InputError(f"{name} [{start:g}, {end:g}] ends before it starts")
    if start < 0 or end > duration + SLACK:
        raise InputError(f"{name} [{start:g}, {end:g}] lies outside the video, which lasts {duration:g} s")
    return start, min(end, duration)


def _judged(clips: Any, duration: float, qid: Any) -> tuple[tuple[float, ...], ...]:
    name = f"qid {qid}: judged"
    if not isinstance(clips, list | tuple) or any(not isinstance(clip, list | tuple) for clip in clips):
        raise InputError(f"{name} is no list of [start, end, score, ...]")
    if len({len(clip) for clip in clips}) > 1 or any(len(clip) < 3 for clip in clips):
        raise InputError(f"{name}: a clip is [start, end, score, ...], with as many scores as every other")
    rows = [[number_of(value, f"{name}: a number") for value in clip] for clip in clips]
    return tuple((*checked_window(start, end, duration, name), *scores) for start, end, *scores in rows)


def _saliency(row: dict, windows: tuple, duration: float, clip_len: float) -> tuple[tuple, tuple]:
    if "relevant_clip_ids" not in row and "saliency_scores" not in row:
        return derive_saliency(windows, duration, clip_len)
    clip_ids, scores = row.get("relevant_clip_ids", []), row.get("saliency_scores", [])
    if len(clip_ids) != len(scores):
        raise InputError(f"qid {row['qid']}: {len(clip_ids)} relevant_clip_ids but {len(scores)} saliency_scores")
    last = clips_of(duration, clip_len) - 1
    outside = [clip for clip in clip_ids if not isinstance(clip, int) or not 0 <= clip <= last]
    if outside:
        raise InputError(f"qid {row['qid']}: relevant_clip_ids {outside} lie outside 0..{last}")
    rows = [tuple(scores_of) if isinstance(scores_of, list) else (scores_of,) for scores_of in scores]
    values = tuple(tuple(number_of(value, f"qid {row['qid']}: a saliency score") for value in line) for line in rows)
    if any(not 0 <= value <= MAX_SALIENCY for line in values for value in line):
        raise InputError(f"qid {row['qid']}: saliency scores go from 0 to {MAX_SALIENCY}")
    return tuple(clip_ids), values
