"""Which files of a folder are videos."""

from collections.abc import Iterable
from pathlib import Path

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".m4a", ".mov", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".divx", ".mpg", ".mpeg", ".vob", ".ts"),
    *(".mts", ".m2ts", ".wmv", ".asf", ".flv", ".f4v", ".ogv", ".ogg", ".mxf", ".rm", ".rmvb", ".y4m", ".gif"),
)


def videos_in(folder: Path, suffixes: Iterable[str] | None = None, *, deep: bool = False) -> list[Path]:
    """The files of a folder that count as videos, in order; links to files, and to nothing, are among them.

    Args:
        folder: where to look.
        suffixes: that count; by default `VIDEO_SUFFIXES`. Capitals do not matter.
        deep: in subfolders too.
    """
    counted = {suffix.lower() for suffix in suffixes or VIDEO_SUFFIXES}
    found = sorted(folder.glob("**/*" if deep else "*"))
    return [path for path in found if path.suffix.lower() in counted and (path.is_file() or path.is_symlink())]
