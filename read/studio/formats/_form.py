"""What a form of labels is, and what reading one has in common with the others."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from read.errors import InputError
from read.plugins import suggest
from read.rows import shown
from read.studio.checks import Window, checked_sentence, checked_windows
from read.studio.labels import Imported, Label, Lengths
from read.video_files import VIDEO_SUFFIXES

CLIP_LEN = 2.0  # seconds; only how far a time may pass the end goes by it here, and the store has its own
CLOCK = re.compile(r"(?:(\d{1,4}):)?([0-5]?\d):([0-5]?\d(?:\.\d*)?)", re.ASCII)
NUMBER = re.compile(r"\d+(?:\.\d*)?|\.\d+", re.ASCII)


@dataclass(frozen=True)
class LabelForm:
    """A form of labels.

    Attributes:
        suffix: of its files.
        per_video: whether a file is of one video, which it does not name.
        read: a text, the id of its video (empty where the text names videos) and the lengths of all, to labels and
            mistakes, each with its line.
        write: labels and the lengths of all videos to a text; of one video, where `per_video`.
    """

    suffix: str
    per_video: bool
    read: Callable[[str, str, Lengths], tuple[list[Imported], list[str]]]
    write: Callable[[Sequence[Label], Lengths], str]


@dataclass
class Gathered:
    """Rows of a file as labels: those of one sentence and one video are moments of one label."""

    lengths: Lengths
    mistakes: list[str] = field(default_factory=list)
    _rows: list[tuple[str, str, str, Window]] = field(default_factory=list)

    def add(
        self, place: str, vid: str, query: str, start: float | str, end: float | str, score: int | None = None
    ) -> None:
        """Take a row, with times in seconds or as `seconds_of` reads them; what is wrong is noted with its place."""
        try:
            span = (seconds_of(time) if isinstance(time, str) else time for time in (start, end))
            self._rows.append((place, vid, checked_sentence(query), Window(*span, score)))
        except InputError as error:
            self.mistakes.append(f"{place}: {error}")

    def labels(self) -> tuple[list[Imported], list[str]]:
        """What was found, and what is wrong, in the order of lines."""
        latest: dict[str, float] = {}
        for _, vid, _, window in self._rows:
            latest[vid] = max(latest.get(vid, 0.0), window.end)
        found: dict[tuple[str, str], tuple[str, list[Window]]] = {}
        for place, vid, query, window in self._rows:
            try:
                (checked,) = checked_windows([window], self.lengths.get(vid), CLIP_LEN, latest[vid])
                found.setdefault((vid, query), (place, []))[1].append(checked)
            except InputError as error:
                self.mistakes.append(f"{place}: {error}")
        self.mistakes.sort(key=lambda mistake: int((re.search("[0-9]+", mistake) or "0")[0]))
        return [Imported(*key, tuple(rows), place) for key, (place, rows) in found.items()], self.mistakes


def video_named(name: str, lengths: Lengths) -> str:
    """The id of the video that a file of labels means: by the id or its file's name, in any folder.

    Capitals do not matter where only one video is meant.

    Raises:
        InputError: there is no such video, or there are several.
    """
    if name in lengths:
        return name
    plain = PurePosixPath(name.strip().replace("\\", "/")).name
    stem, dot, suffix = plain.rpartition(".")
    for wanted in [plain, stem] if f"{dot}{suffix}".lower() in VIDEO_SUFFIXES else [plain]:
        if wanted in lengths:
            return wanted
        if alike := [vid for vid in lengths if vid.casefold() == wanted.casefold()]:
            if len(alike) == 1:
                return alike[0]
            raise InputError(f"video {shown(name)} may be {' or '.join(alike)}; write it as the file is called")
    raise InputError(f"there is no video {shown(name)} in the folder{suggest(stem or plain, lengths)}")


def seconds_of(text: str) -> float:
    """Seconds of a time as 75.5, 1:15.5 or 0:01:15.500, with a point or a comma. Raises InputError for another."""
    plain = text.strip().replace(",", ".")
    if NUMBER.fullmatch(plain) and len(plain) < 20:
        return float(plain)
    if found := CLOCK.fullmatch(plain):
        return int(found[1] or 0) * 3600 + int(found[2]) * 60 + float(found[3])
    raise InputError(f"{shown(text)} is no time; seconds, as 75.5, or h:mm:ss.fff, as 0:01:15.500")


def clock(seconds: float, point: str = ".") -> str:
    """A time as 00:01:15.500."""
    whole = round(1000 * seconds)
    return f"{whole // 3600000:02}:{whole // 60000 % 60:02}:{whole // 1000 % 60:02}{point}{whole % 1000:03}"


def moments_of(labels: Sequence[Label]) -> list[tuple[Window, str]]:
    """All moments with their sentences, in the order of time."""
    moments = [(window, label.query) for label in labels for window in label.windows]
    return sorted(moments, key=lambda moment: (moment[0].start, moment[0].end, moment[1]))
