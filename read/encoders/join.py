"""Videos one after the other in one file, their pictures as they are."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from read.encoders.frames import LONGEST
from read.encoders.program import joined_source, running, url
from read.errors import InputError
from read.files import atomic_path


def join(paths: Sequence[Path], out: str | Path) -> None:
    """Write videos that `write_video` made, of one size and rate, as one, whole or not at all.

    Nothing is decoded: the pictures are those of the parts to the bit, so their features are too.

    Args:
        paths: the parts, in one folder.
        out: an `.mp4` file.

    Raises:
        InputError: there is no part, or ffmpeg cannot join them.
    """
    if not paths:
        raise InputError(f"{out}: nothing to join")
    folder = paths[0].parent
    with tempfile.NamedTemporaryFile("w", dir=folder, prefix=".", suffix=".part") as names, atomic_path(out) as draft:
        names.writelines(f"file {path.name}\n" for path in paths)
        names.flush()
        steady = {"map_metadata": -1, "fflags": "+bitexact", "movflags": "+faststart", "an": None}
        written = joined_source(names.name).output(url(draft), c="copy", **steady)
        with running(written, out, LONGEST):
            pass
