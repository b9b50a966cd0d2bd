"""Video files to clips of frames and back, through ffmpeg as a stream: no video is ever wholly in memory.

Headers are not believed: frames come from the decoder, placed in time by their own time stamps, so a variable frame
rate, a wrong frame count and a damaged frame all end in the right number of clips.
"""

import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from read.encoders.base import Framing
from read.encoders.program import Running, filtered, on_time_line, raw_source, running, source, stated_seconds, url
from read.errors import InputError
from read.files import atomic_path

LONGEST = 7 * 24 * 3600.0  # seconds of a video; more is a time stamp gone wrong
UNTOLD = 4 * 3600.0  # seconds that a video may have which does not say how many


def frames_per_clip(fps: float, clip_len: float) -> int:
    """How many frames a clip of `clip_len` seconds has.

    Raises:
        InputError: none, or not a whole number: clips would drift away from their times.
    """
    count = round(fps * clip_len)
    if count < 1 or abs(count - fps * clip_len) > 1e-6:
        raise InputError(f"fps {fps:g} x clip_len {clip_len:g} s = {fps * clip_len:g} frames; must be a whole number")
    return count


def iter_clips(path: str | Path, fps: float, clip_len: float, size: int) -> Iterator[np.ndarray]:
    """Decode a video into consecutive clips, each uint8 (fps * clip_len, size, size, 3).

    The shorter side is resized to `size` pixels and the centre is kept. The last clip is filled up with the last frame.

    Raises:
        InputError: the file is missing, damaged, cut short or without a picture; the message holds ffmpeg's reason.
    """
    for clip, _ in read_clips(path, fps, clip_len, size):
        yield clip


def read_clips(path: str | Path, fps: float, clip_len: float, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """As `iter_clips`, with the number of frames in each clip that are not filling.

    Where the picture changes its shape, what follows is stretched to the first.
    """
    with closing(read_views(path, fps, clip_len, [Framing(size)])) as clips:
        yield from ((clip, real) for (clip,), real in clips)


def read_views(
    path: str | Path, fps: float, clip_len: float, views: Sequence[Framing]
) -> Iterator[tuple[list[np.ndarray], int]]:
    """As `read_clips`, each clip as every one of several views, in their order; the video is decoded once."""
    length = frames_per_clip(fps, clip_len)
    # "V" leaves out cover pictures; one thread, since concealment of damaged frames depends on the threads' order.
    file = source(path)
    rows, columns = max(view.size for view in views), sum(view.size for view in views)
    frame, seconds = rows * columns * 3, 0.0
    # Of a video shorter than half a step no time of the steps is left: then its first picture stands for it.
    for sampled in (file["V"].filter("fps", fps, start_time=0), file["V"].filter("trim", end_frame=1)):
        stream = on_time_line(file, _side_by_side(sampled, views).output("pipe:", format="rawvideo", pix_fmt="rgb24"))
        with running(stream, path, clip_len, stdout=subprocess.PIPE) as work:
            while data := work.read(length * frame, clip_len):
                if (seconds := seconds + clip_len) > LONGEST:
                    raise InputError(f"{path}: goes on for more than a week by its time stamps; they are damaged")
                if len(data) < length * frame:
                    break
                yield _apart(_clip(data, rows, columns), views), length
            said = work.said()
        if data:  # the last, now that ffmpeg has ended well
            clip = _clip(data, rows, columns)
            filled = np.concatenate([clip, np.repeat(clip[-1:], length - len(clip), axis=0)])
            yield _apart(filled, views), len(clip)
        if seconds:
            return
    raise InputError(f"{path}: ffmpeg decoded no frame" + (f" ({said[0]})" if said else ""))


def _clip(data: bytearray, rows: int, columns: int) -> np.ndarray:
    return np.frombuffer(data, np.uint8).reshape(-1, rows, columns, 3)


def _side_by_side(sampled: Any, views: Sequence[Framing]) -> Any:
    """The views of a stream as one picture, from left to right, all at its top."""
    if len(views) == 1:
        return _square(sampled, views[0])
    copies = sampled.filter_multi_output("split", len(views))
    squares = [_square(copies[number], view).filter("format", "rgb24") for number, view in enumerate(views)]
    places = [sum(view.size for view in views[:number]) for number in range(len(views))]
    layout = "|".join(f"{place}_0" for place in places)
    return filtered(squares, "xstack", inputs=len(views), layout=layout, fill="black")


def _square(stream: Any, view: Framing) -> Any:
    size = view.size
    if view.squash:
        return stream.filter("scale", size, size)
    short = max(size, view.short)
    larger = (f"max({short},round({short}*iw/ih))", f"max({short},round({short}*ih/iw))")
    return stream.filter("scale", *larger).filter("crop", size, size)


def _apart(clip: np.ndarray, views: Sequence[Framing]) -> list[np.ndarray]:
    ends = np.cumsum([view.size for view in views])
    return [
        np.ascontiguousarray(clip[:, : view.size, end - view.size : end]) for view, end in zip(views, ends, strict=True)
    ]


def write_video(path: str | Path, frames: Iterable[np.ndarray], fps: float, *, crf: int = 23) -> None:
    """Write uint8 (height, width, 3) frames as H.264, whole or not at all; equal frames give equal bytes.

    Height and width must be even. `crf` is x264's quality: lower is better and larger.

    Raises:
        InputError: there are no frames, or ffmpeg cannot write them.
    """
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise InputError(f"{path}: no frames to write")
    height, width, _ = first.shape
    pictures = raw_source(width, height, fps)
    with (
        atomic_path(path) as draft,
        running(pictures.output(url(draft), **_h264(crf)), path, LONGEST, stdin=subprocess.PIPE) as work,
    ):
        _send(work, chain([first], frames), first.shape, path)


def _send(work: Running, frames: Iterable[np.ndarray], shape: tuple[int, ...], path: str | Path) -> None:
    pipe = work.process.stdin
    try:
        for frame in frames:
            if frame.shape != shape:
                raise InputError(f"{path}: a frame of shape {frame.shape} among frames of {shape}")
            rest = memoryview(np.ascontiguousarray(frame)).cast("B")
            while rest:
                rest = rest[pipe.write(rest) :]
        pipe.close()
    except BrokenPipeError:
        pass  # ffmpeg has given up; its exit status and log say why


def transcode_for_web(path: str | Path, out: str | Path, *, width: int = 320, crf: int = 28) -> None:
    """Write a small silent H.264 copy that every browser plays and can seek in, on the time line of `iter_clips`.

    Raises:
        InputError: as `iter_clips`.
    """
    # The first picture stands from the start on: players would begin a late one at 0.
    file = source(path)
    picture = file["V"].filter("setpts", "if(eq(N,0),0,PTS)").filter("scale", width, -2)
    # A key frame every 12 pictures: a click on the time line lands where it points.
    seconds = stated_seconds(path) or UNTOLD
    with atomic_path(out) as draft:
        written = on_time_line(file, picture.output(url(draft), g=12, **_h264(crf)))
        with running(written, path, seconds):
            pass


def _h264(crf: int) -> dict:
    # x264 with several threads writes other bytes, and so do version tags.
    steady = {"threads": 1, "map_metadata": -1, "fflags": "+bitexact", "flags:v": "+bitexact"}
    quality = {"vcodec": "libx264", "preset": "veryfast", "crf": crf, "pix_fmt": "yuv420p"}
    return {**quality, "movflags": "+faststart", "an": None, **steady}
