"""Videos from a folder on this machine: one's own, or a mirror of a dataset."""

import errno
import fcntl
import shutil
import unicodedata
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from pipeline.sources.base import UnavailableError
from read.errors import InputError
from read.files import sha256_of
from read.video_files import videos_in

FICLONE = 0x40049409  # Linux's request for a copy that shares its blocks (btrfs, xfs)


class Folder:
    """A folder of videos, each named by its video id and a suffix.

    Args:
        folder: where the videos lie.
        extensions: suffixes that count as videos.
        deep: search subfolders too.
        name: what messages call it.
        optional: it need not be there; then it holds nothing.

    Raises:
        InputError: there is no such folder.
    """

    def __init__(
        self,
        folder: Path,
        extensions: Sequence[str] | None = None,
        *,
        deep: bool = False,
        name: str = "",
        optional: bool = False,
    ) -> None:
        if not folder.is_dir() and not optional:
            raise InputError(f"{folder}: no such folder of videos")
        self.folder = folder
        self.extensions = extensions
        self.deep = deep
        self.name = name or str(folder)

    @cached_property
    def _files(self) -> dict[str, list[Path]]:
        """Files by id; a file is also found by its whole name. Links to nothing are among them."""
        files: dict[str, list[Path]] = {}
        for path in videos_in(self.folder, self.extensions, deep=self.deep):
            for name in (path.stem, path.name):
                # Composed, as ids are: some systems and some archives take letters and their accents apart.
                files.setdefault(unicodedata.normalize("NFC", name), []).append(path)
        return files

    def find(self, vid: str) -> Path:
        """The file of a video. Raises UnavailableError where there is none, or more than one."""
        found = self._files.get(vid, [])
        match [path for path in found if path.is_file()]:
            case [path]:
                return path
            case [] if found:
                raise UnavailableError(f"{found[0]} is a link to {found[0].readlink()}, where there is no file")
            case []:
                raise UnavailableError(f"no video named {vid} in {self.name}")
            case paths:
                names = ", ".join(path.relative_to(self.folder).as_posix() for path in paths)
                raise UnavailableError(f"{self.name} holds several: {names}")

    def recipe(self, vid: str) -> str:
        """The digest of the file, so that an exchanged one is copied again."""
        try:
            return sha256_of(self.find(vid))
        except (UnavailableError, PermissionError):
            return "absent"

    def fetch(self, vid: str, room: Path) -> Path:
        """Copy the file of a video."""
        path = self.find(vid)
        draft = room / f"video{path.suffix.lower()}"
        try:
            copy(path, draft)
        except PermissionError as error:
            if error.filename != str(path):
                raise
            raise UnavailableError(f"{path}: permission denied") from None
        return draft


def copy(source: Path, target: Path) -> None:
    """Copy a file's content, sharing its blocks where the file system can."""
    with source.open("rb") as original, target.open("wb") as clone:
        try:
            fcntl.ioctl(clone, FICLONE, original.fileno())
            return
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise
        shutil.copyfileobj(original, clone, 1 << 20)
