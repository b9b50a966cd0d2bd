"""How2's summaries (Sanabria et al. 2018): a folder a side, with `tran.tok.txt` and `desc.tok.txt` (`load_how2`)."""

from collections.abc import Iterable
from pathlib import Path

from read.data.summaries import Summary, load_how2
from read.errors import InputError

TRANSCRIPTS, SUMMARIES = "tran.tok.txt", "desc.tok.txt"


def load(parts: Iterable[tuple[Path, str]]) -> list[Summary]:
    """Read the folders of a dataset's sides, each with the name of its side.

    Raises:
        InputError: as `load_how2`; or a video is in two folders.
    """
    found: dict[str, Summary] = {}
    for folder, split in parts:
        for summary in load_how2(folder / TRANSCRIPTS, folder / SUMMARIES, split):
            if (other := found.setdefault(summary.vid, summary)) is not summary:
                raise InputError(
                    f"{folder / SUMMARIES}: video {summary.vid} is on side {other.split or 'none'} already"
                )
    return list(found.values())
