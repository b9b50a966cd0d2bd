"""Captions of clips: lines of JSON, or a table, with `vid` and `sentence`; a clip may have several."""

import csv
import io
import unicodedata
from pathlib import Path
from typing import Any

from read.errors import InputError
from read.files import read_text
from read.rows import Fields, parse_lines, refuse

KEYS = ("vid", "sentence")


def load_captions(path: Path) -> dict[str, list[str]]:
    """The captions of each clip, in the order of the file; one that stands twice counts once.

    Raises:
        InputError: the file is absent or empty, or has mistakes. All of them are listed, each with its line.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file of captions")
    captions: dict[str, list[str]] = {}
    for vid, sentence in _table(path) if path.suffix.lower() == ".csv" else parse_lines(path, _pair):
        if sentence not in captions.setdefault(vid, []):
            captions[vid].append(sentence)
    if not captions:
        raise InputError(f"{path}: holds no caption")
    return captions


def _pair(row: dict[str, Any], number: int) -> tuple[str, str]:
    fields = Fields(row, "vid")
    fields.require(KEYS)
    vid, sentence = fields.vid(), fields.text("sentence")
    fields.check()
    assert vid is not None and sentence is not None, "or the check had raised"
    return vid, " ".join(sentence.split())


def _table(path: Path) -> list[tuple[str, str]]:
    table = csv.DictReader(io.StringIO(read_text(path), newline=""))
    if missing := [key for key in KEYS if key not in (table.fieldnames or [])]:
        found = ", ".join(table.fieldnames or []) or "nothing"
        raise InputError(f"{path}: no column {' and no column '.join(missing)}; its first line has {found}")
    pairs, mistakes = [], []
    for row in table:
        try:
            pairs.append(_pair({key: row[key] for key in KEYS}, table.line_num))
        except InputError as error:
            mistakes.append(f"{path}:{table.line_num}: {error}")
    refuse(mistakes)
    return pairs


def plain(sentence: str) -> str:
    """A caption by which equal ones are known: without capitals, marks and spaces around words."""
    letters = (c if unicodedata.category(c)[0] in "LMN" else " " for c in unicodedata.normalize("NFKC", sentence))
    return " ".join("".join(letters).casefold().split()) or sentence
