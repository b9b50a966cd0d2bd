"""Video files to clips of frames and back, through ffmpeg as a stream: no video is ever wholly in memory.

Headers are not believed: frames come from the decoder, placed in time by their own time stamps, so a variable frame
rate, a wrong frame count and a damaged frame all end in the right number of clips.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np

from read.errors import InputError, optional_imports
from read.files import atomic_path

with optional_imports():
    import ffmpeg

# What demuxers say when a file ends before its content does; ffmpeg itself goes on and exits with 0.
_CUT_SHORT = re.compile(r"partial file|ended prematurely", re.IGNORECASE)
_LOG_PREFIX = re.compile(r"^(\[[^]]*\] )+")


# Told of each ffmpeg that begins: whoever may have to end it early, as it can work long on a single picture.
on_start: ContextVar[Callable[[subprocess.Popen[bytes]], None]] = ContextVar("on_start", default=lambda process: None)


def ffmpeg_binary() -> str:
    """The ffmpeg to run: the system's, else the one that the imageio-ffmpeg package carries.

    Raises:
        InputError: there is neither.
    """
    if system := shutil.which("ffmpeg"):
        return system
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        raise InputError(
            "ffmpeg was not found: install it (apt install ffmpeg, brew install ffmpeg) or pip install imageio-ffmpeg"
        ) from None


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
    """As `iter_clips`, with the number of frames in each clip that are not filling."""
    length = frames_per_clip(fps, clip_len)
    # "V" leaves out cover pictures; one thread, since concealment of damaged frames depends on the threads' order.
    picture = ffmpeg.input(_url(path, must_exist=True), nostdin=None, v="error", threads=1)["V"]
    picture = picture.filter("fps", fps, start_time=0)
    picture = picture.filter("scale", size, size, force_original_aspect_ratio="increase").filter("crop", size, size)
    found = False
    with _running(picture.output("pipe:", format="rawvideo", pix_fmt="rgb24"), path, stdout=subprocess.PIPE) as process:
        while data := process.stdout.read(length * size * size * 3):
            found = True
            clip = np.frombuffer(data, np.uint8).reshape(-1, size, size, 3)
            filling = np.repeat(clip[-1:], length - len(clip), axis=0)
            yield (np.concatenate([clip, filling]) if len(filling) else clip), len(clip)
    if not found:
        raise InputError(f"{path}: ffmpeg decoded no frame")


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
    source = ffmpeg.input("pipe:", format="rawvideo", pix_fmt="rgb24", s=f"{width}x{height}", framerate=fps, v="error")
    with (
        atomic_path(path) as draft,
        _running(source.output(_url(draft), **_h264(crf)), path, stdin=subprocess.PIPE) as process,
    ):
        try:
            for frame in chain([first], frames):
                if frame.shape != first.shape:
                    raise InputError(f"{path}: a frame of shape {frame.shape} among frames of {first.shape}")
                process.stdin.write(np.ascontiguousarray(frame).tobytes())
            process.stdin.close()
        except BrokenPipeError:
            pass  # ffmpeg has given up; its exit status and log say why


def transcode_for_web(path: str | Path, out: str | Path, *, width: int = 320, crf: int = 28) -> None:
    """Write a small silent H.264 copy that every browser plays and can seek in.

    Raises:
        InputError: as `iter_clips`.
    """
    picture = ffmpeg.input(_url(path, must_exist=True), nostdin=None, v="error")["V"].filter("scale", width, -2)
    # A key frame every 12 pictures: a click on the time line lands where it points.
    with atomic_path(out) as draft, _running(picture.output(_url(draft), g=12, **_h264(crf)), path):
        pass


def _h264(crf: int) -> dict:
    # x264 with several threads writes other bytes, and so do version tags.
    steady = {"threads": 1, "map_metadata": -1, "fflags": "+bitexact", "flags:v": "+bitexact"}
    quality = {"vcodec": "libx264", "preset": "veryfast", "crf": crf, "pix_fmt": "yuv420p"}
    return {**quality, "movflags": "+faststart", "an": None, **steady}


def _url(path: str | Path, *, must_exist: bool = False) -> str:
    """The path as ffmpeg takes it, whatever characters are in it."""
    if must_exist and not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    return f"file:{path}"


@contextmanager
def _running(
    stream: ffmpeg.Stream, path: str | Path, *, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ffmpeg during the block, and check how it ended. It never outlives the block."""
    with tempfile.TemporaryFile() as log:  # a pipe could fill up and stop ffmpeg
        process = subprocess.Popen(stream.compile(ffmpeg_binary()), stdin=stdin, stdout=stdout, stderr=log)
        try:
            on_start.get()(process)
            yield process
            status = process.wait()
        finally:
            process.kill()
            process.wait()
            for pipe in filter(None, (process.stdin, process.stdout)):
                with suppress(BrokenPipeError):  # bytes that a dead ffmpeg never took
                    pipe.close()
        lines = _log_lines(log)
    if status:
        raise InputError(f"{path}: {_reason(lines)}")
    if cut := next((line for line in lines if _CUT_SHORT.search(line)), None):
        raise InputError(f"{path}: the file is cut short or damaged (ffmpeg: {cut})")


def _log_lines(log: IO[bytes]) -> list[str]:
    log.seek(0)
    lines = log.read().decode(errors="replace").splitlines()
    return [_LOG_PREFIX.sub("", line).strip() for line in lines if line.strip()]


def _reason(lines: list[str]) -> str:
    """The log in one line: its first two messages say what is wrong, the others repeat it."""
    if any("matches no streams" in line for line in lines):
        return "the file has no video stream"
    return f"ffmpeg: {'; '.join(lines[:2]) or 'failed without a message'}"
