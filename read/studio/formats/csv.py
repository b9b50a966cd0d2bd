"""Tables with a row a moment: vid, start, end, query, score; as spreadsheets and other tools write them."""

import csv
import io
import re
from collections.abc import Sequence
from functools import partial

from read.errors import InputError
from read.plugins import nearest
from read.rows import shown
from read.studio.formats._form import Gathered, LabelForm, Lengths, seconds_of, video_named
from read.studio.labels import Imported, Label

COLUMNS = ("vid", "start", "end", "query", "score")
NAMES = {  # what a column is, by names that tools and people give it
    "vid": "vid video videoid videoname file filename videofile clip clipname media",
    "start": "start begin from starttime begintime starts startsec starts startseconds in onset",
    "end": "end stop to endtime stoptime ends endsec endseconds out offset",
    "query": "query sentence text label caption description annotation annotationvalue event",
    "score": "score saliency highlight rating relevance",
    "": "duration qid id number",  # known, and not needed
}
MEANING = {name: column for column, names in NAMES.items() for name in names.split()}
DELIMITERS = ",;\t"
LARGEST_CELL = 100_000  # characters
# Spreadsheets take a cell that begins so for a formula; an apostrophe before it says that it is text.
FORMULA = re.compile(r"'*[=+\-@\t\r＝＋－＠]")


def read(text: str, vid: str, lengths: Lengths) -> tuple[list[Imported], list[str]]:
    """See `LabelForm`."""
    rows = Gathered(lengths)
    csv.field_size_limit(LARGEST_CELL)
    try:
        delimiter, columns = _header(text.removeprefix("\ufeff"))
        table = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), delimiter=delimiter, strict=True)
        line = 1
        for number, cells in enumerate(table):
            place, line = f"line {line}", table.line_num + 1
            if number and any(cell.strip() for cell in cells):
                _take(cells, columns, place, rows)
    except (InputError, csv.Error) as error:
        rows.mistakes.append(str(error) if isinstance(error, InputError) else f"line {table.line_num}: {error}")
    return rows.labels()


def _header(text: str) -> tuple[str, dict[str, int]]:
    """The delimiter and the places of the columns, by the first line."""
    first = next(iter(text.splitlines()), "")
    split = {delimiter: next(csv.reader([first], delimiter=delimiter), []) for delimiter in DELIMITERS}
    delimiter = max(DELIMITERS, key=lambda one: sum(_plain(cell) in MEANING for cell in split[one]))
    places: dict[str, int] = {}
    for place, cell in enumerate(split[delimiter]):
        column = MEANING.get(_plain(cell))
        if column is None:
            close = [f"; did you mean {name}?" for name in nearest(_plain(cell), COLUMNS)]
            told = f"line 1: no column {shown(cell)} is known; there are {', '.join(COLUMNS)}"
            raise InputError(told + "".join(close))
        if column and places.setdefault(column, place) != place:
            raise InputError(f"line 1: two columns are a {column}: {shown(cell)} is one of them")
    if missing := [column for column in COLUMNS[:4] if column not in places]:
        raise InputError(f"line 1: has to name the columns, as in {','.join(COLUMNS)}; it lacks {', '.join(missing)}")
    return delimiter, places


def _plain(name: str) -> str:
    """A column's name without what is said of its unit, and without marks: "Start time (s)" is "starttime"."""
    return re.sub(r"[\W_]", "", re.sub(r"[(\[].*", "", name)).casefold()


def _take(cells: list[str], columns: dict[str, int], place: str, rows: Gathered) -> None:
    if len(cells) <= max(columns.values()):
        if len(cells) <= max(place for column, place in columns.items() if column != "score"):
            rows.mistakes.append(f"{place}: has {len(cells)} cells, fewer than the columns that line 1 names")
            return
        cells = [*cells, *[""] * (max(columns.values()) + 1 - len(cells))]
    given = {column: _unquoted(cells[number]) for column, number in columns.items()}
    converters = {"vid": partial(video_named, lengths=rows.lengths), "start": seconds_of, "end": seconds_of}
    wrong, values = [], {}
    for column, convert in converters.items():
        try:
            values[column] = convert(given[column])
        except InputError as error:
            wrong.append(str(error))
    score = given.get("score", "").strip()
    if score and not re.fullmatch(r"[0-4](\.0*)?", score):
        wrong.append(f"the score {shown(score)} is none of 0 to 4")
    if wrong:
        rows.mistakes.append(f"{place}: {'; '.join(wrong)}")
        return
    rows.add(place, **values, query=given["query"], score=int(score[0]) if score else None)


def _unquoted(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def _quoted(cell: str) -> str:
    return f"'{cell}" if FORMULA.match(cell) else cell


def write(labels: Sequence[Label], lengths: Lengths) -> str:
    """See `LabelForm`."""
    out = io.StringIO(newline="")
    table = csv.writer(out)
    table.writerow(COLUMNS)
    for label in labels:
        for window in label.windows:
            score = "" if window.score is None else window.score
            table.writerow([_quoted(label.vid), window.start, window.end, _quoted(label.query), score])
    return out.getvalue()


FORMAT = LabelForm(".csv", False, read, write)
