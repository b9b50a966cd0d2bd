"""The files that labels and texts are in, and what their lines have to be."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from read.data.annotations import Once
from read.data.annotations import parse as parse_annotation
from read.data.summaries import parse_summary
from read.errors import InputError
from read.rows import Fields, id_key
from read.studio.label import video_of
from read.studio.tables import Record, Table


def tables_of(annotations: Path, summaries: Path, transcripts: Path, clip_len: float) -> dict[str, Table]:
    """The tables of a card's labels by name.

    In `transcripts` stands what is said in a video that has no summary yet: the pipeline reads none without.
    """
    return {
        "labels": Table(annotations, lambda line: id_key(line["qid"]), lambda: label_checker(clip_len)),
        "summaries": Table(summaries, video_of, lambda: _once_each(parse_summary)),
        "transcripts": Table(transcripts, video_of, lambda: _once_each(_check_transcript)),
    }


def label_checker(clip_len: float) -> Callable[[Record, int], None]:
    """What checks the labels of a file one by one, by line and number, as the pipeline does."""
    once = Once()

    def check(line: Record, number: int) -> None:
        once.check(parse_annotation(line, clip_len), f"on line {number}")

    return check


def _check_transcript(line: Record) -> None:
    fields = Fields(line, "vid")
    fields.require(("vid", "transcript"))
    fields.vid()
    fields.text("transcript")
    fields.check()


def _once_each(check: Callable[[Record], Any]) -> Callable[[Record, int], None]:
    first: dict[str, int] = {}

    def checked(line: Record, number: int) -> None:
        check(line)
        if first.setdefault(video_of(line), number) != number:
            raise InputError(f"video {line['vid']} stands already on line {first[video_of(line)]}")

    return checked
