"""WebVTT, the subtitles of one video."""

from collections.abc import Sequence

from read.studio.formats._form import LabelForm, Lengths
from read.studio.formats._subtitles import captions_of, read_captions
from read.studio.labels import Imported, Label


def read(text: str, vid: str, lengths: Lengths) -> tuple[list[Imported], list[str]]:
    """See `LabelForm`."""
    return read_captions(text, ".vtt", vid, lengths)


def write(labels: Sequence[Label], lengths: Lengths) -> str:
    """See `LabelForm`."""
    return "\n".join(["WEBVTT\n", *captions_of(labels, ".")])


FORMAT = LabelForm(".vtt", True, read, write)
