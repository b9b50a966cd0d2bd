"""Pieces of video files, and how long a file says it is."""

import re
import subprocess
from pathlib import Path

from read.encoders.frames import _running, _url, ffmpeg_binary
from read.errors import InputError, optional_imports
from read.files import atomic_path

with optional_imports():
    import ffmpeg

_DURATION = re.compile(r"Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)")


def cut(path: str | Path, start: float, end: float, out: str | Path) -> None:
    """Write the part of a video from `start` to `end`, in seconds, as H.264 with its sound, whole or not at all.

    It is encoded anew: a copy could begin at key frames only, seconds away from the moment.

    Raises:
        InputError: the end is not after the start; the file is missing, damaged or without a picture.
    """
    if not 0 <= start < end:
        raise InputError(f"{path}: nothing to cut from {start:g} to {end:g} s")
    source = ffmpeg.input(_url(path, must_exist=True), ss=start, t=end - start, nostdin=None, v="error")
    picture = source["V:0"].filter("scale", "trunc(iw/2)*2", "trunc(ih/2)*2")  # x264 takes even sizes only
    quality = {"vcodec": "libx264", "preset": "veryfast", "crf": 20, "pix_fmt": "yuv420p", "acodec": "aac"}
    with atomic_path(out) as draft:
        written = ffmpeg.output(picture, source["a:0?"], _url(draft), movflags="+faststart", **quality)
        with _running(written, path):
            pass


def stated_seconds(path: str | Path) -> float | None:
    """How long a file says it is; None where it does not. It is not always true: for progress bars only."""
    said = subprocess.run(
        [ffmpeg_binary(), "-nostdin", "-hide_banner", "-i", _url(path)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    ).stderr.decode(errors="replace")  # fmt: skip
    found = _DURATION.search(said)
    return sum(float(part) * unit for part, unit in zip(found.groups(), (3600, 60, 1), strict=True)) if found else None
