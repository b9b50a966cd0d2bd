"""Summaries: what is said in a video and a short text about it, one JSON object a line.

Required keys: `vid`, `summary`. Optional: `transcript`, absent, null or empty where nobody speaks, so that the video is
summarized from its frames; `split`, `train`, `val` or `test`. How2's own files are read too.
"""

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from read.data.transcripts import load_transcript, subtitle_files
from read.errors import InputError
from read.files import read_jsonl, read_text
from read.rows import SHOWN, Fields, parse_lines, refuse, vid_of

REQUIRED = ("vid", "summary")


@dataclass(frozen=True)
class Summary:
    """A video's transcript, empty where nobody speaks, and its summary; `split` is its side, where it has one.

    `heard` says which model heard the transcript, and in which language, where nobody wrote it.
    """

    vid: str
    transcript: str
    summary: str
    split: str = ""
    heard: str = ""

    @property
    def silent(self) -> bool:
        """Whether there is no transcript, so that only the frames tell what to say."""
        return not self.transcript

    def row(self) -> dict[str, str]:
        """The summary as a line of the jsonl."""
        return {key: value for key, value in asdict(self).items() if value or key not in ("split", "heard")}


def load_summaries(path: str | Path) -> list[Summary]:
    """Read and check a jsonl of summaries.

    Raises:
        InputError: the file is absent or empty, or has mistakes. All of them are listed, each with its line.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file of summaries")
    first_line: dict[str, int] = {}

    def once(row: dict[str, Any], number: int) -> Summary:
        summary = parse_summary(row)
        _check_once(summary.vid, number, first_line)
        return summary

    summaries = parse_lines(path, once)
    if not summaries:
        raise InputError(f"{path}: holds no summary")
    return summaries


def with_transcripts(summaries: Iterable[Summary], folder: str | Path) -> list[Summary]:
    """Fill in transcripts from a folder of subtitles named by the videos' ids, where there is none yet.

    What has neither stays without one.

    Raises:
        InputError: the subtitles of a video have mistakes, and all such videos are listed; or there are transcripts to
            fill in, and the folder has none of them, or no subtitles at all.
    """
    summaries, files = list(summaries), subtitle_files(folder)
    silent = [summary.vid for summary in summaries if summary.silent]
    if silent and files.keys().isdisjoint(silent):
        raise InputError(
            f"{folder}: no file is named by one of the {len(silent)} videos without a transcript, as {silent[0]}.vtt; "
            f"there is {next(iter(files.values())).name}"
        )
    transcripts, mistakes = {}, []
    for vid in filter(files.__contains__, silent):
        try:
            transcripts[vid] = load_transcript(files[vid])
        except InputError as error:
            mistakes.append(str(error))
    refuse(mistakes)
    return [replace(summary, transcript=transcripts.get(summary.vid, summary.transcript)) for summary in summaries]


def with_heard(summaries: Iterable[Summary], path: str | Path) -> list[Summary]:
    """Fill in what was heard in videos, where there is no transcript.

    Args:
        summaries: of a dataset.
        path: a jsonl of `vid`, `transcript`, `model` and `language`.
    """
    summaries = list(summaries)
    if not any(summary.silent for summary in summaries):
        return summaries
    rows = {row["vid"]: row for row in read_jsonl(path)}
    return [
        replace(summary, transcript=row["transcript"], heard=f"{row['model']}, {row['language']}")
        if summary.silent and (row := rows.get(summary.vid)) and row["transcript"]
        else summary
        for summary in summaries
    ]


def load_how2(transcripts: str | Path, summaries: str | Path, split: str = "") -> list[Summary]:
    """Read summaries as the How2 benchmark has them: two files with lines of an id and a text, joined by the id.

    Args:
        transcripts: the source side, as `tran.tok.txt`. An id without a text is a video in which nobody speaks.
        summaries: the target side, as `desc.tok.txt`; its order is kept.
        split: the side that these videos are on.

    Raises:
        InputError: a file is absent, empty or no UTF-8, has an id twice or a summary without words, or an id of one
            file is not in the other. The message lists them.
    """
    sources, targets = Path(transcripts), Path(summaries)
    said, told = _read_texts(sources), _read_texts(targets, empty=False)
    _check_both(sources, said, targets, told)
    return [Summary(vid, said[vid], summary, split) for vid, summary in told.items()]


def parse_summary(row: dict[str, Any]) -> Summary:
    """Check one row. Raises InputError with all that is wrong with it."""
    fields = Fields(row, "vid")
    fields.require(REQUIRED)
    vid, summary = fields.vid(), fields.text("summary")
    transcript, side = fields.text("transcript", empty=True), fields.side()
    fields.check()
    assert vid is not None and summary is not None, "or the check had raised"
    return Summary(vid, (transcript or "").strip(), summary.strip(), side)


def _check_once(vid: str, number: int, first_line: dict[str, int]) -> None:
    if first_line.setdefault(vid, number) != number:
        raise InputError(f"video {vid} stands already on line {first_line[vid]}")


def _read_texts(path: Path, empty: bool = True) -> dict[str, str]:
    """Text by id, of lines with an id and a text."""
    if not path.is_file():
        raise InputError(f"{path}: no such file, of lines with an id and a text")
    first_line: dict[str, int] = {}
    texts: dict[str, str] = {}
    mistakes = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not (parts := line.split(maxsplit=1)):
            continue
        text = "".join(parts[1:]).strip()
        try:
            vid = vid_of(parts[0], "id")
            _check_once(vid, number, first_line)
            if not text and not empty:
                raise InputError(f"video {vid}: summary is empty")
            texts[vid] = text
        except InputError as error:
            mistakes.append(f"{path}:{number}: {error}")
    refuse(mistakes)
    if not texts:
        raise InputError(f"{path}: holds no line with an id and a text")
    return texts


def _check_both(sources: Path, said: Collection[str], targets: Path, told: Collection[str]) -> None:
    """Raise InputError unless both files have the same ids."""
    for path, here, other, there in ((sources, said, targets, told), (targets, told, sources, said)):
        if lacking := sorted(set(there) - set(here)):
            more = f" and {len(lacking) - SHOWN} more" if len(lacking) > SHOWN else ""
            raise InputError(f"{path}: lacks {', '.join(lacking[:SHOWN])}{more}, which {other} has")
