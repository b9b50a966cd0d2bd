"""What is said in a video, from the subtitles that players read: SubRip (`.srt`) and WebVTT (`.vtt`) files."""

import codecs
import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from read.errors import InputError, optional_imports
from read.rows import refuse, vid_of

SOUNDS = re.compile(
    r"(?<!\w)\[[^\]]*\]|(?<!\w)\([^)]*\)|♪[^♪]*♪?"  # [Music], (applause), songs; not a[0] and f(x)
    r"|>>+"  # speaker marks
)
# The tags of WebVTT and SubRip, each in the forms that it has, and no others: "a < b and c > d" is speech.
TAGS = re.compile(
    r"</?(?:i|b|u|s|c|em|strong|ruby|rt)(?:\.[\w.-]+)*\s*>|<br\s*/?>"
    r"|<(?:v|lang)(?:\.[\w.-]+)*(?:\s[^<>]*)?>|</(?:v|lang)>"
    r"|</?(?:font|span)(?:\s[^<>]*=[^<>]*)?>"
    r"|<(?:\d{1,4}:)?\d{1,2}:\d{2}[.,]\d{1,3}>"  # when a word is spoken
    r"|\{\\[^}]*\}",  # SubRip's {\an8}
    re.IGNORECASE,
)
TIME = {".srt": r"\d{1,4}:[0-5]?\d:[0-5]?\d[,.]\d+", ".vtt": r"(?:\d{1,4}:)?[0-5]?\d:[0-5]?\d\.\d{1,3}"}
EXAMPLE = {".srt": "00:01:02,500 --> 00:01:04,000", ".vtt": "00:01:02.500 --> 00:01:04.000"}
ARROW = re.compile(r"-->|^\s*[\d:.,]+\s*[-=–—]+>")  # a line that has one is to be a time, be it well written or not
BLOCKS = ("NOTE", "STYLE", "REGION")  # of WebVTT, that are no captions
ROLL = 0.1  # seconds of pause up to which a line that stands there again is one that has not left the screen yet


@dataclass(frozen=True)
class Cue:
    """What is said from `start` to `end`, in seconds: no sounds, no tags, no line that has stood there before."""

    start: float
    end: float
    text: str


def load_cues(path: str | Path) -> list[Cue]:
    """Read a `.srt` or `.vtt` file; in the order of time, without what is no speech.

    Automatic captions roll: a line is shown as it is spoken, and again above the next one. It counts once, at its first
    time; so does a line that two captions without a pause between them share.

    Raises:
        InputError: the file is absent, of another kind or no UTF-8 (or UTF-16 with its mark), or has mistakes: a time
            that cannot be read or ends before it starts, text without a time. All are listed, each with its line.
    """
    path = Path(path)
    cues: list[Cue] = []
    shown: list[str] = []
    until = 0.0
    for start, end, lines in sorted(_captions(path), key=lambda caption: caption[:2]):
        repeated = _overlap(shown, lines) if start - until <= ROLL else 0
        shown, until = lines, end
        if text := speech("\n".join(lines[repeated:])):
            cues.append(Cue(start, end, text))
    return cues


def load_transcript(path: str | Path) -> str:
    """All that is said in a `.srt` or `.vtt` file, as one text; empty for a silent video. Raises as `load_cues`."""
    return " ".join(cue.text for cue in load_cues(path))


def subrip(cues: Iterable[Cue]) -> str:
    """The text of a `.srt` file; empty where nobody speaks."""
    return "".join(
        f"{number}\n{_stamp(cue.start)} --> {_stamp(cue.end)}\n{' '.join(cue.text.split())}\n\n"
        for number, cue in enumerate(cues, 1)
    )


def _stamp(seconds: float) -> str:
    """A time of SubRip, 00:01:02,500."""
    whole = round(1000 * seconds)
    return f"{whole // 3600000:02}:{whole // 60000 % 60:02}:{whole // 1000 % 60:02},{whole % 1000:03}"


def subtitle_files(folder: str | Path) -> dict[str, Path]:
    """The `.srt` and `.vtt` files in a folder by the video's id, which is the file's name without its suffix.

    Raises:
        InputError: there is no such folder, it holds no subtitles, or two files of one video.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of subtitles")
    files: dict[str, Path] = {}
    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in TIME):
        vid = vid_of(path.stem, f"{path}: video")
        if vid in files:
            raise InputError(f"{folder}: {files[vid].name} and {path.name} are both of video {vid}")
        files[vid] = path
    if not files:
        raise InputError(f"{folder}: holds no {' or '.join(TIME)} file named by a video's id, as walk.vtt")
    return files


def speech(text: str) -> str:
    """The words of a caption without tags: sounds and speaker marks dropped, white space made even."""
    return " ".join(SOUNDS.sub(" ", text).split())


def untagged(text: str) -> str:
    """A caption without its tags. What is escaped is text, so this comes before it is unescaped."""
    return TAGS.sub(lambda tag: " " if tag[0][:3].lower() == "<br" else "", text)


def _captions(path: Path) -> list[tuple[float, float, list[str]]]:
    """Start and end in seconds, and the lines without tags, of every caption that the file has."""
    kind = path.suffix.lower()
    if kind not in TIME:
        raise InputError(f"{path}: subtitles are read from {' and '.join(TIME)} files")
    return captions_in(_lines(path), kind, str(path))


def captions_in(lines: list[str], kind: str, name: str) -> list[tuple[float, float, list[str]]]:
    """The captions of a text, each with start and end in seconds and its lines without tags.

    Args:
        lines: of the text.
        kind: `.srt` or `.vtt`.
        name: what messages call it.

    Raises:
        InputError: it has mistakes; all are listed, each with its line.
    """
    with optional_imports():
        from webvtt import WebVTT
        from webvtt.errors import MalformedFileError

    if kind == ".srt":
        lines = [line.strip() for line in lines]
        if not any(lines):
            return []  # as transcribers write it where nobody speaks
    refuse([f"{name}:{number}: {reason}" for number, reason in sorted(_mistakes(lines, kind))])
    if kind == ".srt":
        lines = lines[next(number for number, line in enumerate(lines) if line) :]
    try:
        parsed = WebVTT.from_buffer(lines, format=kind[1:]).captions
    except MalformedFileError:
        first = {".srt": "the number and the time of a caption", ".vtt": "WEBVTT"}[kind]
        raise InputError(f"{name}:1: not {kind[1:].upper()}, which begins with {first}") from None
    return [
        (
            caption.start_time.in_milliseconds() / 1000,
            caption.end_time.in_milliseconds() / 1000,
            [line for raw in caption.lines if (line := html.unescape(untagged(raw))).strip()],
        )
        for caption in parsed
    ]


def _lines(path: Path) -> list[str]:
    """The lines of a text file, with any of the three ends of lines."""
    if not path.is_file():
        raise InputError(f"{path}: no such file of subtitles")
    content = path.read_bytes()
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}:{number}: not UTF-8 ({error.reason}); the file does not tell which encoding it is in, so convert "
            "it, as by iconv -f latin1 -t utf-8"
        ) from None
    return split_lines(text)


def split_lines(text: str) -> list[str]:
    """The lines of a text, with any of the three ends of lines."""
    return re.split(r"\r\n|\r|\n", text)


def _mistakes(lines: list[str], kind: str) -> Iterator[tuple[int, str]]:
    """Numbers of the lines that the parser would pass over, with reasons."""
    times = re.compile(rf"\s*({TIME[kind]})\s*-->\s*({TIME[kind]})(?:\s|$)")
    first = next(filter(None, lines), "")
    if not (first.isdigit() if kind == ".srt" else first.startswith("WEBVTT")):
        return  # the parser says so
    if kind == ".vtt":
        yield from _untimed(lines)
    for number, line in enumerate(lines, start=1):
        if not ARROW.search(line):
            continue
        if not (found := times.match(line)):
            yield number, f"{line.strip()!r} is no time of a caption, as {EXAMPLE[kind]}"
        elif _seconds(found[1]) > _seconds(found[2]):
            yield number, f"the caption {found[1]} --> {found[2]} ends before it starts"
        elif kind == ".srt" and not lines[number - 2].isdigit():
            yield number, "no number stands right above the caption's time"


def _untimed(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Blocks of WebVTT after the header that are neither captions nor anything else it knows."""
    ends = [number for number, line in enumerate(lines) if not line]
    for start, end in pairwise([*ends, len(lines)]):
        block = lines[start + 1 : end]
        if block and not block[0].startswith(BLOCKS) and not any("-->" in line for line in block[:2]):
            yield start + 2, f"{block[0].strip()!r} has no time; does an empty line stand inside a caption?"


def _seconds(time: str) -> float:
    """Seconds of a time that `TIME` has matched."""
    return sum(float(part) * 60**power for power, part in enumerate(reversed(time.replace(",", ".").split(":"))))


def _overlap(before: list[str], after: list[str]) -> int:
    """How many lines at the end of `before` stand at the beginning of `after`."""
    return next(n for n in range(min(len(before), len(after)), -1, -1) if before[len(before) - n :] == after[:n])
