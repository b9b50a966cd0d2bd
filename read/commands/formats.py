"""Answers as text: for people, for programs, for players.

The `ffmetadata` form of chapter marks is taken since ffmpeg puts it into the file itself, where every player finds
them, and mpv reads it as it is; WebVTT chapters are shown by browsers' own code only.

Times in seconds.
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Found:
    """A moment; `confident` where its score reaches the bar chosen on validation, or there is none."""

    start: float
    end: float
    score: float
    confident: bool = True
    clip: str | None = None


@dataclass
class Asked:
    """A query and what was found, best first; `saliency` one score per clip.

    `present` where a moment reaches the bar, or there is none. `unknown` are the query's words that the model never
    saw.
    """

    query: str
    moments: list[Found]
    saliency: list[float]
    present: bool = True
    unknown: list[str] = field(default_factory=list)


@dataclass
class Result:
    """All that was asked of a video; `caution` says what the threshold rests on, where that is few."""

    video: str
    duration: float
    clip_len: float
    adapter: str = ""
    threshold: float | None = None
    asked: list[Asked] = field(default_factory=list)
    summary: str | None = None
    caution: str = ""


def table(result: Result) -> str:
    """For people."""
    lines = [f"{result.video}  {clock(result.duration)}"]
    for asked in result.asked:
        lines += ["", f"  {' '.join(asked.query.split())}"]
        if asked.unknown:
            lines.append(f"        unknown to this model: {', '.join(asked.unknown)}")
        if not asked.present:
            few = f" ({result.caution})" if result.caution else ""
            lines.append(f"        not in this video, as far as the model can tell{few}")
        for rank, moment in enumerate(asked.moments, 1):
            span = f"{clock(moment.start)} - {clock(moment.end)}"
            below = "" if moment.confident else f"  below {result.threshold:.2f}"
            clip = f"  {moment.clip}" if moment.clip else ""
            lines.append(
                f"  {rank:>4}  {span:<23}  {moment.end - moment.start:7.1f} s  {moment.score:.2f}{below}{clip}"
            )
        if not asked.moments and asked.present:
            lines.append("        nothing")
    if result.summary is not None:
        lines += ["", f"  summary: {result.summary}"]
    return "\n".join(lines) + "\n\n"


def json_lines(result: Result) -> str:
    """For programs: an object for each query, and one for the summary."""
    about = {"video": result.video, "duration": result.duration}
    rows: list[dict[str, Any]] = [
        about
        | {
            "query": asked.query, "adapter": result.adapter, "threshold": result.threshold, "caution": result.caution,
            "moments": [
                {"start": moment.start, "end": moment.end, "score": moment.score, "confident": moment.confident}
                | ({"clip": moment.clip} if moment.clip else {})
                for moment in asked.moments
            ],
            "present": asked.present, "unknown_words": asked.unknown,
            "clip_len": result.clip_len, "saliency": asked.saliency,
        }
        for asked in result.asked
    ]  # fmt: skip
    if result.summary is not None:
        rows.append(about | {"summary": result.summary})
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


CSV_HEAD = ("video", "query", "rank", "start", "end", "score", "confident", "clip")


def csv_rows(result: Result) -> str:
    """A row for each moment; `csv_head` comes before the first."""
    return _csv(
        (result.video, asked.query, rank, moment.start, moment.end, moment.score, moment.confident, moment.clip or "")
        for asked in result.asked
        for rank, moment in enumerate(asked.moments, 1)
    )


def csv_head() -> str:
    """The names of the columns."""
    return _csv([CSV_HEAD])


def srt(result: Result) -> str:
    """Subtitles: each query stands while its moments last."""
    from read.data.transcripts import Cue, subrip  # with torch, which a --help need not wait for

    return subrip(Cue(moment.start, moment.end, query) for query, moment in in_order(result.asked))


def chapters(result: Result) -> str:
    """Chapter marks; a chapter ends where the next one begins, since players do not nest them."""
    marks = in_order(result.asked)
    parts = [";FFMETADATA1\n"]
    for index, (query, moment) in enumerate(marks):
        start = round(1000 * moment.start)
        later = [round(1000 * other.start) for _, other in marks[index + 1 :] if round(1000 * other.start) > start]
        end = min([round(1000 * moment.end), *later])
        title = "".join(f"\\{letter}" if letter in "=;#\\" else letter for letter in " ".join(query.split()))
        parts.append(f"\n[CHAPTER]\nTIMEBASE=1/1000\nSTART={start}\nEND={end}\ntitle={title}\n")
    return "".join(parts)


def in_order(asked: Sequence[Asked]) -> list[tuple[str, Found]]:
    """Queries with their moments, by time."""
    pairs = [(each.query, moment) for each in asked for moment in each.moments]
    return sorted(pairs, key=lambda pair: (pair[1].start, pair[1].end))


def clock(seconds: float) -> str:
    """1:02:03.5, or 2:03.5 within the first hour."""
    tenths = round(10 * seconds)
    hours, minutes, rest = tenths // 36000, tenths // 600 % 60, tenths % 600
    shown = f"{rest // 10:02}.{rest % 10}"
    return f"{hours}:{minutes:02}:{shown}" if hours else f"{minutes}:{shown}"


def _csv(rows: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


FORMATS = {"table": table, "json": json_lines, "csv": csv_rows, "srt": srt, "chapters": chapters}
SUFFIX = {"srt": ".srt", "chapters": ".ffmetadata"}  # of formats that are of one video
