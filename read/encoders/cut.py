"""Pieces of video files, on the time line by which features are made."""

from pathlib import Path

from read.encoders.frames import read_clips
from read.encoders.program import on_time_line, running, source, url
from read.errors import InputError
from read.files import atomic_path

# Pictures a second: the file's own rate, or a whole multiple or part of it between 24 and 60; files lie about it.
_RATE = (
    "if(between(source_fps,0.01,1000),source_fps*if(lt(source_fps,24),ceil(24/source_fps),1/ceil(source_fps/60)),30)"
)
_EYE = 40.0  # pictures a second by which the result is measured
_SLACK = 0.25  # seconds by which a part may be shorter than asked for: the last frames of a video


def cut(path: str | Path, start: float, end: float, out: str | Path, *, slack: float = _SLACK) -> None:
    """Write the part of a video from `start` to `end`, in seconds, as H.264 with its sound, whole or not at all.

    The video is decoded from its beginning and encoded anew: the seeking of containers lands on key frames, and counts
    from other zeros. All pictures get the size of the file's first, made even.

    Args:
        path: the video.
        start: as `iter_clips` counts, from 0.
        end: likewise.
        out: an `.mp4` file.
        slack: seconds by which the video may end before `end`; half a step of the sampling that `end` comes from.

    Raises:
        InputError: the end is not after the start; the file is missing, damaged or without a picture; the video has
            no picture there, or ends before `end` by more than `slack`.
    """
    if not 0 <= start < end:
        raise InputError(f"{path}: nothing to cut from {start:g} to {end:g} s")
    file, asked = source(path), end - start
    picture = file["V:0"].filter("fps", _RATE, start_time=start).filter("trim", duration=asked)
    picture = picture.filter("setpts", "PTS-STARTPTS").filter("scale", "trunc(iw/2)*2", "trunc(ih/2)*2")
    # As an option it is for the sound that there may be; gaps are filled, so that it stays in step.
    sound = f"aresample=async=1:first_pts=0,atrim=start={start}:end={end},asetpts=PTS-STARTPTS"
    quality = {"vcodec": "libx264", "preset": "veryfast", "crf": 20, "pix_fmt": "yuv420p", "acodec": "aac", "af": sound}
    with atomic_path(out) as draft:
        written = picture.output(file["a:0?"], url(draft), movflags="+faststart", **quality)
        with running(on_time_line(file, written), path, end):
            pass
        found = _seconds(draft)
        if not asked - max(slack, _SLACK) <= found <= asked + _SLACK:
            there = f"{found:.1f} s of pictures" if found else "no picture"
            raise InputError(f"{path}: from {start:g} to {end:g} s there is {there}; does the video end before?")


def _seconds(path: Path) -> float:
    """How long a part came out, as it is decoded; 0 where it has no picture."""
    try:
        return sum(real for _, real in read_clips(path, _EYE, 1.0, 16)) / _EYE
    except InputError:
        return 0.0
