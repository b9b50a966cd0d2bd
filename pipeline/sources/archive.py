"""Videos that are published in one archive: it is downloaded once, unpacked once, and kept until the stage is done."""

import hashlib
import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from pipeline.archives import DamagedError, unpack
from pipeline.params import DownloadSettings
from pipeline.sources.base import UnavailableError, exclusive, told
from pipeline.sources.local import Folder, copy
from pipeline.sources.pinned import fetch_pinned, file_name


class Archive:
    """Videos inside a zip or tar archive, found by their names without suffix, wherever in it they lie.

    Args:
        url: its address.
        sha256: its digest, where that is known.
        room: a folder to unpack it in; jobs that want the same archive wait for the one that came first.
        mirrors: folders that may hold the archive.
        extensions: suffixes that count as videos.
        settings: of the download.

    Raises:
        InputError: by `fetch`, where the archive is damaged or unsafe, or the disk has no room.
    """

    def __init__(
        self,
        url: str,
        sha256: str | None,
        room: Path,
        mirrors: Sequence[Path],
        extensions: Sequence[str] | None,
        settings: DownloadSettings,
    ) -> None:
        self.url = url
        self.sha256 = sha256
        self.room = room
        self.mirrors = mirrors
        self.extensions = extensions
        self.settings = settings

    @cached_property
    def _content(self) -> Folder | str:
        """What is in the archive, or why it cannot be had, so that it is tried once and not for every video."""
        unpacked = self.room / hashlib.sha256(self.recipe("").encode()).hexdigest()[:8]
        with exclusive(self.room / "lock"):
            for other in self.room.iterdir():
                if other.is_dir() and other != unpacked:
                    shutil.rmtree(other)  # of a job that was killed, or of another version
            if not unpacked.is_dir():
                try:
                    archive = fetch_pinned(self.url, self.sha256, self.room, self.mirrors, self.settings)
                except UnavailableError as reason:
                    return str(reason)
                ours = archive.parent == self.room
                try:
                    unpack(archive, unpacked)
                except DamagedError:
                    if ours:
                        archive.unlink()  # so that the next run asks for it again
                    raise
                if ours:
                    archive.unlink()
        return Folder(unpacked, self.extensions, deep=True, name=file_name(self.url))

    def recipe(self, vid: str) -> str:
        """The archive's address, without secrets, and digest."""
        return " ".join(filter(None, [told(self.url), self.sha256]))

    def fetch(self, vid: str, room: Path) -> Path:
        """The video, as a second name of the unpacked file, or as a copy where the disk has no such thing."""
        if isinstance(self._content, str):
            raise UnavailableError(self._content)
        path = self._content.find(vid)
        draft = room / f"video{path.suffix.lower()}"
        draft.unlink(missing_ok=True)
        try:
            draft.hardlink_to(path)
        except OSError:
            copy(path, draft)
        return draft
