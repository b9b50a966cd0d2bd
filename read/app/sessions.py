"""Who uses the page, and their files: one temporary folder for all, one inside it for each, nothing anywhere else.

No name that a person gives becomes part of a path: files are named by chance, and their suffix is one of ours.
"""

import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from read.app.jobs import Job, Line
from read.app.media import SUFFIXES, Media
from read.errors import InputError

MAX_SESSIONS, MAX_OF_ONE = 200, 50  # in all, and of one address
IN_USE = 600.0  # seconds since it was last used in which a visit with videos is not ended for the sake of another
MAX_WAITING = 8  # videos of one address that are read or wait for it
MAX_VIDEOS = 4  # of one session; the longest unused goes when another comes
SHOWN_NAME = 120  # characters
PREFIX = "read-app-"


def unguessable() -> str:
    """256 bits by chance, as letters that a URL takes."""
    return secrets.token_urlsafe(32)


def shown_name(given: str) -> str:
    """A file's name as it is shown: without folders and characters that do not print. Never used as a path."""
    name = given.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(letter for letter in name if letter.isprintable())[-SHOWN_NAME:].strip() or "video"


def suffix_of(given: str) -> str:
    """Our own spelling of a name's suffix.

    Raises:
        InputError: it is none of those that are taken.
    """
    for suffix in SUFFIXES:
        if given.lower().endswith(suffix):
            return suffix
    raise InputError(f"{shown_name(given)}: not a video file by its name; taken are {', '.join(SUFFIXES)}")


@dataclass(eq=False)
class Upload:
    """An uploaded video, alone in its folder. `shown` is the file that browsers play; None until there is one."""

    name: str
    path: Path
    media: Media
    job: Job
    id: str = field(default_factory=unguessable)
    shown: Path | None = None
    seen: float = field(default_factory=time.monotonic)

    def discard(self) -> None:
        """Remove its files."""
        shutil.rmtree(self.path.parent, ignore_errors=True)


@dataclass(eq=False)
class Session:
    """One person's visit: the id is in their cookie, the token in their page."""

    folder: Path
    address: str = ""
    id: str = field(default_factory=unguessable)
    token: str = field(default_factory=unguessable)
    videos: dict[str, Upload] = field(default_factory=dict)
    seen: float = field(default_factory=time.monotonic)

    def touch(self) -> None:
        """Note that it is in use."""
        self.seen = time.monotonic()

    def new_folder(self) -> Path:
        """An empty folder in the session's, with a name by chance."""
        return Path(tempfile.mkdtemp(dir=self.folder))


class Sessions:
    """All sessions. Those that nobody used for `idle_seconds` are removed by `sweep`, all of them by `close`."""

    def __init__(self, line: Line, idle_seconds: float, max_disk: float = float("inf")) -> None:
        sweep_dead()
        self.root = Path(tempfile.mkdtemp(prefix=PREFIX))  # for this user's eyes only
        self._lock_of_root = _lock(self.root)
        self.idle_seconds, self.max_disk = idle_seconds, max_disk
        self._line = line
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()

    def new(self, address: str = "") -> Session | None:
        """Begin a session for somebody at `address`, "" for whoever comes from this machine.

        Where there are too many, one without videos ends, the longest unused first, of the same address if that has too
        many; else one that nobody used for long.

        Returns:
            The session; None: there are too many, and all are in use.
        """
        self.sweep()
        with self._lock:
            every = list(self._sessions.values())
            same = [session for session in every if session.address == address] if address else []
            full = same if len(same) >= MAX_OF_ONE else every if len(every) >= MAX_SESSIONS else None
            ended = None if full is None else _least(full)
            if full is not None and ended is None:
                return None
            if ended is not None:
                del self._sessions[ended.id]
            session = Session(Path(tempfile.mkdtemp(dir=self.root)), address)
            self._sessions[session.id] = session
        if ended is not None:
            self._end(ended)
        return session

    def waits_enough(self, session: Session) -> bool:
        """Whether as many videos of the session's address wait as one may have, so that others come to their turn."""
        with self._lock:
            same = [each for each in self._sessions.values() if each.address == session.address]
        jobs = [video.job for each in same for video in list(each.videos.values())]
        return bool(session.address) and sum(job.state in ("waiting", "running") for job in jobs) >= MAX_WAITING

    def room(self, wanted: int, session: Session) -> bool:
        """Whether `wanted` bytes more may be written for a session; visits that are not in use end for it."""
        while self.used() + wanted > self.max_disk:
            with self._lock:
                idle = [each for each in self._sessions.values() if each is not session and each.videos]
                ended = _longest_unused(idle)
                if ended is None:
                    return False
                del self._sessions[ended.id]
            self._end(ended)
        return wanted <= shutil.disk_usage(self.root).free

    def used(self) -> int:
        """Bytes of all files."""
        total = 0
        for place, _, files in os.walk(self.root):
            for name in files:
                with suppress(OSError):  # removed meanwhile
                    total += Path(place, name).stat().st_size
        return total

    def get(self, key: str | None) -> Session | None:
        """The session of a cookie, which is thereby in use."""
        self.sweep()
        session = self._sessions.get(key or "")
        if session is not None:
            session.touch()
        return session

    def add(self, session: Session, video: Upload) -> None:
        """Give a session a video; the longest unused goes where there are too many."""
        session.videos[video.id] = video
        others = [other for other in session.videos.values() if other is not video]
        others.sort(key=lambda other: other.seen)
        for old in others[: max(0, len(session.videos) - MAX_VIDEOS)]:
            self.remove(session, old.id)

    def remove(self, session: Session, key: str) -> None:
        """Forget a video and remove its files."""
        if video := session.videos.pop(key, None):
            self._line.cancel(video.job)
            video.discard()

    def sweep(self) -> None:
        """Remove the sessions that nobody uses any more, with their files."""
        old = time.monotonic() - self.idle_seconds
        with self._lock:
            idle = [session for session in self._sessions.values() if session.seen < old]
            for session in idle:
                del self._sessions[session.id]
        for session in idle:
            self._end(session)

    def close(self) -> None:
        """Remove every file."""
        with self._lock:
            sessions, self._sessions = list(self._sessions.values()), {}
        for session in sessions:
            self._end(session)
        shutil.rmtree(self.root, ignore_errors=True)
        if self._lock_of_root is not None:
            os.close(self._lock_of_root)
            self._lock_of_root = None

    def _end(self, session: Session) -> None:
        for key in list(session.videos):
            self.remove(session, key)
        shutil.rmtree(session.folder, ignore_errors=True)


def _least(sessions: Sequence[Session]) -> Session | None:
    """The session that is missed least: the longest unused of those without videos, else one that nobody uses."""
    empty = [session for session in sessions if not session.videos]
    return min(empty, key=lambda session: session.seen) if empty else _longest_unused(sessions)


def _longest_unused(sessions: Sequence[Session]) -> Session | None:
    """The longest unused of those that are not in use."""
    unused = [session for session in sessions if session.seen < time.monotonic() - IN_USE]
    return min(unused, key=lambda session: session.seen, default=None)


def sweep_dead() -> None:
    """Remove the folders of servers that were killed; those of servers that live are locked."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            found = folder.lstat()
            young = time.time() - found.st_mtime < 10  # perhaps made just now, and not yet locked
            if os.name == "posix" and (found.st_uid != os.getuid() or folder.is_symlink() or young):
                continue
            if (held := _lock(folder)) is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(held)


def _lock(folder: Path) -> int | None:
    """Lock a folder for as long as this process lives; None: another process has it, or there are no such locks."""
    try:
        import fcntl
    except ImportError:
        return None
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        return None
    return held
