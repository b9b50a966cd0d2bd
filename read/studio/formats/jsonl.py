"""QVHighlights' jsonl, the form in which labels are kept: lines come and go with all that they say."""

import json
from collections.abc import Sequence
from typing import Any

from read.data.annotations import parse
from read.data.lengths import Length
from read.rows import parse_text
from read.studio.checks import Window
from read.studio.formats._form import CLIP_LEN, LabelForm, Lengths, video_named
from read.studio.labels import Imported, Label
from read.studio.scores import KEYS


def read(text: str, vid: str, lengths: Lengths) -> tuple[list[Imported], list[str]]:
    """See `LabelForm`."""
    known = {name: Length(seconds, CLIP_LEN) for name, seconds in lengths.items() if seconds is not None}

    def imported(row: dict[str, Any], number: int) -> Imported:
        if isinstance(row.get("vid"), str):
            row["vid"] = video_named(row["vid"], lengths)
        label = parse({key: value for key, value in row.items() if key not in KEYS}, CLIP_LEN, known)
        windows = tuple(Window(*span) for span in label.windows)
        return Imported(label.vid, label.query, windows, f"line {number}", row)

    found, mistakes = parse_text(text.removeprefix("\ufeff"), imported)
    return found, [f"line {number}: {mistake}" for number, mistake in mistakes]


def write(labels: Sequence[Label], lengths: Lengths) -> str:
    """See `LabelForm`."""
    return "".join(json.dumps(dict(label.line), ensure_ascii=False) + "\n" for label in labels)


FORMAT = LabelForm(".jsonl", False, read, write)
