"""QVHighlights' jsonl, the form in which labels are kept: lines come and go with all that they say."""

import json
from collections.abc import Sequence

from read.data.annotations import parse
from read.data.lengths import Length
from read.errors import InputError
from read.files import decode_json
from read.studio.checks import Window
from read.studio.formats._form import CLIP_LEN, LabelForm, Lengths, video_named
from read.studio.labels import Imported, Label
from read.studio.scores import KEYS


def read(text: str, vid: str, lengths: Lengths) -> tuple[list[Imported], list[str]]:
    """See `LabelForm`."""
    found, mistakes = [], []
    known = {name: Length(seconds, CLIP_LEN) for name, seconds in lengths.items() if seconds is not None}
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = decode_json(line)
            if not isinstance(row, dict):
                raise InputError("not a JSON object")
            if isinstance(row.get("vid"), str):
                row["vid"] = video_named(row["vid"], lengths)
            label = parse({key: value for key, value in row.items() if key not in KEYS}, CLIP_LEN, known)
            windows = tuple(Window(*span) for span in label.windows)
            found.append(Imported(label.vid, label.query, windows, f"line {number}", row))
        except InputError as error:
            mistakes.append(f"line {number}: {error}")
    return found, mistakes


def write(labels: Sequence[Label], lengths: Lengths) -> str:
    """See `LabelForm`."""
    return "".join(json.dumps(dict(label.line), ensure_ascii=False) + "\n" for label in labels)


FORMAT = LabelForm(".jsonl", False, read, write)
