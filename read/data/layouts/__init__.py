"""Annotations as benchmarks publish them: a file a layout, which turns a public row into one of our annotations.

The `convert(row, notes)` of a file in `queries/` gives a row in our form, or None for one that cannot be used; whatever
it drops or clamps it counts in `notes`, under words that a message can show.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from read.data.annotations import Annotation, Once, parse
from read.errors import InputError
from read.plugins import QUERY_LAYOUTS
from read.rows import parse_lines

__all__ = ["Notes", "load_parts", "youtube_of"]

Notes = Counter[str]
Convert = Callable[[dict[str, Any], Notes], dict[str, Any] | None]

SIDES = ("train", "val", "test")  # a video on two of them stays on the later one
RANGE = re.compile(r"(?P<id>[A-Za-z0-9_-]{11})_(?P<start>\d+\.\d+)_(?P<end>\d+\.\d+)")


def load_parts(parts: Iterable[tuple[Path, str]], layout: str, clip_len: float) -> tuple[list[Annotation], Notes]:
    """Read the files of a benchmark.

    A video with queries on two sides keeps those of the later one of train, val and test, so that no label of a side
    that is reported on trains; what is left out is counted.

    Args:
        parts: each file and the side that it is of; empty where the rows say it themselves.
        layout: the name of a file in `queries/`.
        clip_len: seconds per clip, by which saliency is derived where the rows have none.

    Returns:
        annotations, and how often something was dropped or clamped, in words.

    Raises:
        InputError: a file is absent, empty or has mistakes, all of which are listed, each with its line; or two rows
            have one qid.
    """
    convert: Convert = QUERY_LAYOUTS.load(layout)
    notes: Notes = Counter()
    once = Once()
    annotations: list[Annotation] = []
    for path, split in parts:
        if not path.is_file():
            raise InputError(f"{path}: no such annotation file")

        def read_row(row: dict[str, Any], number: int, path: Path = path, split: str = split) -> Annotation | None:
            converted = convert(row, notes)
            if converted is None:
                return None
            annotation = parse(converted | ({"split": split} if split else {}), clip_len)
            once.check(annotation, f"in {path.name}:{number}")
            return annotation

        found = [annotation for annotation in parse_lines(path, read_row) if annotation is not None]
        if not found:
            raise InputError(f"{path}: holds no annotation that can be used ({_words(notes) or 'it is empty'})")
        annotations += found
    return _one_side_each(annotations, notes), notes


def youtube_of(vid: str) -> tuple[str, float | None, float | None]:
    """YouTube's id of a video, and the part of it in seconds where `vid` names one: `<id>_<start>_<end>`."""
    found = RANGE.fullmatch(vid)
    return (found["id"], float(found["start"]), float(found["end"])) if found else (vid, None, None)


def _one_side_each(annotations: list[Annotation], notes: Notes) -> list[Annotation]:
    latest: dict[str, int] = {}
    for annotation in annotations:
        place = SIDES.index(annotation.split) if annotation.split in SIDES else -1
        latest[annotation.vid] = max(place, latest.get(annotation.vid, -1))
    kept = [a for a in annotations if latest[a.vid] < 0 or a.split == SIDES[latest[a.vid]]]
    if len(kept) < len(annotations):
        notes["queries left out, of videos that a later side has too"] += len(annotations) - len(kept)
    return kept


def _words(notes: Notes) -> str:
    return "; ".join(f"{count} {what}" for what, count in notes.items())
