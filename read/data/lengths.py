"""How long a video's file was found to be, and whether what its labels say of its length fits that.

A label in milliseconds or in frames, or one of the uncut original, is a number like any other until the file is
decoded.
"""

from collections.abc import Sequence
from typing import NamedTuple

from read.rows import Span

ROUNDED = 1.0  # seconds by which a stated length may differ in any case: sound lasts longer than pictures
SHARE = 0.02  # of the length, likewise
SPARE_CLIPS = 2  # features of others have a clip more or less at their end, and are cut to the shortest encoder's
FRAME_RATES = (8, 10, 12, 12.5, 15, 16, 20, 23.976, 24, 25, 29.97, 30, 48, 50, 59.94, 60, 120)


class Length(NamedTuple):
    """What is known of a video's length.

    Attributes:
        seconds: of the decoded pictures; of features that others published, their clips' length in all.
        clip_len: seconds per clip.
        decoded: whether pictures were counted, and not only clips.
    """

    seconds: float
    clip_len: float
    decoded: bool = True

    @property
    def slack(self) -> float:
        """Seconds by which labels may differ: 1 s or 2 %, at most a clip; of published features, two clips."""
        if not self.decoded:
            return SPARE_CLIPS * self.clip_len
        return min(max(ROUNDED, SHARE * self.seconds), max(self.clip_len, ROUNDED))

    def fits(self, stated: float) -> bool:
        """Whether a stated length can be meant; one in whole clips may be rounded to a clip."""
        whole = abs(stated / self.clip_len - round(stated / self.clip_len)) < 1e-6
        return abs(stated - self.seconds) <= (max(self.slack, self.clip_len) if whole else self.slack) + 1e-6


def misfits(stated: float | None, windows: Sequence[Span], length: Length) -> list[str]:
    """What of a label does not fit its video, in words with both lengths and a guess at the reason."""
    if stated is not None and not length.fits(stated):
        told = f"duration {stated:g} s, but {_lasts(length)}"
        return [f"{told}; {guess(stated, length.seconds)}"]
    late = [end for start, end in windows if end > length.seconds + length.slack and stated is None]
    if late:
        told = f"a window ends at {max(late):g} s, but {_lasts(length)}"
        return [f"{told}; {guess(max(late), length.seconds)}"]
    if dark := [window for window in windows if length.decoded and window[0] >= length.seconds]:
        return [f"window [{dark[0][0]:g}, {dark[0][1]:g}] begins where no picture is left: {_lasts(length)}"]
    return []


def guess(stated: float, seconds: float) -> str:
    """Why a time is not that of the file, as a question.

    Args:
        stated: a length, or the end of a window.
        seconds: of the file.
    """
    ratio = stated / seconds
    if any(abs(ratio / rate - 1) < 0.03 for rate in FRAME_RATES):
        return "are these frames?"
    if ratio > 130:
        return "are these milliseconds?"
    if ratio > 1.1:
        return "is it of the uncut original?"
    if abs(ratio * 60 - 1) < 0.1:
        return "are these minutes?"
    return "is it of another cut, or played at another speed?" if ratio > 0.9 else "is it of a part of the video?"


def _lasts(length: Length) -> str:
    what = "the file lasts" if length.decoded else "its features last"
    return f"{what} {length.seconds:g} s"
