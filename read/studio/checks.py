"""What a label has to be before it is saved, told in sentences for the page."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from read.data.annotations import MAX_SALIENCY
from read.data.lengths import Length, guess
from read.errors import InputError
from read.rows import LONGEST_TEXT, WEEK, is_broken, refuse, shown

LONGEST_QUERY = 400  # characters; the page that asks takes as many
MOST_WINDOWS = 500  # of a sentence
FEWEST_FRAMES, MILLISECONDS = 4, 130  # of times that many a length: what they may be counted in
DECIMALS = 3  # times are kept to the millisecond, which every format of labels can say


@dataclass(frozen=True)
class Window:
    """A moment from `start` to `end`, in seconds; `score` is how much of a highlight it is, 0..4, where told."""

    start: float
    end: float
    score: int | None = None


def checked_sentence(query: Any) -> str:
    """A sentence without white space around it. Raises InputError for what is none, or that nobody can see."""
    if not isinstance(query, str) or not any(unicodedata.category(letter)[0] in "LNPS" for letter in query):
        raise InputError("the sentence is empty: what happens in the moment?")
    query = query.strip()
    if len(query) > LONGEST_QUERY:
        raise InputError(f"the sentence has {len(query)} characters; at most {LONGEST_QUERY} are taken")
    _check_characters(query, "the sentence", "")
    return query


def checked_text(text: Any, what: str) -> str:
    """A transcript or a summary without white space around it, which may be empty. Raises InputError."""
    if not isinstance(text, str):
        raise InputError(f"{what} is {shown(text)}, not a text")
    if len(text) > LONGEST_TEXT:
        raise InputError(f"{what} has {len(text)} characters; at most {LONGEST_TEXT} are taken")
    text = text.replace("\r\n", "\n").strip()
    _check_characters(text, what, "\n\t")
    return text


def checked_windows(
    windows: Sequence[Window], duration: float | None, clip_len: float, latest: float | None = None
) -> tuple[Window, ...]:
    """Windows in the order of time, rounded to a millisecond.

    An end that passes the video's by no more than lengths are rounded by is the video's.

    Args:
        windows: of one sentence.
        duration: of the video, in seconds; None where nobody knows it.
        clip_len: seconds per clip.
        latest: the last time that was told of this video, from which it is guessed what times are that do not fit.

    Raises:
        InputError: there are none or too many, or they are not inside the video, in order, and apart; all is told.
    """
    if not windows:
        raise InputError("the sentence has no moment: mark its start and its end")
    if len(windows) > MOST_WINDOWS:
        raise InputError(f"the sentence has {len(windows)} moments; at most {MOST_WINDOWS} are taken")
    if duration is not None and not (_is_time(duration) and 0 < duration <= WEEK):
        raise InputError(f"the video's length is {shown(duration)}, which cannot be")
    mistakes, kept = [], []
    for window in windows:
        try:
            kept.append(_checked(window, duration, clip_len, latest))
        except InputError as error:
            mistakes.append(str(error))
    kept.sort(key=lambda window: (window.start, window.end))
    for before, after in pairwise(kept):
        if (before.start, before.end) == (after.start, after.end):
            mistakes.append(f"the moment {_span(after)} stands twice")
        elif after.start < before.end:
            mistakes.append(f"the moments {_span(before)} and {_span(after)} overlap: make one of them, or part them")
    refuse(mistakes)
    return tuple(kept)


def _checked(window: Window, duration: float | None, clip_len: float, latest: float | None) -> Window:
    start, end, score = window.start, window.end, window.score
    if not (_is_time(start) and _is_time(end)):
        raise InputError(f"the moment {shown(start)} to {shown(end)} has a time that is no number of seconds")
    start, end = (round(float(time), DECIMALS) + 0.0 for time in (start, end))  # no zero is negative
    if end <= start:
        raise InputError(f"the moment {start:g} to {end:g} s ends before it starts")
    length = None if duration is None else Length(rounded(duration), clip_len)
    if start < 0 or end > WEEK or (length and (start >= length.seconds or end > length.seconds + length.slack)):
        hint = f"; {_unit(end if latest is None else latest, length.seconds)}" if length and start >= 0 else ""
        lasts = "" if length is None else f", which lasts {length.seconds:g} s"
        raise InputError(f"the moment {start:g} to {end:g} s lies outside the video{lasts}{hint}")
    if score is not None and (isinstance(score, bool) or score not in range(MAX_SALIENCY + 1)):
        raise InputError(f"the score {shown(score)} is none of 0 to {MAX_SALIENCY}")
    if length is not None:
        end = min(end, length.seconds)
    return Window(start, end, None if score is None else int(score))


def _unit(latest: float, seconds: float) -> str:
    """Why the last time of a video, which may be long before its end, does not fit it, as a question."""
    return "are these frames?" if FEWEST_FRAMES < latest / seconds < MILLISECONDS else guess(latest, seconds)


def rounded(seconds: float) -> float:
    """A time to the millisecond, or the least that is one."""
    return max(round(float(seconds), DECIMALS), 10.0**-DECIMALS)


def _span(window: Window) -> str:
    return f"{window.start:g} to {window.end:g} s"


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 10 * WEEK


def _check_characters(text: str, what: str, allowed: str) -> None:
    if is_broken(text):
        raise InputError(f"{what} holds half of a surrogate pair, which is no character")
    if bad := next((letter for letter in text if unicodedata.category(letter) == "Cc" and letter not in allowed), None):
        raise InputError(f"{what} holds a control character ({bad!r}), which nobody can see; remove it")
