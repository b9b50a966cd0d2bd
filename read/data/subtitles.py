"""Subtitles as annotations: what is said while something is seen is a query, its time the window.

With automatic captions in the place of sentences a backbone is pretrained on videos that nobody labelled (Lei et al.
2021, section 4). The file has one caption a line: `vid`, `start`, `end` (seconds), `text`, and if known the `duration`
of the video, which its file tells too. A folder of `.srt` and `.vtt` files, named by the videos' ids, serves as well.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from read.data.transcripts import load_cues, speech, subtitle_files, untagged
from read.errors import InputError
from read.rows import Fields, checked_window, parse_lines, refuse

REQUIRED = ("vid", "start", "end", "text")
MIN_WORDS = 4  # a shorter caption is a fragment of a sentence
MAX_GAP = 2.0  # seconds of silence over which fragments are not joined
MAX_SHARE = 0.5  # of the video: a caption that stands longer says nothing about a moment


@dataclass(frozen=True)
class Caption:
    """What is said in a video from `start` to `end`, in seconds; `duration` where it is told how long the video is."""

    vid: str
    duration: float | None
    start: float
    end: float
    text: str


def load_captions(path: str | Path) -> list[Caption]:
    """Read and check captions; in the order of videos and of time, without what is no speech.

    Args:
        path: a jsonl of captions, or a folder of subtitles, which do not say how long a video is.

    Raises:
        InputError: the file is absent or holds no speech, or has mistakes. All of them are listed, each with its line.
    """
    path = Path(path)
    if path.is_dir():
        captions = _captions_of_folder(path)
    elif path.is_file():
        captions = _captions_of_file(path)
    else:
        raise InputError(f"{path}: no such subtitle file")
    if not captions:
        raise InputError(f"{path}: holds no speech")
    return sorted(captions, key=lambda caption: (caption.vid, caption.start, caption.end))


def _captions_of_file(path: Path) -> list[Caption]:
    durations: dict[str, float] = {}

    def consistent(row: dict[str, Any], number: int) -> Caption:
        caption = _parse(row)
        if caption.duration is None:
            return caption
        if (known := durations.setdefault(caption.vid, caption.duration)) != caption.duration:
            raise InputError(f"video {caption.vid} lasts {caption.duration:g} s here, but {known:g} s above")
        return caption

    return [caption for caption in parse_lines(path, consistent) if caption.text]


def _captions_of_folder(folder: Path) -> list[Caption]:
    captions, mistakes = [], []
    for vid, path in subtitle_files(folder).items():
        try:
            for cue in load_cues(path):
                start, end = checked_window(cue.start, cue.end, math.inf, f"{path}: caption")
                captions.append(Caption(vid, None, start, end, cue.text))
        except InputError as error:
            mistakes.append(str(error))
    refuse(mistakes)
    return captions


def caption_rows(captions: list[Caption]) -> list[dict[str, Any]]:
    """Captions as rows of annotations.

    Fragments are joined until they have `MIN_WORDS` words, a line that is repeated counts once, and what is then still
    a fragment, or covers more than `MAX_SHARE` of its video, is left out. A video of which nothing is told
    is taken to last until its last caption ends. `qid` is the video's id and a number.

    Raises:
        InputError: nothing is left.
    """
    rows: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    last: dict[str, float] = {}
    for caption in captions:
        last[caption.vid] = max(caption.duration or caption.end, last.get(caption.vid, 0.0))
    for caption in _sentences(captions):
        if len(caption.text.split()) < MIN_WORDS or caption.end - caption.start > MAX_SHARE * last[caption.vid]:
            continue
        rows.append(
            {
                "qid": f"{caption.vid}#{counts[caption.vid]}",
                "query": caption.text,
                "vid": caption.vid,
                "relevant_windows": [[caption.start, caption.end]],
            }
            | ({} if caption.duration is None else {"duration": caption.duration})
        )
        counts[caption.vid] += 1
    if not rows:
        raise InputError(
            f"subtitles: none of {len(captions)} captions has {MIN_WORDS} words or more and covers at most "
            f"{MAX_SHARE:.0%} of its video"
        )
    return rows


def _sentences(captions: list[Caption]) -> Iterator[Caption]:
    """Captions with their fragments joined."""
    held: Caption | None = None
    for caption in captions:
        if held is not None and _goes_on(held, caption):
            text = held.text if held.text.endswith(caption.text) else f"{held.text} {caption.text}"
            held = Caption(held.vid, held.duration, held.start, max(held.end, caption.end), text)
            continue
        if held is not None:
            yield held
        held = caption
    if held is not None:
        yield held


def _goes_on(held: Caption, caption: Caption) -> bool:
    if held.vid != caption.vid or caption.start - held.end > MAX_GAP:
        return False
    return len(held.text.split()) < MIN_WORDS or held.text == caption.text


def _parse(row: dict[str, Any]) -> Caption:
    fields = Fields(row, "vid")
    fields.require(REQUIRED)
    vid, text = fields.vid(), fields.text("text", empty=True)
    duration, start, end = fields.seconds("duration"), fields.number("start"), fields.number("end")
    fields.check()
    assert vid is not None and text is not None and start is not None and end is not None, "or the check had raised"
    start, end = checked_window(start, end, math.inf if duration is None else duration, "caption")
    return Caption(vid, duration, start, end, speech(untagged(text)))
