"""What an uploaded file is, by ffmpeg.

An uploaded file is hostile until shown otherwise; `read.encoders.program` says what ffmpeg may open, whatever the name.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from read.data.lengths import ROUNDED
from read.encoders.program import cut_short, look, stated_in
from read.errors import InputError

SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".ts", ".ogv", ".flv", ".wmv")
_SIZE = re.compile(r"^ *Stream #0:\d+.*?: Video: .*?, (\d{1,9})x(\d{1,9})(?=[ ,]|$)", re.MULTILINE)
_FRAMES = re.compile(r"^frame=\s*(\d+)$", re.MULTILINE)
MAX_SIZE = (4096, 2304)  # of a stranger's pictures, of which a decoder keeps a dozen
MAX_RATE = 61  # pictures of this size a second; as many more of smaller ones

# What the browsers of today play as it is: the container's type, and the video codecs in it.
_PLAYED = {"mov": ("video/mp4", {"h264", "av1"}), "matroska": ("video/webm", {"vp8", "vp9", "av1"})}
_CONTAINER = re.compile(r"^Input #0, (\w+)", re.MULTILINE)
_CODEC = re.compile(r"^ *Stream #0:\d+.*?: Video: (\w+).*?(?:, (yuvj?420p)\b|$)", re.MULTILINE)
_TIME = re.compile(r"^out_time=(\d+):(\d+):([\d.]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Media:
    """How long a video is in seconds, and the type under which browsers play it; None: they do not."""

    seconds: float
    played_as: str | None


def inspect(path: Path, max_seconds: float, name: str, max_size: tuple[int, int] = MAX_SIZE) -> Media:
    """Go through the packets of a file, without decoding them: its header is not believed.

    Args:
        path: the file.
        max_seconds: that it may last.
        name: what messages call it.
        max_size: width and height of the largest pictures, by their pixels.

    Raises:
        InputError: the file is no video, of a container that is not taken, longer than `max_seconds`, or of more
            pixels, at once or in a second, than can be read in passing. The message calls it by `name`, and does not
            hold the path.
    """
    max_pixels = max_size[0] * max_size[1]
    until = ("-t", str(max_seconds + 1))
    copied = ("-map", "0:V:0", "-c", "copy", *until, "-f", "null", "-progress", "pipe:1", "-")
    try:
        status, said, log = look(path, *copied, max_pixels=max_pixels)
    except InputError as error:
        raise InputError(f"{name}: {str(error).removeprefix(f'{path}: ')}") from None
    if "Format not on whitelist" in log:
        raise InputError(f"{name}: a file of a kind that is not taken here, whatever its name says")
    if "matches no streams" in log:
        raise InputError(f"{name}: the file has no video stream")
    sizes = [(int(width), int(height)) for width, height in _SIZE.findall(log)]
    width, height = max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))
    most = f"this page takes pictures of at most {max_size[0]} x {max_size[1]} pixels, or as many in another form"
    if width * height > max_pixels:
        raise InputError(f"{name}: {width} x {height} pixels; {most}")
    if not width * height and ": Video: " in log:
        raise InputError(f"{name}: the pictures are too large, or their size is not told; {most}")
    if status:
        raise InputError(f"{name}: could not be read as a video (ffmpeg: {_reason(log)})")
    if cut_short(log.splitlines()):
        raise InputError(f"{name}: the file is cut short or damaged: it ends before the video does")
    times = [int(hours) * 3600 + int(minutes) * 60 + float(rest) for hours, minutes, rest in _TIME.findall(said)]
    frames = max(map(int, _FRAMES.findall(said)), default=0)
    if not times or not frames:
        raise InputError(f"{name}: the video has no pictures")
    if times[-1] > max_seconds:
        raise InputError(f"{name}: the video is longer than the {spoken(max_seconds)} that this page takes")
    rate = frames / max(times[-1], 1.0)
    if rate * width * height > max_pixels * MAX_RATE:
        much = f"{width} x {height} pixels {rate:.0f} times a second"
        raise InputError(f"{name}: {much} are more than this page takes")
    container, codec = _CONTAINER.search(log), _CODEC.search(log)
    played_as, codecs = _PLAYED.get(container[1] if container else "", (None, ()))
    # The last packet begins where the last picture does, or before; what the file says is believed where it is near.
    stated = stated_in(log) or 0.0
    seconds = stated if times[-1] <= stated <= times[-1] + ROUNDED else times[-1]
    return Media(seconds, played_as if codec and codec[1] in codecs and codec[2] else None)


def spoken(seconds: float) -> str:
    """A length of time as people say it."""
    unit, name = next(pair for pair in ((3600, "hour"), (60, "minute"), (0, "second")) if seconds >= pair[0])
    count = f"{seconds / (unit or 1):.3g}"
    return f"{count} {name}{'' if count == '1' else 's'}"


def _reason(log: str) -> str:
    """The end of ffmpeg's last line, which says what is wrong without the file's path."""
    lines = [line for line in log.splitlines() if line.strip()]
    return lines[-1].rsplit(": ", 1)[-1].rstrip(".") if lines else "failed without a message"
