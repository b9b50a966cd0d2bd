"""What is said in a video and its summary, in two files: the pipeline reads no line that has no summary."""

from collections.abc import Mapping

from read.files import digest_of
from read.studio.checks import checked_text
from read.studio.label import Texts
from read.studio.tables import Changes, Table


def texts_in(tables: Mapping[str, Table], vid: str) -> Texts:
    """The texts of a video."""
    line = tables["summaries"].lines.get(vid) or tables["transcripts"].lines.get(vid) or {}
    texts = {key: line.get(key) or "" for key in ("transcript", "summary")}
    return Texts(**texts, rev=digest_of(texts)[:12])


def text_changes(tables: Mapping[str, Table], vid: str, transcript: str, summary: str) -> Changes:
    """What has to be changed for a video to have these texts; nothing where it has them.

    Raises:
        InputError: they hold what no text holds.
    """
    transcript, summary = checked_text(transcript, "the transcript"), checked_text(summary, "the summary")
    old = texts_in(tables, vid)
    if (transcript, summary) == (old.transcript, old.summary):
        return {}
    told, said = tables["summaries"].lines.get(vid), tables["transcripts"].lines.get(vid)
    rest = {key: value for key, value in (told or {}).items() if key not in ("vid", "transcript", "summary")}
    texts = {"vid": vid, "transcript": transcript}
    now = texts | {"summary": summary} | rest if summary else None
    waits = texts if transcript and not summary else None
    pairs = {"summaries": [(told, now)], "transcripts": [(said, waits)]}
    return {name: [pair for pair in part if pair != (None, None)] for name, part in pairs.items()}
