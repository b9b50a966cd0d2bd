"""What a label is: a line of a file, and what it says; and the other way round."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from read.errors import InputError
from read.studio.checks import Window, rounded
from read.studio.scores import score_rows, window_scores
from read.studio.tables import Record

Lengths = Mapping[str, float | None]  # seconds of videos by id; None where they are not known
LabelContent = tuple[str, str, tuple[Window, ...], bool]  # video, sentence, windows, and whether it corrects an answer


@dataclass(frozen=True)
class Label:
    """A sentence and its moments in a video.

    `asked` says that it corrects an answer; `side` is that of its video; `rev` changes with the label. `line` is what
    stands in the file, and not to be changed.
    """

    qid: int | str
    vid: str
    query: str
    windows: tuple[Window, ...]
    asked: bool
    side: str
    rev: str
    line: Mapping[str, Any] = field(repr=False, compare=False, default_factory=dict)


@dataclass(frozen=True)
class Imported:
    """A label that comes from elsewhere, as from line 7 of a file, which is its `place`.

    `line` is the whole line of a file of our own form; the windows of such a label have their scores in it.
    """

    vid: str
    query: str
    windows: tuple[Window, ...]
    place: str = ""
    line: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Brought:
    """What came of an import: labels that are new, those that were there already, and what is wrong.

    Where anything is wrong nothing was saved.
    """

    added: int
    same: int
    mistakes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Texts:
    """What is said in a video, and its summary; each may be empty."""

    transcript: str
    summary: str
    rev: str


class Conflict(InputError):  # noqa: N818 - nothing is wrong with the input, somebody was faster
    """Somebody else has changed it since. `label` is what it is now; None: it is gone."""

    def __init__(self, message: str, label: Label | None = None) -> None:
        super().__init__(message)
        self.label = label


def label_of(line: Record, rev: str, clip_len: float) -> Label:
    """The label that a line is."""
    spans = [(float(start), float(end)) for start, end in line["relevant_windows"]]
    scores = window_scores(line, spans, clip_len)
    windows = tuple(Window(*span, score) for span, score in zip(spans, scores, strict=True))
    asked, side = line.get("asked") is True, line.get("split") or ""
    return Label(line["qid"], video_of(line), line["query"], windows, asked, side, rev, line)


def times_of(windows: Sequence[Window], duration: float | None, clip_len: float, annotators: int) -> Record:
    """The keys of a line that say when, and how much of a highlight each window is."""
    spans = [[window.start, window.end] for window in windows]
    rows = score_rows(windows, None if duration is None else rounded(duration), clip_len, annotators)
    return length_of(duration) | {"relevant_windows": spans} | rows


def length_of(duration: float | None) -> Record:
    """The key of a line that says how long the video is, where that is known."""
    return {} if duration is None else {"duration": rounded(duration)}


def annotators_of(lines: Iterable[Record]) -> int:
    """Of how many people scores are from: all lines of a file have to have as many."""
    rows = (line.get("saliency_scores") for line in lines)
    first = next((row[0] for row in rows if row), 0)
    return len(first) if isinstance(first, list) else 1


def settled(windows: Sequence[Window]) -> list[tuple[float, float, int | None]]:
    """Windows as they are compared with those of a file: in the order of time, to the millisecond."""
    return sorted((round(window.start, 3), round(window.end, 3), window.score) for window in windows)


def video_of(line: Mapping[str, Any]) -> str:
    """The id of a line's video, in the form that everything goes by."""
    return _composed(line["vid"])


@lru_cache(10_000)
def _composed(vid: str) -> str:
    return unicodedata.normalize("NFC", vid)


def content_of(label: Label) -> LabelContent:
    """What a person sees of a label."""
    return label.vid, label.query, label.windows, label.asked
