"""The sound of video files, on the time line of their pictures, through ffmpeg as a stream.

Symbols: L samples in a clip.
"""

import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from read.encoders.program import on_time_line, running, sound_codec, source
from read.errors import InputError

SHORTEST = 0.5  # seconds without sound that are told
LONGEST = 6 * 3600.0  # seconds of a track that is read to its end: gaps in it are filled, in ffmpeg's memory
LOUDEST = 8.0  # times full scale: decoders overshoot a little; what is louder, or no number, is damage


class Sound:
    """A file's first sound track: iterating gives `clips` arrays, float32 (L,), silence where there is no sound.

    All channels are mixed to one as ffmpeg does it, by their places; gaps of the time stamps are filled, and what lies
    before the first picture's time or beyond the last clip is left out.

    Args:
        path: the video.
        rate: samples a second, whatever the file has.
        clip_len: seconds of a clip; L is `rate * clip_len`, rounded.
        clips: how many.
        seconds: of pictures; what lacks after them is not told.

    Attributes:
        track: whether there is one.
        told: after the last clip, what to tell a person: where there is no sound, and what ffmpeg found damaged.

    Raises:
        InputError: as the decoding of pictures does: the file is missing or cut short, or its sound cannot be decoded.
    """

    def __init__(self, path: str | Path, rate: int, clip_len: float, clips: int, seconds: float) -> None:
        self.path, self.rate, self.clip_len, self.clips = path, rate, clip_len, clips
        self.length, self.seconds = round(rate * clip_len), min(seconds, clips * clip_len)
        self._codec = sound_codec(path)
        self.track = self._codec is not None
        self.told = "" if self.track else "has no sound track"
        if self.length < 1:
            raise InputError(f"clip_len {clip_len:g} s: holds no sample of sound at {rate} a second")

    def __iter__(self) -> Iterator[np.ndarray]:
        """The clips' sound."""
        if not self.track:
            yield from (np.zeros(self.length, np.float32) for _ in range(self.clips))
            return
        bounds = [round(clip * self.clip_len * self.rate) for clip in range(self.clips + 1)]
        quiet, last = [], 0  # stretches without sound; where sound was heard last, in samples
        stream = _track(self.path, self.rate, self.clips * self.clip_len)
        with running(stream, self.path, self.clip_len, stdout=subprocess.PIPE) as work:
            for start, end in pairwise(bounds):
                found = _samples(work.read(4 * (end - start), self.clip_len))
                wave = np.zeros(self.length, np.float32)
                count = min(len(found), self.length)
                wave[:count] = found[:count]
                if len(places := np.flatnonzero(wave)):
                    edges = np.concatenate([[last], start + places])
                    long = np.flatnonzero(np.diff(edges) > SHORTEST * self.rate)
                    quiet += [(edges[place], edges[place + 1]) for place in long]
                    last = edges[-1]
                yield wave
            while work.read(1 << 16, self.clip_len):
                pass  # what a resampler has beyond the last clip
            said = work.said(self._codec)
        if self.seconds * self.rate - last > SHORTEST * self.rate:
            quiet.append((last, self.seconds * self.rate))
        self.told = _told([(start / self.rate, end / self.rate) for start, end in quiet], said)


def whole_track(path: str | Path, rate: int, part: float) -> Iterator[np.ndarray]:
    """A file's first sound track to its end: float32 parts of `part` seconds, the last as long as it is.

    Their time line, their mix and what stands for damage are those of `Sound`. Without a track there is no part.

    Raises:
        InputError: as `Sound`; or it is longer than `LONGEST`.
    """
    if sound_codec(path) is None:
        return
    size = round(part * rate)
    with running(_track(path, rate, LONGEST + 1), path, part, stdout=subprocess.PIPE) as work:
        heard = 0
        while len(wave := _samples(work.read(4 * size, part))):
            heard += len(wave)
            if heard > LONGEST * rate:
                raise InputError(f"{path}: has more than {LONGEST / 3600:g} hours of sound; cut it into shorter files")
            yield wave


def _track(path: str | Path, rate: int, end: float) -> Any:
    """The first sound track until `end` seconds as raw samples on stdout."""
    file = source(path)
    # The first cut spares us the filling of a gap that a wrong time stamp makes a week long.
    heard = file["a:0"].filter("atrim", end=end).filter("aresample", rate, **{"async": 1}, first_pts=0)
    heard = heard.filter("aformat", sample_fmts="flt", channel_layouts="mono")
    return on_time_line(file, heard.output("pipe:", format="f32le"))


def _samples(data: bytearray) -> np.ndarray:
    found = np.frombuffer(data, "<f4")
    return np.where(np.abs(found) <= LOUDEST, found, np.float32(0))


def _told(quiet: list[tuple[float, float]], said: list[str]) -> str:
    parts = []
    if quiet:
        shown = ", ".join(f"{start:.1f} to {end:.1f} s" for start, end in quiet[:5])
        parts.append(f"no sound from {shown}{' and elsewhere' if len(quiet) > 5 else ''}")
    if said:
        parts.append(f"its sound is damaged (ffmpeg: {said[0]})")
    return "; ".join(parts)
