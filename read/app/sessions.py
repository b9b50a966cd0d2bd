"""Who uses the page, and their files: one temporary folder for all, one inside it for each, nothing anywhere else.

No name that a person gives becomes part of a path: files are named by chance, and their suffix is one of ours.
"""

import secrets
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from read.app.jobs import Job, Line
from read.app.media import SUFFIXES, Media
from read.errors import InputError

MAX_SESSIONS = 200
MAX_VIDEOS = 4  # of one session; the oldest goes when another comes
SHOWN_NAME = 120  # characters


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

    def discard(self) -> None:
        """Remove its files."""
        shutil.rmtree(self.path.parent, ignore_errors=True)


@dataclass(eq=False)
class Session:
    """One person's visit: the id is in their cookie, the token in their page."""

    folder: Path
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

    def __init__(self, line: Line, idle_seconds: float) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="read-app-"))  # for this user's eyes only
        self.idle_seconds = idle_seconds
        self._line = line
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()

    def new(self) -> Session | None:
        """Begin a session; None: there are too many."""
        self.sweep()
        with self._lock:
            if len(self._sessions) >= MAX_SESSIONS:
                return None
            session = Session(Path(tempfile.mkdtemp(dir=self.root)))
            self._sessions[session.id] = session
            return session

    def get(self, key: str | None) -> Session | None:
        """The session of a cookie, which is thereby in use."""
        self.sweep()
        session = self._sessions.get(key or "")
        if session is not None:
            session.touch()
        return session

    def add(self, session: Session, video: Upload) -> None:
        """Give a session a video; the oldest goes where there are too many."""
        session.videos[video.id] = video
        for old in list(session.videos)[:-MAX_VIDEOS]:
            self.remove(session, old)

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

    def _end(self, session: Session) -> None:
        for key in list(session.videos):
            self.remove(session, key)
        shutil.rmtree(session.folder, ignore_errors=True)
