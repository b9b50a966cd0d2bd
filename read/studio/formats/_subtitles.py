"""Subtitles as labels: a caption is a moment, its text the sentence."""

import html
from collections.abc import Sequence

from read.data.transcripts import captions_in, split_lines, untagged
from read.errors import InputError
from read.studio.formats._form import Gathered, Lengths, clock, moments_of
from read.studio.labels import Imported, Label


def read_captions(text: str, kind: str, vid: str, lengths: Lengths) -> tuple[list[Imported], list[str]]:
    """The captions of `.srt` or `.vtt` as labels of a video, and mistakes."""
    rows, lines = Gathered(lengths), split_lines(text.removeprefix("\ufeff"))
    try:
        captions = captions_in(lines, kind, "line")
    except InputError as error:
        return [], [mistake.replace("line:", "line ", 1) for mistake in str(error).split("\n")]
    numbers = [number for number, line in enumerate(lines, start=1) if "-->" in line]
    for number, (start, end, said) in zip(numbers, captions, strict=True):
        rows.add(f"line {number}", vid, " ".join(" ".join(said).split()), start, end)
    return rows.labels()


def captions_of(labels: Sequence[Label], point: str) -> list[str]:
    """A block for each moment, in the order of time: its number, its time, its sentence."""
    moments = enumerate(moments_of(labels), start=1)
    return [
        f"{number}\n{clock(window.start, point)} --> {clock(window.end, point)}\n{_escaped(query)}\n"
        for number, (window, query) in moments
    ]


def _escaped(text: str) -> str:
    """A sentence as players show it; what would be read as a tag, a time or a sign of HTML is escaped."""
    if "-->" not in text and html.unescape(untagged(text)) == text:
        return text
    return html.escape(text, quote=False).replace("{", "&#123;")  # SubRip's own tags are in braces
