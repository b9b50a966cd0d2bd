"""What the sources of videos share."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Protocol

from pipeline.engine import leases
from read.addresses import without_secrets


class UnavailableError(Exception):
    """A file cannot be had; the message is the reason, for the list of what is missing. Secrets are masked."""

    def __init__(self, reason: object) -> None:
        super().__init__(without_secrets(str(reason)))


def told(address: str) -> str:
    """An address as manifests have it: without secrets, but another one where another file is asked for."""
    shown = without_secrets(address)
    if "?" not in address or shown == without_secrets(address.partition("?")[0]) + address[address.index("?") :]:
        return shown
    query = address.partition("?")[2]
    return f"{shown} ({hashlib.sha256(query.encode()).hexdigest()[:16]})"


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


def _locked(file: IO[bytes], path: Path) -> AbstractContextManager[None]:
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in leases.NO_LOCKS:
            raise
        return leases.holding(f"file {path}")
    return nullcontext()


@contextmanager
def exclusive(path: Path) -> Iterator[IO[bytes]]:
    """Open `path` for appending, as its only user: others wait. The lock ends with the process, however that ends.

    A file that its user removed or renamed is made anew for the next one. Where a file system has no locks, a lease
    stands in for one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("ab+") as file, _locked(file, path):
            try:
                current = os.path.samestat(os.fstat(file.fileno()), path.stat())
            except FileNotFoundError:
                current = False
            if current:
                yield file
                return
