"""ELAN's tab-delimited text of one video: with or without the names of columns, in any of its forms of time.

ELAN writes the tier, the participant, begin, end and duration in each form of time that was ticked, and the
annotation; or, with a column for each tier, the times first and then the annotations.
"""

import re
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

from read.data.transcripts import split_lines
from read.errors import InputError
from read.rows import shown
from read.studio.formats._form import Gathered, LabelForm, Lengths, clock, moments_of, seconds_of
from read.studio.labels import Imported, Label

TIER = "READ"
HEADER = ("Tier", "Begin Time - hh:mm:ss.ms", "End Time - hh:mm:ss.ms", "Duration - hh:mm:ss.ms", "Annotation")
FORMS = {"msec": r"[0-9]{1,10}", "ss.msec": r"[0-9]{1,7}\.[0-9]+", "hh:mm:ss.ms": r"[0-9]{1,4}(:[0-9]{2}){2}\.[0-9]+"}
NAMED = re.compile(rf".*\s-\s({'|'.join(map(re.escape, FORMS))})", re.IGNORECASE)  # in whichever language
FRAMES = re.compile(r".*\s-\s(hh:mm:ss:ff|frames).*", re.IGNORECASE)
NO_ANNOTATION = re.compile(r"participant|file.*|annotator|", re.IGNORECASE)
ROUNDED = 0.0021  # seconds by which a duration may differ from what it is of
Rows = list[tuple[int, list[str]]]  # numbers of lines, and their cells


class Columns(NamedTuple):
    """Where begin, end and perhaps duration stand, in which form, and where the annotations do."""

    form: str
    times: list[int]
    texts: list[int]


def read(text: str, vid: str, lengths: Lengths) -> tuple[list[Imported], list[str]]:
    """See `LabelForm`."""
    gathered = Gathered(lengths)
    lines = enumerate(split_lines(text.removeprefix("\ufeff")), start=1)
    rows = [(number, line.split("\t")) for number, line in lines if line.strip() and not line.startswith(("#", '"#'))]
    if not rows:
        return gathered.labels()
    first, names = rows[0]
    try:
        if any(NAMED.fullmatch(name.strip()) or FRAMES.fullmatch(name.strip()) for name in names):
            columns, rows = _named([name.strip() for name in names], first), rows[1:]
        else:
            columns = _guessed(rows)
    except InputError as error:
        return [], [str(error)]
    for number, cells in rows:
        _take(f"line {number}", cells, columns, vid, gathered)
    return gathered.labels()


def _named(names: list[str], line: int) -> Columns:
    """The columns by what the first line calls them."""
    forms = {place: found[1].lower() for place, name in enumerate(names) if (found := NAMED.fullmatch(name))}
    times = {form: [place for place in forms if forms[place] == form] for form in FORMS}
    form = next((form for form, places in times.items() if len(places) > 1), None)
    begins = form and not re.match("duration", names[times[form][0]], re.IGNORECASE)
    if form is None or not begins or re.match("duration", names[times[form][1]], re.IGNORECASE):
        raise InputError(f"line {line}: names no begin and end in one form; export it with both ticked")
    rest = [place for place, name in enumerate(names) if place not in forms and not FRAMES.fullmatch(name)]
    tiers = [place for place in rest if names[place].casefold() == "tier"]
    texts = [place for place in rest if place not in tiers and not NO_ANNOTATION.fullmatch(names[place])]
    if tiers:  # else there is a column for each tier; of this one ELAN says no name
        texts = texts[-1:] or [place for place in rest if not names[place]][-1:]
    if not texts:
        raise InputError(f"line {line}: names no column of annotations")
    return Columns(form, times[form][:3], texts)


def _guessed(rows: Rows) -> Columns:
    """The columns by what stands in them: begin and end of one form, then a duration that fits, and the annotation."""
    width = min(len(cells) for _, cells in rows)
    forms = {}
    for place in range(width):
        cells = [cells[place].strip() for _, cells in rows]
        forms[place] = next((form for form, like in FORMS.items() if all(re.fullmatch(like, c) for c in cells)), None)
    for form, count in product(FORMS, (3, 2)):
        places = [place for place in range(width - 1) if forms[place] == form]
        # A tier's name may be a number, too: the times are those that fit, and stand nearest to the annotation.
        for first in range(len(places) - count, -1, -1):
            times = places[first : first + count]
            if all(_fits([cells[place] for place in times], form) for _, cells in rows):
                return Columns(form, times, [width - 1])
    raise InputError(
        f"line {rows[0][0]}: no columns with begin, end and annotation are found, as tabs part them; export again with "
        "begin and end time ticked and with the names of columns in the first line"
    )


def _fits(cells: list[str], form: str) -> bool:
    begin, end, *duration = (_seconds(cell, form) for cell in cells)
    return begin <= end and all(abs(end - begin - seconds) <= ROUNDED for seconds in duration)


def _take(place: str, cells: list[str], columns: Columns, vid: str, gathered: Gathered) -> None:
    cells = [*cells, *[""] * (max(*columns.times, *columns.texts) + 1 - len(cells))]
    times = [cells[column].strip() for column in columns.times]
    if wrong := [time for time in times if not re.fullmatch(FORMS[columns.form], time)]:
        gathered.mistakes.append(f"{place}: {shown(wrong[0])} is no time in the form {columns.form}")
        return
    if not _fits(times, columns.form):
        gathered.mistakes.append(f"{place}: begin, end and duration do not fit: {', '.join(times)}")
        return
    said = [text for column in columns.texts if (text := cells[column].strip())]
    for text in said:
        gathered.add(place, vid, text, *(_seconds(time, columns.form) for time in times[:2]))
    if not said and len(columns.texts) == 1:
        gathered.mistakes.append(f"{place}: the annotation is empty")


def _seconds(time: str, form: str) -> float:
    return int(time) / 1000 if form == "msec" else seconds_of(time)


def write(labels: Sequence[Label], lengths: Lengths) -> str:
    """See `LabelForm`."""
    lines = ["\t".join(HEADER)]
    for window, query in moments_of(labels):
        times = (window.start, window.end, window.end - window.start)
        lines.append("\t".join([TIER, *map(clock, times), query]))
    return "".join(f"{line}\n" for line in lines)


FORMAT = LabelForm(".txt", True, read, write)
