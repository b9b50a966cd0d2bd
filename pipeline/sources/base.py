"""What the sources of videos share."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol


class UnavailableError(Exception):
    """A file cannot be had; the message is the reason, for the list of what is missing."""


class Source(Protocol):
    """A place that videos come from."""

    def recipe(self, vid: str) -> str:
        """What decides the content of a video; a file made by another recipe is fetched again."""

    def fetch(self, vid: str, room: Path) -> Path:
        """Write the video into the folder `room` and return its path; the suffix tells the container.

        What an interrupted call leaves in `room` is there for the next one to go on from.

        Raises:
            UnavailableError: with the reason.
        """


@contextmanager
def exclusive(path: Path) -> Iterator[IO[bytes]]:
    """Open `path` for appending, as its only user: others wait. The lock ends with the process, however that ends.

    A file that its user removed or renamed is made anew for the next one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                current = os.path.samestat(os.fstat(file.fileno()), path.stat())
            except FileNotFoundError:
                current = False
            if current:
                yield file
                return
