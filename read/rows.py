"""Lines of JSON that people write, and their fields: each is read by its type, and all that is wrong is told at once.

No library of schemas: this is the ground that `import read` stands on, and what has to be told of a line (its number,
what a field lacks, what it should be) is most of the work anyway.
"""

import math
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from reprlib import Repr
from typing import Any, TypeVar

from read.errors import InputError
from read.files import decode_json, read_text

SHOWN = 20  # mistakes in a message
SIDES = ("", "train", "val", "test")
LONGEST_VID = 200  # bytes of a video's id in UTF-8: a file's name may have 255, with a suffix and while it is written
LONGEST_TEXT = 1_000_000  # characters: three novels
WEEK = 604_800.0  # seconds; a video that lasts longer is a mistake in the unit, and its clips would fill the memory
BROKEN = "no text: half of a surrogate pair is no character"
LARGEST_ID = 2**63 - 1
SLACK = 0.05  # seconds by which a window may pass the end: durations are rounded in real files

Parsed = TypeVar("Parsed")
Span = tuple[float, float]
_repr = Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 60


def parse_lines(path: Path, parse_row: Callable[[Any, int], Parsed]) -> list[Parsed]:
    """`parse_row(row, line number)` of every line of a jsonl; blank lines are passed over.

    Raises:
        InputError: lines that are no JSON, or that `parse_row` refuses; all of them are listed, each with its number.
    """
    parsed, mistakes = parse_text(read_text(path), parse_row)
    refuse([f"{path}:{number}: {mistake}" for number, mistake in mistakes])
    return parsed


def parse_text(text: str, parse_row: Callable[[Any, int], Parsed]) -> tuple[list[Parsed], list[tuple[int, str]]]:
    """The same of a text; of lines that are no JSON, or that are refused, the number and the reason."""
    parsed: list[Parsed] = []
    mistakes: list[tuple[int, str]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = decode_json(line)
            if not isinstance(row, dict):
                raise InputError("not a JSON object")
            parsed.append(parse_row(row, number))
        except InputError as error:
            mistakes.append((number, str(error)))
    return parsed, mistakes


def refuse(mistakes: Collection[str]) -> None:
    """Raise one InputError with all mistakes, or the first of very many; nothing where there is none."""
    if mistakes:
        more = [f"... and {len(mistakes) - SHOWN} more"] * (len(mistakes) > SHOWN)
        raise InputError("\n".join([*list(mistakes)[:SHOWN], *more]))


def id_key(qid: int | str) -> str:
    """What a query goes by wherever its id is a name, as in files of features: 1 and "1" are one."""
    return str(qid)


class Fields:
    """The fields of a row. A reader gives a field's value, or None where it is absent, null or wrong.

    Args:
        row: one JSON object.
        name: the key by which messages name the row, as "qid".
    """

    def __init__(self, row: Mapping[str, Any], name: str) -> None:
        self.row = {key: value for key, value in row.items() if value is not None}
        self.name = name
        self.mistakes: list[str] = []

    def check(self) -> None:
        """Raise InputError with all that was found wrong."""
        if self.mistakes:
            known = self.row.get(self.name)
            plain = known is not None and not any(mistake.startswith(f"{self.name} ") for mistake in self.mistakes)
            kind = "video" if self.name == "vid" else self.name
            label = f"{kind} {known}: " if plain else ""
            raise InputError(label + "; ".join(self.mistakes))

    def require(self, keys: Iterable[str]) -> None:
        """Note the keys that are absent or null."""
        if missing := [key for key in keys if key not in self.row]:
            self.mistakes.append(f"lacks {', '.join(missing)}")

    def id(self, key: str) -> int | str | None:
        """A whole number of 64 bits, or a text."""
        value = self.row.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_ID:
            return value
        if value is not None and not isinstance(value, str):
            self._wrong(key, "neither a whole number nor a text")
            return None
        if "\0" in (value or ""):
            self._wrong(key, "with a NUL character")
            return None
        return self.text(key)

    def text(self, key: str, empty: bool = False) -> str | None:
        """A text with at least one character that shows, unless it may be empty."""
        value = self.row.get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            self._wrong(key, "not a text")
        elif not empty and not value.strip():
            self.mistakes.append(f"{key} is empty")
        elif len(value) > LONGEST_TEXT:
            self.mistakes.append(f"{key} has {len(value)} characters, more than {LONGEST_TEXT}")
        elif is_broken(value):
            self._wrong(key, BROKEN)
        else:
            return value
        return None

    def vid(self, key: str = "vid") -> str | None:
        """The id of a video, in the normal form of Unicode that `vid_of` gives."""
        if (value := self.row.get(key)) is None:
            return None
        try:
            return vid_of(value, key)
        except InputError as error:
            self.mistakes.append(str(error))
            return None

    def side(self, key: str = "split") -> str:
        """The side of a split, empty where none is named."""
        value = self.row.get(key, "")
        if not isinstance(value, str) or value not in SIDES:
            self._wrong(key, f"not one of {', '.join(SIDES[1:])}")
            return ""
        return value

    def seconds(self, key: str) -> float | None:
        """A length of time: above zero, at most a week."""
        if (value := self.number(key)) is None:
            return None
        if 0 < value <= WEEK:
            return value
        why = "is not positive" if value <= 0 else "is longer than a week; is it in seconds?"
        self.mistakes.append(f"{key} {value:g} {why}")
        return None

    def number(self, key: str) -> float | None:
        """A finite number."""
        value = self.row.get(key)
        if value is None:
            return None
        try:
            return number_of(value, key)
        except InputError as error:
            self.mistakes.append(str(error))
            return None

    def table(self, key: str, form: str, width: int | None = None, least: int = 1) -> list[list[float]] | None:
        """A list of lists of finite numbers, of one width or of `width`, at least `least`; `form` says it in words."""
        value = self.row.get(key)
        if value is None:
            return None
        if not isinstance(value, list | tuple) or any(not isinstance(line, list | tuple) for line in value):
            self.mistakes.append(f"{key} is no list of {form}")
            return None
        for line in value:
            if len(line) != (len(value[0]) if width is None else width) or len(line) < least:
                self.mistakes.append(f"{key}: {shown(line)} is not {form}")
                return None
        try:
            return [[number_of(entry, f"{key}: a number") for entry in line] for line in value]
        except InputError as error:
            self.mistakes.append(str(error))
            return None

    def _wrong(self, key: str, reason: str) -> None:
        self.mistakes.append(f"{key} is {shown(self.row[key])}, {reason}")


def shown(value: Any) -> str:
    """A value as a message can show it, long ones without their middle."""
    return _repr.repr(value)


def require(row: Mapping[str, Any], keys: Iterable[str]) -> None:
    """Raise InputError with the keys that a row lacks or that are null."""
    if missing := [key for key in keys if row.get(key) is None]:
        raise InputError(f"lacks {', '.join(missing)}")


def is_broken(text: str) -> bool:
    """Whether a text holds half of a surrogate pair, which is no character and which no file and no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def vid_of(vid: Any, name: str) -> str:
    """A video's id as everything goes by it: composed (NFC), since some systems take the names of files apart.

    Raises:
        InputError: it cannot be a file's name.
    """
    if not isinstance(vid, str) or not vid.strip() or "/" in vid or vid.startswith("."):
        raise InputError(f"{name} {shown(vid)} is no plain file name")
    if is_broken(vid):
        raise InputError(f"{name} {shown(vid)} is {BROKEN}")
    if any(unicodedata.category(character) == "Cc" for character in vid):
        raise InputError(f"{name} {shown(vid)} is no plain file name: it holds a control character")
    vid = unicodedata.normalize("NFC", vid)
    if (length := len(vid.encode())) > LONGEST_VID:
        raise InputError(f"{name} {shown(vid)} has {length} bytes in UTF-8; a file's name has room for {LONGEST_VID}")
    return vid


def number_of(value: Any, name: str) -> float:
    """A finite number. Raises InputError for anything else."""
    try:
        if not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value):
            return float(value)
    except OverflowError:
        pass
    raise InputError(f"{name} is {shown(value)}, not a number")


def checked_window(start: float, end: float, duration: float, name: str) -> Span:
    """A window inside its video, up to rounding. Raises InputError for any other."""
    if end <= start:
        raise InputError(f"{name} [{start:g}, {end:g}] ends before it starts")
    if start < 0 or end > duration + SLACK or start >= duration:
        raise InputError(f"{name} [{start:g}, {end:g}] lies outside the video, which lasts {duration:g} s")
    return start, min(end, duration)
