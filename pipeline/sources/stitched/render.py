"""Pieces of clips, and videos of pieces, as files.

Pictures are squares as encoders see them: the shorter side fills the square, and the centre is kept. There is no sound.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain, islice
from pathlib import Path

import numpy as np

from pipeline.sources.stitched.plan import FADE, FPS
from read.encoders.frames import read_clips, write_video
from read.encoders.join import join
from read.errors import InputError

SIDE = 256  # pixels
QUALITY = 20  # x264's crf


def write_piece(clip: Path, start: float, seconds: float, out: Path) -> None:
    """Write the part of a clip from `start` on, whole or not at all.

    Raises:
        InputError: the clip cannot be decoded, or ends before.
    """
    first, count = round(start * FPS), round(seconds * FPS)

    def pictures() -> Iterator[np.ndarray]:
        with closing(frames_of(clip)) as frames:
            left = count
            for frame in islice(frames, first, first + count):
                left -= 1
                yield frame
        if left:
            raise InputError(f"{clip}: ends before {start + seconds:g} s")

    write_video(out, pictures(), FPS, crf=QUALITY)


def frames_of(file: Path) -> Iterator[np.ndarray]:
    """Its pictures at `FPS`, uint8 (SIDE, SIDE, 3)."""
    with closing(read_clips(file, FPS, 1.0, SIDE)) as parts:
        for part, real in parts:
            yield from part[:real]


def write_stitched(pieces: Sequence[Path], fade: bool, out: Path) -> None:
    """Write pieces one after the other: cut hard, their pictures as they are, or one fading into the next."""
    if fade:
        write_video(out, faded(frames_of(piece) for piece in pieces), FPS, crf=QUALITY)
    else:
        join(pieces, out)


def faded(pieces: Iterator[Iterator[np.ndarray]]) -> Iterator[np.ndarray]:
    """The pictures of pieces of which the last of one and the first of the next, for `FADE` seconds, are mixed."""
    length = round(FADE * FPS)
    shares = ((np.arange(length) + 0.5) / length)[:, None, None, None]
    ending: list[np.ndarray] = []
    for piece in pieces:
        if ending:
            beginning = list(islice(piece, length))
            mixed = (1 - shares) * np.stack(ending) + shares * np.stack(beginning)
            piece = chain(mixed.round().astype(np.uint8), piece)
        ending = []
        for frame in piece:
            ending.append(frame)
            if len(ending) > length:
                yield ending.pop(0)
    yield from ending
