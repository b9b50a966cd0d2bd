"""The history of a card's labels: a line of JSON for each change, appended and never rewritten."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from read.errors import InputError
from read.files import decode_json
from read.studio.saved import append_durably, refused

Entry = dict[str, Any]
BLOCK = 1 << 16  # bytes; of most histories the last line is in the last of them


class BrokenHistory(InputError):  # noqa: N818 - the state of a file
    """A line of a history is no entry."""


@dataclass(frozen=True)
class Version:
    """A saved state of the labels: its number, when it was saved (ISO 8601), and what changed, in words."""

    version: int
    at: str
    what: str


class Journal:
    """An append-only file of changes.

    An entry has `version`, `at`, `what`, the digests of the files `before` and `after`, and their `changes`: for each
    file pairs of a line before and after, null where there was or is none. It is written before the files are; an entry
    with `undone`, a version, says that this one did not come to pass, and what the files are `after` all.

    Raises:
        BrokenHistory: the last line is whole, and no entry.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._size = self._before = self._mend()
        self.last = self._previous = self._tail()

    @property
    def version(self) -> int:
        """The number of the last entry, 0 before the first."""
        return 0 if self.last is None else self.last.get("version", self.last.get("undone", 0))

    def append(self, what: str, before: dict[str, str], after: dict[str, str], changes: dict[str, list]) -> Entry:
        """Write an entry with the next number. Raises InputError where the disk is full; the file is what it was."""
        entry = {
            "version": self.version + 1, "at": datetime.now(UTC).isoformat(timespec="seconds"), "what": what,
            "before": before, "after": after, "changes": changes,
        }  # fmt: skip
        self._write(entry)
        return entry

    def mark_undone(self) -> None:
        """Say of the last entry that the files were never written."""
        self._write({"undone": self.version, "after": self.last["before"]})

    def take_back(self) -> None:
        """Drop the last entry, of which nobody has been told: its files could not be written."""
        with refused(self.path):
            os.truncate(self.path, self._before)
        self._size, self.last = self._before, self._previous

    def entries(self) -> Iterator[Entry]:
        """All entries that came to pass, oldest first. Raises BrokenHistory with the number of a line that is none."""
        lines = self.path.read_bytes().split(b"\n") if self.path.exists() else []
        read = [_entry(line, f"{self.path}:{number}") for number, line in enumerate(lines, start=1) if line.strip()]
        undone = {entry["undone"] for entry in read if "undone" in entry}
        yield from (entry for entry in read if entry.get("version") not in {None, *undone})

    def versions(self, limit: int) -> list[Version]:
        """The last versions, newest first."""
        found: list[Version] = []
        undone = set()
        for line in reversed(self.path.read_bytes().split(b"\n") if self.path.exists() else []):
            if len(found) >= limit:
                break
            if line.strip():
                entry = _entry(line, str(self.path))
                if "undone" in entry:
                    undone.add(entry["undone"])
                elif entry["version"] not in undone:
                    found.append(Version(entry["version"], entry["at"], entry["what"]))
        return found

    def _write(self, entry: Entry) -> None:
        content = json.dumps(entry, allow_nan=False).encode() + b"\n"
        append_durably(self.path, content, self._size)
        self._before, self._previous = self._size, self.last
        self._size += len(content)
        self.last = entry

    def _mend(self) -> int:
        """Cut off what was being written when a process was killed: a line without an end. Gives the size."""
        if not self.path.exists():
            return 0
        with self.path.open("r+b") as file:
            size = end = file.seek(0, os.SEEK_END)
            while end:
                start = max(0, end - BLOCK)
                file.seek(start)
                if (found := file.read(end - start).rfind(b"\n")) >= 0:
                    end = start + found + 1
                    break
                end = start
            if end < size:
                file.truncate(end)
                os.fsync(file.fileno())
        return end

    def _tail(self) -> Entry | None:
        """The last entry."""
        if not self._size:
            return None
        with self.path.open("rb") as file:
            start, content, step = self._size, b"", BLOCK
            while start and b"\n" not in content[:-1]:
                start, step = max(0, start - step), 4 * step
                file.seek(start)
                content = file.read(self._size - start)
        return _entry(content[:-1].rpartition(b"\n")[2], str(self.path))


def _entry(line: bytes, place: str) -> Entry:
    try:
        entry = decode_json(line.decode())
        if isinstance(entry, dict) and ("undone" in entry or entry["changes"] is not None):
            return entry
    except (InputError, ValueError, KeyError, TypeError):
        pass
    raise BrokenHistory(f"{place}: is no entry of a history of labels")
