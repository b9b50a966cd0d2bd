"""Files of lines that a person, a page and a pipeline share: read by their checks, written whole, with a history."""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from read.errors import InputError
from read.rows import is_broken, parse_lines
from read.studio.journal import BrokenHistory, Journal
from read.studio.saved import Signature, UnsavedError, hold, signature, sweep, write_durably

Record = dict[str, Any]
Exchanges = list[tuple[Record | None, Record | None]]  # lines before and after, None where there was or is none
Changes = dict[str, Exchanges]  # by table


class Table:
    """A jsonl whose lines each have a key.

    Args:
        path: the file, which need not be there.
        key_of: the key of a line.
        checker: makes what checks the lines of a file one by one, by line and number, and raises InputError.
    """

    def __init__(
        self, path: Path, key_of: Callable[[Record], str], checker: Callable[[], Callable[[Record, int], Any]]
    ) -> None:
        self.path, self._key_of, self._checker = path, key_of, checker
        self.take(Content({}, {}, _digest(b""), None))

    def read(self) -> "Content":
        """What the file holds. Raises InputError with all that is wrong in it."""
        if (seen := signature(self.path)) is None:
            return Content({}, {}, _digest(b""), None)
        check, texts = self._checker(), {}

        def keyed(line: Record, number: int) -> tuple[str, Record]:
            check(line, number)
            key = self._key_of(line)
            texts[key] = _text(line)
            return key, line

        found = Content(dict(parse_lines(self.path, keyed)), texts, _digest(self.path.read_bytes()), seen)
        return found if signature(self.path) == seen else self.read()

    def take(self, content: "Content") -> None:
        """Have what a file holds."""
        self.lines, self._texts, self.digest, self.seen = content

    def draft(self, pairs: Exchanges) -> "Draft":
        """What is to be written for a change."""
        lines, texts = dict(self.lines), dict(self._texts)
        for before, after in pairs:
            key = self._key_of(after or before)
            if after is None:
                lines.pop(key, None)
                texts.pop(key, None)
            else:
                lines[key], texts[key] = after, _text(after)
        return Draft(lines, texts, "".join(texts.values()).encode())

    def written(self, draft: "Draft") -> None:
        """Have what has been written."""
        self.take(Content(draft.lines, draft.texts, draft.digest, signature(self.path)))

    def rev(self, key: str) -> str:
        """What changes with a line."""
        return _digest(self._texts[key].encode(errors="replace"))[:12]

    def key_of(self, before: Record | None, after: Record | None) -> str:
        """The key of a line that is changed."""
        line = before if after is None else after
        assert line is not None, "one of the two is there"
        return self._key_of(line)


class Content(NamedTuple):
    """What a file held: its lines by key, its digest, and what told it from others."""

    lines: dict[str, Record]
    texts: dict[str, str]
    digest: str
    seen: Signature


class Draft(NamedTuple):
    """What a file is to hold."""

    lines: dict[str, Record]
    texts: dict[str, str]
    content: bytes

    @property
    def digest(self) -> str:
        """Of the content."""
        return _digest(self.content)


class Ledger:
    """Tables whose changes are saved together, one version each, with a history beside them.

    Every change is written to the history first, then to the files, each with what makes it last; so whatever is killed
    in between, the next who opens it finds the state before or the state after, and knows which. The files are the
    truth: what somebody else writes into them becomes a version of its own.

    Args:
        tables: by name.
        history: the file of the history; its folder is locked for this process.

    Raises:
        InputError: a file has mistakes, or another process has the folder open.
    """

    def __init__(self, tables: dict[str, Table], history: Path) -> None:
        self.tables = tables
        self._lock, self._sure = threading.RLock(), False
        history.parent.mkdir(parents=True, exist_ok=True)
        self._holder = hold(history.parent)
        try:
            for path in (history, *(table.path for table in tables.values())):
                sweep(path)
            try:
                self.journal = Journal(history)
                self._reconcile()
            except BrokenHistory:
                set_aside(history)
                self.journal = Journal(history)
                self._reconcile()
        except BaseException:
            self.close()
            raise

    @property
    def version(self) -> int:
        """The number of the last change."""
        return self.journal.version

    def close(self) -> None:
        """Let others have the folder."""
        if self._holder >= 0:
            os.close(self._holder)
        self._holder = -1

    @contextmanager
    def up_to_date(self) -> Iterator[None]:
        """Alone with the tables, after what others wrote into their files. Raises UnsavedError where that is broken."""
        with self._lock:
            try:
                self._catch_up()
            except InputError as error:
                raise UnsavedError(str(error)) from None
            yield

    def _catch_up(self) -> None:
        if not self._sure:
            self._reconcile()
        elif any(signature(table.path) != table.seen for table in self.tables.values()):
            known = {name: table.lines for name, table in self.tables.items()}
            self._read()
            self._adopt(known)

    def save(self, what: str, changes: Changes) -> None:
        """Save changes as one version; to be called inside `up_to_date`.

        Raises:
            InputError: the disk is full, or the files may not be written; nothing was changed.
        """
        changes = {name: pairs for name, pairs in changes.items() if pairs}
        drafts = {name: self.tables[name].draft(pairs) for name, pairs in changes.items()}
        before = self._digests()
        after = before | {name: draft.digest for name, draft in drafts.items()}
        self.journal.append(what, before, after, changes)
        try:
            self._write(drafts)
        except BaseException:
            self._sure = False  # where not even this is right, the files are looked at before anything else
            if all(signature(self.tables[name].path) == self.tables[name].seen for name in drafts):
                with suppress(InputError):
                    self.journal.take_back()
                    self._sure = True
            raise

    def state_at(self, version: int) -> tuple[dict[str, dict[str, Record]], bool]:
        """The lines of each table as of a version, and whether there is this version. Raises BrokenHistory."""
        state: dict[str, dict[str, Record]] = {name: {} for name in self.tables}
        reached = not version
        for entry in self.journal.entries():
            if entry["version"] > version:
                break
            reached = entry["version"] == version
            for name, pairs in entry["changes"].items():
                for before, after in pairs:
                    key = self.tables[name].key_of(before, after)
                    if after is None:
                        state[name].pop(key, None)
                    else:
                        state[name][key] = after
        return state, reached

    def _write(self, drafts: dict[str, Draft]) -> None:
        write_durably({self.tables[name].path: draft.content for name, draft in drafts.items()})
        for name, draft in drafts.items():
            self.tables[name].written(draft)

    def _digests(self) -> dict[str, str]:
        return {name: table.digest for name, table in self.tables.items()}

    def _read(self) -> None:
        """Have what the files hold, all of them or none."""
        found = {name: table.read() for name, table in self.tables.items()}
        for name, content in found.items():
            self.tables[name].take(content)

    def _reconcile(self) -> None:
        """Read the files, and bring the history to what they are."""
        self._read()
        last, now = self.journal.last, self._digests()
        if last is None:
            self._adopt({name: {} for name in self.tables}, "as found")
        elif now != last["after"]:
            before = last.get("before", {})
            if now == before:
                self.journal.mark_undone()
            elif before and all(now[name] in (before[name], last["after"][name]) for name in now):
                rest = [name for name in now if now[name] != last["after"][name]]
                self._write({name: self.tables[name].draft(last["changes"][name]) for name in rest})
            else:
                self._adopt(self.state_at(self.version)[0])
        self._sure = True

    def _adopt(self, known: dict[str, dict[str, Record]], what: str = "changed outside of this page") -> None:
        """Make a version of what the files hold and was not known."""
        changes = {name: difference(known[name], table.lines) for name, table in self.tables.items()}
        last = self.journal.last["after"] if self.journal.last else {}
        if any(changes.values()):
            changes = {name: pairs for name, pairs in changes.items() if pairs}
            self.journal.append(what, last, self._digests(), changes)


def difference(known: Mapping[str, Record], found: Mapping[str, Record]) -> Exchanges:
    """What was changed of known lines, to get those that were found."""
    keys = [*known, *(key for key in found if key not in known)]
    return [(known.get(key), found.get(key)) for key in keys if known.get(key) != found.get(key)]


def set_aside(history: Path) -> None:
    """Give a history that cannot be read another name, which is free."""
    names = (history.with_name(f"{history.name}.broken-{number}") for number in range(1, 10**6))
    history.rename(next(path for path in names if not path.exists()))


def _text(line: Record) -> str:
    try:
        text = json.dumps(line, ensure_ascii=False, allow_nan=False)
    except ValueError:
        raise InputError("holds NaN or an infinite number, which JSON does not have") from None
    return (json.dumps(line) if is_broken(text) else text) + "\n"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
