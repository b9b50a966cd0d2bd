"""The labels of a folder of videos: the card's own files, which the pipeline reads, saved with each change."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from read.errors import InputError
from read.rows import id_key, vid_of
from read.studio.card import CARD, note_in_card
from read.studio.checks import Window, checked_sentence, checked_windows
from read.studio.incoming import incoming
from read.studio.journal import Version
from read.studio.label import (
    Brought,
    Conflict,
    Imported,
    Label,
    LabelContent,
    Lengths,
    Texts,
    annotators_of,
    content_of,
    label_of,
    length_of,
    times_of,
    video_of,
)
from read.studio.label_files import label_checker, tables_of
from read.studio.saved import signature, sweep
from read.studio.scores import KEYS
from read.studio.sides import placed, sides_of
from read.studio.tables import Exchanges, Ledger, Record, Table, difference
from read.studio.texts import text_changes, texts_in

__all__ = ["Brought", "Conflict", "Imported", "Label", "Labels", "Lengths", "Texts", "Version", "Window"]

MOST_TOLD = 100  # mistakes of an import; a file of another kind has one in each line
LARGEST_QID = 2**52  # ids that come after it are numbers that a browser can tell from their neighbours


class Labels:
    """The store of labels and texts; several threads may use it, one process at a time.

    Args:
        folder: of the card. The history is kept in it.
        annotations: the file of labels; by default annotations.jsonl in the folder.
        summaries: the file of summaries; by default summaries.jsonl there.
        clip_len: seconds per clip, in which scores are written.

    Attributes:
        twins: tells which videos are copies of which, as far as is known; they are put on one side.

    Raises:
        InputError: a file has mistakes, each told with its line; or another process has the labels open.
    """

    def __init__(
        self, folder: Path, annotations: Path | None = None, summaries: Path | None = None, clip_len: float = 2.0
    ) -> None:
        self.folder, self.clip_len = Path(folder), clip_len
        self.annotations = annotations or self.folder / "annotations.jsonl"
        self.summaries = summaries or self.folder / "summaries.jsonl"
        self.twins: Callable[[], Mapping[str, Collection[str]]] = dict
        self._known: dict[str, tuple[Record, Label]] = {}
        self._all: tuple[Any, ...] | None = None
        self._was: dict[LabelContent, Record] = {}  # lines before a change, for who undoes it
        tables = tables_of(self.annotations, self.summaries, self.folder / "transcripts.jsonl", clip_len)
        self._ledger = Ledger(tables, self.folder / "history.jsonl")
        self._card: tuple[Any, ...] = ()
        self._last_qid = -1
        try:
            sweep(self.folder / CARD)
            self._tell_card(tables["labels"].lines, tables["summaries"].lines)  # who did so may have been killed
        except BaseException:
            self.close()
            raise

    @property
    def version(self) -> int:
        """A number that grows with each change that is saved; also where somebody else wrote a file."""
        with self._tables():
            return self._ledger.version

    def close(self) -> None:
        """Let another process have the labels."""
        self._ledger.close()

    def all(self) -> list[Label]:
        """All labels, in the order of the file, with the sides that `settle` would write where somebody wrote others.

        Raises:
            InputError: somebody has broken the file.
        """
        with self._tables() as tables:
            lines, summaries, twins = tables["labels"].lines, tables["summaries"].lines, self.twins()
            known = self._all  # every change has other dictionaries
            if known is None or known[0] is not lines or known[1] is not summaries or known[2] != twins:
                sides = self._sides(lines, summaries)
                found = [self._label(key, line) for key, line in lines.items()]
                sided = [one if one.side == sides[one.vid] else replace(one, side=sides[one.vid]) for one in found]
                known = self._all = lines, summaries, twins, sided
            return [*known[3]]

    def settle(self) -> list[Label]:
        """Write a video's side into its labels where somebody wrote none, or two; gives all labels, as `all`."""
        with self._tables() as tables:
            lines = tables["labels"].lines, tables["summaries"].lines
            if any(placed([], part.values(), self._sides(*lines)) for part in lines):
                self._save("sides of videos")
            return self.all()

    def add(
        self, vid: str, query: str, windows: Sequence[Window], duration: float | None, asked: bool = False
    ) -> Label:
        """Save a new label.

        Args:
            vid: the video.
            query: what happens.
            windows: when, in seconds.
            duration: of the video, in seconds; None where it is not known.
            asked: it corrects an answer, so its video leaves the side that is reported.

        Raises:
            InputError: anything about it is wrong, or it could not be saved.
        """
        with self._tables() as tables:
            vid = vid_of(vid, "video")
            query, kept = checked_sentence(query), checked_windows(windows, duration, self.clip_len)
            if (same := self._same(vid, query)) and same.windows == kept and same.asked >= asked:
                return same  # saved before, by who did not get to hear of it
            self._check_new(vid, query)
            self._count_on()
            line = {"qid": self._next_qid(tables["labels"].lines), "query": query, "vid": vid}
            line |= self._times(kept, duration) | ({"asked": True} if asked else {})
            was = self._was.get((vid, query, kept, asked), line)
            line = line if id_key(was["qid"]) in tables["labels"].lines else was
            self._save(f"added “{query}” in {vid}", labels=[(None, line)])
            return self._present(id_key(line["qid"]))

    def change(
        self,
        qid: int | str,
        rev: str,
        *,
        query: str | None = None,
        windows: Sequence[Window] | None = None,
        vid: str | None = None,
        lengths: Lengths | None = None,
    ) -> Label:
        """Save a label anew; what is not given stays.

        Args:
            qid: of the label.
            rev: of what the person saw.
            query: what happens.
            windows: when; with other windows or scores, rows of saliency that somebody else gave are dropped.
            vid: another video.
            lengths: seconds of the videos; of one that is not told, what the label says of its own.

        Raises:
            Conflict: it is not what the person saw, or gone.
            InputError: as `add`.
        """
        with self._tables():
            old = self._matching(qid, rev)
            line, moved = dict(old.line), vid is not None and vid_of(vid, "video") != old.vid
            if query is not None and query != old.query:
                line["query"] = checked_sentence(query)
            if moved:
                line["vid"] = vid_of(vid, "video")
            if (windows is not None and tuple(windows) != old.windows) or moved:
                duration = (lengths or {}).get(video_of(line)) or (None if moved else line.get("duration"))
                kept = checked_windows(old.windows if windows is None else windows, duration, self.clip_len)
                line.pop("duration", None)
                line |= length_of(duration)
                if kept != old.windows:
                    rest = {key: value for key, value in line.items() if key not in KEYS}
                    line = rest | self._times(kept, duration)
            if (line["vid"], line["query"]) != (old.line["vid"], old.line["query"]):
                self._check_new(video_of(line), line["query"])
            was = self._was.get(content_of(label_of(line, "", self.clip_len)), line)
            line = was if id_key(was["qid"]) == id_key(qid) else line
            if line != old.line:
                self._save(f"changed “{line['query']}” in {line['vid']}", labels=[(dict(old.line), line)])
            return self._present(id_key(qid))

    def remove(self, qid: int | str, rev: str) -> None:
        """Delete a label. Raises Conflict as `change`."""
        with self._tables():
            old = self._matching(qid, rev)
            self._save(f"deleted “{old.query}” in {old.vid}", labels=[(dict(old.line), None)])

    def put_back(self, qid: int | str) -> Label:
        """Have a label again that was deleted, with all that its line said.

        Raises:
            InputError: there is it still, or the history does not know it.
        """
        with self._tables() as tables:
            key = id_key(qid)
            if key in tables["labels"].lines:
                raise InputError(f"label {qid} is there")
            line = None
            for entry in self._ledger.journal.entries():
                for before, after in entry["changes"].get("labels", []):
                    if after is None and id_key(before["qid"]) == key:
                        line = before
            if line is None:
                raise InputError(f"no label {qid} was ever deleted")
            self._check_new(video_of(line), line["query"])
            self._save(f"put back “{line['query']}” in {line['vid']}", labels=[(None, line)])
            return self._present(key)

    def history(self, limit: int = 100) -> list[Version]:
        """The last versions, newest first."""
        with self._tables():
            return self._ledger.journal.versions(limit)

    def restore(self, version: int) -> None:
        """Make everything what it was after a version (0: before the first), as a new version.

        Raises:
            InputError: there is no such version.
        """
        with self._tables() as tables:
            state, reached = self._ledger.state_at(version)
            if not reached:
                raise InputError(f"there is no version {version} of the labels; the last is {self._ledger.version}")
            changes = {name: difference(table.lines, state[name]) for name, table in tables.items()}
            if any(changes.values()):
                self._save(f"back to version {version}", **changes)

    def bring(
        self, imported: Sequence[Imported], lengths: Lengths, mistakes: Sequence[str] = (), *, dry: bool = False
    ) -> Brought:
        """Take labels from elsewhere, all of them as one version, or none where anything is wrong.

        Args:
            imported: the labels; a sentence that is here already with the same windows and scores counts as same.
            lengths: seconds of the videos, as far as they are known.
            mistakes: what was found wrong before, with which nothing is saved.
            dry: only tell what would come of it.
        """
        with self._tables() as tables:
            lines = dict(tables["labels"].lines)
            self._count_on()
            added, same, wrong = incoming(imported, lengths, lines, self.all(), self.clip_len, self._next_qid)
            wrong = [*mistakes, *wrong]
            if added and not wrong and not dry:
                self._save(f"brought in {len(added)} label{'s' * (len(added) > 1)}", labels=[*added])
            told = [*wrong[:MOST_TOLD], *[f"... and {len(wrong) - MOST_TOLD} more"] * (len(wrong) > MOST_TOLD)]
            return Brought(0 if wrong else len(added), same, tuple(told))

    def texts(self, vid: str) -> Texts:
        """The transcript and the summary of a video."""
        with self._tables() as tables:
            return texts_in(tables, vid)

    def set_texts(self, vid: str, rev: str, transcript: str, summary: str) -> Texts:
        """Save the transcript and the summary of a video.

        Raises:
            Conflict: they are not what the person saw.
            InputError: they hold what no text holds, or could not be saved.
        """
        with self._tables() as tables:
            vid = vid_of(vid, "video")
            old = self.texts(vid)
            if old.rev != rev:
                raise Conflict(f"the texts of {vid} were changed meanwhile; look at them again")
            if changes := text_changes(tables, vid, transcript, summary):
                self._save(f"texts of {vid}", **changes)
            return self.texts(vid)

    @contextmanager
    def _tables(self) -> Iterator[dict[str, Table]]:
        with self._ledger.up_to_date():
            yield self._ledger.tables

    def _label(self, key: str, line: Record) -> Label:
        """The label of a line, made once."""
        known = self._known.get(key)
        if known is None or known[0] is not line:
            known = self._known[key] = (line, label_of(line, self._ledger.tables["labels"].rev(key), self.clip_len))
        return known[1]

    def _present(self, key: str) -> Label:
        return self._label(key, self._ledger.tables["labels"].lines[key])

    def _matching(self, qid: int | str, rev: str) -> Label:
        key = id_key(qid)
        if key not in self._ledger.tables["labels"].lines:
            raise Conflict("this label was deleted meanwhile")
        if (label := self._present(key)).rev != rev:
            raise Conflict("this label was changed meanwhile; look at it again", label)
        return label

    def _check_new(self, vid: str, query: str) -> None:
        """A sentence stands once in a video: its moments are windows of one label."""
        if self._same(vid, query):
            raise InputError(f"{vid} has “{query}” already: add the moment to that one, or say what differs")

    def _same(self, vid: str, query: str) -> Label | None:
        return next((label for label in self.all() if label.query == query and label.vid == vid), None)

    def _count_on(self) -> None:
        """Let ids go on after all that there are."""
        qids = (line["qid"] for line in self._ledger.tables["labels"].lines.values())
        self._last_qid = max([self._last_qid, *(qid for qid in qids if isinstance(qid, int) and qid < LARGEST_QID)])

    def _next_qid(self, lines: Mapping[str, Record]) -> int:
        """A number that no label has, nor had while this is open."""
        number = self._last_qid + 1
        while id_key(number) in lines:
            number += 1
        self._last_qid = number
        return number

    def _times(self, windows: Sequence[Window], duration: float | None) -> Record:
        lines = self._ledger.tables["labels"].lines.values()
        return times_of(windows, duration, self.clip_len, annotators_of(lines))

    def _save(self, what: str, **changes: Exchanges) -> None:
        """Save a change with what follows from it: the sides of videos, and what the card names."""
        tables = self._ledger.tables
        now = {name: tables[name].draft(changes.get(name, [])).lines for name in ("labels", "summaries")}
        sides = self._sides(*now.values())
        for name, lines in now.items():
            changes[name] = placed(changes.get(name, []), lines.values(), sides)
        check = label_checker(self.clip_len)
        for number, (_, after) in enumerate(changes["labels"], start=1):
            if after is not None:
                check(after, number)
        self._tell_card(now["labels"], now["summaries"])
        self._ledger.save(what, changes)
        old = [before for before, _ in changes["labels"] if before is not None]
        self._was |= {content_of(label_of(before, "", self.clip_len)): before for before in old}

    def _sides(self, *tables: Mapping[str, Record]) -> dict[str, str]:
        return sides_of(((video_of(line), line) for lines in tables for line in lines.values()), self.twins())

    def _tell_card(self, labels: Mapping[str, Record], summaries: Mapping[str, Record]) -> None:
        """Have the card name the summaries if there are any, and the length of clips once there are scores."""
        scored = any(KEYS[2] in line for line in labels.values())
        known = signature(self.folder / CARD), bool(summaries), scored
        if known != self._card:
            note_in_card(self.folder, self.summaries if summaries else None, self.clip_len if scored else None)
            self._card = signature(self.folder / CARD), bool(summaries), scored
